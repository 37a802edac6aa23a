//! A root for the product's planner: a CIB that a test has, and the scheduler's tools of this machine or of a world.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use xen_handoff::host::Root;

/// Makes `folder` a root whose `cibadmin` gives this CIB and whose other tools are those of `world` (`/`: this machine).
pub(crate) fn root_of(cib: &str, folder: &Path, world: &Path) -> Root {
    let tools = folder.join("usr/sbin");
    std::fs::create_dir_all(&tools).expect("the tools' folder");
    std::fs::write(folder.join("cib.xml"), cib).expect("the CIB");
    let write = |name: &str, text: String| {
        let path = tools.join(name);
        std::fs::write(&path, text).expect("a tool");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("a tool's mode");
    };
    write("cibadmin", format!("#!/bin/sh\ncat {}/cib.xml\n", folder.display()));
    for tool in ["crm_simulate", "crm_mon"] {
        let call = if world == Path::new("/") {
            format!("exec {tool} \"$@\"")
        } else {
            let root = world.display();
            // Our files are in /tmp.
            format!(
                "exec unshare --mount sh -c 'mount --bind /tmp {root}/tmp && exec chroot {root} {tool} \"$@\"' {tool} \"$@\""
            )
        };
        write(tool, format!("#!/bin/sh\nPATH=/usr/sbin:/usr/bin:/sbin:/bin\n{call}\n"));
    }
    Root::new(folder)
}
