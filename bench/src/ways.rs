//! Several ways to move a guest, a bar each: how long it answered, was slow, was silent. Read in ten seconds;
//! the dots of every ping are in the other picture.
//!
//! The figures stand in a table (`xen-handoff-bench compare` prints it, `doc/results.md` has it), and the
//! picture is made from that, so that the two cannot differ.

use std::fmt::Write;

use crate::phases::Name;
use crate::plot::{FONT, escape};
use crate::rtt_figures::Measurement;
use crate::table::{Table, UNKNOWN, number};

const WIDTH: f64 = 900.0;
/// Where the bars begin: right of the names.
const LEFT: f64 = 326.0;
/// Room for what stands behind the longest bar.
const RIGHT: f64 = 190.0;
const TOP: f64 = 92.0;
const BAR: f64 = 28.0;
const PITCH: f64 = 46.0;
/// A part that is narrower has no figure in it.
const NARROW: f64 = 26.0;

/// Those of Okabe and Ito, which the colour-blind tell apart; and of different brightness, for who sees none.
const ANSWERS: Colour = Colour { fill: "#56B4E9", text: "#000" };
const SLOW: Colour = Colour { fill: "#F0E442", text: "#000" };
const SILENT: Colour = Colour { fill: "#000000", text: "#fff" };
const REBOOTS: Colour = Colour { fill: "#D55E00", text: "#fff" };

#[derive(Debug, Clone, Copy)]
struct Colour {
    fill: &'static str,
    text: &'static str,
}

const HEAD: [&str; 7] = [
    "seconds",
    "answers as before",
    "slow, on its way",
    "silent",
    "slow, arrived",
    "as before again after",
    "reboots",
];

/// One of them, in seconds from the command on.
#[derive(Debug, Clone, PartialEq)]
pub struct Way {
    /// What was done.
    pub name: String,
    /// The command was given, and the guest answers as before.
    pub answers: f64,
    /// It answers, slower: its memory is sent, or it shuts down.
    pub slow: f64,
    /// It does not answer.
    pub silent: f64,
    /// It answers from where it is now, not yet as it will.
    pub settles: f64,
    /// How often it booted, where that is known.
    pub reboots: Option<usize>,
}

impl Way {
    /// `None` where no command was given, or nothing moved.
    pub fn of(measurement: &Measurement) -> Option<Self> {
        measurement.total_s?;
        let length = |name| {
            let phase = measurement.phases.iter().find(|phase| phase.name == name);
            phase.map_or(0.0, |phase| phase.stretch.seconds())
        };
        Some(Self {
            name: measurement.name.clone(),
            answers: length(Name::Ordered),
            slow: length(Name::Transfer),
            silent: length(Name::Pause),
            settles: length(Name::Settle),
            reboots: measurement.reboots,
        })
    }

    fn seconds(&self) -> f64 {
        self.answers + self.slow + self.silent + self.settles
    }

    /// The parts of its bar, in order.
    fn parts(&self) -> [(f64, Colour); 4] {
        let silence = if self.reboots.unwrap_or_default() > 0 { REBOOTS } else { SILENT };
        [(self.answers, ANSWERS), (self.slow, SLOW), (self.silent, silence), (self.settles, SLOW)]
    }

    /// What stands behind its bar.
    fn outcome(&self) -> String {
        let reboots = match self.reboots {
            None => "",
            Some(0) => ", the same guest",
            Some(_) => ", rebooted",
        };
        format!("{:.0} s{reboots}", self.seconds())
    }
}

/// The table; empty where nothing moved.
pub fn table(ways: &[Way]) -> String {
    if ways.is_empty() {
        return String::new();
    }
    let mut table = Table::new(&HEAD);
    for way in ways {
        let of = |seconds: f64| number((seconds > 0.0).then_some(seconds), 1);
        table.row([
            way.name.clone(),
            of(way.answers),
            of(way.slow),
            of(way.silent),
            of(way.settles),
            of(way.seconds()),
            way.reboots.map_or_else(|| UNKNOWN.to_owned(), |reboots| reboots.to_string()),
        ]);
    }
    table.render()
}

/// The rows of that table in a page; none where it is not there.
pub fn read(page: &str) -> Vec<Way> {
    let cells = |line: &str| -> Vec<String> {
        line.trim().trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    let mut lines = page.lines().skip_while(|line| cells(line) != HEAD);
    lines.by_ref().take(2).for_each(drop);
    let row = |cells: Vec<String>| {
        let [name, answers, slow, silent, settles, _, reboots] = <[String; 7]>::try_from(cells).ok()?;
        let seconds = |cell: String| if cell == UNKNOWN { Some(0.0) } else { cell.parse().ok() };
        Some(Way {
            name,
            answers: seconds(answers)?,
            slow: seconds(slow)?,
            silent: seconds(silent)?,
            settles: seconds(settles)?,
            reboots: reboots.parse().ok(),
        })
    };
    lines.take_while(|line| line.starts_with('|')).map_while(|line| row(cells(line))).collect()
}

/// The picture.
pub fn picture(ways: &[Way]) -> String {
    let longest = ways.iter().map(Way::seconds).fold(1.0, f64::max);
    let x = |seconds: f64| LEFT + seconds / longest * (WIDTH - LEFT - RIGHT);
    let height = TOP + ways.len() as f64 * PITCH + 42.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"{FONT}\" font-size=\"14\" role=\"img\" aria-labelledby=\"t\">\n<title id=\"t\">{}</title>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n",
        escape(&in_words(ways))
    );
    text(
        &mut svg,
        (16.0, 28.0),
        "#000",
        "font-size=\"18\" font-weight=\"bold\"",
        "How a guest answers while it leaves its node",
    );
    legend(&mut svg);
    for (place, way) in ways.iter().enumerate() {
        let y = TOP + place as f64 * PITCH;
        let base = y + BAR * 0.5 + 5.0;
        text(&mut svg, (LEFT - 12.0, base), "#000", "text-anchor=\"end\"", &way.name);
        let mut at = 0.0;
        for (seconds, Colour { fill, text: ink }) in way.parts() {
            let (from, to) = (x(at), x(at + seconds));
            at += seconds;
            if seconds <= 0.0 {
                continue;
            }
            let _ = writeln!(
                svg,
                "<rect x=\"{from:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{BAR}\" fill=\"{fill}\"/>",
                to - from
            );
            if to - from >= NARROW {
                let label = format!("{seconds:.0} s");
                text(&mut svg, ((from + to) / 2.0, base), ink, "text-anchor=\"middle\"", &label);
            }
        }
        text(&mut svg, (x(at) + 8.0, base), "#000", "font-weight=\"bold\"", &way.outcome());
    }
    let below = TOP + ways.len() as f64 * PITCH + 10.0;
    let note = "font-size=\"12\"";
    text(&mut svg, (LEFT, below), "#444", note, "From the command until it answers as before, in seconds.");
    // The stock agent and xl do not say when the stream begins.
    if ways.iter().any(|way| way.answers <= 0.0) {
        let unknown = "A bar that begins yellow: when its stream began is not known.";
        text(&mut svg, (LEFT, below + 18.0), "#444", note, unknown);
    }
    svg.push_str("</svg>\n");
    svg
}

fn legend(svg: &mut String) {
    let mut x = 16.0;
    for (Colour { fill, .. }, name) in [
        (ANSWERS, "answers as before"),
        (SLOW, "answers, slower"),
        (SILENT, "silent, then goes on"),
        (REBOOTS, "silent, since it reboots"),
    ] {
        let _ = writeln!(
            svg,
            "<rect x=\"{x:.1}\" y=\"48\" width=\"16\" height=\"16\" fill=\"{fill}\" stroke=\"#000\"/>"
        );
        text(svg, (x + 22.0, 61.0), "#000", "", name);
        x += 22.0 + name.chars().count() as f64 * 8.3 + 24.0;
    }
}

/// For who cannot see it.
fn in_words(ways: &[Way]) -> String {
    let one = |way: &Way| {
        let silent = format!("silent for {:.0} of {:.0} s", way.silent, way.seconds());
        let reboots = if way.reboots.unwrap_or_default() > 0 { ", rebooted" } else { "" };
        format!("{}: {silent}{reboots}", way.name)
    };
    ways.iter().map(one).collect::<Vec<_>>().join("; ")
}

fn text(svg: &mut String, (x, y): (f64, f64), colour: &str, how: &str, content: &str) {
    let content = escape(content);
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" fill=\"{colour}\" {how}>{content}</text>");
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = include_str!("../../doc/results.md");

    #[test]
    fn the_committed_picture_is_that_of_the_table_in_the_results() {
        let ways = read(PAGE);
        assert_eq!(ways.len(), 5, "five ways in doc/results.md");
        assert_eq!(include_str!("../../doc/plots/ways.svg"), picture(&ways), "make man");
        // As compare prints it, so that what is measured anew is read in the same way.
        assert!(PAGE.contains(&table(&ways)), "{}", table(&ways));
    }

    #[test]
    fn the_bars_and_the_totals_are_of_the_same_runs() {
        for way in read(PAGE) {
            let row = PAGE.lines().find(|line| line.starts_with(&format!("| {} ", way.name))).unwrap();
            let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
            let (gap, total): (f64, f64) = (cells[6].parse().unwrap(), cells[8].parse().unwrap());
            assert!((way.silent - gap).abs() < 0.11, "{row}: {way:?}");
            assert!((way.answers + way.slow + way.silent - total).abs() < 0.21, "{row}: {way:?}");
            assert_eq!(way.reboots, cells[9].parse().ok(), "{row}");
        }
    }

    #[test]
    fn a_guest_that_reboots_has_another_colour_and_nothing_leaves_the_picture() {
        let way = |name: &str, reboots| Way {
            name: name.to_owned(),
            answers: 0.0,
            slow: 3.0,
            silent: 40.0,
            settles: 0.5,
            reboots,
        };
        let ways = [way("a < b", Some(1)), way("b", Some(0)), way("c", None)];
        let svg = picture(&ways);
        let bars = |colour: Colour| svg.matches(&format!("height=\"28\" fill=\"{}\"", colour.fill)).count();
        assert_eq!((bars(REBOOTS), bars(SILENT), bars(ANSWERS)), (1, 2, 0), "{svg}");
        assert!(
            svg.contains("a &lt; b") && svg.contains(">44 s, rebooted<") && svg.contains(">44 s<"),
            "{svg}"
        );
        assert_eq!(read(&table(&ways)), ways);
        assert_eq!((table(&[]).as_str(), read("nothing")), ("", Vec::new()));
    }
}
