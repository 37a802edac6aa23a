//! What the scheduler says from inside a stop, situation by situation: the table that the agent's decision rests on.
//!
//! Every row makes its situation on the real cluster with `ocf:standin:Probe` resources. The stop of one of them keeps the CIB of
//! that moment; the product's own planner is asked about it with the tools of that very cluster, and the place that it reads must
//! be where the resource really ends up, or nowhere where it really stays down.
//! With `PACEMAKER_CAPTURE=1` the CIB is kept under `tests/captured/pacemaker-VERSION/`; `tests/captured/ask` adds what the tools
//! say of it.

use crate::cluster::{Cluster, ELECTED, NODES};
use crate::pool::with_cluster;
use crate::skip;
use crate::spawn::until;
use crate::world::world;
use libtest_mimic::Trial;
use std::path::PathBuf;
use std::time::Duration;
use xen_handoff::cluster::pacemaker::Pacemaker;
use xen_handoff::cluster::{ClusterView, Destination};
use xen_handoff::host::NodeName;

const STOPPED: Duration = Duration::from_secs(30);

/// How long the planner may take on a busy machine.
const PLANNED: Duration = Duration::from_secs(60);
/// The resource whose stop asks.
const VM: &str = "vm";

struct Row {
    name: &'static str,
    /// What the cluster has before.
    given: fn(&Cluster),
    /// What happens to it.
    when: fn(&Cluster),
    /// The nodes whose stop of `vm` asks, and what it must be told.
    then: &'static [(&'static str, Expected)],
}

#[derive(Clone, Copy)]
enum Expected {
    On(&'static str),
    Nowhere,
}

/// One trial for each row.
pub(crate) fn trials() -> Vec<Trial> {
    ROWS.iter()
        .map(|row| {
            let name = format!("plan::{}", row.name);
            let called = name.clone();
            skip(Trial::test(name, move || with_cluster(&called, |cluster| check(cluster, row))), false)
        })
        .collect()
}

fn check(cluster: &Cluster, row: &Row) {
    cluster.reset();
    (row.given)(cluster);
    cluster.settle();
    let shared = cluster.fabric.shared();
    std::fs::write(shared.join("ctl").join(format!("{VM}.capture")), "").expect("a knob");
    (row.when)(cluster);
    let mut wrong = vec![];
    for (node, expected) in row.then {
        let file = |kind: &str| shared.join("plan").join(format!("{VM}.{node}.{kind}"));
        until(STOPPED, || file("cib.xml").exists())
            .unwrap_or_else(|_| panic!("no stop of {VM} on {node}; believed on {:?}", cluster.believed(VM)));
        let cib = std::fs::read_to_string(file("cib.xml")).expect("the CIB of the stop");
        let name = if row.then.len() > 1 { format!("{}--on-{node}", row.name) } else { row.name.to_owned() };
        keep_text(&format!("{name}.cib.xml"), &cib);
        let wanted = match expected {
            Expected::On(node) => Destination::Node(NodeName::new(*node).expect("a node's name")),
            Expected::Nowhere => Destination::Nowhere,
        };
        let folder = tempfile::tempdir().expect("a folder");
        let tools = crate::scheduler::root_of(&cib, folder.path(), &world().root);
        let me = NodeName::new(*node).expect("a node's name");
        match Pacemaker::new(&tools).plan_after_stop(VM, &me, PLANNED) {
            Ok(plan) if plan.destination == wanted => {}
            other => wrong.push(format!("asked in the stop on {node}: {other:?}, not {wanted:?}")),
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

/// Keeps a text under the captures, when asked to.
pub(crate) fn keep_text(name: &str, text: &str) {
    if std::env::var_os("PACEMAKER_CAPTURE").is_none() {
        return;
    }
    let folder = captured();
    std::fs::create_dir_all(&folder).expect("the captures' folder");
    std::fs::write(folder.join(name), text).expect("a capture");
}

fn captured() -> PathBuf {
    let folder = format!("tests/captured/pacemaker-{}", world().pacemaker());
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(folder)
}

fn primitive(id: &str, migrates: bool, more: &str) -> String {
    format!(
        r#"<primitive id="{id}" class="ocf" provider="standin" type="Probe">
 <meta_attributes id="{id}-meta"><nvpair id="{id}-migrate" name="allow-migrate" value="{migrates}"/>{more}</meta_attributes>
 <operations>
  <op id="{id}-start" name="start" interval="0" timeout="20s"/>
  <op id="{id}-stop" name="stop" interval="0" timeout="40s"/>
  <op id="{id}-monitor" name="monitor" interval="2s" timeout="20s"/>
  <op id="{id}-to" name="migrate_to" interval="0" timeout="20s"/>
  <op id="{id}-from" name="migrate_from" interval="0" timeout="20s"/>
 </operations></primitive>"#
    )
}

/// n1 first, then n2, then n3.
fn prefer(cluster: &Cluster, resource: &str) {
    for (node, score) in [("n1", 300), ("n2", 200), ("n3", 100)] {
        let xml = format!(
            r#"<rsc_location id="at-{resource}-{node}" rsc="{resource}" node="{node}" score="{score}"/>"#
        );
        cluster.create("constraints", &xml);
    }
}

fn plain(cluster: &Cluster) {
    cluster.create("resources", &primitive(VM, false, ""));
    prefer(cluster, VM);
}

fn migratable(cluster: &Cluster) {
    cluster.create("resources", &primitive(VM, true, ""));
    prefer(cluster, VM);
}

fn threshold_one(cluster: &Cluster) {
    let more = r#"<nvpair id="vm-threshold" name="migration-threshold" value="1"/>"#;
    cluster.create("resources", &primitive(VM, false, more));
    prefer(cluster, VM);
}

/// `base` below `vm`: a resource that stops where the domain stops.
fn ordered(cluster: &Cluster) {
    cluster.create("resources", &primitive("base", false, ""));
    cluster.create("resources", &primitive(VM, true, ""));
    prefer(cluster, "base");
    cluster.create("constraints", r#"<rsc_order id="o" first="base" then="vm"/>"#);
    cluster.create("constraints", r#"<rsc_colocation id="c" rsc="vm" with-rsc="base" score="INFINITY"/>"#);
}

fn group(cluster: &Cluster) {
    let members = primitive("base", false, "") + &primitive(VM, false, "");
    cluster.create("resources", &format!(r#"<group id="g">{members}</group>"#));
    prefer(cluster, "g");
}

/// A promotable clone below the domain, as DRBD is.
fn promotable(cluster: &Cluster) {
    let clone = format!(
        r#"<clone id="disk-clone"><meta_attributes id="disk-clone-meta"><nvpair id="disk-clone-p" name="promotable" value="true"/></meta_attributes>{}</clone>"#,
        primitive("disk", false, "")
    );
    cluster.create("resources", &clone);
    cluster.create("resources", &primitive(VM, false, ""));
    let promoted = world().promoted();
    for (node, score) in [("n1", 300), ("n2", 200)] {
        let xml = format!(
            r##"<rsc_location id="m-{node}" rsc="disk-clone"><rule id="m-{node}-r" role="{promoted}" score="{score}"><expression id="m-{node}-e" attribute="#uname" operation="eq" value="{node}"/></rule></rsc_location>"##
        );
        cluster.create("constraints", &xml);
    }
    cluster.create(
        "constraints",
        r#"<rsc_order id="o" first="disk-clone" first-action="promote" then="vm" then-action="start"/>"#,
    );
    cluster.create(
        "constraints",
        &format!(
            r#"<rsc_colocation id="c" rsc="vm" with-rsc="disk-clone" with-rsc-role="{promoted}" score="INFINITY"/>"#
        ),
    );
}

/// An ordinary clone below the domain, as a lock manager is.
fn clone_below(cluster: &Cluster) {
    cluster.create(
        "resources",
        &format!(r#"<clone id="locks-clone">{}</clone>"#, primitive("locks", false, "")),
    );
    cluster.create("resources", &primitive(VM, false, ""));
    prefer(cluster, VM);
    cluster.create("constraints", r#"<rsc_order id="o" first="locks-clone" then="vm"/>"#);
    cluster.create(
        "constraints",
        r#"<rsc_colocation id="c" rsc="vm" with-rsc="locks-clone" score="INFINITY"/>"#,
    );
}

fn only_on_n1(cluster: &Cluster) {
    cluster.create("resources", &primitive(VM, false, ""));
    for node in ["n2", "n3"] {
        let xml = format!(r#"<rsc_location id="not-{node}" rsc="vm" node="{node}" score="-INFINITY"/>"#);
        cluster.create("constraints", &xml);
    }
}

/// On n1 by a score that needs no constraint: a resource can be deleted only without constraints.
fn only_here(cluster: &Cluster) {
    for node in ["n2", "n3"] {
        cluster.must(&["crm_standby", "-N", node, "-v", "on"]);
    }
    cluster.create("resources", &primitive(VM, false, ""));
    cluster.settle();
    for node in ["n2", "n3"] {
        cluster.must(&["crm_standby", "-N", node, "-D"]);
    }
}

fn migrating_fails_at(cluster: &Cluster, action: &str) {
    migratable(cluster);
    knob(cluster, &format!("vm.{action}.rc"), "1");
}

fn slow_migration(cluster: &Cluster) {
    migratable(cluster);
    // Long enough for a busy machine to cancel it meanwhile.
    knob(cluster, "vm.migrate_to.seconds", "6");
}

fn knob(cluster: &Cluster, name: &str, text: &str) {
    std::fs::write(cluster.fabric.shared().join("ctl").join(name), text).expect("a knob");
}

fn disable(cluster: &Cluster) {
    cluster.must(&["crm_resource", "-r", VM, "--meta", "-p", "target-role", "-v", "Stopped"]);
}

fn move_to_n3(cluster: &Cluster) {
    cluster.must(&["crm_resource", "--move", "-r", VM, "-N", "n3"]);
}

fn standby_n1(cluster: &Cluster) {
    cluster.must(&["crm_standby", "-N", "n1", "-v", "on"]);
}

fn shut_down_n1(cluster: &Cluster) {
    cluster.terminate_pacemaker("n1");
}

fn lose_it(cluster: &Cluster) {
    std::fs::remove_file(cluster.fabric.shared().join("state/vm.n1")).expect("the resource's state");
}

/// Makes n1 the controller: the others leave, one after the other and the controller last, and come back. Had they left at
/// once, the election would wait for a vote of the one that is on its way out.
fn n1_is_controller(cluster: &Cluster) {
    plain(cluster);
    let mut controller = String::new();
    until(ELECTED, || {
        controller = cluster.controller();
        !controller.is_empty()
    })
    .unwrap_or_else(|_| panic!("no controller\n{}", cluster.story_of_logs()));
    if controller == "n1" {
        return;
    }
    let other = if controller == "n2" { "n3" } else { "n2" };
    for node in [other, controller.as_str()] {
        cluster.terminate_pacemaker(node);
        cluster.wait_pacemaker_gone(node);
    }
    until(ELECTED, || cluster.controller() == "n1")
        .unwrap_or_else(|_| panic!("n1 did not become the controller\n{}", cluster.story_of_logs()));
    for node in ["n2", "n3"] {
        cluster.start_pacemaker(node);
    }
    cluster.wait_online(&NODES);
}

static ROWS: &[Row] = &[
    Row { name: "01-disable", given: plain, when: disable, then: &[("n1", Expected::Nowhere)] },
    Row { name: "02-move", given: plain, when: move_to_n3, then: &[("n1", Expected::On("n3"))] },
    Row {
        name: "03-ban",
        given: plain,
        when: |c| drop(c.must(&["crm_resource", "--ban", "-r", VM, "-N", "n1"])),
        then: &[("n1", Expected::On("n2"))],
    },
    Row { name: "04-standby", given: plain, when: standby_n1, then: &[("n1", Expected::On("n2"))] },
    Row { name: "05-shutdown", given: plain, when: shut_down_n1, then: &[("n1", Expected::On("n2"))] },
    Row {
        name: "06-shutdown-of-the-controller",
        given: n1_is_controller,
        when: shut_down_n1,
        then: &[("n1", Expected::On("n2"))],
    },
    Row {
        name: "07-restart-by-crm_resource",
        given: plain,
        when: |c| drop(c.must(&["crm_resource", "--restart", "-r", VM, "--timeout=30s"])),
        then: &[("n1", Expected::Nowhere)],
    },
    Row { name: "08-recovery-here", given: plain, when: lose_it, then: &[("n1", Expected::On("n1"))] },
    Row {
        name: "09-recovery-elsewhere",
        given: threshold_one,
        when: lose_it,
        then: &[("n1", Expected::On("n2"))],
    },
    Row {
        name: "10-parameter-change",
        given: plain,
        when: |c| drop(c.must(&["crm_resource", "-r", VM, "-p", "unused", "-v", "x"])),
        then: &[("n1", Expected::On("n1"))],
    },
    Row {
        name: "11-orphan",
        given: only_here,
        when: |c| drop(c.must(&["cibadmin", "-D", "--xpath", "//primitive[@id='vm']"])),
        then: &[("n1", Expected::Nowhere)],
    },
    Row {
        name: "12-stop-all-resources",
        given: plain,
        when: |c| {
            drop(c.must(&["crm_attribute", "-t", "crm_config", "-n", "stop-all-resources", "-v", "true"]))
        },
        then: &[("n1", Expected::Nowhere)],
    },
    Row { name: "13-no-place-left", given: only_on_n1, when: standby_n1, then: &[("n1", Expected::Nowhere)] },
    Row {
        name: "14-ordered-after-what-stops-here",
        given: ordered,
        when: standby_n1,
        then: &[("n1", Expected::On("n2"))],
    },
    Row { name: "15-group-member", given: group, when: standby_n1, then: &[("n1", Expected::On("n2"))] },
    Row {
        name: "16-promotable-below",
        given: promotable,
        when: standby_n1,
        then: &[("n1", Expected::On("n2"))],
    },
    Row { name: "17-clone-below", given: clone_below, when: standby_n1, then: &[("n1", Expected::On("n2"))] },
    Row {
        name: "18-all-nodes-leaving",
        given: |c| {
            plain(c);
            // until all three have said that they leave
            knob(c, "vm.stop.seconds", "1");
        },
        when: |c| NODES.iter().for_each(|n| c.terminate_pacemaker(n)),
        then: &[("n1", Expected::Nowhere)],
    },
    Row {
        name: "19-migrate_to-failed",
        given: |c| migrating_fails_at(c, "migrate_to"),
        when: move_to_n3,
        then: &[("n1", Expected::On("n3")), ("n3", Expected::On("n3"))],
    },
    Row {
        name: "20-migrate_from-failed",
        given: |c| migrating_fails_at(c, "migrate_from"),
        when: move_to_n3,
        then: &[("n1", Expected::On("n3")), ("n3", Expected::On("n3"))],
    },
    Row {
        name: "21-migration-cancelled",
        given: slow_migration,
        when: |c| {
            move_to_n3(c);
            // An error until the first one is on record.
            let pending =
                || c.ask(&["cibadmin", "-Q", "--xpath", "//lrm_rsc_op[@operation='migrate_to']"]).stdout;
            until(STOPPED, || pending().contains("op-status=\"-1\"")).expect("a migration under way");
            c.must(&["crm_resource", "--clear", "-r", VM]);
        },
        then: &[("n1", Expected::On("n1")), ("n3", Expected::On("n1"))],
    },
    Row {
        name: "22-after-a-migration",
        given: migratable,
        when: move_to_n3,
        then: &[("n1", Expected::On("n3"))],
    },
    Row {
        name: "23-quorum-lost",
        given: plain,
        when: |c| c.fabric.cut("n1"),
        then: &[("n1", Expected::Nowhere)],
    },
    Row {
        name: "24-start-failed-elsewhere",
        given: |c| {
            plain(c);
            c.settle();
            knob(c, "vm.start.rc", "1");
        },
        when: |c| {
            standby_n1(c);
            let failed = || c.failures().iter().any(|f| f.starts_with("vm_start_0 on n2"));
            until(STOPPED, failed).expect("a failed start on n2");
        },
        then: &[("n2", Expected::On("n3"))],
    },
];
