//! Spans of time as operators type them: `9s`, `10ms`, `2min`, `0.01`.

use std::str::FromStr;

/// A span in seconds, positive and finite.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Span(pub f64);

/// Why a text is no span.
#[derive(Debug, thiserror::Error, PartialEq)]
#[error("{0:?} is no span of time: a number with ms, s or min (9s, 10ms, 0.01), not less than 0")]
pub struct NoSpan(String);

impl FromStr for Span {
    type Err = NoSpan;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let units = [("ms", 0.001), ("min", 60.0), ("s", 1.0)];
        let with_unit = units.into_iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)));
        let (number, factor) = with_unit.unwrap_or((text, 1.0));
        let number: f64 = number.trim().parse().map_err(|_| NoSpan(text.to_owned()))?;
        let seconds = number * factor;
        if seconds.is_finite() && seconds >= 0.0 { Ok(Self(seconds)) } else { Err(NoSpan(text.to_owned())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_units_or_are_seconds() {
        let read = |text: &str| text.parse::<Span>().map(|span| span.0).ok();
        assert_eq!(read("9s"), Some(9.0));
        assert_eq!(read("10ms"), Some(0.01));
        assert_eq!(read("2min"), Some(120.0));
        assert_eq!(read("0.01"), Some(0.01));
        for wrong in ["", "s", "-1s", "inf", "9h", "1 2"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
