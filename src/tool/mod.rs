//! The operators' subcommands.

pub mod adopt;
pub mod drain;
mod expected;
pub mod guard;
pub mod history;
pub mod keep;
pub mod keys;
pub mod preflight;
mod prospects;
pub mod reach;
pub mod recover;
pub mod status;

use std::time::Duration;

use crate::domain::DomainName;
use crate::host::Root;
use crate::ocf::parameters::Parameters;
use crate::toolstack;

/// Limit of reading a configuration file.
const CONFIG_LIMIT: Duration = Duration::from_secs(15);

/// The domain of a resource: its parameter `name`, or what its configuration file on this node says, or its own id.
fn domain_of(root: &Root, parameters: &Parameters, resource: &str) -> anyhow::Result<DomainName> {
    if let Some(name) = &parameters.name {
        return Ok(name.clone());
    }
    let toolstack = toolstack::of(root);
    let has_files = toolstack.kind().has_files();
    match parameters.xmfile.as_deref().filter(|file| has_files && file.is_file()) {
        Some(file) => Ok(toolstack.read_config(file, CONFIG_LIMIT)?.name),
        None => Ok(DomainName::new(resource)?),
    }
}
