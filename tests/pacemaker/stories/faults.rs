//! P4: the transfer is broken at every point that xl's handshake has, and the guest goes on on exactly one side.

use super::Test;
use crate::cluster::Cluster;
use crate::story::{Domain, Story};

pub(crate) const STORIES: &[(&str, Test)] = &[
    ("receiver_dies_before_its_banner", |c| receiver_dies(c, "before-banner")),
    ("receiver_dies_in_the_stream", |c| receiver_dies(c, "in-stream")),
    ("receiver_dies_before_ready", |c| receiver_dies(c, "before-ready")),
    ("receiver_dies_after_ready", |c| receiver_dies(c, "after-ready")),
    ("receiver_dies_after_go", |c| receiver_dies(c, "after-go")),
    ("receiver_dies_after_unpausing", |c| receiver_dies(c, "after-unpause")),
    ("sender_dies_in_the_stream", |c| sender_dies(c, "in-stream")),
    ("sender_dies_in_stop_and_copy", |c| sender_dies(c, "stop-and-copy")),
    ("sender_dies_before_go", |c| sender_dies(c, "after-rename")),
    ("sender_dies_after_go", |c| sender_dies(c, "after-go")),
    ("target_cannot_unpause", target_cannot_unpause),
    ("no_memory_on_the_target", no_memory),
    ("guest_does_not_suspend", no_suspend),
    ("hazard_h1_interrupted_migration_after_a_round_trip", hazard_h1),
];

/// Dies once; what the agent makes of it must end with the guest on one side, running, never booted again.
fn receiver_dies(cluster: &Cluster, point: &str) {
    let story = Story::begin(cluster);
    story.given(&Domain::new("x0"));
    cluster.knob("n2", "receive.kill-once", point);
    story.standby("n1");
    story.end("x0", &["n2"], 1);
}

fn sender_dies(cluster: &Cluster, point: &str) {
    let story = Story::begin(cluster);
    story.given(&Domain::new("x0"));
    cluster.knob("n1", "have-resume", "");
    cluster.knob("n1", "migrate.kill-once", point);
    story.standby("n1");
    story.end("x0", &["n2"], 1);
}

fn target_cannot_unpause(cluster: &Cluster) {
    let story = Story::begin(cluster);
    story.given(&Domain::new("x0"));
    cluster.knob("n2", "receive.fail", "unpause");
    story.standby("n1");
    story.logged("n2", &["x0", "failed"]);
    cluster.unset_knob("n2", "receive.fail");
    story.end("x0", &["n2"], 1);
}

fn no_memory(cluster: &Cluster) {
    let story = Story::begin(cluster);
    story.given(&Domain::new("x0"));
    cluster.knob("n2", "memory-mib", "1100");
    story.standby("n1");
    story.logged("n2", &["x0"]);
    cluster.unset_knob("n2", "memory-mib");
    story.end("x0", &["n2"], 1);
}

fn no_suspend(cluster: &Cluster) {
    let story = Story::begin(cluster);
    story.given(&Domain::new("x0"));
    cluster.knob("n1", "x0.no-suspend", "1");
    story.standby("n1");
    story.logged("n2", &["x0", "failed"]);
    cluster.unset_knob("n1", "x0.no-suspend");
    story.end("x0", &["n2"], 1);
}

/// Pacemaker 2.1.5 forgets the stop on the target when a migration that repeats an earlier one is interrupted, and starts
/// the domain again on the source. P1 must hold all the same.
fn hazard_h1(cluster: &Cluster) {
    let story = Story::begin(cluster);
    story.given(&Domain::new("x0").meta("allow-migrate", "true").start_timeout(12));
    cluster.must(&["crm_resource", "--move", "-r", "x0", "-N", "n3"]);
    story.runs("x0", "n3");
    cluster.settle();
    cluster.must(&["crm_resource", "--clear", "-r", "x0"]);
    story.runs("x0", "n1");
    cluster.settle();
    cluster.knob("n1", "stream.mib-per-second", "3");
    cluster.must(&["crm_resource", "--move", "-r", "x0", "-N", "n3"]);
    crate::spawn::until(crate::story::SOON, || story.state("n3", "x0--incoming") == "paused")
        .expect("an incoming domain");
    cluster.must(&["crm_resource", "--clear", "-r", "x0"]);
    cluster.settle();
    let running = story.running_on("x0");
    assert_eq!(running.len(), 1, "x0 runs on {running:?}\n{}", story.report());
    // the node that sent it remembers where to, until somebody has put right what the cluster believes
    story.promises("x0", 1);
}
