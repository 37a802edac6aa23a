//! Which agent the cluster uses for x0, and how it gets onto the nodes.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::layers;
use crate::node::Node;
use crate::process;
use crate::wait::step;

/// The agent under test, or the one that it wants to replace.
#[derive(Debug)]
pub(crate) enum Agent {
    /// `ocf:handoff:Xen`, staged by `make install`.
    Handoff {
        /// The target file system's part of it.
        stage: PathBuf,
    },
    /// `ocf:heartbeat:Xen` of resource-agents.
    Heartbeat,
}

impl Agent {
    /// The agent that `stage` has staged.
    pub(crate) fn handoff() -> Result<Self> {
        let stage = stage_dir();
        if !stage.join("usr").exists() {
            bail!(
                "no agent is staged in {}: `make install` has failed or puts nothing there",
                stage.display()
            );
        }
        Ok(Self::Handoff { stage })
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

    /// What a snapshot with this agent in it depends on.
    pub(crate) fn key(&self) -> Result<String> {
        match self {
            Self::Handoff { stage } => layers::hash(&archive(stage)?),
            Self::Heartbeat => Ok("heartbeat".to_string()),
        }
    }

    /// Puts the agent on the nodes, and what it needs to reach the others: one key pair for all, as an operator would.
    pub(crate) fn install(&self, nodes: &[Node]) -> Result<()> {
        let Self::Handoff { stage } = self else { return Ok(()) };
        let archive = archive(stage)?;
        let key = "agent_key";
        if !Path::new(key).exists() {
            let arguments = ["-q", "-t", "ed25519", "-N", "", "-C", "xen-handoff", "-f", key];
            process::run("ssh-keygen", &arguments, Duration::from_secs(10))?;
        }
        let private = std::fs::read(key)?;
        let public = std::fs::read_to_string(format!("{key}.pub"))?;
        for node in nodes {
            node.feed("tar -C / --no-overwrite-dir -xf - && systemd-tmpfiles --create", &archive)?;
            node.put("/etc/xen-handoff/id_ed25519", &private, "600", "root")?;
            let host_key = node.ok("cut -d' ' -f1,2 /etc/ssh/ssh_host_ed25519_key.pub")?;
            let known: String = nodes.iter().map(|peer| format!("{} {host_key}", peer.name)).collect();
            node.put("/etc/xen-handoff/known_hosts", known.as_bytes(), "644", "root")?;
            let line = format!("restrict,command=\"/usr/sbin/xen-handoff serve\" {public}");
            node.feed("cat >>/root/.ssh/authorized_keys", line.as_bytes())?;
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
