//! Devices of this host that a domain has for itself: which can be given, and giving and taking them.

use std::time::Duration;

use crate::domain::{DomainName, PciAddress, Presence};
use crate::host::Root;
use crate::toolstack::{LIST_LIMIT, Toolstack};

/// Limit of attaching or detaching one: the guest has a say in it.
const DEVICE_LIMIT: Duration = Duration::from_secs(20);
/// Where the kernel shows the devices that may be given to domains (`xen-pciback`).
const ASSIGNABLE: &str = "/sys/bus/pci/drivers/pciback";

/// What of `devices` this node cannot give to a domain. Starts no process.
///
/// # Errors
/// The first of them, and what to do.
pub fn assignable(root: &Root, devices: &[PciAddress]) -> Result<(), String> {
    let there = |device: &PciAddress| root.join(ASSIGNABLE).join(device.as_str()).exists();
    match devices.iter().find(|device| !there(device)) {
        Some(device) => {
            Err(format!("{device} cannot be given to a domain on that node: xl pci-assignable-add {device}"))
        }
        None => Ok(()),
    }
}

/// Gives `domain` those of `devices` that it has not.
///
/// # Errors
/// The first one that it did not get.
pub fn attach(toolstack: &dyn Toolstack, domain: &DomainName, devices: &[PciAddress]) -> Result<(), String> {
    let has = toolstack.devices(domain, LIST_LIMIT).map_err(|error| error.to_string())?;
    for device in devices.iter().filter(|device| !has.contains(device)) {
        log::info!("domain={domain} attaching {device}");
        toolstack.attach(domain, device, DEVICE_LIMIT).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Takes all `devices` from `domain`; if that fails, it has them all again.
///
/// # Errors
/// The first one that it kept.
pub fn detach(toolstack: &dyn Toolstack, domain: &DomainName, devices: &[PciAddress]) -> Result<(), String> {
    let detach_all = || {
        for device in devices {
            log::info!("domain={domain} detaching {device}");
            toolstack.detach(domain, device, DEVICE_LIMIT).map_err(|error| error.to_string())?;
        }
        match toolstack.devices(domain, LIST_LIMIT).map_err(|error| error.to_string())?.first() {
            Some(kept) => Err(format!("it still has {kept}, which it was asked to give up")),
            None => Ok(()),
        }
    };
    if devices.is_empty() {
        return Ok(());
    }
    detach_all().inspect_err(|_| give_again(toolstack, domain, devices))
}

/// How its move ended is not known. Where it runs here, it did not move.
pub fn give_again_if_here(toolstack: &dyn Toolstack, domain: &DomainName, devices: &[PciAddress]) {
    if !devices.is_empty() && matches!(toolstack.presence(domain, LIST_LIMIT), Presence::Running(_)) {
        give_again(toolstack, domain, devices);
    }
}

/// It did not move after all.
pub fn give_again(toolstack: &dyn Toolstack, domain: &DomainName, devices: &[PciAddress]) {
    if devices.is_empty() {
        return;
    }
    if let Err(why) = attach(toolstack, domain, devices) {
        log::error!("domain={domain} it runs on without a device of its own: {why}");
    }
}
