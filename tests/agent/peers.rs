//! What somebody who holds the cluster's key can have a node do, and what not: whatever he says, this node believes its own cluster manager,
//! toolstack and clock.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::world::{Host, World};
use crate::{eventually, x0_on_n1};

/// A connection to a host's `xen-handoff serve`, from a peer that says what it likes.
struct Peer {
    serve: Child,
    to: Option<ChildStdin>,
    from: BufReader<ChildStdout>,
}

impl Peer {
    fn at(host: &Host) -> Self {
        Self::who(host, &[])
    }

    /// With the key of that node.
    fn as_node(host: &Host, node: &str) -> Self {
        Self::who(host, &["--peer", node])
    }

    fn who(host: &Host, words: &[&str]) -> Self {
        let mut serve = Command::new(env!("CARGO_BIN_EXE_xen-handoff"))
            .arg("serve")
            .args(words)
            .env_clear()
            .env("XEN_HANDOFF_ROOT", &host.root)
            .env("HA_LOGFACILITY", "none")
            .env("HA_LOGFILE", host.root.parent().unwrap().join("log"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (to, from) = (serve.stdin.take(), BufReader::new(serve.stdout.take().unwrap()));
        let mut peer = Self { serve, to, from };
        peer.says(&json!({"xen-handoff": 1, "version": "0.1.0", "boot": null}));
        let greeting = peer.hears().unwrap();
        assert!(greeting["xen-handoff"].is_number(), "{greeting}");
        peer
    }

    fn says(&mut self, line: &Value) {
        // It may have hung up.
        let _ = writeln!(self.to.as_mut().unwrap(), "{line}");
    }

    /// The next line, if there is one.
    fn hears(&mut self) -> Option<Value> {
        let mut line = String::new();
        self.from.read_line(&mut line).unwrap();
        (!line.is_empty()).then(|| serde_json::from_str(&line).unwrap())
    }

    fn asks(&mut self, request: &Value) -> Value {
        self.says(request);
        self.hears().unwrap()
    }

    fn hangs_up(mut self) {
        self.to = None;
        self.serve.wait().unwrap();
    }
}

fn transfer(epoch: u64, source: &str, target: &str) -> Value {
    json!({"epoch": epoch, "source": source, "target": target})
}

/// A push of x0 in the ledger of all nodes.
fn push_in_the_ledger(world: &World, epoch: u64, source: &str, target: &str) {
    let notes = world.shared("attrs/xen-handoff-x0");
    std::fs::create_dir_all(&notes).unwrap();
    let entry = format!("v=1;source={source};epoch={epoch};made=1000;target={target}");
    std::fs::write(notes.join(target), entry).unwrap();
}

#[test]
fn p1_nobody_sends_a_domain_here_that_the_cluster_does_not_send_here() {
    let world = x0_on_n1();
    let n3 = world.host("n3");
    let refused = |domain: &str, transfer: Value, why: &str| {
        let mut peer = Peer::at(&n3);
        let answer =
            peer.asks(&json!({"verb": "receive", "domain": domain, "transfer": transfer, "limit": 60}));
        assert_eq!(answer["answer"], "refused", "{answer}");
        assert!(answer["reason"].as_str().unwrap().contains(why), "{answer}");
        peer.hangs_up();
        assert_eq!(n3.phase(), "idle");
    };
    refused("x0", transfer(7, "n1", "n3"), "no migration of it to n3 is in this node's ledger");
    push_in_the_ledger(&world, 7, "n1", "n2");
    refused("x0", transfer(7, "n1", "n2"), "it is sent to n2, and this node is n3");
    push_in_the_ledger(&world, 7, "n1", "n3");
    refused("x0", transfer(8, "n1", "n3"), "no migration of it to n3 is in this node's ledger");
    // Of a domain that is none of the cluster's, although somebody has got it into the ledger.
    let notes = world.shared("attrs/xen-handoff-x9");
    std::fs::create_dir_all(&notes).unwrap();
    std::fs::write(notes.join("n3"), "v=1;source=n1;epoch=7;made=1000;target=n3").unwrap();
    refused("x9", transfer(7, "n1", "n3"), "no resource of this agent manages it");
    assert!(world.log().contains("n1 may not send it here"), "{}", world.log());
    let mut peer = Peer::at(&n3);
    let answer = peer
        .asks(&json!({"verb": "receive", "domain": "x0", "transfer": transfer(7, "n1", "n3"), "limit": 60}));
    assert_eq!(answer["answer"], "granted", "what the cluster sends is taken: {answer}");
    peer.hangs_up();
}

#[test]
fn memory_is_made_free_only_for_what_the_cluster_sends_here() {
    let world = x0_on_n1();
    let n3 = world.host("n3");
    let room = json!({"verb": "prepare", "domain": "x0", "room": {"mib": 16, "dom0_keeps_mib": 0}, "devices": [],
                      "limit": 60, "comes_in": 60});
    let mut peer = Peer::at(&n3);
    let answer = peer.asks(&room);
    assert_eq!(answer["answer"], "refused", "{answer}");
    assert!(answer["reason"].as_str().unwrap().contains("no migration of it to n3"), "{answer}");
    push_in_the_ledger(&world, 7, "n1", "n3");
    assert_eq!(peer.asks(&room)["answer"], "done");
    assert!(n3.root.join("run/xen-handoff/x0.room").exists());
    peer.hangs_up();
    assert!(!n3.root.join("run/xen-handoff/x0.room").exists(), "it lasts as long as the connection");
}

/// x0 is on offer by n1, for so many seconds, and its epoch.
fn x0_on_offer(seconds: &str) -> (World, u64) {
    let world = x0_on_n1();
    let n1 = world.host("n1");
    assert_eq!(n1.act("stop", &[("OCF_RESKEY_handoff_timeout", seconds)]).code, 0);
    let record = std::fs::read_to_string(n1.root.join("run/xen-handoff/x0.json")).unwrap();
    let record: Value = serde_json::from_str(&record).unwrap();
    (world, record["state"]["offer"]["epoch"].as_u64().unwrap())
}

fn claim(epoch: u64, limit: u64) -> Value {
    let back = json!({"node": "n2", "host": "n2", "user": "root", "port": 22, "connect_seconds": 5});
    json!({"verb": "claim", "domain": "x0", "transfer": transfer(epoch, "n1", "n2"), "back": back, "ended": null,
           "limit": limit})
}

#[test]
fn p3_a_node_with_a_key_of_its_own_fetches_and_ends_what_is_offered_in_its_own_name_alone() {
    let (world, epoch) = x0_on_offer("300");
    let n1 = world.host("n1");
    let give_up = json!({"verb": "yield", "domain": "x0", "transfer": transfer(epoch, "n1", "n2"), "reason": "no room",
                         "limit": 60});
    let mut n3 = Peer::as_node(&n1, "n3");
    for lie in [claim(epoch, 60), give_up] {
        let answer = n3.asks(&lie);
        assert_eq!(answer["answer"], "refused", "{answer}");
        assert_eq!(answer["reason"], "n3 speaks for n2 here, and may speak for itself alone");
    }
    assert_eq!(n3.asks(&json!({"verb": "presence", "domain": "x0"}))["answer"], "stands", "it may ask");
    n3.hangs_up();
    assert!(n1.phase() == "offered" && n1.runs_x0());
    assert!(world.log().contains("WARN: n3 speaks for n2 here"), "{}", world.log());
    let mut n2 = Peer::as_node(&n1, "n2");
    assert_eq!(n2.asks(&claim(epoch, 60))["answer"], "granted");
    n2.hangs_up();
    eventually("what has not arrived is still there", || n1.phase() == "offered" && n1.runs_x0());
}

#[test]
fn p1_a_node_with_a_key_of_its_own_sends_what_it_is_the_source_of_alone() {
    let world = x0_on_n1();
    let n3 = world.host("n3");
    push_in_the_ledger(&world, 7, "n1", "n3");
    let room = json!({"verb": "prepare", "domain": "x0", "room": {"mib": 16, "dom0_keeps_mib": 0}, "devices": [],
                      "limit": 60, "comes_in": 60});
    let send = json!({"verb": "receive", "domain": "x0", "transfer": transfer(7, "n1", "n3"), "limit": 60});
    let mut n2 = Peer::as_node(&n3, "n2");
    for lie in [&room, &send] {
        let answer = n2.asks(lie);
        assert_eq!(answer["answer"], "refused", "{answer}");
    }
    n2.hangs_up();
    let mut n1 = Peer::as_node(&n3, "n1");
    assert_eq!(n1.asks(&room)["answer"], "done");
    assert_eq!(n1.asks(&send)["answer"], "granted");
    n1.hangs_up();
}

#[test]
fn p4_a_target_that_says_ready_while_the_guest_runs_is_not_believed() {
    let (world, epoch) = x0_on_offer("300");
    let n1 = world.host("n1");
    n1.knob("stream.mib-per-second", "1");
    let mut peer = Peer::at(&n1);
    assert_eq!(peer.asks(&claim(epoch, 60))["answer"], "granted");
    eventually("the stream has begun", || n1.phase() == "sending");
    let words = "xl migration receiver ready, send binary domain data.\ndomain received, ready to unpause\0";
    peer.to.as_mut().unwrap().write_all(words.as_bytes()).unwrap();
    eventually("the source has broken it off", || {
        assert_ne!(n1.phase(), "settling");
        n1.phase() == "offered"
    });
    assert!(n1.runs_x0(), "{:?}", n1.domains());
    assert!(
        world.log().contains(
            "the target says that it has all of it, and it is running (domid 1) here: not believed"
        ),
        "{}",
        world.log()
    );
    peer.hangs_up();
    n1.knob("stream.mib-per-second", "64");
    let n2 = world.host("n2");
    n2.succeeds("start");
    assert!(n2.runs_x0());
}

#[test]
fn p5_who_claims_for_a_week_gets_as_long_as_the_cluster_gives_a_start_or_as_the_offer_stood() {
    let (world, epoch) = x0_on_offer("10");
    let n1 = world.host("n1");
    n1.knob("stream.mib-per-second", "0.05");
    // As a record that says how long the cluster gives its start; 20 s is what Pacemaker gives one that says nothing.
    let record = std::fs::read_to_string(n1.root.join("run/xen-handoff/x0.json")).unwrap();
    let record: Value = serde_json::from_str(&record).unwrap();
    assert_eq!(record["fetch_seconds"], 20, "{record}");
    let mut peer = Peer::at(&n1);
    assert_eq!(peer.asks(&claim(epoch, 7 * 24 * 3600))["answer"], "granted");
    peer.to.as_mut().unwrap().write_all(b"xl migration receiver ready, send binary domain data.\n").unwrap();
    // Whatever it says afterwards, and although it goes on listening.
    eventually("the offer has ended, and the guest with it", || {
        n1.phase() == "idle" && n1.domains().is_empty()
    });
    assert!(world.log().contains("broken off before the point of no return"), "{}", world.log());
    peer.hangs_up();
}

#[test]
fn p5_an_offer_whose_time_is_over_cannot_be_claimed_any_more() {
    let (world, epoch) = x0_on_offer("300");
    let n1 = world.host("n1");
    let path = n1.root.join("run/xen-handoff/x0.json");
    let mut record: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    record["state"]["offer"]["deadline"] = json!(1000);
    // Its keeper would end it, and is no more.
    n1.end("keep");
    std::fs::write(&path, record.to_string()).unwrap();
    let mut peer = Peer::at(&n1);
    let answer = peer.asks(&claim(epoch, 60));
    assert_eq!(answer["reason"], "its offer has come to its end", "{answer}");
    assert!(n1.runs_x0() && n1.phase() == "offered");
    peer.hangs_up();
}

#[test]
fn a_slot_is_kept_only_for_what_may_move() {
    let world = x0_on_n1();
    let n1 = world.host("n1");
    let slot = |direction: &str| json!({"verb": "slot", "domain": "x0", "direction": direction, "priority": null, "limit": 600_000});
    let mut peer = Peer::at(&n1);
    let answer = peer.asks(&slot("outgoing"));
    assert!(answer["reason"].as_str().unwrap().contains("it is not on offer here"), "{answer}");
    assert_eq!(answer["stands"][0]["is"], "running", "{answer}");
    let answer = peer.asks(&slot("incoming"));
    assert!(answer["reason"].as_str().unwrap().contains("no migration of it to n1"), "{answer}");
    push_in_the_ledger(&world, 7, "n2", "n1");
    assert_eq!(peer.asks(&slot("incoming"))["answer"], "done");
    peer.hangs_up();
}

/// How long one call of the agent took, and what came of it.
fn timed(host: &Host, action: &str, seconds: u64, more: &[(&str, &str)]) -> (crate::world::Call, Duration) {
    let began = Instant::now();
    let timeout = (seconds * 1000).to_string();
    let call = host.act(action, &[&[("OCF_RESKEY_CRM_meta_timeout", timeout.as_str())], more].concat());
    (call, began.elapsed())
}

#[test]
fn a_start_under_heartbeat_ends_in_its_time_although_four_nodes_greet_and_hang() {
    let nodes = ["n1", "n2", "n3", "n4", "n5"];
    let world = World::of_heartbeat(&nodes);
    let n1 = world.host("n1");
    // An offer of its own from a life of before, which it takes out of everybody's ledger.
    let ledger = n1.root.join("run/xen-handoff/ledger");
    std::fs::create_dir_all(&ledger).unwrap();
    let offer = |epoch: u64| format!("v=1;source=n1;epoch={epoch};made=1000;deadline=1300\n");
    std::fs::write(ledger.join("x0,n1"), offer(7)).unwrap();
    n1.calls_peers_that_hang();
    let quick = [("OCF_RESKEY_handoff_peer_timeout", "3"), ("OCF_RESKEY_migration_connect_timeout", "3")];
    let (start, took) = timed(&n1, "start", 20, &quick);
    assert_eq!(start.code, 1, "{}", start.reason);
    assert!(start.reason.contains("may be running it"), "{}", start.reason);
    assert!(took < Duration::from_secs(20), "the cluster would have killed it: it took {took:?}");
    assert!(!ledger.join("x0,n1").exists());
}

#[test]
fn p7_a_stop_under_heartbeat_that_cannot_write_its_offer_has_the_time_for_an_ordinary_end() {
    let nodes = ["n1", "n2", "n3", "n4", "n5"];
    let world = World::of_heartbeat(&nodes);
    let n1 = world.host("n1");
    assert_eq!(n1.act("start", &[("OCF_RESKEY_CRM_meta_on_node", "n1")]).code, 0, "{}", world.log());
    // The planned target answers all that it is asked. The other three greet and hang.
    n1.calls_one_that_hangs("n[345]");
    let (stop, took) = timed(&n1, "stop", 60, &[]);
    assert_eq!(stop.code, 0, "{}", stop.reason);
    assert!(took < Duration::from_secs(60), "the cluster would have killed it: it took {took:?}");
    assert!(world.log().contains("no handoff: the offer could not be recorded"), "{}", world.log());
    assert!(n1.domains().is_empty() && n1.phase() == "idle");
}

#[test]
fn nobody_fills_the_disk_with_domains_that_nobody_has_heard_of() {
    let world = x0_on_n1();
    let n1 = world.host("n1");
    let files = || {
        // A peer's connections are counted there, in as many files as it may have.
        let is_kept = |entry: &std::fs::DirEntry| entry.file_name() != "connections";
        let folder = |path: &str| {
            let entries = std::fs::read_dir(n1.root.join(path)).into_iter().flatten().flatten();
            entries.filter(is_kept).count()
        };
        folder("run/xen-handoff") + folder("run/xen-handoff/ledger")
    };
    let before = files();
    let mut peer = Peer::at(&n1);
    for n in 0..50 {
        let domain = format!("y{n}");
        peer.asks(&json!({"verb": "resolve", "domain": domain}));
        let line = "v=1;source=n2;epoch=7;made=1000;deadline=1300";
        assert_eq!(peer.asks(&json!({"verb": "note", "domain": domain, "line": line}))["answer"], "refused");
        let given_up = json!({"verb": "yield", "domain": domain, "transfer": transfer(7, "n1", "n2"), "reason": "",
                              "limit": 60});
        assert_eq!(peer.asks(&given_up)["answer"], "refused");
    }
    peer.hangs_up();
    for n in 0..5 {
        let mut peer = Peer::at(&n1);
        let mut claim = claim(7, 60);
        claim["domain"] = json!(format!("y{n}"));
        assert_eq!(peer.asks(&claim)["answer"], "refused");
        peer.hangs_up();
    }
    assert_eq!(files(), before);
}

/// ssh writes it into the file of whoever asks, by itself: the limit must be its own.
#[test]
fn what_a_peer_prints_over_a_connection_that_is_kept_open_has_an_end() {
    let world = x0_on_n1();
    let n1 = world.host("n1");
    n1.put_script("usr/sbin/ssh", &format!("echo \"$(ulimit -f) $*\" >{}", world.shared("ssh").display()));
    let address =
        json!({"node": "n2", "host": "n2", "user": "root", "port": 22, "connect_seconds": 5}).to_string();
    let us = std::process::id().to_string();
    let (code, text) = n1.tool(&["line", "--parent", &us, "--address", &address]);
    assert_eq!(code, 0, "{text}");
    let called = std::fs::read_to_string(world.shared("ssh")).unwrap();
    // In blocks of 512 bytes.
    assert!(called.starts_with("2048 ") && called.contains("ControlMaster=yes"), "{called}");
    let (code, text) = n1.tool(&["line", "--parent", "1", "--address", &address]);
    assert!(code == 1 && text.contains("the process that this one belongs to has gone"), "{text}");
}
