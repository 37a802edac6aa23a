//! `xen-handoff history`: the moves that began at this node.

use std::collections::BTreeMap;
use std::io::Write;

use crate::domain::DomainName;
use crate::host::Root;
use crate::transfer::moves::{self, Ending, Move, Why, shown_rate};

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
        "{:<17} {:<20} {:<28} {:<10} {:<10} {:>7} {:>6} {:>8} {:>7} {:>6}  END",
        "UTC", "DOMAIN", "WAY", "DIRECTION", "WHY", "SECONDS", "PAUSE", "MIB", "MIB/S", "ROUNDS"
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
    let mut pauses: BTreeMap<String, String> = BTreeMap::new();
    for entry in moves {
        let (direction, why, end) = words(entry);
        let domain = &entry.domain;
        let labels = format!("domain=\"{domain}\",direction=\"{direction}\",why=\"{why}\",end=\"{end}\"");
        *totals.entry(labels).or_default() += 1;
        let thousandths = |ms: u64| format!("{}.{:03}", ms / 1000, ms % 1000);
        let labels = format!("domain=\"{domain}\",direction=\"{direction}\"");
        if let Some(pause) = entry.flow.pause_ms() {
            pauses.insert(labels.clone(), thousandths(pause));
        }
        seconds.insert(labels, thousandths(entry.total_ms));
    }
    let mut text = String::from(
        "# HELP xen_handoff_moves_total Moves that began at this node and are in its log.\n\
         # TYPE xen_handoff_moves_total gauge\n",
    );
    text.extend(
        totals.iter().map(|(labels, total)| format!("xen_handoff_moves_total{{{labels}}} {total}\n")),
    );
    for (name, help, values) in [
        ("last_move_seconds", "What the last move of the domain took at this node.", seconds),
        (
            "last_move_pause_seconds",
            "How long the domain stood still in its last move from this node.",
            pauses,
        ),
    ] {
        if !values.is_empty() {
            text.push_str(&format!("# HELP xen_handoff_{name} {help}\n# TYPE xen_handoff_{name} gauge\n"));
        }
        text.extend(values.iter().map(|(labels, took)| format!("xen_handoff_{name}{{{labels}}} {took}\n")));
    }
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
    let compressed =
        entry.flow.wire.map_or(String::new(), |wire| format!(" ({} MiB on the connection)", wire >> 20));
    let rate = entry.flow.mib_per_second().map_or("-".to_owned(), shown_rate);
    let tenths = |ms: u64| format!("{}.{}", ms / 1000, ms % 1000 / 100);
    let pause = entry.flow.pause_ms().map_or("-".to_owned(), tenths);
    let rounds = entry.flow.rounds.map_or("-".to_owned(), |rounds| rounds.to_string());
    format!(
        "{:<17} {:<20} {way:<28} {direction:<10} {why:<10} {:>7} {pause:>6} {:>8} {rate:>7} {rounds:>6}  {end}{compressed}",
        entry.began_at.minute(),
        entry.domain.as_str(),
        tenths(entry.total_ms),
        entry.flow.bytes >> 20,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transfer::moves::{Flow, a_move};

    #[test]
    fn a_slow_move_has_a_rate_and_a_compressed_one_says_what_the_network_carried() {
        let (opened_ms, ready_ms) = (Some(1000), Some(51_000));
        let flow = Flow { bytes: 130 << 20, wire: Some(9 << 20), opened_ms, ready_ms, ..Flow::default() };
        let line = line(&Move { flow, total_ms: 60_480, ..a_move(1) });
        assert!(
            line.ends_with("  60.4      -      130     2.6      -  moved (9 MiB on the connection)"),
            "{line}"
        );
    }

    #[test]
    fn moves_are_counted_by_what_they_were() {
        let entry = |end, total_ms| Move { total_ms, end, ..a_move(1) };
        let text =
            counted(&[entry(Ending::Moved, 900), entry(Ending::NotMoved, 70), entry(Ending::Moved, 5004)]);
        let moved =
            "xen_handoff_moves_total{domain=\"x0\",direction=\"incoming\",why=\"handoff\",end=\"moved\"} 2\n";
        assert!(text.contains(moved), "{text}");
        assert!(
            text.contains("xen_handoff_last_move_seconds{domain=\"x0\",direction=\"incoming\"} 5.004\n"),
            "{text}"
        );
        assert!(
            text.contains(
                "xen_handoff_last_move_pause_seconds{domain=\"x0\",direction=\"incoming\"} 0.500\n"
            ),
            "{text}"
        );
        let unseen = Move { flow: Flow { suspended_ms: None, ..a_move(1).flow }, ..a_move(1) };
        assert!(
            !counted(std::slice::from_ref(&unseen)).contains("pause"),
            "no pause is told where none was seen"
        );
        assert!(line(&unseen).contains(" 5.3      - "), "{}", line(&unseen));
        assert!(line(&a_move(1)).contains(" 5.3    0.5 "), "{}", line(&a_move(1)));
    }
}
