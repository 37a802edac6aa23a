//! `migration_detach_pci`: devices of the host that a domain has for itself are detached before it moves, since Xen does not
//! migrate a domain with any, and those that its configuration names are attached where it runs then, also where that is
//! here again.

use std::time::Duration;

use super::obstacle::Obstacle;
use super::{Agent, LIST_LIMIT, TRY_AGAIN};
use crate::clock::{Clock, SystemClock};
use crate::domain::{DomainName, PciAddress};
use crate::host::Root;
use crate::ocf::exit_code::Failure;
use crate::preflight::ask::this_host;
use crate::preflight::judge::guest;
use crate::preflight::{Hinders, Report};
use crate::toolstack::Toolstack;

/// Limit of attaching or detaching one: the guest has a say in it.
const DEVICE_LIMIT: Duration = Duration::from_secs(20);
/// Where the kernel shows the devices that may be given to domains (`xen-pciback`).
const ASSIGNABLE: &str = "/sys/bus/pci/drivers/pciback";

/// What of `devices` this node cannot give to a domain. Starts no process.
///
/// # Errors
/// The first of them, and what to do.
pub(crate) fn assignable(root: &Root, devices: &[PciAddress]) -> Result<(), String> {
    let there = |device: &PciAddress| root.join(ASSIGNABLE).join(device.as_str()).exists();
    match devices.iter().find(|device| !there(device)) {
        Some(device) => {
            Err(format!("{device} cannot be given to a domain on that node: xl pci-assignable-add {device}"))
        }
        None => Ok(()),
    }
}

impl Agent {
    /// Looked at before a toolstack moves it by itself, which would find out late.
    ///
    /// # Errors
    /// Why it cannot move while it runs, wherever to.
    pub(super) fn can_move(&self) -> Result<(), String> {
        let config =
            self.toolstack.running_config(&self.domain, LIST_LIMIT).map_err(|error| error.to_string())?;
        let checks = guest(&config, this_host(self.toolstack.as_ref()).as_ref());
        Report::hindrance(&checks, Hinders::Move).map_or(Ok(()), Err)
    }

    /// The devices that its configuration names.
    fn named_devices(&self) -> Vec<PciAddress> {
        let named = self.configured().map(|config| config.passthrough.as_slice()).unwrap_or_default();
        named.iter().filter_map(|device| PciAddress::new(device)).collect()
    }

    /// What must be detached before the domain can move.
    ///
    /// # Errors
    /// Why it cannot move with what it has.
    pub(super) fn devices_to_detach(&self) -> Result<Vec<PciAddress>, String> {
        let named = self.named_devices();
        if named.is_empty() && !self.parameters.detach_pci {
            // What was attached by hand stands in the way when xl is asked.
            return Ok(Vec::new());
        }
        let has = self.toolstack.devices(&self.domain, LIST_LIMIT).map_err(|error| error.to_string())?;
        let words =
            |devices: &[PciAddress]| devices.iter().map(PciAddress::as_str).collect::<Vec<_>>().join(", ");
        if !has.is_empty() && !self.parameters.detach_pci {
            return Err(format!("it has {} of the host, and migration_detach_pci is not set", words(&has)));
        }
        let more: Vec<PciAddress> = has.iter().filter(|device| !named.contains(device)).cloned().collect();
        if !more.is_empty() {
            let more = words(&more);
            return Err(format!(
                "it has {more} of the host, which its configuration does not name: nobody would attach it again"
            ));
        }
        Ok(has)
    }

    /// What its configuration names and this node could not give it, before it is fetched.
    pub(super) fn lacks_devices(&self) -> Option<String> {
        if !self.parameters.detach_pci {
            return None;
        }
        assignable(self.root(), &self.named_devices()).err()
    }

    /// It runs here: whatever its configuration names and it has not, it gets.
    ///
    /// # Errors
    /// `Generic` with what it runs without at the deadline.
    pub(super) fn attach_devices(&self) -> Result<(), Failure> {
        let named = self.named_devices();
        if !self.parameters.detach_pci || named.is_empty() {
            return Ok(());
        }
        let mut obstacle = Obstacle::default();
        let attached = SystemClock.wait_until(self.deadline, TRY_AGAIN, || {
            match attach(self.toolstack.as_ref(), &self.domain, &named) {
                Ok(()) => Some(()),
                Err(why) => {
                    obstacle.is(why, |why| log::warn!("domain={} {why}", self.domain));
                    None
                }
            }
        });
        attached.ok_or_else(|| self.generic(format!("it runs here without a device of its own: {obstacle}")))
    }
}

/// Gives `domain` those of `devices` that it has not.
///
/// # Errors
/// The first one that it did not get.
pub(crate) fn attach(
    toolstack: &dyn Toolstack,
    domain: &DomainName,
    devices: &[PciAddress],
) -> Result<(), String> {
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
pub(crate) fn detach(
    toolstack: &dyn Toolstack,
    domain: &DomainName,
    devices: &[PciAddress],
) -> Result<(), String> {
    let detach_all = || {
        for device in devices {
            log::info!("domain={domain} detaching {device}");
            toolstack.detach(domain, device, DEVICE_LIMIT).map_err(|error| error.to_string())?;
        }
        match toolstack.devices(domain, LIST_LIMIT).map_err(|error| error.to_string())?.first() {
            Some(kept) => Err(format!("it was told to give up {kept} and still has it")),
            None => Ok(()),
        }
    };
    if devices.is_empty() {
        return Ok(());
    }
    detach_all().inspect_err(|_| give_again(toolstack, domain, devices))
}

/// It did not move after all.
pub(crate) fn give_again(toolstack: &dyn Toolstack, domain: &DomainName, devices: &[PciAddress]) {
    if devices.is_empty() {
        return;
    }
    if let Err(why) = attach(toolstack, domain, devices) {
        log::error!("domain={domain} it runs on without a device of its own: {why}");
    }
}
