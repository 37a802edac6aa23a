//! The other nodes: how they are reached and what they are asked.

use std::rc::Rc;
use std::sync::Arc;

use crate::address::{Address, Reach};
use crate::at_once::at_once;
use crate::clock::Deadline;
use crate::cluster::ClusterView;
use crate::here::Here;
use crate::host::NodeName;
use crate::wire::client::Unanswered;
use crate::wire::{Connection, Dial, TransportError};

pub mod inquiry;
pub mod preflight;
pub mod setup;
pub mod xendomains;

/// How the other nodes are reached by their names in the cluster.
#[derive(Debug, Clone)]
pub struct Transport {
    dial: Arc<dyn Dial>,
    reach: Reach,
    cluster: Rc<dyn ClusterView>,
}

impl Transport {
    /// Nodes of this one's cluster, reached as `reach` says.
    pub fn of(here: &Here, reach: &Reach) -> Self {
        Self::within(here, reach, Rc::clone(here.cluster()))
    }

    /// Nodes of `cluster`.
    pub fn within(here: &Here, reach: &Reach, cluster: Rc<dyn ClusterView>) -> Self {
        Self { dial: Arc::clone(here.dial()), reach: reach.clone(), cluster }
    }

    /// Opens a connection to `node`, greetings exchanged, by `deadline`.
    ///
    /// # Errors
    /// [`TransportError`].
    pub fn connect(&self, node: &NodeName, deadline: Deadline) -> Result<Connection, TransportError> {
        self.dial.dial(&self.address(node)?, deadline)
    }

    /// The same to ask something only: over what is open to it already, where there is such a thing.
    ///
    /// # Errors
    /// [`TransportError`].
    pub fn ask(&self, node: &NodeName, deadline: Deadline) -> Result<Connection, TransportError> {
        self.dial.ask(&self.address(node)?, deadline)
    }

    /// Asks one node one thing.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub fn one<T>(
        &self,
        node: &NodeName,
        deadline: Deadline,
        ask: impl FnOnce(&mut Connection) -> Result<T, Unanswered>,
    ) -> Result<T, Unanswered> {
        ask(&mut self.ask(node, deadline)?)
    }

    /// Asks several nodes the same thing, at the same time.
    pub fn each<T: Send>(
        &self,
        nodes: &[NodeName],
        deadline: Deadline,
        ask: impl Fn(&mut Connection) -> Result<T, Unanswered> + Sync,
    ) -> Vec<Result<T, Unanswered>> {
        let addresses: Vec<_> = nodes.iter().map(|node| self.address(node)).collect();
        let dial = self.dial.as_ref();
        let answers = at_once(addresses, |address| ask(&mut dial.ask(&address?, deadline)?));
        let failed = |node: &NodeName| TransportError::Unreachable {
            node: node.clone(),
            what: "asking it failed".to_owned(),
        };
        let answers = nodes.iter().zip(answers);
        answers.map(|(node, answer)| answer.unwrap_or_else(|| Err(failed(node).into()))).collect()
    }

    /// Where a node, this one too, is found: the node attribute if one is set, else its name with the suffix.
    ///
    /// # Errors
    /// [`TransportError::Unreachable`] if its address could not be found out.
    pub fn address(&self, node: &NodeName) -> Result<Address, TransportError> {
        let unusable = |what: String| TransportError::Unreachable { node: node.clone(), what };
        let from_attribute = if self.reach.attribute.is_empty() {
            None
        } else {
            self.cluster
                .node_attribute(node, &self.reach.attribute)
                .map_err(|error| unusable(format!("its attribute {}: {error}", self.reach.attribute)))?
        };
        let found = Address::of(node, &self.reach).map_err(|error| unusable(error.to_string()))?;
        match from_attribute.map(NodeName::new).transpose().map_err(|error| unusable(error.to_string()))? {
            Some(host) => Ok(Address { host, ..found }),
            None => Ok(found),
        }
    }
}
