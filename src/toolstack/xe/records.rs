//! The records that `xe` prints: a line `key ( RO): value` for each field (`MRW`, `SRO` and so on for maps
//! and sets), an empty line between two records. Which fields are printed is asked for (`params=`); they come
//! in an order of xe's own.

use crate::domain::{Copy, DomainId, DomainName, RunState, Sighting};

/// What xe says where there is none.
const NONE: [&str; 3] = ["", "<not in database>", "OpaqueRef:NULL"];
/// What moves a VM from host to host.
const MOVES: [&str; 2] = ["pool_migrate", "migrate_send"];
/// What makes one run.
const BEGINS: [&str; 4] = ["start", "start_on", "resume", "resume_on"];

/// One record.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Record(Vec<(String, String)>);

impl Record {
    /// The value of a field that has to be there.
    pub(super) fn get(&self, key: &str) -> Result<&str, String> {
        let found = self.0.iter().find(|(name, _)| name == key);
        found.map(|(_, value)| value.as_str()).ok_or_else(|| format!("a record without {key}"))
    }

    /// The same as a number.
    pub(super) fn number(&self, key: &str) -> Result<u64, String> {
        let value = self.get(key)?;
        value.parse().map_err(|_| format!("{key} is {value:?}"))
    }

    /// The value of one key in a field that is a map: `key: value; key: value`.
    pub(super) fn in_map(&self, field: &str, key: &str) -> Result<&str, String> {
        let mut pairs = self.get(field)?.split("; ").filter_map(|pair| pair.split_once(": "));
        let found = pairs.find(|(name, _)| *name == key);
        found.map(|(_, value)| value).ok_or_else(|| format!("no {key} in {field}"))
    }
}

/// Reads all records. A line that is no field belongs to the value before it (a name may be anything); a
/// record that says one thing twice cannot be relied on.
pub(super) fn parse(text: &str) -> Result<Vec<Record>, String> {
    let mut records = Vec::new();
    let mut record = Record::default();
    for line in text.lines() {
        if line.trim().is_empty() {
            if record != Record::default() {
                records.push(std::mem::take(&mut record));
            }
            continue;
        }
        match field(line) {
            Some((key, _)) if record.get(key).is_ok() => {
                return Err(format!("a record with two fields {key}"));
            }
            Some((key, value)) => record.0.push((key.to_owned(), value.to_owned())),
            None => {
                let (_, value) =
                    record.0.last_mut().ok_or_else(|| format!("cannot read the line {line:?}"))?;
                value.push('\n');
                value.push_str(line);
            }
        }
    }
    if record != Record::default() {
        records.push(record);
    }
    Ok(records)
}

fn field(line: &str) -> Option<(&str, &str)> {
    let (key, rest) = line.split_once('(')?;
    let (access, rest) = rest.split_once(')')?;
    let value = rest.trim_start().strip_prefix(':')?;
    let known = access.len() == 3 && access.chars().all(|letter| " MSRWO".contains(letter));
    let key = key.trim();
    let plain = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
    (known && plain).then(|| (key, value.trim()))
}

/// One VM in the pool's book.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Vm {
    pub(super) uuid: String,
    pub(super) power: String,
    pub(super) resident_on: Option<String>,
    domid: Option<u32>,
    operations: Vec<String>,
}

/// The fields that [`find`] needs.
pub(super) const VM_FIELDS: &str =
    "params=uuid,name-label,power-state,resident-on,dom-id,current-operations,is-control-domain";

/// The VM of this name, in a listing of all. It counts only if this host's own control domain is in it: as
/// xl's and xm's only count with Domain-0.
pub(super) fn find<'a>(
    listing: &str,
    here: &str,
    name: impl Into<Option<&'a DomainName>>,
) -> Result<Option<Vm>, String> {
    let name: Option<&DomainName> = name.into();
    let mut whole = false;
    let mut found: Vec<Vm> = Vec::new();
    for record in parse(listing)? {
        let resident_on = record.get("resident-on")?;
        let resident_on = (!NONE.contains(&resident_on)).then(|| resident_on.to_owned());
        match record.get("is-control-domain")? {
            "true" => whole |= resident_on.as_deref() == Some(here),
            "false" if name.is_some_and(|name| record.get("name-label") == Ok(name.as_str())) => {
                found.push(Vm {
                    uuid: record.get("uuid")?.to_owned(),
                    power: record.get("power-state")?.to_ascii_lowercase(),
                    resident_on,
                    domid: record.get("dom-id")?.parse().ok(),
                    operations: record
                        .get("current-operations")?
                        .split(';')
                        .map(|op| op.trim().to_owned())
                        .collect(),
                })
            }
            "false" => {}
            other => return Err(format!("is-control-domain is {other:?}")),
        }
    }
    if !whole {
        return Err(format!("the listing has no control domain of this host ({here}), so it is not whole"));
    }
    match found.len() {
        0 | 1 => Ok(found.pop()),
        _ => {
            let uuids: Vec<&str> = found.iter().map(|vm| vm.uuid.as_str()).collect();
            let name = name.map_or("", DomainName::as_str);
            Err(format!("{} VMs of the pool are called {name}: {}", uuids.len(), uuids.join(", ")))
        }
    }
}

/// The names of all VMs that may be on this host: those that the book has here, and those of which it does
/// not say where they are.
pub(super) fn guests(listing: &str, here: &str) -> Result<Vec<String>, String> {
    // Whether it is whole is seen in the same way, whoever is looked for.
    find(listing, here, None)?;
    let mut names = Vec::new();
    for record in parse(listing)? {
        let at = record.get("resident-on")?;
        let is_off =
            matches!(record.get("power-state")?.to_ascii_lowercase().as_str(), "halted" | "suspended");
        let is_idle = record.get("current-operations")?.trim().is_empty();
        let elsewhere = !NONE.contains(&at) && at != here;
        if record.get("is-control-domain")? == "false" && !(is_idle && (is_off || elsewhere)) {
            names.push(record.get("name-label")?.to_owned());
        }
    }
    Ok(names)
}

impl Vm {
    fn does(&self, what: &[&str]) -> bool {
        // Some versions print a reference before each.
        let is = |op: &String| what.iter().any(|what| op == what || op.ends_with(&format!(": {what}")));
        self.operations.iter().any(is)
    }

    /// Whether it is on its way from one host to another.
    pub(super) fn is_moving(&self) -> bool {
        self.does(&MOVES)
    }

    /// What the book says of a copy on the host `here`.
    pub(super) fn sight(&self, here: &str) -> Result<Sighting, String> {
        let state = match self.power.as_str() {
            "running" => RunState::Running,
            "paused" => RunState::Paused,
            "halted" | "suspended" if self.does(&BEGINS) => {
                return Err(format!("it is {} and being started by the pool", self.power));
            }
            "halted" | "suspended" => return Ok(Sighting::default()),
            other => return Err(format!("its power state is {other:?}")),
        };
        match self.resident_on.as_deref() {
            Some(host) if host == here => {}
            Some(host) if self.is_moving() => {
                return Err(format!("it is being moved from {host} to another host, which may be this one"));
            }
            Some(_) => return Ok(Sighting::default()),
            None => return Err(format!("it is {}, and the pool does not say where", self.power)),
        }
        let copy = match self.domid {
            Some(id) => Copy { id: DomainId(id), state },
            // In the middle of a reboot.
            None => Copy { id: DomainId(0), state: RunState::Building },
        };
        Ok(Sighting { own: Some(copy), ..Sighting::default() })
    }

    /// The other host that has it.
    pub(super) fn elsewhere(&self, here: &str) -> Result<Option<&str>, String> {
        match (self.power.as_str(), self.resident_on.as_deref()) {
            ("running" | "paused", Some(host)) if host != here => Ok(Some(host)),
            // Whatever is not known is found out in the same way.
            _ => self.sight(here).map(|_| None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Presence;

    const HERE: &str = "888254e8-da05-4f86-ad37-979b8d6bad04";
    const THERE: &str = "8f69621a-ef3e-41b5-a5f8-e938976f787e";

    fn vm(uuid: &str, power: &str, resident: &str, domid: &str, operations: &str) -> String {
        format!(
            "uuid ( RO)                  : {uuid}\n            name-label ( RW): x0\n     is-control-domain ( RO): false\n           \
             power-state ( RO): {power}\n    current-operations (SRO): {operations}\n           resident-on ( RO): {resident}\n                \
             dom-id ( RO): {domid}\n\n\n"
        )
    }

    fn listing(vms: &str) -> String {
        format!(
            "uuid ( RO)                  : c0\n            name-label ( RW): Control domain on host: n1\n     \
             is-control-domain ( RO): true\n           power-state ( RO): running\n    current-operations (SRO): \n           \
             resident-on ( RO): {HERE}\n                dom-id ( RO): 0\n\n\n{vms}"
        )
    }

    fn presence(vms: &str) -> Presence {
        let x0 = DomainName::new("x0").unwrap();
        let found = find(&listing(vms), HERE, &x0);
        match found.and_then(|vm| vm.map_or_else(|| Ok(Sighting::default()), |vm| vm.sight(HERE))) {
            Ok(sighting) => sighting.presence(),
            Err(why) => Presence::Unknown(why),
        }
    }

    /// See `tests/captured/xe/README.md`.
    macro_rules! captured {
        ($file:literal) => {
            parse(include_str!(concat!("../../../tests/captured/xe/", $file))).unwrap()
        };
    }

    #[test]
    fn real_records_are_read_as_what_they_were() {
        let vms = captured!("vm-list--default.txt");
        assert_eq!(vms.len(), 2);
        assert_eq!((vms[1].get("name-label"), vms[1].get("power-state")), (Ok("Mail"), Ok("running")));
        let place = &captured!("vm-list--two-fields.txt")[0];
        assert_eq!((place.get("resident-on"), place.number("dom-id")), (Ok(HERE), Ok(2)));
        let vm = &captured!("vm-param-list--running.txt")[0];
        assert_eq!(
            (vm.get("is-control-domain"), vm.get("snapshot-of")),
            (Ok("false"), Ok("<not in database>"))
        );
        assert_eq!((vm.get("snapshots"), vm.number("memory-static-max")), (Ok(""), Ok(536_870_912)));
        let host = &captured!("host-list--all-6.5.txt")[0];
        assert_eq!(host.in_map("software-version", "xen"), Ok("4.4.1-xs90192"));
        assert_eq!(host.number("memory-free"), Ok(135_045_120));
        assert!(host.number("memory-free-computed").is_err());
    }

    #[test]
    fn where_a_vm_is_and_what_it_does_is_told_apart() {
        let id = DomainId(98);
        assert_eq!(presence(""), Presence::Absent);
        assert_eq!(presence(&vm("a", "running", HERE, "98", "")), Presence::Running(id));
        assert_eq!(presence(&vm("a", "paused", HERE, "98", "")), Presence::Paused(id));
        assert_eq!(presence(&vm("a", "halted", "<not in database>", "-1", "")), Presence::Absent);
        assert_eq!(presence(&vm("a", "suspended", "<not in database>", "-1", "")), Presence::Absent);
        assert_eq!(presence(&vm("a", "running", THERE, "98", "")), Presence::Absent);
        assert_eq!(
            presence(&vm("a", "running", HERE, "-1", "clean_reboot")),
            Presence::Building(DomainId(0))
        );
        assert_eq!(presence(&vm("a", "running", HERE, "98", "pool_migrate")), Presence::Running(id));
    }

    #[test]
    fn what_is_in_doubt_is_never_absent() {
        for vms in [
            vm("a", "running", "<not in database>", "98", ""),
            vm("a", "running", THERE, "98", "pool_migrate"),
            vm("a", "running", THERE, "98", "clean_shutdown; migrate_send"),
            vm("a", "halted", "<not in database>", "-1", "start_on"),
            vm("a", "halted", "<not in database>", "-1", "OpaqueRef:1: resume"),
            vm("a", "unknown", HERE, "98", ""),
        ] {
            assert!(matches!(presence(&vms), Presence::Unknown(_)), "{vms}");
        }
    }

    #[test]
    fn a_label_with_a_blank_is_a_name_like_any_other() {
        let (name, vm) = (
            DomainName::new("Debian 12").unwrap(),
            vm("a", "running", HERE, "98", "").replace("x0", "Debian 12"),
        );
        assert_eq!(find(&listing(&vm), HERE, &name).unwrap().unwrap().uuid, "a");
    }

    #[test]
    fn every_vm_that_may_be_here_is_among_the_guests() {
        let all = [
            vm("a", "running", HERE, "1", ""),
            vm("b", "halted", "<not in database>", "-1", ""),
            vm("c", "running", THERE, "2", ""),
            vm("d", "halted", "", "-1", "start_on"),
            vm("e", "running", THERE, "2", "pool_migrate"),
            vm("f", "running", "<not in database>", "2", ""),
        ];
        let name = |vm: &String| guests(&listing(&vm.replace("x0", "v")), HERE).unwrap().len();
        assert_eq!(all.iter().map(name).collect::<Vec<_>>(), [1, 0, 0, 1, 1, 1]);
        assert!(guests("", HERE).is_err());
    }

    #[test]
    fn two_vms_of_one_label_are_an_error_that_names_both() {
        let two = vm("first", "halted", "", "-1", "") + &vm("second", "running", HERE, "3", "");
        let Presence::Unknown(why) = presence(&two) else { panic!("one of them was taken") };
        assert!(why.contains("first, second"), "{why}");
    }

    #[test]
    fn the_pools_book_says_who_else_has_it_and_its_doubts_are_errors() {
        let x0 = DomainName::new("x0").unwrap();
        let elsewhere = |vms: &str| {
            let vm = find(&listing(vms), HERE, &x0).unwrap().unwrap();
            vm.elsewhere(HERE).map(|host| host.map(str::to_owned))
        };
        assert_eq!(elsewhere(&vm("a", "running", THERE, "98", "")), Ok(Some(THERE.to_owned())));
        assert_eq!(elsewhere(&vm("a", "running", THERE, "98", "pool_migrate")), Ok(Some(THERE.to_owned())));
        assert_eq!(elsewhere(&vm("a", "halted", "", "-1", "")), Ok(None));
        assert!(elsewhere(&vm("a", "halted", "", "-1", "start")).is_err());
    }

    #[test]
    fn a_listing_that_is_not_whole_proves_nothing() {
        let x0 = DomainName::new("x0").unwrap();
        for text in ["", &vm("a", "halted", "", "-1", ""), "Lost connection\n", "uuid ( RO): a\n"] {
            assert!(find(text, HERE, &x0).is_err(), "{text}");
        }
        assert!(find(&listing(""), THERE, &x0).unwrap_err().contains("control domain"));
        let twice = "uuid ( RO): a\n power-state ( RO): halted\n power-state ( RO): running\n";
        assert!(parse(twice).unwrap_err().contains("two fields"));
    }
}
