//! The demo's picture: round trips over time, one panel an experiment, as an SVG file.

use std::fmt::Write;

use crate::guest::Pings;

const WIDTH: f64 = 960.0;
const PANEL: f64 = 190.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 46.0;
const BOTTOM: f64 = 30.0;
/// The axis of round trips, in powers of ten of a millisecond.
const LOWEST: f64 = 0.0;
const HIGHEST: f64 = 3.0;

/// A coloured stretch of time with a name.
#[derive(Debug, Clone)]
pub(crate) struct Phase {
    /// Its name, written above the curve.
    pub(crate) name: String,
    /// When it begins and ends, in seconds after the command.
    pub(crate) span: (f64, f64),
    /// Its colour.
    pub(crate) colour: &'static str,
}

/// One experiment.
#[derive(Debug)]
pub(crate) struct Panel<'a> {
    /// What was done.
    pub(crate) title: String,
    /// What came of it.
    pub(crate) outcome: String,
    /// When the command was given: the axis' zero.
    pub(crate) zero: f64,
    /// What was measured.
    pub(crate) pings: &'a Pings,
    /// What happened meanwhile.
    pub(crate) phases: Vec<Phase>,
}

/// Draws the panels under each other, on one time axis.
pub(crate) fn draw(panels: &[Panel<'_>]) -> String {
    let times = panels.iter().flat_map(|panel| panel.pings.replies.iter().map(|reply| reply.at - panel.zero));
    let (first, last) = times.fold((0.0_f64, 10.0_f64), |(low, high), time| (low.min(time), high.max(time)));
    let scale = Scale { first, last };
    let height = panels.iter().fold(0.0, |sum, _| sum + TOP + PANEL + BOTTOM) + 26.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"DejaVu Sans, Helvetica, Arial, sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    let mut y = 0.0;
    for panel in panels {
        scale.panel(&mut svg, panel, y + TOP);
        y += TOP + PANEL + BOTTOM;
    }
    text(&mut svg, WIDTH / 2.0, y + 14.0, "middle", "#444", "seconds after the command");
    svg.push_str("</svg>\n");
    svg
}

/// The time axis, the same for all panels.
struct Scale {
    first: f64,
    last: f64,
}

impl Scale {
    fn x(&self, seconds: f64) -> f64 {
        let part = (seconds - self.first) / (self.last - self.first);
        LEFT + part.clamp(0.0, 1.0) * (WIDTH - LEFT - RIGHT)
    }

    fn panel(&self, svg: &mut String, panel: &Panel<'_>, top: f64) {
        text(
            svg,
            LEFT,
            top - 28.0,
            "start",
            "#111",
            &format!(
                "<tspan font-weight=\"bold\">{}</tspan>  {}",
                escape(&panel.title),
                escape(&panel.outcome)
            ),
        );
        for phase in &panel.phases {
            self.phase(svg, phase, top);
        }
        self.axes(svg, top);
        self.points(svg, panel, top);
    }

    fn phase(&self, svg: &mut String, phase: &Phase, top: f64) {
        let (from, to) = (self.x(phase.span.0), self.x(phase.span.1));
        let width = (to - from).max(1.0);
        let _ = writeln!(
            svg,
            "<rect x=\"{from:.1}\" y=\"{top}\" width=\"{width:.1}\" height=\"{PANEL}\" fill=\"{}\" fill-opacity=\"0.25\"/>",
            phase.colour
        );
        text(svg, from + 2.0, top - 6.0, "start", "#333", &escape(&phase.name));
    }

    fn axes(&self, svg: &mut String, top: f64) {
        for (power, label) in [(0.0, "1 ms"), (1.0, "10 ms"), (2.0, "100 ms"), (3.0, "1 s")] {
            let y = height_of(power) + top;
            line(svg, (LEFT, y), (WIDTH - RIGHT, y), "#ddd");
            text(svg, LEFT - 6.0, y + 4.0, "end", "#444", label);
        }
        let step = if self.last - self.first > 150.0 { 20.0 } else { 10.0 };
        // Added to nought, so that no axis shows "-0".
        let mut at = (self.first / step).ceil() * step + 0.0;
        while at <= self.last {
            let x = self.x(at);
            line(svg, (x, top + PANEL), (x, top + PANEL + 4.0), "#888");
            text(svg, x, top + PANEL + 17.0, "middle", "#444", &format!("{at:.0}"));
            at += step;
        }
        line(svg, (LEFT, top + PANEL), (WIDTH - RIGHT, top + PANEL), "#888");
        let zero = self.x(0.0);
        line(svg, (zero, top), (zero, top + PANEL), "#222");
    }

    /// A dot for each answer, dots on one spot drawn once.
    fn points(&self, svg: &mut String, panel: &Panel<'_>, top: f64) {
        let mut spots: Vec<(String, String)> = panel
            .pings
            .replies
            .iter()
            .map(|reply| {
                let power = reply.rtt.max(0.001).log10().clamp(LOWEST, HIGHEST);
                (
                    format!("{:.0}", self.x(reply.at - panel.zero) * 2.0),
                    format!("{:.0}", (height_of(power) + top) * 2.0),
                )
            })
            .collect();
        spots.sort_unstable();
        spots.dedup();
        svg.push_str("<path fill=\"none\" stroke=\"#1f5fa8\" stroke-width=\"3\" stroke-linecap=\"round\" transform=\"scale(0.5)\" d=\"");
        for (x, y) in spots {
            let _ = write!(svg, "M{x} {y}h0");
        }
        svg.push_str("\"/>\n");
    }
}

fn height_of(power: f64) -> f64 {
    PANEL * (1.0 - (power - LOWEST) / (HIGHEST - LOWEST))
}

fn line(svg: &mut String, from: (f64, f64), to: (f64, f64), colour: &str) {
    let _ = writeln!(
        svg,
        "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke=\"{colour}\"/>",
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

fn escape(plain: &str) -> String {
    plain.replace('&', "&amp;").replace('<', "&lt;")
}
