//! A limit to a stream's rate: a token bucket. Pure; the pipe has the clock, and waits in its own loop.

use std::time::{Duration, Instant};

/// What may pass at once after a pause, as a part of a second.
const BURST: f64 = 0.1;
/// It is not worth to pass less than this.
const LEAST: f64 = 16.0 * 1024.0;

/// So many bytes a second, and a tenth of that at once.
#[derive(Debug, Clone)]
pub struct Bucket {
    per_second: f64,
    level: f64,
    at: Instant,
}

impl Bucket {
    /// A full one.
    pub fn new(mib_per_second: u64, now: Instant) -> Self {
        #[allow(clippy::cast_precision_loss, reason = "a rate")]
        let per_second = mib_per_second.max(1) as f64 * f64::from(1 << 20);
        Self { per_second, level: per_second * BURST, at: now }
    }

    /// How many bytes may pass now; 0 if it is too few to begin with.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive, and of some MiB")]
    pub fn allowance(&mut self, now: Instant) -> usize {
        let grown = now.saturating_duration_since(self.at).as_secs_f64() * self.per_second;
        self.level = (self.level + grown).min(self.per_second * BURST);
        self.at = now;
        if self.level < LEAST { 0 } else { self.level as usize }
    }

    /// So many have passed.
    #[allow(clippy::cast_precision_loss, reason = "some MiB")]
    pub fn spend(&mut self, bytes: usize) {
        self.level -= bytes as f64;
    }

    /// How long until some may pass, from the last look on.
    pub fn wait(&self) -> Duration {
        // A little more than the least, so that the next look finds it.
        Duration::try_from_secs_f64((LEAST * 2.0 - self.level) / self.per_second).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Passes all that it may for so long, as a pipe would; gives the bytes.
    fn pass(bucket: &mut Bucket, from: Instant, span: Duration) -> usize {
        let (mut now, mut passed) = (from, 0);
        while now < from + span {
            match bucket.allowance(now) {
                0 => now += bucket.wait().max(Duration::from_micros(100)),
                some => {
                    bucket.spend(some.min(1 << 20));
                    passed += some.min(1 << 20);
                }
            }
        }
        passed
    }

    #[test]
    fn no_more_passes_than_the_rate_and_one_burst_and_hardly_less() {
        for rate in [1_u64, 8, 100, 4000] {
            let now = Instant::now();
            let mut bucket = Bucket::new(rate, now);
            let passed = pass(&mut bucket, now, Duration::from_secs(10));
            let ten = usize::try_from(rate * 10).unwrap() << 20;
            assert!(passed <= ten + ten / 90 && passed >= ten - ten / 50, "{passed} of {ten} at {rate}");
        }
    }

    #[test]
    fn a_pause_saves_up_one_burst_and_no_more() {
        let now = Instant::now();
        let mut bucket = Bucket::new(10, now);
        let later = now + Duration::from_secs(3600);
        assert_eq!(bucket.allowance(later), 1 << 20);
    }
}
