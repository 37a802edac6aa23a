//! What an operator does wrong with one guest, and how it is put right again.

use super::Lane;
use crate::audit::OTHER_NAMES;
use crate::cluster::NODES;
use std::fmt;
use std::time::Duration;

/// Parameters that cannot be used, or that there are not.
const PARAMETERS: [(&str, &str); 8] = [
    ("handoff", "yes"),
    ("shutdown_timeout", "abc"),
    ("migration_rate", "50M"),
    ("migration_user", "-oProxyCommand=x"),
    ("toolstack", "libvirt"),
    ("handof", "never"),
    ("name", "17"),
    ("xmfile", "/etc/xen/mistyped.cfg"),
];

/// What became of a guest's file on one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spoilt {
    Gone,
    /// Nothing can be read: a folder has its name.
    Unreadable,
    /// Noise.
    Garbage,
    /// A copy that broke off.
    Cut,
}

/// One mistake. It stands until it is put right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    Parameter {
        guest: &'static str,
        name: &'static str,
        value: &'static str,
    },
    File {
        guest: &'static str,
        node: &'static str,
        how: Spoilt,
    },
    /// The file has another `name =` on every node.
    Name(&'static str),
    /// `xl rename`, by hand.
    Renamed(&'static str),
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wrong::Parameter { guest, name, value } => write!(f, "{guest}: {name}={value}"),
            Wrong::File { guest, node, how } => write!(f, "{guest}: its file is {how:?} on {node}"),
            Wrong::Name(guest) => write!(f, "{guest}: another name in its file"),
            Wrong::Renamed(guest) => write!(f, "{guest}: xl rename"),
        }
    }
}

impl Wrong {
    pub(super) fn guest(self) -> &'static str {
        match self {
            Wrong::Parameter { guest, .. }
            | Wrong::File { guest, .. }
            | Wrong::Name(guest)
            | Wrong::Renamed(guest) => guest,
        }
    }

    /// How long it stands before it is put right in calm: some monitors, and for a name that is missing until one of them has given up.
    pub(super) fn stands(self) -> Duration {
        Duration::from_secs(if matches!(self, Wrong::Renamed(_)) { 30 } else { 6 })
    }

    /// Whether the cluster may restart the guest for it, and for putting it right. For every parameter: a clean-up has Pacemaker (2.1.5)
    /// forget with which ones the guest was started, and the next change of any restarts it.
    pub(super) fn restarts(self) -> bool {
        matches!(self, Wrong::Parameter { .. })
    }
}

fn path(guest: &str) -> String {
    format!("/etc/xen/{guest}.cfg")
}

fn named(guest: &str, name: &str) -> String {
    format!("name = \"{name}\"\ntype = \"pvh\"\nmemory = 128\nvcpus = 1\n# of {guest}\n")
}

impl Lane<'_> {
    /// A mistake with a guest with which nothing is wrong yet.
    pub(super) fn some_wrong(&mut self, guest: &'static str) -> Wrong {
        match self.dice.throw(8) {
            0..=2 => {
                let (name, value) = self.dice.pick(&PARAMETERS);
                Wrong::Parameter { guest, name, value }
            }
            3..=5 => {
                let node = self.dice.pick(&NODES);
                let how = self.dice.pick(&[Spoilt::Gone, Spoilt::Unreadable, Spoilt::Garbage, Spoilt::Cut]);
                Wrong::File { guest, node, how }
            }
            6 => Wrong::Name(guest),
            _ => Wrong::Renamed(guest),
        }
    }

    pub(super) fn is_wrong(&self, guest: &str) -> bool {
        self.wrong.iter().any(|wrong| wrong.guest() == guest)
    }

    pub(super) fn do_wrong(&mut self, wrong: Wrong) {
        let fabric = &self.cluster.fabric;
        match wrong {
            Wrong::Parameter { guest, name, value } => self.set_parameter(guest, name, Some(value)),
            Wrong::File { guest, node, how } if fabric.is_up(node) => {
                let path = path(guest);
                let spoil = match how {
                    Spoilt::Gone => format!("rm -rf {path}"),
                    Spoilt::Unreadable => format!("rm -rf {path} && mkdir {path}"),
                    Spoilt::Garbage => format!("head -c 300 /dev/urandom >{path}"),
                    Spoilt::Cut => format!("echo 'name = \"' >{path}"),
                };
                fabric.sh(node, &spoil);
            }
            Wrong::File { .. } => {}
            Wrong::Name(guest) => {
                self.write_configs(guest, &named(guest, &format!("{guest}{}", OTHER_NAMES[0])))
            }
            Wrong::Renamed(guest) => self.rename(guest, &format!("{guest}{}", OTHER_NAMES[1])),
        }
        self.wrong.push(wrong);
        // Who is not sure has the cluster look again.
        if self.dice.throw(2) == 0 {
            self.cluster.crm(&["crm_resource", "--refresh", "-r", wrong.guest()]);
        }
    }

    pub(super) fn put_right(&mut self, wrong: Wrong) {
        let guest = wrong.guest();
        match wrong {
            Wrong::Parameter { name: "xmfile", .. } => {
                self.set_parameter(guest, "xmfile", Some(&path(guest)))
            }
            Wrong::Parameter { name, .. } => self.set_parameter(guest, name, None),
            Wrong::File { .. } | Wrong::Name(_) => self.write_configs(guest, &named(guest, guest)),
            Wrong::Renamed(_) => self.rename(&format!("{guest}{}", OTHER_NAMES[1]), guest),
        }
        self.wrong.retain(|other| *other != wrong);
        self.cluster.crm(&["crm_resource", "--cleanup", "-r", guest]);
    }

    fn set_parameter(&self, guest: &str, name: &str, value: Option<&str>) {
        let words = match value {
            Some(value) => vec!["crm_resource", "-r", guest, "-p", name, "-v", value],
            None => vec!["crm_resource", "-r", guest, "-d", name],
        };
        self.insist(&words);
    }

    /// The guest's file on every node that is up; one that is not gets it when it comes up.
    fn write_configs(&self, guest: &str, text: &str) {
        let fabric = &self.cluster.fabric;
        for node in NODES.into_iter().filter(|node| fabric.is_up(node)) {
            fabric.sh(node, &format!("[ -f {0} ] || rm -rf {0}", path(guest)));
            fabric.put(node, &path(guest), 0o644, text);
        }
    }

    /// Every guest's file on a node that has just come up.
    pub(super) fn write_configs_of(&self, node: &str) {
        for guest in super::DOMAINS {
            let other = self.wrong.contains(&Wrong::Name(guest));
            let name = if other { format!("{guest}{}", OTHER_NAMES[0]) } else { guest.to_owned() };
            self.cluster.fabric.put(node, &path(guest), 0o644, named(guest, &name));
        }
    }

    /// `xl rename` wherever a domain of that name runs; nothing where none does.
    fn rename(&self, from: &str, to: &str) {
        for node in self.story.running_on(from) {
            self.cluster.xl(&node, &["rename", from, to]);
        }
    }
}
