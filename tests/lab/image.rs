//! The nodes' disk image, one for each suite: built once by `image/build.sh`, kept in the cache under a key of all that went into it.

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
    let key = key(&sources, suite)?;
    let dir = cache.ensure(&format!("image-{suite}"), &key, |dir| {
        let what = format!("building the image of {suite} (some two minutes, kept for later runs)");
        step(what, || build(&sources, dir, suite))
    })?;
    Ok(Image { dir, key })
}

fn build(sources: &Path, dir: &Path, suite: &str) -> Result<()> {
    let log = dir.join("build.log");
    // The builder's progress goes to the person and to the log.
    let status = Command::new("bash")
        .args(["-o", "pipefail", "-c", r#""$1" "$2" "$3" 2>&1 | tee "$4" >&2"#, "build"])
        .arg(sources.join("build.sh"))
        .args([dir.as_os_str(), suite.as_ref(), log.as_os_str()])
        .stdin(std::process::Stdio::null())
        .status()
        .context("starting the image's build script")?;
    if !status.success() {
        bail!("building the image failed ({status}); {}", process::tail(&log, 20));
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
