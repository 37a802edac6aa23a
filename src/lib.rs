//! `ocf:handoff:Xen`: an OCF resource agent for Xen domains whose stop and start are one live migration.

/// This build's version, as `--version` prints it.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
