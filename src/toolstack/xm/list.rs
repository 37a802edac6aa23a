//! The table that `xm list` prints (`tools/python/xen/xm/main.py`), and xend's mark of a restart in xenstore.
//!
//! xend renames domains (`XendCheckpoint.py`, `XendDomainInfo.py`): while one is saved or sent it is
//! `migrating-NAME`, from the begin; a dying one is `Zombie-NAME`. A domain that arrives bears its own name
//! at once, paused. A domain that is only defined has a line without an id: it is not there.

use crate::domain::{Copy, DomainId, DomainName, RunState, Sighting};

const MOVING: &str = "migrating-";
const DYING: &str = "Zombie-";
/// What a domain is called whose name xend could not read.
const NAMELESS: [&str; 3] = ["Domain-Unnamed", "??", "None"];

/// One line of the table.
#[derive(Debug, PartialEq)]
pub(super) struct Line<'a> {
    pub(super) name: &'a str,
    /// None for a domain that is only defined.
    pub(super) copy: Option<Copy>,
    pub(super) memory_mib: u64,
    pub(super) processors: u64,
    pub(super) processor_seconds: f64,
}

/// Every line of the table, which must be whole.
pub(super) fn lines(table: &str) -> Result<Vec<Line<'_>>, String> {
    let is_header = |line: &&str| line.starts_with("Name") && line.contains("ID") && line.contains("State");
    let mut rows = table.lines().skip_while(|line| !is_header(line)).skip(1).peekable();
    if rows.peek().is_none() {
        return Err(format!("no table in {:?}", table.chars().take(80).collect::<String>()));
    }
    let rows = rows.filter(|line| !line.trim().is_empty());
    let rows: Vec<Line<'_>> = rows
        .map(|line| parse_line(line).ok_or_else(|| format!("cannot read the line {line:?}")))
        .collect::<Result<_, _>>()?;
    let is_domain_0 = |line: &Line<'_>| line.copy.is_some_and(|copy| copy.id == DomainId(0));
    if rows.iter().any(is_domain_0) {
        Ok(rows)
    } else {
        Err("the listing has no Domain-0, so it is not whole".to_owned())
    }
}

/// What the table says of `name`, under every name that xend gives it.
pub(super) fn sight(table: &str, name: &DomainName) -> Result<Sighting, String> {
    let mut sighting = Sighting::default();
    let mut dying = None;
    for Line { name: called, copy, .. } in lines(table)? {
        let Some(copy) = copy else { continue };
        if called == name.as_str() {
            sighting.own = Some(copy);
        } else if called.strip_prefix(MOVING) == Some(name.as_str()) {
            match copy.state {
                // It runs here until it is suspended for the last step, whatever it is called.
                RunState::Running => sighting.own = sighting.own.or(Some(copy)),
                _ => sighting.migrated_away = Some(copy),
            }
        } else if is_dying_name_of(called, name) {
            dying = Some(Copy { state: RunState::Dying, ..copy });
        } else if NAMELESS.contains(&called) && copy.state != RunState::Dying {
            return Err(format!("domain {} has no name: it may be this one", copy.id));
        }
    }
    if sighting.migrated_away.is_none() {
        sighting.own = sighting.own.or(dying);
    }
    Ok(sighting)
}

/// The names of all domains that are there but Domain-0, without what xend puts before them.
pub(super) fn guests(table: &str) -> Result<Vec<String>, String> {
    let there = |line: &Line<'_>| line.copy.is_some_and(|copy| copy.id != DomainId(0));
    let bare = |name: &str| name.strip_prefix(MOVING).unwrap_or(name).to_owned();
    Ok(lines(table)?.iter().filter(|line| there(line)).map(|line| bare(line.name)).collect())
}

/// Whether the domain bears the name of a migration.
pub(super) fn is_moving(table: &str, name: &DomainName) -> Result<bool, String> {
    let moving =
        |line: &Line<'_>| line.copy.is_some() && line.name.strip_prefix(MOVING) == Some(name.as_str());
    Ok(lines(table)?.iter().any(moving))
}

/// `Zombie-NAME`, and `Zombie-1-NAME` where that was taken.
fn is_dying_name_of(called: &str, name: &DomainName) -> bool {
    let Some(rest) = called.strip_prefix(DYING) else { return false };
    let numbered =
        rest.split_once('-').filter(|(n, _)| !n.is_empty() && n.chars().all(|c| c.is_ascii_digit()));
    rest == name.as_str() || numbered.is_some_and(|(_, rest)| rest == name.as_str())
}

/// `NAME [ID] MEM VCPUS [STATE] TIME`, read from the end, since a name may be anything. Only what is there
/// has a state and an id.
fn parse_line(line: &str) -> Option<Line<'_>> {
    let (rest, seconds) = split_last_word(line)?;
    let processor_seconds = seconds.parse::<f64>().ok()?;
    let (before, word) = split_last_word(rest)?;
    let (rest, state) = match parse_state(word) {
        Some(state) => (before, Some(state)),
        None => (rest, None),
    };
    let (rest, processors) = split_last_word(rest)?;
    let (rest, memory) = split_last_word(rest)?;
    let (name, copy) = match state {
        Some(state) => {
            let (name, id) = split_last_word(rest)?;
            (name, Some(Copy { id: DomainId(id.parse().ok()?), state }))
        }
        None => (rest, None),
    };
    let (memory_mib, processors) = (memory.parse().ok()?, processors.parse().ok()?);
    let name = name.trim();
    (!name.is_empty()).then_some(Line { name, copy, memory_mib, processors, processor_seconds })
}

fn split_last_word(text: &str) -> Option<(&str, &str)> {
    text.trim_end().rsplit_once(char::is_whitespace)
}

/// The six letters: running, blocked, paused, shut down, crashed, dying. Why it has shut down is not told.
fn parse_state(letters: &str) -> Option<RunState> {
    let [running, blocked, paused, shut_down, crashed, dying] = letters.as_bytes() else { return None };
    let known = |letter: &u8, meant: u8| *letter == b'-' || *letter == meant;
    let all =
        [(running, b'r'), (blocked, b'b'), (paused, b'p'), (shut_down, b's'), (crashed, b'c'), (dying, b'd')];
    if !all.iter().all(|(letter, meant)| known(letter, *meant)) {
        return None;
    }
    Some(match (dying, crashed, shut_down, paused) {
        (b'd', ..) => RunState::Dying,
        (_, b'c', ..) => RunState::Crashed,
        (_, _, b's', _) => RunState::ShutDown,
        (.., b'p') => RunState::Paused,
        _ => RunState::Running,
    })
}

/// Whether xend is in the middle of re-creating the domain, by its own mark below `/vm`, as `xenstore-ls /vm`
/// prints it: one blank of indentation for each level, `key = "value"`.
pub(super) fn restarts(tree: &str, name: &DomainName) -> Result<bool, String> {
    let is_ours = |called: &String| {
        let bare = called.strip_prefix(MOVING).unwrap_or(called);
        bare == name.as_str() || is_dying_name_of(called, name)
    };
    Ok(restarting(tree)?.iter().any(is_ours))
}

/// The names of all domains that xend is re-creating.
pub(super) fn restarting(tree: &str) -> Result<Vec<String>, String> {
    let (mut called, mut seen_any, mut found) = (String::new(), false, Vec::new());
    for line in tree.lines() {
        let depth = line.len() - line.trim_start_matches(' ').len();
        let Some((key, value)) = line.trim().split_once(" = ") else { continue };
        let value = value.trim_end_matches('.').trim_matches('"');
        match (depth, key) {
            (0, _) => (called, seen_any) = (String::new(), true),
            (1, "name") => value.clone_into(&mut called),
            (2, "restart_in_progress") if !value.is_empty() => found.push(called.clone()),
            _ => {}
        }
    }
    // Domain-0 has an entry there too.
    if seen_any { Ok(found) } else { Err("xenstore shows no domain below /vm".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Presence;

    const HEADER: &str = "Name                                        ID   Mem VCPUs      State   Time(s)\n\
                          Domain-0                                     0   938     2     r-----    108.6\n";

    fn x0() -> DomainName {
        DomainName::new("x0").unwrap()
    }

    fn presence(rows: &str) -> Presence {
        match sight(&format!("{HEADER}{rows}"), &x0()) {
            Ok(sighting) => sighting.presence(),
            Err(why) => Presence::Unknown(why),
        }
    }

    #[test]
    fn real_listings_of_xm_are_read_as_what_they_were() {
        let table = include_str!("../../../tests/captured/xm-3/list--running.txt");
        let running = sight(table, &DomainName::new("My-PV-VM").unwrap()).unwrap();
        assert_eq!(running.presence(), Presence::Running(DomainId(7)));
        assert_eq!(sight(table, &x0()).unwrap().presence(), Presence::Absent);
        let table = include_str!("../../../tests/captured/xm-3/list--two-domains.txt");
        let first = &lines(table).unwrap()[0];
        assert_eq!((first.name, first.memory_mib, first.processors), ("48_VM1", 1024, 1));
    }

    #[test]
    fn the_header_of_xen_3_0_is_known_and_warnings_before_it_are_skipped() {
        let table = "WARNING: xm list -v is deprecated\nName                              ID Mem(MiB) VCPUs State  Time(s)\n\
                     Domain-0                           0     3476     2 r-----   407.1\n\
                     x0                                12      128     1 ------     7.1\n";
        assert_eq!(sight(table, &x0()).unwrap().presence(), Presence::Running(DomainId(12)));
    }

    #[test]
    fn every_state_that_xm_prints_is_told_apart() {
        let id = DomainId(4);
        for (letters, expected) in [
            ("r-----", Presence::Running(id)),
            ("-b----", Presence::Running(id)),
            ("------", Presence::Running(id)),
            ("--p---", Presence::Paused(id)),
            ("---s--", Presence::ShutDown(id)),
            ("--ps--", Presence::ShutDown(id)),
            ("----c-", Presence::Crashed(id)),
            ("---sc-", Presence::Crashed(id)),
            ("-----d", Presence::Dying(id)),
        ] {
            assert_eq!(presence(&format!("x0   4   128   1   {letters}   1.0\n")), expected, "{letters}");
        }
    }

    #[test]
    fn a_copy_under_a_name_of_xends_own_never_reads_as_absent() {
        let id = DomainId(4);
        assert_eq!(presence("migrating-x0   4   128   1   -b----   1.0\n"), Presence::Running(id));
        assert_eq!(presence("migrating-x0   4   128   1   ---s--   1.0\n"), Presence::MigratedAway(id));
        assert_eq!(presence("Zombie-x0   4   128   1   -----d   1.0\n"), Presence::Dying(id));
        assert_eq!(presence("Zombie-1-x0   4   128   1   ---s-d   1.0\n"), Presence::Dying(id));
        assert!(matches!(presence("Domain-Unnamed   4   128   1   -b----   1.0\n"), Presence::Unknown(_)));
        // A new one may have its name again by then; and other domains are other domains.
        let both = "Zombie-x0   4   128   1   -----d   1.0\nx0   5   128   1   -b----   1.0\n";
        assert_eq!(presence(both), Presence::Running(DomainId(5)));
        assert_eq!(presence("migrating-x01   4   128   1   -b----   1.0\n"), Presence::Absent);
        assert_eq!(presence("Zombie-x1-x0   4   128   1   -----d   1.0\n"), Presence::Absent);
    }

    #[test]
    fn a_domain_that_is_only_defined_is_not_there() {
        assert_eq!(
            presence("x0                                               256     1                 0.0\n"),
            Presence::Absent
        );
    }

    #[test]
    fn a_listing_that_is_not_whole_proves_nothing() {
        for table in ["", "Error: Unable to connect to xend", "Name ID Mem VCPUs State Time(s)\n"] {
            assert!(sight(table, &x0()).is_err(), "{table}");
        }
        let without_dom0 = "Name ID Mem VCPUs State Time(s)\nx1 3 128 1 -b---- 1.0\n";
        assert!(sight(without_dom0, &x0()).unwrap_err().contains("Domain-0"));
        assert!(sight(&format!("{HEADER}x0   4   128   1   -b-"), &x0()).is_err());
        assert!(sight(&format!("{HEADER}x0   4   128   1   -z----   1.0\n"), &x0()).is_err());
    }

    #[test]
    fn a_restart_is_seen_by_xends_own_mark() {
        let tree = |mark: &str| {
            format!(
                "00000000-0000-0000-0000-000000000000 = \"\"\n name = \"Domain-0\"\n5f = \"\"\n image = \"(linux (kernel ))\"\n \
                 name = \"x0\"\n xend = \"\"\n  restart_count = \"0\"\n{mark}6a = \"\"\n name = \"x1\"\n xend = \"\"\n"
            )
        };
        assert_eq!(restarts(&tree(""), &x0()), Ok(false));
        assert_eq!(restarts(&tree("  restart_in_progress = \"True\"\n"), &x0()), Ok(true));
        let x1 = DomainName::new("x1").unwrap();
        assert_eq!(restarts(&tree("  restart_in_progress = \"True\"\n"), &x1), Ok(false));
        assert!(restarts("", &x0()).is_err());
    }
}
