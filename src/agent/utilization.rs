//! `autoset_utilization_cpu`, `autoset_utilization_hv_memory`: how large the domain is, told to the cluster's scheduler.
//!
//! A change of the cluster's configuration aborts the transition that is going on. So the value is only written when the
//! domain's size differs from what this node has told last, and from what the cluster has.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Agent, LIST_LIMIT};
use crate::small_file;
use crate::toolstack::Size;

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
            Err(error) => return log::info!("domain={} its size cannot be told: {error}", self.domain),
        };
        let now = Told { cpu: cpu.then_some(processors), hv_memory: hv_memory.then_some(memory_mib) };
        let path = self.told_at();
        let before: Told = std::fs::read_to_string(&path)
            .ok()
            .and_then(|text| serde_json::from_str(&text).ok())
            .unwrap_or_default();
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
        let kept = serde_json::to_vec(&now).map_err(std::io::Error::from);
        if let Err(error) = kept.and_then(|text| small_file::replace(&path, &text)) {
            log::debug!("{}: {error}", path.display());
        }
    }

    fn told_at(&self) -> PathBuf {
        self.root().state_folder().join(format!("{}.utilization", self.resource.replace('/', "_")))
    }
}
