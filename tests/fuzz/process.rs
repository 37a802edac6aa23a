//! The server as sshd starts it: the real executable on a host of the stand-in toolstack.

#[path = "../world/mod.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with tests that need all of it")]
mod world;

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use super::targets::{Target, conversation};

/// What a server has at most in memory of its own: 16 MiB above what it begins with, and room for its threads' stacks.
const MOST_MEMORY: u64 = 32 << 20;

/// The server of a host.
pub(super) fn served(_scratch: &Path) -> Vec<Target> {
    let world = world::World::new(&["n1", "n2"]);
    let run = move |input: &[u8]| {
        let mut server = Command::new(env!("CARGO_BIN_EXE_xen-handoff"))
            .arg("serve")
            .env_clear()
            .env("XEN_HANDOFF_ROOT", world.host("n1").root)
            .env("HA_LOGFACILITY", "none")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let limit = Rlimit { current: Some(MOST_MEMORY), maximum: Some(MOST_MEMORY) };
        prlimit(Some(Pid::from_child(&server)), Resource::Data, limit).unwrap();
        let (mut stdin, mut stdout) = (server.stdin.take().unwrap(), server.stdout.take().unwrap());
        std::thread::scope(|scope| {
            // It may end before it has read all of it.
            scope.spawn(move || drop(stdin.write_all(input)));
            drop(stdout.read_to_end(&mut Vec::new()));
        });
        let status = server.wait().unwrap();
        assert!(matches!(status.code(), Some(0 | 1)), "the server ended with {status}");
    };
    vec![Target {
        name: "serve, the executable".to_owned(),
        seeds: conversation(),
        run: Box::new(run),
        turn: 2,
    }]
}
