//! The one place of these tests that starts processes, and the one that waits.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// What a command said.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Said {
    pub(crate) fn ok(&self) -> bool {
        self.status == 0
    }
}

/// A command of the machine, found by PATH.
#[allow(
    clippy::disallowed_methods,
    reason = "crate::command belongs to the agent; tests start processes here"
)]
pub(crate) fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    Command::new(program)
}

/// Runs to the end; panics when it cannot be started.
pub(crate) fn run(command: &mut Command) -> Said {
    run_with_input(command, "")
}

/// Runs to the end with `input` on its standard input.
pub(crate) fn run_with_input(command: &mut Command, input: &str) -> Said {
    let what = format!("{command:?}");
    let begin = Instant::now();
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|e| panic!("starting {what}: {e}"));
    if let Some(mut stdin) = child.stdin.take() {
        let _gone = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().unwrap_or_else(|e| panic!("waiting for {what}: {e}"));
    if std::env::var_os("PACEMAKER_TIMES").is_some() {
        eprintln!("{:>8.3} {what}", begin.elapsed().as_secs_f64());
    }
    Said {
        status: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Runs to the end and must succeed.
pub(crate) fn must(command: &mut Command) -> String {
    let said = run(command);
    assert!(said.ok(), "{command:?} failed with {}: {}{}", said.status, said.stderr, said.stdout);
    said.stdout
}

/// Copies an executable. A process of its own does the writing: a descriptor of ours, inherited by what another thread is
/// starting at that moment, would leave the copy "busy".
pub(crate) fn copy_executable(from: &Path, to: &Path) {
    must(command("install").args(["-m", "755"]).args([from, to]));
}

/// Builds the stand-in if need be and says where it is.
pub(crate) fn standin() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(build_standin).clone()
}

fn build_standin() -> PathBuf {
    let mut cargo = command(env!("CARGO"));
    cargo.args(["build", "--quiet", "--example", "xl-standin"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    must(&mut cargo);
    let us = std::env::current_exe().expect("our own path");
    let built = us.parent().and_then(Path::parent).expect("the target folder").join("examples/xl-standin");
    assert!(built.exists(), "no stand-in at {}", built.display());
    built
}

/// Starts a process that lives as long as its standard input is held, with output to `log`.
pub(crate) fn start_held(command: &mut Command, log: std::fs::File) -> Child {
    let log2 = log.try_clone().expect("the console's descriptor");
    let what = format!("{command:?}");
    command.stdin(Stdio::piped()).stdout(log).stderr(log2);
    command.spawn().unwrap_or_else(|e| panic!("starting {what}: {e}"))
}

/// Looks again and again until the condition holds. `Err` when the time is over.
pub(crate) fn until(limit: Duration, mut condition: impl FnMut() -> bool) -> Result<Duration, Duration> {
    let begin = Instant::now();
    loop {
        if condition() {
            return Ok(begin.elapsed());
        }
        if begin.elapsed() > limit {
            return Err(begin.elapsed());
        }
        pause(Duration::from_millis(20));
    }
}

/// Between two looks at a condition.
fn pause(duration: Duration) {
    if let Ok(time) = rustix::event::Timespec::try_from(duration) {
        let _interrupted = rustix::event::poll(&mut [], Some(&time));
    }
}
