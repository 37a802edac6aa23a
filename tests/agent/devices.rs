//! Devices of the host that a domain has.

use crate::world::{self, World};
use crate::{NODES, eventually};

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

/// On n1 this is done by xl's side after each call of `verb`.
fn after_each(host: &world::Host, verb: &str, deed: &str) {
    let xl = host.root.join("usr/sbin/xl");
    std::fs::rename(&xl, host.root.join("usr/sbin/xl.real")).unwrap();
    let script = format!(
        "{}.real \"$@\"; status=$?\n[ \"$1\" = {verb} ] && {{ {deed}; }}\nexit $status",
        xl.display()
    );
    host.put_script("usr/sbin/xl", &script);
}

#[test]
fn p4_a_push_that_cannot_be_put_on_record_leaves_no_entry_and_the_domain_with_its_device() {
    let with = [ENDS[0], ENDS[1], ENDS[2], DETACHES];
    let world = x0_with_a_device(&["n1", "n2"]);
    let n1 = world.host("n1");
    let record = n1.root.join("run/xen-handoff/x0.json");
    after_each(&n1, "pci-detach", &format!("mkdir {}", record.display()));
    assert_eq!(n1.act("migrate_to", &with).code, 1);
    assert!(n1.runs_x0() && has_its_device(&n1), "{}", world.log());
    let entry = std::fs::read_to_string(world.shared("attrs/xen-handoff-x0/n2")).unwrap();
    assert_eq!(entry, "", "the ledger says that a migration is open");
    std::fs::remove_dir(record).unwrap();
}

#[test]
fn p4_a_domain_that_did_not_move_has_its_device_although_its_record_rots_meanwhile() {
    let with = [ENDS[0], ENDS[1], ENDS[2], DETACHES];
    for pushed in [false, true] {
        let world = x0_with_a_device(&["n1", "n2"]);
        let (n1, n2) = (world.host("n1"), world.host("n2"));
        let record = n1.root.join("run/xen-handoff/x0.json");
        after_each(&n1, "migrate", &format!("echo rotten >{}", record.display()));
        n2.knob("receive.kill", "in-stream");
        if pushed {
            let to = n1.act("migrate_to", &with);
            assert!(to.code == 1 && to.reason.contains("has no clear end"), "{}", to.reason);
        } else {
            assert_eq!(n1.act("stop", &with).code, 0);
            assert_eq!(n2.act("start", &with).code, 1);
        }
        eventually("it has its device again", || n1.runs_x0() && has_its_device(&n1));
        std::fs::remove_file(record).unwrap();
    }
}
