//! The handoff: how a running domain changes its owner between a `stop` and a `start`.
//!
//! # Without failures
//!
//! Edges are [`Event`]s, boxes are [`Phase`]s. On the left the source, on the right the target.
//!
//! ```text
//!   source (stop, serve)                             target (start)
//!
//!   Idle                                             Idle
//!    | OfferMade                                      :
//!   Offering      -- the ledger is written -->        :
//!    | OfferRecorded        (stop returns 0)          :
//!   Offered                                           | OfferFound
//!    :            <-- one ssh connection --------    Claiming
//!    | Claimed                                        | StreamOpened
//!   Sending       ===== xl's stream ===========>     Receiving
//!    | ReadySeen                                         | GoArrived
//!   Settling      ----- GO ------------------->      Arriving
//!    | SenderEnded(Moved)                             | ReceiverEnded(Running)
//!   Idle                                             Arrived
//!                                                     | Confirmed   (start returns 0)
//!                                                    Idle
//! ```
//!
//! The cluster's own migration is the same with `Pushed` in place of the first four edges of the source, and
//! ends in `Left` there, until the stop that follows a migration has accounted for the copy that went away
//! (`LeftAccounted`).
//!
//! # With failures
//!
//! ```text
//!   Offering    -- OfferNotRecorded ------------> Withdrawing   an ordinary stop after all
//!   Offering    -- OfferMade -------------------> Offering      an earlier stop was killed; begin again
//!   Offered     -- Reclaimed -------------------> Idle          the cluster starts it here again: nothing moved
//!   Offered     -- OfferExpired, StopOrdered ---> Withdrawing   nobody came in time, or a stop that means it
//!   Offered     -- Deserted --------------------> Withdrawing   nobody is left who could come
//!   Offered     -- Yielded ---------------------> Withdrawing   it cannot be moved to the start that claims it, which boots it then
//!   Offered     -- DomainGone ------------------> Idle          the guest shut itself down
//!   Withdrawing -- DomainGone ------------------> Idle
//!   Sending     -- SenderEnded(StillHere) ------> Offered       the stream broke before GO: it runs here, try again
//!                                                 Idle          (the same, after Pushed)
//!   Settling    -- SenderEnded(StillHere) ------> Offered, Idle the target refused after GO and destroyed its copy
//!   Settling    -- SenderEnded(Undecided) ------> Settling      both ends must be looked at (`resolve`)
//!   Claiming    -- BootProven ------------------> Idle          the source has none any more: a cold boot
//!   Receiving   -- ReceiverEnded(Nothing) ------> Idle          the stream broke before GO: no copy here
//!   Arriving    -- ReceiverEnded(Nothing) ------> Idle          the copy could not be started; the source resumes it
//!   Arriving    -- ReceiverEnded(Undecided) ----> Arriving      what xl's receiver began is finished (`resolve`)
//! ```
//!
//! The source enters `Settling` just before it lets the receiver's *ready* through to xl, which answers with
//! GO at once: if that cannot be written down, xl never sees *ready* and keeps the domain, at no cost. The
//! target enters `Arriving` just before it delivers GO: if that cannot be written down, the receiver sees its
//! stream end and destroys its copy.
//!
//! `Settling` and `Arriving` are the only phases in which a node does not know by itself whether it owns the
//! domain: around xl's GO, the point of no return, to its report. Nothing runs, boots, or is destroyed on
//! such a node before the other one has answered. xl itself gives up there ("Domain state is now undefined");
//! [`resolve`] does not.
//!
//! # How the words map onto xl's
//!
//! *transfer*: from xl's banner to its *ready* message. *settle*: from GO to the report byte. xl renames the
//! source's copy to `--migratedaway` just before GO, and the target's copy from `--incoming` just after.

// A new phase or event must fail to compile until every place in here has an answer.
#![warn(clippy::wildcard_enum_match_arm)]

pub mod event;
pub mod evidence;
pub mod handshake;
pub mod ledger;
pub mod phase;
pub mod resolve;
mod step;

pub use event::{Effect, Event};
pub use phase::{Ended, Epoch, Offer, Phase, Push, Ran, SourcePhase, TargetPhase, Transfer};
pub use step::step;
