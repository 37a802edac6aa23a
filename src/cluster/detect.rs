//! Which cluster manager this node has.

use std::rc::Rc;
use std::time::Duration;

use super::heartbeat::Heartbeat;
use super::view::{ClusterError, ClusterView, Destination};
use super::{daemons, none, pacemaker, peer_files};
use crate::address::Reach;
use crate::handoff::evidence::Outlook;
use crate::host::Root;

/// The cluster manager of this node: the one that is installed, the one that runs (or has run since the host
/// came up) where both are, or none.
pub fn detect(root: &Root) -> Rc<dyn ClusterView> {
    detect_reached(root, &Reach::default())
}

/// The same for whoever knows how the other nodes are reached, which matters where the ledger lies on them.
pub fn detect_reached(root: &Root, reach: &Reach) -> Rc<dyn ClusterView> {
    let heartbeat = Heartbeat::is_set_up(root);
    if pacemaker::Pacemaker::is_installed(root) {
        let runs_heartbeat = || Heartbeat::is_running() || peer_files::PeerFiles::new(root).is_kept();
        if heartbeat && !daemons::pacemakerd_lives() && runs_heartbeat() {
            return Rc::new(Heartbeat::new(root, reach));
        }
        return Rc::new(pacemaker::Pacemaker::new(root));
    }
    if heartbeat { Rc::new(Heartbeat::new(root, reach)) } else { Rc::new(none::NoCluster) }
}

/// Limit of a question to the scheduler.
const OUTLOOK_LIMIT: Duration = Duration::from_secs(30);

/// Who may still start this resource, as far as this node's cluster manager knows.
pub fn outlook(cluster: &dyn ClusterView, resource: &str) -> Outlook {
    match cluster.plan_as_it_is(resource, OUTLOOK_LIMIT) {
        Ok(Destination::Nowhere) => Outlook::Nobody,
        Ok(Destination::Node(node)) => Outlook::Somebody { node },
        Err(ClusterError::NotRunning) => Outlook::NoManager,
        Err(error) => Outlook::Unknown { why: error.to_string() },
    }
}
