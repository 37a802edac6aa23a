//! What is fuzzed: each reader of text from outside, with what it is made of.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::fs::{FlockOperation, MemfdFlags, flock, memfd_create};
use xen_handoff::clock::{Deadline, UnixTime};
use xen_handoff::cluster::peer_files::PeerFiles;
use xen_handoff::domain::{DomainName, PciAddress};
use xen_handoff::foreign::Foreign;
use xen_handoff::handoff::handshake::{BANNER, GO, READY, REPORT, Reader};
use xen_handoff::handoff::ledger::{Entry, Ledger, from_text, to_text};
use xen_handoff::handoff::{Ended, Epoch, Event, Offer, Push, Ran, Transfer};
use xen_handoff::here::Here;
use xen_handoff::host::{LocalPath, NodeName, Root};
use xen_handoff::moves::journal;
use xen_handoff::moves::progress::Passing;
use xen_handoff::moves::progress::{self, Direction};
use xen_handoff::moves::slots::Slots;
use xen_handoff::node::record::Store;
use xen_handoff::node::snapshot;
use xen_handoff::ocf::environment::Environment;
use xen_handoff::ocf::span::{parse_span, parse_timeout};
use xen_handoff::parameters::Parameters;
use xen_handoff::transfer::frames::{Packer, Unpacker};
use xen_handoff::transfer::pipe::{Carriage, Ends, Form, Watcher, carry};
use xen_handoff::transfer::rounds::Rounds;
use xen_handoff::wire::Connection;
use xen_handoff::{agent, cluster, node, serve, settings, tool, toolstack, wire};

/// What is given each input.
pub(super) type Run = Box<dyn Fn(&[u8])>;

/// One thing that reads.
pub(super) struct Target {
    /// What it reads.
    pub(super) name: String,
    /// What its inputs are made of.
    pub(super) seeds: Vec<Vec<u8>>,
    /// Reads an input.
    pub(super) run: Run,
    /// How many inputs it gets in its turn: the dearer, the fewer.
    pub(super) turn: u64,
}

/// What was captured of each tool, by the name of its reader: the beginning of a file's name below `tests/captured`.
const CAPTURED: &[(&str, &[&str])] = &[
    ("xl list", &["xl-4.17/list--", "xl-4.20/list--", "xl-4.17/list-name", "xl-4.17/list-verbose"]),
    ("xl list --long", &["xl-4.17/list-long", "xl-4.20/list-long"]),
    ("xl create --dryrun", &["xl-4.17/create-dryrun", "xl-4.20/create-dryrun"]),
    ("xl pci-list", &[]),
    ("xl info", &["xl-4.17/info", "xl-4.20/info"]),
    ("xl's words", &["xl-4.17/migrate--", "xl-4.17/create--", "xl-4.17/resume", "xl-4.20/resume"]),
    ("the log and the file of an xl", &["xl-4.17/monitor-"]),
    ("xm list", &["xm-3/list--"]),
    ("xm list --long", &["xm-3/list-long"]),
    ("xe vm-list", &["xe/vm-"]),
    ("xe host-list", &["xe/host-list"]),
    ("settings", &["xe/xensource-inventory"]),
    (
        "the CIB",
        &[
            "pacemaker-2.0.5/04-standby.cib",
            "pacemaker-2.1.5/16-",
            "pacemaker-3.0.0/22-",
            "pacemaker-3.0.3/01-",
            "field/",
        ],
    ),
    (
        "crm_mon",
        &[
            "pacemaker-2.0.5/04-standby.after",
            "pacemaker-2.1.5/16-promotable-below.after",
            "pacemaker-3.0.3/01-disable.after",
        ],
    ),
    (
        "crm_simulate's graph",
        &[
            "pacemaker-2.0.5/04-standby.once",
            "pacemaker-2.1.5/16-promotable-below.before",
            "pacemaker-3.0.3/01-disable.once",
        ],
    ),
    (
        "stonith_admin's history",
        &[
            "pacemaker-2.0.5/stonith",
            "pacemaker-2.1.5/stonith",
            "pacemaker-3.0.0/stonith",
            "pacemaker-3.0.3/stonith",
        ],
    ),
    (
        "attrd_updater",
        &["pacemaker-2.0.5/attrd_updater", "pacemaker-2.1.5/attrd_updater", "pacemaker-3.0.3/attrd_updater"],
    ),
    ("ping", &["iputils-20221126/ping"]),
    ("httperf", &["httperf-0.9.0/report"]),
];

/// What was never captured, or is written by this program itself.
const WRITTEN: &[(&str, &[&str])] = &[
    (
        "a pasted line",
        &[
            "Nov 22 10:41:07 n1 xen-handoff[1]: resource=x0 domain=x0 node=n1 no handoff: handoff=never [XH0102]",
            "x0 on n2: n1 may be running it (it offered it at 2026-11-22T10:41:07Z) and does not answer: 5",
        ],
    ),
    ("xl pci-list", &["Vdev Device\n00.0 0000:03:10.1\n01.0 0001:0a:00.0\n"]),
    ("xl.conf", &["autoballoon=\"auto\"\n#x\nautoballoon = 'off'\n"]),
    (
        "the log and the file of an xl",
        &[
            "Waiting for domain x0 (domid 7) to die [pid 7]\n",
            "/var/log/xen/xl-x0--incoming.log.1",
            "name = \"x0\"\nmemory=16\n",
            "/var/log/xen/xl-x0.log (deleted)",
        ],
    ),
    (
        "xenstore-ls /vm",
        &[
            "1234-5678 = \"\"\n name = \"x0\"\n device = \"\"\n  restart_in_progress = \"1\"\n",
            "a = \"\"...\n name = \"Zombie-3-x0\"\n",
        ],
    ),
    (
        "xm list",
        &[
            "Name  ID  Mem VCPUs State Time(s)\nDomain-0 0 100 1 r----- 1.0\nmigrating-x0 3 16 1 -b---- 2.5\nx1  16 1  0.0\nZombie-x0 4 0 1 ----cd 1.0\n",
        ],
    ),
    (
        "xe vm-list",
        &[
            "uuid ( RO)    : 1\n    name-label ( RW): x0\n    power-state ( RO): running\n    resident-on ( RO): host-0\n    dom-id ( RO): 3\n    current-operations (SRO): OpaqueRef:1: pool_migrate\n    is-control-domain ( RO): false\n\n\nuuid ( RO)    : 2\n    name-label ( RW): Control domain\n    power-state ( RO): running\n    resident-on ( RO): host-0\n    dom-id ( RO): 0\n    current-operations (SRO): \n    is-control-domain ( RO): true\n",
        ],
    ),
    (
        "xe host-list",
        &[
            "software-version (MRO)    : product_version: 6.5.0; xen: 4.4.1-xs90192; linux: 3.10\n    memory-total ( RO): 34359738368\n    memory-free ( RO): 1\n    capabilities (SRO): xen-3.0-x86_64; hvm-3.0\n",
        ],
    ),
    (
        "settings",
        &["# a\nXEN_HANDOFF_TOOLSTACK=xl\nmax_incoming_migrations = \"2\"\nmax_outgoing_migrations='x'\n"],
    ),
    ("NAME.memory", &[r#"{"floor_mib":128,"had_mib":256}"#, r#"{"floor_mib":128,"had_mib":null}"#]),
    ("NAME.room", &[r#"{"mib":256,"until":1795344067}"#]),
    ("NAME.utilization", &[r#"{"cpu":1,"hv_memory":null}"#]),
    (
        "NAME.identity",
        &[
            r#"{"domain":"x0","file":{"path":"/etc/xen/x0.cfg","size":40,"modified":[1,2],"inode":3},"config":{"name":"x0","guest":"pvh","memory_mib":16,"processors":1,"disks":["/dev/vg/x0"],"disks_by_script":[],"bridges":["br0"],"passthrough":[],"may_not_migrate":false},"check":"0011223344556677"}"#,
            r#"{"domain":"x0","file":null}"#,
        ],
    ),
    ("ha.cf", &["node n1 n2 # x\nnode n3\nauto_failback on\n"]),
    (
        "haresources",
        &[
            "n1 10.0.0.9/24/eth0 drbddisk::r0 \\\n  xen-handoff::x0::/etc/xen/x0.cfg::timeout=300 OCF::Xen::x3\n",
        ],
    ),
    (
        "attrd_updater",
        &[
            "name=\"xen-handoff-x0\" host=\"n2\" value=\"v=1;source=n1;epoch=7;made=1;deadline=2\"\nname=\"a\" host=\"n1\" value=\"v=1;source=n1;epoch=7;made=1;target=n2\"\n",
        ],
    ),
    (
        "stonith_admin's history",
        &[
            "<r><fence_history><fence_event target=\"n1\" action=\"reboot\" status=\"success\" completed=\"2026-11-22 10:41:07.123456 +01:00\"/></fence_history></r>",
            "2026-11-22 11:41:07 +0100",
        ],
    ),
    (
        "xenstored",
        &[
            "\u{1}\0\0\0\0\0\0\0\0\0\0\0\u{4}\0\0\x000\x001\0",
            "\u{2}\0\0\0\0\0\0\0\0\0\0\0\u{2}\0\0\0x0\u{2}\0\0\0\u{1}\0\0\0\0\0\0\0\u{2}\0\0\0x0",
        ],
    ),
    ("a line of another node's, as it is", &["\u{1b}[2Jgone\n\t\u{7}ok"]),
    ("ping", &["[1795344067.123] 64 bytes from 10.0.0.1: icmp_seq=1 ttl=64 time=0.05 ms\n"]),
    (
        "events",
        &[
            "1795344067.5 n1 xen-handoff[1]: domain=x0 transfer begins epoch=7 to n2\n1795344068 n2 pacemaker: x\n",
        ],
    ),
];

/// The readers of each room.
const READERS: &[&[Foreign]] = &[
    agent::UTILIZATION,
    cluster::ATTRIBUTES,
    cluster::heartbeat::FOREIGN,
    cluster::pacemaker::FOREIGN,
    node::identity::FOREIGN,
    node::memory::FOREIGN,
    settings::FOREIGN,
    tool::explain::FOREIGN,
    toolstack::glance::FOREIGN,
    toolstack::xe::FOREIGN,
    toolstack::xl::FOREIGN,
    toolstack::xm::FOREIGN,
    wire::FOREIGN,
];

/// All targets.
pub(super) fn all(repository: &Path, scratch: &Path) -> Vec<Target> {
    let mut targets: Vec<Target> = READERS
        .iter()
        .copied()
        .flatten()
        .map(|reader| {
            let is_large = matches!(reader.name, "the CIB" | "crm_mon" | "crm_simulate's graph");
            text(reader.name, if is_large { 20 } else { 2000 }, reader.read)
        })
        .collect();
    targets.extend(public());
    targets.extend(files(scratch));
    targets.extend(streams());
    targets.extend(talks(scratch));
    for target in &mut targets {
        target.seeds.extend(captured(repository, &target.name));
        let written = WRITTEN.iter().filter(|(name, _)| *name == target.name);
        target.seeds.extend(written.flat_map(|(_, texts)| texts.iter().map(|text| text.as_bytes().to_vec())));
        if target.name == "a line of another node's" {
            target.seeds.extend(lines());
        }
        target.seeds.extend(kept(repository, &target.name).into_iter().map(|(_, input)| input));
        assert!(!target.seeds.is_empty(), "{} is made of nothing", target.name);
    }
    targets
}

/// Inputs of this target that failed once.
pub(super) fn kept(repository: &Path, name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = corpus(repository, name);
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|file| file.path());
    let mut kept: Vec<_> = files.filter_map(|path| Some((path.clone(), std::fs::read(path).ok()?))).collect();
    kept.sort();
    kept
}

/// Where they are.
pub(super) fn corpus(repository: &Path, name: &str) -> PathBuf {
    let plain: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).collect();
    repository.join("tests/fuzz/corpus").join(plain)
}

fn captured(repository: &Path, name: &str) -> Vec<Vec<u8>> {
    let begins = CAPTURED.iter().filter(|(of, _)| *of == name).flat_map(|(_, begins)| begins.iter());
    let mut found = Vec::new();
    for begin in begins {
        let (folder, begin) = begin.split_once('/').unwrap_or((begin, ""));
        let mut files: Vec<PathBuf> = std::fs::read_dir(repository.join("tests/captured").join(folder))
            .unwrap()
            .flatten()
            .map(|file| file.path())
            .filter(|path| {
                path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(begin))
            })
            .collect();
        files.sort();
        assert!(!files.is_empty(), "nothing was captured as {begin}");
        found.extend(files.iter().map(|file| std::fs::read(file).unwrap()));
    }
    found
}

fn text(name: &str, turn: u64, read: impl Fn(&str) + 'static) -> Target {
    // As a tool's output is taken: what is no text becomes U+FFFD.
    let run = move |input: &[u8]| read(&String::from_utf8_lossy(input));
    Target { name: name.to_owned(), seeds: Vec::new(), run: Box::new(run), turn }
}

fn bytes(name: &str, turn: u64, seeds: Vec<Vec<u8>>, run: impl Fn(&[u8]) + 'static) -> Target {
    Target { name: name.to_owned(), seeds, run: Box::new(run), turn }
}

/// Readers that anybody may call.
fn public() -> Vec<Target> {
    let entries = [
        Entry::Offer(offer()),
        Entry::Push(Push { domain: x0(), transfer: transfer(), made_at: UnixTime(7) }),
    ];
    let entries = entries.iter().map(|entry| to_text(entry).into_bytes()).collect();
    let set = "xmfile=/etc/xen/x0.cfg\nname=x0\nhandoff_timeout=PT5M\nshutdown_timeout=60s\nmigration_rate=100\nmigration_port=22\n\
               handoff=auto\ntoolstack=xl\nmonitor_scripts=/a /b\nnode_ip_attribute=ip\nreserved_Dom0_memory=512\nmigration_deadline=1h\n";
    let variables = "XEN_HANDOFF_ROOT=/\nOCF_RESOURCE_INSTANCE=x0\nOCF_RESKEY_CRM_meta_timeout=60000\nOCF_RESKEY_CRM_meta_interval=10000\n\
                     OCF_RESKEY_CRM_meta_on_node=n1\nOCF_CHECK_LEVEL=10\nHA_CURHOST=n1\nOCF_RESKEY_xmfile=/x\nHA_debug=1\n";
    let pairs = |text: &str| -> BTreeMap<String, String> {
        let lines = text.lines().filter_map(|line| line.split_once('='));
        lines.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    };
    let mut found = vec![
        bytes("an entry of the ledger", 2000, entries, |input| {
            drop(from_text(&x0(), &String::from_utf8_lossy(input)))
        }),
        text("parameters", 100, move |text| drop(Parameters::judge(&pairs(text)))),
        text("the environment", 100, move |text| drop(Environment::from_pairs(pairs(text)))),
        text("times and names", 2000, |text| {
            let _ = (parse_span(text), parse_timeout(text));
            let _ = (DomainName::new(text), NodeName::new(text), LocalPath::new(text), PciAddress::new(text));
        }),
    ];
    let seeds = |texts: &[&str]| texts.iter().map(|text| text.as_bytes().to_vec()).collect::<Vec<_>>();
    found[1].seeds = seeds(&[set]);
    found[2].seeds = seeds(&[variables]);
    found[3].seeds = seeds(&[
        "90",
        "2min",
        "PT1H30M",
        "60000ms",
        "x0",
        "node1.example.org",
        "/dev/vg/x0",
        "0000:03:10.1",
        "0.5s",
    ]);
    found
}

fn x0() -> DomainName {
    DomainName::new("x0").unwrap()
}

fn named(name: &str) -> NodeName {
    NodeName::new(name).unwrap()
}

fn offer() -> Offer {
    let (made_at, deadline) = (UnixTime(1_795_344_067), UnixTime(1_795_344_367));
    Offer { domain: x0(), source: named("n1"), epoch: Epoch(1_795_344_067_123), made_at, deadline }
}

fn transfer() -> Transfer {
    Transfer { epoch: Epoch(1_795_344_067_123), source: named("n1"), target: named("n2") }
}

/// What is kept below a root, each kind of file written as the input and read by whoever reads it.
fn files(scratch: &Path) -> Vec<Target> {
    let root = Root::new(scratch.join("kept"));
    let state = root.state_folder();
    let lasting = root.lasting_folder();
    std::fs::create_dir_all(state.join("slots/incoming")).unwrap();
    std::fs::create_dir_all(state.join("ledger")).unwrap();
    std::fs::create_dir_all(&lasting).unwrap();
    let made = |path: PathBuf| std::fs::read(path).unwrap();
    let store = Store::new(state.clone());
    let mut records = Vec::new();
    for event in [Event::OfferMade(offer()), Event::OfferNotRecorded] {
        store.advance(&x0(), "fuzz", event).unwrap();
        records.push(made(state.join("x0.json")));
    }
    store.keep_end(&x0(), Ended { epoch: Epoch(7), ran: Ran::Certainly }).unwrap();
    store.refuse(&x0(), Epoch(7)).unwrap();
    let (ended, refused) = (vec![made(state.join("x0.ended"))], vec![made(state.join("x0.refused"))]);
    drop(snapshot::mark(&root, &x0()));
    let mark = vec![made(lasting.join("x0.run"))];
    let ticket = br#"{"domain":"x0","priority":0,"since":1795344067,"number":0,"has_slot":true}"#.to_vec();
    let progress = br#"{"direction":"outgoing","bytes":10485760,"memory_mib":128,"stage":"stream","started_at":1,"updated_at":2,"round":3}"#.to_vec();
    let log = br#"{"domain":"x0","source":"n1","target":"n2","epoch":7,"direction":"incoming","why":"handoff","began_at":1,"total_ms":5300,"bytes":268435456,"opened_ms":300,"suspended_ms":3900,"ready_ms":4300,"end":"moved","said":"ok"}
"#.to_vec();
    let manifest = br#"{"domain":"x0","epoch":7,"saved_by":"n1","marks":{"n1":7,"n2":8}}"#.to_vec();
    let entry = to_text(&Entry::Offer(offer())).into_bytes();
    let file = |name: &str, path: PathBuf, seeds: Vec<Vec<u8>>, read: fn(&Root)| {
        let root = root.clone();
        bytes(name, 200, seeds, move |input| {
            std::fs::write(&path, input).unwrap();
            read(&root);
            // Some of them are taken by whoever reads them.
            let _ = std::fs::remove_file(&path);
        })
    };
    let mut found = vec![
        file("the record", state.join("x0.json"), records, |root| {
            let store = Store::new(root.state_folder());
            drop(store.load(&x0()));
            drop(store.advance(&x0(), "fuzz", Event::Reclaimed));
        }),
        file("NAME.ended", state.join("x0.ended"), ended, |root| {
            _ = Store::new(root.state_folder()).last_end(&x0())
        }),
        file("NAME.refused", state.join("x0.refused"), refused, |root| {
            drop(Store::new(root.state_folder()).refuses(&x0(), Epoch(7)));
        }),
        file("NAME.progress", state.join("x0.progress"), vec![progress], |root| {
            let Some(progress) = progress::read(root, &x0()) else { return };
            drop((progress.to_string(), progress.percent(), progress.seconds_left()));
        }),
        file("the log of moves", lasting.join("moves.jsonl"), vec![log], |root| {
            for entry in journal::read(root).into_iter().flatten() {
                let flow = entry.flow;
                drop((flow.mib_per_second().map(journal::shown_rate), flow.pause_ms()));
            }
            _ = journal::measured_rate(root);
        }),
        file(
            "NAME.flow",
            state.join("x0.flow"),
            vec![br#"{"bytes":1,"wire":2,"rounds":3,"opened_ms":4}"#.to_vec()],
            |root| {
                _ = journal::take_flow(root, &x0());
            },
        ),
        file("NAME.run", lasting.join("x0.run"), mark, |root| {
            drop(snapshot::mark(root, &x0()));
            drop(snapshot::begin_run(root, &x0()));
        }),
        file("a snapshot", lasting.join("x0.snapshot"), vec![manifest], |root| {
            let (folder, domain) = (root.lasting_folder(), x0());
            let snapshots = snapshot::Folder::new(&folder, &domain);
            drop(snapshots.take());
            snapshots.clear();
        }),
        file("an entry of a peer's", state.join("ledger/x0,n1"), vec![entry], |root| {
            let ledger = PeerFiles::new(root);
            drop((ledger.entries(&x0()), ledger.forget(&x0(), Epoch(7))));
        }),
        file(
            "since when the ledger is kept",
            state.join("ledger/since"),
            vec![b"1795344067\n".to_vec()],
            |root| {
                drop(PeerFiles::new(root).age());
            },
        ),
        file(
            "the host's settings",
            root.join("/etc/sysconfig/xen-handoff"),
            vec![b"max_incoming_migrations=2\n".to_vec()],
            |root| {
                drop((Slots::of(root, Direction::Incoming), settings::word(root, settings::MOVES[0])));
            },
        ),
        file("the boot id", root.join("/proc/sys/kernel/random/boot_id"), vec![b"5f0c\n".to_vec()], |root| {
            drop(root.boot_id())
        }),
    ];
    std::fs::create_dir_all(root.join("/etc/sysconfig")).unwrap();
    std::fs::create_dir_all(root.join("/proc/sys/kernel/random")).unwrap();
    let slot = state.join("slots/incoming/0");
    found.push(bytes("a ticket", 50, vec![ticket], move |input| {
        std::fs::write(&slot, input).unwrap();
        let held = File::open(&slot).unwrap();
        flock(&held, FlockOperation::LockExclusive).unwrap();
        let slots = Slots::of(&root, Direction::Incoming);
        drop((slots.tickets(), slots.take_free(&x0())));
        for left in std::fs::read_dir(slot.parent().unwrap()).unwrap().flatten() {
            let _ = std::fs::remove_file(left.path());
        }
    }));
    found
}

/// A stream of xl's, as libxl and libxc frame it: two rounds.
fn stream() -> Vec<u8> {
    let word = |word: u32| word.to_le_bytes();
    let mut bytes = b"Xen saved domain, xl format\n \0 \r".to_vec();
    bytes.extend([word(0x0102_0304), word(0), word(0), word(16)].concat());
    bytes.extend([7; 16]);
    bytes.extend(b"LibxlFmt");
    bytes.extend([2_u32.to_be_bytes(), 0_u32.to_be_bytes()].concat());
    bytes.extend([word(1), word(0)].concat());
    bytes.extend(b"\xff\xff\xff\xff\xff\xff\xff\xffXENF");
    bytes.extend([3_u32.to_be_bytes(), word(0), word(0)].concat());
    bytes.extend([word(1), word(0x0001_0004), word(4), word(17)].concat());
    for pages in [[1_u64, 2], [1, 2], [2, 3]] {
        bytes.extend([word(1), word(8 + 16 + 8192), word(2), word(0)].concat());
        bytes.extend(pages.map(u64::to_le_bytes).concat());
        bytes.extend([9; 8192]);
    }
    bytes.extend([word(0), word(0), word(0), word(0)].concat());
    bytes
}

fn streams() -> Vec<Target> {
    let words = [BANNER, READY, REPORT, b"\0"].concat();
    let mut packer = Packer::new().unwrap();
    let frames = [stream(), vec![0; 1 << 20], GO.to_vec()].map(|part| packer.pack(&part).unwrap()).concat();
    let carried = [stream(), vec![0xfe; 16], words.clone()].concat();
    vec![
        bytes("xl's stream", 100, vec![stream()], |input| {
            let mut rounds = Rounds::default();
            for part in input.chunks(1000) {
                rounds.show(part);
                rounds.passed(rounds.unseen().min(3));
            }
            let _ = (rounds.round(), rounds.unseen());
        }),
        bytes("the receiver's words", 1000, vec![words], |input| {
            let mut reader = Reader::default();
            input.chunks(7).for_each(|part| _ = reader.take(part));
        }),
        bytes("frames", 20, vec![frames], |input| {
            let mut unpacker = Unpacker::new().unwrap();
            for part in input.chunks(4096) {
                unpacker.push(part);
                while let Ok(Some(_)) = unpacker.frame() {}
            }
        }),
        pipe("a stream through the relay", Form::AsItIs, carried.clone()),
        pipe("a compressed stream through the receiver", Form::Unpack, carried.clone()),
        pipe("a stream that is compressed", Form::Pack, carried),
    ]
}

/// Both ways of a stream: what is before the mark goes down, what is behind it comes up.
fn pipe(name: &str, form: Form, seed: Vec<u8>) -> Target {
    bytes(name, 5, vec![seed], move |input| {
        const MARK: [u8; 16] = [0xfe; 16];
        let at = input.windows(MARK.len()).position(|part| part == MARK).unwrap_or(input.len() / 2);
        let (down, up) = input.split_at(at);
        let nowhere = || OwnedFd::from(File::options().write(true).open("/dev/null").unwrap());
        let ends = Ends { down_from: piped(down), down_to: nowhere(), up_from: piped(up), up_to: nowhere() };
        let carriage = Carriage {
            form,
            follow: form == Form::AsItIs,
            ..Carriage::plain(Deadline::after(Duration::from_secs(5)))
        };
        let passed = carry(ends, carriage, &Nobody);
        assert!(passed.to_string().starts_with("bytes="));
    })
}

/// A pipe with what fits into it.
fn piped(bytes: &[u8]) -> OwnedFd {
    let (from, to) = rustix::pipe::pipe().unwrap();
    let room = rustix::pipe::fcntl_getpipe_size(&to).unwrap();
    File::from(to).write_all(&bytes[..bytes.len().min(room)]).unwrap();
    from
}

struct Nobody;

impl Watcher for Nobody {
    fn ready(&self) -> anyhow::Result<()> {
        Ok(())
    }
    fn go(&self, bytes: &[u8]) -> anyhow::Result<()> {
        anyhow::ensure!(bytes == GO, "no GO");
        Ok(())
    }
    fn progress(&self, _passing: Passing) {}
}

/// A file in memory with this in it.
fn memory(bytes: &[u8]) -> OwnedFd {
    let mut file = File::from(memfd_create("fuzz", MemfdFlags::CLOEXEC).unwrap());
    file.write_all(bytes).unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    file.into()
}

/// What one node says to another, each verb once.
pub(super) fn conversation() -> Vec<Vec<u8>> {
    const GREETING: &str = r#"{"xen-handoff":1,"version":"0.1.0","boot":"b","can":["preflight","status","limits","zstd","prepare","last-run","slots","yield","outlook"]}"#;
    const TRANSFER: &str = r#""transfer":{"epoch":1795344067123,"source":"n1","target":"n2"}"#;
    const BACK: &str = r#""back":{"node":"n2","host":"n2","user":"root","port":22,"connect_seconds":5}"#;
    let requests = [
        r#"{"verb":"presence","domain":"x0"}"#.to_owned(),
        r#"{"verb":"resolve","domain":"x0"}"#.to_owned(),
        format!(r#"{{"verb":"reach",{BACK}}}"#),
        r#"{"verb":"ledger","domain":"x0"}"#.to_owned(),
        r#"{"verb":"note","domain":"x0","line":"v=1;source=n1;epoch=7;made=1;deadline=2"}"#.to_owned(),
        r#"{"verb":"forget","domain":"x0","epoch":7}"#.to_owned(),
        r#"{"verb":"preflight","needs":{"domain":"x0","memory_mib":16,"bridges":["xenbr0"],"disks":["/dev/vg/x0"],"file":{"path":"/etc/xen/x0.cfg","sha256":"00"}}}"#.to_owned(),
        r#"{"verb":"prepare","domain":"x0","room":{"mib":16,"dom0_keeps_mib":512},"devices":["0000:03:10.1"],"limit":1,"comes_in":1}"#.to_owned(),
        r#"{"verb":"last-run","domain":"x0"}"#.to_owned(),
        r#"{"verb":"status"}"#.to_owned(),
        r#"{"verb":"slot","domain":"x0","direction":"incoming","priority":0,"limit":1}"#.to_owned(),
        r#"{"verb":"slot","domain":"x0","direction":"outgoing","priority":null,"limit":1}"#.to_owned(),
        format!(r#"{{"verb":"yield","domain":"x0",{TRANSFER},"reason":"r","limit":1}}"#),
        r#"{"verb":"outlook","resource":"x0"}"#.to_owned(),
        format!(r#"{{"verb":"claim","domain":"x0",{TRANSFER},{BACK},"ended":null,"limit":1}}"#),
        format!(r#"{{"verb":"receive","domain":"x0",{TRANSFER},"limit":1}}"#),
    ];
    let mut found: Vec<Vec<u8>> =
        requests.iter().map(|request| format!("{GREETING}\n{request}\n").into_bytes()).collect();
    found.push(format!("{GREETING}\n{}\n", requests.join("\n")).into_bytes());
    found
}

fn answers() -> Vec<Vec<u8>> {
    const GREETING: &str = r#"{"xen-handoff":1,"version":"0.1.0","boot":"b","can":["preflight","status"]}"#;
    let answers = [
        r#"{"answer":"stands","presence":{"running":7},"phase":{"phase":"idle"},"ended":{"epoch":7,"ran":"certainly"}}"#,
        r#"{"answer":"stands","presence":"absent","phase":{"phase":"offered","offer":{"domain":"x0","source":"n1","epoch":7,"made_at":1,"deadline":2}},"ended":null}"#,
        r#"{"answer":"done"}"#,
        r#"{"answer":"waiting","why":"w"}"#,
        r#"{"answer":"reached"}"#,
        r#"{"answer":"ledger","entries":{"offers":[],"pushes":[],"unreadable":["?"]}}"#,
        r#"{"answer":"last-run","mark":7}"#,
        r#"{"answer":"status","rows":[]}"#,
        r#"{"answer":"outlook","outlook":{"somebody":{"node":"n2"}}}"#,
        r#"{"answer":"granted"}"#,
        r#"{"answer":"refused","reason":"r","stands":["absent",{"phase":"idle"}]}"#,
    ];
    answers.iter().map(|answer| format!("{GREETING}\n{answer}\n").into_bytes()).collect()
}

/// The lines of both ends, one by one.
fn lines() -> Vec<Vec<u8>> {
    let texts = conversation().into_iter().chain(answers());
    texts.flat_map(|text| text.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect::<Vec<_>>()).collect()
}

/// Both ends of a conversation, in this process.
fn talks(scratch: &Path) -> Vec<Target> {
    let root = Root::new(scratch.join("served"));
    let asking = Root::new(scratch.join("asks"));
    let count = AtomicU64::new(0);
    let served = bytes("serve", 20, conversation(), move |input| {
        // A world that is full of what was noted before would be another one for the same seed.
        if count.fetch_add(1, Ordering::SeqCst).is_multiple_of(200) {
            let _ = std::fs::remove_dir_all(root.join("/"));
            std::fs::create_dir_all(root.state_folder()).unwrap();
            let store = Store::new(root.state_folder());
            store.advance(&x0(), "fuzz", Event::OfferMade(offer())).unwrap();
        }
        drop(serve::converse(&Here::new(&root), &serve::speaker::Speaker::Any, memory(input), memory(b"")));
    });
    let asks = bytes("a node that answers", 50, answers(), move |input| {
        let deadline = Deadline::after(Duration::from_secs(5));
        let Ok(mut connection) =
            Connection::open(&asking, named("n2"), memory(input), memory(b""), None, deadline)
        else {
            return;
        };
        drop(connection.presence(&x0(), deadline));
        drop(connection.next_turn(deadline));
    });
    vec![served, asks]
}
