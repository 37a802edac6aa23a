//! Which agent the cluster uses for x0, under which cluster manager, and how it gets onto the nodes.

use anyhow::{Context, Result, anyhow};

use crate::node::Node;
use crate::packages::{Build, Packages};

/// What runs the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manager {
    /// Corosync and Pacemaker.
    Pacemaker,
    /// Classic Heartbeat with haresources.
    Heartbeat,
}

/// The agent under test, or the one that it wants to replace.
#[derive(Debug)]
pub(crate) enum Agent {
    /// Ours, from its packages: `ocf:handoff:Xen`, or the script `xen-handoff` of Heartbeat's `resource.d`.
    Handoff {
        /// What is installed.
        packages: Packages,
        /// Of which build that is.
        build: Build,
        /// What calls it.
        manager: Manager,
    },
    /// `ocf:heartbeat:Xen` of resource-agents.
    Heartbeat,
}

impl Agent {
    /// The agent of this tree.
    pub(crate) fn handoff() -> Result<Self> {
        Self::packaged(Build::Current, Manager::Pacemaker)
    }

    /// The same under classic Heartbeat.
    pub(crate) fn under_heartbeat() -> Result<Self> {
        Self::packaged(Build::Current, Manager::Heartbeat)
    }

    /// Our agent of that build, under that cluster manager.
    pub(crate) fn packaged(build: Build, manager: Manager) -> Result<Self> {
        Ok(Self::Handoff { packages: Packages::of(build, manager)?, build, manager })
    }

    /// The agent that the stories are about. `XEN_HANDOFF_LAB_AGENT=heartbeat` plays them with the agent that this one
    /// replaces, to see what they catch.
    pub(crate) fn under_test() -> Result<Self> {
        match std::env::var("XEN_HANDOFF_LAB_AGENT").as_deref() {
            Ok("heartbeat") => Ok(Self::Heartbeat),
            _ => Self::handoff(),
        }
    }

    /// The provider, as in `ocf:PROVIDER:Xen`.
    pub(crate) fn provider(&self) -> &'static str {
        match self {
            Self::Handoff { .. } => "handoff",
            Self::Heartbeat => "heartbeat",
        }
    }

    /// What runs the cluster.
    pub(crate) fn manager(&self) -> Manager {
        match self {
            Self::Handoff { manager, .. } => *manager,
            Self::Heartbeat => Manager::Pacemaker,
        }
    }

    /// The name of a snapshot of the ready cluster.
    pub(crate) fn layer(&self) -> &'static str {
        match self {
            Self::Handoff { build: Build::Previous, .. } => "previous",
            Self::Handoff { manager: Manager::Heartbeat, .. } => "classic",
            Self::Handoff { .. } | Self::Heartbeat => self.provider(),
        }
    }

    /// What a snapshot with this agent in it depends on.
    pub(crate) fn key(&self) -> Result<String> {
        match self {
            Self::Handoff { packages, .. } => packages.key(),
            Self::Heartbeat => Ok("heartbeat".to_string()),
        }
    }

    /// Puts the agent on the nodes, as an operator would who follows the README: the package, a key pair each, the guard.
    pub(crate) fn install(&self, nodes: &[Node]) -> Result<()> {
        let Self::Handoff { packages, .. } = self else { return Ok(()) };
        // Each node has a processor of its own, and apt is slow on an emulated one.
        std::thread::scope(|scope| {
            let begun: Vec<_> = nodes.iter().map(|node| scope.spawn(|| packages.install(node))).collect();
            begun
                .into_iter()
                .try_for_each(|one| one.join().unwrap_or_else(|_| Err(anyhow!("a thread died"))).map(drop))
        })?;
        let first = nodes.first().context("there are no nodes")?;
        if first.ok("xen-handoff keys --help")?.contains("--export") {
            keys_of_their_own(nodes)?;
        } else {
            one_pair_for_all(first, nodes)?;
        }
        nodes
            .iter()
            .try_for_each(|node| node.ok("systemctl enable -q --now xen-handoff-guard.service").map(drop))
    }
}

fn keys_of_their_own(nodes: &[Node]) -> Result<()> {
    let cards = nodes.iter().map(|node| node.ok("xen-handoff keys --export")).collect::<Result<String>>()?;
    nodes.iter().try_for_each(|node| node.feed("xen-handoff keys --accept", cards.as_bytes()).map(drop))
}

/// As a build did it that knows nothing else; a rolling upgrade begins there.
fn one_pair_for_all(first: &Node, nodes: &[Node]) -> Result<()> {
    let authorized = first.ok("xen-handoff keys --authorized-line")?;
    let pair = ["id_ed25519", "id_ed25519.pub"].map(|name| format!("/etc/xen-handoff/{name}"));
    let mut known = String::new();
    for node in nodes {
        for file in &pair {
            let content = first.ok(&format!("cat {file}"))?;
            node.put(file, content.as_bytes(), "600", "root")?;
        }
        node.feed("cat >>/root/.ssh/authorized_keys", authorized.as_bytes())?;
        let said = node.ok("xen-handoff keys")?;
        let line = said.lines().find(|line| line.starts_with(&format!("{} ", node.name)));
        known += line.with_context(|| format!("xen-handoff keys has no line for known_hosts:\n{said}"))?;
        known.push('\n');
    }
    for node in nodes {
        node.put("/etc/xen-handoff/known_hosts", known.as_bytes(), "644", "root")?;
    }
    Ok(())
}
