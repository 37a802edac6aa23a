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
