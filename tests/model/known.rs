//! What the model has found in the code and what is not repaired there yet. Each has a *repair* in the model's drivers, so
//! that the search can go on beyond it; with the repair taken out the search must come upon it again, and prints its
//! shortest schedule. When the code is repaired, its entry here goes, and the driver follows the code.

use super::promise::Promise;

/// A defect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Known {
    /// The ledger's age is the *oldest* note of any node. A source that stays a member keeps its note while the
    /// Pacemaker of each survivor restarts, one after the other, and takes the offer with it.
    AgeOfOldestNote,
    /// A ledger is trusted when it is older than an offer may live, but an offer that has expired takes the guest's
    /// shutdown longer to end (and for ever, if its keeper was killed).
    ExpiredIsNotEnded,
    /// A fencing counts although the node has come back since, and left again.
    FencedAndBack,
    /// A member of the cluster that does not answer over the transport is no obstacle to a boot if no offer is open.
    SilentMember,
    /// A second stop of an offered domain returns success without a look whether a keeper lives.
    NobodyKeepsIt,
    /// The keeper shuts down whatever runs here under that name, also what was booted here after the offer's end.
    KeeperOutlivesOffer,
}

/// Every defect, which promise it breaks, and what to say of it.
pub const ALL: &[(Known, Promise, &str)] = &[
    (Known::AgeOfOldestNote, Promise::P2ProofBeforeBoot, "the ledger counts as old while a survivor's entries were lost"),
    (Known::ExpiredIsNotEnded, Promise::P2ProofBeforeBoot, "the ledger counts as old while an expired offer still runs"),
    (Known::FencedAndBack, Promise::P2ProofBeforeBoot, "a fencing from before the node's return counts as proof"),
    (Known::SilentMember, Promise::P2ProofBeforeBoot, "a silent member with a forgotten copy (H1) is no obstacle"),
    (Known::NobodyKeepsIt, Promise::P5AnOfferEnds, "a second stop confirms an offer that nobody watches"),
    (Known::KeeperOutlivesOffer, Promise::P5AnOfferEnds, "a keeper shuts down what was booted after its offer"),
];

/// What bends the drivers in one run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rules {
    /// A break that the search must notice.
    pub mutation: Option<super::mutation::Mutation>,
    /// The defect whose repair is taken out.
    pub unrepaired: Option<Known>,
}

impl Rules {
    pub fn mutated(self, mutation: super::mutation::Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    pub fn repaired(self, known: Known) -> bool {
        self.unrepaired != Some(known)
    }
}
