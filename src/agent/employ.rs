//! Has a worker make the move that an action needs.

use std::process::{Child, ChildStdout};

use super::context::Agent;
use crate::address::Address;
use crate::clock::{Deadline, UnixTime};
use crate::command;
use crate::descriptor::bequeath;
use crate::handoff::{Phase, SourcePhase, TargetPhase, Transfer};
use crate::moves::slots::Place;
use crate::wire::read_line;
use crate::worker::{LEEWAY, Order, Outcome, Word, failed};

impl Agent {
    /// Has a worker do it, which breaks off what has not come to the point of no return just before `until`,
    /// and waits for its word as long as this action may.
    pub(super) fn employ(
        &self,
        job: &str,
        transfer: Transfer,
        peer: Address,
        begun_at: UnixTime,
        until: Deadline,
        slot: Option<&Place>,
    ) -> Outcome {
        let limit = until.left().saturating_sub(LEEWAY).as_secs().max(1);
        let back = match self.transport.address(&self.node) {
            Ok(back) => back,
            Err(error) => return failed(error),
        };
        let (terms, resource) = (self.parameters.terms, self.resource.clone());
        let room = self.parameters.share_memory.then_some(self.parameters.dom0_keeps_mib);
        let (domain, detach) = (self.domain.clone(), self.parameters.detach_pci);
        let order = Order { domain, transfer, peer, back, begun_at, limit, terms, room, resource, detach };
        let text = match serde_json::to_string(&order) {
            Ok(text) => text,
            Err(error) => return failed(error),
        };
        // The lock is the worker's from its first moment: there is none in which it works unseen.
        let (mut worker, stdout) = match self.start_worker(job, &text, slot) {
            Ok(worker) => worker,
            Err(error) => return failed(format!("{error:#}")),
        };
        let word = match read_line(&stdout.into(), self.deadline) {
            Ok(Some(line)) => serde_json::from_str(&line).map_or_else(
                |error| Outcome::Undecided {
                    reason: format!("the answer of the process of the move could not be read: {error}"),
                },
                |word: Word| word.end,
            ),
            Ok(None) => {
                Outcome::Undecided { reason: "the process of the move ended without an answer".to_owned() }
            }
            Err(error) => return Outcome::Undecided { reason: self.why_no_word(&error) },
        };
        reap(&mut worker);
        word
    }

    /// What is to be said when the worker's word did not come. Only its own record says how far the transfer
    /// is.
    fn why_no_word(&self, error: &std::io::Error) -> String {
        if error.kind() != std::io::ErrorKind::TimedOut {
            return format!("the answer of the process of the move could not be read: {error}");
        }
        match self.here.store.load(&self.domain).map(|record| record.state) {
            Ok(Phase::Source(SourcePhase::Settling { .. }) | Phase::Target(TargetPhase::Arriving { .. })) => {
                "the transfer is past the point of no return and goes on without this action".to_owned()
            }
            Ok(phase) => {
                format!(
                    "the process of the move has not ended in time ({phase}) and goes on without this action"
                )
            }
            Err(error) => {
                format!(
                    "the process of the move has not ended in time and goes on without this action; {error}"
                )
            }
        }
    }

    fn start_worker(
        &self,
        job: &str,
        order: &str,
        slot: Option<&Place>,
    ) -> anyhow::Result<(Child, ChildStdout)> {
        let lock = self
            .here
            .store
            .begin_transfer(&self.domain)?
            .ok_or_else(|| anyhow::anyhow!("a transfer of this domain is under way here"))?;
        let (_inherited, number) = bequeath(&lock)?;
        let number = number.to_string();
        let slot = slot.map(|slot| bequeath(&slot.file)).transpose()?;
        let mut args =
            vec![job.to_owned(), "--order".to_owned(), order.to_owned(), "--lock".to_owned(), number];
        if let Some((_inherited, number)) = &slot {
            args.extend(["--slot".to_owned(), number.to_string()]);
        }
        Ok(command::detach(self.root(), &args)?)
    }
}

/// Its word was its last act.
fn reap(worker: &mut Child) {
    if let Err(error) = worker.wait() {
        log::debug!("worker: {error}");
    }
}
