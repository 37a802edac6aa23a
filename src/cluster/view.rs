//! What the agent asks a cluster manager, whichever it is.

use std::fmt;
use std::time::Duration;

use super::fencing::Fencing;
use super::graph::Loss;
use super::managed::ManagedDomain;
use crate::clock::UnixTime;
use crate::command::CommandError;
use crate::domain::DomainName;
use crate::handoff::Effect;
use crate::handoff::ledger::Ledger;
use crate::host::NodeName;

/// Why the cluster manager gave no usable answer.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// Its tool is missing, hung or failed.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// Its answer cannot be read.
    #[error("cannot read what {tool} says: {what}")]
    Unreadable {
        /// Which tool.
        tool: &'static str,
        /// What is wrong.
        what: String,
    },
    /// No cluster manager runs on this node.
    #[error("no cluster manager runs on this node")]
    NotRunning,
}

/// Where the cluster will have the resource once this stop has succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// On this node.
    Node(NodeName),
    /// Nowhere: disabled, deleted, no place left, no quorum.
    Nowhere,
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(node) => write!(f, "{node}"),
            Self::Nowhere => f.write_str("nowhere"),
        }
    }
}

/// What the cluster's own scheduler says about a stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Where the resource ends up.
    pub destination: Destination,
    /// What the resource depends on and that is stopped, demoted or moved away here by the same plan: the
    /// cluster would take it away under a running guest.
    pub losing: Vec<Loss>,
    /// Why the guest counts as failed here, if it does: the plan is a recovery then.
    pub failed: Option<String>,
    /// The other nodes that are online.
    pub survivors: Vec<NodeName>,
    /// How long the cluster gives its start, where that is known.
    pub start_takes: Option<Duration>,
}

/// Another node of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its name.
    pub node: NodeName,
    /// Whether it is a member right now.
    pub online: bool,
    /// When the cluster last fenced it with success, if it has not come back since.
    pub fenced_at: Option<UnixTime>,
    /// Whether the cluster's history says that the resource is not there.
    pub cleared: bool,
    /// Whether it was lost: no member any more, and it did not leave in order. The cluster fences such a node
    /// as soon as the actions that run have ended.
    pub lost: bool,
}

/// A domain that is about to leave where it runs, or to stop there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coming {
    /// Which.
    pub managed: ManagedDomain,
    /// Where it runs.
    pub from: NodeName,
    /// Where it starts then, if anywhere; perhaps where it is.
    pub to: Option<NodeName>,
    /// What becomes of it.
    pub fate: Fate,
    /// Why it does not move alive; empty where it does.
    pub because: String,
}

/// What becomes of it, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// Shut down, and started nowhere.
    Stops,
    /// Started elsewhere, once the node that it runs on has been fenced.
    IsFenced,
    /// Shut down and booted.
    Reboots,
    /// Moved; as far as the plan can say, alive.
    Moves,
}

/// A cluster manager.
pub trait ClusterView: fmt::Debug {
    /// Where `resource` ends up if its stop on `node` succeeds now.
    ///
    /// # Errors
    /// Whenever that is not known: then the plan is *unknown*, and a stop must be an ordinary one.
    fn plan_after_stop(&self, resource: &str, node: &NodeName, limit: Duration)
    -> Result<Plan, ClusterError>;

    /// Where `resource` ends up as things are, its last stop having succeeded: *nowhere* only if every
    /// configured node is accounted for, as a member, as fenced, or as one that left in order.
    ///
    /// # Errors
    /// Whenever that could not be found out; [`ClusterError::NotRunning`] if no cluster manager runs on this
    /// node.
    fn plan_as_it_is(&self, _resource: &str, _limit: Duration) -> Result<Destination, ClusterError> {
        let what = "it does not plan".to_owned();
        Err(ClusterError::Unreadable { tool: "the cluster manager", what })
    }

    /// The domains of this agent that it is about to take away from where they run, as things are. A manager
    /// that plans nothing is about to do nothing that it could tell.
    ///
    /// # Errors
    /// Whenever that could not be found out.
    fn coming(&self, _limit: Duration) -> Result<Vec<Coming>, ClusterError> {
        Ok(Vec::new())
    }

    /// Every configured node but `me`, and what the cluster knows of `resource` there.
    ///
    /// # Errors
    /// [`ClusterError::NotRunning`] if there is no cluster here at all.
    fn peers(&self, me: &NodeName, resource: &str) -> Result<Vec<Peer>, ClusterError>;

    /// The names of all nodes that can run a domain, this one and those that are not members just now
    /// included.
    ///
    /// # Errors
    /// [`ClusterError::NotRunning`] if there is no cluster here at all.
    fn nodes(&self) -> Result<Vec<NodeName>, ClusterError>;

    /// Whether it can say what it plans, of whatever resource.
    ///
    /// # Errors
    /// Why it cannot: [`ClusterError::NotRunning`] if no cluster manager runs on this node.
    fn check_planner(&self, limit: Duration) -> Result<(), ClusterError>;

    /// Has the cluster fence `node`. That it says to have done so is no proof: [`Self::peers`] tells.
    ///
    /// # Errors
    /// If it did not, within `limit`.
    fn fence(&self, node: &NodeName, limit: Duration) -> Result<(), ClusterError>;

    /// What it has lost nodes switched off with.
    ///
    /// # Errors
    /// If that is not known.
    fn fencing(&self) -> Result<Fencing, ClusterError> {
        Err(ClusterError::NotRunning)
    }

    /// The value of a node's attribute in the cluster's configuration; `None` if it has none.
    ///
    /// # Errors
    /// If that is not known.
    fn node_attribute(&self, node: &NodeName, name: &str) -> Result<Option<String>, ClusterError>;

    /// When the cluster last fenced `node`, if it has not come back since; `None` also where that cannot be
    /// told.
    fn fenced_and_away(&self, node: &NodeName, me: &NodeName, resource: &str) -> Option<UnixTime> {
        let peers = self.peers(me, resource).ok()?;
        peers.into_iter().find(|peer| peer.node == *node && !peer.online)?.fenced_at
    }

    /// Whether this node is leaving, and would be asked in vain to take anything over. A manager that plans
    /// (Pacemaker) says so in its plans. Starts no process.
    fn is_leaving(&self) -> bool {
        false
    }

    /// Whether it ever migrates a domain by itself. One that knows only stop and start has nobody send a
    /// domain to this node.
    fn migrates(&self) -> bool {
        false
    }

    /// This node's name in the cluster, which may differ from the kernel's.
    fn own_name(&self) -> NodeName {
        NodeName::of_this_host()
    }

    /// The domains that it manages by this agent.
    ///
    /// # Errors
    /// If that is not known.
    fn domains(&self) -> Result<Vec<ManagedDomain>, ClusterError>;

    /// Puts an attribute of the resource's utilization to this value, if it has another one.
    ///
    /// # Errors
    /// If that cannot be done; also where the cluster manager knows no utilization.
    fn set_utilization(&self, _resource: &str, _attribute: &str, _value: u64) -> Result<(), ClusterError> {
        Err(ClusterError::NotRunning)
    }

    /// Where its offers lie.
    fn ledger(&self) -> &dyn Ledger;

    /// Carries out those effects of a step that concern the ledger.
    fn clear_up(&self, domain: &DomainName, effects: &[Effect]) {
        for effect in effects {
            if let Effect::EraseLedger(epoch) = effect {
                self.ledger().erase(domain, *epoch);
            }
        }
    }
}
