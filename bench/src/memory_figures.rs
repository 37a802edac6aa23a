//! What `xen-handoff-bench memory` has measured: the figures as they are kept in `memory.json`, the tables and the pictures made of them.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::paper;
use crate::plot::{self, Band, Curve, Panel, Scale, Style};
use crate::rtt_figures::ratio;
use crate::series::{median, quantile};
use crate::table::{Table, milliseconds, number};
use crate::trigger::Given;
use crate::usage::Usage;

/// The form of the file.
pub const FORMAT: u32 = 1;

/// One step of the ramp.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// How much memory is held, in MiB.
    pub held_mib: f64,
    /// Whether it was reached by holding more.
    pub upward: bool,
    /// The time of a call, made one after another: the mean, in milliseconds.
    pub response_ms: Option<f64>,
    /// The time of a call at the rate, as httperf says it: the mean, to a tenth of a millisecond.
    pub at_rate_ms: Option<f64>,
    /// How much of a call the guest spent touching its memory, by its own clock, in milliseconds.
    pub touch_ms: Option<f64>,
    /// Calls without a good answer.
    pub failed: u32,
    /// How busy the machines were while it was called at the rate.
    pub usage: Vec<Usage>,
}

/// One second of calls while something goes on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Slice {
    /// When it began, in seconds after the first one.
    pub at_s: f64,
    /// When it was over: its calls wait for their answers.
    pub to_s: f64,
    /// The mean time of a call, in milliseconds.
    pub response_ms: Option<f64>,
    /// The longest.
    pub longest_ms: Option<f64>,
    /// Good answers.
    pub good: u32,
    /// Calls without one.
    pub failed: u32,
}

/// What was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// [`FORMAT`].
    pub format: u32,
    /// What the operator calls it.
    pub name: String,
    /// Who was asked.
    pub server: String,
    /// From where.
    pub client: String,
    /// Calls a second.
    pub rate: f64,
    /// The ramp; empty in a measurement over time.
    pub steps: Vec<Step>,
    /// The seconds of a measurement over time.
    pub slices: Vec<Slice>,
    /// The command.
    pub command: Option<Given>,
    /// How busy the machines were before the command, and from it on.
    pub usage_around: Vec<(Vec<Usage>, Vec<Usage>)>,
    /// How often the guest booted between beginning and end, if that can be told: 0, or at least 1.
    pub rebooted: Option<bool>,
}

impl Measurement {
    /// What a person reads.
    pub fn report(&self) -> String {
        if self.steps.is_empty() { self.report_over_time() } else { self.report_ramp() }
    }

    fn report_ramp(&self) -> String {
        let columns = columns(self.steps.iter().map(|step| step.usage.as_slice()));
        let mut head: Vec<String> = ["memory, MiB", "response, ms", "at rate, ms", "touching, ms", "failed"]
            .map(str::to_owned)
            .into();
        head.extend(columns.iter().map(|column| format!("{}, %", column.title())));
        let mut table = Table::new(&head.iter().map(String::as_str).collect::<Vec<_>>());
        for step in &self.steps {
            let mut cells = vec![
                format!("{:.0} {}", step.held_mib, if step.upward { "up" } else { "down" }),
                milliseconds(step.response_ms),
                number(step.at_rate_ms, 1),
                milliseconds(step.touch_ms),
                step.failed.to_string(),
            ];
            cells.extend(columns.iter().map(|column| number(column.of(&step.usage), 1)));
            table.row(cells);
        }
        let mut text = format!(
            "{}: {} from {}, {} calls a second\n{}",
            self.name,
            self.server,
            self.client,
            self.rate,
            table.render()
        );
        let _ = write!(text, "\n{}", beside_the_paper(std::slice::from_ref(self)));
        text
    }

    /// Response time with the least and with the most memory, and the busiest host's mean use.
    fn summary(&self) -> (Option<f64>, Option<f64>, Option<f64>) {
        let of =
            |steps: &[&Step]| median(&steps.iter().filter_map(|step| step.response_ms).collect::<Vec<_>>());
        let most = self.steps.iter().map(|step| step.held_mib).fold(0.0, f64::max);
        let least = self.steps.iter().map(|step| step.held_mib).fold(f64::INFINITY, f64::min);
        let with = |held: f64| -> Vec<&Step> {
            self.steps.iter().filter(|step| (step.held_mib - held).abs() < 0.5).collect()
        };
        let busiest = |step: &Step| step.usage.iter().map(|usage| usage.host).reduce(f64::max);
        let hosts: Vec<f64> = self.steps.iter().filter_map(busiest).collect();
        (of(&with(least)), of(&with(most)), median(&hosts))
    }

    fn report_over_time(&self) -> String {
        let parts = self.parts();
        let mut table =
            Table::new(&["", "time, s", "response p50, ms", "p95, ms", "longest, ms", "good", "failed"]);
        for (name, from, to) in &parts {
            let slices: Vec<&Slice> =
                self.slices.iter().filter(|slice| (*from..*to).contains(&slice.at_s)).collect();
            let times: Vec<f64> = slices.iter().filter_map(|slice| slice.response_ms).collect();
            let longest = slices.iter().filter_map(|slice| slice.longest_ms).reduce(f64::max);
            table.row([
                (*name).to_owned(),
                format!("{from:.1} - {to:.1}"),
                milliseconds(median(&times)),
                milliseconds(quantile(&times, 0.95)),
                milliseconds(longest),
                slices.iter().map(|slice| slice.good).sum::<u32>().to_string(),
                slices.iter().map(|slice| slice.failed).sum::<u32>().to_string(),
            ]);
        }
        let mut text = format!("{}: {} from {}\n{}", self.name, self.server, self.client, table.render());
        if let Some(given) = &self.command {
            let _ = writeln!(text, "\ncommand at {:.1} s: {}", given.at_s, given.line);
        }
        let rebooted = match self.rebooted {
            Some(true) => "yes",
            Some(false) => "no",
            None => "not known: it does not answer at the end",
        };
        let _ = writeln!(text, "rebooted: {rebooted}");
        for (before, from_then_on) in &self.usage_around {
            let columns = columns([before.as_slice(), from_then_on.as_slice()].into_iter());
            let mut table = Table::new(&["processors, %", "before", "from the command on"]);
            for column in columns {
                table.row([column.title(), number(column.of(before), 1), number(column.of(from_then_on), 1)]);
            }
            let _ = write!(text, "\n{}", table.render());
        }
        text
    }

    /// Before the command, during what it did, after: *during* lasts until the command has returned and the last call that
    /// failed or that took more than twice the usual time before is over.
    fn parts(&self) -> Vec<(&'static str, f64, f64)> {
        let end = self.slices.iter().map(|slice| slice.to_s).fold(0.0, f64::max) + 0.001;
        let Some(given) = &self.command else { return vec![("quiet", 0.0, end)] };
        let before: Vec<f64> = self
            .slices
            .iter()
            .filter(|slice| slice.to_s <= given.at_s)
            .filter_map(|slice| slice.response_ms)
            .collect();
        let usual = median(&before).unwrap_or(f64::INFINITY);
        let disturbed = self
            .slices
            .iter()
            .filter(|slice| slice.to_s > given.at_s)
            .filter(|slice| slice.failed > 0 || slice.response_ms.is_some_and(|time| time > 2.0 * usual))
            .map(|slice| slice.to_s)
            .fold(given.at_s, f64::max);
        let over = disturbed.max(given.returned_s.unwrap_or(end)).min(end);
        let parts = [("before", 0.0, given.at_s), ("during", given.at_s, over), ("after", over, end)];
        parts.into_iter().filter(|(_, from, to)| to > from).collect()
    }

    /// The picture.
    pub fn picture(&self) -> String {
        if self.steps.is_empty() { self.picture_over_time() } else { self.picture_ramp() }
    }

    fn picture_ramp(&self) -> String {
        let curve =
            |name: &str, points: Vec<(f64, f64)>| Curve { name: name.to_owned(), points, style: Style::Line };
        let times = |upward: bool, of: fn(&Step) -> Option<f64>| -> Vec<(f64, f64)> {
            let top = self.steps.iter().map(|step| step.held_mib).fold(0.0, f64::max);
            // The way down begins at the top.
            let on_the_way = |step: &&Step| step.upward == upward || step.held_mib >= top;
            self.steps.iter().filter(on_the_way).filter_map(|step| Some((step.held_mib, of(step)?))).collect()
        };
        let mut curves = vec![
            curve("response, up", times(true, |step| step.response_ms)),
            curve("response, down", times(false, |step| step.response_ms)),
            curve("touching the memory, up", times(true, |step| step.touch_ms)),
        ];
        curves.retain(|curve| !curve.points.is_empty());
        let panel = |title: &str, outcome: String, axis: &str, curves| Panel {
            title: title.to_owned(),
            outcome,
            axis: axis.to_owned(),
            scale: Scale::Linear,
            bands: Vec::new(),
            marks: Vec::new(),
            curves,
        };
        let calls = format!("{} from {}", self.server, self.client);
        let columns = columns(self.steps.iter().map(|step| step.usage.as_slice()));
        let busy = columns.iter().map(|column| {
            let upward = self.steps.iter().filter(|step| step.upward);
            let points = upward.filter_map(|step| Some((step.held_mib, column.of(&step.usage)?)));
            curve(&column.title(), points.collect())
        });
        let rate = format!("at {} calls a second", self.rate);
        plot::draw(
            "memory held, MiB",
            &[
                panel(&self.name, calls, "response time, ms", curves),
                panel("Processors", rate, "busy, %", busy.collect()),
            ],
        )
    }

    fn picture_over_time(&self) -> String {
        let zero = self.command.as_ref().map_or(0.0, |given| given.at_s);
        let points = self.slices.iter().filter_map(|slice| Some((slice.at_s - zero, slice.response_ms?)));
        let failed =
            self.slices.iter().filter(|slice| slice.failed > 0).map(|slice| (slice.at_s - zero, 0.0));
        let curve = |name: &str, points, style| Curve { name: name.to_owned(), points, style };
        let colours =
            [("before", "#ffffff"), ("during", "#f2b84b"), ("after", "#ffffff"), ("quiet", "#ffffff")];
        let bands = self.parts().into_iter().map(|(name, from, to)| Band {
            name: name.to_owned(),
            span: (from - zero, to - zero),
            colour: colours.iter().find(|(known, _)| *known == name).map_or("#ffffff", |(_, colour)| colour),
        });
        let panel = Panel {
            title: self.name.clone(),
            outcome: format!("{} calls a second", self.rate),
            axis: "response time, ms".to_owned(),
            scale: Scale::Powers,
            bands: bands.collect(),
            marks: Vec::new(),
            curves: vec![
                curve("mean of a second's calls", points.collect(), Style::Line),
                curve("a call failed", failed.collect(), Style::Ticks),
            ],
        };
        plot::draw(if self.command.is_some() { "seconds after the command" } else { "seconds" }, &[panel])
    }

    /// One line a step, or a second.
    pub fn csv(&self) -> String {
        let cell = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
        let mut text = String::new();
        if self.steps.is_empty() {
            text.push_str("at_s,to_s,response_ms,longest_ms,good,failed\n");
            for slice in &self.slices {
                let (response, longest) = (cell(slice.response_ms), cell(slice.longest_ms));
                let _ = writeln!(
                    text,
                    "{:.3},{:.3},{response},{longest},{},{}",
                    slice.at_s, slice.to_s, slice.good, slice.failed
                );
            }
            return text;
        }
        let columns = columns(self.steps.iter().map(|step| step.usage.as_slice()));
        text.push_str("held_mib,direction,response_ms,at_rate_ms,touch_ms,failed");
        for column in &columns {
            let _ = write!(text, ",{}_percent", column.title().replace(' ', "_"));
        }
        text.push('\n');
        for step in &self.steps {
            let direction = if step.upward { "up" } else { "down" };
            let times = [step.response_ms, step.at_rate_ms, step.touch_ms].map(cell).join(",");
            let _ = write!(text, "{},{direction},{times},{}", step.held_mib, step.failed);
            for column in &columns {
                let _ = write!(text, ",{}", cell(column.of(&step.usage)));
            }
            text.push('\n');
        }
        text
    }
}

/// The ramps whose pictures `make man` draws: the name of the picture in `doc/plots`, and that of the ramp in `doc/results.md`.
pub const RAMPS: [(&str, &str); 2] = [
    ("memory-xen", "guest to guest under Xen, two nodes"),
    ("memory-plain", "machine to machine, no hypervisor"),
];

/// The ramp of this name in a page, as far as its table has it; `None` where it is not there.
pub fn read(page: &str, name: &str) -> Option<Measurement> {
    let cells = |line: &str| -> Vec<String> {
        line.trim().trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    let begin = format!("{name}: ");
    let mut lines = page.lines().skip_while(|line| !line.starts_with(&begin));
    let words = lines.next()?.strip_prefix(&begin)?;
    let (ends, rate) = words.strip_suffix(" calls a second")?.rsplit_once(", ")?;
    let (server, client) = ends.split_once(" from ")?;
    let head = cells(lines.next()?);
    let busy: Vec<&str> = head.get(5..)?.iter().filter_map(|title| title.strip_suffix(", %")).collect();
    let value = |cell: &String| cell.parse().ok();
    let step = |line: &str| {
        let cells = cells(line);
        let (held, direction) = cells.first()?.split_once(' ')?;
        let mut usage: Vec<Usage> = Vec::new();
        for (title, percent) in busy.iter().zip(cells.get(5..)?) {
            let (node, of) = title.split_once(' ')?;
            if usage.last().is_none_or(|last| last.node != node) {
                usage.push(Usage { node: node.to_owned(), host: 0.0, domains: Vec::new() });
            }
            let (usage, percent) = (usage.last_mut()?, value(percent)?);
            match of {
                "host" => usage.host = percent,
                domain => usage.domains.push((domain.to_owned(), percent)),
            }
        }
        Some(Step {
            held_mib: held.parse().ok()?,
            upward: direction == "up",
            response_ms: value(cells.get(1)?),
            at_rate_ms: value(cells.get(2)?),
            touch_ms: value(cells.get(3)?),
            failed: cells.get(4)?.parse().ok()?,
            usage,
        })
    };
    Some(Measurement {
        format: FORMAT,
        name: name.to_owned(),
        server: server.to_owned(),
        client: client.to_owned(),
        rate: rate.parse().ok()?,
        steps: lines.skip(1).map_while(step).collect(),
        slices: Vec::new(),
        command: None,
        usage_around: Vec::new(),
        rebooted: None,
    })
}

/// One thing that is busy: a node's domain, or a whole node.
#[derive(Debug, Clone, PartialEq)]
struct Column {
    node: String,
    domain: Option<String>,
}

impl Column {
    fn title(&self) -> String {
        match &self.domain {
            Some(domain) => format!("{} {domain}", self.node),
            None => format!("{} host", self.node),
        }
    }

    fn of(&self, usage: &[Usage]) -> Option<f64> {
        let node = usage.iter().find(|usage| usage.node == self.node)?;
        match &self.domain {
            None => Some(node.host),
            Some(domain) => node.domains.iter().find(|(name, _)| name == domain).map(|(_, percent)| *percent),
        }
    }
}

/// Everything that was ever busy, each node's domains before the node itself.
fn columns<'u>(all: impl Iterator<Item = &'u [Usage]>) -> Vec<Column> {
    let mut columns: Vec<Column> = Vec::new();
    for usage in all.flatten() {
        let domains = usage.domains.iter().map(|(name, _)| Some(name.clone()));
        for domain in domains.chain([None]) {
            let column = Column { node: usage.node.clone(), domain };
            if !columns.contains(&column) {
                columns.push(column);
            }
        }
    }
    columns.sort_by(|a, b| a.node.cmp(&b.node).then(a.domain.is_none().cmp(&b.domain.is_none())));
    columns
}

/// Ramps in one table, with the paper's.
pub fn beside_the_paper(all: &[Measurement]) -> String {
    let mut table =
        Table::new(&["", "least memory, ms", "most memory, ms", "most / least", "busiest host, %"]);
    for one in all {
        let (least, most, busy) = one.summary();
        table.row([
            one.name.clone(),
            milliseconds(least),
            milliseconds(most),
            ratio(most, least),
            number(busy, 0),
        ]);
    }
    for one in paper::MEMORY {
        let (least, most) = one.response_ms;
        table.row([
            one.name.to_owned(),
            milliseconds(Some(least)),
            milliseconds(Some(most)),
            ratio(Some(most), Some(least)),
            number(Some(one.processor), 0),
        ]);
    }
    table.render()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measurement() -> Measurement {
        Measurement {
            format: FORMAT,
            name: "guest to guest".to_owned(),
            server: "x0".to_owned(),
            client: "here".to_owned(),
            rate: 50.0,
            steps: Vec::new(),
            slices: Vec::new(),
            command: None,
            usage_around: Vec::new(),
            rebooted: Some(false),
        }
    }

    fn step(held_mib: f64, upward: bool, response_ms: f64) -> Step {
        let domains = vec![("Domain-0".to_owned(), 20.0), ("x0".to_owned(), held_mib)];
        Step {
            held_mib,
            upward,
            response_ms: Some(response_ms),
            at_rate_ms: Some(0.1),
            touch_ms: Some(response_ms / 2.0),
            failed: 0,
            usage: vec![Usage { node: "node1".to_owned(), host: 30.0, domains }],
        }
    }

    #[test]
    fn the_ramps_table_has_a_column_for_all_that_was_busy_and_the_paper_beside_it() {
        let steps = vec![step(10.0, true, 0.5), step(20.0, true, 1.0), step(10.0, false, 0.5)];
        let report = Measurement { steps, ..measurement() }.report();
        assert!(report.contains("node1 Domain-0, % | node1 x0, % | node1 host, % |"), "{report}");
        assert!(report.contains("| 10 down"), "{report}");
        let ours = report.lines().find(|line| line.starts_with("| guest to guest")).unwrap();
        assert!(
            ours.contains("0.500")
                && ours.contains("1.00")
                && ours.contains(" 2.0 |")
                && ours.contains(" 30 |")
        );
        assert!(report.contains("the paper, plain machine"));
    }

    #[test]
    fn the_committed_pictures_are_those_of_the_tables_in_the_results() {
        const PAGE: &str = include_str!("../../doc/results.md");
        for (file, name) in RAMPS {
            let committed =
                std::fs::read_to_string(format!("{}/../doc/plots/{file}.svg", env!("CARGO_MANIFEST_DIR")))
                    .unwrap();
            let ramp = read(PAGE, name).unwrap();
            // As it is printed, so that what is measured anew is read in the same way.
            assert!(PAGE.contains(&ramp.report()), "{}", ramp.report());
            assert_eq!(committed, ramp.picture(), "make man");
        }
        assert_eq!(read(PAGE, "nothing"), None);
    }

    fn slice(at: f64, response_ms: f64, failed: u32) -> Slice {
        let response_ms = (failed < 50).then_some(response_ms);
        Slice { at_s: at, to_s: at + 1.0, response_ms, longest_ms: response_ms, good: 50 - failed, failed }
    }

    #[test]
    fn a_disturbance_lasts_until_calls_are_answered_as_before() {
        let mut slices: Vec<Slice> = (0..5).map(|at| slice(f64::from(at), 1.0, 0)).collect();
        slices.extend([slice(5.0, 1.5, 0), slice(6.0, 0.0, 50), slice(7.0, 4.0, 0), slice(8.0, 1.0, 0)]);
        let command = Given { line: "move".to_owned(), at_s: 5.0, returned_s: Some(6.5), status: Some(0) };
        let over_time = Measurement { slices, command: Some(command), ..measurement() };
        let parts: Vec<(&str, f64)> =
            over_time.parts().into_iter().map(|(name, _, to)| (name, to.round())).collect();
        assert_eq!(parts, [("before", 5.0), ("during", 8.0), ("after", 9.0)]);
        let report = over_time.report();
        assert!(report.contains("rebooted: no"), "{report}");
        assert_eq!(over_time.csv().lines().count(), 10);
    }

    #[test]
    fn a_kept_measurement_is_read_again_as_it_was() {
        let kept = Measurement { steps: vec![step(10.0, true, 0.5)], ..measurement() };
        let text = serde_json::to_string(&kept).unwrap();
        assert_eq!(serde_json::from_str::<Measurement>(&text).unwrap(), kept);
    }
}
