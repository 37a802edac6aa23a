//! A stop that saves the domain's memory.

use crate::NODES;
use crate::world::{self, World};

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

/// On real Xen, a login to a busy node took longer than `handoff_peer_timeout`.
#[test]
fn a_node_that_answers_late_costs_the_guest_no_snapshot() {
    let snapshots = Snapshots::new(false);
    let n1 = snapshots.world.host("n1");
    let guest = snapshots.boot_id("n1");
    let ssh = n1.root.join("usr/sbin/ssh");
    std::fs::rename(&ssh, n1.root.join("usr/sbin/ssh.quick")).unwrap();
    n1.put_script("usr/sbin/ssh", "sleep 2; exec \"$0.quick\" \"$@\"");
    let folder = snapshots.folder("n1").to_string_lossy().into_owned();
    let set = [("OCF_RESKEY_snapshot", folder.as_str()), ("OCF_RESKEY_handoff_peer_timeout", "1")];
    assert_eq!(n1.act("stop", &set).code, 0);
    std::fs::rename(n1.root.join("usr/sbin/ssh.quick"), &ssh).unwrap();
    assert_eq!(snapshots.act("n1", "start").code, 0);
    assert_eq!(snapshots.boot_id("n1"), guest, "it was shut down: {}", snapshots.world.log());
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
