//! A domain that goes from one host to another, by handoff or by the cluster's own migration, and an offer's end.

use crate::{NODES, eventually, x0_on_n1};

#[test]
fn a_handoff_leaves_the_domain_running_and_pulls_it_over_without_a_reboot() {
    let world = x0_on_n1();
    let (n1, n2) = (world.host("n1"), world.host("n2"));
    n1.succeeds("stop");
    assert!(n1.runs_x0(), "stop returned success and the domain is {:?}", n1.domains());
    assert_eq!(n1.act("monitor", &[]).code, 7, "to the cluster it is stopped");
    assert_eq!(n1.phase(), "offered");
    n2.succeeds("start");
    assert!(n2.runs_x0());
    assert_eq!(n2.act("monitor", &[]).code, 0);
    eventually("the source has nothing left", || n1.domains().is_empty() && n1.phase() == "idle");
    assert_eq!(n2.phase(), "idle");
    assert_eq!(world.log().matches("booting it").count(), 1, "it was booted again");
    for (host, entry) in [("n2", "n2"), ("n3", "n3")] {
        let value = std::fs::read_to_string(world.shared("attrs/xen-handoff-x0").join(entry)).unwrap();
        assert_eq!(value, "", "the offer is still in the ledger of {host}");
    }
}

#[test]
fn a_start_on_the_source_reclaims_its_own_offer() {
    let world = x0_on_n1();
    let n1 = world.host("n1");
    n1.succeeds("stop");
    let before = n1.xl(&["domid", "x0"]);
    n1.succeeds("start");
    assert_eq!(n1.xl(&["domid", "x0"]), before);
    assert!(n1.runs_x0());
    assert_eq!((n1.phase().as_str(), n1.act("monitor", &[]).code), ("idle", 0));
}

#[test]
fn any_survivor_can_claim_not_only_the_planned_one() {
    let world = x0_on_n1();
    world.host("n1").succeeds("stop");
    world.host("n2").cut(true);
    world.host("n3").succeeds("start");
    assert!(world.host("n3").runs_x0());
}

#[test]
fn p6_stop_means_stop_when_nobody_will_start_it_elsewhere() {
    for destination in [None, Some("n1")] {
        let world = x0_on_n1();
        world.plan(&NODES, destination);
        world.host("n1").succeeds("stop");
        assert!(world.host("n1").domains().is_empty());
        assert!(world.log().contains("no handoff: the cluster will"), "{}", world.log());
    }
}

#[test]
fn p3_without_a_ledger_or_a_target_that_answers_stop_is_an_ordinary_one() {
    let ledger = x0_on_n1();
    std::fs::write(ledger.shared("attrd-down"), "").unwrap();
    ledger.host("n1").succeeds("stop");
    assert!(ledger.host("n1").domains().is_empty());
    assert!(ledger.log().contains("no handoff: the offer could not be recorded"), "{}", ledger.log());

    let target = x0_on_n1();
    target.host("n2").cut(true);
    target.host("n1").succeeds("stop");
    assert!(target.host("n1").domains().is_empty());
    assert!(target.log().contains("no handoff: the planned target cannot fetch it"), "{}", target.log());

    let one_way = x0_on_n1();
    one_way.host("n1").cut(true);
    one_way.host("n1").succeeds("stop");
    assert!(one_way.host("n1").domains().is_empty());
    assert!(one_way.log().contains("n2 says: cannot reach n1"), "{}", one_way.log());
}

#[test]
fn p3_a_connection_that_fails_once_ends_no_guest() {
    let world = x0_on_n1();
    world.host("n2").cut_once();
    let stop = world.host("n1").act("stop", &[("OCF_RESKEY_migration_connect_timeout", "5")]);
    assert_eq!(stop.code, 0, "{}", stop.reason);
    assert!(world.host("n1").runs_x0(), "{}", world.log());
    assert!(world.log().contains("cannot fetch it yet"), "{}", world.log());
    world.host("n2").succeeds("start");
    assert!(world.host("n2").runs_x0() && world.host("n1").domains().is_empty());
}

#[test]
fn p1_start_refuses_while_another_node_runs_it() {
    let world = x0_on_n1();
    let start = world.host("n2").act("start", &[("OCF_RESKEY_CRM_meta_timeout", "3000")]);
    assert_eq!(start.code, 1);
    assert!(start.reason.contains("n1 has it: running"), "{}", start.reason);
    assert!(world.host("n2").domains().is_empty());
}

#[test]
fn p5_an_offer_that_nobody_claims_ends_in_a_shutdown() {
    let world = x0_on_n1();
    let n1 = world.host("n1");
    assert_eq!(n1.act("stop", &[("OCF_RESKEY_handoff_timeout", "10")]).code, 0);
    assert!(n1.runs_x0());
    eventually("the domain is gone and the offer with it", || {
        n1.domains().is_empty() && n1.phase() == "idle"
    });
    // The source says that it has none: proof enough.
    world.host("n2").succeeds("start");
}

#[test]
fn the_clusters_own_migration_pushes_and_is_accounted_for() {
    let world = x0_on_n1();
    let (n1, n2) = (world.host("n1"), world.host("n2"));
    let ends = [("OCF_RESKEY_CRM_meta_migrate_source", "n1"), ("OCF_RESKEY_CRM_meta_migrate_target", "n2")];
    let to = n1.act("migrate_to", &ends);
    assert_eq!(to.code, 0, "{}", to.reason);
    assert_eq!(n1.phase(), "left");
    assert_eq!(n2.act("migrate_from", &ends).code, 0);
    n1.succeeds("stop");
    assert!(n2.runs_x0() && n1.domains().is_empty());
    assert_eq!((n1.phase().as_str(), n2.phase().as_str()), ("idle", "idle"));
}

#[test]
fn p4_a_migration_that_cannot_begin_costs_the_guest_nothing() {
    let world = x0_on_n1();
    let (n1, n2) = (world.host("n1"), world.host("n2"));
    let ends = [("OCF_RESKEY_CRM_meta_migrate_source", "n1"), ("OCF_RESKEY_CRM_meta_migrate_target", "n2")];
    n2.cut(true);
    let to = n1.act("migrate_to", &ends);
    assert_eq!(to.code, 1);
    assert!(to.reason.contains("it still runs here"), "{}", to.reason);
    assert!(n1.runs_x0());
    // The stop that follows becomes an offer, the start a second, pulled attempt.
    n2.cut(false);
    n1.succeeds("stop");
    assert!(n1.runs_x0());
    n2.succeeds("start");
    assert!(n2.runs_x0());
    assert_eq!(world.log().matches("booting it").count(), 1, "it was booted again");
}

#[test]
fn moves_take_the_migration_network_by_a_nodes_attribute_or_by_a_suffix() {
    let ways = [("OCF_RESKEY_node_ip_attribute", "mig"), ("OCF_RESKEY_migration_network_suffix", "-mig")];
    for (way, hosts) in ways.into_iter().zip([["10.0.0.1", "10.0.0.2"], ["n1-mig", "n2-mig"]]) {
        let world = x0_on_n1();
        for (node, host) in ["n1", "n2"].into_iter().zip(hosts) {
            std::os::unix::fs::symlink(world.shared(node), world.shared(host)).unwrap();
            let here = world.host(node);
            let says = format!("case \"$*\" in *' n1 '*) echo {};; *) echo {};; esac", hosts[0], hosts[1]);
            here.put_script("usr/sbin/crm_attribute", &says);
            // Nobody is reached by his bare name.
            let ssh = std::fs::read_to_string(here.root.join("usr/sbin/ssh")).unwrap();
            let only =
                "for a; do h=$b; b=$a; done; case $h in n1|n2|n3) echo by its name >&2; exit 255;; esac";
            here.put_script("usr/sbin/ssh", &ssh.replace("#!/bin/sh", only));
        }
        let stop = world.host("n1").act("stop", &[way]);
        assert_eq!(stop.code, 0, "{}", stop.reason);
        assert_eq!(world.host("n1").phase(), "offered", "{}", world.log());
        let start = world.host("n2").act("start", &[way]);
        assert_eq!(start.code, 0, "{}", start.reason);
        assert!(world.host("n2").runs_x0());
    }
}
