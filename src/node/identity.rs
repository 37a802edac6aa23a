//! The name of a resource's domain as this node keeps it, with what its configuration file said when it was
//! read.

use serde::{Deserialize, Serialize};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::domain::{DomainConfig, DomainName, Presence};
use crate::foreign::Foreign;
use crate::host::Root;
use crate::small_file;
use crate::toolstack::{LIST_LIMIT, Toolstack};

const ENDING: &str = ".identity";

/// What is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The domain.
    pub domain: DomainName,
    /// `None` where the parameter `name` decided.
    pub file: Option<Seen>,
    /// What was in the file; none in what an older version has kept.
    #[serde(default)]
    pub config: Option<DomainConfig>,
}

impl Identity {
    /// What is to be kept.
    pub fn new(domain: DomainName, file: Option<Seen>, config: Option<DomainConfig>) -> Self {
        Self { domain, file, config }
    }

    fn contradiction(&self) -> Option<&'static str> {
        let differs =
            self.file.is_some() && self.config.as_ref().is_some_and(|config| config.name != self.domain);
        differs.then_some("its domain is not that of its configuration")
    }
}

/// A file as it was when it was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Where it is.
    pub path: PathBuf,
    size: u64,
    modified: (i64, i64),
    inode: u64,
}

impl Seen {
    /// As it is now; `None` if it cannot be looked at.
    pub fn look(path: &Path) -> Option<Self> {
        let meta = std::fs::metadata(path).ok()?;
        Some(Self {
            path: path.to_owned(),
            size: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            inode: meta.ino(),
        })
    }
}

/// Where the identity of `resource` is kept.
pub fn kept_at(root: &Root, resource: &str) -> PathBuf {
    // A resource id has no slash (it is an XML id); one that has would be somebody's mistake.
    root.state_folder().join(format!("{}{ENDING}", resource.replace('/', "_")))
}

/// The name that was kept, if any: of before, where the parameter `name` cannot be one now.
pub fn before(root: &Root, resource: &str) -> Option<DomainName> {
    read(&kept_at(root, resource)).map(|kept| kept.domain)
}

/// Whether a domain is here whose configuration file is called `domain` by now: it is the same guest under
/// its name of before.
pub fn under_another_name(root: &Root, toolstack: &dyn Toolstack, domain: &DomainName) -> Option<DomainName> {
    all_kept(root).into_iter().map(|(_, kept)| kept).find_map(|kept| {
        let seen = kept
            .file
            .as_ref()
            .filter(|seen| kept.domain != *domain && Seen::look(&seen.path).as_ref() != Some(*seen))?;
        let now = toolstack.read_config(&seen.path, LIST_LIMIT).ok()?;
        let is_it = now.name == *domain && toolstack.listed(&kept.domain, LIST_LIMIT) != Presence::Absent;
        is_it.then_some(kept.domain)
    })
}

/// Every identity that is kept and can be believed, with its file.
pub fn all_kept(root: &Root) -> Vec<(PathBuf, Identity)> {
    let files = std::fs::read_dir(root.state_folder()).into_iter().flatten().flatten();
    let paths = files.map(|file| file.path()).filter(|path| path.to_string_lossy().ends_with(ENDING));
    paths.filter_map(|path| read(&path).map(|kept| (path, kept))).collect()
}

/// Whether a domain of this name is another resource's.
pub fn is_anothers(root: &Root, resource: &str, name: &str) -> bool {
    let own = kept_at(root, resource);
    all_kept(root).iter().any(|(path, kept)| *path != own && kept.domain.as_str() == name)
}

/// What is kept there; nothing, with a word in the log, if that cannot be believed.
pub fn read(path: &Path) -> Option<Identity> {
    let kept = small_file::kept(path).map_err(|error| error.to_string()).transpose()?;
    let kept = kept.and_then(|kept| believe(&kept.text));
    kept.inspect_err(|why| log::warn!("{} is not believed: {why}", path.display())).ok()
}

/// What such a text says, or why it is not believed.
fn believe(text: &str) -> Result<Identity, String> {
    let kept: Identity = serde_json::from_str(text).map_err(|error| error.to_string())?;
    kept.contradiction().map_or(Ok(kept), |why| Err(why.to_owned()))
}

/// What is read here of others, for `make fuzz`.
pub const FOREIGN: &[Foreign] = &[Foreign { name: "NAME.identity", read: |text| drop(believe(text)) }];

/// Keeps it, if it is another one than before. Where that fails, the log says so.
pub fn keep(path: &Path, kept: Option<&Identity>, now: Identity) {
    if kept == Some(&now) {
        return;
    }
    // Without it the next action reads the file again.
    if let Err(error) = small_file::keep_json(path, &now) {
        log::warn!("cannot keep {}: {error}", path.display());
    }
}

/// What the configuration file of `resource` says: as it is kept, or, where the parameter `name` made it
/// needless to read the file, read now. `None` if that is not known.
pub fn config(
    root: &Root,
    resource: &str,
    file: Option<&Path>,
    toolstack: &dyn Toolstack,
) -> Option<DomainConfig> {
    let file = file.filter(|_| toolstack.kind().has_files())?;
    let kept = read(&kept_at(root, resource)).filter(|kept| kept.file == Seen::look(file));
    kept.and_then(|kept| kept.config)
        .or_else(|| toolstack.read_config(file, LIST_LIMIT).inspect_err(|error| log::info!("{error}")).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(domain: &str) -> Identity {
        let config = serde_json::json!({
            "name": domain, "guest": "pvh", "memory_mib": 16, "processors": 1, "disks": [], "disks_by_script": [],
            "bridges": [], "passthrough": [], "may_not_migrate": false
        });
        let seen = Seen { path: "/etc/xen/x0.cfg".into(), size: 40, modified: (1, 2), inode: 3 };
        Identity::new(DomainName::new(domain).unwrap(), Some(seen), serde_json::from_value(config).unwrap())
    }

    #[test]
    fn one_turned_bit_of_what_is_kept_makes_it_say_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x0.identity");
        keep(&path, None, kept("x0"));
        assert_eq!(read(&path), Some(kept("x0")));
        let text = std::fs::read(&path).unwrap();
        for at in 0..text.len() {
            for bit in 0..8 {
                let mut turned = text.clone();
                turned[at] ^= 1 << bit;
                std::fs::write(&path, &turned).unwrap();
                let believed = read(&path);
                assert!(
                    believed.as_ref().is_none_or(|kept| kept.domain.as_str() == "x0"),
                    "bit {bit} of byte {at}: {believed:?}"
                );
            }
        }
    }

    #[test]
    fn what_an_older_version_has_kept_is_believed_where_it_does_not_contradict_itself() {
        let mut old = serde_json::to_value(kept("x0")).unwrap();
        old["check"] = "of a version that had its own".into();
        assert_eq!(believe(&old.to_string()), Ok(kept("x0")));
        old["domain"] = "p0".into();
        assert!(believe(&old.to_string()).is_err());
    }
}
