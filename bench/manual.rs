//! Writes what is made from the command line of `xen-handoff-bench`: `man/xen-handoff-bench.8` and the shells' completions. The
//! results are committed; `make man` refreshes them, and `make lint` fails if they differ. So are the pictures in `doc/plots` of the
//! ways to move a guest and of the ramps, from the tables in `doc/results.md`.

#[path = "../man/shared.rs"]
mod shared;

use std::fmt::Write;
use std::path::Path;

use anyhow::Context;
use clap::{Command, CommandFactory};
use shared::{DATE, completions, help, plain, value};
use xen_handoff_bench::cli::Cli;
use xen_handoff_bench::{memory_figures, ways};

fn main() -> anyhow::Result<()> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    std::fs::write(top.join("man/xen-handoff-bench.8"), page()?)?;
    let results = std::fs::read_to_string(top.join("doc/results.md"))?;
    std::fs::write(top.join("doc/plots/ways.svg"), ways::picture(&ways::read(&results)))?;
    for (file, name) in memory_figures::RAMPS {
        let ramp =
            memory_figures::read(&results, name).with_context(|| format!("doc/results.md has no {name}"))?;
        std::fs::write(top.join(format!("doc/plots/{file}.svg")), ramp.picture())?;
    }
    completions(&top, "xen-handoff-bench")
}

fn page() -> anyhow::Result<String> {
    let command = Cli::command();
    let mut text = String::new();
    writeln!(text, ".\\\" Made by bench/manual.rs from the command line's definition. Do not edit.")?;
    writeln!(
        text,
        ".TH XEN\\-HANDOFF\\-BENCH 8 \"{DATE}\" \"xen\\-handoff {}\" \"System administration\"",
        xen_handoff::VERSION
    )?;
    let about = command.get_about().unwrap_or_default().to_string();
    writeln!(text, ".SH NAME\nxen\\-handoff\\-bench \\- {}", plain(&about))?;
    writeln!(text, ".SH SYNOPSIS\n.B xen\\-handoff\\-bench\n\\fISUBCOMMAND\\fR [\\fIOPTIONS\\fR]")?;
    writeln!(
        text,
        ".SH DESCRIPTION\nMeasures a domain of one's own cluster, under whatever agent. It needs no root (where\n.BR ping (8)\n\
         does not) and no agent on the machine that it runs on."
    )?;
    writeln!(text, ".SH SUBCOMMANDS")?;
    for subcommand in command.get_subcommands() {
        text.push_str(&section(subcommand)?);
    }
    text.push_str(include_str!("../man/xen-handoff-bench.8.tail"));
    Ok(text)
}

/// A subcommand, its arguments and its options.
fn section(subcommand: &Command) -> anyhow::Result<String> {
    let mut line = subcommand.get_name().to_owned();
    for argument in subcommand.get_positionals() {
        let word = argument.get_id().as_str().to_uppercase();
        line += &if argument.is_last_set() { format!(" -- {word}") } else { format!(" {word}") };
    }
    let mut text = String::new();
    let about = subcommand.get_about().unwrap_or_default().to_string();
    writeln!(text, ".SS \"{}\"\n{}.", plain(&line), plain(&about))?;
    for argument in subcommand.get_opts().filter(|argument| argument.get_long().is_some()) {
        let long = plain(argument.get_long().unwrap_or_default());
        writeln!(text, ".TP\n\\fB\\-\\-{long}\\fR{}\n{}", value(argument), plain(&help(argument)))?;
    }
    Ok(text)
}
