//! One domain: what the hypervisor knows of it, and the guest inside.

use crate::{config, system};
use serde::{Deserialize, Serialize};

/// Why a domain is shut down; the letter is what `xl list` shows behind the `s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Reason {
    Poweroff,
    Reboot,
    Suspend,
    Crash,
}

impl Reason {
    pub(crate) fn letter(self) -> char {
        match self {
            Reason::Poweroff => '-',
            Reason::Reboot => 'r',
            Reason::Suspend => 's',
            Reason::Crash => 'c',
        }
    }

    pub(crate) fn code(self) -> u8 {
        match self {
            Reason::Poweroff => 0,
            Reason::Reboot => 1,
            Reason::Suspend => 2,
            Reason::Crash => 3,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Reason::Poweroff => "poweroff",
            Reason::Reboot => "reboot",
            Reason::Suspend => "suspend",
            Reason::Crash => "crash",
        }
    }
}

/// What is inside and travels with a migration.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Guest {
    pub(crate) boot_id: String,
    pub(crate) boots: u32,
    pub(crate) started_at_ns: u64,
    /// Time spent running before `Domain::running_since_ns`.
    pub(crate) ran_ns: u64,
}

/// A domain of this host.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Domain {
    pub(crate) domid: u32,
    pub(crate) name: String,
    pub(crate) uuid: String,
    pub(crate) memory_mib: u64,
    pub(crate) vcpus: u32,
    pub(crate) paused: bool,
    /// Being destroyed, its name gone from xenstore already: `(null)` in `xl list`.
    #[serde(default)]
    pub(crate) nameless: bool,
    /// Not yet built or received: `xl list` shows no virtual CPU.
    #[serde(default)]
    pub(crate) unfinished: bool,
    pub(crate) shutdown: Option<Reason>,
    /// The guest is on its way down and will be there at this time.
    pub(crate) end_due: Option<(u64, Reason)>,
    pub(crate) running_since_ns: Option<u64>,
    /// It has had processor time under this domid.
    #[serde(default)]
    pub(crate) ran_here: bool,
    pub(crate) guest: Guest,
    /// libxl's JSON of its configuration.
    pub(crate) config: serde_json::Value,
}

impl Domain {
    /// A freshly booted domain, still paused and without a domid. `boots` counts from 1.
    pub(crate) fn boot(config: &serde_json::Value, boots: u32) -> anyhow::Result<Domain> {
        let guest =
            Guest { boot_id: system::random_uuid()?, boots, started_at_ns: system::now_ns(), ran_ns: 0 };
        Ok(Domain::around(guest, config, config::name(config)))
    }

    /// A paused domain around a guest that came from somewhere.
    pub(crate) fn around(guest: Guest, config: &serde_json::Value, name: String) -> Domain {
        Domain {
            domid: 0,
            name,
            uuid: config::uuid(config),
            memory_mib: config::memory_mib(config),
            vcpus: config::vcpus(config),
            paused: true,
            nameless: false,
            unfinished: false,
            shutdown: None,
            end_due: None,
            running_since_ns: None,
            ran_here: false,
            guest,
            config: config.clone(),
        }
    }

    /// libxl_domain_resume: a suspended domain goes on; to a running one nothing happens.
    pub(crate) fn resume(&mut self) {
        if self.shutdown == Some(Reason::Suspend) {
            self.shutdown = None;
        }
    }

    pub(crate) fn is_running(&self) -> bool {
        !self.paused && self.shutdown.is_none()
    }

    /// Its state as the events name it.
    pub(crate) fn state(&self) -> String {
        match self.shutdown {
            Some(reason) => format!("shutdown-{}", reason.word()),
            None if self.paused => "paused".into(),
            None => "running".into(),
        }
    }

    /// Keeps the running time in step with the state.
    pub(crate) fn account(&mut self, now_ns: u64) {
        match (self.running_since_ns, self.is_running()) {
            (None, true) => {
                self.running_since_ns = Some(now_ns);
                self.ran_here = true;
            }
            (Some(since), false) => {
                self.guest.ran_ns += now_ns.saturating_sub(since);
                self.running_since_ns = None;
            }
            (None, false) | (Some(_), true) => {}
        }
    }

    /// The guest with its running time up to now.
    pub(crate) fn guest_now(&self) -> Guest {
        let since = self.running_since_ns.map_or(0, |since| system::now_ns().saturating_sub(since));
        Guest { ran_ns: self.guest.ran_ns + since, ..self.guest.clone() }
    }

    /// Hundredths of a second that the guest has run.
    pub(crate) fn ticks(&self) -> u64 {
        self.guest_now().ran_ns / 10_000_000
    }

    /// What `xl standin show` prints.
    pub(crate) fn show(&self) -> serde_json::Value {
        serde_json::json!({
            "domid": self.domid, "name": self.name, "state": self.state(), "boot_id": self.guest.boot_id,
            "boots": self.guest.boots, "started_at_ns": self.guest.started_at_ns, "ticks": self.ticks(),
        })
    }

    /// The six letters of `xl list`.
    pub(crate) fn flags(&self) -> String {
        // a guest that runs is seen on a CPU, blocked, or neither, as chance has it
        let seen = if self.is_running() { self.ticks() % 8 } else { 8 };
        let flag = |on: bool, letter: char| if on { letter } else { '-' };
        [
            flag(seen < 2, 'r'),
            flag((2..7).contains(&seen), 'b'),
            flag(self.paused, 'p'),
            flag(self.shutdown.is_some(), 's'),
            self.shutdown.map_or('-', Reason::letter),
            '-',
        ]
        .iter()
        .collect()
    }
}
