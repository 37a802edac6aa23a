//! A host that is switched off in order, `systemctl poweroff` and nothing else, with x0 on it.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::handoff::handed_over;
use super::{Scene, Story, lab};
use crate::cluster::{CHANGE, Status};
use crate::wait::{say, until_every};

pub(super) const STORIES: &[Story] = &[
    lab("handoff_when_the_host_is_switched_off", handoff),
    lab("host_switched_off_while_x0_is_leaving_lets_it_leave", under_way),
    lab("host_that_is_switched_off_shuts_x0_down_when_nobody_fetches_it", nobody),
];

/// What the host has said on its console while it waited for x0, one line each.
fn waited(scene: &Scene<'_>) -> Result<Vec<String>> {
    let console = scene.console(1)?;
    let said = console
        .lines()
        .filter_map(|line| line.find("waiting for x0: ").map(|at| line[at..].trim().to_string()));
    let said: Vec<String> = said.collect();
    said.iter().for_each(|line| say(format_args!("node1's console: {line}")));
    Ok(said)
}

fn handoff(scene: &mut Scene<'_>) -> Result<()> {
    scene.give_x0_a_disk()?;
    scene.node2_leads(None)?;
    scene.real_sessions(1)?;
    scene.expected.runs_on = Some(2);

    scene.power_off(1)?;
    scene.x0_arrives_on(2)?;
    scene.goes_off(1)?;

    scene.cluster_has_x0_on(2, 2)?;
    handed_over(scene)?;
    let said = waited(scene)?;
    let on_its_way = |line: &String| line.contains(" %, node2, ") && line.ends_with(" s left");
    ensure!(said.iter().any(on_its_way), "node1 has not said how far x0 is: {said:?}");
    scene.x0_was_hardly_silent()
}

/// The transfer runs already, inside the session of node2's login. systemd would end that session first of all.
fn under_way(scene: &mut Scene<'_>) -> Result<()> {
    scene.real_sessions(1)?;
    scene.expected.runs_on = Some(2);
    let _stopping = scene.stop_pacemaker(1)?;
    until_every(Duration::from_secs(1), "x0 to be on its way", CHANGE, || {
        let sender = scene.node(1)?.run("cat /proc/$(pgrep -f '[/]xl migrate -s ')/cgroup")?.stdout;
        Ok(sender.contains("/session-").then_some(()))
    })?;

    scene.power_off(1)?;
    scene.x0_arrives_on(2)?;
    scene.goes_off(1)?;

    scene.cluster_has_x0_on(2, 2)?;
    handed_over(scene)?;
    waited(scene)?;
    scene.x0_was_hardly_silent()
}

/// node2 cannot reach node1 any more once the offer stands.
fn nobody(scene: &mut Scene<'_>) -> Result<()> {
    scene.node2_leads(Some(("handoff_timeout", "60")))?;
    // A start that cannot succeed waits until its time is up, so it gets less of that here.
    scene.node(2)?.ok("cibadmin --modify --xml-text '<op id=\"x0-start\" timeout=\"60s\"/>'")?;
    let _lock = scene.node(1)?.start(
        "journalctl -f -n 0 -o cat -t xen-handoff | grep -q -m 1 'offered to node2'; \
         mount --bind /dev/null /root/.ssh/authorized_keys",
    )?;
    let log = std::env::current_dir()?.join("xl-x0.log");
    let _following = scene.node(1)?.record("tail -n +1 -F /var/log/xen/xl-x0.log", &log)?;
    scene.expected.runs_on = None;
    scene.expected.unanswered = true;

    scene.power_off(1)?;
    scene.goes_off(1)?;

    let said = waited(scene)?;
    ensure!(
        said.iter().any(|line| line.contains("on offer, not fetched yet, ")),
        "no offer was waited for: {said:?}"
    );
    let log = std::fs::read_to_string(&log)?;
    ensure!(log.contains("has shut down, reason code 0"), "x0 was not shut down in order:\n{log}");
    until_every(Duration::from_secs(2), "node2's start to fail", CHANGE, || {
        let failures = Status::read(scene.node(2)?)?.failures;
        Ok(failures.iter().any(|failure| failure.starts_with("x0_start_0 on node2")).then_some(()))
    })?;
    scene.agent_said(1, "nobody has fetched it; its offer ends now")?;
    Ok(())
}
