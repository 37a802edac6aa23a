//! Time: the one place that reads clocks and that lets time pass.
//!
//! Nothing in this crate sleeps for a fixed time and hopes. It waits for a condition, with a deadline
//! ([`Clock::wait_until`]), so that a test can own the clock and a wait ends as soon as it can.

use std::fmt;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A point in time by which something must have happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Instant);

impl Deadline {
    /// The point `from_now` ahead of this moment.
    pub fn after(from_now: Duration) -> Self {
        Self(Instant::now() + from_now)
    }

    /// Time left; zero once it has passed.
    pub fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// True once the point has passed.
    pub fn passed(self) -> bool {
        self.left().is_zero()
    }

    /// The earlier of this deadline and `from_now` ahead.
    #[must_use]
    pub fn within(self, from_now: Duration) -> Self {
        self.min(Self::after(from_now))
    }

    /// This deadline moved `margin` earlier.
    #[must_use]
    pub fn less(self, margin: Duration) -> Self {
        Self(self.0.checked_sub(margin).unwrap_or(self.0))
    }
}

/// Wall-clock time in whole seconds since 1970 (UTC), as it goes into records and ledgers that two nodes compare.
/// Two nodes' wall clocks are assumed to agree within seconds (NTP), as Corosync and TLS assume too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct UnixTime(pub u64);

impl UnixTime {
    /// This moment.
    pub fn now() -> Self {
        Self(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
    }

    /// Time from this moment until `self`; zero if it has passed.
    pub fn from_now(self) -> Duration {
        Duration::from_secs(self.0.saturating_sub(Self::now().0))
    }

    /// `by` later.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(by.as_secs()))
    }

    /// For people: `2026-11-22 10:41`, UTC.
    pub fn minute(self) -> String {
        let text = i64::try_from(self.0)
            .ok()
            .and_then(|seconds| time::OffsetDateTime::from_unix_timestamp(seconds).ok());
        text.map_or_else(
            || self.to_string(),
            |at| {
                let month = u8::from(at.month());
                format!("{:04}-{month:02}-{:02} {:02}:{:02}", at.year(), at.day(), at.hour(), at.minute())
            },
        )
    }

    /// Time that has gone by since `self`; zero if it lies ahead.
    pub fn age(self) -> Duration {
        Duration::from_secs(Self::now().0.saturating_sub(self.0))
    }
}

impl fmt::Display for UnixTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// What lets time pass. The real one blocks; a test's can jump.
pub trait Clock: fmt::Debug {
    /// Lets at most `span` go by.
    fn pass(&self, span: Duration);

    /// Asks `ready` again every `interval` until it has an answer or the deadline has passed (`None`).
    /// `ready` is asked at least once.
    fn wait_until<T>(
        &self,
        deadline: Deadline,
        interval: Duration,
        mut ready: impl FnMut() -> Option<T>,
    ) -> Option<T>
    where
        Self: Sized,
    {
        loop {
            if let Some(answer) = ready() {
                return Some(answer);
            }
            if deadline.passed() {
                return None;
            }
            self.pass(interval.min(deadline.left()));
        }
    }
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(
        clippy::disallowed_methods,
        reason = "the one place that lets time pass; callers wait for conditions"
    )]
    fn pass(&self, span: Duration) {
        std::thread::sleep(span);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_that_holds_is_answered_even_after_the_deadline() {
        let gone = Deadline::after(Duration::ZERO);
        assert_eq!(SystemClock.wait_until(gone, Duration::from_secs(9), || Some(7)), Some(7));
    }

    #[test]
    fn a_wait_ends_at_its_deadline() {
        let asked = std::cell::Cell::new(0);
        let answer: Option<()> = SystemClock.wait_until(
            Deadline::after(Duration::from_millis(20)),
            Duration::from_millis(5),
            || {
                asked.set(asked.get() + 1);
                None
            },
        );
        assert_eq!(answer, None);
        assert!(asked.get() >= 2, "asked only {} times", asked.get());
    }
}
