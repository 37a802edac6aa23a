//! What can happen to a handoff, and what has to be done about it: the alphabet of [`step`](fn@super::step).

use std::fmt;

use super::evidence::{Absence, NobodyElse, NobodyToFetch, Recorded, SourceQuiet, Suspended};
use super::phase::{Epoch, Offer, Phase, Transfer};

/// How xl's sender ended, as seen in the listing after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SenderEnd {
    /// xl reported success: the target runs the domain, the copy here is destroyed.
    Moved,
    /// The domain runs here; the target has no copy that can run.
    StillHere,
    /// Neither can be said. Nothing may be run or destroyed before both ends were looked at.
    Undecided,
}

/// How xl's receiver ended, as seen in the listing after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReceiverEnd {
    /// The domain runs here.
    Running,
    /// No copy is here.
    Nothing,
    /// Neither can be said.
    Undecided,
}

impl fmt::Display for ReceiverEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Running => "running",
            Self::Nothing => "nothing",
            Self::Undecided => "undecided",
        })
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Source, stop: the cluster will start the domain elsewhere and every gate holds.
    OfferMade(Offer),
    /// Source, stop: a survivor has read the offer in its ledger.
    OfferRecorded(Recorded),
    /// Source, stop: the offer could not be put where the survivors can read it.
    OfferNotRecorded,
    /// Source, keeper: the offer's deadline has passed.
    OfferExpired,
    /// Source, keeper: nobody is left who could fetch it.
    Deserted(NobodyToFetch),
    /// Source, serve: the start that would fetch it asks for its end, since it cannot be moved there; that
    /// start boots it then.
    Yielded(Transfer),
    /// Source, start: the cluster starts the domain here after all, where it still runs.
    Reclaimed,
    /// Source, stop: this stop is to end the domain.
    StopOrdered,
    /// Source, serve: a target asks for the domain under this epoch.
    Claimed(Transfer),
    /// Source, migrate_to: the cluster's own migration begins, and the survivors can read that it has.
    Pushed(Transfer, Recorded),
    /// Source, pipe: the receiver's *ready* is about to be let through to xl, which answers it with GO; and
    /// the copy here stands still.
    ReadySeen(Suspended),
    /// Source: xl's sender has ended.
    SenderEnded(SenderEnd),
    /// Either end: no copy is here.
    DomainGone(Absence),
    /// Source, stop or start: the copy that was sent away has been accounted for.
    LeftAccounted,
    /// Target, start: the ledger has this offer.
    OfferFound(Offer),
    /// Target: a stream begins, claimed by us or pushed to us.
    StreamOpened(Transfer),
    /// Target, pipe: GO has come over the stream.
    GoArrived(SourceQuiet),
    /// Target: xl's receiver has ended.
    ReceiverEnded(ReceiverEnd),
    /// Target, start or migrate_from: the cluster's action has seen the domain run here.
    Confirmed,
    /// Start: it is proven that nobody else runs the domain.
    BootProven(NobodyElse),
}

impl Event {
    /// The event's name in logs and errors.
    pub fn name(&self) -> &'static str {
        match self {
            Event::OfferMade(_) => "offer-made",
            Event::OfferRecorded(_) => "offer-recorded",
            Event::OfferNotRecorded => "offer-not-recorded",
            Event::OfferExpired => "offer-expired",
            Event::Deserted(_) => "deserted",
            Event::Yielded(_) => "yielded",
            Event::Reclaimed => "reclaimed",
            Event::StopOrdered => "stop-ordered",
            Event::Claimed(_) => "claimed",
            Event::Pushed(..) => "pushed",
            Event::ReadySeen(_) => "ready-seen",
            Event::SenderEnded(_) => "sender-ended",
            Event::DomainGone(_) => "domain-gone",
            Event::LeftAccounted => "left-accounted",
            Event::OfferFound(_) => "offer-found",
            Event::StreamOpened(_) => "stream-opened",
            Event::GoArrived(_) => "go-arrived",
            Event::ReceiverEnded(_) => "receiver-ended",
            Event::Confirmed => "confirmed",
            Event::BootProven(_) => "boot-proven",
        }
    }
}

/// What the caller of [`step`](fn@super::step) must do, once the new phase is on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Write the offer to where the survivors can read it, and have one of them read it back.
    WriteLedger(Offer),
    /// Take the entry of this epoch out of the ledger. Failing to is no harm: the source refuses its claim.
    EraseLedger(Epoch),
    /// See to it that the offer ends at its deadline.
    ArmDeadline(Offer),
    /// Shut the domain down, then verify that it is gone ([`Event::DomainGone`]).
    ShutDown,
    /// Run xl's sender on the open connection.
    Send(Transfer),
    /// Let *ready* through to xl: it gives the domain away next. There is no way back after this.
    ForwardReady,
    /// Ask the source for the domain.
    Claim(Offer),
    /// Run xl's receiver on the open connection.
    Receive(Transfer),
    /// Let GO through to the receiver: the copy here may run, because the one at the source cannot.
    DeliverGo(SourceQuiet),
    /// Boot the domain from its configuration.
    Boot(NobodyElse),
    /// The cluster may be told: stopped here.
    ReportStopped,
    /// The cluster may be told: runs here.
    ReportRunning,
}

/// An event that cannot be in this phase, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{event} does not fit the phase {phase}: {hint}")]
pub struct OutOfOrder {
    /// The phase on disk.
    pub phase: &'static str,
    /// What came.
    pub event: &'static str,
    /// What an operator, or the caller, can do.
    pub hint: &'static str,
}

impl OutOfOrder {
    pub(super) fn new(phase: &Phase, event: &Event, hint: &'static str) -> Self {
        Self { phase: phase.name(), event: event.name(), hint }
    }
}
