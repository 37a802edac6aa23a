//! `prepare`: room for a domain that the cluster is sending here, and a look at the devices that it is to
//! get.

use super::caller::{Caller, refused};
use super::pushed::pushed_here;
use crate::domain::{DomainName, PciAddress};
use crate::node::devices::assignable;
use crate::node::memory::{Memory, Room};
use crate::wire::message::{Answer, Wanted};

/// What a pusher wants to find here.
pub(super) struct Asked {
    pub(super) domain: DomainName,
    pub(super) room: Option<Wanted>,
    pub(super) devices: Vec<PciAddress>,
    /// Seconds that making room may take.
    pub(super) limit: u64,
    /// Seconds until the domain must have come.
    pub(super) comes_in: u64,
}

/// Makes the room, and keeps it as long as the connection lasts.
pub(super) fn prepare(caller: &mut Caller<'_>, asked: &Asked) -> Answer {
    match made(caller, asked) {
        Ok(room) => {
            caller.room = room;
            Answer::Done
        }
        Err(why) => refused(why),
    }
}

fn made(caller: &Caller<'_>, asked: &Asked) -> Result<Option<Room>, String> {
    let pushed = pushed_here(caller, &asked.domain, None)?;
    assignable(&caller.here.root, &asked.devices)?;
    let [by, comes_by] = [asked.limit, asked.comes_in].map(|span| pushed.until(span));
    let Some(Wanted { mib, dom0_keeps_mib }) = asked.room else { return Ok(None) };
    let memory = Memory { host: caller.here, dom0_keeps_mib };
    let made = memory.make_room(&asked.domain, mib, by, comes_by).map(Some);
    made.map_err(|why| format!("there is not enough memory for it: {why}"))
}
