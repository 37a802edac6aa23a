//! The upgrade of the distribution, node by node: node1 is of the older suite, with the older Xen and the older Pacemaker.

use anyhow::{Result, ensure};

use super::handoff::handed_over;
use super::ordinary::shut_down_in_order_on;
use super::{Scene, Story, mixed};
use crate::wait::say;

pub(super) const STORIES: &[Story] =
    &[mixed("distribution_upgrade_hands_over_to_the_newer_xen_and_never_back", rolling)];

fn rolling(scene: &mut Scene<'_>) -> Result<()> {
    for node in [1, 2] {
        let versions =
            "xl info | awk '/^xen_version/ { print \"Xen\", $3 }'; crmadmin --version | head -n 1; uname -r";
        let told = scene.node(node)?.ok(versions)?;
        say(format_args!("node{node}: {}", told.trim().replace('\n', ", ")));
    }
    scene.give_x0_a_disk()?;
    scene.leave(1, 2)?;
    handed_over(scene)?;
    let faults = scene.disk()?.faults()?;
    ensure!(faults.is_empty(), "x0's disk: {}", faults.join(", "));
    scene.x0_writes()?;

    // Xen takes a domain from an older one, and promises nothing for the way back: that is an ordinary stop, and says why.
    let (code, said) = scene.tool(2, "preflight x0 --to=node1")?;
    ensure!(
        code != 0 && said.contains("older to the newer"),
        "preflight would send it, status {code}: {said}"
    );
    // The disk was attached by hand, and is not in the configuration that x0 boots by.
    scene.forget_the_disk();
    scene.standby(1, false)?;
    scene.expected.reboots = 1..=1;
    scene.leave(2, 1)?;
    scene.x0_has_booted_anew()?;
    scene.x0_had("stop@node1 start@node2 stop@node2 start@node1")?;
    shut_down_in_order_on(scene, 2)?;
    scene.agent_said(2, "no handoff:").map(say)?;
    let log = scene.agent_log(2)?;
    ensure!(!log.contains("offered to"), "node2 has offered x0 to an older Xen:\n{log}");
    Ok(())
}
