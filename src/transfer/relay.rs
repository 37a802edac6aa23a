//! `xen-handoff relay`: what xl's sender starts as its transport. Joins xl's two pipes to a connection that an ancestor
//! has opened and left to us as two descriptors.

use std::os::fd::RawFd;
use std::time::Duration;

use super::moves;
use super::pipe::{self, Carriage, Ends, Form, Passing, Watcher};
use super::progress::{Direction, Reporter};
use super::suspension;
use super::terms::Compression;
use crate::clock::Deadline;
use crate::descriptor::adopt;
use crate::domain::{DomainName, Presence};
use crate::handoff::Event;
use crate::handoff::record::Store;
use crate::host::Root;
use crate::toolstack::{Toolstack, xl::Xl};

/// Limit of the look whether the guest is suspended; the stream waits that long.
const LOOK_LIMIT: Duration = Duration::from_secs(5);

/// What the relay is told on its command line.
#[derive(Debug, Clone, clap::Args)]
pub struct Relay {
    /// The domain that leaves.
    #[arg(long, value_parser = |text: &str| DomainName::new(text))]
    pub domain: DomainName,
    /// Descriptor to read the connection from.
    #[arg(long)]
    pub from_peer: RawFd,
    /// Descriptor to write the connection to.
    #[arg(long)]
    pub to_peer: RawFd,
    /// Seconds until the stream is broken off, if it has not come to the point of no return.
    #[arg(long)]
    pub limit: u64,
    /// MiB/s that the connection may carry at most.
    #[arg(long)]
    pub rate: Option<u64>,
    /// Seconds until the stream is broken off, if the guest has not been suspended.
    #[arg(long)]
    pub suspend_by: Option<u64>,
    /// How the stream looks on the connection.
    #[arg(long, value_enum, default_value_t = Compression::None)]
    pub compression: Compression,
    /// What xl adds: a host and the receiver's command line. Not used.
    #[arg(hide = true)]
    pub rest: Vec<String>,
}

struct AtSource<'a> {
    root: &'a Root,
    store: Store,
    domain: &'a DomainName,
    reporter: Reporter,
}

impl Watcher for AtSource<'_> {
    fn ready(&self) -> anyhow::Result<()> {
        // The one effect is to let the word through, which is what returning does.
        self.store.advance(self.domain, "relay", Event::ReadySeen)?;
        Ok(())
    }

    fn go(&self, _bytes: &[u8]) -> anyhow::Result<()> {
        log::info!("domain={} transfer=go", self.domain);
        Ok(())
    }

    fn progress(&self, passing: Passing) {
        self.reporter.tell(passing);
    }

    fn is_suspended(&self) -> Option<bool> {
        match Xl::new(self.root).presence(self.domain, LOOK_LIMIT) {
            Presence::Running(_) | Presence::Paused(_) => Some(false),
            Presence::Frozen(_) | Presence::MigratedAway(_) => Some(true),
            other => {
                log::info!("domain={} migration_deadline: it is {other}", self.domain);
                None
            }
        }
    }
}

/// Carries the stream.
///
/// # Errors
/// If the descriptors are not there or the stream was ended here.
pub fn run(root: &Root, order: &Relay) -> anyhow::Result<()> {
    let ends = Ends {
        // xl sees its pipes end when this process does, which is right after `carry`.
        down_from: rustix::stdio::stdin().try_clone_to_owned()?,
        down_to: adopt(order.to_peer)?,
        up_from: adopt(order.from_peer)?,
        up_to: rustix::stdio::stdout().try_clone_to_owned()?,
    };
    let watcher = AtSource {
        root,
        store: Store::new(root.state_folder()),
        domain: &order.domain,
        reporter: Reporter::begin(root, &order.domain, Direction::Outgoing),
    };
    let form = match order.compression {
        Compression::None => Form::AsItIs,
        Compression::Zstd => Form::Pack,
    };
    let deadline = Deadline::after(Duration::from_secs(order.limit));
    let suspend_by = order.suspend_by.map(|seconds| Deadline::after(Duration::from_secs(seconds)));
    let carriage = Carriage { deadline, rate: order.rate, form, suspend_by, follow: true };
    let (mut passed, suspended) =
        suspension::watch(root, &order.domain, deadline, || pipe::carry(ends, carriage, &watcher));
    passed.flow.suspended_ms = suspended.map(moves::milliseconds);
    log::info!("domain={} relay {passed}", order.domain);
    moves::leave_flow(root, &order.domain, &passed);
    passed.ended.map_or(Ok(()), Err)
}
