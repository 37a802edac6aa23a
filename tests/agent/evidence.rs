//! What it takes to boot: nothing is booted while another host may have it.

use crate::world::World;
use crate::x0_on_n1;

#[test]
fn p2_no_cold_boot_while_the_source_of_an_open_offer_is_silent() {
    let world = x0_on_n1();
    let (n1, n2) = (world.host("n1"), world.host("n2"));
    n1.succeeds("stop");
    n1.cut(true);
    let start = n2.act("start", &[("OCF_RESKEY_CRM_meta_timeout", "4000")]);
    assert_eq!(start.code, 1, "{}", start.reason);
    assert!(start.reason.contains("] x0 on n2: n1 may be running it"), "{}", start.reason);
    assert!(n2.domains().is_empty() && n1.runs_x0());
    n1.cut(false);
    n2.succeeds("start");
    assert!(n2.runs_x0());
}

#[test]
fn a_silent_source_is_fenced_where_that_is_wished_or_the_cluster_has_lost_it() {
    let world = x0_on_n1();
    let (n1, n2) = (world.host("n1"), world.host("n2"));
    n1.succeeds("stop");
    n1.cut(true);
    let cib = std::fs::read_to_string(world.shared("cib.xml")).unwrap();
    let lost = cib.replace(
        "<node_state uname=\"n1\" in_ccm=\"true\" crmd=\"online\"/>",
        "<node_state uname=\"n1\" in_ccm=\"false\" crmd=\"offline\"/>",
    );
    std::fs::write(world.shared("cib.xml"), lost).unwrap();
    let fencing = world.shared("fencing.xml");
    let fenced = "<r><fence_history><fence_event action=\"reboot\" target=\"n1\" status=\"success\" \
                  completed=\"2099-01-01 00:00:00Z\"/></fence_history></r>";
    n2.put_script(
        "usr/sbin/stonith_admin",
        &format!(
            "[ \"$1\" = --reboot ] && echo '{fenced}' >{0}\n[ \"$1\" = --history ] && cat {0}\nexit 0",
            fencing.display()
        ),
    );
    let quick = ("OCF_RESKEY_handoff_peer_timeout", "2");
    let start = n2.act("start", &[("OCF_RESKEY_CRM_meta_timeout", "6000"), quick]);
    assert_eq!(start.code, 1, "waiting is the default");
    assert!(!world.log().contains("fencing it"));
    n1.xl(&["destroy", "x0"]);
    let start = n2.act("start", &[("OCF_RESKEY_handoff_unreachable", "fence"), quick]);
    assert_eq!(start.code, 0, "{}", start.reason);
    assert!(n2.runs_x0() && world.log().contains("n1 was fenced"));
    // Once more, and now the cluster wants to fence it but cannot before this start has ended.
    n2.xl(&["destroy", "x0"]);
    std::fs::write(&fencing, "<r><fence_history/></r>").unwrap();
    n1.cut(false);
    n1.succeeds("start");
    n1.succeeds("stop");
    n1.cut(true);
    let cib = std::fs::read_to_string(world.shared("cib.xml")).unwrap();
    let lost = cib.replace("crmd=\"offline\"/>", "crmd=\"offline\" expected=\"member\"/>");
    assert_ne!(lost, cib);
    std::fs::write(world.shared("cib.xml"), lost).unwrap();
    n1.xl(&["destroy", "x0"]);
    let start = n2.act("start", &[]);
    assert_eq!(start.code, 0, "{}", start.reason);
    assert!(n2.runs_x0() && world.log().contains("the cluster has lost it"));
}

#[test]
fn p2_a_start_whose_cluster_manager_was_killed_boots_nothing() {
    let world = x0_on_n1();
    let (n1, n2) = (world.host("n1"), world.host("n2"));
    n1.succeeds("stop");
    for tool in ["cibadmin", "attrd_updater"] {
        n2.put_script(&format!("usr/sbin/{tool}"), "echo 'Could not connect' >&2; exit 102");
    }
    let start = n2.act("start", &[("OCF_RESKEY_CRM_meta_timeout", "3000")]);
    assert_eq!(start.code, 1);
    assert!(start.reason.contains("could not find out which other nodes there are"), "{}", start.reason);
    assert!(n1.runs_x0() && n2.domains().is_empty());
}

#[test]
fn p2_a_silent_node_forbids_a_boot_unless_the_cluster_knows_that_it_has_none() {
    let world = World::new(&["n1", "n2", "n3"]);
    let (n1, n2, n3) = (world.host("n1"), world.host("n2"), world.host("n3"));
    world.old_ledger(&["n3"]);
    n2.cut(true);
    let start = n3.act("start", &[("OCF_RESKEY_CRM_meta_timeout", "3000")]);
    assert_eq!(start.code, 1);
    assert!(
        start.reason.contains("n2 may be running it (nothing that the cluster knows"),
        "{}",
        start.reason
    );
    world.history("n2", "monitor", 7);
    n3.succeeds("start");
    assert!(n3.runs_x0() && n1.domains().is_empty());
}

#[test]
fn p2_what_a_push_left_on_a_silent_node_is_never_booted_elsewhere() {
    let world = World::new(&["n1", "n2", "n3"]);
    let (n1, n2, n3) = (world.host("n1"), world.host("n2"), world.host("n3"));
    n1.succeeds("start");
    world.old_ledger(&["n3"]);
    // A probe from before the push: the cluster has forgotten where it went (H1).
    world.history("n2", "monitor", 7);
    let ends = [("OCF_RESKEY_CRM_meta_migrate_source", "n1"), ("OCF_RESKEY_CRM_meta_migrate_target", "n2")];
    assert_eq!(n1.act("migrate_to", &ends).code, 0);
    assert!(n2.runs_x0());
    n2.cut(true);
    let start = n3.act("start", &[("OCF_RESKEY_CRM_meta_timeout", "3000")]);
    assert_eq!(start.code, 1);
    assert!(start.reason.contains("n2 may be running it (a migration from n1 to n2"), "{}", start.reason);
    // Accounted for, it is no obstacle any more.
    n2.cut(false);
    assert_eq!(n2.act("migrate_from", &ends).code, 0);
    world.plan(&["n1", "n2", "n3"], Some("n2"));
    n1.succeeds("stop");
    n2.xl(&["destroy", "x0"]);
    n2.cut(true);
    n3.succeeds("start");
}

/// A host under load: each answer takes longer than `handoff_peer_timeout`.
#[test]
fn a_node_that_always_answers_late_does_not_hold_up_a_boot_for_ever() {
    let world = World::new(&["n1", "n2"]);
    let n1 = world.host("n1");
    world.old_ledger(&["n1"]);
    let ssh = n1.root.join("usr/sbin/ssh");
    std::fs::rename(&ssh, n1.root.join("usr/sbin/ssh.quick")).unwrap();
    n1.put_script("usr/sbin/ssh", "sleep 3; exec \"$0.quick\" \"$@\"");
    let start = n1.act("start", &[("OCF_RESKEY_handoff_peer_timeout", "1")]);
    assert_eq!(start.code, 0, "{}{}", start.reason, world.log());
    assert!(n1.runs_x0() && world.log().contains("start waits: n2 may be running it"), "{}", world.log());
}

/// The stop of a source whose migration was forgotten by the cluster: a stop that fails has its node fenced.
#[test]
fn a_connection_that_fails_once_does_not_fail_the_stop_that_asks_what_became_of_a_push() {
    let world = World::new(&["n1", "n2"]);
    let (n1, n2) = (world.host("n1"), world.host("n2"));
    n1.succeeds("start");
    let ends = [("OCF_RESKEY_CRM_meta_migrate_source", "n1"), ("OCF_RESKEY_CRM_meta_migrate_target", "n2")];
    assert_eq!(n1.act("migrate_to", &ends).code, 0);
    world.plan(&["n1", "n2"], Some("n1"));
    n2.cut_once();
    let stop = n1.act("stop", &[]);
    assert_eq!(stop.code, 0, "{}", stop.reason);
    assert!(world.log().contains("could not find out yet what n2 has of it"), "{}", world.log());
    assert!(n2.runs_x0() && n1.domains().is_empty());
    // Silent to the end, it is no success.
    let left = World::new(&["n1", "n2"]);
    let (n1, n2) = (left.host("n1"), left.host("n2"));
    n1.succeeds("start");
    assert_eq!(n1.act("migrate_to", &ends).code, 0);
    left.plan(&["n1", "n2"], Some("n1"));
    n2.cut(true);
    let stop =
        n1.act("stop", &[("OCF_RESKEY_CRM_meta_timeout", "8000"), ("OCF_RESKEY_handoff_peer_timeout", "1")]);
    assert_eq!(stop.code, 1);
    assert!(stop.reason.contains("may run there, which could not be found out"), "{}", stop.reason);
}

#[test]
fn p2_a_push_that_the_target_cannot_read_in_its_ledger_is_not_begun() {
    let world = x0_on_n1();
    let n1 = world.host("n1");
    let ends = [("OCF_RESKEY_CRM_meta_migrate_source", "n1"), ("OCF_RESKEY_CRM_meta_migrate_target", "n2")];
    std::fs::write(world.shared("attrd-down"), "").unwrap();
    let to = n1.act("migrate_to", &ends);
    assert_eq!(to.code, 1);
    assert!(to.reason.contains("ledger") && to.reason.contains("it still runs here"), "{}", to.reason);
    assert!(n1.runs_x0() && n1.phase() == "idle");
}

#[test]
fn p2_a_fencing_after_the_offer_is_proof_enough_for_a_cold_boot() {
    let world = x0_on_n1();
    let (n1, n2) = (world.host("n1"), world.host("n2"));
    n1.succeeds("stop");
    n1.cut(true);
    n1.xl(&["destroy", "x0"]);
    let cib = std::fs::read_to_string(world.shared("cib.xml")).unwrap();
    let lost = cib.replace(
        "<node_state uname=\"n1\" in_ccm=\"true\" crmd=\"online\"/>",
        "<node_state uname=\"n1\" in_ccm=\"false\" crmd=\"offline\"/>",
    );
    assert_ne!(lost, cib);
    std::fs::write(world.shared("cib.xml"), lost).unwrap();
    let fenced = |at: &str| {
        format!(
            "<r><fence_history><fence_event action=\"off\" target=\"n1\" status=\"success\" completed=\"{at}\"/>\
             </fence_history></r>"
        )
    };
    std::fs::write(world.shared("fencing.xml"), fenced("2001-01-01 00:00:00Z")).unwrap();
    let start = n2.act("start", &[("OCF_RESKEY_CRM_meta_timeout", "3000")]);
    assert_eq!(start.code, 1, "a fencing before the offer proves nothing");
    std::fs::write(world.shared("fencing.xml"), fenced("2099-01-01 00:00:00Z")).unwrap();
    n2.succeeds("start");
    assert!(n2.runs_x0());
}
