//! The operators' subcommands.

pub mod adopt;
pub mod check;
pub mod completion;
pub mod drain;
mod expected;
pub mod explain;
pub mod history;
pub mod keys;
mod limits;
pub mod metrics;
pub mod names;
pub mod output;
pub mod preflight;
pub mod reach;
pub mod recover;
mod shown;
pub mod status;
mod waiting;
mod watch;

use crate::address::Reach;
use crate::cluster::ClusterView;
use crate::here::Here;
use crate::parameters::Parameters;
use crate::peer::Transport;

/// How the cluster's resources say that its nodes are reached: the first of them speaks for all.
fn reach_of(cluster: &dyn ClusterView) -> Reach {
    let managed = cluster.domains().unwrap_or_default();
    let parameters = managed.first().map(|managed| managed.parameters.clone()).unwrap_or_default();
    Parameters::judge(&parameters).0.reach
}

/// The way to the other nodes, for what is not about one resource.
fn way(here: &Here) -> Transport {
    Transport::of(here, &reach_of(here.cluster().as_ref()))
}
