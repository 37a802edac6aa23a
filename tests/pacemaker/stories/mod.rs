//! The stories, each given, when, then; the promise that one is about is in its name or its first line. What is planted to
//! go wrong has folders of its own, `tests/faults`.

mod deadlines;
mod handoffs;
mod mistakes;
mod operators;
mod quick_start;
mod readme;
mod real_stops;
mod recipes;
mod starts;

use crate::cluster::Cluster;
use crate::pool::with_cluster;
use crate::story::{Domain, Story};
use crate::{audit, skip};
use libtest_mimic::Trial;

type Test = fn(&Cluster);

pub(crate) fn trials() -> Vec<Trial> {
    let with_agent = [
        handoffs::STORIES,
        mistakes::STORIES,
        operators::STORIES,
        quick_start::STORIES,
        readme::STORIES,
        real_stops::STORIES,
        recipes::STORIES,
        starts::STORIES,
    ]
    .concat();
    let mut trials: Vec<Trial> = vec![
        skip(trial("stock_agent_reboots_the_guest", stock_agent_reboots_the_guest), false),
        skip(trial("audit_sees_two_copies", audit_sees_two_copies), false),
    ];
    trials.push(skip(deadlines::trial(), true));
    trials.extend(with_agent.into_iter().map(|(name, test)| skip(trial(name, test), true)));
    trials
}

fn trial(name: &'static str, test: Test) -> Trial {
    Trial::test(format!("story::{name}"), move || with_cluster(name, test))
}

/// What we are measured against: `ocf:heartbeat:Xen` on the same cluster and the same toolstack.
fn stock_agent_reboots_the_guest(cluster: &Cluster) {
    let story = Story::begin(cluster);
    story.given(&Domain::new("x0").with_agent("heartbeat", "Xen"));
    story.standby("n1");
    story.runs("x0", "n2");
    story.end("x0", &["n2"], 2);
}

/// P1 broken on purpose: the audit must say so, or it proves nothing anywhere else.
fn audit_sees_two_copies(cluster: &Cluster) {
    let story = Story::begin(cluster);
    let domain = Domain::new("x0");
    story.given_config(&domain);
    for node in ["n1", "n2"] {
        assert!(cluster.xl(node, &["create", "/etc/xen/x0.cfg"]).ok(), "booting x0 on {node}");
    }
    let found = audit::two_at_once(&story.events());
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found.concat().contains("x0 began to run on n2 (domid"), "{found:?}");
    assert_eq!(audit::boots(&story.events(), "x0").len(), 2);
    // one after the other is no offence, nor is a copy that is paused, nor one whose host has no power
    let order = |lines: &str| audit::two_at_once(&audit::read(lines));
    assert!(
        order("1.0 a x 1 paused -> running B\n2.0 a x 1 running -> absent B\n3.0 b x 1 paused -> running B")
            .is_empty()
    );
    assert!(order("1.0 a x 1 paused -> running B\n2.0 b x--incoming 1 absent -> paused B").is_empty());
    assert!(
        order(
            "1.0 a x 1 paused -> running B\n2.0 a * 0 running -> power-off -\n3.0 b x 1 paused -> running C"
        )
        .is_empty()
    );
    assert_eq!(order("1.0 a x 1 paused -> running B\n3.0 a x 1 running -> absent B\n2.0 b x--migratedaway 7 paused -> running B").len(), 1);
}
