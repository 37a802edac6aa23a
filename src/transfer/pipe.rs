//! Our place in xl's stream: between xl and the connection, at each end.
//!
//! Two threads. *Down* carries the domain towards the receiver: it splices, so that no byte of guest memory
//! passes through our own memory, and counts; only where the connection is compressed ([`Form`]) it reads and
//! writes. At the source it keeps to the rate that the resource allows, by what goes over the connection.
//! *Up* carries the receiver's few words back and reads them. When the receiver says *ready*,
//! [`Watcher::ready`] is asked first; from then on *down* no longer splices but reads, since what comes next
//! is GO, and [`Watcher::go`] is asked before it is let through; no rate holds for it. Either answer of "no"
//! ends the stream there, which both ends of xl survive.
//!
//! A stream has a deadline, and it ends by it only before *ready*: never after. It may have an earlier one
//! for the guest's suspension: the stream does not show that moment, so when the time is over the pipe holds
//! it and has the toolstack asked. A guest that runs on goes on running, and the stream is broken off; one
//! that is suspended is moved to the end.

use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::pipe::SpliceFlags;

use super::frames::{self, Packer, Unpacker};
use super::rate::Bucket;
use super::rounds::Rounds;
use crate::clock::Deadline;
use crate::command::wait_ready;
use crate::handoff::handshake::{GO, Reader, Stage};
use crate::moves::journal::{Flow, Passed, milliseconds};
use crate::moves::progress::Passing;

/// How much one splice may move.
const CHUNK: usize = 1 << 20;
/// How much a pipe before or behind us may hold. With the usual 64 KiB xl and we would take turns for each of
/// them: switching from one process to the other is what a stream costs a small host most. More at once also
/// makes it smaller, where it is compressed.
const ROOM: usize = frames::MOST;
/// How much is read where a header is to be looked at: some records without pages, or the beginning of one of
/// 4 MiB with them.
const LOOK: usize = 64 << 10;
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

    /// So much has passed. Called about twice a second.
    fn progress(&self, passing: Passing);

    /// Whether the guest has been suspended for the last step; `None` where that is not known. Asked when
    /// its time to move running is over; nothing passes meanwhile.
    fn is_suspended(&self) -> Option<bool> {
        None
    }
}

/// What *down* does to the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Nothing.
    AsItIs,
    /// It compresses them: the source's end.
    Pack,
    /// It expands them: the target's.
    Unpack,
}

/// What the target's end says while it has no words of xl's to pass on, so that silence means that it is
/// gone: one byte, again and again, until *ready*. It is in none of xl's words, and the source's end takes it
/// out again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alive {
    /// This is the target, and the source listens to it.
    Says,
    /// This is the source, and the target says it.
    Hears,
    /// The other end is older than that.
    Unknown,
}

/// The byte.
const ALIVE: u8 = 0x16;
/// How long the source's end waits for the target's after xl has gone.
const LINGER: Duration = Duration::from_secs(20);
/// How long the target may say nothing at all. A host under load is late by some seconds. It says that it
/// lives twelve times as often.
const SILENCE: Duration = Duration::from_secs(60);

/// How a stream is to be carried.
#[derive(Debug, Clone, Copy)]
pub struct Carriage {
    /// When it is broken off if it has not come to *ready*.
    pub deadline: Deadline,
    /// MiB/s that *down* may write at most.
    pub rate: Option<u64>,
    /// What becomes of the bytes.
    pub form: Form,
    /// When it is broken off if the guest has not been suspended.
    pub suspend_by: Option<Deadline>,
    /// Whether *down* looks at the stream's headers, to tell its rounds.
    pub follow: bool,
    /// Whether the other end is known to live by what it says.
    pub alive: Alive,
    /// How long a target that says so may be silent.
    pub silence: Duration,
    /// For how long the other end may take nothing of what waits for it, before *ready*; none: up to the
    /// deadline.
    pub patience: Option<Duration>,
}

impl Carriage {
    /// As it is, as fast as it goes.
    pub fn plain(deadline: Deadline) -> Self {
        Self {
            deadline,
            rate: None,
            form: Form::AsItIs,
            suspend_by: None,
            follow: false,
            alive: Alive::Unknown,
            silence: SILENCE,
            patience: None,
        }
    }
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

#[derive(Debug, Default)]
struct Shared {
    bytes: AtomicU64,
    /// On the connection; counted only where these are not the same.
    wire: AtomicU64,
    differs: AtomicBool,
    /// 0: not known.
    round: AtomicU32,
    ready: AtomicBool,
    stage: AtomicU8,
    over: AtomicBool,
    /// Nothing more comes on the way down.
    down_ended: AtomicBool,
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
        let Passing { bytes, wire, round: rounds, .. } = self.passing();
        Flow { bytes, wire, rounds, ..points }
    }

    fn passing(&self) -> Passing {
        let wire = self.differs.load(Ordering::SeqCst).then(|| self.wire.load(Ordering::SeqCst));
        let round = Some(self.round.load(Ordering::SeqCst)).filter(|round| *round > 0);
        Passing { bytes: self.bytes.load(Ordering::SeqCst), wire, round, stage: self.stage() }
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
pub fn carry(ends: Ends, carriage: Carriage, watcher: &dyn Watcher) -> Passed {
    let shared = Shared::default();
    shared.differs.store(carriage.form != Form::AsItIs, Ordering::SeqCst);
    let Ends { down_from, down_to, up_from, up_to } = ends;
    let (down, up) = std::thread::scope(|scope| {
        let down = std::thread::Builder::new().spawn_scoped(scope, || {
            let result = Down::new(down_from, down_to, carriage, watcher, &shared).and_then(Down::carry);
            if result.is_err() {
                shared.over.store(true, Ordering::SeqCst);
            }
            shared.down_ended.store(true, Ordering::SeqCst);
            result
        });
        if down.is_err() {
            shared.over.store(true, Ordering::SeqCst);
            shared.down_ended.store(true, Ordering::SeqCst);
        }
        let up = carry_up(up_from, up_to, carriage, watcher, &shared);
        // The receiver has ended, or its words cannot be passed on: nothing more can come of this stream.
        shared.over.store(true, Ordering::SeqCst);
        let failed = || anyhow::anyhow!("the thread that carries the stream failed");
        let down = down.map_err(|_| failed()).and_then(|down| down.join().unwrap_or_else(|_| Err(failed())));
        (down, up)
    });
    watcher.progress(shared.passing());
    Passed { flow: shared.flow(), stage: shared.stage(), ended: down.err().or(up.err()) }
}

/// What is done to the bytes, with what is needed for it.
enum Work {
    Nothing,
    Pack(Packer),
    Unpack(Unpacker),
}

/// The way down.
struct Down<'a> {
    from: OwnedFd,
    to: OwnedFd,
    deadline: Deadline,
    suspend_by: Option<Deadline>,
    work: Work,
    bucket: Option<Bucket>,
    rounds: Option<Rounds>,
    watcher: &'a dyn Watcher,
    shared: &'a Shared,
    told: Instant,
    patience: Option<Duration>,
    /// Since when something waits and the other end takes nothing.
    stuck: Option<Instant>,
    buffer: Vec<u8>,
    /// What is to be written before more is read, and how much of it has been.
    out: Vec<u8>,
    written: usize,
    /// What came after *ready*.
    after_ready: Vec<u8>,
}

impl<'a> Down<'a> {
    fn new(
        from: OwnedFd,
        to: OwnedFd,
        carriage: Carriage,
        watcher: &'a dyn Watcher,
        shared: &'a Shared,
    ) -> anyhow::Result<Self> {
        // A splice to a socket waits for room unless the socket itself says otherwise.
        rustix::io::ioctl_fionbio(&to, true)?;
        for pipe in [&from, &to] {
            // Where the kernel does not allow that much, it is as it was. A socket has room of its own.
            if let Err(errno) = rustix::pipe::fcntl_setpipe_size(pipe, ROOM) {
                log::debug!("the room before or behind the stream stays as it is: {errno}");
            }
        }
        let work = match carriage.form {
            Form::AsItIs => Work::Nothing,
            Form::Pack => Work::Pack(Packer::new()?),
            Form::Unpack => Work::Unpack(Unpacker::new()?),
        };
        let now = Instant::now();
        Ok(Self {
            from,
            to,
            deadline: carriage.deadline,
            suspend_by: carriage.suspend_by,
            work,
            bucket: carriage.rate.map(|rate| Bucket::new(rate, now)),
            rounds: carriage.follow.then(Rounds::default),
            watcher,
            shared,
            told: now,
            patience: carriage.patience,
            stuck: None,
            buffer: Vec::new(),
            out: Vec::new(),
            written: 0,
            after_ready: Vec::new(),
        })
    }

    fn carry(mut self) -> anyhow::Result<()> {
        loop {
            let writes = self.written < self.out.len();
            if !writes
                && let Work::Unpack(unpacker) = &mut self.work
                && let Some(stream) = unpacker.frame()?
            {
                self.pass(stream, self.shared.ready.load(Ordering::SeqCst))?;
                continue;
            }
            let may_pass = self.may_pass();
            // Waits for what can be done next: to write, to read, or, where the rate is used up, for time to
            // pass, and for the other end to go.
            let (fd, flags, span) = match (may_pass, writes) {
                (0, _) => (self.to.as_fd(), PollFlags::empty(), self.pause()),
                (_, true) => (self.to.as_fd(), PollFlags::OUT, TICK),
                (_, false) => (self.from.as_fd(), PollFlags::IN, TICK),
            };
            let mut open = [PollFd::from_borrowed_fd(fd, flags)];
            wait_ready(&mut open, span)?;
            let can = !open[0].revents().is_empty();
            if self.told.elapsed() >= TICK {
                self.told = Instant::now();
                self.watcher.progress(self.shared.passing());
            }
            let ready = self.shared.ready.load(Ordering::SeqCst);
            if self.deadline.passed() && !ready {
                anyhow::bail!("it did not end in time and was broken off before the point of no return");
            }
            if !ready {
                self.look_at_suspension()?;
                self.look_at_the_other_end()?;
            }
            if self.shared.over.load(Ordering::SeqCst) && !can {
                return Ok(());
            }
            if !can {
                if writes && may_pass > 0 {
                    self.stuck.get_or_insert_with(Instant::now);
                }
                continue;
            }
            if may_pass == 0 {
                // Nothing was asked for, so it can only have gone.
                return Err(rustix::io::Errno::PIPE.into());
            }
            let goes_on = if writes {
                self.write(may_pass)?
            } else if !ready && matches!(self.work, Work::Nothing) {
                match self.rounds.as_ref().map_or(u64::MAX, Rounds::unseen) {
                    0 => self.look()?,
                    unseen => self.splice(may_pass.min(usize::try_from(unseen).unwrap_or(usize::MAX)))?,
                }
            } else {
                self.read(ready)?
            };
            if !goes_on {
                say_no_more(&self.to);
                return Ok(());
            }
        }
    }

    /// Ends the stream if the guest's time to move running is over. xl suspends it only when it has written
    /// all that it has, so while we look, and take nothing, it hardly can: at most what fits into its pipe is
    /// missing.
    fn look_at_suspension(&mut self) -> anyhow::Result<()> {
        if !self.suspend_by.is_some_and(Deadline::passed) {
            return Ok(());
        }
        match self.watcher.is_suspended() {
            Some(false) => anyhow::bail!(
                "migration_deadline: the guest was not suspended in time; it was broken off before that, and runs on"
            ),
            Some(true) => self.suspend_by = None,
            // Never where it is not known. Asked again a little later.
            None => self.suspend_by = Some(Deadline::after(TICK)),
        }
        Ok(())
    }

    /// Ends the stream if the other end has taken nothing for too long: a host that has lost its power says
    /// nothing, and what was sent to it is repeated for a quarter of an hour.
    fn look_at_the_other_end(&self) -> anyhow::Result<()> {
        if let (Some(since), Some(patience)) = (self.stuck, self.patience)
            && since.elapsed() > patience
        {
            anyhow::bail!(
                "the other end has taken nothing for {} s; it was broken off before the point of no return",
                patience.as_secs()
            );
        }
        Ok(())
    }

    /// How much may be written now.
    fn may_pass(&mut self) -> usize {
        match &mut self.bucket {
            Some(bucket) if !self.shared.ready.load(Ordering::SeqCst) => bucket.allowance(Instant::now()),
            _ => usize::MAX,
        }
    }

    fn pause(&self) -> Duration {
        self.bucket.as_ref().map_or(TICK, |bucket| bucket.wait().min(TICK))
    }

    /// So much has gone to the connection, or to xl's receiver.
    fn went(&mut self, count: usize) {
        self.stuck = None;
        if let Some(bucket) = &mut self.bucket {
            bucket.spend(count);
        }
    }

    /// Reads a header of the stream, and what follows it, which is to be written next. Never the header
    /// alone: sshd would make a packet of it, and a guest's address space can have a thousand records without
    /// a page in them. False at its end.
    fn look(&mut self) -> anyhow::Result<bool> {
        self.out.resize(LOOK, 0);
        self.written = LOOK;
        let count = rustix::io::read(&self.from, &mut self.out)?;
        self.out.truncate(count);
        self.written = 0;
        self.shared.bytes.fetch_add(count as u64, Ordering::SeqCst);
        follow(&mut self.rounds, self.shared, &self.out);
        Ok(count > 0)
    }

    /// Moves some of it without looking at it. False at its end.
    fn splice(&mut self, at_most: usize) -> anyhow::Result<bool> {
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        match rustix::pipe::splice(&self.from, None, &self.to, None, CHUNK.min(at_most), flags) {
            Ok(0) => Ok(false),
            Ok(moved) => {
                self.shared.bytes.fetch_add(moved as u64, Ordering::SeqCst);
                if let Some(rounds) = &mut self.rounds {
                    rounds.passed(moved as u64);
                }
                self.went(moved);
                Ok(true)
            }
            Err(rustix::io::Errno::AGAIN) => {
                // The way out is full. Not a busy loop: wait for room, and look at the deadline meanwhile.
                self.stuck.get_or_insert_with(Instant::now);
                wait_ready(&mut [PollFd::from_borrowed_fd(self.to.as_fd(), PollFlags::OUT)], TICK)?;
                Ok(true)
            }
            Err(errno) => Err(errno.into()),
        }
    }

    /// Writes some of what waits.
    fn write(&mut self, at_most: usize) -> anyhow::Result<bool> {
        let waits = &self.out[self.written..];
        match rustix::io::write(&self.to, &waits[..waits.len().min(at_most)]) {
            Ok(count) => {
                self.written += count;
                self.went(count);
                if matches!(self.work, Work::Pack(_)) {
                    self.shared.wire.fetch_add(count as u64, Ordering::SeqCst);
                }
                Ok(true)
            }
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(true),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Reads some of it. False at its end.
    fn read(&mut self, ready: bool) -> anyhow::Result<bool> {
        self.buffer.resize(frames::MOST, 0);
        let count = rustix::io::read(&self.from, &mut self.buffer)?;
        if count == 0 {
            return Ok(false);
        }
        let bytes = &self.buffer[..count];
        if let Work::Unpack(unpacker) = &mut self.work {
            // What is whole of it comes next, one frame at a time.
            self.shared.wire.fetch_add(count as u64, Ordering::SeqCst);
            unpacker.push(bytes);
        } else {
            let stream = bytes.to_vec();
            self.pass(stream, ready)?;
        }
        Ok(true)
    }

    /// Makes of a part of the stream what is to be written next.
    fn pass(&mut self, mut stream: Vec<u8>, ready: bool) -> anyhow::Result<()> {
        self.shared.bytes.fetch_add(stream.len() as u64, Ordering::SeqCst);
        if ready {
            stream = self.with_leave(stream)?;
        } else {
            follow(&mut self.rounds, self.shared, &stream);
        }
        self.out = match &mut self.work {
            Work::Pack(packer) if !stream.is_empty() => packer.pack(&stream)?,
            _ => stream,
        };
        self.written = 0;
        Ok(())
    }

    /// After *ready*: collects GO whole, asks for leave, and then lets it pass. Gives what may pass now.
    fn with_leave(&mut self, bytes: Vec<u8>) -> anyhow::Result<Vec<u8>> {
        let was_whole = self.after_ready.len() >= GO.len();
        self.after_ready.extend_from_slice(&bytes);
        if was_whole {
            return Ok(bytes);
        }
        if self.after_ready.len() < GO.len() {
            return Ok(Vec::new());
        }
        self.watcher.go(&self.after_ready)?;
        Ok(self.after_ready.clone())
    }
}

/// Looks at what passes, where the stream is followed.
fn follow(rounds: &mut Option<Rounds>, shared: &Shared, bytes: &[u8]) {
    if let Some(rounds) = rounds {
        rounds.show(bytes);
        shared.round.store(rounds.round().unwrap_or(0), Ordering::SeqCst);
    }
}

fn carry_up(
    from: OwnedFd,
    to: OwnedFd,
    carriage: Carriage,
    watcher: &dyn Watcher,
    shared: &Shared,
) -> anyhow::Result<()> {
    let Carriage { alive, silence, .. } = carriage;
    let mut xl_has_gone: Option<Instant> = None;
    let mut from = std::fs::File::from(from);
    let mut reader = Reader::default();
    let began = Instant::now();
    let (mut said, mut heard) = (began, began);
    let mut buffer = [0; 4096];
    loop {
        let mut open = [PollFd::from_borrowed_fd(from.as_fd(), PollFlags::IN)];
        wait_ready(&mut open, TICK.min(silence / 12))?;
        if open[0].revents().is_empty() {
            // The stream was broken off on the way down: the receiver need not be waited for.
            if shared.over.load(Ordering::SeqCst) {
                return Ok(());
            }
            // At the source: xl has gone, and nobody reads what may still come. The target is given time to
            // end by itself.
            if carriage.follow && shared.down_ended.load(Ordering::SeqCst) {
                if xl_has_gone.get_or_insert_with(Instant::now).elapsed() >= LINGER {
                    return Ok(());
                }
                continue;
            }
            let is_open = reader.stage() < Stage::Ready;
            match alive {
                Alive::Says if is_open && said.elapsed() >= silence / 12 => {
                    said = Instant::now();
                    write_all(&to, &[ALIVE])?;
                }
                Alive::Hears if is_open && heard.elapsed() >= silence => anyhow::bail!(
                    "the target has said nothing for {} s: it was broken off before the point of no return",
                    silence.as_secs()
                ),
                Alive::Says | Alive::Hears | Alive::Unknown => {}
            }
            continue;
        }
        let mut count = from.read(&mut buffer)?;
        if count == 0 {
            say_no_more(&to);
            return Ok(());
        }
        heard = Instant::now();
        if alive == Alive::Hears && reader.stage() < Stage::Ready {
            count = without_alive(&mut buffer, count);
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

/// Takes [`ALIVE`] out of the first `count` bytes, and says how many are left. After *ready* xl says more
/// than words, and it is said no more.
fn without_alive(bytes: &mut [u8], count: usize) -> usize {
    let mut left = 0;
    for at in 0..count {
        if bytes[at] != ALIVE {
            bytes[left] = bytes[at];
            left += 1;
        }
    }
    left
}

/// Tells the other end that nothing more comes this way. For a pipe, closing it does; but below sshd both
/// ways are one socket, which the other way keeps open: a receiver would wait for ever for the GO of a sender
/// that is dead.
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
                wait_ready(&mut [PollFd::from_borrowed_fd(to.as_fd(), PollFlags::OUT)], TICK)?;
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
    use crate::clock::{Clock, SystemClock};
    use crate::handoff::handshake::{BANNER, READY, REPORT};
    use std::fs::File;
    use std::io::Write;

    #[derive(Default)]
    struct Notes {
        seen: Mutex<Vec<String>>,
        suspended: Mutex<Vec<Option<bool>>>,
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
        fn progress(&self, _passing: Passing) {}
        fn is_suspended(&self) -> Option<bool> {
            self.seen.lock().unwrap().push("look".to_owned());
            self.suspended.lock().unwrap().pop().flatten()
        }
    }

    fn pipe() -> (File, OwnedFd) {
        let (read, write) = rustix::pipe::pipe().unwrap();
        (File::from(write), read)
    }

    /// Plays both xl's around one pipe of ours. Gives what the receiver got after its stream, and how it
    /// passed.
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
            let passed = carry(ends, Carriage::plain(Deadline::after(limit)), notes);
            (receiver.join().unwrap(), passed)
        })
    }

    /// The same around two pipes of ours, one at each end, the connection between them compressed.
    fn play_compressed(
        at_source: &Notes,
        at_target: &Notes,
        body: &[u8],
        rate: Option<u64>,
    ) -> (Vec<u8>, [Passed; 2]) {
        let (mut sender_out, down_from) = pipe();
        let (connection_in, connection_out) = std::os::unix::net::UnixStream::pair().unwrap();
        let (down_to, receiver_in) = pipe();
        let (mut receiver_out, up_from) = pipe();
        let (up_to, sender_in) = pipe();
        let limit = Deadline::after(Duration::from_secs(30));
        let source = Ends {
            down_from,
            down_to: connection_in.try_clone().unwrap().into(),
            up_from: connection_in.into(),
            up_to: up_to.into(),
        };
        let target = Ends {
            down_from: connection_out.try_clone().unwrap().into(),
            down_to: down_to.into(),
            up_from,
            up_to: connection_out.into(),
        };
        std::thread::scope(|scope| {
            let receiver = scope.spawn(|| {
                let mut receiver_in = File::from(receiver_in);
                receiver_out.write_all(BANNER).unwrap();
                let mut got = vec![0; body.len()];
                receiver_in.read_exact(&mut got).unwrap();
                receiver_out.write_all(READY).unwrap();
                got = vec![0; GO.len()];
                let go = receiver_in.read_exact(&mut got).map(|()| got).unwrap_or_default();
                let _ = receiver_out.write_all(REPORT);
                drop(receiver_out);
                go
            });
            scope.spawn(|| {
                let mut sender_in = File::from(sender_in);
                sender_out.write_all(body).unwrap();
                let mut words = vec![0; BANNER.len() + READY.len()];
                if sender_in.read_exact(&mut words).is_ok() {
                    sender_out.write_all(GO).unwrap();
                    let _ = sender_in.read_to_end(&mut words);
                }
                drop(sender_out);
            });
            let pack = Carriage { form: Form::Pack, rate, ..Carriage::plain(limit) };
            let unpack = Carriage { form: Form::Unpack, ..Carriage::plain(limit) };
            let source = scope.spawn(move || carry(source, pack, at_source));
            let target = scope.spawn(move || carry(target, unpack, at_target));
            let passed = [source.join().unwrap(), target.join().unwrap()];
            (receiver.join().unwrap(), passed)
        })
    }

    #[test]
    fn a_compressed_stream_arrives_whole_and_go_is_asked_for_at_both_ends() {
        let (at_source, at_target) = (Notes::default(), Notes::default());
        let (go, passed) = play_compressed(&at_source, &at_target, &vec![7; 9 << 20], None);
        assert_eq!(go, GO);
        for passed in &passed {
            assert!(passed.ended.is_none(), "{passed}");
            assert_eq!((passed.flow.bytes, passed.stage), ((9 << 20) + GO.len() as u64, Stage::Reported));
        }
        let [source, target] = passed.map(|passed| passed.flow.wire.unwrap());
        assert!(source == target && source < 1 << 20, "{source} and {target} on the connection");
        for notes in [at_source, at_target] {
            assert_eq!(*notes.seen.lock().unwrap(), ["ready", "go"]);
        }
    }

    #[test]
    fn go_does_not_come_out_of_a_compressed_stream_if_it_cannot_be_put_on_record() {
        let at_target = Notes { refuse_go: true, ..Notes::default() };
        let (go, [_, target]) = play_compressed(&Notes::default(), &at_target, b"a small domain", None);
        assert!(go.is_empty());
        assert!(target.ended.unwrap().to_string().contains("go refused"));
    }

    #[test]
    fn a_stream_keeps_to_its_rate_by_what_goes_over_the_connection() {
        let (sender_out, down_from) = pipe();
        let (down_to, receiver_in) = pipe();
        let (receiver_out, up_from) = pipe();
        let (up_to, _sender_in) = pipe();
        let ends = Ends { down_from, down_to: down_to.into(), up_from, up_to: up_to.into() };
        let carriage =
            Carriage { rate: Some(4), ..Carriage::plain(Deadline::after(Duration::from_secs(20))) };
        let began = Instant::now();
        std::thread::scope(|scope| {
            scope.spawn(|| (&sender_out).write_all(&vec![1; 4 << 20]).unwrap());
            let carried = scope.spawn(|| carry(ends, carriage, &Notes::default()));
            let mut receiver_in = File::from(receiver_in);
            receiver_in.read_exact(&mut vec![0; 4 << 20]).unwrap();
            let took = began.elapsed();
            assert!(took > Duration::from_millis(800), "4 MiB in {took:?}");
            drop(receiver_out);
            assert!(carried.join().unwrap().ended.is_none());
        });
        // What is small on the connection is not held up.
        let began = Instant::now();
        let (go, _) = play_compressed(&Notes::default(), &Notes::default(), &vec![7; 8 << 20], Some(1));
        assert_eq!(go, GO);
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    }

    #[test]
    fn a_stream_that_is_followed_arrives_as_it_was_and_its_rounds_are_told() {
        let known = crate::transfer::rounds::tests::sample();
        let unknown = [b"no stream of xl's".repeat(99), known.clone()].concat();
        for (form, rate, body, rounds) in [
            (Form::AsItIs, None, &known, Some(3)),
            (Form::AsItIs, Some(64), &known, Some(3)),
            (Form::Pack, None, &known, Some(3)),
            (Form::AsItIs, None, &unknown, None),
        ] {
            let (mut sender_out, down_from) = pipe();
            let (down_to, receiver_in) = pipe();
            let (receiver_out, up_from) = pipe();
            let (up_to, _sender_in) = pipe();
            let ends = Ends { down_from, down_to: down_to.into(), up_from, up_to: up_to.into() };
            let plain = Carriage::plain(Deadline::after(Duration::from_secs(20)));
            let notes = Notes::default();
            let (got, passed) = std::thread::scope(|scope| {
                let carried =
                    scope.spawn(|| carry(ends, Carriage { form, rate, follow: true, ..plain }, &notes));
                scope.spawn(move || sender_out.write_all(body).unwrap());
                let mut got = Vec::new();
                File::from(receiver_in).read_to_end(&mut got).unwrap();
                drop(receiver_out);
                (got, carried.join().unwrap())
            });
            let got =
                if form == Form::Pack { frames::all_of(&mut Unpacker::new().unwrap(), &got) } else { got };
            assert!(got == *body, "{form:?}: {} bytes of {}", got.len(), body.len());
            assert_eq!(
                (passed.flow.rounds, passed.flow.bytes),
                (rounds, body.len() as u64),
                "{form:?} {rate:?}"
            );
        }
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
        let passed =
            carry(ends, Carriage::plain(Deadline::after(Duration::from_millis(50))), &Notes::default());
        assert!(passed.ended.unwrap().to_string().contains("in time"));
    }

    /// A receiver that lets such a time pass before each MiB, or takes none at all.
    fn play_slowly(pauses: Option<Duration>, form: Form) -> Option<String> {
        let (mut sender_out, down_from) = pipe();
        let (down_to, receiver_in) = pipe();
        let (receiver_out, up_from) = pipe();
        let (up_to, _sender_in) = pipe();
        let ends = Ends { down_from, down_to: down_to.into(), up_from, up_to: up_to.into() };
        let patience = Some(Duration::from_millis(400));
        let plain = Carriage::plain(Deadline::after(Duration::from_secs(60)));
        std::thread::scope(|scope| {
            scope.spawn(move || {
                // Nothing that could be compressed.
                let mut noise = 1_u64;
                let body: Vec<u8> = std::iter::repeat_with(|| {
                    noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    noise.to_be_bytes()[0]
                })
                .take(8 << 20)
                .collect();
                let _ = sender_out.write_all(&body);
            });
            let receiver = scope.spawn(move || {
                let mut receiver_in = File::from(receiver_in);
                let mut taken = vec![0; 1 << 20];
                if let Some(pause) = pauses {
                    loop {
                        std::thread::park_timeout(pause);
                        if receiver_in.read_exact(&mut taken).is_err() {
                            break;
                        }
                    }
                    drop(receiver_out);
                    return None;
                }
                Some((receiver_in, receiver_out))
            });
            let passed = carry(ends, Carriage { form, patience, ..plain }, &Notes::default());
            drop(receiver.join().unwrap());
            passed.ended.map(|error| error.to_string())
        })
    }

    #[test]
    fn p7_a_stream_that_the_other_end_takes_nothing_of_is_broken_off_and_a_slow_one_is_not() {
        for form in [Form::AsItIs, Form::Pack] {
            let why = play_slowly(None, form).unwrap();
            assert!(why.contains("has taken nothing"), "{form:?}: {why}");
            assert_eq!(play_slowly(Some(Duration::from_millis(100)), form), None, "{form:?}");
        }
    }

    #[test]
    fn a_guest_that_is_not_suspended_in_time_runs_on_and_one_that_is_moves_to_the_end() {
        let stuck = |suspended: Vec<Option<bool>>| {
            let (mut sender_out, down_from) = pipe();
            let (down_to, _receiver_in) = pipe();
            let (_receiver_out, up_from) = pipe();
            let (up_to, _sender_in) = pipe();
            let ends = Ends { down_from, down_to: down_to.into(), up_from, up_to: up_to.into() };
            sender_out.write_all(b"some of its memory").unwrap();
            let notes = Notes { suspended: Mutex::new(suspended), ..Notes::default() };
            let suspend_by = Some(Deadline::after(Duration::ZERO));
            let plain = Carriage::plain(Deadline::after(Duration::from_secs(2)));
            let passed = carry(ends, Carriage { suspend_by, ..plain }, &notes);
            (passed.ended.unwrap().to_string(), notes.seen.lock().unwrap().len())
        };
        let (why, looks) = stuck(vec![Some(false)]);
        assert!(why.contains("migration_deadline") && looks == 1, "{why} after {looks} looks");
        // Read from the end: not known at first, then running.
        let (why, looks) = stuck(vec![Some(false), None]);
        assert!(why.contains("migration_deadline") && looks == 2, "{why} after {looks} looks");
        let (why, looks) = stuck(vec![Some(true)]);
        assert!(why.contains("before the point of no return") && looks == 1, "{why} after {looks} looks");
    }

    #[test]
    fn a_target_that_only_lives_is_waited_for_and_one_that_says_nothing_is_not() {
        let (mut peer, up_from) = pipe();
        let (up_to, xl_in) = pipe();
        let plain = Carriage::plain(Deadline::after(Duration::from_secs(20)));
        let carriage = Carriage { alive: Alive::Hears, silence: Duration::from_secs(1), ..plain };
        let shared = Shared::default();
        std::thread::scope(|scope| {
            let notes = Notes::default();
            let shared = &shared;
            let carried = scope.spawn(move || carry_up(up_from, up_to.into(), carriage, &notes, shared));
            let until = Deadline::after(Duration::from_secs(2));
            let _: Option<()> = SystemClock.wait_until(until, Duration::from_millis(50), || {
                peer.write_all(&[ALIVE]).unwrap();
                None
            });
            // In the middle of a word, too.
            peer.write_all(&[&BANNER[..9], &[ALIVE], &BANNER[9..]].concat()).unwrap();
            let why = carried.join().unwrap().unwrap_err().to_string();
            assert!(why.contains("the target has said nothing for 1 s"), "{why}");
            let mut heard = Vec::new();
            File::from(xl_in).read_to_end(&mut heard).unwrap();
            assert_eq!(heard, BANNER, "xl hears its own words and no other");
        });
    }

    #[test]
    fn a_target_says_that_it_lives_until_it_has_all_of_the_domain() {
        let (mut receiver_out, up_from) = pipe();
        let (up_to, from_target) = pipe();
        let plain = Carriage::plain(Deadline::after(Duration::from_secs(20)));
        let carriage = Carriage { alive: Alive::Says, silence: Duration::from_millis(240), ..plain };
        std::thread::scope(|scope| {
            let carried = scope.spawn(move || {
                carry_up(up_from, up_to.into(), carriage, &Notes::default(), &Shared::default())
            });
            let mut from_target = File::from(from_target);
            let mut some = [0; 3];
            from_target.read_exact(&mut some).unwrap();
            assert_eq!(some, [ALIVE; 3]);
            receiver_out.write_all(&[BANNER, READY].concat()).unwrap();
            let mut words = Vec::new();
            while !words.ends_with(READY) {
                let mut one = [0];
                from_target.read_exact(&mut one).unwrap();
                words.push(one[0]);
            }
            let until = Deadline::after(Duration::from_millis(200));
            let _: Option<()> = SystemClock.wait_until(until, Duration::from_millis(50), || None);
            drop(receiver_out);
            words.clear();
            from_target.read_to_end(&mut words).unwrap();
            assert!(words.is_empty(), "after *ready* xl says more than words: {words:?}");
            carried.join().unwrap().unwrap();
        });
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
            let carried = scope.spawn(|| {
                carry(ends, Carriage::plain(Deadline::after(Duration::from_secs(20))), &Notes::default())
            });
            drop(sender_out);
            theirs.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            let mut rest = Vec::new();
            (&theirs).read_to_end(&mut rest).unwrap();
            drop(theirs);
            assert!(carried.join().unwrap().ended.is_none());
        });
    }
}
