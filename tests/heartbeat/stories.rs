//! The stories: given x0 on n1, when Heartbeat is told something, then the guest is well.

use crate::pair::{Pair, Wish};
use libtest_mimic::{Failed, Trial};

/// All of them.
pub(crate) fn trials() -> Vec<Trial> {
    let story = |name: &str, tell: fn()| {
        Trial::test(name, move || std::panic::catch_unwind(tell).map_err(|_| Failed::from("see above")))
    };
    vec![
        story("a_node_that_leaves_hands_its_domain_over_live", leaving),
        story("standby_hands_over_and_failback_brings_it_back", standby_and_back),
        story("p1_a_node_that_died_unfenced_forbids_a_boot", unfenced),
        story("a_node_that_was_fenced_is_taken_over", fenced),
        story("p6_two_nodes_that_leave_at_once_end_the_domain", both_leave),
        story("p1_of_three_nodes_only_one_gets_it", three_nodes),
    ]
}

fn leaving() {
    let pair = Pair::start(Wish::default());
    pair.stop_heartbeat("n1");
    pair.wait_stable("n2");
    pair.wait_heartbeat_gone("n1");
    assert_eq!(pair.places(), ["n2"]);
    assert_eq!(pair.boots(), 1, "{}", pair.logs());
}

fn standby_and_back() {
    let pair = Pair::start(Wish { auto_failback: true, ..Wish::default() });
    pair.fabric.sh("n1", "/usr/share/heartbeat/hb_standby all");
    pair.wait_stable("n2");
    pair.fabric.sh("n1", "/usr/share/heartbeat/hb_takeover all");
    pair.wait_stable("n1");
    pair.eventually("n2 has none", || pair.places() == ["n1"]);
    assert_eq!(pair.boots(), 1, "{}", pair.logs());
}

fn unfenced() {
    let pair = Pair::start(Wish::default());
    pair.power_off("n1");
    pair.eventually("the start on n2 says why not", || pair.log("n2").contains("n1 may be running it"));
    assert!(pair.places().is_empty());
    assert_eq!(pair.boots(), 1);
}

fn fenced() {
    let pair = Pair::start(Wish { fencing: true, ..Wish::default() });
    assert!(!pair.fabric.get("n2", "/run/xen-handoff/ledger/since").is_empty(), "noted when it joined");
    // It has done so for longer than an offer lives.
    pair.fabric.put("n2", "/run/xen-handoff/ledger/since", 0o600, "1000\n");
    pair.power_off("n1");
    pair.eventually("x0 runs on n2", || {
        pair.answer_fencing();
        pair.runs_x0("n2")
    });
    assert_eq!(pair.boots(), 2);
}

fn both_leave() {
    let haresources = "n1 xen-handoff::x0::/etc/xen/x0.cfg::handoff_timeout=20::timeout=40\n";
    let pair = Pair::start(Wish { haresources, ..Wish::default() });
    pair.stop_heartbeat("n2");
    pair.stop_heartbeat("n1");
    pair.eventually("x0 has ended", || pair.places().is_empty());
    pair.wait_heartbeat_gone("n1");
    pair.wait_heartbeat_gone("n2");
    assert_eq!(pair.boots(), 1);
}

fn three_nodes() {
    let pair = Pair::start(Wish { nodes: &["n1", "n2", "n3"], ..Wish::default() });
    pair.stop_heartbeat("n1");
    pair.eventually("one of the others has it", || !pair.places().is_empty() && !pair.runs_x0("n1"));
    pair.wait_heartbeat_gone("n1");
    assert_eq!(pair.places().len(), 1);
    assert_eq!(pair.boots(), 1, "{}", pair.logs());
}
