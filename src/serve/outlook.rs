//! `outlook` and `trial`: what this node's cluster manager and a stop here would do.

use super::caller::Caller;
use crate::cluster;
use crate::host::NodeName;
use crate::wire::message::Answer;
use crate::worker;

/// Who may still start the resource.
pub(super) fn outlook(caller: &Caller<'_>, resource: &str) -> Answer {
    Answer::Outlook { outlook: cluster::outlook(caller.here.cluster().as_ref(), resource) }
}

/// What a stop of the resource would come to.
pub(super) fn trial(caller: &Caller<'_>, resource: &str, target: &NodeName, migrates: bool) -> Answer {
    Answer::Tried { tried: worker::trial(&caller.here.root, resource, target, migrates) }
}
