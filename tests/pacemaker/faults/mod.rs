//! `make faults`: every folder of `tests/faults` is a fault, planted under real Pacemaker and Corosync, with the real agent
//! on the stand-in toolstack. [`script`] is the language of their files.
//!
//! `cargo test --test pacemaker -- faults [WORD]` runs those whose name has the word. Where a folder has `expect-stock`,
//! the same events are played once more with `ocf:heartbeat:Xen`, as `stock::NAME`: what we are measured against.

mod play;
pub(crate) mod processes;
mod script;

use crate::pool::with_cluster;
use crate::{pool, skip};
use libtest_mimic::{Arguments, Trial};
use play::{Under, play};
use script::{Deed, Fault, Statement};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Faults at once, each on a cluster of its own. They mostly wait.
const AT_ONCE: usize = 2;

/// Runs what the words choose and ends with one line that counts.
pub(crate) fn run(words: &[String]) -> ExitCode {
    let program = "faults".to_owned();
    let mut arguments = Arguments::from_iter(std::iter::once(&program).chain(words));
    arguments.test_threads = Some(arguments.test_threads.unwrap_or(AT_ONCE));
    let conclusion = libtest_mimic::run(&arguments, trials());
    pool::power_off_all();
    println!(
        "faults: passed={} failed={} skipped={}",
        conclusion.num_passed, conclusion.num_failed, conclusion.num_ignored
    );
    conclusion.exit_code()
}

fn trials() -> Vec<Trial> {
    let faults: Vec<Fault> = folders().iter().flat_map(|folder| read(folder)).collect();
    let ours = faults.iter().map(|fault| trial(fault, Under::Ours));
    let stock =
        faults.iter().filter(|fault| fault.expect_stock.is_some()).map(|fault| trial(fault, Under::Stock));
    ours.chain(stock).collect()
}

fn trial(fault: &Fault, under: Under) -> Trial {
    let name = match under {
        Under::Ours => format!("fault::{}", fault.name),
        Under::Stock => format!("stock::{}", fault.name),
    };
    let why = cannot_be_planted(fault);
    if let Some(why) = why {
        eprintln!("{name}: skipped, {why}");
    }
    let (fault, named) = (fault.clone(), name.clone());
    let trial = Trial::test(name, move || with_cluster(&named, |cluster| play(cluster, &fault, under)));
    let trial = skip(trial, under == Under::Ours);
    if why.is_some() { trial.with_ignored_flag(true) } else { trial }
}

/// What this machine lacks for a fault, beside what all of them need.
fn cannot_be_planted(fault: &Fault) -> Option<&'static str> {
    let turns_clocks =
        fault.events.iter().any(|line| matches!(line.statement, Statement::Do(Deed::Clock { .. })));
    (turns_clocks && !play::can_turn_clocks())
        .then_some("no libfaketime or no patchelf here: a wall clock cannot be turned (tests/need faults)")
}

fn folders() -> Vec<PathBuf> {
    let all = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults");
    let mut found: Vec<PathBuf> = std::fs::read_dir(&all)
        .unwrap_or_else(|e| panic!("{}: {e}", all.display()))
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect();
    found.sort();
    found
}

fn read(folder: &Path) -> Vec<Fault> {
    let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let text = |file: &str| {
        let path = folder.join(file);
        std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    };
    assert!(!text("README.md").trim().is_empty(), "{name}: what must hold, and why?");
    let stock = std::fs::read_to_string(folder.join("expect-stock")).ok();
    script::read(&name, &text("events"), &text("expect"), stock.as_deref())
        .unwrap_or_else(|why| panic!("{why}"))
}
