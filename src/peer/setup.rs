//! How this node is set up, for `xen-handoff check`, here and on another node. Changes nothing.

use std::collections::BTreeMap;
use std::io::{Seek, SeekFrom};
use std::os::linux::fs::MetadataExt as _;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::FsWord;

use crate::cluster::ClusterError;
use crate::command::{self, Tool};
use crate::here::Here;
use crate::host::{LocalPath, NodeName, Root};
use crate::moves::journal;
use crate::preflight::FileDigest;
use crate::preflight::facts::compare;
use crate::preflight::setup::{Disk, KeyState, Seen, Setup};
use crate::small_file;
use crate::wire::authorized::{AUTHORIZED_KEYS, As, HOST_KEY, LARGEST, key_behind, lets_in, public_key};
use crate::wire::ssh::{FAR_COMMAND, KEY, KNOWN_HOSTS, NO_KEY, is_own_key};

/// Limit of a question to systemd or the toolstack.
const LIMIT: Duration = Duration::from_secs(15);
/// Limit of the question to the cluster's scheduler.
const PLAN_LIMIT: Duration = Duration::from_secs(30);
/// The service that holds a host's shutdown.
pub const GUARD: &str = "xen-handoff-guard.service";

/// Looks at this node.
pub fn gather(here: &Here) -> Setup {
    let root = &here.root;
    let planner = match here.cluster().check_planner(PLAN_LIMIT) {
        Ok(()) => Some(Ok(())),
        Err(ClusterError::NotRunning) => None,
        Err(error) => Some(Err(error.to_string())),
    };
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate, and not below zero")]
    let mib_per_second = journal::measured_rate(root).map(|rate| rate.max(1.0) as u64);
    Setup {
        version: crate::VERSION.to_owned(),
        key: key_state(root),
        host_key: words_of(&root.join(HOST_KEY)).and_then(|words| public_key(&words)),
        known_hosts: known_hosts(root),
        guard: service(root, GUARD),
        xen: here
            .toolstack()
            .host_info(LIMIT)
            .map(|info| info.xen.to_string())
            .map_err(|error| error.to_string()),
        planner,
        mib_per_second,
    }
}

/// Looks at these files and disks of this node.
pub fn look(root: &Root, files: &[FileDigest], disks: &[LocalPath]) -> Seen {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Seen {
        clock_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
        files: files.iter().map(|file| compare(root, file)).collect(),
        disks: disks.iter().map(|path| disk(root, path).map_err(|error| error.to_string())).collect(),
    }
}

fn words_of(path: &Path) -> Option<String> {
    Some(String::from_utf8_lossy(&small_file::read(path, LARGEST).ok()?).into_owned())
}

fn key_state(root: &Root) -> KeyState {
    let folder = root.key_folder();
    let (private, public_path) = (folder.join(KEY), folder.join(format!("{KEY}.pub")));
    let mut troubles = Vec::new();
    for (path, most) in [(&folder, 0o755), (&private, 0o600)] {
        let shown = path.display();
        match std::fs::metadata(path) {
            Err(error) => {
                troubles.push((format!("{shown}: {error}"), NO_KEY.to_owned()));
            }
            Ok(metadata) => {
                let mode = metadata.permissions().mode() & 0o777;
                if mode & !most & 0o077 != 0 {
                    let found = format!("{shown} has mode {mode:04o}: others can get at the key");
                    troubles.push((found, format!("chmod {most:04o} {shown}")));
                }
                if metadata.st_uid() != rustix::process::geteuid().as_raw() {
                    let found = format!("{shown} belongs to another user, and ssh does not use it");
                    troubles.push((found, format!("chown root: {shown}")));
                }
            }
        }
    }
    let public_text = words_of(&public_path).unwrap_or_default();
    let public = public_key(&public_text);
    if public.is_none() && private.is_file() {
        let found = format!("{} is missing or empty", public_path.display());
        troubles.push((found, format!("ssh-keygen -y -f {} > {}", private.display(), public_path.display())));
    }
    let accepted = words_of(&root.join(AUTHORIZED_KEYS)).unwrap_or_default();
    let is_accepted = public.as_ref().is_some_and(|public| {
        let lets_in = |line: &str| line.contains(public.as_str()) && line.contains(FAR_COMMAND);
        accepted.lines().any(|line| !line.trim_start().starts_with('#') && lets_in(line))
    });
    let (mut accepts, mut shared_lines) = (BTreeMap::<NodeName, Vec<String>>::new(), 0);
    for (whose, rest) in accepted.lines().filter_map(lets_in) {
        match whose {
            As::Node(node) => accepts.entry(node).or_default().extend(key_behind(rest)),
            As::Any => shared_lines += 1,
        }
    }
    KeyState {
        public: public.filter(|_| private.is_file()),
        troubles,
        is_accepted,
        is_own: is_own_key(&public_text),
        accepts,
        shared_lines,
    }
}

fn known_hosts(root: &Root) -> BTreeMap<NodeName, Vec<String>> {
    let text = words_of(&root.key_folder().join(KNOWN_HOSTS)).unwrap_or_default();
    let mut known: BTreeMap<NodeName, Vec<String>> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with(['#', '@', '|'])) {
        let Some((names, key)) = line.trim().split_once(char::is_whitespace) else { continue };
        let Some(key) = public_key(key) else { continue };
        for name in names.split(',').filter_map(|name| NodeName::new(name).ok()) {
            known.entry(name).or_default().push(key.clone());
        }
    }
    known
}

/// What systemd says of a service: whether it runs, and whether it will after a boot.
///
/// # Errors
/// Why it does not say.
pub(super) fn service(root: &Root, unit: &str) -> Result<(String, String), String> {
    let systemctl =
        Tool::find(root, "systemctl").map_err(|_| "there is no systemd on this host".to_owned())?;
    let word = |question: &str| {
        // Its exit status says the same again.
        let said =
            command::run(&systemctl, &[question, unit], None, LIMIT).map_err(|error| error.to_string())?;
        let word = said.stdout.trim().to_owned();
        if word.is_empty() { Err(format!("systemctl {question}: {}", said.stderr.trim())) } else { Ok(word) }
    };
    // An enablement that is not known says nothing against a guard that runs.
    Ok((word("is-active")?, word("is-enabled").unwrap_or_else(|_| "unknown".to_owned())))
}

/// File systems of several hosts, by the magic of `statfs(2)`: NFS, OCFS2, GFS2, Ceph, SMB, SMB2, Lustre,
/// AFS.
const SHARED: [FsWord; 8] =
    [0x6969, 0x7461_636f, 0x0116_1970, 0x00c3_6400, 0xff53_4d42, 0xfe53_4d42, 0x0bd0_0bd0, 0x5346_414f];
/// File systems behind a process of their own (FUSE): it may be of several hosts.
const FUSE: FsWord = 0x6573_5546;

/// The major number of DRBD's devices.
const DRBD: u32 = 147;

fn disk(root: &Root, path: &LocalPath) -> std::io::Result<Disk> {
    let mut file = small_file::open_plain(&root.join(path.as_str()))?;
    let metadata = file.metadata()?;
    let bytes = file.seek(SeekFrom::End(0))?;
    if metadata.file_type().is_block_device() {
        let (major, minor) = (rustix::fs::major(metadata.st_rdev()), rustix::fs::minor(metadata.st_rdev()));
        return Ok(Disk { bytes, mark: mark_of(root, major, minor), is_on_shared_files: None });
    }
    let kind = rustix::fs::fstatfs(&file)?.f_type;
    let is_on_shared_files = if kind == FUSE { None } else { Some(SHARED.contains(&kind)) };
    Ok(Disk { bytes, mark: None, is_on_shared_files })
}

/// What the kernel says of a block device that is the same on all hosts that have it.
fn mark_of(root: &Root, major: u32, minor: u32) -> Option<String> {
    let device = root.join(&format!("/sys/dev/block/{major}:{minor}"));
    let read = |name: &str| {
        let text = std::fs::read_to_string(device.join(name)).ok()?;
        Some(text.trim().to_owned()).filter(|text| !text.is_empty())
    };
    if major == DRBD {
        return Some("DRBD".to_owned());
    }
    // A partition: its disk's, and its number.
    if let Some(number) = read("partition") {
        let of_disk = ["../wwid", "../device/wwid", "../dm/uuid"].iter().find_map(|name| read(name))?;
        return Some(format!("{of_disk} part {number}"));
    }
    let rbd = || Some(format!("rbd {}/{}", read("device/pool")?, read("device/name")?));
    ["dm/uuid", "wwid", "device/wwid", "md/uuid"].iter().find_map(|name| read(name)).or_else(rbd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_others_can_read_or_that_is_half_there_is_named_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path());
        let state = key_state(&root);
        assert!(
            state.public.is_none()
                && state.troubles.iter().any(|(_, advice)| advice.contains("xen-handoff keys makes it"))
        );
        std::fs::create_dir_all(root.key_folder()).unwrap();
        let mode = |name: &str, mode| {
            std::fs::set_permissions(root.key_folder().join(name), std::fs::Permissions::from_mode(mode))
                .unwrap();
        };
        std::fs::write(root.key_folder().join(KEY), "private").unwrap();
        mode("", 0o700);
        mode(KEY, 0o640);
        let troubles = key_state(&root).troubles;
        assert!(
            troubles[0].0.contains("mode 0640") && troubles[0].1.starts_with("chmod 0600"),
            "{troubles:?}"
        );
        assert!(troubles[1].1.starts_with("ssh-keygen -y"), "{troubles:?}");
        mode(KEY, 0o600);
        std::fs::write(root.key_folder().join(format!("{KEY}.pub")), "ssh-ed25519 AAAA a comment\n").unwrap();
        let whole = key_state(&root);
        assert_eq!((whole.public.as_deref(), whole.troubles.len()), (Some("ssh-ed25519 AAAA"), 0));
        assert!(!whole.is_accepted);
        std::fs::create_dir_all(root.join("/root/.ssh")).unwrap();
        let line = |text: &str| std::fs::write(root.join(AUTHORIZED_KEYS), text).unwrap();
        line("# restrict,command=\"/usr/sbin/xen-handoff serve\" ssh-ed25519 AAAA\n");
        assert!(!key_state(&root).is_accepted, "a comment lets nobody in");
        line("restrict,command=\"/usr/sbin/xen-handoff serve\" ssh-ed25519 AAAA x\n");
        assert!(key_state(&root).is_accepted);
        assert_eq!((key_state(&root).shared_lines, key_state(&root).is_own), (1, false));
        std::fs::write(root.key_folder().join(format!("{KEY}.pub")), "ssh-ed25519 AAAA xen-handoff n1\n")
            .unwrap();
        line(
            "restrict,from=\"10.0.0.2\",command=\"/usr/sbin/xen-handoff serve --peer n2\" ssh-ed25519 BBBB xen-handoff n2\n",
        );
        let own = key_state(&root);
        assert_eq!((own.shared_lines, own.is_own), (0, true));
        assert_eq!(own.accepts[&NodeName::new("n2").unwrap()], ["ssh-ed25519 BBBB"]);
    }

    #[test]
    fn a_disk_says_its_size_and_whether_other_hosts_can_have_it() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path());
        std::fs::write(folder.path().join("x0"), "12345").unwrap();
        let here = disk(&root, &LocalPath::new("/x0").unwrap()).unwrap();
        assert_eq!((here.bytes, here.mark), (5, None));
        let sys = root.join("/sys/dev/block/253:3/dm");
        std::fs::create_dir_all(&sys).unwrap();
        std::fs::write(sys.join("uuid"), "LVM-abc\n").unwrap();
        assert_eq!(mark_of(&root, 253, 3).as_deref(), Some("LVM-abc"));
        assert_eq!(mark_of(&root, 8, 1), None);
        assert_eq!(mark_of(&root, DRBD, 1).as_deref(), Some("DRBD"));
    }
}
