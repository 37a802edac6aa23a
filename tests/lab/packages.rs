//! The packages that the nodes get: Debian's of this tree; for a rolling upgrade the RPMs of this tree and of an older build.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::agent::Manager;
use crate::layers;
use crate::node::Node;
use crate::process;
use crate::wait::step;

/// How long a build from nothing may take on a busy machine, the linker's installation included.
const BUILD: Duration = Duration::from_secs(3600);

/// Where a node keeps them until they are installed.
const ON_THE_NODE: &str = "/root/packages";

/// Which build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Build {
    /// Of this tree, Debian's.
    Current,
    /// Of this tree, the RPMs.
    Rpm,
    /// The RPMs of an older commit (`RPM_PREVIOUS` in the Makefile).
    Previous,
}

impl Build {
    /// What `make` makes it by.
    fn target(self) -> &'static str {
        match self {
            Self::Current => "deb",
            Self::Rpm => "rpm-packages",
            Self::Previous => "rpm-previous",
        }
    }

    fn folder(self) -> PathBuf {
        top().join(match self {
            Self::Current => "target/deb",
            Self::Rpm => "target/rpm",
            Self::Previous => "target/rpm-previous",
        })
    }

    /// The file of one of its packages.
    fn file(self, name: &str) -> Result<PathBuf> {
        let everywhere = name.ends_with("-heartbeat");
        match (self, everywhere) {
            (Self::Current, true) => find(self, "", &format!("{name}_"), "_all.deb"),
            (Self::Current, false) => find(self, "", &format!("{name}_"), "_amd64.deb"),
            (Self::Rpm | Self::Previous, true) => find(self, "RPMS/noarch", &format!("{name}-"), ".rpm"),
            (Self::Rpm | Self::Previous, false) => find(self, "RPMS/x86_64", &format!("{name}-"), ".rpm"),
        }
    }
}

/// The packages of a build that a node needs.
#[derive(Debug, Clone)]
pub(crate) struct Packages {
    build: Build,
    files: Vec<PathBuf>,
}

impl Packages {
    /// Those that this cluster manager needs.
    pub(crate) fn of(build: Build, manager: Manager) -> Result<Self> {
        let mut files = vec![build.file("xen-handoff")?];
        if manager == Manager::Heartbeat {
            files.push(build.file("xen-handoff-heartbeat")?);
        }
        Ok(Self { build, files })
    }

    /// The same for the same bytes.
    pub(crate) fn key(&self) -> Result<String> {
        let mut all = Vec::new();
        for file in &self.files {
            all.extend(std::fs::read(file)?);
        }
        layers::hash(&all)
    }

    /// Has them installed on a node, whatever version was there: by apt, as an operator would; RPMs by a Debian's rpm, which knows no
    /// package that they depend on.
    pub(crate) fn install(&self, node: &Node) -> Result<String> {
        node.ok(&format!("rm -rf {ON_THE_NODE}"))?;
        for file in &self.files {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            node.put(&format!("{ON_THE_NODE}/{name}"), &std::fs::read(file)?, "644", "root")?;
        }
        node.ok(&match self.build {
            Build::Current => format!(
                "DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Dpkg::Use-Pty=0 --no-install-recommends --reinstall \
                 --allow-downgrades install {ON_THE_NODE}/*.deb 2>&1"
            ),
            Build::Rpm | Build::Previous => {
                // Bookworm's rpm refuses a Debian unless it is forced, trixie's does not know that word.
                let force = "$(rpm --force-debian --version >/dev/null 2>&1 && echo --force-debian)";
                format!("rpm -Uvh --nodeps --oldpackage {force} {ON_THE_NODE}/*.rpm 2>&1")
            }
        })
    }
}

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn find(build: Build, below: &str, start: &str, end: &str) -> Result<PathBuf> {
    let folder = build.folder().join(below);
    let what = || format!("no {start}* in {}: make {}", folder.display(), build.target());
    let entries = std::fs::read_dir(&folder).with_context(what)?;
    let paths: Vec<PathBuf> =
        entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>().with_context(what)?;
    let fits = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let rest = name.strip_suffix(end).and_then(|name| name.strip_prefix(start));
        rest.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    paths.into_iter().find(fits).with_context(what)
}

/// The bench as its package brings it, for the tester's own place.
pub(crate) fn bench() -> PathBuf {
    top().join("target/lab/stage/usr/bin/xen-handoff-bench")
}

/// Makes the packages of a build where something in them has changed.
pub(crate) fn make(build: Build) -> Result<()> {
    let mut make = Command::new("make");
    make.arg("-C").arg(top()).arg(build.target());
    // Cargo's variables are about this test; a build that saw them would think that everything had changed.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CARGO_") && name != "CARGO_HOME" {
            make.env_remove(&name);
        }
    }
    step(format_args!("make {}", build.target()), || {
        let output = process::start(make, None)?.finish(BUILD)?;
        if !output.status.success() {
            bail!("make {}: {}{}", build.target(), output.stdout, output.stderr);
        }
        Ok(())
    })
}

/// Unpacks the packages of this tree for the tester's own place: the agent, and [`bench`].
pub(crate) fn stage() -> Result<()> {
    let folder = top().join("target/lab/stage");
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(&folder)?;
    let folder = folder.display().to_string();
    for name in ["xen-handoff", "xen-handoff-bench"] {
        let package = Build::Current.file(name)?.display().to_string();
        process::run("dpkg-deb", &["--extract", &package, &folder], Duration::from_secs(60))?;
    }
    Ok(())
}
