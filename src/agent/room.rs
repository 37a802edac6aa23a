//! `allow_mem_management`: what the actions have to do with [`crate::node::memory`].

use super::context::Agent;
use crate::clock::Deadline;
use crate::node::memory::{Memory, Room};
use crate::preflight::judge::needed_mib;

impl Agent {
    fn host_memory(&self) -> Option<Memory<'_>> {
        let dom0_keeps_mib = self.parameters.dom0_keeps_mib;
        // Refused where it is to begin; a monitor and a stop go on without.
        let shares = self.parameters.share_memory && self.movement().shares_memory();
        shares.then(|| Memory { host: self.here.host(), dom0_keeps_mib })
    }

    /// Makes room for the domain here; nothing where it is not asked for, or where nobody knows how much it
    /// needs.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) fn make_room(&self, deadline: Deadline) -> Result<Option<Room>, String> {
        let Some(memory) = self.host_memory() else { return Ok(None) };
        let Some(config) = self.configured().filter(|config| config.memory_mib > 0) else {
            log::warn!(
                "domain={} no memory is freed for it: how much it needs could not be found out",
                self.domain
            );
            return Ok(None);
        };
        let made = memory.make_room(&self.domain, needed_mib(config), deadline, self.deadline);
        made.map(Some).map_err(|why| format!("there is not enough memory for it: {why}"))
    }

    /// It runs here: from now on others may take of its memory, and it gets back what was taken while there
    /// is room.
    pub(super) fn share_memory(&self) {
        let Some(memory) = self.host_memory() else { return };
        // Reading the file may cost a process, and a monitor has none to spare: once is enough.
        let half = || {
            let unknown = !memory.takes_part(&self.domain);
            unknown
                .then(|| self.configured().map(|config| config.memory_mib / 2))
                .flatten()
                .filter(|half| *half > 0)
        };
        if let Some(floor_mib) = self.parameters.memory_floor_mib.or_else(half) {
            memory.consent(&self.domain, floor_mib);
        }
        if memory.is_missing_some(&self.domain) {
            memory.give_back();
        }
    }

    /// It has gone from here: what it had is for those who miss some.
    pub(super) fn leave_memory(&self) {
        let Some(memory) = self.host_memory() else { return };
        memory.forget(&self.domain);
        memory.give_back();
    }
}

#[cfg(test)]
mod tests {
    use crate::agent::Action;
    use crate::agent::fake::agent;
    use crate::here::fake::{World, seen};
    use crate::toolstack::Kind;
    use crate::toolstack::fake::Fake;

    #[test]
    fn memory_is_shared_where_that_is_asked_for_and_the_toolstack_can() {
        for (kind, asked, shares) in
            [(Kind::Xl, "true", true), (Kind::Xl, "false", false), (Kind::Xm, "true", false)]
        {
            let world = World::of(Fake { kind: Some(kind), ..Fake::showing([Ok(seen::running())]) });
            let agent = agent(&world, Action::Monitor, &[("allow_mem_management", asked)]);
            assert_eq!(agent.host_memory().is_some(), shares, "{kind}, {asked}");
        }
    }
}
