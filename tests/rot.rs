//! Files that rot: one bit of each byte turned, cut at every length, longer than they were. Whoever reads one
//! says what the whole file said, or that it cannot be read; never *not running*, *nobody else*, or anything
//! else that would let a domain be booted or moved where the whole file would not.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "rot/damage.rs"]
mod damage;

use std::path::Path;
use std::sync::Barrier;
use std::time::Duration;

use damage::rot;
use xen_handoff::clock::{Deadline, UnixTime};
use xen_handoff::cluster::heartbeat::Fencings;
use xen_handoff::cluster::peer_files::PeerFiles;
use xen_handoff::domain::{DomainId, DomainName};
use xen_handoff::handoff::handshake::Stage;
use xen_handoff::handoff::ledger::{Entries, Entry, Ledger};
use xen_handoff::handoff::{Ended, Epoch, Event, Offer, Ran, Transfer};
use xen_handoff::host::{NodeName, Root};
use xen_handoff::moves::journal::{self, Begun, Ending, Flow, Why};
use xen_handoff::moves::progress::{self, Direction, Waits};
use xen_handoff::moves::slots::Slots;
use xen_handoff::node::record::Store;
use xen_handoff::node::snapshot;
use xen_handoff::small_file;

/// The limit of what takes a moment.
const LONG: Duration = Duration::from_secs(60);

fn x0() -> DomainName {
    DomainName::new("x0").unwrap()
}

fn n1() -> NodeName {
    NodeName::new("n1").unwrap()
}

fn offer() -> Offer {
    let now = UnixTime::now();
    Offer { domain: x0(), source: n1(), epoch: Epoch::begin(), made_at: now, deadline: UnixTime(now.0 + 300) }
}

/// A host, and where its files are.
fn host() -> (tempfile::TempDir, Root, Store) {
    let folder = tempfile::tempdir().unwrap();
    let root = Root::new(folder.path());
    let store = Store::new(root.state_folder());
    std::fs::create_dir_all(folder.path().join("etc/ha.d")).unwrap();
    std::fs::write(folder.path().join("etc/ha.d/ha.cf"), "node n1 n2\n").unwrap();
    (folder, root, store)
}

#[test]
fn a_record_that_rots_says_what_it_said_or_is_unreadable() {
    let mut damaged = 0;
    let offer = offer();
    let transfer = Transfer { epoch: offer.epoch, source: n1(), target: NodeName::new("n2").unwrap() };
    for event in [Event::OfferMade(offer), Event::StreamOpened(transfer)] {
        let (_folder, root, store) = host();
        store.advance(&x0(), "test", event).unwrap();
        let whole = store.load(&x0()).unwrap();
        damaged += rot(&root.state_folder().join("x0.json"), || match store.load(&x0()) {
            Ok(record) => record == whole,
            Err(_) => true,
        });
    }
    assert!(damaged > 3000, "{damaged}");
}

#[test]
fn a_mark_of_how_a_stream_ended_says_what_it_said_or_nothing() {
    let (_folder, root, store) = host();
    for ran in [Ran::Never, Ran::Perhaps, Ran::Certainly] {
        let ended = Ended { epoch: Epoch::begin(), ran };
        store.keep_end(&x0(), ended).unwrap();
        rot(&root.state_folder().join("x0.ended"), || store.last_end(&x0()).is_none_or(|end| end == ended));
    }
}

#[test]
fn a_note_of_the_id_that_a_domain_has_is_the_same_or_none() {
    let (_folder, root, store) = host();
    store.keep_id(&x0(), DomainId(4711)).unwrap();
    rot(&root.state_folder().join("x0.domid"), || {
        [Some(DomainId(4711)), None].contains(&store.last_id(&x0()))
    });
}

#[test]
fn a_push_that_was_refused_stays_refused() {
    let (_folder, root, store) = host();
    let epoch = Epoch::begin();
    store.refuse(&x0(), epoch).unwrap();
    rot(&root.state_folder().join("x0.refused"), || store.refuses(&x0(), epoch).unwrap_or(true));
}

#[test]
fn an_entry_of_the_ledger_that_rots_is_the_same_offer_or_a_doubt() {
    let (_folder, root, _) = host();
    let (ledger, offer) = (PeerFiles::new(&root), offer());
    ledger.keep(&Entry::Offer(offer.clone())).unwrap();
    rot(&root.state_folder().join("ledger/x0,n1"), || match ledger.entries(&x0()) {
        Ok(Entries { offers, pushes, unreadable }) => {
            pushes.is_empty() && (offers == [offer.clone()] || (offers.is_empty() && !unreadable.is_empty()))
        }
        Err(_) => true,
    });
}

#[test]
fn a_ledger_is_never_older_than_it_is() {
    let (_folder, root, _) = host();
    let ledger = PeerFiles::new(&root);
    ledger.age().unwrap();
    let since = root.state_folder().join("ledger/since");
    rot(&since, || ledger.age().is_ok_and(|age| age.as_secs() < 3600));
}

#[test]
fn a_fencing_is_never_another_one() {
    let (_folder, root, _) = host();
    let fencings = Fencings::of(&root);
    fencings.note(&n1()).unwrap();
    let at = fencings.at(&n1());
    rot(&root.state_folder().join("fenced/n1"), || fencings.at(&n1()).is_none_or(|other| Some(other) == at));
}

#[test]
fn a_mark_of_a_run_is_never_another_one() {
    let (_folder, root, _) = host();
    let mark = snapshot::mark(&root, &x0()).unwrap();
    rot(&root.lasting_folder().join("x0.run"), || {
        snapshot::mark(&root, &x0()).is_ok_and(|other| other == mark) || {
            // It says so, and makes no new one.
            snapshot::mark(&root, &x0()).is_err()
        }
    });
}

#[test]
fn a_snapshot_that_rots_is_the_same_or_none_that_can_be_used() {
    let (_folder, root, _) = host();
    let folder = root.lasting_folder();
    let marks = [(n1(), Epoch::begin())].into();
    let manifest = snapshot::Manifest { domain: x0(), epoch: Epoch::begin(), saved_by: n1(), marks };
    small_file::keep_json(&folder.join("x0.snapshot"), &manifest).unwrap();
    let domain = x0();
    let snapshots = snapshot::Folder::new(&folder, &domain);
    // Taking it renames it.
    rot(&folder.join("x0.snapshot"), || {
        snapshots.take().map_or(true, |taken| taken == Some(manifest.clone()))
    });
}

/// The slots of a host that has so many in each direction.
fn slots(root: &Root, direction: Direction, limit: usize) -> Slots {
    let settings = root.join("/etc/sysconfig/xen-handoff");
    std::fs::create_dir_all(settings.parent().unwrap()).unwrap();
    let text = format!("max_incoming_migrations={limit}\nmax_outgoing_migrations={limit}\n");
    std::fs::write(settings, text).unwrap();
    let slots = Slots::of(root, direction);
    assert_eq!(slots.limit(), limit);
    slots
}

#[test]
fn a_slot_whose_ticket_rots_is_still_taken() {
    let (_folder, root, _) = host();
    let slots = slots(&root, Direction::Incoming, 2);
    let x1 = DomainName::new("x1").unwrap();
    let _has = slots.take_free(&x0()).unwrap();
    rot(&root.state_folder().join("slots/incoming/0"), || {
        let second = slots.take_free(&x1);
        second.is_ok() && slots.take_free(&x1).is_err_and(|why| why.contains("(2 moves under way)"))
    });
}

#[test]
fn those_who_wait_with_tickets_that_rot_have_their_turns_and_stand_in_nobodys_way() {
    let (_folder, root, _) = host();
    let slots = slots(&root, Direction::Incoming, 1);
    let folder = root.state_folder().join("slots/incoming");
    let has = slots.take_free(&x0()).unwrap();
    let both_rot = Barrier::new(3);
    let waits = |name: &str| {
        let mut looks = 0;
        let place = slots.wait(&DomainName::new(name).unwrap(), 0, Deadline::after(LONG), |why| {
            looks += 1;
            if looks == 1 {
                assert!(why.contains("waits for one of 1 incoming slots (1 moves under way"), "{why}");
                both_rot.wait();
                both_rot.wait();
            }
            std::thread::yield_now();
            Ok(())
        });
        place.map(drop)
    };
    std::thread::scope(|scope| {
        let waits = &waits;
        let waiting = ["x1", "x2"].map(|name| scope.spawn(move || waits(name)));
        both_rot.wait();
        for ticket in ["1", "2"] {
            std::fs::write(folder.join(ticket), [0; 64]).unwrap();
        }
        assert!(slots.take_free(&x0()).is_err_and(|why| why.contains("(3 moves under way)")));
        drop(has);
        both_rot.wait();
        for one in waiting {
            assert_eq!(one.join().unwrap(), Ok(()));
        }
    });
}

#[test]
fn a_line_of_the_log_of_moves_that_rots_is_left_out_and_takes_no_later_one_with_it() {
    let (_folder, root, _) = host();
    let note = |mib: u64| {
        let flow = Flow { bytes: mib << 20, opened_ms: Some(300), ready_ms: Some(4300), ..Flow::default() };
        let transfer = Transfer { epoch: Epoch::begin(), source: n1(), target: NodeName::new("n2").unwrap() };
        let begun = Begun::now(&x0(), &transfer, Why::Handoff, Direction::Incoming);
        begun.ended(&root, flow, Ending::Moved, "Migration successful.");
    };
    note(256);
    note(64);
    let log = root.lasting_folder().join("moves.jsonl");
    let whole = journal::read(&root).unwrap();
    assert_eq!((whole.len(), journal::measured_rate(&root)), (2, Some(16.0)));
    // One that is damaged is left out, or the other is, or both; what is left was written so.
    rot(&log, || {
        let is_left = journal::read(&root).unwrap().iter().all(|entry| whole.contains(entry));
        is_left && matches!(journal::measured_rate(&root), None | Some(16.0 | 64.0))
    });
    let text = std::fs::read(&log).unwrap();
    let cuts = (0..text.len()).step_by(5).map(|length| text[..length].to_vec());
    let longer = [&b"\0"[..], b"{", &[0; 4096]].map(|more| [&text[..], more].concat());
    for damaged in cuts.chain(longer) {
        std::fs::write(&log, &damaged).unwrap();
        note(128);
        let last = journal::read(&root).unwrap().pop();
        assert_eq!(last.map(|entry| entry.flow.bytes), Some(128 << 20), "{} bytes before it", damaged.len());
    }
}

#[test]
fn what_passed_through_a_relay_is_what_it_was_or_nothing() {
    let (_folder, root, _) = host();
    let flow = Flow { bytes: 256 << 20, rounds: Some(3), opened_ms: Some(300), ..Flow::default() };
    let passed = journal::Passed { flow, stage: Stage::Reported, ended: None };
    journal::leave_flow(&root, &x0(), &passed);
    let file = root.state_folder().join("x0.flow");
    // Taking it removes it.
    rot(&file, || [flow, Flow::default()].contains(&journal::take_flow(&root, &x0())));
}

#[test]
fn how_a_transfer_goes_on_is_what_it_was_or_nothing() {
    let (_folder, root, store) = host();
    store.advance(&x0(), "test", Event::OfferMade(offer())).unwrap();
    let mut waits = Waits::begin(&root, &x0(), Direction::Outgoing);
    waits.tell("waits for one of 1 outgoing slots (1 moves under way)");
    let whole = progress::read(&root, &x0());
    assert!(whole.is_some());
    rot(&root.state_folder().join("x0.progress"), || {
        let now = progress::read(&root, &x0());
        now.is_none() || now == whole
    });
}

#[test]
fn what_an_older_version_has_kept_is_read_unless_a_part_of_it_is_missing() {
    let (_folder, root, store) = host();
    let bare = |path: &Path| {
        let kept = small_file::kept(path).unwrap().unwrap();
        assert!(kept.is_sealed);
        std::fs::write(path, kept.text).unwrap();
    };
    let offer = offer();
    store.advance(&x0(), "test", Event::OfferMade(offer.clone())).unwrap();
    let whole = store.load(&x0()).unwrap();
    bare(&root.state_folder().join("x0.json"));
    assert_eq!(store.load(&x0()).unwrap(), whole);

    store.refuse(&x0(), offer.epoch).unwrap();
    let refused = root.state_folder().join("x0.refused");
    bare(&refused);
    let text = std::fs::read_to_string(&refused).unwrap();
    for length in 0..=text.len() {
        std::fs::write(&refused, &text[..length]).unwrap();
        assert!(store.refuses(&x0(), offer.epoch).unwrap(), "{length} of {text}");
    }
    assert!(!store.refuses(&x0(), Epoch(offer.epoch.0 + 1)).unwrap());

    let ledger = PeerFiles::new(&root);
    ledger.keep(&Entry::Offer(offer.clone())).unwrap();
    let entry = root.state_folder().join("ledger/x0,n1");
    bare(&entry);
    assert_eq!(ledger.entries(&x0()).unwrap().offers, [offer]);
    let text = std::fs::read_to_string(&entry).unwrap();
    std::fs::write(&entry, &text[..text.len() - 2]).unwrap();
    let entries = ledger.entries(&x0()).unwrap();
    assert!(entries.offers.is_empty() && entries.unreadable.len() == 1, "{entries:?}");
}
