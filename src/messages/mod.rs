//! What this program says, by ids that stay: the catalogue in `doc/messages.txt`, and which entry of it a
//! line is.
//!
//! The log ([`crate::logging`]), the exit reason, `xen-handoff explain` and the makers of the manual page and
//! of journald's catalogue all ask here.

mod catalogue;
mod fields;
mod find;
mod id;
mod pattern;

pub use catalogue::{Catalogue, Entry, Fault, Group, Level};
pub use fields::fields;
pub use find::Found;
pub use id::Id;
