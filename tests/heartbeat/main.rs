//! Real Heartbeat 3.0.6 (haresources) on nodes made of namespaces, the real agent as its resource script, the stand-in
//! toolstack.
//!
//! `cargo test --test heartbeat` needs root and the commands of `tests/packages/heartbeat`; where they are missing the tests are
//! listed as ignored, with the reason on stderr. Nodes, switch, keeper and audits are those of the Pacemaker tests.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a test's own words")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]
#![allow(clippy::disallowed_methods, reason = "the environment and processes of tests; see spawn.rs")]

#[path = "../pacemaker/audit.rs"]
#[allow(dead_code, reason = "shared with the Pacemaker tests, which use all of it")]
mod audit;
#[path = "../pacemaker/fabric.rs"]
#[allow(dead_code, reason = "shared with the Pacemaker tests, which use all of it")]
mod fabric;
#[path = "../recipes/follow.rs"]
mod follow;
#[path = "../pacemaker/keeper.rs"]
#[allow(dead_code, reason = "shared with the Pacemaker tests, which use all of it")]
mod keeper;
mod pair;
#[path = "../recipes/mod.rs"]
mod recipes;
#[path = "../pacemaker/spawn.rs"]
#[allow(dead_code, reason = "shared with the Pacemaker tests, which use all of it")]
mod spawn;
mod stories;
#[path = "../pacemaker/world.rs"]
#[allow(dead_code, reason = "shared with the Pacemaker tests, which use all of it")]
mod world;

use libtest_mimic::Arguments;
use std::process::ExitCode;

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("node-keeper") {
        return keeper::run();
    }
    let mut arguments = Arguments::from_args();
    // Each story has nodes of its own, and waits most of its time.
    arguments.test_threads = Some(arguments.test_threads.unwrap_or(2));
    let why = cannot_run();
    if let Some(why) = &why {
        eprintln!("heartbeat tests: ignored, {why}");
    }
    let trials = stories::trials().into_iter().map(|trial| trial.with_ignored_flag(why.is_some())).collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn cannot_run() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("not root: nodes are made of namespaces and mounts".into());
    }
    let missing: Vec<&str> = include_str!("../packages/heartbeat")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|program| {
            !world::world().has(program)
                && !std::path::Path::new("/usr/libexec/heartbeat").join(program).exists()
        })
        .collect();
    (!missing.is_empty()).then(|| format!("missing commands: {} (tests/need heartbeat)", missing.join(" ")))
}
