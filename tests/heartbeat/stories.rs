//! The stories: given x0 on n1, when Heartbeat is told something, then the guest is well.

use crate::follow::{AS_IT_STANDS, follow};
use crate::pair::{Pair, Wish};
use crate::recipes::{Part, recipe};
use libtest_mimic::{Failed, Trial};

/// All of them.
pub(crate) fn trials() -> Vec<Trial> {
    let story = |name: &str, tell: fn()| {
        Trial::test(name, move || std::panic::catch_unwind(tell).map_err(|_| Failed::from("see above")))
    };
    vec![
        story("a_reset_reaches_nothing_but_the_stand_in", reset_is_a_stand_in),
        story("a_node_that_leaves_hands_its_domain_over_live", leaving),
        story("standby_hands_over_and_takeover_brings_it_back", standby_and_back),
        story("takeover_fetches_it_live", takeover),
        story("failback_brings_it_home_live", failback),
        story("stop_of_a_line_that_is_not_held_changes_nothing", line_not_held),
        story("p1_a_node_that_died_unfenced_forbids_a_boot", unfenced),
        story("a_node_that_was_fenced_is_taken_over", fenced),
        story(
            "p1_a_node_that_is_cut_off_while_it_gives_up_is_not_fenced_and_not_taken_over",
            cut_off_giving_up,
        ),
        story("p1_a_node_that_was_only_cut_off_is_fenced_before_it_is_taken_over", cut_off_and_fenced),
        story(
            "p1_what_a_dead_source_had_on_offer_is_booted_once_a_person_says_so",
            source_dies_with_its_offer,
        ),
        story("p6_two_nodes_that_leave_at_once_end_the_domain", both_leave),
        story("a_stop_that_fails_for_good_ends_in_a_reset_of_its_node", stop_fails),
        story("p1_a_stop_that_cannot_tell_lets_nobody_else_boot_it", stop_cannot_tell),
        story("p1_of_three_nodes_only_one_gets_it", three_nodes),
        story("heartbeats_own_wrapper_hands_over_too", wrapped),
        story("recipe_a_heartbeat_pair", recipe_pair),
    ]
}

/// So that the story below that has Heartbeat call it cannot reset the machine that runs this.
fn reset_is_a_stand_in() {
    let pair = Pair::off(Wish::default());
    pair.power_on("n1", Wish::default());
    for words in [["/sbin/reboot", "-nf"], ["/sbin/init", "6"]] {
        pair.fabric.sh("n1", &format!("setsid {} </dev/null >/dev/null 2>&1 &", words.join(" ")));
    }
    pair.eventually("both are written down", || pair.resets("n1").lines().count() == 2);
    let mut resets: Vec<String> = pair.resets("n1").lines().map(str::to_owned).collect();
    resets.sort();
    assert_eq!(resets, ["init 6", "reboot -nf"]);
}

fn leaving() {
    let pair = Pair::start(Wish::default());
    pair.stop_heartbeat("n1");
    pair.wait_heartbeat_gone("n1");
    pair.settles_with_x0_on("n2");
    assert_eq!(pair.boots(), 1, "{}", pair.logs());
}

fn standby_and_back() {
    let pair = Pair::start(Wish::default());
    pair.order("n1", "hb_standby");
    pair.settles_with_x0_on("n2");
    pair.order("n1", "hb_takeover");
    pair.settles_with_x0_on("n1");
    assert_eq!(pair.boots(), 1, "{}", pair.logs());
}

fn takeover() {
    let pair = Pair::start(Wish::default());
    pair.order("n2", "hb_takeover");
    pair.settles_with_x0_on("n2");
    assert_eq!(pair.boots(), 1, "{}", pair.logs());
}

fn failback() {
    let pair = Pair::start(Wish { auto_failback: true, ..Wish::default() });
    pair.stop_heartbeat("n1");
    pair.wait_heartbeat_gone("n1");
    pair.settles_with_x0_on("n2");
    pair.start_heartbeat("n1");
    pair.settles_with_x0_on("n1");
    assert_eq!(pair.boots(), 1, "{}", pair.logs());
}

/// A node that leaves is asked to stop every line of haresources, also what runs elsewhere.
fn line_not_held() {
    let haresources = "n1 xen-handoff::x0::handoff_timeout=60::timeout=40\n\
                       n2 xen-handoff::x1::handoff_timeout=60::timeout=40\n";
    let pair = Pair::start(Wish { haresources, ..Wish::default() });
    pair.eventually("x1 runs on n2", || pair.runs("x1", "n2"));
    pair.stop_heartbeat("n2");
    pair.wait_heartbeat_gone("n2");
    pair.eventually("x1 runs on n1", || pair.runs("x1", "n1") && !pair.runs("x1", "n2"));
    assert_eq!(pair.places(), ["n1"], "{}", pair.logs());
    assert_eq!((pair.boots(), pair.boots_of("x1")), (1, 1), "{}", pair.logs());
    assert!(pair.log("n2").contains("domain=x0 node=n2 stop: nothing here"), "{}", pair.logs());
    assert!(!pair.heartbeat_log("n2").contains("Retrying failed stop"), "{}", pair.logs());
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
    pair.power_off("n1");
    pair.eventually("x0 runs on n2", || {
        pair.answer_fencing();
        pair.runs_x0("n2")
    });
    assert_eq!(pair.boots(), 2);
}

/// Not lost, but cut off: the power switch is what makes it safe.
fn cut_off_and_fenced() {
    let pair = Pair::start(Wish { fencing: true, ..Wish::default() });
    pair.fabric.cut("n1");
    // Each asks for the other's power; n2 is the one who is answered.
    pair.eventually("Heartbeat asks for n1's power to be cut", || pair.asks_to_fence("n1"));
    assert_eq!(pair.places(), ["n1"], "{}", pair.logs());
    pair.answer_fencing_of("n1");
    pair.eventually("x0 runs on n2", || pair.runs_x0("n2"));
    assert_eq!(pair.boots(), 2);
}

/// Heartbeat sees no need to fence a node that has given up all it had, and so does not say that it has; its domain is gone
/// for certain only when a person says so.
fn source_dies_with_its_offer() {
    let pair = Pair::start(Wish { fencing: true, ..Wish::default() });
    pair.knob("n1", "migrate.hold", "in-stream");
    pair.order("n1", "hb_standby");
    let held = "/var/lib/xl-standin/held.migrate";
    pair.eventually("x0 is on its way", || !pair.fabric.get("n1", held).is_empty());
    pair.power_off("n1");
    pair.eventually("the start on n2 says why not", || pair.log("n2").contains("n1 may be running it"));
    pair.eventually("Heartbeat has lost n1", || {
        pair.heartbeat_log("n2").contains("Dead node n1 gave up resources")
    });
    assert_eq!((pair.places().len(), pair.boots()), (0, 1), "{}", pair.logs());
    pair.fabric.sh("n2", "HA_node=n1 HA_result=OK /etc/ha.d/rc.d/stonith");
    pair.eventually("x0 runs on n2", || pair.runs_x0("n2"));
    assert_eq!(pair.boots(), 2, "{}", pair.logs());
}

/// A node that gives its resources up says so before it has begun to. If it is lost then, Heartbeat sees no need to fence it; but
/// the domain may still run there.
fn cut_off_giving_up() {
    let haresources = "n1 xen-handoff::x0::handoff=never::timeout=60\n";
    let wish = Wish { haresources, fencing: true, ..Wish::default() };
    let pair = Pair::start(wish);
    // Its ledger is older than an offer can be.
    pair.fabric.put("n2", "/run/xen-handoff/ledger/since", 0o600, "1000\n");
    pair.knob("n1", "x0.ignore-shutdown", "");
    pair.order("n1", "hb_standby");
    pair.eventually("n1 shuts x0 down", || pair.log("n1").contains("no handoff: "));
    pair.fabric.cut("n1");
    pair.eventually("n2 is told to start it", || {
        let log = pair.log("n2");
        log.contains("n1 may be running it") || log.contains("booting it")
    });
    assert!(pair.heartbeat_log("n2").contains("Dead node n1 gave up resources"), "{}", pair.logs());
    assert_eq!(pair.boots(), 1, "{}", pair.logs());
}

/// Both hosts are switched off at once, as by a UPS: the offer of the one to the other has five minutes, and neither waits for it.
fn both_leave() {
    let haresources = "n1 xen-handoff::x0::/etc/xen/x0.cfg::handoff_timeout=300::timeout=40\n";
    let pair = Pair::start(Wish { haresources, ..Wish::default() });
    pair.stop_heartbeat("n2");
    pair.stop_heartbeat("n1");
    pair.eventually("x0 has ended", || pair.places().is_empty());
    pair.wait_heartbeat_gone("n1");
    pair.wait_heartbeat_gone("n2");
    assert_eq!(pair.boots(), 1);
}

/// The guest ignores its shutdown, and it cannot be destroyed: a stop has nothing left, and Heartbeat resets the host.
fn stop_fails() {
    let wish = Wish { haresources: "n1 xen-handoff::x0::handoff=never::timeout=60\n", ..Wish::default() };
    let pair = Pair::start(wish);
    // Read anew for every action: eleven stops shall not take the test's whole time.
    let short = "n1 xen-handoff::x0::handoff=never::shutdown_timeout=1::timeout=4\n";
    pair.fabric.put("n1", "/etc/ha.d/haresources", 0o644, short);
    pair.knob("n1", "x0.ignore-shutdown", "");
    pair.knob("n1", "destroy.fail", "1\nno");
    pair.stop_heartbeat("n1");
    pair.eventually("n1 is told to reset itself", || !pair.resets("n1").is_empty());
    assert_eq!(pair.resets("n1"), "reboot -nf\n");
    let log = pair.heartbeat_log("n1");
    assert_eq!(log.matches("Retrying failed stop operation").count(), 10, "{log}");
    assert_eq!((pair.places(), pair.boots()), (vec!["n1".to_owned()], 1), "{}", pair.logs());
    pair.power_off("n1");
    pair.power_on("n1", wish);
    pair.eventually("x0 runs on n2", || pair.places() == ["n2"]);
    assert_eq!(pair.boots(), 2, "{}", pair.logs());
}

/// xl does not answer any more: the stop fails eleven times, the status does not say "running", and Heartbeat goes on.
fn stop_cannot_tell() {
    let wish = Wish { haresources: "n1 xen-handoff::x0::timeout=60\n", ..Wish::default() };
    let pair = Pair::start(wish);
    pair.fabric.put("n1", "/etc/ha.d/haresources", 0o644, "n1 xen-handoff::x0::timeout=4\n");
    pair.knob("n1", "all.fail", "1\nno");
    pair.stop_heartbeat("n1");
    pair.eventually("Heartbeat goes on", || {
        pair.heartbeat_log("n1").contains("Machine reboot narrowly avoided")
    });
    pair.eventually("the start on n2 says why not", || pair.log("n2").contains("start waits: n1 "));
    pair.wait_heartbeat_gone("n1");
    pair.fabric.sh("n1", "rm /var/lib/xl-standin/ctl/all.fail");
    assert_eq!((pair.places(), pair.boots()), (vec!["n1".to_owned()], 1), "{}", pair.logs());
    assert_eq!(pair.resets("n1"), "");
}

/// Heartbeat's own takeover is made for two nodes: with three, both that are left start it.
fn three_nodes() {
    let haresources = "n1 xen-handoff::x0::/etc/xen/x0.cfg::handoff_timeout=60::timeout=20\n";
    let pair = Pair::start(Wish { nodes: &["n1", "n2", "n3"], haresources, ..Wish::default() });
    pair.stop_heartbeat("n1");
    pair.eventually("one of the others has it", || !pair.places().is_empty() && !pair.runs_x0("n1"));
    pair.wait_heartbeat_gone("n1");
    let has = pair.places().concat();
    let other = if has == "n2" { "n3" } else { "n2" };
    let refused = format!("start waits: {has} ");
    pair.eventually("the other one is refused", || pair.log(other).contains(&refused));
    pair.eventually("Heartbeat has given it up there", || {
        pair.heartbeat_log(other).contains("Giving up resources due to failure of xen-handoff::x0")
    });
    assert_eq!(pair.places(), [has], "{}", pair.logs());
    assert_eq!(pair.boots(), 1, "{}", pair.logs());
}

fn wrapped() {
    let config = "OCF_RESKEY_xmfile=/etc/xen/x0.cfg\nOCF_RESKEY_handoff_timeout=60\n\
                  OCF_RESKEY_CRM_meta_timeout=40000\n";
    let haresources = "n1 OCF::Xen::x0\n";
    let pair = Pair::start(Wish { haresources, wrapped: Some(config), ..Wish::default() });
    pair.stop_heartbeat("n1");
    pair.wait_heartbeat_gone("n1");
    pair.settles_with_x0_on("n2");
    assert_eq!(pair.boots(), 1, "{}", pair.logs());
}

/// `doc/recipes.md`, as it stands there; the power switch alone is another one.
fn recipe_pair() {
    const EVERY: [&str; 2] = ["n1", "n2"];
    let wish = Wish { fencing: true, ..Wish::default() };
    let pair = Pair::off(wish);
    for node in EVERY {
        pair.power_on(node, wish);
        pair.fabric.sh(node, "cd /etc/ha.d && rm ha.cf authkeys haresources");
        let switch = include_str!("stonith-plugin.sh").replace(
            "echo hostname ;;",
            "for name in hostname ipaddr userid passwd interface; do echo $name; done ;;",
        );
        pair.fabric.put(node, "/usr/lib/stonith/plugins/external/ipmi", 0o755, switch);
    }
    let (one, other) = (pair.fabric.address("n1"), pair.fabric.address("n2"));
    let names = [
        ("node1", "n1"),
        ("node2", "n2"),
        ("192.0.2.11", "203.0.113.11"),
        ("192.0.2.12", "203.0.113.12"),
        ("192.0.2.1", one.as_str()),
        ("192.0.2.2", other.as_str()),
    ];
    let parts = recipe("A Heartbeat pair", &names).expect("the recipe");
    let [files @ .., start, look, away, back, history] = parts.as_slice() else { panic!("{parts:?}") };
    assert!(files.len() == 3 && files.iter().all(|part| matches!(part, Part::File { .. })), "{files:?}");
    let give = |part: &Part| follow(&pair.fabric, &EVERY, part, AS_IT_STANDS);
    files.iter().for_each(give);
    // Its daemons would keep what reads their words waiting.
    let started = |node: &str, command: &str| {
        pair.fabric.sh(node, &format!("{command} >/var/log/heartbeat-start 2>&1 </dev/null"));
        true
    };
    follow(&pair.fabric, &EVERY, start, &started);
    pair.settles_with_x0_on("n1");
    give(look);
    give(away);
    pair.settles_with_x0_on("n2");
    give(back);
    pair.settles_with_x0_on("n1");
    give(history);
    assert_eq!(pair.boots(), 1, "{}", pair.logs());

    // "When node1 loses its power, node2 has it fenced and boots x0."
    pair.power_off("n1");
    pair.eventually("x0 runs on n2", || {
        pair.answer_fencing();
        pair.runs_x0("n2")
    });
    assert_eq!(pair.boots(), 2, "{}", pair.logs());
}
