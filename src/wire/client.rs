//! What is asked of the far end: one method a verb, each with the one answer that it expects.

use std::fmt;
use std::os::fd::OwnedFd;

use super::message::{Answer, OPEN, Request, Tried, Wanted};
use super::{Connection, Session, TransportError};
use crate::address::Address;
use crate::clock::Deadline;
use crate::domain::{DomainName, PciAddress, Presence};
use crate::handoff::evidence::{Outlook, PeerSays};
use crate::handoff::ledger::Entries;
use crate::handoff::{Ended, Epoch, Phase, Transfer};
use crate::host::{LocalPath, NodeName};
use crate::moves::journal::Move;
use crate::moves::progress::Direction;
use crate::node::standing::Row;
use crate::preflight::facts::Facts;
use crate::preflight::setup::{Seen, Setup, Xendomains};
use crate::preflight::{FileDigest, Needs};

/// Why a question has no answer of its kind.
#[derive(Debug)]
pub enum Unanswered {
    /// The far end refuses.
    Refused {
        /// In its words.
        reason: String,
        /// How the domain stands there, if it said so.
        stands: Option<Box<(Presence, Phase)>>,
    },
    /// It answers something else.
    Other(Box<Answer>),
    /// There is no answer.
    Silent(TransportError),
}

impl Unanswered {
    /// In words, of a far end that is called `who`.
    pub fn by(&self, who: impl fmt::Display) -> String {
        self.said(&format!("{who} answers"))
    }

    /// The same after `answers`, "it answers" say.
    pub fn said(&self, answers: &str) -> String {
        match self {
            Self::Refused { reason, .. } => format!("{answers}: no: {reason}"),
            Self::Other(other) => format!("{answers}: {other}"),
            Self::Silent(error) => error.to_string(),
        }
    }

    /// The far end's own reason where it refuses; what else came, in words.
    pub fn reason(self) -> String {
        match self {
            Self::Refused { reason, .. } => reason,
            other => other.to_string(),
        }
    }
}

impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.said("it answers"))
    }
}

impl From<TransportError> for Unanswered {
    fn from(error: TransportError) -> Self {
        Self::Silent(error)
    }
}

impl From<Answer> for Unanswered {
    fn from(answer: Answer) -> Self {
        match answer {
            Answer::Refused { reason, stands } => Self::Refused { reason, stands: stands.map(Box::new) },
            other => Self::Other(Box::new(other)),
        }
    }
}

/// How a domain stands at the far end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stands {
    /// What its listing shows.
    pub presence: Presence,
    /// What its record says.
    pub phase: Phase,
    /// How the last stream that came there ended.
    pub ended: Option<Ended>,
}

impl From<Stands> for PeerSays {
    fn from(Stands { presence, phase, ended }: Stands) -> Self {
        Self::Stands { presence, phase, ended }
    }
}

/// What a question for a slot comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// It is kept for us.
    Ours,
    /// Not yet.
    Waiting {
        /// What for.
        why: String,
    },
}

/// What is to be found there by a domain that is about to be sent.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// Which domain.
    pub domain: DomainName,
    /// How much room.
    pub room: Option<Wanted>,
    /// Which devices.
    pub devices: Vec<PciAddress>,
    /// Seconds that making room may take.
    pub limit: u64,
    /// Seconds until it must have come.
    pub comes_in: u64,
}

/// The streams of a connection that was granted, and the session that must live as long as they do.
pub type Streams = (OwnedFd, OwnedFd, Option<Session>);

/// The one answer that is expected; everything else is why there is none.
macro_rules! heard {
    ($said:expr, $expected:pat => $value:expr) => {
        match $said? {
            $expected => Ok($value),
            other => Err(Unanswered::from(other)),
        }
    };
}

impl Connection {
    /// Where the domain stands there. Changes nothing.
    ///
    /// # Errors
    /// [`Unanswered`], as of every verb here.
    pub fn presence(&mut self, domain: &DomainName, deadline: Deadline) -> Result<Stands, Unanswered> {
        let request = Request::Presence { domain: domain.clone() };
        heard!(
            self.ask(&request, deadline),
            Answer::Stands { presence, phase, ended } => Stands { presence, phase, ended }
        )
    }

    /// The same, once what a broken transfer has left there was settled.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub fn resolve(&mut self, domain: &DomainName, deadline: Deadline) -> Result<Stands, Unanswered> {
        let request = Request::Resolve { domain: domain.clone() };
        heard!(
            self.ask(&request, deadline),
            Answer::Stands { presence, phase, ended } => Stands { presence, phase, ended }
        )
    }

    /// Whether it reaches the node at `back`, by logging in there.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub fn reach(&mut self, back: Address, deadline: Deadline) -> Result<(), Unanswered> {
        heard!(self.ask(&Request::Reach { back, open: false }, deadline), Answer::Reached => ())
    }

    /// The same; what it has open to there already is enough.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub fn is_in_reach(&mut self, back: Address, deadline: Deadline) -> Result<(), Unanswered> {
        let request = Request::Reach { back, open: self.can(OPEN) };
        heard!(self.ask(&request, deadline), Answer::Reached => ())
    }

    /// What its ledger has of the domain.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub fn ledger(&mut self, domain: &DomainName, deadline: Deadline) -> Result<Entries, Unanswered> {
        let request = Request::Ledger { domain: domain.clone() };
        heard!(self.ask(&request, deadline), Answer::Ledger { entries } => entries)
    }

    /// Has it keep a line of the ledger.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub fn note(&mut self, domain: &DomainName, line: &str, deadline: Deadline) -> Result<(), Unanswered> {
        let request = Request::Note { domain: domain.clone(), line: line.to_owned() };
        heard!(self.ask(&request, deadline), Answer::Done => ())
    }

    /// Has it forget one.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub fn forget(
        &mut self,
        domain: &DomainName,
        epoch: Epoch,
        deadline: Deadline,
    ) -> Result<(), Unanswered> {
        let request = Request::Forget { domain: domain.clone(), epoch };
        heard!(self.ask(&request, deadline), Answer::Done => ())
    }

    /// What a judgement of a move to there takes.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub fn preflight(&mut self, needs: &Needs, deadline: Deadline) -> Result<Facts, Unanswered> {
        let request = Request::Preflight { needs: needs.clone() };
        heard!(self.ask(&request, deadline), Answer::Facts { facts } => facts)
    }

    /// Has it make room, and look whether it has the devices.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub fn prepare(&mut self, wanted: Prepared, deadline: Deadline) -> Result<(), Unanswered> {
        let Prepared { domain, room, devices, limit, comes_in } = wanted;
        let request = Request::Prepare { domain, room, devices, limit, comes_in };
        heard!(self.ask(&request, deadline), Answer::Done => ())
    }

    /// Its mark of the domain's last run.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub fn last_run(&mut self, domain: &DomainName, deadline: Deadline) -> Result<Epoch, Unanswered> {
        let request = Request::LastRun { domain: domain.clone() };
        heard!(self.ask(&request, deadline), Answer::LastRun { mark } => mark)
    }

    /// Its offers and transfers.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub fn status(&mut self, deadline: Deadline) -> Result<Vec<Row>, Unanswered> {
        heard!(self.ask(&Request::Status, deadline), Answer::Status { rows } => rows)
    }

    /// A slot there: with a priority it is waited for, and [`Self::next_turn`] says how that goes on.
    /// `limit`: how long, in seconds.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub fn slot(
        &mut self,
        domain: &DomainName,
        direction: Direction,
        priority: Option<i64>,
        limit: u64,
        deadline: Deadline,
    ) -> Result<Turn, Unanswered> {
        let request = Request::Slot { domain: domain.clone(), direction, priority, limit };
        turn(self.ask(&request, deadline))
    }

    /// What it says next of the slot that we wait for.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub fn next_turn(&mut self, deadline: Deadline) -> Result<Turn, Unanswered> {
        turn(self.hear(deadline))
    }

    /// Asks for leave to begin a stream, with a [`Request::Claim`] or a [`Request::Receive`].
    ///
    /// # Errors
    /// [`Unanswered`].
    pub fn begin(mut self, request: &Request, deadline: Deadline) -> Result<Streams, Unanswered> {
        heard!(self.ask(request, deadline), Answer::Granted => self.into_streams())
    }

    /// Has it end its offer, which we cannot fetch, for `reason`; `limit`: seconds that we can wait for the
    /// guest's end.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub fn give_up(
        &mut self,
        domain: &DomainName,
        transfer: Transfer,
        reason: &str,
        limit: u64,
        deadline: Deadline,
    ) -> Result<(), Unanswered> {
        let (domain, reason) = (domain.clone(), reason.to_owned());
        heard!(self.ask(&Request::Yield { domain, transfer, reason, limit }, deadline), Answer::Done => ())
    }

    /// Who may still start the resource, as it sees it.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub fn outlook(&mut self, resource: &str, deadline: Deadline) -> Result<Outlook, Unanswered> {
        let request = Request::Outlook { resource: resource.to_owned() };
        heard!(self.ask(&request, deadline), Answer::Outlook { outlook } => outlook)
    }

    /// The last moves of its log.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub fn moves(
        &mut self,
        domain: Option<&DomainName>,
        last: u64,
        deadline: Deadline,
    ) -> Result<Vec<Move>, Unanswered> {
        let request = Request::Moves { domain: domain.cloned(), last };
        heard!(self.ask(&request, deadline), Answer::Moves { moves } => moves)
    }

    /// How it is set up.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub fn set_up(&mut self, deadline: Deadline) -> Result<Setup, Unanswered> {
        heard!(self.ask(&Request::Setup, deadline), Answer::Setup { setup } => setup)
    }

    /// What it has of these files and disks.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub fn look(
        &mut self,
        files: &[FileDigest],
        disks: &[LocalPath],
        deadline: Deadline,
    ) -> Result<Seen, Unanswered> {
        let request = Request::Look { files: files.to_vec(), disks: disks.to_vec() };
        heard!(self.ask(&request, deadline), Answer::Seen { seen } => seen)
    }

    /// What Xen's own service for guests would do with the cluster's domains there.
    ///
    /// # Errors
    /// [`Unanswered`]; or what could not be read there, inside.
    pub fn xendomains(&mut self, deadline: Deadline) -> Result<Result<Xendomains, String>, Unanswered> {
        heard!(self.ask(&Request::Xendomains, deadline), Answer::Xendomains { xendomains } => xendomains)
    }

    /// What a stop of the resource there would come to, if it then started on `target`.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub fn trial(
        &mut self,
        resource: &str,
        target: &NodeName,
        migrates: bool,
        deadline: Deadline,
    ) -> Result<Tried, Unanswered> {
        let request = Request::Trial { resource: resource.to_owned(), target: target.clone(), migrates };
        heard!(self.ask(&request, deadline), Answer::Tried { tried } => tried)
    }
}

fn turn(said: Result<Answer, TransportError>) -> Result<Turn, Unanswered> {
    match said? {
        Answer::Done => Ok(Turn::Ours),
        Answer::Waiting { why } => Ok(Turn::Waiting { why }),
        other => Err(Unanswered::from(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake::Peers;
    use super::super::message::ZSTD;
    use super::super::{Dial, message::Greeting};
    use super::*;
    use crate::domain::DomainConfig;
    use crate::host::Root;
    use crate::moves::terms::Compression;
    use std::time::Duration;

    fn x0() -> DomainName {
        DomainName::new("x0").unwrap()
    }

    fn n1() -> NodeName {
        NodeName::new("n1").unwrap()
    }

    fn by() -> Deadline {
        Deadline::after(Duration::from_secs(10))
    }

    fn transfer() -> Transfer {
        Transfer { epoch: Epoch(7), source: n1(), target: NodeName::new("n2").unwrap() }
    }

    /// Every verb, with what it comes to where the far end gives this answer.
    fn every_verb(answer: &Answer) -> Vec<(&'static str, Result<(), Unanswered>)> {
        let needs = Needs { config: DomainConfig::blank(&x0()), file: None };
        let prepared = || Prepared { domain: x0(), room: None, devices: vec![], limit: 1, comes_in: 1 };
        let receive =
            Request::Receive { domain: x0(), transfer: transfer(), limit: 1, compression: Compression::None };
        let to = || {
            let answer = answer.clone();
            Peers::connected(move |_| Some(answer.clone()))
        };
        let back = Address::by_its_name(&n1());
        vec![
            ("presence", to().presence(&x0(), by()).map(drop)),
            ("resolve", to().resolve(&x0(), by()).map(drop)),
            ("reach", to().reach(back, by())),
            ("ledger", to().ledger(&x0(), by()).map(drop)),
            ("note", to().note(&x0(), "v=1", by())),
            ("forget", to().forget(&x0(), Epoch(7), by())),
            ("preflight", to().preflight(&needs, by()).map(drop)),
            ("prepare", to().prepare(prepared(), by())),
            ("last-run", to().last_run(&x0(), by()).map(drop)),
            ("status", to().status(by()).map(drop)),
            ("slot", to().slot(&x0(), Direction::Outgoing, None, 1, by()).map(drop)),
            ("receive", to().begin(&receive, by()).map(drop)),
            ("yield", to().give_up(&x0(), transfer(), "no way", 1, by())),
            ("outlook", to().outlook("x0", by()).map(drop)),
            ("moves", to().moves(None, 1, by()).map(drop)),
            ("setup", to().set_up(by()).map(drop)),
            ("look", to().look(&[], &[], by()).map(drop)),
            ("xendomains", to().xendomains(by()).map(drop)),
            ("trial", to().trial("x0", &n1(), false, by()).map(drop)),
        ]
    }

    #[test]
    fn no_verb_takes_an_answer_of_another_kind_for_its_own() {
        let odd = Answer::Stands { presence: Presence::Absent, phase: Phase::Idle, ended: None };
        let heard = every_verb(&odd);
        let (well, other): (Vec<_>, Vec<_>) = heard.into_iter().partition(|(_, heard)| heard.is_ok());
        assert_eq!(well.iter().map(|(verb, _)| *verb).collect::<Vec<_>>(), ["presence", "resolve"]);
        assert_eq!(other.len(), 17);
        for (verb, heard) in other {
            let error = heard.unwrap_err();
            assert!(matches!(error, Unanswered::Other(_)), "{verb}: {error:?}");
            assert_eq!(error.to_string(), "it answers: where the domain stands", "{verb}");
            assert_eq!(error.by("n2"), "n2 answers: where the domain stands", "{verb}");
        }
        let done: Vec<_> = every_verb(&Answer::Done)
            .into_iter()
            .filter_map(|(verb, heard)| heard.is_ok().then_some(verb))
            .collect();
        assert_eq!(done, ["note", "forget", "prepare", "slot", "yield"]);
    }

    #[test]
    fn a_refusal_is_one_of_every_verb_with_its_reason_and_how_the_domain_stands() {
        let stands = Some((Presence::Absent, Phase::Idle));
        for (verb, heard) in every_verb(&Answer::Refused { reason: "not now".to_owned(), stands }) {
            let error = heard.unwrap_err();
            assert_eq!(error.by("n2"), "n2 answers: no: not now", "{verb}");
            let Unanswered::Refused { stands: Some(stands), .. } = &error else {
                panic!("{verb}: {error:?}")
            };
            assert_eq!(**stands, (Presence::Absent, Phase::Idle), "{verb}");
            assert_eq!(error.reason(), "not now", "{verb}");
        }
    }

    #[test]
    fn who_hangs_up_or_is_older_than_a_verb_has_not_answered_it() {
        let mut hangs_up = Peers::connected(|_| None);
        let error = hangs_up.presence(&x0(), by()).unwrap_err();
        assert!(matches!(error, Unanswered::Silent(TransportError::Unreachable { .. })), "{error:?}");
        assert_eq!(error.by("n2"), error.to_string(), "whose words they are is in them");
        let can = vec![ZSTD.to_owned()];
        let mut older = Peers::default();
        older.greeting = Some(Greeting { can, ..Greeting::ours(&Root::default()) });
        older.answer("n2", |_| panic!("a verb was sent that it does not know"));
        let n2 = Address::by_its_name(&NodeName::new("n2").unwrap());
        let error = older.dial(&n2, by()).unwrap().outlook("x0", by()).unwrap_err();
        assert!(error.to_string().contains("does not know outlook"), "{error}");
        assert!(older.asked().is_empty());
    }

    #[test]
    fn who_waits_for_a_slot_hears_of_it_until_it_is_its_turn() {
        let mut told = 0;
        let mut there = Peers::connected(move |_| {
            told += 1;
            Some(if told == 1 { Answer::Waiting { why: "2 before it".to_owned() } } else { Answer::Done })
        });
        let turn = there.slot(&x0(), Direction::Incoming, None, 60, by()).unwrap();
        assert_eq!(turn, Turn::Waiting { why: "2 before it".to_owned() });
        assert_eq!(there.slot(&x0(), Direction::Incoming, Some(0), 60, by()).unwrap(), Turn::Ours);
        let late = Deadline::after(Duration::from_millis(20));
        assert!(matches!(there.next_turn(late), Err(Unanswered::Silent(_))), "nothing more was said");
    }
}
