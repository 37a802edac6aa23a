//! What a shell is told that asks what may stand next on a command line.
//!
//! The scripts of `packaging/completion` ask by `xen-handoff -- WORDS`, with [`VARIABLE`] saying which shell
//! they are of. No command begins so, and nothing else looks at the variable: no action of the cluster, and
//! no process of our own, can be taken for a question.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Command;
use clap_complete::CompleteEnv;

/// Names the shell that asks.
pub const VARIABLE: &str = "XEN_HANDOFF_COMPLETE";

/// Answers, if it is a shell that has given these words, the program's own name first. Whoever presses a key
/// in the middle of a line wants to see no error and no log.
pub fn answer(words: &[OsString], command: impl Fn() -> Command) -> Option<ExitCode> {
    if words.get(1)? != "--" {
        return None;
    }
    log::set_max_level(log::LevelFilter::Off);
    let begins_an_option = words.last()?.as_encoded_bytes().starts_with(b"-");
    let command = || if begins_an_option { command() } else { values_first(command()) };
    let shell = CompleteEnv::with_factory(command).var(VARIABLE);
    match shell.try_complete(words, std::env::current_dir().ok().as_deref()) {
        Ok(true) => Some(ExitCode::SUCCESS),
        Ok(false) => None,
        Err(_) => Some(ExitCode::FAILURE),
    }
}

/// Options only where no value may stand: a lone domain is completed at once then.
fn values_first(command: Command) -> Command {
    command
        .disable_help_flag(true)
        .disable_version_flag(true)
        .mut_args(|argument| if argument.is_positional() { argument } else { argument.hide(true) })
        .mut_subcommands(values_first)
}
