//! Files that rot: one bit of each byte turned, cut at every length, longer than they were. Whoever reads one says what the whole file
//! said, or that it cannot be read; never *not running*, *nobody else*, or anything else that would let a domain be booted or moved
//! where the whole file would not.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use xen_handoff::clock::UnixTime;
use xen_handoff::cluster::heartbeat::Fencings;
use xen_handoff::cluster::peer_files::PeerFiles;
use xen_handoff::domain::{DomainId, DomainName};
use xen_handoff::handoff::ledger::{Entries, Entry, Ledger};
use xen_handoff::handoff::{Ended, Epoch, Event, Offer, Ran, Transfer};
use xen_handoff::host::{NodeName, Root};
use xen_handoff::node::record::Store;
use xen_handoff::node::snapshot;
use xen_handoff::small_file;

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

/// Every damage to `whole`: a bit of a byte turned, the file cut, and something behind it.
fn damages(whole: &[u8]) -> Vec<Vec<u8>> {
    let turned = (0..whole.len() * 8).map(|bit| {
        let mut turned = whole.to_vec();
        turned[bit / 8] ^= 1 << (bit % 8);
        turned
    });
    let cut = (0..whole.len()).map(|length| whole[..length].to_vec());
    let behind = [&b"\0"[..], b" ", b"\n", b"}", b"7", b"x0", &[0; 4096], whole];
    let longer = behind.iter().map(|more| [whole, more].concat());
    turned.chain(cut).chain(longer).collect()
}

/// Damages the file at `path` in every way. `is_right` is asked after each; it must be true of the whole file too.
fn rot(path: &Path, is_right: impl Fn() -> bool) -> usize {
    let whole = std::fs::read(path).unwrap();
    assert!(is_right(), "{} as it was", path.display());
    let damages = damages(&whole);
    for damaged in &damages {
        std::fs::write(path, damaged).unwrap();
        assert!(is_right(), "{}: {:?}", path.display(), String::from_utf8_lossy(damaged));
    }
    std::fs::write(path, whole).unwrap();
    damages.len()
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
