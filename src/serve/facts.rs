//! `preflight`, `setup`, `xendomains`, `look`, `last-run`: facts about this node. Nothing is changed, but
//! that a mark of the last run is made where there is none.

use super::caller::{Caller, refused};
use crate::domain::DomainName;
use crate::host::LocalPath;
use crate::node::snapshot::mark_for_another;
use crate::peer::{setup, xendomains};
use crate::preflight::facts::gather;
use crate::preflight::{FileDigest, Needs};
use crate::wire::message::Answer;

/// What a judgement of a move to here takes.
pub(super) fn preflight(caller: &Caller<'_>, needs: &Needs) -> Answer {
    Answer::Facts { facts: gather(caller.here, needs) }
}

/// How this node is set up.
pub(super) fn set_up(caller: &Caller<'_>) -> Answer {
    Answer::Setup { setup: setup::gather(caller.here) }
}

/// What Xen's own service for guests would do here.
pub(super) fn xendomains(caller: &Caller<'_>) -> Answer {
    Answer::Xendomains { xendomains: xendomains::look(caller.here) }
}

/// What is here of these files and disks.
pub(super) fn look(caller: &Caller<'_>, files: &[FileDigest], disks: &[LocalPath]) -> Answer {
    Answer::Seen { seen: setup::look(&caller.here.root, files, disks) }
}

/// This node's mark of the domain's last run.
pub(super) fn last_run(caller: &Caller<'_>, domain: &DomainName) -> Answer {
    mark_for_another(&caller.here.root, domain).map_or_else(refused, |mark| Answer::LastRun { mark })
}
