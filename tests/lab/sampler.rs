//! The far ends of `image/node/usr/local/sbin/lab-sampler`: which domains each node's hypervisor had when, and the
//! nodes' clocks.

use std::net::UdpSocket;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::network;
use crate::wait::{self, now};

const PORT: u16 = 7071;
/// How long a restored node may take to answer. Seconds are the rule; with the machine full of other work it was 40.
const ANSWER: Duration = Duration::from_secs(180);
/// x0's uuid, as `x0.cfg` has it: a name can change in a migration, this does not.
pub(crate) const X0: &str = "77000000-0000-4000-8000-000000000050";

/// A copy of x0 as a hypervisor saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Copy {
    /// Its domain id there.
    pub(crate) domid: u32,
    /// Xen's flags, `XEN_DOMINF_*`.
    pub(crate) flags: u32,
}

impl Copy {
    const DYING: u32 = 1;
    const SHUTDOWN: u32 = 1 << 2;
    const PAUSED: u32 = 1 << 3;
    /// Where the reason of a shutdown stands in the flags, and the one that is no end: a migration's last phase.
    const REASON: u32 = 16;
    const SUSPENDED: u32 = 2;

    /// Is it suspended, as in the last phase of a migration, and neither paused nor dying?
    pub(crate) fn is_suspended(self) -> bool {
        self.flags & (Self::DYING | Self::SHUTDOWN | Self::PAUSED) == Self::SHUTDOWN
            && (self.flags >> Self::REASON) & 0xff == Self::SUSPENDED
    }

    /// Can it execute? Blocked or not is all the same: it may at any moment.
    pub(crate) fn runs(self) -> bool {
        self.flags & (Self::DYING | Self::SHUTDOWN | Self::PAUSED) == 0
    }
}

/// One look at one node's hypervisor.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sample {
    /// Whose.
    pub(crate) node: usize,
    /// When, by the node's own clock.
    pub(crate) at: f64,
    /// The copies of x0 there, usually none or one.
    pub(crate) copies: Vec<Copy>,
}

impl Sample {
    /// The copy that can execute, if there is one.
    pub(crate) fn running(&self) -> Option<Copy> {
        self.copies.iter().copied().find(|copy| copy.runs())
    }

    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        if words.next() != Some("sample") {
            return None;
        }
        let node = words.next()?.strip_prefix("node")?.parse().ok()?;
        let at = words.next()?.parse().ok()?;
        let mut copies = Vec::new();
        for word in words {
            let mut parts = word.split('/');
            let domid = parts.next()?.parse().ok()?;
            let uuid = parts.next()?;
            let flags = u32::from_str_radix(parts.next()?, 16).ok()?;
            if uuid == X0 {
                copies.push(Copy { domid, flags });
            }
        }
        Some(Self { node, at, copies })
    }
}

/// All samples since the last `clear`, filled by a thread.
#[derive(Debug, Clone)]
pub(crate) struct Samples(Arc<Mutex<Vec<Sample>>>);

impl Samples {
    /// Listens on the management network.
    pub(crate) fn listen() -> Result<Self> {
        let socket = UdpSocket::bind(("10.78.0.1", PORT)).context("listening for samples")?;
        let samples = Self(Arc::default());
        let into = samples.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 2048];
            while let Ok(length) = socket.recv(&mut buffer) {
                let line = String::from_utf8_lossy(buffer.get(..length).unwrap_or_default()).into_owned();
                if let Some(sample) = Sample::parse(&line) {
                    into.lock().push(sample);
                }
            }
        });
        Ok(samples)
    }

    /// Forgets what was seen: a new test begins, in another time.
    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    /// A copy of all that was seen.
    pub(crate) fn all(&self) -> Vec<Sample> {
        self.lock().clone()
    }

    /// The last word from a node.
    pub(crate) fn last(&self, node: usize) -> Option<Sample> {
        self.lock().iter().rev().find(|sample| sample.node == node).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Sample>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How far a node's clock is ahead of ours.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Offset {
    /// Seconds to take off the node's time.
    pub(crate) ahead: f64,
    /// By how much that may be wrong, either way.
    pub(crate) uncertainty: f64,
}

/// Sets a node's clock to ours: after a restore it is still in the past.
pub(crate) fn set_clock(node: usize) -> Result<()> {
    let wire = wire(node)?;
    wait::until(format_args!("node{node} to take the time"), ANSWER, || {
        Ok(ask(&wire, &format!("set t {:.6}", now())).ok())
    })?;
    Ok(())
}

/// Compares a node's clock with ours; the quickest of several answers is the most certain one.
pub(crate) fn measure(node: usize) -> Result<Offset> {
    let wire = wire(node)?;
    let best = wait::until(format_args!("the time of node{node}"), ANSWER, || {
        let answers: Vec<(f64, f64)> =
            (0..8).filter_map(|turn| ask(&wire, &format!("time {turn}")).ok()).collect();
        Ok(answers.into_iter().min_by(|a, b| a.1.total_cmp(&b.1)))
    })?;
    Ok(Offset { ahead: best.0, uncertainty: best.1 / 2.0 })
}

/// One quick comparison of a node's clock with ours; none if the node does not answer at once.
pub(crate) fn glance(node: usize) -> Option<Offset> {
    let (ahead, took) = ask(&wire(node).ok()?, "time glance").ok()?;
    Some(Offset { ahead, uncertainty: took / 2.0 })
}

fn wire(node: usize) -> Result<UdpSocket> {
    let wire = UdpSocket::bind(("10.78.0.1", 0))?;
    wire.connect((network::manage_address(node), PORT))?;
    wire.set_read_timeout(Some(Duration::from_millis(500)))?;
    Ok(wire)
}

/// One question: how far ahead the node is, were the answer given in the middle, and how long the answer took.
fn ask(wire: &UdpSocket, question: &str) -> Result<(f64, f64)> {
    let token = question.split(' ').nth(1).unwrap_or_default().to_string();
    let start = Instant::now();
    let asked = now();
    wire.send(question.as_bytes())?;
    let mut buffer = [0; 128];
    let length = wire.recv(&mut buffer)?;
    let took = start.elapsed().as_secs_f64();
    let answer = String::from_utf8_lossy(buffer.get(..length).unwrap_or_default()).into_owned();
    let words: Vec<&str> = answer.split(' ').collect();
    let ["time", echoed, time] = words.as_slice() else { bail!("an answer of another kind: {answer}") };
    if *echoed != token {
        bail!("an old answer");
    }
    Ok((time.parse::<f64>()? - (asked + took / 2.0), took))
}
