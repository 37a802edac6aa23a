//! What the model has found in the code and what is not repaired there yet. Each has a *repair* in the model's drivers, so
//! that the search can go on beyond it; with the repair taken out the search must come upon it again, and prints its
//! shortest schedule. When the code is repaired, its entry here goes, and the driver follows the code.

use super::explore::Limit;
use super::promise::Promise;
use super::world::Left;

/// A defect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Known {
    /// The ledger's age is the *oldest* note of any node. A source that stays a member keeps its note while the
    /// Pacemaker of each survivor restarts, one after the other, and takes the offer with it.
    AgeOfOldestNote,
    /// A ledger is trusted when it is older than an offer may live, but an offer that has expired takes the guest's
    /// shutdown longer to end (and for ever, if its keeper was killed).
    ExpiredIsNotEnded,
    /// A fencing counts although the node has come back since, and left again.
    FencedAndBack,
    /// Where a push went is on the source's record alone. When the cluster forgets the target (H1), or the target leaves
    /// with the domain, a start on a third node knows of nobody whom it must hear.
    PushNotInLedger,
    /// A second stop of an offered domain returns success without a look whether a keeper lives.
    NobodyKeepsIt,
    /// The keeper shuts down whatever runs here under that name, also what was booted here after the offer's end.
    KeeperOutlivesOffer,
    /// A withdrawn offer is taken out of the ledger when the guest's shutdown begins, not when it has ended.
    ErasedBeforeGone,
    /// A worker that fetches holds the transfer lock before its record says so, and outlives the start that employed it: until
    /// its stream opens, its node answers "none here", and monitor says the same.
    FetchNotYetOnRecord,
    /// A member of the cluster that does not answer is no obstacle to a boot unless the ledger names it. It may be fetching the
    /// domain by a worker whose start was killed, and the source then says, rightly, that it has none any more.
    SilentMember,
}

/// Every defect, which promise it breaks, and what to say of it.
pub(super) const ALL: &[(Known, Promise, &str)] = &[
    (
        Known::AgeOfOldestNote,
        Promise::P2ProofBeforeBoot,
        "the ledger counts as old while a survivor's entries were lost",
    ),
    (
        Known::ExpiredIsNotEnded,
        Promise::P2ProofBeforeBoot,
        "the ledger counts as old while an expired offer still runs",
    ),
    (
        Known::FencedAndBack,
        Promise::P2ProofBeforeBoot,
        "a fencing from before the node's return counts as proof",
    ),
    (
        Known::PushNotInLedger,
        Promise::P2ProofBeforeBoot,
        "a third node boots what a push left on a node that is silent",
    ),
    (Known::NobodyKeepsIt, Promise::P5AnOfferEnds, "a second stop confirms an offer that nobody watches"),
    (
        Known::KeeperOutlivesOffer,
        Promise::P5AnOfferEnds,
        "a keeper shuts down what was booted after its offer",
    ),
    (
        Known::ErasedBeforeGone,
        Promise::P2ProofBeforeBoot,
        "the ledger shows no offer while the guest still shuts down",
    ),
    (
        Known::FetchNotYetOnRecord,
        Promise::P2ProofBeforeBoot,
        "a node whose worker is about to fetch the domain answers that it has none",
    ),
    (
        Known::SilentMember,
        Promise::P2ProofBeforeBoot,
        "a member that is silent may have fetched the domain, and its source says that it has none",
    ),
];

/// What bends the drivers in one run.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rules {
    /// A break that the search must notice.
    pub(super) mutation: Option<super::mutation::Mutation>,
    /// The defects whose repair is taken out.
    pub(super) unrepaired: &'static [Known],
}

impl Rules {
    pub(super) fn mutated(self, mutation: super::mutation::Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    pub(super) fn repaired(self, known: Known) -> bool {
        !self.unrepaired.contains(&known)
    }
}

impl Known {
    /// What is to be taken out for it to show: a defect may hide behind another's repair.
    pub(super) fn taken_out(self) -> &'static [Self] {
        match self {
            Self::AgeOfOldestNote => &[Self::AgeOfOldestNote, Self::SilentMember],
            Self::ExpiredIsNotEnded => &[Self::ExpiredIsNotEnded],
            Self::FencedAndBack => &[Self::FencedAndBack],
            Self::PushNotInLedger => &[Self::PushNotInLedger],
            Self::NobodyKeepsIt => &[Self::NobodyKeepsIt],
            Self::KeeperOutlivesOffer => &[Self::KeeperOutlivesOffer],
            Self::ErasedBeforeGone => &[Self::ErasedBeforeGone, Self::SilentMember],
            Self::FetchNotYetOnRecord => &[Self::FetchNotYetOnRecord],
            Self::SilentMember => &[Self::SilentMember],
        }
    }

    /// Bounds in which it shows.
    pub(super) fn bounds(self) -> Left {
        let few = Left { stops: 1, ..super::NOTHING };
        match self {
            Self::AgeOfOldestNote => Left { faults: 1, cuts: 1, leaves: 2, ..few },
            Self::ExpiredIsNotEnded => Left { faults: 2, cuts: 1, wipes: 1, leaves: 1, ..few },
            Self::FencedAndBack => Left { faults: 2, cuts: 1, wipes: 1, leaves: 1, ..few },
            Self::PushNotInLedger => Left { faults: 1, cuts: 1, leaves: 1, ..few },
            Self::NobodyKeepsIt => Left { faults: 1, kills: 1, stops: 2, ..few },
            Self::KeeperOutlivesOffer => Left { expiries: 1, stops: 2, starts: 2, ..few },
            Self::FetchNotYetOnRecord => Left { faults: 1, kills: 1, starts: 2, ..few },
            Self::SilentMember => Left { faults: 2, kills: 1, cuts: 1, starts: 2, ..few },
            Self::ErasedBeforeGone => Left { faults: 1, cuts: 1, leaves: 1, stops: 2, ..few },
        }
    }

    /// How far to search.
    pub(super) fn limit(self) -> Limit {
        Limit { states: 3_000_000, heal_every: 0, fenced_before: self == Self::FencedAndBack }
    }
}
