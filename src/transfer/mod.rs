//! One domain's way from one node to another: xl's sender here, xl's receiver there, our pipe at both ends.
//!
//! `xl migrate -s CMD` accepts any bidirectional pipe as its transport (`xl(1)`). Ours is [`relay`], a subcommand of this
//! executable that joins xl's two pipes to a connection that is already open. Who opened that connection makes no
//! difference: the target (a claim, from `start`) or the source (a push, from `migrate_to`).

pub mod message;
pub mod pipe;
pub mod progress;
pub mod receive;
pub mod relay;
pub mod send;
pub mod settle;
