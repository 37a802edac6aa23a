//! Which domain a resource manages: the parameter `name`, or the name that xl reads from the configuration file.
//!
//! Reading the file costs a process, and the file may be out of reach just when a stop needs to know. So the answer is
//! kept in `/run/xen-handoff/RESOURCE.identity`, with the file's size and time, and used for as long as these are the
//! same, or the file cannot be seen. Under a toolstack without files (`xe`) only the parameter says it.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Action, LIST_LIMIT};
use crate::domain::{DomainConfig, DomainName};
use crate::host::Root;
use crate::ocf::exit_code::{ExitCode, Failure, OrExit};
use crate::ocf::parameters::Parameters;
use crate::small_file;
use crate::toolstack::{Toolstack, ToolstackError};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Identity {
    domain: DomainName,
    /// `None` where the parameter `name` decided.
    file: Option<Seen>,
    /// What was in the file; none in what an older version has kept.
    #[serde(default)]
    config: Option<DomainConfig>,
}

/// A file as it was when it was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    path: PathBuf,
    size: u64,
    modified: (i64, i64),
    inode: u64,
}

impl Seen {
    fn look(path: &Path) -> Option<Self> {
        let meta = std::fs::metadata(path).ok()?;
        Some(Self {
            path: path.to_owned(),
            size: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            inode: meta.ino(),
        })
    }
}

fn kept_at(root: &Root, resource: &str) -> PathBuf {
    // A resource id has no slash (it is an XML id); one that has would be somebody's mistake.
    root.state_folder().join(format!("{}.identity", resource.replace('/', "_")))
}

/// The domain of `resource`.
///
/// # Errors
/// If xl refuses the configuration file, or, for an action that needs the file, if it is not there.
pub(super) fn resolve(
    root: &Root,
    resource: &str,
    parameters: &Parameters,
    toolstack: &dyn Toolstack,
    action: Action,
) -> Result<DomainName, Failure> {
    let path = kept_at(root, resource);
    let kept = read(&path);
    if let Some(domain) = &parameters.name {
        keep(&path, kept.as_ref(), Identity { domain: domain.clone(), file: None, config: None });
        return Ok(domain.clone());
    }
    if !toolstack.kind().has_files() {
        return unnamed(
            resource,
            action,
            format!("parameter name is not set, and {} has no files", toolstack.kind()),
        );
    }
    let seen = parameters.xmfile.as_deref().and_then(Seen::look);
    if let Some(kept) = &kept
        && (seen.is_none() || kept.file == seen)
    {
        return Ok(kept.domain.clone());
    }
    let Some(seen) = seen else {
        return without_file(resource, parameters, action);
    };
    match toolstack.read_config(&seen.path, LIST_LIMIT) {
        Ok(config) => {
            let domain = config.name.clone();
            let identity = Identity { domain: domain.clone(), file: Some(seen), config: Some(config) };
            keep(&path, kept.as_ref(), identity);
            Ok(domain)
        }
        // A file that was changed into something that xl refuses must not make a running domain invisible.
        Err(error) if kept.is_some() && matches!(action, Action::Stop | Action::Monitor) => {
            log::warn!("the configuration cannot be read any more, using the name of before: {error}");
            kept.map(|kept| kept.domain).ok_or_else(|| Failure::new(ExitCode::Generic, error))
        }
        Err(error) => {
            let code = match &error {
                // A file of this node's; what is wrong with it may be wrong here alone.
                ToolstackError::Config { .. } if action == Action::Start => ExitCode::NotInstalled,
                ToolstackError::Config { .. } => ExitCode::Generic,
                error if error.is_missing() => ExitCode::NotInstalled,
                ToolstackError::Command(_)
                | ToolstackError::Unreadable { .. }
                | ToolstackError::Cannot { .. }
                | ToolstackError::Other { .. } => ExitCode::Generic,
            };
            Err(Failure::new(code, error)
                .context("the name of the domain cannot be told; nothing was changed"))
        }
    }
}

/// The name that was kept, if any: of before, where the parameter `name` cannot be one now.
pub(super) fn before(root: &Root, resource: &str) -> Option<DomainName> {
    read(&kept_at(root, resource)).map(|kept| kept.domain)
}

fn read(path: &Path) -> Option<Identity> {
    serde_json::from_str(&std::fs::read_to_string(path).ok()?).ok()
}

/// What the configuration file of `resource` says: as it is kept, or, where the parameter `name` made it needless to read the
/// file, read now. `None` if that cannot be told.
pub(super) fn config(
    root: &Root,
    resource: &str,
    parameters: &Parameters,
    toolstack: &dyn Toolstack,
) -> Option<DomainConfig> {
    let file = parameters.xmfile.as_deref().filter(|_| toolstack.kind().has_files())?;
    let kept = read(&kept_at(root, resource)).filter(|kept| kept.file == Seen::look(file));
    kept.and_then(|kept| kept.config)
        .or_else(|| toolstack.read_config(file, LIST_LIMIT).inspect_err(|error| log::info!("{error}")).ok())
}

/// No file, and none was ever read since this host came up: the agent has never run this domain here.
fn without_file(resource: &str, parameters: &Parameters, action: Action) -> Result<DomainName, Failure> {
    let which = parameters.xmfile.as_ref().map_or("parameter xmfile is not set".to_owned(), |path| {
        format!("no file {} on this node", path.display())
    });
    unnamed(resource, action, format!("{which}, and no name is set"))
}

/// Nothing says the domain's name. A stop takes the resource's id for it.
fn unnamed(resource: &str, action: Action, why: String) -> Result<DomainName, Failure> {
    if !matches!(action, Action::Stop) {
        return Err(Failure::new(ExitCode::NotInstalled, format!("{why}; nothing was changed")));
    }
    DomainName::new(resource).or_exit(
        ExitCode::Generic,
        "neither name nor configuration tell the domain's name, and the resource's id cannot be one",
    )
}

fn keep(path: &Path, kept: Option<&Identity>, now: Identity) {
    if kept == Some(&now) {
        return;
    }
    let write = || small_file::replace(path, &serde_json::to_vec(&now)?);
    // Without it the next action reads the file again.
    if let Err(error) = write() {
        log::warn!("cannot keep {}: {error}", path.display());
    }
}
