//! Which agent the cluster uses for x0, under which cluster manager, and how it gets onto the nodes.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::layers;
use crate::node::Node;
use crate::process;
use crate::wait::step;

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
    /// Ours, staged by `make install`: `ocf:handoff:Xen`, or the script `xen-handoff` of Heartbeat's `resource.d`.
    Handoff {
        /// The target file system's part of it.
        stage: PathBuf,
        /// What calls it.
        manager: Manager,
    },
    /// `ocf:heartbeat:Xen` of resource-agents.
    Heartbeat,
}

impl Agent {
    /// The agent that `stage` has staged.
    pub(crate) fn handoff() -> Result<Self> {
        Self::staged(Manager::Pacemaker)
    }

    /// The same under classic Heartbeat.
    pub(crate) fn under_heartbeat() -> Result<Self> {
        Self::staged(Manager::Heartbeat)
    }

    fn staged(manager: Manager) -> Result<Self> {
        let stage = stage_dir();
        if !stage.join("usr").exists() {
            bail!(
                "no agent is staged in {}: `make install` has failed or puts nothing there",
                stage.display()
            );
        }
        Ok(Self::Handoff { stage, manager })
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
        match self.manager() {
            Manager::Pacemaker => self.provider(),
            Manager::Heartbeat => "classic",
        }
    }

    /// What a snapshot with this agent in it depends on.
    pub(crate) fn key(&self) -> Result<String> {
        match self {
            Self::Handoff { stage, .. } => layers::hash(&archive(stage)?),
            Self::Heartbeat => Ok("heartbeat".to_string()),
        }
    }

    /// Puts the agent on the nodes, as an operator would who follows the README: the files, one key pair for all, the guard.
    pub(crate) fn install(&self, nodes: &[Node]) -> Result<()> {
        let Self::Handoff { stage, .. } = self else { return Ok(()) };
        let archive = archive(stage)?;
        for node in nodes {
            node.feed(
                "tar -C / --no-overwrite-dir -xf - && systemd-tmpfiles --create && systemctl daemon-reload",
                &archive,
            )?;
        }
        let first = nodes.first().context("there are no nodes")?;
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
            known +=
                line.with_context(|| format!("xen-handoff keys has no line for known_hosts:\n{said}"))?;
            known.push('\n');
        }
        for node in nodes {
            node.put("/etc/xen-handoff/known_hosts", known.as_bytes(), "644", "root")?;
            node.ok("systemctl enable -q --now xen-handoff-guard.service")?;
        }
        Ok(())
    }
}

fn stage_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/lab/stage")
}

/// Builds the agent of this tree and installs it into a directory of its own.
pub(crate) fn stage() -> Result<()> {
    let stage = stage_dir();
    if stage.exists() {
        std::fs::remove_dir_all(&stage)?;
    }
    let mut make = Command::new("make");
    make.arg("-C").arg(env!("CARGO_MANIFEST_DIR")).arg("install").arg(format!("DESTDIR={}", stage.display()));
    // Cargo's variables are about this test; a build that saw them would think that everything had changed.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CARGO_") && name != "CARGO_HOME" {
            make.env_remove(&name);
        }
    }
    step("building and staging the agent", || {
        let output = process::start(make, None)?.finish(Duration::from_secs(900))?;
        if !output.status.success() {
            bail!("make install: {}{}", output.stdout, output.stderr);
        }
        Ok(())
    })
}

/// The staged files as one archive that is the same for the same files.
fn archive(stage: &Path) -> Result<Vec<u8>> {
    let output = Command::new("tar")
        .args(["--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner", "-C"])
        .arg(stage)
        .args(["-cf", "-", "."])
        .output()
        .context("packing the staged agent")?;
    if !output.status.success() {
        bail!("tar: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(output.stdout)
}
