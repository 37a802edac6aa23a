//! P6: stop means stop. Nothing is left running that the cluster believes stopped, and the reason is in the log.

use super::Test;
use crate::cluster::{Cluster, NODES};
use crate::spawn::until;
use crate::story::{Domain, SOON, Story};

pub(crate) const STORIES: &[(&str, Test)] = &[
    ("disabled_is_shut_down", disabled),
    ("stop_all_resources_shuts_down", stop_all),
    ("deleted_is_shut_down", deleted),
    ("all_nodes_leaving_shuts_down", all_leaving),
    ("restart_is_a_restart", restart),
    ("handoff_never_reboots", never),
    ("ordered_after_what_stops_here_is_stopped", ordered),
    ("group_member_is_stopped", group_member),
    ("promotable_below_is_stopped", promotable_below),
    ("failed_guest_is_not_handed_over", failed_guest),
    ("paused_guest_is_not_handed_over", paused_guest),
    ("target_without_sshd_gets_no_offer", target_without_sshd),
    ("unmanaged_is_left_alone", unmanaged),
    ("maintenance_is_left_alone", maintenance),
    ("stop_by_hand_in_an_empty_environment", by_hand),
    ("force_stop_by_an_operator", force_stop),
    ("guest_that_ignores_shutdown_is_destroyed", stubborn_guest),
    ("guest_reboot_is_no_failure", guest_reboot),
    ("monitor_without_an_answer_of_xl_is_an_error", silent_xl),
];

/// No offer was made: the log has the reason, and no record ever said more than idle.
fn refused(story: &Story<'_>, node: &str, why: &str) {
    story.logged(node, &["x0", "no handoff", why]);
}

fn disabled(cluster: &Cluster) {
    let story = Story::begin(cluster);
    story.given(&Domain::new("x0"));
    cluster.must(&["crm_resource", "-r", "x0", "--meta", "-p", "target-role", "-v", "Stopped"]);
    story.runs_nowhere("x0");
    refused(&story, "n1", "will not start it on another node");
    story.end("x0", &[], 1);
}

fn stop_all(cluster: &Cluster) {
    let story = Story::begin(cluster);
    story.given(&Domain::new("x0"));
    cluster.must(&["crm_attribute", "-t", "crm_config", "-n", "stop-all-resources", "-v", "true"]);
    story.runs_nowhere("x0");
    refused(&story, "n1", "will not start it on another node");
    story.end("x0", &[], 1);
}

fn deleted(cluster: &Cluster) {
    let story = Story::begin(cluster);
    story.given(&Domain::new("x0"));
    cluster.fabric.sh(
        &cluster.somebody(),
        "cibadmin --replace -o constraints -X '<constraints/>' && cibadmin --replace -o resources -X '<resources/>'",
    );
    story.runs_nowhere("x0");
    refused(&story, "n1", "");
    story.end("x0", &[], 1);
}

fn all_leaving(cluster: &Cluster) {
    let story = Story::begin(cluster);
    // whoever is asked to stop before the others have said that they leave too, may offer it: that offer must end
    story.given(&Domain::new("x0").parameter("handoff_timeout", "10"));
    for node in NODES {
        cluster.terminate_pacemaker(node);
    }
    story.runs_nowhere("x0");
    for node in NODES {
        cluster.wait_pacemaker_gone(node);
    }
    for node in NODES {
        cluster.start_pacemaker(node);
    }
    cluster.wait_online(&NODES);
    story.end("x0", &["n1"], 2);
}

fn restart(cluster: &Cluster) {
    let story = Story::begin(cluster);
    story.given(&Domain::new("x0"));
    cluster.must(&["crm_resource", "--restart", "-r", "x0", "--timeout=40s"]);
    story.end("x0", &["n1"], 2);
}

fn never(cluster: &Cluster) {
    let story = Story::begin(cluster);
    story.given(&Domain::new("x0").parameter("handoff", "never"));
    story.standby("n1");
    refused(&story, "n1", "handoff=never");
    story.end("x0", &["n2"], 2);
}

fn dummy(id: &str) -> String {
    format!(
        r#"<primitive id="{id}" class="ocf" provider="pacemaker" type="Dummy"><operations>
        <op id="{id}-monitor" name="monitor" interval="5s" timeout="20s"/></operations></primitive>"#
    )
}

fn ordered(cluster: &Cluster) {
    let story = Story::begin(cluster);
    let domain = Domain::new("x0");
    cluster.create("resources", &dummy("base"));
    cluster.settle();
    story.given(&domain);
    cluster.create("constraints", r#"<rsc_colocation id="c" rsc="base" with-rsc="x0" score="INFINITY"/>"#);
    cluster.settle();
    cluster.create("constraints", r#"<rsc_order id="o" first="base" then="x0"/>"#);
    cluster.settle();
    story.standby("n1");
    refused(&story, "n1", "base");
    let boots = crate::audit::boots(&story.events(), "x0").len();
    story.runs("x0", "n2");
    story.end("x0", &["n2"], boots + 1);
}

fn group_member(cluster: &Cluster) {
    let story = Story::begin(cluster);
    let domain = Domain::new("x0");
    let group = format!(r#"<group id="g">{}{}</group>"#, dummy("base"), domain.primitive());
    story.given_in(&domain, &group, "g");
    story.standby("n1");
    refused(&story, "n1", "base");
    story.end("x0", &["n2"], 2);
}

fn promotable_below(cluster: &Cluster) {
    let story = Story::begin(cluster);
    let domain = Domain::new("x0");
    let disk = r#"<clone id="disk-clone"><meta_attributes id="disk-m"><nvpair id="disk-p" name="promotable" value="true"/>
        </meta_attributes><primitive id="disk" class="ocf" provider="standin" type="Probe"/></clone>"#;
    let promoted = crate::world::world().promoted();
    cluster.create("resources", disk);
    for (node, score) in [("n1", 300), ("n2", 200)] {
        cluster.create(
            "constraints",
            &format!(
                r##"<rsc_location id="m-{node}" rsc="disk-clone"><rule id="m-{node}-r" role="{promoted}" score="{score}">
                <expression id="m-{node}-e" attribute="#uname" operation="eq" value="{node}"/></rule></rsc_location>"##
            ),
        );
    }
    cluster.settle();
    story.given(&domain);
    cluster.create(
        "constraints",
        r#"<rsc_order id="o" first="disk-clone" first-action="promote" then="x0" then-action="start"/>"#,
    );
    cluster.create(
        "constraints",
        &format!(
            r#"<rsc_colocation id="c" rsc="x0" with-rsc="disk-clone" with-rsc-role="{promoted}" score="INFINITY"/>"#
        ),
    );
    cluster.settle();
    let boots = crate::audit::boots(&story.events(), "x0").len();
    story.standby("n1");
    refused(&story, "n1", "disk");
    story.runs("x0", "n2");
    story.end("x0", &["n2"], boots + 1);
}

fn failed_guest(cluster: &Cluster) {
    let story = Story::begin(cluster);
    story.given(&Domain::new("x0").config("on_crash = \"preserve\"").meta("migration-threshold", "1"));
    cluster.xl("n1", &["standin", "guest", "x0", "crash"]);
    story.runs("x0", "n2");
    refused(&story, "n1", "");
    story.failure(&["x0_monitor_2000 on n1"]);
    story.end("x0", &["n2"], 2);
}

fn paused_guest(cluster: &Cluster) {
    let story = Story::begin(cluster);
    story.given(&Domain::new("x0"));
    cluster.must(&["crm_resource", "-r", "x0", "--meta", "-p", "is-managed", "-v", "false"]);
    cluster.settle();
    assert!(cluster.xl("n1", &["pause", "x0"]).ok(), "pausing x0");
    story.standby("n1");
    cluster.must(&["crm_resource", "-r", "x0", "--meta", "-d", "is-managed"]);
    refused(&story, "n1", "");
    story.end("x0", &["n2"], 2);
}

fn target_without_sshd(cluster: &Cluster) {
    let story = Story::begin(cluster);
    story.given(&Domain::new("x0"));
    cluster.stop_sshd("n2");
    story.standby("n1");
    refused(&story, "n1", "the planned target cannot fetch it");
    story.end("x0", &["n2"], 2);
}

fn unmanaged(cluster: &Cluster) {
    let story = Story::begin(cluster);
    story.given(&Domain::new("x0"));
    cluster.must(&["crm_resource", "-r", "x0", "--meta", "-p", "is-managed", "-v", "false"]);
    cluster.settle();
    story.standby("n1");
    cluster.settle();
    story.end("x0", &["n1"], 1);
}

fn maintenance(cluster: &Cluster) {
    let story = Story::begin(cluster);
    story.given(&Domain::new("x0"));
    cluster.must(&["crm_attribute", "-t", "crm_config", "-n", "maintenance-mode", "-v", "true"]);
    cluster.settle();
    cluster.terminate_pacemaker("n1");
    cluster.wait_pacemaker_gone("n1");
    assert_eq!(story.running_on("x0"), ["n1"], "in maintenance");
    cluster.start_pacemaker("n1");
    cluster.wait_online(&NODES);
    cluster.settle();
    cluster.must(&["crm_attribute", "-t", "crm_config", "-n", "maintenance-mode", "-D"]);
    story.end("x0", &["n1"], 1);
}

fn by_hand(cluster: &Cluster) {
    let story = Story::begin(cluster);
    let domain = Domain::new("x0");
    story.given_config(&domain);
    let environment = [
        "OCF_ROOT=/usr/lib/ocf",
        "OCF_RESOURCE_INSTANCE=x0",
        "OCF_RA_VERSION_MAJOR=1",
        "OCF_RESKEY_xmfile=/etc/xen/x0.cfg",
        "HOME=/root",
    ];
    assert!(cluster.xl("n1", &["create", "/etc/xen/x0.cfg"]).ok(), "booting x0");
    let said = story.by_hand("n1", "stop", &environment);
    assert_eq!(said.status, 0, "{}", said.stderr);
    assert_eq!(story.state("n1", "x0"), "", "x0 after its stop");
    let said = story.by_hand("n1", "monitor", &environment);
    assert_eq!(said.status, 7, "{}", said.stderr);
    let said = story.by_hand("n1", "stop", &environment);
    assert_eq!(said.status, 0, "a second stop: {}", said.stderr);
    let said = story.by_hand("n1", "dance", &environment);
    assert_eq!(said.status, 3, "an unknown action: {}", said.stderr);
    story.audit("x0", 1);
}

/// `crm_resource --force-stop` names no node: an operator wants it down.
fn force_stop(cluster: &Cluster) {
    let story = Story::begin(cluster);
    story.given(&Domain::new("x0"));
    cluster.must(&["crm_resource", "-r", "x0", "--meta", "-p", "is-managed", "-v", "false"]);
    cluster.settle();
    let said = cluster.fabric.on("n1", &["crm_resource", "--force-stop", "-r", "x0"]);
    assert!(said.ok(), "{}{}", said.stdout, said.stderr);
    assert_eq!(story.state("n1", "x0"), "", "x0 after the operator's stop");
    story.audit("x0", 1);
}

fn stubborn_guest(cluster: &Cluster) {
    let story = Story::begin(cluster);
    story.given(&Domain::new("x0").parameter("shutdown_timeout", "3"));
    cluster.knob("n1", "x0.ignore-shutdown", "");
    cluster.must(&["crm_resource", "-r", "x0", "--meta", "-p", "target-role", "-v", "Stopped"]);
    story.runs_nowhere("x0");
    story.end("x0", &[], 1);
}

/// xl's reboot window: the domain is not there for two seconds, and nobody may start it elsewhere, or call it failed.
fn guest_reboot(cluster: &Cluster) {
    let story = Story::begin(cluster);
    story.given(&Domain::new("x0"));
    cluster.xl("n1", &["standin", "guest", "x0", "reboot"]);
    until(SOON, || crate::audit::boots(&story.events(), "x0").len() == 2).expect("the second boot");
    story.runs("x0", "n1");
    assert_eq!(cluster.failures(), Vec::<String>::new(), "{}", story.report());
    story.end("x0", &["n1"], 2);
}

fn silent_xl(cluster: &Cluster) {
    let story = Story::begin(cluster);
    story.given(&Domain::new("x0"));
    cluster.must(&["crm_resource", "-r", "x0", "--meta", "-p", "is-managed", "-v", "false"]);
    cluster.settle();
    let check = |node| cluster.fabric.on(node, &["crm_resource", "--force-check", "-r", "x0"]);
    assert_eq!(check("n1").status, 0, "while xl answers");
    assert_eq!(check("n2").status, 7, "where it is not");
    let says = "1\nxencall: error: Could not obtain handle on privileged command interface: No such file or directory\n\
                libxl: error: libxl.c:102:libxl_ctx_alloc: cannot open libxc handle: No such file or directory\n\
                cannot init xl context";
    for node in ["n1", "n2"] {
        cluster.knob(node, "all.fail", says);
        assert_eq!(check(node).status, 1, "{node}: an xl that fails says nothing about the domain");
        cluster.unset_knob(node, "all.fail");
    }
    cluster.must(&["crm_resource", "--cleanup", "-r", "x0"]);
    story.audit("x0", 1);
}
