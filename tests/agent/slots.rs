//! How many moves a host has at once.

use crate::world;
use crate::{eventually, x0_on_n1};

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
fn p7_a_start_that_waits_in_line_for_too_long_has_the_guest_ended_and_boots_it() {
    let world = x0_on_n1();
    let (n1, n2) = (world.host("n1"), world.host("n2"));
    n1.succeeds("stop");
    let _taken = only_slot_taken(&n2, "incoming");
    let times = [("OCF_RESKEY_CRM_meta_timeout", "40000"), ("OCF_RESKEY_migration_connect_timeout", "5")];
    let start = n2.act("start", &times);
    assert_eq!(start.code, 0, "{}", start.reason);
    assert!(n1.domains().is_empty() && n2.runs_x0());
    assert!(
        world.log().contains("n2 cannot fetch it (there is no time for another try; "),
        "{}",
        world.log()
    );
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
