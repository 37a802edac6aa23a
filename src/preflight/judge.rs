//! What follows from a domain's needs and a node's facts. Pure.

use super::facts::{Facts, FileState, HostFacts, Trouble};
use super::{Check, Hinders, Needs};
use crate::domain::{DomainConfig, GuestType, Presence};

/// Every check but those of the way to that node, which [`crate::peer::preflight`] makes. `here` is the node
/// that the domain would leave; `None` where nothing is known of it.
pub fn judge(needs: &Needs, here: Option<&HostFacts>, there: &Facts) -> Vec<Check> {
    let mut checks = vec![name(&needs.config, &there.presence)];
    match &there.host {
        Ok(host) => {
            checks.push(hypervisor(here, host));
            checks.push(guest_type(needs.config.guest, host));
            checks.push(memory(&needs.config, host));
        }
        Err(why) => checks.push(Check::unknown(
            "toolstack",
            format!("it does not answer there: {why}"),
            "look at xl info on that node",
        )),
    }
    checks.extend(
        needs
            .file
            .as_ref()
            .zip(there.file.as_ref())
            .map(|(file, state)| configuration(file.path.as_str(), state)),
    );
    checks.extend(troubles(needs, &there.troubles));
    checks.extend(guest(&needs.config, here));
    checks
}

/// What the guest itself and the host that it runs on say about moving it while it runs, wherever to. `here`
/// is that host; `None` where nothing is known of it.
pub fn guest(config: &DomainConfig, here: Option<&HostFacts>) -> Vec<Check> {
    let mut checks = vec![live(config, here), passthrough(config)];
    if config.may_not_migrate {
        checks.push(Check::fails(
            "nomigrate",
            Hinders::Move,
            "its configuration forbids to migrate it",
            "remove nomigrate=1",
        ));
    }
    checks
}

/// The words of `virt_caps` that came to `xl info` with `shadow` (Xen 4.13), or after it: a host that says
/// one of them would say `shadow` too, and `pv`, if it had that. One that says none of them says nothing
/// about it.
const CAME_WITH_SHADOW: [&str; 6] =
    ["hap", "iommu_hap_pt_share", "vmtrace", "vpmu", "gnttab-v1", "gnttab-v2"];

/// Whether a host has what `word` of `virt_caps` stands for; `None` if it does not say.
fn has(host: &HostFacts, word: &str) -> Option<bool> {
    let says = |word: &str| host.capabilities.iter().any(|named| named == word);
    if says(word) {
        return Some(true);
    }
    CAME_WITH_SHADOW.iter().any(|word| says(word)).then_some(false)
}

/// What Xen and xl need to send this guest while it runs: to log which pages of a PV guest are written to,
/// the hypervisor that it runs on needs shadow paging, which Debian's has not; and libxl saves no guest with
/// virtual NUMA nodes, on any release.
fn live(config: &DomainConfig, here: Option<&HostFacts>) -> Check {
    let check = "live";
    if config.has_vnuma {
        let found = "it has virtual NUMA nodes, and xl does not save such a guest";
        return Check::fails(check, Hinders::Move, found, "remove vnuma");
    }
    match (config.guest, here) {
        (GuestType::Hvm | GuestType::Pvh, _) => Check::ok(check, "Xen can move it while it runs"),
        (GuestType::Pv, Some(here)) => match has(here, "shadow") {
            Some(true) => Check::ok(check, "a pv guest, and the hypervisor here has shadow paging"),
            Some(false) => {
                let caps = here.capabilities.join(" ");
                let found = format!(
                    "a pv guest, and the hypervisor here has no shadow paging (virt_caps: {caps}), which Xen needs to move \
                     one while it runs"
                );
                let advice = "have it boot as type=\"pvh\", or use a Xen that is built with shadow paging";
                Check::fails(check, Hinders::Move, found, advice)
            }
            None => Check::unknown(
                check,
                "a pv guest, and the hypervisor here does not say whether it has shadow paging",
                "",
            ),
        },
        (GuestType::Pv, None) => Check::unknown(
            check,
            "a pv guest, and the hypervisor here says nothing of itself",
            "look at xl info",
        ),
        (GuestType::Unknown, _) => Check::unknown(check, "the toolstack does not say of what type it is", ""),
    }
}

fn name(config: &DomainConfig, there: &Presence) -> Check {
    match there {
        Presence::Absent => Check::ok("name", format!("no {} there", config.name)),
        Presence::Unknown(why) => Check::unknown("name", why, "look at xl list on that node"),
        Presence::Incoming(_) | Presence::MigratedAway(_) => Check::fails(
            "name",
            Hinders::Boot,
            format!("it is {there} there"),
            format!("xen-handoff recover {} on that node", config.name),
        ),
        other => Check::fails(
            "name",
            Hinders::Boot,
            format!("{} is {other} there", config.name),
            "find out which of the two is the real one before anything is started",
        ),
    }
}

/// Xen takes a domain from the same version or an older one; and promises it for the next minor version only.
fn hypervisor(here: Option<&HostFacts>, there: &HostFacts) -> Check {
    let Some(here) = here else { return Check::ok("xen", format!("{} there", there.xen)) };
    let found = format!("{} here, {} there", here.xen, there.xen);
    if there.xen < here.xen {
        let advice = "migrate from the older to the newer version only";
        return Check::fails("xen", Hinders::Move, found, advice);
    }
    if there.xen.major != here.xen.major || there.xen.minor > here.xen.minor + 1 {
        return Check::warns("xen", found, "upgrade one minor version at a time");
    }
    Check::ok("xen", found)
}

fn guest_type(guest: GuestType, there: &HostFacts) -> Check {
    let (what, capability) = match guest {
        GuestType::Pv => ("pv", "pv"),
        GuestType::Pvh => ("pvh", "hvm"),
        GuestType::Hvm => ("hvm", "hvm"),
        GuestType::Unknown => return Check::ok("type", "not told by the toolstack"),
    };
    if there.capabilities.iter().any(|named| named == capability) {
        return Check::ok("type", format!("{what} guests run there"));
    }
    if guest == GuestType::Pv && has(there, capability).is_none() {
        // Older hypervisors run them and do not say so.
        return Check::unknown("type", "that node does not say whether it runs pv guests", "");
    }
    Check::fails(
        "type",
        Hinders::Boot,
        format!("a {what} guest; that node runs {}", there.capabilities.join(" ")),
        match guest {
            GuestType::Pv => "its Xen was built without it",
            _ => "virtualisation is switched off in that host's firmware, or its Xen was built without it",
        },
    )
}

/// What a domain takes of a host, in MiB, as libxl counts it (`libxl_domain_need_memory`,
/// `libxl_get_required_shadow_memory`): its memory; for page tables 1 MiB for each processor and 8 KiB for
/// each MiB; 2 MiB more, of a PV guest 1; in pieces of 2 MiB.
pub(crate) fn needed_mib(config: &DomainConfig) -> u64 {
    let tables_kib =
        u64::from(config.processors).saturating_mul(1024).saturating_add(config.memory_mib.saturating_mul(8));
    let more_kib = if config.guest == GuestType::Pv { 1024 } else { 2048 };
    let all_kib = config.memory_mib.saturating_mul(1024).saturating_add(tables_kib).saturating_add(more_kib);
    all_kib.div_ceil(2048).saturating_mul(2)
}

fn memory(config: &DomainConfig, there: &HostFacts) -> Check {
    if config.memory_mib == 0 {
        return Check::unknown("memory", "the toolstack does not say how much it needs", "");
    }
    let needed = needed_mib(config);
    let available = there.free_mib.saturating_add(there.spare_mib);
    let spare =
        if there.spare_mib > 0 { format!(", {} more from dom0", there.spare_mib) } else { String::new() };
    let found = format!("needs {needed} MiB; {} MiB free there{spare}", there.free_mib);
    if available < config.memory_mib {
        return Check::fails(
            "memory",
            Hinders::Boot,
            found,
            "make room on that node, or give the domain less memory",
        );
    }
    if available < needed {
        return Check::warns("memory", found, "it may not fit: make some more room on that node");
    }
    Check::ok("memory", found)
}

fn configuration(path: &str, state: &FileState) -> Check {
    let check = "configuration";
    match state {
        FileState::Same => Check::ok(check, format!("{path} is the same")),
        FileState::Different => Check::warns(
            check,
            format!("{path} is another one there"),
            "a boot there would use it: copy the file to every node",
        ),
        FileState::Missing => {
            Check::fails(check, Hinders::Boot, format!("no {path} there"), "copy the file to every node")
        }
        FileState::Unreadable(why) => Check::fails(
            check,
            Hinders::Boot,
            format!("{path} cannot be read there: {why}"),
            "copy the file anew",
        ),
    }
}

fn troubles(needs: &Needs, troubles: &[Trouble]) -> Vec<Check> {
    let (disks, bridges): (Vec<_>, Vec<_>) =
        troubles.iter().partition(|trouble| matches!(trouble, Trouble::Disk { .. }));
    let described = |trouble: &&Trouble| match trouble {
        Trouble::Bridge { name } => name.clone(),
        Trouble::Disk { path, what } => format!("{path}: {what}"),
    };
    let all = |troubles: &[&Trouble]| troubles.iter().map(described).collect::<Vec<_>>().join("; ");
    let config = &needs.config;
    let bridge = if bridges.is_empty() {
        Check::ok("bridges", format!("{} there", count(config.bridges.len(), "bridge")))
    } else {
        let found = format!("not there: {}", all(&bridges));
        Check::fails("bridges", Hinders::Boot, found, "make the bridge on that node")
    };
    let disk = if !disks.is_empty() {
        let advice =
            "make the disk visible under this path on every node (log in to the target, activate the volume)";
        Check::fails("disks", Hinders::Boot, all(&disks), advice)
    } else if config.disks_by_script.is_empty() {
        Check::ok("disks", format!("{} can be opened there", count(config.disks.len(), "disk")))
    } else {
        let found = format!("{} can only be tried by its script", config.disks_by_script.join(", "));
        Check::unknown("disks", found, "")
    };
    vec![bridge, disk]
}

fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

fn passthrough(config: &DomainConfig) -> Check {
    if config.passthrough.is_empty() {
        return Check::ok("passthrough", "no device of the host");
    }
    Check::fails(
        "passthrough",
        Hinders::Move,
        format!("it has {}", config.passthrough.join(", ")),
        "Xen does not migrate a domain with PCI devices of the host: detach them (xl pci-detach) before the move",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{DomainId, DomainName};
    use crate::host::LocalPath;
    use crate::preflight::{FileDigest, Report, Verdict};
    use crate::toolstack::XenVersion;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    fn host() -> HostFacts {
        HostFacts {
            xen: XenVersion { major: 4, minor: 17 },
            capabilities: words("pv hvm hap shadow"),
            free_mib: 2000,
            spare_mib: 0,
        }
    }

    fn needs() -> Needs {
        let path = LocalPath::new("/etc/xen/x0.cfg").unwrap();
        Needs {
            config: DomainConfig {
                name: DomainName::new("x0").unwrap(),
                guest: GuestType::Pvh,
                memory_mib: 1024,
                processors: 2,
                disks: vec![LocalPath::new("/dev/vg/x0").unwrap()],
                disks_by_script: vec![],
                bridges: vec!["xenbr0".to_owned()],
                passthrough: vec![],
                may_not_migrate: false,
                has_vnuma: false,
            },
            file: Some(FileDigest { path, sha256: "0".to_owned() }),
        }
    }

    fn facts() -> Facts {
        Facts { presence: Presence::Absent, host: Ok(host()), file: Some(FileState::Same), troubles: vec![] }
    }

    /// The one check that is not as it should be, after `change`.
    fn only(change: impl FnOnce(&mut Needs, &mut Facts)) -> (&'static str, Verdict, String) {
        let (mut needs, mut facts) = (needs(), facts());
        change(&mut needs, &mut facts);
        let all = judge(&needs, Some(&host()), &facts);
        let not_ok: Vec<_> = all.into_iter().filter(|check| check.result != Verdict::Ok).collect();
        assert_eq!(not_ok.len(), 1, "{not_ok:?}");
        let Check { check, result, found, .. } = not_ok.into_iter().next().unwrap();
        (check, result, found)
    }

    #[test]
    fn a_node_that_has_everything_passes_every_check() {
        let checks = judge(&needs(), Some(&host()), &facts());
        assert!(
            checks.iter().all(|check| check.result == Verdict::Ok && check.advice.is_empty()),
            "{checks:?}"
        );
        assert!(checks.len() >= 8);
    }

    #[test]
    fn a_copy_there_under_any_name_fails() {
        for presence in [Presence::Running(DomainId(1)), Presence::Incoming(DomainId(2))] {
            let (check, result, found) = only(|_, facts| facts.presence = presence);
            assert_eq!((check, result), ("name", Verdict::Failed), "{found}");
        }
        let (_, result, _) = only(|_, facts| facts.presence = Presence::Unknown("xl hung".into()));
        assert_eq!(result, Verdict::Unknown);
    }

    #[test]
    fn an_older_hypervisor_fails_and_one_that_is_two_ahead_warns() {
        let with = |minor| {
            only(|_, facts| facts.host = Ok(HostFacts { xen: XenVersion { major: 4, minor }, ..host() }))
        };
        assert_eq!(with(16).1, Verdict::Failed);
        assert_eq!(with(19).1, Verdict::Warning);
    }

    #[test]
    fn memory_counts_what_dom0_would_give_and_what_a_domain_takes_besides() {
        let with = |free_mib, spare_mib| HostFacts { free_mib, spare_mib, ..host() };
        let (check, result, found) = only(|_, facts| facts.host = Ok(with(1000, 0)));
        assert_eq!((check, result), ("memory", Verdict::Failed));
        assert!(found.contains("needs 1036 MiB") && found.contains("1000 MiB free"), "{found}");
        assert_eq!(only(|_, facts| facts.host = Ok(with(1030, 0))).1, Verdict::Warning);
        assert_eq!(memory(&needs().config, &with(600, 500)).result, Verdict::Ok);
    }

    #[test]
    fn a_guest_of_a_kind_that_the_node_cannot_run_fails() {
        let capabilities = vec!["pv".to_owned()];
        let (check, result, _) = only(|_, facts| facts.host = Ok(HostFacts { capabilities, ..host() }));
        assert_eq!((check, result), ("type", Verdict::Failed));
        for (capabilities, result) in [("hvm", Verdict::Unknown), ("hvm hap shadow", Verdict::Failed)] {
            let said = only(|needs, facts| {
                needs.config.guest = GuestType::Pv;
                facts.host = Ok(HostFacts { capabilities: words(capabilities), ..host() });
            });
            assert_eq!(
                (said.0, said.1),
                ("type", result),
                "a host of a release that does not say so may run it"
            );
        }
    }

    /// What the check `live` comes to for a guest of this type on a hypervisor that says these words of
    /// itself.
    fn live_on(guest: GuestType, capabilities: &str) -> Check {
        let here = HostFacts { capabilities: words(capabilities), ..host() };
        live(&DomainConfig { guest, ..needs().config }, Some(&here))
    }

    #[test]
    fn p7_a_pv_guest_moves_only_where_the_hypervisor_has_shadow_paging_by_its_own_word() {
        let debians = "pv hvm hap gnttab-v1 gnttab-v2";
        let failed = live_on(GuestType::Pv, debians);
        assert_eq!((failed.result, failed.hinders), (Verdict::Failed, Some(Hinders::Move)));
        assert!(failed.found.contains(debians) && failed.advice.contains("pvh"), "{failed:?}");
        assert_eq!(live_on(GuestType::Pv, "pv hvm hap shadow").result, Verdict::Ok);
        assert_eq!(
            live_on(GuestType::Pv, "pv gnttab-v2").result,
            Verdict::Failed,
            "without hardware for hvm"
        );
        // Releases that do not know the word say nothing by not saying it.
        for silent in ["", "hvm", "hvm hvm_directio", "pv hvm hvm_directio pv_directio"] {
            assert_eq!(live_on(GuestType::Pv, silent).result, Verdict::Unknown, "{silent}");
        }
        assert_eq!(
            live(&DomainConfig { guest: GuestType::Pv, ..needs().config }, None).result,
            Verdict::Unknown
        );
        for guest in [GuestType::Pvh, GuestType::Hvm] {
            assert_eq!(live_on(guest, debians).result, Verdict::Ok);
        }
    }

    #[test]
    fn p7_a_guest_with_virtual_numa_nodes_does_not_move_on_any_hypervisor() {
        let (check, result, _) = only(|needs, _| needs.config.has_vnuma = true);
        assert_eq!((check, result), ("live", Verdict::Failed));
    }

    #[test]
    fn each_failed_check_says_whether_a_boot_there_would_fail_as_well() {
        let kind = |change: &dyn Fn(&mut Needs, &mut Facts)| {
            let (mut needs, mut facts) = (needs(), facts());
            change(&mut needs, &mut facts);
            let all = judge(&needs, Some(&host()), &facts);
            let failed: Vec<_> = all.iter().filter(|check| check.result == Verdict::Failed).collect();
            assert!(all.iter().all(|check| check.hinders.is_some() == (check.result == Verdict::Failed)));
            assert_eq!(failed.len(), 1, "{failed:?}");
            let by = |what| Report::hindrance(&all, what).is_some();
            assert_ne!(by(Hinders::Move), by(Hinders::Boot));
            failed[0].hinders.unwrap()
        };
        let older = HostFacts { xen: XenVersion { major: 4, minor: 16 }, ..host() };
        let full = HostFacts { free_mib: 10, ..host() };
        let no_hvm = HostFacts { capabilities: words("pv shadow"), ..host() };
        let bridge = Trouble::Bridge { name: "xenbr0".to_owned() };
        let disk = Trouble::Disk { path: LocalPath::new("/dev/vg/x0").unwrap(), what: "gone".to_owned() };
        assert_eq!(kind(&|_, facts| facts.host = Ok(older.clone())), Hinders::Move);
        assert_eq!(kind(&|needs, _| needs.config.may_not_migrate = true), Hinders::Move);
        assert_eq!(kind(&|needs, _| needs.config.has_vnuma = true), Hinders::Move);
        assert_eq!(kind(&|needs, _| needs.config.passthrough.push("0000:03:10.1".to_owned())), Hinders::Move);
        assert_eq!(kind(&|_, facts| facts.host = Ok(full.clone())), Hinders::Boot);
        assert_eq!(kind(&|_, facts| facts.host = Ok(no_hvm.clone())), Hinders::Boot);
        assert_eq!(kind(&|_, facts| facts.troubles = vec![bridge.clone()]), Hinders::Boot);
        assert_eq!(kind(&|_, facts| facts.troubles = vec![disk.clone()]), Hinders::Boot);
        assert_eq!(kind(&|_, facts| facts.file = Some(FileState::Missing)), Hinders::Boot);
        assert_eq!(kind(&|_, facts| facts.presence = Presence::Running(DomainId(1))), Hinders::Boot);
    }

    #[test]
    fn a_configuration_file_that_is_missing_fails_and_a_different_one_warns() {
        assert_eq!(only(|_, facts| facts.file = Some(FileState::Missing)).1, Verdict::Failed);
        assert_eq!(only(|_, facts| facts.file = Some(FileState::Different)).1, Verdict::Warning);
    }

    #[test]
    fn what_the_domain_stands_on_is_named_where_it_is_missing() {
        let bridge = Trouble::Bridge { name: "xenbr0".to_owned() };
        let (check, _, found) = only(|_, facts| facts.troubles.push(bridge));
        assert_eq!((check, found.as_str()), ("bridges", "not there: xenbr0"));
        let path = LocalPath::new("/dev/vg/x0").unwrap();
        let disk = Trouble::Disk { path, what: "No such file or directory".to_owned() };
        let (check, result, found) = only(|_, facts| facts.troubles.push(disk));
        assert_eq!((check, result), ("disks", Verdict::Failed));
        assert!(found.starts_with("/dev/vg/x0:"), "{found}");
    }

    #[test]
    fn a_device_of_the_host_and_a_forbidden_move_fail() {
        let (check, result, _) = only(|needs, _| needs.config.passthrough.push("0000:03:10.1".to_owned()));
        assert_eq!((check, result), ("passthrough", Verdict::Failed));
        let (check, result, _) = only(|needs, _| needs.config.may_not_migrate = true);
        assert_eq!((check, result), ("nomigrate", Verdict::Failed));
    }

    #[test]
    fn a_toolstack_that_is_silent_is_unknown_and_never_fine() {
        let mut facts = facts();
        facts.host = Err("xl hung".to_owned());
        let checks = judge(&needs(), Some(&host()), &facts);
        assert!(checks.iter().any(|check| check.check == "toolstack" && check.result == Verdict::Unknown));
        assert!(checks.iter().all(|check| check.check != "memory"));
    }
}
