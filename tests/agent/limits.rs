//! What a move may take: rate, compression, time.

use crate::world;
use crate::{eventually, x0_on_n1};

/// The move of that number, from 1 on. The sender writes it down after the receiver has reported.
fn move_of(host: &world::Host, number: usize) -> serde_json::Value {
    let mut found = serde_json::Value::Null;
    eventually("the move is in the log", || {
        let (status, text) = host.tool(&["history", "--json"]);
        assert_eq!(status, 0, "{text}");
        let document: serde_json::Value = serde_json::from_str(&text).unwrap();
        found = document["moves"][number - 1].clone();
        !found.is_null()
    });
    found
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
    let took = |host: &world::Host, number| {
        let moved = move_of(host, number);
        let at = |point: &str| moved[point].as_f64().unwrap();
        at("ready_after_seconds") - at("opened_after_seconds")
    };
    n1.succeeds("stop");
    assert_eq!(n2.act("start", &[rate]).code, 0);
    assert!(n2.runs_x0() && took(&n2, 1) > 2.5, "3 MiB were pulled in {} s", took(&n2, 1));
    let migrate = n2.act("migrate_to", &[rate, ("OCF_RESKEY_CRM_meta_migrate_target", "n1")]);
    assert_eq!(migrate.code, 0, "{}", migrate.reason);
    n1.succeeds("migrate_from");
    assert!(n1.runs_x0() && took(&n1, 2) > 2.5, "3 MiB were pushed in {} s", took(&n1, 2));
}

#[test]
fn a_compressed_move_costs_the_network_less_and_the_log_of_moves_says_both() {
    let world = x0_on_n1();
    let (n1, n2) = (world.host("n1"), world.host("n2"));
    let zstd = ("OCF_RESKEY_migration_compression", "zstd");
    let costs_less = |host: &world::Host, number| {
        let moved = move_of(host, number);
        let (bytes, wire) = (moved["bytes"].as_u64().unwrap(), moved["connection_bytes"].as_u64().unwrap());
        assert!(bytes > 8 << 20 && wire < bytes / 20, "{moved}");
    };
    n1.knob("stream.zeros", "yes");
    n2.knob("stream.zeros", "yes");
    n1.succeeds("stop");
    assert_eq!(n2.act("start", &[zstd]).code, 0);
    assert!(n2.runs_x0());
    costs_less(&n1, 1);
    costs_less(&n2, 1);
    let migrate = n2.act("migrate_to", &[zstd, ("OCF_RESKEY_CRM_meta_migrate_target", "n1")]);
    assert_eq!(migrate.code, 0, "{}", migrate.reason);
    n1.succeeds("migrate_from");
    assert!(n1.runs_x0());
    costs_less(&n1, 2);
    costs_less(&n2, 2);
    assert_eq!(world.log().matches("booting it").count(), 1, "it was booted again");
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
        &[deadline, ("OCF_RESKEY_CRM_meta_timeout", "8000"), ("OCF_RESKEY_migration_connect_timeout", "2")],
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
