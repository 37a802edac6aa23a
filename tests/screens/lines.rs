//! The command lines on the pages, as the program's own command line reads them.

use std::collections::BTreeSet;

use clap::Parser;
use clap::error::ErrorKind;
use xen_handoff::cli::Cli;

use crate::page::{Page, prompt, unroff};

/// What begins one.
const OURS: &str = "xen-handoff ";

/// Those in the boxes of a page, which are typed as they stand there.
fn in_boxes(page: &Page) -> Vec<String> {
    let lines = page.boxes.iter().flatten();
    let typed = lines.map(|line| prompt(line).map_or(line.as_str(), |(_, command)| command).to_owned());
    typed.filter(|line| line.starts_with(OURS)).collect()
}

/// Those in the text: code spans, and what is bold in a manual page.
fn in_text(page: &Page) -> Vec<String> {
    let spans: Vec<String> = if page.file.starts_with("man/") {
        page.text.lines().flat_map(bold).map(|text| unroff(&text)).collect()
    } else {
        let outside: Vec<&str> = page.text.split("```").step_by(2).collect();
        outside.iter().flat_map(|text| text.split('`').skip(1).step_by(2)).map(str::to_owned).collect()
    };
    let flat = spans.iter().map(|span| span.split_whitespace().collect::<Vec<_>>().join(" "));
    flat.filter(|span| span.starts_with(OURS)).collect()
}

/// What a line of a manual page has in bold.
fn bold(line: &str) -> Vec<String> {
    let within = line.split("\\fB").skip(1).filter_map(|rest| rest.split("\\fR").next());
    of_request(line).into_iter().chain(within.map(str::to_owned)).collect()
}

/// What a request of the macros has in bold.
fn of_request(line: &str) -> Option<String> {
    let (request, rest) = line.split_once(' ')?;
    match request {
        // What is quoted there is a message.
        ".B" => (!rest.starts_with('"')).then(|| rest.to_owned()),
        // What stands behind it in another face is a part of the word, or the sentence's.
        ".BR" => Some(rest.strip_prefix('"')?.split('"').next()?.to_owned()),
        ".BI" => {
            let mut pieces = rest.split('"');
            Some(pieces.nth(1)?.to_owned() + pieces.next()?.trim())
        }
        _ => None,
    }
}

/// The words up to where the shell takes over; what stands for more words of the same kind is left out.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut quoted: Option<String> = None;
    for word in line.split(' ').filter(|word| !word.is_empty() && *word != "...") {
        match &mut quoted {
            Some(text) => {
                *text += &format!(" {word}");
                if word.ends_with('"') {
                    words.extend(quoted.take());
                }
            }
            None if word.starts_with(['|', '>', '<', ';', '&', '#']) => break,
            None if word.starts_with('"') && !word.ends_with('"') => quoted = Some(word.to_owned()),
            None => {
                words.push(word.trim_end_matches([';', ',']).to_owned());
                if word.ends_with(';') {
                    break;
                }
            }
        }
    }
    words
}

/// What the command line says against it. In a text a command may stand without what it needs: it is a name
/// there.
fn refusal(line: &str, is_a_name: bool) -> Option<String> {
    match Cli::try_parse_from(words(line)) {
        Ok(_) => None,
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => None,
        Err(error) if is_a_name && error.kind() == ErrorKind::MissingRequiredArgument => None,
        Err(error) => Some(error.to_string()),
    }
}

/// Those of the examples in each subcommand's long help.
///
/// # Errors
/// Those that the command line does not take.
pub(crate) fn of_help_are_taken() -> Result<(), String> {
    let mut wrong = String::new();
    for mut subcommand in Cli::for_people().get_subcommands().cloned() {
        let help = subcommand.render_long_help().to_string();
        let examples = help.split_once("\nExamples:\n").map(|(_, examples)| examples).unwrap_or_default();
        let ours = format!("{OURS}{} ", subcommand.get_name());
        let typed: Vec<&str> =
            examples.lines().filter_map(|line| line.find(OURS).map(|at| &line[at..])).collect();
        if !typed.iter().any(|line| format!("{line} ").starts_with(&ours)) {
            wrong += &format!("{ours}--help has no example of it\n");
        }
        for line in typed {
            wrong.extend(refusal(line, false).map(|why| format!("{ours}--help: {line}: {why}\n")));
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong) }
}

/// How many different ones there are.
///
/// # Errors
/// Those that the command line does not take.
pub(crate) fn all_are_taken(pages: &[Page]) -> Result<usize, String> {
    let mut taken = BTreeSet::new();
    let mut refused = String::new();
    for page in pages {
        let lines = in_boxes(page).into_iter().map(|line| (line, false));
        for (line, is_a_name) in lines.chain(in_text(page).into_iter().map(|line| (line, true))) {
            match refusal(&line, is_a_name) {
                Some(why) => refused += &format!("{}: {line}: {why}\n", page.file),
                None => drop(taken.insert(line)),
            }
        }
    }
    if refused.is_empty() { Ok(taken.len()) } else { Err(refused) }
}
