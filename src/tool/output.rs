//! What the tools print for programs: one JSON document for each command, of a schema that is published and
//! has a version (`doc/xen-handoff.schema.json`).
//!
//! Times are RFC 3339 in UTC, spans are seconds, sizes are bytes. What is not known is `null`. A document may
//! get more fields without a new version; none goes, and none changes its meaning.

use std::io::Write;

use serde::Serialize;

use crate::clock::UnixTime;
use crate::domain::{DomainId, Presence};

/// The version of the schema.
pub const SCHEMA: u32 = 1;

/// What is the same in every document.
#[derive(Debug, Serialize)]
struct Document<'a, T> {
    schema_version: u32,
    command: &'a str,
    /// When it was made.
    at: String,
    #[serde(flatten)]
    what: &'a T,
}

/// Prints the document of `command`, on one line or in lines for people.
///
/// # Errors
/// If stdout is closed.
pub(super) fn print(command: &str, what: &impl Serialize, on_one_line: bool) -> anyhow::Result<()> {
    let document = Document { schema_version: SCHEMA, command, at: UnixTime::now().rfc3339(), what };
    let text = if on_one_line {
        serde_json::to_string(&document)?
    } else {
        serde_json::to_string_pretty(&document)?
    };
    let mut out = std::io::stdout();
    Ok(writeln!(out, "{text}").and_then(|()| out.flush())?)
}

/// Where a domain stands on a node, in one word, with its id where it has one.
pub(super) fn state(presence: &Presence) -> (&'static str, Option<u32>) {
    let with = |word, id: &DomainId| (word, Some(id.0));
    match presence {
        Presence::Absent => ("absent", None),
        Presence::Running(id) => with("running", id),
        Presence::Building(id) => with("being-created", id),
        Presence::Paused(id) => with("paused", id),
        Presence::Crashed(id) => with("crashed", id),
        Presence::Frozen(id) => with("frozen", id),
        Presence::ShutDown(id) => with("shut-down", id),
        Presence::Rebooting(id) => with("rebooting", id),
        Presence::Dying(id) => with("being-destroyed", id),
        Presence::Incoming(id) => with("arriving", id),
        Presence::MigratedAway(id) => with("given-away", id),
        Presence::Unknown(_) => ("unknown", None),
    }
}

/// Seconds out of milliseconds.
#[allow(clippy::cast_precision_loss, reason = "a span of hours at most")]
pub(super) fn seconds(milliseconds: u64) -> f64 {
    milliseconds as f64 / 1000.0
}
