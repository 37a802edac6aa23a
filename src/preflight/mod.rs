//! Preflight: can that node take this domain? Asked before a move costs anything.
//!
//! The domain's *needs* are told to the other node, which answers with *facts* about itself ([`facts`]); what
//! follows from both is decided in one place, without any further look at the world ([`judge`]). The same
//! checks stand behind `xen-handoff preflight`, `validate-all` at `OCF_CHECK_LEVEL=10`, and the cluster's own
//! migration.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::domain::DomainConfig;
use crate::host::{LocalPath, NodeName};

pub mod facts;
pub mod judge;
pub mod setup;

/// What a domain needs of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Needs {
    /// The configuration that it runs with, or would.
    pub config: DomainConfig,
    /// Its configuration file on the node that asks, where there is one.
    pub file: Option<FileDigest>,
}

/// A file and what is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileDigest {
    /// Where.
    pub path: LocalPath,
    /// SHA-256 of it, in hexadecimal digits.
    pub sha256: String,
}

/// What a check came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It is as it must be.
    Ok,
    /// A move would go well, but something about it is not as it should be.
    Warning,
    /// It could not be told.
    Unknown,
    /// A move there would fail.
    Failed,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Unknown => "unknown",
            Self::Failed => "FAILED",
        })
    }
}

/// What a failed check stands in the way of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hinders {
    /// Going there while it runs. It could be booted there.
    Move,
    /// Running there at all: a boot there would fail for the same reason.
    Boot,
}

/// One check, what it came to, and what can be done about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Which one; one word.
    pub check: &'static str,
    /// What it came to.
    pub result: Verdict,
    /// What it stands in the way of, where it failed, and only there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hinders: Option<Hinders>,
    /// What was found.
    pub found: String,
    /// What would help; empty where nothing need be done.
    #[serde(rename = "do")]
    pub advice: String,
}

impl Check {
    /// One that is passed.
    pub fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, result: Verdict::Ok, hinders: None, found: found.into(), advice: String::new() }
    }

    /// One that a move would pass, with what should be changed all the same.
    pub fn warns(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { result: Verdict::Warning, advice: advice.into(), ..Self::ok(check, found) }
    }

    /// One whose answer could not be found out.
    pub fn unknown(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { result: Verdict::Unknown, advice: advice.into(), ..Self::ok(check, found) }
    }

    /// One that is not passed.
    pub fn fails(
        check: &'static str,
        hinders: Hinders,
        found: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        let found = Self::ok(check, found);
        Self { result: Verdict::Failed, hinders: Some(hinders), advice: advice.into(), ..found }
    }
}

/// All checks of one possible target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The node that the domain would go to.
    pub node: NodeName,
    /// In the order in which they were made.
    pub checks: Vec<Check>,
}

impl Report {
    /// Whether a move there would fail.
    pub fn is_hopeless(&self) -> bool {
        self.checks.iter().any(|check| check.result == Verdict::Failed)
    }

    /// What stands against a move there, on one line.
    pub fn objections(&self) -> String {
        one_line(self.checks.iter().filter(|check| check.result == Verdict::Failed))
    }

    /// What of these checks stands in the way of `what`, on one line; `None` if nothing does.
    pub fn hindrance(checks: &[Check], what: Hinders) -> Option<String> {
        let words = one_line(checks.iter().filter(|check| check.hinders == Some(what)));
        (!words.is_empty()).then_some(words)
    }
}

fn one_line<'a>(checks: impl Iterator<Item = &'a Check>) -> String {
    checks.map(|check| format!("{}: {}", check.check, check.found)).collect::<Vec<_>>().join("; ")
}
