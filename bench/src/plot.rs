//! Pictures of measurements: panels under each other on one axis, as an SVG file. The bench and the lab's demo draw with it.

use std::fmt::Write;

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 200.0;
const LEFT: f64 = 78.0;
const RIGHT: f64 = 24.0;
/// The title's line, and the room between it and the labels.
const TITLE: f64 = 34.0;
const LABEL: f64 = 15.0;
/// Ticks and their numbers.
const TICKS: f64 = 26.0;
const LEGEND: f64 = 20.0;
/// A curve's sample in the legend.
const SAMPLE: f64 = 22.0;
/// About the width of a character at the labels' size.
const CHARACTER: f64 = 6.6;
pub(crate) const FONT: &str = "DejaVu Sans, Helvetica, Arial, sans-serif";

/// The colours of curves, in order: those of Okabe and Ito, which the colour-blind tell apart, but for the yellow, which is faint on white.
const COLOURS: [&str; 7] = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#E69F00", "#56B4E9"];

/// How a curve looks. The panel gives it, so that no two of its curves look the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Look {
    colour: &'static str,
    /// How often the colours were used up before it: a line is broken by more dots then, a dot is larger, a tick longer.
    round: usize,
}

impl Look {
    /// Of a panel's curve at this place.
    fn at(place: usize) -> Self {
        Self { colour: COLOURS[place % COLOURS.len()], round: place / COLOURS.len() }
    }

    /// A line's dashes and dots; none in a whole one.
    fn dashes(self) -> String {
        match self.round {
            0 => String::new(),
            round => format!(" stroke-dasharray=\"8 3{}\"", " 2 3".repeat(round - 1)),
        }
    }
}

/// How an axis counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// Evenly, from nought.
    Linear,
    /// In powers of ten.
    Powers,
}

/// A coloured stretch of the common axis with a name.
#[derive(Debug, Clone)]
pub struct Band {
    /// Its name, written above; may be empty.
    pub name: String,
    /// Where it begins and ends.
    pub span: (f64, f64),
    /// Its colour.
    pub colour: &'static str,
}

/// How a curve is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// A dot for each point.
    Dots,
    /// A dot for each point, joined by lines.
    Line,
    /// A tick for each point at the top, whatever its value.
    Ticks,
}

/// Points with a name.
#[derive(Debug, Clone)]
pub struct Curve {
    /// Its name in the legend; no legend if it is empty.
    pub name: String,
    /// The points.
    pub points: Vec<(f64, f64)>,
    /// How it is drawn.
    pub style: Style,
}

/// One picture of several.
#[derive(Debug, Clone)]
pub struct Panel {
    /// What was done.
    pub title: String,
    /// What came of it.
    pub outcome: String,
    /// What the upward axis counts, with its unit.
    pub axis: String,
    /// How it counts.
    pub scale: Scale,
    /// What happened meanwhile.
    pub bands: Vec<Band>,
    /// Lines across the panel, where the common axis has a meaning there: a place and its name.
    pub marks: Vec<(f64, String)>,
    /// What was measured.
    pub curves: Vec<Curve>,
}

/// Draws the panels under each other. `axis` is what the common axis counts, with its unit. Panels whose upward axes count the
/// same have the same one, so that their heights can be compared.
pub fn draw(axis: &str, panels: &[Panel]) -> String {
    let across = Across::over(panels);
    let mut body = String::new();
    let mut y = 4.0;
    for panel in panels {
        let alike = panels.iter().filter(|other| other.axis == panel.axis && other.scale == panel.scale);
        y = across.panel(&mut body, panel, Range::over(panel.scale, alike), y);
    }
    text(&mut body, (LEFT + WIDTH - RIGHT) / 2.0, y + 12.0, "middle", "#444", &escape(axis));
    let height = y + 24.0;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"{FONT}\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n{body}</svg>\n"
    )
}

/// The common axis.
#[derive(Debug)]
struct Across {
    first: f64,
    last: f64,
}

/// From where to where an upward axis goes: powers of ten, or values.
#[derive(Debug, Clone, Copy)]
struct Range {
    scale: Scale,
    low: f64,
    high: f64,
}

/// The upward axis of one panel, and where the panel's top is.
#[derive(Debug, Clone, Copy)]
struct Up {
    range: Range,
    top: f64,
}

impl Across {
    fn over(panels: &[Panel]) -> Self {
        let points = panels.iter().flat_map(|panel| &panel.curves).flat_map(|curve| &curve.points);
        let ends = panels.iter().flat_map(|panel| &panel.bands).flat_map(|band| [band.span.0, band.span.1]);
        let all = points.map(|(x, _)| *x).chain(ends).filter(|x| x.is_finite());
        let (first, last) =
            all.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)));
        match first.is_finite() {
            true if last > first => Self { first, last },
            true => Self { first: first - 1.0, last: first + 1.0 },
            false => Self { first: 0.0, last: 1.0 },
        }
    }

    fn x(&self, value: f64) -> f64 {
        let part = (value - self.first) / (self.last - self.first);
        LEFT + part.clamp(0.0, 1.0) * (WIDTH - LEFT - RIGHT)
    }

    /// Draws a panel that begins at `y`, and says where the next one may.
    fn panel(&self, svg: &mut String, panel: &Panel, range: Range, y: f64) -> f64 {
        let title = format!(
            "<tspan font-weight=\"bold\">{}</tspan>  {}",
            escape(&panel.title),
            escape(&panel.outcome)
        );
        text(svg, LEFT, y + 16.0, "start", "#111", &title);
        let labels: Vec<(f64, &str)> = panel
            .bands
            .iter()
            .map(|band| (band.span.0, band.name.as_str()))
            .chain(panel.marks.iter().map(|(at, name)| (*at, name.as_str())))
            .filter(|(_, name)| !name.is_empty())
            .collect();
        let (placed, rows) = self.place(&labels);
        let top = y + TITLE + LABEL * rows;
        let up = Up { range, top };
        for band in &panel.bands {
            self.band(svg, band, top);
        }
        self.axes(svg, panel, up);
        for (at, _) in &panel.marks {
            line(svg, (self.x(*at), top), (self.x(*at), top + HEIGHT), "#222", 1.0);
        }
        for (x, at, row, name) in placed {
            let y = top - 5.0 - LABEL * row;
            // A hair from the label to what it names, where it does not stand right above it.
            line(svg, (self.x(at), y - 9.0), (self.x(at), top), "#999", 0.5);
            text(svg, x, y, "start", "#333", &escape(name));
        }
        for (place, curve) in panel.curves.iter().enumerate() {
            self.curve(svg, curve, Look::at(place), up);
        }
        let below = top + HEIGHT + TICKS;
        if legend(svg, &panel.curves, below + 6.0) { below + LEGEND + 6.0 } else { below + 4.0 }
    }

    /// Where labels go so that none covers another: x, what it names, its row above the panel, and the text.
    fn place<'l>(&self, labels: &[(f64, &'l str)]) -> (Vec<(f64, f64, f64, &'l str)>, f64) {
        let mut sorted = labels.to_vec();
        sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut ends: Vec<f64> = Vec::new();
        let mut placed = Vec::new();
        for (at, name) in sorted {
            let wide = name.chars().count() as f64 * CHARACTER + 8.0;
            let x = (self.x(at) + 3.0).min(WIDTH - wide);
            let free = ends.iter().position(|end| *end <= x);
            let row = free.unwrap_or(ends.len());
            match ends.get_mut(row) {
                Some(end) => *end = x + wide,
                None => ends.push(x + wide),
            }
            placed.push((x, at, row as f64, name));
        }
        let rows = ends.len() as f64;
        (placed, rows)
    }

    fn band(&self, svg: &mut String, band: &Band, top: f64) {
        let (from, to) = (self.x(band.span.0), self.x(band.span.1));
        let width = (to - from).max(1.0);
        let _ = writeln!(
            svg,
            "<rect x=\"{from:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{HEIGHT}\" fill=\"{}\" fill-opacity=\"0.25\"/>",
            band.colour
        );
    }

    fn axes(&self, svg: &mut String, panel: &Panel, up: Up) {
        for (value, label) in up.range.ticks() {
            let y = up.y(value);
            line(svg, (LEFT, y), (WIDTH - RIGHT, y), "#ddd", 1.0);
            text(svg, LEFT - 6.0, y + 4.0, "end", "#444", &label);
        }
        let middle = up.top + HEIGHT / 2.0;
        let _ = writeln!(
            svg,
            "<text transform=\"translate(16 {middle:.1}) rotate(-90)\" text-anchor=\"middle\" fill=\"#444\">{}</text>",
            escape(&panel.axis)
        );
        let bottom = up.top + HEIGHT;
        for (value, label) in linear_ticks(self.first, self.last, 12.0) {
            let x = self.x(value);
            line(svg, (x, bottom), (x, bottom + 4.0), "#888", 1.0);
            text(svg, x, bottom + 17.0, "middle", "#444", &label);
        }
        line(svg, (LEFT, bottom), (WIDTH - RIGHT, bottom), "#888", 1.0);
        line(svg, (LEFT, up.top), (LEFT, bottom), "#888", 1.0);
    }

    fn curve(&self, svg: &mut String, curve: &Curve, look: Look, up: Up) {
        let spots = curve.points.iter().filter(|(x, y)| x.is_finite() && y.is_finite());
        let spots: Vec<(f64, f64)> = spots.map(|(x, y)| (self.x(*x), up.y(*y))).collect();
        let (colour, round) = (look.colour, look.round as f64);
        match curve.style {
            Style::Dots => dots(svg, &spots, colour, 3.0 + 3.0 * round),
            Style::Ticks => {
                let mut path = String::new();
                for x in distinct(spots.iter().map(|(x, _)| *x)) {
                    let _ = write!(path, "M{x} {:.1}v{}", up.top + 2.0, 7.0 + 5.0 * round);
                }
                let _ = writeln!(svg, "<path fill=\"none\" stroke=\"{colour}\" d=\"{path}\"/>");
            }
            Style::Line => {
                let joined: Vec<String> = spots.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
                let _ = writeln!(
                    svg,
                    "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"{} points=\"{}\"/>",
                    look.dashes(),
                    joined.join(" ")
                );
                dots(svg, &spots, colour, 10.0);
            }
        }
    }
}

impl Range {
    fn over<'p>(scale: Scale, panels: impl Iterator<Item = &'p Panel>) -> Self {
        let curves = panels.flat_map(|panel| &panel.curves).filter(|curve| curve.style != Style::Ticks);
        let values = curves.flat_map(|curve| &curve.points).map(|(_, y)| *y).filter(|y| y.is_finite());
        let (low, high) = match scale {
            Scale::Linear => (0.0, values.fold(0.0, f64::max) * 1.08),
            Scale::Powers => {
                let powers = values.filter(|y| *y > 0.0).map(f64::log10);
                let (low, high) = powers.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), power| {
                    (low.min(power.floor()), high.max(power.ceil()))
                });
                if low.is_finite() { (low, high.max(low + 1.0)) } else { (0.0, 1.0) }
            }
        };
        Self { scale, low, high: if high > low { high } else { low + 1.0 } }
    }

    fn ticks(self) -> Vec<(f64, String)> {
        match self.scale {
            Scale::Linear => linear_ticks(self.low, self.high, 5.0),
            Scale::Powers => {
                let mut ticks = Vec::new();
                let mut power = self.low;
                while power <= self.high {
                    let value = 10.0_f64.powf(power);
                    ticks.push((value, short(value)));
                    power += 1.0;
                }
                ticks
            }
        }
    }
}

impl Up {
    fn y(self, value: f64) -> f64 {
        let Range { scale, low, high } = self.range;
        let value = match scale {
            Scale::Linear => value,
            Scale::Powers => value.max(f64::MIN_POSITIVE).log10(),
        };
        let part = (value - low) / (high - low);
        self.top + HEIGHT * (1.0 - part.clamp(0.0, 1.0))
    }
}

/// Round numbers from `low` to `high`, about `wanted` of them.
fn linear_ticks(low: f64, high: f64, wanted: f64) -> Vec<(f64, String)> {
    let rough = (high - low) / wanted;
    let power = 10.0_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .map(|factor| factor * power)
        .into_iter()
        .find(|step| *step >= rough)
        .unwrap_or(10.0 * power);
    let mut ticks = Vec::new();
    let mut count = (low / step).ceil();
    while count * step <= high {
        // Added to nought, so that no axis shows "-0"; and rounded, so that none shows 0.30000000000000004.
        let value = (count * step * 1e9).round() / 1e9 + 0.0;
        ticks.push((value, short(value)));
        count += 1.0;
    }
    ticks
}

fn short(value: f64) -> String {
    let value = (value * 1e6).round() / 1e6;
    format!("{value}")
}

/// Each place once, in half pixels: thousands of dots lie on one spot.
fn distinct(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.map(|value| (value * 2.0).round() / 2.0).collect();
    values.sort_by(f64::total_cmp);
    values.dedup();
    values
}

fn dots(svg: &mut String, spots: &[(f64, f64)], colour: &str, size: f64) {
    let mut doubled: Vec<(String, String)> =
        spots.iter().map(|(x, y)| (format!("{:.0}", x * 2.0), format!("{:.0}", y * 2.0))).collect();
    doubled.sort_unstable();
    doubled.dedup();
    let path: String = doubled.iter().map(|(x, y)| format!("M{x} {y}h0")).collect();
    let _ = writeln!(
        svg,
        "<path fill=\"none\" stroke=\"{colour}\" stroke-width=\"{size}\" stroke-linecap=\"round\" transform=\"scale(0.5)\" d=\"{path}\"/>"
    );
}

/// The curves' names, where they have any, each behind a sample of how it looks.
fn legend(svg: &mut String, curves: &[Curve], y: f64) -> bool {
    let mut x = LEFT;
    for (place, curve) in curves.iter().enumerate().filter(|(_, curve)| !curve.name.is_empty()) {
        let look = Look::at(place);
        let (dashes, width) = match curve.style {
            Style::Line => (look.dashes(), 2.5),
            Style::Dots | Style::Ticks => (String::new(), 10.0),
        };
        let (from, to, middle) = (x, x + SAMPLE, y + 3.0);
        let _ = writeln!(
            svg,
            "<path stroke=\"{}\" stroke-width=\"{width}\"{dashes} d=\"M{from:.1} {middle:.1}H{to:.1}\"/>",
            look.colour
        );
        text(svg, to + 4.0, y + 8.0, "start", "#333", &escape(&curve.name));
        x += curve.name.chars().count() as f64 * CHARACTER + SAMPLE + 24.0;
    }
    x > LEFT
}

fn line(svg: &mut String, from: (f64, f64), to: (f64, f64), colour: &str, width: f64) {
    let _ = writeln!(
        svg,
        "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke=\"{colour}\" stroke-width=\"{width}\"/>",
        from.0, from.1, to.0, to.1
    );
}

/// `content` may hold markup.
fn text(svg: &mut String, x: f64, y: f64, anchor: &str, colour: &str, content: &str) {
    let _ = writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" fill=\"{colour}\" xml:space=\"preserve\">{content}</text>"
    );
}

/// Text as SVG takes it.
pub(crate) fn escape(plain: &str) -> String {
    plain.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_short_bands_stand_in_rows_of_their_own() {
        let across = Across { first: 0.0, last: 100.0 };
        let (placed, rows) =
            across.place(&[(10.0, "transfer"), (10.5, "pause"), (11.0, "settle"), (60.0, "after")]);
        assert_eq!(rows, 3.0);
        let rows: Vec<f64> = placed.iter().map(|(_, _, row, _)| *row).collect();
        assert_eq!(rows, [0.0, 1.0, 2.0, 0.0]);
    }

    #[test]
    fn a_label_at_the_right_edge_stays_in_the_picture() {
        let across = Across { first: 0.0, last: 100.0 };
        let (placed, _) = across.place(&[(99.9, "a long label indeed")]);
        assert!(placed.iter().all(|(x, ..)| *x < WIDTH - 100.0), "{placed:?}");
    }

    #[test]
    fn ticks_are_round_numbers() {
        let labels: Vec<String> = linear_ticks(0.0, 0.43, 5.0).into_iter().map(|(_, label)| label).collect();
        assert_eq!(labels, ["0", "0.1", "0.2", "0.3", "0.4"]);
        let first = linear_ticks(-12.0, 30.0, 12.0).into_iter().next();
        assert_eq!(first, Some((-10.0, "-10".to_owned())));
    }

    fn empty(axis: &str) -> Panel {
        Panel {
            title: "a < b".to_owned(),
            outcome: String::new(),
            axis: axis.to_owned(),
            scale: Scale::Powers,
            bands: Vec::new(),
            marks: Vec::new(),
            curves: Vec::new(),
        }
    }

    #[test]
    fn panels_that_count_the_same_have_the_same_axis() {
        let with = |axis, y| {
            let points = vec![(0.0, 1.0), (1.0, y)];
            let curve = Curve { name: String::new(), points, style: Style::Dots };
            Panel { curves: vec![curve], ..empty(axis) }
        };
        let svg = draw("s", &[with("ms", 10.0), with("ms", 1000.0), with("MiB", 10.0)]);
        let ticks = |label: &str| svg.matches(&format!(">{label}</text>")).count();
        assert_eq!((ticks("1000"), ticks("10")), (2, 3), "{svg}");
    }

    /// The colour and what is beside it of each curve that is drawn, and of each in the legend.
    fn looks(svg: &str) -> Vec<Vec<String>> {
        let look = |line: &str| {
            let with = |name: &str| Some(line.split_once(name)?.1.split('"').next()?.to_owned());
            let words = [with(" stroke=\""), with("dasharray=\""), with("stroke-width=\"")];
            let tick = line.rsplit_once('v').map(|(_, length)| length.to_owned());
            words.into_iter().chain([tick]).map(Option::unwrap_or_default).collect::<Vec<_>>().join(" ")
        };
        let of = |begins: &str| svg.lines().filter(|line| line.starts_with(begins)).map(look).collect();
        vec![of("<polyline"), of("<path fill"), of("<path stroke")]
    }

    #[test]
    fn no_two_curves_of_a_panel_look_the_same_however_many_there_are() {
        for (style, count) in [(Style::Line, 40), (Style::Dots, 20), (Style::Ticks, 10)] {
            let curve = |at| Curve { name: format!("c{at}"), points: vec![(0.0, 1.0)], style };
            let panel = Panel { curves: (0..count).map(curve).collect(), ..empty("%") };
            let all = looks(&draw("s", &[panel]));
            let [lines, paths, samples] = all.as_slice() else { panic!("{all:?}") };
            let distinct = |looks: &[String]| looks.iter().collect::<std::collections::BTreeSet<_>>().len();
            if style == Style::Line {
                assert_eq!((distinct(lines), distinct(samples)), (count, count), "{all:?}");
            } else {
                assert_eq!(distinct(paths), count, "{style:?}: {paths:?}");
            }
        }
    }

    /// What is seen of a colour, and by those to whom red, green or blue is missing (Machado, Oliveira and Fernandes, 2009), in CIE L*a*b*.
    #[test]
    fn the_colours_of_curves_stay_apart_for_the_colour_blind() {
        type Eye = [[f64; 3]; 3];
        const EYES: [Eye; 4] = [
            [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
            [
                [0.152_286, 1.052_583, -0.204_868],
                [0.114_503, 0.786_281, 0.099_216],
                [-0.003_882, -0.048_116, 1.051_998],
            ],
            [
                [0.367_322, 0.860_646, -0.227_968],
                [0.280_085, 0.672_501, 0.047_413],
                [-0.011_820, 0.042_940, 0.968_881],
            ],
            [
                [1.255_528, -0.076_749, -0.178_779],
                [-0.078_411, 0.930_809, 0.147_602],
                [0.004_733, 0.691_367, 0.303_900],
            ],
        ];
        const TO_XYZ: Eye = [[0.4339, 0.3763, 0.1898], [0.2126, 0.7152, 0.0722], [0.0177, 0.1095, 0.8728]];
        let times = |by: Eye, of: [f64; 3]| by.map(|row| row[0] * of[0] + row[1] * of[1] + row[2] * of[2]);
        let linear = |colour: &str| {
            [1, 3, 5].map(|at| {
                let part = f64::from(u8::from_str_radix(&colour[at..at + 2], 16).unwrap()) / 255.0;
                if part <= 0.04045 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
            })
        };
        let seen = |eye: Eye, colour: &str| {
            let root = |part: f64| if part > 0.008_856 { part.cbrt() } else { 7.787 * part + 16.0 / 116.0 };
            let [x, y, z] =
                times(TO_XYZ, times(eye, linear(colour)).map(|part| part.clamp(0.0, 1.0))).map(root);
            [116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)]
        };
        let apart = |eye, one: &str, other: &str| {
            let (one, other) = (seen(eye, one), seen(eye, other));
            one.iter().zip(other).map(|(one, other)| (one - other).powi(2)).sum::<f64>().sqrt()
        };
        for eye in EYES {
            for (at, one) in COLOURS.iter().enumerate() {
                for other in COLOURS[..at].iter().chain(&["#ffffff"]) {
                    let apart = apart(eye, one, other);
                    assert!(apart > 15.0, "{one} and {other} are {apart:.1} apart for {eye:?}");
                }
            }
        }
    }

    #[test]
    fn nothing_measured_is_still_a_picture() {
        let svg = draw("s", &[empty("ms")]);
        assert!(svg.contains("a &lt; b") && !svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }
}
