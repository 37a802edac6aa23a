//! The two ends of a transfer that the agent begins itself, each in a process of its own outside the
//! cluster's kill range: `xen-handoff fetch` (for `start`) and `xen-handoff push` (for `migrate_to`).
//!
//! The action passes an [`Order`] on the command line and reads one [`Word`] from the worker's stdout. If the
//! cluster kills the action, the worker goes on to the end of its stream, which has a deadline of its own
//! just before the action's.

pub mod carry;
mod fetch;
mod order;
mod push;
mod queue;
mod trial;

pub use carry::carry;
pub use fetch::fetch;
pub use order::{LEEWAY, Order, Outcome, Word, failed};
pub use push::push;
pub use queue::slot_here;
pub use trial::trial;
