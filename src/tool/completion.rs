//! The names that a shell completes. Asked while somebody types: at most a second, without a word where
//! nobody answers, and without changing anything.

use std::collections::BTreeSet;
use std::time::Duration;

use clap_complete::CompletionCandidate;

use super::check::CHECKS;
use super::names::in_known_hosts;
use crate::clock::{Deadline, action_ends};
use crate::cluster::managed::ManagedDomain;
use crate::cluster::pacemaker::Pacemaker;
use crate::here::Here;
use crate::messages::Catalogue;
use crate::parameters::metadata::ACTIONS;

/// How long somebody waits who has pressed a key. Each question is one call of one tool at most.
const LIMIT: Duration = Duration::from_secs(1);

/// What stands for a value on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Names {
    /// The cluster's nodes; where it does not answer, those of `known_hosts`.
    Nodes,
    /// Our resources, and what their domains are called where a parameter says it.
    Domains,
    /// The same; and where none of them begins so, the ids of messages.
    DomainsAndMessages,
    /// The resources of `ocf:heartbeat:Xen`.
    OfTheStockAgent,
    /// What `check` checks.
    Checks,
    /// What the cluster asks of the agent.
    Actions,
}

impl clap::builder::ArgExt for Names {}

impl Names {
    /// Those that are known here.
    pub fn known(self, here: &Here) -> Vec<CompletionCandidate> {
        action_ends(Deadline::after(LIMIT));
        let plain = |names: BTreeSet<String>| names.into_iter().map(CompletionCandidate::new).collect();
        match self {
            Self::Nodes => {
                let nodes = here.cluster().nodes().unwrap_or_else(|_| in_known_hosts(&here.root));
                plain(nodes.iter().map(ToString::to_string).collect())
            }
            Self::Domains => plain(called(here.cluster().domains().unwrap_or_default())),
            Self::DomainsAndMessages => {
                let ids = Catalogue::own().entries().map(|entry| entry.id.to_string());
                let ids = ids.map(|id| CompletionCandidate::new(id).hide(true));
                Self::Domains.known(here).into_iter().chain(ids).collect()
            }
            Self::OfTheStockAgent => {
                let stock = Pacemaker::new(&here.root).domains_of("heartbeat").unwrap_or_default();
                plain(stock.into_iter().map(|managed| managed.resource).collect())
            }
            Self::Checks => CHECKS.map(CompletionCandidate::new).into(),
            Self::Actions => ACTIONS.map(|action| CompletionCandidate::new(action.name)).into(),
        }
    }
}

/// Ids and domains. A configuration file that says a name is not read: xl would be asked for each.
fn called(managed: Vec<ManagedDomain>) -> BTreeSet<String> {
    let both = |mut managed: ManagedDomain| [managed.parameters.remove("name"), Some(managed.resource)];
    managed.into_iter().flat_map(both).flatten().collect()
}
