//! The ledger under Pacemaker: private node attributes, kept by attrd in the memory of every member.
//!
//! An entry is written under each *survivor's* name, since the attributes of a node that leaves are dropped,
//! and private (`--private`), since a write to the CIB would abort the transition that runs. attrd loses all
//! of them when the last member's attrd goes, and a node's own when that node leaves; therefore each node
//! also notes under its own name when it first looked (`xen-handoff-since`). An offer that was made since
//! then was written under this node's name too, and has not been lost; the note's age is the ledger's.
//!
//! attrd cannot delete an attribute, only empty it: an empty value is no offer.

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeSet;
use std::time::Duration;

use super::daemons::pacemakerd_lives;
use crate::at_once::at_once;
use crate::clock::{UnixTime, share_of_action, since_boot};
use crate::command::{self, CommandError, Tool};
use crate::domain::DomainName;
use crate::foreign::{Foreign, of_x0};
use crate::handoff::Epoch;
use crate::handoff::ledger::{Entries, Entry, Ledger, LedgerError, NoAnswer, Since, from_text, to_text};
use crate::host::{NodeName, Root};

/// Limit of one call of attrd_updater. It answers in tens of milliseconds.
const LIMIT: Duration = Duration::from_secs(10);
/// How often an entry is tried to be erased: attrd_updater may hang once where many ask attrd, and an entry
/// that stays would be looked at until its deadline. The action's own deadline bounds them all.
const WIPES: usize = 3;
/// An entry that was not taken is written once more where that costs no more than this part of what the
/// action has left: attrd_updater may hang once, and without the entry the guest is rebooted.
const PARTS: u32 = 6;
const SINCE: &str = "xen-handoff-since";

/// attrd's memory.
#[derive(Debug, Clone)]
pub(super) struct NodeAttributes {
    root: Root,
    /// Asked for (it is a process) only where it counts.
    me: OnceCell<NodeName>,
    /// The entries that it was said of that they cannot be read: an action reads the ledger again and again.
    said: RefCell<BTreeSet<String>>,
}

fn name_of(domain: &DomainName) -> String {
    format!("xen-handoff-{domain}")
}

/// Where a node says what it calls a resource's domain. No domain's name has this character.
fn name_note(resource: &str) -> String {
    format!("xen-handoff-name@{resource}")
}

/// What the cluster calls this node; where it does not say, the host's name.
pub(super) fn own_name(root: &Root) -> NodeName {
    let asked = Tool::find(root, "crm_node").and_then(|tool| command::run(&tool, &["-n"], None, LIMIT));
    let said = asked.and_then(command::Output::success);
    said.ok().and_then(|said| NodeName::new(said.stdout.trim()).ok()).unwrap_or_else(NodeName::of_this_host)
}

impl NodeAttributes {
    pub(super) fn new(root: &Root) -> Self {
        Self { root: root.clone(), me: OnceCell::new(), said: RefCell::default() }
    }

    fn me(&self) -> &NodeName {
        self.me.get_or_init(|| own_name(&self.root))
    }

    fn run(&self, args: &[&str]) -> Result<command::Output, CommandError> {
        run(&self.root, args)
    }

    fn set(&self, node: &NodeName, name: &str, value: &str) -> Result<(), CommandError> {
        set(&self.root, node, name, value)
    }

    /// Sets it for several nodes at the same time: one for which attrd does not answer must not hold up the
    /// others. Gives those for which it was not set, and why.
    fn set_all(&self, nodes: &[NodeName], name: &str, value: &str) -> Vec<(NodeName, String)> {
        let root = &self.root;
        let set = at_once(nodes, |node| set(root, node, name, value)).into_iter().map(|set| match set {
            Some(set) => set.map_err(|error| error.to_string()),
            None => Err("the thread that sets it failed".to_owned()),
        });
        nodes.iter().cloned().zip(set).filter_map(|(node, set)| Some((node, set.err()?))).collect()
    }

    /// Whether the agent has left a note under this node's name: it has run there since the node joined, and
    /// each probe leaves one.
    pub(super) fn has_noted(&self, node: &NodeName, resource: &str) -> Result<bool, NoAnswer> {
        let notes = [self.values(SINCE)?, self.values(&name_note(resource))?];
        Ok(notes.iter().flatten().any(|(noted, _)| noted == node))
    }

    /// Empties an offer under every node's name. Gives where it stays (everywhere, if no node is named), and
    /// why.
    fn wipe(&self, domain: &DomainName, epoch: Epoch) -> Vec<(Option<NodeName>, String)> {
        let name = name_of(domain);
        let values = match self.values(&name) {
            Ok(values) => values,
            // The source has left the cluster; whoever has fetched the domain clears up.
            Err(NoAnswer::NoCluster) => return Vec::new(),
            Err(why) => return vec![(None, why.to_string())],
        };
        let is_it = |value: &str| from_text(domain, value).is_ok_and(|entry| entry.epoch() == epoch);
        let nodes: Vec<NodeName> =
            values.into_iter().filter(|(_, value)| is_it(value)).map(|(node, _)| node).collect();
        self.set_all(&nodes, &name, "").into_iter().map(|(node, why)| (Some(node), why)).collect()
    }

    /// The values of `name` that are not empty, by node.
    fn values(&self, name: &str) -> Result<Vec<(NodeName, String)>, NoAnswer> {
        let unreadable = |error: &dyn std::fmt::Display| NoAnswer::Unreadable(error.to_string());
        let output = self.run(&["-Q", "-A", "-n", name]).map_err(|error| unreadable(&error))?;
        if says_there_is_none(&output) {
            return Ok(Vec::new());
        }
        let output = output
            .success()
            .map_err(|error| if pacemakerd_lives() { unreadable(&error) } else { NoAnswer::NoCluster })?;
        let lines = output.stdout.lines().filter(|line| !line.trim().is_empty());
        let values: Vec<_> =
            lines.map(parse_line).collect::<Result<_, String>>().map_err(NoAnswer::Unreadable)?;
        Ok(values.into_iter().filter(|(_, value)| !value.is_empty()).collect())
    }
}

fn run(root: &Root, args: &[&str]) -> Result<command::Output, CommandError> {
    command::run(&Tool::find(root, "attrd_updater")?, args, None, LIMIT)
}

fn set(root: &Root, node: &NodeName, name: &str, value: &str) -> Result<(), CommandError> {
    run(root, &["--private", "-N", node.as_str(), "-n", name, "-U", value])?.success().map(drop)
}

/// attrd_updater fails both when attrd does not answer and when nobody has ever set the attribute. Its words
/// differ.
fn says_there_is_none(output: &command::Output) -> bool {
    if output.status.success() {
        return false;
    }
    let words = format!("{}{}", output.stdout, output.stderr);
    words.contains("does not exist") || words.contains("No such device or address")
}

/// `name="x" host="n1" value="v"`, as attrd_updater prints it.
fn parse_line(line: &str) -> Result<(NodeName, String), String> {
    let field = |key: &str| {
        let start = line.find(&format!("{key}=\""))? + key.len() + 2;
        Some(&line[start..start + line[start..].find('"')?])
    };
    let unreadable = || format!("attrd_updater says {line:?}");
    let node = field("host").and_then(|host| NodeName::new(host).ok()).ok_or_else(unreadable)?;
    Ok((node, field("value").ok_or_else(unreadable)?.to_owned()))
}

impl Ledger for NodeAttributes {
    fn write(&self, entry: &Entry, survivors: &[NodeName]) -> Result<(), LedgerError> {
        let (name, text) = (name_of(entry.domain()), to_text(entry));
        if survivors.is_empty() {
            return Err(LedgerError("there is no other node to write it for".to_owned()));
        }
        let mut failed = self.set_all(survivors, &name, &text);
        if !failed.is_empty() && share_of_action(LIMIT, PARTS) == LIMIT {
            let nodes: Vec<NodeName> = failed.into_iter().map(|(node, _)| node).collect();
            failed = self.set_all(&nodes, &name, &text);
        }
        match failed.into_iter().next() {
            Some((_, why)) => Err(LedgerError(why)),
            None => Ok(()),
        }
    }

    fn entries(&self, domain: &DomainName) -> Result<Entries, NoAnswer> {
        let values = self.values(&name_of(domain))?;
        let entries = Entries::gather(values.iter().map(|(_, value)| from_text(domain, value)));
        let mut said = self.said.borrow_mut();
        for why in &entries.unreadable {
            if !said.insert(why.clone()) {
                continue;
            }
            log::warn!("domain={domain} the ledger has an entry that this version cannot read: {why}");
        }
        Ok(entries)
    }

    fn age(&self) -> Result<Duration, NoAnswer> {
        let notes = self.values(SINCE)?;
        let (boot, up) = (self.root.boot_id(), since_boot());
        let own = notes.iter().find(|(node, _)| node == self.me()).map(|(_, value)| value.as_str());
        if let Some(age) = own.and_then(|noted| Since::age(noted, boot.as_deref(), up, UnixTime::now())) {
            return Ok(age);
        }
        self.set(self.me(), SINCE, &Since::now(boot.as_deref(), up).to_string())
            .map_err(|error| NoAnswer::Unreadable(error.to_string()))?;
        Ok(Duration::ZERO)
    }

    fn note_name(&self, resource: &str, domain: &DomainName) {
        if let Err(error) = self.set(self.me(), &name_note(resource), domain.as_str()) {
            log::info!("domain={domain} the other nodes were not told its name: {error}");
        }
    }

    fn names(&self, resource: &str) -> Result<Vec<DomainName>, NoAnswer> {
        let unreadable = |error: &dyn std::fmt::Display| NoAnswer::Unreadable(error.to_string());
        let values = self.values(&name_note(resource))?;
        let names = values.into_iter().map(|(_, name)| DomainName::new(name));
        let mut names: Vec<DomainName> =
            names.collect::<Result<_, _>>().map_err(|error| unreadable(&error))?;
        names.sort();
        names.dedup();
        Ok(names)
    }

    fn erase(&self, domain: &DomainName, epoch: Epoch) {
        let mut stays = self.wipe(domain, epoch);
        for _ in 1..WIPES {
            if stays.is_empty() {
                return;
            }
            stays = self.wipe(domain, epoch);
        }
        for stay in stays {
            match stay {
                (Some(node), why) => {
                    log::warn!(
                        "domain={domain} offer={} stays in the ledger of {node}: {why}",
                        epoch.rfc3339()
                    );
                }
                (None, why) => {
                    log::warn!("domain={domain} offer={} stays in the ledger: {why}", epoch.rfc3339());
                }
            }
        }
    }
}

/// What is read here of others, for `make fuzz`.
pub const FOREIGN: &[Foreign] = &[Foreign {
    name: "attrd_updater",
    read: |text| {
        of_x0(|x0, _| {
            for (_, value) in text.lines().filter_map(|line| parse_line(line).ok()) {
                let _ = from_text(x0, &value);
            }
        });
    },
}];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::here::fake::{offer_of, plant};

    #[test]
    fn a_line_of_attrd_updater_gives_node_and_value() {
        let line = "name=\"xen-handoff-x0\" host=\"n2\" value=\"v=1;source=n1;epoch=7;made=1;deadline=2\"";
        let (node, value) = parse_line(line).unwrap();
        assert_eq!(node.as_str(), "n2");
        let entry = from_text(&DomainName::new("x0").unwrap(), &value).unwrap();
        assert_eq!(entry.epoch(), Epoch(7));
        assert!(parse_line("something else").is_err());
    }

    #[test]
    fn an_entry_that_attrd_does_not_take_at_first_is_written_once_more_and_not_again() {
        for (fails, taken, calls) in [(0, true, 1), (1, true, 2), (9, false, 2)] {
            let root = tempfile::tempdir().unwrap();
            let called = root.path().join("called");
            let called_to = called.display();
            let script = format!("echo x >>{called_to}\n[ $(wc -l <{called_to}) -gt {fails} ] || exit 102");
            plant(root.path(), "attrd_updater", &script);
            let offer = offer_of("n1");
            let ledger = NodeAttributes::new(&Root::new(root.path()));
            let written = ledger.write(&Entry::Offer(offer), &[NodeName::new("n2").unwrap()]);
            assert_eq!(written.is_ok(), taken, "{fails} failures");
            assert_eq!(std::fs::read_to_string(&called).unwrap().lines().count(), calls, "{fails} failures");
        }
    }

    /// attrd_updater in a root: it fails as often as `fails` has lines, then answers. Gives what was called.
    fn erased_where_it_fails(fails: &str) -> Vec<String> {
        let root = tempfile::tempdir().unwrap();
        let (left, calls) = (root.path().join("left"), root.path().join("calls"));
        std::fs::write(&left, fails).unwrap();
        let script = format!(
            "echo \"$*\" >>{calls}\n\
             if [ -s {left} ]; then sed -i 1d {left}; echo 'half an ans'; exit 0; fi\n\
             echo 'name=\"xen-handoff-x0\" host=\"n2\" value=\"v=1;source=n1;epoch=7;made=1;deadline=2\"'\n",
            calls = calls.display(),
            left = left.display(),
        );
        plant(root.path(), "attrd_updater", &script);
        let ledger = NodeAttributes::new(&Root::new(root.path()));
        ledger.erase(&DomainName::new("x0").unwrap(), Epoch(7));
        std::fs::read_to_string(&calls).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn an_entry_is_erased_where_attrd_does_not_answer_at_first() {
        let calls = erased_where_it_fails("1\n2\n");
        assert_eq!(calls.len(), 4, "{calls:?}");
        assert!(calls.last().unwrap().contains("-N n2 -n xen-handoff-x0 -U"), "{calls:?}");
    }

    #[test]
    fn an_attrd_that_never_answers_is_asked_so_often_and_no_more() {
        let calls = erased_where_it_fails("1\n2\n3\n4\n5\n");
        assert_eq!(calls.len(), WIPES, "{calls:?}");
    }
}
