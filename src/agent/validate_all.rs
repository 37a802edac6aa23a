//! `validate-all`: can these parameters ever work on this node? Touches no domain.

use std::io::Write;

use super::{LIST_LIMIT, NOTHING_CHANGED};
use crate::ocf::environment::Environment;
use crate::ocf::exit_code::{ExitCode, Failure, OrExit};
use crate::ocf::parameters::{HandoffMode, Parameters};
use crate::toolstack::{Toolstack, ToolstackError, xl::Xl};
use crate::transport::ssh;

/// Checks every parameter, the configuration file, and the tools.
///
/// # Errors
/// `Configured` for a value that is wrong on every node, `NotInstalled` for what this node lacks.
pub(super) fn validate(environment: &Environment) -> Result<ExitCode, Failure> {
    let parameters =
        Parameters::read(&environment.parameters).or_exit(ExitCode::Configured, NOTHING_CHANGED)?;
    Parameters::refuse_not_yet(&environment.parameters).or_exit(ExitCode::Configured, NOTHING_CHANGED)?;
    let xl = Xl::new(&environment.root);
    xl.tool().or_exit(ExitCode::NotInstalled, "this node has no toolstack")?;
    let Some(file) = &parameters.xmfile else {
        return Err(Failure::new(ExitCode::Configured, "parameter xmfile is required and not set"));
    };
    if !file.is_file() {
        let what = format!("parameter xmfile={:?}: no such file on this node", file.display().to_string());
        return Err(Failure::new(ExitCode::NotInstalled, what));
    }
    match xl.read_config(file, LIST_LIMIT) {
        Ok(config) => log::debug!("the configuration names {}", config.name),
        Err(error @ ToolstackError::Config { .. }) => return Err(Failure::new(ExitCode::Configured, error)),
        Err(error) => return Err(Failure::new(ExitCode::Generic, error)),
    }
    let key = environment.root.key_folder().join(ssh::KEY);
    if parameters.handoff == HandoffMode::Auto && !key.is_file() {
        // Not an error: the agent works without, by ordinary stops. crm knows a warning by its first word, pcs shows it.
        let warning =
            format!("no key {}: stop cannot hand over before `xen-handoff keys` was run", key.display());
        log::warn!("{warning}");
        // stderr may be closed; the log has it then.
        let _ = writeln!(std::io::stderr(), "WARNING: {warning}");
    }
    Ok(ExitCode::Success)
}
