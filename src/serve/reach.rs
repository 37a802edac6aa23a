//! `reach`: can this node come back to the caller?

use std::time::Duration;

use super::caller::{Caller, refused};
use crate::address::Address;
use crate::clock::Deadline;
use crate::wire::message::Answer;
use crate::wire::ssh;

/// What ssh may take beyond its own limit for the connection.
const BEYOND: Duration = Duration::from_secs(5);

/// Dials `back`, and hangs up. `open`: what is open to there already is enough.
pub(super) fn reach(caller: &Caller<'_>, back: &Address, open: bool) -> Answer {
    let cluster = caller.here.cluster();
    if cluster.is_leaving() {
        return refused("this node is leaving the cluster too");
    }
    if !ssh::has_key(&caller.here.root) {
        return refused(format!("no key on {}", cluster.own_name()));
    }
    let deadline = Deadline::after(back.connect_timeout().saturating_add(BEYOND));
    let dial = caller.here.dial();
    match if open { dial.ask(back, deadline) } else { dial.dial(back, deadline) } {
        Ok(_) => Answer::Reached,
        Err(error) => refused(error),
    }
}
