//! `xen-handoff history`: the moves that began at this node.

use std::io::Write;

use crate::domain::DomainName;
use crate::host::Root;
use crate::transfer::moves::{self, Ending, Move, Why};
use crate::transfer::progress::Direction;

/// Prints the newest `last` of them, the oldest of these first.
///
/// # Errors
/// If the log cannot be read or stdout is closed.
pub fn run(root: &Root, domain: Option<&DomainName>, last: usize, json: bool) -> anyhow::Result<()> {
    let mut moves = moves::read(root)?;
    moves.retain(|entry| domain.is_none_or(|domain| entry.domain == *domain));
    let newest = &moves[moves.len().saturating_sub(last)..];
    let mut out = std::io::stdout();
    if json {
        for entry in newest {
            writeln!(out, "{}", serde_json::to_string(entry)?)?;
        }
        return Ok(());
    }
    if newest.is_empty() {
        return Ok(writeln!(out, "No move has begun at this node.")?);
    }
    writeln!(
        out,
        "{:<17} {:<20} {:<28} {:<10} {:<10} {:>7} {:>8} {:>7}  END",
        "UTC", "DOMAIN", "WAY", "", "WHY", "SECONDS", "MIB", "MIB/S"
    )?;
    for entry in newest {
        writeln!(out, "{}", line(entry))?;
    }
    Ok(())
}

fn line(entry: &Move) -> String {
    let way = format!("{} -> {}", entry.source, entry.target);
    let direction = match entry.direction {
        Direction::Outgoing => "outgoing",
        Direction::Incoming => "incoming",
    };
    let why = match entry.why {
        Why::Handoff => "handoff",
        Why::Migration => "migration",
    };
    let end = match entry.end {
        Ending::Moved => "moved".to_owned(),
        Ending::NotMoved => format!("not moved: {}", entry.said),
        Ending::Gone => "it ended by itself".to_owned(),
        Ending::Undecided => "undecided: see xen-handoff recover".to_owned(),
    };
    let rate = entry.flow.mib_per_second().map_or("-".to_owned(), |rate| format!("{rate:.0}"));
    format!(
        "{:<17} {:<20} {way:<28} {direction:<10} {why:<10} {:>5}.{} {:>8} {rate:>7}  {end}",
        entry.began_at.minute(),
        entry.domain.as_str(),
        entry.total_ms / 1000,
        entry.total_ms % 1000 / 100,
        entry.flow.bytes >> 20,
    )
}
