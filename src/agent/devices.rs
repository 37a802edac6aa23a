//! `migration_detach_pci`: devices of the host that a domain has for itself are detached before it moves,
//! since Xen does not migrate a domain with any, and those that its configuration names are attached where it
//! runs then, also where that is here again.

use super::context::{Agent, TRY_AGAIN};
use crate::clock::{Clock, SystemClock};
use crate::domain::PciAddress;
use crate::node::devices::{assignable, attach};
use crate::obstacle::Obstacle;
use crate::ocf::exit_code::Failure;
use crate::peer::preflight::this_host;
use crate::preflight::judge::guest;
use crate::preflight::{Hinders, Report};
use crate::toolstack::LIST_LIMIT;

impl Agent {
    /// Whether it could move as it runs now.
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
