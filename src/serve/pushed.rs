//! Whether the cluster is sending a domain here: found out here, by this node's own cluster manager, whatever
//! a caller says.

use std::time::Duration;

use super::caller::Caller;
use crate::clock::Deadline;
use crate::cluster::managed::ManagedDomain;
use crate::domain::DomainName;
use crate::handoff::Transfer;
use crate::handoff::evidence::PushedHere;
use crate::node::identity::before as name_kept;

/// What a migration may take whatever the cluster's configuration seems to say: rules and defaults there may
/// say more than is read here.
const LONG_MIGRATION: Duration = Duration::from_secs(60 * 60);

/// A domain that this node's own cluster manager is sending here.
pub(super) struct Expected {
    /// How long the resource's migration may take, as far as this node knows.
    longest: Duration,
}

impl Expected {
    /// When what takes `seconds`, as the other end says, must have come to its end: its word makes that
    /// earlier, and never later.
    pub(super) fn until(&self, seconds: u64) -> Deadline {
        Deadline::after(Duration::from_secs(seconds).min(self.longest))
    }
}

/// Whether the cluster manager of this node has a domain pushed here: a resource of ours manages it, and the
/// push is in this node's ledger. xl's receiver takes the whole configuration of a domain from the stream, so
/// that who may send one is root here in effect.
pub(super) fn pushed_here(
    caller: &Caller<'_>,
    domain: &DomainName,
    transfer: Option<&Transfer>,
) -> Result<Expected, String> {
    let cluster = caller.here.cluster();
    if !cluster.migrates() {
        return Err("the cluster manager of this node migrates nothing".to_owned());
    }
    let entries = cluster.ledger().entries(domain).map_err(|why| why.to_string())?;
    PushedHere::observe(&cluster.own_name(), caller.speaker.node(), transfer, &entries)?;
    let managed = cluster.domains().map_err(|error| error.to_string())?;
    let is_called = |managed: &&ManagedDomain| {
        let kept = || name_kept(&caller.here.root, &managed.resource);
        managed.is_called(domain.as_str()) || kept().is_some_and(|kept| kept == *domain)
    };
    // A question to the cluster each, and hardly ever needed: this node has looked for it by its name.
    let is_called_elsewhere = |managed: &&ManagedDomain| {
        cluster.ledger().names(&managed.resource).is_ok_and(|names| names.contains(domain))
    };
    let resource = managed.iter().find(is_called).or_else(|| managed.iter().find(is_called_elsewhere));
    let resource = resource.ok_or("no resource of this agent manages it")?;
    let configured = resource.timeouts.get("migrate_to").copied().unwrap_or_default();
    Ok(Expected { longest: configured.max(LONG_MIGRATION) })
}
