//! `xen-handoff serve`: the far end of a connection, started by sshd as a forced command.
//!
//! This is the whole of what a holder of the cluster's key can do here:
//!
//! | verb | what it does here |
//! |---|---|
//! | `presence` | lists, and reads the record; changes nothing |
//! | `resolve` | settles what a broken transfer left here ([`crate::transfer::settle`]), then as `presence` |
//! | `reach` | dials the address that was given, with our own options and key, and hangs up; or asks over what the guard has open to it |
//! | `ledger` | reads the ledger; changes nothing |
//! | `note`, `forget` | keeps or forgets an entry in this node's part of the ledger, a small file |
//! | `status` | lists, and reads all records; changes nothing |
//! | `preflight` | lists, asks for the host's memory, tries to open the disks that are named, and closes them; changes nothing |
//! | `last-run` | reads this node's mark of the domain's last run; makes one where there is none |
//! | `prepare` | only for a domain that *the cluster is sending here*: looks whether the devices that are named can be given to a domain; has domains here that take part give some memory, never below their floors ([`crate::node::memory`]); it is theirs again when the connection ends |
//! | `slot` | keeps a place in the line of moves, and then a slot, as long as the connection lasts |
//! | `claim` | sends a domain that *is on offer under this epoch* to the caller |
//! | `yield` | ends *an offer of this epoch* before its deadline: its keeper shuts the domain down in order |
//! | `moves` | reads the log of moves; changes nothing |
//! | `setup` | reads this node's own set-up: modes of the key's files, the *public* keys of cluster and sshd, whether the guard runs; asks toolstack and scheduler; changes nothing |
//! | `xendomains` | reads what Xen's own service for guests would do with the cluster's domains: its settings and the files that it would start; changes nothing |
//! | `look` | compares files that are named with a digest, and opens disks that are named for their size; changes nothing |
//! | `trial` | tries what a stop of a resource of this cluster would try (lists, asks the scheduler, dials the target), and promises nothing |
//! | `outlook` | asks this node's scheduler where it would start a resource; changes nothing |
//! | `receive` | takes a domain from the caller that *the cluster is sending here under this epoch*, if none of that name is here |
//!
//! That the cluster is sending a domain here is found out here: the push is in this node's ledger, it names
//! this node as its target, and a resource of this agent manages the domain.
//!
//! Where the toolstack is not xl, `claim`, `receive` and `prepare` are refused with that reason: there is no
//! stream to carry.
//!
//! Who comes with a key of one node's own speaks for that node alone ([`speaker`]): it claims, ends, sends
//! and notes in its own name.
//!
//! What the caller asked sshd to run (`SSH_ORIGINAL_COMMAND`) is not looked at. Every field of a request is
//! parsed into a type that cannot be mistaken for an option or a path; a line that does not parse ends the
//! connection.

use std::os::fd::OwnedFd;

use crate::cluster::heartbeat::Fencings;
use crate::here::Here;
use crate::host::NodeName;
use crate::wire::message::{Greeting, Request};
use crate::wire::write_line;

mod caller;
mod claim;
mod connections;
mod facts;
mod give_up;
mod ledger;
mod moves;
mod outlook;
mod prepare;
mod pushed;
mod reach;
mod receive;
mod slot;
pub mod speaker;
mod standing;

use caller::{Caller, refused};
use speaker::Speaker;

/// Answers the caller until it hangs up or a stream has passed. `peer`: whose key it has come with, where
/// that is one node's own.
///
/// # Errors
/// If the caller does not keep to the protocol, or what it asked for cannot be done. A caller that does not
/// wait for its answer is none.
pub fn serve(here: &Here, peer: Option<NodeName>) -> anyhow::Result<()> {
    answer_all(here, &Speaker::of(peer)).or_else(|error| match error.downcast_ref::<std::io::Error>() {
        Some(hung_up) if hung_up.kind() == std::io::ErrorKind::BrokenPipe => {
            log::info!("the caller did not wait for the answer");
            Ok(())
        }
        _ => Err(error),
    })
}

fn answer_all(here: &Here, speaker: &Speaker) -> anyhow::Result<()> {
    let from_caller = rustix::stdio::stdin().try_clone_to_owned()?;
    let to_caller = rustix::stdio::stdout().try_clone_to_owned()?;
    // The standard streams are given up, so that the connection ends when the last of those who carry it
    // does. That includes stderr: sshd passes the end of stdout on only when stderr has ended as well.
    let nowhere = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&nowhere)?;
    rustix::stdio::dup2_stdout(&nowhere)?;
    rustix::stdio::dup2_stderr(&nowhere)?;
    converse(here, speaker, from_caller, to_caller)
}

/// As [`serve`], over these streams.
///
/// # Errors
/// As [`serve`]; also if the caller does not wait for its answer.
pub fn converse(
    here: &Here,
    speaker: &Speaker,
    from_caller: OwnedFd,
    to_caller: OwnedFd,
) -> anyhow::Result<()> {
    let _counted = match connections::count(&here.root, speaker) {
        Ok(counted) => counted,
        // Nothing is waited for: it may have come to be waited for.
        Err(why) => {
            log::warn!("a connection is refused: {why}");
            write_line(&to_caller, &Greeting::ours(&here.root))?;
            return Ok(write_line(&to_caller, &refused(why))?);
        }
    };
    Fencings::of(&here.root).forget_all()?;
    let Some(mut caller) = Caller::greet(here, speaker, from_caller, to_caller)? else { return Ok(()) };
    let movement = here.toolstack().kind().movement();
    while let Some(request) = caller.asks()? {
        if is_about_a_stream(&request)
            && let Err(none) = movement.can_be_asked_for()
        {
            caller.say(&refused(none))?;
            continue;
        }
        if let Err(why) = speaker.may_ask(&request) {
            log::warn!("{why}");
            caller.say(&refused(why))?;
            continue;
        }
        let answer = match request {
            Request::Presence { domain } => standing::presence(&caller, &domain),
            Request::Resolve { domain } => standing::resolve(&caller, &domain)?,
            Request::Status => standing::status(&caller),
            Request::Reach { back, open } => reach::reach(&caller, &back, open),
            Request::Ledger { domain } => ledger::read(&caller, &domain),
            Request::Note { domain, line } => ledger::note(&caller, &domain, &line),
            Request::Forget { domain, epoch } => ledger::forget(&caller, &domain, epoch),
            Request::Preflight { needs } => facts::preflight(&caller, &needs),
            Request::Setup => facts::set_up(&caller),
            Request::Xendomains => facts::xendomains(&caller),
            Request::Look { files, disks } => facts::look(&caller, &files, &disks),
            Request::LastRun { domain } => facts::last_run(&caller, &domain),
            Request::Moves { domain, last } => moves::moves(&caller, domain.as_ref(), last),
            Request::Outlook { resource } => outlook::outlook(&caller, &resource),
            Request::Trial { resource, target, migrates } => {
                outlook::trial(&caller, &resource, &target, migrates)
            }
            Request::Prepare { domain, room, devices, limit, comes_in } => {
                prepare::prepare(&mut caller, &prepare::Asked { domain, room, devices, limit, comes_in })
            }
            Request::Slot { domain, direction, priority, limit } => {
                slot::keep(&mut caller, &slot::Asked { domain, direction, priority, limit })
            }
            Request::Yield { domain, transfer, reason, limit } => {
                give_up::give_up(&caller, &give_up::Asked { domain, transfer, reason, limit })?
            }
            // What follows is xl's, and no more lines.
            Request::Claim { domain, transfer, back, ended, limit, terms } => {
                return claim::claim(caller, &claim::Asked { domain, transfer, back, ended, limit, terms });
            }
            Request::Receive { domain, transfer, limit, compression } => {
                return receive::receive(caller, &receive::Asked { domain, transfer, limit, compression });
            }
        };
        caller.say(&answer)?;
    }
    Ok(())
}

/// Whether it is about a stream, which not every toolstack has.
fn is_about_a_stream(request: &Request) -> bool {
    matches!(request, Request::Claim { .. } | Request::Receive { .. } | Request::Prepare { .. })
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    use super::*;
    use crate::address::Address;
    use crate::clock::{Deadline, UnixTime};
    use crate::cluster::Destination;
    use crate::cluster::fake::Fake as Cluster;
    use crate::domain::{DomainConfig, DomainId, PciAddress, Presence, RunState};
    use crate::handoff::evidence::Outlook;
    use crate::handoff::ledger::{Entry, to_text};
    use crate::handoff::{Ended, Epoch, Event, Offer, Phase, Ran, SourcePhase, Transfer};
    use crate::here::fake::{EPOCH, World, from_n2, node, offer_of, seen, to_n2, x0};
    use crate::host::Root;
    use crate::moves::journal::{self, a_move};
    use crate::moves::progress::Direction;
    use crate::moves::slots::Slots;
    use crate::moves::terms::{Compression, Terms};
    use crate::preflight::Needs;
    use crate::toolstack::Kind;
    use crate::toolstack::fake::Fake;
    use crate::wire::message::{Answer, PROTOCOL, Tried, Wanted};
    use crate::wire::{read_line, understand};

    /// What the server answers to these lines, its greeting left out; and how the conversation ended.
    fn converse_with(
        world: &World,
        (greeting, speaker): (&Greeting, &Speaker),
        requests: &[Request],
    ) -> (Vec<Answer>, anyhow::Result<()>) {
        // One pair a direction: what nobody reads any more takes nothing of what was said with it.
        let [(ours, theirs), (hears, says)] = [(); 2].map(|()| UnixStream::pair().unwrap());
        let to_server = OwnedFd::from(ours);
        write_line(&to_server, greeting).unwrap();
        requests.iter().for_each(|request| write_line(&to_server, request).unwrap());
        drop(to_server);
        let ended = converse(&world.here, speaker, OwnedFd::from(theirs), OwnedFd::from(says));
        let from_server = OwnedFd::from(hears);
        let line = || read_line(&from_server, Deadline::after(Duration::from_secs(10))).unwrap();
        let greeted: Greeting = understand(&line().unwrap()).unwrap();
        assert_eq!(greeted.protocol, PROTOCOL);
        let answers = std::iter::from_fn(line).map(|line| understand(&line).unwrap());
        (answers.collect(), ended)
    }

    fn ask_all(world: &World, requests: &[Request]) -> Vec<Answer> {
        let (answers, ended) =
            converse_with(world, (&Greeting::ours(&Root::default()), &Speaker::Any), requests);
        ended.unwrap();
        answers
    }

    fn ask(world: &World, request: Request) -> Answer {
        let mut answers = ask_all(world, &[request]);
        assert_eq!(answers.len(), 1, "{answers:?}");
        answers.remove(0)
    }

    #[test]
    fn a_peer_with_too_many_connections_is_told_so_at_once_and_another_one_is_served() {
        let world = World::listing([]);
        let n1 = Speaker::of(Some(node("n1")));
        let held: Vec<_> =
            std::iter::from_fn(|| connections::count(&world.here.root, &n1).ok()).take(10_000).collect();
        assert_eq!(held.len(), 256);
        let greeting = Greeting::ours(&Root::default());
        let (answers, ended) = converse_with(&world, (&greeting, &n1), &[]);
        ended.unwrap();
        let [Answer::Refused { reason, stands: None }] = &answers[..] else { panic!("{answers:?}") };
        assert_eq!(reason, "n1 has 256 connections here at once, as many as it may have");
        let n2 = Speaker::of(Some(node("n2")));
        let (answers, _) = converse_with(&world, (&greeting, &n2), &[Request::Presence { domain: x0() }]);
        assert!(matches!(&answers[..], [Answer::Stands { .. }]), "{answers:?}");
    }

    /// Why it refuses.
    fn refusal(world: &World, request: Request) -> String {
        match ask(world, request) {
            Answer::Refused { reason, .. } => reason,
            other => panic!("not refused: {other}"),
        }
    }

    fn presence(world: &World) -> (Presence, Phase, Option<Ended>) {
        match ask(world, Request::Presence { domain: x0() }) {
            Answer::Stands { presence, phase, ended } => (presence, phase, ended),
            other => panic!("{other}"),
        }
    }

    fn claim(transfer: Transfer) -> Request {
        let back = Address::by_its_name(&transfer.target);
        Request::Claim { domain: x0(), transfer, back, ended: None, limit: 60, terms: Terms::default() }
    }

    fn receive() -> Request {
        let compression = Compression::None;
        Request::Receive { domain: x0(), transfer: from_n2(), limit: 60, compression }
    }

    fn slot(direction: Direction, priority: Option<i64>) -> Request {
        Request::Slot { domain: x0(), direction, priority, limit: 30 }
    }

    fn give_up(transfer: Transfer) -> Request {
        Request::Yield { domain: x0(), transfer, reason: "no room".to_owned(), limit: 100 }
    }

    fn prepare(room: Option<Wanted>, devices: Vec<PciAddress>) -> Request {
        Request::Prepare { domain: x0(), room, devices, limit: 1, comes_in: 1 }
    }

    #[test]
    fn a_caller_of_another_protocol_or_with_another_line_is_answered_nothing() {
        let world = World::listing([seen::running()]);
        let other = Greeting { protocol: PROTOCOL + 1, ..Greeting::ours(&Root::default()) };
        let (answers, ended) = converse_with(&world, (&other, &Speaker::Any), &[Request::Status]);
        assert!(matches!(&answers[..], [Answer::Refused { reason, .. }] if reason.contains("you speak")));
        assert!(ended.is_ok() && world.xl.calls.borrow().is_empty());
        let (ours, theirs) = UnixStream::pair().unwrap();
        std::io::Write::write_all(&mut &ours, b"hello\n").unwrap();
        assert!(
            converse(
                &world.here,
                &Speaker::Any,
                OwnedFd::from(theirs.try_clone().unwrap()),
                OwnedFd::from(theirs)
            )
            .is_err()
        );
    }

    #[test]
    fn p1_who_speaks_in_the_name_of_another_node_is_refused_and_nothing_is_done() {
        let world = World::listing([seen::running()]);
        world.is_offered(&offer_of("n1"));
        let (greeting, n3) = (Greeting::ours(&Root::default()), Speaker::of(Some(node("n3"))));
        let asked = [claim(to_n2()), give_up(to_n2()), Request::Status];
        let (answers, ended) = converse_with(&world, (&greeting, &n3), &asked);
        ended.unwrap();
        for answer in &answers[..2] {
            assert!(
                matches!(answer, Answer::Refused { reason, .. } if reason.contains("n3 speaks for n2")),
                "{answer}"
            );
        }
        assert!(matches!(answers[2], Answer::Status { .. }), "the conversation goes on: {}", answers[2]);
        assert!(matches!(world.phase(), Phase::Source(SourcePhase::Offered { .. })));
    }

    #[test]
    fn p1_presence_is_unknown_while_somebody_has_a_hand_in_a_move_and_never_absent_by_a_failed_listing() {
        let world = World::listing([seen::running()]);
        assert!(matches!(presence(&world), (Presence::Running(_), Phase::Idle, None)));
        let ended = Ended { epoch: EPOCH, ran: Ran::Never };
        world.here.store.keep_end(&x0(), ended).unwrap();
        assert_eq!(presence(&world).2, Some(ended));
        let lock = world.here.store.begin_transfer(&x0()).unwrap();
        assert!(matches!(presence(&world).0, Presence::Unknown(why) if why.contains("about to begin")));
        drop(lock);
        world.xl.shows(Err("cut short".to_owned()));
        assert!(matches!(presence(&world).0, Presence::Unknown(_)));
        let world = World::attended([seen::absent()]);
        assert!(matches!(presence(&world).0, Presence::Unknown(why) if why.contains("it may be rebooting")));
        let world = World::listing([seen::absent()]);
        std::fs::create_dir_all(world.here.root.state_folder()).unwrap();
        world.file("run/xen-handoff/x0.json", "rotten");
        assert!(matches!(presence(&world).0, Presence::Unknown(_)), "whose record cannot be read");
    }

    #[test]
    fn p1_resolve_settles_a_target_makes_nothing_for_a_stranger_and_leaves_a_source_to_itself() {
        let world = World::listing([seen::incoming()]);
        world.is_receiving();
        world.xl.after("destroy", seen::absent());
        let Answer::Stands { presence, phase, ended } = ask(&world, Request::Resolve { domain: x0() }) else {
            panic!("another answer")
        };
        assert_eq!((presence, phase), (Presence::Absent, Phase::Idle));
        assert_eq!(ended, Some(Ended { epoch: EPOCH, ran: Ran::Never }));
        assert_eq!(world.deeds(), ["destroy x0--incoming"]);

        let world = World::listing([seen::absent()]);
        ask(&world, Request::Resolve { domain: x0() });
        assert!(!world.here.root.state_folder().join("x0.transfer").exists(), "a lock for a stranger");

        let world = World::listing([seen::migrated_away()]);
        world.is_settling();
        ask(&world, Request::Resolve { domain: x0() });
        assert!(world.deeds().is_empty() && world.phase().is_in_transfer());

        let world = World::listing([seen::incoming()]);
        world.is_receiving();
        let _at_it = world.here.store.begin_transfer(&x0()).unwrap();
        ask(&world, Request::Resolve { domain: x0() });
        assert!(world.deeds().is_empty(), "somebody is at it");
    }

    #[test]
    fn reach_dials_the_caller_and_says_what_keeps_it_from_that() {
        let world = World::listing([]);
        let reach = || Request::Reach { back: Address::by_its_name(&node("n2")), open: false };
        assert_eq!(refusal(&world, reach()), "no key on n1");
        world.file("etc/xen-handoff/id_ed25519", "");
        assert_eq!(refusal(&world, reach()), "cannot reach n2: no such node");
        world.peers.answer("n2", |_| None);
        assert_eq!(ask(&world, reach()), Answer::Reached);
        world.cluster.leaving.replace(true);
        assert_eq!(refusal(&world, reach()), "this node is leaving the cluster too");
    }

    #[test]
    fn p3_the_ledger_is_read_and_one_that_cannot_be_is_no_empty_one() {
        let world = World::listing([]);
        world.is_offered(&offer_of("n1"));
        let Answer::Ledger { entries } = ask(&world, Request::Ledger { domain: x0() }) else {
            panic!("another")
        };
        assert_eq!(entries.offers.len(), 1);
        world.cluster.entries.are(Err("attrd is dead"));
        assert_eq!(refusal(&world, Request::Ledger { domain: x0() }), "attrd is dead");
    }

    #[test]
    fn a_note_is_kept_for_a_node_of_heartbeats_and_forgotten_under_its_epoch() {
        let world = World::listing([]);
        let line = to_text(&Entry::Offer(offer_of("n2")));
        let note = |line: &str| Request::Note { domain: x0(), line: line.to_owned() };
        assert!(refusal(&world, note(&line)).contains("no node of this node's Heartbeat"));
        world.file("etc/ha.d/ha.cf", "node n1 n2\n");
        assert_eq!(ask(&world, note(&line)), Answer::Done);
        let kept = world.here.root.state_folder().join("ledger/x0,n2");
        assert!(kept.exists());
        assert!(matches!(ask(&world, note("v=9")), Answer::Refused { .. }));
        assert_eq!(ask(&world, Request::Forget { domain: x0(), epoch: Epoch(1) }), Answer::Done);
        assert!(kept.exists(), "another one's");
        assert_eq!(ask(&world, Request::Forget { domain: x0(), epoch: EPOCH }), Answer::Done);
        assert!(!kept.exists());
    }

    #[test]
    fn p1_status_has_every_record_and_one_that_cannot_be_read_is_unknown() {
        let world = World::listing([seen::running()]);
        assert_eq!(ask(&world, Request::Status), Answer::Status { rows: vec![] });
        world.is_offered(&offer_of("n1"));
        let Answer::Status { rows } = ask(&world, Request::Status) else { panic!("another answer") };
        assert_eq!((rows.len(), rows[0].domain.clone()), (1, x0()));
        world.file("run/xen-handoff/y0.json", "rotten");
        let Answer::Status { rows } = ask(&world, Request::Status) else { panic!("another answer") };
        assert!(matches!(rows[1].presence, Presence::Unknown(_)), "{rows:?}");
    }

    #[test]
    fn facts_setup_look_and_last_run_are_answered_whatever_is_missing_here() {
        let world = World::listing([seen::running()]);
        let needs = Needs { config: DomainConfig::blank(&x0()), file: None };
        let Answer::Facts { facts } = ask(&world, Request::Preflight { needs }) else { panic!("another") };
        assert!(matches!(facts.presence, Presence::Running(_)) && facts.host.is_err());
        let Answer::Setup { setup } = ask(&world, Request::Setup) else { panic!("another answer") };
        assert!(setup.key.public.is_none() && setup.planner.is_none() && setup.xen.is_err());
        let Answer::Xendomains { xendomains } = ask(&world, Request::Xendomains) else { panic!("another") };
        assert!(xendomains.is_ok_and(|found| found.starts == Ok(vec![]) && found.service.is_err()));
        world.file("disk", "12345");
        let disks = ["/disk", "/none"].map(|path| crate::host::LocalPath::new(path).unwrap());
        let look = Request::Look { files: vec![], disks: disks.to_vec() };
        let Answer::Seen { seen } = ask(&world, look) else { panic!("another answer") };
        assert_eq!(seen.disks[0].as_ref().map(|disk| disk.bytes), Ok(5));
        assert!(seen.disks[1].is_err());
        let mark = |world: &World| match ask(world, Request::LastRun { domain: x0() }) {
            Answer::LastRun { mark } => mark,
            other => panic!("{other}"),
        };
        assert_eq!(mark(&world), mark(&world), "the same until it runs again");
        let world = World::listing([]);
        world.file("var/lib/xen-handoff", "no folder");
        assert!(matches!(ask(&world, Request::LastRun { domain: x0() }), Answer::Refused { .. }));
    }

    #[test]
    fn the_newest_moves_are_sent_so_many_as_were_asked_for_and_fit_on_a_line() {
        let world = World::listing([]);
        let moves = |last| match ask(&world, Request::Moves { domain: None, last }) {
            Answer::Moves { moves } => moves,
            other => panic!("{other}"),
        };
        assert!(moves(3).is_empty());
        for n in 1..=5 {
            journal::note(&world.here.root, &a_move(n));
        }
        assert_eq!(moves(3), [3, 4, 5].map(a_move));
        let other = Request::Moves { domain: Some(crate::domain::DomainName::new("y0").unwrap()), last: 3 };
        assert_eq!(ask(&world, other), Answer::Moves { moves: vec![] });
        let long = |n| journal::Move { said: "x".repeat(3000), ..a_move(n) };
        for n in 6..=60 {
            journal::note(&world.here.root, &long(n));
        }
        let fit = moves(100);
        assert!((10..30).contains(&fit.len()) && fit.last() == Some(&long(60)), "{}", fit.len());
    }

    #[test]
    fn p5_the_outlook_says_nobody_only_where_the_cluster_manager_does() {
        let world = World::listing([]);
        let outlook = |world: &World| match ask(world, Request::Outlook { resource: "x0".to_owned() }) {
            Answer::Outlook { outlook } => outlook,
            other => panic!("{other}"),
        };
        assert_eq!(outlook(&world), Outlook::NoManager);
        world.cluster.as_it_is.are(Err("aborted"));
        assert!(matches!(outlook(&world), Outlook::Unknown { .. }));
        world.cluster.as_it_is.are(Ok(Destination::Node(node("n3"))));
        assert_eq!(outlook(&world), Outlook::Somebody { node: node("n3") });
        world.cluster.as_it_is.are(Ok(Destination::Nowhere));
        assert_eq!(outlook(&world), Outlook::Nobody);
    }

    #[test]
    fn a_trial_is_a_process_of_its_own_and_one_that_says_nothing_is_unknown() {
        let world = World::listing([]);
        let trial = || Request::Trial { resource: "x0".to_owned(), target: node("n2"), migrates: true };
        world.plant(
            "xen-handoff",
            r#"test "$*" = "trial --target n2 --migrates -- x0" && echo '{"is":"moves"}'"#,
        );
        assert_eq!(ask(&world, trial()), Answer::Tried { tried: Tried::Moves });
        world.plant("xen-handoff", "exit 1");
        assert!(matches!(ask(&world, trial()), Answer::Tried { tried: Tried::Unknown { .. } }));
    }

    #[test]
    fn where_no_stream_can_be_carried_nobody_claims_sends_or_prepares() {
        let world = World::of(Fake { kind: Some(Kind::Xm), ..Fake::showing([Ok(seen::running())]) });
        world.is_pushed_here();
        for request in [claim(to_n2()), receive(), prepare(None, vec![])] {
            assert!(refusal(&world, request).contains("xm"), "and the conversation goes on");
        }
        assert_eq!(world.phase(), Phase::Idle);
    }

    #[test]
    fn room_and_devices_are_prepared_only_for_what_the_cluster_sends_here() {
        let world = World::listing([seen::absent()]);
        assert!(refusal(&world, prepare(None, vec![])).contains("no migration of it to n1"));
        world.is_pushed_here();
        assert_eq!(ask(&world, prepare(None, vec![])), Answer::Done);
        let device = PciAddress::new("0000:03:10.1").unwrap();
        assert!(refusal(&world, prepare(None, vec![device.clone()])).contains("cannot be given to a domain"));
        world.file("sys/bus/pci/drivers/pciback/0000:03:10.1", "");
        assert_eq!(ask(&world, prepare(None, vec![device])), Answer::Done);
        let room = Some(Wanted { mib: 1024, dom0_keeps_mib: 512 });
        assert!(refusal(&world, prepare(room, vec![])).starts_with("there is not enough memory for it: "));
        world.cluster.migrates.replace(false);
        assert!(refusal(&world, prepare(None, vec![])).contains("migrates nothing"));
    }

    #[test]
    fn p1_a_push_is_expected_by_this_nodes_own_ledger_and_resources_and_by_nothing_else() {
        let world = World::listing([seen::absent()]);
        world.is_pushed_here();
        world.cluster.domains.are(Ok(vec![]));
        assert_eq!(refusal(&world, receive()), "no resource of this agent manages it");
        world.cluster.domains.are(Err("the CIB is gone"));
        assert!(refusal(&world, receive()).contains("the CIB is gone"));
        world.is_pushed_here();
        let to_n3 = Transfer { target: node("n3"), ..from_n2() };
        let compression = Compression::None;
        let stray = Request::Receive { domain: x0(), transfer: to_n3, limit: 60, compression };
        assert_eq!(refusal(&world, stray), "it is sent to n3, and this node is n1");
        assert_eq!(world.phase(), Phase::Idle);
    }

    #[test]
    fn p1_nothing_is_received_where_one_is_here_or_a_stop_has_refused_it_or_somebody_is_at_it() {
        let world = World::listing([seen::running()]);
        world.is_pushed_here();
        assert_eq!(refusal(&world, receive()), "x0 is running (domid 1) here");
        world.xl.shows(Err("cut short".to_owned()));
        assert!(refusal(&world, receive()).contains("unknown"), "that it is absent is not known");
        world.xl.shows(Ok(seen::absent()));
        let lock = world.here.store.begin_transfer(&x0()).unwrap();
        assert_eq!(refusal(&world, receive()), "a transfer of this domain is under way here");
        drop(lock);
        world.here.store.refuse(&x0(), EPOCH).unwrap();
        assert!(refusal(&world, receive()).contains("told to stop it since"));
        assert_eq!(world.phase(), Phase::Idle);
    }

    #[test]
    fn what_is_granted_and_does_not_come_leaves_nothing_and_says_that_it_never_ran() {
        let world = World::listing([seen::absent()]);
        world.is_pushed_here();
        world.plant("xen-handoff", "exec true");
        let mut answers = ask_all(&world, &[slot(Direction::Incoming, None), receive()]);
        assert_eq!((answers.remove(0), answers.remove(0)), (Answer::Done, Answer::Granted));
        assert_eq!(world.phase(), Phase::Idle);
        assert_eq!(world.here.store.last_end(&x0()), Some(Ended { epoch: EPOCH, ran: Ran::Never }));
        assert!(Slots::of(&world.here.root, Direction::Incoming).tickets().unwrap().is_empty());
    }

    #[test]
    fn p4_a_claim_whose_stream_does_not_come_about_leaves_the_offer_as_it_was() {
        let world = World::listing([seen::running()]);
        world.is_offered(&offer_of("n1"));
        world.plant("xl", "exit 1");
        world.plant("xen-handoff", "exit 1");
        let answers = ask_all(&world, &[slot(Direction::Outgoing, None), claim(to_n2())]);
        assert_eq!(answers, [Answer::Done, Answer::Granted]);
        assert!(matches!(world.phase(), Phase::Source(SourcePhase::Offered { .. })), "{}", world.phase());
        let record = world.here.store.load(&x0()).unwrap();
        assert_eq!(record.peer, Some(Address::by_its_name(&node("n2"))), "who may have to be asked later");
    }

    #[test]
    fn a_claim_is_refused_with_how_the_domain_stands_and_nothing_is_changed() {
        let world = World::listing([seen::running()]);
        let stands = |world: &World, transfer: Transfer| match ask(world, claim(transfer)) {
            Answer::Refused { reason, stands } => (reason, stands),
            other => panic!("not refused: {other}"),
        };
        let (reason, at) = stands(&world, to_n2());
        assert_eq!(reason, "this node did not offer the domain");
        assert_eq!(at, Some((Presence::Running(DomainId(1)), Phase::Idle)));
        let made = std::fs::read_dir(world.here.root.state_folder()).unwrap().flatten();
        let made: Vec<_> = made.map(|entry| entry.file_name()).filter(|name| name != "connections").collect();
        assert!(made.is_empty(), "nothing is made on disk for it: {made:?}");
        world.is_offered(&offer_of("n1"));
        let offered = world.phase();
        let (reason, at) = stands(&world, Transfer { epoch: Epoch(1), ..to_n2() });
        assert!(reason.contains("another offer"), "{reason}");
        assert_eq!(at.unwrap().1, offered);
        world.xl.shows(Ok(seen::own(RunState::Paused)));
        assert!(stands(&world, to_n2()).0.contains("x0 is paused"));
        let lock = world.here.store.begin_transfer(&x0()).unwrap();
        assert_eq!(stands(&world, to_n2()).0, "a transfer of this domain is under way here");
        drop(lock);
        assert_eq!(world.phase(), offered);
    }

    #[test]
    fn p5_an_offer_that_has_come_to_its_end_is_its_keepers() {
        let world = World::listing([seen::running()]);
        world.is_offered(&Offer { deadline: UnixTime::now(), ..offer_of("n1") });
        let reason = refusal(&world, claim(to_n2()));
        assert_eq!(reason, "its offer has come to its end");
        assert!(matches!(world.phase(), Phase::Source(SourcePhase::Offered { .. })));
    }

    #[test]
    fn p4_a_claim_after_a_broken_stream_settles_that_first_by_the_claimants_own_word() {
        let world = World::listing([seen::migrated_away()]);
        world.is_settling();
        world.plant("xl", "exit 1");
        world.plant("xen-handoff", "exit 1");
        world.xl.after("rename", seen::own(RunState::Frozen));
        world.xl.after("resume", seen::running());
        let ended = Some(Ended { epoch: EPOCH, ran: Ran::Never });
        let (back, terms) = (Address::by_its_name(&node("n2")), Terms::default());
        let again = Request::Claim { domain: x0(), transfer: to_n2(), back, ended, limit: 60, terms };
        assert_eq!(ask(&world, again), Answer::Granted);
        assert_eq!(world.deeds(), ["rename x0--migratedaway x0", "resume 1"]);

        let world = World::listing([seen::migrated_away()]);
        world.is_settling();
        let reason = refusal(&world, claim(to_n2()));
        assert!(reason.contains("given away as --migratedaway"), "no word, nothing done: {reason}");
        assert!(world.deeds().is_empty());
    }

    #[test]
    fn p7_a_device_that_stays_keeps_the_domain_and_its_offer_here() {
        let world = World::listing([seen::running()]);
        let device = PciAddress::new("0000:03:10.1").unwrap();
        let offer = offer_of("n1");
        let with = |record: &mut crate::node::record::Record| record.devices = vec![device.clone()];
        world.here.store.advance_with(&x0(), "test", Event::OfferMade(offer.clone()), with).unwrap();
        world.record([Event::OfferRecorded(crate::here::fake::recorded(&offer))]);
        world.xl.fails("pci-detach", 1);
        assert!(refusal(&world, claim(to_n2())).contains("a device of it cannot be detached"));
        assert!(matches!(world.phase(), Phase::Source(SourcePhase::Offered { .. })), "{}", world.phase());
    }

    #[test]
    fn a_slot_is_for_what_may_move_now_and_is_waited_for_in_line() {
        let world = World::listing([seen::running()]);
        let Answer::Refused { reason, stands } = ask(&world, slot(Direction::Outgoing, None)) else {
            panic!("not refused")
        };
        assert!(reason.contains("not on offer here any more"), "{reason}");
        assert!(stands.is_some(), "how it stands here decides what its start does next");
        assert!(refusal(&world, slot(Direction::Incoming, None)).contains("no migration of it"));
        world.is_offered(&offer_of("n1"));
        assert_eq!(ask(&world, slot(Direction::Outgoing, None)), Answer::Done);
        world.file("etc/sysconfig/xen-handoff", "max_outgoing_migrations=1\n");
        let y0 = crate::domain::DomainName::new("y0").unwrap();
        let _taken = Slots::of(&world.here.root, Direction::Outgoing).take_free(&y0).unwrap();
        assert!(matches!(ask(&world, slot(Direction::Outgoing, None)), Answer::Waiting { .. }));
        // Who has hung up waits for nothing.
        assert_eq!(refusal(&world, slot(Direction::Outgoing, Some(0))), "the caller has gone");
    }

    #[test]
    fn p7_an_offer_is_given_up_for_a_node_of_the_cluster_and_its_keeper_ends_the_guest() {
        let world = World::listing([seen::running()]);
        world.plant("xen-handoff", &format!("echo $* > {}/kept", world.here.root.join("/").display()));
        world.is_offered(&offer_of("n1"));
        world.cluster.peers.are(Ok(vec![Cluster::member("n3")]));
        assert_eq!(refusal(&world, give_up(to_n2())), "n2 is no node of this cluster");
        world.cluster.peers.are(Ok(vec![Cluster::member("n2")]));
        assert!(refusal(&world, give_up(Transfer { epoch: Epoch(1), ..to_n2() })).contains("another offer"));
        let lock = world.here.store.begin_transfer(&x0()).unwrap();
        assert_eq!(refusal(&world, give_up(to_n2())), "a transfer of this domain is under way here");
        drop(lock);
        assert!(matches!(world.phase(), Phase::Source(SourcePhase::Offered { .. })));
        assert_eq!(ask(&world, give_up(to_n2())), Answer::Done);
        let record = world.here.store.load(&x0()).unwrap();
        assert!(matches!(record.state, Phase::Source(SourcePhase::Withdrawing { .. })), "{}", record.state);
        assert_eq!(record.yielded_to, Some(node("n2")));
        assert_eq!(record.terms.unwrap().seconds, 60, "of the 100 that it can wait");
        assert_eq!(ask(&world, give_up(to_n2())), Answer::Done, "the first answer may be lost");
        assert!(world.deeds().is_empty(), "the shutdown is the keeper's");
    }

    #[test]
    fn p4_an_offer_whose_stream_has_no_clear_end_is_not_given_up() {
        let world = World::listing([seen::migrated_away()]);
        world.is_settling();
        world.cluster.peers.are(Ok(vec![Cluster::member("n2")]));
        let reason = refusal(&world, give_up(to_n2()));
        assert!(reason.contains("not known whether the target runs"), "{reason}");
        assert!(matches!(world.phase(), Phase::Source(SourcePhase::Settling { .. })));
        let world = World::listing([seen::running()]);
        assert_eq!(refusal(&world, give_up(to_n2())), "this node did not offer the domain");
    }
}
