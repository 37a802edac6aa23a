//! `tests/need`, which every `make` target begins with, on a machine of its own: a folder of commands and an `apt-get` that
//! does what Debian's does.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and starts processes"
)]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

/// A machine with `old` (of a package of another release), whose `apt-get` is this script. The set `set` needs `old` and `new`.
fn machine(apt_get: &str) -> TempDir {
    let dir = TempDir::new().unwrap();
    let root = dir.path();
    std::fs::create_dir_all(root.join("packages")).unwrap();
    std::fs::write(root.join("packages/set"), "old old\nnew new\n").unwrap();
    std::fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/need"), root.join("need")).unwrap();
    std::fs::create_dir(root.join("bin")).unwrap();
    program(root, "old", "exit 0");
    program(root, "id", "echo 0");
    program(root, "apt-get", apt_get);
    dir
}

fn program(root: &Path, name: &str, body: &str) {
    let file = root.join("bin").join(name);
    std::fs::write(&file, format!("#!/bin/sh\n{body}\n")).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// The exit status and what was said.
fn need(root: &Path) -> (i32, String) {
    let path = format!("{}:/usr/bin:/bin", root.join("bin").display());
    let output = Command::new("/bin/sh")
        .arg(root.join("need"))
        .arg("set")
        .env("PATH", path)
        .env("POLICY_RC_D", root.join("policy"))
        .env("TMPDIR", root)
        .current_dir(root)
        .output()
        .unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_command_that_apt_removes_for_another_is_installed_again() {
    // At first `new` in place of `old`, then whatever it is asked for.
    let machine = machine(
        "if [ ! -e again ]; then touch again; cp bin/id bin/new; rm bin/old; exit; fi\n\
         for name; do case $name in old | new) cp bin/id bin/$name ;; esac; done",
    );
    let root = machine.path();
    let (code, said) = need(root);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("apt removed what has old"), "{said}");
    assert!(root.join("bin/old").exists() && root.join("bin/new").exists(), "{said}");
    assert!(!root.join("policy").exists(), "the ban on services outlives the installation");
}

#[test]
fn what_is_still_missing_is_an_error_that_names_it() {
    let machine = machine("exit 0");
    let root = machine.path();
    let (code, said) = need(root);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("installed, yet still missing: new"), "{said}");
    assert!(!said.contains("removed"), "{said}");
}
