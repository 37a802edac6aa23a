//! Where there is nothing to hand over: a real stop, Pacemaker's own migration, a domain that is nobody's business.

use anyhow::{Result, ensure};

use super::{Scene, Story, lab};
use crate::cluster::{CHANGE, Status};
use crate::node::Node;
use crate::wait::say;

pub(super) const STORIES: &[Story] = &[
    lab("migration_of_pacemakers_own_with_allow_migrate", migration),
    lab("stop_is_a_shutdown_when_target_role_is_stopped", target_role),
    lab("stop_is_a_shutdown_when_what_x0_stands_on_stops_here", stands_on),
    lab("unmanaged_domain_is_left_alone_when_pacemaker_stops", unmanaged),
    lab("monitor_starts_no_process_while_x0_runs_and_one_otherwise", monitor),
];

fn migration(scene: &mut Scene<'_>) -> Result<()> {
    scene.meta("allow-migrate", "true")?;
    scene.leave(1, 2)?;
    let operations = scene.x0_had("migrate_to@node1 migrate_from@node2 stop@node1")?;
    for operation in operations {
        let took = operation.ended().unwrap_or_default() - operation.began;
        say(format_args!("{} on node{} took {took:.1} s", operation.name, operation.node));
    }
    scene.x0_was_hardly_silent()
}

fn target_role(scene: &mut Scene<'_>) -> Result<()> {
    scene.expected.runs_on = None;

    scene.meta("target-role", "Stopped")?;

    Status::wait(scene.node(2)?, "x0 to be stopped", |status| status.stopped("x0"))?;
    let operations = scene.x0_had("stop@node1")?;
    if let [stop] = operations.as_slice() {
        say(format_args!("stop took {:.1} s", stop.ended().unwrap_or_default() - stop.began));
    }
    shut_down_in_order(scene)
}

/// xl's monitor on node1 has seen the guest power itself off, which it does only when it was asked and not destroyed.
pub(super) fn shut_down_in_order(scene: &Scene<'_>) -> Result<()> {
    shut_down_in_order_on(scene, 1)
}

/// The same of another node. A domain that arrived by a migration has a log of another name.
pub(super) fn shut_down_in_order_on(scene: &Scene<'_>, node: usize) -> Result<()> {
    let log = scene.node(node)?.ok("cat /var/log/xen/xl-x0*.log")?;
    ensure!(log.contains("has shut down, reason code 0"), "x0 was not shut down in order:\n{log}");
    Ok(())
}

/// x0 is ordered after a resource, which stands for a file system or a DRBD: when that stops on node1, x0 cannot run on
/// there, whatever the cluster wants next.
fn stands_on(scene: &mut Scene<'_>) -> Result<()> {
    let store = r#"<primitive id="store" class="ocf" provider="heartbeat" type="Dummy"/>"#;
    scene.configure("resources", store)?;
    let home = r#"<rsc_location id="store-home" rsc="store" node="node1" score="10"/>"#;
    scene.configure("constraints", home)?;
    let status = Status::wait(scene.node(2)?, "store to be started", |status| status.runs("store", "node1"))?;
    ensure!(status.runs("x0", "node1"), "x0 was moved by a resource beside it: {status:?}");
    // Only now, when nothing of it has to be brought about by a restart of x0.
    scene.configure("constraints", r#"<rsc_order id="store-then-x0" first="store" then="x0"/>"#)?;
    let with_store = r#"<rsc_colocation id="x0-with-store" rsc="x0" with-rsc="store" score="INFINITY"/>"#;
    scene.configure("constraints", with_store)?;
    scene.expected.reboots = 1..=1;

    scene.leave(1, 2)?;
    scene.x0_has_booted_anew()?;
    scene.x0_had("stop@node1 start@node2")?;
    shut_down_in_order(scene)?;
    let line = scene.agent_said(1, "no handoff:")?;
    ensure!(line.contains("store"), "the agent does not say what x0 stands on: {line}");
    Ok(())
}

fn unmanaged(scene: &mut Scene<'_>) -> Result<()> {
    scene.meta("is-managed", "false")?;
    Status::wait(scene.node(2)?, "x0 to be unmanaged", |status| {
        status.resource("x0").is_some_and(|x0| !x0.managed)
    })?;

    let output = scene.stop_pacemaker(1)?.finish(CHANGE)?;
    ensure!(output.status.success(), "systemctl stop pacemaker failed: {}", output.stderr);

    scene.x0_runs_on(1)?;
    scene.x0_had("")?;
    scene.x0_was_hardly_silent()
}

/// While x0 runs, the hypervisor and xenstore say so; what they do not say, xl is asked for. What a monitor costs is in
/// `make bench-agent`.
fn monitor(scene: &mut Scene<'_>) -> Result<()> {
    let node = scene.node(1)?;
    // What is done to x0 here is none of the cluster's business.
    node.ok("crm_attribute -t crm_config -n maintenance-mode -v true")?;
    let absent = node.ok("cat /etc/xen/x0.cfg")?.replace("x0", "x9");
    node.put("/etc/xen/x9.cfg", absent.as_bytes(), "644", "root")?;
    ensure!(begun_by_a_monitor(node, "x0", 0)? == 0, "a monitor of x0, which runs, began a process");
    node.ok("xl pause x0")?;
    let paused = begun_by_a_monitor(node, "x0", 190);
    node.ok("xl unpause x0")?;
    ensure!(paused? == 1, "a monitor of x0, which is paused, began not one process");
    ensure!(
        begun_by_a_monitor(node, "x9", 7)? == 1,
        "a monitor of x9, which is absent, began not one process"
    );
    // The name of a copy that arrives, and xl's daemon of one that runs: no proof that it does not run here.
    node.ok("xl rename x0 x0--incoming")?;
    let renamed = node.run(&monitor_of("x0"));
    node.ok("xl rename x0--incoming x0")?;
    let code = renamed?.code();
    say(format_args!("monitor of x0, which runs by the name of one that arrives: {code}"));
    ensure!(code != 7, "a monitor of x0, which runs by another name, says that it does not");
    Ok(())
}

/// The agent's recurring monitor, as the cluster calls it.
fn monitor_of(domain: &str) -> String {
    format!(
        "env OCF_ROOT=/usr/lib/ocf OCF_RESOURCE_INSTANCE={domain} OCF_RESKEY_xmfile=/etc/xen/{domain}.cfg \
         OCF_RESKEY_CRM_meta_interval=10000 /usr/lib/ocf/resource.d/handoff/Xen monitor"
    )
}

/// How many processes the agent's monitor begins, which answers so.
fn begun_by_a_monitor(node: &Node, domain: &str, answer: i32) -> Result<usize> {
    // strace shows one line for each program; Debian's xl is a script that becomes the real one, in the same process.
    let agent = monitor_of(domain);
    let traced = |command: &str| {
        node.run(&format!("strace -f -qq -e trace=vfork,clone,clone3,fork -o /tmp/st {command}"))
    };
    // The first one reads the configuration, which is another process.
    traced(&agent)?;
    let output = traced(&agent)?;
    ensure!(
        output.code() == answer,
        "monitor of {domain}: {} and not {answer}: {}",
        output.code(),
        output.stderr
    );
    let trace = node.ok("cat /tmp/st")?;
    let begins = |line: &&str| {
        let call = ["fork(", "clone(", "clone3("].iter().any(|call| line.contains(call));
        call && !line.contains("CLONE_THREAD")
    };
    let began = trace.lines().filter(begins).count();
    say(format_args!("monitor of {domain}, answer {answer}, began {began} process(es)"));
    Ok(began)
}
