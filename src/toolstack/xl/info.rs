//! What `xl info` says of the host (`xl(1)`, "info"), and xl's own settings (`xl.conf(5)`).

use crate::toolstack::api::{HostInfo, XenVersion};

/// Reads `KEY : VALUE` lines, which are `xm info`'s too.
pub(in crate::toolstack) fn parse_info(text: &str) -> Result<HostInfo, String> {
    let field = |name: &str| {
        text.lines()
            .filter_map(|line| line.split_once(':'))
            .find_map(|(key, value)| (key.trim() == name).then(|| value.trim()))
            .ok_or_else(|| format!("no {name} in it"))
    };
    let number = |name: &str| {
        let value = field(name)?;
        value.parse::<u64>().map_err(|_| format!("{name} is {value:?}"))
    };
    let part = |name: &str| u32::try_from(number(name)?).map_err(|_| format!("{name} is out of range"));
    Ok(HostInfo {
        xen: XenVersion { major: part("xen_major")?, minor: part("xen_minor")? },
        total_mib: number("total_memory")?,
        // xl has taken off already what is claimed for a domain that is being built (`tools/xl/xl_info.c`).
        free_mib: number("free_memory")?,
        capabilities: field("virt_caps").unwrap_or_default().split_whitespace().map(str::to_owned).collect(),
        dom0_is_fixed: field("xen_commandline").is_ok_and(|line| line.contains("dom0_mem=")),
    })
}

/// What `autoballoon` in `xl.conf` comes to: unset and `auto` mean "unless the hypervisor's command line
/// fixes dom0's memory".
pub(super) fn autoballoons(settings: &str, dom0_is_fixed: bool) -> bool {
    let value = settings.lines().rev().find_map(|line| {
        let (key, value) = line.split_once('=')?;
        (key.trim() == "autoballoon").then(|| value.trim().trim_matches(['"', '\'']).to_ascii_lowercase())
    });
    match value.as_deref() {
        Some("on" | "1") => true,
        Some("off" | "0") => false,
        _ => !dom0_is_fixed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_real_host_is_read_as_what_it_is() {
        let newer = parse_info(include_str!("../../../tests/captured/xl-4.20/info.stdout")).unwrap();
        assert_eq!((newer.xen, newer.free_mib), (XenVersion { major: 4, minor: 20 }, 666));
        let info = parse_info(include_str!("../../../tests/captured/xl-4.17/info.stdout")).unwrap();
        assert_eq!(info.xen, XenVersion { major: 4, minor: 17 });
        assert_eq!((info.total_mib, info.free_mib, info.dom0_is_fixed), (1535, 618, true));
        assert!(info.capabilities.contains(&"hap".to_owned()));
        let claimed = include_str!("../../../tests/captured/xl-4.17/info.stdout")
            .replace("outstanding_claims     : 0", "outstanding_claims     : 96");
        assert_eq!(parse_info(&claimed).unwrap().free_mib, 618, "what is claimed was taken off twice");
        assert!(parse_info("").unwrap_err().contains("xen_major"));
    }

    #[test]
    fn dom0_gives_memory_away_unless_it_was_told_not_to() {
        assert!(autoballoons("", false) && !autoballoons("", true));
        assert!(autoballoons("#autoballoon=\"off\"\n", false));
        assert!(!autoballoons("autoballoon=\"auto\"\nautoballoon = 'off'\n", false));
        assert!(autoballoons("autoballoon=\"on\"", true));
    }
}
