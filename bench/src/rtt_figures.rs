//! What `xen-handoff-bench rtt` has measured: the figures as they are kept in `rtt.json`, the tables and the picture made of them.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use crate::events::Event;
use crate::paper;
use crate::phases::{Found, Name};
use crate::plot::{self, Band, Curve, Panel, Scale, Style};
use crate::series::{Probe, Series, Stretch, quantile};
use crate::table::{Table, UNKNOWN, milliseconds, number};
use crate::trigger::Given;

/// The form of the file.
pub const FORMAT: u32 = 1;

/// A measurement, in seconds after the first request unless a name says otherwise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// [`FORMAT`].
    pub format: u32,
    /// What the operator calls it.
    pub name: String,
    /// Who was pinged.
    pub host: String,
    /// When the first request was sent, in seconds since 1970.
    pub began_unix: f64,
    /// The time between two requests, in seconds.
    pub interval_s: f64,
    /// How many were sent.
    pub sent: usize,
    /// How many got no answer.
    pub lost: usize,
    /// How many answers came twice.
    pub duplicates: u32,
    /// Round trip before: the median, in milliseconds.
    pub rtt_idle_ms: Option<f64>,
    /// Round trip while the domain moved: the median.
    pub rtt_during_ms: Option<f64>,
    /// Round trip until it had settled: the median.
    pub rtt_settle_ms: Option<f64>,
    /// Round trip after: the median.
    pub rtt_after_ms: Option<f64>,
    /// The longest time without an answer.
    pub longest_gap: Stretch,
    /// All silences after the command together, each less one interval: the time in which nobody was served.
    pub downtime_s: f64,
    /// How long a time without an answer has to be to count as a silence.
    pub silence_threshold_s: f64,
    /// From the command to the first answer after the pause.
    pub total_s: Option<f64>,
    /// How often the guest booted; `None` where nobody could ask it.
    pub reboots: Option<usize>,
    /// Where the phases come from.
    pub basis: Basis,
    /// The command.
    pub command: Option<Given>,
    /// The phases.
    pub phases: Vec<PhaseFigures>,
    /// The transfer's own events.
    pub events: Vec<Event>,
    /// What one should know of it.
    pub notes: Vec<String>,
}

/// Where the phases come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Basis {
    /// The transfer's own events, and the data.
    Events,
    /// The data and the command alone.
    Data,
}

/// One phase's figures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PhaseFigures {
    /// Which.
    pub name: Name,
    /// When.
    #[serde(flatten)]
    pub stretch: Stretch,
    /// Requests sent in it.
    pub sent: usize,
    /// Of these, without an answer.
    pub lost: usize,
    /// The median round trip in milliseconds.
    pub p50_ms: Option<f64>,
    /// The 95th percentile.
    pub p95_ms: Option<f64>,
    /// The longest.
    pub max_ms: Option<f64>,
}

/// A row of the comparison, as it is kept in a file of rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// What was done.
    pub name: String,
    /// Median before.
    pub rtt_idle_ms: Option<f64>,
    /// Median while it moved.
    pub rtt_during_ms: Option<f64>,
    /// The longest time without an answer.
    pub longest_gap_s: f64,
    /// Requests without an answer.
    pub lost: usize,
    /// From the command to the first answer after the pause.
    pub total_s: Option<f64>,
    /// How often the guest booted; `null` where nobody could ask it.
    pub reboots: Option<usize>,
}

/// What the series alone does not say.
#[derive(Debug, Clone, Default)]
pub struct Context {
    /// What the operator calls it.
    pub name: String,
    /// Who was pinged.
    pub host: String,
    /// The command.
    pub command: Option<Given>,
    /// Whether the events opened a stream.
    pub by_events: bool,
    /// The transfer's events, in seconds after the first request.
    pub events: Vec<Event>,
    /// How often the guest booted.
    pub reboots: Option<usize>,
    /// What one should know of it.
    pub notes: Vec<String>,
}

impl Measurement {
    /// The figures of a series.
    pub fn of(series: &Series, found: &Found, context: Context) -> Self {
        let phases: Vec<PhaseFigures> =
            found.phases.iter().map(|phase| PhaseFigures::of(series, phase.name, phase.stretch)).collect();
        let median = |name| phases.iter().find(|phase| phase.name == name).and_then(|phase| phase.p50_ms);
        let longest = series.silences().into_iter().max_by(|a, b| a.seconds().total_cmp(&b.seconds()));
        let down = found.silences.iter().fold(0.0, |sum, silence| sum + silence.seconds() - series.interval);
        let command = context.command.as_ref().map(|given| given.at_s);
        Self {
            format: FORMAT,
            name: context.name,
            host: context.host,
            began_unix: series.began,
            interval_s: series.interval,
            sent: series.probes.len(),
            lost: series.lost(),
            duplicates: series.duplicates,
            rtt_idle_ms: median(Name::Before),
            rtt_during_ms: median(Name::Transfer),
            rtt_settle_ms: median(Name::Settle),
            rtt_after_ms: median(Name::After),
            longest_gap: longest.unwrap_or(Stretch { from: 0.0, to: 0.0 }),
            downtime_s: down,
            silence_threshold_s: found.threshold,
            total_s: command.and_then(|command| Some(found.answered_again()? - command)),
            reboots: context.reboots,
            basis: if context.by_events { Basis::Events } else { Basis::Data },
            command: context.command,
            phases,
            events: context.events,
            notes: context.notes,
        }
    }

    /// The row for the comparison.
    pub fn row(&self) -> Row {
        Row {
            name: self.name.clone(),
            rtt_idle_ms: self.rtt_idle_ms,
            rtt_during_ms: self.rtt_during_ms,
            longest_gap_s: self.longest_gap.seconds(),
            lost: self.lost,
            total_s: self.total_s,
            reboots: self.reboots,
        }
    }

    /// What a person reads.
    pub fn report(&self) -> String {
        let mut table =
            Table::new(&["phase", "time, s", "p50, ms", "p95, ms", "max, ms", "sent", "lost", "/ idle"]);
        for phase in &self.phases {
            table.row([
                phase.name.as_str().to_owned(),
                format!("{:.1} - {:.1}", phase.stretch.from, phase.stretch.to),
                milliseconds(phase.p50_ms),
                milliseconds(phase.p95_ms),
                milliseconds(phase.max_ms),
                phase.sent.to_string(),
                phase.lost.to_string(),
                ratio(phase.p50_ms, self.rtt_idle_ms),
            ]);
        }
        let mut text = table.render();
        text.push('\n');
        let mut say = |name: &str, value: String| {
            let _ = writeln!(text, "{name:<15}{value}");
        };
        say("lost", format!("{} of {}", self.lost, self.sent));
        say(
            "longest gap",
            format!("{:.3} s, from {:.1} s on", self.longest_gap.seconds(), self.longest_gap.from),
        );
        say(
            "downtime",
            format!("{:.3} s (silences of more than {:.2} s)", self.downtime_s, self.silence_threshold_s),
        );
        if let Some(total) = self.total_s {
            say("total", format!("{total:.1} s from the command to the first answer after the pause"));
        }
        match self.reboots {
            Some(reboots) => say("reboots", reboots.to_string()),
            None => say("reboots", "not known (--stats URL asks the guest)".to_owned()),
        }
        if let Some(given) = &self.command {
            say("command", command_line(given));
        }
        let basis = match self.basis {
            Basis::Events => "the transfer's own events and the data",
            Basis::Data => "the command's time and the data alone",
        };
        say("phases from", basis.to_owned());
        for note in &self.notes {
            say("note", note.clone());
        }
        text
    }

    /// One panel of a picture, its time counted from the command (or from the beginning, without one).
    pub fn panel(&self, series: &Series) -> Panel {
        let zero = self.command.as_ref().map_or(0.0, |given| given.at_s);
        let mut answered = Vec::new();
        let mut lost = Vec::new();
        for probe in &series.probes {
            match probe.rtt_ms {
                Some(rtt_ms) => answered.push((probe.sent - zero, rtt_ms)),
                None => lost.push((probe.sent - zero, 0.0)),
            }
        }
        let bands = self.phases.iter().map(|phase| Band {
            name: phase.name.as_str().to_owned(),
            span: (phase.stretch.from - zero, phase.stretch.to - zero),
            colour: colour(phase.name),
        });
        let curve = |name: &str, points, style| Curve { name: name.to_owned(), points, style };
        let mut curves = vec![curve("round trip", answered, Style::Dots)];
        if !lost.is_empty() {
            curves.push(curve("no answer", lost, Style::Ticks));
        }
        Panel {
            title: self.name.clone(),
            outcome: self.outcome(),
            axis: "round trip, ms".to_owned(),
            scale: Scale::Powers,
            bands: bands.collect(),
            marks: self.command.iter().map(|_| (0.0, String::new())).collect(),
            curves,
        }
    }

    fn outcome(&self) -> String {
        let reboots = match self.reboots {
            None => String::new(),
            Some(0) => ", not rebooted".to_owned(),
            Some(1) => ", rebooted".to_owned(),
            Some(times) => format!(", rebooted {times} times"),
        };
        let Some(during) = self.rtt_during_ms else {
            return format!(
                "p50 {} ms, longest gap {:.2} s{reboots}",
                milliseconds(self.rtt_idle_ms),
                self.longest_gap.seconds()
            );
        };
        format!(
            "p50 {} ms, {} ms while it moves; longest gap {:.2} s{reboots}",
            milliseconds(self.rtt_idle_ms),
            milliseconds(Some(during)),
            self.longest_gap.seconds()
        )
    }

    /// The picture of this measurement alone.
    pub fn picture(&self, series: &Series) -> String {
        let axis = if self.command.is_some() { "seconds after the command" } else { "seconds" };
        plot::draw(axis, &[self.panel(series)])
    }
}

fn command_line(given: &Given) -> String {
    let what = if given.line.is_empty() { "given by hand" } else { &given.line };
    let came = match (given.returned_s, given.status) {
        (Some(at), Some(0)) => format!(", returned after {:.1} s", at - given.at_s),
        (Some(at), Some(status)) => {
            format!(", returned after {:.1} s with status {status}", at - given.at_s)
        }
        (Some(at), None) => format!(", killed by a signal after {:.1} s", at - given.at_s),
        (None, _) if given.line.is_empty() => String::new(),
        (None, _) => ", had not returned by the end".to_owned(),
    };
    format!("at {:.1} s: {what}{came}", given.at_s)
}

fn colour(name: Name) -> &'static str {
    match name {
        Name::Before | Name::After => "#ffffff",
        Name::Ordered => "#90caf9",
        Name::Transfer => "#f2b84b",
        Name::Pause => "#d32f2f",
        Name::Settle => "#7fb77e",
    }
}

impl PhaseFigures {
    fn of(series: &Series, name: Name, stretch: Stretch) -> Self {
        let rtts = series.rtts(stretch);
        let sent = series.within(stretch).count();
        Self {
            name,
            stretch,
            sent,
            lost: sent - rtts.len(),
            p50_ms: quantile(&rtts, 0.5),
            p95_ms: quantile(&rtts, 0.95),
            max_ms: quantile(&rtts, 1.0),
        }
    }
}

/// The requests, one a line.
pub fn csv(series: &Series, found: &Found) -> String {
    let mut text = String::from("number,sent_s,rtt_ms,phase\n");
    for probe in &series.probes {
        let rtt = probe.rtt_ms.map(|rtt_ms| rtt_ms.to_string()).unwrap_or_default();
        let phase = found.at(probe.sent).map(Name::as_str).unwrap_or_default();
        let _ = writeln!(text, "{},{:.6},{rtt},{phase}", probe.number, probe.sent);
    }
    text
}

/// The requests as [`csv`] wrote them; `None` if a line is none of its.
pub fn read_csv(text: &str) -> Option<Vec<Probe>> {
    let probe = |line: &str| {
        let mut cells = line.split(',');
        let (number, sent, rtt) = (cells.next()?, cells.next()?, cells.next()?);
        let rtt_ms = if rtt.is_empty() { None } else { Some(rtt.parse().ok()?) };
        Some(Probe { number: number.parse().ok()?, sent: sent.parse().ok()?, rtt_ms })
    };
    text.lines().skip(1).map(probe).collect()
}

/// How many times one is of the other.
pub fn ratio(value: Option<f64>, of: Option<f64>) -> String {
    match (value, of) {
        (Some(value), Some(of)) if of > 0.0 => number(Some(value / of), 1),
        _ => UNKNOWN.to_owned(),
    }
}

/// Several measurements in one table, beside the paper's: round trips as ratios to each one's own before.
pub fn comparison(all: &[Measurement]) -> String {
    let mut table = Table::new(&[
        "",
        "idle, ms",
        "during / idle",
        "settle / idle",
        "after / idle",
        "lost",
        "longest gap, s",
        "downtime, s",
        "total, s",
        "reboots",
    ]);
    for one in all {
        let during = ratio(one.rtt_during_ms, one.rtt_idle_ms);
        table.row([
            one.name.clone(),
            milliseconds(one.rtt_idle_ms),
            during,
            ratio(one.rtt_settle_ms, one.rtt_idle_ms),
            ratio(one.rtt_after_ms, one.rtt_idle_ms),
            one.lost.to_string(),
            number(Some(one.longest_gap.seconds()), 2),
            number(Some(one.downtime_s), 2),
            number(one.total_s, 1),
            one.reboots.map_or_else(|| UNKNOWN.to_owned(), |reboots| reboots.to_string()),
        ]);
    }
    for figures in paper::MOVES {
        let idle = Some(figures.before_ms);
        let unknown = || UNKNOWN.to_owned();
        table.row([
            figures.name.to_owned(),
            milliseconds(idle),
            ratio(Some(figures.during_ms), idle),
            ratio(figures.settle_ms, idle),
            ratio(figures.after_ms, idle),
            unknown(),
            unknown(),
            unknown(),
            unknown(),
            unknown(),
        ]);
    }
    table.render()
}

/// `rows` with this one in the place of the one of its name, or at the end.
pub fn with_row(mut rows: Vec<Row>, row: Row) -> Vec<Row> {
    match rows.iter_mut().find(|known| known.name == row.name) {
        Some(known) => *known = row,
        None => rows.push(row),
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::phases;

    fn moved() -> (Series, Measurement) {
        let rtt = |number: u32| match number {
            0..200 => Some(0.25),
            200..400 => Some(1.0),
            400..500 => None,
            _ => Some(0.25),
        };
        let probes = (0..900)
            .map(|number| Probe { number: number + 1, sent: f64::from(number) * 0.01, rtt_ms: rtt(number) })
            .collect();
        let series = Series { interval: 0.01, began: 0.0, probes, duplicates: 0 };
        let found = phases::find(&series, Some(2.0), None);
        let command = Given {
            line: "systemctl stop pacemaker".to_owned(),
            at_s: 2.0,
            returned_s: Some(5.5),
            status: Some(0),
        };
        let context = Context { name: "ours".to_owned(), command: Some(command), ..Context::default() };
        (series.clone(), Measurement::of(&series, &found, context))
    }

    #[test]
    fn the_figures_are_those_of_the_series() {
        let (_, moved) = moved();
        assert_eq!((moved.lost, moved.sent), (100, 900));
        assert_eq!((moved.rtt_idle_ms, moved.rtt_during_ms), (Some(0.25), Some(1.0)));
        assert!((moved.longest_gap.seconds() - 1.01).abs() < 0.005, "{:?}", moved.longest_gap);
        assert!((moved.downtime_s - 1.0).abs() < 0.005, "{}", moved.downtime_s);
        assert!((moved.total_s.unwrap() - 3.0).abs() < 0.01, "{:?}", moved.total_s);
        assert_eq!(moved.phases.iter().map(|phase| phase.lost).sum::<usize>(), 100);
        assert_eq!(moved.phases.iter().map(|phase| phase.sent).sum::<usize>(), 900);
    }

    #[test]
    fn what_nobody_asked_the_guest_is_not_known() {
        let (_, moved) = moved();
        assert_eq!(moved.row().reboots, None);
        assert!(moved.report().contains("reboots        not known"), "{}", moved.report());
        assert!(serde_json::to_string(&moved.row()).unwrap().contains("\"reboots\":null"));
    }

    #[test]
    fn a_kept_measurement_is_read_again_as_it_was() {
        let (_, moved) = moved();
        let text = serde_json::to_string(&moved).unwrap();
        assert_eq!(serde_json::from_str::<Measurement>(&text).unwrap(), moved);
    }

    #[test]
    fn kept_requests_are_read_again_as_they_were() {
        let (series, _) = moved();
        let found = phases::find(&series, Some(2.0), None);
        let read = read_csv(&csv(&series, &found)).unwrap();
        assert_eq!(read.len(), series.probes.len());
        for (again, was) in read.iter().zip(&series.probes) {
            assert!(
                again.number == was.number
                    && again.rtt_ms == was.rtt_ms
                    && (again.sent - was.sent).abs() < 1e-6
            );
        }
        assert_eq!(read_csv("number,sent_s,rtt_ms,phase\n1,x,2,before\n"), None);
    }

    #[test]
    fn a_row_takes_the_place_of_the_one_of_its_name() {
        let (_, moved) = moved();
        let row = |name: &str, lost| Row { name: name.to_owned(), lost, ..moved.row() };
        let rows = with_row(vec![row("a", 1), row("b", 2)], row("a", 3));
        let rows = with_row(rows, row("c", 4));
        let seen: Vec<(&str, usize)> = rows.iter().map(|row| (row.name.as_str(), row.lost)).collect();
        assert_eq!(seen, [("a", 3), ("b", 2), ("c", 4)]);
    }

    #[test]
    fn the_comparison_has_the_papers_rows_as_ratios_to_their_own_idle() {
        let (_, moved) = moved();
        let table = comparison(&[moved]);
        let row = |name: &str| table.lines().find(|line| line.contains(name)).unwrap().to_owned();
        assert!(row("ours").contains(" 4.0 |"), "{table}");
        assert!(row("with its script").contains(" 4.0 |"), "{table}");
        assert!(row("Xen alone").contains(" 5.2 |"), "{table}");
    }
}
