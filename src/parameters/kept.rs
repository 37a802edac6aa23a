//! What a start keeps of its time for a guest that it cannot fetch: to have it ended in order, and to boot
//! it.

use std::time::Duration;

use super::Parameters;

/// What a guest is taken to need for its end, where no parameter says so.
const DEFAULT_GRACE: Duration = Duration::from_secs(60);
/// What is kept for the boot after it.
pub const TO_BOOT: Duration = Duration::from_secs(30);
/// A start with a shorter limit than this keeps nothing for an end and a boot.
const TOO_SHORT_FOR_BOTH: Duration = Duration::from_secs(30);

/// What a start keeps, by the parameters of its resource.
#[derive(Debug, Clone, Copy)]
pub struct Kept {
    /// What the guest may take for its end.
    grace: Duration,
    /// What it takes to ask its source for that.
    to_ask: Duration,
}

impl Kept {
    /// By these.
    pub fn by(parameters: &Parameters) -> Self {
        Self::new(parameters.shutdown_timeout, parameters.reach.connect_timeout)
    }

    /// For a guest that may take `grace` for its end, and a source that is asked in `to_ask`.
    pub fn new(grace: Option<Duration>, to_ask: Duration) -> Self {
        Self { grace: grace.unwrap_or(DEFAULT_GRACE), to_ask }
    }

    /// A third of the action's limit at most, and time to ask for it; nothing where the limit is so short
    /// that an end in order and a boot would not fit into it anyway.
    pub fn of(self, limit: Duration) -> Duration {
        if limit < TOO_SHORT_FOR_BOTH {
            return Duration::ZERO;
        }
        let to_ask = self.to_ask.saturating_add(Duration::from_secs(1));
        self.grace.saturating_add(TO_BOOT).min(limit / 3).max(to_ask).min(limit / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_for_an_end_and_a_boot_leaves_most_of_the_time_for_streams() {
        let seconds = Duration::from_secs;
        let kept = |limit, grace, to_ask| {
            Kept::new(Some(seconds(grace)), seconds(to_ask)).of(seconds(limit)).as_secs()
        };
        assert_eq!(kept(300, 60, 5), 90);
        assert_eq!(kept(300, 10, 5), 40);
        assert_eq!(kept(60, 60, 5), 20);
        assert_eq!(kept(60, 60, 25), 26, "time to ask for it");
        assert_eq!(kept(30, 60, 25), 15, "never more than half");
        assert_eq!(kept(29, 60, 5), 0);
    }
}
