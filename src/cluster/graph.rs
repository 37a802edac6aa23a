//! The scheduler's transition graph (`crm_simulate --save-graph`; the same document that the controller
//! carries out, the same form since Pacemaker 1.0): what the cluster is about to do, and what waits for what.
//! Pure functions over text.
//!
//! What a resource depends on is read here and nowhere else: the scheduler has already made actions out of
//! every constraint, group, set, tag, template and clone, in every form that its version knows.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::xml::Element;
use crate::host::NodeName;

/// The task of a probe, which to the scheduler is a monitor without an interval.
const PROBE: &str = "probe";

/// Something that the cluster is about to do with a resource on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Action {
    /// `stop`, `start`, `migrate_to`, [`PROBE`], ...
    task: String,
    /// The primitive, without the number of a clone's instance.
    resource: String,
    /// Where.
    node: String,
}

/// A resource that is stopped, demoted or moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// The primitive's id.
    pub resource: String,
    /// What happens to it: `stop`, `demote` or `migrate_to`, or what else is to be said of it.
    pub what: String,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.resource, self.what)
    }
}

/// What the cluster is about to do.
#[derive(Debug, Clone, Default)]
pub(super) struct Graph {
    /// Every action on a resource, by its number, in the order of the document.
    actions: Vec<(u64, Action)>,
    /// Of each action, also of those that only tie others together: which actions wait for it.
    waiting: BTreeMap<u64, Vec<u64>>,
}

impl Graph {
    /// Reads a graph.
    ///
    /// # Errors
    /// What is wrong with it, in words. A graph that is not wholly understood is an error: what is left out
    /// might be what matters.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let document = Element::parse(text)?;
        if document.name != "transition_graph" {
            return Err(format!("<{}> is no transition_graph", document.name));
        }
        let mut graph = Self::default();
        for synapse in &document.children {
            if synapse.name != "synapse" {
                return Err(format!("<{}> in a transition_graph", synapse.name));
            }
            let done = synapse.child("action_set").ok_or("a synapse without an action_set")?;
            let inputs: Vec<&Element> = synapse.child("inputs").into_iter().flat_map(triggers).collect();
            for element in &done.children {
                let id = number(element)?;
                for input in &inputs {
                    graph.waiting.entry(number(input)?).or_default().push(id);
                }
                if element.name == "rsc_op" {
                    graph.actions.push((id, action(element)?));
                }
            }
        }
        Ok(graph)
    }

    /// Whether `resource` is to be stopped on `node`.
    pub(super) fn stops(&self, resource: &str, node: &NodeName) -> bool {
        self.has(resource, "stop", node)
    }

    /// Whether `resource` is to be looked for on `node`.
    pub(super) fn probes(&self, resource: &str, node: &NodeName) -> bool {
        self.has(resource, PROBE, node)
    }

    /// Whether `resource` is to be migrated away from `node`.
    pub(super) fn migrates(&self, resource: &str, node: &NodeName) -> bool {
        self.has(resource, "migrate_to", node)
    }

    /// On which node `resource` is to be started, or migrated to.
    pub(super) fn starts(&self, resource: &str) -> Option<&str> {
        let is_it = |action: &&Action| {
            action.resource == resource && matches!(action.task.as_str(), "start" | "migrate_from")
        };
        self.actions.iter().map(|(_, action)| action).find(is_it).map(|action| action.node.as_str())
    }

    /// The node on which `resource` is started, if that start and monitors there are all that is to be done
    /// with it. Whatever else there is (a stop, a migration, a probe) says that the cluster does not simply
    /// start it.
    pub(super) fn only_starts(&self, resource: &str) -> Option<&str> {
        let own = self.actions.iter().map(|(_, action)| action).filter(|action| action.resource == resource);
        let (starts, rest): (Vec<&Action>, Vec<&Action>) = own.partition(|action| action.task == "start");
        let [start] = starts.as_slice() else { return None };
        let is_there = |action: &&Action| action.task == "monitor" && action.node == start.node;
        rest.iter().all(is_there).then_some(start.node.as_str())
    }

    fn has(&self, resource: &str, task: &str, node: &NodeName) -> bool {
        let is_it = |action: &Action| {
            action.resource == resource && action.task == task && action.node == node.as_str()
        };
        self.actions.iter().any(|(_, action)| is_it(action))
    }

    /// When anything is first to be done with `resource`: its place in the document. `None` if nothing is.
    pub(super) fn first_touches(&self, resource: &str) -> Option<usize> {
        self.actions.iter().position(|(_, action)| action.resource == resource)
    }

    /// What `resource` depends on and loses on `node`: all that is stopped, demoted or moved there and waits,
    /// directly or not, for the stop (or the migration) of `resource` there. What waits for its start
    /// elsewhere comes after it has gone, and does not count.
    pub(super) fn lost_after(&self, resource: &str, node: &NodeName) -> Vec<Loss> {
        let is_own = |action: &Action| action.resource == resource;
        let leaves = |action: &Action| {
            action.node == node.as_str() && matches!(action.task.as_str(), "stop" | "migrate_to")
        };
        let own: BTreeMap<u64, bool> = self
            .actions
            .iter()
            .filter(|(_, action)| is_own(action))
            .map(|(id, action)| (*id, leaves(action)))
            .collect();
        let mut open: Vec<u64> = own.iter().filter(|(_, leaves)| **leaves).map(|(id, _)| *id).collect();
        let mut after = BTreeSet::new();
        while let Some(id) = open.pop() {
            let next = self.waiting.get(&id).into_iter().flatten();
            open.extend(next.filter(|next| !own.contains_key(*next) && after.insert(**next)));
        }
        self.lost(node, |id| after.contains(&id))
    }

    /// Everything but `resource` that is stopped, demoted or moved on `node`.
    pub(super) fn lost_beside(&self, resource: &str, node: &NodeName) -> Vec<Loss> {
        let own: BTreeSet<u64> = self
            .actions
            .iter()
            .filter(|(_, action)| action.resource == resource)
            .map(|(id, _)| *id)
            .collect();
        self.lost(node, |id| !own.contains(&id))
    }

    fn lost(&self, node: &NodeName, counts: impl Fn(u64) -> bool) -> Vec<Loss> {
        let mut lost: Vec<Loss> = Vec::new();
        for (_, action) in self.actions.iter().filter(|(id, _)| counts(*id)) {
            let takes_away = matches!(action.task.as_str(), "stop" | "demote" | "migrate_to");
            // One word for each resource.
            let is_new = lost.iter().all(|loss| loss.resource != action.resource);
            if takes_away && action.node == node.as_str() && is_new {
                lost.push(Loss { resource: action.resource.clone(), what: action.task.clone() });
            }
        }
        lost
    }
}

fn triggers(inputs: &Element) -> impl Iterator<Item = &Element> {
    inputs.children.iter().flat_map(|trigger| &trigger.children)
}

fn number(action: &Element) -> Result<u64, String> {
    let id = action.get("id").ok_or_else(|| format!("a {} without id", action.name))?;
    id.parse().map_err(|_| format!("a {} with the id {id:?}", action.name))
}

fn action(op: &Element) -> Result<Action, String> {
    let get = |name: &str| op.get(name).ok_or_else(|| format!("an rsc_op without {name}"));
    let resource =
        op.child("primitive").and_then(|of| of.get("id")).ok_or("an rsc_op without its primitive")?;
    let is_probe = op.get("operation_key").is_some_and(|key| key.ends_with("_monitor_0"));
    Ok(Action {
        task: if is_probe { PROBE.to_owned() } else { get("operation")?.to_owned() },
        resource: resource.split(':').next().unwrap_or(resource).to_owned(),
        node: get("on_node")?.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str) -> NodeName {
        NodeName::new(name).unwrap()
    }

    /// `id task resource node`, then the ids that it waits for.
    fn graph(rows: &[(&str, &[u64])]) -> Graph {
        let synapses: String = rows
            .iter()
            .map(|(row, inputs)| {
                let words: Vec<_> = row.split(' ').collect();
                let done = match words.as_slice() {
                    [id, task, resource, node] => format!(
                        r#"<rsc_op id="{id}" operation="{task}" on_node="{node}"><primitive id="{resource}"/></rsc_op>"#
                    ),
                    [id, ..] => format!(r#"<pseudo_event id="{id}"/>"#),
                    [] => String::new(),
                };
                let inputs: String = inputs
                    .iter()
                    .map(|id| format!(r#"<trigger><pseudo_event id="{id}"/></trigger>"#))
                    .collect();
                format!("<synapse><action_set>{done}</action_set><inputs>{inputs}</inputs></synapse>")
            })
            .collect();
        Graph::parse(&format!("<transition_graph>{synapses}</transition_graph>")).unwrap()
    }

    fn words(lost: Vec<Loss>) -> Vec<String> {
        lost.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_waits_for_the_stop_directly_or_not_is_lost_and_what_waits_for_the_start_elsewhere_is_not() {
        let graph = graph(&[
            ("1 stop x0 n1", &[]),
            ("2 stop fs n1", &[1]),
            ("3", &[2]),
            ("4 demote disk:0 n1", &[3]),
            ("5 stop disk:0 n1", &[4]),
            ("6 start x0 n2", &[1]),
            ("7 stop later n1", &[6]),
            ("8 stop other n1", &[]),
            ("9 stop there n2", &[1]),
        ]);
        assert_eq!(words(graph.lost_after("x0", &node("n1"))), ["fs (stop)", "disk (demote)"]);
        assert_eq!(
            words(graph.lost_beside("x0", &node("n1"))),
            ["fs (stop)", "disk (demote)", "later (stop)", "other (stop)"]
        );
        assert!(graph.stops("x0", &node("n1")) && !graph.stops("x0", &node("n2")));
        assert!(!graph.migrates("x0", &node("n1")));
        assert_eq!((graph.first_touches("other"), graph.first_touches("nosuch")), (Some(6), None));
    }

    #[test]
    fn a_plan_says_where_a_resource_ends_if_it_is_started_there_and_nothing_else_is_done_with_it() {
        let only = |rows: &[(&str, &[u64])]| graph(rows).only_starts("x0").map(str::to_owned);
        let there = Some("n2".to_owned());
        assert_eq!(only(&[("1 start x0 n2", &[]), ("2 monitor x0 n2", &[1]), ("3 stop x1 n1", &[])]), there);
        assert_eq!(only(&[("1 start x0 n2", &[])]), there);
        for rest in [
            "2 stop x0 n1",
            "2 stop x0 n2",
            "2 start x0 n3",
            "2 start x0 n2",
            "2 monitor x0 n1",
            "2 migrate_to x0 n1",
            "2 migrate_from x0 n2",
            "2 probe x0 n3",
            "2 cancel x0 n2",
            "2 notify x0 n2",
        ] {
            assert_eq!(only(&[("1 start x0 n2", &[]), (rest, &[])]), None, "{rest}");
        }
        assert_eq!(only(&[("1 monitor x0 n2", &[])]), None);
        assert_eq!(only(&[("1 start x1 n2", &[])]), None);
    }

    #[test]
    fn a_graph_that_is_understood_by_half_is_no_graph() {
        for text in [
            "",
            "<transition_graph>",
            "<pacemaker-result/>",
            "<transition_graph><future/></transition_graph>",
            "<transition_graph><synapse/></transition_graph>",
            r#"<transition_graph><synapse><action_set><rsc_op operation="stop"/></action_set></synapse></transition_graph>"#,
            r#"<transition_graph><synapse><action_set><rsc_op id="1" operation="stop" on_node="n1"/></action_set></synapse></transition_graph>"#,
        ] {
            assert!(Graph::parse(text).is_err(), "{text}");
        }
        assert!(Graph::parse("<transition_graph/>").is_ok(), "nothing to be done");
    }
}
