//! Interface to `ping` of iputils (`ping -D -n -c COUNT -i INTERVAL HOST`, or `-w SECONDS`), the instrument of `xen-handoff-bench rtt`.
//!
//! `-D` stamps each answer with the wall clock at its arrival; a request's own time is that less the round trip. Requests
//! without an answer have no line at all: they are found by their missing numbers, and their times lie evenly between
//! those of their neighbours. ping numbers with 16 bits and begins again at 0, which a run of 11 minutes at 10 ms reaches.

use crate::series::{Probe, Series};

/// When ping ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum End {
    /// After so many requests.
    Count(u32),
    /// After so many seconds, however many requests it was able to send in them.
    Seconds(u32),
}

/// The arguments that make ping do what is measured here.
pub fn arguments(host: &str, end: End, interval: f64) -> Vec<String> {
    let (option, value) = match end {
        End::Count(count) => ("-c", count.to_string()),
        End::Seconds(seconds) => ("-w", seconds.to_string()),
    };
    ["-D", "-n", option, &value, "-i", &interval.to_string(), host].map(str::to_owned).into()
}

/// One line of ping's that says something.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Line {
    /// An answer.
    Reply {
        /// ping's number, in 16 bits.
        number: u16,
        /// When it arrived, in seconds since 1970.
        at: f64,
        /// The round trip in milliseconds.
        rtt_ms: f64,
    },
    /// A second answer to one request.
    Duplicate,
    /// How many requests were sent in all.
    Sent(u32),
}

/// Reads one line; `None` for the many that say nothing of a round trip (headings, `Destination Host Unreachable`).
pub fn line(text: &str) -> Option<Line> {
    if let Some((sent, _)) = text.split_once(" packets transmitted") {
        return sent.parse().ok().map(Line::Sent);
    }
    let (at, rest) = text.strip_prefix('[')?.split_once("] ")?;
    let after = |key: &str| rest.split_once(key)?.1.split(' ').next();
    let (number, rtt_ms) = (after("icmp_seq=")?.parse().ok()?, after("time=")?.parse().ok()?);
    if rest.ends_with("(DUP!)") {
        return Some(Line::Duplicate);
    }
    Some(Line::Reply { number, at: at.parse().ok()?, rtt_ms })
}

/// Collects lines while ping runs.
#[derive(Debug, Default)]
pub struct Reader {
    replies: Vec<(u32, f64, f64)>,
    duplicates: u32,
    sent: Option<u32>,
    last: u32,
}

impl Reader {
    /// Takes one more line of ping's stdout.
    pub fn take(&mut self, text: &str) {
        match line(text) {
            Some(Line::Reply { number, at, rtt_ms }) => {
                let number = self.unwrapped(number);
                self.replies.push((number, at, rtt_ms));
            }
            Some(Line::Duplicate) => self.duplicates += 1,
            Some(Line::Sent(sent)) => self.sent = Some(sent),
            None => {}
        }
    }

    /// The number that ping would have printed with more than 16 bits: the one nearest to what came last.
    fn unwrapped(&mut self, number: u16) -> u32 {
        const ROUND: u32 = 1 << 16;
        let round = self.last / ROUND * ROUND;
        let candidates =
            [round.saturating_sub(ROUND), round, round + ROUND].map(|round| round + u32::from(number));
        let nearest = candidates.into_iter().min_by_key(|candidate| candidate.abs_diff(self.last));
        let number = nearest.unwrap_or_default();
        self.last = self.last.max(number);
        number
    }

    /// How many answers there are.
    pub fn answered(&self) -> usize {
        self.replies.len()
    }

    /// The highest number that was answered.
    pub fn reached(&self) -> u32 {
        self.last
    }

    /// The last answer: when it came, in seconds since 1970, and its round trip in milliseconds.
    pub fn latest(&self) -> Option<(f64, f64)> {
        self.replies.last().map(|(_, at, rtt_ms)| (*at, *rtt_ms))
    }

    /// The whole series, its times counted from the first request. `None` if there was no answer at all, or if ping
    /// ended without its summary.
    pub fn finish(mut self, interval: f64) -> Option<Series> {
        let sent = self.sent?;
        self.replies.sort_by_key(|(number, ..)| *number);
        self.replies.dedup_by_key(|(number, ..)| *number);
        let answered: Vec<Probe> = self
            .replies
            .iter()
            .map(|(number, at, rtt_ms)| Probe {
                number: *number,
                sent: at - rtt_ms / 1000.0,
                rtt_ms: Some(*rtt_ms),
            })
            .collect();
        let first = answered.first()?;
        // ping's first request has the number 1.
        let began = first.sent - f64::from(first.number.saturating_sub(1)) * interval;
        let mut probes: Vec<Probe> = Vec::new();
        for probe in answered {
            probes.extend(missing(probes.last(), Some(&probe), probe.number, began, interval));
            probes.push(probe);
        }
        probes.extend(missing(probes.last(), None, sent.saturating_add(1), began, interval));
        for probe in &mut probes {
            probe.sent -= began;
        }
        Some(Series { interval, began, probes, duplicates: self.duplicates })
    }
}

/// The unanswered requests between two answered ones, up to `end` (not included).
fn missing(before: Option<&Probe>, after: Option<&Probe>, end: u32, began: f64, interval: f64) -> Vec<Probe> {
    let (from, at) = before.map_or((0, began - interval), |probe| (probe.number, probe.sent));
    let step = match after {
        Some(after) if before.is_some() => (after.sent - at) / f64::from(after.number - from),
        _ => interval,
    };
    (from + 1..end)
        .map(|number| Probe { number, sent: at + f64::from(number - from) * step, rtt_ms: None })
        .collect()
}

/// What to tell the operator when ping refuses, from its own words.
pub fn advice(stderr: &str) -> Option<&'static str> {
    if stderr.contains("cannot flood") {
        // iputils: 200 ms before the release of December 2021, 2 ms since.
        return Some(
            "this ping allows such an interval only to root; use a longer --interval (10 ms is free since iputils \
             20211215), or run the bench as root",
        );
    }
    if stderr.contains("Operation not permitted") || stderr.contains("lacking privilege") {
        return Some("this user may not ping: run as root, or widen the kernel's net.ipv4.ping_group_range");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Series {
        let mut reader = Reader::default();
        text.lines().for_each(|line| reader.take(line));
        reader.finish(0.01).unwrap()
    }

    #[test]
    fn a_captured_run_is_read_whole() {
        let series = read(include_str!("../../tests/captured/iputils-20221126/ping--five-answers.txt"));
        let rtts: Vec<f64> = series.probes.iter().filter_map(|probe| probe.rtt_ms).collect();
        assert_eq!(rtts, [0.036, 0.032, 0.027, 0.026, 0.031]);
        assert_eq!(series.lost(), 0);
        let first = series.probes.first().unwrap();
        assert!(first.sent.abs() < 1e-6, "{first:?}");
    }

    #[test]
    fn unanswered_requests_are_found_by_their_numbers_and_lie_between_their_neighbours() {
        let series =
            read(include_str!("../../tests/captured/iputils-20221126/ping--cut-off-for-a-while.txt"));
        let numbers: Vec<u32> = series.probes.iter().map(|probe| probe.number).collect();
        assert_eq!(numbers, (1..=300).collect::<Vec<_>>());
        assert!(series.lost() > 50, "{}", series.lost());
        for pair in series.probes.windows(2) {
            assert!(pair[0].sent < pair[1].sent, "{pair:?}");
        }
    }

    #[test]
    fn a_run_that_nothing_answers_has_no_series() {
        let mut reader = Reader::default();
        for line in include_str!("../../tests/captured/iputils-20221126/ping--unreachable.txt").lines() {
            reader.take(line);
        }
        assert_eq!(reader.answered(), 0);
        assert_eq!(reader.finish(0.01), None);
    }

    #[test]
    fn numbers_go_on_after_65535() {
        let mut reader = Reader::default();
        let numbers: Vec<u32> = [1, 30_000, 65_535, 2, 0, 1].map(|number| reader.unwrapped(number)).into();
        assert_eq!(numbers, [1, 30_000, 65_535, 65_538, 65_536, 65_537]);
    }

    #[test]
    fn a_second_answer_is_counted_apart() {
        let text = "[1.5] 64 bytes from 10.0.0.1: icmp_seq=1 ttl=64 time=2.00 ms\n\
                    [1.6] 64 bytes from 10.0.0.1: icmp_seq=1 ttl=64 time=2.10 ms (DUP!)\n\
                    1 packets transmitted, 1 received, +1 duplicates, 0% packet loss, time 0ms\n";
        let series = read(text);
        assert_eq!((series.probes.len(), series.duplicates), (1, 1));
    }

    #[test]
    fn a_refused_interval_is_explained() {
        let said = include_str!("../../tests/captured/iputils-20221126/ping--interval-refused.stderr");
        assert!(advice(said).unwrap().contains("root"));
        assert_eq!(advice("ping: x0: Name or service not known"), None);
    }
}
