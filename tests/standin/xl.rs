//! A stand-in for `xl` 4.17: no hypervisor, the same command line, output, exit codes and migration handshake.
//!
//! What a test (or the agent) can observe of a Xen host is what `xl` says. This program says the same, from a
//! folder of JSON files, so that a whole cluster fits into a few namespaces and a migration takes half a second.
//! It is written from `xl`'s observable behaviour: the strings, names, states and failure paths are facts of
//! `tools/xl/xl_migrate.c` and `xl_vmcontrol.c`; the stream's body is our own invention.
//!
//! **Where a host's state is.** `$XL_STANDIN_DIR`, else `<folder of the executable>/../../var/lib/xl-standin`; so a
//! copy at `ROOT/usr/sbin/xl` needs no environment. Inside:
//!
//! | path | what |
//! |---|---|
//! | `domains/DOMID.json` | one domain, replaced atomically under `lock` |
//! | `hostname` | the host's name in the events (default: the kernel's) |
//! | `events` | every change of any domain (or `$XL_STANDIN_EVENTS`; may be a symbolic link to a shared file) |
//! | `commands` | every call: time, pid, arguments |
//! | `streams` | when a sender wrote the first and the last byte of a stream, and when the target had all of it |
//! | `held.migrate`, `held.receive` | the point that a `.hold` makes somebody wait at, while it does |
//! | `ctl/` | the knobs, below |
//! | `../../log/xen/xl-NAME.log` | held open by the monitor daemon of a domain, as by real `xl` |
//!
//! One line of `events`: `SECONDS.NANOSECONDS HOST NAME DOMID OLD -> NEW BOOT_ID [was=OLDNAME]`, states being
//! `absent`, `running`, `paused`, `shutdown-REASON`. A change *to* running is stamped before it takes effect, a
//! change *from* running after it did, so an overlap in the log is never smaller than the real one.
//!
//! **The guest.** `boot_id` is drawn at every boot, `boots` counts them, `ticks` (hundredths of a second) advance only
//! while the domain runs. They travel in the stream: a migrated guest keeps them, a cold-booted one does not.
//! `xl standin show NAME` prints them as JSON; `xl standin guest NAME crash|reboot|poweroff` is what the guest does by
//! itself.
//!
//! Called as `xm`, `xenstore-ls` or `xe` (a link of that name), it stands in for those, on the same hosts: see `xm.rs`, `xe.rs`.
//!
//! **Knobs**, files in `ctl/` (contents are trimmed; a missing file is the default):
//!
//! | file | effect |
//! |---|---|
//! | `CMD.fail`, `all.fail` | subcommand fails: first line the exit status, the rest its stderr |
//! | `CMD.fail-once`, `all.fail-once` | the same, for one call |
//! | `CMD.hang`, `all.hang` | subcommand waits while the file exists (`migrate-receive` is a CMD too) |
//! | `NAME.ignore-shutdown` | the guest does not react to `shutdown` or `trigger power` |
//! | `NAME.shutdown-seconds` | how long its shutdown takes (0.2) |
//! | `NAME.no-pv` | no PV control interface: `shutdown` needs `-F` |
//! | `NAME.no-suspend` | the guest does not suspend for a migration: fails after so many seconds (1); so does a paused one |
//! | `NAME.keeps-memory` | the guest gives nothing of its memory, whatever `mem-set` says |
//! | `save.stuck` | `save` has suspended the guest and does not come to an end |
//! | `destroy.seconds` | how long a domain takes to be gone (0.04), first `--ps--`, then as `(null)` |
//! | `create.no-memory` | building a domain fails for want of memory |
//! | `create.no-disk` | building a domain fails since one of its disks is not there; the text is its path |
//! | `memory-mib` | the host's memory (16384) |
//! | `virt-caps` | what `xl info` says that the hypervisor can do (pv hvm hap ...; without `shadow` a PV guest cannot be moved) |
//! | `xen-version` | the hypervisor's version (4.17) |
//! | `stream.mib`, `stream.mib-per-second` | size and rate of a migration stream (8, 16) |
//! | `stream.zeros` | the guest's memory is empty (noise) |
//! | `stream.file` | the guest's memory is this file's, again and again, and goes as fast as it can; none of these two counts then |
//! | `stream.last-seconds` | length of stop-and-copy (0.05) |
//! | `migrate.kill`, `receive.kill` | SIGKILL to itself at the point named in the file (`.kill-once`: the first time) |
//! | `migrate.hold`, `receive.hold` | wait at the point named in the file's first line, while the file exists |
//! | `receive.fail` | at the target: `create`, `rename`, `unpause` or `destroy` fails (several: one a line) |
//! | `autoballoon` | creating and receiving take turns under one lock, as with xl's autoballoon |
//! | `have-resume` | `xl resume` exists, as from 4.20 on |
//!
//! Points of the sender: `before-banner` `in-stream` `stop-and-copy` `before-ready` `after-ready` `after-rename`
//! `after-go` `before-destroy`. Points of the receiver: `before-banner` `in-stream` `before-ready` `after-ready`
//! `after-go` `after-unpause` `after-report`.
#![allow(clippy::print_stdout, reason = "xl's standard output is what this program is for")]

mod config;
mod domain;
mod host;
mod knobs;
mod list;
mod migrate;
mod monitor;
mod receive;
mod relocate;
mod stream;
mod system;
mod xe;
mod xm;

use domain::{Domain, Reason};
use host::{Host, Locked};
use std::process::ExitCode;
use std::time::Duration;

/// An exit status other than success; what went wrong has been printed already, or is in `says`.
#[derive(Debug)]
pub(crate) struct Exit {
    status: u8,
    says: String,
}

impl Exit {
    /// The exit status that `xl` has for nearly everything.
    fn failure(says: impl Into<String>) -> Exit {
        Exit { status: 1, says: says.into() }
    }

    fn status(status: u8, says: impl Into<String>) -> Exit {
        Exit { status, says: says.into() }
    }
}

impl From<anyhow::Error> for Exit {
    fn from(error: anyhow::Error) -> Exit {
        Exit::status(70, format!("xl-standin: {error:#}"))
    }
}

impl From<std::io::Error> for Exit {
    fn from(error: std::io::Error) -> Exit {
        anyhow::Error::from(error).into()
    }
}

type Outcome = Result<(), Exit>;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(exit) => {
            if !exit.says.is_empty() {
                eprintln!("{}", exit.says);
            }
            ExitCode::from(exit.status)
        }
    }
}

fn run() -> Outcome {
    let host = Host::find()?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(domid) = system::daemon_of() {
        return monitor::daemon(&host, domid);
    }
    let called = std::env::args().next().unwrap_or_default();
    match called.rsplit('/').next() {
        Some("xm") => return xm::run(&host, &arguments),
        Some("xenstore-ls") => return xm::store(&host),
        Some("xe") => return xe::run(&host, &arguments),
        _ => {}
    }
    // xl's own options come before the subcommand: -v (several), -f, -N, -t, -T
    let first = arguments.iter().position(|a| !a.starts_with('-')).unwrap_or(arguments.len());
    let Some(command) = arguments.get(first) else {
        return Err(Exit::failure("Usage xl [-vfNtT] <subcommand> [args]\n"));
    };
    let rest = arguments.get(first + 1..).unwrap_or_default();
    host.note_call(&arguments)?;
    knobs::before(&host, command)?;
    dispatch(&host, command, rest)
}

fn dispatch(host: &Host, command: &str, rest: &[String]) -> Outcome {
    let plain = |n: usize| Words::parse(command, rest, "", "").and_then(|words| words.at_least(n));
    match command {
        "list" => list::list(host, &Words::parse(command, rest, "lvZcn", "")?),
        "info" => list::info(host, &Words::parse(command, rest, "n", "")?, list::virt_caps(host)),
        "create" => create(host, rest),
        "shutdown" => shutdown(host, &Words::parse(command, rest, "awF", "")?, Reason::Poweroff),
        "reboot" => shutdown(host, &Words::parse(command, rest, "awF", "")?, Reason::Reboot),
        "trigger" => trigger(host, &plain(2)?),
        "destroy" => destroy(host, &Words::parse(command, rest, "f", "")?.at_least(1)?),
        "pause" => set_paused(host, &plain(1)?, true),
        "unpause" => set_paused(host, &plain(1)?, false),
        "save" => save(host, &Words::parse(command, rest, "cp", "")?.at_least(2)?),
        "restore" => restore(host, &Words::parse(command, rest, "peFd", "")?.at_least(1)?),
        "pci-list" => pci_list(host, &plain(1)?),
        "pci-attach" => pci_change(host, &plain(2)?, true),
        "pci-detach" => pci_change(host, &Words::parse(command, rest, "f", "")?.at_least(2)?, false),
        "mem-set" => set_memory(host, &plain(2)?),
        "rename" => rename(host, &plain(2)?),
        "domid" => list::domid(host, &plain(1)?),
        "domname" => list::domname(host, &plain(1)?),
        "resume" if host.knob("have-resume").is_some() => resume(host, &plain(1)?),
        "migrate" => migrate::migrate(host, &Words::parse(command, rest, "FepD", "Cs")?.at_least(2)?),
        "migrate-receive" => receive::receive(host, &Words::parse(command, rest, "Fedrp", "")?),
        "standin" => standin(host, rest),
        _ => Err(Exit::failure("command not implemented")),
    }
}

/// The arguments of one subcommand: letters that were given, letters with a value, and the rest in order.
#[derive(Debug)]
pub(crate) struct Words {
    command: String,
    letters: String,
    values: Vec<(char, String)>,
    plain: Vec<String>,
}

impl Words {
    /// getopt's reading of `arguments`: `flags` are letters, `valued` take the next word.
    fn parse(command: &str, arguments: &[String], flags: &str, valued: &str) -> Result<Words, Exit> {
        let mut words =
            Words { command: command.into(), letters: String::new(), values: vec![], plain: vec![] };
        let mut left = arguments.iter();
        while let Some(word) = left.next() {
            let Some(letters) = word.strip_prefix('-').filter(|l| !l.is_empty()) else {
                words.plain.push(word.clone());
                continue;
            };
            if letters == "-" {
                words.plain.extend(left.by_ref().cloned());
                break;
            }
            if let Some(long) = letters.strip_prefix('-') {
                match long {
                    "long" => words.letters.push('l'),
                    "verbose" => words.letters.push('v'),
                    "wait" => words.letters.push('w'),
                    "all" => words.letters.push('a'),
                    "dryrun" => words.letters.push('n'),
                    "quiet" => words.letters.push('q'),
                    "live" | "debug" => {}
                    "defconfig" => {
                        words.values.push(('f', left.next().cloned().unwrap_or_default()));
                    }
                    _ => return Err(Exit::status(2, "option `\0' not supported.")),
                }
                continue;
            }
            let mut letters = letters.chars();
            while let Some(letter) = letters.next() {
                if flags.contains(letter) {
                    words.letters.push(letter);
                } else if valued.contains(letter) {
                    let joined: String = letters.by_ref().collect();
                    let value =
                        if joined.is_empty() { left.next().cloned().unwrap_or_default() } else { joined };
                    words.values.push((letter, value));
                } else {
                    return Err(Exit::status(2, format!("option `{letter}' not supported.")));
                }
            }
        }
        Ok(words)
    }

    fn at_least(self, n: usize) -> Result<Words, Exit> {
        if self.plain.len() < n {
            let s = if n > 1 { "s" } else { "" };
            let says = format!("'xl {}' requires at least {n} argument{s}.\n", self.command);
            return Err(Exit::status(2, says));
        }
        Ok(self)
    }

    fn has(&self, letter: char) -> bool {
        self.letters.contains(letter)
    }

    fn value(&self, letter: char) -> Option<&str> {
        self.values.iter().rev().find(|(l, _)| *l == letter).map(|(_, v)| v.as_str())
    }

    fn word(&self, n: usize) -> &str {
        self.plain.get(n).map_or("", String::as_str)
    }
}

/// `xl create [-p] [-e] [-n] [-q] [-f] FILE [key=value...]`
fn create(host: &Host, rest: &[String]) -> Outcome {
    let words = Words::parse("create", rest, "Fnqpcde", "f")?;
    let mut file = words.value('f').map(str::to_owned);
    let mut extra = String::new();
    for word in &words.plain {
        if word.contains('=') {
            extra.push_str(word);
            extra.push('\n');
        } else if file.is_none() {
            file = Some(word.clone());
        } else {
            return Err(Exit::status(2, "'xl create' takes one configuration file"));
        }
    }
    let Some(file) = file else {
        return Err(Exit::status(6, "Config file not specified and none in save file"));
    };
    let text = match std::fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) => {
            let why = system::strerror(&error);
            return Err(Exit::status(3, format!("Failed to read config file: {file}: {why}")));
        }
    };
    if !words.has('q') {
        eprintln!("Parsing config from {file}");
    }
    let config = config::parse(&file, &format!("{text}\n{extra}\n"))?;
    if words.has('n') {
        print!("{}", config::to_json(&config)?);
        return Ok(());
    }
    let _turn = host.creation_turn()?;
    let domain = Domain::boot(&config, 1)?;
    let domid = build(host, domain).map_err(|says| Exit::status(3, says))?;
    if !words.has('p') {
        host.lock()?.change(domid, |d| d.paused = false)?;
    }
    if !words.has('e') {
        monitor::start(host, domid, &config::name(&config))?;
    }
    Ok(())
}

/// Makes the domain, paused, if its name is free and the memory suffices. `Err` holds what libxl would print.
fn build(host: &Host, domain: Domain) -> Result<u32, String> {
    let mut locked = host.lock().map_err(|e| format!("{e:#}"))?;
    let domid = locked.next_domid().map_err(|e| format!("{e:#}"))?;
    if locked.by_name(&domain.name).is_some() {
        return Err(format!(
            "libxl: error: libxl_domain.c:81:libxl__domain_rename: Domain {domid}:Domain with name \"{}\" already \
             exists.\nlibxl: error: libxl_create.c:1296:initiate_domain_create: Domain {domid}:cannot make domain: \
             -6\nlibxl: error: libxl_domain.c:1183:libxl__destroy_domid: Domain {domid}:Non-existant domain\nlibxl: \
             error: libxl_domain.c:1137:domain_destroy_callback: Domain {domid}:Unable to destroy guest\nlibxl: \
             error: libxl_domain.c:1064:domain_destroy_cb: Domain {domid}:Destruction of domain failed",
            domain.name
        ));
    }
    if host.knob("create.no-memory").is_some() || locked.free_mib() < domain.memory_mib {
        return Err(format!(
            "xc: error: panic: xg_dom_boot.c:119: xc_dom_boot_mem_init: can't allocate low memory for domain: Out of \
             memory\nlibxl: error: libxl_dom.c:586:libxl__build_dom: xc_dom_boot_mem_init failed: Operation not \
             supported\nlibxl: error: libxl_create.c:1690:domcreate_rebuild_done: Domain {domid}:cannot (re-)build \
             domain: -3\nlibxl: error: libxl_domain.c:1183:libxl__destroy_domid: Domain {domid}:Non-existant domain"
        ));
    }
    if let Some(path) = host.knob("create.no-disk") {
        return Err(format!(
            "libxl: error: libxl_device.c:361:libxl__device_disk_set_backend: Disk vdev=xvda failed to stat: {path}: No \
             such file or directory\nlibxl: error: libxl_create.c:1690:domcreate_rebuild_done: Domain {domid}:cannot \
             (re-)build domain: -3"
        ));
    }
    locked.add(Domain { domid, ..domain }).map_err(|e| format!("{e:#}"))?;
    Ok(domid)
}

/// `xl shutdown|reboot [-w] [-F] NAME`: asks the guest; with `-w`, waits for its end.
fn shutdown(host: &Host, words: &Words, reason: Reason) -> Outcome {
    if words.plain.is_empty() && !words.has('a') {
        return Err(Exit::failure("You must specify -a or a domain id.\n"));
    }
    let domids: Vec<u32> = if words.has('a') {
        host.lock()?.domains().map(|d| d.domid).collect()
    } else {
        vec![find(&host.lock()?, words.word(0))?]
    };
    for domid in &domids {
        let verb = if reason == Reason::Reboot { "Rebooting" } else { "Shutting down" };
        eprintln!("{verb} domain {domid}");
        let name = host.lock()?.get(*domid).map(|d| d.name.clone()).unwrap_or_default();
        if host.knob(&format!("{name}.no-pv")).is_some() {
            eprint!("PV control interface not available:");
            if !words.has('F') {
                eprintln!(" external graceful shutdown not possible.");
                eprintln!("Use \"-F\" to fallback to ACPI power event.");
                return Err(Exit::failure("shutdown failed (rc=-10)"));
            }
            eprintln!(" sending ACPI power button event.");
        }
        ask_guest(host, *domid, reason)?;
    }
    if words.has('w') {
        eprintln!("Waiting for {} domains", domids.len());
        for domid in domids {
            wait_for_end(host, domid)?;
        }
    }
    Ok(())
}

fn wait_for_end(host: &Host, domid: u32) -> Outcome {
    loop {
        let seen = host.lock()?.get(domid).map(|d| d.shutdown);
        match seen {
            None => {
                eprintln!("Domain {domid} has been destroyed");
                return Ok(());
            }
            Some(Some(reason)) => {
                eprintln!("Domain {domid} has been shut down, reason code {}", reason.code());
                return Ok(());
            }
            Some(None) => system::pause(Duration::from_millis(20)),
        }
    }
}

/// The guest begins to shut down, unless it ignores such wishes (or is not running at all).
fn ask_guest(host: &Host, domid: u32, reason: Reason) -> Outcome {
    let mut locked = host.lock()?;
    let Some(name) = locked.get(domid).map(|d| d.name.clone()) else { return Ok(()) };
    if host.knob(&format!("{name}.ignore-shutdown")).is_some() {
        return Ok(());
    }
    let after = host.seconds(&format!("{name}.shutdown-seconds"), 0.2);
    locked.change(domid, |d| {
        if d.end_due.is_none() && d.shutdown.is_none() {
            d.end_due = Some((system::now_ns() + system::nanos(after), reason));
        }
    })?;
    Ok(())
}

fn trigger(host: &Host, words: &Words) -> Outcome {
    let domid = find(&host.lock()?, words.word(0))?;
    match words.word(1) {
        "power" => ask_guest(host, domid, Reason::Poweroff),
        "reset" => ask_guest(host, domid, Reason::Reboot),
        "nmi" | "sleep" | "init" | "s3resume" => Ok(()),
        other => Err(Exit::failure(format!("Invalid trigger \"{other}\""))),
    }
}

fn destroy(host: &Host, words: &Words) -> Outcome {
    let domid = find(&host.lock()?, words.word(0))?;
    if domid == 0 {
        let says = "Not destroying domain 0; use -f to force.\nThis can only be done when using a disaggregated \
                    hardware domain and toolstack.\n";
        return Err(Exit::failure(says));
    }
    if !host.destroy(domid)? {
        return Err(Exit::failure("destroy failed (rc=-3)"));
    }
    Ok(())
}

fn set_paused(host: &Host, words: &Words, paused: bool) -> Outcome {
    let mut locked = host.lock()?;
    let domid = find(&locked, words.word(0))?;
    locked.change(domid, |d| d.paused = paused)?;
    Ok(())
}

/// `xl save NAME FILE`: the guest is suspended, written, and destroyed; if it cannot be written, it goes on.
fn save(host: &Host, words: &Words) -> Outcome {
    let domid = find(&host.lock()?, words.word(0))?;
    host.lock()?.change(domid, |d| d.shutdown = Some(Reason::Suspend))?;
    while host.knob("save.stuck").is_some() {
        system::pause(Duration::from_millis(20));
    }
    let saved =
        host.lock()?.get(domid).map(|d| serde_json::json!({"config": d.config, "guest": d.guest_now()}));
    let written = std::fs::write(words.word(1), serde_json::to_vec(&saved).unwrap_or_default());
    if let Err(error) = written {
        host.lock()?.change(domid, Domain::resume)?;
        return Err(Exit::failure(format!(
            "Failed to open temp file {} for writing: {}\nFailed to save domain, resuming domain",
            words.word(1),
            system::strerror(&error)
        )));
    }
    host.destroy(domid)?;
    Ok(())
}

/// `xl restore FILE`: the guest that was saved goes on.
fn restore(host: &Host, words: &Words) -> Outcome {
    let file = words.word(0);
    let text = std::fs::read(file).map_err(|error| {
        Exit::failure(format!("Can't open restore file {file}: {}", system::strerror(&error)))
    })?;
    let mut saved: serde_json::Value = serde_json::from_slice(&text)
        .map_err(|_| Exit::failure("File has wrong magic number - corrupt or for a different tool?"))?;
    let guest =
        serde_json::from_value(saved["guest"].take()).map_err(|error| Exit::failure(error.to_string()))?;
    let config = saved["config"].take();
    let name = config::name(&config);
    let domid =
        build(host, Domain::around(guest, &config, name.clone())).map_err(|says| Exit::status(3, says))?;
    host.lock()?.change(domid, |d| d.paused = false)?;
    monitor::start(host, domid, &name)?;
    Ok(())
}

/// `xl pci-list NAME`
fn pci_list(host: &Host, words: &Words) -> Outcome {
    let locked = host.lock()?;
    let domid = find(&locked, words.word(0))?;
    let devices = locked.get(domid).and_then(|d| d.config["pcidevs"].as_array()).cloned().unwrap_or_default();
    if !devices.is_empty() {
        println!("Vdev Device");
    }
    for (slot, device) in devices.iter().enumerate() {
        println!("{slot:02x}.0 {}", config::pci_address(device));
    }
    Ok(())
}

/// `xl pci-attach|pci-detach NAME BDF`
fn pci_change(host: &Host, words: &Words, attach: bool) -> Outcome {
    let mut locked = host.lock()?;
    let domid = find(&locked, words.word(0))?;
    let Some(device) = config::pci_device(words.word(1)) else {
        return Err(Exit::status(2, "pci-attach: malformed BDF specification"));
    };
    let there = locked
        .get(domid)
        .and_then(|d| d.config["pcidevs"].as_array().map(|all| all.contains(&device)))
        .unwrap_or(false);
    if there == attach {
        return Err(Exit::failure("libxl: error: libxl_pci.c: PCI device already attached, or not"));
    }
    locked.change(domid, |d| {
        let mut devices = d.config["pcidevs"].as_array().cloned().unwrap_or_default();
        devices.retain(|other| *other != device);
        if attach {
            devices.push(device);
        }
        d.config["pcidevs"] = serde_json::json!(devices);
    })?;
    Ok(())
}

/// `xl mem-set NAME 512m`: the target at once, what the guest has as soon as it obeys.
fn set_memory(host: &Host, words: &Words) -> Outcome {
    let mut locked = host.lock()?;
    let domid = find(&locked, words.word(0))?;
    let text = words.word(1);
    let Some(target) = text.strip_suffix('m').unwrap_or(text).parse::<u64>().ok().filter(|mib| *mib > 0)
    else {
        return Err(Exit::status(3, format!("invalid memory size: {text}")));
    };
    let free = locked.free_mib();
    let keeps = host.knob(&format!("{}.keeps-memory", words.word(0))).is_some();
    locked.change(domid, |d| {
        d.config["b_info"]["target_memkb"] = serde_json::json!(target * 1024);
        if target > d.memory_mib || !keeps {
            d.memory_mib = target.min(d.memory_mib + free);
        }
    })?;
    Ok(())
}

fn rename(host: &Host, words: &Words) -> Outcome {
    let mut locked = host.lock()?;
    let domid = find(&locked, words.word(0))?;
    if locked.rename(domid, words.word(1))? {
        return Ok(());
    }
    Err(Exit::failure(format!("Can't rename domain '{}' to '{}'.", words.word(0), words.word(1))))
}

fn resume(host: &Host, words: &Words) -> Outcome {
    let mut locked = host.lock()?;
    let domid = find(&locked, words.word(0))?;
    locked.change(domid, Domain::resume)?;
    Ok(())
}

/// A name, or digits that are taken for a domid without asking whether it exists; as `xl` does.
fn find(locked: &Locked<'_>, text: &str) -> Result<u32, Exit> {
    if let Ok(domid) = text.parse() {
        return Ok(domid);
    }
    if text == "Domain-0" {
        return Ok(0);
    }
    match locked.by_name(text) {
        Some(domain) => Ok(domain.domid),
        None => Err(Exit::failure(format!("{text} is an invalid domain identifier (rc=-6)"))),
    }
}

/// What no `xl` has: the guest's view, and the guest's own will.
fn standin(host: &Host, rest: &[String]) -> Outcome {
    let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
    match rest.as_slice() {
        ["show", name] => {
            let locked = host.lock()?;
            let domid = find(&locked, name)?;
            let Some(domain) = locked.get(domid) else { return Err(Exit::failure("no such domain")) };
            println!("{}", domain.show());
            Ok(())
        }
        ["guest", name, what] => {
            let reason = match *what {
                "crash" => Reason::Crash,
                "reboot" => Reason::Reboot,
                "poweroff" => Reason::Poweroff,
                other => return Err(Exit::status(2, format!("the guest cannot {other}"))),
            };
            let mut locked = host.lock()?;
            let domid = find(&locked, name)?;
            locked.change(domid, |d| d.shutdown = Some(reason))?;
            Ok(())
        }
        _ => Err(Exit::status(2, "xl standin show NAME | guest NAME crash|reboot|poweroff")),
    }
}
