//! Waiting for conditions, and telling the person who waits what for.

use std::fmt::Display;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How often a condition is looked at when nothing else is said.
const EVERY: Duration = Duration::from_millis(50);

/// When the run began, for the elapsed time in front of each progress line.
fn began() -> Instant {
    static BEGAN: OnceLock<Instant> = OnceLock::new();
    *BEGAN.get_or_init(Instant::now)
}

/// One line of progress, on stderr, with the seconds since the run began.
pub(crate) fn say(what: impl Display) {
    eprintln!("lab {:6.1} s: {what}", began().elapsed().as_secs_f64());
}

/// Does one long step: says that it begins, and how long it took.
pub(crate) fn step<T>(what: impl Display, work: impl FnOnce() -> Result<T>) -> Result<T> {
    say(format_args!("{what} ..."));
    let start = Instant::now();
    let done = work()?;
    say(format_args!("{what}: {:.1} s", start.elapsed().as_secs_f64()));
    Ok(done)
}

/// Polls until `condition` yields a value. An error of the condition ends the wait at once.
pub(crate) fn until<T>(
    what: impl Display,
    limit: Duration,
    condition: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    until_every(EVERY, what, limit, condition)
}

/// `until`, for conditions that cost the nodes something to look at.
pub(crate) fn until_every<T>(
    every: Duration,
    what: impl Display,
    limit: Duration,
    mut condition: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = condition()? {
            return Ok(value);
        }
        if Instant::now() >= deadline {
            bail!("waited {} s for {what}, in vain", limit.as_secs());
        }
        std::thread::sleep(every);
    }
}

/// Seconds since the epoch on this machine, which is the clock that all verdicts are given in.
pub(crate) fn now() -> f64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
