//! The switch: two bridges in the run's own network namespace, a tap per node on each.
//!
//! The cluster's bridge carries the cluster, the domains and their pings; a test may cut it. The management bridge is the
//! tester's own way in, and is never cut. The tester itself sits on both, as 10.77.0.1 and 10.78.0.1.

use std::time::Duration;

use anyhow::Result;

use crate::process;

/// Where the cluster, the domains and the pings are.
pub(crate) const CLUSTER: &str = "cluster";
/// Where the tester logs in and the samplers report.
pub(crate) const MANAGE: &str = "manage";

/// A node's address on the cluster's network.
pub(crate) fn cluster_address(index: usize) -> String {
    format!("10.77.0.{}", 10 + index)
}

/// A node's address on the management network.
pub(crate) fn manage_address(index: usize) -> String {
    format!("10.78.0.{}", 10 + index)
}

/// The name of a node's tap on one of the bridges.
pub(crate) fn tap(bridge: &str, index: usize) -> String {
    format!("{bridge}{index}")
}

/// Makes the bridges and `nodes` taps on each.
pub(crate) fn up(nodes: usize) -> Result<()> {
    ip("link set lo up")?;
    for (bridge, address) in [(CLUSTER, "10.77.0.1/24"), (MANAGE, "10.78.0.1/24")] {
        ip(&format!("link add {bridge} type bridge mcast_snooping 0"))?;
        ip(&format!("link set {bridge} up"))?;
        ip(&format!("address add {address} dev {bridge}"))?;
        for index in 1..=nodes {
            let tap = tap(bridge, index);
            ip(&format!("tuntap add {tap} mode tap"))?;
            ip(&format!("link set {tap} master {bridge} up"))?;
        }
    }
    Ok(())
}

/// One more port of the cluster's bridge, for a machine that is no node.
pub(crate) fn more(tap: &str) -> Result<()> {
    ip(&format!("tuntap add {tap} mode tap"))?;
    ip(&format!("link set {tap} master {CLUSTER} up"))
}

/// Forgets which address was seen where: after a restore the domain is on another port again.
pub(crate) fn forget() -> Result<()> {
    ip(&format!("link set {CLUSTER} type bridge fdb_flush"))
}

fn ip(arguments: &str) -> Result<()> {
    let words: Vec<&str> = arguments.split(' ').collect();
    process::run("ip", &words, Duration::from_secs(10)).map(drop)
}
