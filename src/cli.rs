//! The command line of `xen-handoff`, the operators' tool. The agent's own (one action) is not here: `main`
//! knows it by the name it was called by.

use std::ffi::OsString;
use std::os::fd::RawFd;
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue};
use clap::{Arg, CommandFactory, Parser, Subcommand, ValueHint};
use clap_complete::ArgValueCandidates;

use crate::address::Address;
use crate::domain::DomainName;
use crate::here::Here;
use crate::host::{LocalPath, NodeName, Root};
use crate::tool::completion::Names;
use crate::tool::keys::{Asked, What};
use crate::transfer::relay::Relay;
use crate::worker::Order;

pub mod examples;

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

impl Cli {
    /// Reads a command line, the program's own name first.
    ///
    /// # Errors
    /// clap's; to whoever looks for the measurements here it says where they are.
    pub fn read(words: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        Self::try_parse_from(words).map_err(|mut error| {
            let bench = ContextValue::String("bench".to_owned());
            if error.get(ContextKind::InvalidSubcommand) == Some(&bench) {
                // What it has that sounds alike.
                error.remove(ContextKind::SuggestedSubcommand);
                let tip = "it is a command of its own now, and in a package of its own: xen-handoff-bench";
                error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
            }
            error
        })
    }

    /// The command line without what only our own processes call.
    pub fn for_people() -> clap::Command {
        let whole = Self::command();
        let typed = whole.get_subcommands().filter(|subcommand| !subcommand.is_hide_set()).cloned();
        clap::Command::new("xen-handoff").version(crate::VERSION).subcommands(typed)
    }

    /// The same for a shell that completes it: with the names of the world below `root`.
    pub fn for_shells(root: &Root) -> clap::Command {
        let with_names = |argument: Arg| match argument.get::<Names>().copied() {
            Some(names) => {
                let root = root.clone();
                argument.add(ArgValueCandidates::new(move || names.known(&Here::new(&root))))
            }
            None => argument,
        };
        Self::for_people().mut_subcommands(|subcommand| subcommand.mut_args(with_names))
    }
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make this node's key pair, and bring to the nodes what they must know of each other
    ///
    /// Each node has a pair of its own, which may run xen-handoff serve on the others and speaks for its node
    /// alone. Without options, this node's pair is made, unless it is there, and what is to be done with it
    /// is said.
    ///
    /// Exit status 0: done; 1: not all of it came about, and what did not is said.
    #[command(after_long_help = examples::help("keys"))]
    Keys(Keys),
    /// Check the set-up of all nodes: keys, ways, guard, scheduler, clocks, files, disks, timeouts
    ///
    /// The first command after the installation. It asks all nodes at once, and changes nothing.
    ///
    /// Exit status 0: all is well; 1: something is not, or could not be found out. With --monitoring 0, 1, 2
    /// and 3 as monitoring plugins have it: OK, WARNING, CRITICAL, UNKNOWN.
    #[command(after_long_help = examples::help("check"))]
    Check {
        /// As JSON
        #[arg(long)]
        json: bool,
        /// One line and the exit status of a monitoring plugin (Nagios, Icinga)
        #[arg(long, conflicts_with = "json")]
        monitoring: bool,
        /// Leave this check out; may be given several times
        #[arg(long, value_name = "CHECK", add = Names::Checks)]
        ignore: Vec<String>,
    },
    /// Show the offers and transfers of this node, or of all
    ///
    /// Exit status 0: they were shown, or there are none; a node that does not answer is named; 1: what this
    /// node has could not be read.
    #[command(after_long_help = examples::help("status"))]
    Status {
        /// Of every node of the cluster, over the transport
        #[arg(short, long)]
        all: bool,
        /// Go on showing them: in a terminal as one picture, until q is pressed; else every two seconds
        #[arg(short, long)]
        watch: bool,
        /// As JSON; with --watch one document a line
        #[arg(long)]
        json: bool,
    },
    /// Check whether other nodes can take a domain, before anything moves
    ///
    /// Asked on the node where the domain runs. It changes nothing.
    ///
    /// Exit status 0: every node that was asked can take it; 1: one of them cannot, or it could not be asked;
    /// 3: nobody knows the name.
    #[command(after_long_help = examples::help("preflight"))]
    Preflight {
        /// The domain, or the id of its resource
        #[arg(add = Names::Domains)]
        name: String,
        /// Only this node [default: every other node that is online]
        #[arg(long, value_name = "NODE", add = Names::Nodes)]
        to: Vec<NodeName>,
        /// Its configuration file [default: the resource's xmfile]
        #[arg(long, value_name = "FILE", value_parser = local_path, value_hint = ValueHint::FilePath)]
        config: Option<LocalPath>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Take over the domains that ocf:heartbeat:Xen manages, while they run
    ///
    /// For each of these resources, gives the commands that make it one of ocf:handoff:Xen without stopping
    /// it: unmanage, change the provider, look anew, manage. A resource with a parameter that this agent does
    /// not carry out is left as it is, with the reason; one that is not managed stays so; those that take
    /// their provider from one template are taken over together. Where a command fails, what was changed is
    /// put back. Pacemaker only.
    ///
    /// Exit status 0: all of them were taken over, or there are none; 1: one was left as it is, or a command
    /// failed.
    #[command(after_long_help = examples::help("adopt"))]
    Adopt {
        /// Print the commands, and give none
        #[arg(long)]
        dry_run: bool,
        /// Only these resources [default: all]
        #[arg(value_name = "RESOURCE", add = Names::OfTheStockAgent)]
        resources: Vec<String>,
    },
    /// Empty a node: put it in standby, and watch its domains leave
    ///
    /// First says what will become of each domain, and why: for one that is to move alive, all is tried that
    /// its stop will try. Where one would not move alive, nothing is done without --force. At the end it says
    /// what became of each. Pacemaker only.
    ///
    /// Exit status 0: no domain of ours runs there any more, or with --plan: it was said what would become of
    /// each; 1: some still run there at the end of --timeout, or nothing was done; 3: the cluster has no such
    /// node.
    #[command(after_long_help = examples::help("drain"))]
    Drain {
        /// The node's name in the cluster
        #[arg(add = Names::Nodes)]
        node: NodeName,
        /// Only say what would become of each domain, and what is to blame for a reboot
        #[arg(long)]
        plan: bool,
        /// The plan as JSON
        #[arg(long, requires = "plan")]
        json: bool,
        /// Do it although a domain would reboot or stop, or may not move
        #[arg(long, conflicts_with = "plan")]
        force: bool,
        /// How long to watch, in seconds
        #[arg(long, default_value_t = 900)]
        timeout: u64,
    },
    /// Show the moves that began at this node, in either direction, or those of all nodes
    ///
    /// Exit status 0: they were shown, or there are none; 1: the log could not be read; 3: nobody knows the
    /// name.
    #[command(after_long_help = examples::help("history"))]
    History {
        /// Only of this domain, or of this resource's
        #[arg(add = Names::Domains)]
        domain: Option<String>,
        /// Of every node of the cluster, each move once
        #[arg(short, long)]
        all: bool,
        /// How many, the newest ones
        #[arg(short = 'n', long, default_value_t = 20)]
        last: usize,
        /// As JSON
        #[arg(long)]
        json: bool,
        /// All of this node's, counted, and what is open now, as the textfile collector of node_exporter
        /// reads it
        #[arg(long, conflicts_with_all = ["json", "last", "all", "domain"])]
        metrics: bool,
        /// With --metrics: into this file, whole, instead of stdout
        #[arg(long, value_name = "FILE", requires = "metrics")]
        into: Option<PathBuf>,
    },
    /// Try whether another node answers over the transport, and can reach this one
    ///
    /// Without other options, user, port and suffix are those of the cluster's resources.
    ///
    /// Exit status 0: both ways are open; 1: one is not; 3: the cluster has no such node.
    #[command(after_long_help = examples::help("reach"))]
    Reach {
        /// The other node's name in the cluster
        #[arg(required_unless_present = "all", add = Names::Nodes)]
        node: Option<NodeName>,
        /// Every node from every other
        #[arg(short, long, conflicts_with_all = ["node", "as_node"])]
        all: bool,
        /// With --all, as JSON
        #[arg(long, requires = "all")]
        json: bool,
        /// This node's name in the cluster [default: as the cluster says]
        #[arg(long, add = Names::Nodes)]
        as_node: Option<NodeName>,
        /// User on both nodes
        #[arg(long)]
        user: Option<String>,
        /// Port of sshd on both nodes
        #[arg(long)]
        port: Option<u16>,
        /// Suffix of node names on the migration network
        #[arg(long)]
        network_suffix: Option<String>,
    },
    /// Say what a message means: what happened, why, what holds now, what to do
    ///
    /// Takes the id of a message (XH0101), a line of the log or of pcs status, or the name of a domain or
    /// resource: then its last stop at this node is explained, or what was said last where there was none,
    /// and how it stands here now.
    ///
    /// Exit status 0: it was explained; 1: nothing is known of it at this node; 3: there is no such message
    /// or name.
    #[command(after_long_help = examples::help("explain"))]
    Explain {
        /// An id, a line in quotes, a domain or a resource
        #[arg(required_unless_present = "list", add = Names::DomainsAndMessages)]
        what: Option<String>,
        /// All messages, a line each
        #[arg(long, conflicts_with = "what")]
        list: bool,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Settle a transfer that broke off: show both ends, conclude, act
    ///
    /// Where nothing broke off at this node, the others are asked.
    ///
    /// Exit status 0: settled, or nothing is to be done at any node; 1: it could not be settled, is to be
    /// settled at another node, or a node does not answer; 3: nobody knows the name.
    #[command(after_long_help = examples::help("recover"))]
    Recover {
        /// The domain, or the id of its resource
        #[arg(add = Names::Domains)]
        domain: String,
        /// Show and conclude, but change nothing on either end
        #[arg(long)]
        dry_run: bool,
    },
    /// Act as the OCF agent: the action as argument, the rest in the environment
    ///
    /// For trying an action by hand: the cluster calls the link that is in its folder of agents.
    ///
    /// Exit status 0: done, or the domain runs here. Others are those of ocf_handoff_Xen(7).
    #[command(after_long_help = examples::help("agent"))]
    Agent {
        /// start, stop, monitor, ...
        #[arg(add = Names::Actions)]
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
    Serve {
        /// Whose key the caller has come with, as root's authorized_keys says
        #[arg(long)]
        peer: Option<NodeName>,
    },
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
    /// The ssh of a connection that the guard keeps open
    #[command(hide = true)]
    Line {
        /// The process that it dies with
        #[arg(long)]
        parent: i32,
        /// Where to, as JSON
        #[arg(long, value_parser = |text: &str| serde_json::from_str::<Address>(text))]
        address: Address,
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
    /// Try what a stop would try, and say what would come of it
    #[command(hide = true)]
    Trial {
        /// The resource
        resource: String,
        /// Where the cluster would start it
        #[arg(long)]
        target: NodeName,
        /// Whether the cluster migrates it by itself
        #[arg(long)]
        migrates: bool,
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

/// What `xen-handoff keys` is asked for.
#[derive(Debug, clap::Args)]
#[allow(clippy::struct_excessive_bools, reason = "switches of a command line")]
pub struct Keys {
    /// Print what the other nodes need to know of this one, for --accept there
    #[arg(
        long,
        conflicts_with_all = ["accept", "distribute", "rotate", "remove", "remove_shared", "authorized_line"]
    )]
    export: bool,
    /// Take from stdin what --export has printed on other nodes
    #[arg(long, conflicts_with_all = ["distribute", "rotate", "remove", "remove_shared", "authorized_line"])]
    accept: bool,
    /// Over root's own ssh: a pair on every node, and on every node what it must know of the others
    #[arg(long, conflicts_with_all = ["remove_shared", "authorized_line"])]
    distribute: bool,
    /// Another pair in the place of this node's; the old one goes when the others take the new one
    #[arg(long, conflicts_with_all = ["remove", "remove_shared", "authorized_line"])]
    rotate: bool,
    /// Take no key for this node's any more: a node that is lost, or gone
    #[arg(long, value_name = "NODE", add = Names::Nodes)]
    #[arg(conflicts_with_all = ["remove_shared", "authorized_line"])]
    remove: Option<NodeName>,
    /// Take away the line of a pair that is the same on every node
    #[arg(long, conflicts_with = "authorized_line")]
    remove_shared: bool,
    /// Print the line for authorized_keys on the other nodes and nothing else
    #[arg(long)]
    authorized_line: bool,
    /// This node's name in the cluster [default: what the cluster calls it]
    #[arg(long, add = Names::Nodes)]
    node: Option<NodeName>,
    /// From where this node comes: addresses with commas between, or any [default: its addresses]
    #[arg(long, value_name = "ADDRESSES")]
    from: Option<String>,
    /// Make a pair although the cluster seems to have one for all nodes
    #[arg(long)]
    new: bool,
}

impl Keys {
    /// In the tool's own words.
    pub fn asked(self) -> Asked {
        let distribute = self.distribute;
        let what = match self.remove {
            Some(node) => What::Remove { node, distribute },
            None if self.rotate => What::Rotate { distribute },
            None if distribute => What::Distribute,
            None if self.export => What::Export,
            None if self.accept => What::Accept,
            None if self.remove_shared => What::RemoveShared,
            None if self.authorized_line => What::AuthorizedLine,
            None => What::Show,
        };
        Asked { what, node: self.node, from: self.from, new: self.new }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(line: &str) -> String {
        Cli::read(line.split(' ').map(OsString::from)).unwrap_err().to_string()
    }

    #[test]
    fn each_subcommands_long_help_ends_with_examples_and_is_as_wide_as_a_terminal() {
        let mut whole = Cli::command();
        // The width of all is each one's from then on.
        whole.build();
        let typed =
            |subcommand: &&mut clap::Command| !subcommand.is_hide_set() && subcommand.get_name() != "help";
        for subcommand in whole.get_subcommands_mut().filter(typed) {
            let (name, long) = (subcommand.get_name().to_owned(), subcommand.render_long_help().to_string());
            let short = subcommand.render_help().to_string();
            let examples = examples::of(&name);
            assert!(!examples.is_empty() && long.contains("\nExamples:\n"), "{name}: {long}");
            for (typed, what) in examples {
                assert!(long.contains(&format!("\n  {typed}\n          {what}")), "{name}: {long}");
            }
            assert!(!short.contains("Examples:"), "{name}: {short}");
            assert!(long.lines().all(|line| line.chars().count() <= 80), "{name}: {long}");
        }
    }

    #[test]
    fn who_looks_for_the_measurements_is_told_where_they_are() {
        let said = refused("xen-handoff bench rtt x0 --at 9s");
        assert!(said.contains("unrecognized subcommand 'bench'"), "{said}");
        assert!(said.contains("xen-handoff-bench") && !said.contains("'reach'"), "{said}");
        let said = refused("xen-handoff benhc");
        assert!(said.contains("unrecognized subcommand") && !said.contains("xen-handoff-bench"), "{said}");
    }
}
