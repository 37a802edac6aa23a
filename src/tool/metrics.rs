//! `xen-handoff history --metrics`: this node's moves and what is open just now, in Prometheus' text format,
//! for the textfile collector of node_exporter.

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::Context;

use super::history::{end_word, here, why_word};
use crate::domain::DomainName;
use crate::handoff::{Phase, SourcePhase, TargetPhase};
use crate::here::Here;
use crate::moves::journal::Move;
use crate::moves::progress::Direction;
use crate::node::record::{RecordError, Store};

/// Prints them, or puts them in the place of this file, which everybody may read: whole, so that nobody reads
/// half of them.
///
/// # Errors
/// If the log of moves or the records cannot be read, or stdout is closed, or the file cannot be written.
pub fn print(world: &Here, into: Option<&Path>) -> anyhow::Result<()> {
    let text = text(&here(&world.root)?, &open(&world.store)?);
    match into {
        None => Ok(write!(std::io::stdout(), "{text}")?),
        Some(path) => put(path, &text).with_context(|| format!("writing {}", path.display())),
    }
}

fn put(path: &Path, text: &str) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or_else(|| Path::new("/"));
    // Its name has another ending: the collector does not read it.
    let mut beside = tempfile::NamedTempFile::new_in(folder)?;
    beside.write_all(text.as_bytes())?;
    beside.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
    beside.persist(path)?;
    Ok(())
}

/// What is open at this node.
#[derive(Debug, Default)]
struct Open {
    offers: u64,
    outgoing: u64,
    incoming: u64,
}

fn open(store: &Store) -> Result<Open, RecordError> {
    let mut open = Open::default();
    for domain in store.domains()? {
        match store.load(&domain)?.state {
            Phase::Source(
                SourcePhase::Offering { .. } | SourcePhase::Offered { .. } | SourcePhase::Withdrawing { .. },
            ) => open.offers = open.offers.saturating_add(1),
            Phase::Source(SourcePhase::Sending { .. } | SourcePhase::Settling { .. }) => {
                open.outgoing = open.outgoing.saturating_add(1);
            }
            Phase::Target(TargetPhase::Receiving { .. } | TargetPhase::Arriving { .. }) => {
                open.incoming = open.incoming.saturating_add(1);
            }
            Phase::Idle
            | Phase::Source(SourcePhase::Left { .. })
            | Phase::Target(TargetPhase::Claiming { .. } | TargetPhase::Arrived { .. }) => {}
        }
    }
    Ok(open)
}

/// A family of samples: its name, whether it is a counter or a gauge, its help, and its samples by their
/// labels.
struct Family {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    samples: BTreeMap<String, String>,
}

impl Family {
    fn new(name: &'static str, kind: &'static str, help: &'static str) -> Self {
        Self { name, kind, help, samples: BTreeMap::new() }
    }

    /// Sets the sample with these labels.
    fn set(&mut self, labels: &[(&str, &str)], value: impl Display) {
        self.samples.insert(labelled(labels), value.to_string());
    }

    fn text(&self) -> String {
        let Self { name, kind, help, samples } = self;
        let mut text = format!("# HELP {name} {help}\n# TYPE {name} {kind}\n");
        for (labels, value) in samples {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{name}{labels} {value}");
        }
        text
    }
}

/// Labels as the format has them: quoted, with backslash, quote and line end escaped.
fn labelled(labels: &[(&str, &str)]) -> String {
    let escaped = |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let pairs: Vec<String> =
        labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
    if pairs.is_empty() { String::new() } else { format!("{{{}}}", pairs.join(",")) }
}

fn seconds(milliseconds: u64) -> String {
    format!("{}.{:03}", milliseconds / 1000, milliseconds % 1000)
}

fn text(moves: &[Move], open: &Open) -> String {
    let mut totals: BTreeMap<(&DomainName, &str, &str, &str), u64> = BTreeMap::new();
    let mut bytes: BTreeMap<(&DomainName, &str), u64> = BTreeMap::new();
    let gauge = |name, help| Family::new(name, "gauge", help);
    let mut total = Family::new(
        "xen_handoff_moves_total",
        "counter",
        "Moves that began at this node and are in its log.",
    );
    let mut carried = Family::new(
        "xen_handoff_moved_bytes_total",
        "counter",
        "Bytes of the domains' memory and state that these moves carried.",
    );
    let mut took = gauge(
        "xen_handoff_last_move_duration_seconds",
        "What the last move of the domain took at this node.",
    );
    let mut pause = gauge(
        "xen_handoff_last_move_pause_seconds",
        "How long the domain stood still in its last move from this node.",
    );
    let mut began = gauge(
        "xen_handoff_last_move_timestamp_seconds",
        "When the last move of the domain at this node began, since 1970.",
    );
    for entry in moves {
        let (domain, direction) = (entry.domain.as_str(), entry.direction.word());
        let kind = (&entry.domain, direction, why_word(entry.why), end_word(entry.end));
        let total = totals.entry(kind).or_default();
        *total = u64::saturating_add(*total, 1);
        let passed = bytes.entry((&entry.domain, direction)).or_default();
        *passed = u64::saturating_add(*passed, entry.flow.bytes);
        let labels = [("domain", domain), ("direction", direction)];
        took.set(&labels, seconds(entry.total_ms));
        began.set(&labels, entry.began_at.0);
        if let Some(milliseconds) = entry.flow.pause_ms() {
            pause.set(&labels, seconds(milliseconds));
        }
    }
    for ((domain, direction, reason, end), count) in totals {
        let labels =
            [("domain", domain.as_str()), ("direction", direction), ("reason", reason), ("end", end)];
        total.set(&labels, count);
    }
    for ((domain, direction), count) in bytes {
        carried.set(&[("domain", domain.as_str()), ("direction", direction)], count);
    }
    let mut offers = gauge("xen_handoff_open_offers", "Domains of this node that are on offer.");
    offers.set(&[], open.offers);
    let mut transfers =
        gauge("xen_handoff_open_transfers", "Domains that are on their way from or to this node.");
    for (direction, count) in [(Direction::Outgoing, open.outgoing), (Direction::Incoming, open.incoming)] {
        transfers.set(&[("direction", direction.word())], count);
    }
    let mut build = gauge("xen_handoff_build_info", "The version of xen-handoff on this node; always 1.");
    build.set(&[("version", crate::VERSION)], 1);
    let families = [total, carried, took, pause, began, offers, transfers, build];
    families.iter().filter(|family| !family.samples.is_empty()).map(Family::text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::moves::journal::{Ending, Flow, a_move};

    #[test]
    fn moves_are_counted_by_what_they_were() {
        let entry = |end, total_ms| Move { total_ms, end, ..a_move(1) };
        let moves = [entry(Ending::Moved, 900), entry(Ending::NotMoved, 70), entry(Ending::Moved, 5004)];
        let text = text(&moves, &Open { offers: 2, ..Open::default() });
        let of = "{domain=\"x0\",direction=\"incoming\"";
        for line in [
            format!("xen_handoff_moves_total{of},reason=\"handoff\",end=\"moved\"}} 2"),
            format!("xen_handoff_moves_total{of},reason=\"handoff\",end=\"not-moved\"}} 1"),
            format!("xen_handoff_moved_bytes_total{of}}} {}", 3 * (256 << 20)),
            format!("xen_handoff_last_move_duration_seconds{of}}} 5.004"),
            format!("xen_handoff_last_move_pause_seconds{of}}} 0.500"),
            "xen_handoff_open_offers 2".to_owned(),
            "xen_handoff_open_transfers{direction=\"outgoing\"} 0".to_owned(),
        ] {
            assert!(text.lines().any(|found| found == line), "no {line} in\n{text}");
        }
        let unseen = Move { flow: Flow { suspended_ms: None, ..a_move(1).flow }, ..a_move(1) };
        let text = super::text(std::slice::from_ref(&unseen), &Open::default());
        assert!(!text.contains("pause"), "no pause is told where none was seen");
    }

    #[test]
    fn counters_are_counters_and_labels_are_quoted() {
        let text = text(&[a_move(1)], &Open::default());
        for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
            let (name, kind) = line.split_once(' ').unwrap();
            assert_eq!(name.ends_with("_total"), kind == "counter", "{line}");
        }
        assert_eq!(labelled(&[("domain", "a \"b\"\\c\n")]), "{domain=\"a \\\"b\\\"\\\\c\\n\"}");
    }
}
