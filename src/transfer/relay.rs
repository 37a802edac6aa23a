//! `xen-handoff relay`: what xl's sender starts as its transport. Joins xl's two pipes to a connection that
//! an ancestor has opened and left to us as two descriptors.

use std::os::fd::RawFd;
use std::time::Duration;

use super::pipe::{self, Alive, Carriage, Ends, Form, Watcher};
use super::suspension;
use crate::clock::{Clock, Deadline, SystemClock};
use crate::descriptor::adopt;
use crate::domain::{DomainName, Presence};
use crate::handoff::Event;
use crate::handoff::evidence::Suspended;
use crate::here::Here;
use crate::moves::journal;
use crate::moves::progress::{Direction, Passing, Reporter};
use crate::moves::terms::Compression;
use crate::node::record::Store;
use crate::toolstack::glance::{self, Followed};
use crate::toolstack::{Toolstack, xl::Xl};

/// Limit of the look whether the guest is suspended; the stream waits that long.
const LOOK_LIMIT: Duration = Duration::from_secs(5);

/// How often it is looked again where that did not say.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// For how long the target may take nothing of the stream. Its ssh gives a silent source up after 20 s; sshd
/// here waits for hours.
const PATIENCE: Duration = Duration::from_secs(60);

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
    /// The other end says again and again that it lives, until it has all of the domain.
    #[arg(long)]
    pub hears_alive: bool,
    /// What xl adds: a host and the receiver's command line. Not used.
    #[arg(hide = true)]
    pub rest: Vec<String>,
}

struct AtSource<'a> {
    xl: &'a Xl,
    /// The domain as the hypervisor has it, where that can be asked.
    followed: Option<Followed>,
    store: Store,
    domain: &'a DomainName,
    reporter: Reporter,
}

impl Watcher for AtSource<'_> {
    fn ready(&self) -> anyhow::Result<()> {
        let suspended = self.stands_still()?;
        // The one effect is to let the word through, which is what returning does.
        self.store.advance(self.domain, "relay", Event::ReadySeen(suspended))?;
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
        match self.xl.presence(self.domain, LOOK_LIMIT) {
            Presence::Running(_) | Presence::Paused(_) => Some(false),
            Presence::Frozen(_) | Presence::MigratedAway(_) => Some(true),
            other => {
                log::info!("domain={} migration_deadline: it is {other}", self.domain);
                None
            }
        }
    }
}

impl AtSource<'_> {
    /// Evidence that the domain stands still here: a receiver has all of it only then. The guest waits
    /// meanwhile, so the hypervisor is asked before xl is.
    fn stands_still(&self) -> anyhow::Result<Suspended> {
        let by_hypervisor = self.followed.as_ref().and_then(|followed| followed.is_suspended().ok());
        if let Some(suspended) = by_hypervisor.and_then(Suspended::by_hypervisor) {
            return Ok(suspended);
        }
        let mut seen = Presence::Unknown("it was not looked at".to_owned());
        let suspended = SystemClock.wait_until(Deadline::after(LOOK_LIMIT), LOOK_AGAIN, || {
            seen = self.xl.presence(self.domain, LOOK_LIMIT);
            match Suspended::observe(&seen) {
                None if matches!(seen, Presence::Unknown(_)) => None,
                known => Some(known),
            }
        });
        suspended.flatten().ok_or_else(|| {
            anyhow::anyhow!("the target says that it has all of it, and it is {seen} here: not believed")
        })
    }
}

/// Carries the stream.
///
/// # Errors
/// If the descriptors are not there or the stream was ended here.
pub fn run(here: &Here, order: &Relay) -> anyhow::Result<()> {
    let ends = Ends {
        // xl sees its pipes end when this process does, which is right after `carry`.
        down_from: rustix::stdio::stdin().try_clone_to_owned()?,
        down_to: adopt(order.to_peer)?,
        up_from: adopt(order.from_peer)?,
        up_to: rustix::stdio::stdout().try_clone_to_owned()?,
    };
    let watcher = AtSource {
        xl: &here.xl,
        followed: glance::follow(&here.root, &order.domain).ok(),
        store: here.store.clone(),
        domain: &order.domain,
        reporter: Reporter::begin(&here.root, &here.xl, &order.domain, Direction::Outgoing),
    };
    let form = match order.compression {
        Compression::None => Form::AsItIs,
        Compression::Zstd => Form::Pack,
    };
    let deadline = Deadline::after(Duration::from_secs(order.limit));
    let suspend_by = order.suspend_by.map(|seconds| Deadline::after(Duration::from_secs(seconds)));
    let alive = if order.hears_alive { Alive::Hears } else { Alive::Unknown };
    let plain = Carriage::plain(deadline);
    let patience = Some(PATIENCE);
    let carriage = Carriage { rate: order.rate, form, suspend_by, follow: true, alive, patience, ..plain };
    let (mut passed, suspended) =
        suspension::watch(&here.root, &order.domain, deadline, || pipe::carry(ends, carriage, &watcher));
    passed.flow.suspended_ms = suspended.map(journal::milliseconds);
    log::info!("domain={} relay {passed}", order.domain);
    journal::leave_flow(&here.root, &order.domain, &passed);
    passed.ended.map_or(Ok(()), Err)
}
