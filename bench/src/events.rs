//! The transfer's own events, as the agent wrote them to the journal of the nodes, and what they say of a measurement.
//!
//! The agent logs one line a step (`handoff::record`): `domain=x0 phase=offered->sending event=claimed ...`. They are read
//! from files in the form of `journalctl -o short-unix` (the clock first, so nothing has to be guessed), or from the nodes
//! themselves by [`crate::remote`]. Clocks: a node's is corrected only where it differs by more than asking for it took,
//! since up to that the difference may be none.

use serde::{Deserialize, Serialize};

/// One step of a transfer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// When, in seconds since 1970 by the node's clock; after [`transfer`]'s caller has shifted it, by ours.
    pub at: f64,
    /// On which node.
    pub node: String,
    /// Of which domain.
    pub domain: String,
    /// The phases that it leads from and to, as `offered->sending`.
    pub phase: String,
    /// Its name.
    pub event: String,
}

/// What the events of one domain say, in the time of whoever asks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Transfer {
    /// The first stream was opened.
    pub opened: f64,
    /// The last GO arrived: the domain goes on, on the other node.
    pub go: Option<f64>,
    /// The last event that belongs to it.
    pub ended: Option<f64>,
}

/// Reads all lines of a journal that are the agent's events.
pub fn read(journal: &str) -> Vec<Event> {
    journal.lines().filter_map(line).collect()
}

/// `1795343396.152825 node1 xen-handoff[812]: resource=x0 domain=x0 phase=offered->sending event=claimed generation=4 by=serve`
fn line(text: &str) -> Option<Event> {
    let (at, rest) = text.split_once(' ')?;
    let (node, rest) = rest.split_once(' ')?;
    let (by, message) = rest.split_once(": ")?;
    if by.split('[').next() != Some("xen-handoff") {
        return None;
    }
    let value = |key: &str| message.split(' ').find_map(|word| word.strip_prefix(key)).map(str::to_owned);
    Some(Event {
        at: at.parse().ok()?,
        node: node.to_owned(),
        domain: value("domain=")?,
        phase: value("phase=")?,
        event: in_one_form(&value("event=")?),
    })
}

/// Builds before 0.1 named them in another way: `StreamOpened` is `stream-opened`.
fn in_one_form(name: &str) -> String {
    let mut words = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !words.is_empty() {
            words.push('-');
        }
        words.push(c.to_ascii_lowercase());
    }
    words
}

/// Which of the domains in `events` is meant: the one of that name, or the only one there is.
///
/// # Errors
/// With what to say, if there are several.
pub fn domain_meant(events: &[Event], named: Option<&str>, pinged: &str) -> Result<Option<String>, String> {
    let mut domains: Vec<&str> = events.iter().map(|event| event.domain.as_str()).collect();
    domains.sort_unstable();
    domains.dedup();
    if let Some(name) = named {
        return Ok(domains.contains(&name).then(|| name.to_owned()));
    }
    match domains.as_slice() {
        [] => Ok(None),
        [only] => Ok(Some((*only).to_owned())),
        several if several.contains(&pinged) => Ok(Some(pinged.to_owned())),
        several => Err(format!(
            "the events are of several domains ({}): say which with --domain",
            several.join(", ")
        )),
    }
}

/// What `events`, in any order, say of one transfer; `None` if no stream was opened.
pub fn transfer(events: &[Event]) -> Option<Transfer> {
    let of = |names: &[&str]| -> Vec<f64> {
        events.iter().filter(|one| names.contains(&one.event.as_str())).map(|one| one.at).collect()
    };
    let last = |times: Vec<f64>| times.into_iter().reduce(f64::max);
    let opened = of(&["claimed", "pushed", "stream-opened"]).into_iter().reduce(f64::min)?;
    Some(Transfer {
        opened,
        go: last(of(&["go-arrived"])).or_else(|| last(of(&["ready-seen"]))),
        ended: last(of(&["sender-ended", "receiver-ended", "confirmed"])),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOURNAL: &str = "\
1795343390.000100 node1 pacemaker-controld[700]:  notice: Requesting local execution of stop operation for x0 on node1
1795343392.200000 node1 xen-handoff[812]: resource=x0 domain=x0 phase=idle->offering event=OfferMade generation=1 by=stop
1795343396.152825 node1 xen-handoff[812]: domain=x0 phase=offered->sending event=Claimed generation=4 by=serve
1795343396.100000 node2 xen-handoff[633]: resource=x0 domain=x0 phase=claiming->receiving event=stream-opened generation=2 by=start
1795343450.000000 node2 xen-handoff[633]: resource=x0 domain=x0 phase=receiving->arriving event=go-arrived generation=3 by=start
1795343451.000000 node2 xen-handoff[633]: resource=x0 domain=x0 phase=arriving->arrived event=receiver-ended generation=4 by=start
1795343451.500000 node2 xen-handoff[633]: resource=x0 the domain runs here
1795343452.000000 node1 xen-handoff[815]: domain=x1 phase=idle->offering event=OfferMade generation=1 by=stop
";

    #[test]
    fn a_journal_gives_the_stream_go_and_the_end() {
        let events = read(JOURNAL);
        assert_eq!(events.len(), 6);
        let of_x0: Vec<Event> = events.into_iter().filter(|event| event.domain == "x0").collect();
        let transfer = transfer(&of_x0).unwrap();
        assert_eq!(transfer.opened, 1_795_343_396.1);
        assert_eq!((transfer.go, transfer.ended), (Some(1_795_343_450.0), Some(1_795_343_451.0)));
    }

    #[test]
    fn an_offer_that_nobody_fetched_is_no_transfer() {
        let events = read(JOURNAL.lines().nth(1).unwrap());
        assert_eq!((events.len(), transfer(&events)), (1, None));
    }

    #[test]
    fn the_domain_is_the_one_that_is_named_or_the_only_one() {
        let events = read(JOURNAL);
        assert!(domain_meant(&events, None, "10.0.0.5").unwrap_err().contains("--domain"));
        assert_eq!(domain_meant(&events, None, "x1"), Ok(Some("x1".to_owned())));
        assert_eq!(domain_meant(&events, Some("x0"), "10.0.0.5"), Ok(Some("x0".to_owned())));
        assert_eq!(domain_meant(&events, Some("db"), "10.0.0.5"), Ok(None));
    }
}
