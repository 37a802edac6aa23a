//! What the two generators of manual pages share, `man/generate.rs` and `bench/manual.rs`: text for roff,
//! what is said of an option, the shells' completions.

use std::path::Path;

use clap::Arg;
use clap_complete::env::Shells;
use xen_handoff::completion::VARIABLE;

/// The date on the pages: the release's, so that the same source makes the same page.
pub(crate) const DATE: &str = "2026-11-22";

/// Text for roff: no character that begins a request or an escape.
pub(crate) fn plain(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    text.lines()
        .map(|line| if line.starts_with(['.', '\'']) { format!("\\&{line}") } else { line.to_owned() })
        .collect::<Vec<_>>()
        .join("\n")
}

/// What stands for the value of an option, behind a space; nothing for a switch.
pub(crate) fn value(argument: &Arg) -> String {
    match argument.get_value_names() {
        _ if !argument.get_action().takes_values() => String::new(),
        Some([name]) => format!(" \\fI{name}\\fR"),
        _ => format!(" \\fI{}\\fR", argument.get_id().as_str().to_uppercase()),
    }
}

/// What an argument is for, and what holds without it.
pub(crate) fn help(argument: &Arg) -> String {
    let help = argument.get_help().unwrap_or_default().to_string();
    let defaults: Vec<String> =
        argument.get_default_values().iter().map(|value| value.to_string_lossy().into_owned()).collect();
    if argument.get_action().takes_values() && !defaults.concat().is_empty() {
        return format!("{help} [default: {}]", defaults.join(" "));
    }
    help
}

/// Writes the scripts by which shells ask a command what may stand next, into `packaging/completion` of the
/// tree at `top`, each under the name by which its shell finds it.
///
/// # Errors
/// If a file cannot be written.
pub(crate) fn completions(top: &Path, command: &str) -> anyhow::Result<()> {
    for shell in Shells::builtins().iter() {
        let (file, more) = match shell.name() {
            "bash" => (command.to_owned(), String::new()),
            // It is read when its function is called for the first time, and then does what that is to do.
            "zsh" => (
                format!("_{command}"),
                format!("[ \"$funcstack[1]\" = _{command} ] && $_comps[{command}] \"$@\"\n"),
            ),
            "fish" => (format!("{command}.fish"), String::new()),
            _ => continue,
        };
        let mut script = Vec::new();
        shell.write_registration(VARIABLE, command, command, command, &mut script)?;
        let folder = top.join("packaging/completion").join(shell.name());
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join(file), [script, more.into_bytes()].concat())?;
    }
    Ok(())
}
