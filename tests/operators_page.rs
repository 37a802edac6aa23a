//! The catalogue of messages, `doc/messages.txt`, against the code: every text that the agent logs or gives as a reason has exactly one
//! entry there, every entry is said by the code, and what is made from the catalogue is as it would be made now.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../man/messages.rs"]
mod messages;
#[path = "../man/shared.rs"]
#[allow(dead_code, reason = "the makers of the pages use the rest")]
mod shared;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use xen_handoff::messages::{Catalogue, Id};

/// What these say is answered to whoever typed the command, and has no place in a log.
const TYPED: [&str; 3] = ["src/cli.rs", "src/main.rs", "src/messages/"];

/// Where every text of some words is a reason or a line of the log, however it gets there.
const REASONS: [&str; 12] = [
    "src/agent/",
    "src/handoff/evidence.rs",
    "src/keeper/guard.rs",
    "src/keeper/keep.rs",
    "src/node/devices.rs",
    "src/node/memory/share.rs",
    "src/node/shutdown.rs",
    "src/node/standing.rs",
    "src/peer/inquiry.rs",
    "src/serve/",
    "src/transfer/settle.rs",
    "src/worker/",
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
        // What stands in for another part in unit tests says nothing to anybody.
        if TYPED.iter().any(|typed| file.starts_with(typed)) || file.ends_with("/fake.rs") {
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

/// The text without its values, and without the fields that stand before it: as the catalogue has it.
fn words(text: &str) -> String {
    let text = text.replace("{{", "\u{1}").replace("}}", "\u{2}");
    let mut words = String::new();
    let mut rest = text.as_str();
    while let Some((before, value)) = rest.split_once('{') {
        words += before;
        words += "{}";
        rest = value.split_once('}').map_or("", |(_, after)| after);
    }
    words += rest;
    let mut words = words.replace('\u{1}', "{").replace('\u{2}', "}");
    while let Some((field, after)) = words.split_once(' ') {
        let is_field = ["domain", "node", "resource", "domid", "from", "to", "offer"]
            .iter()
            .any(|name| field == format!("{name}={{}}"));
        if !is_field {
            break;
        }
        words = after.to_owned();
    }
    words.trim().to_owned()
}

/// Whether it says something: two words of the same piece.
fn is_said(words: &str) -> bool {
    let letters = |word: &str| word.chars().any(char::is_alphanumeric);
    words.split("{}").any(|piece| piece.split_whitespace().filter(|word| letters(word)).count() > 1)
}

/// How often the catalogue has these words.
fn entries(catalogue: &Catalogue) -> BTreeMap<&str, usize> {
    let mut all = BTreeMap::new();
    let says = catalogue.entries().flat_map(|entry| &entry.says).chain(&catalogue.parts);
    says.for_each(|says| *all.entry(says.as_str()).or_default() += 1);
    all
}

/// What is seen and has no entry, or several.
fn unexplained(texts: &[Text], catalogue: &Catalogue) -> Vec<String> {
    let entries = entries(catalogue);
    let seen = texts.iter().filter(|text| text.is_seen);
    let seen = seen.map(|text| (text, words(&text.text))).filter(|(_, words)| is_said(words));
    seen.filter(|(_, words)| entries.get(words.as_str()) != Some(&1))
        .map(|(text, words)| {
            format!("{}: {words} ({} entries)", text.file, entries.get(words.as_str()).unwrap_or(&0))
        })
        .collect()
}

#[test]
fn all_that_the_agent_logs_or_gives_as_a_reason_has_exactly_one_entry_in_the_catalogue() {
    let texts = texts();
    assert!(texts.iter().filter(|text| text.is_seen).count() > 350);
    let missing = unexplained(&texts, Catalogue::own());
    assert!(missing.is_empty(), "not in doc/messages.txt:\n{}", missing.join("\n"));
}

#[test]
fn every_entry_of_the_catalogue_is_one_that_the_code_says() {
    let said: BTreeSet<String> = texts().iter().map(|text| words(&text.text)).collect();
    let entries = entries(Catalogue::own());
    assert!(entries.len() > 350);
    let unsaid: Vec<&&str> = entries.keys().filter(|says| !said.contains(**says)).collect();
    assert!(unsaid.is_empty(), "nobody says {unsaid:#?}");
}

#[test]
fn every_text_of_the_catalogue_is_found_again_as_its_own_entry_whatever_its_values_are() {
    let catalogue = Catalogue::own();
    let mut wrong = Vec::new();
    for entry in catalogue.entries() {
        for says in &entry.says {
            for value in ["n2", "10 %", "/run/xen-handoff/x0 (5)"] {
                let line = format!("resource=x0 domain=x0 node=n1 {}", says.replace("{}", value));
                let found: Option<Id> = catalogue.find(&line).map(|found| found.id);
                if found != Some(entry.id) {
                    wrong.push(format!("{} is found as {found:?}: {line}", entry.id));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_page_and_the_journals_catalogue_are_as_they_are_made_from_the_catalogue() {
    let made = messages::page(
        Catalogue::own(),
        include_str!("../man/xen-handoff-handoff.7.head"),
        include_str!("../man/xen-handoff-handoff.7.tail"),
    );
    assert!(made.unwrap() == include_str!("../man/xen-handoff-handoff.7"), "make man");
    let made = messages::journal(Catalogue::own()).unwrap();
    assert!(made == include_str!("../packaging/systemd/xen-handoff.catalog"), "make man");
}

/// As journald itself reads it.
#[test]
fn journald_takes_its_catalogue_and_explains_a_message_by_its_id() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("usr/lib/systemd/catalog");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::create_dir_all(root.path().join("var/lib/systemd/catalog")).unwrap();
    std::fs::write(
        folder.join("xen-handoff.catalog"),
        include_str!("../packaging/systemd/xen-handoff.catalog"),
    )
    .unwrap();
    let journalctl = |what: &str, more: &[&str]| {
        #[allow(clippy::disallowed_methods, reason = "a tool of this host, as it is")]
        let output = std::process::Command::new("journalctl")
            .arg(format!("--root={}", root.path().display()))
            .arg(what)
            .args(more)
            .output()
            .ok()?;
        Some((output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned()))
    };
    let Some((true, _)) = journalctl("--update-catalog", &[]) else {
        return eprintln!("skipped: no journalctl that makes a catalogue");
    };
    let (_, listed) = journalctl("--list-catalog", &[]).unwrap();
    assert_eq!(listed.lines().count(), Catalogue::own().entries().count(), "{listed}");
    let id: Id = "XH0101".parse().unwrap();
    let (_, one) = journalctl("--dump-catalog", &[&id.for_journal()]).unwrap();
    assert!(one.contains("Subject: no handoff: ...") && one.contains("\nWhat to do: "), "{one}");
}

#[test]
fn a_new_reason_would_be_missed_in_the_catalogue() {
    let source =
        "// log::warn!(\"no\")\nlog::warn!(\"one \\\n   {c} \\\"two\\\"\", '\"'); f('\\'', \"three\")";
    let found: Vec<(String, String)> = literals(source);
    assert_eq!(found[0], ("log::warn!(".to_owned(), "one {c} \"two\"".to_owned()));
    assert_eq!(found[1].1, "three");
    assert_eq!(found.len(), 2);
    let texts: Vec<Text> =
        ["{node} is too warm to take it: {why}", "domain={} node={} no handoff: {refusal}", "{a}: {b:?}"]
            .map(|text| Text { file: "new".to_owned(), text: text.to_owned(), is_seen: true })
            .into();
    assert_eq!(unexplained(&texts, Catalogue::own()), ["new: {} is too warm to take it: {} (0 entries)"]);
}
