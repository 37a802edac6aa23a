//! The handoff under classic Heartbeat, the cluster manager of the paper, which knows nothing but stop and start.

use anyhow::{Context, Result, ensure};

use super::{Scene, Story, classic};
use crate::classic::wait_settled;
use crate::cluster::CHANGE;
use crate::wait::say;

pub(super) const STORIES: &[Story] = &[
    classic("heartbeat_stop_hands_over_live", stop),
    classic("heartbeat_failback_brings_x0_home_live", failback),
    classic("heartbeat_standby_hands_over_and_takeover_brings_it_back", standby),
];

/// The paper's controlled failure.
fn stop(scene: &mut Scene<'_>) -> Result<()> {
    scene.give_x0_a_disk()?;
    scene.expected.runs_on = Some(2);

    stop_heartbeat(scene)?;

    x0_was_handed_over(scene)?;
    scene.x0_was_hardly_silent()
}

fn stop_heartbeat(scene: &Scene<'_>) -> Result<()> {
    say("/etc/init.d/heartbeat stop on node1");
    let stopping = scene.node(1)?.start("/etc/init.d/heartbeat stop")?;
    scene.x0_arrives_on(2)?;
    let output = stopping.finish(CHANGE)?;
    ensure!(output.status.success(), "heartbeat stop failed: {}{}", output.stdout, output.stderr);
    ensure!(!scene.node(1)?.run("pidof heartbeat")?.status.success(), "Heartbeat still runs on node1");
    wait_settled(&scene.lab.nodes)
}

/// node1's stop reported success with x0 running there, and node2's start fetched it.
fn x0_was_handed_over(scene: &Scene<'_>) -> Result<()> {
    let stopped = time_of(&scene.agent_said(1, "stop: runs on, offered to node2")?)?;
    ensure!(scene.ran_at(1, stopped)?, "x0 did not run on node1 when its stop reported success");
    let begun = time_of(&scene.agent_said(2, "fetching it from node1")?)?;
    let fetched = time_of(&scene.agent_said(2, "start: fetched, running, from node1")?)?;
    say(format_args!(
        "the start was at work {:.1} s after the stop, and took {:.1} s from there",
        begun - stopped,
        fetched - begun
    ));
    Ok(())
}

/// The time of a line of the journal.
fn time_of(line: &str) -> Result<f64> {
    let time = line.split(' ').next().unwrap_or_default();
    time.parse().with_context(|| format!("no time in {line:?}"))
}

/// node1 leaves and comes back, and Heartbeat brings x0 home.
fn failback(scene: &mut Scene<'_>) -> Result<()> {
    scene.give_x0_a_disk()?;
    stop_heartbeat(scene)?;

    say("/etc/init.d/heartbeat start on node1");
    scene.node(1)?.ok("/etc/init.d/heartbeat start")?;
    scene.x0_arrives_on(1)?;

    wait_settled(&scene.lab.nodes)?;
    scene.agent_said(1, "start: fetched, running, from node2")?;
    scene.x0_was_hardly_silent()
}

fn standby(scene: &mut Scene<'_>) -> Result<()> {
    say("hb_standby on node1");
    scene.node(1)?.ok("/usr/share/heartbeat/hb_standby all")?;
    scene.x0_arrives_on(2)?;
    wait_settled(&scene.lab.nodes)?;
    x0_was_handed_over(scene)?;

    say("hb_takeover on node1");
    scene.node(1)?.ok("/usr/share/heartbeat/hb_takeover all")?;
    scene.x0_arrives_on(1)?;
    wait_settled(&scene.lab.nodes)?;
    scene.agent_said(1, "start: fetched, running, from node2")?;
    scene.x0_was_hardly_silent()
}
