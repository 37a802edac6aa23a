//! What `xl` tells about the host: `list`, `info`, `domid`, `domname`.

use crate::config;
use crate::domain::{Domain, Reason};
use crate::host::{Host, Locked};
use crate::{Exit, Outcome, Words, find};
use serde_json::json;

/// `xl list [-l] [-v] [NAME|ID]`
pub(crate) fn list(host: &Host, words: &Words) -> Outcome {
    let locked = host.lock()?;
    let only = match words.plain.as_slice() {
        [] => None,
        [one] => Some(find(&locked, one)?),
        _ => return Err(Exit::failure("Usage: xl [-vfN] list [options] [Domain]")),
    };
    if let Some(domid) = only
        && domid != 0
        && locked.get(domid).is_none()
    {
        return Err(Exit::failure(format!("Error: Domain '{}' does not exist.", words.word(0))));
    }
    let wanted: Vec<&Domain> = locked.domains().filter(|d| only.is_none_or(|o| o == d.domid)).collect();
    let with_dom0 = only.is_none_or(|o| o == 0);
    if words.has('l') {
        return details(&locked, &wanted, with_dom0);
    }
    print!("Name                                        ID   Mem VCPUs\tState\tTime(s)");
    if words.has('v') {
        print!("   UUID                            Reason-Code\tSecurity Label");
    }
    println!();
    if with_dom0 {
        line("Domain-0", 0, locked.dom0_mib(), 2, "r-----", 123.4);
        println!("{}", verbose(words, "00000000-0000-0000-0000-000000000000", None));
    }
    for domain in wanted {
        #[allow(clippy::cast_precision_loss, reason = "a column with one decimal")]
        let seconds = if domain.ran_here { (domain.ticks() as f64 / 1000.0).max(0.1) } else { 0.0 };
        let name = if domain.nameless { "(null)" } else { &domain.name };
        let off = domain.unfinished || domain.shutdown == Some(Reason::Poweroff);
        let vcpus = if off { 0 } else { domain.vcpus };
        line(name, domain.domid, domain.memory_mib, vcpus, &domain.flags(), seconds);
        println!("{}", verbose(words, &domain.uuid, domain.shutdown.map(|r| r.code())));
    }
    Ok(())
}

fn line(name: &str, domid: u32, memory: u64, vcpus: u32, flags: &str, seconds: f64) {
    print!("{name:<40} {domid:>5} {memory:>5} {vcpus:>5}     {flags}  {seconds:>8.1}");
}

fn verbose(words: &Words, uuid: &str, reason: Option<u8>) -> String {
    if !words.has('v') {
        return String::new();
    }
    let reason = reason.map_or("-".to_owned(), |code| format!("{code:x}"));
    format!(" {uuid} {reason:>8} {:>16}", "-")
}

fn details(locked: &Locked<'_>, wanted: &[&Domain], with_dom0: bool) -> Outcome {
    let dom0 = json!({"domid": 0, "config": {
        "c_info": {"type": "pv", "name": "Domain-0"},
        "b_info": {"max_memkb": locked.dom0_mib() * 1024, "target_memkb": locked.dom0_mib() * 1024},
    }});
    let rows: Vec<_> = with_dom0
        .then_some(dom0)
        .into_iter()
        .chain(wanted.iter().map(|d| {
            let mut config = d.config.clone();
            config["c_info"]["name"] = json!(d.name);
            json!({"domid": d.domid, "config": config})
        }))
        .collect();
    println!("{}", config::to_json(&json!(rows))?);
    Ok(())
}

/// What the hypervisor can do, as Debian's 4.17 says it: no shadow paging.
pub(crate) fn virt_caps(host: &Host) -> String {
    host.knob("virt-caps").unwrap_or_else(|| "pv hvm hap gnttab-v1 gnttab-v2".into())
}

/// `xl info [FIELD]`
pub(crate) fn info(host: &Host, words: &Words, virt_caps: String) -> Outcome {
    let locked = host.lock()?;
    let uname = rustix::system::uname();
    let xen = host.knob("xen-version").unwrap_or_else(|| "4.17".into());
    let (major, minor) = xen.split_once('.').unwrap_or((&xen, "0"));
    let rows: [(&str, String); 26] = [
        ("host", host.name.clone()),
        ("release", uname.release().to_string_lossy().into_owned()),
        ("version", uname.version().to_string_lossy().into_owned()),
        ("machine", uname.machine().to_string_lossy().into_owned()),
        ("nr_cpus", "2".into()),
        ("max_cpu_id", "1".into()),
        ("nr_nodes", "1".into()),
        ("cores_per_socket", "2".into()),
        ("threads_per_core", "1".into()),
        ("cpu_mhz", "2399.996".into()),
        ("hw_caps", "1789c3f5:80802001:20100800:00000001:00000000:00000000:00000000:00000000".into()),
        ("virt_caps", virt_caps),
        ("total_memory", locked.total_mib().to_string()),
        ("free_memory", locked.free_mib().to_string()),
        ("sharing_freed_memory", "0".into()),
        ("sharing_used_memory", "0".into()),
        ("outstanding_claims", "0".into()),
        ("free_cpus", "0".into()),
        ("xen_major", major.to_owned()),
        ("xen_minor", minor.to_owned()),
        ("xen_extra", ".7".into()),
        ("xen_version", format!("{xen}.7")),
        ("xen_caps", "xen-3.0-x86_64 hvm-3.0-x86_32 hvm-3.0-x86_32p hvm-3.0-x86_64".into()),
        ("xen_scheduler", "credit2".into()),
        ("xen_pagesize", "4096".into()),
        ("xend_config_format", "4".into()),
    ];
    for (key, value) in rows {
        match words.plain.first() {
            None => println!("{key:<23}: {value}"),
            // xl compares only as many letters as were asked for
            Some(wanted) if key.starts_with(wanted.as_str()) => println!("{value}"),
            Some(_) => {}
        }
    }
    Ok(())
}

/// `xl domid NAME`
pub(crate) fn domid(host: &Host, words: &Words) -> Outcome {
    let name = words.word(0);
    if name == "Domain-0" {
        println!("0");
        return Ok(());
    }
    match host.lock()?.by_name(name) {
        Some(domain) => {
            println!("{}", domain.domid);
            Ok(())
        }
        None => Err(Exit::failure(format!(
            "Can't get domid of domain name '{name}', maybe this domain does not exist."
        ))),
    }
}

/// `xl domname ID`
pub(crate) fn domname(host: &Host, words: &Words) -> Outcome {
    let Ok(domid) = words.word(0).parse::<u32>() else {
        return Err(Exit::failure("Invalid domain id.\n"));
    };
    if domid == 0 {
        println!("Domain-0");
        return Ok(());
    }
    match host.lock()?.get(domid) {
        Some(domain) => {
            println!("{}", domain.name);
            Ok(())
        }
        None => Err(Exit::failure(format!(
            "Can't get domain name of domain id '{domid}', maybe this domain does not exist."
        ))),
    }
}
