//! A domain's saved memory, and when it may be used again (`snapshot`).
//!
//! A saved memory fits the disks as they were when it was saved, and never again after the domain has run. So
//! a snapshot is *taken once* (its manifest is renamed away before anything else is done with it), and it is
//! *bound*: every node keeps a mark of the last time that it began to run the domain, in
//! `/var/lib/xen-handoff/NAME.run`, and the manifest holds the marks of all nodes at the time of the save.
//! Whoever restores compares them all; one that has changed, or that cannot be asked, makes it void. Clocks
//! do not come into it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::domain::DomainName;
use crate::handoff::Epoch;
use crate::host::{NodeName, Root};
use crate::small_file;

/// What each node says of the last time that it began to run the domain.
pub type Marks = BTreeMap<NodeName, Epoch>;

/// The same at a later time, from each node that there is, or why it does not say.
pub type Heard = BTreeMap<NodeName, Result<Epoch, String>>;

fn mark_file(root: &Root, domain: &DomainName) -> PathBuf {
    root.lasting_folder().join(format!("{domain}.run"))
}

fn write_mark(root: &Root, domain: &DomainName, mark: Epoch) -> Result<Epoch, String> {
    let path = mark_file(root, domain);
    small_file::keep_json(&path, &mark).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(mark)
}

/// This node's mark. A node that has none makes one now: should it lose it, it will make another one.
///
/// # Errors
/// If it cannot be read or kept.
pub fn mark(root: &Root, domain: &DomainName) -> Result<Epoch, String> {
    let path = mark_file(root, domain);
    match small_file::kept(&path).and_then(|kept| kept.map(|kept| Epoch::kept(&kept)).transpose()) {
        Ok(Some(mark)) => Ok(mark),
        Ok(None) => write_mark(root, domain, Epoch::begin()),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

/// How many marks another node may have this one make: more than a cluster has domains.
const MOST_MARKS: usize = 4096;

/// The same for another node that asks. It can have no more made than so many.
///
/// # Errors
/// As [`mark`]; that there are enough.
pub fn mark_for_another(root: &Root, domain: &DomainName) -> Result<Epoch, String> {
    let folder = root.lasting_folder();
    let is_mark = |name: &str| name.ends_with(".run");
    let count = || small_file::count(&folder, is_mark).map_err(|error| error.to_string());
    if !mark_file(root, domain).exists() && count()? >= MOST_MARKS {
        return Err(format!("this node has {MOST_MARKS} marks of other domains already"));
    }
    mark(root, domain)
}

/// From now on this node runs the domain: every snapshot of before is void.
///
/// # Errors
/// If that cannot be kept.
pub fn begin_run(root: &Root, domain: &DomainName) -> Result<(), String> {
    let Epoch(before) = mark(root, domain)?;
    write_mark(root, domain, Epoch(Epoch::begin().0.max(before.saturating_add(1)))).map(drop)
}

/// What is known of a saved memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Which domain.
    pub domain: DomainName,
    /// Which save of it.
    pub epoch: Epoch,
    /// Where it ran.
    pub saved_by: NodeName,
    /// All nodes' marks at that time.
    pub marks: Marks,
}

impl Manifest {
    /// Whether the domain can have run since.
    ///
    /// # Errors
    /// Why it may have.
    pub fn fits(&self, now: &Heard) -> Result<(), String> {
        for (node, mark) in now {
            match (mark, self.marks.get(node)) {
                (Ok(now), Some(then)) if now == then => {}
                (Ok(_), Some(_)) => return Err(format!("{node} has run it since")),
                (Ok(_), None) => return Err(format!("{node} was not asked when it was saved")),
                (Err(why), _) => return Err(format!("{node} may have run it since: {why}")),
            }
        }
        match self.marks.keys().find(|node| !now.contains_key(*node)) {
            Some(gone) => Err(format!("{gone}, which may have run it since, is no longer there to say so")),
            None => Ok(()),
        }
    }
}

/// A folder with snapshots; it may be shared by all nodes.
#[derive(Debug)]
pub struct Folder<'a> {
    path: &'a Path,
    domain: &'a DomainName,
}

impl<'a> Folder<'a> {
    /// The snapshots of `domain` in it.
    pub fn new(path: &'a Path, domain: &'a DomainName) -> Self {
        Self { path, domain }
    }

    /// The memory of this save.
    pub fn state(&self, epoch: Epoch) -> PathBuf {
        self.path.join(format!("{}.{epoch}.state", self.domain))
    }

    fn pending(&self, epoch: Epoch) -> PathBuf {
        self.path.join(format!("{}.{epoch}.pending", self.domain))
    }

    fn taken(&self, epoch: Epoch) -> PathBuf {
        self.path.join(format!("{}.{epoch}.taken", self.domain))
    }

    fn valid(&self) -> PathBuf {
        self.path.join(format!("{}.snapshot", self.domain))
    }

    /// Makes sure that a manifest can be written, before anything is saved. It does not count yet.
    ///
    /// # Errors
    /// Why there can be no snapshot here.
    pub fn prepare(&self, manifest: &Manifest) -> Result<(), String> {
        if !self.path.is_dir() {
            return Err(format!("{} is no folder", self.path.display()));
        }
        self.clear();
        let path = self.pending(manifest.epoch);
        small_file::keep_json(&path, manifest).map_err(|error| format!("{}: {error}", path.display()))
    }

    /// The domain is gone and its memory is whole: from now on the snapshot counts.
    ///
    /// # Errors
    /// Why it does not.
    pub fn validate(&self, epoch: Epoch) -> Result<(), String> {
        let validate = || {
            std::fs::File::open(self.state(epoch))?.sync_all()?;
            std::fs::rename(self.pending(epoch), self.valid())?;
            std::fs::File::open(self.path)?.sync_all()
        };
        validate().map_err(|error| format!("{}: {error}", self.path.display()))
    }

    /// Takes the snapshot, if there is one: nobody else can from now on.
    ///
    /// # Errors
    /// Why what is there cannot be used.
    pub fn take(&self) -> Result<Option<Manifest>, String> {
        let path = self.valid();
        let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let manifest = small_file::kept_json::<Manifest>(&path).map_err(|error| failed(&error))?;
        let Some(manifest) = manifest else { return Ok(None) };
        if manifest.domain != *self.domain {
            return Err(failed(&format!("it is of {}", manifest.domain)));
        }
        std::fs::rename(&path, self.taken(manifest.epoch)).map_err(|error| failed(&error))?;
        Ok(Some(manifest))
    }

    /// Removes what is left of every save of the domain: it has been used, or is void.
    pub fn clear(&self) {
        let prefix = format!("{}.", self.domain);
        let is_ours = |name: &str| {
            let rest = name.strip_prefix(&prefix)?;
            let (epoch, ending) = rest.split_once('.')?;
            let ours =
                epoch.chars().all(|c| c.is_ascii_digit()) && ["state", "pending", "taken"].contains(&ending);
            ours.then_some(())
        };
        for entry in std::fs::read_dir(self.path).into_iter().flatten().flatten() {
            if entry.file_name().to_str().and_then(is_ours).is_some()
                && let Err(error) = std::fs::remove_file(entry.path())
            {
                log::warn!("domain={} {}: {error}", self.domain, entry.path().display());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str) -> NodeName {
        NodeName::new(name).unwrap()
    }

    fn manifest() -> Manifest {
        Manifest {
            domain: DomainName::new("x0").unwrap(),
            epoch: Epoch(9),
            saved_by: node("n1"),
            marks: [(node("n1"), Epoch(7)), (node("n2"), Epoch(5))].into(),
        }
    }

    #[test]
    fn a_snapshot_is_void_as_soon_as_any_node_may_have_run_the_domain_since() {
        let same = || Heard::from([(node("n1"), Ok(Epoch(7))), (node("n2"), Ok(Epoch(5)))]);
        manifest().fits(&same()).unwrap();
        let void = |change: &dyn Fn(&mut Heard)| {
            let mut now = same();
            change(&mut now);
            manifest().fits(&now).unwrap_err()
        };
        assert!(void(&|now| *now.get_mut(&node("n2")).unwrap() = Ok(Epoch(8))).contains("n2 has run it"));
        // Also if it has lost its mark and made another one, whatever its clock says.
        assert!(void(&|now| *now.get_mut(&node("n1")).unwrap() = Ok(Epoch(1))).contains("n1 has run it"));
        assert!(
            void(&|now| *now.get_mut(&node("n2")).unwrap() = Err("silent".to_owned())).contains("silent")
        );
        assert!(void(&|now| drop(now.insert(node("n3"), Ok(Epoch(1))))).contains("n3 was not asked"));
        assert!(void(&|now| drop(now.remove(&node("n2")))).contains("no longer there"));
    }

    #[test]
    fn a_node_has_the_same_mark_until_it_runs_the_domain() {
        let folder = tempfile::tempdir().unwrap();
        let (root, x0) = (Root::new(folder.path()), DomainName::new("x0").unwrap());
        let first = mark(&root, &x0).unwrap();
        assert_eq!(mark(&root, &x0).unwrap(), first);
        begin_run(&root, &x0).unwrap();
        let second = mark(&root, &x0).unwrap();
        assert!(second > first);
        std::fs::write(mark_file(&root, &x0), "garbage").unwrap();
        assert!(mark(&root, &x0).is_err(), "what cannot be read is no mark");
    }

    #[test]
    fn a_snapshot_counts_only_when_it_is_whole_and_can_be_taken_once() {
        let place = tempfile::tempdir().unwrap();
        let x0 = DomainName::new("x0").unwrap();
        let folder = Folder::new(place.path(), &x0);
        assert_eq!(folder.take(), Ok(None));
        folder.prepare(&manifest()).unwrap();
        assert_eq!(folder.take(), Ok(None), "nothing was saved yet");
        assert!(folder.validate(Epoch(9)).is_err(), "there is no memory");
        std::fs::write(folder.state(Epoch(9)), "memory").unwrap();
        folder.validate(Epoch(9)).unwrap();
        assert_eq!(folder.take(), Ok(Some(manifest())));
        assert_eq!(folder.take(), Ok(None), "it was taken twice");
        std::fs::write(place.path().join("x0.1.state.keep"), "not ours").unwrap();
        folder.clear();
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 1);
    }
}
