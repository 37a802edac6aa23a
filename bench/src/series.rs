//! A series of probes and what can be said of it: which were lost, how long it was silent, how its round trips lie.

use serde::{Deserialize, Serialize};

/// One request, answered or not.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Probe {
    /// Its number, from 1.
    pub number: u32,
    /// When it was sent, in seconds after the first one.
    pub sent: f64,
    /// The round trip in milliseconds; `None` if no answer came.
    pub rtt_ms: Option<f64>,
}

impl Probe {
    /// When its answer arrived.
    pub fn answered(&self) -> Option<f64> {
        self.rtt_ms.map(|rtt_ms| self.sent + rtt_ms / 1000.0)
    }
}

/// All requests of one run, in the order of their numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// The time between two requests that was asked for, in seconds.
    pub interval: f64,
    /// When the first one was sent, in seconds since 1970.
    pub began: f64,
    /// The requests.
    pub probes: Vec<Probe>,
    /// How many answers came a second time.
    pub duplicates: u32,
}

/// A stretch of time, in seconds after the first request.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Stretch {
    /// Its beginning.
    pub from: f64,
    /// Its end.
    pub to: f64,
}

impl Stretch {
    /// How long it is.
    pub fn seconds(self) -> f64 {
        self.to - self.from
    }

    /// Whether that moment lies in it.
    pub fn has(self, at: f64) -> bool {
        (self.from..self.to).contains(&at)
    }
}

impl Series {
    /// How many requests got no answer.
    pub fn lost(&self) -> usize {
        self.probes.iter().filter(|probe| probe.rtt_ms.is_none()).count()
    }

    /// When the last request was sent or the last answer arrived.
    pub fn end(&self) -> f64 {
        self.probes.iter().map(|probe| probe.answered().unwrap_or(probe.sent)).fold(0.0, f64::max)
    }

    /// The times between two answers that followed each other, and before the first and after the last one.
    pub fn silences(&self) -> Vec<Stretch> {
        let mut times: Vec<f64> = self.probes.iter().filter_map(Probe::answered).collect();
        times.extend([0.0, self.end()]);
        times.sort_by(f64::total_cmp);
        times
            .windows(2)
            .filter_map(|pair| match pair {
                [from, to] => Some(Stretch { from: *from, to: *to }),
                _ => None,
            })
            .collect()
    }

    /// The round trips, in milliseconds, of the requests that were sent in that time.
    pub fn rtts(&self, stretch: Stretch) -> Vec<f64> {
        self.within(stretch).filter_map(|probe| probe.rtt_ms).collect()
    }

    /// The requests that were sent in that time.
    pub fn within(&self, stretch: Stretch) -> impl Iterator<Item = &Probe> {
        self.probes.iter().filter(move |probe| stretch.has(probe.sent))
    }
}

/// The value below which that part of `values` lies (nearest rank); `None` if there are none.
pub fn quantile(values: &[f64], part: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().checked_sub(1)?;
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a part of a length, rounded up"
    )]
    let rank = (part.clamp(0.0, 1.0) * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1).min(last)).copied()
}

/// The median.
pub fn median(values: &[f64]) -> Option<f64> {
    quantile(values, 0.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_of_the_series() {
        let values = [5.0, 1.0, 4.0, 2.0, 3.0];
        assert_eq!(median(&values), Some(3.0));
        assert_eq!(quantile(&values, 0.95), Some(5.0));
        assert_eq!(quantile(&values, 0.0), Some(1.0));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn a_series_that_ends_unanswered_is_silent_to_its_end() {
        let probe = |number: u32, rtt_ms| Probe { number, sent: f64::from(number - 1), rtt_ms };
        let probes = vec![probe(1, Some(1.0)), probe(2, Some(1.0)), probe(3, None), probe(4, None)];
        let series = Series { interval: 1.0, began: 0.0, probes, duplicates: 0 };
        let longest = series.silences().into_iter().max_by(|a, b| a.seconds().total_cmp(&b.seconds()));
        assert_eq!(longest, Some(Stretch { from: 1.001, to: 3.0 }));
        assert_eq!(series.lost(), 2);
    }
}
