//! The manual page of each subcommand that people type: from clap's command, and from the tail of that name.

use std::fmt::Write;
use std::path::Path;

use anyhow::Context;
use clap::{Arg, Command};
use xen_handoff::cli::examples;

use crate::shared::{DATE, help, plain, value};

/// What a subcommand's page is called.
fn name(subcommand: &Command) -> String {
    format!("xen-handoff-{}", subcommand.get_name())
}

/// A line of the overview.
///
/// # Errors
/// None: a text takes everything.
pub(crate) fn entry(subcommand: &Command) -> anyhow::Result<String> {
    let about = subcommand.get_about().unwrap_or_default().to_string();
    Ok(format!(".TP\n.BR {} (8)\n{}.\n", plain(&name(subcommand)), plain(&about)))
}

/// The page of a subcommand.
///
/// # Errors
/// If it does not say what its exit status means, or has no tail.
pub(crate) fn page(top: &Path, subcommand: &Command) -> anyhow::Result<String> {
    let (name, called) = (name(subcommand), subcommand.get_name());
    let tail = std::fs::read_to_string(top.join(format!("man/{name}.8.tail"))).with_context(|| {
        format!("man/{name}.8.tail: each page has examples of its own, and says where to read on")
    })?;
    let about = subcommand.get_about().unwrap_or_default().to_string();
    let long = subcommand.get_long_about().unwrap_or_default().to_string();
    let (status, paragraphs): (Vec<&str>, Vec<&str>) =
        long.split("\n\n").partition(|paragraph| paragraph.starts_with(STATUS));
    let [status] = status[..] else { anyhow::bail!("{called} does not say what its exit status means") };
    let mut text = String::new();
    writeln!(text, ".\\\" Made by man/generate.rs from the command line's definition. Do not edit.")?;
    writeln!(
        text,
        ".TH {} 8 \"{DATE}\" \"xen\\-handoff {}\" \"System administration\"",
        plain(&name.to_uppercase()),
        xen_handoff::VERSION
    )?;
    writeln!(text, ".SH NAME\n{} \\- {}", plain(&name), plain(&about))?;
    writeln!(text, ".SH SYNOPSIS\n.B xen\\-handoff {}\n{}", plain(called), synopsis(subcommand))?;
    writeln!(text, ".SH DESCRIPTION")?;
    let ended = |paragraph: &&str| format!("{}.", plain(paragraph.trim_end_matches('.')));
    writeln!(text, "{}", paragraphs.iter().map(ended).collect::<Vec<_>>().join("\n.PP\n"))?;
    writeln!(text, ".SH OPTIONS")?;
    for argument in subcommand.get_positionals() {
        writeln!(text, ".TP\n{}\n{}", positional(argument), plain(&help(argument)))?;
    }
    for argument in subcommand.get_opts() {
        writeln!(text, ".TP\n{}{}\n{}", switches(argument, ", "), value(argument), plain(&help(argument)))?;
    }
    text.push_str(&exit_status(status)?);
    let (before, screens) =
        tail.split_once(EXAMPLES).with_context(|| format!("man/{name}.8.tail has no {EXAMPLES:?}"))?;
    text.push_str(before);
    text.push_str(EXAMPLES);
    for (typed, what) in examples::of(called) {
        writeln!(text, ".TP\n\\fB{}\\fR\n{}", plain(typed), plain(&sentence(what)))?;
    }
    Ok(text + ".PP\n" + screens)
}

/// The section that begins with the examples of the subcommand's help, and goes on with screens.
const EXAMPLES: &str = ".SH EXAMPLES\n";

/// With a full stop, where it does not ask.
fn sentence(text: &str) -> String {
    if text.ends_with('?') { text.to_owned() } else { format!("{text}.") }
}

/// What begins the paragraph about it.
const STATUS: &str = "Exit status ";

/// The section of `Exit status 0: ...; 1: ... . More.`
fn exit_status(paragraph: &str) -> anyhow::Result<String> {
    let said = paragraph.trim_start_matches(STATUS);
    let (each, more) = said.split_once(". ").unwrap_or((said.trim_end_matches('.'), ""));
    let mut meanings: Vec<(&str, String)> = Vec::new();
    for part in each.split("; ") {
        match (part.split_once(": "), meanings.last_mut()) {
            (Some((code, meaning)), _) if code.parse::<u8>().is_ok() => {
                meanings.push((code, meaning.to_owned()));
            }
            (_, Some((_, meaning))) => write!(meaning, "; {part}")?,
            (_, None) => anyhow::bail!("no exit status begins {paragraph:?}"),
        }
    }
    meanings.push(("2", "the command line is wrong".to_owned()));
    meanings.sort();
    let mut text = ".SH EXIT STATUS\n".to_owned();
    for (code, meaning) in meanings {
        writeln!(text, ".TP\n.B {code}\n{}.", plain(&meaning))?;
    }
    if !more.is_empty() {
        writeln!(text, ".PP\n{}.", plain(more.trim_end_matches('.')))?;
    }
    Ok(text)
}

/// How an option is typed, short and long.
fn switches(argument: &Arg, between: &str) -> String {
    let short = argument.get_short().map(|letter| format!("\\fB\\-{letter}\\fR"));
    let long = argument.get_long().map(|word| format!("\\fB\\-\\-{}\\fR", plain(word)));
    short.into_iter().chain(long).collect::<Vec<_>>().join(between)
}

/// An argument that no option stands before.
fn positional(argument: &Arg) -> String {
    let word = match argument.get_value_names() {
        Some([name]) => name.to_string(),
        _ => argument.get_id().as_str().to_uppercase(),
    };
    let several = argument.get_num_args().is_some_and(|range| range.max_values() > 1);
    format!("\\fI{word}\\fR{}", if several { " ..." } else { "" })
}

/// All that may stand behind the subcommand.
fn synopsis(subcommand: &Command) -> String {
    let option =
        |argument: &Arg| format!("[{}{}]", switches(argument, "|"), value(argument).replace(' ', "\\ "));
    let word = |argument: &Arg| {
        let word = positional(argument).replace(' ', "\\ ");
        if argument.is_required_set() { word } else { format!("[{word}]") }
    };
    let options = subcommand.get_opts().map(option);
    options.chain(subcommand.get_positionals().map(word)).collect::<Vec<_>>().join("\n")
}
