//! The packages of `make rpm`, as an administrator meets them: read, installed, upgraded, downgraded, erased, resolved by dnf on
//! stand-ins of EL 7, 8 and 9, run on an old glibc, built again elsewhere and without network.
//!
//! `make rpm-check` makes them first. Needs root (rpm and dnf change their root folder) and the commands of
//! `tests/packages/rpm-check`. What cannot be tried is skipped with a reason. The last line counts.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a test's own words")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]
#![allow(clippy::disallowed_methods, reason = "the environment and processes of tests; see command.rs")]

mod command;
mod content;
mod install;
mod lint;
mod old_glibc;
mod packages;
#[path = "../recipes/mod.rs"]
#[allow(dead_code, reason = "shared with the tests that follow a whole recipe")]
mod recipes;
mod repositories;
mod source;
mod standin;
mod story;
mod system;

use std::process::ExitCode;

use libtest_mimic::Arguments;

use crate::story::{Story, tell};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let why_not = cannot_run();
    let mut stories =
        [lint::stories(), content::stories(), install::stories(), repositories::stories()].concat();
    stories.extend([source::stories(), old_glibc::stories(why_not.is_some() || arguments.list)].concat());
    tell("rpm-check", arguments, why_not.as_deref(), stories)
}

/// Why nothing at all can be tried.
fn cannot_run() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("not root: rpm and dnf change their root folder".into());
    }
    packages::first().is_none().then(|| "there are no packages in target/rpm: make rpm".into())
}
