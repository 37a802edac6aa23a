//! Moves whose processes die, wherever they do, and what settles them.

use crate::world::World;
use crate::{eventually, x0_on_n1};

#[test]
fn p4_a_stream_that_breaks_leaves_the_domain_running_and_the_next_try_succeeds() {
    for (who, point) in [("receive", "in-stream"), ("migrate", "in-stream")] {
        let world = x0_on_n1();
        let (n1, n2) = (world.host("n1"), world.host("n2"));
        n1.succeeds("stop");
        let host = if who == "receive" { &n2 } else { &n1 };
        host.knob(&format!("{who}.kill"), point);
        let start = n2.act("start", &[("OCF_RESKEY_CRM_meta_timeout", "9000")]);
        assert_eq!(start.code, 1, "{who}: {}", start.reason);
        assert!(n1.runs_x0(), "{who} killed in the {point}: {:?}", n1.domains());
        assert!(!n2.runs_x0());
        host.unset_knob(&format!("{who}.kill"));
        n2.succeeds("start");
        assert!(n2.runs_x0());
        assert_eq!(world.log().matches("booting it").count(), 1, "it was booted again");
    }
}

/// Every point at which xl's sender or receiver can die (stand-in's names), and where the domain must be in the end: it
/// runs once, has never been booted again, and nothing is left over.
#[test]
fn p4_whoever_dies_wherever_exactly_one_copy_runs_in_the_end() {
    let sender =
        ["before-banner", "in-stream", "stop-and-copy", "before-ready", "after-ready", "after-rename"];
    let sender = sender.into_iter().chain(["after-go", "before-destroy"]).map(|point| ("migrate", point));
    let receiver = ["before-banner", "in-stream", "before-ready", "after-ready", "after-go", "after-unpause"];
    let receiver = receiver.into_iter().chain(["after-report"]).map(|point| ("receive", point));
    let points: Vec<_> = sender.chain(receiver).collect();
    // A few at a time: more only make each other late.
    for some in points.chunks(3) {
        std::thread::scope(|scope| {
            for (who, point) in some {
                scope.spawn(|| dies(who, point));
            }
        });
    }
}

fn dies(who: &str, point: &str) {
    let world = x0_on_n1();
    let (n1, n2) = (world.host("n1"), world.host("n2"));
    n1.knob("have-resume", "");
    n1.succeeds("stop");
    let host = if who == "receive" { &n2 } else { &n1 };
    host.knob(&format!("{who}.kill-once"), point);
    n2.succeeds("start");
    eventually(&format!("{who} dies {point}: all is settled"), || {
        n1.domains().is_empty() && n1.phase() == "idle" && n2.phase() == "idle"
    });
    assert!(n2.runs_x0() && n2.domains().len() == 1, "{who} dies {point}: {:?}", n2.domains());
    assert_eq!(world.log().matches("booting it").count(), 1, "{who} dies {point}: booted again");
}

/// A push whose sender dies with the domain given away and renamed, and whose target is out of reach from that moment on.
fn given_away_and_cut(world: &World) {
    let (n1, n2) = (world.host("n1"), world.host("n2"));
    n1.knob("have-resume", "");
    n1.knob("migrate.kill-once", "after-rename");
    let ends = [
        ("OCF_RESKEY_CRM_meta_migrate_source", "n1"),
        ("OCF_RESKEY_CRM_meta_migrate_target", "n2"),
        ("OCF_RESKEY_CRM_meta_timeout", "15000"),
    ];
    let to = std::thread::scope(|scope| {
        let to = scope.spawn(|| n1.act("migrate_to", &ends));
        eventually("the stream has begun", || n2.phase() == "receiving");
        n2.cut(true);
        to.join().unwrap()
    });
    assert_eq!(to.code, 1);
    assert!(to.reason.contains("no clear end"), "{}", to.reason);
    n1.end_workers();
}

#[test]
fn recover_shows_both_ends_and_acts_only_on_evidence() {
    let world = x0_on_n1();
    let (n1, n2) = (world.host("n1"), world.host("n2"));
    given_away_and_cut(&world);
    assert_eq!(n1.act("monitor", &[("OCF_RESKEY_CRM_meta_timeout", "2000")]).code, 1);
    let (code, text) = n1.tool(&["recover", "x0"]);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("n2:         no answer") && text.contains("nothing can be decided"), "{text}");
    assert!(!n1.runs_x0());
    n2.cut(false);
    let (code, text) = n1.tool(&["recover", "--dry-run", "x0"]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("given away") && text.contains("the copy here is the only one"), "{text}");
    assert!(!n1.runs_x0());
    let (code, text) = n1.tool(&["recover", "x0"]);
    assert_eq!(code, 0, "{text}");
    assert!(n1.runs_x0() && n2.domains().is_empty(), "{text}");
    assert_eq!(n1.phase(), "idle");
}

#[test]
fn p6_a_push_that_outlives_its_action_does_not_arrive_where_a_stop_has_reported_success() {
    let world = x0_on_n1();
    let (n1, n2) = (world.host("n1"), world.host("n2"));
    let ends = [("OCF_RESKEY_CRM_meta_migrate_source", "n1"), ("OCF_RESKEY_CRM_meta_migrate_target", "n2")];
    // The push is in the ledger, and its worker is slow to reach the target.
    let ssh = std::fs::read_to_string(n1.root.join("usr/sbin/ssh")).unwrap();
    let go = world.shared("go");
    let slow = format!("until [ -e {} ]; do sleep 0.05; done", go.display());
    n1.put_script("usr/sbin/ssh", &ssh.replace("#!/bin/sh", &slow));
    let to = std::thread::scope(|scope| {
        let to = scope.spawn(|| n1.act("migrate_to", &ends));
        eventually("the push is in the ledger", || {
            let entry = std::fs::read_to_string(world.shared("attrs/xen-handoff-x0/n2"));
            entry.is_ok_and(|text| text.contains("target=n2"))
        });
        n2.succeeds("stop");
        std::fs::write(&go, "").unwrap();
        to.join().unwrap()
    });
    assert_eq!(to.code, 1, "{}", to.reason);
    assert!(to.reason.contains("told to stop it"), "{}", to.reason);
    assert!(n1.runs_x0() && n2.domains().is_empty());
}

#[test]
fn a_copy_that_was_given_to_a_host_that_has_restarted_since_is_never_resumed() {
    let world = x0_on_n1();
    let (n1, n2) = (world.host("n1"), world.host("n2"));
    given_away_and_cut(&world);
    // What runs on a host is gone when it restarts, and so is what lies in /run.
    for name in ["x0", "x0--incoming"] {
        n2.xl(&["destroy", name]);
    }
    std::fs::remove_dir_all(n2.root.join("run/xen-handoff")).unwrap();
    std::fs::create_dir_all(n2.root.join("proc/sys/kernel/random")).unwrap();
    std::fs::write(n2.root.join("proc/sys/kernel/random/boot_id"), "another life\n").unwrap();
    n2.cut(false);
    let (code, text) = n1.tool(&["recover", "x0"]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("restarted since") && text.contains("destroy the stale copy"), "{text}");
    assert!(n1.domains().is_empty() && n2.domains().is_empty());
    n1.succeeds("stop");
    n2.succeeds("start");
    assert!(n2.runs_x0());
}
