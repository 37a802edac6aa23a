//! Stops that become a handoff: the guest moves, running, and is booted once.

use super::Test;
use crate::cluster::Cluster;
use crate::spawn::until;
use crate::story::{Domain, SOON, Story};

pub(crate) const STORIES: &[(&str, Test)] = &[
    ("handoff_when_pacemaker_is_shut_down", shutdown),
    ("handoff_when_the_controller_is_shut_down", shutdown_of_the_controller),
    ("handoff_on_standby", standby),
    ("handoff_on_move", moved),
    ("handoff_on_ban", banned),
    ("handoff_of_several_at_once", several),
    ("handoff_of_several_with_one_slot_goes_by_priority", one_slot),
    ("handoff_keeps_to_its_rate", rate),
    ("handoff_and_back", and_back),
    ("ordinary_migration_where_pacemaker_can", ordinary_migration),
    ("failed_migration_becomes_a_handoff", failed_migration),
    ("reclaimed_by_the_source", reclaimed),
    ("slow_transfer_outlives_nothing", slow_transfer),
];

fn shutdown(cluster: &Cluster) {
    let story = Story::begin(cluster);
    story.given(&Domain::new("x0"));
    cluster.terminate_pacemaker("n1");
    story.runs("x0", "n2");
    cluster.wait_pacemaker_gone("n1");
    story.logged("n1", &["x0", "offered to n2"]);
    story.logged("n2", &["x0", "fetched, running, from n1"]);
    story.end("x0", &["n2"], 1);
}

fn shutdown_of_the_controller(cluster: &Cluster) {
    let story = Story::begin(cluster);
    let controller = cluster.controller();
    let others: Vec<&str> = crate::cluster::NODES.iter().copied().filter(|n| *n != controller).collect();
    let first = crate::cluster::NODES.iter().copied().find(|n| *n == controller).expect("a controller");
    let (second, third) = (others.first().copied().expect("a node"), others.get(1).copied().expect("a node"));
    story.given(&Domain::new("x0").only_on(&[first, second, third]));
    cluster.terminate_pacemaker(first);
    story.runs("x0", second);
    cluster.wait_pacemaker_gone(first);
    story.end("x0", &[second], 1);
}

fn standby(cluster: &Cluster) {
    let story = Story::begin(cluster);
    story.given(&Domain::new("x0"));
    story.standby("n1");
    story.end("x0", &["n2"], 1);
}

fn moved(cluster: &Cluster) {
    let story = Story::begin(cluster);
    story.given(&Domain::new("x0"));
    cluster.must(&["crm_resource", "--move", "-r", "x0", "-N", "n3"]);
    story.end("x0", &["n3"], 1);
}

fn banned(cluster: &Cluster) {
    let story = Story::begin(cluster);
    story.given(&Domain::new("x0"));
    cluster.must(&["crm_resource", "--ban", "-r", "x0", "-N", "n1"]);
    story.end("x0", &["n2"], 1);
}

fn several(cluster: &Cluster) {
    let story = Story::begin(cluster);
    for name in ["x0", "x1", "x2"] {
        story.given(&Domain::new(name));
    }
    story.standby("n1");
    for name in ["x0", "x1", "x2"] {
        story.runs(name, "n2");
    }
    cluster.settle();
    for name in ["x0", "x1", "x2"] {
        story.audit(name, 1);
    }
    story.end("x0", &["n2"], 1);
}

/// Four leave at once, and only one may move at a time: whoever waits goes in the order of the cluster's priorities.
fn one_slot(cluster: &Cluster) {
    let story = Story::begin(cluster);
    for node in crate::cluster::NODES {
        cluster.fabric.put(node, "/etc/sysconfig/xen-handoff", 0o644, "max_incoming_migrations=1\n");
        cluster.knob(node, "stream.mib-per-second", "0.5");
    }
    let priorities = [("x0", "5"), ("x1", "40"), ("x2", "20"), ("x3", "30")];
    for (name, priority) in priorities {
        story.given(&Domain::new(name).meta("priority", priority));
    }
    story.standby("n1");
    for (name, _) in priorities {
        story.runs(name, "n2");
    }
    cluster.settle();
    for (name, _) in priorities {
        story.audit(name, 1);
    }
    let log = cluster.agent_log("n2");
    let begun: Vec<i64> = log
        .lines()
        .filter(|line| line.contains("claiming->receiving"))
        .filter_map(|line| priorities.iter().find(|(name, _)| line.contains(&format!("domain={name} "))))
        .filter_map(|(_, priority)| priority.parse().ok())
        .collect();
    // The first one found the slot free.
    assert_eq!(begun.len(), 4, "each moved once: {log}");
    assert!(begun[1..].is_sorted_by(|one, next| one > next), "the order was {begun:?}\n{log}");
    assert!(log.contains("waits for one of 1 incoming slots"), "{log}");
    story.end("x0", &["n2"], 1);
}

fn rate(cluster: &Cluster) {
    let story = Story::begin(cluster);
    story.given(&Domain::new("x0").parameter("migration_rate", "1"));
    cluster.knob("n1", "stream.mib-per-second", "100");
    story.standby("n1");
    story.runs("x0", "n2");
    // The move is in the log when its start has ended.
    cluster.settle();
    let said = cluster.fabric.on("n2", &["/usr/sbin/xen-handoff", "history", "--json", "--last", "1"]);
    let moved: serde_json::Value = serde_json::from_str(&said.stdout).expect("JSON");
    let at = |point: &str| moved["moves"][0][point].as_f64().unwrap_or_default();
    assert!(at("ready_after_seconds") - at("opened_after_seconds") > 2.5, "3 MiB at 1 MiB/s: {moved}");
    story.end("x0", &["n2"], 1);
}

fn and_back(cluster: &Cluster) {
    let story = Story::begin(cluster);
    story.given(&Domain::new("x0"));
    for _ in 0..2 {
        story.standby("n1");
        story.runs("x0", "n2");
        cluster.settle();
        story.online("n1");
        story.runs("x0", "n1");
        cluster.settle();
    }
    story.end("x0", &["n1"], 1);
}

fn ordinary_migration(cluster: &Cluster) {
    let story = Story::begin(cluster);
    story.given(&Domain::new("x0").meta("allow-migrate", "true"));
    cluster.must(&["crm_resource", "--move", "-r", "x0", "-N", "n3"]);
    story.runs("x0", "n3");
    cluster.settle();
    let history = cluster.must(&["cibadmin", "-Q", "--xpath", "//lrm_resource[@id='x0']"]);
    assert!(history.contains("x0_migrate_from_0"), "not Pacemaker's own migration: {history}");
    story.end("x0", &["n3"], 1);
}

/// Pacemaker plans stop, stop, start after a failed `migrate_to`: a cold restart, but for the offer.
fn failed_migration(cluster: &Cluster) {
    let story = Story::begin(cluster);
    story.given(&Domain::new("x0").meta("allow-migrate", "true"));
    cluster.knob("n3", "migrate-receive.fail-once", "1\nxl: no luck today");
    cluster.must(&["crm_resource", "--move", "-r", "x0", "-N", "n3"]);
    story.failure(&["x0_migrate_to_0 on n1"]);
    story.end("x0", &["n3"], 1);
}

/// The start comes back to the source: nothing is moved, nothing is booted.
fn reclaimed(cluster: &Cluster) {
    let story = Story::begin(cluster);
    story.given(&Domain::new("x0").only_on(&["n1", "n2"]).start_timeout(15));
    cluster.knob("n2", "migrate-receive.fail", "1\nxl: no luck today");
    story.standby("n1");
    story.phase("n1", "x0", "offered");
    story.online("n1");
    story.failure(&["x0_start_0 on n2"]);
    story.logged("n1", &["x0", "reclaimed"]);
    story.end("x0", &["n1"], 1);
}

/// A transfer of some seconds, monitored meanwhile on both sides.
fn slow_transfer(cluster: &Cluster) {
    let story = Story::begin(cluster);
    story.given(&Domain::new("x0"));
    cluster.knob("n1", "stream.mib-per-second", "2");
    cluster.knob("n1", "stream.last-seconds", "1");
    story.standby("n1");
    until(SOON, || story.state("n2", "x0--incoming") == "paused").expect("an incoming domain");
    // a probe on the source must find nothing to stop
    cluster.must(&["crm_resource", "--refresh", "-r", "x0", "-N", "n1"]);
    story.end("x0", &["n2"], 1);
}
