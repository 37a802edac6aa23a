//! A rolling upgrade, by rpm, while Pacemaker and x0 run on. It begins with an older build on all nodes, which has started x0.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::{Scene, Story, older};
use crate::agent::Manager;
use crate::node::Node;
use crate::packages::{Build, Packages};
use crate::wait::{say, until};

pub(super) const STORIES: &[Story] =
    &[older("upgrade_node_by_node_while_x0_goes_to_and_fro_between_the_builds", rolling)];

fn rolling(scene: &mut Scene<'_>) -> Result<()> {
    scene.give_x0_a_disk()?;
    put(scene, 2, Build::Rpm)?;
    hand_over(scene, 1, 2)?;
    hand_over(scene, 2, 1)?;

    // The other way round: the newer one where x0 is.
    put(scene, 1, Build::Rpm)?;
    put(scene, 2, Build::Previous)?;
    hand_over(scene, 1, 2)?;
    hand_over(scene, 2, 1)?;

    put(scene, 2, Build::Rpm)?;
    let there_and_back = "stop@node1 start@node2 stop@node2 start@node1";
    scene.x0_had(&format!("{there_and_back} {there_and_back}"))?;
    scene.x0_was_hardly_silent()
}

/// Sends a node into standby and waits for x0 on the other.
fn hand_over(scene: &mut Scene<'_>, from: usize, to: usize) -> Result<()> {
    scene.expected.runs_on = Some(to);
    let build = |node: usize| scene.node(node)?.ok("rpm -q xen-handoff").map(|name| name.trim().to_string());
    say(format_args!("from node{from} with {} to node{to} with {}", build(from)?, build(to)?));
    scene.standby(from, true)?;
    scene.x0_arrives_on(to)?;
    scene.cluster_has_x0_on(2, to)?;
    scene.agent_said(from, &format!("offered to node{to}"))?;
    scene.agent_said(to, &format!("start: fetched, running, from node{from}"))?;
    scene.standby(from, false)?;
    scene.cluster_has_x0_on(2, to).map(drop)
}

/// What must not change while a package is replaced: the cluster manager's processes, and whether x0 is there.
const UNTOUCHED: &str = "systemctl show -p MainPID,ActiveEnterTimestampMonotonic corosync pacemaker; \
                         pgrep -x 'pacemaker-.*' | sort; xl domid x0 2>&1 || true";

/// What must be so afterwards: the guard enabled, and of the file that is there now.
const GUARD: &str = "systemctl is-enabled -q xen-handoff-guard.service && \
                     pid=$(systemctl show -p MainPID --value xen-handoff-guard.service) && readlink /proc/$pid/exe";

/// Upgrades a node, or downgrades it.
fn put(scene: &Scene<'_>, node: usize, build: Build) -> Result<()> {
    let packages = Packages::of(build, Manager::Pacemaker)?;
    let node: &Node = scene.node(node)?;
    let (before, was) = (node.ok(UNTOUCHED)?, node.ok("rpm -q xen-handoff")?);
    let said = packages.install(node)?;
    let (after, is) = (node.ok(UNTOUCHED)?, node.ok("rpm -q xen-handoff")?);
    say(format_args!("{}: {} replaced by {}", node.name, was.trim(), is.trim()));
    ensure!(was != is, "{} had {is} already: {said}", node.name);
    ensure!(before == after, "rpm -U on {} has touched what runs: {before} became {after}", node.name);
    until("the guard to be of the new package", Duration::from_secs(60), || {
        Ok((node.run(GUARD)?.stdout.trim() == "/usr/sbin/xen-handoff").then_some(()))
    })
}
