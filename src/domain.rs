//! A Xen domain: its name, its id, and what one listing can say of it.
//!
//! xl keeps two suffixes for itself: while a domain arrives it is called `NAME--incoming` on the target, and
//! from the moment that the target may start it, it is called `NAME--migratedaway` on the source
//! (`tools/xl/xl_migrate.c`). All three names are looked at together, always: a domain that is absent under
//! its own name may still be there.

use std::fmt;

use crate::host::LocalPath;

/// Suffix of a copy that xl is receiving.
pub const INCOMING: &str = "--incoming";
/// Suffix of a copy that xl has given away.
pub const MIGRATED_AWAY: &str = "--migratedaway";

/// The name of a domain: one that xl cannot mistake for an id, an option, or a copy in migration.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DomainName(String);

/// Why a text cannot be the name of a domain.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BadName {
    /// Nothing there.
    #[error("the domain name is empty")]
    Empty,
    /// xl would read it as a domid.
    #[error("domain name {0:?} is a number: xl would take it for a domain id")]
    Numeric(String),
    /// xl's own name for a copy in migration.
    #[error("domain name {0:?} ends in --incoming or --migratedaway, which xl keeps for copies in migration")]
    Reserved(String),
    /// A character that cannot be in a file name or an argument without trouble.
    #[error(
        "domain name {0:?} has a character other than letters, digits, '.', '_', '+', ':', '-' and blanks between them, starts with \
         '-' or '.', or is longer than 128 characters"
    )]
    Character(String),
}

impl DomainName {
    /// Accepts `name` if xl will take it for a name, and only for that.
    ///
    /// # Errors
    /// [`BadName`], with the text.
    pub fn new(name: impl Into<String>) -> Result<Self, BadName> {
        let name = name.into();
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '+' | ':' | '-' | ' ');
        if name.is_empty() {
            Err(BadName::Empty)
        } else if name.chars().all(|c| c.is_ascii_digit()) {
            Err(BadName::Numeric(name))
        } else if name.ends_with(INCOMING) || name.ends_with(MIGRATED_AWAY) {
            Err(BadName::Reserved(name))
        } else if name.starts_with(['-', '.', ' '])
            || name.ends_with(' ')
            || name.len() > 128
            || !name.chars().all(fits)
        {
            Err(BadName::Character(name))
        } else {
            Ok(Self(name))
        }
    }

    /// The bare text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What xl calls this domain's copy while it arrives.
    pub fn incoming(&self) -> String {
        format!("{}{INCOMING}", self.0)
    }

    /// What xl calls this domain's copy once it has been given away.
    pub fn migrated_away(&self) -> String {
        format!("{}{MIGRATED_AWAY}", self.0)
    }
}

impl fmt::Display for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for DomainName {
    type Error = BadName;
    fn try_from(name: String) -> Result<Self, BadName> {
        Self::new(name)
    }
}

impl From<DomainName> for String {
    fn from(name: DomainName) -> Self {
        name.0
    }
}

/// Xen's number of a domain, new at each creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct DomainId(pub u32);

impl fmt::Display for DomainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The State column of `xl list`, read whole (`xl(1)`, "list"; the second letter of a shut down domain is the
/// reason).
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunState {
    /// `r`, `b`, or none of the letters: it has the processor, waits for something, or waits for its turn.
    Running,
    /// `p` and no processors yet: being created. Also the second half of a reboot.
    Building,
    /// `p`: paused by the toolstack; its memory is here, its processors do not run.
    Paused,
    /// `s` and `c` or `w`: crashed, or ended by its watchdog, and kept.
    Crashed,
    /// `s` and `s`: suspended for a migration or a save. If nobody continues that, it stays so for ever.
    Frozen,
    /// `s` and `-`: it shut itself down; xl has not destroyed it (yet).
    ShutDown,
    /// `s` and `r`, or soft reset: it asked for a reboot; xl will destroy and create it anew.
    Rebooting,
    /// `d`: being destroyed.
    Dying,
}

/// One copy of a domain in a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Copy {
    /// Its id.
    pub id: DomainId,
    /// What it does.
    pub state: RunState,
}

/// What one listing says of a domain, under all three of its names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Sighting {
    /// The copy that bears the domain's own name.
    pub own: Option<Copy>,
    /// The copy called `NAME--incoming`.
    pub incoming: Option<Copy>,
    /// The copy called `NAME--migratedaway`.
    pub migrated_away: Option<Copy>,
}

/// Where a domain stands on this node. *Unknown* is a value of its own and never reads as absent.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(tag = "is", content = "what", rename_all = "kebab-case")]
pub enum Presence {
    /// The toolstack answered, and there is no copy under any of the three names.
    Absent,
    /// It runs.
    Running(DomainId),
    /// It is being created.
    Building(DomainId),
    /// It is paused under its own name.
    Paused(DomainId),
    /// It crashed and is kept.
    Crashed(DomainId),
    /// It is suspended under its own name: in the last phase of a migration, or left there by a killed one.
    Frozen(DomainId),
    /// It has shut down and still holds its memory.
    ShutDown(DomainId),
    /// It asked for a reboot; xl is about to destroy and create it anew.
    Rebooting(DomainId),
    /// It is being destroyed.
    Dying(DomainId),
    /// Only a copy that is arriving is here.
    Incoming(DomainId),
    /// Only a copy that was given away is here.
    MigratedAway(DomainId),
    /// The toolstack did not answer, or not in a way that we understand. The text says what happened.
    Unknown(String),
}

impl Sighting {
    /// The one word for it. A copy under the domain's own name decides; then one given away; then one
    /// arriving.
    pub fn presence(&self) -> Presence {
        if let Some(copy) = self.own {
            return match copy.state {
                RunState::Running => Presence::Running(copy.id),
                RunState::Building => Presence::Building(copy.id),
                RunState::Paused => Presence::Paused(copy.id),
                RunState::Crashed => Presence::Crashed(copy.id),
                RunState::Frozen => Presence::Frozen(copy.id),
                RunState::ShutDown => Presence::ShutDown(copy.id),
                RunState::Rebooting => Presence::Rebooting(copy.id),
                RunState::Dying => Presence::Dying(copy.id),
            };
        }
        if let Some(copy) = self.migrated_away {
            return Presence::MigratedAway(copy.id);
        }
        self.incoming.map_or(Presence::Absent, |copy| Presence::Incoming(copy.id))
    }
}

impl fmt::Display for Presence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Presence::Absent => f.write_str("absent"),
            Presence::Running(id) => write!(f, "running (domid {id})"),
            Presence::Building(id) => write!(f, "being created (domid {id})"),
            Presence::Paused(id) => write!(f, "paused (domid {id})"),
            Presence::Crashed(id) => write!(f, "crashed (domid {id})"),
            Presence::Frozen(id) => write!(f, "frozen by a migration (domid {id})"),
            Presence::ShutDown(id) => write!(f, "shut down but not destroyed (domid {id})"),
            Presence::Rebooting(id) => write!(f, "rebooting (domid {id})"),
            Presence::Dying(id) => write!(f, "being destroyed (domid {id})"),
            Presence::Incoming(id) => write!(f, "arriving under its temporary name (domid {id})"),
            Presence::MigratedAway(id) => write!(f, "given away as --migratedaway (domid {id})"),
            Presence::Unknown(why) => write!(f, "unknown: {why}"),
        }
    }
}

/// Where a PCI device is on the host: `0000:03:10.1`, as `xl pci-list` and the kernel write it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PciAddress(String);

impl PciAddress {
    /// `None` for what is no such address.
    pub fn new(text: &str) -> Option<Self> {
        let shape = "hhhh:hh:hh.h";
        let fits = |(c, wanted): (char, char)| {
            if wanted == 'h' { matches!(c, '0'..='9' | 'a'..='f') } else { c == wanted }
        };
        (text.len() == shape.len() && text.chars().zip(shape.chars()).all(fits))
            .then(|| Self(text.to_owned()))
    }

    /// The bare text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PciAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for PciAddress {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        Self::new(&text).ok_or_else(|| format!("{text:?} is no address of a PCI device"))
    }
}

impl From<PciAddress> for String {
    fn from(address: PciAddress) -> Self {
        address.0
    }
}

/// How a guest is virtualised (`xl.cfg(5)`, `type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GuestType {
    /// Paravirtualised.
    Pv,
    /// In a hardware container, without emulated devices.
    Pvh,
    /// Fully virtualised.
    Hvm,
    /// The toolstack says something else.
    Unknown,
}

/// What the agent needs to know of a domain's configuration, as the toolstack itself reads it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DomainConfig {
    /// The name in it, which `name=` on the command line would override.
    pub name: DomainName,
    /// How it is virtualised.
    pub guest: GuestType,
    /// The most memory that it can get, in MiB; 0 if the toolstack did not say.
    pub memory_mib: u64,
    /// The most virtual processors that it can get; 0 if the toolstack did not say.
    pub processors: u32,
    /// Its disks that are files or block devices of the host.
    pub disks: Vec<LocalPath>,
    /// Its other disks, which only a script of the toolstack understands.
    pub disks_by_script: Vec<String>,
    /// The bridges that its network interfaces are on.
    pub bridges: Vec<String>,
    /// The host's PCI devices that it has for itself.
    pub passthrough: Vec<String>,
    /// Whether the configuration forbids to migrate it (`nomigrate`).
    pub may_not_migrate: bool,
    /// Whether it has virtual NUMA nodes (`vnuma`). Other nodes are not told: it counts where the domain
    /// runs, and an older build refuses a field that it does not know.
    #[serde(skip)]
    pub has_vnuma: bool,
}

#[cfg(test)]
impl DomainConfig {
    /// One that needs nothing, for tests.
    pub fn blank(name: &DomainName) -> Self {
        Self {
            name: name.clone(),
            guest: GuestType::Pv,
            memory_mib: 128,
            processors: 1,
            disks: Vec::new(),
            disks_by_script: Vec::new(),
            bridges: Vec::new(),
            passthrough: Vec::new(),
            may_not_migrate: false,
            has_vnuma: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_xl_would_misread_are_refused() {
        assert_eq!(DomainName::new("17"), Err(BadName::Numeric("17".into())));
        assert_eq!(DomainName::new("x0--incoming"), Err(BadName::Reserved("x0--incoming".into())));
        assert_eq!(DomainName::new("x0--migratedaway"), Err(BadName::Reserved("x0--migratedaway".into())));
        assert_eq!(DomainName::new(""), Err(BadName::Empty));
        for bad in ["-a", " a", "a ", "a\tb", "a/b", "a'b", ".."] {
            assert_eq!(DomainName::new(bad), Err(BadName::Character(bad.into())));
        }
        for good in ["web-01.example_2", "Debian 12", "1 and 2"] {
            assert!(DomainName::new(good).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn only_whole_addresses_of_devices_are_taken() {
        assert_eq!(PciAddress::new("0000:03:10.1").unwrap().as_str(), "0000:03:10.1");
        for bad in ["", "03:10.1", "0000:03:10.1,permissive=1", "0000:03:10.g", "../../../..x", "0000:03:10."]
        {
            assert_eq!(PciAddress::new(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_copy_under_a_migration_name_never_reads_as_absent() {
        let copy = Some(Copy { id: DomainId(4), state: RunState::Paused });
        let arriving = Sighting { incoming: copy, ..Sighting::default() };
        assert_eq!(arriving.presence(), Presence::Incoming(DomainId(4)));
        let given = Sighting { migrated_away: copy, ..Sighting::default() };
        assert_eq!(given.presence(), Presence::MigratedAway(DomainId(4)));
        assert_eq!(Sighting::default().presence(), Presence::Absent);
    }
}
