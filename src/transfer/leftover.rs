//! A copy called `NAME--incoming` that no record knows: what a migration by hand, or one from before this
//! host's records, has left behind.
//!
//! It never ran: xl lets a copy run only after it has renamed it. The sender's own copy stays, suspended,
//! until the target reports that its copy runs. So it is nobody's only copy while its sender's host lives, it
//! can be given to nobody, and it holds memory. It is destroyed as soon as nobody receives it any more.

use std::time::Duration;

use crate::domain::{DomainName, Presence};
use crate::handoff::Phase;
use crate::handoff::evidence::{MayEnd, NeverGiven};
use crate::node::record::Store;
use crate::toolstack::{Toolstack, ToolstackError};

/// Limit of one word to the toolstack.
const LIMIT: Duration = Duration::from_secs(10);

/// Destroys it, if it is one. `false` if there is none.
///
/// # Errors
/// The toolstack's words.
pub fn clear(
    store: &Store,
    toolstack: &dyn Toolstack,
    domain: &DomainName,
    (presence, phase): (&Presence, &Phase),
) -> Result<bool, ToolstackError> {
    let (in_transfer, received) = (|| store.is_transferring(domain), || toolstack.is_attended(domain));
    let Some(never) = NeverGiven::unrecorded(phase, presence, in_transfer, received) else {
        return Ok(false);
    };
    log::warn!(
        "domain={domain} destroying {}: it never ran, no record knows it, and nobody receives it",
        domain.incoming()
    );
    toolstack.destroy(&domain.incoming(), &MayEnd::NeverGiven(&never), LIMIT).map(|()| true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::DomainId;

    #[test]
    fn only_a_copy_that_never_ran_and_that_nobody_receives_is_a_leftover() {
        let incoming = Presence::Incoming(DomainId(4));
        let is = |presence: &Presence, phase: &Phase, in_transfer: bool, received: bool| {
            NeverGiven::unrecorded(phase, presence, || in_transfer, || received).is_some()
        };
        assert!(is(&incoming, &Phase::Idle, false, false));
        assert!(!is(&incoming, &Phase::Idle, true, false), "a worker of ours is at it");
        assert!(!is(&incoming, &Phase::Idle, false, true), "it is being sent by hand");
        for other in [Presence::Paused(DomainId(4)), Presence::MigratedAway(DomainId(4)), Presence::Absent] {
            assert!(!is(&other, &Phase::Idle, false, false), "{other}");
        }
    }
}
