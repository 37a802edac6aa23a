//! `man/xen-handoff-handoff.7` against the code: all that the agent logs or gives as a reason is on the page, and nothing is on the
//! page that nobody says.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

/// What these say is answered to whoever typed the command, and has no place in a log.
const TYPED: [&str; 4] = ["src/bench/", "src/cli.rs", "src/main.rs", "src/toolstack/fake.rs"];

/// Where every text of some words is a reason or a line of the log, however it gets there.
const REASONS: [&str; 8] = [
    "src/agent/",
    "src/handoff/evidence.rs",
    "src/memory/share.rs",
    "src/tool/guard.rs",
    "src/tool/keep.rs",
    "src/transfer/settle.rs",
    "src/transport/forced_command.rs",
    "src/transport/inquiry.rs",
];

/// What makes a text one, wherever it stands.
const SAID: [&str; 4] = ["log::info!(", "log::warn!(", "log::error!(", "#[error("];

/// A text in the code.
#[derive(Debug)]
struct Text {
    file: String,
    text: String,
    /// Whether an operator may come to see it, in the log or as an exit reason.
    is_seen: bool,
}

/// Every file of Rust below `folder`, by its path from the top.
fn files(folder: &str, found: &mut Vec<PathBuf>) {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    for entry in std::fs::read_dir(top.join(folder)).unwrap() {
        let path = entry.unwrap().path();
        let name = path.strip_prefix(top).unwrap().to_owned();
        if path.is_dir() {
            files(name.to_str().unwrap(), found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(name);
        }
    }
}

/// The string literals of this source with what stands before each, comments left out.
fn literals(source: &str) -> Vec<(String, String)> {
    let (mut found, mut before, mut rest) = (Vec::new(), String::new(), source);
    while let Some(c) = rest.chars().next() {
        let raw = before.ends_with('r') && !before.ends_with("or") || before.ends_with("r#");
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if c == '"' {
            let text = rest.get(1..).unwrap();
            let escaped =
                |at: usize| !raw && (text[..at].len() - text[..at].trim_end_matches('\\').len()) % 2 == 1;
            let end = text.match_indices('"').map(|(at, _)| at).find(|at| !escaped(*at)).unwrap();
            found.push((before.clone(), joined(&text[..end])));
            end + 2
        } else if let Some(escaped) = rest.strip_prefix("'\\") {
            let character = escaped.chars().next().unwrap().len_utf8();
            let closing = escaped[character..].find('\'').unwrap();
            3 + character + closing
        } else if c == '\'' && rest.chars().nth(2) == Some('\'') {
            c.len_utf8() * 2 + rest.chars().nth(1).unwrap().len_utf8()
        } else {
            if !c.is_whitespace() {
                before.push(c);
            }
            c.len_utf8()
        };
        rest = &rest[length..];
    }
    found
}

/// A literal that is broken over lines, as it will be read.
fn joined(text: &str) -> String {
    let mut lines = text.split("\\\n");
    let first = lines.next().unwrap_or_default().to_owned();
    lines.fold(first, |all, line| all + line.trim_start()).replace("\\\"", "\"")
}

/// All texts of the code but those of its tests.
fn texts() -> Vec<Text> {
    let mut sources = Vec::new();
    files("src", &mut sources);
    let mut all = Vec::new();
    for path in sources {
        let file = path.to_str().unwrap().to_owned();
        if TYPED.iter().any(|typed| file.starts_with(typed)) {
            continue;
        }
        let source = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(&file)).unwrap();
        let own = source.split("#[cfg(test)]\nmod tests").next().unwrap();
        let a_reason = REASONS.iter().any(|place| file.starts_with(place));
        let a_tool = file.starts_with("src/tool/") && !a_reason;
        for (before, text) in literals(own) {
            let said = a_reason || SAID.iter().any(|how| before.ends_with(how));
            let is_seen = said && !a_tool && !before.ends_with("log::debug!(");
            all.push(Text { file: file.clone(), text, is_seen });
        }
    }
    all
}

/// The messages that the page explains.
fn messages() -> Vec<String> {
    let page = include_str!("../man/xen-handoff-handoff.7");
    let (_, from) = page.split_once(".SH WHY A STOP").unwrap();
    let (part, _) = from.split_once(".SH WHAT IS ALWAYS").unwrap();
    let lines: Vec<&str> = part.lines().collect();
    lines
        .windows(2)
        .filter(|pair| [".TP", ".TQ"].contains(&pair[0]))
        .filter_map(|pair| pair[1].strip_prefix(".B ").or(pair[1].strip_prefix(".BR ")))
        .map(|message| message.strip_prefix('"').map_or(message, |rest| rest.split('"').next().unwrap()))
        .map(|message| message.replace("\\-", "-").replace("\\(dq", "\""))
        .collect()
}

/// The longest part of a text that is always the same: no value, and no more than one clause.
fn clause(text: &str) -> &str {
    let mut rest = text;
    let mut longest = "";
    while !rest.is_empty() {
        let end =
            ["{", "; ", ": ", " ("].iter().filter_map(|mark| rest.find(mark)).min().unwrap_or(rest.len());
        let piece = rest[..end].trim_matches([' ', ',', ':', '(', ')', ';']);
        let piece = piece.trim_start_matches("domain=").trim_start_matches("node=").trim();
        if piece.len() > longest.len() {
            longest = piece;
        }
        let after = if rest[end..].starts_with('{') {
            rest[end..].find('}').map_or(rest.len(), |at| end + at + 1)
        } else {
            rest.len().min(end + 2)
        };
        rest = &rest[after..];
    }
    longest
}

/// Whether one of the messages is this text, or the better part of its longest clause.
fn is_explained(text: &str, messages: &[String]) -> bool {
    let clause = clause(text);
    let one_word = !clause.contains(' ');
    one_word
        || messages.iter().any(|message| {
            message.contains(clause) || clause.contains(message.as_str()) && message.len() * 2 >= clause.len()
        })
}

#[test]
fn all_that_the_agent_logs_or_gives_as_a_reason_is_on_the_operators_page() {
    let (texts, messages) = (texts(), messages());
    let seen: Vec<&Text> = texts.iter().filter(|text| text.is_seen).collect();
    assert!(seen.len() > 250, "{} texts", seen.len());
    let missing: Vec<String> = seen
        .iter()
        .filter(|text| !is_explained(&text.text, &messages))
        .map(|text| format!("{}: {}", text.file, text.text))
        .collect();
    assert!(missing.is_empty(), "not on the page:\n{}", missing.join("\n"));
}

#[test]
fn every_message_of_the_operators_page_is_one_that_the_code_says() {
    let (texts, messages) = (texts(), messages());
    assert!(messages.len() > 200, "{messages:?}");
    let unsaid: Vec<_> = messages
        .iter()
        .filter(|message| !texts.iter().any(|text| text.text.contains(message.as_str())))
        .collect();
    assert!(unsaid.is_empty(), "nobody says {unsaid:?}");
}

#[test]
fn a_new_reason_would_be_missed_on_the_page() {
    let messages = messages();
    for text in
        ["{node} is too warm to take it: {why}; nothing was changed", "domain={} the moon stands in the way"]
    {
        assert!(!is_explained(text, &messages), "{text}");
    }
    let source =
        "// log::warn!(\"no\")\nlog::warn!(\"one \\\n   {c} \\\"two\\\"\", '\"'); f('\\'', \"three\")";
    let found: Vec<(String, String)> = literals(source);
    assert_eq!(found[0], ("log::warn!(".to_owned(), "one {c} \"two\"".to_owned()));
    assert_eq!(found[1].1, "three");
    assert_eq!(found.len(), 2);
}
