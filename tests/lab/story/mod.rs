//! The stories: given a cluster with x0 on node1, when something is done, then the guest is well.
//!
//! Each begins from the same snapshot, is audited all through (`audit.rs`), and on failure leaves logs in
//! `target/lab/NAME/`. `audited` holds the stories about the audits themselves: one that cannot fail proves nothing.

mod audited;
mod broken;
mod classic;
mod handoff;
mod ordinary;
mod poweroff;
mod scene;
mod stock;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Result, anyhow};
use libtest_mimic::{Failed, Trial};

use crate::agent::{Agent, Manager};
use crate::lab::Lab;
use crate::wait::say;

pub(crate) use scene::Scene;

/// One test.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Story {
    name: &'static str,
    tell: Tell,
}

/// What it needs.
#[derive(Debug, Clone, Copy)]
enum Tell {
    /// The lab, under that cluster manager.
    Lab(Manager, fn(&mut Scene<'_>) -> Result<()>),
    /// Nothing: it is about the harness, and runs anywhere.
    Dry(fn() -> Result<()>),
}

const fn lab(name: &'static str, tell: fn(&mut Scene<'_>) -> Result<()>) -> Story {
    Story { name, tell: Tell::Lab(Manager::Pacemaker, tell) }
}

/// The same under classic Heartbeat.
const fn classic(name: &'static str, tell: fn(&mut Scene<'_>) -> Result<()>) -> Story {
    Story { name, tell: Tell::Lab(Manager::Heartbeat, tell) }
}

const fn dry(name: &'static str, tell: fn() -> Result<()>) -> Story {
    Story { name, tell: Tell::Dry(tell) }
}

/// All stories, in the order in which they are told.
pub(crate) fn all() -> Vec<Story> {
    [
        audited::STORIES,
        handoff::STORIES,
        poweroff::STORIES,
        broken::STORIES,
        ordinary::STORIES,
        stock::STORIES,
        classic::STORIES,
    ]
    .concat()
}

/// The story as a test that is only listed, unless it needs no lab.
pub(crate) fn without_lab(story: Story) -> Trial {
    match story.tell {
        Tell::Lab(..) => Trial::test(story.name, || Ok(())).with_ignored_flag(true),
        Tell::Dry(tell) => Trial::test(story.name, move || tell().map_err(failed)),
    }
}

/// The lab of this run, made when the first story needs it.
#[derive(Debug, Default, Clone)]
pub(crate) struct Shared(Arc<Mutex<State>>);

#[derive(Debug, Default)]
enum State {
    #[default]
    Off,
    /// With the snapshot of that manager's cluster.
    On(Box<Lab>, Manager),
    /// It did not come up; the stories that follow need not try.
    Broken(String),
}

impl Shared {
    /// The story as a test on the lab.
    pub(crate) fn trial(&self, story: Story) -> Trial {
        let Tell::Lab(manager, tell) = story.tell else { return without_lab(story) };
        let shared = self.clone();
        Trial::test(story.name, move || {
            // The test's name stands on the line already.
            eprintln!();
            let began = Instant::now();
            let told = shared.with(manager, |lab| Scene::play(lab, story.name, tell));
            say(format_args!("{}: {:.0} s in all", story.name, began.elapsed().as_secs_f64()));
            told.map_err(failed)
        })
    }

    /// Switches the lab off.
    pub(crate) fn close(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = State::Off;
    }

    fn with(&self, manager: Manager, work: impl FnOnce(&mut Lab) -> Result<()>) -> Result<()> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*state, State::Off) {
            *state = match up(manager) {
                Ok(lab) => State::On(Box::new(lab), manager),
                Err(error) => State::Broken(format!("{error:#}")),
            };
        }
        match &mut *state {
            State::On(lab, current) => {
                if *current != manager {
                    lab.ready(&agent_under(manager)?)?;
                    *current = manager;
                }
                lab.restore()?;
                work(lab)
            }
            State::Broken(why) => Err(anyhow!("the lab did not come up: {why}")),
            State::Off => Err(anyhow!("the lab is off")),
        }
    }
}

fn up(manager: Manager) -> Result<Lab> {
    let mut lab = Lab::open()?;
    lab.ready(&agent_under(manager)?)?;
    Ok(lab)
}

fn agent_under(manager: Manager) -> Result<Agent> {
    match manager {
        Manager::Pacemaker => Agent::under_test(),
        Manager::Heartbeat => Agent::under_heartbeat(),
    }
}

fn failed(error: anyhow::Error) -> Failed {
    Failed::from(format!("{error:#}"))
}
