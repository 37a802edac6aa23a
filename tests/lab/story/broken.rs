//! Transfers that are killed at their worst moment: x0 is suspended, its last pages are on the way.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::{Scene, Story, lab};
use crate::node::Node;
use crate::wait::{now, say, until};

pub(super) const STORIES: &[Story] = &[
    lab("sender_killed_while_x0_is_suspended_and_x0_runs_on", sender),
    lab("relay_and_receiver_killed_while_x0_is_suspended_and_x0_runs_on", relay_and_receiver),
];

/// xl's sender on the source.
const XL_SENDER: &str = "/xl migrate -s ";
/// The process that began it, as sshd's forced command.
const SERVE: &str = "/xen-handoff serve";
const RELAY: &str = "/xen-handoff relay ";
const RECEIVER: &str = "/xl migrate-receive";

/// How long x0 may stay suspended after its sender was killed.
const RESUMED: Duration = Duration::from_secs(60);

/// SIGKILL to every process of that command line, which has to be there.
fn kill(node: &Node, commands: &[&str]) -> Result<()> {
    // A shell cannot be told from what it looks for by its command line alone, so the pattern does not match itself.
    let patterns: Vec<String> = commands.iter().map(|command| format!("[/]{}", &command[1..])).collect();
    let pids = format!("pgrep -f -d ' ' -- '{}'", patterns.join("|"));
    node.ok(&format!("pids=$({pids}) && kill -KILL $pids")).map(drop)
}

/// Waits for the last phase of the transfer from node1 and kills there, then for x0 to run on node1 again.
fn broken_off(scene: &Scene<'_>, node: usize, commands: &[&str]) -> Result<()> {
    let suspended = scene.x0_is_suspended_on(1)?;
    kill(scene.node(node)?, commands)?;
    let phase = scene.node(1)?.ok("cat /run/xen-handoff/x0.json")?;
    ensure!(
        phase.contains("\"sending\"") || phase.contains("\"offered\""),
        "it was killed too late: {phase}"
    );
    say(format_args!(
        "killed on node{node} {:.1} s after x0 was suspended: {}",
        now() - suspended,
        commands.join(", ")
    ));
    until("x0 to run on node1 again", RESUMED, || Ok(scene.x0_runs_on(1).ok()))?;
    say(format_args!("x0 runs again on node1, {:.1} s after it was suspended", now() - suspended));
    Ok(())
}

fn sender(scene: &mut Scene<'_>) -> Result<()> {
    scene.give_x0_a_disk()?;
    scene.expected.runs_on = Some(2);
    scene.standby(1, true)?;

    // With the process that looks after it: the keeper of the offer, the guard or the next claim has to notice.
    broken_off(scene, 1, &[XL_SENDER, SERVE])?;
    scene.agent_said(1, "resuming the copy here")?;
    // Alone: the process that looks after it settles it.
    broken_off(scene, 1, &[XL_SENDER])?;

    scene.x0_arrives_on(2)?;
    scene.cluster_has_x0_on(2, 2)?;
    scene.x0_had("stop@node1 start@node2").map(drop)
}

fn relay_and_receiver(scene: &mut Scene<'_>) -> Result<()> {
    scene.give_x0_a_disk()?;
    scene.expected.runs_on = Some(2);
    scene.standby(1, true)?;

    // xl's sender outlives both, and takes x0 back by itself.
    broken_off(scene, 1, &[RELAY])?;
    broken_off(scene, 2, &[RECEIVER])?;

    scene.x0_arrives_on(2)?;
    scene.cluster_has_x0_on(2, 2)?;
    scene.x0_had("stop@node1 start@node2").map(drop)
}
