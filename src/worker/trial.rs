//! A trial: what a stop of a resource would come to on this node, in a process of its own. Nothing is
//! promised and nothing is changed.

use std::time::Duration;

use crate::command::{self, Tool};
use crate::host::{NodeName, Root};
use crate::wire::message::Tried;

/// Limit of the whole of it; the stop's own questions have less.
const LIMIT: Duration = Duration::from_secs(55);

/// Has a stop of `resource` tried, as if the cluster then started it on `target`; or its own migration there,
/// if it `migrates`.
pub fn trial(root: &Root, resource: &str, target: &NodeName, migrates: bool) -> Tried {
    let mut args = vec!["trial", "--target", target.as_str()];
    if migrates {
        args.push("--migrates");
    }
    args.extend(["--", resource]);
    let said = Tool::ourselves(root).and_then(|tool| command::run(&tool, &args, None, LIMIT)?.success());
    let tried = said
        .map_err(|error| error.to_string())
        .and_then(|said| serde_json::from_str(&said.stdout).map_err(|error| error.to_string()));
    tried.unwrap_or_else(|why| Tried::Unknown { why })
}
