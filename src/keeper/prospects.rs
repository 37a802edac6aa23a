//! Whether anybody is left who could fetch an offer: what its keeper asks at intervals.
//!
//! This node's own cluster manager says so: where the scheduler would start the resource as things are. Where
//! none runs here any more (the host goes down, say), the nodes that could read the offer are asked the same.
//! One that said that it has no cluster manager either and falls silent after that (its host has gone down)
//! is taken at its last word; one that never said anything may come.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::address::Address;
use crate::at_once::at_once;
use crate::clock::Deadline;
use crate::cluster::outlook;
use crate::handoff::evidence::{NobodyToFetch, Outlook};
use crate::here::Here;
use crate::host::NodeName;
use crate::node::record::Record;
use crate::wire::Dial;
use crate::wire::client::Unanswered;
use crate::wire::message::OUTLOOK;

/// From one question to the next, when the offer is new, and when the last answer was "nobody".
const SOON: Duration = Duration::from_secs(5);
/// From one question to the next otherwise.
const LATER: Duration = Duration::from_secs(15);
/// How many questions are asked soon.
const NEW: u32 = 3;
/// How many answers in a row must say so: a cluster that is just changing may say anything once.
const IN_A_ROW: u32 = 2;
/// Limit of one question to another node.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// What was heard so far.
#[derive(Debug)]
pub(super) struct Prospects {
    next: Deadline,
    asked: u32,
    in_a_row: u32,
    /// The last word of each node that could read the offer.
    heard: BTreeMap<NodeName, Outlook>,
}

impl Default for Prospects {
    fn default() -> Self {
        Self { next: Deadline::after(SOON), asked: 0, in_a_row: 0, heard: BTreeMap::new() }
    }
}

impl Prospects {
    /// Asks, if it is time to, and gives the evidence when it has been heard often enough.
    pub(super) fn nobody_is_left(&mut self, here: &Here, record: &Record) -> Option<NobodyToFetch> {
        let resource = record.resource.as_deref().filter(|_| self.next.passed())?;
        let ours = outlook(here.cluster().as_ref(), resource);
        if ours == Outlook::NoManager {
            self.listen(here, resource, &record.survivors);
        }
        let nobody = self.weigh(&ours, &record.survivors);
        if nobody.is_some() {
            let heard = self.heard.iter().map(|(node, outlook)| format!("; {node}: {outlook}"));
            log::info!(
                "domain={} nobody seems to be left who could fetch it (here: {ours}{})",
                record.domain,
                heard.collect::<String>()
            );
        }
        self.in_a_row = if nobody.is_some() { self.in_a_row + 1 } else { 0 };
        self.asked += 1;
        self.next = Deadline::after(if self.asked < NEW || nobody.is_some() { SOON } else { LATER });
        nobody.filter(|_| self.in_a_row >= IN_A_ROW)
    }

    /// The last word of each of them, silence included where one has never said anything.
    fn weigh(&self, here: &Outlook, survivors: &[Address]) -> Option<NobodyToFetch> {
        let never = || Outlook::Unknown { why: "it has not answered".to_owned() };
        let words: Vec<Outlook> =
            survivors.iter().map(|node| self.heard.get(&node.node).cloned().unwrap_or_else(never)).collect();
        NobodyToFetch::conclude(&words, here)
    }

    fn listen(&mut self, here: &Here, resource: &str, survivors: &[Address]) {
        let dial = here.dial().as_ref();
        let words = at_once(survivors, |node| ask(dial, node, resource));
        for (node, word) in survivors.iter().zip(words) {
            if let Some(word) = word.flatten() {
                self.heard.insert(node.node.clone(), word);
            }
        }
    }
}

/// The word of one node; nothing if it is silent, or too old to be asked.
fn ask(dial: &dyn Dial, node: &Address, resource: &str) -> Option<Outlook> {
    let deadline = Deadline::after(ANSWER_LIMIT);
    let mut connection = dial.dial(node, deadline).ok()?;
    if !connection.can(OUTLOOK) {
        let why = format!("xen-handoff {} there cannot say", connection.peer_version());
        return Some(Outlook::Unknown { why });
    }
    match connection.outlook(resource, deadline) {
        Ok(outlook) => Some(outlook),
        Err(Unanswered::Silent(_)) => None,
        Err(other) => Some(Outlook::Unknown { why: other.to_string() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p5_an_unknown_is_not_nobody_and_a_node_that_went_down_is_taken_at_its_last_word() {
        let nodes = ["n2", "n3"].map(|name| NodeName::new(name).unwrap());
        let survivors = nodes.clone().map(|node| Address::by_its_name(&node));
        let unknown = || Outlook::Unknown { why: "crm_simulate failed".to_owned() };
        let somebody = || Outlook::Somebody { node: nodes[0].clone() };
        let mut prospects = Prospects::default();
        let gone = Outlook::NoManager;
        let mut say = |words: [Option<Outlook>; 2], here: &Outlook| {
            let said = nodes.iter().cloned().zip(words).filter_map(|(node, word)| Some((node, word?)));
            prospects.heard = said.collect();
            prospects.weigh(here, &survivors).is_some()
        };
        assert!(say([None, None], &Outlook::Nobody), "its own cluster manager speaks for all nodes");
        assert!(!say([None, None], &unknown()) && !say([None, None], &somebody()));
        assert!(!say([None, None], &gone), "they may come");
        assert!(
            !say([Some(gone.clone()), None], &gone) && !say([Some(gone.clone()), Some(unknown())], &gone)
        );
        assert!(say([Some(gone.clone()), Some(gone.clone())], &gone));
        assert!(say([Some(Outlook::Nobody), None], &gone), "a member speaks for all nodes");
        assert!(!say([Some(Outlook::Nobody), Some(somebody())], &gone));
        assert!(!say([Some(gone.clone()), Some(somebody())], &gone));
        assert!(Prospects::default().weigh(&gone, &[]).is_none(), "a record of before, with no names");
    }
}
