//! Time: the one place that reads clocks and that lets time pass.
//!
//! Nothing in this crate sleeps for a fixed time and hopes. It waits for a condition, with a deadline
//! ([`Clock::wait_until`]), so that a test can own the clock and a wait ends as soon as it can.

use std::fmt;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A point in time by which something must have happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Instant);

/// The farthest that a deadline lies ahead: what is further away is nobody's wait, and a number from outside may be any.
const FARTHEST: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

impl Deadline {
    /// The point `from_now` ahead of this moment; at most ten years.
    pub fn after(from_now: Duration) -> Self {
        let now = Instant::now();
        Self(now.checked_add(from_now.min(FARTHEST)).unwrap_or(now))
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
#[serde(try_from = "u64", into = "u64")]
pub struct UnixTime(pub u64);

/// The end of the year 9999. A file or a peer that names a later time has it wrong.
const LATEST: u64 = 253_402_300_799;

impl TryFrom<u64> for UnixTime {
    type Error = String;
    fn try_from(seconds: u64) -> Result<Self, String> {
        if seconds > LATEST {
            return Err(format!("{seconds} s after 1970 is no time before the year 10000"));
        }
        Ok(Self(seconds))
    }
}

impl From<UnixTime> for u64 {
    fn from(time: UnixTime) -> Self {
        time.0
    }
}

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

    #[test]
    fn no_number_of_seconds_makes_a_deadline_panic() {
        for far in [Duration::MAX, Duration::from_secs(u64::MAX), Duration::from_secs(1 << 62)] {
            let deadline = Deadline::after(far);
            assert!(!deadline.passed() && !deadline.within(far).passed());
            assert!(!deadline.less(Duration::from_secs(1)).passed());
        }
        assert!(Deadline::after(Duration::ZERO).less(Duration::MAX).passed());
    }

    #[test]
    fn a_time_beyond_the_year_9999_is_no_time() {
        assert_eq!(serde_json::from_str::<UnixTime>("1795344067").unwrap(), UnixTime(1_795_344_067));
        assert!(serde_json::from_str::<UnixTime>(&u64::MAX.to_string()).is_err());
        assert_eq!(serde_json::to_string(&UnixTime(7)).unwrap(), "7");
    }
}
