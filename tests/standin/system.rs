//! The few things that this program asks of its own machine: clock, environment, processes.

use anyhow::Context;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Set for the monitor daemon only; it keeps the command line of its creator, as real `xl`'s does.
const DAEMON: &str = "XL_STANDIN_DAEMON";

/// Nanoseconds of CLOCK_REALTIME: the one clock that all namespaces of a machine share.
pub(crate) fn now_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}

/// A duration in nanoseconds.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Lets time pass: between two looks at a condition, or because the thing that we stand in for takes time.
pub(crate) fn pause(duration: Duration) {
    let end = now_ns() + nanos(duration);
    loop {
        let left = Duration::from_nanos(end.saturating_sub(now_ns()));
        if left.is_zero() {
            return;
        }
        let Ok(left) = rustix::event::Timespec::try_from(left) else { return };
        let _interrupted = rustix::event::poll(&mut [], Some(&left));
    }
}

/// A new random id.
pub(crate) fn random_uuid() -> anyhow::Result<String> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/uuid").context("drawing an id")?;
    Ok(id.trim().to_owned())
}

/// The environment's word on where to work.
#[allow(clippy::disallowed_methods, reason = "a test tool has no ocf::environment; this is its one place")]
pub(crate) fn environment(name: &str) -> Option<std::path::PathBuf> {
    std::env::var_os(name).filter(|v| !v.is_empty()).map(Into::into)
}

/// The domain that this process is the monitor daemon of.
pub(crate) fn daemon_of() -> Option<u32> {
    environment(DAEMON)?.to_str()?.parse().ok()
}

/// Starts the monitor daemon of `domid`: our own executable, the same arguments, output to `log`.
#[allow(clippy::disallowed_methods, reason = "the stand-in is no agent: crate::command is not its")]
pub(crate) fn spawn_daemon(domid: u32, log: std::fs::File, dir: &std::path::Path) -> anyhow::Result<()> {
    let log2 = log.try_clone().context("opening the daemon's log")?;
    Command::new(std::env::current_exe().context("finding the executable")?)
        .args(std::env::args_os().skip(1))
        .env(DAEMON, domid.to_string())
        .env("XL_STANDIN_DIR", dir)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(log2)
        .spawn()
        .context("starting the monitor daemon")?;
    Ok(())
}

/// `sh -c RUNE` with a pipe on both sides: the migration transport process.
#[allow(clippy::disallowed_methods, reason = "the stand-in is no agent: crate::command is not its")]
pub(crate) fn spawn_transport(rune: &str) -> std::io::Result<Child> {
    Command::new("sh").arg("-c").arg(rune).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()
}

/// The error's text as C's strerror has it, without Rust's ` (os error N)`.
pub(crate) fn strerror(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

/// Dies as from `kill -9`.
pub(crate) fn kill_myself() {
    let _gone = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
}
