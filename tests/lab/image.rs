//! The nodes' disk image, one for each suite, and the kernel of the guest on it: built once by `image/build.sh` and `image/kernel.sh`, kept
//! in the cache under keys of all that went into them.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::layers::{self, Cache};
use crate::process;
use crate::wait::step;

/// A built image: a directory, see the head of `image/build.sh` for what is in it.
#[derive(Debug, Clone)]
pub(crate) struct Image {
    /// Where it is.
    pub(crate) dir: PathBuf,
    /// What it is made of, as a hash.
    pub(crate) key: String,
}

impl Image {
    /// The file of that name in the image.
    pub(crate) fn file(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }
}

/// The image of that suite, built now if the cache has none of this key.
pub(crate) fn ensure(cache: &Cache, suite: &str) -> Result<Image> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lab/image");
    let kernel = kernel(cache, &sources)?.join("vmlinuz");
    let key = key(&sources, suite)?;
    let dir = cache.ensure(&format!("image-{suite}"), &key, |dir| {
        let what = format!("building the image of {suite} (some two minutes, kept for later runs)");
        step(what, || build("build.sh", &sources, dir, &[suite.as_ref(), kernel.as_os_str()]))
    })?;
    Ok(Image { dir, key })
}

/// What the guest's kernel is made of, beside what `image/kernel.sh` fetches.
const KERNEL: [&str; 3] = ["guest.config", "kernel.sh", "sources.sh"];

/// The directory with the guest's kernel.
fn kernel(cache: &Cache, sources: &Path) -> Result<PathBuf> {
    let mut text = Vec::new();
    for file in KERNEL {
        text.extend(std::fs::read(sources.join(file)).with_context(|| format!("reading {file}"))?);
    }
    cache.ensure("kernel", &layers::hash(&text)?, |dir| {
        step("building the guest's kernel (some three minutes, kept for later runs)", || {
            build("kernel.sh", sources, dir, &[])
        })
    })
}

/// Runs one of the build scripts, which makes what it is for in `dir`.
fn build(script: &str, sources: &Path, dir: &Path, more: &[&OsStr]) -> Result<()> {
    let log = dir.join("build.log");
    // The builder's progress goes to the person and to the log.
    let status = Command::new("bash")
        .args(["-o", "pipefail", "-c", r#"log=$1; shift; "$@" 2>&1 | tee "$log" >&2"#, "build"])
        .arg(&log)
        .arg(sources.join(script))
        .arg(dir)
        .args(more)
        .stdin(std::process::Stdio::null())
        .status()
        .with_context(|| format!("starting {script}"))?;
    if !status.success() {
        bail!("{script} failed ({status}); {}", process::tail(&log, 20));
    }
    Ok(())
}

/// A hash over the build's files, the suite, and the versions that Debian offers of the packages that matter. This machine knows those of
/// its own suite only; an image of another one is kept as it is until its files change or the cache is removed.
fn key(sources: &Path, suite: &str) -> Result<String> {
    let mut files = Vec::new();
    walk(sources, &mut files)?;
    files.sort();
    let mut text = Vec::new();
    for file in files {
        text.extend(file.strip_prefix(sources).unwrap_or(&file).as_os_str().as_encoded_bytes());
        text.extend(std::fs::read(&file).with_context(|| format!("reading {}", file.display()))?);
    }
    text.extend(suite.bytes());
    let release = std::fs::read_to_string("/etc/os-release")?;
    if release.lines().any(|line| line == format!("VERSION_CODENAME={suite}")) {
        text.extend(candidates(&sources.join("packages"))?.into_bytes());
    }
    layers::hash(&text)
}

fn walk(dir: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(dir).with_context(|| format!("reading {}", dir.display()))? {
        let path = entry?.path();
        if path.is_dir() { walk(&path, files)? } else { files.push(path) }
    }
    Ok(())
}

/// The candidate versions of the packages marked `# key`. Where this machine has no package lists, that is nothing,
/// and the image is kept as it is.
fn candidates(packages: &Path) -> Result<String> {
    let list = std::fs::read_to_string(packages)?;
    let names: Vec<&str> = list
        .lines()
        .filter_map(|line| line.split_once('#'))
        .filter(|(_, mark)| mark.trim() == "key")
        .map(|(name, _)| name.trim())
        .collect();
    let policy =
        process::run("apt-cache", &[&["policy"], names.as_slice()].concat(), Duration::from_secs(30))?;
    Ok(policy.lines().filter(|line| !line.starts_with(' ') || line.contains("Candidate:")).collect())
}
