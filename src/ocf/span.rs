//! Spans of time: as the agent's own parameters are written, and as Pacemaker reads an operation's timeout.

use std::time::Duration;

/// What a time may look like, for whoever wrote another one.
const FORM: &str =
    "must be a time: seconds, or a number with ms, s, min or h, or a duration of ISO 8601 (PT2M)";

/// A parameter of ours: seconds, a whole number with a unit, in small or capital letters, or a duration of
/// ISO 8601 from days down. What Pacemaker reads by half (`2h30m` is two hours to it) is an error here.
///
/// # Errors
/// What is wrong with it, in words.
pub fn parse_span(value: &str) -> Result<Duration, String> {
    if let Some(duration) = value.strip_prefix('P') {
        return parse_duration(duration).ok_or_else(|| FORM.to_owned());
    }
    let (digits, unit) = split(value, |c| c.is_ascii_digit());
    let number: u64 = digits.parse().map_err(|_| FORM.to_owned())?;
    let seconds = |each: u64| Ok(Duration::from_secs(number.saturating_mul(each)));
    match unit.trim().to_ascii_lowercase().as_str() {
        "" | "s" | "sec" | "second" | "seconds" => seconds(1),
        "ms" | "msec" => Ok(Duration::from_millis(number)),
        "us" | "usec" => Ok(Duration::from_micros(number)),
        "m" | "min" | "minute" | "minutes" => seconds(60),
        "h" | "hr" | "hour" | "hours" => seconds(3600),
        unit => Err(format!("unknown unit {unit:?}: use ms, s, min or h")),
    }
}

/// An operation's timeout, as Pacemaker reads it (2.0 to 3.0, run on 2.1.5): a number, of which what follows
/// a point is dropped, and a unit, of which the first letters count. `None` for what it cannot read, a
/// duration of ISO 8601 before all: that it takes as an interval only. An operation with such a timeout is
/// given its default of 20 s, and a person meant something else.
pub fn parse_timeout(value: &str) -> Option<Duration> {
    let (digits, unit) = split(value.trim(), |c| c.is_ascii_digit() || c == '.');
    let number: u64 = digits.split('.').next()?.parse().ok()?;
    let unit = unit.trim().to_ascii_lowercase();
    // The longer ones first: `m` is all that is left then.
    let units = [("ms", 1_000), ("us", 1), ("s", 1_000_000), ("m", 60_000_000), ("h", 3_600_000_000)];
    let micros = match units.iter().find(|(name, _)| unit.starts_with(name)) {
        Some((_, micros)) => *micros,
        None if unit.is_empty() => 1_000_000,
        None => return None,
    };
    // Whole milliseconds, as it counts them.
    Some(Duration::from_millis(number.saturating_mul(micros) / 1000))
}

/// What stands after the `P` of a duration of ISO 8601, from days down: months and years are of no certain
/// length.
fn parse_duration(text: &str) -> Option<Duration> {
    let (days, time) = text.split_once('T').map_or((text, None), |(days, time)| (days, Some(time)));
    let mut seconds: u64 = 0;
    for (mut part, units) in [(days, &[('D', 86_400)][..]), (time.unwrap_or_default(), &UNITS_OF_TIME)] {
        let mut units = units.iter();
        while !part.is_empty() {
            let (digits, rest) = split(part, |c| c.is_ascii_digit());
            let number: u64 = digits.parse().ok()?;
            let unit = rest.chars().next()?;
            // Each once, the larger ones first.
            let (_, each) = units.find(|(name, _)| *name == unit)?;
            seconds = seconds.saturating_add(number.saturating_mul(*each));
            part = &rest[unit.len_utf8()..];
        }
    }
    let says_something = !days.is_empty() || time.is_some();
    (says_something && time != Some("")).then(|| Duration::from_secs(seconds))
}

const UNITS_OF_TIME: [(char, u64); 3] = [('H', 3600), ('M', 60), ('S', 1)];

/// The leading characters that are `one_of_them`, and the rest.
fn split(text: &str, one_of_them: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !one_of_them(c)).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_their_units() {
        let seconds = |text: &str| parse_span(text).map(|span| span.as_secs());
        for (text, wanted) in [
            ("90", 90),
            ("2min", 120),
            ("600S", 600),
            ("10Min", 600),
            ("2 hours", 7200),
            ("PT2M", 120),
            ("PT1H30M", 5400),
            ("P1DT1S", 86_401),
        ] {
            assert_eq!(seconds(text), Ok(wanted), "{text}");
        }
        assert_eq!(parse_span("1500ms"), Ok(Duration::from_millis(1500)));
        for bad in
            ["min", "", "-5", "1.5s", "2h30m", "10d", "P", "PT", "P2M", "P1Y", "PT2M1H", "PT5", "abc", "30x"]
        {
            assert!(parse_span(bad).is_err(), "{bad}");
        }
    }

    /// Each line as `crm_simulate --save-graph` of 2.1.5 has it: what it cannot read became 20000 there.
    #[test]
    fn an_operations_timeout_is_read_as_pacemaker_reads_it() {
        for (text, milliseconds) in [
            ("600S", Some(600_000)),
            ("10Min", Some(600_000)),
            ("2minutes", Some(120_000)),
            ("9000us", Some(9)),
            ("1 h", Some(3_600_000)),
            ("1hours", Some(3_600_000)),
            ("1.5s", Some(1000)),
            ("2h30m", Some(7_200_000)),
            (" 30s", Some(30_000)),
            ("1500ms", Some(1500)),
            ("0", Some(0)),
            ("PT2M", None),
            ("P1D", None),
            ("-5", None),
            ("+5", None),
            ("abc", None),
            ("10d", None),
            ("30x", None),
            ("1e3", None),
            ("", None),
        ] {
            assert_eq!(parse_timeout(text), milliseconds.map(Duration::from_millis), "{text}");
        }
    }
}
