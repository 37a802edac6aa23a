//! The toolstack: who creates, lists and destroys domains on this node: `xl`, `xm`, or `xe`. Which one it is,
//! [`choice`] says.
//!
//! The trait is what the actions need and no more; `fake::Fake` stands beside the real ones, for tests. What
//! a toolstack cannot do is [`ToolstackError::Cannot`], and never a silent nothing.

mod api;
pub mod bare;
pub mod choice;
#[cfg(test)]
pub mod fake;
pub mod glance;
mod kind;
pub mod libxl;
mod movement;
mod verbs;
pub mod xe;
pub mod xl;
pub mod xm;

pub use api::{
    GuestMemory, HostInfo, HostMemory, LIST_LIMIT, ShutdownRequest, Size, Toolstack, ToolstackError, Towards,
    XenVersion,
};
pub use choice::{kind_of, of};
pub use kind::Kind;
pub use movement::{Movement, NoStream};
