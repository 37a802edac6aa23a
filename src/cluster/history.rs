//! What the CIB's status section says of the past: which operations a node did on a resource, and whether it has come back
//! since it was fenced. Pure functions over a parsed CIB.

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

/// Whether the history says that `resource` is not active on `node`: its last operation there was a stop that succeeded, or
/// a probe that found none or nothing to run it with; or it is never looked for there; or the node is no member, left in
/// order (or was fenced), and has done nothing with the resource. `online`: whether it is a member.
///
/// A history that was cleaned up says nothing of a member; nor does one of a node that was lost.
pub(super) fn clears(cib: &Element, resource: &str, node: &NodeName, online: bool) -> bool {
    let Some(state) = state_of(cib, node) else { return is_never_looked_for(cib, resource, node) };
    let ops: Vec<&Element> =
        of_resource(state, resource).map(|history| history.every("lrm_rsc_op").collect()).unwrap_or_default();
    if ops.iter().any(|op| is_pending(op)) {
        return false;
    }
    match ops.iter().max_by_key(|op| call(op)) {
        Some(last) => matches!(
            (last.get("operation"), last.get("rc-code")),
            (Some("stop"), Some("0")) | (Some("monitor"), Some("7" | "5"))
        ),
        None => {
            is_never_looked_for(cib, resource, node) || (!online && state.get("expected") == Some("down"))
        }
    }
}

/// Whether the configuration says that `resource` cannot be on `node` and need not be looked for there
/// (`resource-discovery` of a location constraint): then there never is a history.
fn is_never_looked_for(cib: &Element, resource: &str, node: &NodeName) -> bool {
    let Some(constraints) = cib.at(&["configuration", "constraints"]) else { return false };
    let of_resource = || constraints.every("rsc_location").filter(|place| place.get("rsc") == Some(resource));
    let discovery = |place: &Element, how: &str| place.get("resource-discovery") == Some(how);
    let here = |place: &Element| place.get("node") == Some(node.as_str());
    let exclusive = of_resource().any(|place| discovery(place, "exclusive"));
    of_resource().any(|place| here(place) && discovery(place, "never"))
        || (exclusive && !of_resource().any(|place| here(place) && discovery(place, "exclusive")))
}

/// Whether the node of this state is a member right now, with a controller that answers.
pub(super) fn is_online(state: &Element) -> bool {
    is_member(state.get("in_ccm")) && is_member(state.get("crmd"))
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

/// Whether `node` has not come back since it was fenced. A fencing erases the node's history of operations; a node that came
/// back has one again (its probes), and keeps it when it then leaves in order.
pub(super) fn stayed_away(cib: &Element, node: &NodeName) -> bool {
    state_of(cib, node).is_some_and(|state| state.every("lrm_resource").next().is_none())
}

/// Whether the last word of this node's history on the guest is a failed monitor or start: then the stop is the first
/// half of a recovery. A failed migration is no failed guest.
pub(super) fn failed_guest(cib: &Element, resource: &str, node: &NodeName) -> Option<String> {
    let history = of_resource(state_of(cib, node)?, resource)?;
    let became_healthy = history
        .every("lrm_rsc_op")
        .filter(|op| {
            matches!(op.get("operation"), Some("start" | "migrate_from")) && op.get("rc-code") == Some("0")
        })
        .map(call)
        .max()
        .unwrap_or(-1);
    // The stop that asks has overwritten the start's entry; a recurring monitor that was begun later and succeeds says
    // the same. A failure of that very monitor has its own number.
    let seen_healthy = history
        .every("lrm_rsc_op")
        .filter(|op| op.get("operation") == Some("monitor") && op.get("rc-code") == Some("0"))
        .map(call)
        .max()
        .unwrap_or(-1);
    history
        .every("lrm_rsc_op")
        .filter(|op| !is_pending(op) && call(op) > became_healthy && call(op) >= seen_healthy)
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

    #[test]
    fn a_member_is_known_in_the_words_of_old_and_new_feature_sets() {
        assert!(is_member(Some("true")) && is_member(Some("online")) && is_member(Some("1795344067")));
        assert!(!is_member(Some("false")) && !is_member(Some("0")) && !is_member(None));
    }

    #[test]
    fn only_a_stop_or_a_probe_that_came_last_clears_a_node() {
        let clears = |ops: &[String]| clears(&cib("", &ops.concat()), "x0", &node("n1"), true);
        assert!(clears(&[op("monitor", 3, 7)]));
        assert!(clears(&[op("monitor", 3, 5)]), "there is nothing to run it with");
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
        assert!(!clears(&cib(r#"expected="down""#, ""), "x0", &node("n9"), false), "never seen");
    }

    #[test]
    fn a_node_where_it_is_never_looked_for_needs_no_history() {
        let clears = |constraint: &str, who: &str| {
            let cib = Element::parse(&format!(
                r#"<cib><configuration><constraints>{constraint}</constraints></configuration><status>
                <node_state uname="n1" expected="member"/><node_state uname="n2" expected="member"/></status></cib>"#
            ));
            clears(&cib.unwrap(), "x0", &node(who), true)
        };
        let place = |discovery: &str| {
            format!(
                r#"<rsc_location rsc="x0" node="n1" score="-INFINITY" resource-discovery="{discovery}"/>"#
            )
        };
        assert!(clears(&place("never"), "n1") && !clears(&place("never"), "n2"));
        assert!(clears(&place("exclusive"), "n2") && !clears(&place("exclusive"), "n1"));
        assert!(!clears(&place("always"), "n1") && !clears("", "n1"));
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
        let migrate =
            r#"<lrm_rsc_op operation="migrate_to" call-id="8" rc-code="1" interval="0" op-status="4"/>"#;
        assert_eq!(history(&format!("{start}{migrate}")), None);
        let probe = r#"<lrm_rsc_op operation="monitor" call-id="9" rc-code="7" interval="0" op-status="0"/>"#;
        assert_eq!(history(&format!("{start}{probe}")), None);
    }
}
