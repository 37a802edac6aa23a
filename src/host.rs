//! This host as the agent sees it: the root folder of its world, where its own files lie, and its name.
//!
//! `XEN_HANDOFF_ROOT` (documented in `xen-handoff(8)`, "Environment") moves the whole world below another
//! folder: tools are then looked up in `ROOT/usr/sbin` and so on, and the state lies in
//! `ROOT/run/xen-handoff`. It is meant for tests and for trying the agent against a stand-in toolstack; a
//! cluster never sets it.

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The folder below which the agent's world lies. `/` unless `XEN_HANDOFF_ROOT` says otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root(PathBuf);

impl Root {
    /// A world below `folder`.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self(folder.into())
    }

    /// `path` (absolute) as it lies below this root.
    pub fn join(&self, path: &str) -> PathBuf {
        self.0.join(path.trim_start_matches('/'))
    }

    /// `path`, absolute, as another node is told it: as it looks from inside this root.
    pub fn seen_inside(&self, path: &Path) -> Option<LocalPath> {
        let inside = path.strip_prefix(&self.0).map(|rest| Path::new("/").join(rest));
        LocalPath::new(inside.as_deref().unwrap_or(path).to_str()?)
    }

    /// The value for `XEN_HANDOFF_ROOT` of a child process; `None` for the real root.
    pub fn for_child(&self) -> Option<&OsStr> {
        (self.0 != Path::new("/")).then(|| self.0.as_os_str())
    }

    /// Where records of offers and transfers live: gone at a reboot, as the domains are.
    pub fn state_folder(&self) -> PathBuf {
        self.join("/run/xen-handoff")
    }

    /// What is kept over reboots: the log of moves, marks of runs.
    pub fn lasting_folder(&self) -> PathBuf {
        self.join("/var/lib/xen-handoff")
    }

    /// Which life of the host this is: the kernel's own mark, another one after every restart (`random(4)`).
    /// `None` where it cannot be read.
    pub fn boot_id(&self) -> Option<String> {
        let below = std::fs::read_to_string(self.join(BOOT_ID));
        let id = below.or_else(|_| std::fs::read_to_string(BOOT_ID)).ok()?;
        Some(id.trim().to_owned()).filter(|id| !id.is_empty())
    }

    /// The transport's keys and known hosts, made by `xen-handoff keys`.
    pub fn key_folder(&self) -> PathBuf {
        self.join("/etc/xen-handoff")
    }
}

impl Default for Root {
    fn default() -> Self {
        Self::new("/")
    }
}

/// An absolute path of a host that has been looked at: no `..`, no control characters, at most 4096 bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LocalPath(String);

impl LocalPath {
    /// `None` for what is no such path.
    pub fn new(path: &str) -> Option<Self> {
        let clean = path.split('/').all(|part| part != "..") && !path.chars().any(char::is_control);
        (path.starts_with('/') && path.len() <= 4096 && clean).then(|| Self(path.to_owned()))
    }

    /// The bare text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LocalPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for LocalPath {
    type Error = String;
    fn try_from(path: String) -> Result<Self, String> {
        Self::new(&path).ok_or_else(|| format!("{path:?} is no absolute path"))
    }
}

impl From<LocalPath> for String {
    fn from(path: LocalPath) -> Self {
        path.0
    }
}

/// A cluster node's name, as the cluster manager knows it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NodeName(String);

/// Why a text cannot be a node name or an address.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "{0:?} cannot be a host name or address: letters, digits, '.', '-', '_' and ':' only, not starting with '-'"
)]
pub struct NotAHost(String);

impl NodeName {
    /// Accepts what can safely be an argument of ssh and part of a file name.
    ///
    /// # Errors
    /// [`NotAHost`] for an empty text, one that starts with `-` or `.`, or one with any other character than
    /// letters, digits, `.`, `-`, `_` and `:`.
    pub fn new(name: impl Into<String>) -> Result<Self, NotAHost> {
        let name = name.into();
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
        if name.is_empty() || name.len() > 255 || name.starts_with(['-', '.']) || !name.chars().all(fits) {
            return Err(NotAHost(name));
        }
        Ok(Self(name))
    }

    /// The kernel's name of this host (`uname -n`), used where no cluster manager names it.
    pub fn of_this_host() -> Self {
        let uname = rustix::system::uname();
        Self::new(uname.nodename().to_string_lossy()).unwrap_or_else(|_| Self("localhost".to_owned()))
    }

    /// The bare text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// This node's name on a dedicated migration network: `suffix` goes before the first period of a
    /// qualified name, otherwise to the end, as `ocf:heartbeat:VirtualDomain` does it.
    ///
    /// # Errors
    /// [`NotAHost`] if the suffix has characters that no host name has.
    pub fn with_suffix(&self, suffix: &str) -> Result<Self, NotAHost> {
        match self.0.split_once('.') {
            Some((host, domain)) => Self::new(format!("{host}{suffix}.{domain}")),
            None => Self::new(format!("{}{suffix}", self.0)),
        }
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for NodeName {
    type Error = NotAHost;
    fn try_from(name: String) -> Result<Self, NotAHost> {
        Self::new(name)
    }
}

impl From<NodeName> for String {
    fn from(name: NodeName) -> Self {
        name.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_ssh_would_take_for_an_option_is_refused() {
        for bad in ["", "-oProxyCommand=x", ".hidden", "a b", "a;b", "a/b", "a@b"] {
            assert!(NodeName::new(bad).is_err(), "{bad:?} was accepted");
        }
        assert!(NodeName::new("fe80::1").is_ok());
    }

    #[test]
    fn a_path_from_elsewhere_cannot_climb_or_be_relative() {
        for bad in ["", "dev/sda", "/dev/../etc/shadow", "/dev/a\nb", "iqn.2011-01.org:x0"] {
            assert_eq!(LocalPath::new(bad), None, "{bad:?}");
        }
        assert_eq!(LocalPath::new("/dev/vg/x0").unwrap().as_str(), "/dev/vg/x0");
    }

    #[test]
    fn the_migration_suffix_goes_before_the_first_period() {
        let suffixed = |name: &str| NodeName::new(name).unwrap().with_suffix("-mig").unwrap().to_string();
        assert_eq!(suffixed("node1"), "node1-mig");
        assert_eq!(suffixed("node1.example.org"), "node1-mig.example.org");
    }

    #[test]
    fn a_root_moves_absolute_paths_below_itself() {
        assert_eq!(Root::new("/t").join("/usr/sbin/xl"), PathBuf::from("/t/usr/sbin/xl"));
        assert_eq!(Root::default().state_folder(), PathBuf::from("/run/xen-handoff"));
        assert_eq!(Root::default().for_child(), None);
    }
}
