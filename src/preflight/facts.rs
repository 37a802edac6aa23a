//! What a node says of itself when it is asked whether it could take a domain. Changes nothing.

use std::fmt::{self, Write};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{FileDigest, Needs};
use crate::domain::{DomainConfig, Presence};
use crate::host::{LocalPath, Root};
use crate::node::host::ThisHost;
use crate::node::standing::stands;
use crate::small_file;
use crate::toolstack::{HostInfo, Toolstack, XenVersion};

/// Limit of one word of the toolstack.
const LIMIT: Duration = Duration::from_secs(10);

/// The largest configuration file that is compared, in bytes: a peer may name any file.
const LARGEST_CONFIGURATION: u64 = 1 << 20;

/// What a node says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// Where the domain stands there.
    pub presence: Presence,
    /// The host, or why the toolstack does not say.
    pub host: Result<HostFacts, String>,
    /// The configuration file, if one was asked for.
    pub file: Option<FileState>,
    /// What is not as it must be with bridges and disks.
    pub troubles: Vec<Trouble>,
}

/// The host's part of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostFacts {
    /// Its hypervisor.
    pub xen: XenVersion,
    /// Kinds of guests that it can run.
    pub capabilities: Vec<String>,
    /// Memory that no domain has, in MiB.
    pub free_mib: u64,
    /// What dom0 would give besides, in MiB.
    pub spare_mib: u64,
}

/// How a file compares with the one that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileState {
    /// It holds the same.
    Same,
    /// It holds something else.
    Different,
    /// There is none.
    Missing,
    /// It cannot be read, for this reason.
    Unreadable(String),
}

/// Something that the domain needs and that is not there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "of", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Trouble {
    /// A bridge that does not exist.
    Bridge {
        /// Its name.
        name: String,
    },
    /// A disk that cannot be used.
    Disk {
        /// Which one.
        path: LocalPath,
        /// Why not.
        what: String,
    },
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bridge { name } => write!(f, "there is no bridge {name}"),
            Self::Disk { path, what } => write!(f, "disk {path}: {what}"),
        }
    }
}

/// Looks at this node.
pub fn gather(of: &ThisHost, needs: &Needs) -> Facts {
    let root = &of.root;
    Facts {
        presence: stands(of, &needs.config.name).0,
        host: host(of.toolstack().as_ref(), needs.config.memory_mib),
        file: needs.file.as_ref().map(|file| compare(root, file)),
        troubles: troubles(root, &needs.config),
    }
}

/// What the toolstack says of this host. What dom0 could spare is only asked for where `memory_mib` are not
/// free anyway.
///
/// # Errors
/// Why it does not say.
pub fn host(toolstack: &dyn Toolstack, memory_mib: u64) -> Result<HostFacts, String> {
    let info = toolstack.host_info(LIMIT).map_err(|error| error.to_string())?;
    let spare_mib = if info.free_mib > memory_mib.saturating_add(memory_mib / 8) {
        0
    } else {
        toolstack.dom0_can_spare_mib(&info, LIMIT).map_err(|error| error.to_string())?
    };
    Ok(HostFacts { spare_mib, ..HostFacts::from(info) })
}

/// Without what dom0 could spare, which nobody has asked for.
impl From<HostInfo> for HostFacts {
    fn from(info: HostInfo) -> Self {
        Self { xen: info.xen, capabilities: info.capabilities, free_mib: info.free_mib, spare_mib: 0 }
    }
}

/// The bridges and disks that a domain needs and that this node lacks. Starts no process.
pub fn troubles(root: &Root, config: &DomainConfig) -> Vec<Trouble> {
    let bridges = config.bridges.iter().filter(|name| !is_interface(root, name));
    let bridges = bridges.map(|name| Trouble::Bridge { name: name.clone() });
    let disks = config
        .disks
        .iter()
        .filter_map(|path| look_at(root, path).err().map(|what| Trouble::Disk { path: path.clone(), what }));
    bridges.chain(disks).collect()
}

/// Open vSwitch's bridges are interfaces of the host too; VLANs may follow the bridge's name, after `.` or
/// `:` (`xl-network-configuration(5)`).
fn is_interface(root: &Root, name: &str) -> bool {
    let interfaces = root.join("/sys/class/net");
    let bare = name.split(['.', ':']).next().unwrap_or(name);
    !name.contains('/') && [name, bare].iter().any(|name| !name.is_empty() && interfaces.join(name).exists())
}

/// Opens it and closes it again. Not for writing: that would have udev look at a block device anew.
fn look_at(root: &Root, disk: &LocalPath) -> Result<(), String> {
    small_file::open_plain(&root.join(disk.as_str())).map(drop).map_err(|error| error.to_string())
}

/// The digest of a configuration file of this node.
///
/// # Errors
/// What the system says.
pub fn digest(root: &Root, path: &LocalPath) -> std::io::Result<FileDigest> {
    let text = small_file::read(&root.join(path.as_str()), LARGEST_CONFIGURATION)?;
    let sha256 = Sha256::digest(&text).iter().fold(String::new(), |mut digits, byte| {
        // Writing to a string cannot fail.
        let _ = write!(digits, "{byte:02x}");
        digits
    });
    Ok(FileDigest { path: path.clone(), sha256 })
}

/// How the file of that path on this node compares with theirs.
pub fn compare(root: &Root, theirs: &FileDigest) -> FileState {
    match digest(root, &theirs.path) {
        Ok(ours) if ours == *theirs => FileState::Same,
        Ok(_) => FileState::Different,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => FileState::Missing,
        Err(error) => FileState::Unreadable(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{DomainName, GuestType};

    fn config(root: &Root) -> DomainConfig {
        for folder in ["/sys/class/net/br0", "/dev/vg", "/etc/xen"] {
            std::fs::create_dir_all(root.join(folder)).unwrap();
        }
        std::fs::write(root.join("/dev/vg/x0"), "").unwrap();
        DomainConfig {
            name: DomainName::new("x0").unwrap(),
            guest: GuestType::Pv,
            memory_mib: 128,
            processors: 1,
            disks: vec![LocalPath::new("/dev/vg/x0").unwrap()],
            disks_by_script: vec![],
            bridges: vec!["br0".to_owned()],
            passthrough: vec![],
            may_not_migrate: false,
            has_vnuma: false,
        }
    }

    #[test]
    fn a_bridge_or_a_disk_that_is_missing_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path());
        let mut config = config(&root);
        config.bridges.push("br0.7:8".to_owned());
        assert_eq!(troubles(&root, &config), []);
        config.bridges.push("br9".to_owned());
        config.disks.push(LocalPath::new("/dev/vg/x1").unwrap());
        config.disks.push(LocalPath::new("/dev/vg").unwrap());
        let found = troubles(&root, &config);
        assert_eq!(found.len(), 3, "{found:?}");
        assert_eq!(found[0], Trouble::Bridge { name: "br9".to_owned() });
        assert!(matches!(&found[1], Trouble::Disk { what, .. } if what.contains("No such file")));
        assert!(matches!(&found[2], Trouble::Disk { what, .. } if what.contains("no block device")));
    }

    #[test]
    fn a_configuration_file_is_compared_by_what_is_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path());
        std::fs::write(folder.path().join("x0.cfg"), "abc").unwrap();
        let theirs = digest(&root, &LocalPath::new("/x0.cfg").unwrap()).unwrap();
        assert_eq!(theirs.sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(compare(&root, &theirs), FileState::Same);
        std::fs::write(folder.path().join("x0.cfg"), "abd").unwrap();
        assert_eq!(compare(&root, &theirs), FileState::Different);
        std::fs::remove_file(folder.path().join("x0.cfg")).unwrap();
        assert_eq!(compare(&root, &theirs), FileState::Missing);
    }
}
