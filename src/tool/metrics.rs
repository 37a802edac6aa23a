//! `xen-handoff history --metrics`: this node's moves and what is open just now, in Prometheus' text format,
//! for the textfile collector of node_exporter.

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::Context;

use super::history::{end_word, here, why_word};
use crate::clock::UnixTime;
use crate::domain::DomainName;
use crate::handoff::{Phase, SourcePhase, TargetPhase};
use crate::here::Here;
use crate::host::Root;
use crate::logging::said::{self, Said};
use crate::messages::{Catalogue, Id, fields};
use crate::moves::journal::Move;
use crate::moves::progress::Direction;
use crate::node::record::{RecordError, Store};

/// Every metric with its labels, for what is made of them: `packaging/monitoring`.
pub const METRICS: [(&str, &[&str]); 11] = [
    ("xen_handoff_moves_total", &["domain", "direction", "reason", "end"]),
    ("xen_handoff_moved_bytes_total", &["domain", "direction"]),
    ("xen_handoff_last_move_duration_seconds", &["domain", "direction"]),
    ("xen_handoff_last_move_pause_seconds", &["domain", "direction"]),
    ("xen_handoff_last_move_timestamp_seconds", &["domain", "direction"]),
    ("xen_handoff_open_offers", &[]),
    ("xen_handoff_open_transfers", &["direction"]),
    ("xen_handoff_build_info", &["version"]),
    ("xen_handoff_phase", &["domain", "phase"]),
    ("xen_handoff_offer_ends_timestamp_seconds", &["domain"]),
    ("xen_handoff_last_said_timestamp_seconds", &["domain", "id", "level", "frame"]),
];

/// Prints them, or puts them in the place of this file, which everybody may read: whole, so that nobody reads
/// half of them.
///
/// # Errors
/// If the log of moves or the records cannot be read, or stdout is closed, or the file cannot be written.
pub fn print(world: &Here, into: Option<&Path>) -> anyhow::Result<()> {
    let text = text(&here(&world.root)?, &open(&world.store)?, &last_said(&world.root));
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
    /// The phase of each domain that has one.
    phases: Vec<(DomainName, &'static str)>,
    /// When the offer of each domain that is on offer ends.
    ends: Vec<(DomainName, UnixTime)>,
}

fn open(store: &Store) -> Result<Open, RecordError> {
    let mut open = Open::default();
    for domain in store.domains()? {
        let phase = store.load(&domain)?.state;
        if phase != Phase::Idle {
            open.phases.push((domain.clone(), phase.name()));
        }
        match phase {
            Phase::Source(
                SourcePhase::Offering { offer }
                | SourcePhase::Offered { offer }
                | SourcePhase::Withdrawing { offer },
            ) => {
                open.offers = open.offers.saturating_add(1);
                open.ends.push((domain, offer.deadline));
            }
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

/// What was said of a domain: the message, and the one that it stands behind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Message {
    domain: String,
    id: Id,
    frame: Option<Id>,
    level: String,
}

/// When each warning and error, and each reason for no handoff, was said last, of what is kept here.
fn last_said(root: &Root) -> BTreeMap<Message, UnixTime> {
    let mut last: BTreeMap<Message, UnixTime> = BTreeMap::new();
    for name in said::names(root) {
        // To find a message by its words is dear: the last line of each kind is enough.
        let mut kinds = BTreeMap::new();
        for said in said::read(root, &[&name]).into_iter().filter(is_told) {
            let kind = (Id::on(&said.line), said.level.clone(), opening(&said.line).to_owned());
            kinds.insert(kind, said);
        }
        for said in kinds.values() {
            if let Some(message) = Message::of(&name, said) {
                let at = last.entry(message).or_insert(said.at);
                *at = said.at.max(*at);
            }
        }
    }
    last
}

/// What else is information is most of what is said.
fn is_told(said: &Said) -> bool {
    said.level != "info" || said.line.contains("no handoff: ")
}

/// The words of a line up to its first colon: what its frame is told by.
fn opening(line: &str) -> &str {
    let mut words = line;
    while let Some((first, rest)) = words.split_once(' ')
        && first.contains('=')
    {
        words = rest;
    }
    words.split(": ").next().unwrap_or_default()
}

impl Message {
    /// `None` for words that are no message.
    fn of(name: &str, Said { level, line, .. }: &Said) -> Option<Self> {
        let catalogue = Catalogue::own();
        let found = catalogue.find(line);
        let id = Id::on(line).or(found.as_ref().map(|found| found.id))?;
        let all = found.map(|found| found.all).unwrap_or_default();
        let is_frame = |other: &Id| catalogue.entry(*other).is_some_and(|entry| entry.is_frame);
        let frame = all.into_iter().find(|other| *other != id && is_frame(other));
        let domain = fields(line).find(|(field, _)| *field == "domain").map_or(name, |(_, domain)| domain);
        Some(Self { domain: domain.to_owned(), id, frame, level: level.clone() })
    }
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

fn text(moves: &[Move], open: &Open, said: &BTreeMap<Message, UnixTime>) -> String {
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
    let by_domain = of_domains(open, said);
    let shown = families.iter().chain(&by_domain).filter(|family| !family.samples.is_empty());
    shown.map(Family::text).collect()
}

/// What is open, and what was said, domain by domain.
fn of_domains(open: &Open, said: &BTreeMap<Message, UnixTime>) -> [Family; 3] {
    let mut phases = Family::new(
        "xen_handoff_phase",
        "gauge",
        "The phase of a domain that is on offer, on its way or not settled yet at this node; always 1.",
    );
    for (domain, phase) in &open.phases {
        phases.set(&[("domain", domain.as_str()), ("phase", phase)], 1);
    }
    let mut ends = Family::new(
        "xen_handoff_offer_ends_timestamp_seconds",
        "gauge",
        "When the offer of the domain ends, since 1970: it is shut down then if nobody has fetched it.",
    );
    for (domain, end) in &open.ends {
        ends.set(&[("domain", domain.as_str())], end.0);
    }
    let mut last = Family::new(
        "xen_handoff_last_said_timestamp_seconds",
        "gauge",
        "When a warning, an error or a reason for no handoff was said last of the domain, since 1970: \
         xen-handoff explain ID.",
    );
    for (Message { domain, id, frame, level }, at) in said {
        let (id, frame) = (id.to_string(), frame.map(|frame| frame.to_string()));
        let mut labels = vec![("domain", domain.as_str()), ("id", id.as_str()), ("level", level.as_str())];
        labels.extend(frame.as_deref().map(|frame| ("frame", frame)));
        last.set(&labels, at.0);
    }
    [phases, ends, last]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::moves::journal::{Ending, Flow, a_move};

    #[test]
    fn moves_are_counted_by_what_they_were() {
        let entry = |end, total_ms| Move { total_ms, end, ..a_move(1) };
        let moves = [entry(Ending::Moved, 900), entry(Ending::NotMoved, 70), entry(Ending::Moved, 5004)];
        let text = text(&moves, &Open { offers: 2, ..Open::default() }, &BTreeMap::new());
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
        let text = super::text(std::slice::from_ref(&unseen), &Open::default(), &BTreeMap::new());
        assert!(!text.contains("pause"), "no pause is told where none was seen");
    }

    #[test]
    fn counters_are_counters_and_labels_are_quoted() {
        let text = text(&[a_move(1)], &Open::default(), &BTreeMap::new());
        for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
            let (name, kind) = line.split_once(' ').unwrap();
            assert_eq!(name.ends_with("_total"), kind == "counter", "{line}");
        }
        assert_eq!(labelled(&[("domain", "a \"b\"\\c\n")]), "{domain=\"a \\\"b\\\"\\\\c\\n\"}");
    }

    #[test]
    fn a_reason_for_no_handoff_and_a_warning_are_told_with_their_last_time_and_nothing_else() {
        let said = |at, level: &str, line: &str| Said {
            at: UnixTime(at),
            pid: 7,
            action: None,
            level: level.to_owned(),
            line: line.to_owned(),
        };
        let of = |level, line| Message::of("r0", &said(1, level, line));
        let refused = of("info", "domain=x0 node=n1 no handoff: no key on n2 [XH0113]").unwrap();
        let ids = (refused.domain.as_str(), refused.id.to_string(), refused.frame.unwrap().to_string());
        assert_eq!(ids, ("x0", "XH0113".to_owned(), "XH0101".to_owned()));
        let late =
            of("warning", "domain=x0 node=n1 nobody has fetched it; its offer ends now [XH1402]").unwrap();
        assert_eq!((late.id.to_string().as_str(), late.frame), ("XH1402", None));
        assert!(!is_told(&said(1, "info", "domain=x0 node=n1 stop: nothing here [XH0201]")));
        // Of another version, whose words this one does not have.
        assert_eq!(of("error", "words of then [XH0211]").unwrap().domain, "r0");

        let last = BTreeMap::from([(refused, UnixTime(1_800_000_000))]);
        let name = DomainName::try_from("x0".to_owned()).unwrap();
        let open = Open {
            phases: vec![(name.clone(), "offered")],
            ends: vec![(name, UnixTime(5))],
            ..Open::default()
        };
        let text = text(&[a_move(1)], &open, &last);
        let samples: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let shown = |line: &str| {
            let name = line.split(['{', ' ']).next().unwrap();
            let labels = line.split_once('{').map_or("", |(_, rest)| rest.split_once('}').unwrap().0);
            let labels: Vec<_> =
                labels.split(',').filter_map(|pair| Some(pair.split_once('=')?.0.to_owned())).collect();
            (name.to_owned(), labels)
        };
        let mut shown: Vec<_> = samples.iter().map(|line| shown(line)).collect();
        shown.dedup();
        let listed: Vec<_> = METRICS
            .iter()
            .map(|(name, labels)| ((*name).to_owned(), labels.iter().map(ToString::to_string).collect()))
            .collect();
        assert_eq!(shown, listed, "what the alerts and the dashboard are checked against");
        for line in [
            "xen_handoff_last_said_timestamp_seconds{domain=\"x0\",id=\"XH0113\",level=\"info\",frame=\"XH0101\"} \
             1800000000",
            "xen_handoff_phase{domain=\"x0\",phase=\"offered\"} 1",
            "xen_handoff_offer_ends_timestamp_seconds{domain=\"x0\"} 5",
        ] {
            assert!(text.lines().any(|found| found == line), "no {line} in\n{text}");
        }
    }

    #[test]
    fn of_what_is_kept_the_last_of_each_message_is_told_by_the_frame_that_it_stood_behind() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path());
        let said = root.state_folder().join("said");
        std::fs::create_dir_all(&said).unwrap();
        let line = |at: u64, level: &str, line: &str| {
            let said = Said {
                at: UnixTime(at),
                pid: 7,
                action: None,
                level: level.to_owned(),
                line: line.to_owned(),
            };
            serde_json::to_string(&said).unwrap() + "\n"
        };
        let lines = [
            line(1, "info", "domain=x0 node=n1 no handoff: no key on n2 [XH0113]"),
            line(2, "warning", "domain=x0 node=n1 start waits: no key on n2 [XH0113]"),
            line(3, "info", "domain=x0 node=n1 offer=2026-11-22T10:41:07Z no handoff: no key on n3 [XH0113]"),
            line(4, "info", "domain=x0 node=n1 stop: nothing here [XH0201]"),
        ];
        std::fs::write(said.join("r0"), lines.concat()).unwrap();
        let told: Vec<_> = last_said(&root)
            .into_iter()
            .map(|(message, at)| {
                (message.domain, message.id.to_string(), message.frame.map(|id| id.to_string()), at.0)
            })
            .collect();
        let x0 = |frame: &str, at| ("x0".to_owned(), "XH0113".to_owned(), Some(frame.to_owned()), at);
        assert_eq!(told, [x0("XH0101", 3), x0("XH0301", 2)]);
    }
}
