//! The ledger where the cluster manager keeps none: small files on every node that is alive, written through
//! the transport.
//!
//! `/run/xen-handoff/ledger/DOMAIN,SOURCE` holds one entry as a line of text; whoever is told to start the
//! domain reads its own folder. The folder lies in `/run`: a node that restarts has an empty one, and a file
//! made when it was first looked at says so, which makes it a young ledger.
//!
//! An action reaches the others as its parameters say. What ends an offer without one (a keeper, the end of a
//! transfer) goes by their names, as root, at ssh's port; where nobody answers there, an entry stays until
//! the next start has asked its source.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::ha_cf::{HA_CF, nodes};
use crate::address::{Address, Reach};
use crate::at_once::at_once;
use crate::clock::{Deadline, UnixTime, share_of_action, since_boot};
use crate::domain::DomainName;
use crate::handoff::Epoch;
use crate::handoff::ledger::{Entries, Entry, Ledger, LedgerError, NoAnswer, Since, from_text, to_text};
use crate::host::{NodeName, Root};
use crate::small_file;
use crate::wire::client::Unanswered;
use crate::wire::warm::Ssh;
use crate::wire::{Connection, Dial};

const SINCE: &str = "since";
/// Limit of writing one entry to all nodes, which are told at the same time.
const LIMIT: Duration = Duration::from_secs(30);
/// Which part of what an action has left it may take: a stop that cannot write its offer needs the rest for
/// an ordinary end.
const PARTS: u32 = 3;

/// How many entries of one node are kept: more than a host has domains.
const MOST_OF_ONE: usize = 1024;

/// This node's folder, and the way to the others'.
#[derive(Debug, Clone)]
pub struct PeerFiles {
    root: Root,
    folder: PathBuf,
    reach: Reach,
}

impl PeerFiles {
    /// The ledger of the node below `root`.
    pub fn new(root: &Root) -> Self {
        Self::reached(root, &Reach::default())
    }

    /// The same, with the others reached like that.
    pub fn reached(root: &Root, reach: &Reach) -> Self {
        Self { root: root.clone(), folder: root.state_folder().join("ledger"), reach: reach.clone() }
    }

    /// Whether this node has kept it since the host came up.
    pub fn is_kept(&self) -> bool {
        self.folder.join(SINCE).exists()
    }

    fn path(&self, domain: &DomainName, source: &NodeName) -> PathBuf {
        // Neither name can have a comma.
        self.folder.join(format!("{domain},{source}"))
    }

    /// The files of `domain` and what is in them.
    fn lines(&self, domain: &DomainName) -> std::io::Result<Vec<(PathBuf, Result<Entry, String>)>> {
        let files = match std::fs::read_dir(&self.folder) {
            Ok(files) => files,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut lines = Vec::new();
        for file in files {
            let path = file?.path();
            let ours = path
                .file_name()
                .and_then(|name| name.to_str())
                .and_then(|name| name.split_once(','))
                .is_some_and(|(name, _)| name == domain.as_str());
            if ours {
                let Some(kept) = small_file::kept(&path).transpose() else { continue };
                let entry = kept.and_then(|kept| Ok(from_text(domain, kept.line()?)));
                let entry = entry.unwrap_or_else(|error| Err(format!("{}: {error}", path.display())));
                lines.push((path, entry));
            }
        }
        Ok(lines)
    }

    /// Keeps an entry that another node has sent: of a node that Heartbeat knows, and so many of each that
    /// nobody fills `/run` with them.
    ///
    /// # Errors
    /// Why it is not kept; what the system says.
    pub fn keep(&self, entry: &Entry) -> std::io::Result<()> {
        let (path, source) = (self.path(entry.domain(), entry.source()), entry.source());
        let config = std::fs::read_to_string(self.root.join(HA_CF)).unwrap_or_default();
        if !nodes(&config).contains(source) {
            return Err(std::io::Error::other(format!("{source} is no node of this node's Heartbeat")));
        }
        let of_the_source = |name: &str| name.split_once(',').is_some_and(|(_, of)| of == source.as_str());
        if !path.exists() && small_file::count(&self.folder, of_the_source)? >= MOST_OF_ONE {
            return Err(std::io::Error::other(format!("{source} has {MOST_OF_ONE} entries here already")));
        }
        self.put(&path, &to_text(entry))
    }

    /// Forgets the entry of `epoch`, if this node has it.
    ///
    /// # Errors
    /// What the system says.
    pub fn forget(&self, domain: &DomainName, epoch: Epoch) -> std::io::Result<()> {
        for (path, line) in self.lines(domain)? {
            if line.is_ok_and(|entry| entry.epoch() == epoch) {
                std::fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    fn put(&self, path: &Path, line: &str) -> std::io::Result<()> {
        small_file::keep(path, format!("{line}\n").as_bytes())
    }

    /// Tells several nodes the same thing at the same time. Gives those that did not take it, and why.
    fn tell_all(
        &self,
        nodes: &[NodeName],
        tell: impl Fn(&mut Connection, Deadline) -> Result<(), Unanswered> + Sync,
    ) -> Vec<(NodeName, String)> {
        let limit = share_of_action(LIMIT, PARTS);
        let told = at_once(nodes, |node| self.tell(node, limit, &tell)).into_iter();
        let told = told.map(|told| told.unwrap_or_else(|| Err("the thread that tells it failed".to_owned())));
        nodes.iter().cloned().zip(told).filter_map(|(node, told)| Some((node, told.err()?))).collect()
    }

    fn tell(
        &self,
        node: &NodeName,
        limit: Duration,
        tell: impl Fn(&mut Connection, Deadline) -> Result<(), Unanswered>,
    ) -> Result<(), String> {
        let deadline = Deadline::after(limit);
        let address = Address::of(node, &self.reach).map_err(|error| error.to_string())?;
        let connection = Ssh::of(&self.root).ask(&address, deadline).map_err(Unanswered::from);
        connection.and_then(|mut connection| tell(&mut connection, deadline)).map_err(|error| error.by(node))
    }

    /// The nodes that an entry of this node's may lie on.
    fn others(&self) -> Vec<NodeName> {
        let config = std::fs::read_to_string(self.root.join(HA_CF)).unwrap_or_default();
        let me = NodeName::of_this_host();
        nodes(&config).into_iter().filter(|node| *node != me).collect()
    }
}

impl Ledger for PeerFiles {
    fn write(&self, entry: &Entry, survivors: &[NodeName]) -> Result<(), LedgerError> {
        if survivors.is_empty() {
            return Err(LedgerError("there is no other node to write it for".to_owned()));
        }
        let line = to_text(entry);
        let told = self.tell_all(survivors, |node, deadline| node.note(entry.domain(), &line, deadline));
        match told.into_iter().next() {
            Some((_, why)) => Err(LedgerError(why)),
            None => Ok(()),
        }
    }

    fn entries(&self, domain: &DomainName) -> Result<Entries, NoAnswer> {
        let lines = self.lines(domain).map_err(|error| NoAnswer::Unreadable(error.to_string()))?;
        Ok(Entries::gather(lines.into_iter().map(|(_, line)| line)))
    }

    fn age(&self) -> Result<Duration, NoAnswer> {
        let (path, boot, up) = (self.folder.join(SINCE), self.root.boot_id(), since_boot());
        let kept = small_file::kept(&path).ok().flatten();
        let noted = kept.and_then(|kept| kept.line().ok().map(str::to_owned)).unwrap_or_default();
        if let Some(age) = Since::age(noted.trim(), boot.as_deref(), up, UnixTime::now()) {
            return Ok(age);
        }
        self.put(&path, &Since::now(boot.as_deref(), up).to_string())
            .map_err(|error| NoAnswer::Unreadable(error.to_string()))?;
        Ok(Duration::ZERO)
    }

    fn erase(&self, domain: &DomainName, epoch: Epoch) {
        if let Err(error) = self.forget(domain, epoch) {
            log::warn!("domain={domain} offer={} stays in this node's ledger: {error}", epoch.rfc3339());
        }
        let told = self.tell_all(&self.others(), |node, deadline| node.forget(domain, epoch, deadline));
        for (node, why) in told {
            log::info!("domain={domain} offer={} may stay in the ledger of {node}: {why}", epoch.rfc3339());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handoff::Offer;

    /// Of a node whose Heartbeat knows n1.
    fn of_n1(folder: &Path) -> PeerFiles {
        std::fs::create_dir_all(folder.join("etc/ha.d")).unwrap();
        std::fs::write(folder.join("etc/ha.d/ha.cf"), "node n1 n2\n").unwrap();
        PeerFiles::new(&Root::new(folder))
    }

    #[test]
    fn nobody_fills_the_ledger() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = of_n1(folder.path());
        let offer = |domain: &str, source: &str| {
            Entry::Offer(Offer {
                domain: DomainName::new(domain).unwrap(),
                source: NodeName::new(source).unwrap(),
                epoch: Epoch(7),
                made_at: UnixTime(1),
                deadline: UnixTime(2),
            })
        };
        assert!(ledger.keep(&offer("x0", "n9")).unwrap_err().to_string().contains("no node of"));
        for n in 0..MOST_OF_ONE {
            std::fs::create_dir_all(&ledger.folder).unwrap();
            std::fs::write(ledger.folder.join(format!("y{n},n1")), "").unwrap();
        }
        assert!(ledger.keep(&offer("x0", "n1")).unwrap_err().to_string().contains("already"));
        ledger.keep(&offer("y0", "n1")).unwrap();
        ledger.keep(&offer("x0", "n2")).unwrap();
    }

    #[test]
    fn an_entry_is_kept_until_it_is_forgotten_under_its_own_epoch() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = of_n1(folder.path());
        let x0 = DomainName::new("x0").unwrap();
        let offer = Offer {
            domain: x0.clone(),
            source: NodeName::new("n1").unwrap(),
            epoch: Epoch(7),
            made_at: UnixTime(1),
            deadline: UnixTime(2),
        };
        assert_eq!(ledger.entries(&x0).unwrap(), Entries::default());
        ledger.keep(&Entry::Offer(offer.clone())).unwrap();
        assert_eq!(ledger.entries(&x0).unwrap().offers, [offer]);
        assert_eq!(ledger.entries(&DomainName::new("x").unwrap()).unwrap(), Entries::default());
        ledger.forget(&x0, Epoch(6)).unwrap();
        assert_eq!(ledger.entries(&x0).unwrap().offers.len(), 1);
        ledger.forget(&x0, Epoch(7)).unwrap();
        assert_eq!(ledger.entries(&x0).unwrap(), Entries::default());
    }

    #[test]
    fn p2_a_node_that_has_restarted_has_a_young_ledger() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = PeerFiles::new(&Root::new(folder.path()));
        assert_eq!(ledger.age().unwrap(), Duration::ZERO);
        let noted = |boot: &str| {
            let text = format!("v=2;boot={boot};at=-2000000");
            ledger.put(&ledger.folder.join(SINCE), &text).unwrap();
        };
        noted("of a life before this one");
        assert_eq!(ledger.age().unwrap(), Duration::ZERO);
        assert!(ledger.age().unwrap() < Duration::from_secs(60), "it has been noted anew");
        noted(&ledger.root.boot_id().unwrap());
        assert!(ledger.age().unwrap() > Duration::from_secs(1_000_000));
        std::fs::remove_dir_all(&ledger.folder).unwrap();
        assert_eq!(ledger.age().unwrap(), Duration::ZERO);
    }
}
