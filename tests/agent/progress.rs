//! What can be seen of a move while it goes on.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use crate::x0_on_n1;

#[test]
fn a_move_can_be_followed_by_a_program_as_it_goes() {
    let world = x0_on_n1();
    let (n1, n2) = (world.host("n1"), world.host("n2"));
    n1.knob("stream.mib", "24");
    n1.knob("stream.mib-per-second", "3");
    n1.succeeds("stop");
    let mut watch = Command::new(env!("CARGO_BIN_EXE_xen-handoff"))
        .args(["status", "--watch", "--json"])
        .env_clear()
        .env("XEN_HANDOFF_ROOT", &n1.root)
        .env("HA_LOGFACILITY", "none")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    let followed = std::thread::scope(|scope| {
        scope.spawn(|| n2.succeeds("start"));
        (0..20).find_map(|_| {
            let look: serde_json::Value = serde_json::from_str(&lines.next()?.ok()?).unwrap();
            let progress = look["nodes"][0]["domains"][0]["progress"].clone();
            progress["bytes_per_second"].as_u64().map(|rate| (rate, progress["bytes"].as_u64(), look.clone()))
        })
    });
    // Whoever reads no more ends it.
    drop(lines);
    watch.wait().unwrap();
    let (rate, bytes, look) = followed.expect("a line with the rate");
    assert!((1..=4).contains(&(rate >> 20)) && bytes > Some(0), "{look}");
    let node = &look["nodes"][0];
    assert_eq!((node["node"].as_str(), node["domains"][0]["phase"].as_str()), (Some("n1"), Some("sending")));
    assert!(n2.runs_x0());
}
