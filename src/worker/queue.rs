//! Waiting in line for a slot, here and at the far end of a move: see [`crate::moves::slots`].

use super::order::{Order, Outcome, answer_by, busy, failed, seconds};
use crate::clock::{Clock, Deadline, LOOK_AGAIN, SystemClock};
use crate::domain::DomainName;
use crate::here::Here;
use crate::moves::progress::{Direction, Waits};
use crate::moves::slots::{Place, Slots};
use crate::wire::Connection;
use crate::wire::client::{Turn, Unanswered};
use crate::wire::message::SLOTS;

/// A slot of this host, waited for in line. The cluster is asked for the priority only if there is a line.
pub fn slot_here(
    here: &Here,
    domain: &DomainName,
    resource: &str,
    direction: Direction,
    deadline: Deadline,
) -> Result<Place, String> {
    let slots = Slots::of(&here.root, direction);
    slots.take_free(domain).or_else(|_| {
        slots.wait(domain, priority(here, resource), deadline, |_| {
            SystemClock.pass(LOOK_AGAIN);
            Ok(())
        })
    })
}

/// The resource's priority in the cluster; 0 where it has none or that is not known.
fn priority(here: &Here, resource: &str) -> i64 {
    let domains = here.cluster().domains().unwrap_or_default();
    domains.into_iter().find(|managed| managed.resource == resource).map_or(0, |managed| managed.priority)
}

/// A slot of the far end's host, waited for in line there.
pub(super) fn far_slot(
    here: &Here,
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
    let ask = |connection: &mut Connection, priority| {
        connection.slot(domain, direction, priority, seconds(deadline), answer_by(order))
    };
    let mut turn = ask(connection, None);
    if matches!(turn, Ok(Turn::Waiting { .. })) {
        turn = ask(connection, Some(priority(here, &order.resource)));
    }
    let mut waits: Option<Waits> = None;
    let ours = direction.at_the_other_end();
    loop {
        match turn {
            Ok(Turn::Ours) => return Ok(()),
            Ok(Turn::Waiting { why }) => waits
                .get_or_insert_with(|| Waits::begin(&here.root, domain, ours))
                .tell(&format!("{why} of {}", connection.peer())),
            Err(Unanswered::Refused { reason, stands: None }) => {
                return Err(busy(format!("{}: {reason}", connection.peer())));
            }
            Err(Unanswered::Refused { reason, stands }) => return Err(Outcome::Refused { reason, stands }),
            Err(error) => return Err(failed(error.by(connection.peer()))),
        }
        turn = connection.next_turn(answer_by(order));
    }
}
