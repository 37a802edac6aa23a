//! Another node, over root's own ssh, with root's own keys, where that goes without a question.

use std::time::Duration;

use super::card::parts;
use crate::command::{self, Output, Tool};
use crate::host::{NodeName, Root};
use crate::wire::ssh::KEY;

/// Where another node has its keys.
pub(super) const KEY_FOLDER: &str = "/etc/xen-handoff";
/// Where another node has the command.
const COMMAND: &str = "/usr/sbin/xen-handoff";
/// Limit of one command on one node.
const LIMIT: Duration = Duration::from_secs(60);

/// Runs a command on `node`, with `input`.
fn run(root: &Root, node: &NodeName, words: &[&str], input: Option<&str>) -> Result<Output, String> {
    let host = format!("root@{node}");
    let options = ["BatchMode=yes", "StrictHostKeyChecking=yes", "ConnectTimeout=5"];
    let mut args: Vec<&str> = options.iter().flat_map(|option| ["-o", option]).collect();
    args.extend(["-T", "--", &host]);
    args.extend(words);
    let ssh = Tool::find(root, "ssh").map_err(|error| error.to_string())?.for_operator();
    command::run(&ssh, &args, input, LIMIT).map_err(|error| error.to_string())
}

/// What a command of ours prints on `node`.
pub(super) fn ours(
    root: &Root,
    node: &NodeName,
    words: &[&str],
    input: Option<&str>,
) -> Result<String, String> {
    let said = run(root, node, &[&[COMMAND, "keys"], words].concat(), input)?;
    if said.status.success() {
        return Ok(said.stdout);
    }
    let why = said.stderr.trim().lines().last().unwrap_or_default();
    Err(if why.is_empty() { said.status.to_string() } else { why.to_owned() })
}

/// Whether that node has a pair for all nodes, as far as root's own ssh gets there.
pub(super) fn has_shared(root: &Root, node: &NodeName) -> bool {
    let public = format!("{KEY_FOLDER}/{KEY}.pub");
    let said = run(root, node, &["cat", &public], None).ok().filter(|said| said.status.success());
    said.is_some_and(|said| parts(&said.stdout).is_some_and(|(_, is_own)| !is_own))
}
