//! Heartbeat's own files: `ha.cf` and their common form.

use crate::host::NodeName;

pub(super) const HA_CF: &str = "/etc/ha.d/ha.cf";

/// The lines of a file of Heartbeat's without comments, in words.
pub(super) fn directives(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines()
        .map(|line| line.split('#').next().unwrap_or_default().split_whitespace().collect::<Vec<_>>())
        .filter(|words| !words.is_empty())
}

/// The nodes that `ha.cf` names.
pub(super) fn nodes(config: &str) -> Vec<NodeName> {
    directives(config)
        .filter(|words| words[0] == "node")
        .flat_map(|words| words[1..].iter().filter_map(|name| NodeName::new(*name).ok()).collect::<Vec<_>>())
        .collect()
}

/// The fencing devices that `ha.cf` gives `node`, by their types: `stonith TYPE FILE` for all nodes, and
/// `stonith_host NODE TYPE ...`, where `*` is every node.
pub(super) fn devices(config: &str, node: &NodeName) -> Vec<String> {
    let device = |words: Vec<&str>| match words.as_slice() {
        ["stonith", device, ..] => Some((*device).to_owned()),
        ["stonith_host", of, device, ..] if *of == "*" || *of == node.as_str() => Some((*device).to_owned()),
        _ => None,
    };
    directives(config).filter_map(device).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fencing_device_counts_on_the_nodes_that_have_it() {
        let n1 = NodeName::new("n1").unwrap();
        let of = |config: &str| devices(config, &n1);
        assert_eq!(of("node n1 n2\nstonith baytech /etc/ha.d/conf/stonith.baytech\n"), ["baytech"]);
        assert_eq!(of("stonith_host * external/ipmi n2 10.0.0.2\n"), ["external/ipmi"]);
        assert_eq!(of("stonith_host n1 external/ipmi n2 10.0.0.2\n"), ["external/ipmi"]);
        assert!(
            of("stonith_host n2 external/ipmi n1 10.0.0.1\n#stonith_host * null n2\nstonith\n").is_empty()
        );
    }
}
