//! The environment, read once, here and nowhere else, into one struct.
//!
//! What the cluster sets differs by action, by version and by caller (`crm_resource --force-stop`,
//! `ocf-tester`, a shutdown without a DC, which sets almost nothing). So everything is optional here, and
//! what is missing is missing for the action to judge.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::host::{NodeName, Root};

/// What the caller told us by its environment.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// `XEN_HANDOFF_ROOT`: the folder below which the world lies; see [`crate::host`].
    pub root: Root,
    /// `OCF_RESOURCE_INSTANCE`: the resource's id in the cluster. `OCF_RES_NAME` where Heartbeat's wrapper
    /// for OCF agents calls.
    pub resource: Option<String>,
    /// `OCF_RESKEY_*` without the cluster's own: the resource's parameters.
    pub parameters: BTreeMap<String, String>,
    /// `OCF_RESKEY_CRM_meta_on_node`, or `HA_CURHOST`: this node's name. Set for the cluster's own operations
    /// only.
    pub on_node: Option<NodeName>,
    /// `OCF_RESKEY_CRM_meta_timeout` (milliseconds there): when the cluster will kill this action.
    pub timeout: Option<Duration>,
    /// `OCF_RESKEY_CRM_meta_interval` (milliseconds there): zero for a probe.
    pub interval: Option<Duration>,
    /// `OCF_RESKEY_CRM_meta_migrate_source`.
    pub migrate_source: Option<NodeName>,
    /// `OCF_RESKEY_CRM_meta_migrate_target`.
    pub migrate_target: Option<NodeName>,
    /// `HA_CURHOST`: this node's name, where classic Heartbeat calls.
    pub heartbeat_node: Option<NodeName>,
    /// `HA_node` and `HA_result`: what classic Heartbeat reports of a node's fencing.
    pub fencing: Option<(NodeName, String)>,
    /// `OCF_CHECK_LEVEL`: 0 unless set.
    pub check_level: u32,
    /// `OCF_EXIT_REASON_PREFIX`, or the standard's `ocf-exit-reason:`.
    pub exit_reason_prefix: Option<String>,
    /// `HA_LOGFILE`: log lines go there too.
    pub log_file: Option<PathBuf>,
    /// `HA_LOGFACILITY`: syslog's facility; `none` switches it off; `daemon` unless set.
    pub log_facility: Option<String>,
    /// `HA_debug` or `PCMK_debug` asks for debug messages.
    pub debug: bool,
    /// `TERM` and `NO_COLOR`: what a terminal can be told.
    pub terminal: Terminal,
}

/// What a terminal can be told, if stdout is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Terminal {
    /// Lines, one after the other.
    #[default]
    Dumb,
    /// Where the next character goes, and bold and reverse; no colours are wanted.
    WithoutColours,
    /// That, and colours.
    Full,
}

impl Environment {
    /// Whether a cluster manager called us: only it names the node. One that has ordered an action and is
    /// gone now (it was killed) is not the same as none.
    pub fn is_called_by_a_cluster(&self) -> bool {
        self.on_node.is_some()
    }

    /// Reads this process's environment. Values that are not UTF-8 keep their readable parts.
    pub fn read() -> Self {
        Self::from_pairs(
            std::env::vars_os().map(|(name, value)| {
                (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned())
            }),
        )
    }

    /// Reads these variables.
    pub fn from_pairs(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut all: BTreeMap<String, String> = pairs.into_iter().collect();
        // sshd runs us as a forced command, and may pass on what the far end has set (`AcceptEnv`): none of
        // it is ours to obey.
        if all.contains_key("SSH_ORIGINAL_COMMAND") {
            all.clear();
        }
        let parameters = all
            .iter()
            .filter_map(|(name, value)| Some((name.strip_prefix("OCF_RESKEY_")?, value)))
            .filter(|(name, _)| !name.starts_with("CRM_meta_") && *name != "crm_feature_set")
            .map(|(name, value)| (name.to_owned(), value.clone()))
            .collect();
        // An empty value means "not set", as for every shell agent.
        let mut take = |name: &str| all.remove(name).filter(|value| !value.is_empty());
        let milliseconds = |text: String| text.parse().ok().map(Duration::from_millis);
        let node = |text: String| NodeName::new(text).ok();
        let heartbeat_node = take("HA_CURHOST").and_then(node);
        Self {
            root: take("XEN_HANDOFF_ROOT").map(Root::new).unwrap_or_default(),
            resource: take("OCF_RESOURCE_INSTANCE").or_else(|| take("OCF_RES_NAME")),
            parameters,
            on_node: take("OCF_RESKEY_CRM_meta_on_node").and_then(node).or_else(|| heartbeat_node.clone()),
            timeout: take("OCF_RESKEY_CRM_meta_timeout").and_then(milliseconds),
            interval: take("OCF_RESKEY_CRM_meta_interval").and_then(milliseconds),
            migrate_source: take("OCF_RESKEY_CRM_meta_migrate_source").and_then(node),
            migrate_target: take("OCF_RESKEY_CRM_meta_migrate_target").and_then(node),
            heartbeat_node,
            fencing: take("HA_node").and_then(node).zip(take("HA_result")),
            check_level: take("OCF_CHECK_LEVEL").and_then(|text| text.parse().ok()).unwrap_or(0),
            exit_reason_prefix: take("OCF_EXIT_REASON_PREFIX"),
            log_file: take("HA_LOGFILE").map(PathBuf::from),
            log_facility: take("HA_LOGFACILITY"),
            debug: ["HA_debug", "PCMK_debug"].iter().any(|name| {
                take(name).is_some_and(|value| !matches!(value.as_str(), "0" | "no" | "false" | "off"))
            }),
            terminal: match (take("TERM").as_deref(), take("NO_COLOR")) {
                (None | Some("dumb"), _) => Terminal::Dumb,
                (Some(_), Some(_)) => Terminal::WithoutColours,
                (Some(_), None) => Terminal::Full,
            },
        }
    }

    /// What stands before an exit reason on stderr.
    pub fn exit_reason_prefix(&self) -> &str {
        self.exit_reason_prefix.as_deref().unwrap_or("ocf-exit-reason:")
    }

    /// True for the cluster's first look at a node: a monitor without interval.
    pub fn is_probe(&self) -> bool {
        self.interval.unwrap_or_default().is_zero()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Environment {
        Environment::from_pairs(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    #[test]
    fn an_empty_environment_is_survived() {
        let nothing = environment(&[]);
        assert_eq!(nothing.resource, None);
        assert_eq!(nothing.root, Root::default());
        assert!(nothing.is_probe());
    }

    #[test]
    fn a_terminal_is_told_no_more_than_it_knows_and_its_owner_wants() {
        let of = |pairs: &[(&str, &str)]| environment(pairs).terminal;
        assert_eq!(of(&[]), Terminal::Dumb);
        assert_eq!(of(&[("TERM", "dumb")]), Terminal::Dumb);
        assert_eq!(of(&[("TERM", "xterm"), ("NO_COLOR", "1")]), Terminal::WithoutColours);
        assert_eq!(of(&[("TERM", "xterm"), ("NO_COLOR", "")]), Terminal::Full);
    }

    #[test]
    fn nothing_that_another_node_sets_over_ssh_is_obeyed() {
        let set = environment(&[
            ("SSH_ORIGINAL_COMMAND", "/usr/sbin/xen-handoff serve"),
            ("XEN_HANDOFF_ROOT", "/tmp/theirs"),
            ("HA_LOGFILE", "/etc/passwd"),
            ("OCF_RESKEY_CRM_meta_on_node", "n1"),
        ]);
        assert_eq!((set.root.clone(), set.log_file.clone()), (Root::default(), None));
        assert!(!set.is_called_by_a_cluster());
    }

    #[test]
    fn heartbeat_and_its_wrapper_name_node_and_resource_in_their_own_way() {
        let set = environment(&[("HA_CURHOST", "n1"), ("OCF_RES_NAME", "x0")]);
        assert!(set.is_called_by_a_cluster());
        assert_eq!(set.on_node, NodeName::new("n1").ok());
        assert_eq!((set.resource.as_deref(), set.fencing), (Some("x0"), None));
        let told = environment(&[("HA_CURHOST", "n2"), ("HA_node", "n1"), ("HA_result", "OK")]);
        assert_eq!(told.fencing, NodeName::new("n1").ok().zip(Some("OK".to_owned())));
    }

    #[test]
    fn parameters_are_told_from_the_clusters_own() {
        let set = environment(&[
            ("OCF_RESKEY_xmfile", "/etc/xen/x0.cfg"),
            ("OCF_RESKEY_crm_feature_set", "3.16.1"),
            ("OCF_RESKEY_CRM_meta_timeout", "20000"),
            ("OCF_RESKEY_CRM_meta_on_node", "node1"),
            ("OCF_RESKEY_CRM_meta_interval", "10000"),
        ]);
        assert_eq!(set.parameters.len(), 1);
        assert_eq!(set.timeout, Some(Duration::from_secs(20)));
        assert_eq!(set.on_node.as_ref().map(NodeName::as_str), Some("node1"));
        assert!(!set.is_probe());
    }
}
