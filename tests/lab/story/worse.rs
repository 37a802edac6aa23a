//! Never worse than a stop and a start (P7): what cannot be booted at the target either, a target that is lost, hosts that leave together,
//! and a guest that something happens to while it leaves.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::memory::fill;
use super::{Scene, Story, lab};
use crate::cluster::{CHANGE, Status};
use crate::network::{self, NODES};
use crate::wait::{say, until_every};

pub(super) const STORIES: &[Story] = &[
    lab("no_memory_there_and_x0_is_back_before_a_byte_was_sent", no_memory),
    lab("bridge_missing_there_and_x0_is_back_before_a_byte_was_sent", no_bridge),
    lab("both_hosts_switched_off_at_once_shut_x0_down_and_wait_for_nobody", both_hosts),
    lab("target_without_power_in_mid_stream_and_x0_runs_on", target_killed),
    lab("guest_that_resets_itself_as_its_stop_begins", |scene| reset(scene, AS_ITS_STOP_BEGINS)),
    lab("guest_that_crashes_as_its_stop_begins", |scene| crash(scene, AS_ITS_STOP_BEGINS)),
    lab("guest_that_is_paused_as_its_stop_begins", |scene| pause(scene, AS_ITS_STOP_BEGINS)),
    lab("guest_that_resets_itself_while_it_is_on_offer", |scene| reset(scene, ON_OFFER)),
    lab("guest_that_crashes_while_it_is_on_offer", |scene| crash(scene, ON_OFFER)),
    lab("guest_that_is_paused_while_it_is_on_offer", |scene| pause(scene, ON_OFFER)),
    lab("guest_that_resets_itself_while_it_is_fetched", |scene| reset(scene, CLAIMED)),
    lab("guest_that_crashes_while_it_is_fetched", |scene| crash(scene, CLAIMED)),
    lab("guest_that_is_paused_while_it_is_fetched", |scene| pause(scene, CLAIMED)),
];

/// How often the nodes are looked at.
const LOOK: Duration = Duration::from_secs(2);
/// What is free on node2 where x0 has no room there, in MiB.
const TOO_LITTLE: u64 = 12;
/// More than this is a stream, and less what two nodes and the pings say to each other meanwhile, in bytes.
const TALK: u64 = 2 << 20;
/// So much has left node1 when a stream is under way, x0's disk included, in bytes.
const UNDER_WAY: u64 = 6 << 20;

/// What the agent has logged on a node; it is shown, but for a stream's progress.
fn agent_told(scene: &Scene<'_>, node: usize) -> Result<String> {
    let said = scene.agent_log(node)?;
    let lines = said.lines().filter(|line| !line.contains(" stage=Stream "));
    lines.for_each(|line| say(format_args!("node{node}: {line}")));
    Ok(said)
}

/// Tells the cluster to move x0 to node2, and waits until it has it on node1 again, since node2's start has failed for that reason.
fn comes_back(scene: &mut Scene<'_>, reason: &str) -> Result<()> {
    let before = network::sent(NODES, 1)?;
    say("crm_resource --move x0 to node2");
    scene.node(2)?.ok("crm_resource -r x0 --move -N node2 -Q")?;
    let failed = until_every(LOOK, "node2's start to fail and node1 to have x0 again", CHANGE, || {
        let status = Status::read(scene.node(2)?)?;
        let failed =
            status.failures.iter().find(|failure| failure.starts_with("x0_start_0 on node2")).cloned();
        Ok(failed.filter(|_| status.runs("x0", "node1")))
    })?;
    let sent = network::sent(NODES, 1)? - before;
    say(&failed);
    ensure!(failed.contains(reason), "the failed start does not name {reason}: {failed}");

    let operations = scene.operations()?;
    for one in operations.iter().filter(|one| one.resource == "x0") {
        let took = one.ended().unwrap_or_default() - one.began;
        say(format_args!("{} on node{} took {took:.1} s", one.name, one.node));
    }
    let ok = |name: &str| operations.iter().any(|one| one.node == 1 && one.name == name && one.ok());
    ensure!(ok("stop") && ok("start"), "node1's stop and start were not ok: {operations:?}");
    scene.agent_said(1, "could not boot it either").map(say)?;
    scene.agent_said(1, "its own offer reclaimed")?;

    say(format_args!("node1 has sent {sent} bytes in all that time"));
    ensure!(sent < TALK, "node1 has sent {sent} bytes");
    ensure!(scene.history(1, "x0")?.is_empty(), "a stream has begun");
    scene.x0_was_hardly_silent()
}

fn no_memory(scene: &mut Scene<'_>) -> Result<()> {
    fill(scene.node(2)?, TOO_LITTLE)?;
    comes_back(scene, "memory")
}

/// x0 has a second card by its configuration, too, on a bridge that node1 alone has.
fn no_bridge(scene: &mut Scene<'_>) -> Result<()> {
    let one = scene.node(1)?.ok("cat /etc/xen/x0.cfg")?;
    let card = "\"mac=00:16:3e:77:00:50,bridge=xenbr0\"";
    let two = one.replace(card, &format!("{card}, \"mac=00:16:3e:77:01:50,bridge=lan7\""));
    for node in &scene.lab.nodes {
        node.put("/etc/xen/x0.cfg", two.as_bytes(), "644", "root")?;
    }
    scene.node(1)?.ok("ip link add lan7 type bridge && ip link set lan7 up")?;
    scene.node(1)?.ok("xl network-attach x0 mac=00:16:3e:77:01:50 bridge=lan7 2>&1")?;
    comes_back(scene, "lan7")
}

/// As by a power supply that has told both of them. Nobody is left who could fetch x0.
fn both_hosts(scene: &mut Scene<'_>) -> Result<()> {
    let log = std::env::current_dir()?.join("xl-x0.log");
    let _following = scene.node(1)?.record("tail -n +1 -F /var/log/xen/xl-x0.log", &log)?;
    scene.expected.runs_on = None;
    scene.expected.unanswered = true;

    scene.power_off_all(&[1, 2])?;
    scene.go_off(&[1, 2])?;

    let log = std::fs::read_to_string(&log)?;
    ensure!(log.contains("has shut down, reason code 0"), "x0 was not shut down in order:\n{log}");
    let said = agent_told(scene, 1)?;
    ensure!(!said.contains("nobody has fetched it"), "node1 has waited for the end of an offer:\n{said}");
    Ok(())
}

/// A power switch for the cluster: the tester has pulled the plug before it is asked.
const SWITCH: &str = r#"#!/bin/sh
action=metadata
while IFS='=' read -r name value; do [ "$name" != action ] || action=$value; done
[ "$action" != metadata ] || cat <<'XML'
<?xml version="1.0"?>
<resource-agent name="fence_lab" shortdesc="the lab's power switch">
<longdesc>Its plugs are pulled by hand.</longdesc>
<parameters><parameter name="action" required="1"><content type="string" default="reboot"/></parameter></parameters>
<actions><action name="on"/><action name="off"/><action name="reboot"/><action name="status"/><action name="list"/>
<action name="monitor"/><action name="metadata"/></actions>
</resource-agent>
XML
"#;

fn fencing(scene: &Scene<'_>) -> Result<()> {
    for node in &scene.lab.nodes {
        node.put("/usr/sbin/fence_lab", SWITCH.as_bytes(), "755", "root")?;
    }
    let power = r#"<primitive id="power" class="stonith" type="fence_lab"><instance_attributes id="power-parameters">
        <nvpair id="power-hosts" name="pcmk_host_list" value="node1 node2"/></instance_attributes></primitive>"#;
    scene.configure("resources", power)?;
    scene.node(2)?.ok("crm_attribute -t crm_config -n stonith-enabled -v true")?;
    Status::wait(scene.node(2)?, "the power switch to be ready", |status| {
        status.resource("power").is_some_and(|power| power.role == "Started" && power.pending.is_none())
    })
    .map(drop)
}

fn target_killed(scene: &mut Scene<'_>) -> Result<()> {
    fencing(scene)?;
    scene.give_x0_a_disk()?;
    scene.keep_journal(2)?;
    // As long as an operator's: a stream to a node that takes nothing any more lasts as long as the start that asked for it.
    scene.node(2)?.ok("cibadmin --modify --xml-text '<op id=\"x0-start\" timeout=\"300s\"/>'")?;
    say("crm_resource --move x0 to node2");
    scene.node(2)?.ok("crm_resource -r x0 --move -N node2 -Q")?;
    // By what passes the switch: to ask node1 would take its processor from the stream.
    let before = network::sent(NODES, 1)?;
    until_every(LOOK, "x0 to be on its way", CHANGE, || {
        Ok((network::sent(NODES, 1)? - before > UNDER_WAY).then_some(()))
    })?;

    scene.pull_the_plug(2)?;
    until_every(LOOK, "node2 to be fenced and the cluster to have x0 on node1", CHANGE, || {
        let status = Status::read(scene.node(1)?)?;
        let alone = status.online == ["node1"];
        let started =
            scene.operations()?.into_iter().any(|one| one.node == 1 && one.name == "start" && one.ok());
        Ok((alone && started && status.runs("x0", "node1")).then_some(()))
    })?;
    agent_told(scene, 1)?;
    for one in scene.operations()?.iter().filter(|one| one.resource == "x0") {
        say(format_args!("{} on node{}: {:?}", one.name, one.node, one.result));
    }
    scene.x0_was_hardly_silent()
}

/// When it happens to x0: as soon as that program has logged those words on node1.
#[derive(Clone, Copy)]
struct When {
    program: &'static str,
    words: &'static str,
}

const AS_ITS_STOP_BEGINS: When =
    When { program: "pacemaker-controld", words: "execution of stop operation for x0 " };
/// The stop has been reported, and node2 has yet to ask for the offer.
const ON_OFFER: When = When { program: "xen-handoff", words: "stop: runs on, offered to node2" };
/// Its memory is about to go over.
const CLAIMED: When = When { program: "xen-handoff", words: "phase=offered->sending" };

/// Sends node1 into standby, and does that to x0 then; x0 ends on node2 all the same, by one stop and one start.
fn meanwhile(scene: &mut Scene<'_>, when: When, what: &str) -> Result<()> {
    scene.expected.runs_on = Some(2);
    let hit = scene.once_logged(1, when.program, when.words, what)?;
    scene.standby(1, true)?;
    let output = hit.finish(CHANGE)?;
    ensure!(output.status.success(), "{what}: {}{}", output.stdout, output.stderr);
    let done: f64 = output.stdout.trim().parse().with_context(|| format!("{what}: {}", output.stdout))?;

    scene.x0_arrives_on(2)?;
    let status = scene.cluster_has_x0_on(2, 2)?;
    agent_told(scene, 1)?;
    agent_told(scene, 2)?;
    ensure!(status.failures.is_empty(), "{:?}", status.failures);
    if let [stop, start] = scene.x0_had("stop@node1 start@node2")?.as_slice() {
        let (stopped, started) = (stop.ended().unwrap_or_default(), start.ended().unwrap_or_default());
        say(format_args!(
            "{what}: done {:.1} s after the stop was asked for; the stop took {:.1} s, the start began {:.1} s after \
             that and took {:.1} s",
            done - stop.began,
            stopped - stop.began,
            start.began - stopped,
            started - start.began
        ));
    }
    scene.x0_has_booted_anew()
}

/// Resets x0 without asking anybody, as by a panic with panic=1. What xl creates anew may be fetched alive, or be shut down
/// and booted: as after a stop and a start.
fn reset(scene: &mut Scene<'_>, when: When) -> Result<()> {
    scene.expected.reboots = 1..=2;
    meanwhile(scene, when, "xl sysrq x0 b")
}

fn crash(scene: &mut Scene<'_>, when: When) -> Result<()> {
    scene.expected.reboots = 1..=1;
    meanwhile(scene, when, "xl sysrq x0 c")
}

fn pause(scene: &mut Scene<'_>, when: When) -> Result<()> {
    scene.expected.reboots = 1..=1;
    meanwhile(scene, when, "xl pause x0")
}
