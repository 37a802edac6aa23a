//! The agent, action by action, on a stand-in world: what the cluster gets for each precondition, and the handoff between
//! two hosts that are folders. "Expected", not "works": the same stories run on real Pacemaker (`tests/pacemaker`) and
//! on real Xen (`tests/lab`).

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    unreachable_pub,
    missing_docs,
    missing_debug_implementations,
    reason = "a test fails by panicking, and its helpers are nobody's library"
)]

mod world;

use std::time::{Duration, Instant};

use world::World;

const NODES: [&str; 3] = ["n1", "n2", "n3"];

/// x0 runs on n1, and the cluster plans to have it on n2.
fn x0_on_n1() -> World {
    let world = World::new(&NODES);
    world.host("n1").succeeds("start");
    world.plan(&NODES, Some("n2"));
    world
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(40);
    while !holds() {
        assert!(Instant::now() < until, "in vain waited for: {what}");
        std::thread::yield_now();
    }
}

#[test]
fn a_handoff_leaves_the_domain_running_and_pulls_it_over_without_a_reboot() {
    let world = x0_on_n1();
    let (n1, n2) = (world.host("n1"), world.host("n2"));
    n1.succeeds("stop");
    assert!(n1.runs_x0(), "stop returned success and the domain is {:?}", n1.domains());
    assert_eq!(n1.act("monitor", &[]).code, 7, "to the cluster it is stopped");
    assert_eq!(n1.phase(), "offered");
    n2.succeeds("start");
    assert!(n2.runs_x0());
    assert_eq!(n2.act("monitor", &[]).code, 0);
    eventually("the source has nothing left", || n1.domains().is_empty() && n1.phase() == "idle");
    assert_eq!(n2.phase(), "idle");
    assert_eq!(world.log().matches("booting it").count(), 1, "it was booted again");
    for (host, entry) in [("n2", "n2"), ("n3", "n3")] {
        let value = std::fs::read_to_string(world.shared("attrs/xen-handoff-x0").join(entry)).unwrap();
        assert_eq!(value, "", "the offer is still in the ledger of {host}");
    }
}

#[test]
fn a_start_on_the_source_reclaims_its_own_offer() {
    let world = x0_on_n1();
    let n1 = world.host("n1");
    n1.succeeds("stop");
    let before = n1.xl(&["domid", "x0"]);
    n1.succeeds("start");
    assert_eq!(n1.xl(&["domid", "x0"]), before);
    assert!(n1.runs_x0());
    assert_eq!((n1.phase().as_str(), n1.act("monitor", &[]).code), ("idle", 0));
}

#[test]
fn any_survivor_can_claim_not_only_the_planned_one() {
    let world = x0_on_n1();
    world.host("n1").succeeds("stop");
    world.host("n2").cut(true);
    world.host("n3").succeeds("start");
    assert!(world.host("n3").runs_x0());
}

#[test]
fn p6_stop_means_stop_when_nobody_will_start_it_elsewhere() {
    for destination in [None, Some("n1")] {
        let world = x0_on_n1();
        world.plan(&NODES, destination);
        world.host("n1").succeeds("stop");
        assert!(world.host("n1").domains().is_empty());
        assert!(world.log().contains("no handoff: the cluster will"), "{}", world.log());
    }
}

#[test]
fn p3_without_a_ledger_or_a_target_that_answers_stop_is_an_ordinary_one() {
    let ledger = x0_on_n1();
    std::fs::write(ledger.shared("attrd-down"), "").unwrap();
    ledger.host("n1").succeeds("stop");
    assert!(ledger.host("n1").domains().is_empty());
    assert!(ledger.log().contains("no handoff: the offer could not be recorded"), "{}", ledger.log());

    let target = x0_on_n1();
    target.host("n2").cut(true);
    target.host("n1").succeeds("stop");
    assert!(target.host("n1").domains().is_empty());
    assert!(target.log().contains("no handoff: the planned target cannot fetch it"), "{}", target.log());

    let one_way = x0_on_n1();
    one_way.host("n1").cut(true);
    one_way.host("n1").succeeds("stop");
    assert!(one_way.host("n1").domains().is_empty());
    assert!(one_way.log().contains("n2 says: cannot reach n1"), "{}", one_way.log());
}

#[test]
fn p2_no_cold_boot_while_the_source_of_an_open_offer_is_silent() {
    let world = x0_on_n1();
    let (n1, n2) = (world.host("n1"), world.host("n2"));
    n1.succeeds("stop");
    n1.cut(true);
    let start = n2.act("start", &[("OCF_RESKEY_CRM_meta_timeout", "4000")]);
    assert_eq!(start.code, 1, "{}", start.reason);
    assert!(start.reason.contains("ocf-exit-reason:x0 on n2: n1 may be running it"), "{}", start.reason);
    assert!(n2.domains().is_empty() && n1.runs_x0());
    n1.cut(false);
    n2.succeeds("start");
    assert!(n2.runs_x0());
}

#[test]
fn a_silent_source_is_fenced_where_that_is_wished_or_the_cluster_has_lost_it() {
    let world = x0_on_n1();
    let (n1, n2) = (world.host("n1"), world.host("n2"));
    n1.succeeds("stop");
    n1.cut(true);
    let cib = std::fs::read_to_string(world.shared("cib.xml")).unwrap();
    let lost = cib.replace(
        "<node_state uname=\"n1\" in_ccm=\"true\" crmd=\"online\"/>",
        "<node_state uname=\"n1\" in_ccm=\"false\" crmd=\"offline\"/>",
    );
    std::fs::write(world.shared("cib.xml"), lost).unwrap();
    let fencing = world.shared("fencing.xml");
    let fenced = "<r><fence_history><fence_event action=\"reboot\" target=\"n1\" status=\"success\" \
                  completed=\"2099-01-01 00:00:00Z\"/></fence_history></r>";
    n2.put_script(
        "usr/sbin/stonith_admin",
        &format!(
            "[ \"$1\" = --reboot ] && echo '{fenced}' >{0}\n[ \"$1\" = --history ] && cat {0}\nexit 0",
            fencing.display()
        ),
    );
    let quick = ("OCF_RESKEY_handoff_peer_timeout", "2");
    let start = n2.act("start", &[("OCF_RESKEY_CRM_meta_timeout", "6000"), quick]);
    assert_eq!(start.code, 1, "waiting is the default");
    assert!(!world.log().contains("fencing it"));
    n1.xl(&["destroy", "x0"]);
    let start = n2.act("start", &[("OCF_RESKEY_handoff_unreachable", "fence"), quick]);
    assert_eq!(start.code, 0, "{}", start.reason);
    assert!(n2.runs_x0() && world.log().contains("n1 was fenced"));
    // Once more, and now the cluster wants to fence it but cannot before this start has ended.
    n2.xl(&["destroy", "x0"]);
    std::fs::write(&fencing, "<r><fence_history/></r>").unwrap();
    n1.cut(false);
    n1.succeeds("start");
    n1.succeeds("stop");
    n1.cut(true);
    let cib = std::fs::read_to_string(world.shared("cib.xml")).unwrap();
    let lost = cib.replace("crmd=\"offline\"/>", "crmd=\"offline\" expected=\"member\"/>");
    assert_ne!(lost, cib);
    std::fs::write(world.shared("cib.xml"), lost).unwrap();
    n1.xl(&["destroy", "x0"]);
    let start = n2.act("start", &[]);
    assert_eq!(start.code, 0, "{}", start.reason);
    assert!(n2.runs_x0() && world.log().contains("the cluster has lost it"));
}

#[test]
fn p2_a_start_whose_cluster_manager_was_killed_boots_nothing() {
    let world = x0_on_n1();
    let (n1, n2) = (world.host("n1"), world.host("n2"));
    n1.succeeds("stop");
    for tool in ["cibadmin", "attrd_updater"] {
        n2.put_script(&format!("usr/sbin/{tool}"), "echo 'Could not connect' >&2; exit 102");
    }
    let start = n2.act("start", &[("OCF_RESKEY_CRM_meta_timeout", "3000")]);
    assert_eq!(start.code, 1);
    assert!(start.reason.contains("the other nodes cannot be told"), "{}", start.reason);
    assert!(n1.runs_x0() && n2.domains().is_empty());
}

#[test]
fn p2_a_silent_node_forbids_a_boot_unless_the_cluster_knows_that_it_has_none() {
    let world = World::new(&["n1", "n2", "n3"]);
    let (n1, n2, n3) = (world.host("n1"), world.host("n2"), world.host("n3"));
    world.old_ledger(&["n3"]);
    n2.cut(true);
    let start = n3.act("start", &[("OCF_RESKEY_CRM_meta_timeout", "3000")]);
    assert_eq!(start.code, 1);
    assert!(
        start.reason.contains("n2 may be running it (nothing that the cluster knows"),
        "{}",
        start.reason
    );
    world.history("n2", "monitor", 7);
    n3.succeeds("start");
    assert!(n3.runs_x0() && n1.domains().is_empty());
}

#[test]
fn p2_what_a_push_left_on_a_silent_node_is_never_booted_elsewhere() {
    let world = World::new(&["n1", "n2", "n3"]);
    let (n1, n2, n3) = (world.host("n1"), world.host("n2"), world.host("n3"));
    n1.succeeds("start");
    world.old_ledger(&["n3"]);
    // A probe from before the push: the cluster has forgotten where it went (H1).
    world.history("n2", "monitor", 7);
    let ends = [("OCF_RESKEY_CRM_meta_migrate_source", "n1"), ("OCF_RESKEY_CRM_meta_migrate_target", "n2")];
    assert_eq!(n1.act("migrate_to", &ends).code, 0);
    assert!(n2.runs_x0());
    n2.cut(true);
    let start = n3.act("start", &[("OCF_RESKEY_CRM_meta_timeout", "3000")]);
    assert_eq!(start.code, 1);
    assert!(start.reason.contains("n2 may be running it (a migration from n1 to n2"), "{}", start.reason);
    // Accounted for, it is no obstacle any more.
    n2.cut(false);
    assert_eq!(n2.act("migrate_from", &ends).code, 0);
    world.plan(&["n1", "n2", "n3"], Some("n2"));
    n1.succeeds("stop");
    n2.xl(&["destroy", "x0"]);
    n2.cut(true);
    n3.succeeds("start");
}

#[test]
fn p2_a_push_that_the_target_cannot_read_in_its_ledger_is_not_begun() {
    let world = x0_on_n1();
    let n1 = world.host("n1");
    let ends = [("OCF_RESKEY_CRM_meta_migrate_source", "n1"), ("OCF_RESKEY_CRM_meta_migrate_target", "n2")];
    std::fs::write(world.shared("attrd-down"), "").unwrap();
    let to = n1.act("migrate_to", &ends);
    assert_eq!(to.code, 1);
    assert!(to.reason.contains("ledger") && to.reason.contains("it still runs here"), "{}", to.reason);
    assert!(n1.runs_x0() && n1.phase() == "idle");
}

#[test]
fn p2_a_fencing_after_the_offer_is_proof_enough_for_a_cold_boot() {
    let world = x0_on_n1();
    let (n1, n2) = (world.host("n1"), world.host("n2"));
    n1.succeeds("stop");
    n1.cut(true);
    n1.xl(&["destroy", "x0"]);
    let cib = std::fs::read_to_string(world.shared("cib.xml")).unwrap();
    let lost = cib.replace(
        "<node_state uname=\"n1\" in_ccm=\"true\" crmd=\"online\"/>",
        "<node_state uname=\"n1\" in_ccm=\"false\" crmd=\"offline\"/>",
    );
    assert_ne!(lost, cib);
    std::fs::write(world.shared("cib.xml"), lost).unwrap();
    let fenced = |at: &str| {
        format!(
            "<r><fence_history><fence_event action=\"off\" target=\"n1\" status=\"success\" completed=\"{at}\"/>\
             </fence_history></r>"
        )
    };
    std::fs::write(world.shared("fencing.xml"), fenced("2001-01-01 00:00:00Z")).unwrap();
    let start = n2.act("start", &[("OCF_RESKEY_CRM_meta_timeout", "3000")]);
    assert_eq!(start.code, 1, "a fencing before the offer proves nothing");
    std::fs::write(world.shared("fencing.xml"), fenced("2099-01-01 00:00:00Z")).unwrap();
    n2.succeeds("start");
    assert!(n2.runs_x0());
}

#[test]
fn p1_start_refuses_while_another_node_runs_it() {
    let world = x0_on_n1();
    let start = world.host("n2").act("start", &[("OCF_RESKEY_CRM_meta_timeout", "3000")]);
    assert_eq!(start.code, 1);
    assert!(start.reason.contains("n1 has it: running"), "{}", start.reason);
    assert!(world.host("n2").domains().is_empty());
}

#[test]
fn p5_an_offer_that_nobody_claims_ends_in_a_shutdown() {
    let world = x0_on_n1();
    let n1 = world.host("n1");
    assert_eq!(n1.act("stop", &[("OCF_RESKEY_handoff_timeout", "10")]).code, 0);
    assert!(n1.runs_x0());
    eventually("the domain is gone and the offer with it", || {
        n1.domains().is_empty() && n1.phase() == "idle"
    });
    // The source says that it has none: proof enough.
    world.host("n2").succeeds("start");
}

#[test]
fn the_clusters_own_migration_pushes_and_is_accounted_for() {
    let world = x0_on_n1();
    let (n1, n2) = (world.host("n1"), world.host("n2"));
    let ends = [("OCF_RESKEY_CRM_meta_migrate_source", "n1"), ("OCF_RESKEY_CRM_meta_migrate_target", "n2")];
    let to = n1.act("migrate_to", &ends);
    assert_eq!(to.code, 0, "{}", to.reason);
    assert_eq!(n1.phase(), "left");
    assert_eq!(n2.act("migrate_from", &ends).code, 0);
    n1.succeeds("stop");
    assert!(n2.runs_x0() && n1.domains().is_empty());
    assert_eq!((n1.phase().as_str(), n2.phase().as_str()), ("idle", "idle"));
}

#[test]
fn p4_a_migration_that_cannot_begin_costs_the_guest_nothing() {
    let world = x0_on_n1();
    let (n1, n2) = (world.host("n1"), world.host("n2"));
    let ends = [("OCF_RESKEY_CRM_meta_migrate_source", "n1"), ("OCF_RESKEY_CRM_meta_migrate_target", "n2")];
    n2.cut(true);
    let to = n1.act("migrate_to", &ends);
    assert_eq!(to.code, 1);
    assert!(to.reason.contains("it still runs here"), "{}", to.reason);
    assert!(n1.runs_x0());
    // The stop that follows becomes an offer, the start a second, pulled attempt.
    n2.cut(false);
    n1.succeeds("stop");
    assert!(n1.runs_x0());
    n2.succeeds("start");
    assert!(n2.runs_x0());
    assert_eq!(world.log().matches("booting it").count(), 1, "it was booted again");
}

#[test]
fn a_stop_in_an_empty_environment_ends_the_domain() {
    let world = x0_on_n1();
    let n1 = world.host("n1");
    let nothing = [
        ("OCF_RESKEY_xmfile", "UNSET"),
        ("OCF_RESKEY_CRM_meta_on_node", "UNSET"),
        ("OCF_RESKEY_CRM_meta_timeout", "UNSET"),
    ];
    let stop = n1.act("stop", &nothing);
    assert_eq!(stop.code, 0, "{}", stop.reason);
    assert!(n1.domains().is_empty());
}

#[test]
fn preconditions_and_their_exit_codes() {
    let world = World::new(&NODES);
    let n1 = world.host("n1");
    assert_eq!(n1.act("monitor", &[]).code, 7);
    assert_eq!(n1.act("stop", &[]).code, 0, "stop of an absent domain");
    assert_eq!(n1.act("start", &[("OCF_RESKEY_xmfile", "/nonexistent.cfg")]).code, 5);
    assert_eq!(n1.act("start", &[("OCF_RESKEY_xmfile", "UNSET")]).code, 5);
    assert_eq!(n1.act("validate-all", &[]).code, 0);
    assert_eq!(n1.act("validate-all", &[("OCF_RESKEY_name", "x0--incoming")]).code, 6);
    assert_eq!(n1.act("validate-all", &[("OCF_RESKEY_name", "17")]).code, 6);
    assert_eq!(n1.act("validate-all", &[("OCF_RESKEY_allow_mem_management", "yes")]).code, 0);
    assert_eq!(n1.act("validate-all", &[("OCF_RESKEY_memory_floor", "much")]).code, 6);
    assert_eq!(n1.act("nonsense", &[]).code, 3);
    assert!(n1.act("meta-data", &[]).stdout.contains("<resource-agent name=\"Xen\""));
    n1.succeeds("start");
    n1.succeeds("start");
    assert_eq!(n1.act("monitor", &[]).code, 0);
    n1.xl(&["pause", "x0"]);
    assert_eq!(n1.act("monitor", &[]).code, 190);
    n1.xl(&["unpause", "x0"]);
    n1.succeeds("stop");
    n1.succeeds("stop");
    assert_eq!(n1.act("monitor", &[]).code, 7);
}

#[test]
fn every_failure_prints_one_reason_that_names_domain_and_node() {
    let world = World::new(&NODES);
    let migrate = world.host("n1").act("migrate_to", &[("OCF_RESKEY_CRM_meta_migrate_target", "n2")]);
    assert_eq!(migrate.code, 1);
    assert_eq!(migrate.reason.matches("ocf-exit-reason:").count(), 1);
    assert!(migrate.reason.starts_with("ocf-exit-reason:x0 on n1: "), "{}", migrate.reason);
}

#[test]
fn monitor_is_an_error_and_never_7_when_xl_does_not_answer() {
    let world = x0_on_n1();
    let n1 = world.host("n1");
    let xl = n1.root.join("usr/sbin/xl");
    let kept = n1.root.join("usr/sbin/xl.kept");
    std::fs::rename(&xl, &kept).unwrap();
    for script in ["echo 'cannot init xl context' >&2; exit 1", "exit 0", "exec sleep 60"] {
        n1.put_script("usr/sbin/xl", script);
        let monitor = n1.act("monitor", &[("OCF_RESKEY_CRM_meta_timeout", "3000")]);
        assert_eq!(monitor.code, 1, "{script}: {}", monitor.reason);
        assert!(monitor.reason.contains("cannot be told"), "{}", monitor.reason);
    }
    std::fs::remove_file(&xl).unwrap();
    assert_eq!(n1.act("monitor", &[]).code, 1, "no xl at all");
    std::fs::rename(kept, xl).unwrap();
    assert_eq!(n1.act("monitor", &[]).code, 0);
}

#[test]
fn a_reboot_of_the_guest_does_not_read_as_stopped() {
    let world = x0_on_n1();
    let n1 = world.host("n1");
    let before = n1.xl(&["domid", "x0"]);
    n1.xl(&["reboot", "x0"]);
    let mut looks = 0;
    eventually("the guest is back with another domid", || {
        looks += 1;
        assert_eq!(n1.act("monitor", &[]).code, 0, "look {looks}: {:?}", n1.domains());
        let now = n1.xl(&["domid", "x0"]);
        !now.is_empty() && now != before && n1.runs_x0()
    });
}

#[test]
fn a_guest_that_ignores_the_shutdown_is_destroyed_within_its_budget() {
    let world = x0_on_n1();
    world.plan(&NODES, None);
    let n1 = world.host("n1");
    n1.knob("x0.ignore-shutdown", "");
    let stop = n1.act("stop", &[("OCF_RESKEY_shutdown_timeout", "2")]);
    assert_eq!(stop.code, 0, "{}", stop.reason);
    assert!(n1.domains().is_empty());
    assert!(world.log().contains("stop: destroyed"), "{}", world.log());
}

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
fn monitor_scripts_decide_whether_a_running_guest_is_healthy_and_a_start_waits_for_them() {
    let world = World::new(&NODES);
    let n1 = world.host("n1");
    let up = world.shared("service-is-up");
    n1.put_script("usr/sbin/check", &format!("[ -e {} ] || {{ echo no service; exit 7; }}", up.display()));
    let check = n1.root.join("usr/sbin/check").to_string_lossy().into_owned();
    let with = |more: &[(&'static str, &'static str)]| {
        let mut all =
            vec![("OCF_RESKEY_monitor_scripts", check.as_str()), ("OCF_RESKEY_CRM_meta_interval", "10000")];
        all.extend(more);
        all
    };
    let start = n1.act("start", &with(&[("OCF_RESKEY_CRM_meta_timeout", "9000")]));
    assert_eq!(start.code, 1, "{}", start.reason);
    assert!(start.reason.contains("it runs here, but monitor script") && n1.runs_x0(), "{}", start.reason);
    let monitor = n1.act("monitor", &with(&[]));
    assert_eq!(monitor.code, 1);
    assert!(monitor.reason.contains("check fails: exit status: 7: no service"), "{}", monitor.reason);
    assert_eq!(
        n1.act("monitor", &with(&[("OCF_RESKEY_CRM_meta_interval", "0")])).code,
        0,
        "a probe runs no script"
    );
    std::fs::write(up, "").unwrap();
    assert_eq!(n1.act("start", &with(&[])).code, 0);
    assert_eq!(n1.act("monitor", &with(&[])).code, 0);
}

#[test]
fn the_clusters_configuration_is_written_only_when_the_domains_size_has_changed() {
    let world = x0_on_n1();
    let n1 = world.host("n1");
    let calls = world.shared("crm_resource-calls");
    n1.put_script("usr/sbin/crm_resource", &format!("echo \"$@\" >> {}; exit 0", calls.display()));
    let monitor = || {
        let asked = [
            ("OCF_RESKEY_autoset_utilization_cpu", "yes"),
            ("OCF_RESKEY_autoset_utilization_hv_memory", "yes"),
            ("OCF_RESKEY_CRM_meta_interval", "10000"),
        ];
        assert_eq!(n1.act("monitor", &asked).code, 0);
        std::fs::read_to_string(&calls).unwrap_or_default()
    };
    let first = monitor();
    assert!(first.contains("--resource x0 --utilization --set-parameter cpu --parameter-value 1"), "{first}");
    assert!(first.contains("--set-parameter hv_memory --parameter-value 16"), "{first}");
    assert_eq!(monitor(), first, "it was asked or written again");
    let told = n1.root.join("run/xen-handoff/x0.utilization");
    std::fs::write(told, r#"{"cpu":1,"hv_memory":8}"#).unwrap();
    assert!(monitor().len() > first.len());
}

/// The last move in the log of moves of this host.
fn last_move(host: &world::Host) -> serde_json::Value {
    let (status, text) = host.tool(&["history", "--json", "--last", "1"]);
    assert_eq!(status, 0, "{text}");
    serde_json::from_str(&text).unwrap()
}

#[test]
fn a_move_keeps_to_its_rate_whether_it_is_pulled_or_pushed() {
    let world = x0_on_n1();
    let (n1, n2) = (world.host("n1"), world.host("n2"));
    for host in [&n1, &n2] {
        host.knob("stream.mib", "3");
        host.knob("stream.mib-per-second", "1000");
    }
    let rate = ("OCF_RESKEY_migration_rate", "1");
    let took = |host: &world::Host| {
        let flow = &last_move(host)["flow"];
        flow["ready_ms"].as_u64().unwrap() - flow["opened_ms"].as_u64().unwrap()
    };
    n1.succeeds("stop");
    assert_eq!(n2.act("start", &[rate]).code, 0);
    assert!(n2.runs_x0() && took(&n2) > 2500, "3 MiB were pulled in {} ms", took(&n2));
    let migrate = n2.act("migrate_to", &[rate, ("OCF_RESKEY_CRM_meta_migrate_target", "n1")]);
    assert_eq!(migrate.code, 0, "{}", migrate.reason);
    n1.succeeds("migrate_from");
    assert!(n1.runs_x0() && took(&n1) > 2500, "3 MiB were pushed in {} ms", took(&n1));
}

#[test]
fn a_compressed_move_costs_the_network_less_and_the_log_of_moves_says_both() {
    let world = x0_on_n1();
    let (n1, n2) = (world.host("n1"), world.host("n2"));
    let zstd = ("OCF_RESKEY_migration_compression", "zstd");
    let costs_less = |host: &world::Host| {
        let flow = &last_move(host)["flow"];
        let (bytes, wire) = (flow["bytes"].as_u64().unwrap(), flow["wire"].as_u64().unwrap());
        assert!(bytes > 8 << 20 && wire < bytes / 20, "{flow}");
    };
    n1.knob("stream.zeros", "yes");
    n2.knob("stream.zeros", "yes");
    n1.succeeds("stop");
    assert_eq!(n2.act("start", &[zstd]).code, 0);
    assert!(n2.runs_x0());
    costs_less(&n1);
    costs_less(&n2);
    let migrate = n2.act("migrate_to", &[zstd, ("OCF_RESKEY_CRM_meta_migrate_target", "n1")]);
    assert_eq!(migrate.code, 0, "{}", migrate.reason);
    n1.succeeds("migrate_from");
    assert!(n1.runs_x0());
    costs_less(&n1);
    costs_less(&n2);
    assert_eq!(world.log().matches("booting it").count(), 1, "it was booted again");
}

const SHARES: (&str, &str) = ("OCF_RESKEY_allow_mem_management", "yes");

/// x1 runs on that host with 64 MiB, is to be left with `floor`, and 6 MiB are free. x0 needs 18: its own 16, and Xen's part.
fn x1_has_all_but_six(host: &world::Host, floor: &str) {
    host.knob("memory-mib", "1094");
    // dom0 gives nothing.
    std::fs::write(host.root.join("etc/xen/xl.conf"), "autoballoon=\"off\"\n").unwrap();
    let start = host.act_for("x1", "start", &[SHARES, ("OCF_RESKEY_memory_floor", floor)]);
    assert_eq!(start.code, 0, "{}", start.reason);
}

#[test]
fn room_is_made_of_what_others_have_above_their_floors_and_given_back() {
    let world = World::new(&NODES);
    let n1 = world.host("n1");
    x1_has_all_but_six(&n1, "40");
    let file = std::fs::read_to_string(n1.root.join("etc/xen/x1.cfg")).unwrap();
    assert_eq!(n1.act("start", &[]).code, 1, "without the parameter nobody gives anything");
    let start = n1.act("start", &[SHARES]);
    assert_eq!(start.code, 0, "{}", start.reason);
    assert_eq!((n1.memory("x0"), n1.memory("x1")), (16, 52), "only what is missing is taken");
    let recurring = ("OCF_RESKEY_CRM_meta_interval", "10000");
    let watch = || n1.act_for("x1", "monitor", &[SHARES, ("OCF_RESKEY_memory_floor", "40"), recurring]);
    assert_eq!(watch().code, 0);
    assert_eq!(n1.memory("x1"), 54, "Xen needed less than was reserved for it");
    assert_eq!(n1.act("stop", &[SHARES]).code, 0);
    assert_eq!(n1.memory("x1"), 64, "it was not given back");
    // Whoever was taken from looks himself, however the taker went.
    assert_eq!(n1.act("start", &[SHARES]).code, 0);
    assert_eq!(n1.memory("x1"), 52);
    n1.xl(&["destroy", "x0"]);
    assert_eq!(watch().code, 0);
    assert_eq!(n1.memory("x1"), 64);
    assert_eq!(std::fs::read_to_string(n1.root.join("etc/xen/x1.cfg")).unwrap(), file, "a file was changed");
}

#[test]
fn nobody_gives_below_his_floor_and_the_start_says_what_is_missing() {
    let world = World::new(&NODES);
    let n1 = world.host("n1");
    x1_has_all_but_six(&n1, "60");
    let start = n1.act("start", &[SHARES, ("OCF_RESKEY_CRM_meta_timeout", "8000")]);
    assert_eq!(start.code, 1);
    assert!(
        start.reason.contains("there is no room for it: 18 MiB are needed, 6 are available"),
        "{}",
        start.reason
    );
    assert!(start.reason.contains("the 8 MiB that would still be missing"), "{}", start.reason);
    assert_eq!(n1.memory("x1"), 64);
    assert!(!n1.runs_x0());
    // With autoballoon dom0 gives, but not what is reserved for it.
    std::fs::write(n1.root.join("etc/xen/xl.conf"), "autoballoon=\"on\"\n").unwrap();
    let reserved = ("OCF_RESKEY_reserved_Dom0_memory", "1020");
    let start = n1.act("start", &[SHARES, reserved, ("OCF_RESKEY_CRM_meta_timeout", "8000")]);
    assert!(start.reason.contains("18 MiB are needed, 10 are available"), "{}", start.reason);
}

#[test]
fn a_guest_that_keeps_its_memory_gets_back_what_it_was_to_have() {
    let world = World::new(&NODES);
    let n1 = world.host("n1");
    x1_has_all_but_six(&n1, "30");
    n1.knob("x1.keeps-memory", "");
    let start = n1.act("start", &[SHARES, ("OCF_RESKEY_CRM_meta_timeout", "9000")]);
    assert_eq!(start.code, 1);
    assert!(start.reason.contains("x1 did not give their memory in time"), "{}", start.reason);
    assert!(!n1.runs_x0());
    let asked = std::fs::read_to_string(n1.root.join("var/lib/xl-standin/commands")).unwrap();
    let asked: Vec<_> = asked.lines().filter_map(|line| line.split_once("mem-set x1 ")).collect();
    assert_eq!(asked.first().unwrap().1, "52m");
    assert_eq!(asked.last().unwrap().1, "64m");
}

#[test]
fn two_that_start_at_once_do_not_count_the_same_memory() {
    let world = World::new(&NODES);
    let n1 = world.host("n1");
    x1_has_all_but_six(&n1, "30");
    // Built some time after room was made for both. (What xl reads in the files is known by then.)
    assert_eq!((n1.act("monitor", &[]).code, n1.act_for("x2", "monitor", &[]).code), (7, 7));
    n1.knob("create.hang", "");
    let (x0, x2) = std::thread::scope(|scope| {
        let x0 = scope.spawn(|| n1.act("start", &[SHARES]));
        let x2 = scope.spawn(|| n1.act_for("x2", "start", &[SHARES]));
        eventually("room is made for both", || {
            ["x0", "x2"].iter().all(|name| n1.root.join(format!("run/xen-handoff/{name}.room")).exists())
        });
        n1.unset_knob("create.hang");
        (x0.join().unwrap(), x2.join().unwrap())
    });
    assert_eq!((x0.code, x2.code), (0, 0), "{} {}", x0.reason, x2.reason);
    assert_eq!((n1.memory("x0"), n1.memory("x1"), n1.memory("x2")), (16, 34, 16));
}

#[test]
fn room_is_made_where_a_domain_is_fetched_or_pushed_to() {
    for pushed in [false, true] {
        let world = x0_on_n1();
        let (n1, n2) = (world.host("n1"), world.host("n2"));
        x1_has_all_but_six(&n2, "40");
        let ends =
            [("OCF_RESKEY_CRM_meta_migrate_source", "n1"), ("OCF_RESKEY_CRM_meta_migrate_target", "n2")];
        let calls = if pushed {
            let without = n1.act("migrate_to", &ends);
            assert!(without.reason.contains("memory: needs 18 MiB; 6 MiB free there"), "{}", without.reason);
            let with = [ends[0], ends[1], SHARES];
            [n1.act("migrate_to", &with), n2.act("migrate_from", &with)]
        } else {
            [n1.act("stop", &[SHARES]), n2.act("start", &[SHARES])]
        };
        for call in calls {
            assert_eq!(call.code, 0, "{}", call.reason);
        }
        assert!(n2.runs_x0());
        assert!((52..=54).contains(&n2.memory("x1")), "{}", n2.memory("x1"));
        assert_eq!(world.log().matches("booting it").count(), 2, "x0 was booted again");
    }
}

#[test]
fn a_domain_in_a_transfer_gives_nothing() {
    let world = World::new(&NODES);
    let n1 = world.host("n1");
    x1_has_all_but_six(&n1, "30");
    world.plan(&NODES, Some("n2"));
    let store = n1.root.join("run/xen-handoff/x1.transfer");
    let held = std::fs::File::create(store).unwrap();
    rustix::fs::flock(&held, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let start = n1.act("start", &[SHARES, ("OCF_RESKEY_CRM_meta_timeout", "8000")]);
    assert_eq!(start.code, 1, "it gave in the middle of a transfer");
    assert_eq!(n1.memory("x1"), 64);
    drop(held);
    assert_eq!(n1.act("start", &[SHARES]).code, 0);
}

/// x0 runs on n1, and a stop there saves it to a folder: each host's own, or one that all share.
struct Snapshots {
    world: World,
    shared: bool,
}

impl Snapshots {
    fn new(shared: bool) -> Self {
        let snapshots = Self { world: World::new(&NODES), shared };
        for node in NODES {
            std::fs::create_dir_all(snapshots.folder(node)).unwrap();
        }
        assert_eq!(snapshots.act("n1", "start").code, 0);
        snapshots
    }

    fn folder(&self, node: &str) -> std::path::PathBuf {
        if self.shared { self.world.shared("saved") } else { self.world.host(node).root.join("saved") }
    }

    fn act(&self, node: &str, action: &str) -> world::Call {
        self.act_within(node, action, "60000")
    }

    fn act_within(&self, node: &str, action: &str, timeout: &str) -> world::Call {
        let folder = self.folder(node).to_string_lossy().into_owned();
        let set = [("OCF_RESKEY_snapshot", folder.as_str()), ("OCF_RESKEY_CRM_meta_timeout", timeout)];
        self.world.host(node).act(action, &set)
    }

    /// What makes this guest this one.
    fn boot_id(&self, node: &str) -> String {
        let shown = self.world.host(node).xl(&["standin", "show", "x0"]);
        let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
        shown["boot_id"].as_str().unwrap().to_owned()
    }

    fn files(&self, node: &str) -> usize {
        std::fs::read_dir(self.folder(node)).unwrap().count()
    }
}

#[test]
fn a_stop_saves_the_guest_and_the_next_start_lets_it_go_on() {
    for (shared, back_on) in [(false, "n1"), (true, "n2")] {
        let snapshots = Snapshots::new(shared);
        let guest = snapshots.boot_id("n1");
        assert_eq!(snapshots.act("n1", "stop").code, 0);
        assert!(snapshots.world.host("n1").domains().is_empty());
        let start = snapshots.act(back_on, "start");
        assert_eq!(start.code, 0, "{}", start.reason);
        assert_eq!(snapshots.boot_id(back_on), guest, "it was booted");
        assert_eq!(snapshots.files(back_on), 0, "the snapshot could be used again");
        // Once more: its marks are new.
        assert_eq!((snapshots.act(back_on, "stop").code, snapshots.act(back_on, "start").code), (0, 0));
        assert_eq!(snapshots.boot_id(back_on), guest);
    }
}

#[test]
fn p1_a_snapshot_is_void_once_the_domain_has_run_elsewhere_or_a_node_cannot_say() {
    let elsewhere = Snapshots::new(false);
    let guest = elsewhere.boot_id("n1");
    assert_eq!(elsewhere.act("n1", "stop").code, 0);
    // Booted on n2 by a resource that knows of no snapshot, and gone from there.
    elsewhere.world.host("n2").succeeds("start");
    elsewhere.world.host("n2").succeeds("stop");
    assert_eq!(elsewhere.act("n1", "start").code, 0);
    assert_ne!(elsewhere.boot_id("n1"), guest, "an old memory runs on a newer disk");
    assert!(elsewhere.world.log().contains("it is void: n2 has run it since"), "{}", elsewhere.world.log());
    assert_eq!(elsewhere.files("n1"), 0);

    let silent = Snapshots::new(false);
    let guest = silent.boot_id("n1");
    assert_eq!(silent.act("n1", "stop").code, 0);
    silent.world.history("n2", "monitor", 7);
    silent.world.old_ledger(&["n1"]);
    silent.world.host("n2").cut(true);
    let start = silent.act("n1", "start");
    assert_eq!(start.code, 0, "{}", start.reason);
    assert_ne!(silent.boot_id("n1"), guest);
    assert!(silent.world.log().contains("it is void: n2 may have run it since"), "{}", silent.world.log());

    let by_hand = Snapshots::new(false);
    let guest = by_hand.boot_id("n1");
    assert_eq!(by_hand.act("n1", "stop").code, 0);
    let host = by_hand.world.host("n1");
    host.xl(&["create", &host.root.join("etc/xen/x0.cfg").to_string_lossy()]);
    assert_eq!(by_hand.act("n1", "start").code, 0);
    host.xl(&["destroy", "x0"]);
    assert_eq!(by_hand.act("n1", "start").code, 0);
    assert_ne!(by_hand.boot_id("n1"), guest);
}

#[test]
fn a_save_that_cannot_be_is_an_ordinary_shutdown() {
    let reason = |snapshots: &Snapshots, why: &str| {
        let stop = snapshots.act_within("n1", "stop", "40000");
        assert_eq!(stop.code, 0, "{why}: {}", stop.reason);
        assert!(snapshots.world.host("n1").domains().is_empty());
        let log = snapshots.world.log();
        assert!(log.contains("no snapshot: ") && log.contains(why), "{why}: {log}");
        assert!(log.contains("stop: shut down"), "{why}: {log}");
        assert_eq!(snapshots.files("n1"), 0);
    };
    let fails = Snapshots::new(false);
    fails.world.host("n1").knob("save.fail", "1\nNo space left on device");
    reason(&fails, "No space left on device");
    let hangs = Snapshots::new(false);
    hangs.world.host("n1").knob("have-resume", "");
    hangs.world.host("n1").knob("save.stuck", "");
    reason(&hangs, "did not answer within");
    let silent = Snapshots::new(false);
    silent.world.host("n3").cut(true);
    reason(&silent, "cannot reach n3");
    let again = Snapshots::new(false);
    again.world.plan(&NODES, Some("n1"));
    reason(&again, "the cluster will start it on n1");
}

#[test]
fn a_restore_that_fails_is_a_boot_and_the_snapshot_is_gone() {
    let snapshots = Snapshots::new(false);
    let guest = snapshots.boot_id("n1");
    assert_eq!(snapshots.act("n1", "stop").code, 0);
    snapshots.world.host("n1").knob("restore.fail-once", "3\nrestore failed");
    let start = snapshots.act("n1", "start");
    assert_eq!(start.code, 0, "{}", start.reason);
    assert_ne!(snapshots.boot_id("n1"), guest);
    assert_eq!(snapshots.files("n1"), 0);
    assert!(snapshots.world.log().contains("it could not be restored"), "{}", snapshots.world.log());
}

/// Somebody else's move has this host's only slot in this direction, until the value is dropped.
fn only_slot_taken(host: &world::Host, direction: &str) -> std::fs::File {
    std::fs::create_dir_all(host.root.join("etc/sysconfig")).unwrap();
    let settings = "max_incoming_migrations=1\nmax_outgoing_migrations=1\n";
    std::fs::write(host.root.join("etc/sysconfig/xen-handoff"), settings).unwrap();
    let folder = host.root.join("run/xen-handoff/slots").join(direction);
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("0");
    let ticket = "{\"domain\":\"x9\",\"priority\":0,\"since\":1,\"number\":0,\"has_slot\":true}";
    std::fs::write(&path, ticket).unwrap();
    let file = std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive).unwrap();
    file
}

#[test]
fn a_move_waits_for_its_slots_at_both_ends_and_says_so() {
    for (host, direction) in [("n2", "incoming"), ("n1", "outgoing")] {
        let world = x0_on_n1();
        let (n1, n2) = (world.host("n1"), world.host("n2"));
        n1.succeeds("stop");
        let taken = only_slot_taken(&world.host(host), direction);
        let late = n2.act("start", &[("OCF_RESKEY_CRM_meta_timeout", "9000")]);
        assert_eq!(late.code, 1);
        let waits = format!("waits for one of 1 {direction} slots (1 moves under way)");
        assert!(late.reason.contains(&waits), "{}", late.reason);
        assert!(n1.runs_x0() && n1.phase() == "offered" && n2.domains().is_empty(), "nothing has moved");
        std::thread::scope(|scope| {
            let start = scope.spawn(|| n2.act("start", &[]));
            eventually("status says what it waits for", || n2.tool(&["status"]).1.contains(&waits));
            drop(taken);
            let start = start.join().unwrap();
            assert_eq!(start.code, 0, "{}", start.reason);
        });
        assert!(n2.runs_x0());
        let (there, back) = if direction == "incoming" { ("n1", "incoming") } else { ("n2", "outgoing") };
        let taken = only_slot_taken(&world.host(there), back);
        let before = world.log().matches(&waits).count();
        std::thread::scope(|scope| {
            let target = ("OCF_RESKEY_CRM_meta_migrate_target", "n1");
            let migrate = scope.spawn(move || n2.act("migrate_to", &[target]));
            eventually("the push says what it waits for", || world.log().matches(&waits).count() > before);
            assert!(!n1.runs_x0());
            drop(taken);
            let migrate = migrate.join().unwrap();
            assert_eq!(migrate.code, 0, "{}", migrate.reason);
        });
        n1.succeeds("migrate_from");
        assert!(n1.runs_x0());
    }
}

#[test]
fn p5_an_offer_that_waits_for_a_slot_still_ends_at_its_deadline() {
    let world = x0_on_n1();
    let (n1, n2) = (world.host("n1"), world.host("n2"));
    assert_eq!(n1.act("stop", &[("OCF_RESKEY_handoff_timeout", "10")]).code, 0);
    let _taken = only_slot_taken(&n1, "outgoing");
    let start = n2.act("start", &[]);
    assert_eq!(start.code, 0, "{}", start.reason);
    assert!(n1.domains().is_empty() && n2.runs_x0());
    let log = world.log();
    assert!(log.contains("nobody has fetched it"), "{log}");
    let at = |what: &str| log.find(what).unwrap_or_else(|| panic!("{what} is not in the log"));
    assert!(at("waits for one of 1 outgoing slots") < at("nobody has fetched it"));
    assert!(at("nobody has fetched it") < at("node=n2 booting it"), "booted before it had ended");
}

const DETACHES: (&str, &str) = ("OCF_RESKEY_migration_detach_pci", "yes");
const ENDS: [(&str, &str); 3] = [
    ("OCF_RESKEY_CRM_meta_migrate_source", "n1"),
    ("OCF_RESKEY_CRM_meta_migrate_target", "n2"),
    ("OCF_RESKEY_CRM_meta_timeout", "20000"),
];

/// x0 runs on n1 with a device of the host; these hosts have one that may be given to domains.
fn x0_with_a_device(assignable: &[&str]) -> World {
    let world = World::new(&NODES);
    for node in NODES {
        let config = world.host(node).root.join("etc/xen/x0.cfg");
        let text = std::fs::read_to_string(&config).unwrap();
        std::fs::write(config, format!("{text}pci = [\"03:10.1\"]\n")).unwrap();
    }
    for node in assignable {
        let device = "sys/bus/pci/drivers/pciback/0000:03:10.1";
        std::fs::create_dir_all(world.host(node).root.join(device)).unwrap();
    }
    assert_eq!(world.host("n1").act("start", &[DETACHES]).code, 0);
    world.plan(&NODES, Some("n2"));
    world
}

fn has_its_device(host: &world::Host) -> bool {
    host.xl(&["pci-list", "x0"]).contains("0000:03:10.1")
}

#[test]
fn a_device_of_the_host_is_detached_before_the_move_and_attached_after_it() {
    for pushed in [false, true] {
        let world = x0_with_a_device(&["n1", "n2"]);
        let (n1, n2) = (world.host("n1"), world.host("n2"));
        let with = [ENDS[0], ENDS[1], ENDS[2], DETACHES];
        let [first, second] = if pushed { ["migrate_to", "migrate_from"] } else { ["stop", "start"] };
        let call = n1.act(first, &with);
        assert_eq!(call.code, 0, "{}", call.reason);
        assert!(pushed || has_its_device(&n1), "an offered domain keeps it until it is fetched");
        let call = n2.act(second, &with);
        assert_eq!(call.code, 0, "{}", call.reason);
        assert!(n2.runs_x0() && has_its_device(&n2), "{}", world.log());
        assert_eq!(world.log().matches("booting it").count(), 1, "it was booted again");
    }
}

#[test]
fn a_device_of_the_host_stands_in_the_way_where_it_may_not_be_detached() {
    let world = x0_with_a_device(&["n1", "n2"]);
    let n1 = world.host("n1");
    let to = n1.act("migrate_to", &ENDS);
    assert!(to.code == 1 && to.reason.contains("passthrough: it has 0000:03:10.1"), "{}", to.reason);
    // Attached by hand: nobody would know that it has to be attached again.
    n1.xl(&["pci-attach", "x0", "0000:04:00.0"]);
    let to = n1.act("migrate_to", &[ENDS[0], ENDS[1], ENDS[2], DETACHES]);
    assert!(
        to.code == 1 && to.reason.contains("0000:04:00.0 of the host, which its configuration"),
        "{}",
        to.reason
    );
    assert!(n1.runs_x0() && has_its_device(&n1));
    n1.xl(&["pci-detach", "x0", "0000:04:00.0"]);
    n1.succeeds("stop");
    assert!(n1.domains().is_empty());
    let log = world.log();
    assert!(
        log.contains("no handoff: it has 0000:03:10.1 of the host, and migration_detach_pci is not set"),
        "{log}"
    );
}

#[test]
fn p4_a_move_that_fails_leaves_the_domain_with_its_device() {
    let with = [ENDS[0], ENDS[1], ENDS[2], DETACHES];
    let not_there = x0_with_a_device(&["n1"]);
    let to = not_there.host("n1").act("migrate_to", &with);
    assert!(to.code == 1 && to.reason.contains("xl pci-assignable-add 0000:03:10.1"), "{}", to.reason);
    let calls =
        std::fs::read_to_string(not_there.host("n1").root.join("var/lib/xl-standin/commands")).unwrap();
    assert!(!calls.contains("pci-detach"), "it was detached for nothing");

    let keeps = x0_with_a_device(&["n1", "n2"]);
    keeps.host("n1").knob("pci-detach.fail", "1\nthe guest keeps it");
    let to = keeps.host("n1").act("migrate_to", &with);
    assert!(to.code == 1 && to.reason.contains("the guest keeps it"), "{}", to.reason);
    assert!(keeps.host("n1").runs_x0() && has_its_device(&keeps.host("n1")));

    for pushed in [false, true] {
        let breaks = x0_with_a_device(&["n1", "n2"]);
        let (n1, n2) = (breaks.host("n1"), breaks.host("n2"));
        n2.knob("receive.kill", "in-stream");
        if pushed {
            assert_eq!(n1.act("migrate_to", &with).code, 1);
        } else {
            assert_eq!(n1.act("stop", &with).code, 0);
            assert_eq!(n2.act("start", &with).code, 1);
        }
        let calls = std::fs::read_to_string(n1.root.join("var/lib/xl-standin/commands")).unwrap();
        assert!(calls.contains("pci-detach x0 0000:03:10.1"), "{calls}");
        eventually("it has its device again", || n1.runs_x0() && has_its_device(&n1));
    }
}

#[test]
fn p4_a_move_that_takes_too_long_is_broken_off_before_the_guest_is_suspended_and_never_after() {
    let world = x0_on_n1();
    let (n1, n2) = (world.host("n1"), world.host("n2"));
    n1.knob("stream.mib", "60");
    n1.knob("stream.mib-per-second", "4");
    let deadline = ("OCF_RESKEY_migration_deadline", "2");
    let too_long = "the guest was not suspended within migration_deadline=2 s";
    let migrate = n1.act("migrate_to", &[deadline, ("OCF_RESKEY_CRM_meta_migrate_target", "n2")]);
    assert_eq!(migrate.code, 1);
    assert!(migrate.reason.contains(too_long), "{}", migrate.reason);
    assert!(n1.runs_x0() && n1.phase() == "idle");
    eventually("the receiver has ended as well", || n2.domains().is_empty());
    n1.succeeds("stop");
    let start = n2.act(
        "start",
        &[deadline, ("OCF_RESKEY_CRM_meta_timeout", "11000"), ("OCF_RESKEY_migration_connect_timeout", "2")],
    );
    assert_eq!(start.code, 1);
    assert!(world.log().matches(too_long).count() > 1, "the start does not say it");
    eventually("it is on offer again", || n1.phase() == "offered");
    assert!(n1.runs_x0());
    let events = std::fs::read_to_string(n1.root.join("var/lib/xl-standin/events")).unwrap();
    assert!(!events.contains("shutdown-suspend"), "the guest was suspended: {events}");
    // What takes long with the guest suspended is moved to its end.
    n1.knob("stream.mib", "4");
    n1.knob("stream.last-seconds", "4");
    assert_eq!(n2.act("start", &[deadline]).code, 0);
    assert!(n2.runs_x0());
    assert_eq!(world.log().matches("booting it").count(), 1, "it was booted again");
}

#[test]
fn a_guest_without_drivers_is_shut_down_by_its_power_button() {
    let world = x0_on_n1();
    world.plan(&NODES, None);
    let n1 = world.host("n1");
    n1.knob("x0.no-pv", "");
    let stop = n1.act("stop", &[("OCF_RESKEY_shutdown_acpi", "yes")]);
    assert_eq!(stop.code, 0, "{}", stop.reason);
    let calls = std::fs::read_to_string(n1.root.join("var/lib/xl-standin/commands")).unwrap();
    assert!(calls.contains("trigger x0 power") && !calls.contains("shutdown x0"), "{calls}");
    assert!(world.log().contains("stop: shut down"), "{}", world.log());
}

#[test]
fn moves_take_the_migration_network_by_a_nodes_attribute_or_by_a_suffix() {
    let ways = [("OCF_RESKEY_node_ip_attribute", "mig"), ("OCF_RESKEY_migration_network_suffix", "-mig")];
    for (way, hosts) in ways.into_iter().zip([["10.0.0.1", "10.0.0.2"], ["n1-mig", "n2-mig"]]) {
        let world = x0_on_n1();
        for (node, host) in ["n1", "n2"].into_iter().zip(hosts) {
            std::os::unix::fs::symlink(world.shared(node), world.shared(host)).unwrap();
            let here = world.host(node);
            let says = format!("case \"$*\" in *' n1 '*) echo {};; *) echo {};; esac", hosts[0], hosts[1]);
            here.put_script("usr/sbin/crm_attribute", &says);
            // Nobody is reached by his bare name.
            let ssh = std::fs::read_to_string(here.root.join("usr/sbin/ssh")).unwrap();
            let only =
                "for a; do h=$b; b=$a; done; case $h in n1|n2|n3) echo by its name >&2; exit 255;; esac";
            here.put_script("usr/sbin/ssh", &ssh.replace("#!/bin/sh", only));
        }
        let stop = world.host("n1").act("stop", &[way]);
        assert_eq!(stop.code, 0, "{}", stop.reason);
        assert_eq!(world.host("n1").phase(), "offered", "{}", world.log());
        let start = world.host("n2").act("start", &[way]);
        assert_eq!(start.code, 0, "{}", start.reason);
        assert!(world.host("n2").runs_x0());
    }
}
