//! The ledger: where an offer or a push lies so that it outlives its source.
//!
//! Written by the source for every survivor, read by whoever is told to start the domain. An entry that is
//! still there although what it says has ended does no harm: the source refuses its claim, and both ends of a
//! push answer. An entry that is missing is the danger, and therefore a ledger knows its own age
//! ([`LedgerSays`]).

use std::time::Duration;

use serde::{Deserialize, Serialize};

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

/// What the ledger says of a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LedgerSays {
    /// These, in a ledger that has been kept without a gap for this long.
    Entries {
        /// Open offers and pushes; usually none or one.
        entries: Entries,
        /// For how long nothing written to it can have been lost.
        age: Duration,
    },
    /// It cannot be read.
    Unreadable(String),
    /// There is no cluster manager here and so no ledger: somebody calls the agent by hand.
    NoCluster,
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
    /// In words, if that is not known; or that there is no cluster manager.
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

    /// Tells the other nodes what this one calls the domain of `resource`. Where that fails, or there is no
    /// place for it, they do not know.
    fn note_name(&self, _resource: &str, _domain: &DomainName) {}

    /// What nodes have said that the domain of `resource` is called, each once. They may all have forgotten:
    /// none is no proof.
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
            offer.source, offer.epoch, offer.made_at.0, offer.deadline.0
        ),
        Entry::Push(Push { transfer, made_at, .. }) => format!(
            "v=1;source={};epoch={};made={};target={}",
            transfer.source, transfer.epoch, made_at.0, transfer.target
        ),
    }
}

/// When a node first looked into its ledger, as it notes it for itself. By the clock of this life of its
/// host, which nobody sets: a host that comes up in 1970 and hears the time later has no old ledger by that.
/// No other node reads it: what crosses nodes is an entry, whose own time is compared with a fencing's alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Since {
    /// Which life of the host.
    boot: String,
    /// Seconds from its begin; a test may have a ledger that is older than its host.
    at: i64,
}

impl Since {
    /// This moment, `up` after the host came up in this life.
    pub fn now(boot: Option<&str>, up: Duration) -> Self {
        Self { boot: boot.unwrap_or_default().to_owned(), at: seconds(up) }
    }

    /// How old a ledger is whose node has noted this. `None` if it was noted in another life of the host, or
    /// nobody can say when: then it is as if it had never been looked at. What a version before this one has
    /// noted (a time of day, `wall`) counts for no more than the host has been up.
    pub fn age(noted: &str, boot: Option<&str>, up: Duration, wall: UnixTime) -> Option<Duration> {
        if let Ok(at) = noted.parse::<u64>() {
            return Some(Duration::from_secs(wall.0.saturating_sub(at)).min(up));
        }
        let now = Self::now(boot, up);
        let since = Self::parse(noted).filter(|since| since.boot == now.boot)?;
        u64::try_from(now.at.checked_sub(since.at)?).ok().map(Duration::from_secs)
    }

    fn parse(noted: &str) -> Option<Self> {
        let (boot, at) = noted.strip_prefix("v=2;boot=")?.split_once(";at=")?;
        Some(Self { boot: boot.to_owned(), at: at.parse().ok()? })
    }
}

impl std::fmt::Display for Since {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "v=2;boot={};at={}", self.boot, self.at)
    }
}

fn seconds(span: Duration) -> i64 {
    i64::try_from(span.as_secs()).unwrap_or(i64::MAX)
}

/// Reads [`to_text`]'s line.
///
/// # Errors
/// What is wrong with it. A line of another version is an error too: it may be an offer.
pub fn from_text(domain: &DomainName, text: &str) -> Result<Entry, String> {
    let found = |name: &str| text.split(';').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    let field = |name: &str| found(name).ok_or_else(|| format!("no {name} in {text:?}"));
    let time =
        |name: &str| field(name)?.parse::<UnixTime>().map_err(|error| format!("{name} in {text:?}: {error}"));
    let epoch = |text: &str| text.parse::<u64>().map_err(|error| error.to_string())?.try_into();
    let node = |name: &str| NodeName::new(field(name)?).map_err(|error: NotAHost| error.to_string());
    if field("v")? != "1" {
        return Err(format!("unknown version in {text:?}"));
    }
    let (source, epoch, made_at) = (node("source")?, epoch(field("epoch")?)?, time("made")?);
    let domain = domain.clone();
    if found("target").is_some() {
        let transfer = Transfer { epoch, source, target: node("target")? };
        return Ok(Entry::Push(Push { domain, transfer, made_at }));
    }
    Ok(Entry::Offer(Offer { domain, source, epoch, made_at, deadline: time("deadline")? }))
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
    fn p2_a_ledger_ages_by_the_clock_of_this_life_of_its_host_and_by_no_other() {
        let seconds = Duration::from_secs;
        let age = |noted: &str, boot, up, wall| {
            Since::age(noted, Some(boot), seconds(up), UnixTime(wall)).map(|age| age.as_secs())
        };
        let noted = Since::now(Some("this"), seconds(40)).to_string();
        // Whatever the time of day has become meanwhile: from 1970 to now, and back.
        for wall in [0, 41, 1_795_344_067] {
            assert_eq!(age(&noted, "this", 100, wall), Some(60));
        }
        assert_eq!(age(&noted, "another", 1000, 1_795_344_067), None, "the host has restarted since");
        assert_eq!(age(&noted, "this", 39, 0), None, "that clock does not go back");
        assert_eq!(age("v=2;boot=this;at=-1000000", "this", 7, 0), Some(1_000_007));
        // What the version before this one has noted, in 1970 or not.
        assert_eq!(age("100", "this", 90, 1_795_344_067), Some(90));
        assert_eq!(age("1795344000", "this", 1_000_000, 1_795_344_067), Some(67));
        assert_eq!(age("1795344000", "this", 1_000_000, 100), Some(0), "set back");
        for rotten in [
            "",
            "-5",
            "v=3;boot=this;at=1",
            "v=2;boot=this",
            "v=2;boot=this;at=x",
            "v=2;boot=this;at=-9223372036854775808",
        ] {
            assert_eq!(age(rotten, "this", 90, 90), None, "{rotten}");
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
