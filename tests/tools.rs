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

#[path = "schema.rs"]
mod schema;
#[path = "world/three_nodes.rs"]
mod three_nodes;
mod world;

use serde_json::Value;
use three_nodes::{CONFIG, NODES, managed, well_set_up, without_keys, x0_on_n1};
use world::Host;

fn preflight(host: &Host, more: &[&str]) -> (i32, String) {
    host.tool(&[&["preflight", "x0", "--config", "/etc/xen/x0.cfg"], more].concat())
}

/// The result of one check of one node.
fn result(reports: &Value, node: &str, check: &str) -> String {
    let report = reports["nodes"].as_array().unwrap().iter().find(|report| report["node"] == node).unwrap();
    let found = report["checks"].as_array().unwrap().iter().find(|found| found["check"] == check);
    found.unwrap_or_else(|| panic!("no {check} in {report}"))["result"].as_str().unwrap().to_owned()
}

#[test]
fn nodes_that_have_everything_can_take_it_and_the_exit_status_says_so() {
    let world = x0_on_n1();
    let (code, text) = preflight(&world.host("n1"), &[]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("x0 to n2: it can take it") && text.contains("x0 to n3: it can take it"), "{text}");
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(text.lines().any(|line| words(line) == "disks ok 1 disk can be opened there"), "{text}");
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
    assert!(!world.log().contains("event=pushed"), "{}", world.log());
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
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
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
    assert_eq!(n1.tool(&["history"]), (0, "No move is in the log of this node.\n".to_owned()));
    assert_eq!(n1.tool(&["history", "--all"]), (0, "No move is in the log of any node.\n".to_owned()));
    world.host("n3").cut(true);
    let (_, text) = n1.tool(&["history", "--all"]);
    assert!(
        text.starts_with("No move is in the logs of the nodes that answer.\nn3 does not answer: "),
        "{text}"
    );
    world.host("n3").cut(false);
    n1.succeeds("stop");
    n2.succeeds("start");
    let last = |host: &Host| -> Value {
        let (code, text) = host.tool(&["history", "--json"]);
        assert_eq!(code, 0, "{text}");
        let document: Value = serde_json::from_str(&text).unwrap();
        document["moves"].as_array().unwrap().last().cloned().unwrap_or_default()
    };
    let came = last(&n2);
    assert_eq!((came["reason"].as_str(), came["end"].as_str()), (Some("handoff"), Some("moved")), "{came}");
    assert!(came["bytes"].as_u64().unwrap() > 1 << 20, "{came}");
    assert!(came["ready_after_seconds"].as_f64() <= came["reported_after_seconds"].as_f64(), "{came}");
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
    assert_eq!((&went["transfer"], &went["bytes"]), (&came["transfer"], &came["bytes"]));
    // Asked for all, the two lines of one move are told once.
    let (code, text) = world.host("n3").tool(&["history", "--all", "x0"]);
    assert_eq!((code, text.matches("n1 > n2").count()), (0, 1), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    assert!(n2.tool(&["history"]).1.contains("n1 > n2"));
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
    let look: Value = serde_json::from_str(&text).unwrap();
    let of =
        |node: &str| look["nodes"].as_array().unwrap().iter().find(|of| of["node"] == node).cloned().unwrap();
    let offered = &of("n1")["domains"][0];
    assert_eq!(
        (offered["domain"].as_str(), offered["phase"].as_str(), offered["state"].as_str()),
        (Some("x0"), Some("offered"), Some("running"))
    );
    assert!(of("n3")["error"].as_str().unwrap().contains("cannot reach n3"), "{text}");
    assert_eq!(of("n2")["domains"], serde_json::json!([]));
    let (_, table) = n2.tool(&["status", "-a"]);
    assert!(table.contains("the offer ends in") && table.contains("does not answer"), "{table}");
    assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
}

#[test]
fn a_plan_tries_what_the_stop_will_try_wherever_it_is_asked() {
    let world = x0_on_n1();
    managed(&world, Some("n1"));
    let plan = |host: &str| world.host(host).tool(&["drain", "n1", "--plan"]);
    for host in ["n1", "n3"] {
        let (code, text) = plan(host);
        assert!(code == 0 && text.starts_with("x0  handed off to n2"), "{host}: {text}");
    }
    let key = world.host("n2").root.join("etc/xen-handoff/id_ed25519");
    std::fs::remove_file(&key).unwrap();
    for host in ["n1", "n3"] {
        let (_, text) = plan(host);
        assert!(text.contains("x0  REBOOTS, on n2: ") && text.contains("no key on n2"), "{host}: {text}");
    }
    std::fs::write(&key, "not a real key\n").unwrap();
    // Neither fetched nor booted: what comes of that is the cluster's to find out.
    std::fs::remove_file(world.host("n2").root.join("srv/x0")).unwrap();
    let (_, text) = plan("n1");
    assert!(text.contains("UNKNOWN, to n2: n2 can neither fetch nor boot it (disks: "), "{text}");
    std::fs::write(world.host("n2").root.join("srv/x0"), "").unwrap();
    world.plan(&NODES, None);
    let (_, text) = plan("n1");
    assert!(text.contains("x0  STOPS: "), "{text}");
    world.plan(&NODES, Some("n2"));
    world.host("n1").cut(true);
    let (_, text) = plan("n3");
    assert!(text.contains("UNKNOWN, to n2: it could not be tried: cannot reach n1"), "{text}");
    assert!(!world.log().contains("event="), "a plan changes nothing: {}", world.log());
    assert_eq!(world.host("n1").phase(), "idle");
}

#[test]
fn a_drain_that_reboots_or_may_reboot_a_guest_is_refused_without_force() {
    let world = x0_on_n1();
    managed(&world, Some("n1"));
    let n1 = world.host("n1");
    std::fs::remove_file(n1.root.join("etc/xen-handoff/id_ed25519")).unwrap();
    let (code, text) = n1.tool(&["drain", "n1"]);
    assert!(code == 1 && text.contains("REBOOTS, on n2: no key on n1"), "{text}");
    assert!(text.contains("nothing was done: x0 reboots; xen-handoff drain n1 --force"), "{text}");
    assert!(!world.shared("standby").exists() && n1.runs_x0());
    let (code, text) = n1.tool(&["drain", "n1", "--force", "--timeout", "1"]);
    assert!(code == 1 && text.contains("n1 is in standby") && text.contains("x0: running"), "{text}");
    assert!(world.shared("standby").exists());
}

#[test]
fn a_drain_shows_how_far_a_move_has_come_and_what_became_of_it() {
    let world = x0_on_n1();
    managed(&world, Some("n1"));
    let (n1, n2) = (world.host("n1"), world.host("n2"));
    n1.knob("stream.mib", "15");
    n1.knob("stream.mib-per-second", "4");
    let text = std::thread::scope(|scope| {
        let drain = scope.spawn(|| world.host("n3").tool(&["drain", "n1", "--timeout", "60"]));
        let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while !world.shared("standby").exists() && std::time::Instant::now() < until {
            std::thread::yield_now();
        }
        n1.succeeds("stop");
        n2.succeeds("start");
        managed(&world, Some("n2"));
        let (code, text) = drain.join().unwrap();
        assert_eq!(code, 0, "{text}");
        text
    });
    assert!(text.contains("x0: on its way to n2: ") && text.contains(" %, about "), "{text}");
    assert!(text.contains("n1 is empty") && text.contains("x0: handed over to n2 in "), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
}

#[test]
fn a_name_that_nobody_knows_is_an_error_with_the_one_that_was_meant() {
    let world = x0_on_n1();
    managed(&world, Some("n1"));
    let n3 = world.host("n3");
    for (words, meant) in [
        (&["preflight", "xO"][..], "x0"),
        (&["recover", "--dry-run", "xO"], "x0"),
        (&["history", "xO"], "x0"),
        (&["history", "--all", "xO"], "x0"),
        (&["drain", "--plan", "n11"], "n1"),
        (&["reach", "m2"], "n2"),
        (&["explain", "xO"], "x0"),
        (&["explain", "XH0001"], "XH0101"),
        (&["preflight", "x0", "--to", "n22"], "n2"),
    ] {
        let (code, text) = n3.tool(words);
        assert_eq!(code, 3, "{words:?}: {text}");
        assert!(text.contains(&format!("did you mean {meant}?")), "{words:?}: {text}");
    }
    // That a mistake on the command line is an event of the host nobody needs to hear.
    assert!(!world.log().contains("did you mean"), "{}", world.log());
    let (code, text) = n3.tool(&["preflight", "x0"]);
    assert!(code == 1 && text.contains("x0 runs on n1; run this there: xen-handoff preflight x0"), "{text}");
    assert_eq!(
        n3.tool(&["drain", "--plan", "n2"]),
        (0, "No Xen domain of the cluster's runs on n2.\n".to_owned())
    );
    assert_eq!(n3.tool(&["history", "x0"]), (0, "No move of x0 is in the log of this node.\n".to_owned()));
}

#[test]
fn recover_looks_at_all_nodes_and_what_is_not_known_is_not_nothing() {
    let world = x0_on_n1();
    managed(&world, Some("n1"));
    let n3 = world.host("n3");
    let (code, text) = n3.tool(&["recover", "x0"]);
    assert!(code == 0 && text.contains("n1:         running (domid 1); record: idle"), "{text}");
    assert!(text.contains("no transfer of x0 broke off at any node; nothing to do"), "{text}");
    world.host("n1").cut(true);
    let (code, text) = n3.tool(&["recover", "x0"]);
    assert!(code == 1 && text.contains("what n1 has of x0 is not known"), "{text}");
    world.host("n1").cut(false);
    // As a receiver that was killed leaves it, on a node that has no keeper of that.
    let (n1, n2) = (world.host("n1"), world.host("n2"));
    n1.succeeds("stop");
    let record = |host: &Host| host.root.join("run/xen-handoff/x0.json");
    let mut broken: Value = serde_json::from_str(&std::fs::read_to_string(record(&n1)).unwrap()).unwrap();
    let epoch = broken["state"]["offer"]["epoch"].clone();
    let transfer = serde_json::json!({ "epoch": epoch, "source": "n1", "target": "n2" });
    broken["state"] = serde_json::json!({ "phase": "receiving", "transfer": transfer });
    std::fs::create_dir_all(record(&n2).parent().unwrap()).unwrap();
    std::fs::write(record(&n2), broken.to_string()).unwrap();
    let (code, text) = n3.tool(&["recover", "--dry-run", "x0"]);
    let open = "open at n2: xen-handoff status --all shows whether it goes on";
    assert!(
        code == 1 && text.contains(open) && text.contains("there: xen-handoff recover --dry-run x0"),
        "{text}"
    );
    // What may only be one that is arriving just now is not called a second copy, and to destroy one is not advised.
    n2.xl(&["create", n2.root.join("etc/xen/x0.cfg").to_str().unwrap()]);
    let (code, text) = n3.tool(&["recover", "--dry-run", "x0"]);
    assert!(code == 1 && text.contains(open) && !text.contains("xl destroy"), "{text}");
    std::fs::remove_file(record(&n2)).unwrap();
    let (code, text) = n3.tool(&["recover", "--dry-run", "x0"]);
    assert!(code == 1 && text.contains("x0 runs on n1 and on n2, asked twice"), "{text}");
}

#[test]
fn every_node_is_tried_from_every_other() {
    let world = x0_on_n1();
    managed(&world, Some("n1"));
    let n1 = world.host("n1");
    let (code, text) = n1.tool(&["reach", "--all", "--json"]);
    let ways: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, ways["ways"].as_array().map(Vec::len)), (0, Some(6)), "{text}");
    std::fs::remove_file(world.host("n3").root.join("etc/xen-handoff/id_ed25519")).unwrap();
    let (code, text) = n1.tool(&["reach", "--all"]);
    assert_eq!((code, text.matches("NO: no key on n3").count()), (1, 2), "{text}");
}

#[test]
fn a_cluster_that_is_down_is_said_so_and_its_nodes_are_those_of_the_known_hosts() {
    let world = x0_on_n1();
    world.host("n1").succeeds("stop");
    let n3 = world.host("n3");
    n3.put_script("usr/sbin/cibadmin", "echo 'Could not connect to the CIB' >&2; exit 102");
    let known = "n1 ssh-ed25519 AAAA\nn2 ssh-ed25519 AAAA\nn3 ssh-ed25519 AAAA\n";
    std::fs::write(n3.root.join("etc/xen-handoff/known_hosts"), known).unwrap();
    let (code, text) = n3.tool(&["status", "--all"]);
    assert!(code == 0 && text.contains("n1    x0      offered"), "{text}");
    let (code, text) = n3.tool(&["drain", "n1"]);
    assert_eq!(code, 1, "{text}");
    let (code, text) = n3.tool(&["history", "nosuch"]);
    assert!(code == 1 && text.contains("nothing here knows nosuch"), "{text}");
}

/// What an operator gives to the tool on its stdin.
fn fed(host: &Host, words: &[&str], text: &str) -> (i32, String) {
    use std::io::Write;
    use std::process::{Command, Stdio};
    let mut tool = Command::new(env!("CARGO_BIN_EXE_xen-handoff"));
    tool.args(words).env_clear().env("XEN_HANDOFF_ROOT", &host.root).env("HA_LOGFACILITY", "none");
    let streams = tool.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = streams.spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    (output.status.code().unwrap(), said)
}

#[test]
fn keys_gives_each_node_a_pair_of_its_own_and_every_other_node_its_line() {
    let world = without_keys();
    let cards: String = NODES.iter().map(|name| world.host(name).tool(&["keys", "--export"]).1).collect();
    assert_eq!(cards.lines().filter(|line| line.starts_with("key n")).count(), 3, "{cards}");
    for name in NODES {
        let host = world.host(name);
        let ssh = host.root.join("root/.ssh");
        std::fs::create_dir_all(&ssh).unwrap();
        std::fs::write(ssh.join("authorized_keys"), "ssh-rsa ADMIN admin\n").unwrap();
        let (code, text) = fed(&host, &["keys", "--accept"], &cards);
        assert_eq!(code, 0, "{text}");
        let lines = std::fs::read_to_string(ssh.join("authorized_keys")).unwrap();
        assert!(lines.starts_with("ssh-rsa ADMIN admin\n") && lines.lines().count() == 3, "{lines}");
        for other in NODES.iter().filter(|other| **other != name) {
            let line = format!(
                "restrict,from=\"192.0.2.{}\",command=\"/usr/sbin/xen-handoff serve --peer {other}\" ssh-ed25519 ",
                &other[1..]
            );
            assert!(lines.contains(&line), "{lines}");
        }
        let known = std::fs::read_to_string(host.root.join("etc/xen-handoff/known_hosts")).unwrap();
        assert_eq!(known, "n1 ssh-ed25519 n1host\nn2 ssh-ed25519 n2host\nn3 ssh-ed25519 n3host\n");
    }
    // Given twice, nothing changes; and what is no card changes nothing.
    let n1 = world.host("n1");
    let keys = n1.root.join("root/.ssh/authorized_keys");
    let before = std::fs::read_to_string(&keys).unwrap();
    assert_eq!(fed(&n1, &["keys", "--accept"], &cards).0, 0);
    let bad = format!("{cards}key n9 - ssh-ed25519 \"AAAA\n");
    let (code, text) = fed(&n1, &["keys", "--accept"], &bad);
    assert!(
        code == 1 && text.contains("that is no public key: key n9") && text.contains("nothing was changed"),
        "{text}"
    );
    assert_eq!(std::fs::read_to_string(&keys).unwrap(), before);
    assert_eq!(fed(&n1, &["keys", "--accept"], "").0, 1);
    // A node that is lost speaks for itself no more.
    let (code, text) = n1.tool(&["keys", "--remove", "n3"]);
    assert!(code == 0 && text.contains("1 key and 1 host key of n3 taken away"), "{text}");
    assert!(!std::fs::read_to_string(&keys).unwrap().contains("--peer n3"));
    assert!(std::fs::read_to_string(&keys).unwrap().contains("--peer n2"));
}

#[test]
fn keys_puts_a_next_pair_in_its_place_when_the_others_take_it_and_no_sooner() {
    let world = without_keys();
    let n1 = world.host("n1");
    assert_eq!(n1.tool(&["keys"]).0, 0);
    let public = || std::fs::read_to_string(n1.root.join("etc/xen-handoff/id_ed25519.pub")).unwrap();
    let first = public();
    let (code, text) = n1.tool(&["keys", "--rotate"]);
    assert!(code == 0 && text.matches("\nkey n1 ").count() == 2, "both are told to the others: {text}");
    // In this world every host takes every key, but for one that is cut off.
    let n3 = world.host("n3");
    n3.cut(true);
    let (code, text) = n1.tool(&["keys", "--rotate"]);
    assert!(code == 1 && text.contains("n3 does not take the next key yet, and the old one stays"), "{text}");
    assert_eq!(public(), first);
    n3.cut(false);
    let (code, text) = n1.tool(&["keys", "--rotate"]);
    assert!(code == 0 && text.matches("\nkey n1 ").count() == 1, "{text}");
    assert_ne!(public(), first);
    assert!(!n1.root.join("etc/xen-handoff/id_ed25519.next").exists());
}

#[test]
fn keys_makes_no_pair_beside_one_that_is_for_all_nodes() {
    let world = without_keys();
    let n3 = world.host("n3");
    let key = n3.root.join("etc/xen-handoff/id_ed25519");
    // Root's own ssh, as it gets to n1 and n2.
    let ssh = std::fs::read_to_string(n3.root.join("usr/sbin/ssh")).unwrap();
    n3.put_script("usr/sbin/ssh", "echo 'ssh-ed25519 AAAA xen-handoff'");
    let (code, text) = n3.tool(&["keys"]);
    assert!(code == 1 && text.contains("n1 has one key pair for all nodes: copy id_ed25519"), "{text}");
    assert!(!key.exists());
    // Its line here speaks for it, too.
    n3.put_script("usr/sbin/ssh", "exit 255");
    std::fs::create_dir_all(n3.root.join("root/.ssh")).unwrap();
    let line = "restrict,command=\"/usr/sbin/xen-handoff serve\" ssh-ed25519 AAAA xen-handoff\n";
    std::fs::write(n3.root.join("root/.ssh/authorized_keys"), line).unwrap();
    let (code, text) = n3.tool(&["keys"]);
    assert!(
        code == 1 && text.contains("this cluster has one key pair for all nodes") && !key.exists(),
        "{text}"
    );
    assert_eq!(n3.tool(&["keys", "--new"]).0, 0);
    n3.put_script("usr/sbin/ssh", &ssh);
    // With a pair of its own, the line for all can go; with the one for all, it cannot.
    let public = n3.root.join("etc/xen-handoff/id_ed25519.pub");
    let own = std::fs::read_to_string(&public).unwrap();
    std::fs::write(&public, "ssh-ed25519 AAAA xen-handoff\n").unwrap();
    let (code, text) = n3.tool(&["keys", "--remove-shared"]);
    assert!(code == 1 && text.contains("still comes with the pair of all nodes"), "{text}");
    std::fs::write(&public, own).unwrap();
    let (code, text) = n3.tool(&["keys", "--remove-shared"]);
    assert!(code == 0 && text.contains("1 line of the pair of all nodes taken away"), "{text}");
}

#[test]
fn whoever_reads_no_more_hears_nothing_and_whoever_may_not_read_is_told_the_path() {
    use std::process::{Command, Stdio};
    let world = x0_on_n1();
    let (n1, n2) = (world.host("n1"), world.host("n2"));
    n1.succeeds("stop");
    n2.succeeds("start");
    let tool = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xen-handoff"));
        command.args(words).env_clear().env("XEN_HANDOFF_ROOT", &n2.root).env("HA_LOGFACILITY", "none");
        command
    };
    let (reads, writes) = rustix::pipe::pipe().unwrap();
    drop(reads);
    let ended = tool(&["history"]).stdout(Stdio::from(writes)).stderr(Stdio::piped()).output().unwrap();
    assert_eq!((ended.status.code(), String::from_utf8_lossy(&ended.stderr).as_ref()), (Some(0), ""));
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can run a command as somebody else");
        return;
    }
    // Through this process's own descriptor: the build's folder may be closed to others.
    let output = Command::new("setpriv")
        .args([
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            "--",
            env!("CARGO_BIN_EXE_xen-handoff"),
            "history",
        ])
        .env("XEN_HANDOFF_ROOT", &n2.root)
        .env("HA_LOGFACILITY", "none")
        .output();
    let Ok(output) = output else {
        eprintln!("skipped: no setpriv");
        return;
    };
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if said.contains("setpriv") {
        eprintln!("skipped: this executable is closed to others: {said}");
        return;
    }
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("/var/lib/xen-handoff") && said.contains("Permission denied"), "{said}");
    assert!(said.trim().ends_with("run this as root"), "{said}");
}

/// What is not well: check, of what, result.
fn not_well(text: &str) -> Vec<(String, String, String)> {
    let document: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let word = |check: &Value, name: &str| check[name].as_str().unwrap().to_owned();
    let checks = document["checks"].as_array().unwrap().iter().filter(|check| check["result"] != "ok");
    checks.map(|check| (word(check, "check"), word(check, "of"), word(check, "result"))).collect()
}

#[test]
fn a_check_of_a_cluster_that_is_well_set_up_finds_nothing_and_looks_at_everything() {
    let world = well_set_up();
    let n1 = world.host("n1");
    let (code, text) = n1.tool(&["check", "--json"]);
    assert_eq!((code, not_well(&text)), (0, vec![]), "{text}");
    let (code, table) = n1.tool(&["check"]);
    for check in [
        "cluster",
        "domains",
        "fencing",
        "transport",
        "ways",
        "version",
        "keys",
        "authorized",
        "host-keys",
        "guard",
        "xendomains",
        "planner",
        "xen",
        "clock",
        "configuration",
        "timeouts",
    ] {
        assert!(table.lines().any(|line| line.starts_with(&format!("{check} "))), "no {check}: {table}");
    }
    assert!(code == 0 && table.lines().all(|line| line.chars().count() <= 80), "{table}");
    let (code, line) = n1.tool(&["check", "--monitoring"]);
    assert!(code == 0 && line.starts_with("XEN-HANDOFF OK - ") && line.lines().count() == 1, "{line}");
}

#[test]
fn a_check_finds_what_is_wrong_on_any_node_and_says_what_to_do() {
    use std::os::unix::fs::PermissionsExt;
    let world = well_set_up();
    let (n1, n2, n3) = (world.host("n1"), world.host("n2"), world.host("n3"));
    n2.put_script("usr/sbin/systemctl", "echo inactive");
    let key = n2.root.join("etc/xen-handoff/id_ed25519");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    std::fs::write(n3.root.join("etc/xen-handoff/id_ed25519.pub"), "ssh-ed25519 SECOND\n").unwrap();
    std::fs::write(n3.root.join("etc/xen-handoff/known_hosts"), "n1 ssh-ed25519 n1\nn2 ssh-ed25519 stale\n")
        .unwrap();
    std::fs::write(n3.root.join("etc/xen/x0.cfg"), "name = \"x0\"\nmemory = 32\n").unwrap();
    let mute = "[ \"$1\" = --version ] && echo Pacemaker 9.9; exit 1";
    n3.put_script("usr/sbin/crm_simulate", mute);
    let (code, text) = n1.tool(&["check", "--json"]);
    let expected = [
        ("keys", "n2", "failed"),
        ("keys", "n3", "failed"),
        ("authorized", "n3", "warning"),
        ("guard", "n2", "warning"),
        ("planner", "n3", "failed"),
        ("host-keys", "n3", "failed"),
        ("configuration", "x0", "failed"),
    ];
    let mut found = not_well(&text);
    let mut expected: Vec<_> = expected.map(|(a, b, c)| (a.to_owned(), b.to_owned(), c.to_owned())).into();
    found.sort();
    expected.sort();
    assert_eq!((code, found), (1, expected), "{text}");
    let (_, table) = n1.tool(&["check"]);
    for advice in
        ["-> on n2: chmod 0600 ", "-> copy the pair of another node to n3", "-> copy /etc/xen/x0.cfg to n3"]
    {
        assert!(table.contains(advice), "no {advice}: {table}");
    }
    assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
    let (code, line) = n1.tool(&["check", "--monitoring"]);
    assert!(
        code == 2 && line.starts_with("XEN-HANDOFF CRITICAL - ") && line.contains("failed=5 warnings=2"),
        "{line}"
    );
    let ignoring = ["keys", "authorized", "guard", "planner", "host-keys", "configuration"];
    let ignoring: Vec<&str> = ignoring.iter().flat_map(|check| ["--ignore", check]).collect();
    assert_eq!(n1.tool(&[&["check", "--monitoring"], &ignoring[..]].concat()).0, 0);
    assert_eq!(n1.tool(&["check", "--monitoring", "--ignore", "nosuch"]).0, 3);
}

#[test]
fn a_check_finds_what_would_run_a_guest_twice_and_what_would_hold_up_a_start() {
    let world = well_set_up();
    let (n1, n2, n3) = (world.host("n1"), world.host("n2"), world.host("n3"));
    std::fs::create_dir_all(n2.root.join("etc/xen/auto")).unwrap();
    std::os::unix::fs::symlink("../x0.cfg", n2.root.join("etc/xen/auto/x0.cfg")).unwrap();
    // Debian's own settings.
    std::fs::create_dir_all(n3.root.join("etc/default")).unwrap();
    let settings = "XENDOMAINS_MIGRATE=\"\"\nXENDOMAINS_SAVE=/var/lib/xen/save\nXENDOMAINS_RESTORE=true\n";
    std::fs::write(n3.root.join("etc/default/xendomains"), settings).unwrap();
    let is = |of: &str, check: &str, result: &str| (check.to_owned(), of.to_owned(), result.to_owned());
    let (code, text) = n1.tool(&["check", "--json"]);
    let found = [is("n2", "xendomains", "failed"), is("n3", "xendomains", "warning")];
    assert_eq!((code, not_well(&text)), (1, found.into()), "{text}");
    let (_, table) = n1.tool(&["check"]);
    for advice in [
        "-> on n2, /etc/xen/auto/x0.cfg: remove it",
        "-> on n3, in /etc/default/xendomains: XENDOMAINS_SAVE=",
    ] {
        assert!(table.contains(advice), "no {advice}: {table}");
    }
    assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
    let path = world.shared("cib.xml");
    let cib = std::fs::read_to_string(&path).unwrap();
    for (was, is_now, result) in [
        ("stonith-enabled=\"true\"", "stonith-enabled=\"false\"", "warning"),
        ("active=\"true\"/>", "active=\"false\"/>", "failed"),
        ("<cluster_options stonith-enabled=\"true\"/>", "", "unknown"),
    ] {
        let changed = cib.replacen(was, is_now, 1);
        assert_ne!(cib, changed);
        std::fs::write(&path, changed).unwrap();
        let (_, text) = n1.tool(&["check", "--json", "--ignore", "xendomains"]);
        assert_eq!(not_well(&text), [is("cluster", "fencing", result)], "{text}");
    }
}

#[test]
fn of_a_node_of_an_older_version_it_is_unknown_what_xendomains_would_do() {
    let world = well_set_up();
    let n1 = world.host("n1");
    std::fs::rename(n1.root.join("usr/sbin/ssh"), n1.root.join("usr/sbin/ssh.new")).unwrap();
    let heard = world.shared("heard");
    let older = format!(
        "tee -a {} | {}/usr/sbin/ssh.new \"$@\" | sed -u 's/\"xendomains\",//'",
        heard.display(),
        n1.root.display()
    );
    n1.put_script("usr/sbin/ssh", &older);
    let (code, text) = n1.tool(&["check", "--json"]);
    let unknown = ["n2", "n3"].map(|node| ("xendomains".to_owned(), node.to_owned(), "unknown".to_owned()));
    assert_eq!((code, not_well(&text)), (1, unknown.into()), "{text}");
    assert!(text.contains("upgrade xen-handoff there"), "{text}");
    let heard = std::fs::read_to_string(heard).unwrap();
    assert!(heard.contains("\"verb\":\"setup\"") && !heard.contains("\"verb\":\"xendomains\""), "{heard}");
}

#[test]
fn a_check_tries_every_pair_of_nodes_and_knows_one_disk_from_two() {
    let world = well_set_up();
    let (n1, n3) = (world.host("n1"), world.host("n3"));
    std::fs::remove_file(n3.root.join("etc/xen-handoff/id_ed25519")).unwrap();
    for name in NODES {
        std::fs::write(world.host(name).root.join("etc/xen/x0.cfg"), CONFIG).unwrap();
    }
    let (_, text) = n1.tool(&["check", "--json"]);
    let found = not_well(&text);
    let has = |check: &str, of: &str| found.iter().any(|(a, b, c)| a == check && b == of && c == "failed");
    assert!(has("ways", "n3 > n1") && has("ways", "n3 > n2") && has("keys", "n3"), "{found:?}");
    assert!(!found.iter().any(|(_, of, _)| of == "n2 > n3"), "{found:?}");
    // Each host of this world has a file of its own on its own file system.
    assert!(has("storage", "x0"), "{found:?}");
    // A host that is away is not a fault of the set-up, one that does not answer is.
    n3.cut(true);
    assert!(not_well(&n1.tool(&["check", "--json"]).1).contains(&(
        "transport".into(),
        "n3".into(),
        "failed".into()
    )));
    world.lose("n3");
    assert!(not_well(&n1.tool(&["check", "--json"]).1).contains(&(
        "transport".into(),
        "n3".into(),
        "warning".into()
    )));
}

#[test]
fn what_each_command_prints_for_programs_is_as_the_published_schema_says() {
    let world = well_set_up();
    let (n1, n2, n3) = (world.host("n1"), world.host("n2"), world.host("n3"));
    let is_well = |host: &Host, words: &[&str]| {
        let (_, text) = host.tool(&[words, &["--json"]].concat());
        assert_eq!(schema::faults(words[0], &text), Vec::<String>::new(), "{words:?}: {text}");
        for word in ["Running(", "Some(", "Offered {", "phase\": {", "_ms\""] {
            assert!(!text.contains(word), "{word} in {text}");
        }
        text
    };
    is_well(&n1, &["check"]);
    is_well(&n1, &["preflight", "x0"]);
    is_well(&n1, &["reach", "--all"]);
    is_well(&n1, &["drain", "--plan", "n1"]);
    is_well(&n1, &["history"]);
    is_well(&n1, &["status"]);
    is_well(&n1, &["explain", "XH0101"]);
    is_well(&n1, &["explain", "--list"]);
    is_well(&n1, &["explain", "x0"]);
    n1.succeeds("stop");
    is_well(&n1, &["explain", "x0"]);
    assert!(is_well(&n2, &["status", "--all"]).contains("offer_ends_at"));
    n3.cut(true);
    is_well(&n2, &["status", "--all"]);
    is_well(&n2, &["check"]);
    is_well(&n2, &["reach", "--all"]);
    is_well(&n2, &["history", "--all"]);
    n1.knob("stream.mib", "12");
    n1.knob("stream.mib-per-second", "3");
    std::thread::scope(|scope| {
        let start = scope.spawn(|| n2.succeeds("start"));
        let mut seen = false;
        while !start.is_finished() {
            seen |= is_well(&n1, &["status"]).contains("\"direction\"");
        }
        start.join().unwrap();
        assert!(seen, "no progress was seen");
    });
    assert!(is_well(&n2, &["history", "--all"]).contains("\"pause_seconds\""));
}

/// What a stop has said is kept where it was, whoever keeps the log; and a pasted line of it is the same message.
#[test]
fn the_last_stop_of_a_domain_is_explained_with_what_holds_now_and_what_to_do() {
    let world = x0_on_n1();
    managed(&world, Some("n1"));
    let (n1, n2) = (world.host("n1"), world.host("n2"));
    n2.cut(true);
    n1.succeeds("stop");
    let (code, text) = n1.tool(&["explain", "x0"]);
    assert_eq!(code, 0, "{text}");
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in [
        "no handoff: the planned target cannot fetch it",
        "What happened",
        "What holds now",
        "What to do",
        "Here now absent",
    ] {
        assert!(words.contains(part), "{part} is not in {text}");
    }
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    let log = world.log();
    let line = log.lines().find(|line| line.contains("no handoff: the planned")).unwrap();
    let id = line.rsplit(['[', ']']).nth(1).unwrap();
    assert!(id.starts_with("XH") && text.contains(&format!("\n{id}  ")), "{line}\n{text}");
    let (code, by_line) = n1.tool(&["explain", line]);
    assert!(code == 0 && by_line.starts_with(id), "{by_line}");
    assert_eq!(n1.tool(&["explain", id]).0, 0);
    let (code, text) = n2.tool(&["explain", "x0"]);
    assert!(code == 1 && text.contains("Nothing that was said of x0 is kept here"), "{text}");
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("the node where it was: xen-handoff history --all x0 says which"), "{text}");
    let (code, text) = n1.tool(&["explain", "quite something else"]);
    assert!(code == 3 && text.contains("there is no message"), "{text}");
}

/// With what both ends said, and without how the record changed and what xl printed, which stay with `--json`.
#[test]
fn a_move_that_went_well_is_explained_at_both_ends_by_what_stop_and_start_said() {
    let world = x0_on_n1();
    managed(&world, Some("n1"));
    let (n1, n2) = (world.host("n1"), world.host("n2"));
    n1.succeeds("stop");
    n2.succeeds("start");
    for (host, id) in [(n1, "XH0202"), (n2, "XH0403")] {
        let (code, text) = host.tool(&["explain", "x0"]);
        assert_eq!(code, 0, "{text}");
        assert!(text.contains(&format!("\n{id}  ")), "{id} is not explained in {text}");
        assert!(!text.contains("XH0935") && !text.contains(" xl="), "{text}");
        let (_, document) = host.tool(&["explain", "x0", "--json"]);
        assert!(document.contains("[XH0935]"), "{document}");
    }
}

/// As Pacemaker shows it, which cuts off what is beyond 128 bytes.
#[test]
fn an_exit_reason_has_the_id_of_its_message_where_pacemaker_shows_it() {
    let world = x0_on_n1();
    for file in ["/etc/xen/none.cfg", &format!("/etc/xen/{}.cfg", "long".repeat(40))] {
        let call = world.host("n3").act("start", &[("OCF_RESKEY_xmfile", file)]);
        assert_ne!(call.code, 0);
        let reason = call.reason.lines().last().unwrap().strip_prefix("ocf-exit-reason:").unwrap();
        let shown: String = reason.chars().take(128).collect();
        let id = shown.split(['[', ']']).find(|word| word.starts_with("XH")).unwrap();
        let words = reason.replace(&format!("[{id}]"), "");
        assert!(world.log().contains(&format!("{} [{id}]", words.trim())), "{reason}\n{}", world.log());
    }
}

/// The rules of Prometheus' own linter, where it is installed (Debian: package prometheus).
#[test]
fn promtool_has_nothing_to_say_about_the_metrics() {
    use std::process::{Command, Stdio};
    let world = x0_on_n1();
    let (n1, n2) = (world.host("n1"), world.host("n2"));
    n1.succeeds("stop");
    let (_, text) = n1.tool(&["history", "--metrics"]);
    for line in ["phase{domain=\"x0\",phase=\"offered\"} 1", "offer_ends_timestamp_seconds{domain=\"x0\"} "] {
        assert!(text.contains(&format!("\nxen_handoff_{line}")), "{line}: {text}");
    }
    n2.succeeds("start");
    let (code, text) = n2.tool(&["history", "--metrics"]);
    assert!(code == 0 && text.contains("\nxen_handoff_moves_total{"), "{text}");
    let file = n2.root.join("xen-handoff.prom");
    assert_eq!(n2.tool(&["history", "--metrics", "--into", file.to_str().unwrap()]), (0, String::new()));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(
        std::fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o644,
        "node_exporter reads it"
    );
    let promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(std::fs::File::open(&file).unwrap())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .output();
    let Ok(said) = promtool else {
        eprintln!("skipped: no promtool (Debian: package prometheus)");
        return;
    };
    let words = String::from_utf8_lossy(&said.stdout).into_owned() + &String::from_utf8_lossy(&said.stderr);
    assert!(said.status.success() && words.trim().is_empty(), "{words}\n{text}");
}
