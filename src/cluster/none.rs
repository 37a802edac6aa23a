//! No cluster manager: somebody tries the agent by hand, or `ocf-tester` does.

use std::time::Duration;

use super::managed::ManagedDomain;
use super::view::{ClusterError, ClusterView, Coming, Destination, Peer, Plan};
use crate::domain::DomainName;
use crate::handoff::Epoch;
use crate::handoff::ledger::{Entries, Entry, Ledger, LedgerError, NoAnswer};
use crate::host::NodeName;

/// Knows no plan, no peers, and keeps no ledger.
#[derive(Debug, Clone, Copy)]
pub struct NoCluster;

impl ClusterView for NoCluster {
    fn plan_after_stop(
        &self,
        _resource: &str,
        _node: &NodeName,
        _limit: Duration,
    ) -> Result<Plan, ClusterError> {
        Err(ClusterError::NotRunning)
    }

    fn plan_as_it_is(&self, _resource: &str, _limit: Duration) -> Result<Destination, ClusterError> {
        Err(ClusterError::NotRunning)
    }

    fn coming(&self, _limit: Duration) -> Result<Vec<Coming>, ClusterError> {
        Err(ClusterError::NotRunning)
    }

    fn peers(&self, _me: &NodeName, _resource: &str) -> Result<Vec<Peer>, ClusterError> {
        Err(ClusterError::NotRunning)
    }

    fn nodes(&self) -> Result<Vec<NodeName>, ClusterError> {
        Err(ClusterError::NotRunning)
    }

    fn check_planner(&self, _limit: Duration) -> Result<(), ClusterError> {
        Err(ClusterError::NotRunning)
    }

    fn fence(&self, _node: &NodeName, _limit: Duration) -> Result<(), ClusterError> {
        Err(ClusterError::NotRunning)
    }

    fn node_attribute(&self, _node: &NodeName, _name: &str) -> Result<Option<String>, ClusterError> {
        Err(ClusterError::NotRunning)
    }

    fn domains(&self) -> Result<Vec<ManagedDomain>, ClusterError> {
        Err(ClusterError::NotRunning)
    }

    fn ledger(&self) -> &dyn Ledger {
        self
    }
}

impl Ledger for NoCluster {
    fn write(&self, _entry: &Entry, _survivors: &[NodeName]) -> Result<(), LedgerError> {
        Err(LedgerError(ClusterError::NotRunning.to_string()))
    }

    fn entries(&self, _domain: &DomainName) -> Result<Entries, NoAnswer> {
        Err(NoAnswer::NoCluster)
    }

    fn age(&self) -> Result<Duration, NoAnswer> {
        Err(NoAnswer::NoCluster)
    }

    fn erase(&self, _domain: &DomainName, _epoch: Epoch) {}
}
