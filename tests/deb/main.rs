//! Debian's packages of `make deb`, as an administrator meets them: read, installed by apt into clean roots of Debian's suites, upgraded,
//! removed, purged, built again elsewhere and in a clean root, without network.
//!
//! `make deb-check` makes them first. Needs root (chroots, mounts of its own) and the commands of `tests/packages/deb-check`. What
//! cannot be tried is skipped with a reason. The last line counts.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a test's own words")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]
#![allow(clippy::disallowed_methods, reason = "the environment and processes of tests; see command.rs")]

#[path = "../rpm/command.rs"]
mod command;
mod content;
mod install;
mod packages;
mod source;
#[path = "../rpm/standin.rs"]
mod standin;
#[path = "../rpm/story.rs"]
mod story;
mod system;

use std::process::ExitCode;

use libtest_mimic::Arguments;

use crate::story::{Story, tell};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let why_not = cannot_run();
    let unasked = why_not.is_some() || arguments.list;
    let stories = [content::stories(), install::stories(unasked), source::stories(unasked)].concat();
    tell("deb-check", arguments, why_not.as_deref(), stories)
}

/// Why nothing at all can be tried.
fn cannot_run() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("not root: apt and dpkg are run in root folders of their own".into());
    }
    packages::first().is_none().then(|| "there are no packages in target/deb: make deb".into())
}
