//! One domain's state, from the hypervisor itself: `XEN_DOMCTL_getdomaininfo` by way of `/dev/xen/privcmd`.
//!
//! This interface changes with Xen's releases, and says so: it has a version number, and the hypervisor
//! refuses a call that names another one. The layout below is that of `xen/domctl.h` on x86-64, field for
//! field the same from Xen 4.16 to 4.22 (interface 0x14 to 0x18). It is used with the releases that it was
//! run on, each with its own number; with every other one there is no glance, which costs no more than a call
//! of xl.

use std::fs::{File, OpenOptions};
use std::io::{Error, Result};

use rustix::ioctl::{self, Updater};

use crate::domain::DomainId;
use crate::host::Root;
use crate::toolstack::api::XenVersion;

/// The releases that this was run on, and `XEN_DOMCTL_INTERFACE_VERSION` of each. 4.19 and 4.21 have 4.20's
/// number, 4.18 has 0x16.
const TRIED: [(XenVersion, Interface); 2] = [
    (XenVersion { major: 4, minor: 17 }, Interface(0x15)),
    (XenVersion { major: 4, minor: 20 }, Interface(0x17)),
];

/// The number of an interface that the layout below is right for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Interface(u32);

/// `__HYPERVISOR_domctl`, and its `XEN_DOMCTL_getdomaininfo`.
const DOMCTL: u64 = 36;
const GET_DOMAIN_INFO: u32 = 5;
/// `IOCTL_PRIVCMD_HYPERCALL` of `xen/privcmd.h`: `_IOC(_IOC_NONE, 'P', 0, sizeof(struct privcmd_hypercall))`.
const HYPERCALL: ioctl::Opcode = ioctl::opcode::none(b'P', 0) | 48 << 16;

/// `XEN_DOMINF_*`.
const DYING: u32 = 1;
const SHUT_DOWN: u32 = 1 << 2;
const PAUSED: u32 = 1 << 3;
/// Why it was shut down: `XEN_DOMINF_shutdownshift`, and `SHUTDOWN_suspend` of `xen/sched.h`.
const SHUTDOWN_SHIFT: u32 = 16;
const SUSPEND: u32 = 2;

/// `struct privcmd_hypercall`.
#[repr(C)]
#[derive(Debug)]
struct Hypercall {
    number: u64,
    arguments: [u64; 5],
}

/// `struct xen_domctl` with `struct xen_domctl_getdomaininfo` in it. Aligned to more than its size, so that
/// it lies in one page.
#[repr(C, align(256))]
#[derive(Debug, Default)]
struct Domctl {
    command: u32,
    interface: u32,
    domain: u16,
    _pad: [u16; 3],
    info_domain: u16,
    _pad1: u16,
    flags: u32,
    pages: u64,
    _max_pages: u64,
    /// Claimed and not had yet.
    outstanding: u64,
    _other_pages_and_time: [u64; 4],
    processors: u32,
    _max_vcpu_id: u32,
    _ssidref: u32,
    handle: [u8; 16],
    _cpupool: u32,
    _gpaddr_bits: [u8; 8],
    _arch: [u32; 2],
    /// The union is as long as its longest.
    _rest: [u64; 2],
}

/// What the hypervisor says of a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct State {
    /// Whose it is.
    pub(super) id: DomainId,
    /// Which one that is.
    pub(super) uuid: String,
    /// Its memory, as xl counts it.
    pub(super) memory_mib: u64,
    /// Whether it can run: neither dying, shut down, paused nor being created.
    pub(super) runs: bool,
    /// Whether it is suspended, as for the last step of a migration.
    pub(super) is_suspended: bool,
}

/// That of the hypervisor that runs here, if this was run on it.
pub(super) fn interface(root: &Root) -> Option<Interface> {
    let here =
        XenVersion::running(root).filter(|_| cfg!(all(target_arch = "x86_64", target_os = "linux")))?;
    TRIED.into_iter().find_map(|(version, interface)| (version == here).then_some(interface))
}

/// The kernel's way to the hypervisor.
///
/// # Errors
/// If there is none, or it may not be used.
pub(super) fn open(root: &Root) -> Result<File> {
    OpenOptions::new().read(true).write(true).open(root.join("/dev/xen/privcmd"))
}

/// The state of the domain of this id.
///
/// # Errors
/// If there is none (`ESRCH`), or the hypervisor has another interface (`EACCES`).
#[allow(unsafe_code)]
pub(super) fn state(privcmd: &File, interface: Interface, id: DomainId) -> Result<State> {
    let mut domctl = Domctl {
        command: GET_DOMAIN_INFO,
        interface: interface.0,
        domain: u16::try_from(id.0).map_err(Error::other)?,
        ..Domctl::default()
    };
    let mut call =
        Hypercall { number: DOMCTL, arguments: [(&raw mut domctl).expose_provenance() as u64, 0, 0, 0, 0] };
    // SAFETY: the opcode is that of `struct privcmd_hypercall`, which `Hypercall` is, and privcmd reads it
    // only. The hypervisor reads and writes `struct xen_domctl` at the address in it: 144 bytes, and `Domctl`
    // is 256 (checked below), lives until after the call, and is borrowed by nobody else. Any bytes are valid
    // in each of its fields. A page that is not there makes the call fail (EFAULT), as does an interface of
    // another version.
    unsafe { ioctl::ioctl(privcmd, Updater::<HYPERCALL, Hypercall>::new(&mut call))? };
    Ok(State {
        // Of an id that is free the hypervisor gives the next domain (up to 4.17): the caller compares.
        id: DomainId(domctl.info_domain.into()),
        uuid: uuid(&domctl.handle),
        memory_mib: domctl.pages.saturating_add(domctl.outstanding) >> 8,
        is_suspended: domctl.flags & SHUT_DOWN != 0 && domctl.flags >> SHUTDOWN_SHIFT & 0xff == SUSPEND,
        runs: domctl.flags & (DYING | SHUT_DOWN | PAUSED) == 0 && domctl.processors > 0,
    })
}

const _: () = assert!(size_of::<Domctl>() == 256 && std::mem::offset_of!(Domctl, _rest) + 16 == 144);
const _: () = assert!(std::mem::offset_of!(Domctl, handle) == 16 + 76);
const _: () = assert!(size_of::<Hypercall>() == 48 && HYPERCALL == 0x0030_5000);

/// As xenstore writes it.
fn uuid(handle: &[u8; 16]) -> String {
    let mut text = String::with_capacity(36);
    for (at, byte) in handle.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}
