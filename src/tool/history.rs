//! `xen-handoff history`: the moves that began at this node.

use std::collections::BTreeMap;
use std::io::Write;

use crate::domain::DomainName;
use crate::host::Root;
use crate::transfer::moves::{self, Ending, Move, Why};

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
        "{:<17} {:<20} {:<28} {:<10} {:<10} {:>7} {:>8} {:>7} {:>6}  END",
        "UTC", "DOMAIN", "WAY", "", "WHY", "SECONDS", "MIB", "MIB/S", "ROUNDS"
    )?;
    for entry in newest {
        writeln!(out, "{}", line(entry))?;
    }
    Ok(())
}

/// Prints how many there were, by what they were, and what the last one of each domain took, in Prometheus' text format.
///
/// # Errors
/// As [`run`].
pub fn metrics(root: &Root, domain: Option<&DomainName>) -> anyhow::Result<()> {
    let mut moves = moves::read(root)?;
    moves.retain(|entry| domain.is_none_or(|domain| entry.domain == *domain));
    Ok(write!(std::io::stdout(), "{}", counted(&moves))?)
}

fn counted(moves: &[Move]) -> String {
    let mut totals: BTreeMap<String, u64> = BTreeMap::new();
    let mut seconds: BTreeMap<String, String> = BTreeMap::new();
    for entry in moves {
        let (direction, why, end) = words(entry);
        let domain = &entry.domain;
        let labels = format!("domain=\"{domain}\",direction=\"{direction}\",why=\"{why}\",end=\"{end}\"");
        *totals.entry(labels).or_default() += 1;
        let took = format!("{}.{:03}", entry.total_ms / 1000, entry.total_ms % 1000);
        seconds.insert(format!("domain=\"{domain}\",direction=\"{direction}\""), took);
    }
    let mut text = String::from(
        "# HELP xen_handoff_moves_total Moves that began at this node and are in its log.\n\
         # TYPE xen_handoff_moves_total gauge\n",
    );
    text.extend(
        totals.iter().map(|(labels, total)| format!("xen_handoff_moves_total{{{labels}}} {total}\n")),
    );
    text.push_str(
        "# HELP xen_handoff_last_move_seconds What the last move of the domain took at this node.\n\
         # TYPE xen_handoff_last_move_seconds gauge\n",
    );
    text.extend(
        seconds.iter().map(|(labels, took)| format!("xen_handoff_last_move_seconds{{{labels}}} {took}\n")),
    );
    text
}

/// Its direction, what it was for, and its end, in one word each.
fn words(entry: &Move) -> (&'static str, &'static str, &'static str) {
    let why = match entry.why {
        Why::Handoff => "handoff",
        Why::Migration => "migration",
    };
    let end = match entry.end {
        Ending::Moved => "moved",
        Ending::NotMoved => "not moved",
        Ending::Gone => "gone",
        Ending::Undecided => "undecided",
    };
    (entry.direction.word(), why, end)
}

fn line(entry: &Move) -> String {
    let way = format!("{} -> {}", entry.source, entry.target);
    let (direction, why, end) = words(entry);
    let end = match entry.end {
        Ending::NotMoved => format!("{end}: {}", entry.said),
        Ending::Undecided => format!("{end}: see xen-handoff recover"),
        Ending::Moved | Ending::Gone => end.to_owned(),
    };
    let rate = entry.flow.mib_per_second().map_or("-".to_owned(), |rate| format!("{rate:.0}"));
    let rounds = entry.flow.rounds.map_or("-".to_owned(), |rounds| rounds.to_string());
    format!(
        "{:<17} {:<20} {way:<28} {direction:<10} {why:<10} {:>5}.{} {:>8} {rate:>7} {rounds:>6}  {end}",
        entry.began_at.minute(),
        entry.domain.as_str(),
        entry.total_ms / 1000,
        entry.total_ms % 1000 / 100,
        entry.flow.bytes >> 20,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::UnixTime;
    use crate::handoff::Epoch;
    use crate::host::NodeName;
    use crate::transfer::moves::Flow;
    use crate::transfer::progress::Direction;

    #[test]
    fn moves_are_counted_by_what_they_were() {
        let entry = |end, total_ms| Move {
            domain: DomainName::new("x0").unwrap(),
            source: NodeName::new("n1").unwrap(),
            target: NodeName::new("n2").unwrap(),
            epoch: Epoch(1),
            direction: Direction::Incoming,
            why: Why::Handoff,
            began_at: UnixTime(1),
            total_ms,
            flow: Flow::default(),
            end,
            said: String::new(),
        };
        let text =
            counted(&[entry(Ending::Moved, 900), entry(Ending::NotMoved, 70), entry(Ending::Moved, 5004)]);
        let moved =
            "xen_handoff_moves_total{domain=\"x0\",direction=\"incoming\",why=\"handoff\",end=\"moved\"} 2\n";
        assert!(text.contains(moved), "{text}");
        assert!(
            text.contains("xen_handoff_last_move_seconds{domain=\"x0\",direction=\"incoming\"} 5.004\n"),
            "{text}"
        );
    }
}
