//! `xm` and xend (Xen 3 to 4.4), as far as an agent uses them, on the same hosts as the stand-in `xl`: this program, called as `xm`.
//! And `xenstore-ls /vm`, which shows xend's mark of a restart.
//!
//! Written from what `tools/python/xen/xm/main.py` prints and what `XendCheckpoint.py` and `XendDomainInfo.py` rename. Knobs besides
//! `xl`'s own for the subcommands: `xend-down` (nothing answers), `xm-migrate.hold`, `.kill`, `.breaks`, and `.loses` on the target.

use crate::domain::{Domain, Reason};
use crate::host::Host;
use crate::relocate::relocate;
use crate::{Exit, Outcome, Words, config, knobs, monitor, system};
use serde_json::Value;

pub(crate) fn run(host: &Host, arguments: &[String]) -> Outcome {
    host.note_call(arguments)?;
    let Some((command, rest)) = arguments.split_first() else { return Err(Exit::failure("Usage: xm")) };
    if host.knob("xend-down").is_some() {
        return Err(Exit::failure(
            "Error: Unable to connect to xend: No such file or directory. Is xend running?",
        ));
    }
    knobs::before(host, command)?;
    let words = |flags| Words::parse(command, rest, flags, "f");
    match command.as_str() {
        "list" => list(host, &words("l")?),
        // xend is older than most of the words.
        "info" => crate::list::info(host, &words("")?, "hvm hvm_directio".to_owned()),
        "create" => create(host, &words("nq")?),
        "shutdown" => {
            let domid = find(host, words("")?.word(0))?;
            crate::ask_guest(host, domid, Reason::Poweroff)
        }
        "trigger" => crate::trigger(host, &words("")?),
        "destroy" => host.destroy(find(host, words("")?.word(0))?).map(drop).map_err(Exit::from),
        "pause" | "unpause" => {
            let domid = find(host, words("")?.word(0))?;
            host.lock()?.change(domid, |d| d.paused = command == "pause")?;
            Ok(())
        }
        "save" => crate::save(host, &words("")?),
        "restore" => crate::restore(host, &words("")?),
        "migrate" => migrate(host, &words("l")?),
        other => Err(Exit::failure(format!("Error: Subcommand {other} not found!"))),
    }
}

fn find(host: &Host, name: &str) -> Result<u32, Exit> {
    let found = host.lock()?.by_name(name).map(|d| d.domid);
    found.ok_or_else(|| Exit::failure(format!("Error: Domain '{name}' does not exist.")))
}

/// `xm list [-l] [NAME]`, sorted by name.
fn list(host: &Host, words: &Words) -> Outcome {
    let locked = host.lock()?;
    if words.has('l') {
        let Some(domain) = locked.by_name(words.word(0)) else {
            return Err(Exit::failure(format!("Error: Domain '{}' does not exist.", words.word(0))));
        };
        print!("{}", sxp("domain", &domain.config, Some(domain)));
        return Ok(());
    }
    let mut rows = vec![("Domain-0".to_owned(), 0, locked.dom0_mib(), 2, "r-----".to_owned())];
    for d in locked.domains() {
        let name = if d.nameless { format!("Zombie-{}", d.name) } else { d.name.clone() };
        rows.push((name, d.domid, d.memory_mib, d.vcpus, state(d)));
    }
    rows.sort();
    println!("{:<40} {:>5} {:>5} {:>5} {:>10} {:>9}", "Name", "ID", "Mem", "VCPUs", "State", "Time(s)");
    for (name, domid, memory, vcpus, state) in rows {
        println!("{name:<40} {domid:>5} {memory:>5} {vcpus:>5} {state:>10} {:>8.1}", 1.0);
    }
    Ok(())
}

/// Running, blocked, paused, shut down, crashed, dying.
fn state(domain: &Domain) -> String {
    let flag = |on: bool, letter: char| if on { letter } else { '-' };
    [
        '-',
        flag(domain.is_running(), 'b'),
        flag(domain.paused, 'p'),
        flag(domain.shutdown.is_some_and(|reason| reason != Reason::Crash), 's'),
        flag(domain.shutdown == Some(Reason::Crash), 'c'),
        flag(domain.nameless, 'd'),
    ]
    .iter()
    .collect()
}

/// `xm create [--dryrun] -f FILE [name=NAME]`
fn create(host: &Host, words: &Words) -> Outcome {
    let file = words.value('f').unwrap_or_else(|| words.word(0)).to_owned();
    let text = std::fs::read_to_string(&file)
        .map_err(|_| Exit::failure(format!("Error: Unable to open config file: {file}")))?;
    println!("Using config file \"{file}\".");
    let name = words.plain.iter().find_map(|word| word.strip_prefix("name="));
    let name = name.map(|name| format!("\nname = \"{name}\"\n")).unwrap_or_default();
    let config = config::parse(&file, &format!("{text}{name}"))?;
    if words.has('n') {
        print!("{}", sxp("vm", &config, None));
        return Ok(());
    }
    let name = config::name(&config);
    let domid = crate::build(host, Domain::boot(&config, 1)?)
        .map_err(|_| Exit::failure(format!("Error: VM name '{name}' already exists")))?;
    host.lock()?.change(domid, |d| d.paused = false)?;
    monitor::start(host, domid, &name)?;
    println!("Started domain {name} (id={domid})");
    Ok(())
}

/// `xm migrate [--live] NAME HOST`
fn migrate(host: &Host, words: &Words) -> Outcome {
    let (name, target) = (words.word(0), words.word(1));
    let domid = find(host, name)?;
    let Some(to) = host.neighbour(target)? else {
        return Err(Exit::failure("Error: can't connect: No route to host"));
    };
    relocate(host, &to, domid, "xm-migrate", Some(&format!("migrating-{name}")))
}

/// xend's own form of a configuration; only what is read.
fn sxp(kind: &str, config: &Value, running: Option<&Domain>) -> String {
    let (name, memory) = (config::name(config), config::memory_mib(config));
    let domid = running.map(|d| format!("    (domid {})\n", d.domid)).unwrap_or_default();
    let image = if config["c_info"]["type"] == "hvm" { "hvm" } else { "linux" };
    let mut devices = String::new();
    for nic in config["nics"].as_array().into_iter().flatten() {
        devices.push_str(&format!(
            "    (device (vif (bridge {})))\n",
            nic["bridge"].as_str().unwrap_or_default()
        ));
    }
    for disk in config["disks"].as_array().into_iter().flatten() {
        let path = disk["pdev_path"].as_str().unwrap_or_default();
        devices.push_str(&format!("    (device (vbd (uname phy:{path}) (dev xvda) (mode w)))\n"));
    }
    for _device in config["pcidevs"].as_array().into_iter().flatten() {
        devices.push_str("    (device (pci (dev (domain 0x0000) (bus 0x03) (slot 0x10) (func 0x1))))\n");
    }
    format!(
        "({kind}\n{domid}    (name {name})\n    (uuid {})\n    (memory {memory})\n    (maxmem {memory})\n    (vcpus {})\n    \
         (on_poweroff destroy)\n    (image\n        ({image}\n            (kernel '')\n        )\n    )\n{devices})\n",
        config::uuid(config),
        config::vcpus(config)
    )
}

/// `xenstore-ls /vm`
pub(crate) fn store(host: &Host) -> Outcome {
    println!("00000000-0000-0000-0000-000000000000 = \"\"\n name = \"Domain-0\"\n on_xend_stop = \"ignore\"");
    for domain in host.lock()?.domains() {
        println!(
            "{} = \"\"\n name = \"{}\"\n xend = \"\"\n  restart_count = \"0\"",
            domain.uuid, domain.name
        );
    }
    for name in host.restarting()? {
        let uuid = system::random_uuid()?;
        println!("{uuid} = \"\"\n name = \"{name}\"\n xend = \"\"\n  restart_in_progress = \"True\"");
    }
    Ok(())
}
