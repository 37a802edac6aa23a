//! `autoset_utilization_cpu`, `autoset_utilization_hv_memory`: how large the domain is, told to the cluster's
//! scheduler.
//!
//! A change of the cluster's configuration aborts the transition that is going on. So the value is only
//! written when the domain's size differs from what this node has told last, and from what the cluster has.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::context::Agent;
use crate::foreign::Foreign;
use crate::small_file;
use crate::toolstack::{LIST_LIMIT, Size};

/// What this node has told last.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Told {
    cpu: Option<u64>,
    hv_memory: Option<u64>,
}

impl Agent {
    /// Tells the cluster, if it does not know. Nothing of it can fail a monitor.
    pub(super) fn tell_utilization(&self) {
        let (cpu, hv_memory) = (self.parameters.autoset_cpu, self.parameters.autoset_memory);
        if !cpu && !hv_memory {
            return;
        }
        let Size { processors, memory_mib } = match self.toolstack.size(&self.domain, LIST_LIMIT) {
            Ok(size) => size,
            Err(error) => {
                return log::info!("domain={} its size could not be found out: {error}", self.domain);
            }
        };
        let now = Told { cpu: cpu.then_some(processors), hv_memory: hv_memory.then_some(memory_mib) };
        let path = self.told_at();
        let before: Told = small_file::kept_json(&path).ok().flatten().unwrap_or_default();
        if now == before {
            return;
        }
        for (attribute, value) in [("cpu", now.cpu), ("hv_memory", now.hv_memory)] {
            let Some(value) = value else { continue };
            if let Err(error) = self.cluster.set_utilization(&self.resource, attribute, value) {
                return log::warn!(
                    "domain={} utilization {attribute}={value} was not written: {error}",
                    self.domain
                );
            }
        }
        if let Err(error) = small_file::keep_json(&path, &now) {
            log::debug!("{}: {error}", path.display());
        }
    }

    fn told_at(&self) -> PathBuf {
        self.root().state_folder().join(format!("{}.utilization", self.resource.replace('/', "_")))
    }
}

/// What is read here of others, for `make fuzz`.
pub const FOREIGN: &[Foreign] =
    &[Foreign { name: "NAME.utilization", read: |text| drop(serde_json::from_str::<Told>(text)) }];

#[cfg(test)]
mod tests {
    use super::super::Action;
    use super::super::fake::agent;
    use super::*;
    use crate::here::fake::{World, seen};
    use crate::small_file::damage::rot;
    use crate::toolstack::fake::Fake;

    #[test]
    fn a_note_of_what_was_told_that_rots_is_no_note_and_keeps_nothing_from_the_cluster() {
        let size = Some(Size { processors: 2, memory_mib: 512 });
        let world = World::of(Fake { size, ..Fake::showing([Ok(seen::running())]) });
        let both = [("autoset_utilization_cpu", "true"), ("autoset_utilization_hv_memory", "true")];
        let agent = agent(&world, Action::Monitor, &both);
        let tells = || {
            world.cluster.told.borrow_mut().clear();
            agent.tell_utilization();
            world.told()
        };
        let all = ["utilization x0 cpu=2", "utilization x0 hv_memory=512"];
        assert_eq!(tells(), all);
        assert_eq!(tells(), [""; 0]);
        let damaged = rot(&agent.told_at(), || {
            let told = tells();
            told.is_empty() || told == all
        });
        assert!(damaged > 500, "{damaged}");
        // No damage to the note of another size makes it this one.
        small_file::keep_json(&agent.told_at(), &Told { cpu: Some(2), hv_memory: Some(513) }).unwrap();
        rot(&agent.told_at(), || tells() == all);
    }
}
