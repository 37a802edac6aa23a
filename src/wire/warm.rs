//! Connections that this host's guard keeps open, so that a question need not log in: a key exchange costs
//! more than all else that is done for one.
//!
//! Each is ssh's own (`ControlMaster`), at a socket in a folder of root's that the guard makes; without that
//! all is as if there were none. Who asks an address that has none yet leaves a wish there, and the guard
//! keeps one from then on. What is asked over it has a server of its own at the far end, as over any other:
//! an answer is no older than its question. A stream has an ssh of its own.

use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, setrlimit};
use sha2::{Digest, Sha256};

use super::ssh::{Way, arguments, dial, key, open};
use super::{Connection, Dial, TransportError, WORDS_LIMIT};
use crate::address::Address;
use crate::clock::{Clock, Deadline, SystemClock};
use crate::command::{self, Tool};
use crate::host::Root;
use crate::small_file;

/// How long nobody tries what is open already when the far end has not greeted over it in time. Whether it is
/// gone or slow, ssh's own keepalive says within that time.
const DOUBT: Duration = Duration::from_secs(20);
/// How long a login may take beyond the limit of the connection.
const LOGS_IN: Duration = Duration::from_secs(30);
/// How often it is looked whether it has come about.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// What a wish's name ends in.
const WISH: &str = "json";
/// How many are kept at most.
const MOST: usize = 64;

/// The way over ssh: questions over what is open already.
#[derive(Debug, Clone)]
pub struct Ssh {
    root: Root,
}

impl Ssh {
    /// With the keys below `root`.
    pub fn of(root: &Root) -> Self {
        Self { root: root.clone() }
    }
}

impl Dial for Ssh {
    fn dial(&self, address: &Address, deadline: Deadline) -> Result<Connection, TransportError> {
        dial(&self.root, address, deadline)
    }

    fn ask(&self, address: &Address, deadline: Deadline) -> Result<Connection, TransportError> {
        connect(&self.root, address, deadline).map_or_else(|| self.dial(address, deadline), Ok)
    }
}

/// The folder of sockets and wishes.
fn folder(root: &Root) -> PathBuf {
    root.state_folder().join("warm")
}

/// Where ssh listens for who asks this address. Short, since a socket's path is.
fn socket(root: &Root, address: &Address) -> PathBuf {
    let Address { node, host, user, port, .. } = address;
    let digest = Sha256::digest(format!("{node} {host} {user} {port}"));
    let name = digest.iter().take(8).fold(String::new(), |name, byte| format!("{name}{byte:02x}"));
    folder(root).join(name)
}

/// A connection over what is open to `address`. `None` if nothing is, or if the far end does not greet over
/// it in a part of the time that there is: then nobody else tries it for a while.
pub(super) fn connect(root: &Root, address: &Address, deadline: Deadline) -> Option<Connection> {
    if !folder(root).is_dir() {
        return None;
    }
    let socket = socket(root, address);
    if !socket.exists() {
        if let Err(error) = wish(&socket, address) {
            log::debug!("node={} no connection to it will be kept open: {error}", address.node);
        }
        return None;
    }
    let doubt = doubt_of(&socket);
    let age =
        std::fs::metadata(&doubt).and_then(|file| file.modified()).ok().and_then(|at| at.elapsed().ok());
    if age.is_some_and(|age| age < DOUBT) {
        return None;
    }
    let patience = address.connect_timeout().min(deadline.left() / 4);
    let opened = open(root, &key(root), address, Way::Over(&socket), deadline.within(patience));
    opened
        .inspect_err(|error| {
            log::debug!("what is open already does not serve: {error}");
            if let Err(error) = std::fs::write(&doubt, "") {
                log::debug!("{}: {error}", doubt.display());
            }
        })
        .ok()
}

fn wish(socket: &Path, address: &Address) -> std::io::Result<()> {
    let file = wish_of(socket);
    if file.exists() { Ok(()) } else { small_file::keep_json(&file, address) }
}

fn doubt_of(socket: &Path) -> PathBuf {
    socket.with_extension("doubt")
}

fn is_wish(path: &Path) -> bool {
    path.extension().is_some_and(|end| end == WISH)
}

fn wish_of(socket: &Path) -> PathBuf {
    socket.with_extension(WISH)
}

/// Makes the folder, without what a guard before has left in it; its wishes stay.
///
/// # Errors
/// What the system says.
pub fn begin(root: &Root) -> std::io::Result<()> {
    small_file::make_folder(&folder(root))?;
    for entry in std::fs::read_dir(folder(root))? {
        let path = entry?.path();
        if !is_wish(&path) {
            std::fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// The addresses that are wished for, of which not more are kept than is sensible. A wish that cannot be read
/// is none any more.
///
/// # Errors
/// If the folder cannot be read.
pub fn wishes(root: &Root) -> std::io::Result<Vec<Address>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder(root))? {
        let path = entry?.path();
        if !is_wish(&path) {
            continue;
        }
        match small_file::kept_json::<Address>(&path) {
            Ok(Some(address)) if wish_of(&socket(root, &address)) == path => found.push(address),
            Ok(_) | Err(_) => std::fs::remove_file(&path)?,
        }
    }
    found.sort();
    found.truncate(MOST);
    Ok(found)
}

/// One that is kept open. Ended when dropped, and with this process, however that ends.
#[derive(Debug)]
pub struct Kept {
    ssh: Child,
    socket: PathBuf,
}

impl Kept {
    /// Opens one: who asks this address goes over it from now on.
    ///
    /// # Errors
    /// If there is none in time.
    pub fn open(root: &Root, address: &Address) -> anyhow::Result<Self> {
        let socket = socket(root, address);
        // ssh does not listen where there is something. What a killed one has left is of no use to anybody.
        let _ = std::fs::remove_file(&socket);
        let us = rustix::process::getpid().as_raw_nonzero().to_string();
        let to = serde_json::to_string(address)?;
        let args = ["line", "--parent", &us, "--address", &to];
        let ourselves = Tool::ourselves(root)?;
        let ssh = command::spawn(&ourselves, &args, Stdio::null(), Stdio::null(), Stdio::null())?;
        let mut kept = Self { ssh, socket };
        let limit = address.connect_timeout().saturating_add(LOGS_IN);
        let stands = || (kept.has_ended() || kept.socket.exists()).then_some(());
        SystemClock.wait_until(Deadline::after(limit), LOOK_AGAIN, stands);
        if kept.serves() { Ok(kept) } else { anyhow::bail!("ssh opens none") }
    }

    fn has_ended(&mut self) -> bool {
        !matches!(self.ssh.try_wait(), Ok(None))
    }

    /// Whether who asks this address still finds it.
    pub fn serves(&mut self) -> bool {
        !self.has_ended() && self.socket.exists()
    }

    /// Nobody finds it any more; what goes over it goes on.
    pub fn hide(&self) {
        // Whoever finds it tries it in vain when it has ended.
        let _ = std::fs::remove_file(&self.socket);
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        // It has ended already, or shall.
        let _ = self.ssh.kill();
        let _ = self.ssh.wait();
    }
}

/// Becomes the ssh of one that `parent` keeps, and dies with it. What the far end prints in any session over
/// it, it writes into that session's own file: it is ended when that becomes more than [`WORDS_LIMIT`].
///
/// # Errors
/// If it cannot be.
pub fn become_line(root: &Root, parent: i32, address: &Address) -> anyhow::Result<()> {
    let parent = Pid::from_raw(parent).ok_or_else(|| anyhow::anyhow!("{parent} is no process"))?;
    let ssh = Tool::find(root, "ssh")?;
    let limit = Rlimit { current: Some(WORDS_LIMIT), maximum: Some(WORDS_LIMIT) };
    setrlimit(Resource::Fsize, limit)?;
    let args = arguments(root, &key(root), address, Way::Kept(&socket(root, address)));
    Err(command::become_bound(&ssh, &args, parent).into())
}

/// Nobody asks this address any more.
pub fn forget(root: &Root, address: &Address) {
    let socket = socket(root, address);
    for file in [wish_of(&socket), doubt_of(&socket), socket] {
        // One that is left costs a try.
        let _ = std::fs::remove_file(file);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::here::fake::plant;
    use crate::host::NodeName;
    use crate::wire::message::Greeting;

    /// Notes what it was called with. Greets; over a connection that is kept open not while there is a file
    /// `silent`.
    const SSH: &str = r#"
echo "$*" >>ROOT/called
case "$*" in *"ControlMaster=yes"*) exit 1 ;; esac
case "$*" in *"ControlPath=none"*) ;; *) [ -e ROOT/silent ] && exec tail -f /dev/null ;; esac
echo 'GREETING'
exec cat >/dev/null
"#;

    struct Host {
        folder: tempfile::TempDir,
        root: Root,
    }

    impl Host {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let root = Root::new(folder.path());
            for needed in ["etc/xen-handoff", "run"] {
                std::fs::create_dir_all(folder.path().join(needed)).unwrap();
            }
            std::fs::write(key(&root), "").unwrap();
            let greeting = serde_json::to_string(&Greeting::ours(&root)).unwrap();
            let script = SSH.replace("ROOT", folder.path().to_str().unwrap()).replace("GREETING", &greeting);
            plant(folder.path(), "ssh", &script);
            Self { folder, root }
        }

        /// As a guard has it that has one to n2.
        fn with_one_open() -> Self {
            let host = Self::new();
            begin(&host.root).unwrap();
            std::fs::write(socket(&host.root, &n2()), "").unwrap();
            host
        }

        fn ask(&self) -> Result<Connection, TransportError> {
            Ssh::of(&self.root).ask(&n2(), Deadline::after(Duration::from_secs(60)))
        }

        /// The way of each ssh so far: `none`, or the name of the socket.
        fn ways(&self) -> Vec<String> {
            let called = std::fs::read_to_string(self.folder.path().join("called")).unwrap_or_default();
            let way = |line: &str| {
                let path = line.split_once("ControlPath=").unwrap().1.split(' ').next().unwrap();
                path.rsplit('/').next().unwrap().to_owned()
            };
            called.lines().map(way).collect()
        }

        fn name(&self) -> String {
            socket(&self.root, &n2()).file_name().unwrap().to_str().unwrap().to_owned()
        }
    }

    fn n2() -> Address {
        Address::by_its_name(&NodeName::new("n2").unwrap())
    }

    #[test]
    fn a_question_goes_over_what_is_open_and_a_stream_never_does() {
        let host = Host::with_one_open();
        host.ask().unwrap();
        Ssh::of(&host.root).dial(&n2(), Deadline::after(Duration::from_secs(60))).unwrap();
        assert_eq!(host.ways(), [host.name(), "none".to_owned()]);
        assert_eq!(wishes(&host.root).unwrap(), [], "it is there");
    }

    #[test]
    fn one_that_has_fallen_silent_is_tried_by_one_question_and_by_no_other_for_a_while() {
        let host = Host::with_one_open();
        std::fs::write(host.folder.path().join("silent"), "").unwrap();
        host.ask().unwrap();
        host.ask().unwrap();
        assert_eq!(host.ways(), [host.name(), "none".to_owned(), "none".to_owned()]);
        std::fs::remove_file(host.folder.path().join("silent")).unwrap();
        let doubt = std::fs::File::options().write(true).open(doubt_of(&socket(&host.root, &n2()))).unwrap();
        doubt.set_modified(std::time::SystemTime::now() - DOUBT).unwrap();
        host.ask().unwrap();
        assert_eq!(host.ways().last().unwrap(), &host.name(), "it was slow, and no more than that");
    }

    #[test]
    fn without_a_guard_nothing_is_left_and_with_one_the_first_question_leaves_a_wish() {
        let host = Host::new();
        host.ask().unwrap();
        assert!(!folder(&host.root).exists());
        begin(&host.root).unwrap();
        host.ask().unwrap();
        assert_eq!(host.ways(), ["none", "none"]);
        assert_eq!(wishes(&host.root).unwrap(), [n2()]);
        std::fs::write(socket(&host.root, &n2()), "").unwrap();
        begin(&host.root).unwrap();
        assert!(!socket(&host.root, &n2()).exists(), "what a guard before has left is of no use");
        assert_eq!(wishes(&host.root).unwrap(), [n2()], "its wishes are");
        forget(&host.root, &n2());
        assert_eq!(wishes(&host.root).unwrap(), []);
    }

    #[test]
    fn a_wish_that_has_rotted_or_stands_in_anothers_place_is_none_and_there_is_an_end_to_them() {
        let host = Host::new();
        begin(&host.root).unwrap();
        std::fs::write(folder(&host.root).join("0123456789abcdef.json"), "{\"node\":").unwrap();
        small_file::keep_json(&folder(&host.root).join("fedcba9876543210.json"), &n2()).unwrap();
        assert_eq!(wishes(&host.root).unwrap(), []);
        assert_eq!(std::fs::read_dir(folder(&host.root)).unwrap().count(), 0);
        for number in 0..MOST + 10 {
            let address = Address { node: NodeName::new(format!("n{number}")).unwrap(), ..n2() };
            wish(&socket(&host.root, &address), &address).unwrap();
        }
        assert_eq!(wishes(&host.root).unwrap().len(), MOST);
    }

    #[test]
    fn where_ssh_opens_none_there_is_none_and_a_socket_that_was_left_is_gone() {
        let host = Host::with_one_open();
        // It is called as ours is, and ends at once, as an ssh does whose key is not taken.
        plant(host.folder.path(), "xen-handoff", "exit 1");
        assert_eq!(Kept::open(&host.root, &n2()).unwrap_err().to_string(), "ssh opens none");
        assert!(!socket(&host.root, &n2()).exists());
    }
}
