//! One domain's way from one node to another: xl's sender here, xl's receiver there, our pipe at both ends.
//!
//! `xl migrate -s CMD` accepts any bidirectional pipe as its transport (`xl(1)`). Ours is [`relay`], a
//! subcommand of this executable that joins xl's two pipes to a connection that is already open. Who opened
//! that connection makes no difference: the target (a claim, from `start`) or the source (a push, from
//! `migrate_to`).

use std::os::fd::{BorrowedFd, OwnedFd};

use crate::clock::Deadline;
use crate::domain::DomainName;
use crate::handoff::Transfer;
use crate::here::Here;
use crate::moves::journal::Why;
use crate::moves::terms::Terms;

pub mod frames;
pub mod leftover;
pub mod pipe;
pub mod rate;
pub mod receive;
pub mod relay;
pub mod rounds;
pub mod send;
pub mod settle;
mod suspension;

/// An open connection that is about to carry a domain, and all that either end of it needs to know.
#[derive(Debug)]
pub struct Stream<'a> {
    /// The world.
    pub here: &'a Here,
    /// Which domain.
    pub domain: &'a DomainName,
    /// What for.
    pub why: Why,
    /// From where to where.
    pub transfer: &'a Transfer,
    /// What the other end says.
    pub from_peer: OwnedFd,
    /// What it hears.
    pub to_peer: OwnedFd,
    /// The transfer lock, held by the caller.
    pub lock: BorrowedFd<'a>,
    /// When it is broken off if it has not come to the point of no return.
    pub deadline: Deadline,
    /// What it may use of the network.
    pub terms: Terms,
    /// Whether both ends know how the target says that it lives.
    pub says_alive: bool,
}
