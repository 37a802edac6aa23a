//! The only place that starts a process.
//!
//! Every foreign tool is found in a fixed list of folders below the [`Root`], never by the caller's `PATH`;
//! it gets an argument list (there is no shell), an environment of its own (`LC_ALL=C`, our log's settings),
//! and a time limit. The bench, a program of its own which operators run, makes two exceptions: the command
//! that was typed ([`Tool::typed`]) and the operator's own ssh ([`Tool::for_operator`]).
//!
//! **When the cluster kills us.** Pacemaker ends an action that ran too long by SIGKILL to its whole process
//! group. [`run`] leaves its child in our group on purpose: a listing that hangs dies with the action that
//! asked for it. What must outlive the action (xl's sender and receiver, the keeper of a deadline) is started
//! by [`detach`], which goes through our own executable and begins a session of its own there.

use std::ffi::OsStr;
use std::fmt;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, Signal};

use crate::clock::{Clock, Deadline, SystemClock, in_action};
use crate::host::Root;

/// Where tools are looked up, in this order, below the root.
pub const TOOL_FOLDERS: [&str; 6] =
    ["/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/local/sbin", "/usr/local/bin"];

/// The variable by which a process that the agent has started is known to be of one domain, for as long as it
/// lives: its daemon keeps it (`/proc/PID/environ`), whatever becomes of names and files.
pub const MARK: &str = "XEN_HANDOFF_DOMAIN";

/// How much of a tool's stderr an error message repeats, in bytes (its end).
const STDERR_TAIL: usize = 1024;
/// The most that a tool may print, in bytes: the configuration of the largest cluster, several times. One
/// that prints more is ended.
const MOST_OUTPUT: usize = 64 << 20;
/// How much of its stderr is kept, in bytes (its end).
const STDERR_KEPT: usize = 64 << 10;
/// How much is read of one of them before the deadline is looked at again, in bytes.
const AT_ONCE: u64 = 1 << 20;

/// A foreign executable that exists.
#[derive(Debug, Clone)]
pub struct Tool {
    path: PathBuf,
    root: Root,
    surroundings: Surroundings,
    /// Of which domain it is.
    mark: Option<String>,
}

/// What environment a tool gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Surroundings {
    /// One of our own making.
    Ours,
    /// That of whoever called us, with our locale.
    Callers,
    /// That of whoever called us, as it is.
    Typed,
}

/// Why a tool gave no usable answer.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// No such executable in any of [`TOOL_FOLDERS`].
    #[error("{name} is not installed: no executable of that name in {}", TOOL_FOLDERS.join(", "))]
    Missing {
        /// The tool's name.
        name: String,
    },
    /// It could not be started or its output could not be read.
    #[error("cannot run {command}")]
    Spawn {
        /// The command line, for the log.
        command: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// It did not end in time and was killed.
    #[error("{command} did not answer within {:.1} s and was killed", limit.as_secs_f64())]
    TimedOut {
        /// The command line, for the log.
        command: String,
        /// The limit that it overran.
        limit: Duration,
    },
    /// It ended with an exit status other than 0.
    #[error("{command} failed ({status}){}", said(stderr))]
    Failed {
        /// The command line, for the log.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// The end of what it wrote to stderr.
        stderr: String,
    },
}

fn said(stderr: &str) -> String {
    if stderr.trim().is_empty() { String::new() } else { format!(": {}", stderr.trim().replace('\n', "; ")) }
}

/// What a tool that ended in time left behind.
#[derive(Debug, Clone)]
pub struct Output {
    /// The command line, for messages.
    pub command: String,
    /// How it ended.
    pub status: ExitStatus,
    /// All of its stdout; bytes that are not UTF-8 become U+FFFD.
    pub stdout: String,
    /// The last 64 KiB of its stderr.
    pub stderr: String,
}

impl Output {
    /// The output itself if the exit status is 0.
    ///
    /// # Errors
    /// [`CommandError::Failed`] with the end of stderr otherwise.
    pub fn success(self) -> Result<Self, CommandError> {
        if self.status.success() {
            return Ok(self);
        }
        Err(CommandError::Failed { stderr: tail(&self.stderr), command: self.command, status: self.status })
    }
}

/// The path of an executable as the kernel gives it: one that an upgrade has replaced is called `(deleted)`.
fn in_its_place(path: PathBuf) -> PathBuf {
    let replaced = path.to_str().and_then(|text| text.strip_suffix(" (deleted)")).map(PathBuf::from);
    replaced.filter(|new| new.is_file()).unwrap_or(path)
}

fn tail(text: &str) -> String {
    let mut start = text.len().saturating_sub(STDERR_TAIL);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    text[start..].to_owned()
}

impl Tool {
    /// Looks `name` up in [`TOOL_FOLDERS`] below `root`.
    ///
    /// # Errors
    /// [`CommandError::Missing`] if there is no such file.
    pub fn find(root: &Root, name: &str) -> Result<Self, CommandError> {
        TOOL_FOLDERS
            .iter()
            .map(|folder| root.join(folder).join(name))
            .find(|path| path.is_file())
            .map(|path| Self { path, root: root.clone(), surroundings: Surroundings::Ours, mark: None })
            .ok_or_else(|| CommandError::Missing { name: name.to_owned() })
    }

    /// This very executable, for what must run in a process of its own; or what has taken its place since
    /// this process began.
    ///
    /// # Errors
    /// If the kernel cannot say where it lies.
    pub fn ourselves(root: &Root) -> Result<Self, CommandError> {
        // A unit test is another executable.
        #[cfg(test)]
        if let Ok(planted) = Self::find(root, "xen-handoff") {
            return Ok(planted);
        }
        let path = std::env::current_exe()
            .map(in_its_place)
            .map_err(|source| CommandError::Spawn { command: "xen-handoff".to_owned(), source })?;
        Ok(Self { path, root: root.clone(), surroundings: Surroundings::Ours, mark: None })
    }

    /// A command that the operator typed on our command line: it is theirs, so it is looked up and surrounded
    /// as their shell would have done it. For the bench alone; the agent has no such thing.
    pub fn typed(word: &str) -> Self {
        Self { path: word.into(), root: Root::default(), surroundings: Surroundings::Typed, mark: None }
    }

    /// A script that a parameter of the resource names. It sees what the cluster has told the agent.
    pub fn script(path: &Path) -> Self {
        Self { path: path.to_owned(), root: Root::default(), surroundings: Surroundings::Callers, mark: None }
    }

    /// The same tool with the caller's environment, for what acts with the operator's own rights and keys
    /// (ssh).
    #[must_use]
    pub fn for_operator(self) -> Self {
        Self { surroundings: Surroundings::Callers, ..self }
    }

    /// The same tool with [`MARK`]: what it does, and all that it leaves behind, is of this domain.
    #[must_use]
    pub fn marked(self, domain: &str) -> Self {
        Self { mark: Some(domain.to_owned()), ..self }
    }

    /// The executable's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The tool's base name.
    pub fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    #[allow(clippy::disallowed_methods, reason = "this is crate::command")]
    fn command(&self, args: &[&OsStr]) -> Command {
        let mut command = Command::new(&self.path);
        command.args(args);
        match self.surroundings {
            Surroundings::Typed => return command,
            Surroundings::Callers => {
                command.env("LC_ALL", "C");
                return command;
            }
            Surroundings::Ours => {}
        }
        command.env_clear().env("LC_ALL", "C").env("HOME", "/root").env("PATH", TOOL_FOLDERS.join(":"));
        // For our own subcommands, which xl may start in its turn.
        command.envs(crate::logging::for_children().iter().cloned());
        if let Some(root) = self.root.for_child() {
            command.env("XEN_HANDOFF_ROOT", root);
        }
        if let Some(domain) = &self.mark {
            command.env(MARK, domain);
        }
        command
    }
}

/// `tool` and its arguments as a person would type them, for messages only.
#[derive(Debug)]
struct CommandLine<'a>(&'a Tool, &'a [&'a OsStr]);

impl fmt::Display for CommandLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.name())?;
        self.1.iter().try_for_each(|arg| write!(f, " {}", arg.to_string_lossy()))
    }
}

/// Runs `tool` to its end, at most for `limit`, and in an action of the cluster's not beyond that. `input` is
/// written to its stdin (of at most a few hundred KiB that the tool reads before it answers); without it,
/// stdin is empty.
///
/// # Errors
/// [`CommandError::Spawn`] or [`CommandError::TimedOut`]. An exit status other than 0 is not an error here:
/// see [`Output::success`].
pub fn run<S: AsRef<OsStr>>(
    tool: &Tool,
    args: &[S],
    input: Option<&str>,
    limit: Duration,
) -> Result<Output, CommandError> {
    let args: Vec<&OsStr> = args.iter().map(AsRef::as_ref).collect();
    let line = CommandLine(tool, &args).to_string();
    let failed = |source| CommandError::Spawn { command: line.clone(), source };
    let limit = in_action(limit);
    let deadline = Deadline::after(limit);
    // A file for stdin, not a pipe: a tool that never reads cannot block us then.
    let stdin = match input {
        None => Stdio::null(),
        Some(text) => {
            let mut file = tempfile::tempfile().map_err(failed)?;
            file.write_all(text.as_bytes()).map_err(failed)?;
            std::io::Seek::rewind(&mut file).map_err(failed)?;
            Stdio::from(file)
        }
    };
    let mut command = tool.command(&args);
    command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = begin(&mut command).map_err(failed)?;
    log::trace!("ran {line}");
    let collected = collect(&mut child, deadline).map_err(|error| {
        // Nothing changes by the answers: the caller learns what was wrong with its output.
        let _ = child.kill();
        let _ = child.wait();
        failed(error)
    });
    let (stdout, stderr, in_time) = collected?;
    let status = if in_time { exit_by(&mut child, deadline).map_err(failed)? } else { None };
    let Some(status) = status else {
        // The answer to kill and wait changes nothing: the caller learns that there was no answer in time.
        let _ = child.kill();
        let _ = child.wait();
        return Err(CommandError::TimedOut { command: line, limit });
    };
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok(Output { command: line, status, stdout: text(stdout), stderr: text(stderr) })
}

/// Reads both outputs until they end or the child has ended (a daemon that it left behind may hold them
/// open).
fn collect(child: &mut Child, deadline: Deadline) -> std::io::Result<(Vec<u8>, Vec<u8>, bool)> {
    let (mut out, mut err) = (child.stdout.take(), child.stderr.take());
    let (mut out_bytes, mut err_bytes) = (Vec::new(), Vec::new());
    for stream in [out.as_ref().map(AsFd::as_fd), err.as_ref().map(AsFd::as_fd)].into_iter().flatten() {
        rustix::io::ioctl_fionbio(stream, true)?;
    }
    loop {
        let ended = child.try_wait()?.is_some();
        drain(&mut out, &mut out_bytes)?;
        drain(&mut err, &mut err_bytes)?;
        if out_bytes.len() > MOST_OUTPUT {
            return Err(std::io::Error::other(format!("it printed more than {} MiB", MOST_OUTPUT >> 20)));
        }
        err_bytes.drain(..err_bytes.len().saturating_sub(STDERR_KEPT));
        if ended || (out.is_none() && err.is_none()) {
            return Ok((out_bytes, err_bytes, true));
        }
        if deadline.passed() {
            return Ok((out_bytes, err_bytes, false));
        }
        let mut open: Vec<PollFd<'_>> = [out.as_ref().map(AsFd::as_fd), err.as_ref().map(AsFd::as_fd)]
            .into_iter()
            .flatten()
            .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
            .collect();
        wait_ready(&mut open, deadline.left().min(Duration::from_millis(100)))?;
    }
}

/// Waits until one of `open` is ready for what it is asked about or `span` has gone by.
pub(crate) fn wait_ready(open: &mut [PollFd<'_>], span: Duration) -> std::io::Result<()> {
    let span =
        rustix::time::Timespec::try_from(span).unwrap_or(rustix::time::Timespec { tv_sec: 1, tv_nsec: 0 });
    match poll(open, Some(&span)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

fn drain<R: Read>(stream: &mut Option<R>, into: &mut Vec<u8>) -> std::io::Result<()> {
    let Some(open) = stream else { return Ok(()) };
    // Not all at once: a tool that prints without end would never let us look at the deadline.
    match open.take(AT_ONCE).read_to_end(into) {
        Ok(read) if read as u64 == AT_ONCE => {}
        Ok(_) => *stream = None,
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
        Err(error) => return Err(error),
    }
    Ok(())
}

/// Waits for a child that is to end by itself; one that has not by `deadline` is killed. `what` is said of it
/// then.
///
/// # Errors
/// What the system says.
pub(crate) fn wait_by(child: &mut Child, deadline: Deadline, what: &str) -> std::io::Result<ExitStatus> {
    let ended = SystemClock.wait_until(deadline, Duration::from_millis(20), || child.try_wait().transpose());
    if let Some(status) = ended.transpose()? {
        return Ok(status);
    }
    log::warn!("{what} has not ended in time and is killed");
    child.kill()?;
    child.wait()
}

fn exit_by(child: &mut Child, deadline: Deadline) -> std::io::Result<Option<ExitStatus>> {
    SystemClock.wait_until(deadline, Duration::from_millis(1), || child.try_wait().transpose()).transpose()
}

/// Starts `tool` with these three streams and does not wait for it. The caller owns the child and its
/// streams.
///
/// # Errors
/// [`CommandError::Spawn`].
pub fn spawn<S: AsRef<OsStr>>(
    tool: &Tool,
    args: &[S],
    stdin: Stdio,
    stdout: Stdio,
    stderr: Stdio,
) -> Result<Child, CommandError> {
    let args: Vec<&OsStr> = args.iter().map(AsRef::as_ref).collect();
    let line = CommandLine(tool, &args).to_string();
    log::debug!("starting {line}");
    let mut command = tool.command(&args);
    command.stdin(stdin).stdout(stdout).stderr(stderr);
    begin(&mut command).map_err(|source| CommandError::Spawn { command: line, source })
}

/// Returns when the child has become what it is to run.
fn begin(command: &mut Command) -> std::io::Result<Child> {
    #[cfg(test)]
    let _forking = crate::small_file::FORKING.read();
    let child = command.spawn()?;
    #[cfg(test)]
    has_begun(&child);
    Ok(child)
}

/// Waits until the child has its own name, which the kernel gives it after it has closed what was not left
/// open for it. `spawn` returns a moment before that, and on a host under load the moment is long.
#[cfg(test)]
fn has_begun(child: &Child) {
    let name = |of: &str| std::fs::read_to_string(format!("/proc/{of}/comm")).unwrap_or_default();
    let ours = name("thread-self");
    while name(&child.id().to_string()) == ours {
        std::thread::yield_now();
    }
}

/// Becomes `tool`, and dies with `parent`, however that dies. Returns only if that cannot be.
pub fn become_bound<S: AsRef<OsStr>>(tool: &Tool, args: &[S], parent: Pid) -> std::io::Error {
    use std::os::unix::process::CommandExt;
    // Kept across the exec, not passed on to children (`prctl(2)`).
    if let Err(errno) = rustix::process::set_parent_process_death_signal(Some(Signal::KILL)) {
        return errno.into();
    }
    // It may have died before that.
    if rustix::process::getppid() != Some(parent) {
        return std::io::Error::other("the process that this one belongs to has gone");
    }
    let args: Vec<&OsStr> = args.iter().map(AsRef::as_ref).collect();
    tool.command(&args).exec()
}

/// Starts one of our own hidden subcommands out of the cluster's kill range: the child begins a session of
/// its own ([`begin_session`]) as its first act. Its stdout is ours to read for as long as we live; it does
/// not need us.
///
/// # Errors
/// [`CommandError::Spawn`].
pub fn detach<S: AsRef<OsStr>>(root: &Root, args: &[S]) -> Result<(Child, ChildStdout), CommandError> {
    let ourselves = Tool::ourselves(root)?;
    let mut child = spawn(&ourselves, args, Stdio::null(), Stdio::piped(), Stdio::null())?;
    let Some(stdout) = child.stdout.take() else {
        return Err(CommandError::Spawn {
            command: ourselves.name(),
            source: std::io::Error::other("the child has no stdout"),
        });
    };
    Ok((child, stdout))
}

/// Leaves the process group and session that we were started in, so that a kill of the cluster's action (or a
/// hang-up of an ssh connection) does not reach us.
pub fn begin_session() {
    // EPERM: we lead a process group already, as below sshd; then we are out of anybody else's group as well.
    if let Err(errno) = rustix::process::setsid() {
        log::debug!("setsid: {errno}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn world(script: &str) -> (tempfile::TempDir, Tool) {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let bin = folder.path().join("usr/sbin");
        std::fs::create_dir_all(&bin).unwrap();
        let path = bin.join("subject");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let tool = Tool::find(&Root::new(folder.path()), "subject").unwrap();
        (folder, tool)
    }

    #[test]
    fn an_executable_that_an_upgrade_has_replaced_is_started_in_its_new_form() {
        let folder = tempfile::tempdir().unwrap();
        let (path, old) = (folder.path().join("xen-handoff"), folder.path().join("xen-handoff (deleted)"));
        assert_eq!(in_its_place(old.clone()), old, "nothing has taken its place");
        std::fs::write(&path, "").unwrap();
        assert_eq!(in_its_place(old), path);
        assert_eq!(in_its_place(path.clone()), path);
    }

    #[test]
    fn a_tool_is_found_below_the_root_and_not_by_path() {
        let (_folder, tool) = world("exit 0");
        assert!(tool.path().ends_with("usr/sbin/subject"));
        let missing = Tool::find(&Root::new("/nonexistent"), "sh").unwrap_err();
        assert!(missing.to_string().starts_with("sh is not installed"), "{missing}");
    }

    #[test]
    fn a_typed_command_is_the_operators_own() {
        let output = run(&Tool::typed("env"), &[] as &[&str], None, Duration::from_secs(5)).unwrap();
        let path = format!("PATH={}", std::env::vars().find(|(name, _)| name == "PATH").unwrap().1);
        assert!(output.stdout.lines().any(|line| line == path), "{}", output.stdout);
    }

    #[test]
    fn output_status_and_input_arrive_whole() {
        let (_folder, tool) = world("cat; echo problem >&2; exit 3");
        let output = run(&tool, &["x"], Some("hello"), Duration::from_secs(5)).unwrap();
        assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("hello", "problem\n"));
        let error = output.success().unwrap_err().to_string();
        assert_eq!(error, "subject x failed (exit status: 3): problem");
    }

    #[test]
    fn a_tool_that_hangs_is_killed_at_its_limit() {
        let (_folder, tool) = world("exec sleep 60");
        let started = std::time::Instant::now();
        let error = run(&tool, &[] as &[&str], None, Duration::from_millis(100)).unwrap_err();
        assert!(matches!(error, CommandError::TimedOut { .. }), "{error}");
        assert!(started.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn a_child_that_does_not_end_by_itself_is_not_waited_for_without_end() {
        let (_folder, tool) = world("exec sleep 60");
        let spawn = || spawn(&tool, &[] as &[&str], Stdio::null(), Stdio::null(), Stdio::null()).unwrap();
        let status =
            wait_by(&mut spawn(), Deadline::after(Duration::from_millis(50)), "the subject").unwrap();
        assert_eq!(status.code(), None, "it was killed");
        let (_folder, tool) = world("exit 3");
        let mut child =
            super::spawn(&tool, &[] as &[&str], Stdio::null(), Stdio::null(), Stdio::null()).unwrap();
        let status = wait_by(&mut child, Deadline::after(Duration::from_secs(20)), "the subject").unwrap();
        assert_eq!(status.code(), Some(3));
    }

    #[test]
    fn a_daemon_that_keeps_stdout_open_does_not_hold_us() {
        let (_folder, tool) = world("sleep 60 & echo $!");
        let started = std::time::Instant::now();
        let output = run(&tool, &[] as &[&str], None, Duration::from_secs(20)).unwrap();
        assert!(started.elapsed() < Duration::from_secs(10));
        let pid = rustix::process::Pid::from_raw(output.stdout.trim().parse().unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }

    #[test]
    fn the_callers_environment_does_not_reach_the_tool() {
        let (_folder, tool) = world("env | cut -d= -f1 | sort | tr '\\n' ' '");
        let output = run(&tool, &[] as &[&str], None, Duration::from_secs(5)).unwrap();
        for name in output.stdout.split_whitespace() {
            let ours = ["HOME", "LC_ALL", "PATH", "XEN_HANDOFF_ROOT", "PWD", "OLDPWD", "SHLVL", "_"];
            assert!(ours.contains(&name), "{name} leaked");
        }
    }

    #[test]
    fn a_tool_that_prints_without_end_is_ended_and_its_stderr_is_not_kept() {
        let (_folder, tool) = world("printf '%70000s' end >&2; while :; do printf '%4096s' x; done");
        let ended = run::<&str>(&tool, &[], None, Duration::from_secs(60));
        assert!(format!("{:?}", ended.unwrap_err()).contains("more than 64 MiB"));
        let (_folder, tool) = world("printf '%70000s' end >&2; exit 1");
        assert_eq!(run::<&str>(&tool, &[], None, Duration::from_secs(60)).unwrap().stderr.len(), STDERR_KEPT);
    }
}
