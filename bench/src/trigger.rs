//! The operator's command: what makes the domain move, given at its time while the measurement goes on.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use xen_handoff::clock::{Clock, Deadline, SystemClock};
use xen_handoff::command::{self, Tool};

use crate::remote::now;

/// Where the command's output goes, in the folder of the results.
pub const LOG: &str = "command.log";

/// What became of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Given {
    /// The command line; empty where the operator did it by hand.
    pub line: String,
    /// When it was given, in seconds after the first request.
    pub at_s: f64,
    /// When it returned; `None` if it had not by the end.
    pub returned_s: Option<f64>,
    /// Its exit status; `None` if it has not returned or was killed.
    pub status: Option<i32>,
}

/// A command that waits for its time, runs, or has run.
#[derive(Debug)]
pub struct Trigger {
    words: Vec<String>,
    at: f64,
    child: Option<Child>,
    given: Option<f64>,
    returned: Option<(f64, Option<i32>)>,
}

impl Trigger {
    /// `words` at `at` seconds after the beginning; no words, where the operator does it by hand.
    pub fn new(words: &[String], at: f64) -> Self {
        Self { words: words.to_vec(), at, child: None, given: None, returned: None }
    }

    /// As a person would type it.
    pub fn line(&self) -> String {
        self.words.join(" ")
    }

    /// Gives the command if `elapsed` seconds have gone by since the beginning, and looks whether it has returned. True when
    /// it was given just now.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn look(&mut self, elapsed: f64, folder: &Path) -> anyhow::Result<bool> {
        if let Some(child) = &mut self.child
            && let Some(status) = child.try_wait()?
        {
            self.returned = Some((now(), status.code()));
            self.child = None;
        }
        if self.given.is_some() || elapsed < self.at {
            return Ok(false);
        }
        self.given = Some(now());
        if let [program, args @ ..] = self.words.as_slice() {
            let log = File::create(folder.join(LOG)).context("making the command's log")?;
            let errors = log.try_clone()?;
            let child = command::spawn(
                &Tool::typed(program),
                args,
                Stdio::null(),
                Stdio::from(log),
                Stdio::from(errors),
            )?;
            self.child = Some(child);
        }
        Ok(true)
    }

    /// Whether it was given and has not returned yet.
    pub fn runs(&self) -> bool {
        self.child.is_some()
    }

    /// Waits for the command's end, not longer than `limit`, and says what became of it in a time that begins at `zero`
    /// (seconds since 1970). `None` if it was never given.
    ///
    /// # Errors
    /// If the system cannot say.
    pub fn finish(mut self, zero: f64, limit: Duration) -> anyhow::Result<Option<Given>> {
        let Some(given) = self.given else { return Ok(None) };
        if let Some(child) = &mut self.child {
            let ended = SystemClock.wait_until(Deadline::after(limit), Duration::from_millis(50), || {
                child.try_wait().transpose()
            });
            self.returned = ended.transpose()?.map(|status| (now(), status.code()));
        }
        Ok(Some(Given {
            line: self.line(),
            at_s: given - zero,
            returned_s: self.returned.map(|(at, _)| at - zero),
            status: self.returned.and_then(|(_, status)| status),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn a_command_is_given_once_at_its_time_and_its_end_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let mut trigger = Trigger::new(&words("sh -c exit${IFS}3"), 1.0);
        assert!(!trigger.look(0.9, folder.path()).unwrap());
        let before = now();
        assert!(trigger.look(1.0, folder.path()).unwrap());
        assert!(!trigger.look(1.1, folder.path()).unwrap());
        let given = trigger.finish(before, Duration::from_secs(10)).unwrap().unwrap();
        assert_eq!(given.status, Some(3));
        assert!(given.at_s >= 0.0 && given.returned_s.unwrap() >= given.at_s);
    }

    #[test]
    fn a_command_that_never_got_its_time_was_not_given() {
        let trigger = Trigger::new(&words("true"), 9.0);
        assert_eq!(trigger.finish(0.0, Duration::ZERO).unwrap(), None);
    }

    #[test]
    fn without_words_the_moment_is_the_operators() {
        let folder = tempfile::tempdir().unwrap();
        let mut trigger = Trigger::new(&[], 0.0);
        assert!(trigger.look(0.0, folder.path()).unwrap());
        let given = trigger.finish(0.0, Duration::ZERO).unwrap().unwrap();
        assert_eq!((given.line.as_str(), given.status), ("", None));
    }
}
