//! What is made from the catalogue of messages, `doc/messages.txt`: the operators' page and journald's catalogue.

use std::fmt::Write;

use xen_handoff::messages::{Catalogue, Entry, Level};

use crate::shared::{DATE, plain};

/// Text for roff, with what stands between backticks in bold.
fn rich(text: &str) -> String {
    let pieces: Vec<String> = text.split('`').map(plain).collect();
    let bold = |(nth, piece): (usize, &String)| {
        if nth % 2 == 1 { format!("\\fB{piece}\\fR") } else { piece.clone() }
    };
    pieces.iter().enumerate().map(bold).collect()
}

/// The words of a message, for people: dots for its values.
fn shown(says: &str) -> String {
    says.replace("{}", "...")
}

/// A heading of a list in bold.
fn tag(text: &str) -> String {
    format!(".B \"{}\"", plain(text).replace('"', "\\(dq"))
}

fn message(page: &mut String, entry: &Entry, common: [&str; 2]) -> std::fmt::Result {
    for (nth, says) in entry.says.iter().enumerate() {
        let (macro_name, id) =
            if nth == 0 { (".TP", format!("[{}] ", entry.id)) } else { (".TQ", String::new()) };
        writeln!(page, "{macro_name}\n{}", tag(&format!("{id}{}", shown(says))))?;
    }
    writeln!(page, "{}", rich(&entry.what))?;
    let [holds, to_do] = common;
    if entry.holds != holds {
        writeln!(page, "\\fINow:\\fR {}", rich(&entry.holds))?;
    }
    if entry.to_do != to_do {
        writeln!(page, "\\fIDo:\\fR {}", rich(&entry.to_do))?;
    }
    Ok(())
}

/// The operators' page, between what is written by hand.
///
/// # Errors
/// None: a text takes everything.
pub(crate) fn page(catalogue: &Catalogue, head: &str, tail: &str) -> anyhow::Result<String> {
    let mut page = String::new();
    writeln!(page, ".\\\" Made by man/messages.rs from doc/messages.txt. Do not edit.")?;
    writeln!(
        page,
        ".TH XEN\\-HANDOFF\\-HANDOFF 7 \"{DATE}\" \"xen\\-handoff {}\" \"OCF resource agents\"",
        xen_handoff::VERSION
    )?;
    page.push_str(head);
    for group in catalogue.groups.iter().filter(|group| !group.entries.is_empty()) {
        writeln!(page, ".SH {}", plain(&group.title))?;
        if !group.about.is_empty() {
            writeln!(page, "{}", rich(&group.about))?;
            writeln!(page, ".PP")?;
        }
        let common = format!("{} {}", group.holds, group.to_do);
        writeln!(page, "Where a message says nothing else: {}", rich(&common))?;
        for entry in &group.entries {
            message(&mut page, entry, [&group.holds, &group.to_do])?;
        }
    }
    page.push_str(tail);
    Ok(page)
}

/// The catalogue that `journalctl -x` reads.
///
/// # Errors
/// None: a text takes everything.
pub(crate) fn journal(catalogue: &Catalogue) -> anyhow::Result<String> {
    let mut text = String::new();
    writeln!(text, "# Made by man/messages.rs from doc/messages.txt. Do not edit.")?;
    for entry in catalogue.entries() {
        let subject = entry.says.first().map(|says| shown(says)).unwrap_or_default();
        writeln!(text, "\n-- {}", entry.id.for_journal())?;
        writeln!(text, "Subject: {subject}")?;
        writeln!(text, "Defined-By: xen-handoff")?;
        writeln!(text, "Support: man:xen-handoff-handoff(7)\n")?;
        let level = if entry.level == Level::Reason { "" } else { entry.level.word() };
        let level = if level.is_empty() { String::new() } else { format!(" ({level})") };
        let words = |text: &str| text.replace('`', "");
        for paragraph in [
            format!("{}{level}: {}", entry.id, words(&entry.what)),
            format!("Now: {}", words(&entry.holds)),
            format!("What to do: {}", words(&entry.to_do)),
        ] {
            wrapped(&mut text, &paragraph)?;
        }
    }
    Ok(text)
}

/// A paragraph, in lines that a terminal shows whole.
fn wrapped(text: &mut String, paragraph: &str) -> std::fmt::Result {
    const WIDTH: usize = 76;
    let mut line = String::new();
    for word in paragraph.split(' ') {
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > WIDTH {
            writeln!(text, "{line}")?;
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    writeln!(text, "{line}")
}
