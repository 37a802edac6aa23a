//! Transfers that are killed at their worst moment: x0 is suspended, its last pages are on the way.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::{Scene, Story, lab};
use crate::cluster::CHANGE;
use crate::node::Node;
use crate::wait::{now, say, until, until_every};

pub(super) const STORIES: &[Story] = &[
    lab("sender_killed_while_x0_is_suspended_and_x0_runs_on", sender),
    lab("relay_and_receiver_killed_while_x0_is_suspended_and_x0_runs_on", relay_and_receiver),
    lab("keeper_killed_and_a_confined_guard_has_x0_shut_down_in_order", confined),
];

/// xl's sender on the source.
const XL_SENDER: &str = "/xl migrate -s ";
/// The process that began it, as sshd's forced command.
const SERVE: &str = "/xen-handoff serve";
const RELAY: &str = "/xen-handoff relay ";
const RECEIVER: &str = "/xl migrate-receive";

/// How long an offer may be without a keeper before the guard starts one, with a slow node's time to do it.
const KEEPER_COMES: Duration = Duration::from_secs(60);
/// How long x0 may stay suspended after its sender was killed.
const RESUMED: Duration = Duration::from_secs(60);

/// SIGKILL to every process of that command line, which has to be there.
fn kill(node: &Node, commands: &[&str]) -> Result<()> {
    // A shell cannot be told from what it looks for by its command line alone, so the pattern does not match itself.
    let patterns: Vec<String> = commands.iter().map(|command| format!("[/]{}", &command[1..])).collect();
    let pids = format!("pgrep -f -d ' ' -- '{}'", patterns.join("|"));
    node.ok(&format!("pids=$({pids}) && kill -KILL $pids")).map(drop)
}

/// Waits for the last phase of the transfer from node1 and kills there, then for x0 to run on node1 again.
fn broken_off(scene: &Scene<'_>, node: usize, commands: &[&str]) -> Result<()> {
    let suspended = scene.x0_is_suspended_on(1)?;
    kill(scene.node(node)?, commands)?;
    let phase = scene.node(1)?.ok("cat /run/xen-handoff/x0.json")?;
    ensure!(
        phase.contains("\"sending\"") || phase.contains("\"offered\""),
        "it was killed too late: {phase}"
    );
    say(format_args!(
        "killed on node{node} {:.1} s after x0 was suspended: {}",
        now() - suspended,
        commands.join(", ")
    ));
    until("x0 to run on node1 again", RESUMED, || Ok(scene.x0_runs_on(1).ok()))?;
    say(format_args!("x0 runs again on node1, {:.1} s after it was suspended", now() - suspended));
    Ok(())
}

fn sender(scene: &mut Scene<'_>) -> Result<()> {
    scene.give_x0_a_disk()?;
    scene.expected.runs_on = Some(2);
    scene.standby(1, true)?;

    // With the process that looks after it: the keeper of the offer, the guard or the next claim has to notice.
    broken_off(scene, 1, &[XL_SENDER, SERVE])?;
    scene.agent_said(1, "resuming the copy here")?;
    // Alone: the process that looks after it settles it.
    broken_off(scene, 1, &[XL_SENDER])?;

    scene.x0_arrives_on(2)?;
    scene.cluster_has_x0_on(2, 2)?;
    scene.x0_had("stop@node1 start@node2").map(drop)
}

fn relay_and_receiver(scene: &mut Scene<'_>) -> Result<()> {
    scene.give_x0_a_disk()?;
    scene.expected.runs_on = Some(2);
    scene.standby(1, true)?;

    // xl's sender outlives both, and takes x0 back by itself.
    broken_off(scene, 1, &[RELAY])?;
    broken_off(scene, 2, &[RECEIVER])?;

    scene.x0_arrives_on(2)?;
    scene.cluster_has_x0_on(2, 2)?;
    scene.x0_had("stop@node1 start@node2").map(drop)
}

/// With the drop-in of doc/confinement.md, so that the new keeper's xl and the scripts below it are confined as well. node2 cannot
/// reach node1 any more once the offer stands.
fn confined(scene: &mut Scene<'_>) -> Result<()> {
    let drop_in = include_bytes!("../../../packaging/examples/guard-confined.conf");
    let folder = "/etc/systemd/system/xen-handoff-guard.service.d";
    let first = scene.node(1)?;
    first.ok(&format!("mkdir -p {folder}"))?;
    first.put(&format!("{folder}/confined.conf"), drop_in, "644", "root")?;
    first.ok("systemctl daemon-reload && systemctl restart xen-handoff-guard.service")?;
    let level = "systemd-analyze security --no-pager xen-handoff-guard.service | tail -n 1";
    say(scene.node(1)?.ok(level)?.trim());
    scene.give_x0_a_disk()?;
    scene.node2_leads(Some(("handoff_timeout", "90")))?;
    // A start that cannot succeed waits until its time is up, so it gets less of that here.
    scene.node(2)?.ok("cibadmin --modify --xml-text '<op id=\"x0-start\" timeout=\"60s\"/>'")?;
    let log = std::env::current_dir()?.join("xl-x0.log");
    let _following = scene.node(1)?.record("tail -n +1 -F /var/log/xen/xl-x0.log", &log)?;
    scene.expected.runs_on = None;
    scene.expected.unanswered = true;

    let killed = scene.once_logged(
        1,
        "xen-handoff",
        "offered to node2",
        "mount --bind /dev/null /root/.ssh/authorized_keys && pkill -KILL -f '[/]xen-handoff keep'",
    )?;
    let _stopping = scene.stop_pacemaker(1)?;
    ensure!(killed.finish(CHANGE)?.status.success(), "no keeper was killed");
    let at_work = || Ok(scene.agent_said(1, "its offer has no keeper: starting one").ok());
    say(until("the guard to start a keeper", KEEPER_COMES, at_work)?);
    let gone = || Ok(scene.node(1)?.run("xl list x0")?.status.code().filter(|code| *code != 0).map(drop));
    until_every(Duration::from_secs(2), "x0 to be shut down on node1", CHANGE, gone)?;

    let log = std::fs::read_to_string(&log)?;
    ensure!(log.contains("has shut down, reason code 0"), "x0 was not shut down in order:\n{log}");
    let left = "xenstore-ls /local/domain/0/backend | grep -c online; ls /sys/class/net | grep -c '^vif'";
    let nothing = || Ok((scene.node(1)?.run(left)?.stdout.trim() == "0\n0").then_some(()));
    until_every(Duration::from_secs(2), "x0's disk and card to be given back", CHANGE, nothing)?;
    let refused = scene
        .node(1)?
        .run("journalctl -b -o cat -u xen-handoff-guard | grep -iE 'denied|not permitted|libxl: error'")?;
    ensure!(refused.stdout.is_empty(), "it was refused something:\n{}", refused.stdout);
    scene.agent_said(1, "its offer has ended: shut down").map(say)
}
