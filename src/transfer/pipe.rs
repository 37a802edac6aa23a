//! Our place in xl's stream: between xl and the connection, at each end.
//!
//! Two threads. *Down* carries the domain towards the receiver: it splices, so that no byte of guest memory passes
//! through our own memory, and counts. *Up* carries the receiver's few words back and reads them. When the receiver says
//! *ready*, [`Watcher::ready`] is asked first; from then on *down* no longer splices but reads, since what comes next is
//! GO, and [`Watcher::go`] is asked before it is let through. Either answer of "no" ends the stream there, which both
//! ends of xl survive.
//!
//! A stream has a deadline, and it ends by it only before *ready*: never after.

use std::fmt;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::pipe::SpliceFlags;

use super::message::{GO, Reader, Stage};
use super::moves::{Flow, milliseconds};
use crate::clock::Deadline;
use crate::command::wait_readable;

/// How much one splice may move.
const CHUNK: usize = 1 << 20;
/// How often *down* looks at the deadline and tells its byte count.
const TICK: Duration = Duration::from_millis(500);

/// Who is asked at the two points of a stream that matter, and told how it goes on.
pub trait Watcher: Sync {
    /// The receiver has said *ready*.
    ///
    /// # Errors
    /// Then the stream ends here, and xl's sender resumes the domain.
    fn ready(&self) -> anyhow::Result<()>;

    /// The sender has said this after *ready*: GO, if all is well.
    ///
    /// # Errors
    /// Then the stream ends here, and xl's receiver destroys its copy.
    fn go(&self, bytes: &[u8]) -> anyhow::Result<()>;

    /// So many bytes have passed down, and the stream stands there. Called about twice a second.
    fn progress(&self, bytes: u64, stage: Stage);
}

/// The four ends that a pipe joins.
#[derive(Debug)]
pub struct Ends {
    /// Where the domain comes from: xl's sender, or the connection.
    pub down_from: OwnedFd,
    /// Where it goes: the connection, or xl's receiver.
    pub down_to: OwnedFd,
    /// Where the receiver's words come from.
    pub up_from: OwnedFd,
    /// Where they go.
    pub up_to: OwnedFd,
}

/// How a stream went.
#[derive(Debug)]
pub struct Passed {
    /// Bytes carried down, and when which point was reached.
    pub flow: Flow,
    /// How far the receiver came.
    pub stage: Stage,
    /// Why it was ended here, if it was.
    pub ended: Option<anyhow::Error>,
}

impl fmt::Display for Passed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bytes={} stage={:?}", self.flow.bytes, self.stage)?;
        self.ended.as_ref().map_or(Ok(()), |error| write!(f, " ended={error:#}"))
    }
}

#[derive(Debug, Default)]
struct Shared {
    bytes: AtomicU64,
    ready: AtomicBool,
    stage: AtomicU8,
    over: AtomicBool,
    points: Mutex<Flow>,
}

impl Shared {
    fn set_stage(&self, stage: Stage, since_begin: Duration) {
        self.stage.store(stage as u8, Ordering::SeqCst);
        let Ok(mut points) = self.points.lock() else { return };
        let points = &mut *points;
        let reached = [
            (Stage::Stream, &mut points.opened_ms),
            (Stage::Ready, &mut points.ready_ms),
            (Stage::Reported, &mut points.reported_ms),
        ];
        for (_, point) in reached.into_iter().filter(|(point, _)| stage >= *point) {
            point.get_or_insert(milliseconds(since_begin));
        }
    }

    fn flow(&self) -> Flow {
        let points = self.points.lock().map(|points| *points).unwrap_or_default();
        Flow { bytes: self.bytes.load(Ordering::SeqCst), ..points }
    }

    fn stage(&self) -> Stage {
        match self.stage.load(Ordering::SeqCst) {
            0 => Stage::Opening,
            1 => Stage::Stream,
            2 => Stage::Ready,
            _ => Stage::Reported,
        }
    }
}

/// Carries a stream to its end.
pub fn carry(ends: Ends, deadline: Deadline, watcher: &dyn Watcher) -> Passed {
    let shared = Shared::default();
    let Ends { down_from, down_to, up_from, up_to } = ends;
    let (down, up) = std::thread::scope(|scope| {
        let down = scope.spawn(|| {
            let result = carry_down(down_from, down_to, deadline, watcher, &shared);
            if result.is_err() {
                shared.over.store(true, Ordering::SeqCst);
            }
            result
        });
        let up = carry_up(up_from, up_to, watcher, &shared);
        // The receiver has ended, or its words cannot be passed on: nothing more can come of this stream.
        shared.over.store(true, Ordering::SeqCst);
        let down =
            down.join().unwrap_or_else(|_| Err(anyhow::anyhow!("the thread that carries the stream failed")));
        (down, up)
    });
    watcher.progress(shared.bytes.load(Ordering::SeqCst), shared.stage());
    Passed { flow: shared.flow(), stage: shared.stage(), ended: down.err().or(up.err()) }
}

fn carry_down(
    from: OwnedFd,
    to: OwnedFd,
    deadline: Deadline,
    watcher: &dyn Watcher,
    shared: &Shared,
) -> anyhow::Result<()> {
    // A splice to a socket waits for room unless the socket itself says otherwise.
    rustix::io::ioctl_fionbio(&to, true)?;
    let mut after_ready: Vec<u8> = Vec::new();
    let mut told = Instant::now();
    loop {
        let mut open = [PollFd::from_borrowed_fd(from.as_fd(), PollFlags::IN)];
        wait_readable(&mut open, TICK)?;
        let readable = !open[0].revents().is_empty();
        if told.elapsed() >= TICK {
            told = Instant::now();
            watcher.progress(shared.bytes.load(Ordering::SeqCst), shared.stage());
        }
        let ready = shared.ready.load(Ordering::SeqCst);
        if deadline.passed() && !ready {
            anyhow::bail!("it did not end in time and was broken off before the point of no return");
        }
        if shared.over.load(Ordering::SeqCst) && !readable {
            return Ok(());
        }
        if !readable {
            continue;
        }
        let moved = if ready {
            read_on(&from, &to, &mut after_ready, watcher)?
        } else {
            match rustix::pipe::splice(
                &from,
                None,
                &to,
                None,
                CHUNK,
                SpliceFlags::MOVE | SpliceFlags::NONBLOCK,
            ) {
                Ok(moved) => moved,
                Err(rustix::io::Errno::AGAIN) => {
                    // The way out is full. Not a busy loop: wait for room, and look at the deadline meanwhile.
                    wait_readable(&mut [PollFd::from_borrowed_fd(to.as_fd(), PollFlags::OUT)], TICK)?;
                    continue;
                }
                Err(errno) => return Err(errno.into()),
            }
        };
        if moved == 0 {
            say_no_more(&to);
            return Ok(());
        }
        shared.bytes.fetch_add(moved as u64, Ordering::SeqCst);
    }
}

/// After *ready*: collects GO whole, asks for leave, and then passes it on.
fn read_on(
    from: &OwnedFd,
    to: &OwnedFd,
    collected: &mut Vec<u8>,
    watcher: &dyn Watcher,
) -> anyhow::Result<usize> {
    let mut buffer = [0; 256];
    let count = rustix::io::read(from, &mut buffer)?;
    let was_whole = collected.len() >= GO.len();
    collected.extend_from_slice(&buffer[..count]);
    if collected.len() < GO.len() {
        return Ok(count);
    }
    if was_whole {
        write_all(to, &buffer[..count])?;
    } else {
        watcher.go(collected)?;
        write_all(to, collected)?;
    }
    Ok(count)
}

fn carry_up(from: OwnedFd, to: OwnedFd, watcher: &dyn Watcher, shared: &Shared) -> anyhow::Result<()> {
    let mut from = std::fs::File::from(from);
    let mut reader = Reader::default();
    let began = Instant::now();
    let mut buffer = [0; 4096];
    loop {
        let mut open = [PollFd::from_borrowed_fd(from.as_fd(), PollFlags::IN)];
        wait_readable(&mut open, TICK)?;
        if open[0].revents().is_empty() {
            // The stream was broken off on the way down: the receiver need not be waited for.
            if shared.over.load(Ordering::SeqCst) {
                return Ok(());
            }
            continue;
        }
        let count = from.read(&mut buffer)?;
        if count == 0 {
            say_no_more(&to);
            return Ok(());
        }
        if reader.take(&buffer[..count]) {
            watcher.ready()?;
            // Before the words are passed on: what the sender answers must find *down* reading, not splicing.
            shared.ready.store(true, Ordering::SeqCst);
        }
        shared.set_stage(reader.stage(), began.elapsed());
        write_all(&to, &buffer[..count])?;
    }
}

/// Tells the other end that nothing more comes this way. For a pipe, closing it does; but below sshd both ways are one
/// socket, which the other way keeps open: a receiver would wait for ever for the GO of a sender that is dead.
fn say_no_more(to: &OwnedFd) {
    // ENOTSOCK: a pipe. ENOTCONN: the other end has gone.
    if let Err(errno) = rustix::net::shutdown(to, rustix::net::Shutdown::Write) {
        log::trace!("shutdown: {errno}");
    }
}

/// Writes a few words, whether or not the other end is slow.
fn write_all(to: &OwnedFd, mut bytes: &[u8]) -> anyhow::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(to, bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(rustix::io::Errno::AGAIN) => {
                wait_readable(&mut [PollFd::from_borrowed_fd(to.as_fd(), PollFlags::OUT)], TICK)?;
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transfer::message::{BANNER, READY, REPORT};
    use std::fs::File;
    use std::io::Write;

    #[derive(Default)]
    struct Notes {
        seen: Mutex<Vec<String>>,
        refuse_ready: bool,
        refuse_go: bool,
    }

    impl Notes {
        fn note(&self, what: &str, refuse: bool) -> anyhow::Result<()> {
            self.seen.lock().unwrap().push(what.to_owned());
            if refuse { Err(anyhow::anyhow!("{what} refused")) } else { Ok(()) }
        }
    }

    impl Watcher for Notes {
        fn ready(&self) -> anyhow::Result<()> {
            self.note("ready", self.refuse_ready)
        }
        fn go(&self, bytes: &[u8]) -> anyhow::Result<()> {
            assert!(bytes.starts_with(GO));
            self.note("go", self.refuse_go)
        }
        fn progress(&self, _bytes: u64, _stage: Stage) {}
    }

    fn pipe() -> (File, OwnedFd) {
        let (read, write) = rustix::pipe::pipe().unwrap();
        (File::from(write), read)
    }

    /// Plays both xl's around one pipe of ours. Gives what the receiver got after its stream, and how it passed.
    fn play(notes: &Notes, limit: Duration) -> (Vec<u8>, Passed) {
        let (mut sender_out, down_from) = pipe();
        let (down_to, receiver_in) = pipe();
        let (mut receiver_out, up_from) = pipe();
        let (up_to, sender_in) = pipe();
        let ends = Ends { down_from, down_to: down_to.into(), up_from, up_to: up_to.into() };
        let body = vec![7_u8; 3 << 20];
        std::thread::scope(|scope| {
            let receiver = scope.spawn(|| {
                let mut receiver_in = File::from(receiver_in);
                receiver_out.write_all(BANNER).unwrap();
                let mut stream = vec![0; body.len()];
                let mut rest = Vec::new();
                if receiver_in.read_exact(&mut stream).is_ok() {
                    receiver_out.write_all(READY).unwrap();
                    let mut go = vec![0; GO.len()];
                    if receiver_in.read_exact(&mut go).is_ok() {
                        rest = go;
                    }
                    let _ = receiver_out.write_all(REPORT);
                }
                drop(receiver_out);
                rest
            });
            scope.spawn(|| {
                let mut sender_in = File::from(sender_in);
                let mut words = vec![0; BANNER.len()];
                sender_in.read_exact(&mut words).unwrap();
                if sender_out.write_all(&body).is_err() {
                    return;
                }
                words = vec![0; READY.len()];
                if sender_in.read_exact(&mut words).is_ok() {
                    sender_out.write_all(GO).unwrap();
                    let _ = sender_in.read_to_end(&mut words);
                }
                drop(sender_out);
            });
            let passed = carry(ends, Deadline::after(limit), notes);
            (receiver.join().unwrap(), passed)
        })
    }

    #[test]
    fn ready_and_go_are_asked_for_in_this_order_and_the_stream_arrives_whole() {
        let notes = Notes::default();
        let (got, passed) = play(&notes, Duration::from_secs(20));
        assert!(passed.ended.is_none(), "{passed}");
        assert_eq!(got, GO);
        assert_eq!(passed.stage, Stage::Reported);
        assert_eq!(passed.flow.bytes, (3 << 20) + GO.len() as u64);
        let Flow { opened_ms, ready_ms, reported_ms, .. } = passed.flow;
        assert!(opened_ms.is_some() && opened_ms <= ready_ms && ready_ms <= reported_ms, "{:?}", passed.flow);
        assert_eq!(*notes.seen.lock().unwrap(), ["ready", "go"]);
    }

    #[test]
    fn go_does_not_pass_if_it_cannot_be_put_on_record() {
        let notes = Notes { refuse_go: true, ..Notes::default() };
        let (got, passed) = play(&notes, Duration::from_secs(20));
        assert!(got.is_empty());
        assert!(passed.ended.unwrap().to_string().contains("go refused"));
    }

    #[test]
    fn the_sender_never_sees_ready_if_that_cannot_be_put_on_record() {
        let notes = Notes { refuse_ready: true, ..Notes::default() };
        let (got, passed) = play(&notes, Duration::from_secs(20));
        assert!(got.is_empty());
        assert!(passed.ended.is_some());
        assert_eq!(*notes.seen.lock().unwrap(), ["ready"]);
    }

    #[test]
    fn a_stream_past_its_deadline_is_broken_off_before_ready() {
        let (mut _sender_out, down_from) = pipe();
        let (down_to, _receiver_in) = pipe();
        let (_receiver_out, up_from) = pipe();
        let (up_to, _sender_in) = pipe();
        let ends = Ends { down_from, down_to: down_to.into(), up_from, up_to: up_to.into() };
        let passed = carry(ends, Deadline::after(Duration::from_millis(50)), &Notes::default());
        assert!(passed.ended.unwrap().to_string().contains("in time"));
    }

    #[test]
    fn a_dead_sender_is_seen_by_the_other_end_although_both_ways_are_one_socket() {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let (sender_out, down_from) = pipe();
        let (up_to, _sender_in) = pipe();
        let ends = Ends {
            down_from,
            down_to: ours.try_clone().unwrap().into(),
            up_from: ours.into(),
            up_to: up_to.into(),
        };
        std::thread::scope(|scope| {
            let carried =
                scope.spawn(|| carry(ends, Deadline::after(Duration::from_secs(20)), &Notes::default()));
            drop(sender_out);
            theirs.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            let mut rest = Vec::new();
            (&theirs).read_to_end(&mut rest).unwrap();
            drop(theirs);
            assert!(carried.join().unwrap().ended.is_none());
        });
    }
}
