//! Interface to `httperf`, the load of `xen-handoff-bench memory`.
//!
//! httperf prints times to a tenth of a millisecond, which is more than the paper's smallest figures. So where the rate is not
//! given, the calls go one after another over one connection, and the time of one is what the whole took divided by their number.

/// A run of httperf.
#[derive(Debug, Clone, PartialEq)]
pub struct Load {
    /// Who is asked.
    pub server: String,
    /// On which port.
    pub port: u16,
    /// For what.
    pub uri: String,
    /// How many connections; one call each, unless there is no rate.
    pub connections: u32,
    /// How many of them are begun in a second; `None` for all calls one after another over one connection.
    pub rate: Option<f64>,
    /// How long an answer may take, in seconds.
    pub timeout: f64,
}

impl Load {
    /// The arguments for it.
    pub fn arguments(&self) -> Vec<String> {
        let mut args = vec![
            "--hog".to_owned(),
            format!("--server={}", self.server),
            format!("--port={}", self.port),
            format!("--uri={}", self.uri),
            format!("--timeout={}", self.timeout),
        ];
        match self.rate {
            Some(rate) => {
                args.extend([format!("--num-conns={}", self.connections), format!("--rate={rate}")])
            }
            None => args.extend(["--num-conns=1".to_owned(), format!("--num-calls={}", self.connections)]),
        }
        args
    }
}

/// What httperf reports.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Report {
    /// Answers, of whatever status.
    pub replies: u32,
    /// Answers with a status of 2xx.
    pub good: u32,
    /// Calls without an answer, for whatever reason.
    pub errors: u32,
    /// How long it took, in seconds.
    pub duration: f64,
    /// From the end of a request to the beginning of its answer: the mean, in milliseconds, to a tenth of one.
    pub response_ms: f64,
    /// The longest time of a connection, from its beginning to its end, in milliseconds.
    pub longest_ms: f64,
}

impl Report {
    /// Reads httperf's report. `None` if it is not whole.
    pub fn read(text: &str) -> Option<Self> {
        let line = |start: &str| text.lines().find_map(|line| line.strip_prefix(start));
        let total = line("Total: ")?;
        Some(Self {
            replies: word_after(total, "replies ")?.parse().ok()?,
            duration: word_after(total, "test-duration ")?.parse().ok()?,
            response_ms: word_after(line("Reply time [ms]: ")?, "response ")?.parse().ok()?,
            longest_ms: word_after(line("Connection time [ms]: ")?, "max ")?.parse().ok()?,
            good: word_after(line("Reply status: ")?, "2xx=")?.parse().ok()?,
            errors: word_after(line("Errors: ")?, "total ")?.parse().ok()?,
        })
    }

    /// The time of one call, in milliseconds: for calls one after another exact to the whole run's millisecond, otherwise what
    /// httperf says. `None` if nothing was answered well.
    pub fn call_ms(&self, load: &Load) -> Option<f64> {
        match (self.good, load.rate) {
            (0, _) => None,
            (good, None) => Some(self.duration * 1000.0 / f64::from(good)),
            (_, Some(_)) => Some(self.response_ms),
        }
    }
}

fn word_after<'l>(line: &'l str, key: &str) -> Option<&'l str> {
    line.split_once(key)?.1.split_whitespace().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(rate: Option<f64>) -> Load {
        Load {
            server: "10.0.0.5".to_owned(),
            port: 8080,
            uri: "/memaccess".to_owned(),
            connections: 50,
            rate,
            timeout: 5.0,
        }
    }

    #[test]
    fn a_captured_report_is_read() {
        let report =
            Report::read(include_str!("../../tests/captured/httperf-0.9.0/report--answered.txt")).unwrap();
        let expected =
            Report { replies: 50, good: 50, errors: 0, duration: 0.982, response_ms: 3.4, longest_ms: 9.6 };
        assert_eq!(report, expected);
        assert_eq!(report.call_ms(&load(Some(50.0))), Some(3.4));
    }

    #[test]
    fn calls_one_after_another_are_timed_by_the_whole_run() {
        let report =
            Report::read(include_str!("../../tests/captured/httperf-0.9.0/report--one-connection.txt"))
                .unwrap();
        let time = report.call_ms(&load(None)).unwrap();
        assert!(
            (time - report.duration * 1000.0 / 200.0).abs() < 1e-9 && report.replies == 200,
            "{report:?}"
        );
    }

    #[test]
    fn refused_and_failed_calls_have_no_time() {
        let refused =
            Report::read(include_str!("../../tests/captured/httperf-0.9.0/report--refused.txt")).unwrap();
        assert_eq!((refused.errors, refused.call_ms(&load(Some(50.0)))), (5, None));
        let not_found =
            Report::read(include_str!("../../tests/captured/httperf-0.9.0/report--404.txt")).unwrap();
        assert_eq!((not_found.replies, not_found.good, not_found.call_ms(&load(Some(50.0)))), (5, 0, None));
        assert_eq!(Report::read("httperf: command line broken off"), None);
    }
}
