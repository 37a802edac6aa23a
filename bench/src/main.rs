//! `xen-handoff-bench`: what a domain's users see while it moves.

use std::io::Write;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use xen_handoff::completion;
use xen_handoff::ocf::environment::Environment;
use xen_handoff_bench::cli::{Cli, Command};
use xen_handoff_bench::{memory, rtt};

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args_os().collect();
    if let Some(status) = completion::answer(&words, Cli::command) {
        return status;
    }
    // clap prints what is wrong with the command line, and chooses the exit status.
    let command = Cli::parse_from(words).command;
    let root = Environment::read().root;
    let done = match command {
        Command::Rtt(options) => rtt::run(&root, &options),
        Command::Memory(options) => memory::run(&root, &options),
        Command::Compare { results, plot, bars } => rtt::compare(&results, plot.as_deref(), bars.as_deref()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // stderr may be closed; then nobody reads it.
            let _ = writeln!(std::io::stderr(), "xen-handoff-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
