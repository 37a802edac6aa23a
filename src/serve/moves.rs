//! `moves`: the log of moves.

use super::caller::{Caller, refused};
use crate::domain::DomainName;
use crate::moves::journal::{self, Move};
use crate::wire::message::Answer;

/// What the moves of one answer may take, in bytes: a line has 64 KiB.
const MOVES_ROOM: usize = 60_000;

/// The newest of this node's moves, so many as fit on a line.
pub(super) fn moves(caller: &Caller<'_>, domain: Option<&DomainName>, last: u64) -> Answer {
    let mut moves = match journal::read(&caller.here.root) {
        Ok(moves) => moves,
        Err(error) => return refused(error),
    };
    moves.retain(|entry| domain.is_none_or(|domain| entry.domain == *domain));
    let (mut room, last) = (MOVES_ROOM, usize::try_from(last).unwrap_or(usize::MAX));
    let fits = |entry: &&Move| {
        room = room.saturating_sub(serde_json::to_string(entry).map_or(room, |text| text.len() + 1));
        room > 0
    };
    let kept = moves.iter().rev().take(last).take_while(fits).count();
    Answer::Moves { moves: moves.split_off(moves.len() - kept) }
}
