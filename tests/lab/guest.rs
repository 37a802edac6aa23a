//! x0 as its users see it: does it answer, how fast, and is it still the same?

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};

use crate::node::Node;
use crate::process::{self, Running};
use crate::wait::{self, now};

/// x0's address.
pub(crate) const ADDRESS: &str = "10.77.0.50";

/// Its configuration.
pub(crate) const CONFIG: &str = include_str!("x0.cfg");

/// Its memory by that, in MiB.
pub(crate) const MEMORY: u64 = 32;

/// That configuration with another memory, in MiB.
pub(crate) fn with_memory(config: &str, mib: u64) -> String {
    config.replace(&format!("memory = {MEMORY}\n"), &format!("memory = {mib}\n"))
}

/// That configuration with Debian's own kernel, which needs 96 MiB and more.
pub(crate) fn debians(config: &str) -> String {
    config.replace("/var/lib/xen/x0/", "/var/lib/xen/debian/")
}

/// How often the witness is asked during a test.
const EVERY: Duration = Duration::from_millis(500);

/// What x0 says of itself.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Witness {
    /// When it said so, by our clock.
    pub(crate) at: f64,
    /// The random name of this boot.
    pub(crate) boot: String,
    /// A counter that goes up ten times a second while it runs.
    pub(crate) tick: u64,
    /// Seconds since its boot, by its own clock.
    pub(crate) uptime: f64,
}

/// Puts x0's configuration on every node.
pub(crate) fn configure(nodes: &[Node]) -> Result<()> {
    nodes.iter().try_for_each(|node| node.put("/etc/xen/x0.cfg", CONFIG.as_bytes(), "644", "root"))
}

/// Asks x0 once. No answer is an error.
pub(crate) fn ask() -> Result<Witness> {
    ask_at(ADDRESS)
}

/// The same of a domain at another address.
fn ask_at(address: &str) -> Result<Witness> {
    let body = get(address, "/state", Duration::from_millis(900))?;
    let at = now();
    let mut words = body.split_whitespace();
    let mut word = || words.next().with_context(|| format!("x0 says {body:?}"));
    // An empty body is a read between the guest's truncation and its write; the next question gets its answer.
    Ok(Witness { at, boot: word()?.to_string(), tick: word()?.parse()?, uptime: word()?.parse()? })
}

fn get(address: &str, path: &str, limit: Duration) -> Result<String> {
    let address: SocketAddr = format!("{address}:80").parse()?;
    let mut stream = TcpStream::connect_timeout(&address, limit)?;
    stream.set_read_timeout(Some(limit))?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.split("\r\n\r\n").nth(1).unwrap_or_default().to_string())
}

/// From now on x0 takes no notice of being asked to shut down.
pub(crate) fn make_stubborn() -> Result<()> {
    let said = get(ADDRESS, "/cgi-bin/stubborn", Duration::from_secs(20))?;
    ensure!(said.contains("stubborn"), "x0 was to be made stubborn and says {said:?}");
    Ok(())
}

/// Asks until x0 answers.
pub(crate) fn wait_for(limit: Duration) -> Result<Witness> {
    wait_for_at(ADDRESS, limit)
}

/// Asks until the domain at that address answers.
pub(crate) fn wait_for_at(address: &str, limit: Duration) -> Result<Witness> {
    wait::until(format_args!("{address} to answer"), limit, || Ok(ask_at(address).ok()))
}

/// Asks x0 twice a second, all through a test.
#[derive(Debug)]
pub(crate) struct Watch {
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<Vec<Witness>>>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Begins to ask.
    pub(crate) fn begin() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let thread = std::thread::spawn({
            let (stop, seen) = (stop.clone(), seen.clone());
            move || {
                while !stop.load(Ordering::Relaxed) {
                    if let Ok(witness) = ask() {
                        seen.lock().unwrap_or_else(PoisonError::into_inner).push(witness);
                    }
                    std::thread::park_timeout(EVERY);
                }
            }
        });
        Self { stop, seen, thread: Some(thread) }
    }

    /// All that x0 has said so far.
    pub(crate) fn seen(&self) -> Vec<Witness> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

/// A running series of pings.
#[derive(Debug)]
pub(crate) struct Pinging(Running);

/// One answered ping.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reply {
    /// When the answer came.
    pub(crate) at: f64,
    /// How long it took, in milliseconds.
    pub(crate) rtt: f64,
}

/// A finished series.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pings {
    /// How many were sent.
    pub(crate) sent: u32,
    /// The answers, in the order of their arrival.
    pub(crate) replies: Vec<Reply>,
}

impl Pinging {
    /// Begins to ping x0, as often as that. Each ping costs the emulated nodes about a millisecond.
    pub(crate) fn begin(every: Duration) -> Result<Self> {
        let mut ping = Command::new("ping");
        ping.args(["-D", "-n", "-i", &every.as_secs_f64().to_string(), ADDRESS]).env("LC_ALL", "C");
        Ok(Self(process::start(ping, None)?))
    }

    /// Ends the series, as a person would with ^C.
    pub(crate) fn end(self) -> Result<Pings> {
        let pid = i32::try_from(self.0.pid())?;
        let pid = rustix::process::Pid::from_raw(pid).ok_or_else(|| anyhow!("ping has no pid"))?;
        rustix::process::kill_process(pid, rustix::process::Signal::INT)?;
        Pings::parse(&self.0.finish(Duration::from_secs(20))?.stdout)
    }
}

impl Pings {
    /// How many got no answer.
    pub(crate) fn lost(&self) -> u32 {
        let answered = u32::try_from(self.replies.len()).unwrap_or(u32::MAX);
        self.sent.saturating_sub(answered)
    }

    /// The longest time without an answer: when it began and how long it lasted.
    pub(crate) fn longest_gap(&self) -> (f64, f64) {
        let times: Vec<f64> = self.replies.iter().map(|reply| reply.at).collect();
        let gaps = times.windows(2).filter_map(|pair| match pair {
            [before, after] => Some((*before, after - before)),
            _ => None,
        });
        gaps.max_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or_default()
    }

    /// The median round trip of the answers in that time, in milliseconds.
    pub(crate) fn median(&self, from: f64, to: f64) -> Option<f64> {
        let mut all: Vec<f64> = self
            .replies
            .iter()
            .filter(|reply| (from..to).contains(&reply.at))
            .map(|reply| reply.rtt)
            .collect();
        all.sort_by(f64::total_cmp);
        all.get(all.len() / 2).copied()
    }

    fn parse(text: &str) -> Result<Self> {
        let mut pings = Self::default();
        for line in text.lines() {
            if let Some(reply) = reply(line) {
                pings.replies.push(reply);
            } else if let Some((sent, _)) = line.split_once(" packets transmitted") {
                pings.sent = sent.parse().with_context(|| format!("ping says {line:?}"))?;
            }
        }
        if pings.sent == 0 {
            return Err(anyhow!("ping has no summary: {}", text.lines().last().unwrap_or_default()));
        }
        Ok(pings)
    }
}

/// `[1795343396.152825] 64 bytes from 10.77.0.50: icmp_seq=7 ttl=64 time=3.38 ms`
fn reply(line: &str) -> Option<Reply> {
    let (at, rest) = line.strip_prefix('[')?.split_once("] ")?;
    let after =
        |key: &str| rest.split_once(key).map(|(_, value)| value.split(' ').next().unwrap_or_default());
    if rest.contains("DUP!") {
        return None;
    }
    Some(Reply { at: at.parse().ok()?, rtt: after("time=")?.parse().ok()? })
}
