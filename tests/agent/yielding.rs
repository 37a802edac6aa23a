//! P7: an offer that cannot be fetched. The start that was to fetch it has it ended in order and boots it; and what could not be booted
//! there either ends no guest.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::world::{Host, World};
use crate::{NODES, eventually, x0_on_n1};

const TIMEOUT: &str = "OCF_RESKEY_CRM_meta_timeout";

/// The moments at which the stand-in's guest ended on this host, and how.
fn events(host: &Host) -> String {
    std::fs::read_to_string(host.root.join("var/lib/xl-standin/events")).unwrap_or_default()
}

/// All but 6 MiB of this host's memory is dom0's, which gives nothing.
fn has_1030_mib(host: &Host) {
    std::fs::write(host.root.join("etc/xen/xl.conf"), "autoballoon=\"off\"\n").unwrap();
    host.knob("memory-mib", "1030");
}

/// x0 is on offer at n1, as an ordinary stop has left it.
fn x0_on_offer() -> World {
    let world = x0_on_n1();
    world.old_ledger(&NODES);
    world.host("n1").succeeds("stop");
    assert_eq!(world.host("n1").phase(), "offered");
    world
}

/// It was shut down in order on n1, then booted on n2, and nothing is left of the offer.
fn was_rebooted_in_order(world: &World) {
    let (n1, n2) = (world.host("n1"), world.host("n2"));
    assert!(n2.runs_x0() && n1.domains().is_empty(), "{:?} {:?}", n1.domains(), n2.domains());
    assert_eq!(world.log().matches("booting it").count(), 2, "once on n1, once on n2");
    assert!(events(&n1).contains("shutdown-poweroff"), "the guest was not asked: {}", events(&n1));
    eventually("the source's record is closed", || n1.phase() == "idle");
    let entry = std::fs::read_to_string(world.shared("attrs/xen-handoff-x0/n2")).unwrap();
    assert_eq!(entry, "", "the offer is still in the ledger");
}

#[test]
fn p7_a_guest_whose_streams_always_fail_is_ended_in_order_and_booted_by_the_same_start() {
    for knob in [("migrate.fail", "1\nlibxl: error: cannot save"), ("x0.no-suspend", "0.1")] {
        let world = x0_on_offer();
        world.host("n1").knob("stream.mib", "1");
        world.host("n1").knob(knob.0, knob.1);
        let start = world.host("n2").act("start", &[(TIMEOUT, "120000")]);
        assert_eq!(start.code, 0, "{knob:?}: {}", start.reason);
        was_rebooted_in_order(&world);
        assert!(
            world.log().contains("n2 cannot fetch it (3 streams of it came to nothing"),
            "{}",
            world.log()
        );
    }
}

#[test]
fn p7_what_can_be_booted_but_not_moved_is_asked_for_at_once_and_no_byte_is_sent() {
    let world = x0_on_offer();
    let n2 = world.host("n2");
    let config = n2.root.join("etc/xen/x0.cfg");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("{text}nomigrate = 1\n")).unwrap();
    let start = n2.act("start", &[]);
    assert_eq!(start.code, 0, "{}", start.reason);
    was_rebooted_in_order(&world);
    assert!(
        world.log().contains("n2 cannot fetch it (it cannot be moved here: nomigrate"),
        "{}",
        world.log()
    );
    assert!(!world.log().contains("fetching it from"), "a stream was begun: {}", world.log());
}

#[test]
fn p7_what_could_not_be_booted_there_either_ends_no_guest_and_the_start_says_so_at_once() {
    let world = x0_on_offer();
    let (n1, n2) = (world.host("n1"), world.host("n2"));
    let fails_with = |why: &str| {
        let began = Instant::now();
        let start = n2.act("start", &[]);
        assert_eq!(start.code, 1, "{}", start.reason);
        assert!(start.reason.contains("n1 offers it, and this node cannot run it: "), "{}", start.reason);
        assert!(start.reason.contains(why), "{}", start.reason);
        assert!(began.elapsed() < Duration::from_secs(20), "it took {:?}", began.elapsed());
        assert!(n1.runs_x0() && n1.phase() == "offered" && n2.domains().is_empty());
        assert!(!world.log().contains("fetching it from"), "a stream was begun");
    };
    has_1030_mib(&n2);
    fails_with("memory: needs");
    n2.unset_knob("memory-mib");
    let config = n2.root.join("etc/xen/x0.cfg");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("{text}vif = [\"bridge=xenbr7\"]\n")).unwrap();
    fails_with("there is no bridge xenbr7");
    // The cluster sends it back.
    n1.succeeds("start");
    assert!(n1.runs_x0() && n1.phase() == "idle");
    assert_eq!(world.log().matches("booting it").count(), 1, "it was rebooted");
}

#[test]
fn p7_memory_that_a_leaving_guest_still_has_is_waited_for() {
    let world = x0_on_offer();
    let (n1, n2) = (world.host("n1"), world.host("n2"));
    // What another guest's offer on n2 looks like.
    let record = std::fs::read_to_string(n1.root.join("run/xen-handoff/x0.json")).unwrap();
    let other = n2.root.join("run/xen-handoff");
    std::fs::create_dir_all(&other).unwrap();
    // As a version that knows of no checksum has it.
    std::fs::write(other.join("x1.json"), record.trim_end().replace("\"x0\"", "\"x1\"")).unwrap();
    has_1030_mib(&n2);
    std::thread::scope(|scope| {
        let start = scope.spawn(|| world.host("n2").act("start", &[]));
        eventually("it waits", || world.log().contains("this node waits for memory"));
        n2.unset_knob("memory-mib");
        let start = start.join().unwrap();
        assert_eq!(start.code, 0, "{}", start.reason);
    });
    assert!(n2.runs_x0());
    assert_eq!(world.log().matches("booting it").count(), 1, "it was rebooted");
}

#[test]
fn p7_a_start_without_time_for_another_try_has_it_ended_and_boots_it() {
    let world = x0_on_offer();
    let (n1, n2) = (world.host("n1"), world.host("n2"));
    // Far longer than the start may take.
    n1.knob("stream.mib-per-second", "0.1");
    let start = n2.act(
        "start",
        &[
            (TIMEOUT, "45000"),
            ("OCF_RESKEY_shutdown_timeout", "5"),
            ("OCF_RESKEY_migration_connect_timeout", "5"),
        ],
    );
    assert_eq!(start.code, 0, "{}", start.reason);
    was_rebooted_in_order(&world);
    assert!(
        world.log().contains("n2 cannot fetch it (there is no time for another try; "),
        "{}",
        world.log()
    );
}

#[test]
fn p2_no_guest_is_ended_for_a_boot_that_could_not_be_proven() {
    let world = x0_on_offer();
    let (n1, n2) = (world.host("n1"), world.host("n2"));
    n1.knob("migrate.fail", "1");
    world.host("n3").cut(true);
    world.lose("n3");
    let start = n2.act(
        "start",
        &[
            (TIMEOUT, "32000"),
            ("OCF_RESKEY_handoff_peer_timeout", "1"),
            ("OCF_RESKEY_migration_connect_timeout", "2"),
        ],
    );
    assert_eq!(start.code, 1, "{}", start.reason);
    assert!(start.reason.contains("fetching it from n1 failed"), "the lasting reason: {}", start.reason);
    assert!(world.log().contains("it could not be booted here if n1 ended it: n3 may be running it"));
    assert!(n1.runs_x0() && n2.domains().is_empty());
    eventually("it is on offer again", || n1.phase() == "offered");
}

/// What `serve` on this host answers to one request.
fn answer(host: &Host, request: &str) -> serde_json::Value {
    let mut serve = Command::new(env!("CARGO_BIN_EXE_xen-handoff"))
        .arg("serve")
        .env_clear()
        .env("XEN_HANDOFF_ROOT", &host.root)
        .env("HA_LOGFACILITY", "none")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let greeting = r#"{"xen-handoff":1,"version":"test","boot":null,"can":["yield"]}"#;
    write!(serve.stdin.take().unwrap(), "{greeting}\n{request}\n").unwrap();
    let output = serve.wait_with_output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    serde_json::from_str(said.lines().nth(1).unwrap()).unwrap()
}

fn epoch(host: &Host) -> u64 {
    let record = std::fs::read_to_string(host.root.join("run/xen-handoff/x0.json")).unwrap();
    let record: serde_json::Value = serde_json::from_str(&record).unwrap();
    record["state"]["offer"]["epoch"].as_u64().unwrap()
}

fn yield_of(epoch: u64, target: &str) -> String {
    format!(
        "{{\"verb\":\"yield\",\"domain\":\"x0\",\"transfer\":{{\"epoch\":{epoch},\"source\":\"n1\",\"target\":\"{target}\"}},\
         \"reason\":\"a test\",\"limit\":100}}"
    )
}

#[test]
fn p4_an_offer_is_not_given_up_while_it_is_fetched_nor_under_another_epoch_nor_to_a_stranger() {
    let world = x0_on_offer();
    let (n1, n2) = (world.host("n1"), world.host("n2"));
    let number = epoch(&n1);
    let refused = |request: &str, why: &str| {
        let answer = answer(&world.host("n1"), request);
        assert_eq!(answer["answer"], "refused", "{answer}");
        assert!(answer["reason"].as_str().unwrap().contains(why), "{answer}");
        assert!(world.host("n1").runs_x0());
    };
    refused(&yield_of(number + 1, "n2"), "the claim names another offer");
    refused(&yield_of(number, "n9"), "n9 is no node of this cluster");
    assert_eq!(n1.phase(), "offered");
    n1.knob("migrate.hold", "in-stream");
    std::thread::scope(|scope| {
        let start = scope.spawn(|| world.host("n2").act("start", &[]));
        eventually("it is on its way", || n1.phase() == "sending");
        refused(&yield_of(number, "n3"), "a transfer of this domain is under way");
        n1.unset_knob("migrate.hold");
        let start = start.join().unwrap();
        assert_eq!(start.code, 0, "{}", start.reason);
    });
    assert!(n2.runs_x0());
    assert_eq!(world.log().matches("booting it").count(), 1, "it was rebooted");
}

#[test]
fn p5_a_guest_that_was_given_up_is_shut_down_though_nobody_waits_for_it_any_more() {
    let world = x0_on_offer();
    let n1 = world.host("n1");
    let number = epoch(&n1);
    assert_eq!(answer(&n1, &yield_of(number, "n2"))["answer"], "done");
    // The answer was lost: the same once more.
    assert_eq!(answer(&n1, &yield_of(number, "n2"))["answer"], "done");
    eventually("it is gone", || n1.domains().is_empty() && n1.phase() == "idle");
    assert!(events(&n1).contains("shutdown-poweroff"), "{}", events(&n1));
    world.host("n2").succeeds("start");
    assert!(world.host("n2").runs_x0());
}

#[test]
fn p5_an_offer_that_nobody_is_left_to_fetch_ends_at_once() {
    let world = x0_on_offer();
    let n1 = world.host("n1");
    world.plan(&NODES, None);
    let began = Instant::now();
    eventually("it is gone", || n1.domains().is_empty() && n1.phase() == "idle");
    assert!(began.elapsed() < Duration::from_secs(35), "it took {:?}", began.elapsed());
    assert!(events(&n1).contains("shutdown-poweroff"), "{}", events(&n1));
    assert!(world.log().contains("nobody is left who could fetch it; its offer ends now"), "{}", world.log());
}

#[test]
fn p5_where_the_cluster_has_gone_the_other_nodes_say_whether_anybody_is_left() {
    let world = x0_on_offer();
    let n1 = world.host("n1");
    // Everybody's cluster manager has gone: a power cut that the hosts have seen coming.
    for name in NODES {
        std::fs::remove_file(world.host(name).root.join("usr/sbin/cibadmin")).unwrap();
    }
    eventually("it is gone", || n1.domains().is_empty() && n1.phase() == "idle");
    assert!(world.log().contains("nobody is left who could fetch it; its offer ends now"), "{}", world.log());
}

#[test]
fn p5_an_offer_whose_domain_has_gone_by_itself_is_closed() {
    let world = x0_on_offer();
    let n1 = world.host("n1");
    n1.xl(&["standin", "guest", "x0", "poweroff"]);
    eventually("the record is closed", || n1.phase() == "idle");
    eventually("the ledger is empty", || {
        let entry = std::fs::read_to_string(world.shared("attrs/xen-handoff-x0/n2")).unwrap();
        entry.is_empty()
    });
    assert!(world.log().contains("it ended by itself or was moved by hand"), "{}", world.log());
}
