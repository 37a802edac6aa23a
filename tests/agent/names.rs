//! What an answer is worth depends on which domain was asked about, and how it is known that a process or a file is of that domain.

use crate::world::{Host, World};
use crate::{NODES, eventually, x0_on_n1};

/// Every look of a monitor while the guest reboots.
fn reboots_without_a_gap(n1: &Host) {
    let before = n1.xl(&["domid", "x0"]);
    n1.xl(&["reboot", "x0"]);
    eventually("the guest is back with another domid", || {
        let look = n1.act("monitor", &[]);
        assert_eq!(look.code, 0, "{:?}: {}", n1.domains(), look.reason);
        let now = n1.xl(&["domid", "x0"]);
        !now.is_empty() && now != before && n1.runs_x0()
    });
}

#[test]
fn p1_a_guest_that_reboots_after_its_log_was_rotated_is_not_taken_for_stopped() {
    let world = x0_on_n1();
    let n1 = world.host("n1");
    let logs = n1.root.join("var/log/xen");
    std::fs::rename(logs.join("xl-x0.log"), logs.join("xl-x0.log.1")).unwrap();
    reboots_without_a_gap(&n1);
    std::fs::remove_file(logs.join("xl-x0.log.1")).unwrap();
    reboots_without_a_gap(&n1);
    // Created by hand, so that the agent has left no mark, with a log that is somewhere else by now; and another domain beside it.
    let by_hand = World::new(&NODES);
    let n1 = by_hand.host("n1");
    for domain in ["x1", "x0"] {
        let file = n1.root.join(format!("etc/xen/{domain}.cfg"));
        n1.xl(&["create", file.to_str().unwrap()]);
    }
    std::fs::rename(n1.root.join("var/log/xen/xl-x0.log"), n1.root.join("old-logs")).unwrap();
    reboots_without_a_gap(&n1);
    n1.xl(&["destroy", "x0"]);
    eventually("nobody is left that could create it anew", || n1.act("monitor", &[]).code == 7);
    assert_eq!(n1.act("stop", &[]).code, 0, "x1 and its daemon are no obstacle");
}

/// The domain of x0 is called web, and n2 has no file that says so.
fn web() -> World {
    let world = World::new(&["n1", "n2"]);
    for name in ["n1", "n2"] {
        let host = world.host(name);
        let text = "name = \"web\"\ntype = \"pvh\"\nmemory = 16\n";
        std::fs::write(host.root.join("etc/xen/x0.cfg"), text).unwrap();
    }
    let n2 = world.host("n2");
    n2.xl(&["create", n2.root.join("etc/xen/x0.cfg").to_str().unwrap()]);
    std::fs::remove_file(n2.root.join("etc/xen/x0.cfg")).unwrap();
    world
}

#[test]
fn p2_a_probe_that_did_not_know_the_name_is_no_evidence() {
    let world = web();
    let (n1, n2) = (world.host("n1"), world.host("n2"));
    let probe = n2.act("monitor", &[]);
    assert_eq!(probe.code, 5, "{}", probe.reason);
    assert!(probe.reason.contains("web may be it"), "{}", probe.reason);
    world.old_ledger(&["n1"]);
    world.history("n2", "monitor", 5);
    n2.cut(true);
    let start = n1.act("start", &[("OCF_RESKEY_CRM_meta_timeout", "3000")]);
    assert_eq!(start.code, 1, "{}", start.reason);
    assert!(n1.domains().is_empty(), "{:?}", n1.domains());
}

#[test]
fn p1_a_stop_without_a_name_says_stopped_only_where_it_is_seen_that_none_can_be_here() {
    let world = web();
    let (n1, n2) = (world.host("n1"), world.host("n2"));
    let stop = n2.act("stop", &[]);
    assert_eq!(stop.code, 1, "{}", stop.reason);
    assert!(stop.reason.contains("set the parameter name"), "{}", stop.reason);
    // Another resource's domain is accounted for.
    assert_eq!(n2.act_for("x1", "start", &[]).code, 0);
    let stop = n2.act("stop", &[]);
    assert!(stop.reason.contains("found out: web may be it"), "{}", stop.reason);
    // A node that has read the file has told the others: the same stop ends it.
    assert_eq!(n1.act("monitor", &[]).code, 7);
    assert_eq!(n2.act("stop", &[]).code, 0);
    assert_eq!(n2.domains().len(), 1, "{:?}", n2.domains());
    std::fs::remove_dir_all(world.shared("attrs")).unwrap();
    assert_eq!(n2.act("stop", &[]).code, 0, "only x1 is here");
    assert_eq!(n2.act("monitor", &[]).code, 7);
}

/// The configuration gets another name.
fn rename(host: &Host) {
    let file = host.root.join("etc/xen/x0.cfg");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(file, text.replace("\"x0\"", "\"x0-prod\"")).unwrap();
}

#[test]
fn p1_a_new_name_in_the_file_is_not_spoken_of_while_the_guest_runs_under_the_old_one() {
    let world = x0_on_n1();
    let (n1, n2) = (world.host("n1"), world.host("n2"));
    NODES.iter().for_each(|name| rename(&world.host(name)));
    assert_eq!(n1.act("monitor", &[]).code, 0);
    // Asked by the new name, it says so.
    let start = n2.act("start", &[("OCF_RESKEY_CRM_meta_timeout", "3000")]);
    assert_eq!(start.code, 1, "{}", start.reason);
    assert!(n1.runs_x0() && n2.domains().is_empty());
    n1.succeeds("stop");
    assert!(
        n1.domains().is_empty(),
        "a stop that would offer it under a name that nobody looks for: {:?}",
        n1.domains()
    );
    n2.succeeds("start");
    assert!(n2.domains().iter().any(|line| line.starts_with("x0-prod ")), "{:?}", n2.domains());
    assert_eq!(n2.act("monitor", &[]).code, 0);
}

#[test]
fn p1_a_start_that_reads_a_new_name_fetches_the_guest_that_is_on_offer_under_the_old_one() {
    let world = x0_on_n1();
    let (n1, n2) = (world.host("n1"), world.host("n2"));
    n1.succeeds("stop");
    assert_eq!(n1.phase(), "offered");
    rename(&n2);
    let start = n2.act("start", &[]);
    assert_eq!(start.code, 0, "{}", start.reason);
    assert!(n2.runs_x0() && n1.domains().is_empty(), "{:?} {:?}", n1.domains(), n2.domains());
    assert_eq!(n2.act("monitor", &[]).code, 0);
}

/// Somebody renames the running guest, and its log is rotated: an operator's mistake has nobody fenced (P8), and is no end of it (P1).
#[test]
fn p8_a_guest_that_is_renamed_by_hand_is_reported_and_a_stop_or_start_gives_it_its_name_back() {
    let world = x0_on_n1();
    let n1 = world.host("n1");
    let logs = n1.root.join("var/log/xen");
    std::fs::rename(logs.join("xl-x0.log"), logs.join("xl-x0.log.1")).unwrap();
    n1.xl(&["rename", "x0", "x0-old"]);
    let monitor = n1.act("monitor", &[("OCF_RESKEY_CRM_meta_interval", "10000")]);
    assert_eq!(monitor.code, 190, "{}", monitor.reason);
    assert!(monitor.reason.contains("xl rename x0-old x0"), "{}", monitor.reason);
    n1.succeeds("start");
    assert!(n1.runs_x0() && n1.domains().len() == 1, "{:?}", n1.domains());
    n1.xl(&["rename", "x0", "x0-old"]);
    n1.succeeds("stop");
    assert_eq!(n1.phase(), "offered", "it is handed over as ever");
    world.host("n2").succeeds("start");
    assert!(world.host("n2").runs_x0() && n1.domains().is_empty(), "{:?}", n1.domains());
}

/// The log that says for which domain xl's daemon waits was emptied where it lies, as `copytruncate` does.
#[test]
fn p8_a_guest_that_is_renamed_after_its_log_was_emptied_is_known_by_the_id_that_it_had() {
    let world = x0_on_n1();
    let n1 = world.host("n1");
    let recurring = [("OCF_RESKEY_CRM_meta_interval", "10000")];
    assert_eq!(n1.act("monitor", &recurring).code, 0);
    std::fs::write(n1.root.join("var/log/xen/xl-x0.log"), "").unwrap();
    n1.xl(&["rename", "x0", "x0-old"]);
    let monitor = n1.act("monitor", &recurring);
    assert_eq!(monitor.code, 190, "{}", monitor.reason);
    assert!(monitor.reason.contains("xl rename x0-old x0"), "{}", monitor.reason);
    n1.succeeds("stop");
    assert_eq!(n1.phase(), "offered", "it is handed over as ever");
    world.host("n2").succeeds("start");
    assert!(world.host("n2").runs_x0() && n1.domains().is_empty(), "{:?}", n1.domains());
}

#[test]
fn one_turned_bit_in_what_is_kept_is_no_other_name() {
    let world = x0_on_n1();
    let n1 = world.host("n1");
    world.plan(&NODES, None);
    let kept = n1.root.join("run/xen-handoff/x0.identity");
    let text = std::fs::read_to_string(&kept).unwrap();
    let turned = text.replacen("\"domain\":\"x0\"", "\"domain\":\"p0\"", 1);
    assert_ne!(text, turned);
    std::fs::write(&kept, &turned).unwrap();
    assert_eq!(n1.act("monitor", &[]).code, 0);
    std::fs::write(&kept, &turned).unwrap();
    n1.succeeds("stop");
    assert!(n1.domains().is_empty());
    std::fs::write(&kept, &turned).unwrap();
    n1.succeeds("start");
    assert!(n1.runs_x0());
}

#[test]
fn a_copy_that_no_record_knows_and_nobody_receives_is_cleared_away() {
    let world = World::new(&NODES);
    let n1 = world.host("n1");
    let stale = n1.root.join("etc/xen/stale.cfg");
    std::fs::write(&stale, "name = \"x0--incoming\"\nmemory = 16\n").unwrap();
    let leave = || {
        n1.xl(&["create", "-p", stale.to_str().unwrap()]);
        assert_eq!(n1.domains().len(), 1);
    };
    leave();
    assert_eq!(n1.act("monitor", &[]).code, 7);
    let (code, said) = n1.tool(&["recover", "--dry-run", "x0"]);
    let words = said.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(code == 0 && words.contains("it never ran: destroy it") && n1.domains().len() == 1, "{said}");
    assert_eq!(n1.tool(&["recover", "x0"]).0, 0);
    assert!(n1.domains().is_empty());
    leave();
    n1.succeeds("stop");
    assert!(n1.domains().is_empty());
    leave();
    n1.succeeds("start");
    assert!(n1.runs_x0() && n1.domains().len() == 1, "{:?}", n1.domains());
}
