//! A node as its operator sees it: a root shell.
//!
//! One ssh connection per node stays open and is shared, since under emulation a login takes a second and a command on
//! an open connection a quarter. It runs over the management network.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::image::Image;
use crate::network;
use crate::process::{self, Output, Running};
use crate::spent::{self, On};
use crate::wait;

/// How long a command may take when nothing else is said.
pub(crate) const COMMAND: Duration = Duration::from_secs(120);

/// One node.
#[derive(Debug)]
pub(crate) struct Node {
    /// Its number, from 1.
    pub(crate) index: usize,
    /// Its name, in the cluster and in DNS's place.
    pub(crate) name: String,
    key: String,
    master: Option<Running>,
}

impl Node {
    /// A node that is not yet talked to.
    pub(crate) fn new(image: &Image, index: usize) -> Result<Self> {
        let host_key = std::fs::read_to_string(image.file("host_key.pub"))?;
        let address = network::manage_address(index);
        std::fs::write(format!("known_hosts{index}"), format!("{address} {host_key}"))?;
        Ok(Self { index, name: format!("node{index}"), key: image.file("tester_key"), master: None })
    }

    /// Logs in, as soon as the node lets us.
    pub(crate) fn connect(&mut self, limit: Duration) -> Result<()> {
        self.disconnect();
        let control = self.control();
        let mut attempt: Option<Running> = None;
        let master = wait::until(format_args!("{} to let us log in", self.name), limit, || {
            let mut running = match attempt.take() {
                Some(running) => running,
                None => process::start(self.ssh(&["-o", "ControlMaster=yes", "-N"]), None)?,
            };
            if running.ended()? {
                return Ok(None);
            }
            if std::path::Path::new(&control).exists() {
                return Ok(Some(running));
            }
            attempt = Some(running);
            Ok(None)
        })?;
        self.master = Some(master);
        Ok(())
    }

    /// Drops the connection, if there is one.
    pub(crate) fn disconnect(&mut self) {
        self.master = None;
        let _ = std::fs::remove_file(self.control());
    }

    /// Starts a shell command, to be looked after later.
    pub(crate) fn start(&self, command: &str) -> Result<Running> {
        process::start(self.shell(command), None)
    }

    /// Starts a shell command that goes on for as long as the node is there, its output going to a file of ours.
    pub(crate) fn record(&self, command: &str, path: &std::path::Path) -> Result<Running> {
        process::record(self.shell(command), path)
    }

    /// Runs a shell command to its end, whatever it is.
    pub(crate) fn run(&self, command: &str) -> Result<Output> {
        spent::time(On::Commands, || self.start(command)?.finish(COMMAND))
            .with_context(|| format!("on {}: {command}", self.name))
    }

    /// Runs a shell command that has to succeed, and returns what it wrote.
    pub(crate) fn ok(&self, command: &str) -> Result<String> {
        self.finish_ok(command, None)
    }

    /// Runs a shell command with that on its standard input.
    pub(crate) fn feed(&self, command: &str, input: &[u8]) -> Result<String> {
        self.finish_ok(command, Some(input.to_vec()))
    }

    /// Writes a file, with its mode and owner.
    pub(crate) fn put(&self, path: &str, content: &[u8], mode: &str, owner: &str) -> Result<()> {
        let (user, group) = owner.split_once(':').unwrap_or((owner, owner));
        self.feed(&format!("install -D -m {mode} -o {user} -g {group} /dev/stdin {path}"), content).map(drop)
    }

    fn finish_ok(&self, command: &str, input: Option<Vec<u8>>) -> Result<String> {
        let output =
            spent::time(On::Commands, || process::start(self.shell(command), input)?.finish(COMMAND))
                .with_context(|| format!("on {}: {command}", self.name))?;
        if !output.status.success() {
            bail!(
                "on {}: {command}: status {}: {}{}",
                self.name,
                output.code(),
                output.stdout.trim(),
                output.stderr.trim()
            );
        }
        Ok(output.stdout)
    }

    fn shell(&self, command: &str) -> Command {
        let mut ssh = self.ssh(&["-o", "ControlMaster=no"]);
        ssh.arg(command);
        ssh
    }

    fn ssh(&self, more: &[&str]) -> Command {
        let mut ssh = Command::new("ssh");
        ssh.args(["-F", "/dev/null", "-i", &self.key, "-S", &self.control(), "-q"]);
        let known = format!("UserKnownHostsFile=known_hosts{}", self.index);
        for option in [known.as_str(), "IdentitiesOnly=yes", "BatchMode=yes", "ConnectTimeout=10"] {
            ssh.args(["-o", option]);
        }
        ssh.args(more);
        ssh.arg(format!("root@{}", network::manage_address(self.index)));
        ssh
    }

    /// How ssh finds this node by its name, over the connection that is open: a stanza of a configuration file.
    pub(crate) fn ssh_stanza(&self, dir: &std::path::Path) -> String {
        format!(
            "Host {}\n HostName {}\n User root\n IdentityFile {}\n IdentitiesOnly yes\n UserKnownHostsFile {}\n ControlPath {}\n",
            self.name,
            network::manage_address(self.index),
            self.key,
            dir.join(format!("known_hosts{}", self.index)).display(),
            dir.join(self.control()).display(),
        )
    }

    fn control(&self) -> String {
        format!("ssh{}", self.index)
    }
}
