//! The resource's parameters: one table that the metadata, the checks and the manual are made from, and the
//! typed values that an action works with.
//!
//! Names and meanings are those of `ocf:heartbeat:Xen` (resource-agents 4.12), so that a resource moves over
//! by a change of its provider; the handoff's own stand at the end.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::address::Reach;
use crate::domain::DomainName;
use crate::moves::terms::{Compression, Terms};
use crate::ocf::span::parse_span;
use crate::toolstack;

pub mod kept;
pub mod metadata;

/// A parameter's type in OCF metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    Text,
    /// A whole number.
    Integer,
    /// One of OCF's words for true and false.
    Boolean,
    /// A span of time, as [`parse_span`] reads it.
    Time,
}

/// One parameter as the metadata shows it.
#[derive(Debug, Clone, Copy)]
pub struct Parameter {
    /// Its name, without `OCF_RESKEY_`.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// The value where none is set; empty for none.
    pub default: &'static str,
    /// Whether it must be set.
    pub required: bool,
    /// Whether no two resources may have the same value.
    pub unique: bool,
    /// Whether the running guest is not concerned: a change restarts nothing, `reload-agent` takes note of
    /// it.
    pub reloadable: bool,
    /// One line.
    pub short: &'static str,
    /// All that an operator needs to know.
    pub long: &'static str,
}

/// Every parameter, in the order of the metadata.
pub const PARAMETERS: [Parameter; 25] = [
    Parameter {
        name: "xmfile",
        kind: Kind::Text,
        default: "/etc/xen/vm/MyDomU",
        required: true,
        unique: false,
        reloadable: false,
        short: "Xen domain configuration file",
        long: "Absolute path of the domain configuration file (xl.cfg(5), xmdomain.cfg(5)). It must be present, with the same \
               content, on every node that the domain may run on. Where the toolstack is xe, which has no such files, name says \
               which VM it is and this is not read: set it to /dev/null there, since pcs and crm insist on a value.",
    },
    Parameter {
        name: "name",
        kind: Kind::Text,
        default: "",
        required: false,
        unique: false,
        reloadable: false,
        short: "Name of the domain",
        long: "Name of the domain, overriding the one in the configuration file. Set it where the file may be out of \
               reach, for example on a file system that the cluster mounts: without it, the name is what xl reads from \
               the file, or, if the file cannot be read, the resource's id. Where the toolstack is xe, this is the VM's \
               name-label; it must be set, and be the only one of its kind in the pool. Names that are numbers or that end in \
               --incoming or --migratedaway are refused, since xl would misread them.",
    },
    Parameter {
        name: "shutdown_timeout",
        kind: Kind::Time,
        default: "",
        required: false,
        unique: false,
        reloadable: true,
        short: "Time for an orderly shutdown",
        long: "How long the guest may take to shut down, in seconds, before the domain is destroyed. Unset: two thirds \
               of the stop operation's timeout. 0: destroy at once.",
    },
    Parameter {
        name: "shutdown_acpi",
        kind: Kind::Boolean,
        default: "false",
        required: false,
        unique: false,
        reloadable: true,
        short: "Shut down by the ACPI power button",
        long: "Shut the guest down by an ACPI power button event (xl trigger NAME power) instead of xl shutdown: for \
               fully virtualised guests without Xen drivers. Not with xe.",
    },
    Parameter {
        name: "allow_mem_management",
        kind: Kind::Boolean,
        default: "false",
        required: false,
        unique: false,
        reloadable: true,
        short: "Make room for the domain out of the memory of others",
        long: "Before this domain is booted or arrives here, and too little memory is free: ask the other running domains \
               whose own resources have this parameter for exactly what is missing (xl mem-set), each in proportion to what it \
               has above its memory_floor; give it back when there is room again. No file is changed. Without enough, or where \
               a guest does not give it in time, nothing is taken, and the start waits and says why. A domain that is on \
               offer or on its way is left alone. Set it on every domain that is to give. With xl only.",
    },
    Parameter {
        name: "snapshot",
        kind: Kind::Text,
        default: "",
        required: false,
        unique: false,
        reloadable: true,
        short: "Folder that a stop saves the domain's memory to",
        long: "Absolute path of a folder, local or shared by all nodes, with room for the domain's memory. A stop after which the \
               cluster will not start the domain anywhere (disabled, all nodes leaving) saves it there (xl save) instead of shutting \
               it down, and the next start restores it. A snapshot is used once, and only if every node says that it has not \
               run the domain since; otherwise it is discarded and the domain is booted, from disks as after a power cut: with a \
               local folder, also by a start on another node. Every node must answer at the stop too, or it is an ordinary \
               shutdown, as it is where saving fails. The save may take half of the stop's timeout. Never restore one of these files \
               by hand. Not with xe.",
    },
    Parameter {
        name: "node_ip_attribute",
        kind: Kind::Text,
        default: "",
        required: false,
        unique: false,
        reloadable: true,
        short: "Node attribute with the address for migrations",
        long: "Name of a node attribute (crm_attribute --type nodes) that holds the address by which a node is reached \
               for migrations. Where a node has no such attribute, its name is used. Wins over \
               migration_network_suffix.",
    },
    Parameter {
        name: "reserved_Dom0_memory",
        kind: Kind::Integer,
        default: "512",
        required: false,
        unique: false,
        reloadable: true,
        short: "Memory that dom0 keeps, in MiB",
        long: "Memory that dom0 keeps with allow_mem_management, in MiB. With autoballoon (xl.conf(5)) xl takes of dom0 for \
               a new domain, down to 128 MiB: room is then made out of other domains before dom0 would be left with less than \
               this. Without autoballoon dom0 gives nothing anyway.",
    },
    Parameter {
        name: "memory_floor",
        kind: Kind::Integer,
        default: "",
        required: false,
        unique: false,
        reloadable: true,
        short: "Memory that this domain is always left with, in MiB",
        long: "With allow_mem_management: what others must leave to this domain, in MiB. Unset: half of what its \
               configuration file gives it.",
    },
    Parameter {
        name: "autoset_utilization_cpu",
        kind: Kind::Boolean,
        default: "false",
        required: false,
        unique: false,
        reloadable: true,
        short: "Keep the utilization attribute cpu",
        long: "Write the number of virtual processors to the resource's utilization attribute cpu. A recurring monitor does \
               it, and only when the number has changed, since every change of the cluster's configuration aborts the \
               transition that is going on. Pacemaker only.",
    },
    Parameter {
        name: "autoset_utilization_hv_memory",
        kind: Kind::Boolean,
        default: "false",
        required: false,
        unique: false,
        reloadable: true,
        short: "Keep the utilization attribute hv_memory",
        long: "Write the domain's memory, in MiB, to the resource's utilization attribute hv_memory, as \
               autoset_utilization_cpu does with the processors.",
    },
    Parameter {
        name: "monitor_scripts",
        kind: Kind::Text,
        default: "",
        required: false,
        unique: false,
        reloadable: true,
        short: "Scripts that check the guest",
        long: "Absolute paths of scripts, separated by spaces, that must succeed for the domain to count as healthy. A \
               recurring monitor runs them all at once when the domain runs here, each with what is left of the \
               operation's timeout; one that fails or hangs is a failed monitor, with its last line as the reason. Start and \
               migrate_from wait until they pass. They get no arguments and the agent's environment. A probe does not run them.",
    },
    Parameter {
        name: "handoff",
        kind: Kind::Text,
        default: "auto",
        required: false,
        unique: false,
        reloadable: true,
        short: "Whether stop may hand the running domain over: auto or never",
        long: "auto: when the cluster stops this resource here only to start it on another node, stop leaves the domain \
               running and offers it; start on the other node pulls it over by live migration. Every other stop, and \
               every case of doubt, is an ordinary shutdown. never: stop always shuts the domain down. The handoff \
               needs the transport to be set up once: see xen-handoff-keys(8).",
    },
    Parameter {
        name: "handoff_timeout",
        kind: Kind::Time,
        default: "300",
        required: false,
        unique: false,
        reloadable: true,
        short: "Life of an offer",
        long: "How long an offered domain goes on running for another node to fetch it, in seconds. After that the node \
               that offered it withdraws the offer and shuts the domain down, because the cluster believes that it is \
               stopped. At least 10 s. Set it above the time that a migration takes.",
    },
    Parameter {
        name: "handoff_unreachable",
        kind: Kind::Text,
        default: "wait",
        required: false,
        unique: false,
        reloadable: true,
        short: "What a start does about a source that does not answer: wait or fence",
        long: "A start finds an offer, and the node that made it does not answer. wait: keep trying until the start's \
               timeout, then fail with the reason; the domain is not booted. (A source that the cluster has lost and is \
               about to fence is fenced at once, since the cluster waits for the start.) fence: once that node has been silent for \
               handoff_peer_timeout, have the cluster fence it (stonith_admin), and boot the domain when that has \
               succeeded. A guest that was running there is lost then. Needs fencing to be configured.",
    },
    Parameter {
        name: "migration_network_suffix",
        kind: Kind::Text,
        default: "",
        required: false,
        unique: false,
        reloadable: true,
        short: "Suffix of node names on the migration network",
        long: "Appended to a node's name to get its name on a dedicated migration network, before the first period of a \
               qualified name: node1 and -mig give node1-mig, node1.example.org gives node1-mig.example.org.",
    },
    Parameter {
        name: "migration_detach_pci",
        kind: Kind::Boolean,
        default: "false",
        required: false,
        unique: false,
        reloadable: true,
        short: "Detach devices of the host before the domain moves",
        long: "Xen does not migrate a domain that has PCI devices of the host. true: they are detached (xl pci-detach) just before a \
               handoff or migration, and those that its configuration names are attached (xl pci-attach) where it runs then; if it \
               does not move after all, where it was. The guest must be able to do without them for the time, and every node must \
               have a device at the same address, free for domains (xl pci-assignable-add). A domain with a device that its \
               configuration does not name is not moved. false: a stop of such a domain is an ordinary one, and a migration fails \
               before it begins. With xl only.",
    },
    Parameter {
        name: "migration_user",
        kind: Kind::Text,
        default: "root",
        required: false,
        unique: false,
        reloadable: true,
        short: "User of the transport's ssh connections",
        long: "User name by which the other node is reached. It must be allowed to run xl there.",
    },
    Parameter {
        name: "migration_port",
        kind: Kind::Integer,
        default: "22",
        required: false,
        unique: false,
        reloadable: true,
        short: "Port of the transport's ssh connections",
        long: "TCP port of sshd on the other nodes, 1 to 65535.",
    },
    Parameter {
        name: "migration_connect_timeout",
        kind: Kind::Time,
        default: "5",
        required: false,
        unique: false,
        reloadable: true,
        short: "Limit of one ssh connection attempt",
        long: "How long one attempt to reach another node may take, in seconds, 1 to 60. Twice this is the time that \
               stop spends to make sure that the planned target can reach this node back.",
    },
    Parameter {
        name: "migration_rate",
        kind: Kind::Integer,
        default: "0",
        required: false,
        unique: false,
        reloadable: true,
        short: "Limit of a move's rate, in MiB/s",
        long: "How much of the network one move of this domain may use, in MiB/s (of 1048576 bytes), whether the cluster migrates \
               it or hands it over. 0: no limit. What goes over the connection counts: with migration_compression the domain \
               itself moves faster. The limit holds to the end, so a low one makes the pause longer, in which the pages go that \
               the guest has written last. A source with a version that knows no limit sends as fast as it can, and the log says so. With xl only.",
    },
    Parameter {
        name: "migration_compression",
        kind: Kind::Text,
        default: "none",
        required: false,
        unique: false,
        reloadable: true,
        short: "Compression of a move's stream: none or zstd",
        long: "zstd: the domain's memory is compressed on its way, which pays where the network is slower than about 200 MiB/s \
               for each processor that dom0 can spare at both ends. none: it goes as it is, without passing through the \
               agent's memory. Where the other node has a version that cannot, it goes as it is, and the log says so. With xl only.",
    },
    Parameter {
        name: "migration_deadline",
        kind: Kind::Time,
        default: "0",
        required: false,
        unique: false,
        reloadable: true,
        short: "Limit of a move until the guest is suspended",
        long: "How long a move may go on while the guest runs, in seconds from its begin. A move whose guest has not been \
               suspended for the last step by then is broken off: the guest runs on at the source as if nothing had been, \
               migrate_to fails with the reason, and a start tries again until its own timeout. Once the guest is \
               suspended, its move is not broken off by this. 0: no limit but the operation's timeout, by which a move can be \
               broken off in the last step as well, so that the guest pauses and runs on at the source. At most a day. With xl only.",
    },
    Parameter {
        name: "toolstack",
        kind: Kind::Text,
        default: "auto",
        required: false,
        unique: false,
        reloadable: true,
        short: "The toolstack that the nodes are taken to have: auto, xl, xm or xe",
        long: "Which toolstack a node has is a fact of the node (xen-handoff(8), \"TOOLSTACKS\"), and this parameter does not change \
               it. xl, xm or xe: on a node with another one, the resource is not started, and validate-all says so. auto: any. Only \
               xl can hand a running domain over; xm and xe can start, stop, monitor and migrate it (allow-migrate).",
    },
    Parameter {
        name: "handoff_peer_timeout",
        kind: Kind::Time,
        default: "10",
        required: false,
        unique: false,
        reloadable: true,
        short: "Limit of a question to another node",
        long: "How long start waits for each other node's answer to the question whether the domain runs there, in \
               seconds, 1 to 300. Where a node has not answered, the next question may take twice as long, up to a third \
               of what the start has left. A stop that has to ask takes a quarter of its time where that is more.",
    },
];

/// Whether stop may leave a running domain behind for another node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandoffMode {
    /// Where the cluster will start it elsewhere and every gate holds.
    Auto,
    /// Never.
    Never,
}

/// What a start does about a source that does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreachable {
    /// Keep trying, then fail.
    Wait,
    /// Have the cluster fence it.
    Fence,
}

/// The values that an action works with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameters {
    /// The configuration file; `None` where the caller set none (a stop without a DC).
    pub xmfile: Option<PathBuf>,
    /// The name, where the parameter sets it.
    pub name: Option<DomainName>,
    /// Time for an orderly shutdown; `None` for two thirds of the operation's timeout.
    pub shutdown_timeout: Option<Duration>,
    /// Shut down by the power button.
    pub shutdown_acpi: bool,
    /// Whether stop may hand over.
    pub handoff: HandoffMode,
    /// Life of an offer.
    pub handoff_timeout: Duration,
    /// What a start does about a source that does not answer.
    pub unreachable: Unreachable,
    /// Limit of a question to another node.
    pub peer_timeout: Duration,
    /// Scripts that check the guest.
    pub monitor_scripts: Vec<PathBuf>,
    /// Keep the utilization attribute `cpu`.
    pub autoset_cpu: bool,
    /// Keep the utilization attribute `hv_memory`.
    pub autoset_memory: bool,
    /// Make room out of the memory of others, and give to them.
    pub share_memory: bool,
    /// What dom0 keeps then, in MiB.
    pub dom0_keeps_mib: u64,
    /// What others must leave to this domain, in MiB; `None` for half of what it is configured with.
    pub memory_floor_mib: Option<u64>,
    /// The toolstack that the node must have; `None` for any.
    pub toolstack: Option<toolstack::Kind>,
    /// Where a stop saves the domain's memory to.
    pub snapshot: Option<PathBuf>,
    /// Detach devices of the host before the domain moves.
    pub detach_pci: bool,
    /// How the other nodes are reached.
    pub reach: Reach,
    /// What a move may use of the network.
    pub terms: Terms,
}

/// A parameter whose value cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("parameter {name}={value:?}: {what}")]
pub struct BadParameter {
    /// Which one.
    pub name: &'static str,
    /// What it was set to.
    pub value: String,
    /// What is wrong with it and what would be right.
    pub what: String,
}

/// Reads one parameter after the other out of what the caller set, and keeps account of what could not be
/// used.
#[derive(Debug)]
struct Reader<'a> {
    set: &'a BTreeMap<String, String>,
    bad: RefCell<Vec<BadParameter>>,
}

impl Reader<'_> {
    fn text(&self, name: &'static str) -> Option<&str> {
        self.set.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    /// What it is set to; `None` where it is not set; `instead` where it is set to what cannot be used.
    fn or<T>(
        &self,
        name: &'static str,
        instead: Option<T>,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let value = self.text(name)?;
        match parse(value) {
            Ok(read) => Some(read),
            Err(what) => {
                self.bad.borrow_mut().push(BadParameter { name, value: value.to_owned(), what });
                instead
            }
        }
    }

    fn parsed<T>(&self, name: &'static str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        self.or(name, None, parse)
    }

    fn span(&self, name: &'static str, seconds: std::ops::RangeInclusive<u64>) -> Option<Duration> {
        self.parsed(name, |value| {
            let span = parse_span(value)?;
            if seconds.contains(&span.as_secs()) {
                Ok(span)
            } else {
                Err(format!("must be {} to {} seconds", seconds.start(), seconds.end()))
            }
        })
    }

    fn flag(&self, name: &'static str) -> bool {
        self.parsed(name, parse_flag).unwrap_or(false)
    }
}

/// OCF's words for true and false (`ocf_is_true` of resource-agents), and nothing else.
fn parse_flag(value: &str) -> Result<bool, String> {
    match value.to_ascii_lowercase().as_str() {
        "yes" | "true" | "1" | "ja" | "on" => Ok(true),
        "no" | "false" | "0" | "off" => Ok(false),
        _ => Err("must be true or false (or yes/no, on/off, 1/0)".to_owned()),
    }
}

const DAY: u64 = 24 * 3600;

impl Parameters {
    /// Reads and checks every parameter.
    ///
    /// # Errors
    /// The first [`BadParameter`].
    pub fn read(set: &BTreeMap<String, String>) -> Result<Self, BadParameter> {
        let (read, bad) = Self::judge(set);
        bad.into_iter().next().map_or(Ok(read), Err)
    }

    /// Reads every parameter. One that cannot be used counts as not set, and `handoff` as `never`: what is
    /// done for a guest that runs already must not depend on a word that is mistyped.
    pub fn judge(set: &BTreeMap<String, String>) -> (Self, Vec<BadParameter>) {
        let reader = Reader { set, bad: RefCell::default() };
        let default = Reach::default();
        let read = Self {
            xmfile: reader.parsed("xmfile", absolute_path),
            snapshot: reader.parsed("snapshot", absolute_path),
            toolstack: reader.parsed("toolstack", toolstack_kind).flatten(),
            name: reader.parsed("name", |value| DomainName::new(value).map_err(|error| error.to_string())),
            shutdown_timeout: reader.span("shutdown_timeout", 0..=DAY),
            shutdown_acpi: reader.flag("shutdown_acpi"),
            handoff: reader
                .or("handoff", Some(HandoffMode::Never), |value| match value {
                    "auto" => Ok(HandoffMode::Auto),
                    "never" => Ok(HandoffMode::Never),
                    _ => Err("must be auto or never".to_owned()),
                })
                .unwrap_or(HandoffMode::Auto),
            handoff_timeout: reader.span("handoff_timeout", 10..=DAY).unwrap_or(Duration::from_secs(300)),
            unreachable: reader
                .parsed("handoff_unreachable", |value| match value {
                    "wait" => Ok(Unreachable::Wait),
                    "fence" => Ok(Unreachable::Fence),
                    _ => Err("must be wait or fence".to_owned()),
                })
                .unwrap_or(Unreachable::Wait),
            peer_timeout: reader.span("handoff_peer_timeout", 1..=300).unwrap_or(Duration::from_secs(10)),
            monitor_scripts: reader.parsed("monitor_scripts", scripts).unwrap_or_default(),
            autoset_cpu: reader.flag("autoset_utilization_cpu"),
            autoset_memory: reader.flag("autoset_utilization_hv_memory"),
            detach_pci: reader.flag("migration_detach_pci"),
            share_memory: reader.flag("allow_mem_management"),
            dom0_keeps_mib: reader.parsed("reserved_Dom0_memory", mib).unwrap_or(512),
            memory_floor_mib: reader.parsed("memory_floor", mib),
            reach: Reach {
                user: reader.parsed("migration_user", user_name).unwrap_or(default.user),
                port: reader
                    .parsed("migration_port", |value| match value.parse() {
                        Ok(port @ 1..) => Ok(port),
                        _ => Err("must be a TCP port, 1 to 65535".to_owned()),
                    })
                    .unwrap_or(default.port),
                suffix: reader.parsed("migration_network_suffix", name_part).unwrap_or_default(),
                attribute: reader.parsed("node_ip_attribute", name_part).unwrap_or_default(),
                connect_timeout: reader
                    .span("migration_connect_timeout", 1..=60)
                    .unwrap_or(default.connect_timeout),
            },
            terms: Terms {
                rate: reader
                    .parsed("migration_rate", |value| match value.parse() {
                        Ok(rate @ 0..=1_000_000) => Ok(rate),
                        _ => Err("must be a whole number of MiB/s; 0 for no limit".to_owned()),
                    })
                    .filter(|rate| *rate > 0),
                compression: reader
                    .parsed("migration_compression", |value| match value {
                        "none" => Ok(Compression::None),
                        "zstd" => Ok(Compression::Zstd),
                        _ => Err("must be none or zstd".to_owned()),
                    })
                    .unwrap_or_default(),
                deadline: reader
                    .span("migration_deadline", 0..=DAY)
                    .map(|span| span.as_secs())
                    .filter(|seconds| *seconds > 0),
            },
        };
        (read, reader.bad.into_inner())
    }
}

fn absolute_path(value: &str) -> Result<PathBuf, String> {
    if value.starts_with('/') { Ok(PathBuf::from(value)) } else { Err("must be an absolute path".to_owned()) }
}

fn toolstack_kind(value: &str) -> Result<Option<toolstack::Kind>, String> {
    match toolstack::Kind::parse(value) {
        None if value == "auto" => Ok(None),
        None => Err("must be auto, xl, xm or xe".to_owned()),
        kind => Ok(kind),
    }
}

fn mib(value: &str) -> Result<u64, String> {
    value.parse::<u32>().map(u64::from).map_err(|_| "must be a whole number of MiB".to_owned())
}

fn scripts(value: &str) -> Result<Vec<PathBuf>, String> {
    let words: Vec<&str> = value.split_whitespace().collect();
    match words.iter().find(|word| !word.starts_with('/')) {
        Some(word) => Err(format!("{word:?} must be the absolute path of a script")),
        None => Ok(words.into_iter().map(PathBuf::from).collect()),
    }
}

fn user_name(value: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if value.starts_with('-') || !value.chars().all(fits) {
        return Err(
            "must be a user name: letters, digits, '.', '-' and '_', not starting with '-'".to_owned()
        );
    }
    Ok(value.to_owned())
}

fn name_part(value: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if value.chars().all(fits) {
        Ok(value.to_owned())
    } else {
        Err("may only have letters, digits, '.', '-' and '_'".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn the_defaults_in_the_metadata_are_the_defaults_in_the_code() {
        let shown = set(&PARAMETERS.map(|parameter| (parameter.name, parameter.default)));
        let mut from_metadata = Parameters::read(&shown).unwrap();
        assert_eq!(from_metadata.xmfile.take(), Some(PathBuf::from("/etc/xen/vm/MyDomU")));
        assert_eq!(from_metadata, Parameters::read(&set(&[])).unwrap());
    }

    #[test]
    fn a_bad_value_is_named_with_its_parameter() {
        let bad = [
            ("xmfile", "x0.cfg"),
            ("name", "12"),
            ("name", "x0--incoming"),
            ("shutdown_timeout", "soon"),
            ("shutdown_acpi", "maybe"),
            ("handoff", "always"),
            ("handoff_timeout", "3"),
            ("migration_user", "-oProxyCommand=x"),
            ("migration_port", "0"),
            ("migration_network_suffix", "; reboot"),
            ("migration_connect_timeout", "2 weeks"),
            ("migration_rate", "fast"),
            ("migration_compression", "gzip"),
            ("migration_deadline", "3 days"),
            ("monitor_scripts", "/bin/check check"),
            ("autoset_utilization_cpu", "perhaps"),
            ("reserved_Dom0_memory", "512m"),
            ("memory_floor", "-1"),
            ("snapshot", "var/lib/xen/save"),
            ("toolstack", "libvirt"),
        ];
        for (name, value) in bad {
            let error = Parameters::read(&set(&[(name, value)])).unwrap_err();
            assert_eq!((error.name, error.value.as_str()), (name, value));
        }
    }

    #[test]
    fn what_cannot_be_used_counts_as_not_set_and_the_handoff_as_never() {
        let (read, bad) = Parameters::judge(&set(&[
            ("handoff", "yes"),
            ("shutdown_timeout", "abc"),
            ("migration_rate", "50M"),
            ("name", "x0--incoming"),
            ("migration_port", "2222"),
        ]));
        let named: Vec<&str> = bad.iter().map(|bad| bad.name).collect();
        assert_eq!(named, ["name", "shutdown_timeout", "handoff", "migration_rate"]);
        assert_eq!(
            bad[3].to_string(),
            "parameter migration_rate=\"50M\": must be a whole number of MiB/s; 0 for no limit"
        );
        let mut expected = Parameters::judge(&set(&[("migration_port", "2222")])).0;
        expected.handoff = HandoffMode::Never;
        assert_eq!(read, expected);
    }

    #[test]
    fn only_what_says_which_guest_it_is_restarts_it() {
        let restarts: Vec<&str> = PARAMETERS
            .iter()
            .filter(|parameter| !parameter.reloadable)
            .map(|parameter| parameter.name)
            .collect();
        assert_eq!(restarts, ["xmfile", "name"]);
    }
}
