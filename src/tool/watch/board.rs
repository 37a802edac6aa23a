//! What is known of the nodes that are asked, each as of its own last answer; and what that comes to for each
//! domain, its two ends put together.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::clock::UnixTime;
use crate::cluster::Fate;
use crate::domain::{DomainName, Presence};
use crate::handoff::handshake::Stage;
use crate::handoff::{Epoch, Phase, SourcePhase, TargetPhase};
use crate::host::NodeName;
use crate::moves::progress::{Direction, Progress};
use crate::moves::slots::in_line_before;
use crate::node::standing::{ABOUT_TO_MOVE, Row};

/// A node whose last answer is older than this is called silent.
const SILENT_AFTER: Duration = Duration::from_secs(10);
/// Whoever carries a stream says how far it is twice a second, also when it stands still: who has said
/// nothing for so long has gone, or hangs.
const LOST_AFTER: Duration = Duration::from_secs(30);

/// One node, and what it said last.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) node: NodeName,
    /// Since when it is asked.
    since: UnixTime,
    /// Its last complete answer.
    answer: Option<(UnixTime, Vec<Row>)>,
    /// Why there was none the last time.
    error: Option<String>,
}

impl Known {
    /// When it answered last.
    pub(super) fn as_of(&self) -> Option<UnixTime> {
        self.answer.as_ref().map(|(at, _)| *at)
    }

    /// How long it has said nothing, if that is too long, and why.
    pub(super) fn silent(&self, now: UnixTime) -> Option<(Duration, &str)> {
        let quiet = before(now, self.as_of().unwrap_or(self.since));
        let is_silent = self.error.is_some() || quiet > SILENT_AFTER;
        is_silent.then(|| (quiet, self.error.as_deref().unwrap_or("it has not answered yet")))
    }
}

/// A domain that the cluster is about to take away from where it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Next {
    /// The domain, or its resource where that is all that is known.
    pub(super) domain: String,
    pub(super) from: NodeName,
    pub(super) to: Option<NodeName>,
    pub(super) fate: Fate,
    /// Why it does not move alive.
    pub(super) because: String,
}

/// What the scheduler has said last of what comes next.
#[derive(Debug, Default)]
pub(super) enum Plan {
    /// It is not asked, or has not answered yet.
    #[default]
    Unasked,
    /// This; and when.
    Is(UnixTime, Vec<Next>),
    /// Nothing, for this reason. What it said before may be done by now.
    Unknown(String),
}

/// How long `then` is ago.
pub(super) fn before(now: UnixTime, then: UnixTime) -> Duration {
    Duration::from_secs(now.0.saturating_sub(then.0))
}

/// All of them.
#[derive(Debug)]
pub(super) struct Board {
    /// This node.
    pub(super) me: NodeName,
    /// This one first, the others by name.
    pub(super) nodes: Vec<Known>,
    /// Why the other nodes are not the cluster manager's to say.
    pub(super) caveat: Option<String>,
    /// Whether it is known which nodes there are.
    is_whole: bool,
    /// What comes next.
    pub(super) plan: Plan,
}

impl Board {
    /// This node, not asked yet; `alone`: there will be no others.
    pub(super) fn of(me: NodeName, alone: bool, now: UnixTime) -> Self {
        let (nodes, plan) = (Vec::new(), Plan::default());
        let mut board = Self { me: me.clone(), nodes, caveat: None, is_whole: alone, plan };
        board.is_asked(me, now);
        board
    }

    fn is_asked(&mut self, node: NodeName, now: UnixTime) {
        self.nodes.push(Known { node, since: now, answer: None, error: None });
    }

    /// The cluster has these others. Where it could not be asked (`caveat`), those that were known stay.
    pub(super) fn others_are(&mut self, others: Vec<NodeName>, caveat: Option<String>, now: UnixTime) {
        let others: BTreeSet<NodeName> = others.into_iter().collect();
        if caveat.is_none() {
            self.nodes.retain(|known| known.node == self.me || others.contains(&known.node));
        }
        for node in others {
            if self.nodes.iter().all(|known| known.node != node) {
                self.is_asked(node, now);
            }
        }
        let me = &self.me;
        self.nodes.sort_by(|one, other| (one.node != *me, &one.node).cmp(&(other.node != *me, &other.node)));
        (self.caveat, self.is_whole) = (caveat, true);
    }

    /// What a node has said, or why it has said nothing. One that is no longer asked is not listened to.
    pub(super) fn has_said(&mut self, node: &NodeName, said: Result<Vec<Row>, String>, now: UnixTime) {
        let Some(known) = self.nodes.iter_mut().find(|known| known.node == *node) else { return };
        match said {
            Ok(rows) => (known.answer, known.error) = (Some((now, rows)), None),
            Err(why) => known.error = Some(why),
        }
    }

    /// What is about to happen to domains that are not among `items`, the worst first, and how long ago that
    /// was said.
    pub(super) fn next(&self, items: &[Item], now: UnixTime) -> (Vec<&Next>, Duration) {
        let Plan::Is(at, all) = &self.plan else { return (Vec::new(), Duration::ZERO) };
        let is_shown = |next: &&Next| items.iter().any(|item| item.domain.as_str() == next.domain);
        (all.iter().filter(|next| !is_shown(next)).collect(), before(now, *at))
    }

    /// Whether every node has answered, or is known not to.
    pub(super) fn is_complete(&self) -> bool {
        self.is_whole && self.nodes.iter().all(|known| known.answer.is_some() || known.error.is_some())
    }

    /// Every offer and transfer, the most urgent one first.
    pub(super) fn items(&self, now: UnixTime) -> Vec<Item> {
        let mut domains: BTreeMap<&DomainName, Vec<Facet<'_>>> = BTreeMap::new();
        for known in &self.nodes {
            let age = known.silent(now).map(|(age, _)| age);
            for row in known.answer.iter().flat_map(|(_, rows)| rows) {
                domains.entry(&row.domain).or_default().push(Facet { node: &known.node, row, age });
            }
        }
        let mut items: Vec<Item> = Vec::new();
        for (domain, facets) in domains {
            let epochs: BTreeSet<Epoch> = facets.iter().filter_map(|facet| facet.row.epoch()).collect();
            let newest = epochs.last().copied();
            // What has no number of its own belongs to what is newest.
            let of = |epoch: Option<Epoch>| {
                let its = |facet: &&Facet<'_>| facet.row.epoch().or(newest) == epoch;
                Item::of(domain, &facets.iter().filter(its).collect::<Vec<_>>(), now)
            };
            match newest {
                None => items.push(of(None)),
                Some(_) => items.extend(epochs.iter().map(|epoch| of(Some(*epoch)))),
            }
        }
        items.sort_by(|one, other| one.order().cmp(&other.order()));
        items
    }
}

/// One domain as one node has it.
#[derive(Debug)]
struct Facet<'a> {
    node: &'a NodeName,
    row: &'a Row,
    /// Of what age, if its node is silent now.
    age: Option<Duration>,
}

/// What is shown first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Something is wrong.
    Trouble,
    /// Its memory is on its way.
    Moving,
    /// It waits for its turn.
    Waiting,
    /// Nobody has fetched it yet.
    Offered,
    /// It has come or gone, and the cluster has not looked at it since.
    Rest,
}

/// An offer or a transfer, as all nodes together have it.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) kind: Kind,
    pub(super) domain: DomainName,
    /// From where to where, as far as that is known.
    pub(super) from: Option<NodeName>,
    pub(super) to: Option<NodeName>,
    pub(super) what: What,
    /// How old this is, if all nodes that know of it are silent now.
    pub(super) age: Option<Duration>,
    rank: u64,
}

/// What is said of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum What {
    /// How far its stream has come.
    Stream(Stream),
    /// In words; and in fewer of them.
    Words(String, String),
}

/// How far a stream has come.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stream {
    pub(super) percent: Option<u64>,
    pub(super) mib_per_second: Option<u64>,
    /// When it ends, or why that is not known.
    pub(super) left: String,
    pub(super) round: Option<u32>,
    pub(super) mib: u64,
    pub(super) memory_mib: Option<u64>,
    pub(super) seconds: u64,
}

impl Item {
    fn order(&self) -> (Kind, u64, &DomainName) {
        (self.kind, self.rank, &self.domain)
    }

    fn of(domain: &DomainName, all: &[&Facet<'_>], now: UnixTime) -> Self {
        // What a silent node has said counts where no other knows of the domain.
        let fresh: Vec<&Facet<'_>> = all.iter().copied().filter(|facet| facet.age.is_none()).collect();
        let age = if fresh.is_empty() { all.iter().filter_map(|facet| facet.age).min() } else { None };
        let current = if fresh.is_empty() { all } else { fresh.as_slice() };
        let (from, to) = ends(all);
        let (kind, what, rank) = judged(current, all, to.as_ref(), now);
        let (kind, what) = match sickness(current) {
            Some(said) => {
                let words = match what {
                    What::Words(long, _) => format!("{said}; {long}"),
                    What::Stream(_) => said,
                };
                (Kind::Trouble, What::Words(words.clone(), words))
            }
            None => (kind, what),
        };
        Self { kind, domain: domain.clone(), from, to, what, age, rank }
    }
}

/// From where to where.
fn ends(all: &[&Facet<'_>]) -> (Option<NodeName>, Option<NodeName>) {
    let (mut from, mut to) = (None, None);
    for facet in all {
        let (its_from, its_to) = facet.row.ends();
        // One that has no record yet is at one of its ends.
        let incoming = facet.row.progress.as_ref().is_some_and(|its| its.direction == Direction::Incoming);
        let (here_from, here_to) = match (&facet.row.record, incoming) {
            (Phase::Idle, false) => (Some(facet.node), None),
            (Phase::Idle, true) | (Phase::Target(_), _) => (None, Some(facet.node)),
            (Phase::Source(_), _) => (None, None),
        };
        from = its_from.cloned().or(from).or(here_from.cloned());
        to = its_to.cloned().or(to).or(here_to.cloned());
    }
    (from, to)
}

/// What is wrong with a copy that should run, in words.
fn sickness(current: &[&Facet<'_>]) -> Option<String> {
    current.iter().find_map(|facet| {
        let Row { presence, record, .. } = facet.row;
        let is_sick = match (record, presence) {
            (_, Presence::Crashed(_)) => true,
            (_, Presence::Unknown(why)) => !record.is_in_transfer() && why != ABOUT_TO_MOVE,
            (Phase::Source(SourcePhase::Offered { .. }), Presence::Running(_)) => false,
            (Phase::Source(SourcePhase::Offered { .. }), _) => true,
            _ => false,
        };
        is_sick.then(|| format!("{presence} on {}", facet.node))
    })
}

/// What goes on with it, and what it is sorted by among its like.
fn judged(
    current: &[&Facet<'_>],
    all: &[&Facet<'_>],
    to: Option<&NodeName>,
    now: UnixTime,
) -> (Kind, What, u64) {
    let has = |is: fn(&Phase) -> bool| current.iter().any(|facet| is(&facet.row.record));
    let progress = progress(current);
    if let Some(waits) = progress.and_then(|progress| progress.waits.as_ref()) {
        let place = in_line_before(waits);
        let short =
            if place == 0 { "waits, next in line".to_owned() } else { format!("waits, {place} before it") };
        return (Kind::Waiting, words(waits, &short), u64::try_from(place).unwrap_or(u64::MAX));
    }
    if has(Phase::is_in_transfer) {
        let last_step = has(|phase| {
            matches!(
                phase,
                Phase::Source(SourcePhase::Settling { .. }) | Phase::Target(TargetPhase::Arriving { .. })
            )
        });
        // What a silent node has said was so when it said it.
        let age = current.iter().filter_map(|facet| facet.age).min().unwrap_or_default();
        return moving(progress, last_step, UnixTime(now.0.saturating_sub(age.as_secs())));
    }
    if has(|phase| matches!(phase, Phase::Source(SourcePhase::Withdrawing { .. }))) {
        return (Kind::Trouble, words("its offer is over: it is being shut down", "is being shut down"), 0);
    }
    let target = to.map_or("a node", NodeName::as_str);
    if let Some(offer) = all.iter().find_map(|facet| facet.row.record.offer()) {
        let ends = offer.deadline;
        let claimed = has(|phase| matches!(phase, Phase::Target(TargetPhase::Claiming { .. })));
        let (since, until) = (clock(offer.made_at), clock(ends));
        let begin = if claimed {
            format!("{target} is about to fetch it; the offer")
        } else {
            "the offer".to_owned()
        };
        let (what, short, kind) = match ends.0.saturating_sub(now.0) {
            0 => {
                let ago = ago(before(now, ends));
                (format!("{begin} ended {ago} ago"), format!("offer ended {ago} ago"), Kind::Trouble)
            }
            left => {
                let left = ago(Duration::from_secs(left));
                let kind = if claimed { Kind::Waiting } else { Kind::Offered };
                (format!("{begin} ends in {left}"), format!("offer ends in {left}"), kind)
            }
        };
        return (kind, words(&format!("{what} (made {since}, ends {until})"), &short), ends.0);
    }
    if has(|phase| matches!(phase, Phase::Target(TargetPhase::Claiming { .. }))) {
        return (Kind::Waiting, words(&format!("{target} is about to fetch it"), "about to be fetched"), 0);
    }
    let said = if has(|phase| matches!(phase, Phase::Target(TargetPhase::Arrived { .. }))) {
        format!("has arrived at {target}")
    } else if has(|phase| matches!(phase, Phase::Source(SourcePhase::Left { .. }))) {
        format!("has left for {target}")
    } else {
        current.first().map_or_else(|| "idle".to_owned(), |facet| facet.row.presence.to_string())
    };
    (Kind::Rest, words(&said, &said), 0)
}

fn words(long: &str, short: &str) -> What {
    What::Words(long.to_owned(), short.to_owned())
}

/// The one that says most: the source knows the domain's memory.
fn progress<'a>(current: &[&Facet<'a>]) -> Option<&'a Progress> {
    let all = current.iter().filter_map(|facet| facet.row.progress.as_ref());
    all.max_by_key(|progress| (progress.direction == Direction::Outgoing, progress.updated_at))
}

fn moving(progress: Option<&Progress>, last_step: bool, now: UnixTime) -> (Kind, What, u64) {
    let Some(progress) = progress else {
        let said = if last_step { "in its last step, no stream is seen" } else { "no stream is seen" };
        return (Kind::Moving, words(said, said), u64::MAX);
    };
    let quiet = before(now, progress.updated_at);
    let is_lost = quiet > LOST_AFTER;
    let left = if is_lost {
        format!("SILENT {}", ago(quiet))
    } else if last_step || progress.stage >= Stage::Ready {
        "last step".to_owned()
    } else {
        match (progress.seconds_left(), progress.memory_mib) {
            // An estimate: the seconds of many minutes say nothing.
            (Some(seconds @ 0..120), _) => format!("{seconds} s left"),
            (Some(seconds @ 120..7200), _) => format!("{} min left", seconds / 60),
            (Some(seconds), _) => format!("{} h left", seconds / 3600),
            (None, None) => format!("{} MiB so far", progress.bytes >> 20),
            (None, Some(memory)) if progress.bytes >> 20 >= memory => "what changed goes again".to_owned(),
            (None, Some(_)) => "has just begun".to_owned(),
        }
    };
    let stream = Stream {
        percent: progress.percent(),
        mib_per_second: progress.mib_per_second.filter(|_| !is_lost),
        left,
        round: progress.round,
        mib: progress.bytes >> 20,
        memory_mib: progress.memory_mib,
        seconds: before(progress.updated_at, progress.started_at).as_secs(),
    };
    let kind = if is_lost { Kind::Trouble } else { Kind::Moving };
    (kind, What::Stream(stream), progress.started_at.0)
}

/// The time of day, UTC.
pub(super) fn clock(at: UnixTime) -> String {
    let text = at.rfc3339();
    text.get(11..19).map_or_else(|| text.clone(), str::to_owned)
}

/// A span for people: `42 s`, `3 min 20 s`, `2 h 5 min`.
pub(super) fn ago(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}
