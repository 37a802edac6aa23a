//! A glance at a domain without `xl`: the name from xenstore, the state from the hypervisor. It says "runs",
//! or nothing.
//!
//! A monitor asks the same question again and again and nearly always hears the same answer, for which `xl`
//! is a dear way: a process that loads libxl. The answer is made of two facts that xl itself would go by, and
//! nothing is guessed:
//!
//! - In xenstore exactly one domain is called `NAME`, none `NAME--incoming` or `NAME--migratedaway`, and
//!   every domain has a name.
//! - The hypervisor has a domain of that id and of the uuid that xenstore gives it, and it is neither paused,
//!   shut down (which a suspended one is), dying, nor without processors.
//!
//! Everything else, absence before all, is [`Doubt`], and the caller asks `xl`: no socket, another version of
//! Xen than those that this was tried on, a store that does not answer at once, an entry that is missing.
//!
//! Where `xl` does not work, the same two say one thing more ([`guests`]): which domains there are. The
//! hypervisor is asked for every id that a domain can have, before and after the names are read, and every
//! domain has to have a name and the same uuid in both.
//!
//! The name is read before the state. A migration suspends its domain before it renames it, and lets the
//! other copy run only after it got its name: what was called `NAME` and could run after that, did run under
//! this name.

use std::time::Duration;

use rustix::io::Errno;

use crate::domain::{DomainId, DomainName};
use crate::foreign::Foreign;
use crate::host::Root;

mod hypervisor;
mod store;

use hypervisor::{Interface, State};
use store::Store;

/// How long the store may take for one answer.
const PATIENCE: Duration = Duration::from_secs(1);
/// Above this many domains xl is no dearer.
const MOST_DOMAINS: usize = 500;
/// The first id that no domain has (`DOMID_FIRST_RESERVED` of `xen/xen.h`).
const NO_ID: u32 = 0x7ff0;

/// Why a glance says nothing.
#[derive(Debug, thiserror::Error)]
pub enum Doubt {
    /// The store or the hypervisor cannot be asked, or did not answer.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// What they say is not the one thing that a glance may report.
    #[error("{0}")]
    Unclear(String),
}

/// The domain's id, if it certainly runs here under its own name.
///
/// # Errors
/// [`Doubt`] in every other case.
pub fn running(root: &Root, name: &DomainName) -> Result<DomainId, Doubt> {
    look(root, name).map(|(_, state)| state.id)
}

/// The domain's memory in MiB, if it certainly runs here under its own name.
///
/// # Errors
/// [`Doubt`] in every other case.
pub fn memory_mib(root: &Root, name: &DomainName) -> Result<u64, Doubt> {
    look(root, name).map(|(_, state)| state.memory_mib)
}

/// The ids and names of all domains here but Domain-0: what `xl list` says, without xl.
///
/// # Errors
/// [`Doubt`] if it is not certain that these are all.
pub fn guests(root: &Root) -> Result<Vec<(DomainId, String)>, Doubt> {
    let interface = interface(root)?;
    let privcmd = hypervisor::open(root)?;
    roll(&mut Store::open(root, PATIENCE)?, |id| hypervisor::state(&privcmd, interface, id))
}

fn interface(root: &Root) -> Result<Interface, Doubt> {
    hypervisor::interface(root).ok_or_else(|| unclear("a version of Xen that this was not tried on"))
}

fn look(root: &Root, name: &DomainName) -> Result<(Interface, State), Doubt> {
    let interface = interface(root)?;
    let ask = |id| hypervisor::state(&hypervisor::open(root)?, interface, id);
    Ok((interface, judge(&mut Store::open(root, PATIENCE)?, ask, name)?))
}

/// A domain that has been found once, to be looked at again and again.
#[derive(Debug)]
pub struct Followed {
    root: Root,
    interface: Interface,
    id: DomainId,
    uuid: String,
}

/// Finds the domain that runs here under this name.
///
/// # Errors
/// As [`running`].
pub fn follow(root: &Root, name: &DomainName) -> Result<Followed, Doubt> {
    let (interface, State { id, uuid, .. }) = look(root, name)?;
    Ok(Followed { root: root.clone(), interface, id, uuid })
}

impl Followed {
    /// Whether it is suspended now, whatever its name is by now.
    ///
    /// # Errors
    /// If the hypervisor does not say, or that domain is no more.
    pub fn is_suspended(&self) -> Result<bool, Doubt> {
        let state = hypervisor::state(&hypervisor::open(&self.root)?, self.interface, self.id)?;
        if state.id != self.id || state.uuid != self.uuid {
            return Err(unclear(format!("domain {} is no more", self.id)));
        }
        Ok(state.is_suspended)
    }
}

fn unclear(what: impl Into<String>) -> Doubt {
    Doubt::Unclear(what.into())
}

fn judge(
    store: &mut Store,
    ask: impl FnOnce(DomainId) -> std::io::Result<State>,
    name: &DomainName,
) -> Result<State, Doubt> {
    let id = find(store, name)?;
    let uuid = store.read(&[format!("/local/domain/{id}/vm")])?.pop().unwrap_or_default();
    let state = ask(id)?;
    if state.id != id || uuid.strip_prefix("/vm/") != Some(state.uuid.as_str()) {
        return Err(unclear(format!("xenstore's domain {id} is not the hypervisor's")));
    }
    if state.runs { Ok(state) } else { Err(unclear(format!("domain {id} is not simply running"))) }
}

fn roll(
    store: &mut Store,
    ask: impl Fn(DomainId) -> std::io::Result<State>,
) -> Result<Vec<(DomainId, String)>, Doubt> {
    let before = every(&ask)?;
    if before.len() > MOST_DOMAINS {
        return Err(unclear("too many domains"));
    }
    let path = |what: &'static str| move |(id, _): &(DomainId, String)| format!("/local/domain/{id}/{what}");
    let names = store.read(&before.iter().map(path("name")).collect::<Vec<_>>())?;
    let uuids = store.read(&before.iter().map(path("vm")).collect::<Vec<_>>())?;
    for ((id, uuid), stored) in before.iter().zip(&uuids) {
        if stored.strip_prefix("/vm/") != Some(uuid.as_str()) {
            return Err(unclear(format!("xenstore's domain {id} is not the hypervisor's")));
        }
    }
    if names.iter().any(String::is_empty) {
        return Err(unclear("a domain has no name"));
    }
    if every(&ask)? != before {
        return Err(unclear("domains come and go"));
    }
    Ok(before.into_iter().map(|(id, _)| id).zip(names).collect())
}

/// Every domain but Domain-0, with its uuid. Of an id that is free, a hypervisor gives the next domain, or
/// says that there is none.
fn every(ask: impl Fn(DomainId) -> std::io::Result<State>) -> Result<Vec<(DomainId, String)>, Doubt> {
    if ask(DomainId(0))?.id != DomainId(0) {
        return Err(unclear("the hypervisor does not show Domain-0"));
    }
    let (mut found, mut next) = (Vec::new(), 1);
    while next < NO_ID {
        match ask(DomainId(next)) {
            Ok(state) if state.id.0 >= next => {
                next = state.id.0 + 1;
                found.push((state.id, state.uuid));
            }
            Ok(state) => return Err(unclear(format!("the hypervisor shows domain {} for {next}", state.id))),
            Err(error) if error.raw_os_error() == Some(Errno::SRCH.raw_os_error()) => next += 1,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(found)
}

/// The id of the one domain of this name.
fn find(store: &mut Store, name: &DomainName) -> Result<DomainId, Doubt> {
    let ids = store.children("/local/domain")?;
    if ids.len() > MOST_DOMAINS {
        return Err(unclear("too many domains"));
    }
    let paths: Vec<String> = ids.iter().map(|id| format!("/local/domain/{id}/name")).collect();
    let names = store.read(&paths)?;
    if names.iter().any(|other| *other == name.incoming() || *other == name.migrated_away()) {
        return Err(unclear("a copy of it is on its way"));
    }
    let mut own = ids.iter().zip(&names).filter(|(_, other)| *other == name.as_str());
    match (own.next(), own.next()) {
        (Some((id, _)), None) => id.parse().map(DomainId).map_err(|_| unclear(format!("a domain id {id:?}"))),
        _ => Err(unclear("not exactly one domain of this name")),
    }
}

/// What is read here of others, for `make fuzz`.
pub const FOREIGN: &[Foreign] = &[Foreign { name: "xenstored", read: store::read_all }];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixListener;

    const UUID: &str = "77000000-0000-4000-8000-000000000050";

    /// A xenstored that answers from these paths; a value that is missing is `ENOENT`, and `!` is no answer
    /// at all.
    fn daemon(paths: &[(&str, &str)]) -> (tempfile::TempDir, Root) {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("run/xenstored");
        std::fs::create_dir_all(&socket).unwrap();
        let listener = UnixListener::bind(socket.join("socket")).unwrap();
        let paths: BTreeMap<String, String> =
            paths.iter().map(|(path, value)| ((*path).to_owned(), (*value).to_owned())).collect();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut header = [0; 16];
            while stream.read_exact(&mut header).is_ok() {
                let word = |at: usize| u32::from_ne_bytes(header[at..at + 4].try_into().unwrap());
                let mut path = vec![0; word(12) as usize];
                stream.read_exact(&mut path).unwrap();
                let path = String::from_utf8(path).unwrap();
                let (kind, value) = match paths.get(path.trim_end_matches('\0')) {
                    Some(value) if value == "!" => continue,
                    Some(value) => (word(0), value.as_str()),
                    None => (16, "ENOENT\0"),
                };
                let length = u32::try_from(value.len()).unwrap();
                let head: Vec<u8> =
                    [kind, word(4), 0, length].iter().flat_map(|word| word.to_ne_bytes()).collect();
                stream.write_all(&[&head, value.as_bytes()].concat()).unwrap();
            }
        });
        let root = Root::new(folder.path());
        (folder, root)
    }

    fn glance(paths: &[(&str, &str)], state: &State) -> Result<State, Doubt> {
        let (_folder, root) = daemon(paths);
        let mut store = Store::open(&root, Duration::from_millis(300))?;
        judge(&mut store, |_| Ok(state.clone()), &DomainName::new("x0").unwrap())
    }

    const ONE: [(&str, &str); 5] = [
        ("/local/domain", "0\x003\x007\0"),
        ("/local/domain/0/name", "Domain-0"),
        ("/local/domain/3/name", "x01"),
        ("/local/domain/7/name", "x0"),
        ("/local/domain/7/vm", "/vm/77000000-0000-4000-8000-000000000050"),
    ];

    fn runs() -> State {
        State { id: DomainId(7), uuid: UUID.to_owned(), memory_mib: 128, runs: true, is_suspended: false }
    }

    #[test]
    fn a_glance_says_that_a_domain_runs_if_store_and_hypervisor_agree() {
        assert_eq!(glance(&ONE, &runs()).unwrap(), runs());
    }

    #[test]
    fn whatever_else_a_glance_sees_is_left_to_xl() {
        let with = |path: &str, value: &'static str| {
            let mut paths: Vec<_> = ONE.into_iter().filter(|(other, _)| *other != path).collect();
            let path = ONE.iter().map(|(path, _)| *path).find(|other| *other == path).unwrap();
            paths.extend((value != "-").then_some((path, value)));
            glance(&paths, &runs())
        };
        for (path, value, why) in [
            ("/local/domain/7/name", "x1", "not exactly one"),
            ("/local/domain/3/name", "x0", "not exactly one"),
            ("/local/domain/3/name", "x0--incoming", "on its way"),
            ("/local/domain/3/name", "x0--migratedaway", "on its way"),
            ("/local/domain/3/name", "-", "ENOENT"),
            ("/local/domain/3/name", "!", "answer"),
            ("/local/domain/7/vm", "/vm/77000000-0000-4000-8000-000000000051", "not the hypervisor's"),
            ("/local/domain/7/vm", "-", "ENOENT"),
            ("/local/domain", "", "not exactly one"),
            ("/local/domain", "-", "ENOENT"),
        ] {
            let doubt = with(path, value).unwrap_err().to_string();
            assert!(doubt.contains(why), "{path} {value:?}: {doubt}");
        }
        for state in [
            State { runs: false, ..runs() },
            State { id: DomainId(8), ..runs() },
            State { uuid: UUID.replace('5', "6"), ..runs() },
        ] {
            assert!(matches!(glance(&ONE, &state), Err(Doubt::Unclear(_))), "{state:?}");
        }
    }

    /// A hypervisor with these domains, of a release that answers for a free id with the next domain, or of a
    /// later one.
    fn asked(domains: &[(u32, &str)], id: DomainId, gives_the_next: bool) -> std::io::Result<State> {
        let found = domains.iter().find(|(other, _)| *other == id.0 || gives_the_next && *other > id.0);
        let (id, uuid) = found.ok_or_else(|| std::io::Error::from(Errno::SRCH))?;
        Ok(State { id: DomainId(*id), uuid: (*uuid).to_owned(), ..runs() })
    }

    const DOM0: (u32, &str) = (0, "00000000-0000-0000-0000-000000000000");
    const OTHER: &str = "77000000-0000-4000-8000-000000000051";
    const TWO: [(&str, &str); 4] = [
        ("/local/domain/3/name", "x1"),
        ("/local/domain/3/vm", "/vm/77000000-0000-4000-8000-000000000051"),
        ("/local/domain/7/name", "x0"),
        ("/local/domain/7/vm", "/vm/77000000-0000-4000-8000-000000000050"),
    ];

    fn listed(
        paths: &[(&str, &str)],
        ask: impl Fn(DomainId) -> std::io::Result<State>,
    ) -> Result<Vec<(u32, String)>, Doubt> {
        let (_folder, root) = daemon(paths);
        let mut store = Store::open(&root, Duration::from_millis(300))?;
        Ok(roll(&mut store, ask)?.into_iter().map(|(id, name)| (id.0, name)).collect())
    }

    #[test]
    fn p1_every_domain_is_listed_without_xl_or_none_is() {
        let two = [DOM0, (3, OTHER), (7, UUID)];
        for gives_the_next in [true, false] {
            let ask = |domains: &'static [(u32, &'static str)]| move |id| asked(domains, id, gives_the_next);
            let all = [(3, "x1".to_owned()), (7, "x0".to_owned())];
            assert_eq!(listed(&TWO, |id| asked(&two, id, gives_the_next)).unwrap(), all);
            assert_eq!(listed(&TWO, ask(&[DOM0])).unwrap(), []);
            for (domains, why) in [
                (&[(3, OTHER), (7, UUID)][..], if gives_the_next { "does not show Domain-0" } else { "" }),
                (&[DOM0, (4, OTHER)][..], "ENOENT"),
                (&[DOM0, (3, UUID)][..], "not the hypervisor's"),
            ] {
                let doubt = listed(&TWO, |id| asked(domains, id, gives_the_next)).unwrap_err().to_string();
                assert!(doubt.contains(why), "{domains:?}: {doubt}");
            }
        }
        let (known, calls) = ([DOM0, (3, OTHER)], std::cell::Cell::new(0));
        let grows = |id: DomainId| {
            calls.set(calls.get() + u32::from(id.0 == 0));
            asked(if calls.get() > 1 { &two } else { &known }, id, true)
        };
        assert!(listed(&TWO, grows).unwrap_err().to_string().contains("come and go"));
        let refused = |id: DomainId| match id.0 {
            5 => Err(Errno::PERM.into()),
            _ => asked(&two, id, false),
        };
        assert!(matches!(listed(&TWO, refused), Err(Doubt::Io(_))), "what is not answered is no domain");
        let nameless = [("/local/domain/3/name", ""), TWO[1]];
        assert!(listed(&nameless, |id| asked(&known, id, true)).is_err());
        // xenstored died: no answer is no empty list, also where the hypervisor has none.
        assert!(guests(&Root::new("/nonexistent")).is_err());
    }

    #[test]
    fn a_host_without_xen_or_with_another_one_is_not_looked_at() {
        let (folder, root) = daemon(&ONE);
        let name = DomainName::new("x0").unwrap();
        assert!(matches!(running(&root, &name), Err(Doubt::Unclear(_))));
        let version = folder.path().join("sys/hypervisor/version");
        std::fs::create_dir_all(&version).unwrap();
        for (major, minor, is_tried) in [
            ("4", "17", true),
            ("4", "20", true),
            // The same layout, by the headers; never run.
            ("4", "16", false),
            ("4", "18", false),
            ("4", "19", false),
            ("4", "21", false),
            ("4", "22", false),
            ("4", "99", false),
            ("5", "17", false),
            ("4", "", false),
        ] {
            std::fs::write(version.join("major"), format!("{major}\n")).unwrap();
            std::fs::write(version.join("minor"), format!("{minor}\n")).unwrap();
            // Of the right ones there is no /dev/xen/privcmd here.
            let looked_at = matches!(running(&root, &name), Err(Doubt::Io(_)));
            assert_eq!(looked_at, is_tried, "{major}.{minor}");
        }
    }

    #[test]
    fn each_release_is_asked_by_its_own_number() {
        let folder = tempfile::tempdir().unwrap();
        let version = folder.path().join("sys/hypervisor/version");
        std::fs::create_dir_all(&version).unwrap();
        std::fs::write(version.join("major"), "4\n").unwrap();
        for (minor, number) in [("17\n", "Interface(21)"), ("20\n", "Interface(23)")] {
            std::fs::write(version.join("minor"), minor).unwrap();
            let interface = hypervisor::interface(&Root::new(folder.path())).unwrap();
            assert_eq!(format!("{interface:?}"), number);
        }
    }
}
