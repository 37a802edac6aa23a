//! x1: a smaller domain beside x0, of the same image and the cluster's too, for the stories in which two want the same.
//!
//! The audit watches x0. Of x1 its own witness tells whether it is still the same: [`X1::is_the_same`].

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::cluster::{Status, primitive};
use crate::guest::{self, CONFIG, Witness};
use crate::node::Node;
use crate::story::Scene;
use crate::wait::say;

const ADDRESS: &str = "10.77.0.51";
const HOME: &str = r#"<rsc_location id="x1-home" rsc="x1" node="node1" score="10"/>"#;
/// Its start asks node2, and an emulated node answers late when this machine is busy.
const PATIENCE: &str = r#"<nvpair id="x1-peer_timeout" name="handoff_peer_timeout" value="120"/>"#;
/// How long it may take for an answer.
const ANSWERING: Duration = Duration::from_secs(60);

/// x1, as it was when it had started.
#[derive(Debug)]
pub(crate) struct X1(Witness);

/// Puts its configuration file on every node.
pub(crate) fn configure(nodes: &[Node], memory: u64) -> Result<()> {
    for node in nodes {
        let x1 = guest::with_memory(CONFIG, memory)
            .replace("name = \"x0\"", "name = \"x1\"")
            .replace("0050\"", "0051\"")
            .replace("10.77.0.50/", &format!("{ADDRESS}/"))
            .replace(":50,", ":51,");
        node.put("/etc/xen/x1.cfg", x1.as_bytes(), "644", "root")?;
    }
    Ok(())
}

impl X1 {
    /// Has the cluster start it on node1, with so much memory, in MiB, and with parameters of its own as XML.
    pub(crate) fn start(scene: &Scene<'_>, memory: u64, parameters: &str) -> Result<Self> {
        configure(&scene.lab.nodes, memory)?;
        // In one piece, so that it starts nowhere else first.
        let both = format!(
            "<configuration><resources>{}</resources><constraints>{HOME}</constraints></configuration>",
            primitive("x1", "handoff", &format!("{PATIENCE}{parameters}"))
        );
        say("x1 is the cluster's too");
        let modify = "cibadmin --modify --allow-create -o configuration --xml-pipe >/dev/null";
        scene.node(2)?.feed(modify, both.as_bytes())?;
        Status::wait(scene.node(2)?, "x1 to be started on node1", |status| status.runs("x1", "node1"))?;
        guest::wait_for_at(ADDRESS, ANSWERING).map(Self)
    }

    /// It answers, has not booted since, and has gone on.
    pub(crate) fn is_the_same(&self) -> Result<()> {
        let now = guest::wait_for_at(ADDRESS, ANSWERING)?;
        ensure!(now.boot == self.0.boot, "x1 booted anew: {} became {}", self.0.boot, now.boot);
        ensure!(now.tick > self.0.tick, "x1 has not gone on: tick {} became {}", self.0.tick, now.tick);
        say(format_args!("x1 has been up for {:.0} s, unbroken", now.uptime));
        Ok(())
    }
}
