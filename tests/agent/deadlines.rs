//! Nothing outlives its time, and what could not be waited for is said as it is.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::world::{Host, World};
use crate::{eventually, x0_on_n1};

#[test]
fn a_boot_that_was_not_waited_for_any_longer_is_looked_at_before_anything_is_said_of_it() {
    let world = crate::world::World::new(&crate::NODES);
    let n1 = world.host("n1");
    let xl = n1.root.join("usr/sbin/xl");
    std::fs::rename(&xl, n1.root.join("usr/sbin/xl.real")).unwrap();
    let script = format!(
        "{}/usr/sbin/xl.real \"$@\"; status=$?\n[ \"$1 $2\" = 'create --quiet' ] && exec sleep 60\nexit $status",
        n1.root.display()
    );
    n1.put_script("usr/sbin/xl", &script);
    let start = n1.act("start", &[("OCF_RESKEY_CRM_meta_timeout", "12000")]);
    assert_eq!(start.code, 1, "{}", start.reason);
    assert!(start.reason.contains("did not answer within"), "{}", start.reason);
    assert!(start.reason.contains("it is running (domid 1) here"), "{}", start.reason);
    assert!(!start.reason.contains("it does not run here"), "{}", start.reason);
}

#[test]
fn only_what_is_past_the_point_of_no_return_is_said_to_be() {
    let world = x0_on_n1();
    let (n1, n2) = (world.host("n1"), world.host("n2"));
    n1.succeeds("stop");
    n1.knob("stream.mib-per-second", "1");
    std::thread::scope(|scope| {
        let start = scope.spawn(|| n2.act("start", &[("OCF_RESKEY_CRM_meta_timeout", "14000")]));
        eventually("the stream has begun", || n2.phase() == "receiving");
        n2.signal("fetch", Signal::STOP);
        let start = start.join().unwrap();
        n2.signal("fetch", Signal::CONT);
        assert_eq!(start.code, 1, "{}", start.reason);
        let log = world.log();
        assert!(
            log.contains("has no clear end: the process of the move has not ended in time (receiving)"),
            "{log}"
        );
        assert!(!log.contains("past the point of no return"), "{log}");
    });
}

#[test]
fn p5_a_record_that_somebody_holds_at_the_deadline_does_not_end_the_keeper() {
    let world = x0_on_n1();
    let n1 = world.host("n1");
    assert_eq!(n1.act("stop", &[("OCF_RESKEY_handoff_timeout", "10")]).code, 0);
    let lock = std::fs::File::open(n1.root.join("run/xen-handoff/x0.lock")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    eventually("the keeper has tried", || {
        world.log().contains("its offer cannot be looked after, and that is tried again")
    });
    assert!(n1.runs_x0());
    drop(lock);
    eventually("the offer has ended, and the guest with it", || {
        n1.phase() == "idle" && n1.domains().is_empty()
    });
}

/// Sixteen hosts, on which nothing is younger than it has to be.
fn sixteen() -> (Vec<String>, World) {
    let names: Vec<String> = (1..=16).map(|n| format!("n{n}")).collect();
    let refs: Vec<&str> = names.iter().map(String::as_str).collect();
    let world = World::new(&refs);
    world.old_ledger(&refs);
    refs.iter().for_each(|name| world.history(name, "monitor", 7));
    world.plan(&refs, Some("n2"));
    (names, world)
}

/// The table of `doc/design/deadlines.md`, measured: each action has a minute, one node greets and hangs.
#[test]
fn every_action_ends_in_its_time_on_sixteen_nodes_of_which_one_hangs() {
    let (names, world) = sixteen();
    let (n1, n2) = (world.host("n1"), world.host("n2"));
    let mut table = Vec::new();
    let mut timed = |what: &str, host: &Host, action: &str, code: i32, more: &[(&str, &str)]| {
        // What is the default in the field.
        let field =
            [("OCF_RESKEY_migration_connect_timeout", "5"), ("OCF_RESKEY_handoff_peer_timeout", "10")];
        let began = Instant::now();
        let call = host.act(action, &[&field[..], more].concat());
        let took = began.elapsed();
        assert_eq!(call.code, code, "{what}: {}", call.reason);
        assert!(took < Duration::from_secs(60), "{what}: the cluster would have killed it: {took:?}");
        table.push(format!("{what}: {:.1} s", took.as_secs_f64()));
    };
    let hangs = |node: &str| names.iter().for_each(|name| world.host(name).calls_one_that_hangs(node));
    hangs("n16");
    timed("start, a boot, a bystander hangs", &n1, "start", 0, &[]);
    timed("monitor", &n1, "monitor", 0, &[]);
    timed("stop, an offer, a bystander hangs", &n1, "stop", 0, &[]);
    timed("start, a fetch, a bystander hangs", &n2, "start", 0, &[]);
    assert_eq!(world.log().matches("booting it").count(), 1, "it moved");
    let to = |node| [("OCF_RESKEY_CRM_meta_migrate_target", node)];
    timed("migrate_to, a bystander hangs", &n2, "migrate_to", 0, &to("n1"));
    timed("migrate_from", &n1, "migrate_from", 0, &[]);
    timed("migrate_to, its target hangs", &n1, "migrate_to", 1, &to("n16"));
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    world.plan(&names, Some("n16"));
    timed("stop, its target hangs: an ordinary end", &n1, "stop", 0, &[]);
    assert!(n1.domains().is_empty());
    // The source of an open offer hangs: nobody may boot it.
    timed("start, a boot", &n1, "start", 0, &[]);
    world.plan(&names, Some("n2"));
    timed("stop, an offer", &n1, "stop", 0, &[]);
    hangs("n1");
    timed("start, the source of an offer hangs", &n2, "start", 1, &[]);
    eprintln!("{}", table.join("\n"));
}
