//! What is to blame when a domain cannot be moved alive, and the command that would change it. Pure functions
//! over the CIB and the scheduler's state; they name what the configuration says, and decide nothing.

use std::collections::BTreeSet;

use super::graph::Loss;
use super::xml::Element;

/// Who is to blame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Blame {
    /// In words.
    pub(super) because: String,
    /// A command to give, or where to look.
    pub(super) advice: String,
}

/// The ordering or group by which `resource` depends on one of `losing`. It is looked for in the forms that
/// are most used; that there is one has been the scheduler's word.
pub(super) fn of_losing(cib: &Element, resource: &str, losing: &[Loss]) -> Blame {
    let words: Vec<String> = losing.iter().map(ToString::to_string).collect();
    let because = format!("it depends on {}, which leaves this node in the same plan", words.join(", "));
    let lost: Vec<&str> = losing.iter().map(|lost| lost.resource.as_str()).collect();
    let advice =
        by_order(cib, resource, &lost).or_else(|| by_group(cib, resource, &lost)).unwrap_or_else(|| {
            format!("crm_resource --constraints --resource {resource} shows what is between them")
        });
    Blame { because, advice }
}

fn by_order(cib: &Element, resource: &str, lost: &[&str]) -> Option<String> {
    let configuration = cib.child("configuration")?;
    let resources = configuration.child("resources")?;
    let orders = configuration.child("constraints")?.every("rsc_order");
    let (id, first) = losing_order(resources, orders, resource, lost)?;
    let cloned = resources.children.iter().any(|around| {
        around.name == "clone" && around.every("primitive").any(|inside| inside.get("id") == Some(&first))
    });
    // A clone that stays on both nodes need not be stopped under the domain.
    let clone =
        if cloned { String::new() } else { format!("; or: pcs resource clone {first} interleave=true") };
    Some(format!("pcs constraint delete {id} (if it can run without {first} here){clone}"))
}

fn by_group(cib: &Element, resource: &str, lost: &[&str]) -> Option<String> {
    let resources = cib.at(&["configuration", "resources"])?;
    members_before(resources, resource).iter().find(|member| lost.contains(&member.as_str()))?;
    let mut groups = resources.every("group");
    let is_in = |group: &&Element| group.every("primitive").any(|member| member.get("id") == Some(resource));
    let group = groups.find(is_in)?.get("id")?;
    Some(format!("pcs resource group remove {group} {resource}"))
}

/// The ids under which orderings may speak of this primitive: its own, and those of the groups and clones
/// around it.
fn with_enclosing(resources: &Element, id: &str) -> BTreeSet<String> {
    resources
        .all()
        .into_iter()
        .filter(|element| element.every("primitive").any(|primitive| primitive.get("id") == Some(id)))
        .filter_map(|element| element.get("id").map(str::to_owned))
        .chain([id.to_owned()])
        .collect()
}

fn members_before(resources: &Element, id: &str) -> Vec<String> {
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
fn losing_order<'a>(
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

/// Why no node but `leaving` may run `resource`. `status`: the scheduler's state of the cluster.
pub(super) fn of_no_place(cib: &Element, status: &Element, resource: &str, leaving: &str) -> Blame {
    let looked = || Blame {
        because: "no other node may run it".to_owned(),
        advice: format!(
            "crm_simulate -sL shows the scores; crm_resource --constraints --resource {resource}"
        ),
    };
    by_order_to_stop(status, resource)
        .or_else(|| by_nodes(status, leaving))
        .or_else(|| by_constraint(cib, resource, leaving))
        .or_else(|| by_default(cib, resource, leaving))
        .unwrap_or_else(looked)
}

/// It is to run nowhere, wherever it could: somebody has said so, or the cluster has no quorum.
fn by_order_to_stop(status: &Element, resource: &str) -> Option<Blame> {
    let blame = |because: &str, advice: String| Some(Blame { because: because.to_owned(), advice });
    let mut shown = status.every("resource").filter(|shown| shown.get("id") == Some(resource));
    if shown.any(|shown| shown.get("target_role") == Some("Stopped")) {
        let advice = format!("crm_resource --resource {resource} --meta --delete-parameter target-role");
        return blame("target-role=Stopped", advice);
    }
    let option = |name: &str| status.every("cluster_options").find_map(|options| options.get(name));
    if option("stop-all-resources") == Some("true") {
        let advice = "crm_attribute --type crm_config --name stop-all-resources --delete";
        return blame("stop-all-resources is set", advice.to_owned());
    }
    let lacks = status.every("current_dc").any(|dc| dc.get("with_quorum") == Some("false"));
    if lacks && option("no-quorum-policy").is_some_and(|policy| policy != "ignore") {
        return blame("the cluster has no quorum", "corosync-quorumtool says who is missing".to_owned());
    }
    None
}

/// No other node may run anything.
fn by_nodes(status: &Element, leaving: &str) -> Option<Blame> {
    let mut words = Vec::new();
    let mut commands = Vec::new();
    for node in status.child("nodes")?.every("node").filter(|node| node.get("name") != Some(leaving)) {
        let name = node.get("name")?;
        let is = |what: &str| node.get(what) == Some("true");
        if !is("online") {
            words.push(format!("{name} is offline"));
            commands.push(format!("pcs cluster start {name}"));
        } else if is("standby") || is("standby_onfail") {
            words.push(format!("{name} is in standby"));
            commands.push(format!("crm_standby --node {name} --delete"));
        } else {
            return None;
        }
    }
    if words.is_empty() {
        words.push("the cluster has no other node".to_owned());
    }
    Some(Blame { because: words.join(", "), advice: commands.join("; or: ") })
}

/// What forbids it the other nodes by name, or ties it to another resource.
fn by_constraint(cib: &Element, resource: &str, leaving: &str) -> Option<Blame> {
    let configuration = cib.child("configuration")?;
    let names = with_enclosing(configuration.child("resources")?, resource);
    let constraints = configuration.child("constraints")?;
    let is_its = |constraint: &&Element| constraint.get("rsc").is_some_and(|rsc| names.contains(rsc));
    let forbids = |constraint: &&Element| {
        let by_rule = constraint.every("rule").any(|rule| rule.get("score") == Some("-INFINITY"));
        let by_name = constraint.get("score") == Some("-INFINITY") && constraint.get("node") != Some(leaving);
        by_rule || by_name
    };
    let id = |constraint: &Element| constraint.get("id").map(str::to_owned);
    let bans: Vec<String> =
        constraints.every("rsc_location").filter(is_its).filter(forbids).filter_map(id).collect();
    let ties = || constraints.every("rsc_colocation").filter(is_its).filter_map(id).collect::<Vec<_>>();
    let found = if bans.is_empty() { ties() } else { bans };
    let (of_tools, others): (Vec<String>, Vec<String>) =
        found.iter().cloned().partition(|id| id.starts_with("cli-ban-") || id.starts_with("cli-prefer-"));
    let mut commands = Vec::new();
    if !others.is_empty() {
        commands.push(format!("pcs constraint delete {}", others.join(" ")));
    }
    if !of_tools.is_empty() {
        commands.push(format!("crm_resource --clear --resource {resource}"));
    }
    (!found.is_empty()).then(|| Blame {
        because: format!("no other node may run it: {}", found.join(", ")),
        advice: commands.join("; "),
    })
}

/// In a cluster that allows nothing unless it is told to.
fn by_default(cib: &Element, resource: &str, leaving: &str) -> Option<Blame> {
    let configuration = cib.child("configuration")?;
    let opt_in = configuration.child("crm_config")?.every("nvpair").any(|pair| {
        pair.get("name") == Some("symmetric-cluster")
            && pair.get("value").is_some_and(|value| matches!(value, "false" | "no" | "off" | "0" | "n"))
    });
    let mut nodes = configuration.child("nodes")?.every("node").filter_map(|node| node.get("uname"));
    let other = nodes.find(|name| *name != leaving)?;
    opt_in.then(|| Blame {
        because: "symmetric-cluster=false, and it is allowed nowhere else".to_owned(),
        advice: format!("pcs constraint location {resource} prefers {other}=0"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cib(resources: &str, constraints: &str, options: &str) -> Element {
        let text = format!(
            "<cib><configuration><crm_config>{options}</crm_config><nodes><node uname=\"n1\"/><node uname=\"n2\"/></nodes>\
             <resources>{resources}</resources><constraints>{constraints}</constraints></configuration></cib>"
        );
        Element::parse(&text).unwrap()
    }

    fn status(n2: &str) -> Element {
        let text = format!(
            "<s><nodes><node name=\"n1\" online=\"true\" standby=\"true\"/><node name=\"n2\" {n2}/></nodes></s>"
        );
        Element::parse(&text).unwrap()
    }

    const FREE: &str = r#"online="true" standby="false""#;

    #[test]
    fn each_ordering_or_group_that_forbids_a_handoff_is_named_with_the_command_that_ends_it() {
        let two = r#"<primitive id="fs"/><primitive id="x0"/>"#;
        let lost = [Loss { resource: "fs".to_owned(), what: "stop".to_owned() }];
        for (resources, constraints, advice) in [
            (
                two,
                r#"<rsc_order id="o1" first="fs" then="x0"/>"#,
                "pcs constraint delete o1 (if it can run without fs here); or: pcs resource clone fs interleave=true",
            ),
            (
                r#"<clone id="c"><primitive id="fs"/></clone><primitive id="x0"/>"#,
                r#"<rsc_order id="o2" first="c" then="x0"/>"#,
                "pcs constraint delete o2 (if it can run without fs here)",
            ),
            (
                two,
                r#"<rsc_order id="o3"><resource_set id="s"><resource_ref id="fs"/><resource_ref id="x0"/></resource_set>
                   </rsc_order>"#,
                "pcs constraint delete o3 (if it can run without fs here); or: pcs resource clone fs interleave=true",
            ),
            (
                r#"<group id="g"><primitive id="fs"/><primitive id="x0"/></group>"#,
                "",
                "pcs resource group remove g x0",
            ),
            (
                r#"<primitive id="fs"/><primitive id="lvm"/><primitive id="x0"/>"#,
                r#"<rsc_order id="a" first="fs" then="lvm"/><rsc_order id="b" first="lvm" then="x0"/>"#,
                "crm_resource --constraints --resource x0 shows what is between them",
            ),
        ] {
            assert_eq!(of_losing(&cib(resources, constraints, ""), "x0", &lost).advice, advice);
        }
    }

    #[test]
    fn each_reason_for_which_no_other_node_may_run_it_is_named_with_the_command_that_ends_it() {
        let x0 = r#"<primitive id="x0"/>"#;
        let no = r#"<nvpair id="p" name="symmetric-cluster" value="false"/>"#;
        let ban = r#"<rsc_location id="not-n2" rsc="x0" node="n2" score="-INFINITY"/>"#;
        let cli = r#"<rsc_location id="cli-ban-x0-on-n2" rsc="x0" node="n2" score="-INFINITY"/>"#;
        let rule = r#"<rsc_location id="by-rule" rsc="x0"><rule id="r" score="-INFINITY"/></rsc_location>"#;
        let tie = r#"<rsc_colocation id="with-fs" rsc="x0" with-rsc="fs" score="INFINITY"/>"#;
        for (constraints, options, n2, because, advice) in [
            (ban, "", FREE, "not-n2", "pcs constraint delete not-n2"),
            (cli, "", FREE, "cli-ban-x0-on-n2", "crm_resource --clear --resource x0"),
            (rule, "", FREE, "by-rule", "pcs constraint delete by-rule"),
            (tie, "", FREE, "with-fs", "pcs constraint delete with-fs"),
            ("", no, FREE, "symmetric-cluster=false", "pcs constraint location x0 prefers n2=0"),
            (ban, "", r#"online="false""#, "n2 is offline", "pcs cluster start n2"),
            (
                ban,
                "",
                r#"online="true" standby="true""#,
                "n2 is in standby",
                "crm_standby --node n2 --delete",
            ),
            ("", "", FREE, "no other node may run it", "crm_simulate -sL shows the scores"),
        ] {
            let blame = of_no_place(&cib(x0, constraints, options), &status(n2), "x0", "n1");
            assert!(blame.because.contains(because) && blame.advice.contains(advice), "{blame:?}");
        }
        // What keeps it away from the node that it leaves keeps it from nowhere else.
        let away = r#"<rsc_location id="not-n1" rsc="x0" node="n1" score="-INFINITY"/>"#;
        assert!(!of_no_place(&cib(x0, away, ""), &status(FREE), "x0", "n1").because.contains("not-n1"));
    }

    #[test]
    fn a_domain_that_is_to_run_nowhere_is_told_by_whose_word() {
        let cib = Element::parse("<cib/>").unwrap();
        let because = |options: &str, role: &str, quorum: &str| {
            let status = format!(
                r#"<r><summary><current_dc with_quorum="{quorum}"/><cluster_options {options}/></summary><nodes>
                <node name="n2" online="true" standby="true"/></nodes><resources><group><resource id="x0" {role}/></group></resources></r>"#
            );
            of_no_place(&cib, &Element::parse(&status).unwrap(), "x0", "n1").because
        };
        assert_eq!(because("", r#"target_role="Stopped""#, "true"), "target-role=Stopped");
        assert_eq!(because(r#"stop-all-resources="true""#, "", "true"), "stop-all-resources is set");
        assert_eq!(because(r#"no-quorum-policy="stop""#, "", "false"), "the cluster has no quorum");
        assert_eq!(because(r#"no-quorum-policy="ignore""#, "", "false"), "n2 is in standby");
        let usual = r#"no-quorum-policy="stop" stop-all-resources="false""#;
        assert_eq!(because(usual, r#"target_role="Started""#, "true"), "n2 is in standby");
    }
}
