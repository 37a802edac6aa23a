//! What an open push has come to, where the toolstack moves domains by itself.

use super::context::Agent;
use crate::clock::{Clock, LOOK_AGAIN, SystemClock};
use crate::domain::Presence;
use crate::handoff::Push;
use crate::host::NodeName;
use crate::ocf::exit_code::Failure;
use crate::worker::carry::End;

impl Agent {
    /// For a stop, where the toolstack moves domains by itself: what an open push to or from here has come to, before anything is ended
    /// here and before anything is said. A copy that is arriving must not be destroyed, and one that may yet arrive is not gone.
    ///
    /// # Errors
    /// If that is not known in time; nothing was changed.
    pub(super) fn account_for_carries(&self) -> Result<(), Failure> {
        let entries = match self.cluster.ledger().entries(&self.domain) {
            Ok(entries) => entries,
            Err(why) => {
                // Without a ledger there is no push of ours; a copy that is on its way in could still be somebody's.
                log::warn!("domain={} open migrations could not be found out: {why}", self.domain);
                return match self.presence() {
                    Presence::Paused(_) => Err(self.generic(format!(
                        "it is paused here and may be arriving: open migrations could not be found out ({why}); nothing was changed"
                    ))),
                    _ => Ok(()),
                };
            }
        };
        for Push { transfer, .. } in entries.pushes {
            let other = match (transfer.source == self.node, transfer.target == self.node) {
                (true, false) => &transfer.target,
                (false, true) => &transfer.source,
                _ => continue,
            };
            let mut seen = String::new();
            let settled = SystemClock.wait_until(self.deadline, LOOK_AGAIN, || {
                let here = End::here(self.toolstack.as_ref(), &self.domain);
                let there = self.end_at(other);
                let now = format!("it is {} here and {} on {other}", here.presence, there.presence);
                if now != seen {
                    log::info!("domain={} open migration: {now}", self.domain);
                    seen = now;
                }
                if here.is_settled() && self.is_lost(other) {
                    // What has become of the copy over there, a start will have to prove.
                    return Some(false);
                }
                let both =
                    matches!((&here.presence, &there.presence), (Presence::Running(_), Presence::Running(_)));
                (here.is_settled() && there.is_settled() && !both).then(|| there.presence == Presence::Absent)
            });
            match settled {
                // What may still be over there stays in the ledger, so that a start asks for it.
                Some(false) => {}
                Some(true) => self.cluster.ledger().erase(&self.domain, transfer.epoch),
                None => {
                    return Err(self.generic(format!(
                        "a migration from {} to {} has no clear end: {seen}; nothing was changed: look at both ends",
                        transfer.source, transfer.target
                    )));
                }
            }
        }
        Ok(())
    }

    /// It runs here, come by the toolstack's own migration: what the ledger says of it has been told.
    pub(super) fn has_arrived(&self) {
        for Push { transfer, .. } in self.cluster.ledger().entries(&self.domain).unwrap_or_default().pushes {
            if transfer.target == self.node {
                self.cluster.ledger().erase(&self.domain, transfer.epoch);
            }
        }
    }

    fn end_at(&self, node: &NodeName) -> End {
        let limit = self.deadline.within(self.parameters.peer_timeout);
        let stands = self.transport.one(node, limit, |node| node.presence(&self.domain, limit));
        End::said(stands.map(|stands| stands.presence).map_err(|error| error.to_string()))
    }

    /// Whether the cluster has lost that node.
    fn is_lost(&self, node: &NodeName) -> bool {
        let peers = self.cluster.peers(&self.node, &self.resource).unwrap_or_default();
        peers.iter().any(|peer| peer.node == *node && !peer.online)
    }
}
