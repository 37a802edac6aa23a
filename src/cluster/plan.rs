//! Reads a plan out of two documents that Pacemaker's own tools print: the CIB, and what its scheduler makes of that same
//! CIB when it is told "this stop has succeeded" (`crm_simulate --simulate --op-inject`). Pure functions over text.
//!
//! The scheduler's final place of a resource is reliable; its list of operations is not (it shows operations that never
//! come, in the two stops after a failed migration). So the final place decides where the resource goes, and the list is
//! only ever used to say *no*: a foundation that the list stops here is taken as lost.

use std::collections::BTreeSet;

use super::xml::Element;
use super::{Destination, Plan, history};
use crate::host::NodeName;

/// The plan for `resource` after its stop on `node`.
///
/// # Errors
/// What is missing or contradictory, in words: the plan is unknown then.
pub(super) fn read(simulation: &str, cib: &str, resource: &str, node: &NodeName) -> Result<Plan, String> {
    let simulation = Element::parse(simulation).map_err(|what| format!("simulation: {what}"))?;
    let cib = Element::parse(cib).map_err(|what| format!("CIB: {what}"))?;
    if simulation.child("status").and_then(|status| status.get("code")) != Some("0") {
        return Err("the simulation did not succeed".to_owned());
    }
    let before = simulation.child("cluster_status").ok_or("the simulation has no cluster_status")?;
    let after =
        simulation.child("revised_cluster_status").ok_or("the simulation has no revised_cluster_status")?;
    let transition = simulation.child("transition");
    Ok(Plan {
        destination: destination(after, resource, node)?,
        losing: losing(before, after, transition, &cib, resource, node)?,
        failed: history::failed_guest(&cib, resource, node),
        survivors: survivors(before, node)?,
    })
}

/// Where the simulation ends with it. After a rejoin in the middle of a start (multiple-active=stop_unexpected) it can end with
/// it on this node *and* on another: this node's part ends with the very stop that asks, so the other one counts.
fn destination(after: &Element, resource: &str, here: &NodeName) -> Result<Destination, String> {
    let found: Vec<_> = after.every("resource").filter(|found| found.get("id") == Some(resource)).collect();
    match found.as_slice() {
        // Deleted from the configuration: an orphan vanishes with its stop.
        [] => Ok(Destination::Nowhere),
        [one] => {
            let active = one.get("active") == Some("true");
            let nodes: Vec<_> = one.every("node").filter_map(|node| node.get("name")).collect();
            let elsewhere: Vec<_> = nodes.iter().copied().filter(|node| *node != here.as_str()).collect();
            match (nodes.as_slice(), elsewhere.as_slice()) {
                ([], _) => Ok(Destination::Nowhere),
                ([name], _) | ([_, ..], [name]) if active => {
                    NodeName::new(*name).map(Destination::Node).map_err(|error| error.to_string())
                }
                ([only], _) => Err(format!("{resource} is on {only} but not active in the plan")),
                _ => Err(format!("{resource} is on several nodes in the plan: {}", nodes.join(", "))),
            }
        }
        _ => Err(format!("{resource} is there more than once: clones are not handed off")),
    }
}

/// Where a resource is active on `node`, with its role. A clone has the same id once per instance.
fn roles_here(status: &Element, resource: &str, node: &NodeName) -> BTreeSet<String> {
    status
        .every("resource")
        .filter(|found| found.get("id") == Some(resource))
        .filter(|found| found.every("node").any(|at| at.get("name") == Some(node.as_str())))
        .filter_map(|found| found.get("role").map(str::to_owned))
        .collect()
}

fn losing(
    before: &Element,
    after: &Element,
    transition: Option<&Element>,
    cib: &Element,
    resource: &str,
    node: &NodeName,
) -> Result<Vec<String>, String> {
    let configuration = cib.child("configuration").ok_or("the CIB has no configuration")?;
    let resources = configuration.child("resources").ok_or("the CIB has no resources")?;
    let constraints = configuration.child("constraints").ok_or("the CIB has no constraints")?;
    let mut losing = Vec::new();
    for foundation in foundations(resources, constraints, resource) {
        let now = roles_here(before, &foundation, node);
        if now.is_empty() || now.iter().all(|role| role == "Stopped") {
            continue;
        }
        let taken_away =
            transition.into_iter().flat_map(|list| list.every("rsc_action")).find_map(|action| {
                let op = action.get("op").filter(|op| matches!(*op, "stop" | "demote" | "migrate_to"))?;
                let instance = action.get("resource")?.split(':').next()?;
                (instance == foundation && action.get("node") == Some(node.as_str())).then_some(op)
            });
        if let Some(op) = taken_away {
            losing.push(format!("{foundation} ({op} here in the same plan)"));
        } else if roles_here(after, &foundation, node) != now {
            losing.push(format!("{foundation} (not as it is now once the plan is done)"));
        }
    }
    Ok(losing)
}

/// Everything that `resource` stands on, directly or not: what an ordering puts before it, and the members before it in
/// its group. Kinds and symmetries of orderings are not told apart: each of them only adds caution.
fn foundations(resources: &Element, constraints: &Element, resource: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open = vec![resource.to_owned()];
    while let Some(id) = open.pop() {
        let mut below: Vec<String> = members_before(resources, &id);
        let names = with_enclosing(resources, &id);
        for order in constraints.every("rsc_order") {
            below.extend(ordered_before(order, &names));
        }
        for id in below.iter().flat_map(|id| primitives_of(resources, id)) {
            if id != resource && found.insert(id.clone()) {
                open.push(id);
            }
        }
    }
    found
}

/// The ids under which orderings may speak of this primitive: its own, and those of the groups and clones around it.
pub(super) fn with_enclosing(resources: &Element, id: &str) -> BTreeSet<String> {
    resources
        .all()
        .into_iter()
        .filter(|element| element.every("primitive").any(|primitive| primitive.get("id") == Some(id)))
        .filter_map(|element| element.get("id").map(str::to_owned))
        .chain([id.to_owned()])
        .collect()
}

pub(super) fn members_before(resources: &Element, id: &str) -> Vec<String> {
    for group in resources.every("group") {
        let members: Vec<_> = group.children.iter().filter(|child| child.name == "primitive").collect();
        if let Some(at) = members.iter().position(|member| member.get("id") == Some(id)) {
            return members[..at].iter().filter_map(|member| member.get("id").map(str::to_owned)).collect();
        }
    }
    Vec::new()
}

/// What this ordering puts before any of `names`.
fn ordered_before(order: &Element, names: &BTreeSet<String>) -> Vec<String> {
    if let (Some(first), Some(then)) = (order.get("first"), order.get("then")) {
        return if names.contains(then) { vec![first.to_owned()] } else { Vec::new() };
    }
    // Sets: one after the other, and within a set one member after the other unless it says sequential=false.
    let mut before: Vec<String> = Vec::new();
    for set in order.children.iter().filter(|child| child.name == "resource_set") {
        let sequential = set.get("sequential") != Some("false");
        let mut here: Vec<String> = Vec::new();
        for id in set.every("resource_ref").filter_map(|reference| reference.get("id")) {
            if names.contains(id) {
                if sequential {
                    before.extend(here);
                }
                return before;
            }
            here.push(id.to_owned());
        }
        before.extend(here);
    }
    Vec::new()
}

/// The first of `orders` that puts one of `lost` before `resource`, and which of them.
pub(super) fn losing_order<'a>(
    resources: &Element,
    mut orders: impl Iterator<Item = &'a Element>,
    resource: &str,
    lost: &[&str],
) -> Option<(String, String)> {
    let names = with_enclosing(resources, resource);
    orders.find_map(|order| {
        let before = ordered_before(order, &names);
        let below = before.iter().flat_map(|id| primitives_of(resources, id));
        let first = below.into_iter().find(|id| lost.contains(&id.as_str()))?;
        Some((order.get("id")?.to_owned(), first))
    })
}

fn primitives_of(resources: &Element, id: &str) -> Vec<String> {
    resources
        .all()
        .into_iter()
        .find(|element| element.get("id") == Some(id))
        .map(|element| {
            element.every("primitive").filter_map(|one| one.get("id").map(str::to_owned)).collect()
        })
        .unwrap_or_default()
}

fn survivors(before: &Element, me: &NodeName) -> Result<Vec<NodeName>, String> {
    let nodes = before.child("nodes").ok_or("the simulation has no nodes")?;
    nodes
        .every("node")
        .filter(|node| node.get("online") == Some("true") && node.get("name") != Some(me.as_str()))
        .filter_map(|node| node.get("name"))
        .map(|name| NodeName::new(name).map_err(|error| error.to_string()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str) -> NodeName {
        NodeName::new(name).unwrap()
    }

    fn tree(text: &str) -> Element {
        Element::parse(text).unwrap()
    }

    fn found(resources: &str, constraints: &str, of: &str) -> Vec<String> {
        foundations(&tree(resources), &tree(constraints), of).into_iter().collect()
    }

    const RESOURCES: &str = r#"<resources>
        <primitive id="x0"/><primitive id="lvm"/><primitive id="ip"/>
        <group id="g"><primitive id="fs"/><primitive id="x1"/><primitive id="late"/></group>
        <clone id="dlm-clone"><primitive id="dlm"/></clone></resources>"#;

    #[test]
    fn what_a_domain_stands_on_is_found_through_orderings_groups_sets_and_clones() {
        assert_eq!(found(RESOURCES, "<constraints/>", "x1"), ["fs"]);
        let orders = r#"<constraints><rsc_order id="1" first="lvm" then="g"/><rsc_order id="2" first="dlm-clone"
            then="lvm"/></constraints>"#;
        assert_eq!(found(RESOURCES, orders, "x1"), ["dlm", "fs", "lvm"]);
        assert_eq!(found(RESOURCES, orders, "x0"), [] as [&str; 0]);
        let sets = r#"<constraints><rsc_order id="1"><resource_set sequential="false"><resource_ref id="lvm"/>
            <resource_ref id="ip"/></resource_set><resource_set><resource_ref id="dlm-clone"/><resource_ref id="x0"/>
            <resource_ref id="late"/></resource_set></rsc_order></constraints>"#;
        assert_eq!(found(RESOURCES, sets, "x0"), ["dlm", "ip", "lvm"]);
    }

    fn simulation(before: &str, after: &str, transition: &str) -> String {
        format!(
            r#"<r><cluster_status><nodes><node name="n1" online="true"/><node name="n2" online="true"/>
            <node name="n3" online="false"/></nodes><resources>{before}</resources></cluster_status>
            <transition>{transition}</transition><revised_cluster_status><resources>{after}</resources>
            </revised_cluster_status><status code="0"/></r>"#
        )
    }

    fn on(id: &str, role: &str, node: &str) -> String {
        format!(r#"<resource id="{id}" role="{role}" active="true"><node name="{node}"/></resource>"#)
    }

    #[test]
    fn a_place_beside_this_node_counts_and_two_others_do_not() {
        let ends = |nodes: &str| {
            let after = format!(r#"<resource id="x0" role="Started" active="true">{nodes}</resource>"#);
            let plan = read(&simulation("", &after, ""), &cib(""), "x0", &node("n1"));
            plan.map(|plan| plan.destination)
        };
        let on = |name: &str| format!(r#"<node name="{name}"/>"#);
        assert_eq!(ends(&(on("n3") + &on("n1"))), Ok(Destination::Node(node("n3"))));
        assert!(ends(&(on("n3") + &on("n2"))).unwrap_err().contains("several"));
        assert_eq!(ends(&on("n1")), Ok(Destination::Node(node("n1"))));
    }

    fn cib(status: &str) -> String {
        format!(
            r#"<cib><configuration>{RESOURCES}<constraints><rsc_order id="1" first="lvm" then="x0"/></constraints>
            </configuration><status>{status}</status></cib>"#
        )
    }

    #[test]
    fn a_foundation_that_goes_or_is_restarted_here_forbids_a_handoff() {
        let plan = |lvm_before: &str, lvm_after: &str, transition: &str| {
            let before = on("x0", "Started", "n1") + lvm_before;
            let after = on("x0", "Started", "n2") + lvm_after;
            read(&simulation(&before, &after, transition), &cib(""), "x0", &node("n1")).unwrap()
        };
        let (here, there) = (on("lvm", "Started", "n1"), on("lvm", "Started", "n2"));
        let stays = plan(&here, &here, "");
        assert_eq!(stays.destination, Destination::Node(node("n2")));
        assert!(stays.losing.is_empty());
        assert_eq!(stays.survivors, [node("n2")]);
        assert!(plan(&there, &there, "").losing.is_empty(), "what is not here cannot be lost here");
        assert_eq!(plan(&here, &there, "").losing.len(), 1);
        assert_eq!(plan(&here, &on("lvm", "Unpromoted", "n1"), "").losing.len(), 1, "a demotion");
        let restart = r#"<rsc_action resource="lvm" op="stop" node="n1"/>"#;
        assert_eq!(plan(&here, &here, restart).losing, ["lvm (stop here in the same plan)"]);
        assert_eq!(
            plan(&here, &here, r#"<rsc_action resource="lvm:1" op="demote" node="n1"/>"#).losing.len(),
            1
        );
    }

    #[test]
    fn a_plan_that_cannot_be_read_is_unknown_and_never_elsewhere() {
        let bad = [
            "".to_owned(),
            r#"<r><status code="66" message="Input file not available"/></r>"#.to_owned(),
            simulation("", &(on("x0", "Started", "n2") + &on("x0", "Started", "n3")), ""),
            simulation(
                "",
                r#"<resource id="x0" role="Started" active="false"><node name="n2"/></resource>"#,
                "",
            ),
        ];
        for text in bad {
            assert!(read(&text, &cib(""), "x0", &node("n1")).is_err(), "{text}");
        }
        assert!(read(&simulation("", "", ""), "<cib/>", "x0", &node("n1")).is_err());
    }

    #[test]
    fn a_deleted_or_disabled_resource_goes_nowhere() {
        let nowhere =
            |after: &str| read(&simulation("", after, ""), &cib(""), "x0", &node("n1")).unwrap().destination;
        assert_eq!(nowhere(""), Destination::Nowhere);
        assert_eq!(nowhere(r#"<resource id="x0" role="Stopped" active="false"/>"#), Destination::Nowhere);
    }

    fn captured(name: &str, node_name: &str) -> Plan {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/captured/pacemaker-2.1.5");
        let text = |kind: &str| std::fs::read_to_string(format!("{folder}/{name}.{kind}.xml")).unwrap();
        read(&text("simulate"), &text("cib"), "vm", &node(node_name)).unwrap()
    }

    /// What real Pacemaker said in the middle of a real stop of `vm`, and what we read from it. The captures and how they
    /// were taken: `tests/captured/pacemaker-2.1.5`.
    #[test]
    fn real_plans_are_read_as_what_came_of_them() {
        let nowhere = Destination::Nowhere;
        let on = |name| Destination::Node(node(name));
        let rows = [
            ("01-disable", "n1", nowhere.clone()),
            ("02-move", "n1", on("n3")),
            ("03-ban", "n1", on("n2")),
            ("04-standby", "n1", on("n2")),
            ("05-shutdown", "n1", on("n2")),
            ("06-shutdown-of-the-controller", "n1", on("n2")),
            ("07-restart-by-crm_resource", "n1", nowhere.clone()),
            ("08-recovery-here", "n1", on("n1")),
            ("09-recovery-elsewhere", "n1", on("n2")),
            ("10-parameter-change", "n1", on("n1")),
            ("11-orphan", "n1", nowhere.clone()),
            ("12-stop-all-resources", "n1", nowhere.clone()),
            ("13-no-place-left", "n1", nowhere.clone()),
            ("14-ordered-after-what-stops-here", "n1", on("n2")),
            ("15-group-member", "n1", on("n2")),
            ("16-promotable-below", "n1", on("n2")),
            ("17-clone-below", "n1", on("n2")),
            ("18-all-nodes-leaving", "n1", nowhere.clone()),
            ("19-migrate_to-failed--on-n1", "n1", on("n3")),
            ("19-migrate_to-failed--on-n3", "n3", on("n3")),
            ("20-migrate_from-failed--on-n1", "n1", on("n3")),
            ("20-migrate_from-failed--on-n3", "n3", on("n3")),
            ("21-migration-cancelled--on-n1", "n1", on("n1")),
            ("21-migration-cancelled--on-n3", "n3", on("n1")),
            ("22-after-a-migration", "n1", on("n3")),
            ("23-quorum-lost", "n1", nowhere),
            ("24-start-failed-elsewhere", "n2", on("n3")),
        ];
        for (name, at, destination) in rows {
            assert_eq!(captured(name, at).destination, destination, "{name}");
        }
    }

    #[test]
    fn real_plans_show_what_is_taken_away_below_the_domain_and_what_is_a_recovery() {
        for (name, losing) in [
            ("14-ordered-after-what-stops-here", "base (stop"),
            ("15-group-member", "base (stop"),
            ("16-promotable-below", "disk (demote"),
            ("17-clone-below", "locks (stop"),
        ] {
            let plan = captured(name, "n1");
            assert!(plan.losing.iter().any(|what| what.starts_with(losing)), "{name}: {:?}", plan.losing);
        }
        for (name, at, failed) in [
            ("04-standby", "n1", false),
            ("08-recovery-here", "n1", true),
            ("09-recovery-elsewhere", "n1", true),
            ("19-migrate_to-failed--on-n1", "n1", false),
            ("20-migrate_from-failed--on-n1", "n1", false),
            ("24-start-failed-elsewhere", "n2", true),
        ] {
            assert_eq!(captured(name, at).failed.is_some(), failed, "{name}");
        }
    }
}
