//! The agent, action by action, on a stand-in world: what the cluster gets for each precondition, and the handoff between
//! two hosts that are folders. "Expected", not "works": the same stories run on real Pacemaker (`tests/pacemaker`) and
//! on real Xen (`tests/lab`).

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    unreachable_pub,
    missing_docs,
    missing_debug_implementations,
    reason = "a test fails by panicking, and its helpers are nobody's library"
)]

mod actions;
mod broken;
mod deadlines;
mod devices;
mod evidence;
mod full;
mod handoff;
mod limits;
mod memory;
mod mistakes;
mod movable;
mod names;
mod paths;
mod peers;
mod progress;
mod slots;
mod snapshot;
mod toolstacks;
#[path = "../world/mod.rs"]
mod world;
mod yielding;

use std::time::{Duration, Instant};

use world::World;

const NODES: [&str; 3] = ["n1", "n2", "n3"];

/// x0 runs on n1, and the cluster plans to have it on n2.
fn x0_on_n1() -> World {
    let world = World::new(&NODES);
    world.host("n1").succeeds("start");
    world.plan(&NODES, Some("n2"));
    world
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(40);
    while !holds() {
        assert!(Instant::now() < until, "in vain waited for: {what}");
        std::thread::yield_now();
    }
}
