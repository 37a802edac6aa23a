//! What a move may take: its rate, its compression, its deadline, its slot, its network. On xl's real stream.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::handoff::handed_over;
use super::operator::Moved;
use super::{Scene, Story, lab};
use crate::cluster::{CHANGE, Status};
use crate::guest::MEMORY;
use crate::network::{self, NODES, RING};
use crate::node::Node;
use crate::second::X1;
use crate::wait::{say, until_every};

pub(super) const STORIES: &[Story] = &[
    lab("rate_of_a_handoff_is_kept_to_by_xls_stream", rate),
    lab("compressed_x0_moves_by_a_handoff_and_by_the_clusters_own_migration", compressed),
    lab("deadline_that_is_too_short_breaks_a_move_off_and_x0_runs_on", deadline),
    lab("slots_let_x0_and_x1_leave_one_after_the_other", slots),
    lab("network_of_its_own_carries_the_move_and_the_domains_network_next_to_nothing", network_of_its_own),
];

/// In which nothing moves here, in seconds: not a quarter of x0's memory.
const TOO_SHORT: &str = "3";

/// The last move in a node's log.
fn last(scene: &Scene<'_>, node: usize) -> Result<Moved> {
    let moved = scene.history(node, "x0")?.pop().context("no move is in the log")?;
    say(format_args!(
        "{} {}: {} bytes, {} on the connection, {:.2} MiB/s there, {:.1} s in all",
        moved.why,
        moved.end,
        moved.bytes,
        moved.wire.unwrap_or(moved.bytes),
        moved.rate().unwrap_or_default(),
        moved.took,
    ));
    Ok(moved)
}

/// An emulated node sends two or three MiB/s where it may.
fn rate(scene: &mut Scene<'_>) -> Result<()> {
    scene.parameter("migration_rate", Some("1"))?;
    scene.leave(1, 2)?;
    handed_over(scene)?;
    for node in [1, 2] {
        let moved = last(scene, node)?;
        ensure!(moved.end == "moved", "{moved:?}");
        let rate = moved.rate().context("the move does not say how fast it was")?;
        ensure!(rate <= 1.05, "{rate} MiB/s were sent where 1 was allowed");
    }
    // A low limit makes the pause longer, so this is no handoff that is hardly noticed.
    scene.pings().map(drop)
}

fn compressed(scene: &mut Scene<'_>) -> Result<()> {
    scene.give_x0_a_disk()?;
    scene.parameter("migration_compression", Some("zstd"))?;
    scene.leave(1, 2)?;
    handed_over(scene)?;
    let by_handoff = last(scene, 1)?;

    scene.standby(1, false)?;
    scene.meta("allow-migrate", "true")?;
    scene.leave(2, 1)?;
    let by_migration = last(scene, 2)?;
    scene.x0_had("stop@node1 start@node2 migrate_to@node2 migrate_from@node1 stop@node2")?;

    for (moved, why) in [(by_handoff, "handoff"), (by_migration, "migration")] {
        ensure!(moved.end == "moved" && moved.why == why, "{moved:?}");
        let wire = moved.wire.context("nothing was compressed")?;
        ensure!(wire < moved.bytes / 2, "{wire} of {} bytes on the connection", moved.bytes);
    }
    scene.x0_was_hardly_silent()
}

fn deadline(scene: &mut Scene<'_>) -> Result<()> {
    scene.give_x0_a_disk()?;
    // A start tries again until its time is up, so it gets less of that here.
    scene.node(2)?.ok("cibadmin --modify --xml-text '<op id=\"x0-start\" timeout=\"120s\"/>'")?;
    scene.parameter("migration_deadline", Some(TOO_SHORT))?;
    say("crm_resource --move x0 to node2");
    scene.node(2)?.ok("crm_resource -r x0 --move -N node2 -Q")?;
    until_every(Duration::from_secs(2), "node2's start to fail and node1 to have x0 again", CHANGE, || {
        let status = Status::read(scene.node(2)?)?;
        let failed = status.failures.iter().find(|failure| failure.starts_with("x0_start_0 on node2"));
        failed.into_iter().for_each(say);
        Ok((failed.is_some() && status.runs("x0", "node1")).then_some(()))
    })?;
    let broken_off = scene.history(1, "x0")?;
    ensure!(!broken_off.is_empty(), "no move has begun");
    for moved in &broken_off {
        say(format_args!("{} after {:.1} s, {} bytes: {}", moved.end, moved.took, moved.bytes, moved.said));
        ensure!(moved.end == "not-moved" && moved.streamed.is_none(), "{moved:?}");
    }
    scene.agent_said(1, "migration_deadline: the guest was not suspended in time").map(say)?;
    // No look at node1's hypervisor has shown it suspended.
    let copies = scene.lab.samples.all().into_iter().filter(|sample| sample.node == 1);
    ensure!(
        !copies.flat_map(|sample| sample.copies).any(crate::sampler::Copy::is_suspended),
        "x0 was suspended"
    );

    scene.node(2)?.ok("cibadmin --modify --xml-text '<op id=\"x0-start\" timeout=\"1200s\"/>'")?;
    scene.expected.runs_on = Some(2);
    scene.parameter("migration_deadline", None)?;
    scene.x0_arrives_on(2)?;
    scene.cluster_has_x0_on(2, 2)?;
    ensure!(last(scene, 1)?.end == "moved");
    scene.x0_was_hardly_silent()
}

fn slots(scene: &mut Scene<'_>) -> Result<()> {
    scene.node(1)?.ok("echo max_outgoing_migrations=1 >>/etc/default/xen-handoff")?;
    let x1 = X1::start(scene, MEMORY, "")?;
    scene.expected.runs_on = Some(2);
    scene.standby(1, true)?;
    until_every(Duration::from_secs(1), "one of the two to wait for the slot", CHANGE, || {
        Ok(scene.tool_ok(2, "status --all")?.contains("waits for one of 1 outgoing slots").then_some(()))
    })?;
    scene.x0_arrives_on(2)?;
    scene.cluster_has_x0_on(2, 2)?;
    Status::wait(scene.node(2)?, "x1 to be started on node2", |status| status.runs("x1", "node2"))?;

    let mut moves = [scene.history(1, "x0")?, scene.history(1, "x1")?].concat();
    moves.sort_by(|a, b| a.began.total_cmp(&b.began));
    let [first, second] = moves.as_slice() else {
        anyhow::bail!("there were other moves than two: {moves:?}")
    };
    ensure!(first.end == "moved" && second.end == "moved", "{moves:?}");
    // The log has whole seconds.
    let (ended, began) = (first.began + first.took, second.began);
    say(format_args!("the first one ended {ended:.1}, the second one began {began:.1}"));
    ensure!(began >= ended - 1.0, "two moves at once, where one was allowed: {moves:?}");
    x1.is_the_same()?;
    scene.x0_was_hardly_silent()
}

/// `doc/recipes.md`, "A dedicated migration network", by the names of the nodes on the network that else is the cluster manager's.
fn network_of_its_own(scene: &mut Scene<'_>) -> Result<()> {
    let name = |node: &Node| format!("{} {}-mig\n", network::ring_address(node.index), node.name);
    let hosts: String = scene.lab.nodes.iter().map(name).collect();
    for node in &scene.lab.nodes {
        node.feed("cat >>/etc/hosts", hosts.as_bytes())?;
    }
    scene.tool_ok(1, "reach --network-suffix=-mig node2")?;
    scene.tool_ok(2, "reach --network-suffix=-mig node1")?;
    scene.parameter("migration_network_suffix", Some("-mig"))?;

    let before = [network::sent(RING, 1)?, network::sent(NODES, 1)?];
    scene.leave(1, 2)?;
    let [over_it, beside_it] = [network::sent(RING, 1)? - before[0], network::sent(NODES, 1)? - before[1]];
    handed_over(scene)?;
    let moved = last(scene, 1)?;
    say(format_args!("node1 sent {over_it} bytes over its migration network and {beside_it} over the other"));
    ensure!(moved.end == "moved" && over_it >= moved.bytes, "{over_it} bytes of {moved:?}");
    ensure!(beside_it < moved.bytes / 10, "{beside_it} bytes beside it, of {moved:?}");
    scene.x0_was_hardly_silent()
}
