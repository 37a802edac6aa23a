//! The switch: three bridges in the run's own network namespace, a tap per node on each.
//!
//! As in the paper's figure 1 a node has two networks. One carries the domains and their pings, the store, and all that goes from node
//! to node, transfers above all; the other one, the ring, the cluster manager and nothing else. A test may cut them. The
//! management bridge is the tester's own way in, and is never cut. The tester itself sits on all, with the last number 1.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::process;

/// Where the domains, the pings, the store and the transfers are.
pub(crate) const NODES: &str = "nodes";
/// Where the cluster manager talks.
pub(crate) const RING: &str = "ring";
/// Where the tester logs in and the samplers report.
pub(crate) const MANAGE: &str = "manage";
/// All of them, in the order of a node's network cards.
pub(crate) const BRIDGES: [&str; 3] = [NODES, MANAGE, RING];

/// A node's address on the network of the nodes and the domains.
pub(crate) fn nodes_address(index: usize) -> String {
    format!("10.77.0.{}", 10 + index)
}

/// A node's address on the cluster manager's network.
pub(crate) fn ring_address(index: usize) -> String {
    format!("10.79.0.{}", 10 + index)
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
    for (bridge, address) in BRIDGES.iter().zip(["10.77.0.1/24", "10.78.0.1/24", "10.79.0.1/24"]) {
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

/// One more port of the nodes' bridge, for a machine that is no node.
pub(crate) fn more(tap: &str) -> Result<()> {
    ip(&format!("tuntap add {tap} mode tap"))?;
    ip(&format!("link set {tap} master {NODES} up"))
}

/// What a node has sent on one of the bridges so far, in bytes.
pub(crate) fn sent(bridge: &str, index: usize) -> Result<u64> {
    let tap = tap(bridge, index);
    let json = process::run("ip", &["-j", "-s", "link", "show", "dev", &tap], Duration::from_secs(10))?;
    let links: serde_json::Value = serde_json::from_str(&json)?;
    // What the tap has received.
    links[0]["stats64"]["rx"]["bytes"].as_u64().with_context(|| format!("no statistics of {tap}: {json}"))
}

/// Forgets which address was seen where: after a restore the domain is on another port again.
pub(crate) fn forget() -> Result<()> {
    ip(&format!("link set {NODES} type bridge fdb_flush"))
}

fn ip(arguments: &str) -> Result<()> {
    let words: Vec<&str> = arguments.split(' ').collect();
    process::run("ip", &words, Duration::from_secs(10)).map(drop)
}
