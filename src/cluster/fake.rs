//! A cluster manager in memory, for unit tests of what asks one.

use std::cell::RefCell;
use std::time::Duration;

use super::managed::ManagedDomain;
use super::view::{ClusterError, ClusterView, Destination, Peer, Plan};
use crate::clock::UnixTime;
use crate::domain::DomainName;
use crate::handoff::Epoch;
use crate::handoff::ledger::{Entries, Entry, Ledger, LedgerError, NoAnswer};
use crate::host::NodeName;

/// What it says; nothing was found out where that is text, and `down` is a cluster that is down here.
#[derive(Debug)]
pub struct Says<T>(RefCell<Result<T, &'static str>>);

impl<T> Says<T> {
    /// From now on it says this.
    pub fn are(&self, what: Result<T, &'static str>) {
        *self.0.borrow_mut() = what;
    }
}

impl<T: Clone> Says<T> {
    /// What it would say now.
    pub fn now(&self) -> Result<T, &'static str> {
        self.0.borrow().clone()
    }
}

/// The cluster is down on this node.
pub const DOWN: &str = "down";

/// Says what a test has put into it, and keeps what it was told.
#[derive(Debug)]
pub struct Fake {
    /// What follows a stop.
    pub plan: Says<Plan>,
    /// Where the resource is as things are.
    pub as_it_is: Says<Destination>,
    /// The other nodes.
    pub peers: Says<Vec<Peer>>,
    /// The resources of this agent.
    pub domains: Says<Vec<ManagedDomain>>,
    /// What its ledger has.
    pub entries: Says<Entries>,
    /// How old the ledger is.
    pub age: RefCell<Duration>,
    /// Why it takes no entry, where it does not.
    pub takes_none: RefCell<Option<&'static str>>,
    /// Whether it migrates.
    pub migrates: RefCell<bool>,
    /// Whether this node leaves.
    pub leaving: RefCell<bool>,
    /// Whether a node that it was told to fence is fenced then.
    pub fences: RefCell<bool>,
    /// What it was told, in order.
    pub told: RefCell<Vec<String>>,
}

impl Default for Fake {
    fn default() -> Self {
        Self {
            plan: Says(RefCell::new(Err(DOWN))),
            as_it_is: Says(RefCell::new(Err(DOWN))),
            peers: Says(RefCell::new(Ok(Vec::new()))),
            domains: Says(RefCell::new(Ok(Vec::new()))),
            entries: Says(RefCell::new(Ok(Entries::default()))),
            age: RefCell::new(Duration::from_secs(1_000_000)),
            takes_none: RefCell::new(None),
            migrates: RefCell::new(true),
            leaving: RefCell::new(false),
            fences: RefCell::new(false),
            told: RefCell::default(),
        }
    }
}

fn said<T: Clone>(says: &Says<T>) -> Result<T, ClusterError> {
    says.0.borrow().clone().map_err(|why| match why {
        DOWN => ClusterError::NotRunning,
        why => ClusterError::Unreadable { tool: "the cluster manager", what: why.to_owned() },
    })
}

impl Fake {
    /// A node that is a member.
    pub fn member(name: &str) -> Peer {
        let node = NodeName::new(name).unwrap();
        Peer { node, online: true, fenced_at: None, cleared: false, lost: false }
    }

    fn tell(&self, what: String) {
        self.told.borrow_mut().push(what);
    }
}

impl ClusterView for Fake {
    fn plan_after_stop(&self, _: &str, _: &NodeName, _: Duration) -> Result<Plan, ClusterError> {
        said(&self.plan)
    }

    fn plan_as_it_is(&self, _: &str, _: Duration) -> Result<Destination, ClusterError> {
        said(&self.as_it_is)
    }

    fn peers(&self, _: &NodeName, _: &str) -> Result<Vec<Peer>, ClusterError> {
        said(&self.peers)
    }

    fn nodes(&self) -> Result<Vec<NodeName>, ClusterError> {
        Ok(said(&self.peers)?.into_iter().map(|peer| peer.node).collect())
    }

    fn check_planner(&self, _: Duration) -> Result<(), ClusterError> {
        said(&self.plan).map(drop)
    }

    fn set_utilization(&self, resource: &str, attribute: &str, value: u64) -> Result<(), ClusterError> {
        self.tell(format!("utilization {resource} {attribute}={value}"));
        Ok(())
    }

    fn fence(&self, node: &NodeName, _: Duration) -> Result<(), ClusterError> {
        self.tell(format!("fence {node}"));
        if *self.fences.borrow() {
            for peer in self.peers.0.borrow_mut().iter_mut().flatten().filter(|peer| peer.node == *node) {
                (peer.online, peer.fenced_at) = (false, Some(UnixTime::now().plus(Duration::from_secs(1))));
            }
        }
        Ok(())
    }

    fn node_attribute(&self, _: &NodeName, _: &str) -> Result<Option<String>, ClusterError> {
        Ok(None)
    }

    fn is_leaving(&self) -> bool {
        *self.leaving.borrow()
    }

    fn migrates(&self) -> bool {
        *self.migrates.borrow()
    }

    fn own_name(&self) -> NodeName {
        NodeName::new("n1").unwrap()
    }

    fn domains(&self) -> Result<Vec<ManagedDomain>, ClusterError> {
        said(&self.domains)
    }

    fn ledger(&self) -> &dyn Ledger {
        self
    }
}

impl Ledger for Fake {
    fn write(&self, entry: &Entry, _: &[NodeName]) -> Result<(), LedgerError> {
        if let Some(why) = *self.takes_none.borrow() {
            return Err(LedgerError(why.to_owned()));
        }
        self.tell(format!("write {}", entry.epoch()));
        if let Ok(entries) = &mut *self.entries.0.borrow_mut() {
            match entry {
                Entry::Offer(offer) => entries.offers.push(offer.clone()),
                Entry::Push(push) => entries.pushes.push(push.clone()),
            }
        }
        Ok(())
    }

    fn entries(&self, _: &DomainName) -> Result<Entries, NoAnswer> {
        self.entries.0.borrow().clone().map_err(|why| match why {
            DOWN => NoAnswer::NoCluster,
            why => NoAnswer::Unreadable(why.to_owned()),
        })
    }

    fn age(&self) -> Result<Duration, NoAnswer> {
        Ok(*self.age.borrow())
    }

    fn erase(&self, _: &DomainName, epoch: Epoch) {
        self.tell(format!("erase {epoch}"));
        if let Ok(entries) = &mut *self.entries.0.borrow_mut() {
            entries.offers.retain(|offer| offer.epoch != epoch);
            entries.pushes.retain(|push| push.transfer.epoch != epoch);
        }
    }
}
