//! The world that the nodes are of: this machine's own Corosync and Pacemaker, or those of a Debian suite.
//!
//! `XEN_HANDOFF_WORLD=trixie` names a suite; `tests/worlds/root` makes its root once and says where it is. Every node's
//! overlay then lies over that root instead of `/`. What the tests bring along (the keeper, the stand-in) was built against
//! this machine's libraries, so these go with it (`tests/worlds/portable`); the agent under test does without.

use crate::spawn::{command, run};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Where a node finds what the tests bring along.
pub(crate) const BROUGHT: &str = "/keeper.d";
const VARIABLE: &str = "XEN_HANDOFF_WORLD";
/// What the tests call outside the nodes.
const OUTSIDE: [&str; 6] = ["unshare", "nsenter", "ip", "install", "ssh-keygen", "patchelf"];

/// A root with a cluster manager in it.
#[derive(Debug)]
pub(crate) struct World {
    /// The lower folder of every node.
    pub(crate) root: PathBuf,
    /// The suite; `None` is this machine itself.
    suite: Option<String>,
}

/// The world of this run. `Err` says why there is none.
pub(crate) fn find() -> Result<&'static World, String> {
    static FOUND: OnceLock<Result<World, String>> = OnceLock::new();
    FOUND.get_or_init(find_now).as_ref().map_err(Clone::clone)
}

/// The same, once [`find`] has found it.
pub(crate) fn world() -> &'static World {
    find().unwrap_or_else(|why| panic!("{why}"))
}

fn find_now() -> Result<World, String> {
    let suite = std::env::var(VARIABLE).ok().filter(|suite| !suite.is_empty());
    let Some(suite) = suite else { return Ok(World { root: "/".into(), suite: None }) };
    let said = run(command(script("root")).arg(&suite));
    let root = PathBuf::from(said.stdout.trim_end());
    if said.ok() && root.is_absolute() {
        Ok(World { root, suite: Some(suite) })
    } else {
        Err(format!("no root of {suite} (status {}): {}", said.status, said.stderr))
    }
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/worlds").join(name)
}

impl World {
    pub(crate) fn is_this_machine(&self) -> bool {
        self.suite.is_none()
    }

    /// Whether a node has a program.
    pub(crate) fn has(&self, program: &str) -> bool {
        let folders = ["usr/sbin", "usr/bin", "sbin", "bin"];
        folders.iter().any(|folder| self.root.join(folder).join(program).exists())
    }

    /// The commands of `tests/packages/check` that are not there, in the nodes or for the tests themselves.
    pub(crate) fn missing(&self) -> Vec<&'static str> {
        let needed = include_str!("../packages/check").lines().filter(|line| !line.starts_with('#'));
        let inside = needed.filter_map(|line| line.split_whitespace().next()).filter(|p| !self.has(p));
        let here = Path::new("/");
        let machine = World { root: here.into(), suite: None };
        let outside = OUTSIDE.into_iter().filter(|p| !self.is_this_machine() && !machine.has(p));
        inside.chain(outside).collect()
    }

    /// Puts a program of this machine into `folder`, which a node sees as [`BROUGHT`], so that it runs there.
    pub(crate) fn bring(&self, program: &Path, name: &str, folder: &Path) -> PathBuf {
        let into = folder.join(name);
        if self.is_this_machine() {
            crate::spawn::copy_executable(program, &into);
        } else {
            crate::spawn::must(command(script("portable")).arg(program).arg(&into).arg(BROUGHT));
        }
        into
    }

    /// Pacemaker's version, `3.0.0`.
    pub(crate) fn pacemaker(&self) -> String {
        let said = run(command("chroot").arg(&self.root).args(["pacemakerd", "--version"]));
        let version = said.stdout.split_whitespace().nth(1).unwrap_or("unknown");
        version.split('-').next().unwrap_or(version).to_owned()
    }

    /// The newest schema of a configuration that this Pacemaker has: `pacemaker-3.9`.
    pub(crate) fn schema(&self) -> String {
        let files = std::fs::read_dir(self.root.join("usr/share/pacemaker")).into_iter().flatten().flatten();
        let newest = files
            .filter_map(|file| {
                let name = file.file_name().into_string().ok()?;
                name.strip_prefix("pacemaker-3.")?.strip_suffix(".rng")?.parse::<u32>().ok()
            })
            .max();
        format!("pacemaker-3.{}", newest.unwrap_or(0))
    }

    /// What a rule calls the role of the one copy that is promoted: Pacemaker before 2.1 knows only the old word.
    pub(crate) fn promoted(&self) -> &'static str {
        let rules = std::fs::read_dir(self.root.join("usr/share/pacemaker")).into_iter().flatten().flatten();
        let names = |file: std::fs::DirEntry| {
            file.file_name().to_string_lossy().ends_with(".rng")
                && std::fs::read_to_string(file.path())
                    .is_ok_and(|text| text.contains("<value>Promoted</value>"))
        };
        if rules.into_iter().any(names) { "Promoted" } else { "Master" }
    }
}
