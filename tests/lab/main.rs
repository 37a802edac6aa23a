//! The lab: real Xen nodes in QEMU, real Pacemaker on them, the real agent, a real domain that answers pings.
//!
//! `make lab` runs all stories, `make lab ARGS=standby` those whose name holds the word; `make demo` runs the
//! comparison of `demo.rs`, `make lab-hold` brings the nodes up and leaves them to a person,
//! `make bench` the measurements of `bench.rs`, `make bench-agent` those of `cost.rs`. Anywhere else (`cargo test`) the stories are listed as ignored: the lab needs root, QEMU and
//! some minutes. The first run builds an image and boots it (about four minutes under emulation), later ones begin
//! from a snapshot of the running cluster in seconds; `XEN_HANDOFF_LAB_CACHE` says where these are kept. `XEN_HANDOFF_LAB_WORLD`
//! says of which Debian the nodes are.
//!
//! What is where: `world` says which Debian, `image` builds the disk, `qemu` drives one machine, `network` is the switch, `layers` keeps
//! snapshots between runs, `node` runs commands on a node, `cluster` (Pacemaker) or `classic` (Heartbeat), `packages` and
//! `agent` set it up, `guest` talks to x0, `disk` is its disk, `second` is x1 beside it, `loaded` makes guests for `bench`,
//! `plot` is the bench's and draws the demo's picture,
//! `audit` watches every test for what must never happen, `spent` counts the seconds, `story/` are the tests, `inside` keeps all of it in namespaces
//! that vanish with the run.
#![allow(
    clippy::disallowed_methods,
    reason = "the harness is no part of the agent: it starts processes, reads its own environment and waits"
)]
#![allow(clippy::print_stdout, reason = "a harness talks to a person")]

mod agent;
mod audit;
mod bench;
mod classic;
mod cluster;
mod cost;
mod demo;
mod disk;
mod guest;
mod image;
mod inside;
mod lab;
mod layers;
mod loaded;
mod network;
mod node;
mod packages;
#[path = "../../bench/src/plot.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "the bench's: a module of a library, with tests of its own"
)]
mod plot;
mod process;
mod qemu;
mod sampler;
mod second;
mod spent;
mod story;
mod wait;
mod world;

use std::process::ExitCode;

/// Why the lab runs, or not: the value of `XEN_HANDOFF_LAB`.
const ASKED: &str = "XEN_HANDOFF_LAB";

fn main() -> ExitCode {
    let mut arguments = libtest_mimic::Arguments::from_args();
    // One pair of nodes, one story at a time.
    arguments.test_threads = Some(1);
    let asked = std::env::var(ASKED).unwrap_or_default();
    if asked.is_empty() && !arguments.list {
        println!(
            "the lab is skipped: it boots real Xen nodes in QEMU, as root; `make lab` (or {ASKED}=1) asks for it"
        );
    }
    if asked.is_empty() || arguments.list {
        return libtest_mimic::run(&arguments, story::all().into_iter().map(story::without_lab).collect())
            .exit_code();
    }
    let older = asked == "1" && story::need_an_older_build(&arguments);
    match inside::enter(|| prepare(older)) {
        Ok(inside::Where::Outside(code)) => code,
        Ok(inside::Where::Inside) if asked == "demo" => report(demo::run()),
        Ok(inside::Where::Inside) if asked == "hold" => report(lab::hold()),
        Ok(inside::Where::Inside) if asked == "bench-agent" => report(cost::run()),
        Ok(inside::Where::Inside) if asked == "bench" => {
            report(bench::run(arguments.filter.as_deref().unwrap_or_default()))
        }
        Ok(inside::Where::Inside) => {
            let shared = story::Shared::default();
            let mixed = lab::how_many().and_then(world::World::asked).map(|world| world.is_mixed());
            let mixed = match mixed {
                Ok(mixed) => mixed,
                Err(error) => return report(Err(error)),
            };
            let stories = if asked == "quick" { story::quick() } else { story::all() };
            let trials = stories.into_iter().map(|story| shared.trial(story, mixed)).collect();
            let conclusion = libtest_mimic::run(&arguments, trials);
            shared.close();
            if let Some(table) = spent::table() {
                eprintln!("\nwhere the seconds went:\n{table}");
            }
            conclusion.exit_code()
        }
        Err(error) => report(Err(error)),
    }
}

/// What needs this machine's own network: packages for the image, and cargo for ours.
fn prepare(older: bool) -> anyhow::Result<()> {
    let cache = layers::Cache::open()?;
    for suite in world::World::asked(lab::how_many()?)?.suites() {
        image::ensure(&cache, suite)?;
    }
    packages::make(packages::Build::Current)?;
    if older {
        packages::make(packages::Build::Rpm)?;
        packages::make(packages::Build::Previous)?;
    }
    packages::stage()
}

fn report(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lab: {error:#}");
            ExitCode::FAILURE
        }
    }
}
