//! The stories.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use libtest_mimic::{Failed, Trial};

use crate::agent::Agent;
use crate::lab::Lab;

/// One.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Story {
    name: &'static str,
    tell: fn(&mut Lab) -> Result<()>,
}

/// All.
pub(crate) fn all() -> Vec<Story> {
    vec![Story { name: "try_one", tell: |lab| { println!("{}", lab.node(1)?.ok("xl list; crm_mon -1; date")?); Ok(()) } },
    Story { name: "try_two", tell: |lab| { println!("{}", lab.node(1)?.ok("xl list; crm_mon -1; date")?); Ok(()) } }]
}

/// Listed only.
pub(crate) fn ignored(story: Story) -> Trial {
    Trial::test(story.name, || Ok(())).with_ignored_flag(true)
}

/// Shared.
#[derive(Debug, Default, Clone)]
pub(crate) struct Shared(Arc<Mutex<Option<Lab>>>);

impl Shared {
    /// As a trial.
    pub(crate) fn trial(&self, story: Story) -> Trial {
        let shared = self.clone();
        Trial::test(story.name, move || {
            let mut slot = shared.0.lock().unwrap_or_else(PoisonError::into_inner);
            let told = (|| {
                if slot.is_none() {
                    let mut lab = Lab::open()?;
                    lab.ready(&Agent::Heartbeat)?;
                    *slot = Some(lab);
                }
                let Some(lab) = slot.as_mut() else { return Ok(()) };
                crate::wait::step("restoring", || lab.restore())?;
                (story.tell)(lab)
            })();
            told.map_err(|error: anyhow::Error| Failed::from(format!("{error:#}")))
        })
    }

    /// Ends.
    pub(crate) fn close(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}
