//! `migrate_to`: the cluster's own migration, pushed from here through the same transport as a claim; or the toolstack's own, where
//! it moves domains by itself ([`crate::worker::carry`]).

use std::collections::BTreeSet;

use super::context::Agent;
use crate::clock::UnixTime;
use crate::domain::Presence;
use crate::handoff::ledger::Entry;
use crate::handoff::{Epoch, Push, Transfer};
use crate::host::NodeName;
use crate::ocf::exit_code::{ExitCode, Failure};
use crate::worker::Outcome;

impl Agent {
    /// Sends the domain to the node that the cluster names.
    ///
    /// # Errors
    /// `Generic` if it did not get there; the reason says where it runs.
    pub(super) fn migrate_to(&self) -> Result<ExitCode, Failure> {
        let Some(target) = self.environment.migrate_target.clone() else {
            return Err(self
                .failure(ExitCode::Arguments, "the cluster names no migration target; nothing was changed"));
        };
        self.wait_for_transfer(self.deadline)?;
        let presence = self.presence();
        if !matches!(presence, Presence::Running(_)) {
            return Err(self.generic(format!("it is {presence} and cannot be migrated; nothing was changed")));
        }
        let phase = self.phase()?;
        if phase.offer().is_some() {
            return Err(self.generic(format!("it is on offer ({phase}); nothing was changed")));
        }
        if self.parameters.detach_pci {
            self.devices_to_detach().map_err(|why| self.generic(format!("{why}; it still runs here")))?;
        }
        self.may_be_pushed().map_err(|why| self.generic(format!("{why}; it still runs here")))?;
        let peer = self
            .transport
            .address(&target)
            .map_err(|error| self.generic(format!("{error}; it still runs here")))?;
        let begun_at = UnixTime::now();
        if !begun_at.is_possible() {
            let now = begun_at.minute();
            return Err(self.generic(format!("the clock of this host says {now}; it still runs here")));
        }
        let transfer = Transfer { epoch: Epoch::begin(), source: self.node.clone(), target: target.clone() };
        let push = Push { domain: self.domain.clone(), transfer: transfer.clone(), made_at: begun_at };
        self.announce(push).map_err(|why| self.generic(format!("{why}; it still runs here")))?;
        log::info!("domain={} node={} migrating to {target}", self.domain, self.node);
        match self.employ(self.pushing_worker(), transfer, peer, begun_at, self.deadline, None) {
            Outcome::Moved => {
                log::info!("domain={} node={} migrate_to: runs on {target}", self.domain, self.node);
                Ok(ExitCode::Success)
            }
            Outcome::Refused { reason, .. } => {
                Err(self.generic(format!("{target} refuses it: {reason}; it still runs here")))
            }
            Outcome::Failed { reason } | Outcome::Broken { reason } | Outcome::Busy { reason } => {
                Err(self.generic(format!("migration to {target} failed: {reason}; it still runs here")))
            }
            Outcome::Undecided { reason } => Err(self.generic(format!(
                "migration to {target} has no clear end: {reason}; look at both ends before starting it anywhere"
            ))),
        }
    }

    /// Writes to where the survivors can read it that from now on a copy may be on either end.
    fn announce(&self, push: Push) -> Result<(), String> {
        let unknown = |error: &dyn std::fmt::Display| {
            format!("could not find out which other nodes there are: {error}")
        };
        let target = push.transfer.target.clone();
        let peers = self.cluster.peers(&self.node, &self.resource).map_err(|error| unknown(&error))?;
        let online = peers.into_iter().filter(|peer| peer.online).map(|peer| peer.node);
        // Under this node's own name too: it may be the one whose memory of it lasts.
        let survivors: BTreeSet<NodeName> = online.chain([target, self.node.clone()]).collect();
        let survivors: Vec<NodeName> = survivors.into_iter().collect();
        self.cluster.ledger().write(&Entry::Push(push), &survivors).map_err(|error| error.to_string())
    }
}
