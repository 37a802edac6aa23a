//! This host: what is kept of its domains, where they stand, and what is done to them here without asking
//! anybody.

pub mod devices;
pub mod host;
pub mod identity;
pub mod memory;
pub mod record;
pub mod shutdown;
pub mod snapshot;
pub mod standing;
