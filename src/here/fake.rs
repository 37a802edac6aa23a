//! A world of stand-ins, for unit tests: this node is n1 and the domain is x0; its toolstack, its cluster
//! manager and the other nodes say what the test has them say, and its clock jumps.

use std::os::unix::fs::PermissionsExt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::Here;
use crate::clock::{UnixTime, jump};
use crate::cluster::fake as cluster;
use crate::domain::{Copy, DomainId, DomainName, RunState, Sighting};
use crate::handoff::evidence::{Recorded, SourceQuiet, Suspended};
use crate::handoff::handshake::GO;
use crate::handoff::ledger::{Entries, Entry};
use crate::handoff::{Epoch, Event, Offer, Phase, Push, Transfer};
use crate::host::{NodeName, Root};
use crate::toolstack::fake as toolstack;
use crate::wire::fake::Peers;

/// The epoch of what is offered, fetched or pushed.
pub const EPOCH: Epoch = Epoch(1_800_000_000_000);

/// The domain.
pub fn x0() -> DomainName {
    DomainName::new("x0").unwrap()
}

/// A node.
pub fn node(name: &str) -> NodeName {
    NodeName::new(name).unwrap()
}

/// From this node to n2.
pub fn to_n2() -> Transfer {
    Transfer { epoch: EPOCH, source: node("n1"), target: node("n2") }
}

/// From n2 to this node.
pub fn from_n2() -> Transfer {
    Transfer { epoch: EPOCH, source: node("n2"), target: node("n1") }
}

/// An offer of x0, five minutes long.
pub fn offer_of(source: &str) -> Offer {
    let made_at = UnixTime::now();
    let deadline = made_at.plus(Duration::from_secs(300));
    Offer { domain: x0(), source: node(source), epoch: EPOCH, made_at, deadline }
}

/// Listings.
pub mod seen {
    use super::*;

    fn copy(state: RunState) -> Option<Copy> {
        Some(Copy { id: DomainId(1), state })
    }

    /// None is here.
    pub fn absent() -> Sighting {
        Sighting::default()
    }

    /// One under its own name, in this state.
    pub fn own(state: RunState) -> Sighting {
        Sighting { own: copy(state), ..absent() }
    }

    /// One that runs.
    pub fn running() -> Sighting {
        own(RunState::Running)
    }

    /// One that arrives.
    pub fn incoming() -> Sighting {
        Sighting { incoming: copy(RunState::Paused), ..absent() }
    }

    /// One that was given away.
    pub fn migrated_away() -> Sighting {
        Sighting { migrated_away: copy(RunState::Frozen), ..absent() }
    }
}

/// All of it.
#[derive(Debug)]
pub struct World {
    /// What is handed down.
    pub here: Here,
    /// Its toolstack.
    pub xl: Rc<toolstack::Fake>,
    /// Its cluster manager.
    pub cluster: Rc<cluster::Fake>,
    /// The other nodes.
    pub peers: Peers,
    folder: tempfile::TempDir,
    _jumps: jump::Jumps,
}

/// A tool of the host below `root`: a script of the shell.
pub fn plant(root: &std::path::Path, name: &str, script: &str) {
    let folder = root.join("usr/sbin");
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join(name);
    // What is open for writing in a child that another test is just beginning cannot be run.
    let _nobody_forks = crate::small_file::FORKING.write();
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

impl World {
    /// One whose toolstack lists these, one after the other.
    pub fn listing(sightings: impl IntoIterator<Item = Sighting>) -> Self {
        Self::of(toolstack::Fake::showing(sightings.into_iter().map(Ok)))
    }

    /// The same, where a daemon of the toolstack attends the domain.
    pub fn attended(sightings: impl IntoIterator<Item = Sighting>) -> Self {
        let xl = toolstack::Fake::showing(sightings.into_iter().map(Ok));
        Self::of(toolstack::Fake { attended: true, ..xl })
    }

    /// One with this toolstack.
    pub fn of(xl: toolstack::Fake) -> Self {
        let (folder, xl) = (tempfile::tempdir().unwrap(), Rc::new(xl));
        let (cluster, peers) = (Rc::new(cluster::Fake::default()), Peers::default());
        let here = Here::of(
            &Root::new(folder.path()),
            Rc::clone(&xl) as Rc<dyn crate::toolstack::Toolstack>,
            Rc::clone(&cluster) as Rc<dyn crate::cluster::ClusterView>,
            Arc::new(peers.clone()),
        );
        Self { here, xl, cluster, peers, folder, _jumps: jump::begin() }
    }

    /// Puts these events on record.
    pub fn record(&self, events: impl IntoIterator<Item = Event>) {
        for event in events {
            self.here.store.advance(&x0(), "test", event).unwrap();
        }
    }

    /// It is on offer here.
    pub fn is_offered(&self, offer: &Offer) {
        self.record([Event::OfferMade(offer.clone()), Event::OfferRecorded(recorded(offer))]);
        self.cluster.entries.are(Ok(Entries { offers: vec![offer.clone()], ..Entries::default() }));
    }

    /// It is being fetched from here by n2.
    pub fn is_sending(&self) {
        self.is_offered(&offer_of("n1"));
        self.record([Event::Claimed(to_n2())]);
    }

    /// The same, and n2 has all of it.
    pub fn is_settling(&self) {
        self.is_sending();
        self.record([Event::ReadySeen(Suspended::by_hypervisor(true).unwrap())]);
    }

    /// It is being received here from n2.
    pub fn is_receiving(&self) {
        self.record([Event::StreamOpened(from_n2())]);
    }

    /// The same, and it was given to this node.
    pub fn is_arriving(&self) {
        self.is_receiving();
        self.record([Event::GoArrived(SourceQuiet::observe(GO).unwrap())]);
    }

    /// The cluster pushes it here from n2, as a resource of ours.
    pub fn is_pushed_here(&self) {
        let push = Push { domain: x0(), transfer: from_n2(), made_at: UnixTime::now() };
        self.cluster.entries.are(Ok(Entries { pushes: vec![push], ..Entries::default() }));
        let resource = "x0".to_owned();
        let managed = crate::cluster::managed::ManagedDomain { resource, ..Default::default() };
        self.cluster.domains.are(Ok(vec![managed]));
    }

    /// What the record says.
    pub fn phase(&self) -> Phase {
        self.here.store.load(&x0()).unwrap().state
    }

    /// An executable of this host: a script.
    pub fn plant(&self, name: &str, script: &str) {
        plant(self.folder.path(), name, script);
    }

    /// A file of this host.
    pub fn file(&self, name: &str, text: &str) -> std::path::PathBuf {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    /// What was done with the toolstack, its listings left out.
    pub fn deeds(&self) -> Vec<String> {
        let calls = self.xl.calls.borrow();
        calls.iter().filter(|call| !call.starts_with("list ")).cloned().collect()
    }

    /// What the cluster was told.
    pub fn told(&self) -> Vec<String> {
        self.cluster.told.borrow().clone()
    }
}

/// Evidence that the offer was recorded.
pub fn recorded(offer: &Offer) -> Recorded {
    let there = Entries { offers: vec![offer.clone()], ..Entries::default() };
    Recorded::observe(&Entry::Offer(offer.clone()), &there).unwrap()
}
