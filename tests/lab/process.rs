//! Processes of this machine: run with a time limit, and killed with whoever holds them.

use std::io::{Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};

use crate::wait;

/// What a finished command left behind.
#[derive(Debug)]
pub(crate) struct Output {
    /// How it ended.
    pub(crate) status: ExitStatus,
    /// What it wrote, as text.
    pub(crate) stdout: String,
    /// What it complained about.
    pub(crate) stderr: String,
}

impl Output {
    /// The exit status as a number, -1 where a signal ended it.
    pub(crate) fn code(&self) -> i32 {
        self.status.code().unwrap_or(-1)
    }
}

/// A running command whose output is being collected. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Running {
    what: String,
    child: Child,
    stdout: Option<JoinHandle<String>>,
    stderr: Option<JoinHandle<String>>,
}

/// Starts `command`, feeds it `input` and collects what it says.
pub(crate) fn start(mut command: Command, input: Option<Vec<u8>>) -> Result<Running> {
    let what = format!("{command:?}");
    command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("starting {what}"))?;
    if let (Some(bytes), Some(mut stdin)) = (input, child.stdin.take()) {
        // In a thread, so that a command that writes before it has read all does not block us.
        std::thread::spawn(move || stdin.write_all(&bytes));
    }
    let stdout = child.stdout.take().map(collect);
    let stderr = child.stderr.take().map(collect);
    Ok(Running { what, child, stdout, stderr })
}

/// Starts `command`, its output going to a file that can be read meanwhile.
pub(crate) fn record(mut command: Command, path: &std::path::Path) -> Result<Running> {
    let what = format!("{command:?}");
    command.stdin(Stdio::null()).stdout(std::fs::File::create(path)?).stderr(Stdio::null());
    let child = command.spawn().with_context(|| format!("starting {what}"))?;
    Ok(Running { what, child, stdout: None, stderr: None })
}

fn collect(mut from: impl Read + Send + 'static) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = from.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

impl Running {
    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Has it ended?
    pub(crate) fn ended(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// Waits for its end.
    pub(crate) fn finish(mut self, limit: Duration) -> Result<Output> {
        let status = wait::until_every(
            Duration::from_millis(5),
            format_args!("the end of {}", self.what),
            limit,
            || Ok(self.child.try_wait()?),
        )?;
        let text = |handle: Option<JoinHandle<String>>| {
            handle
                .map(JoinHandle::join)
                .transpose()
                .map_err(|_| anyhow!("a reader died"))
                .map(Option::unwrap_or_default)
        };
        Ok(Output { status, stdout: text(self.stdout.take())?, stderr: text(self.stderr.take())? })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a command of this machine to its end and wants it to succeed.
pub(crate) fn run(program: &str, arguments: &[&str], limit: Duration) -> Result<String> {
    let mut command = Command::new(program);
    command.args(arguments);
    let output = start(command, None)?.finish(limit)?;
    if !output.status.success() {
        bail!("{program} {}: {}: {}", arguments.join(" "), output.status, output.stderr.trim());
    }
    Ok(output.stdout)
}

/// The last lines of a log, for a failure's message.
pub(crate) fn tail(path: &std::path::Path, lines: usize) -> String {
    let text = std::fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let all: Vec<&str> = text.lines().collect();
    let last = all.get(all.len().saturating_sub(lines)..).unwrap_or_default();
    format!("last lines of {}:\n    {}", path.display(), last.join("\n    "))
}
