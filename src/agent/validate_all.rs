//! `validate-all`: can these parameters ever work on this node? Touches no domain.

use super::LIST_LIMIT;
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
        Parameters::read(&environment.parameters).or_exit(ExitCode::Configured, "configuration")?;
    Parameters::refuse_not_yet(&environment.parameters).or_exit(ExitCode::Configured, "configuration")?;
    let xl = Xl::new(&environment.root);
    xl.tool().or_exit(ExitCode::NotInstalled, "this node has no toolstack")?;
    let Some(file) = &parameters.xmfile else {
        return Err(Failure::new(ExitCode::Configured, "parameter xmfile is required and not set"));
    };
    if !file.is_file() {
        return Err(Failure::new(
            ExitCode::NotInstalled,
            format!("parameter xmfile={:?}: no such file on this node", file.display().to_string()),
        ));
    }
    match xl.read_config(file, LIST_LIMIT) {
        Ok(config) => log::debug!("the configuration names {}", config.name),
        Err(error @ ToolstackError::Config { .. }) => return Err(Failure::new(ExitCode::Configured, error)),
        Err(error) => return Err(Failure::new(ExitCode::Generic, error)),
    }
    let key = environment.root.key_folder().join(ssh::KEY);
    if parameters.handoff == HandoffMode::Auto && !key.is_file() {
        // Not an error: the agent works without, by ordinary stops. pcs and crm show the line.
        log::warn!(
            "no key {}: stop cannot hand domains over before `xen-handoff keys` was run",
            key.display()
        );
    }
    Ok(ExitCode::Success)
}
