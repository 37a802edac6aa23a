//! What the CIB's status section says of the past: which operations a node did on a resource, and whether it
//! has come back since it was fenced. Pure functions over a parsed CIB.

use super::xml::Element;
use crate::host::NodeName;

fn state_of<'a>(cib: &'a Element, node: &NodeName) -> Option<&'a Element> {
    cib.child("status")?.every("node_state").find(|state| state.get("uname") == Some(node.as_str()))
}

fn of_resource<'a>(state: &'a Element, resource: &str) -> Option<&'a Element> {
    state.every("lrm_resource").find(|history| history.get("id") == Some(resource))
}

/// The number that the node's executor gave the operation: a later one is larger.
fn call(op: &Element) -> i64 {
    op.get("call-id").and_then(|id| id.parse().ok()).unwrap_or(-1)
}

fn is_pending(op: &Element) -> bool {
    op.get("op-status") == Some("-1")
}

/// What the cluster's history says of `resource` on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    /// It is not active there: its last operation there was a stop that succeeded, or a probe that found
    /// none; or the node is no member, left in order (or was fenced), and has done nothing with it.
    NotThere,
    /// The cluster's executor has no such agent there, so nothing that it did there can have made it run;
    /// unless the agent has been taken away since.
    NoAgent,
    /// Nothing was ever done with it there, not even a probe.
    Nothing,
    /// None of these.
    MayBeThere,
}

/// The executor's status of an operation whose agent is not installed (`PCMK_EXEC_NOT_INSTALLED`).
const NOT_INSTALLED: &str = "7";

/// Reads it. `online`: whether the node is a member.
///
/// A probe counts with what it was asked: 7 is an answer about the domain, 5 is none (a file was missing, the
/// name was not known). A history that was cleaned up says nothing of a member; nor does one of a node that
/// was lost.
pub(super) fn word(cib: &Element, resource: &str, node: &NodeName, online: bool) -> Word {
    let Some(state) = state_of(cib, node) else { return Word::Nothing };
    let ops: Vec<&Element> =
        of_resource(state, resource).map(|history| history.every("lrm_rsc_op").collect()).unwrap_or_default();
    if ops.iter().any(|op| is_pending(op)) {
        return Word::MayBeThere;
    }
    let left_in_order = !online && state.get("expected") == Some("down");
    let Some(last) = ops.iter().max_by_key(|op| call(op)) else {
        return if left_in_order { Word::NotThere } else { Word::Nothing };
    };
    match (last.get("operation"), last.get("rc-code")) {
        (Some("stop"), Some("0")) | (Some("monitor"), Some("7")) => Word::NotThere,
        (Some("monitor"), Some("5")) if last.get("op-status") == Some(NOT_INSTALLED) && ops.len() == 1 => {
            if left_in_order {
                Word::NotThere
            } else {
                Word::NoAgent
            }
        }
        _ => Word::MayBeThere,
    }
}

/// This CIB without any constraint; `None` if none of its constraints can keep a resource from being looked
/// for.
pub(super) fn without_constraints(cib: &str) -> Option<String> {
    let begin = cib.find("<constraints>")?;
    let end = begin + cib[begin..].find("</constraints>")?;
    let speaks_of_it = cib[begin..end].contains("resource-discovery");
    speaks_of_it.then(|| format!("{}<constraints>{}", &cib[..begin], &cib[end..]))
}

/// All nodes that can run a domain: cluster nodes and remote nodes, whether they are configured, were seen,
/// or are only a resource; never guest nodes, which are domains or containers themselves.
pub(super) fn hosts(cib: &Element) -> Result<Vec<&str>, String> {
    let configuration = cib.child("configuration").ok_or("no configuration")?;
    let nodes = configuration.child("nodes").ok_or("no nodes")?;
    let status = cib.child("status").ok_or("no status")?;
    let is_remote_node = |node: &Element| node.get("type") == Some("remote");
    let configured = nodes.every("node").filter_map(|node| Some((node.get("uname")?, is_remote_node(node))));
    let seen = status
        .every("node_state")
        .filter_map(|state| Some((state.get("uname")?, state.get("remote_node") == Some("true"))));
    let resources: Vec<&Element> = configuration.every("primitive").collect();
    let templates: Vec<&Element> = configuration.every("template").collect();
    let connects = |resource: &&&Element| {
        let is = |element: &Element| {
            element.get("provider") == Some("pacemaker") && element.get("type") == Some("remote")
        };
        let template = resource.get("template");
        is(resource) || templates.iter().any(|other| template == other.get("id") && is(other))
    };
    let remote = resources.iter().filter(connects).filter_map(|resource| Some((resource.get("id")?, true)));
    let mut hosts: Vec<&str> = Vec::new();
    for (name, is_remote) in configured.chain(seen).chain(remote) {
        let is_none = || is_remote && is_guest(configuration, name);
        if !hosts.contains(&name) && !is_none() {
            hosts.push(name);
        }
    }
    Ok(hosts)
}

/// Whether a node of Pacemaker Remote is certainly a guest: a resource's `remote-node`, or an instance of a
/// bundle; and no connection of its own is configured.
fn is_guest(configuration: &Element, name: &str) -> bool {
    let is_remote_node =
        |pair: &Element| pair.get("name") == Some("remote-node") && pair.get("value") == Some(name);
    let is_instance = |bundle: &Element| {
        let number = bundle.get("id").and_then(|id| name.strip_prefix(id)?.strip_prefix('-'));
        number.is_some_and(|number| !number.is_empty() && number.chars().all(|c| c.is_ascii_digit()))
    };
    let has_its_own = configuration.every("primitive").any(|resource| resource.get("id") == Some(name));
    let guest =
        configuration.every("nvpair").any(is_remote_node) || configuration.every("bundle").any(is_instance);
    guest && !has_its_own
}

/// Whether the node of this state is a member right now, with a controller that answers. One of Pacemaker
/// Remote has none.
pub(super) fn is_online(state: &Element) -> bool {
    let is_remote = state.get("remote_node") == Some("true");
    is_member(state.get("in_ccm")) && (is_remote || is_member(state.get("crmd")))
}

/// `true` and `online` up to feature set 3.17, a time other than 0 after it.
fn is_member(value: Option<&str>) -> bool {
    value.is_some_and(|value| {
        matches!(value, "true" | "online") || value.parse::<u64>().is_ok_and(|since| since > 0)
    })
}

/// Whether the cluster expects `node` to be a member: it has neither left in order nor been fenced.
pub(super) fn is_expected(cib: &Element, node: &NodeName) -> bool {
    state_of(cib, node).is_some_and(|state| state.get("expected") == Some("member"))
}

/// Whether an operation that succeeded came after one that failed. A recurring monitor keeps its number, and
/// its last failure is an entry of its own that stays: so the times of the two results decide, and the
/// numbers where there are none or they are the same.
fn came_after(success: &Element, failure: &Element) -> bool {
    let time = |op: &Element| op.get("last-rc-change").and_then(|time| time.parse::<i64>().ok());
    match (time(success), time(failure)) {
        (Some(success), Some(failure)) if success != failure => success > failure,
        _ => call(success) > call(failure),
    }
}

/// Whether `node` has not come back since it was fenced. A fencing erases the node's history of operations; a
/// node that came back has one again (its probes), and keeps it when it then leaves in order.
pub(super) fn stayed_away(cib: &Element, node: &NodeName) -> bool {
    state_of(cib, node).is_some_and(|state| state.every("lrm_resource").next().is_none())
}

/// Whether the last word of this node's history on the guest is a failed monitor or start: then the stop is
/// the first half of a recovery. A failed migration is no failed guest.
pub(super) fn failed_guest(cib: &Element, resource: &str, node: &NodeName) -> Option<String> {
    let history = of_resource(state_of(cib, node)?, resource)?;
    // The stop that asks has overwritten the start's entry; a recurring monitor that has succeeded since says
    // the same.
    let healthy: Vec<&Element> = history
        .every("lrm_rsc_op")
        .filter(|op| matches!(op.get("operation"), Some("start" | "migrate_from" | "monitor")))
        .filter(|op| op.get("rc-code") == Some("0") && !is_pending(op))
        .collect();
    history
        .every("lrm_rsc_op")
        .filter(|op| !is_pending(op) && !healthy.iter().any(|healthy| came_after(healthy, op)))
        .filter(|op| match op.get("operation") {
            Some("monitor") => {
                let probe = op.get("interval").is_none_or(|interval| interval == "0");
                !probe && !matches!(op.get("rc-code"), Some("0" | "8" | "190" | "191"))
            }
            Some("start") => op.get("rc-code") != Some("0"),
            _ => false,
        })
        .max_by_key(|op| call(op))
        .map(|op| {
            let reason =
                op.get("exit-reason").filter(|reason| !reason.is_empty()).unwrap_or("no reason given");
            format!("{} failed here: {reason}", op.get("operation").unwrap_or("an operation"))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str) -> NodeName {
        NodeName::new(name).unwrap()
    }

    fn cib(state: &str, ops: &str) -> Element {
        Element::parse(&format!(
            r#"<cib><status><node_state uname="n1" {state}><lrm><lrm_resources><lrm_resource id="x0">{ops}</lrm_resource>
            </lrm_resources></lrm></node_state></status></cib>"#
        ))
        .unwrap()
    }

    fn history(ops: &str) -> Option<String> {
        failed_guest(&cib("", ops), "x0", &node("n1"))
    }

    fn op(operation: &str, call: u32, rc: u32) -> String {
        format!(
            r#"<lrm_rsc_op operation="{operation}" call-id="{call}" rc-code="{rc}" interval="0" op-status="0"/>"#
        )
    }

    fn clears(cib: &Element, resource: &str, node: &NodeName, online: bool) -> bool {
        word(cib, resource, node, online) == Word::NotThere
    }

    #[test]
    fn a_member_is_known_in_the_words_of_old_and_new_feature_sets() {
        assert!(is_member(Some("true")) && is_member(Some("online")) && is_member(Some("1795344067")));
        assert!(!is_member(Some("false")) && !is_member(Some("0")) && !is_member(None));
    }

    #[test]
    fn only_a_stop_or_a_probe_that_came_last_and_has_found_none_clears_a_node() {
        let clears = |ops: &[String]| clears(&cib("", &ops.concat()), "x0", &node("n1"), true);
        assert!(clears(&[op("monitor", 3, 7)]));
        assert!(!clears(&[op("monitor", 3, 5)]), "it did not know the name");
        assert!(clears(&[op("start", 4, 0), op("stop", 9, 0)]));
        assert!(!clears(&[op("stop", 4, 0), op("start", 9, 0)]));
        assert!(
            !clears(&[op("stop", 4, 0), op("start", 9, 1)]),
            "a start that failed may yet have an effect"
        );
        assert!(!clears(&[op("stop", 9, 1)]));
        assert!(!clears(&[op("monitor", 9, 1)]));
        assert!(!clears(&[op("stop", 9, 0), op("migrate_from", 12, 0)]));
        let pending =
            r#"<lrm_rsc_op operation="start" call-id="-1" rc-code="193" interval="0" op-status="-1"/>"#;
        assert!(!clears(&[op("stop", 9, 0), pending.to_owned()]));
    }

    #[test]
    fn a_node_without_our_agent_is_told_from_one_that_did_not_know_the_name() {
        let missing = op("monitor", 3, 5).replace("op-status=\"0\"", "op-status=\"7\"");
        let word =
            |state: &str, ops: &[&str], online| word(&cib(state, &ops.concat()), "x0", &node("n1"), online);
        assert_eq!(word("", &[&missing], true), Word::NoAgent);
        assert_eq!(word("", &[&op("monitor", 3, 5)], true), Word::MayBeThere);
        assert_eq!(word("", &[&op("start", 2, 0), &missing], true), Word::MayBeThere, "it had one");
        assert_eq!(word(r#"expected="down""#, &[&missing], false), Word::NotThere);
        assert_eq!(word(r#"expected="member""#, &[&missing], false), Word::NoAgent);
    }

    #[test]
    fn a_node_without_a_history_is_cleared_only_if_it_left_in_order() {
        for (state, online, cleared) in [
            (r#"expected="member""#, true, false),
            (r#"expected="down""#, true, false),
            (r#"expected="member""#, false, false),
            (r#"expected="down""#, false, true),
        ] {
            assert_eq!(
                clears(&cib(state, ""), "x0", &node("n1"), online),
                cleared,
                "{state} online={online}"
            );
        }
        assert_eq!(
            word(&cib(r#"expected="down""#, ""), "x0", &node("n9"), false),
            Word::Nothing,
            "never seen"
        );
    }

    /// See `tests/captured/field/README.md`.
    fn field(name: &str) -> String {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/captured/field");
        std::fs::read_to_string(format!("{folder}/{name}.xml")).unwrap()
    }

    #[test]
    fn only_hosts_are_asked_and_guest_nodes_are_none() {
        let guest = Element::parse(&field("guest")).unwrap();
        let names = |cib: &Element| hosts(cib).unwrap().join(" ");
        assert_eq!(names(&guest), "n1 n2");
        let other = |resources: &str| {
            let cib = format!(
                r#"<cib><configuration><nodes><node uname="n1"/><node uname="r1" type="remote"/></nodes><resources>{resources}
                </resources></configuration><status><node_state uname="r2" remote_node="true"/></status></cib>"#
            );
            names(&Element::parse(&cib).unwrap())
        };
        assert_eq!(other(""), "n1 r1 r2", "not known to be guests");
        let connection = r#"<template id="t" class="ocf" provider="pacemaker" type="remote"/><primitive id="r3" template="t"/>"#;
        assert_eq!(other(connection), "n1 r1 r2 r3");
        let guests = r#"<template id="t"><meta_attributes><nvpair name="remote-node" value="r1"/></meta_attributes></template>
            <bundle id="r"/>"#;
        assert_eq!(other(guests), "n1 r2");
        assert_eq!(other(&format!("{guests}<primitive id=\"r1\"/>")), "n1 r1 r2");
        let member = r#"<primitive><nvpair name="remote-node" value="n1"/></primitive>"#;
        assert_eq!(other(member), "n1 r1 r2", "a member is none");
    }

    #[test]
    fn a_configuration_that_keeps_nothing_from_being_looked_for_needs_no_question() {
        assert_eq!(without_constraints("<cib><constraints/></cib>"), None);
        assert_eq!(
            without_constraints("<cib><constraints><rsc_location rsc=\"x0\"/></constraints></cib>"),
            None
        );
        let free = without_constraints(&field("disc-rule")).unwrap();
        assert!(Element::parse(&free).unwrap().every("rsc_location").next().is_none());
    }

    #[test]
    fn a_node_that_came_back_after_its_fencing_is_not_fenced() {
        let captured = |name: &str| {
            let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/captured/pacemaker-2.1.5");
            Element::parse(&std::fs::read_to_string(format!("{folder}/{name}.cib.xml")).unwrap()).unwrap()
        };
        let both = captured("cib--n1-left-n3-fenced");
        assert!(stayed_away(&both, &node("n3")));
        assert!(!stayed_away(&both, &node("n1")), "n1 left in order");
        assert!(!stayed_away(&captured("cib--n3-fenced"), &node("n1")), "a member");
        // Nothing was ever run there in these captures.
        assert!(clears(&both, "x0", &node("n1"), false) && clears(&both, "x0", &node("n3"), false));
        assert!(!clears(&both, "x0", &node("n2"), true));
    }

    #[test]
    fn a_failed_monitor_makes_the_stop_a_recovery_but_a_failed_migration_does_not() {
        let start = r#"<lrm_rsc_op operation="start" call-id="5" rc-code="0" interval="0"/>"#;
        let monitor = |call, rc| {
            format!(
                r#"<lrm_rsc_op operation="monitor" call-id="{call}" rc-code="{rc}" interval="10000" op-status="0"/>"#
            )
        };
        assert_eq!(history(start), None);
        assert!(history(&format!("{start}{}", monitor(7, 1))).is_some());
        assert_eq!(history(&format!("{start}{}", monitor(7, 0))), None);
        assert!(
            history(&format!("{}{}", monitor(7, 0), monitor(7, 1))).is_some(),
            "the same monitor, failed at last"
        );
        assert_eq!(history(&format!("{}{}", monitor(9, 0), monitor(7, 1))), None, "an old failure");
        assert_eq!(history(&format!("{start}{}", monitor(3, 1))), None, "it has been started anew since");
        // The monitor's last failure stays, under the monitor's own number.
        let at = |rc: u32, time: u32| {
            monitor(7, rc).replace("op-status", &format!("last-rc-change=\"{time}\" op-status"))
        };
        assert_eq!(history(&format!("{}{}", at(1, 100), at(0, 200))), None, "it has recovered since");
        assert!(history(&format!("{}{}", at(0, 100), at(1, 200))).is_some());
        assert!(history(&format!("{}{}", at(0, 100), at(1, 100))).is_some(), "in doubt it has failed");
        let migrate =
            r#"<lrm_rsc_op operation="migrate_to" call-id="8" rc-code="1" interval="0" op-status="4"/>"#;
        assert_eq!(history(&format!("{start}{migrate}")), None);
        let probe = r#"<lrm_rsc_op operation="monitor" call-id="9" rc-code="7" interval="0" op-status="0"/>"#;
        assert_eq!(history(&format!("{start}{probe}")), None);
    }
}
