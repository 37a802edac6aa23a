//! P8: a mistake stays where it was made. Fencing is on, the guest runs on n1; at the end nobody was fenced, it runs on, booted once, and
//! the reason stands in `crm_mon`. And `reload-agent`: what does not concern the guest restarts nothing.

use super::Test;
use crate::audit;
use crate::cluster::{Cluster, NODES, XEN_RUNS};
use crate::spawn::until;
use crate::story::{Domain, SOON, Story};

pub(crate) const STORIES: &[(&str, Test)] = &[
    ("mistake_in_a_parameter_of_a_running_guest", mistyped),
    ("mistake_in_a_parameter_does_not_end_a_move", mistyped_in_a_move),
    ("mistake_in_a_parameter_of_a_new_resource", mistyped_from_the_start),
    ("mistake_of_a_node_without_hypervisor_is_passed_over", no_hypervisor),
    ("mistake_of_a_node_whose_xl_fails_is_passed_over", xl_fails),
    ("mistake_of_a_node_that_lacks_the_file_is_passed_over", no_file),
    ("changed_parameters_restart_nothing", reloaded),
];

/// x0 runs on n1, and power switches work.
fn given<'a>(cluster: &'a Cluster, domain: &Domain) -> Story<'a> {
    let story = Story::begin(cluster);
    cluster.enable_fencing();
    story.given(domain);
    story
}

/// It runs there still, the same one, and nobody asked for a power switch.
fn unharmed(story: Story<'_>, node: &str) {
    story.cluster.settle();
    nobody_fenced(&story);
    story.end("x0", &[node], 1);
}

fn nobody_fenced(story: &Story<'_>) {
    let fenced: Vec<&str> = NODES.into_iter().filter(|node| story.cluster.was_fenced(node)).collect();
    assert_eq!(fenced, Vec::<&str>::new(), "fenced\n{}", story.report());
}

fn update(cluster: &Cluster, words: &str) {
    cluster.fabric.sh("n1", &format!("pcs resource update x0 {words}"));
}

fn mistyped(cluster: &Cluster) {
    let story = given(cluster, &Domain::new("x0"));
    for (parameter, value) in [("handoff", "yes"), ("shutdown_timeout", "abc"), ("migration_rate", "50M")] {
        update(cluster, &format!("{parameter}={value}"));
        story.failure(&["x0_monitor_2000 on n1", parameter, value, "(OCF_DEGRADED)"]);
        cluster.settle();
        assert_eq!(story.running_on("x0"), ["n1"], "{parameter}={value}\n{}", story.report());
        // Another probe of every node, with the mistake.
        cluster.must(&["crm_resource", "--refresh", "-r", "x0"]);
        cluster.settle();
        assert_eq!(story.running_on("x0"), ["n1"], "{parameter}={value}, probed\n{}", story.report());
        update(cluster, &format!("{parameter}="));
        cluster.settle();
        cluster.must(&["crm_resource", "--cleanup", "-r", "x0"]);
        cluster.settle();
        assert_eq!(cluster.failures(), Vec::<String>::new(), "put right");
    }
    // A stop with a mistake works as well.
    update(cluster, "handoff=yes");
    story.failure(&["x0_monitor_2000 on n1", "handoff"]);
    cluster.must(&["crm_resource", "-r", "x0", "--meta", "-p", "target-role", "-v", "Stopped"]);
    story.runs_nowhere("x0");
    cluster.settle();
    nobody_fenced(&story);
    story.end("x0", &[], 1);
}

fn mistyped_in_a_move(cluster: &Cluster) {
    for may_migrate in ["true", "false"] {
        let story = given(cluster, &Domain::new("x0").meta("allow-migrate", may_migrate));
        update(cluster, "migration_rate=50M");
        cluster.settle();
        cluster.must(&["crm_resource", "--move", "-r", "x0", "-N", "n2"]);
        story.runs("x0", "n2");
        story.failure(&["x0_monitor_2000 on n2", "migration_rate", "50M", "(OCF_DEGRADED)"]);
        unharmed(story, "n2");
    }
}

fn mistyped_from_the_start(cluster: &Cluster) {
    let story = Story::begin(cluster);
    cluster.enable_fencing();
    story.given_config(&Domain::new("x0"));
    let create = "pcs resource create x0 ocf:handoff:Xen xmfile=/etc/xen/x0.cfg handoff=yes op monitor interval=2s timeout=20s";
    cluster.fabric.sh("n1", create);
    story.failure(&["x0_start_0", "handoff", "yes", "must be auto or never", "(not configured)"]);
    cluster.settle();
    assert_eq!(story.running_on("x0"), Vec::<String>::new());
    update(cluster, "handoff=auto");
    cluster.must(&["crm_resource", "--cleanup", "-r", "x0"]);
    until(SOON, || story.running_on("x0").len() == 1).unwrap_or_else(|_| panic!("{}", story.report()));
    cluster.settle();
    nobody_fenced(&story);
    let resource = cluster.fabric.sh("n1", "cibadmin -Q -o resources");
    assert!(resource.contains("name=\"reload-agent\"") && !resource.contains("name=\"usage\""), "{resource}");
    story.promises("x0", 1);
}

/// n2 was booted without Xen: its probe finds nothing, and a move to it goes on to the next node, with the guest running.
fn no_hypervisor(cluster: &Cluster) {
    let story = given(cluster, &Domain::new("x0"));
    cluster.fabric.sh("n2", &format!("rm {XEN_RUNS}"));
    cluster.knob("n2", "all.fail", "1\ncannot init xl context");
    cluster.must(&["crm_resource", "--refresh", "-r", "x0", "-N", "n2"]);
    story.logged("n2", &["x0", "cannot init xl context", "no hypervisor runs on this host"]);
    cluster.settle();
    assert_eq!(cluster.failures(), Vec::<String>::new());
    assert_eq!(story.running_on("x0"), ["n1"], "{}", story.report());
    story.standby("n1");
    story.failure(&["x0_start_0 on n2", "no hypervisor runs on this host", "(not installed)"]);
    story.runs("x0", "n3");
    unharmed(story, "n3");
}

/// Xen runs on n2, and xl does not: whether x0 is there cannot be known from there.
fn xl_fails(cluster: &Cluster) {
    let story = given(cluster, &Domain::new("x0"));
    cluster.knob("n2", "all.fail", "1\ncannot init xl context");
    cluster.must(&["crm_resource", "--refresh", "-r", "x0", "-N", "n2"]);
    // Pacemaker shows no reason for such a probe: the log has it.
    story.logged("n2", &["x0 on n2", "cannot init xl context", "it runs on n1"]);
    cluster.settle();
    assert_eq!(story.running_on("x0"), ["n1"], "{}", story.report());
    story.standby("n1");
    story.runs("x0", "n3");
    unharmed(story, "n3");
}

fn no_file(cluster: &Cluster) {
    let story = given(cluster, &Domain::new("x0").parameter("name", "x0"));
    cluster.fabric.sh("n2", "rm /etc/xen/x0.cfg");
    cluster.must(&["crm_resource", "--refresh", "-r", "x0", "-N", "n2"]);
    cluster.settle();
    assert_eq!(story.running_on("x0"), ["n1"], "{}", story.report());
    story.standby("n1");
    story.failure(&[
        "x0_start_0 on n2",
        "no configuration file /etc/xen/x0.cfg on this node",
        "(not installed)",
    ]);
    story.runs("x0", "n3");
    unharmed(story, "n3");
}

/// By pcs, by crm and by hand; and the next stop knows the new value.
fn reloaded(cluster: &Cluster) {
    let story = given(cluster, &Domain::new("x0"));
    let reloads = |so_many: usize, how: &str| {
        let done = || cluster.agent_log("n1").matches("the parameters have changed").count() == so_many;
        until(SOON, done).unwrap_or_else(|_| panic!("no reload by {how}\n{}", story.report()));
        cluster.settle();
        assert_eq!(story.running_on("x0"), ["n1"], "by {how}\n{}", story.report());
        assert_eq!(audit::boots(&story.events(), "x0").len(), 1, "by {how}\n{}", story.report());
    };
    update(cluster, "migration_rate=40 handoff_timeout=PT2M");
    reloads(1, "pcs");
    cluster.fabric.sh("n1", "crm resource param x0 set migration_compression zstd");
    reloads(2, "crm");
    cluster.must(&["crm_resource", "-r", "x0", "-p", "handoff", "-v", "never"]);
    reloads(3, "crm_resource");
    cluster.must(&["crm_resource", "-r", "x0", "-d", "migration_rate"]);
    reloads(4, "crm_resource, a parameter less");
    story.standby("n1");
    story.logged("n1", &["x0", "no handoff", "handoff=never"]);
    story.runs("x0", "n2");
    cluster.settle();
    nobody_fenced(&story);
    // What says which guest it is, restarts it.
    cluster.fabric.sh("n1", "for n in n1 n2 n3; do ssh $n cp /etc/xen/x0.cfg /etc/xen/other.cfg; done");
    update(cluster, "xmfile=/etc/xen/other.cfg");
    until(SOON, || audit::boots(&story.events(), "x0").len() == 3)
        .unwrap_or_else(|_| panic!("xmfile was reloaded\n{}", story.report()));
    story.end("x0", &["n2"], 3);
}
