//! How a running domain gets to another host: what whoever offers, fetches, pushes, receives or settles one
//! asks.
//!
//! | | streamed | carried |
//! |---|---|---|
//! | toolstack | `xl` | `xm`, `xe` |
//! | who moves it | we do: xl's receiver waits for a GO, so its stream can be carried up to that | the toolstack's daemons |
//! | a stop | offers it | ends it |
//! | a start | fetches what is on offer | boots it |
//! | the cluster's own migration | worker `push` | worker `carry`, which looks at both ends |
//! | what is known of a move | the record of either end | the ledger's entry, and what both ends show |
//! | what a broken one leaves | is settled by us | is for the toolstack's own commands |
//! | rate, compression, deadline | as the parameters say | the toolstack's own |
//!
//! An enum and no trait: there are these two ways and no others, and whoever does different things for them
//! ([`crate::agent`]) matches both, so that a third one does not compile before each of those places has its
//! answer. A trait would have had to take the action with it, which rooms above this one make.

use std::fmt;

use super::kind::Kind;

/// One of the two ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Movement {
    /// In a stream that we carry.
    Streamed,
    /// By this toolstack itself.
    Carried(Kind),
}

impl Kind {
    /// How its domains move.
    pub fn movement(self) -> Movement {
        match self {
            Self::Xl => Movement::Streamed,
            Self::Xm | Self::Xe => Movement::Carried(self),
        }
    }
}

impl Movement {
    /// Whether the target can pull a domain that runs at the source: what an offer is made for, and what a
    /// claim asks for.
    ///
    /// # Errors
    /// Why not; a stop is an ordinary one then.
    pub fn can_be_pulled(self) -> Result<(), NoStream> {
        self.stream()
    }

    /// Whether another node may ask for what belongs to a stream: to send one, to take one, to make room for
    /// one.
    ///
    /// # Errors
    /// What it is refused with.
    pub fn can_be_asked_for(self) -> Result<(), NoStream> {
        self.stream()
    }

    /// Whether what a broken move leaves is on record and ours to settle.
    ///
    /// # Errors
    /// Whose it is.
    pub fn can_be_settled(self) -> Result<(), NoStream> {
        self.stream()
    }

    /// Whether it can be found out, before the domain moves, whether it could.
    pub fn can_be_tried(self) -> bool {
        self.is_ours()
    }

    /// Whether the parameters say how fast it moves, how compressed, and for how long.
    pub fn keeps_terms(self) -> bool {
        self.is_ours()
    }

    /// Whether running domains can give memory to one that comes.
    pub fn shares_memory(self) -> bool {
        self.is_ours()
    }

    /// Whether devices of the host are detached before it moves and attached where it has arrived.
    pub fn detaches_devices(self) -> bool {
        self.is_ours()
    }

    fn is_ours(self) -> bool {
        self == Self::Streamed
    }

    fn stream(self) -> Result<(), NoStream> {
        match self {
            Self::Streamed => Ok(()),
            Self::Carried(kind) => Err(NoStream(kind)),
        }
    }
}

/// There is no stream: the toolstack moves its domains by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoStream(Kind);

impl fmt::Display for NoStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the toolstack here is {}, which moves a domain by itself and has no stream that could be fetched",
            self.0
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_xl_streams_can_be_pulled_settled_and_tried_and_what_others_carry_says_who_does() {
        let streamed = Kind::Xl.movement();
        assert_eq!(streamed, Movement::Streamed);
        for can in [Movement::can_be_pulled, Movement::can_be_asked_for, Movement::can_be_settled] {
            assert_eq!(can(streamed), Ok(()));
            for kind in [Kind::Xm, Kind::Xe] {
                let why = can(kind.movement()).unwrap_err().to_string();
                assert!(why.starts_with(&format!("the toolstack here is {kind}, which moves")), "{why}");
            }
        }
        for does in [
            Movement::can_be_tried,
            Movement::keeps_terms,
            Movement::shares_memory,
            Movement::detaches_devices,
        ] {
            let all = [Kind::Xl, Kind::Xm, Kind::Xe].map(|kind| does(kind.movement()));
            assert_eq!(all, [true, false, false]);
        }
    }
}
