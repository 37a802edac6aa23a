//! What the stock agent was seen to do wrong, staged again (`doc/design/faults.md`, "On real Xen").

use std::time::Duration;

use anyhow::{Result, ensure};

use super::{Scene, Story, lab};
use crate::cluster::{CHANGE, Status};
use crate::guest;
use crate::wait::{say, until_every};

pub(super) const STORIES: &[Story] = &[
    lab("stop_of_a_guest_that_ignores_it_ends_in_time", stubborn),
    lab("stop_whose_tools_crash_never_says_stopped", crashing),
];

/// The stock agent waits for such a guest until the cluster's patience is at its end, and fencing follows.
fn stubborn(scene: &mut Scene<'_>) -> Result<()> {
    scene.node(2)?.ok("cibadmin --modify --xml-text '<op id=\"x0-stop\" timeout=\"90s\"/>'")?;
    guest::make_stubborn()?;
    scene.expected.runs_on = None;

    scene.meta("target-role", "Stopped")?;

    Status::wait(scene.node(2)?, "x0 to be stopped", |status| status.stopped("x0"))?;
    let operations = scene.x0_had("stop@node1")?;
    if let [stop] = operations.as_slice() {
        say(format_args!("stop took {:.1} of 90 s", stop.ended().unwrap_or_default() - stop.began));
    }
    Ok(())
}

/// The stock agent said "stopped" when a helper of its crashed, with x0 running; the cluster started x0 on the other node too.
fn crashing(scene: &mut Scene<'_>) -> Result<()> {
    let (first, second) = (scene.node(1)?, scene.node(2)?);
    second.ok("cibadmin --modify --xml-text '<op id=\"x0-stop\" timeout=\"60s\"/>'")?;
    first.ok("printf '#!/bin/sh\\nkill -SEGV $$\\n' >/run/crash && chmod 755 /run/crash && mount --bind /run/crash /usr/sbin/xl")?;

    say("crm_resource --move x0 to node2");
    second.ok("crm_resource -r x0 --move -N node2 -Q")?;
    until_every(Duration::from_secs(2), "node1's stop to fail", CHANGE, || {
        let failures = Status::read(second)?.failures;
        Ok(failures.into_iter().find(|failure| failure.starts_with("x0_stop_0 on node1")))
    })
    .map(say)?;

    first.ok("umount /usr/sbin/xl")?;
    let started = scene.operations()?.into_iter().any(|one| one.resource == "x0" && one.node == 2);
    ensure!(!started, "node2 was told to start x0, which runs on node1");
    scene.x0_runs_on(1)
}
