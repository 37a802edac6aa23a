//! The cluster manager, as far as the agent asks it: what it plans, who its members are, and its ledger.

pub mod adoption;
mod blame;
mod coming;
mod daemons;
mod detect;
pub mod evacuation;
#[cfg(test)]
pub mod fake;
mod fencing;
mod graph;
mod ha_cf;
pub mod heartbeat;
mod history;
pub mod managed;
mod node_attributes;
pub mod none;
pub mod pacemaker;
pub mod peer_files;
mod plan;
mod scheduler;
mod view;
mod xml;

pub use detect::{detect, detect_reached, outlook};
pub use fencing::Fencing;
pub use graph::Loss;
pub use node_attributes::FOREIGN as ATTRIBUTES;
pub use view::{ClusterError, ClusterView, Coming, Destination, Fate, Peer, Plan};
