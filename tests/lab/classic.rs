//! Classic Heartbeat on the nodes, resources from `haresources`: set-up, and whether it moves something.

use std::time::Duration;

use anyhow::{Result, bail};

use crate::agent::Agent;
use crate::cluster::CHANGE;
use crate::guest;
use crate::lab::Lab;
use crate::network;
use crate::node::Node;
use crate::wait::{self, step};

/// How often Heartbeat is asked whether it moves something.
const ASK: Duration = Duration::from_secs(2);

/// Its times are long, since an emulated node can be late by seconds when this machine is busy.
fn ha_cf(nodes: usize) -> String {
    let each = |line: fn(usize) -> String| (1..=nodes).map(line).collect::<String>();
    format!(
        "logfacility daemon\nkeepalive 2\nwarntime 15\ndeadtime 30\ninitdead 60\nudpport 694\nauto_failback on\ncrm off\n{}{}",
        each(|index| format!("node node{index}\n")),
        // One's own address is no harm: Heartbeat leaves it out.
        each(|index| format!("ucast eth2 {}\n", network::ring_address(index))),
    )
}

/// x0 is node1's. For the times see `cluster::cib`.
const HARESOURCES: &str = "node1 xen-handoff::x0::/etc/xen/x0.cfg::migration_connect_timeout=60::handoff_timeout=1200::timeout=1200\n";

/// What a snapshot of the ready cluster depends on, besides the agent's files.
pub(crate) fn key(nodes: usize) -> String {
    ha_cf(nodes) + HARESOURCES
}

/// Installs the agent, starts Heartbeat, and waits for x0 to answer on node1.
pub(crate) fn set_up(lab: &Lab, agent: &Agent) -> Result<()> {
    agent.install(&lab.nodes)?;
    let starting: Vec<_> = lab
        .nodes
        .iter()
        .map(|node| {
            node.put("/etc/ha.d/ha.cf", ha_cf(lab.nodes.len()).as_bytes(), "644", "root")?;
            node.put("/etc/ha.d/haresources", HARESOURCES.as_bytes(), "644", "root")?;
            node.put("/etc/ha.d/authkeys", b"auth 1\n1 sha1 not-a-secret\n", "600", "root")?;
            node.start("/etc/init.d/heartbeat start")
        })
        .collect::<Result<_>>()?;
    for started in starting {
        let output = started.finish(Duration::from_secs(180))?;
        if !output.status.success() {
            bail!("starting Heartbeat: {}{}", output.stdout, output.stderr);
        }
    }
    step("waiting for Heartbeat and x0", || {
        guest::wait_for(CHANGE)?;
        wait_settled(&lab.nodes)
    })
}

/// Waits until Heartbeat moves nothing, as each node that runs it says.
pub(crate) fn wait_settled(nodes: &[Node]) -> Result<()> {
    wait::until_every(ASK, "Heartbeat to move nothing", CHANGE, || {
        for node in nodes {
            let moves = "pidof heartbeat >/dev/null || exit 1; case $(cl_status rscstatus) in all | local | foreign | none) exit 1 ;; esac";
            if node.run(moves)?.status.success() {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })
}
