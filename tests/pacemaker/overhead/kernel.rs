//! What the kernel itself says of processes, on the whole machine: that one came to be, became another
//! program, ended; and what processor time it had. Nothing is put between the agent and what it starts.
//!
//! - Begin and end: the process events (`linux/cn_proc.h`), each with the moment at which it happened.
//! - Processor time: the statistics that the kernel sends of each task that ends (`linux/taskstats.h`), to
//!   the nanosecond where `kernel.task_delayacct` can be switched on, and by the clock's ticks otherwise.
//! - The command line of a program is read when it has just begun; of one that has ended by then it is not
//!   known, and its name is.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use rustix::time::{ClockId, clock_gettime};
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// Room for what comes while we are not looked at, in bytes.
const ROOM: usize = 32 << 20;
const PRECISELY: &str = "/proc/sys/kernel/task_delayacct";
/// The events of the connector, and of the statistics' answers, by their numbers in the kernel's headers.
const FORK: u32 = 1;
const EXEC: u32 = 2;
const EXIT: u32 = 0x8000_0000;
const OF_A_TASK: u16 = 4;
const STATISTICS: u16 = 3;

/// One process, from its begin.
#[derive(Clone, Debug, Default)]
pub(crate) struct Process {
    /// Which of the others has made it.
    pub(crate) parent: Option<usize>,
    /// Nanoseconds of CLOCK_REALTIME, as all times here.
    pub(crate) begun: u64,
    /// The programs that it became.
    pub(crate) programs: Vec<Program>,
    pub(crate) ended: Option<u64>,
    /// What it was called in the end.
    pub(crate) name: String,
    pub(crate) cpu_ns: u64,
}

/// A program that a process became.
#[derive(Clone, Debug, Default)]
pub(crate) struct Program {
    pub(crate) at: u64,
    /// Its command line; empty where it had ended before that could be read.
    pub(crate) words: Vec<String>,
    /// `OCF_RESOURCE_INSTANCE` of its environment.
    pub(crate) resource: Option<String>,
}

/// All processes of which the kernel has told.
#[derive(Debug, Default)]
pub(crate) struct Known {
    pub(crate) all: Vec<Process>,
    /// By number, those that live, and those that have ended and whose number was not given again.
    by_number: BTreeMap<u32, usize>,
    /// Threads, by their number, and the process that they are of.
    threads: BTreeMap<u32, u32>,
    /// Messages that were lost for want of room.
    pub(crate) lost: usize,
}

impl Known {
    /// The process of this number, from the machine's point of view.
    pub(crate) fn place_of(&self, number: u32) -> Option<usize> {
        self.by_number.get(&number).copied()
    }

    /// One that began before we looked, or that we were not told of.
    pub(crate) fn meet(&mut self, number: u32) -> usize {
        if let Some(place) = self.place_of(number) {
            return place;
        }
        self.all.push(Process::default());
        self.by_number.insert(number, self.all.len() - 1);
        self.all.len() - 1
    }

    /// A process, or a thread of one, came to be.
    pub(crate) fn forked(&mut self, at: u64, parent: u32, task: u32, process: u32) {
        if task != process {
            self.threads.insert(task, process);
            return;
        }
        self.threads.remove(&task);
        let parent = Some(self.meet(parent));
        self.all.push(Process { parent, begun: at, ..Process::default() });
        self.by_number.insert(process, self.all.len() - 1);
    }

    pub(crate) fn became(&mut self, number: u32, program: Program) {
        let place = self.meet(number);
        if let Some(process) = self.all.get_mut(place) {
            process.programs.push(program);
        }
    }

    pub(crate) fn exited(&mut self, at: u64, number: u32) {
        if let Some(process) = self.place_of(number).and_then(|place| self.all.get_mut(place)) {
            process.ended = Some(at);
        }
    }

    /// What a task had, which may be a thread of a process.
    pub(crate) fn spent(&mut self, task: u32, name: &str, cpu_ns: u64) {
        let thread = self.threads.remove(&task);
        let place = self.place_of(thread.unwrap_or(task));
        if let Some(process) = place.and_then(|place| self.all.get_mut(place)) {
            process.cpu_ns += cpu_ns;
            if thread.is_none() {
                name.clone_into(&mut process.name);
            }
        }
    }
}

/// Listens until it is dropped.
#[derive(Debug)]
pub(crate) struct Listener {
    known: Arc<Mutex<Known>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    /// What the switch of the statistics stood at.
    stood: Option<String>,
}

impl Listener {
    /// Begins to listen. `Err` says why that cannot be.
    pub(crate) fn begin() -> Result<Listener, String> {
        let stood = std::fs::read_to_string(PRECISELY).ok();
        let precise = std::fs::write(PRECISELY, "1").is_ok();
        let events = process_events().map_err(|why| format!("no process events of the kernel: {why}"))?;
        let statistics =
            task_statistics().map_err(|why| format!("no task statistics of the kernel: {why}"))?;
        let (known, over) = (Arc::new(Mutex::new(Known::default())), Arc::new(AtomicBool::new(false)));
        let (ours, until) = (Arc::clone(&known), Arc::clone(&over));
        let thread = std::thread::Builder::new()
            .name("kernel's events".into())
            .spawn(move || listen(&events, &statistics, precise, &ours, &until))
            .map_err(|why| format!("no thread: {why}"))?;
        Ok(Listener { known, over, thread: Some(thread), stood })
    }

    /// What is known by now.
    pub(crate) fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        // What the thread came to changes nothing any more.
        let _ = self.thread.take().map(JoinHandle::join);
        if let Some(stood) = &self.stood {
            let _as_it_was = std::fs::write(PRECISELY, stood);
        }
    }
}

/// Nanoseconds of a clock.
pub(crate) fn now(clock: ClockId) -> u64 {
    let now = clock_gettime(clock);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}

fn listen(events: &OwnedFd, statistics: &OwnedFd, precise: bool, known: &Mutex<Known>, over: &AtomicBool) {
    before_all_others();
    // The events have the time since boot.
    let since_boot = now(ClockId::Realtime) - now(ClockId::Monotonic);
    let tick = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
    let mut bytes = vec![0; 65536];
    while !over.load(Ordering::Relaxed) {
        let mut open = [PollFd::new(events, PollFlags::IN), PollFd::new(statistics, PollFlags::IN)];
        let _interrupted = poll(&mut open, Some(&tick));
        let known = || known.lock().unwrap_or_else(PoisonError::into_inner);
        each_of(events, &mut bytes, &known, |message| {
            let Some(event) = event_in(message, since_boot) else { return };
            // Before anything else: it may be gone in a moment.
            let program = match event {
                Told::Exec { at, process } => Some(program_of(process, at)),
                _ => None,
            };
            take(&mut known(), event, program);
        });
        each_of(statistics, &mut bytes, &known, |message| {
            if let Some((task, name, cpu_ns)) = statistics_in(message, precise) {
                known().spent(task, &name, cpu_ns);
            }
        });
    }
}

/// Command lines are to be read while they are there, however busy the machine is. Where that is not allowed,
/// more of them are missed.
fn before_all_others() {
    let thread = std::fs::read_link("/proc/thread-self").unwrap_or_default();
    let number = thread.file_name().unwrap_or_default();
    let _not_allowed =
        crate::spawn::run(crate::spawn::command("chrt").args(["--fifo", "--pid", "1"]).arg(number));
}

fn each_of<'a>(
    socket: &OwnedFd,
    bytes: &mut [u8],
    known: &impl Fn() -> MutexGuard<'a, Known>,
    mut each: impl FnMut(&[u8]),
) {
    loop {
        match rustix::net::recv(socket, &mut *bytes, RecvFlags::DONTWAIT) {
            Ok((_, length)) => each(bytes.get(..length).unwrap_or_default()),
            Err(rustix::io::Errno::NOBUFS) => known().lost += 1,
            Err(_) => return,
        }
    }
}

/// One of the kernel's events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Fork { at: u64, parent: u32, task: u32, process: u32 },
    Exec { at: u64, process: u32 },
    Exit { at: u64, task: u32, process: u32 },
}

fn take(known: &mut Known, event: Told, program: Option<Program>) {
    match event {
        Told::Fork { at, parent, task, process } => known.forked(at, parent, task, process),
        Told::Exec { process, .. } => known.became(process, program.unwrap_or_default()),
        Told::Exit { at, task, process } if task == process => known.exited(at, process),
        Told::Exit { .. } => {}
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

fn long_number(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at + 8)?.try_into().ok().map(u64::from_ne_bytes)
}

/// The event of a message: 16 bytes of netlink's header, 20 of the connector's, 16 of its own.
fn event_in(message: &[u8], since_boot: u64) -> Option<Told> {
    let at = since_boot + long_number(message, 44)?;
    let word = |place: usize| number(message, 52 + 4 * place);
    match number(message, 36)? {
        FORK => Some(Told::Fork { at, parent: word(1)?, task: word(2)?, process: word(3)? }),
        EXEC => Some(Told::Exec { at, process: word(1)? }),
        EXIT => Some(Told::Exit { at, task: word(0)?, process: word(1)? }),
        _ => None,
    }
}

fn program_of(process: u32, at: u64) -> Program {
    let read = |file: &str| std::fs::read(format!("/proc/{process}/{file}")).unwrap_or_default();
    let texts = |bytes: Vec<u8>| -> Vec<String> {
        let texts = bytes.split(|byte| *byte == 0).map(|text| String::from_utf8_lossy(text).into_owned());
        texts.filter(|text| !text.is_empty()).collect()
    };
    let words = texts(read("cmdline"));
    let is_resource = |text: &String| text.strip_prefix("OCF_RESOURCE_INSTANCE=").map(str::to_owned);
    Program { at, words, resource: texts(read("environ")).iter().find_map(is_resource) }
}

fn socket(protocol: rustix::net::Protocol, groups: u32) -> rustix::io::Result<OwnedFd> {
    let socket = rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        Some(protocol),
    )?;
    rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, ROOM)?;
    rustix::net::bind(&socket, &SocketAddrNetlink::new(0, groups))?;
    Ok(socket)
}

/// A message of netlink's, with its header.
fn message(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(16 + body.len()).unwrap_or(u32::MAX);
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend([0; 8]);
    bytes.extend(body);
    bytes
}

/// An attribute of netlink's.
fn attribute(kind: u16, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + body.len()).unwrap_or(u16::MAX);
    let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend(body);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// The attributes one after the other: kind and body.
fn attributes(mut bytes: &[u8]) -> Vec<(u16, &[u8])> {
    let mut found = vec![];
    while let (Some(length), Some(kind)) = (bytes.get(..2), bytes.get(2..4)) {
        let (Ok(length), Ok(kind)) = (length.try_into(), kind.try_into()) else { break };
        let (length, kind) = (usize::from(u16::from_ne_bytes(length)), u16::from_ne_bytes(kind));
        let Some(body) = bytes.get(4..length) else { break };
        found.push((kind, body));
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    found
}

/// The connector's group of process events, switched on.
fn process_events() -> rustix::io::Result<OwnedFd> {
    let events = socket(netlink::CONNECTOR, 1)?;
    let listen: Vec<u8> = [1u32, 1, 0, 0, 4, 1].into_iter().flat_map(u32::to_ne_bytes).collect();
    rustix::net::send(&events, &message(3, 0, &listen), SendFlags::empty())?;
    Ok(events)
}

/// The statistics of every task that ends, on all processors.
fn task_statistics() -> Result<OwnedFd, String> {
    let said = |error: rustix::io::Errno| error.to_string();
    let socket = socket(netlink::GENERIC, 0).map_err(said)?;
    let ask = |family: u16, command: u8, body: &[u8]| {
        let body = [&[command, 1, 0, 0][..], body].concat();
        rustix::net::send(&socket, &message(family, 1, &body), SendFlags::empty()).map_err(said)
    };
    // The controller says which number the family has today.
    ask(16, 3, &attribute(2, b"TASKSTATS\0"))?;
    let mut bytes = vec![0; 8192];
    let (_, length) = rustix::net::recv(&socket, &mut bytes[..], RecvFlags::empty()).map_err(said)?;
    let family = attributes(bytes.get(20..length).unwrap_or_default())
        .into_iter()
        .find_map(|(kind, body)| (kind == 1).then(|| body.try_into().ok().map(u16::from_ne_bytes))?)
        .ok_or("this kernel has none")?;
    let processors =
        std::fs::read_to_string("/sys/devices/system/cpu/possible").map_err(|error| error.to_string())?;
    ask(family, 1, &attribute(3, format!("{}\0", processors.trim()).as_bytes()))?;
    Ok(socket)
}

/// Task, name and processor time of a message about a task that has ended.
fn statistics_in(message: &[u8], precise: bool) -> Option<(u32, String, u64)> {
    let of_task = attributes(message.get(20..)?).into_iter().find(|(kind, _)| *kind == OF_A_TASK)?.1;
    let (_, body) = attributes(of_task).into_iter().find(|(kind, _)| *kind == STATISTICS)?;
    let task = attributes(of_task).into_iter().find(|(kind, _)| *kind == 1)?;
    let task = number(task.1, 0)?;
    // Versions 15 and 16 have more before the name; it is followed by scheduling class, user, group and the
    // task's number.
    let name_at = (80..=208).step_by(8).find(|at| number(body, at + 48) == Some(task))?;
    let name: Vec<u8> = body.get(name_at..name_at + 32)?.iter().copied().take_while(|b| *b != 0).collect();
    let (user, system) = (long_number(body, name_at + 72)?, long_number(body, name_at + 80)?);
    let ran = long_number(body, name_at - 8)?;
    let cpu_ns = if precise && ran > 0 { ran } else { (user + system) * 1000 };
    Some((task, String::from_utf8_lossy(&name).into_owned(), cpu_ns))
}
