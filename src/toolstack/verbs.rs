//! The executable of xl or xm, and the subcommands that xl has taken over from xm word for word (`xm(1)`,
//! `xl(1)`).

use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;

use super::api::ShutdownRequest;
use crate::command::{self, CommandError, Tool};
use crate::domain::DomainName;
use crate::host::Root;

/// `xl` or `xm` below a root. Whether there is one shows at the first call.
#[derive(Debug, Clone)]
pub(super) struct Verbs {
    root: Root,
    executable: &'static str,
}

impl Verbs {
    pub(super) fn of(root: &Root, executable: &'static str) -> Self {
        Self { root: root.clone(), executable }
    }

    /// Where it is looked for.
    pub(super) fn root(&self) -> &Root {
        &self.root
    }

    /// The executable itself.
    ///
    /// # Errors
    /// [`CommandError::Missing`].
    pub(super) fn tool(&self) -> Result<Tool, CommandError> {
        Tool::find(&self.root, self.executable)
    }

    /// Any subcommand, which has to succeed.
    ///
    /// # Errors
    /// The toolstack's words.
    pub(super) fn run(&self, args: &[&OsStr], limit: Duration) -> Result<command::Output, CommandError> {
        command::run(&self.tool()?, args, None, limit)?.success()
    }

    pub(super) fn save(&self, name: &DomainName, to: &Path, limit: Duration) -> Result<(), CommandError> {
        self.run(&["save".as_ref(), name.as_str().as_ref(), to.as_ref()], limit).map(drop)
    }

    /// Any subcommand that makes a domain; what it leaves behind is known to be of that one.
    ///
    /// # Errors
    /// The toolstack's words.
    pub(super) fn make(
        &self,
        name: &DomainName,
        args: &[&OsStr],
        limit: Duration,
    ) -> Result<command::Output, CommandError> {
        command::run(&self.tool()?.marked(name.as_str()), args, None, limit)?.success()
    }

    pub(super) fn restore(
        &self,
        from: &Path,
        name: &DomainName,
        limit: Duration,
    ) -> Result<(), CommandError> {
        self.make(name, &["restore".as_ref(), from.as_ref()], limit).map(drop)
    }

    pub(super) fn request_shutdown(
        &self,
        name: &DomainName,
        how: ShutdownRequest,
        limit: Duration,
    ) -> Result<(), CommandError> {
        let name: &OsStr = name.as_str().as_ref();
        match how {
            ShutdownRequest::Drivers => self.run(&["shutdown".as_ref(), name], limit),
            ShutdownRequest::PowerButton => self.run(&["trigger".as_ref(), name, "power".as_ref()], limit),
        }
        .map(drop)
    }

    pub(super) fn destroy(&self, exact_name: &str, limit: Duration) -> Result<(), CommandError> {
        self.run(&["destroy".as_ref(), exact_name.as_ref()], limit).map(drop)
    }

    pub(super) fn unpause(&self, name: &DomainName, limit: Duration) -> Result<(), CommandError> {
        self.run(&["unpause".as_ref(), name.as_str().as_ref()], limit).map(drop)
    }
}
