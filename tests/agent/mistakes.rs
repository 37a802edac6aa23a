//! P8, a mistake stays where it was made: every cell of the table in `doc/design/mistakes.md`, and what the operator reads.

use std::cell::RefCell;

use crate::world::{Call, Host, World};

const TABLE: &str = include_str!("../../doc/design/mistakes.md");
const NODES: [&str; 2] = ["n1", "n2"];
const NAMED: (&str, &str) = ("OCF_RESKEY_name", "x0");
/// Xen runs: what a test's own machine shows must not count.
const XEN: (&str, &str) = ("sys/hypervisor/type", "xen\n");
const RECURRING: (&str, &str) = ("OCF_RESKEY_CRM_meta_interval", "10000");
const ENDS: [(&str, &str); 2] =
    [("OCF_RESKEY_CRM_meta_migrate_source", "n1"), ("OCF_RESKEY_CRM_meta_migrate_target", "n2")];
const SOON: (&str, &str) = ("OCF_RESKEY_CRM_meta_timeout", "9000");
const AT_ONCE: (&str, &str) = ("OCF_RESKEY_CRM_meta_timeout", "2500");

type Variables = Vec<(&'static str, &'static str)>;

/// Parameters that are a mistake, and what is wrong with the hosts.
fn mistake(words: &str) -> (Variables, fn(&Host)) {
    let right: fn(&Host) = |_| {};
    match words {
        "`handoff=yes`" => (vec![("OCF_RESKEY_handoff", "yes")], right),
        "`shutdown_timeout=abc`" => (vec![("OCF_RESKEY_shutdown_timeout", "abc")], right),
        "`migration_rate=50M`" => (vec![("OCF_RESKEY_migration_rate", "50M")], right),
        "`migration_user=-oProxyCommand=x`" => {
            (vec![("OCF_RESKEY_migration_user", "-oProxyCommand=x")], right)
        }
        "`toolstack=libvirt`" => (vec![("OCF_RESKEY_toolstack", "libvirt")], right),
        "`name=17`" => (vec![("OCF_RESKEY_name", "17")], right),
        "`xmfile=x0.cfg`, with a name" => (vec![("OCF_RESKEY_xmfile", "x0.cfg"), NAMED], right),
        "no `xmfile`, with a name" => (vec![("OCF_RESKEY_xmfile", "UNSET"), NAMED], right),
        "`handof=never`, which there is not" => (vec![("OCF_RESKEY_handof", "never")], right),
        "`toolstack=xm` where it is xl" => (vec![("OCF_RESKEY_toolstack", "xm")], right),
        "no file on this node" => {
            (vec![NAMED], |host| std::fs::remove_file(host.root.join("etc/xen/x0.cfg")).unwrap())
        }
        "xl refuses the file" => {
            (vec![NAMED], |host| std::fs::write(host.root.join("etc/xen/x0.cfg"), "memory = [\n").unwrap())
        }
        "no xl" => (vec![NAMED], no_xl),
        "xl fails, and Xen runs" => (vec![NAMED], fails),
        "xl fails, and no hypervisor runs" => (vec![], |host| {
            fails(host);
            bare(host);
        }),
        "no xl, and no hypervisor runs" => (vec![], |host| {
            no_xl(host);
            bare(host);
        }),
        other => panic!("nobody knows how to make this mistake: {other}"),
    }
}

fn no_xl(host: &Host) {
    let xl = host.root.join("usr/sbin/xl");
    std::fs::rename(&xl, xl.with_extension("kept")).unwrap();
}

fn fails(host: &Host) {
    no_xl(host);
    host.put_script("usr/sbin/xl", "echo 'cannot init xl context' >&2; exit 1");
}

/// Has xl work again: its domains are ended by it.
fn put_right(world: &World) {
    for node in NODES {
        let xl = world.host(node).root.join("usr/sbin/xl");
        // Only some mistakes take it away.
        let _ = std::fs::rename(xl.with_extension("kept"), xl);
    }
}

/// What a kernel shows that runs without Xen.
fn bare(host: &Host) {
    std::fs::remove_dir_all(host.root.join("sys/hypervisor")).unwrap();
}

/// Every host shows its kernel's facts.
fn world() -> World {
    let world = World::new(&NODES);
    world.plan(&NODES, None);
    for name in NODES {
        let root = world.host(name).root;
        for (file, text) in [XEN, ("sys/kernel/mm/x", ""), ("proc/interrupts", "0: 7 IO-APIC 2-edge timer\n")]
        {
            std::fs::create_dir_all(root.join(file).parent().unwrap()).unwrap();
            std::fs::write(root.join(file), text).unwrap();
        }
    }
    world
}

/// The agent as the cluster calls it, with the mistake in its parameters.
fn call(
    world: &World,
    action: &str,
    parameters: &[(&'static str, &'static str)],
    limit: (&'static str, &'static str),
) -> Call {
    let mut all = parameters.to_vec();
    all.push(limit);
    let at = world.host(if action == "migrate_from" { "n2" } else { "n1" });
    match action {
        "probe" => at.act("monitor", &all),
        "monitor" => {
            all.push(RECURRING);
            at.act("monitor", &all)
        }
        "migrate_to" | "migrate_from" => {
            all.extend(ENDS);
            at.act(action, &all)
        }
        _ => at.act(action, &all),
    }
}

fn cell(row: &[&str], heads: &[&str], action: &str) -> (Option<i32>, Option<i32>) {
    let at = heads.iter().position(|head| *head == action).unwrap();
    let codes: Vec<Option<i32>> = row[at].split_whitespace().map(|code| code.parse().ok()).collect();
    (codes[0], codes[1])
}

/// Plays a row. What does not end as it says there.
fn play(row: &[&str], heads: &[&str]) -> Vec<String> {
    let (parameters, break_it) = mistake(row[0]);
    let wrong = RefCell::new(Vec::new());
    let expect = |world: &World, action: &str, code: Option<i32>, runs: bool, limit| {
        let Some(code) = code else { return };
        let said = call(world, action, &parameters, limit);
        let mistaken = parameters.iter().find(|(name, _)| *name != NAMED.0 && *name != "OCF_RESKEY_handof");
        let is_named = match (mistaken, code) {
            (Some((name, value)), 6 | 190) => {
                let value = value.replace("UNSET", "not set");
                said.reason.contains(name.trim_start_matches("OCF_RESKEY_")) && said.reason.contains(&value)
            }
            _ => true,
        };
        if said.code != code || !is_named {
            wrong.borrow_mut().push(format!(
                "{}: {action} (it runs: {runs}): {} and not {code}: {}",
                row[0], said.code, said.reason
            ));
        }
    };
    let absent = world();
    NODES.iter().for_each(|node| break_it(&absent.host(node)));
    for action in
        ["probe", "monitor", "reload-agent", "validate-all", "migrate_to", "migrate_from", "stop", "start"]
    {
        let waits = cell(row, heads, action).0 == Some(1);
        let limit = if waits { AT_ONCE } else { SOON };
        expect(&absent, action, cell(row, heads, action).0, false, limit);
    }
    let there = world();
    let (n1, n2) = (there.host("n1"), there.host("n2"));
    n1.succeeds("start");
    NODES.iter().for_each(|node| break_it(&there.host(node)));
    let runs = |host: &Host| {
        let domains = std::fs::read_dir(host.root.join("var/lib/xl-standin/domains"));
        domains.is_ok_and(|all| all.count() == 1)
    };
    let limit = if cell(row, heads, "monitor").1 == Some(1) { AT_ONCE } else { SOON };
    for action in ["probe", "monitor", "reload-agent", "validate-all", "start", "migrate_to", "migrate_from"]
    {
        expect(&there, action, cell(row, heads, action).1, true, limit);
        if !(runs(&n1) || runs(&n2)) {
            wrong.borrow_mut().push(format!("{}: {action} has ended it", row[0]));
        }
    }
    expect(&there, "stop", cell(row, heads, "stop").1, true, limit);
    put_right(&there);
    wrong.into_inner()
}

/// The rows of the table, as many at once as there are processors.
#[test]
fn p8_every_action_and_every_mistake_ends_as_the_table_says() {
    let table: Vec<Vec<&str>> = TABLE
        .lines()
        .skip_while(|line| !line.starts_with("| mistake |"))
        .take_while(|line| line.starts_with('|'))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    let [heads, _, rows @ ..] = table.as_slice() else { panic!("no table") };
    assert!(rows.len() > 10 && rows.iter().all(|row| row.len() == heads.len()), "{rows:?}");
    let mut wrong = Vec::new();
    for some in rows.chunks(4) {
        std::thread::scope(|scope| {
            let played: Vec<_> = some.iter().map(|row| scope.spawn(|| play(row, heads))).collect();
            played.into_iter().for_each(|row| wrong.extend(row.join().unwrap()));
        });
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn p8_a_host_without_hypervisor_tells_the_evidence_and_another_node_may_boot() {
    let world = world();
    let (n1, n2) = (world.host("n1"), world.host("n2"));
    fails(&n2);
    world.old_ledger(&NODES);
    let start = n1.act("start", &[SOON, ("OCF_RESKEY_handoff_peer_timeout", "2")]);
    assert_eq!(start.code, 1, "n2 may have one: {}", start.reason);
    bare(&n2);
    assert_eq!(n2.act("monitor", &[]).code, 7);
    assert!(
        world.log().contains("no hypervisor runs on this host: there is no /sys/hypervisor/type"),
        "{}",
        world.log()
    );
    let start = n2.act("start", &[]);
    assert_eq!(start.code, 5);
    assert!(start.reason.contains("no hypervisor runs on this host"), "{}", start.reason);
    n1.succeeds("start");
    assert!(n1.runs_x0());
}

#[test]
fn p8_a_node_whose_xl_fails_does_not_have_the_guest_stopped_where_it_runs() {
    let world = world();
    let (n1, n2) = (world.host("n1"), world.host("n2"));
    n1.succeeds("start");
    assert_eq!(n2.act("monitor", &[]).code, 7);
    fails(&n2);
    let probe = n2.act("monitor", &[]);
    assert_eq!(probe.code, 5, "{}", probe.reason);
    assert!(probe.reason.contains("cannot init xl context; it runs on n1"), "{}", probe.reason);
    assert_eq!(n2.act("monitor", &[RECURRING]).code, 1, "there is one here by the cluster's book");
    n1.succeeds("stop");
    assert_eq!(n2.act("monitor", &[]).code, 1, "nobody says that he has it");
}

#[test]
fn p8_a_mistyped_word_does_not_keep_a_running_guest_from_moving() {
    let world = world();
    let (n1, n2) = (world.host("n1"), world.host("n2"));
    n1.succeeds("start");
    world.plan(&NODES, Some("n2"));
    let mistyped = [("OCF_RESKEY_migration_rate", "50M")];
    assert_eq!(n1.act("stop", &mistyped).code, 0);
    assert_eq!(n1.phase(), "offered");
    let start = n2.act("start", &mistyped);
    assert_eq!(start.code, 0, "{}", start.reason);
    assert!(n2.runs_x0() && n1.domains().is_empty());
    // With the one word that says whether it may be handed over at all, it is not.
    world.plan(&NODES, Some("n1"));
    assert_eq!(n2.act("stop", &[("OCF_RESKEY_handoff", "yes")]).code, 0);
    assert_eq!(n2.phase(), "idle");
    assert!(n2.domains().is_empty() && world.log().contains("handoff=\"yes\""), "{}", world.log());
}
