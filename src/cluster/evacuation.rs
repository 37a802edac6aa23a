//! What the cluster's scheduler would do with our domains if a node went into standby. Pure functions over
//! the CIB's text and what the scheduler makes of it.

use super::blame;
use super::graph::Graph;
use super::managed::ManagedDomain;
use super::view::{Destination, Plan};
use super::xml::Element;
use crate::host::NodeName;

/// How a domain leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// By the cluster's own live migration.
    Migrates,
    /// By a handoff: stopped and started for the cluster, moved alive.
    HandedOff,
    /// Shut down here and booted there.
    Reboots,
    /// Shut down, and started nowhere.
    Stops,
    /// Not at all: the cluster leaves it where it runs.
    Stays,
}

/// What becomes of one domain.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Departure {
    /// Its resource.
    pub resource: String,
    /// Where it goes.
    pub to: Option<NodeName>,
    /// How.
    pub how: How,
    /// What is to blame for a reboot or a stop; empty otherwise.
    pub because: String,
    /// What would change that; empty otherwise.
    #[serde(rename = "do")]
    pub advice: String,
}

/// The CIB as it were with `node` in standby. `None` if it has no such node.
pub(super) fn with_standby(cib: &str, node: &NodeName) -> Option<String> {
    let set = "<instance_attributes id=\"xen-handoff-plan\" score=\"INFINITY\"><nvpair id=\"xen-handoff-plan-standby\" \
         name=\"standby\" value=\"on\"/></instance_attributes>";
    let nodes = cib.find("<nodes>")?;
    let end = nodes + cib[nodes..].find("</nodes>")?;
    let named = format!("uname=\"{node}\"");
    let begin = nodes
        + cib[nodes..end].match_indices("<node ").map(|(at, _)| at).find(|at| {
            let tag = &cib[nodes + at..end];
            tag.find('>').is_some_and(|close| tag[..close].contains(&named))
        })?;
    let close = begin + cib[begin..end].find('>')?;
    Some(if cib[..close].ends_with('/') {
        format!("{}>{set}</node>{}", &cib[..close - 1], &cib[close + 1..])
    } else {
        format!("{}{set}{}", &cib[..=close], &cib[close + 1..])
    })
}

/// The resources of `managed` that are active on `node`, in the order in which the scheduler's transition
/// touches them. `state`: the cluster as it is.
pub(super) fn leaving<'a>(
    state: &Element,
    graph: &Graph,
    managed: &'a [ManagedDomain],
    node: &NodeName,
) -> Vec<&'a ManagedDomain> {
    let is_here = |managed: &&ManagedDomain| active_on(state, &managed.resource).contains(node);
    let mut here: Vec<&ManagedDomain> = managed.iter().filter(is_here).collect();
    here.sort_by_key(|managed| graph.first_touches(&managed.resource).unwrap_or(usize::MAX));
    here
}

/// Where the cluster has a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The nodes on which it is active.
    pub nodes: Vec<NodeName>,
    /// Whether the cluster has yet to do something with it.
    pub is_moving: bool,
}

/// The place of `resource`: `state` is the cluster as it is, `graph` what the scheduler would do with it.
pub(super) fn place(state: &Element, graph: &Graph, resource: &str) -> Place {
    Place { nodes: active_on(state, resource), is_moving: graph.first_touches(resource).is_some() }
}

/// The nodes on which the cluster has `resource` active (`crm_mon`).
pub(super) fn active_on(state: &Element, resource: &str) -> Vec<NodeName> {
    shown(state, resource)
        .filter(|found| found.get("active") == Some("true"))
        .flat_map(|found| found.every("node"))
        .filter_map(|at| NodeName::new(at.get("name")?).ok())
        .collect()
}

/// What `crm_mon` shows of `resource`: an element for each instance.
fn shown<'a>(state: &'a Element, resource: &str) -> impl Iterator<Item = &'a Element> {
    let all = state.child("resources").into_iter().flat_map(|resources| resources.every("resource"));
    all.filter(move |found| found.get("id") == Some(resource))
}

/// What becomes of a domain of ours (`ours`) or of the stock agent's, by the plan that follows its stop on
/// `node`; `status` is the cluster before it.
pub(super) fn judge(
    managed: &ManagedDomain,
    ours: bool,
    migrates: bool,
    plan: &Plan,
    (cib, status, node): (&Element, &Element, &NodeName),
) -> Departure {
    let resource = managed.resource.clone();
    let left_alone = left_alone(status, &managed.resource);
    let to = match &plan.destination {
        Destination::Node(node) if left_alone.is_none() => Some(node.clone()),
        Destination::Node(_) | Destination::Nowhere => None,
    };
    let leaves =
        |how, because: String, advice: String| Departure { resource, to: to.clone(), how, because, advice };
    if let Some((because, advice)) = left_alone {
        return leaves(How::Stays, because, advice);
    }
    if to.is_none() {
        let blame = blame::of_no_place(cib, status, &managed.resource, node.as_str());
        return leaves(How::Stops, blame.because, blame.advice);
    }
    if migrates {
        return leaves(How::Migrates, String::new(), String::new());
    }
    if !ours {
        let because = "ocf:heartbeat:Xen, and the cluster cannot migrate it this time".to_owned();
        return leaves(How::Reboots, because, format!("xen-handoff adopt {}", managed.resource));
    }
    if managed.parameters.get("handoff").is_some_and(|value| value == "never") {
        let advice = format!("crm_resource --resource {} --delete-parameter handoff", managed.resource);
        return leaves(How::Reboots, "handoff=never".to_owned(), advice);
    }
    if !plan.losing.is_empty() {
        let blame = blame::of_losing(cib, &managed.resource, &plan.losing);
        return leaves(How::Reboots, blame.because, blame.advice);
    }
    if let Some(why) = &plan.failed {
        let advice = format!("crm_resource --cleanup --resource {}", managed.resource);
        return leaves(How::Reboots, format!("its last word here is a failure: {why}"), advice);
    }
    leaves(How::HandedOff, String::new(), String::new())
}

/// Why the cluster does nothing with `resource`, and what changes that; nothing if it does. By the word of
/// `crm_mon`, which knows of every way in which that can be said.
fn left_alone(status: &Element, resource: &str) -> Option<(String, String)> {
    shown(status, resource).find(|found| found.get("managed") == Some("false"))?;
    let mut options = status.every("cluster_options");
    Some(if options.any(|options| options.get("maintenance-mode") == Some("true")) {
        let advice = "crm_attribute --type crm_config --name maintenance-mode --delete";
        ("the cluster is in maintenance mode".to_owned(), advice.to_owned())
    } else {
        let advice = format!("crm_resource --resource {resource} --meta --delete-parameter is-managed");
        ("the cluster does not manage it (is-managed, maintenance)".to_owned(), advice)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Loss;

    fn node(name: &str) -> NodeName {
        NodeName::new(name).unwrap()
    }

    #[test]
    fn standby_is_put_where_the_scheduler_reads_it() {
        for cib in [
            r#"<cib><nodes><node id="1" uname="n1"/><node id="11" uname="n11"/></nodes></cib>"#,
            r#"<cib><nodes><node id="1" uname="n1"><instance_attributes id="a"/></node></nodes></cib>"#,
        ] {
            let changed = with_standby(cib, &node("n1")).unwrap();
            let tree = Element::parse(&changed).unwrap();
            let first = tree.every("node").next().unwrap();
            assert_eq!(first.get("uname"), Some("n1"));
            assert_eq!(
                first.every("nvpair").next().and_then(|pair| pair.get("value")),
                Some("on"),
                "{changed}"
            );
        }
        assert_eq!(with_standby("<cib><nodes><node uname=\"n2\"/></nodes></cib>", &node("n1")), None);
    }

    fn plan(to: Destination) -> Plan {
        Plan { destination: to, losing: vec![], failed: None, survivors: vec![], start_takes: None }
    }

    #[test]
    fn what_the_cluster_does_not_manage_stays_whatever_its_scheduler_would_do_after_a_stop() {
        let managed = ManagedDomain { resource: "x0".to_owned(), ..ManagedDomain::default() };
        let cib = Element::parse("<cib/>").unwrap();
        let stays = |summary: &str, is_managed: &str| {
            let status = format!(
                r#"<s><summary>{summary}</summary><nodes/><resources><clone id="c">
                <resource id="x0" active="true" managed="{is_managed}"/></clone></resources></s>"#
            );
            let status = Element::parse(&status).unwrap();
            let nowhere = plan(Destination::Nowhere);
            judge(&managed, true, false, &nowhere, (&cib, &status, &node("n1")))
        };
        assert_eq!(stays("", "true").how, How::Stops);
        let alone = stays("", "false");
        assert!(
            alone.how == How::Stays && alone.advice.ends_with("--delete-parameter is-managed"),
            "{alone:?}"
        );
        let alone = stays(r#"<cluster_options maintenance-mode="true"/>"#, "false");
        assert!(alone.how == How::Stays && alone.because.contains("maintenance mode"), "{alone:?}");
    }

    #[test]
    fn each_reboot_has_what_is_to_blame_and_what_would_change_it() {
        let managed = ManagedDomain { resource: "x0".to_owned(), ..ManagedDomain::default() };
        let (here, there) = (node("n1"), || plan(Destination::Node(node("n2"))));
        let cib = r#"<cib><configuration><resources><primitive id="fs"/><primitive id="x0"/></resources><constraints><rsc_order id="fs-then-x0" first="fs" then="x0"/></constraints>
            </configuration></cib>"#;
        let cib = Element::parse(cib).unwrap();
        let status = Element::parse(r#"<s><nodes><node name="n2" online="true"/></nodes></s>"#).unwrap();
        let around = || (&cib, &status, &here);
        let how = |ours, migrates, plan: &Plan| judge(&managed, ours, migrates, plan, around());
        assert_eq!(how(true, false, &there()).how, How::HandedOff);
        assert_eq!(how(true, true, &there()).how, How::Migrates);
        assert_eq!(how(true, false, &plan(Destination::Nowhere)).how, How::Stops);
        assert!(how(false, false, &there()).advice.contains("adopt x0"));
        let losing = vec![Loss { resource: "fs".to_owned(), what: "stop".to_owned() }];
        let losing = Plan { losing, ..there() };
        let reboots = how(true, false, &losing);
        assert_eq!(reboots.how, How::Reboots);
        assert!(reboots.because.contains("fs (stop") && reboots.advice.contains("fs-then-x0"), "{reboots:?}");
        let mut never = managed.clone();
        never.parameters.insert("handoff".to_owned(), "never".to_owned());
        assert!(judge(&never, true, false, &there(), around()).because.contains("handoff=never"));
    }
}
