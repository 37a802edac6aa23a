//! What the cluster is about to do with our domains as things are, by one transition graph of its scheduler.
//! Pure functions.

use super::evacuation::{self, Departure, How};
use super::graph::Graph;
use super::history;
use super::managed::ManagedDomain;
use super::view::{Coming, Destination, Fate, Plan};
use super::xml::Element;
use crate::host::NodeName;

/// Each of `managed` that `graph` takes away from where `state` has it, the worst first, and then in the
/// order in which they leave.
pub(super) fn read(
    state: &Element,
    graph: &Graph,
    cib: &Element,
    managed: Vec<ManagedDomain>,
) -> Result<Vec<Coming>, String> {
    let mut all = Vec::new();
    for managed in managed {
        let place = graph.first_touches(&managed.resource);
        if let Some(coming) = one(state, graph, cib, managed)? {
            all.push((place, coming));
        }
    }
    all.sort_by_key(|(place, coming)| (coming.fate, *place));
    Ok(all.into_iter().map(|(_, coming)| coming).collect())
}

fn one(
    state: &Element,
    graph: &Graph,
    cib: &Element,
    managed: ManagedDomain,
) -> Result<Option<Coming>, String> {
    let resource = &managed.resource;
    let nodes = evacuation::active_on(state, resource);
    let to = graph.starts(resource).map(NodeName::new).transpose().map_err(|error| error.to_string())?;
    let leaves = |node: &&NodeName| graph.stops(resource, node) || graph.migrates(resource, node);
    let Some(from) = nodes.iter().find(leaves).cloned() else {
        // Nobody can stop it on a node that is lost: fencing stands for that.
        let lost = nodes.into_iter().next().filter(|from| to.as_ref().is_some_and(|to| to != from));
        let lost =
            lost.map(|from| Coming { managed, from, to, fate: Fate::IsFenced, because: String::new() });
        return Ok(lost);
    };
    let plan = Plan {
        destination: to.clone().map_or(Destination::Nowhere, Destination::Node),
        losing: graph.lost_after(resource, &from),
        failed: history::failed_guest(cib, resource, &from),
        survivors: Vec::new(),
        start_takes: None,
    };
    let migrates = graph.migrates(resource, &from);
    let Departure { how, because, .. } =
        evacuation::judge(&managed, true, migrates, &plan, (cib, state, &from));
    let fate = match how {
        How::Stays => return Ok(None),
        How::Stops => Fate::Stops,
        How::Reboots => Fate::Reboots,
        // It is handed over to another node, or not at all.
        How::Migrates | How::HandedOff if to.as_ref() == Some(&from) => Fate::Reboots,
        How::Migrates | How::HandedOff => Fate::Moves,
    };
    Ok(Some(Coming { managed, from, to, fate, because }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn op(id: u32, task: &str, resource: &str, node: &str, after: &[u32]) -> String {
        let inputs: String =
            after.iter().map(|id| format!(r#"<trigger><rsc_op id="{id}"/></trigger>"#)).collect();
        format!(
            r#"<synapse><action_set><rsc_op id="{id}" operation="{task}" on_node="{node}"><primitive id="{resource}"/></rsc_op>
            </action_set><inputs>{inputs}</inputs></synapse>"#
        )
    }

    /// What is coming, in words, where these are active and this is planned.
    fn coming(active: &[(&str, &str)], ops: &[String]) -> Vec<String> {
        let resources: String = active
            .iter()
            .map(|(id, node)| {
                format!(r#"<resource id="{id}" active="true"><node name="{node}"/></resource>"#)
            })
            .collect();
        let state = format!("<r><nodes/><resources>{resources}</resources></r>");
        let graph = format!("<transition_graph>{}</transition_graph>", ops.concat());
        let cib = Element::parse("<cib><configuration/><status/></cib>").unwrap();
        let managed = |id: &str| {
            let never = (id == "never").then(|| ("handoff".to_owned(), "never".to_owned()));
            let parameters = never.into_iter().collect();
            ManagedDomain { resource: id.to_owned(), parameters, ..ManagedDomain::default() }
        };
        let managed = ["x0", "x1", "never"].map(managed).to_vec();
        let (state, graph) = (Element::parse(&state).unwrap(), Graph::parse(&graph).unwrap());
        let word = |coming: Coming| {
            let to = coming.to.map_or("nowhere".to_owned(), |to| to.to_string());
            format!("{} {} {to} {:?}", coming.managed.resource, coming.from, coming.fate)
        };
        read(&state, &graph, &cib, managed).unwrap().into_iter().map(word).collect()
    }

    #[test]
    fn what_leaves_is_told_with_where_to_the_worst_first() {
        let active = [("x0", "n1"), ("x1", "n1"), ("never", "n1"), ("fs", "n1")];
        let moves = |id, resource: &str| {
            [op(id, "stop", resource, "n1", &[]), op(id + 1, "start", resource, "n2", &[id])].concat()
        };
        assert_eq!(coming(&active, &[]), Vec::<String>::new());
        assert_eq!(coming(&active, &[op(1, "monitor", "x0", "n1", &[])]), Vec::<String>::new());
        assert_eq!(
            coming(&active, &[moves(1, "x1"), moves(3, "x0")]),
            ["x1 n1 n2 Moves", "x0 n1 n2 Moves"],
            "in their order"
        );
        let all = [moves(1, "x0"), moves(3, "never"), op(5, "stop", "x1", "n1", &[])];
        assert_eq!(coming(&active, &all), ["x1 n1 nowhere Stops", "never n1 n2 Reboots", "x0 n1 n2 Moves"]);
        let below = [moves(1, "x0"), op(5, "stop", "fs", "n1", &[1])];
        assert_eq!(coming(&active, &below), ["x0 n1 n2 Reboots"], "what it stands on goes, too");
        let migrates = [op(1, "migrate_to", "x0", "n1", &[]), op(2, "migrate_from", "x0", "n2", &[1])];
        assert_eq!(coming(&active, &migrates), ["x0 n1 n2 Moves"]);
    }

    #[test]
    fn a_domain_that_runs_nowhere_leaves_nowhere_and_one_of_a_lost_node_waits_for_fencing() {
        let starts = [op(1, "start", "x0", "n2", &[])];
        assert_eq!(coming(&[], &starts), Vec::<String>::new());
        assert_eq!(coming(&[("x0", "n1")], &starts), ["x0 n1 n2 IsFenced"]);
        let restarts = [op(1, "stop", "x0", "n1", &[]), op(2, "start", "x0", "n1", &[1])];
        assert_eq!(coming(&[("x0", "n1")], &restarts), ["x0 n1 n1 Reboots"]);
    }

    /// What real releases plan for a domain whose node goes into standby, and for one that migrates.
    #[test]
    fn real_plans_are_read_as_what_comes_next() {
        for release in ["2.0.5", "2.1.5", "3.0.0", "3.0.3"] {
            let of = |name: &str| {
                let file =
                    format!("{}/tests/captured/pacemaker-{release}/{name}.xml", env!("CARGO_MANIFEST_DIR"));
                std::fs::read_to_string(file).unwrap()
            };
            for (name, fate) in
                [("04-standby", Fate::Moves), ("15-group-member", Fate::Reboots), ("01-disable", Fate::Stops)]
            {
                let cib = Element::parse(&of(&format!("{name}.cib"))).unwrap();
                let graph = Graph::parse(&of(&format!("{name}.before"))).unwrap();
                let state = r#"<r><nodes/><resources><resource id="vm" active="true"><node name="n1"/></resource></resources></r>"#;
                let state = Element::parse(state).unwrap();
                let vm = ManagedDomain { resource: "vm".to_owned(), ..ManagedDomain::default() };
                let all = read(&state, &graph, &cib, vec![vm]).unwrap();
                let seen: Vec<_> = all
                    .iter()
                    .map(|coming| (coming.fate, coming.to.as_ref().map(NodeName::as_str)))
                    .collect();
                let to = (fate != Fate::Stops).then_some("n2");
                assert_eq!(seen, [(fate, to)], "{release}: {name}");
            }
        }
    }
}
