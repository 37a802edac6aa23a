//! The words of a message with its values cut out, and where they stand in a line.

use std::ops::Range;

/// Words that are fewer than these must stand as a clause of their own.
const ENOUGH: usize = 4;

/// The words of a message, cut at its values.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    pieces: Vec<String>,
    begins: bool,
    ends: bool,
    is_short: bool,
}

impl Pattern {
    /// Those of `says`, which has `{}` for each value.
    pub(super) fn new(says: &str) -> Self {
        Self {
            pieces: says.split("{}").filter(|piece| !piece.trim().is_empty()).map(str::to_owned).collect(),
            begins: !says.starts_with("{}"),
            ends: !says.ends_with("{}"),
            is_short: says.split("{}").flat_map(str::split_whitespace).count() < ENOUGH,
        }
    }

    /// Where the words stand in the line, one after the other; `None` where they do not.
    pub(super) fn spans(&self, line: &str) -> Option<Vec<Range<usize>>> {
        let mut spans: Vec<Range<usize>> = Vec::with_capacity(self.pieces.len());
        let mut from = 0;
        for (nth, piece) in self.pieces.iter().enumerate() {
            let first = nth == 0 && self.begins;
            let last = nth + 1 == self.pieces.len() && self.ends;
            let rest = line.get(from..)?;
            let (at, _) = rest.match_indices(piece.as_str()).find(|(at, _)| {
                let (start, end) = (from + at, from + at + piece.len());
                (!first || self.may_begin(line, start)) && (!last || self.may_end(line, end))
            })?;
            spans.push(from + at..from + at + piece.len());
            from += at + piece.len();
        }
        (!spans.is_empty()).then_some(spans)
    }

    fn may_begin(&self, line: &str, at: usize) -> bool {
        let before = line.get(..at).unwrap_or_default();
        if self.is_short {
            before.is_empty() || [": ", "; ", ", ", "("].iter().any(|mark| before.ends_with(mark))
        } else {
            !before.ends_with(char::is_alphanumeric)
        }
    }

    fn may_end(&self, line: &str, at: usize) -> bool {
        let after = line.get(at..).unwrap_or_default();
        if self.is_short {
            after.is_empty() || after.starts_with([',', ';', ':', ')']) || after.starts_with(" [")
        } else {
            !after.starts_with(char::is_alphanumeric)
        }
    }
}
