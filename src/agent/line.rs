//! Waiting in line for a slot, here and at the far end of a move: see [`crate::transfer::slots`].

use super::LOOK_AGAIN;
use super::worker::{Order, Outcome, answer_by, busy, failed, seconds};
use crate::clock::{Clock, Deadline, SystemClock};
use crate::cluster::detect;
use crate::domain::DomainName;
use crate::host::Root;
use crate::transfer::progress::{Direction, Waits};
use crate::transfer::slots::{Place, Slots};
use crate::transport::Connection;
use crate::transport::message::{Answer, Request, SLOTS};

/// A slot of this host, waited for in line. The cluster is asked for the priority only if there is a line.
pub(super) fn slot_here(
    root: &Root,
    domain: &DomainName,
    resource: &str,
    direction: Direction,
    deadline: Deadline,
) -> Result<Place, String> {
    let slots = Slots::of(root, direction);
    slots.take_free(domain).or_else(|_| {
        slots.wait(domain, priority(root, resource), deadline, |_| {
            SystemClock.pass(LOOK_AGAIN);
            Ok(())
        })
    })
}

/// The resource's priority in the cluster; 0 where it has none or that cannot be told.
fn priority(root: &Root, resource: &str) -> i64 {
    let domains = detect(root).domains().unwrap_or_default();
    domains.into_iter().find(|managed| managed.resource == resource).map_or(0, |managed| managed.priority)
}

/// A slot of the far end's host, waited for in line there.
pub(super) fn far_slot(
    root: &Root,
    order: &Order,
    connection: &mut Connection,
    direction: Direction,
    deadline: Deadline,
) -> Result<(), Outcome> {
    let domain = &order.domain;
    if !connection.can(SLOTS) {
        let (peer, version) = (connection.peer(), connection.peer_version());
        log::warn!("domain={domain} waits for no slot of {peer}: xen-handoff {version} there keeps none");
        return Ok(());
    }
    let request =
        |priority| Request::Slot { domain: domain.clone(), direction, priority, limit: seconds(deadline) };
    let mut answer = connection.ask(&request(None), answer_by(order)).map_err(failed)?;
    if matches!(answer, Answer::Waiting { .. }) {
        answer = connection
            .ask(&request(Some(priority(root, &order.resource))), answer_by(order))
            .map_err(failed)?;
    }
    let mut waits: Option<Waits> = None;
    let here = direction.at_the_other_end();
    loop {
        match answer {
            Answer::Done => return Ok(()),
            Answer::Waiting { why } => waits
                .get_or_insert_with(|| Waits::begin(root, domain, here))
                .tell(&format!("{why} of {}", connection.peer())),
            Answer::Refused { reason, stands } => {
                return Err(match stands {
                    None => busy(format!("{}: {reason}", connection.peer())),
                    Some(stands) => Outcome::Refused { reason, stands: Some(Box::new(stands)) },
                });
            }
            other => return Err(failed(format!("{} answers {other:?}", connection.peer()))),
        }
        answer = connection.next_answer(answer_by(order)).map_err(failed)?;
    }
}
