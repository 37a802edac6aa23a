//! Which domain a resource manages: the parameter `name`, or the name that xl reads from the configuration
//! file.
//!
//! Reading the file costs a process, and the file may be out of reach just when a stop needs to know. So the
//! answer is kept in `/run/xen-handoff/RESOURCE.identity`, with the file's size and time, and used for as
//! long as these are the same, or the file cannot be seen. Under a toolstack without files (`xe`) only the
//! parameter says it.
//!
//! **Another name than before.** The file or the parameter can get another name while the domain runs under
//! the old one: two names, one disk. So a name that was kept here, and those that other nodes speak of (they
//! say so in the cluster's memory, [`Ledger::note_name`](crate::handoff::ledger::Ledger::note_name)), are
//! accounted for before another one is taken:
//!
//! | a name of before | then |
//! |---|---|
//! | has a copy here, or may have, or a record that is open | it is still the one that is spoken of; and is not handed over |
//! | is on offer by another node, and this is a start | the same: it is fetched |
//! | anything else | the new name is spoken of; a start asks all others about the old one too ([`Agent::former_elsewhere`]), and keeps the new one only then |
//!
//! **What is kept is checked.** It says nothing if it does not fit its checksum ([`crate::small_file`]), or
//! if its domain is not that of its configuration.
//!
//! **No name at all.** An exit code is an answer about a domain, and without a name there is none: a probe
//! says 5 and a stop fails, with what to do, unless another node knows the name, or it is seen that no domain
//! is here that could be the one ([`nobody`]). A stop that fails may have the node fenced; so all of that is
//! tried before.

use std::path::Path;
use std::time::Duration;

use super::action::Action;
use super::context::Agent;
use crate::cluster::{ClusterView, Peer};
use crate::domain::{DomainName, INCOMING, MIGRATED_AWAY, Presence};
use crate::handoff::evidence::{Inquiry, NobodyElse};
use crate::handoff::ledger::{LedgerSays, NoAnswer};
use crate::handoff::{Phase, SourcePhase};
use crate::host::Root;
use crate::node::identity::{Identity, Seen, all_kept, keep, kept_at, read};
use crate::node::record::Store;
use crate::ocf::environment::Environment;
use crate::ocf::exit_code::{ExitCode, Failure};
use crate::parameters::Parameters;
use crate::toolstack::{LIST_LIMIT, Toolstack, ToolstackError};

/// Which domain, and what has to be known of its name.
#[derive(Debug)]
pub(super) struct Named {
    /// The domain that is spoken of.
    pub(super) domain: DomainName,
    /// Names that the resource's domain may have been given here or on another node.
    pub(super) former: Vec<DomainName>,
    /// Whether the configuration has another name by now.
    pub(super) is_renamed: bool,
    /// To be kept once the former names are accounted for.
    pub(super) untaken: Option<Identity>,
}

impl Named {
    /// One that nothing else has to be known of.
    pub(super) fn plain(domain: DomainName) -> Self {
        Self { domain, former: Vec::new(), is_renamed: false, untaken: None }
    }
}

/// Who asks for the name of a resource's domain.
pub(super) struct Asker<'a> {
    pub(super) environment: &'a Environment,
    pub(super) store: &'a Store,
    pub(super) resource: &'a str,
    pub(super) parameters: &'a Parameters,
    pub(super) toolstack: &'a dyn Toolstack,
    pub(super) cluster: &'a dyn ClusterView,
    pub(super) action: Action,
}

/// What is to be asked of the configuration.
enum Now {
    /// What was kept still holds.
    AsKept(DomainName),
    /// This is the name now.
    Is(Box<Identity>),
    /// Nothing says it.
    Unnamed(String),
}

impl Asker<'_> {
    /// The domain of the resource.
    ///
    /// # Errors
    /// With what stands in the way. Also, with the codes of success and of *not running*, where no name is
    /// known, and it is seen that no domain is here that could be the one: a stop and a probe need to know no
    /// more.
    pub(super) fn resolve(&self) -> Result<Named, Failure> {
        let path = kept_at(&self.environment.root, self.resource);
        let kept = read(&path);
        match self.now(kept.as_ref())? {
            Now::AsKept(domain) => {
                self.tell(&domain, false);
                Ok(Named::plain(domain))
            }
            Now::Is(identity) if kept.as_ref().is_some_and(|kept| kept.domain == identity.domain) => {
                let domain = identity.domain.clone();
                keep(&path, kept.as_ref(), *identity);
                self.tell(&domain, false);
                Ok(Named::plain(domain))
            }
            Now::Is(identity) => Ok(self.replace(&path, kept, *identity)),
            Now::Unnamed(why) => self.unnamed(&why),
        }
    }

    fn now(&self, kept: Option<&Identity>) -> Result<Now, Failure> {
        if let Some(domain) = &self.parameters.name {
            return Ok(match kept {
                Some(kept) if kept.domain == *domain => Now::AsKept(domain.clone()),
                _ => Now::Is(Box::new(Identity::new(domain.clone(), None, None))),
            });
        }
        let kind = self.toolstack.kind();
        let file = self.parameters.xmfile.as_deref().filter(|_| kind.has_files());
        let seen = file.and_then(Seen::look);
        if let Some(kept) = kept
            && (seen.is_none() || kept.file == seen)
        {
            return Ok(Now::AsKept(kept.domain.clone()));
        }
        let Some(seen) = seen else {
            return Ok(Now::Unnamed(match &self.parameters.xmfile {
                _ if !kind.has_files() => format!("parameter name is not set, and {kind} has no files"),
                Some(path) => format!("no file {} on this node, and no name is set", path.display()),
                None => "parameter xmfile is not set, and no name is set".to_owned(),
            }));
        };
        let ends_or_looks = matches!(self.action, Action::Stop | Action::Monitor);
        match (self.toolstack.read_config(&seen.path, LIST_LIMIT), kept) {
            (Ok(config), _) => {
                Ok(Now::Is(Box::new(Identity::new(config.name.clone(), Some(seen), Some(config)))))
            }
            // A file that was changed into something that xl refuses must not make a running domain
            // invisible.
            (Err(error), Some(kept)) if ends_or_looks => {
                log::warn!("the configuration cannot be read any more, using the name of before: {error}");
                Ok(Now::AsKept(kept.domain.clone()))
            }
            (Err(error), None) if ends_or_looks => Ok(Now::Unnamed(error.to_string())),
            (Err(error), _) => {
                // A file of this node's: what is wrong with it may be wrong here alone. For a migration that
                // is no reason to keep it away from this node.
                let is_here_alone = error.is_missing()
                    || (self.action == Action::Start && matches!(error, ToolstackError::Config { .. }));
                let code = if is_here_alone { ExitCode::NotInstalled } else { ExitCode::Generic };
                let what = "the name of the domain could not be found out; nothing was changed";
                Err(Failure::new(code, error).context(what))
            }
        }
    }

    /// Another name than the one that was kept, or the first one.
    fn replace(&self, path: &Path, kept: Option<Identity>, identity: Identity) -> Named {
        let mut former: Vec<DomainName> = self.names_elsewhere();
        former.extend(kept.as_ref().map(|kept| kept.domain.clone()));
        former.sort();
        former.dedup();
        former.retain(|name| *name != identity.domain);
        let still = former.iter().find_map(|name| Some((name, self.still_here(name)?)));
        let ledger = self.cluster.ledger();
        let is_offered =
            |name: &&DomainName| ledger.entries(name).is_ok_and(|entries| !entries.offers.is_empty());
        let offered =
            || former.iter().find(is_offered).map(|name| (name, "on offer by another node".to_owned()));
        let starts = self.action == Action::Start;
        if let Some((name, how)) = still.or_else(|| if starts { offered() } else { None }) {
            log::warn!(
                "resource={} its domain is called {} by now, and {name} is {how}: every action means that one until it is gone",
                self.resource,
                identity.domain
            );
            return Named { is_renamed: true, ..Named::plain(name.clone()) };
        }
        let domain = identity.domain.clone();
        if former.is_empty() {
            keep(path, kept.as_ref(), identity);
            self.tell(&domain, true);
            return Named::plain(domain);
        }
        Named { domain, former, is_renamed: false, untaken: Some(identity) }
    }

    /// How a copy of `name` is here, or may be, or is spoken of by an open record.
    fn still_here(&self, name: &DomainName) -> Option<String> {
        match self.toolstack.listed(name, LIST_LIMIT) {
            Presence::Absent if self.toolstack.is_attended(name) => {
                return Some("absent here, but may be rebooting".to_owned());
            }
            Presence::Absent => {}
            other => return Some(format!("{other} here")),
        }
        match self.store.load(name) {
            Ok(record) if matches!(record.state, Phase::Idle | Phase::Source(SourcePhase::Left { .. })) => {
                None
            }
            Ok(record) => Some(record.state.to_string()),
            Err(error) => Some(format!("not accounted for: {error}")),
        }
    }

    /// What other nodes and this one have said that the domain is called.
    fn names_elsewhere(&self) -> Vec<DomainName> {
        if !self.environment.is_called_by_a_cluster() {
            return Vec::new();
        }
        match self.cluster.ledger().names(self.resource) {
            Ok(names) => names,
            Err(NoAnswer::NoCluster) => Vec::new(),
            Err(NoAnswer::Unreadable(why)) => {
                log::warn!(
                    "resource={} what others call its domain could not be found out: {why}",
                    self.resource
                );
                Vec::new()
            }
        }
    }

    /// Tells the others the name, where they may not know it.
    fn tell(&self, domain: &DomainName, is_new: bool) {
        let looks = self.action == Action::Monitor && self.environment.is_probe();
        if self.environment.is_called_by_a_cluster() && (is_new || looks) {
            self.cluster.ledger().note_name(self.resource, domain);
        }
    }

    /// Nothing here says the domain's name.
    fn unnamed(&self, why: &str) -> Result<Named, Failure> {
        if let [name] = self.names_elsewhere().as_slice() {
            log::info!("resource={} {why}; another node knows that its domain is {name}", self.resource);
            return Ok(Named::plain(name.clone()));
        }
        let by_its_id = DomainName::new(self.resource).ok().filter(|_| self.action == Action::Stop);
        if let Some(name) = by_its_id.filter(|name| self.still_here(name).is_some()) {
            log::warn!("resource={name} {why}; a domain of that name is here and taken for it");
            return Ok(Named::plain(name));
        }
        let (unsure, sure) = match self.action {
            Action::Stop => (ExitCode::Generic, ExitCode::Success),
            Action::Monitor => (ExitCode::NotInstalled, ExitCode::NotRunning),
            _ => return Err(Failure::new(ExitCode::NotInstalled, format!("{why}; nothing was changed"))),
        };
        Err(match nobody(&self.environment.root, self.resource, self.toolstack) {
            Ok(evidence) => Failure::new(sure, format!("{why}; {evidence}")),
            Err(doubt) => Failure::new(
                unsure,
                format!(
                    "{why}; whether it is here could not be found out: {doubt}; nothing was changed: set the parameter name"
                ),
            ),
        })
    }
}

/// Evidence that the domain of `resource`, whatever it is called, is not on this host: every domain here is
/// another resource's.
///
/// # Errors
/// Why that is not so, or not known.
fn nobody(root: &Root, resource: &str, toolstack: &dyn Toolstack) -> Result<String, String> {
    let guests = toolstack.guests(LIST_LIMIT).map_err(|error| error.to_string())?;
    let own = kept_at(root, resource);
    let theirs: Vec<DomainName> =
        all_kept(root).into_iter().filter(|(path, _)| *path != own).map(|(_, kept)| kept.domain).collect();
    let bare = |guest: &String| {
        let name = guest.strip_suffix(INCOMING).or_else(|| guest.strip_suffix(MIGRATED_AWAY));
        name.unwrap_or(guest).to_owned()
    };
    let unknown: Vec<String> =
        guests.iter().map(bare).filter(|guest| theirs.iter().all(|name| name.as_str() != guest)).collect();
    match (guests.len(), unknown.is_empty()) {
        (0, _) => Ok("no domain at all is here".to_owned()),
        (count, true) => Ok(format!("all {count} domains here are those of other resources")),
        (_, false) => Err(format!("{} may be it", unknown.join(", "))),
    }
}

impl Agent {
    /// Why a copy under a name of before cannot be ruled out on the other nodes; `None` where it can.
    pub(super) fn former_elsewhere(&self, known: &[Peer], patience: Duration) -> Option<String> {
        self.former.iter().find_map(|name| {
            let reports = self.ask_about(name, known, Vec::new(), patience);
            let ledger = match self.cluster.ledger().read(name) {
                LedgerSays::NoCluster if self.environment.is_called_by_a_cluster() => {
                    LedgerSays::Unreadable("the cluster manager of this node has gone".to_owned())
                }
                other => other,
            };
            let left = match self.here.store.load(name).map(|record| record.state) {
                Ok(Phase::Source(SourcePhase::Left { transfer })) => Some(transfer.target),
                Ok(_) => None,
                Err(error) => return Some(error.to_string()),
            };
            let inquiry = Inquiry {
                here: &self.node,
                ledger: &ledger,
                longest_offer: self.longest_offer(),
                peers: &reports,
                sent_to: left.as_ref(),
            };
            let doubt = NobodyElse::conclude(&inquiry).err()?;
            Some(format!("its domain was called {name} before: {doubt}"))
        })
    }

    /// Keeps the name, now that those of before are accounted for, and tells it to the others.
    pub(super) fn take_name(&self) {
        let path = kept_at(self.root(), &self.resource);
        let Some(identity) = self.untaken.borrow_mut().take() else { return };
        keep(&path, read(&path).as_ref(), identity);
        self.cluster.ledger().note_name(&self.resource, &self.domain);
    }

    /// Whether the configuration, read once more, still names this domain; `Err` with why not, or why that is
    /// not known.
    pub(super) fn is_still_named(&self, file: Option<&Path>) -> Result<(), String> {
        let Some(file) = file.filter(|_| self.parameters.name.is_none()) else { return Ok(()) };
        match self.toolstack.read_config(file, LIST_LIMIT) {
            Ok(config) if config.name == self.domain => Ok(()),
            Ok(config) => Err(format!("its configuration names {} by now", config.name)),
            Err(error) => Err(error.to_string()),
        }
    }
}
