//! Processes of the tests: run to their end, with what they said.

use std::path::Path;
use std::process::{Command, Stdio};

/// How a process ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: Vec<u8>,
    /// stdout and stderr.
    pub(crate) said: String,
}

impl Ended {
    /// stdout as text, of a process that had to succeed.
    pub(crate) fn text(self) -> String {
        assert_eq!(self.code, 0, "{}", self.said);
        String::from_utf8(self.stdout).unwrap()
    }

    /// The lines of it.
    pub(crate) fn lines(self) -> Vec<String> {
        self.text().lines().map(str::to_owned).collect()
    }
}

/// Runs `command` to its end.
pub(crate) fn end(command: &mut Command) -> Ended {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = [output.stdout.as_slice(), b"\n", &output.stderr].concat();
    Ended {
        code: output.status.code().unwrap_or(-1),
        stdout: output.stdout,
        said: format!("{command:?}\n{}", String::from_utf8_lossy(&said)),
    }
}

/// Runs a program to its end.
pub(crate) fn run(program: &str, args: &[&str]) -> Ended {
    end(Command::new(program).args(args))
}

/// A path as an argument.
pub(crate) fn word(path: &Path) -> &str {
    path.to_str().unwrap()
}
