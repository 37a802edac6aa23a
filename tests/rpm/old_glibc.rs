//! A run on the oldest glibc that can be had: 2.31, of Debian 11, unpacked into a folder and entered by chroot. Nothing older is
//! in the archives that apt reaches; that EL 7's own 2.17 suffices is shown by the symbols, not by a run.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::Story;
use crate::command::{end, run, word};
use crate::packages::{Packages, first, fresh, plain, top};

pub(crate) fn stories(unasked: bool) -> Vec<Story> {
    let missing = if unasked { None } else { libraries().err() };
    vec![
        Story::new("it_runs_on_glibc_2_31_where_a_plain_build_does_not", it_runs_on_an_old_glibc)
            .unless(missing),
    ]
}

/// Debian 11's libraries, from the archive that this machine installs from. Kept.
fn libraries() -> Result<PathBuf, String> {
    let kept = top().join("target/rpm-check-glibc");
    if kept.join("complete").exists() {
        return Ok(kept);
    }
    for folder in ["lists/partial", "cache/archives/partial"] {
        std::fs::create_dir_all(kept.join(folder)).map_err(|error| error.to_string())?;
    }
    let archives = run("apt-get", &["indextargets", "--format", "$(REPO_URI)"]);
    let archive = String::from_utf8_lossy(&archives.stdout).lines().next().map(str::to_owned);
    let archive = archive.ok_or("no archive is configured for apt")?;
    let list = kept.join("sources.list");
    std::fs::write(&list, format!("deb [trusted=yes] {archive} bullseye main\n"))
        .map_err(|error| error.to_string())?;
    let options = [
        format!("Dir::Etc::sourcelist={}", list.display()),
        "Dir::Etc::sourceparts=-".to_owned(),
        format!("Dir::State::lists={}/lists", kept.display()),
        format!("Dir::Cache={}/cache", kept.display()),
    ];
    let apt = |args: &[&str]| {
        let mut apt = std::process::Command::new("apt-get");
        options.iter().for_each(|option| {
            apt.args(["-o", option]);
        });
        let ended = end(apt.arg("--quiet").args(args).current_dir(&kept));
        if ended.code == 0 { Ok(()) } else { Err(format!("Debian 11 is not reached: {}", ended.said.trim())) }
    };
    apt(&["update"])?;
    apt(&["download", "libc6/bullseye", "libgcc-s1/bullseye"])?;
    std::fs::write(kept.join("complete"), "").map_err(|error| error.to_string())?;
    Ok(kept)
}

/// A root folder with that glibc, a shell, a toolstack without domains, and the executable of this package.
fn system_with(package: &Path, name: &str) -> PathBuf {
    let root = fresh(&format!("glibc-{name}"));
    for entry in std::fs::read_dir(libraries().unwrap()).unwrap() {
        let path = entry.unwrap().path();
        if word(&path).ends_with(".deb") {
            run("dpkg-deb", &["--extract", word(&path), word(&root)]).text();
        }
    }
    for folder in ["bin", "usr/sbin", "dev", "tmp", "etc/xen"] {
        std::fs::create_dir_all(root.join(folder)).unwrap();
    }
    std::fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
    symlink("busybox", root.join("bin/sh")).unwrap();
    std::fs::write(root.join("dev/null"), "").unwrap();
    std::fs::write(root.join("etc/xen/x0.cfg"), "name = \"x0\"\n").unwrap();
    let xl = "#!/bin/sh\necho 'Name ID Mem VCPUs State Time(s)'\necho 'Domain-0 0 512 1 r----- 1.0'\n";
    std::fs::write(root.join("usr/sbin/xl"), xl).unwrap();
    std::fs::set_permissions(root.join("usr/sbin/xl"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let files = Packages::unpacked(package, &format!("glibc-{name}-files"));
    std::fs::copy(files.join("usr/sbin/xen-handoff"), root.join("usr/sbin/xen-handoff")).unwrap();
    root
}

fn it_runs_on_an_old_glibc() {
    let root = system_with(&first().unwrap().main, "ours");
    let run_in = |root: &Path, args: &[&str]| {
        let mut chroot = std::process::Command::new("chroot");
        chroot.arg(root).arg("/usr/sbin/xen-handoff").args(args);
        end(chroot
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin")
            .env("OCF_RESKEY_name", "x0")
            .env("OCF_RESKEY_xmfile", "/etc/xen/x0.cfg"))
    };
    let expected = std::fs::read_to_string(top().join("ocf/Xen.xml")).unwrap();
    assert_eq!(run_in(&root, &["agent", "meta-data"]).text(), expected);
    let status: serde_json::Value =
        serde_json::from_str(&run_in(&root, &["status", "--json"]).text()).unwrap();
    assert_eq!(status["nodes"][0]["domains"], serde_json::json!([]), "{status}");
    let monitor = run_in(&root, &["agent", "monitor"]);
    assert_eq!(monitor.code, 7, "{}", monitor.said);

    let root = system_with(&plain().main, "plain");
    let refused = run_in(&root, &["agent", "meta-data"]);
    assert!(refused.code != 0 && refused.said.contains("' not found"), "{}", refused.said);
}
