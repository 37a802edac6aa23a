//! Interface to `curl`, which asks the load service in the guest (`xen-handoff-load`).

use std::time::Duration;

use serde::Deserialize;
use xen_handoff::host::Root;

use crate::remote::Place;

/// What separates the answer's body from its status in curl's output.
const MARK: &str = "\nstatus=";

/// What the load service says of itself. Only what is used.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Stats {
    /// The kernel's mark of this boot of the guest (`random(4)`).
    pub boot_id: String,
    /// How much memory is held.
    #[serde(default)]
    pub held_bytes: u64,
    /// How often the held memory was touched.
    #[serde(default)]
    pub accesses: u64,
    /// How long all of these took together, in microseconds, by the guest's own clock.
    #[serde(default)]
    pub access_microseconds: u64,
}

/// An answer of the service.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: String,
}

/// Asks for `url` from `place`.
///
/// # Errors
/// If there is no answer within `limit`, with curl's words.
pub fn get(root: &Root, place: &Place, url: &str, limit: Duration) -> anyhow::Result<Answer> {
    let seconds = limit.as_secs_f64().to_string();
    let write_out = format!("{}%{{http_code}}", MARK.replace('\n', "\\n"));
    let args = ["--silent", "--show-error", "--max-time", &seconds, "--write-out", &write_out, url];
    let output = place.run(root, "curl", &args.map(str::to_owned), limit + Duration::from_secs(20))?;
    let answer = read(&output.success()?.stdout);
    answer.ok_or_else(|| anyhow::anyhow!("curl says no HTTP status for {url}"))
}

fn read(output: &str) -> Option<Answer> {
    let (body, status) = output.rsplit_once(MARK)?;
    Some(Answer { status: status.trim().parse().ok()?, body: body.to_owned() })
}

/// What the service says of itself now.
///
/// # Errors
/// As [`get`]; if the answer is no such object.
pub fn stats(root: &Root, place: &Place, url: &str, limit: Duration) -> anyhow::Result<Stats> {
    let answer = get(root, place, url, limit)?;
    anyhow::ensure!(answer.status == 200, "{url} answers {}: {}", answer.status, answer.body.trim());
    serde_json::from_str(&answer.body)
        .map_err(|error| anyhow::anyhow!("{url} does not answer as xen-handoff-load does ({error})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn body_and_status_are_told_apart() {
        let answer = read("{\"a\":1}\n\nstatus=507").unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (507, "{\"a\":1}\n"));
        assert_eq!(read("000"), None);
    }
}
