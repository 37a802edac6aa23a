//! The packages that the stories are about, each set made once.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::command::{end, run, word};

/// What one build has made.
#[derive(Debug, Clone)]
pub(crate) struct Packages {
    pub(crate) folder: PathBuf,
    pub(crate) main: PathBuf,
    pub(crate) heartbeat: PathBuf,
    pub(crate) bench: PathBuf,
    pub(crate) load: Option<PathBuf>,
    pub(crate) debuginfo: PathBuf,
    pub(crate) source: PathBuf,
}

/// The top of the tree.
pub(crate) fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A folder for what a story makes, empty.
pub(crate) fn fresh(name: &str) -> PathBuf {
    let folder = top().join("target/rpm-check").join(name);
    if folder.exists() {
        std::fs::remove_dir_all(&folder).unwrap();
    }
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

impl Packages {
    fn of(folder: &Path) -> Option<Self> {
        let mut found = Vec::new();
        for place in ["RPMS/x86_64", "RPMS/noarch", "SRPMS"] {
            let entries = std::fs::read_dir(folder.join(place)).ok()?;
            found.extend(entries.map(|entry| entry.unwrap().path()));
        }
        let pick = |start: &str, arch: &str| {
            let fits = |path: &&PathBuf| {
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                name.strip_prefix(start).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
                    && name.ends_with(&format!(".{arch}.rpm"))
            };
            found.iter().find(fits).cloned()
        };
        Some(Self {
            folder: folder.to_owned(),
            main: pick("xen-handoff-", "x86_64")?,
            heartbeat: pick("xen-handoff-heartbeat-", "noarch")?,
            bench: pick("xen-handoff-bench-", "x86_64")?,
            load: pick("xen-handoff-load-", "x86_64"),
            debuginfo: pick("xen-handoff-debuginfo-", "x86_64")?,
            source: pick("xen-handoff-", "src")?,
        })
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<&Path> {
        let mut all: Vec<&Path> =
            vec![&self.main, &self.heartbeat, &self.bench, &self.debuginfo, &self.source];
        all.extend(self.load.as_deref());
        all
    }

    /// The files of one of them, unpacked.
    pub(crate) fn unpacked(package: &Path, name: &str) -> PathBuf {
        let folder = fresh(name);
        let archive = folder.with_extension("cpio");
        std::fs::write(&archive, run("rpm2cpio", &[word(package)]).stdout).unwrap();
        let args = ["-idm", "--quiet", "--no-absolute-filenames", "-D", word(&folder), "-F", word(&archive)];
        run("cpio", &args).text();
        folder
    }
}

/// Those of `make rpm`.
pub(crate) fn first() -> Option<&'static Packages> {
    static MADE: OnceLock<Option<Packages>> = OnceLock::new();
    MADE.get_or_init(|| Packages::of(&top().join("target/rpm"))).as_ref()
}

/// Version and release of a package.
pub(crate) fn version_and_release(package: &Path) -> (String, u32) {
    let query = ["--query", "--queryformat", "%{VERSION} %{RELEASE}", "--package", word(package)];
    let answer = run("rpm", &query).text();
    let (version, release) = answer.split_once(' ').unwrap();
    (version.to_owned(), release.parse().unwrap())
}

/// What tells rpmbuild the release that comes so many after the first.
fn release(after: u32) -> String {
    format!("release_number {}", version_and_release(&first().unwrap().main).1 + after)
}

/// The tarballs and the spec of `make rpm`, copied to where another build is to be.
fn sources_in(name: &str) -> PathBuf {
    let folder = fresh(name);
    let sources = first().unwrap().folder.join("SOURCES");
    run("cp", &["-a", word(&sources), word(&folder)]).text();
    folder
}

/// The same again, in another folder and with no network.
pub(crate) fn again() -> &'static Packages {
    static MADE: OnceLock<Packages> = OnceLock::new();
    static ONE: Mutex<()> = Mutex::new(());
    let _one_build = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    MADE.get_or_init(|| {
        let folder = sources_in("again-in-a-folder-whose-name-is-longer");
        let build = top().join("packaging/rpm/build");
        run("unshare", &["--net", word(&build), word(&folder), "--define", &release(0)]).text();
        Packages::of(&folder).unwrap()
    })
}

/// The next release, in which the packaged settings have one line more.
pub(crate) fn next() -> &'static Packages {
    static MADE: OnceLock<Packages> = OnceLock::new();
    MADE.get_or_init(|| {
        let folder = sources_in("next");
        let tarball = std::fs::read_dir(folder.join("SOURCES"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .find(|path| word(path).ends_with(".tar.gz"))
            .unwrap();
        let tree = fresh("next-tree");
        run("tar", &["-C", word(&tree), "-xzf", word(&tarball)]).text();
        let name = std::fs::read_dir(&tree).unwrap().next().unwrap().unwrap().file_name();
        let settings = tree.join(&name).join("packaging/sysconfig/xen-handoff");
        let text = std::fs::read_to_string(&settings).unwrap();
        std::fs::write(&settings, format!("{text}\n# Another line.\n")).unwrap();
        run("tar", &["-C", word(&tree), "-czf", word(&tarball), name.to_str().unwrap()]).text();
        // What has been compiled once stays: these packages are for installing, not for comparing.
        let target = format!("target_dir {}", top().join("target/rpm-check-cargo").display());
        let build = top().join("packaging/rpm/build");
        let args = [word(&folder), "--define", &release(1), "--define", &target];
        run(word(&build), &args).text();
        Packages::of(&folder).unwrap()
    })
}

/// Rebuilt from the source package by the system's own cargo and linker, as mock does: no network, no crates at hand but those
/// in the package.
pub(crate) fn plain() -> &'static Packages {
    static MADE: OnceLock<Packages> = OnceLock::new();
    MADE.get_or_init(|| {
        let folder = fresh("plain");
        let home = fresh("plain-home");
        let variable = |name: &str, below_home: &str| {
            let home = std::env::var("HOME").unwrap_or_default();
            std::env::var(name).unwrap_or_else(|_| format!("{home}/{below_home}"))
        };
        let mut build = Command::new("unshare");
        build
            .args(["--net", "rpmbuild", "--quiet", "--nodeps", "--rebuild", "--load"])
            .arg(top().join("packaging/rpm/macros.debian-el"))
            .args(["--define", &format!("_topdir {}", folder.display()), "--define", &release(0)])
            .arg(&first().unwrap().source)
            .env_clear()
            .env("PATH", std::env::var("PATH").unwrap())
            .env("HOME", &home)
            .env("CARGO_HOME", &home)
            .env("RUSTUP_HOME", variable("RUSTUP_HOME", ".rustup"));
        end(&mut build).text();
        // A rebuild makes no source package.
        run("cp", &["-a", word(&first().unwrap().folder.join("SRPMS")), word(&folder)]).text();
        Packages::of(&folder).unwrap()
    })
}
