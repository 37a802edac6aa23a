//! `meta-data` and `usage`: the two actions that print.

use std::io::Write;

use crate::ocf::exit_code::ExitCode;
use crate::parameters::metadata;

/// How the agent is called.
pub(super) const USAGE: &str = "usage: Xen {start|stop|monitor|status|migrate_to|migrate_from|reload-agent|validate-all|meta-data|usage}";

/// Prints the metadata.
///
/// # Errors
/// If stdout is closed.
pub(super) fn print() -> std::io::Result<ExitCode> {
    std::io::stdout().write_all(metadata::document().as_bytes())?;
    Ok(ExitCode::Success)
}

/// Prints the usage.
///
/// # Errors
/// If stdout is closed.
pub(super) fn print_usage() -> std::io::Result<ExitCode> {
    writeln!(std::io::stdout(), "{USAGE}")?;
    Ok(ExitCode::Success)
}
