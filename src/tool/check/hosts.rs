//! The hosts: versions, guard, scheduler, hypervisor, clock.

use super::ask::NodeSays;
use super::finding::Finding;
use crate::host::NodeName;
use crate::peer::setup::GUARD;
use crate::peer::xendomains::XENDOMAINS;
use crate::preflight::Verdict;
use crate::preflight::setup::{Setup, Started};

/// Clocks that are further apart than this are worth a word, in milliseconds.
const CLOCK_WARNS: u64 = 1000;
/// Clocks that are further apart than this make an offer's time and that of a fencing no comparison, in
/// milliseconds.
const CLOCK_FAILS: u64 = 5000;

/// Whether all have the same version of this program.
pub(super) fn versions(up: &[(&NodeName, &Setup)]) -> Vec<Finding> {
    let newest = up.iter().map(|(_, setup)| setup.version.as_str()).max().unwrap_or_default();
    let version = |(node, setup): &(&NodeName, &Setup)| {
        if setup.version == newest {
            return Finding::ok("version", node, format!("xen-handoff {newest}"));
        }
        let found = format!("xen-handoff {}; others have {newest}", setup.version);
        Finding::new("version", node, Verdict::Warning, found, "end the upgrade")
    };
    up.iter().map(version).collect()
}

/// Whether a shutdown of the host would wait for its offers.
pub(super) fn guard(node: &NodeName, setup: &Setup) -> Finding {
    let advice = format!("on {node}: systemctl enable --now {GUARD}");
    let without = "a host that is powered off does not wait for its offers";
    match &setup.guard {
        Ok((active, enabled)) if active == "active" && enabled == "disabled" => {
            let found = format!("it runs, but not after the next boot: {without} then");
            Finding::new("guard", node, Verdict::Warning, found, advice)
        }
        Ok((active, _)) if active == "active" => Finding::ok("guard", node, format!("{GUARD} runs")),
        Ok((other, _)) => {
            Finding::new("guard", node, Verdict::Warning, format!("{GUARD} is {other}: {without}"), advice)
        }
        Err(why) => {
            Finding::new("guard", node, Verdict::Unknown, format!("{why}; without the guard {without}"), "")
        }
    }
}

/// Whether Xen's own service for guests leaves the cluster's domains alone.
pub(super) fn xendomains(says: &NodeSays) -> Vec<Finding> {
    let (Ok(setup), node) = (&says.setup, &says.node) else { return Vec::new() };
    let finding =
        |result, found: String, advice: String| Finding::new("xendomains", node, result, found, advice);
    let unknown = |why: &str, advice: &str| {
        let found = format!("what it would do with the cluster's domains is not known: {why}");
        vec![finding(Verdict::Unknown, found, advice.to_owned())]
    };
    let found = match &says.xendomains {
        Some(Ok(found)) => found,
        Some(Err(why)) => return unknown(why, ""),
        None => {
            let why = format!("xen-handoff {} there does not say", setup.version);
            return unknown(&why, "upgrade xen-handoff there");
        }
    };
    let sleeps = |(active, enabled): &(String, String)| {
        active != "active" && matches!(enabled.as_str(), "disabled" | "masked" | "not-found")
    };
    let sleeps = found.service.as_ref().is_ok_and(sleeps);
    let starts = |Started { resource, file, is_saved }: &Started| {
        let what = if *is_saved { "brings back" } else { "boots" };
        let when = if sleeps { "once it is enabled, " } else { "" };
        let found = format!(
            "{when}{XENDOMAINS} {what} {resource} from {file} whenever this host boots, wherever the cluster \
             has it: it could run twice"
        );
        let result = if sleeps { Verdict::Warning } else { Verdict::Failed };
        let advice = if *is_saved { "move it away" } else { "remove it" };
        finding(result, found, format!("on {node}, {file}: {advice}"))
    };
    let mut findings: Vec<Finding> = match &found.starts {
        Ok(all) => all.iter().map(starts).collect(),
        Err(_) if sleeps => Vec::new(),
        Err(why) => unknown(why, ""),
    };
    let settings = &found.settings;
    for (setting, value) in found.keeps.iter().filter(|_| !sleeps) {
        let what = if setting.ends_with("SAVE") { "saves" } else { "sends away" };
        let found = format!(
            "when it is stopped, {XENDOMAINS} {what} every domain that still runs, the cluster's too \
             ({setting}={value}): behind the cluster's back, so that it could run twice"
        );
        let advice = format!("on {node}, in {settings}: {setting}=");
        findings.push(finding(Verdict::Warning, found, advice));
    }
    if findings.is_empty() {
        let found = if sleeps { "it is not enabled" } else { "starts and keeps no domain of the cluster's" };
        findings.push(Finding::ok("xendomains", node, found));
    }
    findings
}

/// Whether the cluster there says what it plans.
pub(super) fn planner(node: &NodeName, setup: &Setup) -> Option<Finding> {
    let advice = "no stop there hands over until this is mended: crm_simulate and crm_mon of the cluster's own version";
    match &setup.planner {
        Some(Ok(())) => Some(Finding::ok("planner", node, "the scheduler says what it plans")),
        Some(Err(why)) => Some(Finding::new("planner", node, Verdict::Failed, why, advice)),
        None => {
            let found = "no cluster manager runs there";
            Some(Finding::new("planner", node, Verdict::Warning, found, "start the cluster there"))
        }
    }
}

/// Whether the toolstacks answer, and all have the same Xen.
pub(super) fn hypervisors(up: &[(&NodeName, &Setup)]) -> Vec<Finding> {
    let mut versions: Vec<&String> = up.iter().filter_map(|(_, setup)| setup.xen.as_ref().ok()).collect();
    versions.sort_unstable();
    versions.dedup();
    let xen = |(node, setup): &(&NodeName, &Setup)| match &setup.xen {
        Err(why) => {
            let advice = format!("on {node}: xl info");
            Finding::new(
                "xen",
                node,
                Verdict::Failed,
                format!("the toolstack does not answer: {why}"),
                advice,
            )
        }
        Ok(version) if versions.len() == 1 => Finding::ok("xen", node, format!("Xen {version}")),
        Ok(version) => {
            let found =
                format!("Xen {version}; not all nodes have the same: nothing moves alive to an older one");
            Finding::new("xen", node, Verdict::Warning, found, "end the upgrade")
        }
    };
    up.iter().map(xen).collect()
}

/// Whether its clock agrees with that of the node that asks.
pub(super) fn clock(says: &NodeSays) -> Option<Finding> {
    let (ahead, doubt) = says.clock?;
    let off = ahead.unsigned_abs().saturating_sub(doubt);
    #[allow(clippy::cast_precision_loss, reason = "for people")]
    let seconds = ahead.unsigned_abs() as f64 / 1000.0;
    let word = if ahead < 0 { "behind" } else { "ahead" };
    let found = format!("{seconds:.1} s {word} of this node's");
    let advice = format!("have NTP run on every node: on {}, chronyc tracking", says.node);
    Some(match off {
        CLOCK_FAILS.. => Finding::new("clock", &says.node, Verdict::Failed, found, advice),
        CLOCK_WARNS.. => Finding::new("clock", &says.node, Verdict::Warning, found, advice),
        _ => Finding::ok("clock", &says.node, "within a second of this node's"),
    })
}
