//! `allow_mem_management`: room for x1 is made out of what x0 has above its floor, by the balloon driver of a real guest, and
//! given back.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::operator::name_is;
use super::{Scene, Story, lab};
use crate::cluster::{CHANGE, Status};
use crate::guest::with_memory;
use crate::node::Node;
use crate::second::X1;
use crate::wait::{say, until_every};

pub(super) const STORIES: &[Story] =
    &[lab("room_for_x1_is_ballooned_out_of_x0_down_to_its_floor_and_given_back", room)];

/// What x0 has by its configuration in this story, in MiB, more than in others; its floor is half of that.
const X0: u64 = 128;
/// What x1 has, in MiB.
const X1S: u64 = 96;
/// What is to be free before x1 comes, in MiB: some, but not enough.
const LEFT: u64 = 60;
/// What xl says of the host is asked for so often.
const LOOK: Duration = Duration::from_secs(2);

fn free(node: &Node) -> Result<u64> {
    let text = node.ok("xl info | awk '$1 == \"free_memory\" { print $3 }'")?;
    text.trim().parse().with_context(|| format!("xl info says of free_memory {text:?}"))
}

/// What a domain has, in MiB.
pub(super) fn has(node: &Node, domain: &str) -> Result<u64> {
    let table = node.ok("xl list")?;
    let line = table.lines().find(|line| name_is(line, domain)).with_context(|| format!("no {domain}"))?;
    let words: Vec<&str> = line.split_whitespace().collect();
    words.get(2).and_then(|word| word.parse().ok()).with_context(|| format!("xl list says {line:?}"))
}

/// Takes most of what is free, as a domain does that is none of the cluster's: nobody may touch it. It is never let run.
pub(super) fn fill(node: &Node, left: u64) -> Result<()> {
    let memory = free(node)?.saturating_sub(left) * 120 / 121 - 2;
    let config = format!(
        "name = \"filler\"\ntype = \"pvh\"\nkernel = \"/var/lib/xen/x0/vmlinuz\"\nmemory = {memory}\nvcpus = 1\n"
    );
    node.put("/etc/xen/filler.cfg", config.as_bytes(), "644", "root")?;
    node.ok("xl create -q -p -e /etc/xen/filler.cfg 2>&1")?;
    say(format_args!("filler has {memory} MiB, {} MiB are free", free(node)?));
    Ok(())
}

fn room(scene: &mut Scene<'_>) -> Result<()> {
    scene.x0_becomes(|small| with_memory(small, X0))?;
    scene.parameter("allow_mem_management", Some("true"))?;
    let node = scene.node(1)?;
    let terms = until_every(LOOK, "x0's monitor to leave its floor", CHANGE, || {
        let terms = node.run("cat /run/xen-handoff/x0.memory")?.stdout;
        Ok((!terms.is_empty()).then_some(terms))
    })?;
    ensure!(terms.contains("\"floor_mib\":64"), "x0's floor is not the half of {X0} MiB: {terms}");
    // xl counts whole MiB, and the guest has given back a page.
    let whole = has(node, "x0")?;
    fill(node, LEFT)?;
    let before = free(node)?;
    ensure!((X1S - LEFT..X1S).contains(&before), "{before} MiB are free, which is not what this is about");

    let share = r#"<nvpair id="x1-share" name="allow_mem_management" value="true"/>"#;
    let x1 = X1::start(scene, X1S, share)?;
    let (left, after) = (has(node, "x0")?, free(node)?);
    scene.agent_said(1, "domain=x0 gives ").map(say)?;
    say(format_args!("x1 runs; x0 has {left} MiB, {after} MiB are free"));
    ensure!((X0 / 2..whole).contains(&left), "x0 has {left} MiB");
    ensure!(has(node, "filler")? > 0, "the filler has gone");
    x1.is_the_same()?;
    scene.x0_runs_on(1)?;

    say("x1 is disabled");
    node.ok("crm_resource -r x1 --meta -p target-role -v Stopped")?;
    Status::wait(node, "x1 to be stopped", |status| status.stopped("x1"))?;
    until_every(LOOK, "x0 to have its memory again", CHANGE, || {
        Ok((has(node, "x0")? >= whole).then_some(()))
    })?;
    scene.agent_said(1, "domain=x0 gets memory back").map(say)?;
    say(format_args!("x0 has {} MiB, {} MiB are free", has(node, "x0")?, free(node)?));
    scene.x0_had("")?;
    node.ok("xl destroy filler")?;
    scene.x0_was_hardly_silent()
}
