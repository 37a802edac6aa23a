//! Which part of a measurement is what: the phases of a move, from the transfer's own events and from the data.
//!
//! # The rule
//!
//! All times are those of the pinging machine. What is known decides how much the data has to decide:
//!
//! - **silence**: a time between two answers that is longer than the threshold. The threshold is ten intervals, or four
//!   times the 99th percentile of the times between answers while nothing happened (before the command; without a command,
//!   in the first quarter of the series), whichever is longer. And a request waited in it: one of those that were sent in it,
//!   or so long before it as the threshold is, was lost or answered later than that. A time in which ping itself got no
//!   processor to send with says nothing of the domain.
//! - **before**: up to the command. Without a command, up to the pause.
//! - **ordered** (only with events): the command was given, nothing moves yet.
//! - **transfer**: from the event that opened the stream (`Claimed`, `Pushed`, `StreamOpened`: the first of them), or without
//!   events from the command, to the beginning of the pause. Without events this is whatever precedes the pause; in a
//!   stop and start it is the guest's shutdown.
//! - **pause**: the longest silence after the command; with events, of those that end after the stream was opened, the one
//!   in which GO arrived, and if there is none the longest.
//! - **settle**: from the pause to the later of two moments: the transfer's last event, and the first half second (or 20
//!   intervals, whichever is longer) in which nothing was lost and the median round trip was within a quarter (and 0.02 ms)
//!   of the level that it keeps. That level is the median of the last quarter of what follows the pause.
//! - **after**: the rest.
//!
//! A move whose pause is no longer than the threshold has none. Then the transfer ends where GO arrived; without events, where
//! the last half second ended whose median was more than half above the median before, and if there is none, nothing is said to
//! have happened: all of it is *before* and *after*.

use serde::{Deserialize, Serialize};

use crate::events::Transfer;
use crate::series::{Probe, Series, Stretch, median, quantile};

/// A silence is longer than so many intervals ...
const INTERVALS: f64 = 10.0;
/// ... and than so many times the quiet series' 99th percentile.
const ABOVE_QUIET: f64 = 4.0;
/// How long the window is in which a level is judged, in seconds ...
const WINDOW: f64 = 0.5;
/// ... and in intervals, for slow series.
const WINDOW_INTERVALS: f64 = 20.0;
/// How far above the level that it keeps a round trip counts as settled.
const SETTLED: f64 = 1.25;
/// The same in milliseconds, for round trips so short that a quarter of them is nothing.
const SETTLED_MS: f64 = 0.02;
/// How far above the quiet level a round trip counts as disturbed.
const DISTURBED: f64 = 1.5;

/// A phase's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Name {
    /// Nothing has been asked for.
    Before,
    /// The command was given, nothing moves yet.
    Ordered,
    /// The domain is on its way and answers.
    Transfer,
    /// It does not answer.
    Pause,
    /// It answers from where it is now, not yet as it will.
    Settle,
    /// All is as it will stay.
    After,
}

impl Name {
    /// As it is printed.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::Ordered => "ordered",
            Self::Transfer => "transfer",
            Self::Pause => "pause",
            Self::Settle => "settle",
            Self::After => "after",
        }
    }
}

/// A phase.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Phase {
    /// What it is.
    pub name: Name,
    /// When it is.
    #[serde(flatten)]
    pub stretch: Stretch,
}

/// What a series shows.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The phases, in order, without gaps between them. None is empty.
    pub phases: Vec<Phase>,
    /// How long a time without an answer has to be to count as a silence, in seconds.
    pub threshold: f64,
    /// The silences after the command (all of them without one).
    pub silences: Vec<Stretch>,
}

impl Found {
    /// The phase of that name.
    pub fn phase(&self, name: Name) -> Option<Stretch> {
        self.phases.iter().find(|phase| phase.name == name).map(|phase| phase.stretch)
    }

    /// When the domain answered from where it is now; `None` if there was no move, or if it has not.
    pub fn answered_again(&self) -> Option<f64> {
        let next = self.phase(Name::Settle).or(self.phase(Name::After))?;
        match self.phase(Name::Pause) {
            Some(pause) => Some(pause.to),
            None => self.phase(Name::Transfer).map(|_| next.from),
        }
    }

    /// The phase in which that moment lies.
    pub fn at(&self, moment: f64) -> Option<Name> {
        let found = self.phases.iter().find(|phase| phase.stretch.has(moment));
        found.or(self.phases.last()).map(|phase| phase.name)
    }
}

/// Finds the phases of `series`: `command` is when the command was given, `transfer` what the events say, both in seconds
/// after the first request.
pub fn find(series: &Series, command: Option<f64>, transfer: Option<&Transfer>) -> Found {
    let end = series.end();
    let quiet = Stretch { from: 0.0, to: command.unwrap_or(end / 4.0) };
    let threshold = threshold(series, quiet);
    let silences: Vec<Stretch> = series
        .silences()
        .into_iter()
        .filter(|silence| silence.seconds() > threshold && silence.to > command.unwrap_or(0.0))
        .filter(|silence| somebody_waited(series, *silence, threshold))
        .collect();
    let cuts = match pause(&silences, transfer) {
        Some(pause) => around(series, pause, command, transfer),
        None => without_pause(series, quiet, command, transfer),
    };
    Found { phases: phases(cuts, end), threshold, silences }
}

fn somebody_waited(series: &Series, silence: Stretch, threshold: f64) -> bool {
    let in_reach = Stretch { from: silence.from - threshold, to: silence.to };
    let late = |probe: &Probe| probe.rtt_ms.is_none_or(|rtt_ms| rtt_ms / 1000.0 > threshold);
    series.within(in_reach).any(late)
}

fn threshold(series: &Series, quiet: Stretch) -> f64 {
    let spacings: Vec<f64> = series
        .silences()
        .into_iter()
        .filter(|silence| quiet.has(silence.from) && quiet.has(silence.to))
        .map(Stretch::seconds)
        .collect();
    let usual = quantile(&spacings, 0.99).unwrap_or_default();
    (INTERVALS * series.interval).max(ABOVE_QUIET * usual)
}

fn pause(silences: &[Stretch], transfer: Option<&Transfer>) -> Option<Stretch> {
    let opened = transfer.map_or(f64::NEG_INFINITY, |transfer| transfer.opened);
    let possible = || silences.iter().copied().filter(|silence| silence.to > opened);
    let with_go = transfer.and_then(|transfer| transfer.go).and_then(|go| possible().find(|one| one.has(go)));
    with_go.or_else(|| possible().max_by(|a, b| a.seconds().total_cmp(&b.seconds())))
}

/// Where phases begin: each one where it is known, in order.
type Cuts = Vec<(Name, f64)>;

fn around(series: &Series, pause: Stretch, command: Option<f64>, transfer: Option<&Transfer>) -> Cuts {
    let mut cuts = vec![(Name::Before, 0.0)];
    cuts.extend(beginning(command, transfer));
    let settled = settled(series, pause.to).max(transfer.and_then(|transfer| transfer.ended).unwrap_or(0.0));
    cuts.extend([(Name::Pause, pause.from), (Name::Settle, pause.to), (Name::After, settled)]);
    cuts
}

fn beginning(command: Option<f64>, transfer: Option<&Transfer>) -> Cuts {
    match (command, transfer) {
        (Some(command), Some(transfer)) => {
            vec![(Name::Ordered, command), (Name::Transfer, transfer.opened)]
        }
        (Some(command), None) => vec![(Name::Transfer, command)],
        (None, Some(transfer)) => vec![(Name::Transfer, transfer.opened)],
        (None, None) => Vec::new(),
    }
}

fn without_pause(series: &Series, quiet: Stretch, command: Option<f64>, transfer: Option<&Transfer>) -> Cuts {
    let mut cuts = vec![(Name::Before, 0.0)];
    if let Some(transfer) = transfer {
        let there = transfer.go.or(transfer.ended).unwrap_or(transfer.opened);
        cuts.extend(beginning(command, Some(transfer)));
        let settled = settled(series, there).max(transfer.ended.unwrap_or(there));
        cuts.extend([(Name::Settle, there), (Name::After, settled)]);
    } else if let Some(command) = command {
        if let Some(calm) = last_disturbed(series, quiet, command) {
            cuts.extend([(Name::Transfer, command), (Name::After, calm)]);
        } else {
            cuts.push((Name::After, command));
        }
    }
    cuts
}

/// Makes phases of where they begin. One that would begin before its predecessor begins with it, and what is empty is left
/// out.
fn phases(cuts: Cuts, end: f64) -> Vec<Phase> {
    let mut ordered: Cuts = Vec::new();
    // From the back, since the later cuts are the data's own: a clock that is off moves the events'.
    let mut limit = end;
    for (name, from) in cuts.into_iter().rev() {
        limit = from.clamp(0.0, limit);
        ordered.push((name, limit));
    }
    ordered.reverse();
    let ends = ordered.iter().skip(1).map(|(_, from)| *from).chain([end]);
    ordered
        .iter()
        .zip(ends)
        .map(|((name, from), to)| Phase { name: *name, stretch: Stretch { from: *from, to } })
        .filter(|phase| phase.stretch.seconds() > 0.0)
        .collect()
}

fn window(series: &Series) -> f64 {
    WINDOW.max(WINDOW_INTERVALS * series.interval)
}

/// When round trips have come down to the level that they keep.
fn settled(series: &Series, from: f64) -> f64 {
    let end = series.end();
    let last_quarter = Stretch { from: end - (end - from) / 4.0, to: f64::INFINITY };
    let Some(level) = median(&series.rtts(last_quarter)) else { return end };
    let window = window(series);
    let calm = |at: f64| {
        let stretch = Stretch { from: at, to: at + window };
        let lost = series.within(stretch).any(|probe| probe.rtt_ms.is_none());
        let here = median(&series.rtts(stretch));
        !lost && here.is_some_and(|here| here <= level * SETTLED + SETTLED_MS)
    };
    if calm(from) {
        return from;
    }
    let after = Stretch { from, to: end - window };
    series.within(after).map(|probe| probe.sent).find(|at| calm(*at)).unwrap_or(end)
}

/// The end of the last window after the command in which round trips were well above those before it.
fn last_disturbed(series: &Series, quiet: Stretch, command: f64) -> Option<f64> {
    let level = median(&series.rtts(quiet))?;
    let (end, window) = (series.end(), window(series));
    let mut last = None;
    let mut at = command;
    while at + window <= end {
        let here = median(&series.rtts(Stretch { from: at, to: at + window }));
        if here.is_some_and(|here| here > level * DISTURBED + SETTLED_MS) {
            last = Some(at + window);
        }
        at += window;
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ping::Reader;
    use crate::series::Probe;

    /// 10 ms apart; each part says how many requests and their round trips, or that they were lost.
    fn series(parts: &[(u32, Option<f64>)]) -> Series {
        let mut probes = Vec::new();
        for (count, rtt_ms) in parts {
            for _ in 0..*count {
                let number = u32::try_from(probes.len()).unwrap() + 1;
                probes.push(Probe { number, sent: f64::from(number - 1) * 0.01, rtt_ms: *rtt_ms });
            }
        }
        Series { interval: 0.01, began: 0.0, probes, duplicates: 0 }
    }

    fn names(found: &Found) -> Vec<&'static str> {
        found.phases.iter().map(|phase| phase.name.as_str()).collect()
    }

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 0.03
    }

    /// The paper's shape: 9 s at 0.25 ms, 10 s at 1.3, a pause, 3 s at 0.5, then 0.25 again.
    fn paper() -> Series {
        series(&[(900, Some(0.25)), (1000, Some(1.3)), (150, None), (300, Some(0.5)), (700, Some(0.25))])
    }

    #[test]
    fn without_events_the_command_and_the_data_decide() {
        let found = find(&paper(), Some(9.0), None);
        assert_eq!(names(&found), ["before", "transfer", "pause", "settle", "after"]);
        let starts: Vec<f64> = found.phases.iter().map(|phase| phase.stretch.from).collect();
        for (start, expected) in starts.iter().zip([0.0, 9.0, 18.99, 20.5]) {
            assert!(close(*start, expected), "{starts:?}");
        }
        // Settled where half of a half second is at the last level.
        let settled = found.phase(Name::After).unwrap().from;
        assert!((23.1..23.6).contains(&settled), "{settled}");
        assert!(close(found.threshold, 0.1));
    }

    #[test]
    fn with_events_the_wait_for_the_cluster_is_no_transfer() {
        let transfer = Transfer { opened: 12.0, go: Some(20.2), ended: Some(25.0) };
        let found = find(&paper(), Some(9.0), Some(&transfer));
        assert_eq!(names(&found), ["before", "ordered", "transfer", "pause", "settle", "after"]);
        assert!(close(found.phase(Name::Transfer).unwrap().from, 12.0));
        // The owner was on record later than the round trips had calmed down.
        assert!(close(found.phase(Name::After).unwrap().from, 25.0));
    }

    #[test]
    fn the_pause_is_where_go_arrived_and_not_a_longer_silence_elsewhere() {
        let longer_after =
            series(&[(500, Some(0.2)), (50, None), (500, Some(0.2)), (90, None), (300, Some(0.2))]);
        let transfer = Transfer { opened: 4.0, go: Some(5.3), ended: Some(6.0) };
        let found = find(&longer_after, Some(2.0), Some(&transfer));
        assert!(close(found.phase(Name::Pause).unwrap().from, 4.99));
        let by_data = find(&longer_after, Some(2.0), None);
        assert!(close(by_data.phase(Name::Pause).unwrap().from, 10.49));
        assert_eq!(found.silences.len(), 2);
    }

    #[test]
    fn a_foreign_clock_that_is_off_moves_no_pause() {
        let transfer = Transfer { opened: 19.9, go: Some(20.2), ended: Some(20.3) };
        let found = find(&paper(), Some(9.0), Some(&transfer));
        let pause = found.phase(Name::Pause).unwrap();
        assert!(close(pause.from, 18.99) && close(pause.to, 20.5), "{pause:?}");
        assert_eq!(names(&found), ["before", "ordered", "pause", "settle", "after"]);
    }

    #[test]
    fn a_quiet_series_has_no_move_in_it() {
        let quiet = series(&[(1000, Some(0.25))]);
        assert_eq!(names(&find(&quiet, None, None)), ["before"]);
        assert_eq!(names(&find(&quiet, Some(5.0), None)), ["before", "after"]);
    }

    #[test]
    fn a_move_without_a_silence_is_found_by_its_round_trips() {
        let series = series(&[(500, Some(0.25)), (500, Some(1.0)), (500, Some(0.25))]);
        let found = find(&series, Some(5.0), None);
        assert_eq!(names(&found), ["before", "transfer", "after"]);
        assert!(close(found.phase(Name::After).unwrap().from, 10.0));
    }

    #[test]
    fn without_a_command_the_longest_silence_is_the_pause() {
        let found = find(&paper(), None, None);
        assert_eq!(names(&found), ["before", "pause", "settle", "after"]);
    }

    #[test]
    fn a_domain_that_never_answers_again_is_in_its_pause_to_the_end() {
        let series = series(&[(500, Some(0.25)), (500, None)]);
        let found = find(&series, Some(4.0), None);
        assert_eq!(names(&found), ["before", "transfer", "pause"]);
        assert!(close(found.phase(Name::Pause).unwrap().seconds(), 5.0));
    }

    #[test]
    fn a_jittery_series_needs_a_longer_silence() {
        // Every 20th answer is late by 300 ms: what is usual there is no silence.
        let mut jittery = series(&[(2000, Some(2.0))]);
        for probe in jittery.probes.iter_mut().step_by(40).skip(1) {
            probe.rtt_ms = Some(300.0);
        }
        let mut silent = jittery.clone();
        for probe in silent.probes.iter_mut().skip(1200).take(200) {
            probe.rtt_ms = None;
        }
        assert_eq!(find(&jittery, Some(10.0), None).silences.len(), 0);
        assert_eq!(find(&silent, Some(10.0), None).silences.len(), 1);
    }

    #[test]
    fn a_time_in_which_ping_sent_nothing_is_no_silence_of_the_domain() {
        let mut starved = series(&[(2000, Some(0.25))]);
        starved.probes.drain(1000..1030);
        assert_eq!(names(&find(&starved, Some(5.0), None)), ["before", "after"]);
        assert_eq!(find(&starved, Some(5.0), None).silences.len(), 0);
        // The same time, and one request that was sent just before it was lost.
        starved.probes[999].rtt_ms = None;
        assert_eq!(find(&starved, Some(5.0), None).silences.len(), 1);
    }

    fn captured(text: &str) -> (Series, Found) {
        let mut reader = Reader::default();
        text.lines().for_each(|line| reader.take(line));
        let series = reader.finish(0.01).unwrap();
        let found = find(&series, Some(0.9), None);
        (series, found)
    }

    #[test]
    fn the_planted_outage_of_a_real_series_is_found() {
        let (series, found) =
            captured(include_str!("../../tests/captured/iputils-20221126/ping--cut-off-for-a-while.txt"));
        let pause = found.phase(Name::Pause).unwrap();
        assert!((1.4..1.7).contains(&pause.seconds()), "{pause:?}");
        assert_eq!(series.within(pause).filter(|probe| probe.rtt_ms.is_none()).count(), series.lost());
        assert!(found.phase(Name::After).is_some(), "{found:?}");
    }

    #[test]
    fn a_silence_in_which_nothing_was_lost_is_found_too() {
        // The pinging end's own link was down: the kernel kept the requests, and they were answered two seconds late.
        let (series, found) =
            captured(include_str!("../../tests/captured/iputils-20221126/ping--own-link-down.txt"));
        let pause = found.phase(Name::Pause).unwrap();
        assert_eq!(series.lost(), 0);
        assert!((1.9..2.2).contains(&pause.seconds()), "{pause:?}");
    }
}
