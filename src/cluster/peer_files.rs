//! The ledger where the cluster manager keeps none: small files on every node that is alive, written through the transport.
//!
//! `/run/xen-handoff/ledger/DOMAIN,SOURCE` holds one entry as a line of text; whoever is told to start the domain reads its own
//! folder. The folder lies in `/run`: a node that restarts has an empty one, and a file made when it was first looked at
//! says so, which makes it a young ledger.
//!
//! An action reaches the others as its parameters say. What ends an offer without one (a keeper, the end of a transfer) goes by their
//! names, as root, at ssh's port; where nobody answers there, an entry stays until the next start has asked its source.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::heartbeat;
use crate::clock::{Deadline, UnixTime};
use crate::domain::DomainName;
use crate::handoff::Epoch;
use crate::handoff::ledger::{Entries, Entry, Ledger, LedgerError, NoAnswer, from_text, to_text};
use crate::host::{NodeName, Root};
use crate::ocf::parameters::Reach;
use crate::small_file;
use crate::transport::message::{Answer, Request};
use crate::transport::ssh::{self, address};

const SINCE: &str = "since";
/// Limit of writing one entry to one node.
const LIMIT: Duration = Duration::from_secs(30);

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
    fn lines(&self, domain: &DomainName) -> std::io::Result<Vec<(PathBuf, String)>> {
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
                let text = std::fs::read_to_string(&path)?;
                lines.push((path, text.trim().to_owned()));
            }
        }
        Ok(lines)
    }

    /// Keeps an entry that another node has sent.
    ///
    /// # Errors
    /// What the system says.
    pub fn keep(&self, entry: &Entry) -> std::io::Result<()> {
        self.put(&self.path(entry.domain(), entry.source()), &to_text(entry))
    }

    /// Forgets the entry of `epoch`, if this node has it.
    ///
    /// # Errors
    /// What the system says.
    pub fn forget(&self, domain: &DomainName, epoch: Epoch) -> std::io::Result<()> {
        for (path, line) in self.lines(domain)? {
            if from_text(domain, &line).is_ok_and(|entry| entry.epoch() == epoch) {
                std::fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    fn put(&self, path: &Path, line: &str) -> std::io::Result<()> {
        small_file::replace(path, format!("{line}\n").as_bytes())
    }

    fn tell(&self, node: &NodeName, request: &Request) -> Result<(), String> {
        let deadline = Deadline::after(LIMIT);
        let answer = address(node, &self.reach)
            .and_then(|address| ssh::dial(&self.root, &address, deadline))
            .and_then(|mut connection| connection.ask(request, deadline));
        match answer {
            Ok(Answer::Done) => Ok(()),
            Ok(other) => Err(format!("{node} answers {other:?}")),
            Err(error) => Err(error.to_string()),
        }
    }

    /// The nodes that an entry of this node's may lie on.
    fn others(&self) -> Vec<NodeName> {
        let config = std::fs::read_to_string(self.root.join(heartbeat::HA_CF)).unwrap_or_default();
        let me = NodeName::of_this_host();
        heartbeat::nodes(&config).into_iter().filter(|node| *node != me).collect()
    }
}

impl Ledger for PeerFiles {
    fn write(&self, entry: &Entry, survivors: &[NodeName]) -> Result<(), LedgerError> {
        if survivors.is_empty() {
            return Err(LedgerError("there is no other node to write it for".to_owned()));
        }
        let line = to_text(entry);
        for node in survivors {
            let request = Request::Note { domain: entry.domain().clone(), line: line.clone() };
            self.tell(node, &request).map_err(LedgerError)?;
        }
        Ok(())
    }

    fn entries(&self, domain: &DomainName) -> Result<Entries, NoAnswer> {
        let lines = self.lines(domain).map_err(|error| NoAnswer::Unreadable(error.to_string()))?;
        Ok(Entries::gather(lines.iter().map(|(_, line)| from_text(domain, line))))
    }

    fn age(&self) -> Result<Duration, NoAnswer> {
        let path = self.folder.join(SINCE);
        let since = std::fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok());
        if let Some(since) = since.map(UnixTime) {
            return Ok(since.age());
        }
        self.put(&path, &UnixTime::now().to_string())
            .map_err(|error| NoAnswer::Unreadable(error.to_string()))?;
        Ok(Duration::ZERO)
    }

    fn erase(&self, domain: &DomainName, epoch: Epoch) {
        if let Err(error) = self.forget(domain, epoch) {
            log::warn!("domain={domain} epoch={epoch} stays in this node's ledger: {error}");
        }
        for node in self.others() {
            if let Err(error) = self.tell(&node, &Request::Forget { domain: domain.clone(), epoch }) {
                log::info!("domain={domain} epoch={epoch} may stay in the ledger of {node}: {error}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handoff::Offer;

    #[test]
    fn an_entry_is_kept_until_it_is_forgotten_under_its_own_epoch() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = PeerFiles::new(&Root::new(folder.path()));
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
    fn a_node_that_has_restarted_has_a_young_ledger() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = PeerFiles::new(&Root::new(folder.path()));
        assert_eq!(ledger.age().unwrap(), Duration::ZERO);
        ledger.put(&ledger.folder.join(SINCE), "1000").unwrap();
        assert!(ledger.age().unwrap() > Duration::from_secs(1_000_000));
        std::fs::remove_dir_all(&ledger.folder).unwrap();
        assert_eq!(ledger.age().unwrap(), Duration::ZERO);
    }
}
