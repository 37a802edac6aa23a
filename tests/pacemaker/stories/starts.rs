//! P2 and P3: what a start does with an offer, and what it needs to know before it boots anything.

use super::Test;
use crate::cluster::Cluster;
use crate::spawn::until;
use crate::story::{Domain, SOON, Story};

pub(crate) const STORIES: &[(&str, Test)] = &[
    ("young_ledger_and_a_silent_peer_boot_nothing", silent_peer_young_ledger),
    ("offer_of_an_unreachable_source_boots_nothing", unreachable_source),
    ("offer_outlives_its_source_which_was_fenced", fenced_source),
    ("offer_ends_at_its_deadline", offer_ends),
    ("found_elsewhere_boots_nothing", found_elsewhere),
    ("started_twice_is_started_once", started_twice),
    ("missing_configuration_bans_the_node", missing_configuration),
];

/// Until the ledger is older than the longest offer, every peer must answer before a cold boot.
fn silent_peer_young_ledger(cluster: &Cluster) {
    let story = Story::begin(cluster);
    cluster.stop_sshd("n3");
    let domain = Domain::new("x0").parameter("handoff_timeout", "7200").start_timeout(12).only_on(&["n1"]);
    story.given_config(&domain);
    cluster.create("resources", &domain.primitive());
    for node in ["n2", "n3"] {
        let xml = format!(r#"<rsc_location id="not-{node}" rsc="x0" node="{node}" score="-INFINITY"/>"#);
        cluster.create("constraints", &xml);
    }
    story.failure(&["x0_start_0 on n1", "n3"]);
    assert_eq!(crate::audit::boots(&story.events(), "x0").len(), 0, "booted without proof");
    cluster.start_sshd("n3");
    cluster.must(&["crm_resource", "--cleanup", "-r", "x0"]);
    story.end("x0", &["n1"], 1);
}

/// The start is held back until the offer has been made and its source is out of reach.
fn with_offer_and_held_start(story: &Story<'_>, domain: &Domain) {
    story.given(domain);
    for node in ["n2", "n3"] {
        story.cluster.knob(node, "list.hang", "");
    }
    story.standby("n1");
    story.phase("n1", "x0", "offered");
}

fn let_starts_go_on(story: &Story<'_>) {
    for node in ["n2", "n3"] {
        story.cluster.unset_knob(node, "list.hang");
    }
}

fn unreachable_source(cluster: &Cluster) {
    let story = Story::begin(cluster);
    let domain = Domain::new("x0").start_timeout(15).only_on(&["n1", "n2"]);
    with_offer_and_held_start(&story, &domain);
    cluster.stop_sshd("n1");
    let_starts_go_on(&story);
    story.failure(&["x0_start_0 on n2", "n1"]);
    assert_eq!(story.running_on("x0"), ["n1"], "the guest goes on");
    cluster.start_sshd("n1");
    cluster.must(&["crm_resource", "--cleanup", "-r", "x0"]);
    story.end("x0", &["n2"], 1);
}

/// P3, P4: the source dies with its offer open; fencing is the proof, and the guest is booted once more.
fn fenced_source(cluster: &Cluster) {
    let story = Story::begin(cluster);
    cluster.enable_fencing();
    let domain = Domain::new("x0").start_timeout(25);
    with_offer_and_held_start(&story, &domain);
    cluster.power_off("n1");
    let_starts_go_on(&story);
    // Pacemaker fences only when no action is under way: the start on n2 may have to fail before, and n3 is next
    let mut place = vec![];
    until(SOON, || {
        cluster.answer_fencing();
        place = story.running_on("x0");
        !place.is_empty()
    })
    .unwrap_or_else(|_| panic!("not started after the fencing\n{}", story.report()));
    let place: Vec<&str> = place.iter().map(String::as_str).collect();
    story.end("x0", &place, 2);
}

/// P5: nobody came, so the source ends it, and only then is it booted elsewhere.
fn offer_ends(cluster: &Cluster) {
    let story = Story::begin(cluster);
    let domain = Domain::new("x0").parameter("handoff_timeout", "10").start_timeout(50);
    with_offer_and_held_start(&story, &domain);
    story.runs_nowhere("x0");
    let_starts_go_on(&story);
    story.end("x0", &["n2"], 2);
}

/// Somebody has booted it by hand on another node, outside the cluster's knowledge.
fn found_elsewhere(cluster: &Cluster) {
    let story = Story::begin(cluster);
    let domain = Domain::new("x0").start_timeout(12).only_on(&["n1"]).meta("target-role", "Stopped");
    story.given_config(&domain);
    cluster.create("resources", &domain.primitive());
    cluster.create("constraints", r#"<rsc_location id="not-2" rsc="x0" node="n2" score="-INFINITY"/>"#);
    cluster.create("constraints", r#"<rsc_location id="not-3" rsc="x0" node="n3" score="-INFINITY"/>"#);
    cluster.settle();
    assert!(cluster.xl("n3", &["create", "/etc/xen/x0.cfg"]).ok(), "booting x0 by hand");
    cluster.must(&["crm_resource", "-r", "x0", "--meta", "-p", "target-role", "-v", "Started"]);
    story.failure(&["x0_start_0 on n1", "n3"]);
    assert_eq!(story.running_on("x0"), ["n3"]);
    assert!(cluster.xl("n3", &["destroy", "x0"]).ok(), "ending it");
    cluster.must(&["crm_resource", "--cleanup", "-r", "x0"]);
    story.end("x0", &["n1"], 2);
}

fn started_twice(cluster: &Cluster) {
    let story = Story::begin(cluster);
    story.given(&Domain::new("x0"));
    let said = cluster.fabric.on("n1", &["crm_resource", "--force-start", "-r", "x0"]);
    assert!(said.ok(), "{}{}", said.stdout, said.stderr);
    story.end("x0", &["n1"], 1);
}

fn missing_configuration(cluster: &Cluster) {
    let story = Story::begin(cluster);
    let domain = Domain::new("x0");
    story.given_config(&domain);
    cluster.fabric.sh("n1", "rm /etc/xen/x0.cfg");
    cluster.create("resources", &domain.primitive());
    cluster.create("constraints", r#"<rsc_location id="at-1" rsc="x0" node="n1" score="300"/>"#);
    cluster.create("constraints", r#"<rsc_location id="at-2" rsc="x0" node="n2" score="200"/>"#);
    story.end("x0", &["n2"], 1);
}
