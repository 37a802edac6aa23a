//! The ledger: where an offer lies so that it outlives its source.
//!
//! Written by the source for every survivor, read by whoever is told to start the domain. An entry that is still there
//! although the offer has ended does no harm: the source refuses its claim. An entry that is missing is the danger, and
//! therefore a ledger knows its own age ([`LedgerSays`]).

use std::time::Duration;

use super::evidence::LedgerSays;
use super::phase::{Epoch, Offer};
use crate::clock::UnixTime;
use crate::domain::DomainName;
use crate::host::{NodeName, NotAHost};

/// Why the ledger did not take an entry.
#[derive(Debug, thiserror::Error)]
#[error("the ledger did not take the offer: {0}")]
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

/// A place that the survivors can read.
pub trait Ledger: std::fmt::Debug {
    /// Writes `offer` for each of `survivors`.
    ///
    /// # Errors
    /// [`LedgerError`] if it may be missing at any of them.
    fn write(&self, offer: &Offer, survivors: &[NodeName]) -> Result<(), LedgerError>;

    /// The open offers of `domain`, the newest first.
    ///
    /// # Errors
    /// In words, if that cannot be told; or that there is no cluster manager.
    fn offers(&self, domain: &DomainName) -> Result<Vec<Offer>, NoAnswer>;

    /// For how long nothing that was written to it can have been lost.
    ///
    /// # Errors
    /// As [`Self::offers`].
    fn age(&self) -> Result<Duration, NoAnswer>;

    /// Both, as evidence is made from them.
    fn read(&self, domain: &DomainName) -> LedgerSays {
        match self.offers(domain).and_then(|offers| Ok((offers, self.age()?))) {
            Ok((offers, age)) => LedgerSays::Offers { offers, age },
            Err(NoAnswer::NoCluster) => LedgerSays::NoCluster,
            Err(NoAnswer::Unreadable(why)) => LedgerSays::Unreadable(why),
        }
    }

    /// Takes the offer of `epoch` out again, wherever it stands. A failure is logged and does no harm.
    fn erase(&self, domain: &DomainName, epoch: Epoch);
}

/// An offer as one line of text without quotes or spaces, for places that hold short values.
pub fn to_text(offer: &Offer) -> String {
    format!(
        "v=1;source={};epoch={};made={};deadline={}",
        offer.source, offer.epoch, offer.made_at, offer.deadline
    )
}

/// Reads [`to_text`]'s line.
///
/// # Errors
/// What is wrong with it. A line of another version is an error too: it may be an offer.
pub fn from_text(domain: &DomainName, text: &str) -> Result<Offer, String> {
    let field = |name: &str| {
        text.split(';')
            .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
            .ok_or_else(|| format!("no {name} in {text:?}"))
    };
    let number =
        |name: &str| field(name)?.parse::<u64>().map_err(|_| format!("{name} is no number in {text:?}"));
    if field("v")? != "1" {
        return Err(format!("unknown version in {text:?}"));
    }
    Ok(Offer {
        domain: domain.clone(),
        source: NodeName::new(field("source")?).map_err(|error: NotAHost| error.to_string())?,
        epoch: Epoch(number("epoch")?),
        made_at: UnixTime(number("made")?),
        deadline: UnixTime(number("deadline")?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offer_comes_back_from_its_line_as_it_was() {
        let domain = DomainName::new("x0").unwrap();
        let offer = Offer {
            domain: domain.clone(),
            source: NodeName::new("node1.example.org").unwrap(),
            epoch: Epoch(1_763_806_000_123),
            made_at: UnixTime(1_763_806_000),
            deadline: UnixTime(1_763_806_300),
        };
        assert_eq!(from_text(&domain, &to_text(&offer)), Ok(offer));
    }

    #[test]
    fn a_line_that_cannot_be_read_is_an_error_and_not_no_offer() {
        let domain = DomainName::new("x0").unwrap();
        for line in [
            "v=2;source=n1;epoch=1;made=1;deadline=2",
            "v=1;source=n1",
            "v=1;source=-x;epoch=1;made=1;deadline=2",
        ] {
            assert!(from_text(&domain, line).is_err(), "{line} was read");
        }
    }
}
