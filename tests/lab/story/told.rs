//! What the cluster is told of x0 beyond "it runs": that it is ill, and how large it is.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::memory::has;
use super::{Scene, Story, lab};
use crate::cluster::{CHANGE, Status};
use crate::wait::{say, until_every};

pub(super) const STORIES: &[Story] = &[
    lab("script_that_finds_x0_ill_has_it_booted_elsewhere_and_not_handed_over", ill),
    lab("size_of_x0_is_told_to_the_scheduler_and_a_node_too_small_gets_no_offer", size),
];

/// A handoff would carry the illness along.
fn ill(scene: &mut Scene<'_>) -> Result<()> {
    for node in &scene.lab.nodes {
        let script = b"#!/bin/sh\n[ ! -e /run/x0-is-ill ] || { echo x0 is ill; exit 1; }\n";
        node.put("/usr/local/sbin/x0-is-well", script, "755", "root")?;
    }
    scene.parameter("monitor_scripts", Some("/usr/local/sbin/x0-is-well"))?;
    scene.meta("migration-threshold", "1")?;
    scene.expected.runs_on = Some(2);
    scene.expected.reboots = 1..=1;

    say("x0 is ill on node1");
    scene.node(1)?.ok("touch /run/x0-is-ill")?;
    scene.x0_arrives_on(2)?;
    let status = scene.cluster_has_x0_on(2, 2)?;

    scene.x0_has_booted_anew()?;
    scene.x0_had("stop@node1 start@node2")?;
    let failures = status.failures.join("; ");
    say(&failures);
    ensure!(failures.contains("x0_monitor_30000 on node1") && failures.contains("x0-is-well"), "{failures}");
    let why = scene.agent_said(1, "no handoff:")?;
    say(&why);
    ensure!(why.contains("the stop is part of a recovery"), "{why}");
    ensure!(scene.history(1, "x0")?.is_empty(), "something of it was sent");
    Ok(())
}

/// One processor, and what xl says of its memory: a guest of 32 MiB that has given back a page has 31.
fn size(scene: &mut Scene<'_>) -> Result<()> {
    let told = ["autoset_utilization_cpu", "autoset_utilization_hv_memory"].map(|name| (name, Some("true")));
    scene.parameters(&told)?;
    let memory = has(scene.node(1)?, "x0")?.to_string();
    let node = scene.node(2)?;
    for (attribute, is) in [("cpu", "1"), ("hv_memory", memory.as_str())] {
        let ask = format!("crm_resource --resource x0 --utilization --get-parameter {attribute}");
        until_every(Duration::from_secs(2), format_args!("x0's {attribute} to be told"), CHANGE, || {
            let said = node.run(&ask)?.stdout;
            ensure!(said.trim().is_empty() || said.trim() == is, "x0's {attribute} is said to be {said}");
            Ok((!said.trim().is_empty()).then_some(()))
        })?;
        say(format_args!("x0 has {attribute}={is} in the cluster's configuration"));
    }
    for (name, memory) in [("node1", 512), ("node2", 16)] {
        for (attribute, value) in [("cpu", 2), ("hv_memory", memory)] {
            node.ok(&format!("crm_attribute -t nodes -N {name} --utilization -n {attribute} -v {value}"))?;
        }
    }
    node.ok("crm_attribute -t crm_config -n placement-strategy -v utilization")?;

    scene.expected.runs_on = None;
    scene.standby(1, true)?;
    Status::wait(scene.node(2)?, "x0 to be stopped", |status| status.stopped("x0"))?;
    scene.x0_had("stop@node1")?;
    let why = scene.agent_said(1, "no handoff:")?;
    ensure!(why.contains("the cluster will not start it on another node"), "{why}");
    Ok(())
}
