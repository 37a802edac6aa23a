//! Where domains stand on this node, by its records and its toolstack.

use serde::{Deserialize, Serialize};

use super::host::ThisHost;
use super::identity::under_another_name;
use super::record::RecordError;
use crate::domain::{DomainName, Presence};
use crate::handoff::{Epoch, Offer, Phase, SourcePhase, TargetPhase, Transfer};
use crate::host::NodeName;
use crate::moves::progress::{self, Direction, Progress};
use crate::moves::slots::Slots;
use crate::toolstack::LIST_LIMIT;

/// One offer or transfer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Which domain.
    pub domain: DomainName,
    /// Where it stands on the node.
    pub presence: Presence,
    /// What the node's record says.
    pub record: Phase,
    /// How far its stream has come, where there is one.
    pub progress: Option<Progress>,
}

/// What a record is about.
enum About<'a> {
    Offer(&'a Offer),
    Transfer(&'a Transfer),
    Nothing,
}

impl<'a> About<'a> {
    fn of(phase: &'a Phase) -> Self {
        match phase {
            Phase::Source(
                SourcePhase::Sending { transfer, .. }
                | SourcePhase::Settling { transfer, .. }
                | SourcePhase::Left { transfer },
            )
            | Phase::Target(
                TargetPhase::Receiving { transfer }
                | TargetPhase::Arriving { transfer }
                | TargetPhase::Arrived { transfer },
            ) => Self::Transfer(transfer),
            Phase::Source(
                SourcePhase::Offering { offer }
                | SourcePhase::Offered { offer }
                | SourcePhase::Withdrawing { offer },
            )
            | Phase::Target(TargetPhase::Claiming { offer }) => Self::Offer(offer),
            Phase::Idle => Self::Nothing,
        }
    }
}

impl Row {
    /// Where it comes from and where it goes, as far as the phase says.
    pub fn ends(&self) -> (Option<&NodeName>, Option<&NodeName>) {
        match About::of(&self.record) {
            About::Transfer(transfer) => (Some(&transfer.source), Some(&transfer.target)),
            About::Offer(offer) => (Some(&offer.source), None),
            About::Nothing => (None, None),
        }
    }

    /// Which offer or transfer it is.
    pub fn epoch(&self) -> Option<Epoch> {
        match About::of(&self.record) {
            About::Transfer(transfer) => Some(transfer.epoch),
            About::Offer(offer) => Some(offer.epoch),
            About::Nothing => None,
        }
    }
}

/// Why nothing else is known of a domain whose transfer lock is held and not on record.
pub const ABOUT_TO_MOVE: &str = "a transfer of it is about to begin or to end";

/// Where a domain stands on this node, as an answer to another node and for the operators' tool. While
/// somebody else holds the transfer lock that he has not put on record yet, a copy is about to come or to go:
/// that is *unknown*.
pub fn stands(host: &ThisHost, domain: &DomainName) -> (Presence, Phase) {
    let (presence, phase) = stands_by_itself(host, domain);
    if !phase.is_in_transfer() && host.store.is_transferring(domain) {
        return (Presence::Unknown(ABOUT_TO_MOVE.to_owned()), phase);
    }
    (presence, phase)
}

/// The same for whoever holds the transfer lock.
///
/// The record is read before the listing and again after it: a domain that arrived or left in between would
/// otherwise be reported by one of the two as it was, and by the other as it is.
pub fn stands_by_itself(host: &ThisHost, domain: &DomainName) -> (Presence, Phase) {
    let (store, toolstack) = (&host.store, host.toolstack());
    let mut before = match store.load(domain) {
        Ok(record) => record,
        Err(error) => return (Presence::Unknown(error.to_string()), Phase::Idle),
    };
    for _ in 0..3 {
        let presence = match toolstack.presence(domain, LIST_LIMIT) {
            // A reboot: the toolstack destroys the domain and creates it anew.
            Presence::Absent if toolstack.is_attended(domain) => Presence::Unknown(
                "absent, but the toolstack's daemon for it lives or is about to create it anew: it may be rebooting".to_owned(),
            ),
            // Which of the two ends has it in a moment is not said by which has it now.
            Presence::Running(_) if toolstack.is_moving(domain, LIST_LIMIT).unwrap_or(true) => {
                Presence::Unknown(format!("it runs here, and {} is moving it to another host", toolstack.kind()))
            }
            Presence::Absent => match under_another_name(&host.root, toolstack.as_ref(), domain) {
                Some(name) => Presence::Unknown(format!("it is here as {name}: its file has got another name since")),
                None => Presence::Absent,
            },
            presence => presence,
        };
        match store.load(domain) {
            Ok(after) if after == before => return (presence, after.state),
            Ok(after) => before = after,
            Err(error) => return (Presence::Unknown(error.to_string()), Phase::Idle),
        }
    }
    (Presence::Unknown("its record changed while it was looked at".to_owned()), before.state)
}

/// Every domain that has a record here.
///
/// # Errors
/// If the records cannot be read.
pub fn rows(host: &ThisHost) -> Result<Vec<Row>, RecordError> {
    let mut domains = host.store.domains()?;
    // One that waits to be pushed has no record yet.
    for direction in [Direction::Outgoing, Direction::Incoming] {
        let tickets = Slots::of(&host.root, direction).tickets().unwrap_or_default();
        domains.extend(tickets.into_iter().map(|ticket| ticket.domain));
    }
    domains.sort();
    domains.dedup();
    let row = |domain: DomainName| {
        let (presence, record) = stands(host, &domain);
        Row { presence, record, progress: progress::read(&host.root, &domain), domain }
    };
    Ok(domains.into_iter().map(row).collect())
}
