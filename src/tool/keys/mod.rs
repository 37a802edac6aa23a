//! `xen-handoff keys`: makes this node's key pair, and brings to the nodes what they must know of each other.
//!
//! Each node has a pair of its own, and speaks for itself alone (`serve --peer NODE`, a line a node in root's
//! `authorized_keys`). One pair that is the same on every node, as older set-ups have it, goes on working:
//! who comes with it speaks for each node.

use std::io::{Read, Write};

use anyhow::Context;

use self::card::Cards;
use self::own::Own;
use super::names::Nodes;
use crate::here::Here;
use crate::host::NodeName;
use crate::wire::authorized::LARGEST;

mod card;
mod everywhere;
mod far;
mod own;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// This node's pair, and what to do with it.
    Show,
    /// The line for `authorized_keys`, alone.
    AuthorizedLine,
    /// This node's card, for `--accept` on the others.
    Export,
    /// The cards on stdin become part of this node's files.
    Accept,
    /// All of that for every node, over root's own ssh.
    Distribute,
    /// Another pair in the place of this node's; with `distribute`, everywhere and at once.
    Rotate {
        /// Over root's own ssh.
        distribute: bool,
    },
    /// No node takes that one for a node any more; with `distribute`, on every node.
    Remove {
        /// Which one.
        node: NodeName,
        /// Over root's own ssh.
        distribute: bool,
    },
    /// The line of the pair that is the same on every node goes.
    RemoveShared,
}

/// The same, with what goes for all of it.
#[derive(Debug, Clone)]
pub struct Asked {
    /// What.
    pub what: What,
    /// This node's name in the cluster; found out where it is not given.
    pub node: Option<NodeName>,
    /// From where this node comes, for `from=` of sshd(8): its own addresses where it is not given.
    pub from: Option<String>,
    /// A pair is made although the cluster seems to have one for all nodes.
    pub new: bool,
}

/// Does what is asked. False if not all of it came about.
///
/// # Errors
/// If a key cannot be made, read or put in its place; if the cluster has a pair for all nodes; if stdin has
/// no cards.
pub fn run(here: &Here, asked: Asked) -> anyhow::Result<bool> {
    let nodes = Nodes::of(&here.root, here.cluster().as_ref());
    let me = asked.node.unwrap_or_else(|| nodes.me.clone());
    if let Some(bad) = asked.from.as_deref().filter(|from| *from != "any" && !card::is_origin(from)) {
        anyhow::bail!("--from {bad}: addresses and patterns with commas between, or any");
    }
    let own = Own { here, nodes, me, from: asked.from, new: asked.new };
    let mut out = std::io::stdout();
    match asked.what {
        What::Show => own.show(&mut out)?,
        What::AuthorizedLine => {
            own.make_unless_there()?;
            writeln!(out, "{}", own.line()?)?;
        }
        What::Export => {
            own.make_unless_there()?;
            write!(out, "# xen-handoff keys of {}\n{}", own.me, card::text(&own.card()?))?;
        }
        What::Accept => own.accept(&from_stdin()?, &mut out)?,
        What::Distribute => return everywhere::distribute(&own, &mut out),
        What::Rotate { distribute: true } => return everywhere::rotate(&own, &mut out),
        What::Rotate { distribute: false } => own.rotate(&mut out)?,
        What::Remove { node, distribute: true } => return everywhere::remove(&own, &node, &mut out),
        What::Remove { node, distribute: false } => own.remove(&node, &mut out)?,
        What::RemoveShared => own.remove_shared(&mut out)?,
    }
    Ok(true)
}

fn from_stdin() -> anyhow::Result<Cards> {
    let mut text = String::new();
    std::io::stdin().take(LARGEST).read_to_string(&mut text).context("reading the cards from stdin")?;
    let cards = card::read(&text).map_err(|why| anyhow::anyhow!("stdin, {why}; nothing was changed"))?;
    anyhow::ensure!(
        !cards.is_empty(),
        "there is no card on stdin: give what xen-handoff keys --export prints on other nodes"
    );
    Ok(cards)
}
