//! The operators' tools on a stand-in world: what one is told before, while and after a domain moves, and what a move that could
//! not succeed costs. The checks of preflight one by one are in `src/preflight/judge.rs`.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    dead_code,
    unreachable_pub,
    missing_docs,
    missing_debug_implementations,
    reason = "a test fails by panicking, and its helpers are nobody's library"
)]

mod world;

use serde_json::Value;
use world::{Host, World};

const NODES: [&str; 3] = ["n1", "n2", "n3"];
const CONFIG: &str = "name = \"x0\"\ntype = \"pvh\"\nmemory = 16\nvif = [ \"bridge=br0\" ]\ndisk = [ \"phy:/srv/x0,xvda,w\" ]\n";

/// x0 runs on n1, with a disk and a bridge that every host has, and the cluster plans to have it on n2.
fn x0_on_n1() -> World {
    let world = World::new(&NODES);
    for name in NODES {
        let root = world.host(name).root;
        std::fs::create_dir_all(root.join("sys/class/net/br0")).unwrap();
        std::fs::create_dir_all(root.join("srv")).unwrap();
        std::fs::write(root.join("srv/x0"), "").unwrap();
        std::fs::write(root.join("etc/xen/x0.cfg"), CONFIG).unwrap();
    }
    world.host("n1").succeeds("start");
    world.plan(&NODES, Some("n2"));
    world
}

fn preflight(host: &Host, more: &[&str]) -> (i32, String) {
    host.tool(&[&["preflight", "x0", "--config", "/etc/xen/x0.cfg"], more].concat())
}

/// The result of one check of one node.
fn result(reports: &Value, node: &str, check: &str) -> String {
    let report = reports.as_array().unwrap().iter().find(|report| report["node"] == node).unwrap();
    let found = report["checks"].as_array().unwrap().iter().find(|found| found["check"] == check);
    found.unwrap_or_else(|| panic!("no {check} in {report}"))["result"].as_str().unwrap().to_owned()
}

#[test]
fn nodes_that_have_everything_can_take_it_and_the_exit_status_says_so() {
    let world = x0_on_n1();
    let (code, text) = preflight(&world.host("n1"), &[]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("x0 to n2: it can take it") && text.contains("x0 to n3: it can take it"), "{text}");
    assert!(text.contains("disks          ok       1 disk can be opened there"), "{text}");
}

#[test]
fn each_thing_that_is_missing_there_is_named_with_what_to_do() {
    let world = x0_on_n1();
    let n2 = world.host("n2");
    std::fs::remove_dir(n2.root.join("sys/class/net/br0")).unwrap();
    std::fs::remove_file(n2.root.join("srv/x0")).unwrap();
    std::fs::write(n2.root.join("etc/xen/x0.cfg"), "name = \"x0\"\n").unwrap();
    n2.knob("memory-mib", "1030");
    world.host("n3").cut(true);
    let (code, text) = preflight(&world.host("n1"), &["--json"]);
    assert_eq!(code, 1, "{text}");
    let reports: Value = serde_json::from_str(&text).unwrap();
    for (check, is) in [
        ("transport", "ok"),
        ("way-back", "ok"),
        ("name", "ok"),
        ("xen", "ok"),
        ("bridges", "failed"),
        ("disks", "failed"),
        ("configuration", "warning"),
    ] {
        assert_eq!(result(&reports, "n2", check), is, "{check}: {text}");
    }
    assert_eq!(result(&reports, "n3", "transport"), "failed", "{text}");
    let (_, table) = preflight(&world.host("n1"), &["--to", "n2"]);
    assert!(table.contains("-> make the bridge on that node") && !table.contains("n3"), "{table}");
}

#[test]
fn a_migration_that_would_fail_is_refused_before_a_byte_is_sent() {
    let world = x0_on_n1();
    let (n1, n2) = (world.host("n1"), world.host("n2"));
    std::fs::remove_file(n2.root.join("srv/x0")).unwrap();
    let ends = [("OCF_RESKEY_CRM_meta_migrate_source", "n1"), ("OCF_RESKEY_CRM_meta_migrate_target", "n2")];
    let call = n1.act("migrate_to", &ends);
    assert_eq!(call.code, 1);
    assert!(call.reason.contains("n2 refuses it: disks: /srv/x0: No such file"), "{}", call.reason);
    assert!(call.reason.contains("it still runs here") && n1.runs_x0(), "{}", call.reason);
    assert!(!world.log().contains("event=Pushed"), "{}", world.log());
    std::fs::write(n2.root.join("srv/x0"), "").unwrap();
    assert_eq!(n1.act("migrate_to", &ends).code, 0, "{}", world.log());
    assert!(n2.runs_x0());
}

#[test]
fn a_node_that_lacks_something_does_not_claim_and_the_guest_runs_on() {
    let world = x0_on_n1();
    let (n1, n2) = (world.host("n1"), world.host("n2"));
    n1.succeeds("stop");
    std::fs::remove_dir(n2.root.join("sys/class/net/br0")).unwrap();
    let call = n2.act(
        "start",
        &[("OCF_RESKEY_CRM_meta_timeout", "6000"), ("OCF_RESKEY_migration_connect_timeout", "2")],
    );
    assert_eq!(call.code, 1);
    assert!(
        call.reason.contains("n1 offers it, and this node cannot run it: there is no bridge br0"),
        "{}",
        call.reason
    );
    assert!(n1.runs_x0() && n1.phase() == "offered" && n2.domains().is_empty());
    std::fs::create_dir(n2.root.join("sys/class/net/br0")).unwrap();
    n2.succeeds("start");
    assert!(n2.runs_x0());
}

#[test]
fn a_scheduler_that_gives_no_answer_is_known_before_the_first_evacuation() {
    let world = x0_on_n1();
    let n1 = world.host("n1");
    let (code, said) = n1.tool(&["preflight", "x0"]);
    assert!(code == 0 && said.contains("planner") && said.contains("says what it plans"), "{said}");
    // As 2.0.5 answers what it does not know.
    let mute =
        "#!/bin/sh\n[ \"$1\" = --version ] && { echo Pacemaker 9.9; exit; }\necho Unknown option >&2\n";
    std::fs::write(n1.root.join("usr/sbin/crm_simulate"), mute).unwrap();
    let (code, said) = n1.tool(&["preflight", "x0"]);
    let what = "cannot read what crm_simulate says: no transition graph";
    assert!(code == 1 && said.contains("FAILED") && said.contains(what), "{said}");
    assert!(said.contains("Pacemaker 9.9") && said.contains("printed: Unknown option"), "{said}");
    let validated = n1.act("validate-all", &[("OCF_CHECK_LEVEL", "10")]);
    assert!(validated.code == 1 && validated.reason.contains(what), "{}", validated.reason);
    assert_eq!(n1.act("validate-all", &[("OCF_CHECK_LEVEL", "10"), ("OCF_RESKEY_handoff", "never")]).code, 0);
    n1.succeeds("stop");
    let log = world.log();
    let line = log.lines().find(|line| line.contains("no handoff: what the cluster plans")).unwrap();
    assert!(line.contains(" WARN: ") && line.contains("Pacemaker 9.9"), "{line}");
}

#[test]
fn validate_all_asks_the_other_nodes_at_level_10_and_not_below() {
    let world = x0_on_n1();
    let n1 = world.host("n1");
    let validate = |level| n1.act("validate-all", &[("OCF_CHECK_LEVEL", level)]);
    assert_eq!(validate("0").code, 0);
    assert_eq!(validate("10").code, 0, "{}", world.log());
    world.host("n3").cut(true);
    assert_eq!(validate("0").code, 0);
    let call = validate("10");
    assert_eq!(call.code, 1, "{}", call.reason);
    assert!(call.reason.contains("n3 cannot take x0: transport: cannot reach n3"), "{}", call.reason);
}

#[test]
fn every_move_is_in_the_log_of_both_ends() {
    let world = x0_on_n1();
    let (n1, n2) = (world.host("n1"), world.host("n2"));
    assert!(n1.tool(&["history"]).1.contains("No move has begun"));
    n1.succeeds("stop");
    n2.succeeds("start");
    let last = |host: &Host| -> Value {
        let (code, text) = host.tool(&["history", "x0", "--json"]);
        assert_eq!(code, 0, "{text}");
        text.lines().last().map_or(Value::Null, |line| serde_json::from_str(line).unwrap())
    };
    let came = last(&n2);
    assert_eq!((came["why"].as_str(), came["end"].as_str()), (Some("handoff"), Some("moved")), "{came}");
    assert!(came["flow"]["bytes"].as_u64().unwrap() > 1 << 20, "{came}");
    assert!(came["flow"]["ready_ms"].as_u64() <= came["flow"]["reported_ms"].as_u64(), "{came}");
    // The target has said so before the source has put it down.
    let until = std::time::Instant::now() + std::time::Duration::from_secs(40);
    let went = loop {
        let went = last(&n1);
        if went != Value::Null || std::time::Instant::now() > until {
            break went;
        }
    };
    assert_eq!(
        (went["direction"].as_str(), went["end"].as_str()),
        (Some("outgoing"), Some("moved")),
        "{went}"
    );
    assert_eq!((&went["epoch"], &went["flow"]["bytes"]), (&came["epoch"], &came["flow"]["bytes"]));
    assert!(n2.tool(&["history"]).1.contains("n1 -> n2"));
}

#[test]
fn status_shows_the_offers_of_every_node_and_names_those_that_do_not_answer() {
    let world = x0_on_n1();
    world.host("n1").succeeds("stop");
    world.host("n3").cut(true);
    let n2 = world.host("n2");
    assert!(n2.tool(&["status"]).1.contains("No offers and no transfers on this node"));
    let (code, text) = n2.tool(&["status", "--all", "--json"]);
    assert_eq!(code, 0, "{text}");
    let rows: Value = serde_json::from_str(&text).unwrap();
    let of = |node: &str| rows.as_array().unwrap().iter().find(|row| row["node"] == node).cloned();
    let offered = of("n1").unwrap();
    assert_eq!(
        (offered["domain"].as_str(), offered["record"]["phase"].as_str()),
        (Some("x0"), Some("offered"))
    );
    assert!(of("n3").unwrap()["silent"].as_str().unwrap().contains("cannot reach n3"), "{text}");
    assert!(of("n2").is_none());
    let (_, table) = n2.tool(&["status", "-a"]);
    assert!(
        table.contains("the offer ends in") && table.contains("n3               does not answer"),
        "{table}"
    );
}
