//! Exit codes as types: what an action returns when it fails, and how the cluster reacts to each.

use std::fmt;

/// An OCF exit code (OCF 1.1 §3, "Exit status codes"; reactions as in Pacemaker's "Resource agents" chapter).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitCode {
    /// It is done, or the resource runs.
    Success = 0,
    /// Something failed that may work later or elsewhere. For `stop`: the node will be fenced, or the
    /// resource blocked.
    Generic = 1,
    /// The cluster called us with a parameter that cannot be. It will not be tried again on this node.
    Arguments = 2,
    /// No such action.
    Unimplemented = 3,
    /// We are not allowed to. It will not be tried again on this node.
    Permission = 4,
    /// A tool or a file that is needed is not on this node. It will not be tried again on this node.
    NotInstalled = 5,
    /// The configuration is wrong on every node. It will not be tried again anywhere.
    Configured = 6,
    /// Cleanly stopped here; never for "I cannot tell".
    NotRunning = 7,
    /// It runs, but not as it should; shown to the operator, no recovery (Pacemaker's extension of OCF).
    Degraded = 190,
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code as u8)
    }
}

/// Why an action failed and how the cluster must react. `main` prints the reason, once.
#[derive(Debug)]
pub struct Failure {
    /// What the cluster gets.
    pub code: ExitCode,
    /// What the operator reads: domain, node, what failed, what holds now.
    pub reason: anyhow::Error,
}

impl Failure {
    /// A failure with a reason made here.
    pub fn new(code: ExitCode, reason: impl fmt::Display) -> Self {
        Self { code, reason: anyhow::Error::msg(reason.to_string()) }
    }

    /// Puts `context` before the reason.
    #[must_use]
    pub fn context(self, context: impl fmt::Display + Send + Sync + 'static) -> Self {
        Self { code: self.code, reason: self.reason.context(context) }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The whole chain on one line: an exit reason has no second one.
        write!(f, "{:#}", self.reason)
    }
}

/// Turns an error into a [`Failure`] with the exit code that fits the place.
pub trait OrExit<T> {
    /// On error: `code`, and `doing` (what was being done, to what) before the error's own words.
    ///
    /// # Errors
    /// The [`Failure`] so made.
    fn or_exit(self, code: ExitCode, doing: impl fmt::Display + Send + Sync + 'static) -> Result<T, Failure>;
}

impl<T, E: Into<anyhow::Error>> OrExit<T> for Result<T, E> {
    fn or_exit(self, code: ExitCode, doing: impl fmt::Display + Send + Sync + 'static) -> Result<T, Failure> {
        self.map_err(|error| Failure { code, reason: error.into().context(doing) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_reason_is_one_line_with_the_whole_chain() {
        let failed: Result<(), _> = Err(std::io::Error::other("disk on fire"));
        let failure = failed.or_exit(ExitCode::Generic, "reading x0.cfg").unwrap_err();
        assert_eq!(failure.to_string(), "reading x0.cfg: disk on fire");
    }
}
