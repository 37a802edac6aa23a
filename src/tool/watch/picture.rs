//! The picture: from what is known, and the size of the terminal, to its lines. Trouble and running moves
//! come first; what does not fit is counted.

use std::collections::BTreeSet;
use std::time::Duration;

use super::board::{Board, Item, Kind, Next, Plan, Stream, What, ago, clock};
use crate::clock::UnixTime;
use crate::cluster::Fate;
use crate::host::NodeName;

/// The least room for words beside the names; with less they get a line of their own.
const LEAST: usize = 28;
/// How long the bar of a move may be, its ends included.
const BAR: std::ops::RangeInclusive<usize> = 8..=42;
/// What it keeps where there is more to say than percent, rate and rest.
const BAR_BESIDE_MORE: usize = 16;
/// How wide percent, rate and rest are at least, so that they stand still while they change.
const STEADY: [usize; 6] = [4, 9, 11, 0, 0, 0];
/// From so many lines on, some of them may be blank or headings.
const ROOMY: usize = 12;

/// So many lines are kept for what comes next where there is room for headings.
const NEXT_KEEPS: usize = 3;
/// From this age on a plan has it beside each line. It is asked for anew some ten seconds after it has come.
const OLD: Duration = Duration::from_secs(30);

/// Of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) columns: usize,
    pub(super) lines: usize,
}

/// How a line looks. It says nothing that its words do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    Plain,
    Head,
    Strong,
    Trouble,
}

/// One line, no longer than the terminal is wide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) text: String,
    pub(super) look: Look,
}

impl Line {
    /// `text` is cut where it is too long. What tools have said may hold anything: a terminal is sent no
    /// control character of theirs.
    fn new(text: &str, look: Look, columns: usize) -> Self {
        let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        Self { text: cut(&text, columns), look }
    }
}

/// The lines for a terminal of this size; never more than it has.
pub(super) fn of(board: &Board, size: Size, now: UnixTime) -> Vec<Line> {
    let Size { columns, lines } = size;
    let items = board.items(now);
    let roomy = lines >= ROOMY;
    let next = next(board, &items, columns, now);
    let mut all = head(board, &items, next.len(), columns, now);
    all.extend(faults(board, columns, (lines / 4).max(1), now));
    let blank = || Line::new("", Look::Plain, columns);
    let gaps = if roomy { 2 } else { 0 };
    // The foot keeps one line; it gets more where the items leave some.
    let room = lines.saturating_sub(all.len() + gaps + 1);
    let mut body = body(board, &items, columns, roomy, now);
    let most = if roomy { room.saturating_sub(1 + next.len().min(NEXT_KEEPS)) } else { room };
    let shown = fitting(&body.items, most);
    let rest = items.len().saturating_sub(shown);
    if roomy {
        all.push(blank());
        all.extend(body.heading.take());
    }
    all.extend(body.items.drain(..shown).flatten());
    if rest > 0 {
        all.push(Line::new(&not_shown(&items[shown..]), Look::Strong, columns));
    }
    all.extend(some_of(next, lines.saturating_sub(all.len() + gaps / 2 + 1), columns));
    if roomy {
        all.push(blank());
    }
    let left = lines.saturating_sub(all.len());
    all.extend(foot(board, columns, left, now));
    all.truncate(lines);
    all
}

/// How many of these fit into so many lines; where some do not, one line is left to say so.
fn fitting(items: &[Vec<Line>], room: usize) -> usize {
    let needed = |items: &[Vec<Line>]| items.iter().map(Vec::len).sum::<usize>();
    if needed(items) <= room {
        return items.len();
    }
    (0..items.len()).rev().find(|some| needed(&items[..*some]) < room).unwrap_or(0)
}

/// What is not shown, by what goes on with it.
fn not_shown(items: &[Item]) -> String {
    let of = |kind, word: &str| {
        let count = items.iter().filter(|item| item.kind == kind).count();
        (count > 0).then(|| format!("{count} {word}"))
    };
    let kinds = [
        of(Kind::Trouble, "in trouble"),
        of(Kind::Moving, "moving"),
        of(Kind::Waiting, "waiting"),
        of(Kind::Offered, "on offer"),
        of(Kind::Rest, "done"),
    ];
    let kinds: Vec<String> = kinds.into_iter().flatten().collect();
    format!("  and {} more: {}", items.len(), kinds.join(", "))
}

/// What is about to happen to domains of which nothing is under way yet, a line each.
fn next(board: &Board, items: &[Item], columns: usize, now: UnixTime) -> Vec<Line> {
    let (all, age) = board.next(items, now);
    let old = if age < OLD { String::new() } else { format!("({} old) ", ago(age)) };
    let line = |next: &&Next| {
        let Next { domain, from, to, fate, because } = next;
        let way = to
            .as_ref()
            .filter(|to| *to != from)
            .map_or_else(|| from.to_string(), |to| format!("{from} > {to}"));
        let (mark, what, look) = match fate {
            Fate::Stops => ('!', format!(", STOPS: {because}"), Look::Trouble),
            Fate::IsFenced => ('!', format!(", once {from} is fenced"), Look::Trouble),
            Fate::Reboots if because.is_empty() => ('!', ", REBOOTS there".to_owned(), Look::Trouble),
            Fate::Reboots => ('!', format!(", REBOOTS: {because}"), Look::Trouble),
            Fate::Moves => (' ', String::new(), Look::Plain),
        };
        Line::new(&format!("{mark} next  {old}{domain}: {way}{what}"), look, columns)
    };
    all.iter().map(line).collect()
}

/// The first of these in so many lines; where some do not fit, the last line counts them.
fn some_of(mut lines: Vec<Line>, most: usize, columns: usize) -> Vec<Line> {
    if lines.len() > most {
        let more = lines.len() - most.saturating_sub(1);
        lines.truncate(most.saturating_sub(1));
        let count = Line::new(&format!("  and {more} more next"), Look::Strong, columns);
        lines.extend((most > 0).then_some(count));
    }
    lines
}

/// Which node this is, what time it is, and how much goes on.
fn head(board: &Board, items: &[Item], next: usize, columns: usize, now: UnixTime) -> Vec<Line> {
    let count = |kind| items.iter().filter(|item| item.kind == kind).count();
    let silent: Vec<_> = board.nodes.iter().filter(|known| known.silent(now).is_some()).collect();
    let silent = match silent.as_slice() {
        [] => None,
        [one] => Some(format!("{} SILENT", one.node)),
        several => Some(format!("{} nodes SILENT", several.len())),
    };
    let some = |count: usize, word: &str| (count > 0).then(|| format!("{count} {word}"));
    let domains = items.iter().map(|item| &item.domain).collect::<BTreeSet<_>>().len();
    let words = [
        Some(format!("{} {} UTC", board.me, clock(now))),
        silent,
        Some(format!("{domains} domain{}", if domains == 1 { "" } else { "s" })),
        some(count(Kind::Trouble), "TROUBLE"),
        some(count(Kind::Moving), "moving"),
        some(count(Kind::Waiting), "waiting"),
        some(count(Kind::Offered), "on offer"),
        some(next, "next"),
    ];
    let lines = filled("", &words.into_iter().flatten().collect::<Vec<_>>(), "  ", columns);
    lines.iter().map(|line| Line::new(&format!("{line:<columns$}"), Look::Head, columns)).collect()
}

/// The nodes that do not answer, and what else is wrong with the whole; in so many lines at most.
fn faults(board: &Board, columns: usize, most: usize, now: UnixTime) -> Vec<Line> {
    let silent = board.nodes.iter().filter_map(|known| Some((&known.node, known.silent(now)?)));
    let silent = silent.map(|(node, (span, why))| {
        // The node is named already.
        let why = why.strip_prefix(&format!("cannot reach {node}: ")).unwrap_or(why);
        format!("! {node} SILENT for {}: {why}", ago(span))
    });
    let unknown = match &board.plan {
        // That the cluster is down has been said.
        Plan::Unknown(why) if board.caveat.as_ref().is_none_or(|caveat| !caveat.contains(why.as_str())) => {
            // In one line: `check` has all of it, and a node that is silent counts for more.
            Some(cut(&format!("! what comes next is not known: {why}"), columns))
        }
        Plan::Unknown(_) | Plan::Unasked | Plan::Is(..) => None,
    };
    let caveat = board.caveat.iter().map(|caveat| format!("! {caveat}"));
    let mut all: Vec<String> = silent.chain(caveat).chain(unknown).collect();
    let words = |text: &String| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let whole: Vec<String> = all.iter().flat_map(|text| filled("", &words(text), " ", columns)).collect();
    if whole.len() <= most {
        all = whole;
    } else if all.len() > most {
        let more = all.len() + 1 - most;
        all.truncate(most - 1);
        all.push(format!("! and {more} more that {}", if more == 1 { "is wrong" } else { "are wrong" }));
    }
    all.iter().map(|text| Line::new(text, Look::Trouble, columns)).collect()
}

/// What goes on, each thing with its lines.
struct Body {
    heading: Option<Line>,
    items: Vec<Vec<Line>>,
}

fn body(board: &Board, items: &[Item], columns: usize, roomy: bool, now: UnixTime) -> Body {
    if items.is_empty() {
        let is_known = board.is_complete() && board.nodes.iter().all(|known| known.silent(now).is_none());
        let (nothing, look) = match (is_known, board.is_complete()) {
            (true, _) => ("  Nothing moves, and nothing is on offer.", Look::Plain),
            (false, true) => ("  Nothing moves on the nodes that answer.", Look::Strong),
            (false, false) => ("  Not all nodes have answered yet.", Look::Plain),
        };
        let heading = Some(Line::new(nothing, look, columns));
        return if roomy {
            Body { heading, items: Vec::new() }
        } else {
            Body { heading: None, items: vec![heading.into_iter().collect()] }
        };
    }
    let longest = |texts: &mut dyn Iterator<Item = usize>, head: usize| texts.max().unwrap_or(0).max(head);
    let name = longest(&mut items.iter().map(|item| item.domain.as_str().len()), 6).min((columns / 4).max(8));
    let ways: Vec<String> = items.iter().map(way).collect();
    let wide = longest(&mut ways.iter().map(|way| way.chars().count()), 9).min((columns / 3).max(11));
    let beside = 2 + name + 2 + wide + 2;
    let room = columns.saturating_sub(beside);
    let apart = room < LEAST;
    let room = if apart { columns.saturating_sub(4) } else { room };
    let columns_of_streams = Columns::of(items, room);
    let lines = items.iter().zip(&ways).map(|(item, way)| {
        let (mark, look) = match item.kind {
            Kind::Trouble => ('!', Look::Trouble),
            _ if item.age.is_some() => ('?', Look::Plain),
            Kind::Moving => (' ', Look::Strong),
            _ => (' ', Look::Plain),
        };
        let said = said(item, room, &columns_of_streams);
        let (domain, way) = (cut(item.domain.as_str(), name), cut(way, wide));
        let first = format!("{mark} {domain:<name$}  {way:<wide$}  ");
        if apart {
            vec![Line::new(first.trim_end(), look, columns), Line::new(&format!("    {said}"), look, columns)]
        } else {
            vec![Line::new(&format!("{first}{said}"), look, columns)]
        }
    });
    let heading = format!("  {:<name$}  {:<wide$}", "DOMAIN", "FROM > TO");
    Body { heading: Some(Line::new(&heading, Look::Plain, columns)), items: lines.collect() }
}

/// From where to where.
fn way(item: &Item) -> String {
    match (&item.from, &item.to) {
        (Some(from), Some(to)) => format!("{from} > {to}"),
        (from, None) => from.as_ref().map_or("?", NodeName::as_str).to_owned(),
        (None, Some(to)) => format!("? > {to}"),
    }
}

/// What is said of it, in so many columns.
fn said(item: &Item, room: usize, columns: &Columns) -> String {
    let old = item.age.map_or_else(String::new, |age| format!("({} old) ", ago(age)));
    let room = room.saturating_sub(old.chars().count());
    let text = match &item.what {
        What::Stream(stream) if old.is_empty() => columns.line(stream),
        // An old one is no part of the table, and when it ends is not known any more.
        What::Stream(stream) => parts(stream).percent_and_rate(),
        What::Words(long, short) => {
            let fits = long.chars().count() <= room;
            cut(if fits { long } else { short }, room)
        }
    };
    format!("{old}{text}")
}

/// How far a stream has come, each thing in a column: percent, rate, rest; round, amount, time.
struct Parts([String; 6]);

impl Parts {
    fn percent_and_rate(&self) -> String {
        let [percent, rate, ..] = &self.0;
        format!("{percent}  {rate}").trim_end().to_owned()
    }
}

fn parts(stream: &Stream) -> Parts {
    let rate = match stream.mib_per_second {
        None => String::new(),
        Some(0) => "<1 MiB/s".to_owned(),
        Some(rate) => format!("{rate} MiB/s"),
    };
    Parts([
        stream.percent.map_or_else(|| "? %".to_owned(), |percent| format!("{percent} %")),
        rate,
        stream.left.clone(),
        stream.round.map_or_else(String::new, |round| format!("round {round}")),
        stream.memory_mib.map_or_else(String::new, |memory| format!("{} of {memory} MiB", stream.mib)),
        format!("in {} s", stream.seconds),
    ])
}

/// How wide the columns of all streams are; 0 where there is no room for one.
struct Columns {
    bar: usize,
    widths: [usize; 6],
}

impl Columns {
    fn of(items: &[Item], room: usize) -> Self {
        let mut widths = STEADY;
        let fresh = items.iter().filter(|item| item.age.is_none());
        for item in fresh {
            if let What::Stream(stream) = &item.what {
                for (width, part) in widths.iter_mut().zip(parts(stream).0) {
                    *width = part.chars().count().max(*width);
                }
            }
        }
        // The last ones go first where there is not room for all.
        let needed =
            |widths: &[usize]| widths.iter().filter(|width| **width > 0).map(|width| width + 2).sum();
        for last in (3..widths.len()).rev() {
            if needed(&widths[..=last]) + BAR_BESIDE_MORE > room {
                widths[last] = 0;
            }
        }
        let bar = room.saturating_sub(needed(&widths)).min(*BAR.end());
        Self { bar: if bar < *BAR.start() { 0 } else { bar }, widths }
    }

    fn line(&self, stream: &Stream) -> String {
        let bar = match stream.percent {
            _ if self.bar == 0 => String::new(),
            Some(percent) => bar(percent, self.bar),
            None => " ".repeat(self.bar),
        };
        let mut text = bar;
        for (at, (width, part)) in self.widths.iter().zip(parts(stream).0).enumerate() {
            if *width > 0 {
                let between = if text.is_empty() { "" } else { "  " };
                // Numbers end below each other.
                let padded = if at < 2 { format!("{part:>width$}") } else { format!("{part:<width$}") };
                text.push_str(between);
                text.push_str(&padded);
            }
        }
        text.trim_end().to_owned()
    }
}

/// `[####......]`
fn bar(percent: u64, columns: usize) -> String {
    let inner = columns.saturating_sub(2);
    let full = usize::try_from(percent).unwrap_or(100).min(100) * inner / 100;
    format!("[{}{}]", "#".repeat(full), ".".repeat(inner - full))
}

/// As of when each node that is not silent has answered, and the scheduler, the oldest first, in so many
/// lines at most.
fn foot(board: &Board, columns: usize, most: usize, now: UnixTime) -> Vec<Line> {
    let answering = board.nodes.iter().filter(|known| known.silent(now).is_none());
    let mut answers: Vec<_> = answering.map(|known| (known.as_of(), known.node.as_str())).collect();
    if let Plan::Is(at, _) = &board.plan {
        answers.push((Some(*at), "next"));
    }
    answers.sort_unstable();
    let said = |(at, who): &(Option<UnixTime>, &str)| {
        format!("{who} {}", at.map_or_else(|| "not yet".to_owned(), clock))
    };
    let words: Vec<String> = answers.iter().map(said).collect();
    let some = |count: usize| {
        let more = words.len() - count;
        let more = (more > 0).then(|| format!("and {more} more"));
        let words: Vec<String> = words[..count].iter().cloned().chain(more).collect();
        filled("q quits. As of: ", &words, ", ", columns)
    };
    let lines =
        (0..=words.len()).rev().map(some).find(|lines| lines.len() <= most).unwrap_or_else(|| some(0));
    lines.iter().map(|line| Line::new(line, Look::Plain, columns)).collect()
}

/// `words` behind `first`, with `between` between them, in lines of `columns`; no word is broken.
fn filled(first: &str, words: &[String], between: &str, columns: usize) -> Vec<String> {
    let mut lines = vec![first.to_owned()];
    let mut is_first = true;
    for (at, word) in words.iter().enumerate() {
        let last = at + 1 == words.len();
        let word = if last { word.clone() } else { format!("{word}{}", between.trim_end()) };
        let gap = if is_first { "" } else { &between[between.trim_end().len()..] };
        let Some(line) = lines.last_mut() else { continue };
        if is_first || line.chars().count() + gap.len() + word.chars().count() <= columns {
            line.push_str(gap);
            line.push_str(&word);
        } else {
            lines.push(format!("  {word}"));
        }
        is_first = false;
    }
    lines
}

/// At most so many characters of it.
fn cut(text: &str, room: usize) -> String {
    if text.chars().count() <= room {
        return text.to_owned();
    }
    let kept: String = text.chars().take(room.saturating_sub(2)).collect();
    kept + &"..".chars().take(room).collect::<String>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{DomainId, DomainName, Presence};
    use crate::handoff::handshake::Stage;
    use crate::handoff::{Epoch, Offer, Phase, SourcePhase, TargetPhase, Transfer};
    use crate::moves::progress::{Direction, Progress};
    use crate::node::standing::Row;

    /// 10:41:07.
    const NOW: UnixTime = UnixTime(1_795_344_067);
    const NARROW: Size = Size { columns: 60, lines: 15 };
    const WIDE: Size = Size { columns: 160, lines: 40 };

    fn at(seconds: i64) -> UnixTime {
        UnixTime(NOW.0.saturating_add_signed(seconds))
    }

    fn node(name: &str) -> NodeName {
        NodeName::new(name).unwrap()
    }

    fn row(domain: &str, record: impl Into<Phase>, progress: Option<Progress>) -> Row {
        let domain = DomainName::new(domain).unwrap();
        Row { domain, presence: Presence::Running(DomainId(1)), record: record.into(), progress }
    }

    /// From n1 to n2.
    fn transfer() -> Transfer {
        Transfer { epoch: Epoch(1_795_344_000_000), source: node("n1"), target: node("n2") }
    }

    fn progress(direction: Direction, mib: u64, memory_mib: Option<u64>) -> Progress {
        Progress {
            direction,
            bytes: mib << 20,
            wire: None,
            memory_mib,
            stage: Stage::Stream,
            started_at: at(-10),
            updated_at: NOW,
            mib_per_second: Some(25),
            round: memory_mib.map(|_| 1),
            waits: None,
        }
    }

    /// 45 % are there.
    fn sending(domain: &str) -> Row {
        let progress = progress(Direction::Outgoing, 450, Some(1000));
        row(domain, SourcePhase::Sending { transfer: transfer(), offer: None }, Some(progress))
    }

    fn receiving(domain: &str) -> Row {
        let progress = progress(Direction::Incoming, 460, None);
        row(domain, TargetPhase::Receiving { transfer: transfer() }, Some(progress))
    }

    fn offered(domain: &str, ends_in: i64) -> Row {
        let offer = Offer {
            domain: DomainName::new(domain).unwrap(),
            source: node("n1"),
            epoch: Epoch(1_795_344_000_000),
            made_at: at(ends_in - 300),
            deadline: at(ends_in),
        };
        row(domain, SourcePhase::Offered { offer }, None)
    }

    fn waiting(domain: &str, before: &str) -> Row {
        let waits = Some(format!("waits for one of 2 outgoing slots (2 moves under way{before})"));
        let progress = Progress { waits, ..progress(Direction::Outgoing, 0, None) };
        row(domain, Phase::Idle, Some(progress))
    }

    /// This is n1; each node has said this now.
    fn board(said: Vec<(&str, Vec<Row>)>) -> Board {
        let mut board = Board::of(node("n1"), false, at(-100));
        board.others_are(said.iter().map(|(name, _)| node(name)).collect(), None, at(-100));
        for (name, rows) in said {
            board.has_said(&node(name), Ok(rows), NOW);
        }
        board
    }

    /// What is drawn, which fits.
    fn drawn_at(board: &Board, size: Size, now: UnixTime) -> String {
        let lines = of(board, size, now);
        let texts: Vec<String> = lines.into_iter().map(|line| line.text).collect();
        assert!(texts.len() <= size.lines, "{size:?}: {texts:#?}");
        assert!(texts.iter().all(|text| text.chars().count() <= size.columns), "{size:?}: {texts:#?}");
        texts.join("\n")
    }

    fn drawn(board: &Board, size: Size) -> String {
        drawn_at(board, size, NOW)
    }

    /// The line of a domain.
    fn line<'a>(picture: &'a str, domain: &str) -> &'a str {
        let mut lines = picture.lines().filter(|line| line.split_whitespace().any(|word| word == domain));
        let line = lines.next().unwrap_or_else(|| panic!("no {domain}: {picture}"));
        assert_eq!(lines.next(), None, "one line a domain: {picture}");
        line
    }

    #[test]
    fn a_move_is_one_line_with_both_ends_and_how_far_it_is() {
        let board = board(vec![("n1", vec![sending("x0")]), ("n2", vec![receiving("x0")])]);
        let narrow = drawn(&board, NARROW);
        for part in ["n1 > n2    [###", "45 %", "25 MiB/s", "12 s left"] {
            assert!(line(&narrow, "x0").contains(part), "{part}: {narrow}");
        }
        assert!(narrow.starts_with("n1 10:41:07 UTC  1 domain  1 moving "), "{narrow}");
        let wide = drawn(&board, WIDE);
        assert!(line(&wide, "x0").contains("12 s left    round 1  450 of 1000 MiB  in 10 s"), "{wide}");
    }

    #[test]
    fn the_target_tells_of_a_move_whose_source_is_silent() {
        let mut board =
            board(vec![("n1", vec![]), ("n2", vec![sending("x0")]), ("n3", vec![receiving("x0")])]);
        board.has_said(&node("n2"), Err("cannot reach n2: Connection timed out".to_owned()), NOW);
        let picture = drawn(&board, WIDE);
        assert!(line(&picture, "x0").contains("? %   25 MiB/s  460 MiB so far  in 10 s"), "{picture}");
        assert!(!line(&picture, "x0").contains("old"), "{picture}");
    }

    #[test]
    fn a_node_that_goes_silent_keeps_its_rows_with_their_age_and_is_named_first() {
        let mut board = board(vec![("n1", vec![]), ("n2", vec![offered("x0", 200), sending("x1")])]);
        board.has_said(&node("n2"), Err("cannot reach n2: No route to host".to_owned()), at(42));
        board.has_said(&node("n1"), Ok(Vec::new()), at(42));
        for size in [NARROW, WIDE] {
            let picture = drawn_at(&board, size, at(42));
            assert_eq!(picture.lines().nth(1), Some("! n2 SILENT for 42 s: No route to host"), "{picture}");
            for domain in ["x0", "x1"] {
                let line = line(&picture, domain);
                assert!(line.starts_with("? ") && line.contains("(42 s old) "), "{picture}");
            }
            assert!(
                picture.lines().next().unwrap().contains("n2 SILENT")
                    && picture.contains("As of: n1 10:41:49"),
                "{picture}"
            );
        }
        // One that gives no answer at all, neither yes nor no.
        let hangs = drawn_at(&board, NARROW, at(53));
        assert!(hangs.contains("! n1 SILENT for 11 s"), "{hangs}");
        board.has_said(&node("n2"), Ok(Vec::new()), at(53));
        let back = drawn_at(&board, NARROW, at(53));
        assert!(!back.contains("n2 SILENT") && !back.contains("x0"), "{back}");
    }

    #[test]
    fn what_does_not_fit_is_counted_and_moves_and_trouble_come_first() {
        let mut rows: Vec<Row> = (10..30).map(|n| offered(&format!("a{n}"), n)).collect();
        rows.extend([sending("x0"), waiting("y0", ""), offered("z0", -20)]);
        let board = board(vec![("n1", rows)]);
        let picture = drawn(&board, NARROW);
        let lines: Vec<&str> = picture.lines().collect();
        assert!(lines[0].contains("  1 TROUBLE  1 moving"), "{picture}");
        let place = |domain| lines.iter().position(|text| *text == line(&picture, domain)).unwrap();
        assert!(
            place("z0") < place("x0") && place("x0") < place("y0") && place("y0") < place("a10"),
            "{picture}"
        );
        assert!(line(&picture, "z0").starts_with("! z0") && line(&picture, "z0").contains("ended 20 s ago"));
        let shown = picture.matches(" ends in ").count();
        assert!(
            shown > 0 && picture.contains(&format!("and {0} more: {0} on offer", 20 - shown)),
            "{picture}"
        );
        let low = drawn(&board, Size { columns: 60, lines: 5 });
        assert!(
            low.contains("! z0") && low.contains("and 22 more: 1 moving, 1 waiting, 20 on offer"),
            "{low}"
        );
        assert!(!drawn(&board, WIDE).contains(" more"));
    }

    fn next(domain: &str, to: Option<&str>, fate: Fate, because: &str) -> Next {
        let because = because.to_owned();
        Next { domain: domain.to_owned(), from: node("n1"), to: to.map(node), fate, because }
    }

    #[test]
    fn what_comes_next_has_a_line_each_with_its_age_until_it_is_under_way() {
        let mut board = board(vec![("n1", vec![sending("x0")]), ("n2", vec![receiving("x0")])]);
        assert!(!drawn(&board, NARROW).contains("next"));
        let all = vec![
            next("x5", None, Fate::Stops, "banned from n2"),
            next("x4", Some("n2"), Fate::IsFenced, ""),
            next("x3", Some("n1"), Fate::Reboots, ""),
            next("x2", Some("n2"), Fate::Reboots, "handoff=never"),
            next("x1", Some("n2"), Fate::Moves, ""),
            next("x0", Some("n2"), Fate::Moves, ""),
        ];
        board.plan = Plan::Is(at(-4), all);
        let picture = drawn(&board, NARROW);
        let lines: Vec<&str> = picture.lines().filter(|line| line.get(1..7) == Some(" next ")).collect();
        assert_eq!(
            lines,
            [
                "! next  x5: n1, STOPS: banned from n2",
                "! next  x4: n1 > n2, once n1 is fenced",
                "! next  x3: n1, REBOOTS there",
                "! next  x2: n1 > n2, REBOOTS: handoff=never",
                "  next  x1: n1 > n2",
            ],
            "{picture}"
        );
        assert!(picture.lines().next().unwrap().contains("1 moving  5 next"), "{picture}");
        assert!(picture.contains("As of: next 10:41:03, n1 10:41:07"), "{picture}");
        let old = drawn_at(&board, WIDE, at(41));
        assert!(old.contains("  next  (45 s old) x1: n1 > n2"), "{old}");
        board.plan = Plan::Is(NOW, vec![next("x0", Some("n2"), Fate::Moves, "")]);
        assert!(!drawn(&board, NARROW).contains(" next  "), "it is under way");
        board.plan = Plan::Unknown("cannot read what crm_simulate says: nothing".to_owned());
        let picture = drawn(&board, NARROW);
        assert!(picture.contains("! what comes next is not known: cannot read what"), "{picture}");
        board.plan = Plan::Unknown("the cluster is down on this node".to_owned());
        board.caveat =
            Some("the cluster is down on this node; the nodes are those of known_hosts".to_owned());
        assert!(!drawn(&board, WIDE).contains("next is not known"), "it is said once");
    }

    #[test]
    fn what_comes_next_leaves_room_for_what_goes_on_and_is_counted() {
        let rows: Vec<Row> = (10..30).map(|n| offered(&format!("a{n}"), n)).collect();
        let mut board = board(vec![("n1", rows)]);
        let all = (10..30).map(|n| next(&format!("b{n}"), Some("n2"), Fate::Moves, ""));
        board.plan = Plan::Is(NOW, all.collect());
        let picture = drawn(&board, NARROW);
        assert!(picture.contains("a10") && picture.contains(" more: "), "{picture}");
        assert!(picture.contains("  next  b10: ") && picture.contains("  and 18 more next"), "{picture}");
        let low = drawn(&board, Size { columns: 60, lines: 5 });
        assert!(low.contains("20 next") && low.contains("a10") && !low.contains("b10"), "{low}");
    }

    #[test]
    fn a_picture_fits_a_terminal_of_any_size() {
        let long = format!("x{}", "0".repeat(100));
        let names = vec![("n1", vec![sending("x0"), offered(&long, 100)]), ("n2", vec![receiving("x0")])];
        let mut board = board(names);
        board.others_are(
            vec![node("n2"), node(&"n3".repeat(40))],
            Some("the cluster is down".to_owned()),
            NOW,
        );
        let long = next(&long, Some("n2"), Fate::Reboots, "it depends on fs (stop)");
        board.plan = Plan::Is(NOW, vec![long, next("x9", None, Fate::Stops, "disabled")]);
        for columns in [1, 2, 10, 25, 40, 60, 80, 120, 300] {
            for lines in [1, 2, 3, 4, 8, 11, 12, 13, 24, 100] {
                drawn_at(&board, Size { columns, lines }, at(5));
            }
        }
    }

    #[test]
    fn nodes_for_whose_time_there_is_no_room_are_counted() {
        let names: Vec<String> = (1..40).map(|n| format!("n{n}")).collect();
        let board = board(names.iter().map(|name| (name.as_str(), vec![])).collect());
        let low = drawn(&board, Size { columns: 60, lines: 3 });
        assert!(low.ends_with("q quits. As of: n1 10:41:07, n10 10:41:07, and 37 more"), "{low}");
        assert_eq!(drawn(&board, WIDE).matches(" 10:41:07").count(), 1 + 39);
    }

    #[test]
    fn that_nothing_goes_on_is_said_only_where_all_nodes_have_answered() {
        let nothing = "Nothing moves, and nothing is on offer.";
        let mut alone = Board::of(node("n1"), false, NOW);
        alone.has_said(&node("n1"), Ok(Vec::new()), NOW);
        assert!(!drawn(&alone, NARROW).contains(nothing), "nobody knows yet which others there are");
        let mut board = board(vec![("n1", vec![]), ("n2", vec![])]);
        for size in [NARROW, WIDE, Size { columns: 60, lines: 4 }] {
            assert!(drawn(&board, size).contains(nothing), "{}", drawn(&board, size));
        }
        board.others_are(vec![node("n2"), node("n3")], None, NOW);
        let picture = drawn(&board, NARROW);
        assert!(
            picture.contains("Not all nodes have answered yet") && picture.contains("n3 not yet"),
            "{picture}"
        );
        board.has_said(&node("n3"), Err("cannot reach n3: no key".to_owned()), NOW);
        let picture = drawn(&board, NARROW);
        assert!(picture.contains("Nothing moves on the nodes that answer."), "{picture}");
    }

    #[test]
    fn those_who_wait_stand_in_the_order_of_their_line() {
        let rows = vec![
            waiting("x0", ", 10 in line before it"),
            waiting("x1", ", 2 in line before it"),
            waiting("x2", ""),
        ];
        let board = board(vec![("n1", rows)]);
        let narrow = drawn(&board, NARROW);
        let order: Vec<&str> = ["x2", "x1", "x0"].map(|domain| line(&narrow, domain)).to_vec();
        let lines: Vec<&str> = narrow.lines().filter(|text| order.contains(text)).collect();
        assert_eq!(lines, order, "{narrow}");
        assert!(order[0].contains("next in line") && order[1].contains("2 before it"), "{narrow}");
        assert!(
            drawn(&board, WIDE).contains("waits for one of 2 outgoing slots (2 moves under way, 2 in line")
        );
    }

    #[test]
    fn trouble_is_what_needs_somebody() {
        let lost = Progress { updated_at: at(-40), ..progress(Direction::Outgoing, 450, Some(1000)) };
        let sends =
            |progress| row("x0", SourcePhase::Sending { transfer: transfer(), offer: None }, Some(progress));
        let unknown = |why: &str| Row { presence: Presence::Unknown(why.to_owned()), ..offered("x0", 100) };
        let is_trouble = |row: Row| {
            let picture = drawn(&board(vec![("n1", vec![row])]), NARROW);
            line(&picture, "x0").starts_with('!')
        };
        assert!(is_trouble(sends(lost)) && !is_trouble(sending("x0")));
        assert!(is_trouble(offered("x0", -1)) && !is_trouble(offered("x0", 1)));
        assert!(is_trouble(unknown("xl gave no answer")));
        assert!(!is_trouble(unknown(crate::node::standing::ABOUT_TO_MOVE)));
        assert!(is_trouble(Row { presence: Presence::Crashed(DomainId(1)), ..sending("x0") }));
        let Phase::Source(SourcePhase::Offered { offer }) = offered("x0", 100).record else { panic!() };
        assert!(is_trouble(row("x0", SourcePhase::Withdrawing { offer }, None)));
    }

    #[test]
    fn a_terminal_is_sent_no_control_character_of_what_tools_have_said() {
        let mut board = board(vec![("n1", vec![])]);
        board.others_are(vec![node("n2")], None, NOW);
        board.has_said(&node("n2"), Err("cannot reach n2: \x1b[2Jgone\r\n".to_owned()), NOW);
        assert!(!drawn(&board, WIDE).contains(['\x1b', '\r']), "{:?}", drawn(&board, WIDE));
    }

    #[test]
    fn a_cluster_that_is_down_takes_no_node_away_and_one_that_is_up_does() {
        let mut board = board(vec![("n1", vec![]), ("n2", vec![offered("x0", 100)])]);
        board.others_are(Vec::new(), Some("the cluster is down on this node".to_owned()), NOW);
        let picture = drawn(&board, NARROW);
        assert!(
            picture.contains("x0") && picture.contains("! the cluster is down on this node"),
            "{picture}"
        );
        board.others_are(Vec::new(), None, NOW);
        assert!(!drawn(&board, NARROW).contains("x0"));
    }
}
