//! Which message a line is: the one whose words it has, values apart.
//!
//! The message that stands first in the line is the line's own, unless it only opens what stands behind it (a
//! frame). What has no other words than a longer one around it does not count: "booted" is no message of its
//! own in "shuts it down, and it is booted here then".

use std::cmp::Reverse;
use std::ops::Range;

use super::catalogue::{Catalogue, Entry};
use super::id::Id;

/// No more of a line is looked at.
const MOST: usize = 4096;
/// No more messages are found in one line.
const FEW: usize = 8;

/// A message that stands in a line.
struct Match<'a> {
    entry: &'a Entry,
    spans: Vec<Range<usize>>,
}

impl Match<'_> {
    fn start(&self) -> usize {
        self.spans.first().map_or(0, |span| span.start)
    }

    fn length(&self) -> usize {
        self.spans.iter().map(Range::len).sum()
    }

    /// Whether the other one has all these words, and more.
    fn is_within(&self, other: &Self) -> bool {
        let covered = |span: &Range<usize>| {
            other.spans.iter().any(|wide| wide.start <= span.start && span.end <= wide.end)
        };
        other.length() > self.length() && self.spans.iter().all(covered)
    }
}

/// The messages of a line.
#[derive(Debug, PartialEq, Eq)]
pub struct Found {
    /// What the line says.
    pub id: Id,
    /// That one first, then the others that stand in it.
    pub all: Vec<Id>,
}

impl Catalogue {
    /// The messages of this line; `None` where it has no words of any. An id on the line does not count,
    /// since a text may be of another version of this program.
    pub fn find(&self, line: &str) -> Option<Found> {
        let line = words(line);
        let matches: Vec<Match<'_>> = self
            .entries()
            .flat_map(|entry| entry.patterns.iter().map(move |pattern| (entry, pattern)))
            .filter_map(|(entry, pattern)| Some(Match { entry, spans: pattern.spans(line)? }))
            .collect();
        let mut own: Vec<&Match<'_>> =
            matches.iter().filter(|one| !matches.iter().any(|other| one.is_within(other))).collect();
        own.sort_by_key(|one| (one.entry.is_frame, one.start(), Reverse(one.length())));
        let mut all: Vec<Id> = Vec::new();
        for one in own {
            if !all.contains(&one.entry.id) && all.len() < FEW {
                all.push(one.entry.id);
            }
        }
        Some(Found { id: *all.first()?, all })
    }
}

impl Catalogue {
    /// An exit reason with the id of what it says: at its end, as on a line of the log; before it, where
    /// Pacemaker would cut its end off.
    pub fn exit_reason(&self, reason: &str) -> String {
        /// Pacemaker shows so many bytes of an exit reason (2.1: `EXIT_REASON_MAX_LEN`).
        const SHOWN: usize = 128;
        let Some(Found { id, .. }) = self.find(reason) else { return reason.to_owned() };
        let whole = format!("{reason} [{id}]");
        if whole.len() > SHOWN { format!("[{id}] {reason}") } else { whole }
    }
}

/// The line without what stands before its words (`resource=x0 domain=x0`), and no more of it than is looked
/// at.
fn words(line: &str) -> &str {
    let end = (0..=MOST.min(line.len())).rev().find(|at| line.is_char_boundary(*at)).unwrap_or_default();
    let mut line = line.get(..end).unwrap_or_default().trim();
    while let Some((first, rest)) = line.split_once(' ') {
        if !super::fields::is_field(first) {
            break;
        }
        line = rest.trim_start();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(line: &str) -> Vec<String> {
        let text = "= ALL\n  holds: h.\n  do: d.\nXH0001 frame info\n  says: no handoff: {}\n  what: w.\nXH0002 reason\n  \
                    says: {} may be running it ({}) and does not answer: {}\n  what: w.\nXH0003 info\n  says: booted\n  what: w.\n\
                    XH0004 error\n  says: {} shuts it down, and it is booted here then\n  what: w.\nXH0005 reason\n  \
                    says: {} has none\n  what: w.\nXH0006 reason\n  says: {} has none, as the cluster knows\n  what: w.\n";
        let all = Catalogue::read(text).unwrap().find(line).map(|found| found.all).unwrap_or_default();
        all.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_line_is_the_message_that_stands_first_in_it_unless_that_only_opens_another_one() {
        let line = "resource=x0 domain=x0 node=n1 no handoff: n2 may be running it (it had it) and does not answer: 5 s";
        assert_eq!(found(line), ["XH0002", "XH0001"]);
        assert_eq!(found("domain=x0 no handoff: something new"), ["XH0001"]);
        assert_eq!(found("start: booted"), ["XH0003"]);
    }

    #[test]
    fn words_within_those_of_a_longer_message_are_none_of_their_own() {
        assert_eq!(found("n2 shuts it down, and it is booted here then"), ["XH0004"]);
        assert_eq!(found("n2 has none, as the cluster knows"), ["XH0006"]);
        assert_eq!(found("n2 has none, n3 has none, as the cluster knows"), ["XH0005", "XH0006"]);
    }

    #[test]
    fn pacemaker_shows_the_id_of_an_exit_reason_however_long_that_is() {
        let reason = |more: usize| format!("x0 on n1: the stop is part of a recovery: {}", "x".repeat(more));
        let id = Catalogue::own().find(&reason(1)).unwrap().id;
        for more in [1, 60, 78, 79, 300] {
            let shown = Catalogue::own().exit_reason(&reason(more));
            let first: String = shown.chars().take(128).collect();
            assert!(first.contains(&format!("[{id}]")) && shown.contains(&reason(more)), "{shown}");
        }
        assert_eq!(Catalogue::own().exit_reason("what nobody says"), "what nobody says");
    }

    #[test]
    fn a_line_that_nobody_wrote_has_no_message_and_breaks_nothing() {
        let long = "ü".repeat(10_000);
        for line in
            ["", " ", "x", "domain=x0", "it was unbooted today", "rebooted", &long, "{}{}{}", "\u{0}=\u{0} "]
        {
            assert!(found(line).is_empty(), "{line:?}");
        }
    }
}
