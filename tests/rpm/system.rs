//! A root folder that rpm installs into: a shell, and stand-ins that write down what the scriptlets call.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::{Ended, end, run, word};
use crate::packages::fresh;
use crate::standin;

/// The root folder.
#[derive(Debug)]
pub(crate) struct System {
    root: PathBuf,
}

impl System {
    /// With nothing of ours in it.
    pub(crate) fn new(name: &str) -> Self {
        let root = fresh(&format!("root-{name}"));
        for folder in ["bin", "sbin", "usr/bin", "usr/sbin", "dev", "tmp", "etc", "var/lib/rpm"] {
            std::fs::create_dir_all(root.join(folder)).unwrap();
        }
        std::fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
        for applet in ["sh", "rm", "sed"] {
            symlink("busybox", root.join("bin").join(applet)).unwrap();
        }
        std::fs::write(root.join("dev/null"), "").unwrap();
        standin::put(&root.join("usr/bin"));
        Self { root }
    }

    fn rpm_ends(&self, args: &[&str]) -> Ended {
        let mut rpm = Command::new("rpm");
        rpm.args(["--root", word(&self.root), "--define", "_dbpath /var/lib/rpm"]).args(args);
        end(&mut rpm)
    }

    /// Calls rpm, which must succeed, and gives what the scriptlets called.
    pub(crate) fn rpm(&self, args: &[&str]) -> Vec<String> {
        let ended = self.rpm_ends(args);
        assert!(ended.code == 0 && !ended.said.contains("scriptlet failed"), "{}", ended.said);
        standin::calls(&self.root.join("calls"))
    }

    /// Gives a shell's command in it, which must succeed.
    pub(crate) fn sh(&self, command: &str) {
        let mut chroot = Command::new("chroot");
        chroot
            .arg(&self.root)
            .args(["/bin/sh", "-c", command])
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        end(&mut chroot).text();
    }

    /// What `rpm -V` finds amiss.
    pub(crate) fn verify(&self) -> String {
        String::from_utf8(self.rpm_ends(&["--verify", "--nodeps", "xen-handoff"]).stdout).unwrap()
    }

    /// A path in it.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// True if there is something at that path, be it a dangling link.
    pub(crate) fn has(&self, path: &str) -> bool {
        self.root.join(path).symlink_metadata().is_ok()
    }

    /// Everything in it but rpm's own database.
    pub(crate) fn everything(&self) -> Vec<String> {
        let args = [word(&self.root), "-path", "*/var/lib/rpm", "-prune", "-o", "-printf", "%P\n"];
        let mut all = run("find", &args).lines();
        all.sort();
        all
    }
}

/// Every file of a folder, by its path from there.
pub(crate) fn files_below(folder: &Path) -> Vec<String> {
    let mut all = run("find", &[word(folder), "!", "-type", "d", "-printf", "/%P\n"]).lines();
    all.sort();
    all
}
