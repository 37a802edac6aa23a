//! The command line of `xen-handoff`, the operators' tool. The agent's own (one action) is not here: `main` knows it by
//! the name it was called by.

use std::os::fd::RawFd;
use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::agent::Order;
use crate::bench::{memory, rtt};
use crate::domain::DomainName;
use crate::host::{LocalPath, NodeName};
use crate::transfer::relay::Relay;

/// Hands running Xen domains from node to node for a cluster manager.
#[derive(Debug, Parser)]
#[command(
    name = "xen-handoff",
    version,
    about = "Hands running Xen domains from node to node for a cluster manager"
)]
#[command(max_term_width = 80)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make the cluster's key pair and print what each node needs to know of it
    Keys {
        /// This node's name in the cluster [default: the host's name]
        #[arg(long)]
        node: Option<NodeName>,
        /// Print the line for authorized_keys and nothing else
        #[arg(long)]
        authorized_line: bool,
    },
    /// Show the offers and transfers of this node, or of all
    Status {
        /// Of every node of the cluster, over the transport
        #[arg(short, long)]
        all: bool,
        /// Show them again every two seconds, until interrupted
        #[arg(short, long)]
        watch: bool,
        /// As JSON: a list of objects with node, domain, presence, record, progress; with --watch one list a line
        #[arg(long)]
        json: bool,
    },
    /// Check whether other nodes can take a domain, before anything moves
    ///
    /// Exit status 0: every node that was asked can take it; 1: one of them cannot, or it could not be asked.
    Preflight {
        /// The domain, or the id of its resource
        name: String,
        /// Only this node [default: every other node that is online]
        #[arg(long, value_name = "NODE")]
        to: Vec<NodeName>,
        /// Its configuration file [default: the resource's xmfile]
        #[arg(long, value_name = "FILE", value_parser = local_path)]
        config: Option<LocalPath>,
        /// As JSON: a list of objects with node and checks (check, result, hinders, found, do)
        #[arg(long)]
        json: bool,
    },
    /// Take over the domains that ocf:heartbeat:Xen manages, while they run
    ///
    /// For each of these resources, gives the commands that make it one of ocf:handoff:Xen without stopping it: unmanage,
    /// change the provider, look anew, manage. A resource with a parameter that this agent does not carry out is left as it is,
    /// with the reason; one that is not managed stays so; those that take their provider from one template are taken over together.
    /// Where a command fails, what was changed is put back. Pacemaker only.
    Adopt {
        /// Print the commands, and give none
        #[arg(long)]
        dry_run: bool,
        /// Only these resources [default: all]
        #[arg(value_name = "RESOURCE")]
        resources: Vec<String>,
    },
    /// Empty a node: put it in standby, and watch its domains leave
    ///
    /// Exit status 0: no domain of ours runs there any more; 1: some still do at the end of --timeout, or they cannot be told.
    /// Pacemaker only.
    Drain {
        /// The node's name in the cluster
        node: NodeName,
        /// Only say what would become of each domain, and what is to blame for a reboot
        #[arg(long)]
        plan: bool,
        /// The plan as JSON: a list of objects with resource, to, how, because, do, expected (seconds, by: history or memory)
        #[arg(long, requires = "plan")]
        json: bool,
        /// How long to watch, in seconds
        #[arg(long, default_value_t = 900)]
        timeout: u64,
    },
    /// Show the moves that began at this node, in either direction
    History {
        /// Only of this domain
        #[arg(value_parser = |text: &str| DomainName::new(text))]
        domain: Option<DomainName>,
        /// How many, the newest ones
        #[arg(short = 'n', long, default_value_t = 20)]
        last: usize,
        /// As JSON: one object a line, as in /var/lib/xen-handoff/moves.jsonl
        #[arg(long)]
        json: bool,
        /// All of them, counted, as the textfile collector of node_exporter reads it
        #[arg(long, conflicts_with_all = ["json", "last"])]
        metrics: bool,
    },
    /// Try whether another node answers over the transport, and can reach this one
    Reach {
        /// The other node's name in the cluster
        node: NodeName,
        /// This node's name in the cluster [default: the host's name]
        #[arg(long)]
        as_node: Option<NodeName>,
        /// User on both nodes
        #[arg(long, default_value = "root")]
        user: String,
        /// Port of sshd on both nodes
        #[arg(long, default_value_t = 22)]
        port: u16,
        /// Suffix of node names on the migration network
        #[arg(long, default_value = "")]
        network_suffix: String,
    },
    /// Settle a transfer that broke off: show both ends, conclude, act
    Recover {
        /// The domain
        #[arg(value_parser = |text: &str| DomainName::new(text))]
        domain: DomainName,
        /// Show and conclude, but change nothing on either end
        #[arg(long)]
        dry_run: bool,
    },
    /// Measure a domain while it moves, from any machine that reaches it
    #[command(subcommand)]
    Bench(Bench),
    /// Act as the OCF agent: the action as argument, the rest in the environment
    Agent {
        /// start, stop, monitor, ...
        action: String,
    },
    /// Watch over this host's offers; what xen-handoff-guard.service runs
    #[command(hide = true)]
    Guard {
        /// Hold the shutdown of this host while a domain is on offer or on its way
        #[arg(long)]
        hold: bool,
    },
    /// The far end of a connection; run by sshd as a forced command
    #[command(hide = true)]
    Serve,
    /// What xl migrate uses as its transport
    #[command(hide = true)]
    Relay(Relay),
    /// xl's receiver, bound to the life of its pipe
    #[command(hide = true)]
    Receiver {
        /// The process that it dies with
        #[arg(long)]
        parent: i32,
        /// What it receives
        #[arg(long, value_parser = |text: &str| DomainName::new(text))]
        domain: DomainName,
    },
    /// Claim and receive a domain, for start
    #[command(hide = true)]
    Fetch {
        /// Descriptor of the transfer lock
        #[arg(long)]
        lock: RawFd,
        /// Descriptor of this host's slot
        #[arg(long)]
        slot: Option<RawFd>,
        /// What to do, as JSON
        #[arg(long, value_parser = parse_order)]
        order: Order,
    },
    /// Send a domain, for migrate_to
    #[command(hide = true)]
    Push {
        /// Descriptor of the transfer lock
        #[arg(long)]
        lock: RawFd,
        /// What to do, as JSON
        #[arg(long, value_parser = parse_order)]
        order: Order,
    },
    /// Have the toolstack migrate a domain, for migrate_to where it moves domains by itself
    #[command(hide = true)]
    Carry {
        /// Descriptor of the transfer lock
        #[arg(long)]
        lock: RawFd,
        /// What to do, as JSON
        #[arg(long, value_parser = parse_order)]
        order: Order,
    },
    /// Let a suspended domain run on, through libxenlight
    #[command(hide = true)]
    Thaw {
        /// Its id
        #[arg(long)]
        domid: u32,
    },
    /// See to it that an offer ends at its deadline
    #[command(hide = true)]
    Keep {
        /// The domain on offer
        #[arg(long, value_parser = |text: &str| DomainName::new(text))]
        domain: DomainName,
    },
}

/// The measurements.
#[derive(Debug, Subcommand)]
pub enum Bench {
    /// Ping a domain, give a command that makes it move, and say what its users saw
    Rtt(Box<rtt::Options>),
    /// Response times and processor use of a guest that holds more and more memory, or that moves meanwhile
    Memory(Box<memory::Options>),
    /// Show several results of bench rtt in one table, beside the paper's figures
    Compare {
        /// Folders that bench rtt has written (its --out)
        #[arg(required = true, value_name = "DIR")]
        results: Vec<PathBuf>,
        /// Draw them under each other into this SVG file
        #[arg(long, value_name = "FILE")]
        plot: Option<PathBuf>,
    },
}

fn parse_order(text: &str) -> Result<Order, serde_json::Error> {
    serde_json::from_str(text)
}

fn local_path(text: &str) -> Result<LocalPath, String> {
    LocalPath::new(text).ok_or_else(|| "must be an absolute path".to_owned())
}

impl std::str::FromStr for NodeName {
    type Err = crate::host::NotAHost;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}
