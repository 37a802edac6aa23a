//! What a person sees who waits: one line that is renewed on a terminal, a line every few seconds otherwise. On stderr.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// How often the line is renewed on a terminal.
const RENEWED: Duration = Duration::from_millis(200);
/// How often a line is written where nobody looks.
const WRITTEN: Duration = Duration::from_secs(5);

/// The progress of one run.
#[derive(Debug)]
pub struct Progress {
    terminal: bool,
    shown: Option<Instant>,
    open: bool,
}

impl Default for Progress {
    fn default() -> Self {
        Self { terminal: std::io::stderr().is_terminal(), shown: None, open: false }
    }
}

impl Progress {
    /// Shows how far it is, if it is time to. stderr may be closed; then nobody looks.
    pub fn show(&mut self, line: impl FnOnce() -> String) {
        let every = if self.terminal { RENEWED } else { WRITTEN };
        if self.shown.is_some_and(|shown| shown.elapsed() < every) {
            return;
        }
        self.shown = Some(Instant::now());
        let mut err = std::io::stderr();
        if self.terminal {
            let _ = write!(err, "\r\x1b[K{}", line());
            let _ = err.flush();
            self.open = true;
        } else {
            let _ = writeln!(err, "{}", line());
        }
    }

    /// Says something that stays.
    pub fn say(&mut self, line: &str) {
        self.clear();
        let _ = writeln!(std::io::stderr(), "{line}");
    }

    /// Takes the renewed line away.
    pub fn clear(&mut self) {
        if std::mem::take(&mut self.open) {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}
