//! Guests as people have them: fully virtualised with a device model, paravirtualised, with two of everything and
//! Debian's own kernel. x0 is a PVH guest with a small kernel in all other stories.

use anyhow::{Result, ensure};

use super::handoff::handed_over;
use super::memory::has;
use super::ordinary::shut_down_in_order;
use super::{Scene, Story, lab};
use crate::guest::{debians, with_memory};
use crate::wait::say;

pub(super) const STORIES: &[Story] = &[
    lab("hvm_guest_is_handed_over_with_its_device_model", hvm),
    lab("pv_guest_that_cannot_move_live_is_booted_elsewhere_and_the_stop_says_why", pv),
    lab("two_of_all_processors_and_cards_ballooned_with_a_disk_by_qdisk", two_of_all),
];

/// A machine without screen, as far as QEMU has one; the kernel is the same, and booted directly.
const HVM: &str = "vga = \"none\"\nvnc = 0\nsdl = 0\nserial = \"none\"\n";

fn hvm(scene: &mut Scene<'_>) -> Result<()> {
    scene.x0_becomes(|pvh| {
        let hvm = pvh.replace("\"pvh\"", "\"hvm\"").replace("\"mac=", "\"type=vif,mac=");
        format!("{hvm}{HVM}")
    })?;
    models(scene, 1, 1)?;
    scene.tool_ok(1, "preflight x0 --to=node2")?;

    scene.leave(1, 2)?;

    handed_over(scene)?;
    models(scene, 2, 1)?;
    models(scene, 1, 0)?;
    // The new device model starts while x0 is suspended, and is a program of 200 libraries to an emulated node.
    scene.pings().map(drop)
}

/// A node has so many device models. dom0 has a QEMU of its own, attached, which gives it the guests' disks.
fn models(scene: &Scene<'_>, node: usize, wanted: usize) -> Result<()> {
    let there = scene.node(node)?.ok("pgrep -a -f -- '[-]xen-domid'")?;
    let models = there.lines().filter(|line| !line.contains("-xen-attach"));
    ensure!(models.count() == wanted, "node{node} has other device models than {wanted}:\n{there}");
    Ok(())
}

/// Debian's Xen is built without shadow paging, which the tracking of a PV guest's writes needs.
fn pv(scene: &mut Scene<'_>) -> Result<()> {
    let can = scene.node(1)?.ok("xl info | grep virt_caps")?;
    ensure!(!can.contains(" shadow"), "this Xen can move a PV guest, so there is nothing to tell: {can}");
    scene.x0_becomes(|pvh| pvh.replace("\"pvh\"", "\"pv\"").replace("tsc_mode = \"native\"\n", ""))?;

    let (code, said) = scene.tool(1, "preflight x0 --to=node2")?;
    ensure!(code != 0 && said.contains("shadow"), "preflight would send it, status {code}: {said}");

    scene.expected.reboots = 1..=1;
    scene.leave(1, 2)?;
    scene.x0_has_booted_anew()?;
    scene.x0_had("stop@node1 start@node2")?;
    shut_down_in_order(scene)?;
    let line = scene.agent_said(1, "no handoff:")?;
    ensure!(line.contains("shadow"), "the agent does not say why x0 cannot move: {line}");
    let log = scene.agent_log(1)?;
    ensure!(!log.contains("offered to"), "a guest that cannot move was offered:\n{log}");
    Ok(())
}

/// What x0 has of memory when it boots with Debian's own kernel, in MiB.
const BOOTED: u64 = 128;
/// What it is ballooned down to.
const LEFT: u64 = 112;

/// What x0 has of all, on that node, as it was made below.
fn has_two_of_all(scene: &Scene<'_>, node: usize) -> Result<()> {
    let (there, node) = (scene.node(node)?, format!("node{node}"));
    let processors = there.ok("xl vcpu-list x0 | sed 1d")?;
    let online = processors.lines().filter(|line| !line.contains("--p")).count();
    ensure!(online == 2, "{online} processors are online on {node}:\n{processors}");
    // Idx BE Mac handle state evt-ch ...
    let cards = there.ok("xl network-list x0 | sed 1d")?;
    let connected = cards.lines().filter(|line| line.split_whitespace().nth(4) == Some("4")).count();
    ensure!(connected == 2, "{connected} network cards are connected on {node}:\n{cards}");
    let disk = there.ok("xenstore-ls -f /local/domain/0/backend/qdisk | grep '/state = '")?;
    ensure!(disk.trim().ends_with("\"4\""), "x0's disk on {node}: {disk}");
    let memory = has(there, "x0")?;
    ensure!((LEFT - 1..=LEFT + 1).contains(&memory), "x0 has {memory} MiB on {node}");
    say(format_args!("x0 has 2 processors, 2 cards, a disk by qdisk and {memory} MiB on {node}"));
    Ok(())
}

fn two_of_all(scene: &mut Scene<'_>) -> Result<()> {
    let device = scene.serve_a_disk()?;
    scene.x0_becomes(|one| {
        let disk = format!("disk = [\"format=raw,backendtype=qdisk,vdev=xvda,access=rw,target={device}\"]\n");
        let card = "\"mac=00:16:3e:77:00:50,bridge=xenbr0\"";
        let cards = format!("{card}, {}", card.replace(":00:50,", ":01:50,"));
        let small = one.replace("vcpus = 1", "vcpus = 2").replace(card, &cards) + &disk;
        debians(&with_memory(&small, BOOTED))
    })?;
    scene.x0_writes()?;
    scene.node(1)?.ok(&format!("xl mem-set x0 {LEFT}m"))?;
    has_two_of_all(scene, 1)?;

    scene.leave(1, 2)?;

    handed_over(scene)?;
    has_two_of_all(scene, 2)?;
    scene.x0_was_hardly_silent()
}
