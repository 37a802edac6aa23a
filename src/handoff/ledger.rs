//! The ledger: where an offer or a push lies so that it outlives its source.
//!
//! Written by the source for every survivor, read by whoever is told to start the domain. An entry that is still there
//! although what it says has ended does no harm: the source refuses its claim, and both ends of a push answer. An entry
//! that is missing is the danger, and therefore a ledger knows its own age ([`LedgerSays`]).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::evidence::LedgerSays;
use super::phase::{Epoch, Offer, Push, Transfer};
use crate::clock::UnixTime;
use crate::domain::DomainName;
use crate::host::{NodeName, NotAHost};

/// Why the ledger did not take an entry.
#[derive(Debug, thiserror::Error)]
#[error("the ledger did not take the entry: {0}")]
pub struct LedgerError(pub String);

/// Why the ledger cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    /// No cluster manager runs on this node.
    #[error("no cluster manager runs on this node")]
    NoCluster,
    /// It should be there and gives no usable answer.
    #[error("{0}")]
    Unreadable(String),
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// It may be fetched.
    Offer(Offer),
    /// The cluster's own migration has begun and nobody has said how it ended.
    Push(Push),
}

impl Entry {
    /// Of which domain.
    pub fn domain(&self) -> &DomainName {
        match self {
            Self::Offer(offer) => &offer.domain,
            Self::Push(push) => &push.domain,
        }
    }

    /// The node that the domain is to leave.
    pub fn source(&self) -> &NodeName {
        match self {
            Self::Offer(offer) => &offer.source,
            Self::Push(push) => &push.transfer.source,
        }
    }

    /// Under which epoch.
    pub fn epoch(&self) -> Epoch {
        match self {
            Self::Offer(offer) => offer.epoch,
            Self::Push(push) => push.transfer.epoch,
        }
    }
}

/// What the ledger has of one domain, the newest first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entries {
    /// Open offers; usually none or one.
    pub offers: Vec<Offer>,
    /// Pushes that nobody has accounted for.
    pub pushes: Vec<Push>,
    /// Entries that this version cannot read, and why: each may be an offer.
    pub unreadable: Vec<String>,
}

impl Entries {
    /// Sorted out, and each once: the same entry lies under every survivor's name.
    pub fn gather(read: impl IntoIterator<Item = Result<Entry, String>>) -> Self {
        let mut entries = Self::default();
        for entry in read {
            match entry {
                Ok(Entry::Offer(offer)) if !entries.offers.contains(&offer) => entries.offers.push(offer),
                Ok(Entry::Push(push)) if !entries.pushes.contains(&push) => entries.pushes.push(push),
                Ok(_) => {}
                Err(why) if !entries.unreadable.contains(&why) => entries.unreadable.push(why),
                Err(_) => {}
            }
        }
        entries.offers.sort_by_key(|offer| std::cmp::Reverse(offer.epoch));
        entries.pushes.sort_by_key(|push| std::cmp::Reverse(push.transfer.epoch));
        entries
    }

    /// The epochs of all that can be read.
    pub fn epochs(&self) -> impl Iterator<Item = Epoch> + '_ {
        self.offers.iter().map(|offer| offer.epoch).chain(self.pushes.iter().map(|push| push.transfer.epoch))
    }
}

/// A place that the survivors can read.
pub trait Ledger: std::fmt::Debug {
    /// Writes `entry` for each of `survivors`.
    ///
    /// # Errors
    /// [`LedgerError`] if it may be missing at any of them.
    fn write(&self, entry: &Entry, survivors: &[NodeName]) -> Result<(), LedgerError>;

    /// What it has of `domain`.
    ///
    /// # Errors
    /// In words, if that cannot be told; or that there is no cluster manager.
    fn entries(&self, domain: &DomainName) -> Result<Entries, NoAnswer>;

    /// For how long nothing that was written to it can have been lost.
    ///
    /// # Errors
    /// As [`Self::entries`].
    fn age(&self) -> Result<Duration, NoAnswer>;

    /// Both, as evidence is made from them.
    fn read(&self, domain: &DomainName) -> LedgerSays {
        match self.entries(domain).and_then(|entries| Ok((entries, self.age()?))) {
            Ok((entries, age)) => LedgerSays::Entries { entries, age },
            Err(NoAnswer::NoCluster) => LedgerSays::NoCluster,
            Err(NoAnswer::Unreadable(why)) => LedgerSays::Unreadable(why),
        }
    }

    /// Tells the other nodes what this one calls the domain of `resource`. Where that fails, or there is no place for it, they do not know.
    fn note_name(&self, _resource: &str, _domain: &DomainName) {}

    /// What nodes have said that the domain of `resource` is called, each once. They may all have forgotten: none is no proof.
    ///
    /// # Errors
    /// As [`Self::entries`].
    fn names(&self, _resource: &str) -> Result<Vec<DomainName>, NoAnswer> {
        Ok(Vec::new())
    }

    /// Takes the entry of `epoch` out again, wherever it stands. A failure is logged and does no harm.
    fn erase(&self, domain: &DomainName, epoch: Epoch);
}

/// An entry as one line of text without quotes or spaces, for places that hold short values.
pub fn to_text(entry: &Entry) -> String {
    match entry {
        Entry::Offer(offer) => format!(
            "v=1;source={};epoch={};made={};deadline={}",
            offer.source, offer.epoch, offer.made_at, offer.deadline
        ),
        Entry::Push(Push { transfer, made_at, .. }) => format!(
            "v=1;source={};epoch={};made={made_at};target={}",
            transfer.source, transfer.epoch, transfer.target
        ),
    }
}

/// Reads [`to_text`]'s line.
///
/// # Errors
/// What is wrong with it. A line of another version is an error too: it may be an offer.
pub fn from_text(domain: &DomainName, text: &str) -> Result<Entry, String> {
    let found = |name: &str| text.split(';').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    let field = |name: &str| found(name).ok_or_else(|| format!("no {name} in {text:?}"));
    let number =
        |name: &str| field(name)?.parse::<u64>().map_err(|_| format!("{name} is no number in {text:?}"));
    let node = |name: &str| NodeName::new(field(name)?).map_err(|error: NotAHost| error.to_string());
    if field("v")? != "1" {
        return Err(format!("unknown version in {text:?}"));
    }
    let (source, epoch, made_at) = (node("source")?, Epoch(number("epoch")?), UnixTime(number("made")?));
    let domain = domain.clone();
    if found("target").is_some() {
        let transfer = Transfer { epoch, source, target: node("target")? };
        return Ok(Entry::Push(Push { domain, transfer, made_at }));
    }
    Ok(Entry::Offer(Offer { domain, source, epoch, made_at, deadline: UnixTime(number("deadline")?) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str) -> NodeName {
        NodeName::new(name).unwrap()
    }

    #[test]
    fn an_entry_comes_back_from_its_line_as_it_was() {
        let domain = DomainName::new("x0").unwrap();
        let (source, epoch) = (node("node1.example.org"), Epoch(1_763_806_000_123));
        let made_at = UnixTime(1_763_806_000);
        let offer = Offer {
            domain: domain.clone(),
            source: source.clone(),
            epoch,
            made_at,
            deadline: UnixTime(1_763_806_300),
        };
        let transfer = Transfer { epoch, source, target: node("node2") };
        let push = Push { domain: domain.clone(), transfer, made_at };
        for entry in [Entry::Offer(offer), Entry::Push(push)] {
            assert_eq!(from_text(&domain, &to_text(&entry)), Ok(entry));
        }
    }

    #[test]
    fn a_line_that_cannot_be_read_is_kept_as_a_doubt_and_hides_no_other() {
        let domain = DomainName::new("x0").unwrap();
        let good = "v=1;source=n1;epoch=1;made=1;deadline=2";
        for bad in [
            "v=2;source=n1;epoch=1;made=1;deadline=2",
            "v=1;source=n1",
            "v=1;source=-x;epoch=1;made=1;deadline=2",
            "v=1;source=n1;epoch=1;made=1;target=-x",
        ] {
            let entries = Entries::gather([bad, good, good, bad].map(|line| from_text(&domain, line)));
            assert_eq!((entries.offers.len(), entries.unreadable.len()), (1, 1), "{bad}");
        }
    }
}
