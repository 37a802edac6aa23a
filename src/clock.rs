//! Time: the one place that reads clocks and that lets time pass.
//!
//! Nothing in this crate sleeps for a fixed time and hopes. It waits for a condition, with a deadline
//! ([`Clock::wait_until`]), so that a test can own the clock and a wait ends as soon as it can.

use std::fmt;
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How often a state that is about to change is looked at again.
pub const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// A point in time by which something must have happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Instant);

/// The farthest that a deadline lies ahead: what is further away is nobody's wait, and a number from outside
/// may be any.
const FARTHEST: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

impl Deadline {
    /// The point `from_now` ahead of this moment; at most ten years.
    pub fn after(from_now: Duration) -> Self {
        let now = instant();
        Self(now.checked_add(from_now.min(FARTHEST)).unwrap_or(now))
    }

    /// Time left; zero once it has passed.
    pub fn left(self) -> Duration {
        self.0.saturating_duration_since(instant())
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

/// A point in time that has been.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(Instant);

impl Moment {
    /// This one.
    pub fn now() -> Self {
        Self(instant())
    }

    /// Time that has gone by since.
    pub fn elapsed(self) -> Duration {
        instant().saturating_duration_since(self.0)
    }
}

/// This moment, as deadlines count it.
fn instant() -> Instant {
    let now = Instant::now();
    #[cfg(test)]
    let now = now.checked_add(jump::passed()).unwrap_or(now);
    now
}

/// When the cluster's action that this process carries out must have answered.
static ACTION: OnceLock<Deadline> = OnceLock::new();
/// What is asked at the very end of an action can still be answered.
const AT_LEAST: Duration = Duration::from_secs(1);

/// This process carries out an action of the cluster's, or answers somebody who is typing, and must have
/// answered by then. From now on no tool, no lock and no node of the ledger is waited for any longer
/// ([`in_action`]). Said once; a second time changes nothing.
pub fn action_ends(by: Deadline) {
    // A unit test's process carries out many of them.
    if cfg!(not(test)) {
        let _ = ACTION.set(by);
    }
}

/// `limit`; in an action of the cluster's not more than it has left, and a second at the very end. Workers,
/// keepers and servers, which are no actions, have limits of their own.
pub fn in_action(limit: Duration) -> Duration {
    share_of_action(limit, 1)
}

/// As [`in_action`], and not more than this part of what is left: for what an action can do without, so that
/// it has the time to.
pub fn share_of_action(limit: Duration, parts: u32) -> Duration {
    ACTION.get().map_or(limit, |action| share(limit, action.left(), parts))
}

fn share(limit: Duration, left: Duration, parts: u32) -> Duration {
    limit.min((left / parts.max(1)).max(AT_LEAST))
}

/// Wall-clock time in whole seconds since 1970 (UTC), as it goes into records and ledgers that two nodes
/// compare. Two nodes' wall clocks are assumed to agree within seconds (NTP), as Corosync and TLS assume too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct UnixTime(pub u64);

/// The begin of 2026, when this program was first written: no host of the cluster can have it earlier.
const EARLIEST: u64 = 1_767_225_600;
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

impl std::str::FromStr for UnixTime {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        text.parse::<u64>().map_err(|error| error.to_string())?.try_into()
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
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        #[cfg(test)]
        let since = jump::time_of_day(since);
        Self(since.as_secs())
    }

    /// Whether this can be now. A host whose clock has no battery comes up in 1970.
    pub fn is_possible(self) -> bool {
        self.0 >= EARLIEST
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

    /// For programs and logs: RFC 3339 in whole seconds, UTC, as in `2026-11-22T10:41:07Z`.
    pub fn rfc3339(self) -> String {
        rfc3339(self.0, None)
    }

    /// Time that has gone by since `self`; zero if it lies ahead.
    pub fn age(self) -> Duration {
        Duration::from_secs(Self::now().0.saturating_sub(self.0))
    }
}

/// Time that has gone by since this host came up, suspended or not (`CLOCK_BOOTTIME`). Nobody sets that
/// clock, and no other host has it.
pub fn since_boot() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// RFC 3339, UTC, of these seconds since 1970, and thousandths if there are any; bare seconds for what is no
/// time of people's.
pub(crate) fn rfc3339(seconds: u64, thousandths: Option<u64>) -> String {
    let at = i64::try_from(seconds).ok().and_then(|at| time::OffsetDateTime::from_unix_timestamp(at).ok());
    let Some(at) = at else { return seconds.to_string() };
    let (hour, minute, second) = (at.hour(), at.minute(), at.second());
    let fraction = thousandths.map(|thousandths| format!(".{thousandths:03}")).unwrap_or_default();
    format!("{}T{hour:02}:{minute:02}:{second:02}{fraction}Z", at.date())
}

impl fmt::Display for UnixTime {
    /// As [`UnixTime::rfc3339`].
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rfc3339())
    }
}

/// A clock that jumps: on the thread of a test that has asked for it, waiting takes no time and makes it
/// later. Deadlines and the time of day know of it, so that nothing need be told which clock it has.
#[cfg(test)]
pub mod jump {
    use std::cell::{Cell, RefCell};
    use std::time::Duration;

    /// What a wait takes all the same, so that a process that is waited for gets on.
    const A_MOMENT: Duration = Duration::from_micros(200);

    thread_local! {
        /// How much later it is on this thread; nothing where its clock does not jump.
        static LATER: Cell<Option<Duration>> = const { Cell::new(None) };
        /// What the clock of the host shows instead of the time.
        static WRONG: Cell<Option<Duration>> = const { Cell::new(None) };
        /// What happens meanwhile.
        static MEANWHILE: RefCell<Option<Box<dyn FnMut()>>> = const { RefCell::new(None) };
    }

    /// Whenever time passes on this thread, this happens.
    pub fn meanwhile(happens: impl FnMut() + 'static) {
        MEANWHILE.replace(Some(Box::new(happens)));
    }

    /// As long as it lives, the clock of this thread jumps.
    #[derive(Debug)]
    pub struct Jumps(());

    /// From now on this thread's clock jumps.
    pub fn begin() -> Jumps {
        LATER.set(Some(Duration::ZERO));
        Jumps(())
    }

    impl Drop for Jumps {
        fn drop(&mut self) {
            LATER.set(None);
            WRONG.set(None);
            MEANWHILE.take();
        }
    }

    /// The time of day on this thread is wrong from now on: it is so long after the begin of 1970.
    pub fn clock_shows(since_1970: Duration) {
        WRONG.set(Some(since_1970));
    }

    /// The time of day, which is `now` by the machine's clock.
    pub(super) fn time_of_day(now: Duration) -> Duration {
        WRONG.get().unwrap_or(now).saturating_add(passed())
    }

    /// How much later it is than by the machine's clock.
    pub fn passed() -> Duration {
        LATER.get().unwrap_or_default()
    }

    /// Jumps over `span`, where this clock does; what is left to be waited.
    pub(super) fn over(span: Duration) -> Duration {
        let Some(later) = LATER.get() else { return span };
        LATER.set(Some(later.saturating_add(span)));
        // Taken out: time may pass in it, too.
        if let Some(mut happens) = MEANWHILE.take() {
            happens();
            MEANWHILE.replace(Some(happens));
        }
        A_MOMENT
    }
}

/// What lets time pass. The real one blocks; a test's jumps (`jump`).
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
        #[cfg(test)]
        let span = jump::over(span);
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
    fn what_an_action_asks_ends_with_it_and_what_it_can_do_without_ends_before() {
        let seconds = |limit, left, parts| {
            share(Duration::from_secs(limit), Duration::from_secs(left), parts).as_secs()
        };
        assert_eq!([seconds(10, 60, 1), seconds(10, 4, 1), seconds(10, 0, 1)], [10, 4, 1]);
        assert_eq!([seconds(30, 60, 3), seconds(30, 180, 3), seconds(30, 2, 3)], [20, 30, 1]);
        assert_eq!(in_action(Duration::from_secs(99)), Duration::from_secs(99), "this is no action");
    }

    #[test]
    fn programs_and_logs_are_told_dates() {
        assert_eq!(UnixTime(1_795_344_067).rfc3339(), "2026-11-22T10:41:07Z");
        assert_eq!(rfc3339(1_795_344_067, Some(5)), "2026-11-22T10:41:07.005Z");
        assert_eq!(UnixTime(u64::MAX).rfc3339(), u64::MAX.to_string());
    }

    #[test]
    fn a_time_beyond_the_year_9999_is_no_time() {
        assert_eq!(serde_json::from_str::<UnixTime>("1795344067").unwrap(), UnixTime(1_795_344_067));
        assert!(serde_json::from_str::<UnixTime>(&u64::MAX.to_string()).is_err());
        assert_eq!(serde_json::to_string(&UnixTime(7)).unwrap(), "7");
        assert!(UnixTime::now().is_possible() && !UnixTime(3600).is_possible());
    }
}
