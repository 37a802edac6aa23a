//! Stand-ins for whatever a package's scripts could reach for: they write down how they were called.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const WRITTEN_DOWN: [&str; 9] = [
    "systemctl",
    "systemd-tmpfiles",
    "service",
    "chkconfig",
    "pcs",
    "crm_resource",
    "pkill",
    "killall",
    "restorecon",
];

/// Puts them into this folder; they write to `/calls` of the root folder that they are called in.
pub(crate) fn put(folder: &Path) {
    std::fs::create_dir_all(folder).unwrap();
    for tool in WRITTEN_DOWN {
        let path = folder.join(tool);
        std::fs::write(&path, format!("#!/bin/sh\necho \"{tool} $*\" >>/calls\n")).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
}

/// What they were called with since they were last asked. `calls` is that file, seen from outside.
pub(crate) fn calls(calls: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(calls).unwrap_or_default();
    let _ = std::fs::remove_file(calls);
    text.lines().map(str::to_owned).collect()
}
