//! Real Pacemaker and Corosync on three nodes made of namespaces, the real agent, the stand-in toolstack.
//!
//! `cargo test --test pacemaker` needs root and the commands of `tests/packages/check`; what cannot run is listed as
//! ignored, with the reason on stderr. `PACEMAKER_CAPTURE=1` writes `tests/captured/pacemaker-VERSION/` anew.
//! `XEN_HANDOFF_WORLD=trixie` takes the Corosync and Pacemaker of that Debian suite instead of this machine's.
//! `cargo test --test pacemaker -- faults` plants the faults of `tests/faults` instead, `-- soak` lets events rain, `-- overhead`
//! measures what of a handoff is not its stream, and `-- ansible` sets nodes up by the role in `packaging/ansible`.
//! Two clusters serve all tests (`--test-threads 1`: one); how long a test took is said on stderr.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a test's own words")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]
#![allow(clippy::disallowed_methods, reason = "the environment and processes of tests; see spawn.rs")]

mod ansible;
mod audit;
mod cluster;
#[path = "../screens/compare.rs"]
mod compare;
mod fabric;
mod faults;
#[path = "../recipes/follow.rs"]
mod follow;
mod keeper;
#[path = "../screens/masks.rs"]
mod masks;
mod overhead;
mod plan_table;
mod pool;
#[path = "../recipes/mod.rs"]
mod recipes;
mod scheduler;
mod soak;
mod spawn;
mod standin_alone;
mod stories;
mod story;
mod tools;
mod world;
mod xml;

use libtest_mimic::{Arguments, Trial};
use std::process::ExitCode;
use std::sync::OnceLock;

/// Tests at once, each on a cluster of its own, where the command line does not say. Two halve the time on an idle machine,
/// and make a busy one miss deadlines.
const AT_ONCE: usize = 1;

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("node-keeper") {
        return keeper::run();
    }
    if let Err(why) = world::find() {
        eprintln!("pacemaker tests: {why}");
        return ExitCode::from(2);
    }
    // A world that was asked for and cannot run anything is no world in which all has passed.
    if let Some(why) = cannot_run().filter(|_| !world::world().is_this_machine()) {
        eprintln!("pacemaker tests: nothing can run in that world: {why}");
        return ExitCode::from(2);
    }
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let Some((first, rest)) = words.split_first()
        && let Some(run) = match first.as_str() {
            "faults" => Some(faults::run as fn(&[String]) -> ExitCode),
            "soak" => Some(soak::run as fn(&[String]) -> ExitCode),
            "overhead" => Some(overhead::run as fn(&[String]) -> ExitCode),
            "ansible" => Some(ansible::run as fn(&[String]) -> ExitCode),
            _ => None,
        }
    {
        return run(rest);
    }
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(arguments.test_threads.unwrap_or(AT_ONCE));
    let mut trials: Vec<Trial> = vec![];
    if world::world().is_this_machine() {
        trials.extend(standin_alone::trials());
    }
    trials.extend(plan_table::trials());
    trials.extend(tools::trials());
    trials.extend(overhead::trials());
    trials.extend(stories::trials());
    let conclusion = libtest_mimic::run(&arguments, trials);
    pool::power_off_all();
    conclusion.exit_code()
}

/// Marks a trial as ignored where it cannot run.
fn skip(trial: Trial, needs_agent: bool) -> Trial {
    static WHY: OnceLock<Option<String>> = OnceLock::new();
    static NO_AGENT: OnceLock<Option<String>> = OnceLock::new();
    let why = WHY.get_or_init(|| say(cannot_run()));
    let no_agent = needs_agent && NO_AGENT.get_or_init(|| say(cluster::agent_missing())).is_some();
    trial.with_ignored_flag(why.is_some() || no_agent)
}

/// Why nothing that needs the agent can run here.
fn skip_reason() -> Option<String> {
    cannot_run().or_else(cluster::agent_missing)
}

fn say(reason: Option<String>) -> Option<String> {
    if let Some(reason) = &reason {
        eprintln!("pacemaker tests: ignored, {reason}");
    }
    reason
}

/// Root and the commands of `tests/packages/check` are needed.
fn cannot_run() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("not root: nodes are made of namespaces and mounts".into());
    }
    let missing = world::world().missing();
    (!missing.is_empty()).then(|| format!("missing commands: {} (tests/need check)", missing.join(" ")))
}
