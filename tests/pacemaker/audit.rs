//! The promises, checked from the stand-ins' events: who ran what, when, by one clock.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

/// What names that somebody gives a guest besides its own end with: it is the same guest, on the same disks.
pub(crate) const OTHER_NAMES: [&str; 2] = ["-other", "-by-hand"];

/// One line of the events.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    /// Nanoseconds of CLOCK_REALTIME.
    pub(crate) at: u64,
    pub(crate) host: String,
    /// The name at that moment, which may end in `--incoming` or `--migratedaway`.
    pub(crate) name: String,
    pub(crate) domid: u32,
    pub(crate) new: String,
    pub(crate) boot_id: String,
}

impl Event {
    fn parse(line: &str) -> Option<Event> {
        let mut words = line.split_whitespace();
        let (seconds, nanoseconds) = words.next()?.split_once('.')?;
        let at = seconds.parse::<u64>().ok()? * 1_000_000_000 + nanoseconds.parse::<u64>().ok()?;
        let (host, name, domid) =
            (words.next()?.to_owned(), words.next()?.to_owned(), words.next()?.parse().ok()?);
        let (_old, _arrow, new) = (words.next()?, words.next()?, words.next()?.to_owned());
        Some(Event { at, host, name, domid, new, boot_id: words.next()?.to_owned() })
    }

    /// The name that the cluster knows.
    fn base(&self) -> &str {
        let name = self.name.strip_suffix("--incoming").unwrap_or(&self.name);
        let name = name.strip_suffix("--migratedaway").unwrap_or(name);
        OTHER_NAMES.iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name)
    }
}

/// All events of a log in the order of their time.
pub(crate) fn read(text: &str) -> Vec<Event> {
    let mut events: Vec<Event> = text
        .lines()
        .map(|line| Event::parse(line).unwrap_or_else(|| panic!("not an event: {line:?}")))
        .collect();
    events.sort_by_key(|e| e.at);
    events
}

/// A host that lost its power runs nothing from then on.
pub(crate) fn note_power_off(log: &Path, host: &str) {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    let line = format!("{}.{:09} {host} * 0 running -> power-off -\n", now.tv_sec, now.tv_nsec);
    let mut file = std::fs::File::options().create(true).append(true).open(log).expect("the events");
    file.write_all(line.as_bytes()).expect("noting the power cut");
}

/// P1, exactly: the moments at which two copies of one name ran.
pub(crate) fn two_at_once(events: &[Event]) -> Vec<String> {
    let mut running: BTreeMap<(String, u32), String> = BTreeMap::new();
    let mut found = vec![];
    for event in events {
        let copy = (event.host.clone(), event.domid);
        if event.new == "power-off" {
            running.retain(|(host, _), _| *host != event.host);
        } else if event.new == "running" {
            let others = running.iter().filter(|(other, name)| **other != copy && *name == event.base());
            found.extend(others.map(|((host, domid), name)| {
                let (s, ns) = (event.at / 1_000_000_000, event.at % 1_000_000_000);
                format!(
                    "{s}.{ns:09}: {name} began to run on {} (domid {}) while it ran on {host} (domid {domid})",
                    event.host, event.domid
                )
            }));
            running.insert(copy, event.base().to_owned());
        } else {
            running.remove(&copy);
        }
    }
    found
}

/// The boots of a name, oldest first: each the `boot_id` of a guest that began from nothing.
pub(crate) fn boots(events: &[Event], name: &str) -> Vec<String> {
    let mut seen: Vec<String> = vec![];
    for event in events.iter().filter(|e| e.base() == name && e.new == "running") {
        if !seen.contains(&event.boot_id) {
            seen.push(event.boot_id.clone());
        }
    }
    seen
}

/// Time during which a name ran nowhere, between its first and its last run: the gaps, longest last.
pub(crate) fn gaps(events: &[Event], name: &str) -> Vec<f64> {
    let mut running: BTreeMap<(String, u32), ()> = BTreeMap::new();
    let (mut stopped, mut gaps) = (None, vec![]);
    for event in events.iter().filter(|e| e.base() == name || e.new == "power-off") {
        let copy = (event.host.clone(), event.domid);
        let before = running.len();
        if event.new == "power-off" {
            running.retain(|(host, _), ()| *host != event.host);
        } else if event.new == "running" {
            running.insert(copy, ());
        } else {
            running.remove(&copy);
        }
        if before > 0 && running.is_empty() {
            stopped = Some(event.at);
        } else if before == 0
            && !running.is_empty()
            && let Some(since) = stopped.take()
        {
            #[allow(clippy::cast_precision_loss, reason = "seconds for a person")]
            gaps.push((event.at - since) as f64 / 1e9);
        }
    }
    gaps.sort_by(f64::total_cmp);
    gaps
}
