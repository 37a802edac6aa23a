//! The table that `xl list` prints.

use super::creators::{Listed, NAMELESS};
use crate::domain::{Copy, DomainId, DomainName, PciAddress, RunState, Sighting};

/// Every line of the table of `xl list`. A line that does not fit is an error, since it could be the domain
/// that is looked for; so is a table that is not whole.
pub(super) fn lines(table: &str) -> Result<Vec<Line<'_>>, String> {
    let mut rows = table.lines();
    let header = rows.next().unwrap_or_default();
    if !header.starts_with("Name") || !header.contains("State") {
        return Err(format!("no table header in {:?}", table.chars().take(80).collect::<String>()));
    }
    let lines: Vec<Line<'_>> = rows
        .filter(|line| !line.trim().is_empty())
        .map(|line| parse_line(line).ok_or_else(|| format!("cannot read the line {line:?}")))
        .collect::<Result<_, _>>()?;
    if lines.iter().any(|line| line.copy.id == DomainId(0)) {
        Ok(lines)
    } else {
        Err("the listing has no Domain-0, so it is not whole".to_owned())
    }
}

/// Every domain of the table but Domain-0.
pub(super) fn guests(lines: &[Line<'_>]) -> Vec<Listed> {
    let guests = lines.iter().filter(|line| line.copy.id != DomainId(0));
    let listed = |line: &Line<'_>| {
        let (id, is_new) = (line.copy.id, line.copy.state == RunState::Building);
        Listed { id, name: line.name.to_owned(), is_new }
    };
    guests.map(listed).collect()
}

/// What the table says of `name`.
pub(super) fn sight(lines: &[Line<'_>], name: &DomainName) -> Result<Sighting, String> {
    let mut sighting = Sighting::default();
    for line in lines {
        if line.name == name.as_str() {
            sighting.own = Some(line.copy);
        } else if line.name == name.incoming() {
            sighting.incoming = Some(line.copy);
        } else if line.name == name.migrated_away() {
            sighting.migrated_away = Some(line.copy);
        }
    }
    let unnamed = |line: &&Line<'_>| line.name == NAMELESS && line.copy.state == RunState::Building;
    match lines.iter().find(unnamed) {
        Some(line) if sighting == Sighting::default() => {
            Err(format!("domain {} is being created and has no name yet: it may be this one", line.copy.id))
        }
        _ => Ok(sighting),
    }
}

/// Reads what `xl pci-list` prints: a header and a line `VSLOT.VFN DDDD:BB:DD.F` for each device; nothing
/// where there is none (`tools/xl/xl_pci.c`).
pub(super) fn parse_devices(table: &str) -> Result<Vec<PciAddress>, String> {
    let mut lines = table.lines().filter(|line| !line.trim().is_empty());
    match lines.next() {
        None => return Ok(Vec::new()),
        Some(header) if header.starts_with("Vdev") => {}
        Some(other) => return Err(format!("no table of devices in {other:?}")),
    }
    let device = |line: &str| line.split_whitespace().last().and_then(PciAddress::new);
    lines.map(|line| device(line).ok_or_else(|| format!("cannot read the line {line:?}"))).collect()
}

/// One line of the table.
pub(super) struct Line<'a> {
    pub(super) name: &'a str,
    pub(super) copy: Copy,
    pub(super) memory_mib: Option<u64>,
    pub(super) processors: Option<u64>,
    pub(super) processor_seconds: Option<f64>,
}

/// How much processor time each domain in the table of `xl list` has had, in seconds. The table ends with the
/// first line that is none of its.
///
/// # Errors
/// If this is no table, or has not a single domain in it.
pub fn processor_seconds(table: &str) -> Result<Vec<(String, f64)>, String> {
    let mut lines = table.lines();
    if !lines.next().is_some_and(|header| header.starts_with("Name") && header.contains("Time(s)")) {
        return Err("no table of xl list".to_owned());
    }
    let domains: Vec<(String, f64)> = lines
        .map_while(parse_line)
        .filter_map(|line| Some((line.name.to_owned(), line.processor_seconds?)))
        .collect();
    if domains.is_empty() { Err("xl list has no domain".to_owned()) } else { Ok(domains) }
}

/// Whether the domain with this id in the table of `xl list` has had processor time.
pub(super) fn has_run(table: &str, id: DomainId) -> Result<bool, String> {
    let line = table.lines().skip(1).filter_map(parse_line).find(|line| line.copy.id == id);
    let seconds = line.and_then(|line| line.processor_seconds);
    seconds.map(|seconds| seconds > 0.0).ok_or_else(|| format!("no processor time of domain {id} in it"))
}

/// `NAME  ID  MEM  VCPUS  STATE  TIME`: read from the end, since a name may be anything, even `(null)` or two
/// words.
pub(super) fn parse_line(line: &str) -> Option<Line<'_>> {
    let (rest, seconds) = split_last_word(line)?;
    let (rest, state) = split_last_word(rest)?;
    let (rest, processors) = split_last_word(rest)?;
    let (rest, memory) = split_last_word(rest)?;
    let (name, id) = split_last_word(rest)?;
    let state = match parse_state(state)? {
        RunState::Paused if processors == "0" => RunState::Building,
        state => state,
    };
    let copy = Copy { id: DomainId(id.parse().ok()?), state };
    Some(Line {
        name: name.trim(),
        copy,
        memory_mib: memory.parse().ok(),
        processors: processors.parse().ok(),
        processor_seconds: seconds.parse().ok(),
    })
}

fn split_last_word(text: &str) -> Option<(&str, &str)> {
    text.trim_end().rsplit_once(char::is_whitespace)
}

/// The six letters that `tools/xl/xl_info.c` prints: running, blocked, paused, shut down, its reason, dying.
fn parse_state(letters: &str) -> Option<RunState> {
    let [running, blocked, paused, shut_down, reason, dying] = letters.as_bytes() else { return None };
    let known = |letter: u8, meant: u8| letter == b'-' || letter == meant;
    if !(known(*running, b'r')
        && known(*blocked, b'b')
        && known(*paused, b'p')
        && known(*shut_down, b's')
        && known(*dying, b'd'))
    {
        return None;
    }
    if *dying == b'd' {
        return Some(RunState::Dying);
    }
    if *shut_down == b's' {
        return match reason {
            b'-' => Some(RunState::ShutDown),
            b'r' | b'S' => Some(RunState::Rebooting),
            b's' => Some(RunState::Frozen),
            b'c' | b'w' => Some(RunState::Crashed),
            _ => None,
        };
    }
    Some(if *paused == b'p' { RunState::Paused } else { RunState::Running })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Presence;

    #[test]
    fn every_device_is_read_or_none() {
        assert_eq!(parse_devices(""), Ok(vec![]));
        let table = "Vdev Device\n00.0 0000:03:10.1\n01.0 0001:0a:00.0\n";
        let found = parse_devices(table).unwrap();
        assert_eq!(
            found.iter().map(PciAddress::as_str).collect::<Vec<_>>(),
            ["0000:03:10.1", "0001:0a:00.0"]
        );
        assert!(parse_devices("Vdev Device\n00.0 03:10.1\n").is_err());
        assert!(parse_devices("x0 is an invalid domain identifier\n").is_err());
    }

    const HEADER: &str = "Name                                        ID   Mem VCPUs\tState\tTime(s)\n";
    const DOM0: &str = "Domain-0                                     0   768     1     r-----      66.4\n";

    fn parse_list(table: &str, name: &DomainName) -> Result<Sighting, String> {
        sight(&lines(table)?, name)
    }

    #[test]
    fn a_domain_that_is_being_created_and_has_no_name_yet_may_be_any() {
        let being_made = "(null)                                      11     0     0     --p---       0.0\n";
        assert!(listing(being_made).unwrap_err().contains("may be this one"));
        let dying = "(null)                                       5   128     1     --pss-      33.6\n";
        assert_eq!(listing(dying), Ok(Sighting::default()));
        let here = "x0                                           3   128     1     -b----       1.0\n";
        assert!(listing(&format!("{being_made}{here}")).unwrap().own.is_some());
    }

    fn x0() -> DomainName {
        DomainName::new("x0").unwrap()
    }

    fn listing(lines: &str) -> Result<Sighting, String> {
        parse_list(&format!("{HEADER}{DOM0}{lines}"), &x0())
    }

    /// Real output of xl 4.17: see `tests/captured/xl-4.17/README.md`.
    macro_rules! captured {
        ($file:literal) => {
            include_str!(concat!("../../../tests/captured/xl-4.17/", $file))
        };
    }

    #[test]
    fn real_listings_are_read_as_what_they_were() {
        let presence = |table: &str| parse_list(table, &x0()).unwrap().presence();
        let id = DomainId;
        for (table, is) in [
            (captured!("list--running.stdout"), Presence::Running(id(1))),
            (captured!("list--absent.stdout"), Presence::Absent),
            (captured!("list--paused.stdout"), Presence::Paused(id(1))),
            (captured!("list--being-created.stdout"), Presence::Building(id(10))),
            (captured!("list--crashed-preserved.stdout"), Presence::Crashed(id(6))),
            (captured!("list--shut-down-preserved.stdout"), Presence::ShutDown(id(5))),
            (captured!("list--rebooting-old-domain.stdout"), Presence::Rebooting(id(9))),
            (captured!("list--precopy-source.stdout"), Presence::Running(id(1))),
            (captured!("list--precopy-target.stdout"), Presence::Incoming(id(1))),
            (captured!("list--stop-and-copy-source.stdout"), Presence::Frozen(id(1))),
            (captured!("list--stop-and-copy-target.stdout"), Presence::Incoming(id(1))),
            (captured!("list--migratedaway-source.stdout"), Presence::MigratedAway(id(1))),
            (captured!("list--dying-source.stdout"), Presence::Absent),
            (captured!("list--arrived-target.stdout"), Presence::Running(id(1))),
            (captured!("list--frozen-source.stdout"), Presence::Frozen(id(1))),
            (captured!("list--incoming-leftover-target.stdout"), Presence::Incoming(id(3))),
            (captured!("list--resumed-source.stdout"), Presence::Running(id(1))),
        ] {
            assert_eq!(presence(table), is);
        }
        // `xl list NAME` has no Domain-0: it is no whole listing.
        assert!(parse_list(captured!("list-name--running.stdout"), &x0()).is_err());
    }

    /// Real output of xl 4.20: see `tests/captured/xl-4.20/README.md`.
    #[test]
    fn real_listings_of_xl_4_20_are_read_as_what_they_were() {
        macro_rules! captured {
            ($file:literal) => {
                include_str!(concat!("../../../tests/captured/xl-4.20/", $file))
            };
        }
        let presence = |table: &str| parse_list(table, &x0()).unwrap().presence();
        for (table, is) in [
            (captured!("list--running.stdout"), Presence::Running(DomainId(1))),
            (captured!("list--precopy-target.stdout"), Presence::Incoming(DomainId(1))),
            (captured!("list--stop-and-copy-source.stdout"), Presence::Frozen(DomainId(1))),
            (captured!("list--stop-and-copy-target.stdout"), Presence::Incoming(DomainId(1))),
            (captured!("list--migratedaway-source.stdout"), Presence::MigratedAway(DomainId(1))),
            (captured!("list--arrived-target.stdout"), Presence::Running(DomainId(1))),
            (captured!("list--absent.stdout"), Presence::Absent),
        ] {
            assert_eq!(presence(table), is);
        }
        assert!(parse_list(captured!("list-name--running.stdout"), &x0()).is_err());
    }

    #[test]
    fn p1_what_somebody_paused_has_run_and_what_arrives_or_is_made_has_not() {
        let has_run = |table: &str, id| has_run(table, DomainId(id));
        assert_eq!(has_run(captured!("list--paused.stdout"), 1), Ok(true));
        for (arriving, id) in [
            (captured!("list--stop-and-copy-target.stdout"), 1),
            (captured!("list--being-created.stdout"), 10),
            (captured!("list--incoming-leftover-target.stdout"), 3),
        ] {
            assert_eq!(has_run(arriving, id), Ok(false));
        }
        assert!(has_run(captured!("list--paused.stdout"), 2).is_err());
    }

    #[test]
    fn every_state_that_xl_prints_is_told_apart() {
        let states = [
            ("r-----", RunState::Running),
            ("-b----", RunState::Running),
            ("------", RunState::Running),
            ("--p---", RunState::Paused),
            ("---s--", RunState::ShutDown),
            ("---sr-", RunState::Rebooting),
            ("---ss-", RunState::Frozen),
            ("---sc-", RunState::Crashed),
            ("---sw-", RunState::Crashed),
            ("---sS-", RunState::Rebooting),
            ("-----d", RunState::Dying),
            ("---ssd", RunState::Dying),
        ];
        for (letters, state) in states {
            assert_eq!(parse_state(letters), Some(state), "{letters}");
        }
        for foreign in ["", "r----", "r------", "x-----", "---s?-"] {
            assert_eq!(parse_state(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn all_three_names_are_seen_and_no_other() {
        let found = listing(
            "x0--incoming                                 7   128     1     --p---       0.0\n\
             x0                                           3   128     1     -b----       1.0\n\
             x01                                          4   128     1     -b----       1.0\n\
             other x0                                     6   128     1     -b----       1.0\n\
             (null)                                       5     0     1     --ps-d       1.0\n",
        )
        .unwrap();
        assert_eq!(found.own, Some(Copy { id: DomainId(3), state: RunState::Running }));
        assert_eq!(found.incoming, Some(Copy { id: DomainId(7), state: RunState::Paused }));
        assert_eq!(found.migrated_away, None);
    }

    #[test]
    fn a_listing_that_is_not_whole_never_reads_as_absent() {
        assert!(parse_list("", &x0()).is_err());
        assert!(parse_list(HEADER, &x0()).is_err());
        assert!(parse_list("libxl: error: cannot open\n", &x0()).is_err());
        assert!(listing("x0    garbage\n").is_err());
        assert_eq!(listing("").unwrap(), Sighting::default());
    }
}
