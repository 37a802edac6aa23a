//! `snapshot`: a real stop saves the domain's memory, and the next start restores it, if nobody can have run
//! the domain since. See [`crate::node::snapshot`] for what binds the two.

use std::time::Duration;

use super::context::Agent;
use super::gates;
use crate::clock::{Clock, LOOK_AGAIN, SystemClock};
use crate::cluster::{ClusterError, Destination};
use crate::domain::Presence;
use crate::handoff::Epoch;
use crate::handoff::evidence::{Absence, NoCopyElsewhere, NobodyElse};
use crate::host::NodeName;
use crate::node::snapshot::{self, Folder, Heard, Manifest};
use crate::ocf::exit_code::Failure;
use crate::wire::client::Unanswered;

/// What a frozen guest gets to be let go on, after a save that was broken off.
const RESUME_LIMIT: Duration = Duration::from_secs(10);

impl Agent {
    /// Saves the domain's memory instead of shutting it down, where that is asked for and makes sense.
    /// `None`, with the reason in the log, where the ordinary shutdown follows.
    pub(super) fn save(&self, presence: &Presence) -> Option<Absence> {
        let path = self.parameters.snapshot.as_deref()?;
        self.try_to_save(&Folder::new(path, &self.domain), presence)
            .inspect_err(|why| log::warn!("domain={} no snapshot: {why}", self.domain))
            .ok()
    }

    fn try_to_save(&self, folder: &Folder<'_>, presence: &Presence) -> Result<Absence, String> {
        if !matches!(presence, Presence::Running(_)) {
            return Err(format!("it is {presence}"));
        }
        self.nobody_wants_it_now()?;
        let marks: Result<_, String> =
            self.marks()?.into_iter().map(|(node, mark)| Ok((node, mark?))).collect();
        let (domain, saved_by) = (self.domain.clone(), self.node.clone());
        let manifest = Manifest { domain, epoch: Epoch::begin(), saved_by, marks: marks? };
        folder.prepare(&manifest)?;
        let state = folder.state(manifest.epoch);
        log::info!("domain={} node={} saving it to {}", self.domain, self.node, state.display());
        // The other half is the ordinary shutdown's, should it fail.
        let saved = self.toolstack.save(&self.domain, &state, self.deadline.left() / 2);
        let gone = saved.map_err(|error| error.to_string()).and_then(|()| {
            let gone = SystemClock.wait_until(self.deadline, LOOK_AGAIN, || self.absence(&self.presence()));
            gone.ok_or_else(|| "it was saved and is still here".to_owned())
        });
        match gone {
            Ok(gone) => {
                if let Err(why) = folder.validate(manifest.epoch) {
                    log::error!("domain={} its memory was saved and is lost: {why}", self.domain);
                    folder.clear();
                }
                Ok(gone)
            }
            Err(why) => {
                folder.clear();
                self.let_go_on();
                Err(why)
            }
        }
    }

    /// A snapshot is for a domain that stays down. One that starts elsewhere would find a disk as after a
    /// power cut; one that is started anew here is to read its configuration anew; one that is ill would be
    /// ill again.
    fn nobody_wants_it_now(&self) -> Result<(), String> {
        if !self.environment.is_called_by_a_cluster() {
            return Ok(());
        }
        let plan = match self.cluster.plan_after_stop(&self.resource, &self.node, gates::limit(self)) {
            Ok(plan) => plan,
            Err(error) => return Err(format!("what the cluster plans could not be found out: {error}")),
        };
        if let Some(why) = plan.failed {
            return Err(format!("the stop is part of a recovery: {why}"));
        }
        match plan.destination {
            Destination::Nowhere => Ok(()),
            Destination::Node(node) => Err(format!("the cluster will start it on {node}")),
        }
    }

    /// A save that was broken off leaves the guest suspended.
    fn let_go_on(&self) {
        let Presence::Frozen(id) = self.presence() else { return };
        let alone = self.phase().map_err(|failure| failure.to_string()).and_then(|phase| {
            NoCopyElsewhere::never_sent(&phase).ok_or_else(|| format!("phase {phase} does not allow it"))
        });
        let resumed = alone.and_then(|alone| {
            self.toolstack.resume(id, &alone, RESUME_LIMIT).map_err(|error| error.to_string())
        });
        if let Err(why) = resumed {
            log::warn!("domain={} it stays frozen: {why}", self.domain);
        }
    }

    /// Every node's mark now. A node that does not say it costs the guest its memory.
    fn marks(&self) -> Result<Heard, String> {
        let peers = match self.cluster.peers(&self.node, &self.resource) {
            Ok(peers) => peers,
            Err(ClusterError::NotRunning) if !self.environment.is_called_by_a_cluster() => Vec::new(),
            Err(error) => return Err(format!("could not find out which other nodes there are: {error}")),
        };
        let nodes: Vec<NodeName> = peers.into_iter().map(|peer| peer.node).collect();
        let (limit, domain) = (self.long_enough(), &self.domain);
        let answers = self.transport.each(&nodes, limit, |node| node.last_run(domain, limit));
        let answers = answers.into_iter().map(|answer| answer.map_err(Unanswered::reason));
        let mut marks: Heard = nodes.iter().cloned().zip(answers).collect();
        marks.insert(self.node.clone(), snapshot::mark(self.root(), &self.domain));
        Ok(marks)
    }

    /// It runs here already, begun by somebody else: no snapshot fits it any more.
    pub(super) fn runs_by_itself(&self) {
        if let Err(why) = snapshot::begin_run(self.root(), &self.domain) {
            log::warn!("domain={} that it runs here is not on record: {why}", self.domain);
        }
    }

    /// Restores the domain from its snapshot, under the transfer lock and with the evidence of a boot. True
    /// if it was; false if there is none that may be used, and it is to be booted.
    ///
    /// # Errors
    /// If neither may be done.
    pub(super) fn restore(&self, nobody: &NobodyElse) -> Result<bool, Failure> {
        let Some(path) = self.parameters.snapshot.as_deref() else {
            self.runs_by_itself();
            return Ok(false);
        };
        let folder = Folder::new(path, &self.domain);
        // It is taken before anything else, and looked at before this node's own mark changes.
        let taken = folder.take().and_then(|taken| {
            let Some(manifest) = taken else { return Ok(None) };
            let fits = self.marks().and_then(|marks| manifest.fits(&marks));
            fits.map(|()| Some(manifest)).map_err(|why| format!("it is void: {why}"))
        });
        snapshot::begin_run(self.root(), &self.domain).map_err(|why| {
            self.generic(format!("that it runs here cannot be kept, and a snapshot could be used after it: {why}; it was not started"))
        })?;
        let manifest = match taken {
            Ok(Some(manifest)) => manifest,
            Ok(None) => return Ok(false),
            Err(why) => {
                log::warn!("domain={} its snapshot is not used: {why}; it is booted", self.domain);
                folder.clear();
                return Ok(false);
            }
        };
        let state = folder.state(manifest.epoch);
        log::info!("domain={} node={} restoring what {} saved", self.domain, self.node, manifest.saved_by);
        let restored = self.toolstack.restore(&state, &self.domain, nobody, self.deadline.left() * 2 / 3);
        // Used, or spoilt: never again.
        folder.clear();
        let Err(error) = restored else { return Ok(true) };
        log::error!("domain={} it could not be restored: {error}; its memory of before is lost", self.domain);
        match self.absence(&self.presence()) {
            Some(_) => Ok(false),
            None => Err(self.generic(format!(
                "it could not be restored ({error}) and is {} now; it was not booted",
                self.presence()
            ))),
        }
    }
}
