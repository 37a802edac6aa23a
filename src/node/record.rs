//! The record: one small file per domain that carries the phase from one run of the agent to the next.
//!
//! `/run/xen-handoff/NAME.json` is replaced as a whole (written beside, synced, renamed) under an exclusive
//! lock on `NAME.lock`, carries the format's version and a generation number, and refuses fields that it does
//! not know. It lies in `/run`, so that it goes when the host's domains go.
//!
//! A second lock, `NAME.transfer`, is held by whoever runs xl's sender or receiver, and on the sending side
//! by xl itself, which inherits it: as long as it is held, the listing may still change. It frees itself when
//! its last holder dies, however that happens. A third, `NAME.keeper`, is held by the process that ends the
//! offer at its deadline.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::address::Address;
use crate::clock::{Clock, Deadline, SystemClock, UnixTime, in_action};
use crate::domain::{DomainId, DomainName, PciAddress};
use crate::handoff::event::{Effect, Event, OutOfOrder};
use crate::handoff::phase::{Ended, Epoch, Phase};
use crate::host::NodeName;
use crate::small_file::{self, try_lock};

/// The format that this build writes. Version 1 is the first.
const FORMAT: u32 = 1;

/// How the domain is to be shut down when its offer ends, so that whoever ends it needs no cluster to ask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShutdownTerms {
    /// Time for an orderly shutdown, in seconds; then the domain is destroyed.
    pub seconds: u64,
    /// By the power button.
    pub acpi: bool,
}

/// How a domain is shut down whose stop left no word about it.
pub const DEFAULT_TERMS: ShutdownTerms = ShutdownTerms { seconds: 60, acpi: false };
/// What a guest gets for an orderly shutdown however little time somebody who waits for it has, in seconds.
const ORDERLY: u64 = 30;

/// What the start of a domain may take, in seconds, where the record of an older version does not say it.
const UNKNOWN_START: u64 = 60 * 60;

impl ShutdownTerms {
    /// The same for somebody who can wait for `limit` seconds: not so little that it would be no orderly
    /// shutdown any more.
    #[must_use]
    pub fn within(self, limit: u64) -> Self {
        Self { seconds: self.seconds.min(limit.max(ORDERLY)), ..self }
    }

    /// The time for an orderly shutdown.
    pub fn grace(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }
}

/// What the file holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    version: u32,
    /// Counts the writes.
    pub generation: u64,
    /// Which part of the agent wrote it last.
    pub written_by: String,
    /// When that was.
    pub written_at: UnixTime,
    /// The domain.
    pub domain: DomainName,
    /// The resource that manages it, where known.
    pub resource: Option<String>,
    /// How to shut it down when its offer ends.
    pub terms: Option<ShutdownTerms>,
    /// Where the other end of a transfer is reached, where known: whoever settles it later has no cluster to
    /// ask.
    pub peer: Option<Address>,
    /// Which life of its host the other end of a transfer was in when it began.
    pub peer_boot: Option<String>,
    /// The nodes that could read the offer when it was made, and where they are reached: whoever keeps it
    /// when the cluster manager has gone asks them whether anybody is left.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub survivors: Vec<Address>,
    /// Who asked for the offer's end before its deadline. The keeper carries that out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub yielded_to: Option<NodeName>,
    /// Seconds that one fetch of it may take: what the cluster gives its start. Whoever fetches it may take
    /// less, and not more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fetch_seconds: Option<u64>,
    /// Devices of the host that are detached before it moves.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<PciAddress>,
    /// Where it stands.
    pub state: Phase,
}

impl Record {
    /// Whether the host of the transfer's other end, which is in this life now, has restarted since. False
    /// where either is not known.
    pub fn peer_has_restarted(&self, boot_now: Option<&str>) -> bool {
        matches!((self.peer_boot.as_deref(), boot_now), (Some(then), Some(now)) if then != now)
    }

    /// How long a stream of this domain may take at most, from here to whoever fetches it, whatever he says:
    /// as long as the cluster gives a start, or as long as the offer stood where that is more. It ends there,
    /// or the offer would have no end.
    pub fn longest_fetch(&self) -> Duration {
        let life = self.state.offer().map_or(0, |offer| offer.deadline.0.saturating_sub(offer.made_at.0));
        Duration::from_secs(self.fetch_seconds.unwrap_or(UNKNOWN_START).max(life))
    }

    fn blank(domain: &DomainName) -> Self {
        Self {
            version: FORMAT,
            generation: 0,
            written_by: String::new(),
            written_at: UnixTime(0),
            domain: domain.clone(),
            resource: None,
            terms: None,
            peer: None,
            peer_boot: None,
            survivors: Vec::new(),
            yielded_to: None,
            fetch_seconds: None,
            devices: Vec::new(),
            state: Phase::Idle,
        }
    }
}

/// Why a record cannot be read, written, or advanced.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The system refused.
    #[error("cannot {doing} {path}")]
    Io {
        /// Read, write, lock.
        doing: &'static str,
        /// The file.
        path: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The file is not a record that this build can read. It is left as it is.
    #[error(
        "{path} is not a record that this version can read: {what}; nothing was changed: find out on which nodes the domain runs (xl \
         list), then remove the file"
    )]
    Unreadable {
        /// The file.
        path: String,
        /// What is wrong.
        what: String,
    },
    /// Somebody else holds the lock.
    #[error("{path} has been locked by another process for {:.0} s", waited.as_secs_f64())]
    Locked {
        /// The file.
        path: String,
        /// How long we waited.
        waited: Duration,
    },
    /// The event cannot be in this phase.
    #[error(transparent)]
    OutOfOrder(#[from] OutOfOrder),
}

/// The folder of records.
#[derive(Debug, Clone)]
pub struct Store {
    folder: PathBuf,
}

/// How long a step waits for another one on the same domain. Steps take milliseconds.
const LOCK_LIMIT: Duration = Duration::from_secs(5);

impl Store {
    /// The records in `folder`, which is made when it is first written to.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    fn path(&self, domain: &DomainName, ending: &str) -> PathBuf {
        self.folder.join(format!("{domain}.{ending}"))
    }

    /// The record of `domain`; a blank, idle one if there is none.
    ///
    /// # Errors
    /// [`RecordError::Io`], [`RecordError::Unreadable`]: the phase is then *unknown*, never idle.
    pub fn load(&self, domain: &DomainName) -> Result<Record, RecordError> {
        let path = self.path(domain, "json");
        let text = match small_file::kept(&path) {
            Ok(Some(kept)) => kept.text,
            Ok(None) => return Ok(Record::blank(domain)),
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                return Err(RecordError::Unreadable {
                    path: path.display().to_string(),
                    what: error.to_string(),
                });
            }
            Err(source) => return Err(io("read", &path, source)),
        };
        let record = parse(&path, &text)?;
        let offered = record.state.offer().map_or(domain, |offer| &offer.domain);
        for spoken_of in [&record.domain, offered] {
            if spoken_of != domain {
                let what = format!("it speaks of {spoken_of}");
                return Err(RecordError::Unreadable { path: path.display().to_string(), what });
            }
        }
        Ok(record)
    }

    /// Every domain that has a record.
    ///
    /// # Errors
    /// [`RecordError::Io`] if the folder cannot be read; a folder that does not exist has no records.
    pub fn domains(&self) -> Result<Vec<DomainName>, RecordError> {
        let entries = match std::fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(io("read", &self.folder, source)),
        };
        let mut domains: Vec<DomainName> = entries
            .flatten()
            .filter_map(|entry| DomainName::new(entry.file_name().to_str()?.strip_suffix(".json")?).ok())
            .collect();
        domains.sort();
        Ok(domains)
    }

    /// Puts `event` to [`step`](fn@crate::handoff::step) and the new phase on disk. The effects are the
    /// caller's to carry out.
    ///
    /// # Errors
    /// [`RecordError`]; then nothing was changed, and nothing may be done.
    pub fn advance(&self, domain: &DomainName, by: &str, event: Event) -> Result<Vec<Effect>, RecordError> {
        self.advance_with(domain, by, event, |_| {})
    }

    /// As [`Self::advance`]; `amend` may set the record's other fields in the same write.
    ///
    /// # Errors
    /// As [`Self::advance`].
    pub fn advance_with(
        &self,
        domain: &DomainName,
        by: &str,
        event: Event,
        amend: impl FnOnce(&mut Record),
    ) -> Result<Vec<Effect>, RecordError> {
        let _lock = self.lock(domain)?;
        let mut record = self.load(domain)?;
        let (before, what) = (record.state.name(), event.name());
        let (state, effects) = crate::handoff::step(record.state.clone(), event)?;
        if state == record.state {
            return Ok(effects);
        }
        record.state = state;
        record.generation = record.generation.saturating_add(1);
        by.clone_into(&mut record.written_by);
        record.written_at = UnixTime::now();
        amend(&mut record);
        self.replace(domain, &record)?;
        log::info!(
            "domain={domain} phase={before}->{} event={what} generation={} by={by}",
            record.state.name(),
            record.generation
        );
        Ok(effects)
    }

    fn replace(&self, domain: &DomainName, record: &Record) -> Result<(), RecordError> {
        let path = self.path(domain, "json");
        if record.state == Phase::Idle {
            return match std::fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(io("remove", &path, error)),
                _ => Ok(()),
            };
        }
        let write = || {
            let mut text = serde_json::to_vec_pretty(record)?;
            text.push(b'\n');
            keep_somehow(&path, &text)
        };
        write().map_err(|source| io("write", &path, source))
    }

    /// Keeps how the last stream that this node received came to its end.
    ///
    /// # Errors
    /// [`RecordError::Io`]. Not for want of room where [`Self::reserve_end`] found some.
    pub fn keep_end(&self, domain: &DomainName, ended: Ended) -> Result<(), RecordError> {
        self.put(domain, "ended", &ended)
    }

    /// Takes the room that [`Self::keep_end`] will need, before a stream begins: where the folder fills up
    /// meanwhile, the guest has arrived, and neither its start nor a stop may fail for a note about it.
    ///
    /// # Errors
    /// [`RecordError::Io`]; no stream may begin then.
    pub fn reserve_end(&self, domain: &DomainName) -> Result<(), RecordError> {
        match self.path(domain, "ended").try_exists() {
            Ok(true) => Ok(()),
            _ => self.put(domain, "ended", &None::<Ended>),
        }
    }

    fn put(&self, domain: &DomainName, which: &str, what: &impl Serialize) -> Result<(), RecordError> {
        let path = self.path(domain, which);
        let write = || keep_somehow(&path, &serde_json::to_vec(what)?);
        write().map_err(|source| io("write", &path, source))
    }

    /// How the last stream that this node received came to its end; `None` if it has received none since it
    /// came up, or if that cannot be read.
    pub fn last_end(&self, domain: &DomainName) -> Option<Ended> {
        small_file::kept_json::<Option<Ended>>(&self.path(domain, "ended")).ok()??
    }

    /// Notes under which id the domain runs here, where that is new. The hypervisor gives an id to one domain
    /// alone until it has given all others, and none outlives the host's uptime, as this folder does not.
    ///
    /// # Errors
    /// [`RecordError::Io`].
    pub fn keep_id(&self, domain: &DomainName, id: DomainId) -> Result<(), RecordError> {
        if self.last_id(domain) == Some(id) {
            return Ok(());
        }
        // In brackets: half a number is a number, too.
        self.put(domain, "domid", &[id])
    }

    /// Under which id the domain was last seen running here; `None` if nobody has noted one, or if that
    /// cannot be read.
    pub fn last_id(&self, domain: &DomainName) -> Option<DomainId> {
        let kept: Option<[DomainId; 1]> = small_file::kept_json(&self.path(domain, "domid")).ok()?;
        kept.map(|[id]| id)
    }

    /// Notes that the push of `epoch`, the newest one to here that the ledger has, must not arrive here any
    /// more.
    ///
    /// # Errors
    /// [`RecordError::Io`].
    pub fn refuse(&self, domain: &DomainName, epoch: Epoch) -> Result<(), RecordError> {
        self.put(domain, "refused", &epoch)
    }

    /// Whether the push of `epoch` must not arrive here any more.
    ///
    /// # Errors
    /// [`RecordError::Io`] if that is not known.
    pub fn refuses(&self, domain: &DomainName, epoch: Epoch) -> Result<bool, RecordError> {
        let path = self.path(domain, "refused");
        match small_file::kept(&path) {
            // What cannot be read may have been this one, and nothing is lost by a push that is refused.
            Ok(Some(kept)) => Ok(Epoch::kept(&kept).map_or(true, |refused| refused == epoch)),
            Ok(None) => Ok(false),
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => Ok(true),
            Err(source) => Err(io("read", &path, source)),
        }
    }

    fn open_lock(&self, path: &Path) -> Result<File, RecordError> {
        small_file::make_folder(&self.folder).map_err(|source| io("make", &self.folder, source))?;
        small_file::lock_file(path).map_err(|source| io("open", path, source))
    }

    fn lock(&self, domain: &DomainName) -> Result<File, RecordError> {
        let path = self.path(domain, "lock");
        let file = self.open_lock(&path)?;
        let locked =
            SystemClock.wait_until(Deadline::after(in_action(LOCK_LIMIT)), Duration::from_millis(5), || {
                try_lock(&file).is_ok().then_some(())
            });
        match locked {
            Some(()) => Ok(file),
            None => Err(RecordError::Locked { path: path.display().to_string(), waited: LOCK_LIMIT }),
        }
    }

    /// Takes the transfer lock of `domain`; `None` if a transfer holds it. It is held until the file and
    /// every copy of its descriptor in other processes are closed.
    ///
    /// # Errors
    /// [`RecordError::Io`].
    pub fn begin_transfer(&self, domain: &DomainName) -> Result<Option<File>, RecordError> {
        self.take(domain, "transfer")
    }

    fn take(&self, domain: &DomainName, which: &str) -> Result<Option<File>, RecordError> {
        let path = self.path(domain, which);
        let file = self.open_lock(&path)?;
        match try_lock(&file) {
            Ok(()) => Ok(Some(file)),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(errno) => Err(io("lock", &path, errno.into())),
        }
    }

    /// Takes the lock of whoever keeps the offer of `domain`; `None` if somebody keeps it already.
    ///
    /// # Errors
    /// [`RecordError::Io`].
    pub fn begin_keeping(&self, domain: &DomainName) -> Result<Option<File>, RecordError> {
        self.take(domain, "keeper")
    }

    /// True while some process still has a hand in a transfer of `domain` at this node. Where that cannot be
    /// told, it is true.
    pub fn is_transferring(&self, domain: &DomainName) -> bool {
        // For reading: that needs neither room nor a folder that can be written to.
        match File::open(self.path(domain, "transfer")) {
            Ok(file) => try_lock(&file).is_err(),
            Err(error) => error.kind() != std::io::ErrorKind::NotFound,
        }
    }
}

/// [`small_file::keep`]; where there is no room for a second file, in the blocks of the first: what was begun
/// must come to its end there too.
fn keep_somehow(path: &Path, text: &[u8]) -> std::io::Result<()> {
    small_file::keep(path, text).or_else(|error| match error.kind() {
        std::io::ErrorKind::StorageFull => small_file::keep_in_place(path, text),
        _ => Err(error),
    })
}

fn io(doing: &'static str, path: &Path, source: std::io::Error) -> RecordError {
    RecordError::Io { doing, path: path.display().to_string(), source }
}

fn parse(path: &Path, text: &str) -> Result<Record, RecordError> {
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }
    let unreadable = |what: String| RecordError::Unreadable { path: path.display().to_string(), what };
    let Version { version } = serde_json::from_str(text).map_err(|error| unreadable(error.to_string()))?;
    if version != FORMAT {
        return Err(unreadable(format!("its format is {version}, this version knows {FORMAT}")));
    }
    serde_json::from_str(text).map_err(|error| unreadable(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handoff::SourcePhase;
    use crate::handoff::event::ReceiverEnd;
    use crate::handoff::phase::{Epoch, Offer, Transfer};

    fn x0() -> DomainName {
        DomainName::new("x0").unwrap()
    }

    fn offer() -> Offer {
        Offer {
            domain: x0(),
            source: NodeName::new("n1").unwrap(),
            epoch: Epoch(7),
            made_at: UnixTime(1),
            deadline: UnixTime(2),
        }
    }

    #[test]
    fn a_phase_survives_from_one_run_to_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path().join("state"));
        assert_eq!(store.load(&x0()).unwrap().state, Phase::Idle);
        store.advance(&x0(), "test", Event::OfferMade(offer())).unwrap();
        let record = Store::new(folder.path().join("state")).load(&x0()).unwrap();
        assert_eq!(
            (record.state, record.generation),
            (Phase::Source(SourcePhase::Offering { offer: offer() }), 1)
        );
        assert_eq!(store.domains().unwrap(), [x0()]);
    }

    #[test]
    fn a_record_that_speaks_of_another_domain_and_a_refusal_that_is_no_epoch_are_not_believed() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path().to_owned());
        store.advance(&x0(), "test", Event::OfferMade(offer())).unwrap();
        let path = folder.path().join("x0.json");
        let text = std::fs::read_to_string(&path).unwrap();
        for (at, _) in text.match_indices("\"x0\"") {
            std::fs::write(&path, format!("{}\"p0\"{}", &text[..at], &text[at + 4..])).unwrap();
            assert!(store.load(&x0()).is_err(), "{at}");
        }
        store.refuse(&x0(), Epoch(7)).unwrap();
        assert!(store.refuses(&x0(), Epoch(7)).unwrap() && !store.refuses(&x0(), Epoch(8)).unwrap());
        std::fs::write(folder.path().join("x0.refused"), "?").unwrap();
        assert!(store.refuses(&x0(), Epoch(7)).unwrap());
    }

    #[test]
    fn an_idle_domain_leaves_no_record() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path().to_owned());
        store.advance(&x0(), "test", Event::OfferMade(offer())).unwrap();
        store.advance(&x0(), "test", Event::Reclaimed).unwrap();
        assert!(store.domains().unwrap().is_empty());
    }

    #[test]
    fn a_record_that_cannot_be_read_is_never_idle() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path().to_owned());
        for text in ["", "{}", r#"{"version":99}"#, r#"{"version":1,"surprise":true}"#, "not json"] {
            std::fs::write(folder.path().join("x0.json"), text).unwrap();
            assert!(matches!(store.load(&x0()), Err(RecordError::Unreadable { .. })), "{text:?} was read");
            assert!(store.advance(&x0(), "test", Event::OfferMade(offer())).is_err());
            assert_eq!(
                std::fs::read_to_string(folder.path().join("x0.json")).unwrap(),
                text,
                "it was overwritten"
            );
        }
    }

    #[test]
    fn an_event_out_of_order_changes_nothing_on_disk() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path().to_owned());
        let transfer = Transfer {
            epoch: Epoch(7),
            source: NodeName::new("n1").unwrap(),
            target: NodeName::new("n2").unwrap(),
        };
        store.advance(&x0(), "test", Event::StreamOpened(transfer)).unwrap();
        let before = store.load(&x0()).unwrap();
        assert!(store.advance(&x0(), "test", Event::StopOrdered).is_err());
        assert_eq!(store.load(&x0()).unwrap(), before);
        store.advance(&x0(), "test", Event::ReceiverEnded(ReceiverEnd::Nothing)).unwrap();
    }

    #[test]
    fn a_transfer_is_seen_for_as_long_as_anyone_holds_its_descriptor() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path().to_owned());
        assert!(!store.is_transferring(&x0()));
        let held = store.begin_transfer(&x0()).unwrap().unwrap();
        assert!(store.begin_transfer(&x0()).unwrap().is_none());
        let inherited = held.try_clone().unwrap();
        drop(held);
        assert!(store.is_transferring(&x0()));
        drop(inherited);
        assert!(!store.is_transferring(&x0()));
    }
}
