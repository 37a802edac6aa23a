//! The packages that the stories are about, each set made once.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::command::{run, word};

/// What one build has made.
#[derive(Debug, Clone)]
pub(crate) struct Packages {
    pub(crate) folder: PathBuf,
    pub(crate) main: PathBuf,
    pub(crate) heartbeat: PathBuf,
    pub(crate) bench: PathBuf,
    pub(crate) load: PathBuf,
    pub(crate) debug: PathBuf,
}

/// The top of the tree.
pub(crate) fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A folder for what a story makes, empty.
pub(crate) fn fresh(name: &str) -> PathBuf {
    let folder = top().join("target/deb-check").join(name);
    if folder.exists() {
        std::fs::remove_dir_all(&folder).unwrap();
    }
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

impl Packages {
    pub(crate) fn of(folder: &Path) -> Option<Self> {
        let entries = std::fs::read_dir(folder).ok()?;
        let found: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        let pick = |start: &str, end: &str| {
            let fits = |path: &&PathBuf| {
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                name.starts_with(&format!("{start}_")) && name.ends_with(end)
            };
            found.iter().find(fits).cloned()
        };
        Some(Self {
            folder: folder.to_owned(),
            main: pick("xen-handoff", "_amd64.deb")?,
            heartbeat: pick("xen-handoff-heartbeat", "_all.deb")?,
            bench: pick("xen-handoff-bench", "_amd64.deb")?,
            load: pick("xen-handoff-load", "_amd64.deb")?,
            debug: pick("xen-handoff-dbgsym", "_amd64.deb")?,
        })
    }

    /// Those that are installed.
    pub(crate) fn installed(&self) -> [&Path; 4] {
        [&self.main, &self.heartbeat, &self.bench, &self.load]
    }

    /// Everything that a build makes and that says nothing of the build itself.
    pub(crate) fn all(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(&self.folder).unwrap();
        let made = |path: &PathBuf| {
            [".deb", ".dsc", ".tar.gz", ".tar.xz"].iter().any(|end| word(path).ends_with(end))
        };
        let mut all: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).filter(made).collect();
        all.sort();
        all
    }

    /// The files of one of them, unpacked.
    pub(crate) fn unpacked(package: &Path, name: &str) -> PathBuf {
        let folder = fresh(name);
        run("dpkg-deb", &["--extract", word(package), word(&folder)]).text();
        folder
    }
}

/// A field of a package.
pub(crate) fn field(package: &Path, name: &str) -> String {
    run("dpkg-deb", &["--field", word(package), name]).text().trim().to_owned()
}

/// Those of `make deb`.
pub(crate) fn first() -> Option<&'static Packages> {
    static MADE: OnceLock<Option<Packages>> = OnceLock::new();
    MADE.get_or_init(|| Packages::of(&top().join("target/deb"))).as_ref()
}

/// Release 0 of the main package: the same, with a line less in the settings. What dpkg does at an upgrade depends on version,
/// settings and scripts only, so it is packed anew and not built.
pub(crate) fn older() -> &'static Path {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| {
        let (folder, main) = (fresh("older"), &first().unwrap().main);
        let tree = folder.join("tree");
        run("dpkg-deb", &["--raw-extract", word(main), word(&tree)]).text();
        let change = |path: &str, how: &dyn Fn(&str) -> String| {
            let text = std::fs::read_to_string(tree.join(path)).unwrap();
            let changed = how(&text);
            assert_ne!(text, changed, "{path}");
            std::fs::write(tree.join(path), changed).unwrap();
        };
        let version = field(main, "Version");
        let (upstream, _) = version.rsplit_once('-').unwrap();
        change("DEBIAN/control", &|text| {
            text.replace(&format!("Version: {version}"), &format!("Version: {upstream}-0"))
        });
        change("etc/default/xen-handoff", &|text| text.lines().skip(1).collect::<Vec<_>>().join("\n") + "\n");
        let package = folder.join("xen-handoff.deb");
        run("dpkg-deb", &["--build", word(&tree), word(&package)]).text();
        package
    })
}

/// The same again, in another folder and with no network.
pub(crate) fn again() -> &'static Packages {
    static MADE: OnceLock<Packages> = OnceLock::new();
    static ONE: Mutex<()> = Mutex::new(());
    let _one_build = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    MADE.get_or_init(|| {
        let folder = fresh("again-in-a-folder-whose-name-is-longer");
        run("cp", &["-a", word(&first().unwrap().folder.join("SOURCES")), word(&folder)]).text();
        let version = field(&first().unwrap().main, "Version");
        let (_, release) = version.rsplit_once('-').unwrap();
        let build = top().join("packaging/deb/build");
        run("unshare", &["--net", word(&build), word(&folder), release]).text();
        Packages::of(&folder).unwrap()
    })
}
