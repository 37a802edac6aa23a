//! Accounting for a copy that the cluster's own migration sent away: no stop and no start says anything
//! before it is known what became of it.
//!
//! Pacemaker 2.1.5 can forget the target of a migration that was interrupted after `migrate_to`: it then
//! stops and starts the domain on the source alone, and a second copy goes on over there.

use super::context::{Agent, TRY_AGAIN};
use crate::clock::{Clock, SystemClock};
use crate::cluster::Destination;
use crate::domain::Presence;
use crate::handoff::{Event, Push, Transfer};
use crate::obstacle::Obstacle;
use crate::ocf::exit_code::Failure;
use crate::wire::client::{Stands, Unanswered};

impl Agent {
    /// Whether a paused copy here may be let run: by the evidence that a boot takes, and no less.
    ///
    /// # Errors
    /// Which node may be running it.
    pub(super) fn nobody_else_runs_it(&self) -> Result<(), String> {
        let known = self.known_peers()?;
        // Before the nodes themselves: an entry is in it before anything moves.
        let ledger = self.ledger();
        let peers = self.ask(&known, Vec::new(), self.long_enough().left());
        self.weigh(&ledger, &peers, None).map(drop).map_err(|doubt| doubt.to_string())
    }

    /// Accounts for the copy that went to `transfer.target`, for a stop that finds none here. What still runs
    /// over there stays on record, so that a start here asks for it.
    ///
    /// # Errors
    /// If the cluster does not plan to have it there and that node does not answer.
    pub(super) fn account_for_left(&self, transfer: &Transfer) -> Result<(), Failure> {
        let target = &transfer.target;
        let planned = self.cluster.plan_after_stop(&self.resource, &self.node, self.deadline.left() / 3);
        if planned.is_ok_and(|plan| plan.destination == Destination::Node(target.clone())) {
            // The stop that follows every migration that went well. The ledger still says where it went,
            // until the target has said that it runs there.
            return self.accounted();
        }
        match self.ask_the_target(transfer)? {
            None => self.accounted_and_gone(transfer),
            Some(Stands { presence: Presence::Absent, phase, .. }) if !phase.is_in_transfer() => {
                self.accounted_and_gone(transfer)
            }
            Some(Stands { presence, .. }) => {
                log::warn!(
                    "domain={} was sent to {target}, is {presence} there, and the cluster does not plan to have it there; \
                     it will not be started here before that is settled",
                    self.domain
                );
                Ok(())
            }
        }
    }

    /// What the target says of the domain; `None` if it was fenced since. A stop that fails has this node
    /// fenced, so a connection that is lost, or an answer that comes late, is not the last word.
    ///
    /// # Errors
    /// If it stays silent, or answers something else.
    fn ask_the_target(&self, transfer: &Transfer) -> Result<Option<Stands>, Failure> {
        let target = &transfer.target;
        let enough = self.long_enough();
        let mut obstacle = Obstacle::default();
        let answer = SystemClock.wait_until(enough, TRY_AGAIN, || {
            match self.transport.one(target, enough, |node| node.presence(&self.domain, enough)) {
                Ok(stands) => Some(Ok(Some(stands))),
                Err(other @ (Unanswered::Refused { .. } | Unanswered::Other(_))) => {
                    Some(Err(other.to_string()))
                }
                Err(_) if self.was_lost_since(transfer) => Some(Ok(None)),
                Err(error) => {
                    obstacle.is(error.to_string(), |why| {
                        log::info!(
                            "domain={} could not find out yet what {target} has of it: {why}",
                            self.domain
                        );
                    });
                    None
                }
            }
        });
        answer.unwrap_or_else(|| Err(obstacle.to_string())).map_err(|why| self.unaccounted(transfer, &why))
    }

    /// Whether the target was fenced after the copy went there.
    fn was_lost_since(&self, transfer: &Transfer) -> bool {
        let fenced = self.cluster.fenced_and_away(&transfer.target, &self.node, &self.resource);
        fenced.is_some_and(|at| at > transfer.epoch.at())
    }

    fn accounted(&self) -> Result<(), Failure> {
        self.advance("stop", Event::LeftAccounted).map(drop).map_err(|error| self.generic(error))
    }

    fn accounted_and_gone(&self, transfer: &Transfer) -> Result<(), Failure> {
        self.accounted()?;
        self.cluster.ledger().erase(&self.domain, transfer.epoch);
        Ok(())
    }

    /// For a stop that finds none here while the ledger has a push to here: it shall not arrive any more. The
    /// migration that began it has failed, or the cluster would not stop it here; but its worker may still be
    /// on its way. True if there was any.
    ///
    /// # Errors
    /// If that cannot be put on record.
    pub(super) fn refuse_pushes(&self) -> Result<bool, Failure> {
        let Ok(entries) = self.cluster.ledger().entries(&self.domain) else { return Ok(false) };
        let to_here = |push: &&Push| push.transfer.target == self.node;
        let Some(newest) = entries.pushes.iter().filter(to_here).max_by_key(|push| push.transfer.epoch)
        else {
            return Ok(false);
        };
        let Transfer { source, epoch, .. } = &newest.transfer;
        log::info!(
            "domain={} the cluster stops it here: a migration from {source} that is still on its way is refused",
            self.domain
        );
        self.here.store.refuse(&self.domain, *epoch).map_err(|error| self.generic(error))?;
        Ok(true)
    }

    fn unaccounted(&self, transfer: &Transfer, why: &str) -> Failure {
        self.generic(format!(
            "it was sent to {} and may run there, which could not be found out: {why}; nothing was changed",
            transfer.target
        ))
    }
}
