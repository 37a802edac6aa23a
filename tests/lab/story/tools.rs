//! The tools, as an operator uses them before and after a kernel update: what they say of a healthy cluster, and what they do.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::handoff::handed_over;
use super::{Scene, Story, lab};
use crate::cluster::{CHANGE, primitive};
use crate::guest::MEMORY;
use crate::second;
use crate::wait::{say, until_every};

pub(super) const STORIES: &[Story] = &[
    lab("drain_takes_x0_to_node2_as_its_plan_said", drain),
    lab("preflight_names_a_bridge_that_is_missing_and_no_byte_is_sent", bridge),
    lab("adopt_says_what_it_would_do", adopt),
    lab("adopt_takes_x0_from_the_stock_agent_as_it_runs_and_it_is_handed_over", adopted),
];

/// How often the nodes are looked at: each look costs them some.
const LOOK: Duration = Duration::from_secs(4);

/// What every check of `preflight` came to.
fn verdicts(scene: &Scene<'_>, node: usize) -> Result<Vec<(String, String)>> {
    let (_, text) = scene.tool(node, "preflight x0 --json")?;
    let reports: Value = serde_json::from_str(&text)?;
    let checks = reports["nodes"][0]["checks"].as_array().with_context(|| format!("no checks in {text}"))?;
    let word = |check: &Value, name: &str| check[name].as_str().unwrap_or_default().to_owned();
    Ok(checks.iter().map(|check| (word(check, "check"), word(check, "result"))).collect())
}

fn drain(scene: &mut Scene<'_>) -> Result<()> {
    scene.give_x0_a_disk()?;
    scene.tool_ok(1, "preflight x0")?;
    let not_ok: Vec<_> = verdicts(scene, 1)?.into_iter().filter(|(_, result)| result != "ok").collect();
    // No move of this node has shown yet how fast it is.
    ensure!(not_ok == [("timeouts".to_owned(), "unknown".to_owned())], "{not_ok:?}");
    ensure!(scene.tool_ok(1, "recover --dry-run x0")?.contains("nothing to do"), "x0 is well");
    scene.tool_ok(1, "status --all")?;
    scene.tool_ok(1, "history")?;

    let plan = scene.tool_ok(2, "drain --plan node1")?;
    ensure!(plan.contains("handed off") && plan.contains("node2"), "{plan}");
    scene.expected.runs_on = Some(2);
    let draining = scene.node(2)?.start("xen-handoff drain node1 2>&1")?;
    let progress = until_every(LOOK, "a program to see x0's progress", CHANGE, || {
        let look: Value = serde_json::from_str(&scene.tool_ok(2, "status --all --json")?)?;
        let nodes = look["nodes"].as_array().cloned().unwrap_or_default();
        let mut rows = nodes.iter().flat_map(|node| node["domains"].as_array().cloned().unwrap_or_default());
        let leaving =
            |row: &Value| row["domain"] == "x0" && row["progress"]["bytes"].as_u64() > Some(1 << 20);
        Ok(rows.find(leaving))
    })?;
    say(&progress);
    scene.tool_ok(2, "status --all")?;
    let drained = draining.finish(CHANGE)?;
    say("node2# xen-handoff drain node1");
    drained.stdout.lines().for_each(|line| say(format_args!("    {line}")));
    ensure!(drained.status.success(), "drain: {}", drained.stdout);
    scene.x0_runs_on(2)?;
    scene.cluster_has_x0_on(2, 2)?;
    scene.x0_had("stop@node1 start@node2")?;

    scene.tool_ok(1, "history")?;
    scene.tool_ok(2, "history")?;
    scene.tool_ok(2, "history --metrics")?;
    scene.tool_ok(1, "status --all")?;
    // Back would work as well, and now it is known how fast.
    scene.tool_ok(2, "preflight x0")?;
    let not_ok: Vec<_> = verdicts(scene, 2)?.into_iter().filter(|(_, result)| result != "ok").collect();
    ensure!(not_ok.is_empty(), "{not_ok:?}");
    scene.x0_was_hardly_silent()
}

/// x0 gets a second interface on a bridge that node1 alone has.
fn bridge(scene: &mut Scene<'_>) -> Result<()> {
    scene.node(1)?.ok("ip link add lan7 type bridge && ip link set lan7 up")?;
    scene.node(1)?.ok("xl network-attach x0 bridge=lan7 2>&1")?;
    let (code, text) = scene.tool(1, "preflight x0")?;
    ensure!(code == 1 && text.contains("lan7"), "{text}");
    let failed: Vec<_> = verdicts(scene, 1)?.into_iter().filter(|(_, result)| result == "failed").collect();
    ensure!(failed == [("bridges".to_owned(), "failed".to_owned())], "{failed:?}");

    scene.meta("allow-migrate", "true")?;
    scene.expected.runs_on = Some(2);
    scene.standby(1, true)?;
    // Pacemaker goes on with a stop and a start, which is a handoff; until then there is time to make the bridge.
    until_every(LOOK, "the cluster's own migration to be refused", CHANGE, || {
        Ok(scene.operations()?.into_iter().find(|one| one.name == "migrate_to" && one.result.is_some()))
    })?;
    scene.node(2)?.ok("ip link add lan7 type bridge && ip link set lan7 up")?;
    let refused = scene.agent_said(1, "bridges: not there: lan7")?;
    say(refused);
    let moves = scene.history(1, "x0")?;
    ensure!(moves.iter().all(|moved| moved.why != "migration"), "{moves:?}");
    scene.x0_arrives_on(2)?;
    scene.cluster_has_x0_on(2, 2)?;
    // The scripts of two interfaces take a while to clear the old copy away.
    until_every(LOOK, "node1 to have nothing left of x0", CHANGE, || {
        let last = scene.lab.samples.last(1);
        Ok(last.is_some_and(|sample| sample.copies.is_empty()).then_some(()))
    })?;
    scene.x0_was_hardly_silent()
}

/// A resource of the stock agent's, which the cluster does not touch.
fn adopt(scene: &mut Scene<'_>) -> Result<()> {
    let node = scene.node(2)?;
    let (_, none) = scene.tool(2, "adopt --dry-run")?;
    ensure!(none.contains("no resource of ocf:heartbeat:Xen"), "{none}");
    second::configure(&scene.lab.nodes, MEMORY)?;
    node.ok("crm_attribute -t crm_config -n maintenance-mode -v true")?;
    scene.configure("resources", &primitive("x1", "heartbeat", ""))?;
    let said = scene.tool_ok(2, "adopt --dry-run")?;
    ensure!(said.contains("provider=\"handoff\"") && said.contains("crm_resource --refresh"), "{said}");
    let still = node.ok("cibadmin -Q -o resources")?;
    ensure!(still.contains("provider=\"heartbeat\""), "a dry run has changed something: {still}");
    scene.x0_had("").map(drop)
}

/// The first hour of a cluster that had the stock agent, and the way back before it: x0 runs on through both.
fn adopted(scene: &mut Scene<'_>) -> Result<()> {
    scene.give_x0_a_disk()?;
    scene.back_to_the_stock_agent()?;
    let status = scene.node(2)?.ok("crm_mon -1 -r")?;
    ensure!(status.contains("ocf:heartbeat:Xen") && !status.contains("ocf:handoff:Xen"), "{status}");

    let said = scene.tool_ok(2, "adopt x0")?;
    ensure!(said.contains("provider=\"handoff\""), "{said}");
    scene.cluster_has_x0_on(2, 1)?;
    let status = scene.node(2)?.ok("crm_mon -1 -r")?;
    ensure!(status.contains("ocf:handoff:Xen") && !status.contains("ocf:heartbeat:Xen"), "{status}");
    scene.x0_had("")?;
    scene.x0_runs_on(1)?;

    scene.leave(1, 2)?;
    handed_over(scene)?;
    scene.x0_was_hardly_silent()
}
