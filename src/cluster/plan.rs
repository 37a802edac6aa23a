//! Makes a plan of what Pacemaker's own tools say: where the scheduler ends with the resource when it is told
//! "this stop has succeeded", and what waits for that stop in the transition of which it is a part. Pure
//! functions.
//!
//! The scheduler's final place of a resource is reliable; its list of operations is not (it shows operations
//! that never come, in the two stops after a failed migration). So the final place decides where the resource
//! goes, and the list is used to say *no* (what it takes away below the domain is taken as lost), and to say
//! where the resource ends where its start is all that the list has of it: then nothing else can come of it.
//!
//! The stop that asks is under way, so the transition that it is a part of cannot be had from the CIB as it
//! is. The scheduler makes it again when it is told that the resource has just been started here.

use super::graph::{Graph, Loss};
use super::scheduler::{End, Outcome};
use super::view::{Destination, Plan};
use super::xml::Element;
use super::{history, managed};
use crate::host::NodeName;

/// What the scheduler says in the middle of a stop.
#[derive(Debug)]
pub(super) struct Said<'a> {
    /// What the cluster does if the stop succeeds, and where that ends.
    pub(super) once_stopped: &'a Outcome,
    /// What the cluster does with the stop still to come.
    pub(super) before: &'a Graph,
    /// The CIB that it was asked about.
    pub(super) cib: &'a Element,
}

/// The plan for `resource` after its stop on `node`.
///
/// # Errors
/// What is missing or contradictory, in words: the plan is unknown then.
pub(super) fn read(said: &Said<'_>, resource: &str, node: &NodeName) -> Result<Plan, String> {
    Ok(Plan {
        destination: destination(&said.once_stopped.end, resource, node)?,
        losing: losing(said.before, &said.once_stopped.graph, resource, node),
        failed: history::failed_guest(said.cib, resource, node),
        survivors: survivors(said.cib, node)?,
        start_takes: managed::read(said.cib, "handoff")
            .into_iter()
            .find(|managed| managed.resource == resource)
            .and_then(|managed| managed.timeouts.get("start").copied()),
    })
}

/// Where the plan ends with it. After a rejoin in the middle of a start
/// (multiple-active=stop_unexpected) it can end with it on this node *and* on another: this node's part ends
/// with the very stop that asks, so the other one counts.
pub(super) fn destination(end: &End, resource: &str, here: &NodeName) -> Result<Destination, String> {
    let resources = match end {
        End::Started(name) => return on(name),
        End::As(resources) => resources,
    };
    let found: Vec<_> =
        resources.every("resource").filter(|found| found.get("id") == Some(resource)).collect();
    match found.as_slice() {
        // Stopped, or deleted from the configuration: an orphan vanishes with its stop.
        [] => Ok(Destination::Nowhere),
        [one] => {
            let active = one.get("active") == Some("true");
            let nodes: Vec<_> = one.every("node").filter_map(|node| node.get("name")).collect();
            let elsewhere: Vec<_> = nodes.iter().copied().filter(|node| *node != here.as_str()).collect();
            match (nodes.as_slice(), elsewhere.as_slice()) {
                ([], _) => Ok(Destination::Nowhere),
                ([name], _) | ([_, ..], [name]) if active => on(name),
                ([only], _) => Err(format!("{resource} is on {only} but not active in the plan")),
                _ => Err(format!("{resource} is on several nodes in the plan: {}", nodes.join(", "))),
            }
        }
        _ => Err(format!("{resource} is there more than once: clones are not handed off")),
    }
}

/// Where the plan ends with it, if anywhere: the first place counts.
pub(super) fn anywhere(end: &End, resource: &str) -> Result<Destination, String> {
    let resources = match end {
        End::Started(name) => return on(name),
        End::As(resources) => resources,
    };
    let found = resources.every("resource").filter(|found| found.get("id") == Some(resource));
    found
        .flat_map(|one| one.every("node"))
        .find_map(|node| node.get("name"))
        .map_or(Ok(Destination::Nowhere), on)
}

fn on(name: &str) -> Result<Destination, String> {
    NodeName::new(name).map(Destination::Node).map_err(|error| error.to_string())
}

/// What `resource` depends on and loses on `node` by this plan. Where the scheduler does not stop it any more
/// (the configuration has changed since the stop was ordered), what waits for the stop is not known: all that
/// leaves this node counts then.
fn losing(before: &Graph, once_stopped: &Graph, resource: &str, node: &NodeName) -> Vec<Loss> {
    if before.stops(resource, node) || before.migrates(resource, node) {
        before.lost_after(resource, node)
    } else {
        once_stopped.lost_beside(resource, node)
    }
}

/// The other nodes that are members.
fn survivors(cib: &Element, me: &NodeName) -> Result<Vec<NodeName>, String> {
    let status = cib.child("status").ok_or("the CIB has no status")?;
    status
        .every("node_state")
        .filter(|state| history::is_online(state))
        .filter_map(|state| state.get("uname"))
        .filter(|name| *name != me.as_str())
        .map(|name| NodeName::new(name).map_err(|error| error.to_string()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str) -> NodeName {
        NodeName::new(name).unwrap()
    }

    fn ends(resources: &str) -> Result<Destination, String> {
        let state = Element::parse(&format!("<r><resources>{resources}</resources></r>")).unwrap();
        destination(&End::As(state), "x0", &node("n1"))
    }

    fn started(nodes: &[&str]) -> String {
        let nodes: String = nodes.iter().map(|name| format!(r#"<node name="{name}"/>"#)).collect();
        format!(r#"<resource id="x0" role="Started" active="true">{nodes}</resource>"#)
    }

    #[test]
    fn a_place_beside_this_node_counts_and_two_others_do_not() {
        assert_eq!(ends(&started(&["n3", "n1"])), Ok(Destination::Node(node("n3"))));
        assert!(ends(&started(&["n3", "n2"])).unwrap_err().contains("several"));
        assert_eq!(ends(&started(&["n1"])), Ok(Destination::Node(node("n1"))));
    }

    #[test]
    fn a_place_that_is_contradictory_is_unknown_and_never_elsewhere() {
        let twice = started(&["n2"]) + &started(&["n3"]);
        let dead = r#"<resource id="x0" role="Stopped" active="false"><node name="n2"/></resource>"#;
        for resources in [twice.as_str(), dead] {
            assert!(ends(resources).is_err(), "{resources}");
        }
    }

    #[test]
    fn a_deleted_or_disabled_resource_goes_nowhere() {
        for resources in ["", r#"<resource id="x0" role="Stopped" active="false"/>"#, r#"<resource id="y"/>"#]
        {
            assert_eq!(ends(resources), Ok(Destination::Nowhere));
        }
    }

    #[test]
    fn where_the_stop_is_in_no_transition_all_that_leaves_counts_as_lost() {
        let graph =
            |rows: &str| Graph::parse(&format!("<transition_graph>{rows}</transition_graph>")).unwrap();
        let stop = |id: u32, resource: &str, after: &str| {
            format!(
                r#"<synapse><action_set><rsc_op id="{id}" operation="stop" on_node="n1"><primitive id="{resource}"/></rsc_op>
                </action_set><inputs>{after}</inputs></synapse>"#
            )
        };
        let after_x0 = r#"<trigger><rsc_op id="1"/></trigger>"#;
        let (fs, other) = (stop(2, "fs", after_x0), stop(3, "other", ""));
        let names = |before: &Graph, after: &Graph| -> Vec<String> {
            losing(before, after, "x0", &node("n1")).into_iter().map(|loss| loss.resource).collect()
        };
        let once_stopped = graph(&(stop(2, "fs", "") + &other));
        assert_eq!(names(&graph(&(stop(1, "x0", "") + &fs + &other)), &once_stopped), ["fs"]);
        assert_eq!(names(&graph(""), &once_stopped), ["fs", "other"]);
        assert!(names(&graph(""), &graph("")).is_empty());
    }

    /// The releases whose tools were asked about each of the captured stops.
    const RELEASES: [&str; 4] = ["2.0.5", "2.1.5", "3.0.0", "3.0.3"];

    /// What was said once the stop has succeeded, carried out on paper.
    fn carried_out(release: &str, name: &str) -> Outcome {
        Outcome {
            graph: Graph::parse(&text(release, name, "once-stopped")).unwrap(),
            end: End::As(Element::parse(&text(release, name, "after")).unwrap()),
        }
    }

    fn text(release: &str, name: &str, kind: &str) -> String {
        let folder = format!("{}/tests/captured/pacemaker-{release}", env!("CARGO_MANIFEST_DIR"));
        std::fs::read_to_string(format!("{folder}/{name}.{kind}.xml")).unwrap()
    }

    fn captured(release: &str, name: &str, node_name: &str) -> Plan {
        let cib = Element::parse(&text(release, name, "cib")).unwrap();
        let before = Graph::parse(&text(release, name, "before")).unwrap();
        let said = Said { once_stopped: &carried_out(release, name), before: &before, cib: &cib };
        read(&said, "vm", &node(node_name)).unwrap()
    }

    /// What each release says of what real Pacemaker was asked in the middle of a real stop of `vm`, and what
    /// we read from it: `tests/captured/ask`.
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
        for (release, (name, at, destination)) in
            RELEASES.iter().flat_map(|release| rows.iter().map(move |row| (*release, row)))
        {
            let plan = captured(release, name, at);
            assert_eq!(plan.destination, *destination, "{release}: {name}");
        }
    }

    /// Where the plan alone says it, it says what comes of carrying it out. An ordinary evacuation is such a
    /// plan.
    #[test]
    fn the_plan_alone_never_says_another_end_than_its_carrying_out() {
        for release in RELEASES {
            let folder = format!("{}/tests/captured/pacemaker-{release}", env!("CARGO_MANIFEST_DIR"));
            let files = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name());
            let names: Vec<String> = files
                .filter_map(|file| Some(file.to_str()?.strip_suffix(".once-stopped.xml")?.to_owned()))
                .collect();
            let mut said = Vec::new();
            for name in &names {
                let outcome = carried_out(release, name);
                let Some(end) = outcome.graph.only_starts("vm") else { continue };
                // Wherever the stop was: nothing that is read here depends on it.
                let here = node(name.rsplit_once("--on-").map_or("n1", |(_, node)| node));
                assert_eq!(destination(&outcome.end, "vm", &here), on(end), "{release}: {name}");
                assert_eq!(anywhere(&outcome.end, "vm"), on(end), "{release}: {name}");
                said.push(name.as_str());
            }
            for name in ["02-move", "04-standby", "05-shutdown", "14-ordered-after-what-stops-here"] {
                assert!(said.contains(&name), "{release}: {name} is not in {said:?}");
            }
            assert!(said.len() < names.len(), "{release}: {said:?}");
        }
    }

    #[test]
    fn real_plans_show_what_is_taken_away_below_the_domain_and_what_is_a_recovery() {
        for (name, losing) in [
            ("04-standby", &[][..]),
            ("14-ordered-after-what-stops-here", &["base (stop)"]),
            ("15-group-member", &["base (stop)"]),
            ("16-promotable-below", &["disk (stop)"]),
            ("17-clone-below", &["locks (stop)"]),
            ("22-after-a-migration", &[]),
        ] {
            for plan in RELEASES.iter().map(|release| captured(release, name, "n1")) {
                let lost: Vec<String> = plan.losing.iter().map(ToString::to_string).collect();
                assert_eq!(lost, losing, "{name}");
            }
        }
        for (name, at, failed) in [
            ("04-standby", "n1", false),
            ("08-recovery-here", "n1", true),
            ("09-recovery-elsewhere", "n1", true),
            ("19-migrate_to-failed--on-n1", "n1", false),
            ("20-migrate_from-failed--on-n1", "n1", false),
            ("24-start-failed-elsewhere", "n2", true),
        ] {
            for plan in RELEASES.iter().map(|release| captured(release, name, at)) {
                assert_eq!(plan.failed.is_some(), failed, "{name}");
            }
        }
    }
}
