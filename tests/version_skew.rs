//! Nodes of different versions, as in a rolling upgrade: who speaks another protocol is refused with a reason, before anything
//! has been asked of it, and nothing is begun half-way. (The same protocol, old build and new, is for `tests/lab`.)

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    unreachable_pub,
    missing_docs,
    missing_debug_implementations,
    dead_code,
    reason = "a test fails by panicking, and its helpers are nobody's library"
)]

mod world;

use std::io::Write;
use std::process::{Command, Stdio};

use world::{Host, World};

const NODES: [&str; 2] = ["n1", "n2"];
const NEWER: &str = r#"{"xen-handoff":99,"version":"9.9.9","boot":null,"something":"that we do not know"}"#;

/// x0 runs on n1, and the cluster plans to have it on n2.
fn x0_on_n1() -> World {
    let world = World::new(&NODES);
    world.host("n1").succeeds("start");
    world.plan(&NODES, Some("n2"));
    world
}

/// Whoever `host` asks from now on is of a newer version. Gives the file with all that was said to it.
fn asks_a_newer_node(world: &World, host: &Host) -> std::path::PathBuf {
    let heard = world.shared("heard");
    let script = format!(
        "read -r greeting\necho \"$greeting\" >>{0}\necho '{NEWER}'\nexec cat >>{0}",
        heard.display()
    );
    host.put_script("usr/sbin/ssh", &script);
    heard
}

fn only_greetings(heard: &std::path::Path) -> bool {
    let said = std::fs::read_to_string(heard).unwrap();
    !said.is_empty() && said.lines().all(|line| line.starts_with("{\"xen-handoff\":"))
}

#[test]
fn a_stop_towards_a_newer_node_is_an_ordinary_one_and_the_log_says_why() {
    let world = x0_on_n1();
    let n1 = world.host("n1");
    let heard = asks_a_newer_node(&world, &n1);
    n1.succeeds("stop");
    assert!(n1.domains().is_empty() && n1.phase() == "idle");
    let log = world.log();
    assert!(log.contains("no handoff: "), "{log}");
    assert!(log.contains("it speaks protocol 99 (version 9.9.9), this node speaks "), "{log}");
    assert!(only_greetings(&heard), "more than a greeting was said to it");
}

#[test]
fn a_start_boots_nothing_while_the_offer_is_on_a_newer_node_and_the_guest_goes_on() {
    let world = x0_on_n1();
    let (n1, n2) = (world.host("n1"), world.host("n2"));
    n1.succeeds("stop");
    let ssh = n2.root.join("usr/sbin/ssh");
    let kept = n2.root.join("usr/sbin/ssh.kept");
    std::fs::rename(&ssh, &kept).unwrap();
    let heard = asks_a_newer_node(&world, &n2);
    let start = n2.act("start", &[("OCF_RESKEY_CRM_meta_timeout", "4000")]);
    assert_eq!(start.code, 1, "{}", start.reason);
    assert!(start.reason.contains("it speaks protocol 99 (version 9.9.9)"), "{}", start.reason);
    assert!(n2.domains().is_empty(), "{:?}", n2.domains());
    assert!(n1.runs_x0() && n1.phase() == "offered");
    assert!(only_greetings(&heard), "more than a greeting was said to it");
    std::fs::rename(kept, ssh).unwrap();
    n2.succeeds("start");
    assert!(n2.runs_x0());
}

#[test]
fn a_migration_towards_a_newer_node_fails_with_the_reason_and_the_guest_stays() {
    let world = x0_on_n1();
    let n1 = world.host("n1");
    let heard = asks_a_newer_node(&world, &n1);
    let migrate = n1.act("migrate_to", &[("OCF_RESKEY_CRM_meta_migrate_target", "n2")]);
    assert_eq!(migrate.code, 1, "{}", migrate.reason);
    assert!(migrate.reason.contains("it speaks protocol 99 (version 9.9.9)"), "{}", migrate.reason);
    assert!(n1.runs_x0() && n1.phase() == "idle", "{} {:?}", n1.phase(), n1.domains());
    assert!(only_greetings(&heard), "more than a greeting was said to it");
}

#[test]
fn a_newer_node_that_does_not_look_at_our_greeting_is_refused_whatever_it_asks() {
    let world = x0_on_n1();
    let n1 = world.host("n1");
    n1.succeeds("stop");
    let mut serve = Command::new(env!("CARGO_BIN_EXE_xen-handoff"))
        .arg("serve")
        .env_clear()
        .env("XEN_HANDOFF_ROOT", &n1.root)
        .env("HA_LOGFACILITY", "none")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // It may have hung up already when the second line comes.
    let _ = write!(serve.stdin.take().unwrap(), "{NEWER}\n{{\"verb\":\"resolve\",\"domain\":\"x0\"}}\n");
    let output = serve.wait_with_output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<serde_json::Value> =
        said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2, "{said}");
    assert!(lines[0]["xen-handoff"].is_number(), "{said}");
    assert_eq!(lines[1]["answer"], "refused", "{said}");
    assert!(lines[1]["reason"].as_str().unwrap().ends_with("you speak 99"), "{said}");
    assert!(n1.runs_x0() && n1.phase() == "offered");
}

/// Whom `host` calls from now on speaks our protocol and names none of what came later in its greeting. Gives the file with the
/// requests that it got.
fn asks_an_older_node(world: &World, host: &Host) -> std::path::PathBuf {
    let heard = world.shared("heard");
    let ssh = host.root.join("usr/sbin/ssh");
    std::fs::rename(&ssh, host.root.join("usr/sbin/ssh.real")).unwrap();
    // Line by line up to the stream, which is passed on as it is.
    let script = format!(
        "exec 3<&0
         {{ read -r line <&3; echo \"$line\"; while read -r line <&3; do echo \"$line\" >>{heard}; echo \"$line\"
             case $line in *'\"claim\"'*|*'\"receive\"'*) break;; esac; done; exec cat <&3; }} |
         {real} \"$@\" | {{ read -r line; echo \"$line\" | sed 's/\"can\":\\[[^]]*\\]/\"can\":[]/'; exec cat; }}",
        heard = heard.display(),
        real = host.root.join("usr/sbin/ssh.real").display(),
    );
    host.put_script("usr/sbin/ssh", &script);
    heard
}

#[test]
fn an_older_node_is_not_told_of_limits_or_compression_and_the_domain_moves_all_the_same() {
    let world = x0_on_n1();
    let (n1, n2) = (world.host("n1"), world.host("n2"));
    n1.succeeds("stop");
    let heard = asks_an_older_node(&world, &n2);
    let wishes = [("OCF_RESKEY_migration_rate", "1"), ("OCF_RESKEY_migration_compression", "zstd")];
    let start = n2.act("start", &wishes);
    assert_eq!(start.code, 0, "{}", start.reason);
    let migrate =
        n2.act("migrate_to", &[&wishes[1..], &[("OCF_RESKEY_CRM_meta_migrate_target", "n1")]].concat());
    assert_eq!(migrate.code, 0, "{}", migrate.reason);
    assert!(n1.runs_x0());
    let said = std::fs::read_to_string(&heard).unwrap();
    let begun: Vec<&str> =
        said.lines().filter(|line| line.contains("\"claim\"") || line.contains("\"receive\"")).collect();
    assert_eq!(begun.len(), 2, "{said}");
    for later in ["terms", "compression", "preflight", "slot"] {
        assert!(!said.contains(later), "an older node was told of {later}: {said}");
    }
    let log = world.log();
    for gone_without in ["not compressed: ", "no limit to its rate: ", "waits for no slot of n1: "] {
        assert!(log.contains(&format!("{gone_without}xen-handoff")), "{gone_without}{log}");
    }
}

#[test]
fn an_older_node_is_not_asked_to_give_its_offer_up_and_the_guest_runs_on() {
    let world = x0_on_n1();
    let (n1, n2) = (world.host("n1"), world.host("n2"));
    n1.succeeds("stop");
    let heard = asks_an_older_node(&world, &n2);
    n1.knob("migrate.fail", "1\ncannot save it");
    let times = [("OCF_RESKEY_CRM_meta_timeout", "32000"), ("OCF_RESKEY_migration_connect_timeout", "5")];
    let start = n2.act("start", &times);
    assert_eq!(start.code, 1, "{}", start.reason);
    assert!(start.reason.contains("fetching it from n1 failed"), "the lasting reason: {}", start.reason);
    assert!(n1.runs_x0() && n2.domains().is_empty());
    assert!(!std::fs::read_to_string(&heard).unwrap().contains("yield"));
    assert!(world.log().contains("on n1 is too old to end its offer for another node"), "{}", world.log());
}
