//! Room for a domain, out of the memory of others.

use crate::world::{self, World};
use crate::{NODES, eventually, x0_on_n1};

const SHARES: (&str, &str) = ("OCF_RESKEY_allow_mem_management", "yes");

/// x1 runs on that host with 64 MiB, is to be left with `floor`, and 6 MiB are free. x0 needs 20: its own 16, and Xen's part.
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
    assert_eq!((n1.memory("x0"), n1.memory("x1")), (16, 50), "only what is missing is taken");
    let recurring = ("OCF_RESKEY_CRM_meta_interval", "10000");
    let watch = || n1.act_for("x1", "monitor", &[SHARES, ("OCF_RESKEY_memory_floor", "40"), recurring]);
    assert_eq!(watch().code, 0);
    assert_eq!(n1.memory("x1"), 54, "Xen needed less than was reserved for it");
    assert_eq!(n1.act("stop", &[SHARES]).code, 0);
    assert_eq!(n1.memory("x1"), 64, "it was not given back");
    // Whoever was taken from looks himself, however the taker went.
    assert_eq!(n1.act("start", &[SHARES]).code, 0);
    assert_eq!(n1.memory("x1"), 50);
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
        start.reason.contains("there is not enough memory for it: 20 MiB are needed, 6 are available"),
        "{}",
        start.reason
    );
    assert!(start.reason.contains("the 10 MiB that would still be missing"), "{}", start.reason);
    assert_eq!(n1.memory("x1"), 64);
    assert!(!n1.runs_x0());
    // With autoballoon dom0 gives, but not what is reserved for it.
    std::fs::write(n1.root.join("etc/xen/xl.conf"), "autoballoon=\"on\"\n").unwrap();
    let reserved = ("OCF_RESKEY_reserved_Dom0_memory", "1020");
    let start = n1.act("start", &[SHARES, reserved, ("OCF_RESKEY_CRM_meta_timeout", "8000")]);
    assert!(start.reason.contains("20 MiB are needed, 10 are available"), "{}", start.reason);
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
    assert_eq!(asked.first().unwrap().1, "50m");
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
    assert_eq!((n1.memory("x0"), n1.memory("x1"), n1.memory("x2")), (16, 30, 16));
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
            assert!(without.reason.contains("memory: needs 20 MiB; 6 MiB free there"), "{}", without.reason);
            let with = [ends[0], ends[1], SHARES];
            [n1.act("migrate_to", &with), n2.act("migrate_from", &with)]
        } else {
            [n1.act("stop", &[SHARES]), n2.act("start", &[SHARES])]
        };
        for call in calls {
            assert_eq!(call.code, 0, "{}", call.reason);
        }
        assert!(n2.runs_x0());
        assert!((50..=54).contains(&n2.memory("x1")), "{}", n2.memory("x1"));
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
