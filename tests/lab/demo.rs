//! The demo.

/// Runs it.
pub(crate) fn run() -> anyhow::Result<()> {
    Ok(())
}
