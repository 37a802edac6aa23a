//! `xen-handoff keys` for every node at once.

use std::io::Write;

use super::card::{self, Cards};
use super::far::ours;
use super::own::Own;
use crate::at_once::at_once;
use crate::host::NodeName;
use crate::tool::reach::{self, Said};
use crate::wire::ssh::{KEY, NEXT_KEY};

/// What our command prints on each of these nodes, which are asked at the same time; or why it does not.
fn on_each<'a>(
    own: &Own<'_>,
    nodes: &[&'a NodeName],
    words: &[&str],
    input: Option<&str>,
) -> Vec<(&'a NodeName, Result<String, String>)> {
    let root = &own.here.root;
    let said = at_once(nodes, |node| ours(root, node, &[words, &["--node", node.as_str()]].concat(), input));
    let said = said.into_iter().map(|said| said.unwrap_or_else(|| Err("asking it failed".to_owned())));
    nodes.iter().copied().zip(said).collect()
}

/// Tells what those that did it have printed; those that did not, and why.
fn told(
    said: Vec<(&NodeName, Result<String, String>)>,
    out: &mut dyn Write,
) -> anyhow::Result<Vec<(NodeName, String)>> {
    let mut failed = Vec::new();
    for (node, said) in said {
        match said {
            Ok(said) => write!(out, "{said}")?,
            Err(why) => failed.push((node.clone(), why)),
        }
    }
    Ok(failed)
}

/// The cards of all nodes that can be asked; what each of the others said instead.
fn gather(own: &Own<'_>) -> anyhow::Result<(Cards, Vec<(NodeName, String)>)> {
    let mut cards = own.card()?;
    let mut export = vec!["--export"];
    if let Some(from) = own.from.as_deref().filter(|from| *from == "any") {
        export.extend(["--from", from]);
    }
    let mut failed = Vec::new();
    let others: Vec<&NodeName> = own.nodes.others.iter().collect();
    for (node, said) in on_each(own, &others, &export, None) {
        match said.and_then(|text| card::read(&text)) {
            Ok(its) if its.keys().eq([node]) => cards.extend(its),
            Ok(_) => failed.push((node.clone(), "its card is another node's".to_owned())),
            Err(why) => failed.push((node.clone(), why)),
        }
    }
    Ok((cards, failed))
}

/// Gives the cards to this node and to those; who did not take them.
fn give<'a>(
    own: &Own<'_>,
    cards: &Cards,
    to: impl Iterator<Item = &'a NodeName>,
    out: &mut dyn Write,
) -> anyhow::Result<Vec<(NodeName, String)>> {
    own.accept(cards, out)?;
    let others: Vec<&NodeName> = to.filter(|node| **node != own.me).collect();
    told(on_each(own, &others, &["--accept"], Some(&card::text(cards))), out)
}

/// Says which nodes are left out, and what to do there. True if there are none.
fn all_done(failed: &[(NodeName, String)], by_hand: &str, out: &mut dyn Write) -> anyhow::Result<bool> {
    for (node, why) in failed {
        writeln!(out, "{node} is left out: {why}")?;
    }
    if !failed.is_empty() {
        writeln!(out, "{by_hand}")?;
    }
    Ok(failed.is_empty())
}

const BY_HAND: &str = "Where root's ssh does not get to: xen-handoff keys --export there, and its lines into xen-handoff keys --accept on every other node; \
                       and the other way round.";

/// A pair on every node, and on every node the cards of all; then each tries each.
pub(super) fn distribute(own: &Own<'_>, out: &mut dyn Write) -> anyhow::Result<bool> {
    anyhow::ensure!(!own.nodes.others.is_empty(), "{}", nobody_else(own));
    own.make_unless_there()?;
    let (cards, mut failed) = gather(own)?;
    failed.extend(give(own, &cards, cards.keys(), out)?);
    let done = all_done(&failed, BY_HAND, out)?;
    Ok(reach::all(own.here, Said::default(), false)? && done)
}

fn nobody_else(own: &Own<'_>) -> String {
    own.nodes.caveat.clone().unwrap_or_else(|| "this cluster has no other node".to_owned())
}

/// A next pair, which all others learn, and which has to get to all of them before the old one goes.
pub(super) fn rotate(own: &Own<'_>, out: &mut dyn Write) -> anyhow::Result<bool> {
    anyhow::ensure!(!own.nodes.others.is_empty(), "{}", nobody_else(own));
    if !own.key(KEY).is_file() {
        return distribute(own, out);
    }
    if !own.key(NEXT_KEY).is_file() {
        own.make(NEXT_KEY)?;
    }
    let failed = give(own, &own.card()?, own.nodes.others.iter(), out)?;
    if !all_done(&failed, "The old key stays. Once they can be reached, give this command again.", out)? {
        return Ok(false);
    }
    let failed = own.try_next();
    if !all_done(&failed, "The old key stays. Once they take the next one, give this command again.", out)? {
        return Ok(false);
    }
    own.put_next_in_place()?;
    let failed = give(own, &own.card()?, own.nodes.others.iter(), out)?;
    writeln!(out, "{} has a new key pair", own.me)?;
    all_done(&failed, "These still take the old key, too: give xen-handoff keys --distribute again.", out)
}

/// On every node that can be reached.
pub(super) fn remove(own: &Own<'_>, node: &NodeName, out: &mut dyn Write) -> anyhow::Result<bool> {
    own.remove(node, out)?;
    let others: Vec<&NodeName> = own.nodes.others.iter().filter(|other| *other != node).collect();
    let failed = told(on_each(own, &others, &["--remove", node.as_str()], None), out)?;
    all_done(&failed, &format!("There, by hand: xen-handoff keys --remove {node}"), out)
}
