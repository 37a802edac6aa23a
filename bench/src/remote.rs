//! Interface to `ssh HOST COMMAND`, as the operator: their keys, their configuration, no prompts.
//!
//! Not the agent's transport (which can say a few verbs and nothing else): the bench runs with the rights of whoever runs it. What
//! it runs on other machines is fixed text of its own, and httperf and curl with every argument quoted.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use xen_handoff::command::{self, CommandError, Output, Tool};
use xen_handoff::host::{NodeName, Root};

use crate::events::{self, Event};

/// How long a login and a short command may take.
pub const LIMIT: Duration = Duration::from_secs(60);

/// Where something is run.
#[derive(Debug, Clone)]
pub enum Place {
    /// On this machine.
    Here,
    /// On that one, by ssh.
    There(Remote),
}

/// Another machine.
#[derive(Debug, Clone)]
pub struct Remote {
    host: NodeName,
    config: Option<PathBuf>,
}

impl Place {
    /// That machine; this one where there is no name.
    pub fn of(host: Option<&NodeName>, config: Option<&Path>) -> Self {
        host.map_or(Self::Here, |host| Self::There(Remote::new(host, config)))
    }

    /// Its name, for tables.
    pub fn name(&self) -> String {
        match self {
            Self::Here => "here".to_owned(),
            Self::There(remote) => remote.host.to_string(),
        }
    }

    /// Runs a tool there to its end.
    ///
    /// # Errors
    /// If the tool is missing here, ssh cannot log in (status 255), or the time is up.
    pub fn run(&self, root: &Root, tool: &str, args: &[String], limit: Duration) -> anyhow::Result<Output> {
        match self {
            Self::Here => Ok(command::run(&Tool::find(root, tool)?, args, None, limit)?),
            Self::There(remote) => {
                let words = [tool.to_owned()].into_iter().chain(args.iter().cloned());
                let line: Vec<String> = words.map(|word| quoted(&word)).collect();
                remote.ask(root, &line.join(" "), limit)
            }
        }
    }
}

/// A word as the far shell gives it on unchanged.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

impl Remote {
    /// That host, by the operator's ssh configuration or by this one.
    pub fn new(host: &NodeName, config: Option<&Path>) -> Self {
        Self { host: host.clone(), config: config.map(Path::to_owned) }
    }

    /// Runs `line` by the far shell.
    ///
    /// # Errors
    /// If ssh is missing, cannot log in, or does not end in time.
    pub fn ask(&self, root: &Root, line: &str, limit: Duration) -> anyhow::Result<Output> {
        let ssh = Tool::find(root, "ssh")?.for_operator();
        let mut args: Vec<String> = Vec::new();
        if let Some(config) = &self.config {
            args.extend(["-F".to_owned(), config.display().to_string()]);
        }
        args.extend(["-o", "BatchMode=yes", "-o", "ConnectTimeout=15"].map(str::to_owned));
        args.extend([self.host.to_string(), line.to_owned()]);
        let output = command::run(&ssh, &args, None, limit)?;
        if output.status.code() == Some(255) {
            return Err(CommandError::Failed {
                command: format!("ssh {}", self.host),
                status: output.status,
                stderr: output.stderr,
            }
            .into());
        }
        Ok(output)
    }

    /// What the agent wrote to that node's journal since `since`, in our time: the node's clock is corrected where it differs by
    /// more than asking for it took.
    ///
    /// # Errors
    /// As [`Self::ask`]; if the node has no journal.
    pub fn events(&self, root: &Root, since: f64) -> anyhow::Result<(Vec<Event>, Option<f64>)> {
        let (before, asked) = (now(), Instant::now());
        let said = self.ask(root, "date +%s.%N", LIMIT)?.success()?.stdout;
        let took = asked.elapsed().as_secs_f64();
        let theirs: f64 = said.trim().parse().with_context(|| format!("{} says {said:?}", self.host))?;
        let ahead = ahead(theirs, before, took);
        let since = (since + ahead.unwrap_or(0.0)).floor();
        let line = format!("journalctl --quiet --no-pager -o short-unix -t xen-handoff --since @{since:.0}");
        let journal = self.ask(root, &line, LIMIT)?.success()?.stdout;
        let mut events = events::read(&journal);
        for event in &mut events {
            event.at -= ahead.unwrap_or(0.0);
        }
        Ok((events, ahead))
    }
}

/// By how many seconds a clock is ahead that said `theirs` at some time in the `took` seconds from `before` on; `None` where
/// that is no more than the question took.
fn ahead(theirs: f64, before: f64, took: f64) -> Option<f64> {
    // The login comes first, so the clock was read near the end.
    let ahead = theirs - (before + took);
    (ahead.abs() > took).then_some(ahead)
}

/// Seconds since 1970.
pub fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_far_shell_sees_words_and_nothing_else() {
        assert_eq!(quoted("/matmul?n=5&x=$(reboot)"), "'/matmul?n=5&x=$(reboot)'");
        assert_eq!(quoted("it's"), "'it'\\''s'");
    }

    #[test]
    fn a_clock_is_corrected_only_where_it_is_certainly_off() {
        assert_eq!(ahead(100.4, 100.0, 0.5), None);
        assert_eq!(ahead(100.0, 100.0, 0.5), None);
        assert_eq!(ahead(103.5, 100.0, 0.5), Some(3.0));
        assert_eq!(ahead(90.5, 100.0, 0.5), Some(-10.0));
    }
}
