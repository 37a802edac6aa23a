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
