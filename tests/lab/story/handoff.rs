//! The handoff: the cluster stops x0 here and starts it there, and the guest notices a pause.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{Scene, Story, lab};
use crate::cluster::{CHANGE, Status};
use crate::wait::{say, until, until_every};

pub(super) const STORIES: &[Story] = &[
    lab("handoff_when_pacemaker_stops", when_pacemaker_stops),
    lab("handoff_on_standby", on_standby),
    lab("handoff_that_the_target_cannot_fetch_is_reclaimed_by_its_source", reclaim),
];

/// The tale of every handoff: stop reports success with x0 running, then the target's start has it.
pub(super) fn handed_over(scene: &Scene<'_>) -> Result<()> {
    let operations = scene.x0_had("stop@node1 start@node2")?;
    let [stop, start] = operations.as_slice() else { return Ok(()) };
    let stopped = stop.ended().context("the stop has not ended")?;
    ensure!(scene.ran_at(1, stopped)?, "x0 did not run on node1 when its stop reported success");
    let started = start.ended().context("the start has not ended")?;
    say(format_args!(
        "stop took {:.1} s, start began {:.1} s later and took {:.1} s",
        stopped - stop.began,
        start.began - stopped,
        started - start.began
    ));
    scene.agent_said(1, "offered to node2").map(drop)
}

fn when_pacemaker_stops(scene: &mut Scene<'_>) -> Result<()> {
    scene.give_x0_a_disk()?;
    scene.expected.runs_on = Some(2);

    let stopping = scene.stop_pacemaker(1)?;
    scene.x0_arrives_on(2)?;
    ensure!(stopping.finish(CHANGE)?.status.success(), "systemctl stop pacemaker failed");

    scene.cluster_has_x0_on(2, 2)?;
    handed_over(scene)?;
    the_pause_is_in_the_log_of_moves(scene)
}

/// What the hypervisor showed of it, beside what the pings say: they miss x0 a little longer than it stands still.
fn the_pause_is_in_the_log_of_moves(scene: &mut Scene<'_>) -> Result<()> {
    let told = scene.node(1)?.ok("xen-handoff history --json --last 1")?;
    let document: serde_json::Value = serde_json::from_str(&told)?;
    let pause = document["moves"][0]["pause_seconds"].as_f64();
    let pause = Duration::from_secs_f64(pause.with_context(|| format!("no pause: {told}"))?);
    let silence = scene.longest_silence()?;
    say(format_args!(
        "paused for {:.1} s by the log of moves, silent for {:.1} s",
        pause.as_secs_f64(),
        silence
    ));
    ensure!(
        pause > Duration::from_millis(500) && pause.as_secs_f64() < silence + 3.0,
        "a pause of {pause:?} in the log, a silence of {silence:.1} s"
    );
    Ok(())
}

fn on_standby(scene: &mut Scene<'_>) -> Result<()> {
    scene.leave(1, 2)?;
    handed_over(scene)?;
    rounds_were_told(scene)?;
    scene.x0_was_hardly_silent()
}

/// The source has followed xl's stream: the whole memory, some rounds of what was written meanwhile, and that of the suspended guest.
fn rounds_were_told(scene: &Scene<'_>) -> Result<()> {
    let move_of_x0 = until("node1 to have logged the move", CHANGE, || {
        let said = scene.node(1)?.ok("xen-handoff history x0 --json")?;
        let document: serde_json::Value = serde_json::from_str(&said)?;
        Ok(document["moves"].as_array().and_then(|moves| moves.last()).cloned())
    })?;
    let rounds = move_of_x0["rounds"].as_u64();
    ensure!(rounds.is_some_and(|rounds| (2..=7).contains(&rounds)), "rounds of this move: {move_of_x0}");
    say(format_args!("xl went through x0's memory {} times", rounds.unwrap_or_default()));
    Ok(())
}

/// node2 is told to start x0 and cannot get it: it has to fail, without a cold boot, and then node1's start finds its
/// own domain and keeps it.
fn reclaim(scene: &mut Scene<'_>) -> Result<()> {
    // A start that cannot succeed waits until its time is up, so it gets less of that here.
    let node = scene.node(2)?;
    node.ok("cibadmin --modify --xml-text '<op id=\"x0-start\" timeout=\"60s\"/>'")?;
    // The moment the offer stands, node1 lets nobody in any more: before that, the stop would notice and not offer.
    let locked = scene.node(1)?.start(
        "journalctl -f -n 0 -o cat -t xen-handoff | grep -q -m 1 'offered to node2'; \
         mv /root/.ssh/authorized_keys /root/.ssh/authorized_keys.away",
    )?;

    say("crm_resource --move x0 to node2");
    scene.node(2)?.ok("crm_resource -r x0 --move -N node2 -Q")?;
    let output = locked.finish(CHANGE)?;
    ensure!(output.status.success(), "node1 could not be locked: {}", output.stderr);

    until_every(Duration::from_secs(2), "node2's start to fail and node1 to start x0 again", CHANGE, || {
        let status = Status::read(scene.node(2)?)?;
        let failed = status.failures.iter().any(|failure| failure.starts_with("x0_start_0 on node2"));
        Ok((failed && status.runs("x0", "node1")).then_some(()))
    })?;
    let operations = scene.operations()?;
    let last = operations.iter().rfind(|one| one.resource == "x0" && one.name == "start" && one.node == 1);
    ensure!(last.is_some_and(super::scene::Operation::ok), "node1's start was not ok: {operations:?}");
    scene.node(1)?.ok("mv /root/.ssh/authorized_keys.away /root/.ssh/authorized_keys")?;
    scene.x0_was_hardly_silent()
}
