//! The mutants: single-line breaks of the protocol, each with the promise that is expected to catch it. A mutant that no
//! promise catches is a hole in the model, and fails the run.

use super::explore::Limit;
use super::liveness::Ending;
use super::promise::Promise;
use super::world::Left;
use xen_handoff::handoff::event::{OutOfOrder, SenderEnd};
use xen_handoff::handoff::{Effect, Event, Phase, SourcePhase, Transfer};

/// What bends the drivers in one run.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rules {
    /// A break that the search must notice.
    pub(super) mutation: Option<Mutation>,
}

impl Rules {
    pub(super) fn mutated(self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }
}

/// One break.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Mutation {
    /// stop reports the offer without having written it to the ledger.
    SkipLedgerWrite,
    /// The source's `step` reports "stopped" as soon as the offer is made.
    ReportBeforeRecord,
    /// stop starts no keeper.
    SkipDeadline,
    /// `step` withdraws an expired offer although a stream is under way, and the keeper does not wait for its end. (Either
    /// guard alone is enough; this takes away both.)
    ExpireUnderStream,
    /// `step` leaves the offer standing when it is reclaimed.
    ReclaimKeepsOffer,
    /// `step` grants a claim whatever its epoch, and a worker takes the lock late. (Either guard alone is enough.)
    DropEpochCheck,
    /// The relay shows *ready* to xl without a word in the record.
    SkipSettling,
    /// Our pipe at the target delivers GO without a word in the record.
    SkipArriving,
    /// Our pipe at the target gives the receiver its permission when the stream breaks, instead of ending it.
    RunWithoutGo,
    /// The source resumes its copy when the sender's end is unknown.
    ResumeOnSilence,
    /// The source destroys what it gave away when the sender's end is unknown.
    DestroyOnSilence,
    /// `step` takes an undecided end for "it moved".
    UndecidedIsMoved,
    /// `step` forgets where a push went.
    ForgetLeft,
    /// stop takes the silence of a push's target for "accounted for".
    StopIgnoresLeft,
    /// start takes silence for "none here".
    BootOnSilence,
    /// start asks nobody but the sources of offers.
    AskNobody,
    /// A fencing counts whenever it was.
    FencedEver,
    /// A young ledger is believed.
    TrustYoungLedger,
    /// stop does not look whether the domain has gone.
    StopUnverified,
    /// stop neither waits for the stream that fetches the domain nor asks `step`, and destroys it.
    StopUnderStream,
    /// monitor says "runs" of what is on offer.
    MonitorTellsOffered,
    /// The listing overlooks copies under xl's own names.
    OverlookSuffixes,
    /// A stream that broke before GO withdraws the offer for good, without a word to the cluster.
    BrokenStreamEndsOffer,
    /// `step` leaves the stream on record when it broke before GO.
    BrokenStreamStaysOpen,
    /// migrate_from reports a domain that has not come to run.
    MigrateFromBlind,
    /// The ledger's age is the *oldest* note of any node: a source keeps its own while each survivor's Pacemaker restarts, one
    /// after the other, and takes the offer with it.
    AgeOfOldestNote,
    /// A ledger is trusted although an offer that has expired may still take its time to end.
    ExpiredIsEnded,
    /// A fencing counts although the node has come back since, and left again.
    FencedAndBack,
    /// Where a push goes is on the source's record alone.
    PushNotInLedger,
    /// A second stop of an offered domain returns success without a look whether a keeper lives.
    SecondStopArmsNothing,
    /// The keeper shuts down whatever runs here under that name, also what was booted here after the offer's end.
    KeeperOutlivesOffer,
    /// A withdrawn offer is taken out of the ledger when the guest's shutdown begins, not when it has ended.
    ErasedBeforeGone,
    /// A node whose transfer lock is held, with nothing on record yet, answers "none here", and its probe says the same.
    LockIsNoAnswer,
    /// Whoever is silent is no obstacle to a boot unless the ledger names him.
    SilentMember,
    /// A probe does not wait for the worker that is about to bring the domain.
    ProbeOverlooksFetch,
    /// A worker does not get the transfer lock from the action that starts it, but takes it when it comes to it.
    WorkerLocksLate,
    /// A start that the cluster ordered believes that there is no cluster when its manager has died.
    BlindWithoutManager,
    /// A stop takes a push out of the ledger whose target the cluster plans to use, unheard.
    PlannedIsAccounted,
    /// A probe says "not running" of a copy that was given to its node, and that nobody has finished yet.
    ProbeOverlooksGiven,
    /// A stop that finds none does not refuse a push that is still on its way to its node.
    StopRefusesNothing,
    /// A start does not look again, under the transfer lock, before it boots.
    BootWithoutALook,
    /// A source resumes its copy however long ago its offer has ended.
    ResumeHoweverLate,
    /// A peer that has sent the domain away counts as one that has none, and nobody looks where it went.
    LeftElsewhereIsNone,
    /// A start reads the ledger before the history that clears its peers.
    LedgerBeforeHistory,
    /// A start asks only once, although a push is open.
    AskOnce,
    /// Nobody restarts the keeper of an offer.
    NoGuard,
    /// "None here" from the target is enough to resume the source's copy, however the transfer ended there.
    AbsentIsEnough,
    /// The target notes of every copy that has ended that it never ran.
    EndedNeverRan,
    /// The target's end is finished while xl's receiver still lives.
    FinishUnderReceiver,
    /// The source destroys what waits for its target's word as soon as it can reach it.
    DiscardLightly,
    /// A start never asks for the end of an offer that it cannot fetch.
    NeverYields,
    /// The keeper of an offer that was given up waits for its deadline all the same.
    YieldedIsNotDue,
    /// `step` gives an offer up although a stream is under way, and nobody looks at the transfer lock. (Either guard alone is enough.)
    YieldUnderStream,
    /// `step` gives an offer up although it is not known whether the target runs the domain.
    YieldUnsettled,
    /// A start takes the source's word that it shuts the guest down for its word that it has none.
    BootBeforeItIsGone,
    /// `step` withdraws a deserted offer although a stream is under way, and the keeper does not look.
    DesertedUnderStream,
    /// xl's daemon of a domain that reboots is not recognised: its log was rotated.
    DaemonUnseen,
    /// A probe that did not know the name clears its node.
    FiveClears,
    /// A stop that does not know the name looks for another one, finds none, and says "stopped".
    StopByAnotherName,
    /// A new name in the file is taken at once: everybody looks for that.
    NewNameAtOnce,
    /// A guest node of Pacemaker Remote counts as a host that has to be accounted for.
    GuestIsAHost,
}

/// Every mutant and its catcher.
pub(super) const ALL: &[(Mutation, Promise)] = &[
    (Mutation::SkipLedgerWrite, Promise::P3OfferOutlivesItsSource),
    (Mutation::ReportBeforeRecord, Promise::P3OfferOutlivesItsSource),
    (Mutation::SkipDeadline, Promise::P5AnOfferEnds),
    (Mutation::ExpireUnderStream, Promise::P4NeverLostToAMove),
    (Mutation::ReclaimKeepsOffer, Promise::P5AnOfferEnds),
    (Mutation::DropEpochCheck, Promise::OneEpoch),
    (Mutation::SkipSettling, Promise::NoReturnIsOnRecord),
    (Mutation::SkipArriving, Promise::NoReturnIsOnRecord),
    (Mutation::RunWithoutGo, Promise::NoReturnIsOnRecord),
    (Mutation::ResumeOnSilence, Promise::P1NeverTwo),
    (Mutation::DestroyOnSilence, Promise::P4NeverLostToAMove),
    (Mutation::UndecidedIsMoved, Promise::RecordAgrees),
    (Mutation::ForgetLeft, Promise::RecordAgrees),
    (Mutation::StopIgnoresLeft, Promise::P6StopMeansStop),
    (Mutation::BootOnSilence, Promise::P2ProofBeforeBoot),
    (Mutation::AskNobody, Promise::P2ProofBeforeBoot),
    (Mutation::FencedEver, Promise::P2ProofBeforeBoot),
    (Mutation::TrustYoungLedger, Promise::P2ProofBeforeBoot),
    (Mutation::StopUnverified, Promise::P6StopMeansStop),
    (Mutation::StopUnderStream, Promise::P4NeverLostToAMove),
    (Mutation::MonitorTellsOffered, Promise::P3OfferOutlivesItsSource),
    (Mutation::OverlookSuffixes, Promise::RecordAgrees),
    (Mutation::BrokenStreamEndsOffer, Promise::RecordAgrees),
    (Mutation::BrokenStreamStaysOpen, Promise::Liveness),
    (Mutation::MigrateFromBlind, Promise::RecordAgrees),
    (Mutation::AgeOfOldestNote, Promise::P2ProofBeforeBoot),
    (Mutation::ExpiredIsEnded, Promise::P2ProofBeforeBoot),
    (Mutation::FencedAndBack, Promise::P2ProofBeforeBoot),
    (Mutation::PushNotInLedger, Promise::P2ProofBeforeBoot),
    (Mutation::SecondStopArmsNothing, Promise::P5AnOfferEnds),
    (Mutation::KeeperOutlivesOffer, Promise::P5AnOfferEnds),
    (Mutation::ErasedBeforeGone, Promise::P2ProofBeforeBoot),
    (Mutation::LockIsNoAnswer, Promise::P2ProofBeforeBoot),
    (Mutation::SilentMember, Promise::P2ProofBeforeBoot),
    (Mutation::ProbeOverlooksFetch, Promise::P2ProofBeforeBoot),
    (Mutation::WorkerLocksLate, Promise::P4NeverLostToAMove),
    (Mutation::BlindWithoutManager, Promise::P2ProofBeforeBoot),
    (Mutation::PlannedIsAccounted, Promise::P2ProofBeforeBoot),
    (Mutation::ProbeOverlooksGiven, Promise::P2ProofBeforeBoot),
    (Mutation::StopRefusesNothing, Promise::Liveness),
    (Mutation::BootWithoutALook, Promise::P2ProofBeforeBoot),
    (Mutation::ResumeHoweverLate, Promise::P2ProofBeforeBoot),
    (Mutation::LeftElsewhereIsNone, Promise::P2ProofBeforeBoot),
    (Mutation::LedgerBeforeHistory, Promise::P2ProofBeforeBoot),
    (Mutation::AskOnce, Promise::P2ProofBeforeBoot),
    (Mutation::NoGuard, Promise::Liveness),
    (Mutation::AbsentIsEnough, Promise::StaleIsNeverResumed),
    (Mutation::EndedNeverRan, Promise::StaleIsNeverResumed),
    (Mutation::FinishUnderReceiver, Promise::P4NeverLostToAMove),
    (Mutation::DiscardLightly, Promise::P4NeverLostToAMove),
    (Mutation::NeverYields, Promise::P7NeverWorse),
    (Mutation::YieldedIsNotDue, Promise::P7NeverWorse),
    (Mutation::YieldUnderStream, Promise::NoReturnIsOnRecord),
    (Mutation::YieldUnsettled, Promise::RecordAgrees),
    (Mutation::BootBeforeItIsGone, Promise::P2ProofBeforeBoot),
    (Mutation::DesertedUnderStream, Promise::P4NeverLostToAMove),
    (Mutation::DaemonUnseen, Promise::P6StopMeansStop),
    (Mutation::FiveClears, Promise::P2ProofBeforeBoot),
    (Mutation::StopByAnotherName, Promise::P6StopMeansStop),
    (Mutation::NewNameAtOnce, Promise::P6StopMeansStop),
    (Mutation::GuestIsAHost, Promise::Liveness),
];

/// The real [`xen_handoff::handoff::step`], bent by a mutation where there is one.
///
/// # Errors
/// As the real one.
pub(super) fn step(rules: Rules, phase: Phase, event: Event) -> Result<(Phase, Vec<Effect>), OutOfOrder> {
    let mutation = rules.mutation;
    let before = phase.clone();
    let event = match (mutation, &phase, event) {
        (
            Some(Mutation::DropEpochCheck),
            Phase::Source(SourcePhase::Offered { offer }),
            Event::Claimed(stale),
        ) => {
            let named = Transfer { epoch: offer.epoch, ..stale.clone() };
            let (_, effects) = xen_handoff::handoff::step(before.clone(), Event::Claimed(named))?;
            return Ok((
                Phase::Source(SourcePhase::Sending { transfer: stale, offer: Some(offer.clone()) }),
                effects,
            ));
        }
        (Some(Mutation::UndecidedIsMoved), _, Event::SenderEnded(SenderEnd::Undecided)) => {
            Event::SenderEnded(SenderEnd::Moved)
        }
        (_, _, event) => event,
    };
    let gives_up = match (mutation, &phase) {
        (
            Some(Mutation::YieldUnderStream),
            Phase::Source(SourcePhase::Sending { offer: Some(offer), .. })
            | Phase::Source(SourcePhase::Settling { offer: Some(offer), .. }),
        )
        | (Some(Mutation::YieldUnsettled), Phase::Source(SourcePhase::Settling { offer: Some(offer), .. })) => {
            Some(offer.clone())
        }
        _ => None,
    };
    if let (Some(offer), Event::Yielded(_)) = (gives_up, &event) {
        return Ok((Phase::Source(SourcePhase::Withdrawing { offer }), vec![Effect::ShutDown]));
    }
    let what = event.clone();
    let (mut after, mut effects) = xen_handoff::handoff::step(phase, event)?;
    match (mutation, &before, &what) {
        (Some(Mutation::ReportBeforeRecord), _, Event::OfferMade(_)) => effects.push(Effect::ReportStopped),
        (
            Some(Mutation::ExpireUnderStream),
            Phase::Source(SourcePhase::Sending { offer: Some(offer), .. })
            | Phase::Source(SourcePhase::Settling { offer: Some(offer), .. }),
            Event::OfferExpired,
        )
        | (
            Some(Mutation::DesertedUnderStream),
            Phase::Source(SourcePhase::Sending { offer: Some(offer), .. })
            | Phase::Source(SourcePhase::Settling { offer: Some(offer), .. }),
            Event::Deserted(_),
        ) => {
            after = Phase::Source(SourcePhase::Withdrawing { offer: offer.clone() });
            effects.push(Effect::ShutDown);
        }
        (Some(Mutation::ReclaimKeepsOffer), _, Event::Reclaimed) => after = before,
        (Some(Mutation::ErasedBeforeGone), _, _) => {
            if let Phase::Source(SourcePhase::Withdrawing { offer }) = &after {
                effects.push(Effect::EraseLedger(offer.epoch));
            }
        }
        (Some(Mutation::ForgetLeft), _, _) if matches!(after, Phase::Source(SourcePhase::Left { .. })) => {
            after = Phase::Idle
        }
        (
            Some(Mutation::BrokenStreamStaysOpen),
            Phase::Source(SourcePhase::Sending { .. }),
            Event::SenderEnded(SenderEnd::StillHere),
        ) => after = before,
        (
            Some(Mutation::BrokenStreamEndsOffer),
            Phase::Source(SourcePhase::Sending { .. }),
            Event::SenderEnded(SenderEnd::StillHere),
        ) => after = Phase::Idle,
        _ => {}
    }
    Ok((after, effects))
}

impl Mutation {
    /// Bounds in which it shows.
    pub(super) fn bounds(self) -> Left {
        let few = Left { stops: 1, ..super::NOTHING };
        match self {
            Self::SkipLedgerWrite | Self::ReportBeforeRecord | Self::SkipDeadline | Self::StopUnverified => {
                few
            }
            Self::ExpireUnderStream => Left { expiries: 1, ..few },
            Self::ReclaimKeepsOffer => Left { expiries: 1, ..few },
            Self::DropEpochCheck => Left { faults: 1, kills: 1, moves: 2, starts: 2, stops: 2, ..few },
            Self::SkipSettling | Self::SkipArriving | Self::MigrateFromBlind => few,
            Self::RunWithoutGo | Self::ResumeOnSilence | Self::DestroyOnSilence | Self::UndecidedIsMoved => {
                Left { faults: 1, kills: 1, cuts: 1, ..few }
            }
            Self::ForgetLeft => few,
            Self::StopIgnoresLeft | Self::BootOnSilence => {
                Left { faults: 2, cuts: 1, forgets: 1, leaves: 1, ..few }
            }
            Self::AskNobody | Self::SilentMember => Left { faults: 2, cuts: 2, presumes: 1, ..few },
            Self::FencedEver => Left { faults: 1, cuts: 1, leaves: 1, ..few },
            Self::TrustYoungLedger => Left { faults: 2, cuts: 1, wipes: 1, leaves: 1, ..few },
            Self::StopUnderStream => Left { stops: 2, faults: 1, kills: 1, ..few },
            Self::MonitorTellsOffered => Left { leaves: 1, ..few },
            Self::OverlookSuffixes | Self::BrokenStreamEndsOffer | Self::BrokenStreamStaysOpen => {
                Left { faults: 1, kills: 1, stops: 2, ..few }
            }
            Self::AgeOfOldestNote => Left { faults: 1, cuts: 1, leaves: 2, ..few },
            Self::ExpiredIsEnded => Left { faults: 2, cuts: 1, wipes: 1, ..few },
            Self::FencedAndBack => Left { faults: 2, cuts: 1, wipes: 1, leaves: 1, ..few },
            Self::PushNotInLedger | Self::PlannedIsAccounted => {
                Left { faults: 2, cuts: 1, forgets: 1, ..few }
            }
            Self::SecondStopArmsNothing => Left { faults: 1, kills: 1, stops: 2, ..few },
            Self::KeeperOutlivesOffer => Left { expiries: 1, stops: 2, starts: 2, ..few },
            Self::ErasedBeforeGone => Left { faults: 1, cuts: 1, expiries: 1, ..few },
            Self::LockIsNoAnswer => Left { faults: 1, kills: 1, starts: 2, ..few },
            Self::WorkerLocksLate => Left { faults: 1, kills: 1, starts: 2, ..few },
            Self::ProbeOverlooksFetch => Left { faults: 2, kills: 1, cuts: 1, starts: 2, ..few },
            Self::BlindWithoutManager => Left { faults: 1, managers: 1, ..few },
            Self::NoGuard => Left { faults: 1, kills: 1, expiries: 1, starts: 0, ..few },
            Self::AbsentIsEnough | Self::EndedNeverRan => {
                Left { faults: 2, cuts: 1, kills: 1, stops: 2, starts: 2, ..few }
            }
            Self::ProbeOverlooksGiven => Left { faults: 2, kills: 1, cuts: 1, starts: 2, stops: 1, ..few },
            Self::LeftElsewhereIsNone => Left { faults: 1, cuts: 1, leaves: 2, stops: 1, ..few },
            Self::LedgerBeforeHistory => {
                Left { faults: 2, cuts: 1, managers: 1, presumes: 1, stops: 1, ..few }
            }
            Self::AskOnce => Left { faults: 1, managers: 1, presumes: 1, stops: 1, ..few },
            Self::StopRefusesNothing => Left { faults: 1, kills: 1, ..few },
            Self::BootWithoutALook => Left { faults: 1, kills: 1, ..few },
            Self::ResumeHoweverLate => Left { faults: 3, cuts: 2, wipes: 1, ..few },
            Self::FinishUnderReceiver => Left { faults: 1, kills: 1, ..few },
            Self::DiscardLightly => Left { faults: 2, kills: 2, ..few },
            Self::NeverYields | Self::YieldedIsNotDue => Left { stuck: 1, yields: 2, ..few },
            Self::YieldUnderStream => Left { yields: 1, faults: 1, kills: 1, ..few },
            Self::YieldUnsettled => Left { yields: 1, faults: 3, kills: 3, ..few },
            Self::BootBeforeItIsGone => Left { yields: 1, ..few },
            Self::DesertedUnderStream => Left { deserts: 1, ..few },
            Self::DaemonUnseen => Left { reboots: 1, ..few },
            Self::FiveClears => Left { faults: 1, cuts: 1, unnamed: 1, ..few },
            Self::StopByAnotherName => Left { unnamed: 1, ..few },
            Self::NewNameAtOnce => Left { renames: 1, ..few },
            Self::GuestIsAHost => few,
        }
    }

    /// How far to search.
    pub(super) fn limit(self) -> Limit {
        let heal_every = usize::from(matches!(
            self,
            Self::BrokenStreamStaysOpen
                | Self::NoGuard
                | Self::StopRefusesNothing
                | Self::NeverYields
                | Self::YieldedIsNotDue
                | Self::GuestIsAHost
        ));
        let fenced_before = matches!(self, Self::FencedEver | Self::FencedAndBack);
        Limit { states: 3_000_000, heal_every, fenced_before, tolerates: Ending::Stopped }
    }
}
