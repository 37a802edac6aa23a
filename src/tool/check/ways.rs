//! Whether the nodes answer, and reach each other.

use super::ask::NodeSays;
use super::finding::Finding;
use crate::host::NodeName;
use crate::preflight::Verdict;

/// Whether it answers. `me`: the node that has asked.
pub(super) fn transport(me: &NodeName, says: &NodeSays) -> Option<Finding> {
    let node = &says.node;
    match &says.setup {
        Ok(_) if node == me => None,
        Ok(setup) => Some(Finding::ok("transport", node, format!("xen-handoff {} answers", setup.version))),
        Err(why) if says.is_member == Some(false) => {
            let found = format!("no member of the cluster just now, and not checked: {why}");
            Some(Finding::new("transport", node, Verdict::Warning, found, "check again when it is back"))
        }
        Err(why) if !says.ways.is_empty() => {
            Some(Finding::new("transport", node, Verdict::Unknown, why, "upgrade xen-handoff there"))
        }
        Err(why) => {
            let advice = format!("xen-handoff reach {node}, from {me}; keys are set up by xen-handoff keys");
            Some(Finding::new("transport", node, Verdict::Failed, why, advice))
        }
    }
}

/// From this node to each other: not from the asker out, which `transport` is about.
pub(super) fn ways(says: &NodeSays) -> Vec<Finding> {
    let asked = says.clock.is_some() || says.setup.is_err();
    let way = |(to, way): &(NodeName, Result<(), String>)| {
        let of = format!("{} > {to}", says.node);
        match way {
            Ok(()) => Finding::ok("ways", of, "each node reaches each other"),
            Err(why) => {
                let advice = format!("on {}: xen-handoff reach {to}", says.node);
                Finding::new("ways", of, Verdict::Failed, why, advice)
            }
        }
    };
    if asked { says.ways.iter().map(way).collect() } else { Vec::new() }
}
