//! What the nodes say: each is asked how it is set up, whether it reaches the others, and what it has of
//! files and disks.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::at_once::at_once;
use crate::clock::Deadline;
use crate::cluster::ClusterView;
use crate::here::Here;
use crate::host::{LocalPath, NodeName};
use crate::peer::{setup, xendomains};
use crate::preflight::FileDigest;
use crate::preflight::setup::{Seen, Setup, Xendomains};
use crate::tool::names::Nodes;
use crate::tool::reach::reaches;
use crate::tool::way;
use crate::wire::Connection;
use crate::wire::message::{SETUP, XENDOMAINS};

/// Limit of all questions to one node.
const LIMIT: Duration = Duration::from_secs(90);
/// So many files or disks are asked for on one line, which has 64 KiB.
const ON_ONE_LINE: usize = 12;

/// What a node has said.
#[derive(Debug)]
pub(super) struct NodeSays {
    pub(super) node: NodeName,
    /// Whether it is a member of the cluster, as far as that is known.
    pub(super) is_member: Option<bool>,
    /// How it is set up; or why it does not say.
    pub(super) setup: Result<Setup, String>,
    /// What its xendomains would do, or why that is not known; `None` where its version does not say.
    pub(super) xendomains: Option<Result<Xendomains, String>>,
    /// What it has of the files and disks of the domains; `None` where it does not say.
    pub(super) seen: Option<Seen>,
    /// How far its clock is ahead of this node's, in milliseconds, and by how much that may be wrong.
    pub(super) clock: Option<(i64, u64)>,
    /// Whether it reaches each other node.
    pub(super) ways: Vec<(NodeName, Result<(), String>)>,
}

impl NodeSays {
    /// It has said no more than this.
    fn only(node: &NodeName, is_member: Option<bool>, setup: Result<Setup, String>) -> Self {
        let node = node.clone();
        Self { node, is_member, setup, xendomains: None, seen: None, clock: None, ways: Vec::new() }
    }
}

/// Which nodes are members just now, as far as the cluster says.
fn members(cluster: &dyn ClusterView, nodes: &Nodes) -> BTreeMap<NodeName, bool> {
    let peers = cluster.peers(&nodes.me, "").unwrap_or_default();
    peers.into_iter().map(|peer| (peer.node, peer.online)).collect()
}

/// Asks every node, this one first, the others at once.
pub(super) fn ask_all(
    here: &Here,
    nodes: &Nodes,
    (files, disks): (&[FileDigest], &[LocalPath]),
) -> Vec<NodeSays> {
    let members = members(here.cluster().as_ref(), nodes);
    let all = &nodes.all();
    let seed = here.seed();
    let answers = at_once(&nodes.others, |node| {
        ask(&seed.clone().grow(), node, members.get(node).copied(), all, (files, disks))
    });
    let failed = |node| NodeSays::only(node, None, Err("asking it failed".to_owned()));
    let others = nodes.others.iter().zip(answers).map(|(node, says)| says.unwrap_or_else(|| failed(node)));
    let others: Vec<NodeSays> = others.collect();
    let way = |other: &NodeSays| (other.node.clone(), other.setup.as_ref().map(drop).map_err(Clone::clone));
    let this = NodeSays {
        xendomains: Some(xendomains::look(here)),
        seen: Some(setup::look(&here.root, files, disks)),
        ways: others.iter().map(way).collect(),
        ..NodeSays::only(&nodes.me, None, Ok(setup::gather(here)))
    };
    std::iter::once(this).chain(others).collect()
}

/// Asks one node all that there is to ask.
fn ask(
    here: &Here,
    node: &NodeName,
    is_member: Option<bool>,
    all: &[NodeName],
    (files, disks): (&[FileDigest], &[LocalPath]),
) -> NodeSays {
    let mut says = NodeSays::only(node, is_member, Err(String::new()));
    let ssh = way(here);
    let deadline = Deadline::after(LIMIT);
    let mut connection = match ssh.connect(node, deadline) {
        Ok(connection) => connection,
        Err(error) => {
            says.setup = Err(error.to_string());
            return says;
        }
    };
    for other in all.iter().filter(|other| *other != node) {
        let way = ssh.address(other).map_err(|error| error.to_string());
        let way = way.and_then(|address| reaches(&mut connection, address, deadline));
        says.ways.push((other.clone(), way));
    }
    if !connection.can(SETUP) {
        says.setup =
            Err(format!("xen-handoff {} there cannot say how it is set up", connection.peer_version()));
        return says;
    }
    says.setup = connection.set_up(deadline).map_err(|error| error.to_string());
    if connection.can(XENDOMAINS) {
        let said = connection.xendomains(deadline);
        says.xendomains = Some(said.unwrap_or_else(|error| Err(error.to_string())));
    }
    (says.seen, says.clock) = seen(&mut connection, files, disks, deadline).unzip();
    says
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// What it has of files and disks, some of them at a time, and its clock: between this node's before and
/// after the question.
fn seen(
    connection: &mut Connection,
    files: &[FileDigest],
    disks: &[LocalPath],
    deadline: Deadline,
) -> Option<(Seen, (i64, u64))> {
    let mut all = Seen { clock_ms: 0, files: Vec::new(), disks: Vec::new() };
    let mut ask = |files: &[FileDigest], disks: &[LocalPath]| connection.look(files, disks, deadline).ok();
    // The clock's own question has nothing to look at, so that it is answered at once.
    let before = now_ms();
    let clock = ask(&[], &[])?.clock_ms;
    let after = now_ms();
    for files in files.chunks(ON_ONE_LINE) {
        all.files.extend(ask(files, &[])?.files);
    }
    for disks in disks.chunks(ON_ONE_LINE) {
        all.disks.extend(ask(&[], disks)?.disks);
    }
    let doubt = after.saturating_sub(before) / 2;
    let ahead = i128::from(clock).saturating_sub(i128::from(before.saturating_add(doubt)));
    Some((all, (i64::try_from(ahead).unwrap_or(i64::MAX), doubt)))
}
