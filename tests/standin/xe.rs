//! `xe` and XAPI, as far as an agent uses them, on the same hosts as the stand-in `xl`: this program, called as `xe`.
//!
//! A pool is all hosts of a world that have `etc/xensource-inventory`; its book of VMs is the folder `pool` beside them: a file `UUID`
//! for each VM, a configuration in `xl`'s own form. Where a VM runs is looked up on the hosts themselves. Written from XAPI's documented
//! commands and the output that is in `tests/captured/xe`.
//!
//! Knobs: `pool/down` (no host reaches the master), `pool/UUID.suspended`, and besides `xl`'s own for the subcommands
//! `xe-migrate.hold`, `.kill`, `.breaks`, and `.loses` on the target.

use crate::domain::{Domain, Reason};
use crate::host::Host;
use crate::relocate::relocate;
use crate::{Exit, Outcome, build, config, knobs, monitor, system};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

const NOWHERE: &str = "<not in database>";

/// One VM of the book, and where it runs.
struct Vm {
    uuid: String,
    config: serde_json::Value,
    at: Option<(Host, Domain)>,
    suspended: bool,
    operation: String,
}

struct Pool {
    folder: PathBuf,
    /// The hosts' names and their ids in the book.
    hosts: Vec<(String, String, Host)>,
}

impl Pool {
    fn of(host: &Host) -> Result<Pool, Exit> {
        let world = host.world();
        let mut hosts = vec![];
        for entry in std::fs::read_dir(&world)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            let inventory = std::fs::read_to_string(world.join(&name).join("etc/xensource-inventory"));
            let Ok(inventory) = inventory else { continue };
            let uuid = inventory.split('\'').nth(1).unwrap_or_default().to_owned();
            if let Some(host) = host.neighbour(&name)? {
                hosts.push((name, uuid, host));
            }
        }
        hosts.sort_by(|one, other| one.0.cmp(&other.0));
        Ok(Pool { folder: world.join("pool"), hosts })
    }

    fn host(&self, id: &str) -> Result<&Host, Exit> {
        let found = self.hosts.iter().find(|(name, uuid, _)| name == id || uuid == id);
        found.map(|(_, _, host)| host).ok_or_else(|| Exit::failure("Error: No matching hosts found"))
    }

    fn uuid_of(&self, host: &Host) -> &str {
        let found = self.hosts.iter().find(|(_, _, other)| other.is_same(host));
        found.map_or(NOWHERE, |(_, uuid, _)| uuid)
    }

    fn vms(&self) -> Result<Vec<Vm>, Exit> {
        let mut vms = vec![];
        for entry in std::fs::read_dir(&self.folder)? {
            let uuid = entry?.file_name().to_string_lossy().into_owned();
            if uuid.contains('.') || uuid == "down" {
                continue;
            }
            let text = std::fs::read_to_string(self.folder.join(&uuid))?;
            let config = config::parse(&uuid, &format!("{text}\nuuid = \"{uuid}\"\n"))?;
            let operation =
                std::fs::read_to_string(self.folder.join(format!("{uuid}.operation"))).unwrap_or_default();
            let mut at: Option<(Host, Domain)> = None;
            for (name, _, host) in &self.hosts {
                let found = host.lock()?.domains().find(|d| d.uuid == uuid && !d.nameless).cloned();
                let Some(domain) = found else { continue };
                // While it moves, the book has it where it came from.
                let waits = domain.paused && !operation.is_empty();
                if at.is_none() || !waits {
                    at = host.neighbour(name)?.map(|host| (host, domain));
                }
            }
            let suspended = self.folder.join(format!("{uuid}.suspended")).exists();
            vms.push(Vm { uuid, config, at, suspended, operation });
        }
        vms.sort_by(|one, other| one.uuid.cmp(&other.uuid));
        Ok(vms)
    }

    fn fields(&self, vm: &Vm) -> BTreeMap<&'static str, String> {
        let power = match &vm.at {
            Some((_, domain)) if domain.paused => "paused",
            Some(_) => "running",
            None if vm.suspended => "suspended",
            None => "halted",
        };
        let memory = (config::memory_mib(&vm.config) * 1024 * 1024).to_string();
        let vcpus = config::vcpus(&vm.config).to_string();
        [
            ("uuid ( RO)", vm.uuid.clone()),
            ("name-label ( RW)", config::name(&vm.config)),
            ("power-state ( RO)", power.to_owned()),
            ("resident-on ( RO)", vm.at.as_ref().map_or(NOWHERE, |(host, _)| self.uuid_of(host)).to_owned()),
            ("dom-id ( RO)", vm.at.as_ref().map_or("-1".to_owned(), |(_, domain)| domain.domid.to_string())),
            ("current-operations (SRO)", vm.operation.clone()),
            ("is-control-domain ( RO)", "false".to_owned()),
            ("memory-static-max ( RW)", memory.clone()),
            ("memory-actual ( RO)", memory),
            ("VCPUs-max ( RW)", vcpus.clone()),
            ("VCPUs-number ( RO)", vcpus),
        ]
        .into()
    }
}

pub(crate) fn run(host: &Host, arguments: &[String]) -> Outcome {
    host.note_call(arguments)?;
    let Some((command, rest)) = arguments.split_first() else { return Err(Exit::failure("Usage: xe")) };
    let pool = Pool::of(host)?;
    if pool.folder.join("down").exists() {
        return Err(Exit::failure("Error: Connection refused (calling connect )"));
    }
    knobs::before(host, command)?;
    let said: BTreeMap<&str, &str> = rest.iter().filter_map(|word| word.split_once('=')).collect();
    match command.as_str() {
        "vm-list" => {
            let mut rows = vec![];
            for (name, uuid, _) in &pool.hosts {
                let label = format!("Control domain on host: {name}");
                rows.push(BTreeMap::from([
                    ("uuid ( RO)", format!("c0{uuid}")),
                    ("name-label ( RW)", label),
                    ("power-state ( RO)", "running".to_owned()),
                    ("resident-on ( RO)", uuid.clone()),
                    ("dom-id ( RO)", "0".to_owned()),
                    ("current-operations (SRO)", String::new()),
                    ("is-control-domain ( RO)", "true".to_owned()),
                ]));
            }
            for vm in pool.vms()? {
                rows.push(pool.fields(&vm));
            }
            show(rows, &said);
            Ok(())
        }
        "host-list" => {
            let version = "product_version: 8.2.1; xapi: 1.20; xen: 4.13.4-9.19; linux: 4.19.0+1".to_owned();
            let rows = pool.hosts.iter().map(|(name, uuid, _)| {
                BTreeMap::from([
                    ("uuid ( RO)", uuid.clone()),
                    ("name-label ( RW)", name.clone()),
                    ("hostname ( RO)", name.clone()),
                    ("memory-total ( RO)", "17179869184".to_owned()),
                    ("memory-free ( RO)", "8589934592".to_owned()),
                    ("software-version (MRO)", version.clone()),
                    ("capabilities (SRO)", "xen-3.0-x86_64; hvm-3.0-x86_64".to_owned()),
                ])
            });
            show(rows.collect(), &said);
            Ok(())
        }
        "vm-start" | "vm-resume" => start(&pool, &selected(&pool, &said)?, said.get("on").copied()),
        "vm-shutdown" => shutdown(&selected(&pool, &said)?, said.contains_key("force")),
        "vm-pause" | "vm-unpause" => {
            let vm = selected(&pool, &said)?;
            let (at, domain) = vm.at.ok_or_else(bad_power)?;
            at.lock()?.change(domain.domid, |d| d.paused = command == "vm-pause")?;
            Ok(())
        }
        "vm-migrate" => {
            let vm = selected(&pool, &said)?;
            let to = pool.host(said.get("host-uuid").copied().unwrap_or_default())?;
            let (from, domain) = vm.at.ok_or_else(bad_power)?;
            let operation = pool.folder.join(format!("{}.operation", vm.uuid));
            std::fs::write(&operation, "pool_migrate")?;
            let moved = relocate(&from, to, domain.domid, "xe-migrate", None);
            std::fs::remove_file(operation)?;
            moved
        }
        other => Err(Exit::failure(format!("Error: Unknown command: {other}"))),
    }
}

fn bad_power() -> Exit {
    Exit::failure(
        "You attempted an operation on a VM that was not in an appropriate power state at the time.",
    )
}

/// The one VM that every selector fits.
fn selected(pool: &Pool, said: &BTreeMap<&str, &str>) -> Result<Vm, Exit> {
    let fits = |vm: &Vm| {
        let fields = pool.fields(vm);
        said.iter().filter(|(key, _)| ["uuid", "resident-on", "name-label"].contains(key)).all(
            |(key, wanted)| {
                fields.iter().any(|(name, value)| name.starts_with(&format!("{key} ")) && value == wanted)
            },
        )
    };
    let mut found: Vec<Vm> = pool.vms()?.into_iter().filter(|vm| fits(vm)).collect();
    match (found.pop(), found.is_empty()) {
        (Some(vm), true) => Ok(vm),
        (None, _) => Err(Exit::failure("Error: No matching VMs found")),
        (Some(_), false) => Err(Exit::failure("Error: Multiple matches found; use --multiple")),
    }
}

fn start(pool: &Pool, vm: &Vm, on: Option<&str>) -> Outcome {
    let host = pool.host(on.unwrap_or_default())?;
    if vm.at.is_some() {
        return Err(bad_power());
    }
    let domid = build(host, Domain::boot(&vm.config, 1)?).map_err(Exit::failure)?;
    host.lock()?.change(domid, |d| d.paused = false)?;
    if vm.suspended {
        std::fs::remove_file(pool.folder.join(format!("{}.suspended", vm.uuid)))?;
    }
    Ok(monitor::start(host, domid, &config::name(&vm.config))?)
}

/// A clean one waits for the guest's end.
fn shutdown(vm: &Vm, force: bool) -> Outcome {
    let (host, domain) = vm.at.as_ref().ok_or_else(bad_power)?;
    if force {
        host.destroy(domain.domid)?;
        return Ok(());
    }
    crate::ask_guest(host, domain.domid, Reason::Poweroff)?;
    while host.lock()?.get(domain.domid).is_some() {
        system::pause(Duration::from_millis(20));
    }
    Ok(())
}

/// As xe lays records out: what was asked for, the first field at the margin.
fn show(rows: Vec<BTreeMap<&'static str, String>>, said: &BTreeMap<&str, &str>) {
    let wanted: Vec<&str> =
        said.get("params").copied().unwrap_or("uuid,name-label,power-state").split(',').collect();
    let key = |field: &str| field.split(" (").next().unwrap_or_default().to_owned();
    for row in rows {
        let value = |name: &str| row.iter().find(|(field, _)| key(field) == name).map(|(_, value)| value);
        if !said
            .iter()
            .all(|(name, wanted)| *name == "params" || value(name).is_some_and(|value| value == wanted))
        {
            continue;
        }
        let fields = row.iter().filter(|(field, _)| wanted.contains(&key(field).as_str()));
        for (n, (field, value)) in fields.enumerate() {
            match n {
                0 => println!("{field:<28}: {value}"),
                _ => println!("{field:>28}: {value}"),
            }
        }
        println!("\n");
    }
}
