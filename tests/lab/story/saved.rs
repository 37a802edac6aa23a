//! `snapshot`: x0 is saved instead of shut down, and goes on where it was, or is booted where its memory fits no more.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::{Scene, Story, lab};
use crate::cluster::Status;
use crate::guest;
use crate::wait::say;

pub(super) const STORIES: &[Story] = &[
    lab("snapshot_on_a_stop_and_x0_goes_on_from_it_with_its_disk", goes_on),
    lab("snapshot_is_void_once_x0_has_run_on_the_other_node", void),
];

/// On each node's own disk.
const FOLDER: &str = "/var/lib/xen/saved";
/// How long x0 may take to boot and to answer.
const BOOT: Duration = Duration::from_secs(60);

fn keep_snapshots(scene: &Scene<'_>) -> Result<()> {
    for node in &scene.lab.nodes {
        node.ok(&format!("mkdir -m 700 {FOLDER}"))?;
    }
    // An emulated node answers late when this machine is busy.
    scene.parameters(&[("snapshot", Some(FOLDER)), ("handoff_peer_timeout", Some("120"))])
}

/// Has the cluster stop x0 for good, and wants it saved on that node.
fn save(scene: &Scene<'_>, node: usize) -> Result<()> {
    scene.meta("target-role", "Stopped")?;
    Status::wait(scene.node(2)?, "x0 to be stopped", |status| status.stopped("x0"))?;
    let said = scene.agent_said(node, "saving it to")?;
    let files = scene.node(node)?.ok(&format!("cd {FOLDER} && ls && du -m ."))?;
    say(format_args!("saved on node{node}: {}", files.replace('\n', " ")));
    ensure!(files.contains("x0.snapshot") && files.contains(".state"), "{said}; but there is {files}");
    Ok(())
}

fn goes_on(scene: &mut Scene<'_>) -> Result<()> {
    scene.give_x0_a_disk()?;
    keep_snapshots(scene)?;
    let before = guest::wait_for(BOOT)?;

    save(scene, 1)?;
    let left = scene.node(1)?.ok("xl list")?;
    ensure!(!left.contains("x0"), "x0 was saved and is still there: {left}");
    scene.meta("target-role", "Started")?;
    scene.cluster_has_x0_on(2, 1)?;

    for operation in scene.x0_had("stop@node1 start@node1")? {
        let took = operation.ended().unwrap_or_default() - operation.began;
        say(format_args!("{} took {took:.1} s", operation.name));
    }
    scene.agent_said(1, "start: restored from its snapshot")?;
    let after = guest::wait_for(BOOT)?;
    ensure!(after.boot == before.boot, "x0 was booted anew");
    say(format_args!(
        "x0's uptime went on from {:.1} to {:.1} s, while {:.1} s passed",
        before.uptime,
        after.uptime,
        after.at - before.at
    ));
    let left = scene.node(1)?.ok(&format!("ls {FOLDER}"))?;
    ensure!(left.is_empty(), "what was used once is still there: {left}");
    scene.pings().map(drop)
}

/// Waits until an x0 answers that has booted anew since `before`.
fn boots(scene: &Scene<'_>, node: usize, before: &guest::Witness) -> Result<guest::Witness> {
    scene.cluster_has_x0_on(2, node)?;
    let now = guest::wait_for(BOOT)?;
    ensure!(now.boot != before.boot, "x0 goes on from a memory that does not fit any more");
    Ok(now)
}

fn void(scene: &mut Scene<'_>) -> Result<()> {
    scene.expected.reboots = 2..=2;
    keep_snapshots(scene)?;
    let first = guest::wait_for(BOOT)?;
    save(scene, 1)?;

    // node2 has no snapshot: it boots x0, and from then on the one on node1 is void.
    scene.standby(1, true)?;
    scene.meta("target-role", "Started")?;
    let second = boots(scene, 2, &first)?;
    scene.agent_said(2, "start: booted")?;

    save(scene, 2)?;
    scene.standby(1, false)?;
    scene.standby(2, true)?;
    scene.meta("target-role", "Started")?;
    boots(scene, 1, &second)?;
    let why = scene.agent_said(1, "its snapshot is not used")?;
    say(&why);
    ensure!(why.contains("node2 has run it since"), "{why}");
    let left = scene.node(1)?.ok(&format!("ls {FOLDER}"))?;
    ensure!(left.is_empty(), "what is void is still there: {left}");
    Ok(())
}
