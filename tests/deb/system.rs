//! A Debian that the packages are installed into: a clean root of a suite (`tests/deb/root`), seen through an overlay that is mounted
//! for each command alone, so that nothing is written to it and no mount is left behind; without network.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::{Ended, end, run, word};
use crate::packages::{fresh, top};
use crate::standin;

/// What `unshare` runs: mounts, and then the rest of its arguments in there.
const ENTER: &str = r#"
set -e
lower=$1 folder=$2
shift 2
mount -t overlay overlay -o "lowerdir=$lower,upperdir=$folder/upper,workdir=$folder/work" "$folder/root"
mount -t proc proc "$folder/root/proc"
exec chroot "$folder/root" "$@"
"#;

/// A clean root, made when it is first asked for, or why it cannot be made.
pub(crate) fn clean(suite: &str, kind: &str) -> Result<PathBuf, String> {
    let root = top().join("target/deb-check-roots").join(format!("{suite}-{kind}"));
    std::fs::create_dir_all(root.parent().unwrap()).map_err(|error| error.to_string())?;
    let made = run(word(&top().join("tests/deb/root")), &[suite, kind, word(&root)]);
    if made.code == 0 { Ok(root) } else { Err(format!("no clean root of {suite}: {}", made.said.trim())) }
}

/// The root folder.
#[derive(Debug)]
pub(crate) struct System {
    lower: PathBuf,
    folder: PathBuf,
}

impl System {
    /// Over this clean root, with stand-ins for what the packages' scripts could call, and systemd as it seems to them.
    pub(crate) fn over(lower: &Path, name: &str) -> Self {
        let folder = fresh(&format!("root-{name}-{}", lower.file_name().unwrap().display()));
        for part in ["upper", "work", "root", "upper/run/systemd/system", "upper/packages"] {
            std::fs::create_dir_all(folder.join(part)).unwrap();
        }
        // Where apt lets dpkg look; not in /usr/local
        standin::put(&folder.join("upper/usr/bin"));
        let system = Self { lower: lower.to_owned(), folder };
        // It would keep the stand-ins from being called.
        system.sh("rm -f /usr/sbin/policy-rc.d");
        system
    }

    fn ends(&self, args: &[&str]) -> Ended {
        let mut unshare = Command::new("unshare");
        unshare
            .args(["--mount", "--net", "sh", "-c", ENTER, "enter", word(&self.lower), word(&self.folder)])
            .args(args)
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", "/root")
            .env("LC_ALL", "C.UTF-8")
            .env("DEBIAN_FRONTEND", "noninteractive");
        end(&mut unshare)
    }

    /// Gives a shell's command in it, which must succeed, and gives what it said.
    pub(crate) fn sh(&self, command: &str) -> String {
        self.ends(&["/bin/sh", "-c", command]).text()
    }

    /// Lays a package into its `/packages`.
    pub(crate) fn bring(&self, package: &Path) {
        let name = package.file_name().unwrap();
        std::fs::copy(package, self.folder.join("upper/packages").join(name)).unwrap();
    }

    /// apt, in `/packages`; it must succeed. Gives what the packages' scripts called.
    pub(crate) fn apt(&self, command: &str) -> Vec<String> {
        // Nobody is there to answer what is to become of edited settings: what dpkg offers as its default
        let options = "-q -y -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-confdef -o APT::Sandbox::User=root \
                       --no-install-recommends";
        self.sh(&format!("cd /packages && apt-get {options} {command}"));
        standin::calls(&self.folder.join("upper/calls"))
    }

    /// Installs these packages from their files, as the README says it.
    pub(crate) fn install(&self, packages: &[&Path]) -> Vec<String> {
        packages.iter().for_each(|package| self.bring(package));
        let names = packages.iter().map(|package| package.file_name().unwrap().to_string_lossy());
        let files: Vec<String> = names.map(|name| format!("./{name}")).collect();
        self.apt(&format!("install {}", files.join(" ")))
    }

    /// True if there is something at that path, be it a dangling link.
    pub(crate) fn has(&self, path: &str) -> bool {
        self.ends(&["/bin/sh", "-c", "test -e \"$1\" || test -L \"$1\"", "has", path]).code == 0
    }

    /// Everything in it but dpkg's and apt's own records and logs.
    pub(crate) fn everything(&self) -> Vec<String> {
        let others = "/proc /dev /packages /var/lib/dpkg /var/cache /var/log /var/lib/apt /tmp";
        let prune: Vec<String> = others.split(' ').map(|path| format!("-path {path} -prune")).collect();
        let mut all: Vec<String> =
            self.sh(&format!("find / {} -o -print", prune.join(" -o "))).lines().map(str::to_owned).collect();
        all.sort();
        all
    }
}
