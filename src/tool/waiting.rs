//! What a person is told who waits: from two seconds on a line on the terminal says for what, and since when.
//! It goes before anything is printed. Where standard error is no terminal, nothing is said.

use std::io::{IsTerminal, Write};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::shown::width;

/// Nobody wonders before.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often it is said anew.
const AGAIN: Duration = Duration::from_secs(1);
/// As long as this value lives, something is waited for.
#[derive(Debug)]
pub(super) struct Waiting {
    /// Going, it ends the thread.
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Says that `what` is under way, if that takes its time.
pub(super) fn waiting(what: &str) -> Waiting {
    if !std::io::stderr().is_terminal() {
        return Waiting { end: None, thread: None };
    }
    let (what, (end, ended)) = (what.to_owned(), channel::<()>());
    let thread = std::thread::spawn(move || {
        let began = Instant::now();
        // How much of the line is taken, which blanks take away: not every terminal knows more than that.
        let (mut wait, mut taken) = (PATIENCE, 0);
        while ended.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
            let line = line(&what, began.elapsed(), width());
            // Whoever closes it does not want to know.
            let _ = write!(std::io::stderr(), "\r{line:taken$}");
            (wait, taken) = (AGAIN, line.chars().count());
        }
        if taken > 0 {
            let _ = write!(std::io::stderr(), "\r{:taken$}\r", "");
        }
    });
    Waiting { end: Some(end), thread: Some(thread) }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.end = None;
        if let Some(thread) = self.thread.take() {
            // A line that could not be written is no reason to fail.
            let _ = thread.join();
        }
    }
}

/// What is said; it fits on one line of so many columns, since only that can be taken away again.
fn line(what: &str, since: Duration, width: usize) -> String {
    let end = format!(" ... {} s", since.as_secs());
    let room = width.saturating_sub(end.len() + 1);
    what.chars().take(room).collect::<String>() + &end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_waited_for_fits_on_one_line_with_its_seconds() {
        let since = Duration::from_millis(12_900);
        assert_eq!(line("asking the nodes", since, 80), "asking the nodes ... 12 s");
        assert_eq!(line("asking the nodes", since, 20), "asking the ... 12 s");
        assert_eq!(line("asking the nodes", since, 3), " ... 12 s");
    }
}
