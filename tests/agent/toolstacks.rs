//! `xm` and `xe` behind the same actions: what the cluster gets for each precondition, the toolstack's own migration and every end it can
//! have, and P1 and P2 with two and three nodes. On stand-ins that behave as documented; neither was run on the real thing.

use crate::world::{Call, Host, World};
use crate::{NODES, eventually};

const TO_N2: (&str, &str) = ("OCF_RESKEY_CRM_meta_migrate_target", "n2");
const FROM_N1: (&str, &str) = ("OCF_RESKEY_CRM_meta_migrate_source", "n1");

/// The same story on either, side by side: most of it is waiting.
fn both(story: impl Fn(&'static str) + Sync) {
    std::thread::scope(|scope| {
        let told = ["xm", "xe"].map(|toolstack| {
            scope.spawn({
                let story = &story;
                move || story(toolstack)
            })
        });
        told.into_iter().for_each(|told| told.join().unwrap());
    });
}

/// x0's parameters, as each toolstack has them.
fn with<'a>(toolstack: &str, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut all = match toolstack {
        "xe" => vec![("OCF_RESKEY_xmfile", "UNSET"), ("OCF_RESKEY_name", "x0")],
        _ => vec![],
    };
    all.extend(more);
    all
}

fn act(host: &Host, toolstack: &str, action: &str, more: &[(&str, &str)]) -> Call {
    host.act(action, &with(toolstack, more))
}

fn code(host: &Host, toolstack: &str, action: &str) -> i32 {
    let call = act(host, toolstack, action, &[]);
    if call.code != 0 {
        eprintln!("{toolstack} {action} on {}: {} {}", host.name, call.code, call.reason);
    }
    call.code
}

/// x0 runs on n1.
fn running(toolstack: &str) -> World {
    let world = World::of(toolstack, &NODES);
    world.plan(&NODES, Some("n2"));
    assert_eq!(code(&world.host("n1"), toolstack, "start"), 0);
    world
}

/// Has the toolstack not answer at all, or answer again.
fn silence(world: &World, toolstack: &str, silent: bool) {
    match (toolstack, silent) {
        ("xm", true) => NODES.iter().for_each(|node| world.host(node).knob("xend-down", "")),
        ("xm", false) => NODES.iter().for_each(|node| world.host(node).unset_knob("xend-down")),
        (_, true) => std::fs::write(world.shared("pool/down"), "").unwrap(),
        (_, false) => std::fs::remove_file(world.shared("pool/down")).unwrap(),
    }
}

fn boots(host: &Host) -> String {
    host.xl(&["standin", "show", "x0"])
}

#[test]
fn preconditions_and_exit_codes_are_the_same_under_xm_and_xe() {
    both(|toolstack| {
        let world = World::of(toolstack, &NODES);
        let n1 = world.host("n1");
        let code = |action| code(&n1, toolstack, action);
        assert_eq!(code("validate-all"), 0, "{toolstack}");
        assert_eq!(code("monitor"), 7, "{toolstack}");
        assert_eq!(code("stop"), 0, "{toolstack}: stop of an absent domain");
        assert_eq!((code("start"), code("start")), (0, 0), "{toolstack}");
        assert_eq!(code("monitor"), 0, "{toolstack}");
        assert!(n1.runs_x0(), "{toolstack}: {:?}", n1.domains());
        n1.xl(&["pause", "x0"]);
        assert_eq!(code("monitor"), 190, "{toolstack}");
        n1.xl(&["unpause", "x0"]);
        world.plan(&NODES, None);
        assert_eq!((code("stop"), code("stop")), (0, 0), "{toolstack}");
        assert_eq!(code("monitor"), 7, "{toolstack}");
        assert!(n1.domains().is_empty(), "{toolstack}");
    });
}

#[test]
fn monitor_is_an_error_and_never_7_when_xend_or_the_pools_master_does_not_answer() {
    both(|toolstack| {
        let world = running(toolstack);
        let (n1, n2) = (world.host("n1"), world.host("n2"));
        silence(&world, toolstack, true);
        for node in [&n1, &n2] {
            let monitor = act(node, toolstack, "monitor", &[]);
            assert_eq!(monitor.code, 1, "{toolstack} on {}: {}", node.name, monitor.reason);
            assert!(monitor.reason.contains("could not be found out"), "{toolstack}: {}", monitor.reason);
        }
        let stop = act(&n1, toolstack, "stop", &[("OCF_RESKEY_CRM_meta_timeout", "4000")]);
        assert_eq!(stop.code, 1, "{toolstack}: a stop that sees nothing says nothing: {}", stop.reason);
        silence(&world, toolstack, false);
        assert_eq!(code(&n1, toolstack, "monitor"), 0, "{toolstack}");
        let list = if toolstack == "xm" { "list" } else { "vm-list" };
        for (how, text) in [("fail", "1\nError: internal"), ("fail", "0\n"), ("hang", "")] {
            let knob = format!("{list}.{how}");
            n2.knob(&knob, text);
            let soon = [("OCF_RESKEY_CRM_meta_timeout", "3000"), ("OCF_RESKEY_CRM_meta_interval", "10000")];
            let monitor = act(&n2, toolstack, "monitor", &soon);
            assert_eq!(monitor.code, 1, "{toolstack} {knob} {text}: {}", monitor.reason);
            n2.unset_knob(&knob);
        }
    });
}

#[test]
fn a_stop_under_xm_and_xe_is_an_ordinary_one_and_says_why() {
    both(|toolstack| {
        let world = running(toolstack);
        let n1 = world.host("n1");
        assert_eq!(code(&n1, toolstack, "stop"), 0);
        assert!(n1.domains().is_empty() && n1.phase() == "idle", "{toolstack}: {}", n1.phase());
        let why = format!("no handoff: the toolstack here is {toolstack}");
        assert!(world.log().contains(&why) && world.log().contains("stop: shut down"), "{}", world.log());
    });
}

#[test]
fn a_guest_under_xm_and_xe_that_ignores_the_shutdown_is_destroyed_within_its_budget() {
    both(|toolstack| {
        let world = running(toolstack);
        let n1 = world.host("n1");
        n1.knob("x0.ignore-shutdown", "");
        let stop = act(
            &n1,
            toolstack,
            "stop",
            &[("OCF_RESKEY_shutdown_timeout", "2"), ("OCF_RESKEY_CRM_meta_timeout", "40000")],
        );
        assert_eq!(stop.code, 0, "{toolstack}: {}", stop.reason);
        assert!(n1.domains().is_empty(), "{toolstack}");
        assert!(world.log().contains("stop: destroyed"), "{}", world.log());
    });
}

#[test]
fn a_reboot_under_xm_does_not_read_as_stopped() {
    let world = running("xm");
    let n1 = world.host("n1");
    let before = n1.xl(&["domid", "x0"]);
    n1.xl(&["reboot", "x0"]);
    let mut was_absent = false;
    eventually("the guest is back with another domid", || {
        was_absent |= n1.domains().is_empty();
        assert_eq!(code(&n1, "xm", "monitor"), 0, "{:?}", n1.domains());
        let now = n1.xl(&["domid", "x0"]);
        !now.trim().is_empty() && now != before && n1.runs_x0()
    });
    assert!(world.log().contains("about to create it anew") || !was_absent, "{}", world.log());
}

#[test]
fn xend_being_about_to_recreate_a_domain_is_no_absence() {
    let world = World::of("xm", &NODES);
    let n1 = world.host("n1");
    assert_eq!(code(&n1, "xm", "monitor"), 7);
    let marks = n1.root.join("var/lib/xl-standin/restarts");
    std::fs::create_dir_all(&marks).unwrap();
    std::fs::write(marks.join("x0"), "").unwrap();
    let soon = [("OCF_RESKEY_CRM_meta_timeout", "3000")];
    assert_eq!(act(&n1, "xm", "monitor", &soon).code, 1, "xend is about to create it");
    assert_eq!(act(&n1, "xm", "stop", &soon).code, 1);
    assert_eq!(act(&world.host("n2"), "xm", "start", &[("OCF_RESKEY_CRM_meta_timeout", "9000")]).code, 1);
    std::fs::remove_file(marks.join("x0")).unwrap();
    std::fs::remove_file(n1.root.join("usr/sbin/xenstore-ls")).unwrap();
    assert_eq!(act(&n1, "xm", "monitor", &soon).code, 1, "what cannot be asked is not known");
    assert_eq!(code(&n1, "xm", "validate-all"), 5);
}

#[test]
fn the_clusters_migration_is_the_toolstacks_own_and_the_guest_does_not_notice() {
    both(|toolstack| {
        let world = running(toolstack);
        let (n1, n2) = (world.host("n1"), world.host("n2"));
        let before = boots(&n1);
        let migrate = act(&n1, toolstack, "migrate_to", &[TO_N2]);
        assert_eq!(migrate.code, 0, "{toolstack}: {}", migrate.reason);
        let from = act(&n2, toolstack, "migrate_from", &[FROM_N1]);
        assert_eq!(from.code, 0, "{toolstack}: {}", from.reason);
        assert!(n1.domains().is_empty() && n2.runs_x0(), "{toolstack}");
        let boot_id = |shown: &str| {
            serde_json::from_str::<serde_json::Value>(shown).unwrap()["boot_id"].as_str().unwrap().to_owned()
        };
        assert_eq!(boot_id(&before), boot_id(&boots(&n2)), "{toolstack}: it was booted anew");
        assert_eq!(code(&n1, toolstack, "stop"), 0, "{toolstack}: the stop that follows every migration");
        assert_eq!((code(&n1, toolstack, "monitor"), code(&n2, toolstack, "monitor")), (7, 0), "{toolstack}");
        let calls = std::fs::read_to_string(n1.root.join("var/lib/xl-standin/commands")).unwrap();
        let verb = if toolstack == "xm" {
            "migrate --live x0 n2"
        } else {
            "vm-migrate uuid=vm-x0 resident-on=host-0 host-uuid=host-1 live=true"
        };
        assert!(calls.contains(verb), "{calls}");
    });
}

#[test]
fn p4_a_migration_of_xm_or_xe_that_fails_leaves_the_domain_where_it_was() {
    both(|toolstack| {
        let world = running(toolstack);
        let (n1, n2) = (world.host("n1"), world.host("n2"));
        n1.knob(&format!("{toolstack}-migrate.breaks"), "");
        let migrate = act(&n1, toolstack, "migrate_to", &[TO_N2]);
        assert_eq!(migrate.code, 1, "{toolstack}");
        assert!(migrate.reason.contains("it still runs here"), "{toolstack}: {}", migrate.reason);
        assert!(
            n1.runs_x0() && n2.domains().is_empty(),
            "{toolstack}: {:?} {:?}",
            n1.domains(),
            n2.domains()
        );
        assert_eq!(code(&n1, toolstack, "monitor"), 0, "{toolstack}");
        // It was not begun at all where the target has one already, or cannot be asked.
        n2.cut(true);
        let migrate = act(&n1, toolstack, "migrate_to", &[TO_N2]);
        assert_eq!(migrate.code, 1, "{toolstack}: {}", migrate.reason);
        assert!(n1.runs_x0(), "{toolstack}");
        n2.cut(false);
    });
}

#[test]
fn a_migration_whose_end_cannot_be_told_is_an_error_and_neither_success_nor_not_running() {
    both(|toolstack| {
        let world = running(toolstack);
        let (n1, n2, n3) = (world.host("n1"), world.host("n2"), world.host("n3"));
        // The daemon dies with the copy of the source suspended and the one of the target paused.
        n1.knob(&format!("{toolstack}-migrate.kill"), "suspended");
        let short = [TO_N2, ("OCF_RESKEY_CRM_meta_timeout", "12000")];
        let migrate = act(&n1, toolstack, "migrate_to", &short);
        assert_eq!(migrate.code, 1, "{toolstack}: {}", migrate.reason);
        assert!(migrate.reason.contains("no clear end"), "{toolstack}: {}", migrate.reason);
        // Nobody boots it, nobody ends either copy, and nobody says "not running".
        let soon = [("OCF_RESKEY_CRM_meta_timeout", "6000")];
        for node in [&n1, &n2] {
            let seen = act(node, toolstack, "monitor", &soon).code;
            // The pool's book has no word for "suspended for a move": there it is running until it is on the other host.
            let expected: &[i32] = if toolstack == "xe" && node.name == "n1" { &[0] } else { &[1, 190] };
            assert!(expected.contains(&seen), "{toolstack} on {}: {seen}", node.name);
            let stop = act(node, toolstack, "stop", &soon);
            assert_eq!(stop.code, 1, "{toolstack} on {}: {}", node.name, stop.reason);
            assert!(stop.reason.contains("no clear end"), "{toolstack}: {}", stop.reason);
        }
        assert_eq!((n1.domains().len(), n2.domains().len()), (1, 1), "{toolstack}: a copy was ended");
        let start = act(&n3, toolstack, "start", &[("OCF_RESKEY_CRM_meta_timeout", "9000")]);
        assert_eq!(start.code, 1, "{toolstack}: {}", start.reason);
        assert!(n3.domains().is_empty(), "{toolstack}");
    });
}

#[test]
fn a_target_that_dies_on_the_way_does_not_hold_up_the_stop_of_what_never_left() {
    both(|toolstack| {
        let world = running(toolstack);
        let (n1, n2) = (world.host("n1"), world.host("n2"));
        let hold = format!("{toolstack}-migrate.hold");
        n1.knob(&hold, "in-stream");
        n1.knob(&format!("{toolstack}-migrate.breaks"), "");
        std::thread::scope(|scope| {
            let short = [TO_N2, ("OCF_RESKEY_CRM_meta_timeout", "12000")];
            let migrating = scope.spawn(move || act(&n1, toolstack, "migrate_to", &short));
            eventually("the copy arrives", || !n2.domains().is_empty());
            n2.cut(true);
            world.host("n1").unset_knob(&hold);
            let migrate = migrating.join().unwrap();
            assert_eq!(migrate.code, 1, "{toolstack}: {}", migrate.reason);
            assert!(migrate.reason.contains("no clear end"), "{toolstack}: {}", migrate.reason);
        });
        let n1 = world.host("n1");
        let soon = [("OCF_RESKEY_CRM_meta_timeout", "9000")];
        assert_eq!(act(&n1, toolstack, "stop", &soon).code, 1, "{toolstack}: n2 may be running it");
        assert!(n1.runs_x0(), "{toolstack}");
        world.lose("n2");
        assert_eq!(act(&n1, toolstack, "stop", &soon).code, 0, "{toolstack}");
        assert_eq!(act(&n1, toolstack, "start", &soon).code, 1, "{toolstack}: n2 was lost, and not fenced");
    });
}

#[test]
fn p1_while_the_toolstack_moves_a_domain_no_other_node_boots_it_and_no_stop_ends_a_copy() {
    both(|toolstack| {
        let world = running(toolstack);
        let (n1, n2, n3) = (world.host("n1"), world.host("n2"), world.host("n3"));
        let knob = format!("{toolstack}-migrate.hold");
        n1.knob(&knob, "in-stream");
        std::thread::scope(|scope| {
            let migrating = scope.spawn(|| act(&n1, toolstack, "migrate_to", &[TO_N2]));
            eventually("the copy arrives", || !n2.domains().is_empty());
            assert_eq!(code(&n1, toolstack, "monitor"), 0, "{toolstack}: the guest runs on");
            let start = act(&n3, toolstack, "start", &[("OCF_RESKEY_CRM_meta_timeout", "9000")]);
            assert_eq!(start.code, 1, "{toolstack}: {}", start.reason);
            let stop = act(&n2, toolstack, "stop", &[("OCF_RESKEY_CRM_meta_timeout", "4000")]);
            assert_eq!(stop.code, 1, "{toolstack}: {}", stop.reason);
            assert_eq!(n2.domains().len(), 1, "{toolstack}: the copy that arrives was destroyed");
            n1.unset_knob(&knob);
            let migrate = migrating.join().unwrap();
            assert_eq!(migrate.code, 0, "{toolstack}: {}", migrate.reason);
        });
        assert!(n2.runs_x0() && n1.domains().is_empty() && n3.domains().is_empty(), "{toolstack}");
    });
}

#[test]
fn a_copy_that_is_lost_on_its_way_is_no_success() {
    both(|toolstack| {
        let world = running(toolstack);
        let (n1, n2) = (world.host("n1"), world.host("n2"));
        n2.knob(&format!("{toolstack}-migrate.loses"), "");
        let migrate = act(&n1, toolstack, "migrate_to", &[TO_N2, ("OCF_RESKEY_CRM_meta_timeout", "10000")]);
        assert_eq!(migrate.code, 1, "{toolstack}: the command said that it was done: {}", migrate.reason);
        assert_eq!(act(&n2, toolstack, "migrate_from", &[FROM_N1]).code, 1, "{toolstack}");
        // It is lost, and both ends say so: a start may boot it.
        assert_eq!(code(&n1, toolstack, "stop"), 0, "{toolstack}");
        assert_eq!(code(&n2, toolstack, "start"), 0, "{toolstack}");
    });
}

#[test]
fn p2_no_boot_while_another_node_has_it_or_does_not_answer() {
    both(|toolstack| {
        let world = running(toolstack);
        let (n1, n2) = (world.host("n1"), world.host("n2"));
        let soon = [("OCF_RESKEY_CRM_meta_timeout", "9000")];
        let start = act(&n2, toolstack, "start", &soon);
        assert_eq!(start.code, 1, "{toolstack}");
        assert!(start.reason.contains("n1 has it"), "{toolstack}: {}", start.reason);
        n1.cut(true);
        let start = act(&n2, toolstack, "start", &soon);
        assert_eq!(start.code, 1, "{toolstack}: {}", start.reason);
        assert!(n2.domains().is_empty(), "{toolstack}");
        n1.cut(false);
    });
}

#[test]
fn p2_the_pools_book_can_forbid_a_boot_and_never_allow_one() {
    let world = running("xe");
    let (n1, n2) = (world.host("n1"), world.host("n2"));
    let soon = [("OCF_RESKEY_CRM_meta_timeout", "9000")];
    // A host outside of the cluster has it: every node says "none here", and the book knows better.
    std::fs::write(n1.root.join("etc/xensource-inventory"), "INSTALLATION_UUID='host-0'\n").unwrap();
    let outsider = World::of("xe", &["n2", "n3"]);
    let elsewhere = outsider.shared("n9");
    std::fs::create_dir_all(elsewhere.join("usr/sbin")).unwrap();
    std::fs::create_dir_all(elsewhere.join("etc")).unwrap();
    std::fs::write(elsewhere.join("etc/xensource-inventory"), "INSTALLATION_UUID='host-9'\n").unwrap();
    let there = outsider.host("n2");
    let run = std::process::Command::new(there.root.join("usr/sbin/xe"))
        .args(["vm-start", "uuid=vm-x0", "on=host-9"])
        .status()
        .unwrap();
    assert!(run.success());
    let start = act(&there, "xe", "start", &soon);
    assert_eq!(start.code, 1, "{}", start.reason);
    assert!(start.reason.contains("the pool says that host host-9 has it"), "{}", start.reason);
    let end = std::process::Command::new(there.root.join("usr/sbin/xe"))
        .args(["vm-shutdown", "uuid=vm-x0", "force=true"])
        .status()
        .unwrap();
    assert!(end.success());
    // And the other way: the book says "halted" of a host that is cut off, which is no proof.
    n1.cut(true);
    let start = act(&n2, "xe", "start", &soon);
    assert_eq!(start.code, 1, "{}", start.reason);
    n1.cut(false);
}

#[test]
fn two_vms_of_one_label_are_an_error_that_lists_them() {
    let world = World::of("xe", &NODES);
    std::fs::copy(world.shared("pool/vm-x0"), world.shared("pool/vm-other")).unwrap();
    let monitor = act(&world.host("n1"), "xe", "monitor", &[]);
    assert_eq!(monitor.code, 1);
    assert!(monitor.reason.contains("vm-other, vm-x0"), "{}", monitor.reason);
}

#[test]
fn a_suspended_vm_of_the_pool_goes_on_where_it_is_started() {
    let world = World::of("xe", &NODES);
    std::fs::write(world.shared("pool/vm-x0.suspended"), "").unwrap();
    let n1 = world.host("n1");
    assert_eq!(code(&n1, "xe", "monitor"), 7);
    assert_eq!(code(&n1, "xe", "start"), 0);
    let calls = std::fs::read_to_string(n1.root.join("var/lib/xl-standin/commands")).unwrap();
    assert!(calls.contains("vm-resume uuid=vm-x0 on=host-0"), "{calls}");
}

#[test]
fn a_vm_that_has_moved_meanwhile_is_not_ended_where_it_is_now() {
    let world = running("xe");
    let n1 = world.host("n1");
    let xe = |args: &[&str]| {
        std::process::Command::new(n1.root.join("usr/sbin/xe")).args(args).status().unwrap().success()
    };
    assert!(!xe(&["vm-shutdown", "uuid=vm-x0", "resident-on=host-1", "force=true"]));
    assert!(n1.runs_x0());
    assert_eq!(code(&world.host("n2"), "xe", "stop"), 0, "there is none here");
    assert!(n1.runs_x0(), "a stop on n2 has ended what runs on n1");
}

#[test]
fn what_a_toolstack_cannot_do_is_refused_before_anything_begins_and_a_stop_goes_on() {
    for (toolstack, parameter, value) in [
        ("xm", "OCF_RESKEY_allow_mem_management", "yes"),
        ("xm", "OCF_RESKEY_migration_detach_pci", "yes"),
        ("xm", "OCF_RESKEY_migration_rate", "10"),
        ("xe", "OCF_RESKEY_snapshot", "/srv"),
        ("xe", "OCF_RESKEY_shutdown_acpi", "yes"),
    ] {
        let world = running(toolstack);
        let n1 = world.host("n1");
        for action in ["validate-all", "start"] {
            let refused = act(&n1, toolstack, action, &[(parameter, value)]);
            assert_eq!(refused.code, 5, "{toolstack} {action} {parameter}: {}", refused.reason);
            let name = parameter.trim_start_matches("OCF_RESKEY_");
            assert!(
                refused.reason.contains(name) && refused.reason.contains(toolstack),
                "{}",
                refused.reason
            );
        }
        assert_eq!(act(&n1, toolstack, "monitor", &[(parameter, value)]).code, 0, "{toolstack} {parameter}");
        world.plan(&NODES, None);
        assert_eq!(act(&n1, toolstack, "stop", &[(parameter, value)]).code, 0, "{toolstack} {parameter}");
        assert!(world.log().contains("stop: shut down"), "{toolstack} {parameter}: {}", world.log());
    }
}

#[test]
fn the_parameter_toolstack_asserts_and_never_makes_a_running_domain_not_installed() {
    let world = running("xm");
    let (n1, n2) = (world.host("n1"), world.host("n2"));
    let asserted = [("OCF_RESKEY_toolstack", "xl")];
    for action in ["validate-all", "start"] {
        let refused = act(&n2, "xm", action, &asserted);
        assert_eq!(refused.code, 5, "{action}: {}", refused.reason);
        assert!(refused.reason.contains("the toolstack of this node is xm"), "{}", refused.reason);
    }
    assert_eq!(act(&n2, "xm", "monitor", &asserted).code, 5, "none is here");
    assert_eq!(act(&n1, "xm", "monitor", &asserted).code, 0, "it runs here");
    let again = act(&n1, "xm", "monitor", &[asserted[0], ("OCF_RESKEY_CRM_meta_interval", "10000")]);
    assert_eq!(again.code, 190, "{}", again.reason);
    assert!(again.reason.contains("it runs; but parameter toolstack=xl"), "{}", again.reason);
    world.plan(&NODES, None);
    assert_eq!(act(&n1, "xm", "stop", &asserted).code, 0, "what is here is ended by what runs it");
}

#[test]
fn a_node_of_another_toolstack_neither_gives_nor_takes_a_stream() {
    // n2 is xl's, beside nodes with xm.
    let world = World::of("xm", &NODES);
    let (n1, n2) = (world.host("n1"), world.host("n2"));
    std::fs::remove_file(n2.root.join("var/run/xend.pid")).unwrap();
    n2.succeeds("start");
    let migrate = n2.act("migrate_to", &[("OCF_RESKEY_CRM_meta_migrate_target", "n1")]);
    assert_eq!(migrate.code, 1);
    assert!(migrate.reason.contains("the toolstack here is xm"), "{}", migrate.reason);
    assert!(n2.runs_x0());
    world.plan(&NODES, Some("n1"));
    n2.succeeds("stop");
    assert_eq!(n2.phase(), "offered", "the offer was made; nobody asks what the target has");
    // P7: it can be booted here and not moved here.
    let start = act(&n1, "xm", "start", &[]);
    assert_eq!(start.code, 0, "{}", start.reason);
    assert!(n2.domains().is_empty() && n1.runs_x0());
    assert!(world.log().contains("n1 cannot fetch it (it cannot be moved here: "), "{}", world.log());
    // The keeper's word, which comes when it has seen the end itself.
    eventually("the keeper sees the offer's end", || world.log().contains("its offer has ended: shut down"));
}

#[test]
fn xe_needs_a_name_and_no_file() {
    let world = World::of("xe", &NODES);
    let n1 = world.host("n1");
    let nameless = [("OCF_RESKEY_xmfile", "UNSET")];
    assert_eq!(n1.act("validate-all", &nameless).code, 6);
    assert_eq!(n1.act("start", &nameless).code, 5);
    for file in ["/etc/xen/x0.cfg", "/dev/null"] {
        let with_file = n1.act("validate-all", &[("OCF_RESKEY_name", "x0"), ("OCF_RESKEY_xmfile", file)]);
        assert_eq!(with_file.code, 0, "{}", with_file.reason);
    }
    let start = n1.act("start", &[("OCF_RESKEY_name", "x0"), ("OCF_RESKEY_xmfile", "/dev/null")]);
    assert_eq!(start.code, 0, "{}", start.reason);
}

#[test]
fn a_snapshot_works_under_xm() {
    let world = running("xm");
    world.plan(&NODES, None);
    let n1 = world.host("n1");
    let folder = world.shared("saved");
    std::fs::create_dir(&folder).unwrap();
    let snapshot = [("OCF_RESKEY_snapshot", folder.to_str().unwrap())];
    let before = boots(&n1);
    assert_eq!(act(&n1, "xm", "stop", &snapshot).code, 0);
    assert!(n1.domains().is_empty());
    let start = act(&n1, "xm", "start", &snapshot);
    assert_eq!(start.code, 0, "{}", start.reason);
    let boot_id = |shown: &str| serde_json::from_str::<serde_json::Value>(shown).unwrap()["boot_id"].clone();
    assert_eq!(boot_id(&before), boot_id(&boots(&n1)), "it was booted");
}
