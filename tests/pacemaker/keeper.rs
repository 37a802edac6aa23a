//! What a node runs as its first process: it reaps orphans, collects the system log, and ends with the test.
//!
//! The test holds the other end of its standard input. However the test ends, the pipe closes, the keeper exits, and
//! with the first process of a pid namespace everything in the node dies. So nothing is left behind, not even by
//! a test that was killed.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{WaitOptions, wait};
use std::io::Write;
use std::os::unix::net::UnixDatagram;
use std::process::ExitCode;

/// The collected system log of a node: `SECONDS.NANOSECONDS <PRIORITY>text`, one message a line.
pub(crate) const SYSLOG: &str = "/var/log/syslog";

/// Runs until the standard input closes.
pub(crate) fn run() -> ExitCode {
    let _stale = std::fs::remove_file("/dev/log");
    let Ok(socket) = UnixDatagram::bind("/dev/log") else {
        eprintln!("node-keeper: no /dev/log");
        return ExitCode::FAILURE;
    };
    let Ok(mut log) = std::fs::File::options().create(true).append(true).open(SYSLOG) else {
        eprintln!("node-keeper: no {SYSLOG}");
        return ExitCode::FAILURE;
    };
    // Everybody may log, as on any machine
    let _mode = rustix::fs::chmod("/dev/log", rustix::fs::Mode::from_raw_mode(0o666));
    if std::fs::write("/node/ready", "").is_err() {
        return ExitCode::FAILURE;
    }
    let tick = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
    let mut message = vec![0; 65536];
    loop {
        let stdin = std::io::stdin();
        let mut ready = [PollFd::new(&stdin, PollFlags::IN), PollFd::new(&socket, PollFlags::IN)];
        let _interrupted = poll(&mut ready, Some(&tick));
        if ready.first().is_some_and(|fd| fd.revents().intersects(PollFlags::HUP | PollFlags::IN)) {
            return ExitCode::SUCCESS;
        }
        if ready.get(1).is_some_and(|fd| fd.revents().contains(PollFlags::IN))
            && let Ok(length) = socket.recv(&mut message)
        {
            let text = String::from_utf8_lossy(message.get(..length).unwrap_or_default());
            let text = text.trim_end_matches(['\n', '\0']).replace('\n', " ");
            let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
            let _full = writeln!(log, "{}.{:09} {text}", now.tv_sec, now.tv_nsec);
        }
        while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
    }
}
