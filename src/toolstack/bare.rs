//! A host on which no hypervisor runs: Xen's packages are there, perhaps, and the machine was booted without
//! Xen. No domain can be on it.
//!
//! A tool that is missing or fails says nothing about that. What does is what the kernel itself shows, all of
//! it together, since each fact alone can be missing on a host that runs domains:
//!
//! | fact | says nothing alone, since |
//! |---|---|
//! | `/sys/hypervisor/type` is not `xen` | a kernel can be built without it |
//! | no `/proc/xen` | the same |
//! | no `/dev/xen` | its drivers may be modules that were not loaded |
//! | no socket of xenstored's | xenstored may have died, or run in a domain of its own |
//! | no clock source `xen` | on Arm there is none |
//! | no interrupt of Xen's in `/proc/interrupts` | (a dom0 gets all of them as Xen's events) |
//! | no hypervisor in the device tree | on x86 there is none |
//!
//! `/sys` and `/proc` must be there, or nothing was seen. Any mark of Xen at all is a doubt: a guest of Xen's
//! is one as well.

use std::fmt;
use std::path::PathBuf;

use crate::host::Root;

/// Evidence that this host has no hypervisor, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoHypervisor(String);

impl fmt::Display for NoHypervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

const KIND: &str = "/sys/hypervisor/type";
const INTERRUPTS: &str = "/proc/interrupts";
/// There wherever sysfs is mounted.
const SYSFS: &str = "/sys/kernel";
const CLOCKS: &str = "/sys/devices/system/clocksource/clocksource0/available_clocksource";
/// Any of them is a mark of Xen's.
const MARKS: [&str; 6] = [
    "/proc/xen",
    "/dev/xen",
    "/run/xenstored/socket",
    "/var/run/xenstored/socket",
    "/proc/device-tree/hypervisor",
    "/sys/firmware/devicetree/base/hypervisor",
];

/// Whether this host provably has no hypervisor. Starts no process.
pub fn without_hypervisor(root: &Root) -> Option<NoHypervisor> {
    let read = |path: &str| std::fs::read_to_string(root.join(path));
    let interrupts = read(INTERRUPTS).ok().filter(|text| !text.trim().is_empty())?;
    let is_there = |path: PathBuf| path.symlink_metadata().is_ok();
    let names_xen = |text: &str| text.to_ascii_lowercase().contains("xen");
    let kind = match read(KIND) {
        Ok(kind) => format!("{KIND} is {:?}", kind.trim()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => format!("there is no {KIND}"),
        Err(_) => return None,
    };
    let is_marked = names_xen(&kind)
        || MARKS.iter().any(|mark| is_there(root.join(mark)))
        || names_xen(&read(CLOCKS).unwrap_or_default())
        || names_xen(&interrupts);
    if is_marked || !root.join(SYSFS).is_dir() {
        return None;
    }
    Some(NoHypervisor(format!(
        "no hypervisor runs on this host: {kind}, no /proc/xen, no /dev/xen, no xenstored, and no interrupt of Xen's in {INTERRUPTS}"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BARE: [(&str, &str); 2] =
        [("sys/kernel/mm/x", ""), ("proc/interrupts", "  0:  7  IO-APIC  2-edge  timer\n")];

    fn host(files: &[(&str, &str)]) -> Option<NoHypervisor> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        without_hypervisor(&Root::new(folder.path()))
    }

    #[test]
    fn p1_only_a_kernel_that_shows_nothing_of_xen_proves_that_there_is_no_hypervisor() {
        let said = host(&BARE).unwrap().to_string();
        assert!(
            said.contains("there is no /sys/hypervisor/type") && said.contains("/proc/interrupts"),
            "{said}"
        );
        let kvm = [BARE[0], BARE[1], ("sys/hypervisor/type", "kvm\n")];
        assert!(host(&kvm).is_some());
        assert_eq!(host(&[]), None, "nothing was seen");
        assert_eq!(host(&BARE[..1]), None, "no /proc");
        assert_eq!(host(&BARE[1..]), None, "no /sys");
        for mark in [
            ("sys/hypervisor/type", "xen\n"),
            ("proc/xen/capabilities", ""),
            ("dev/xen/privcmd", ""),
            ("run/xenstored/socket", ""),
            ("var/run/xenstored/socket", ""),
            ("proc/device-tree/hypervisor/compatible", "xen,xen-4.17"),
            ("sys/devices/system/clocksource/clocksource0/available_clocksource", "xen tsc hpet\n"),
            ("proc/interrupts", "  49:  3  xen-percpu  -virq  timer0\n"),
        ] {
            assert_eq!(host(&[BARE[0], BARE[1], mark]), None, "{mark:?}");
        }
    }
}
