//! The stories: given a cluster with x0 on node1, when something is done, then the guest is well.
//!
//! Each begins from the same snapshot, is audited all through (`audit.rs`), and on failure leaves logs in
//! `target/lab/NAME/`. `audited` holds the stories about the audits themselves: one that cannot fail proves nothing.

mod audited;
mod broken;
mod classic;
mod distribution;
mod handoff;
mod kinds;
mod memory;
mod operator;
mod ordinary;
mod poweroff;
mod saved;
mod scene;
mod stock;
mod terms;
mod told;
mod tools;
mod upgrade;
mod worse;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Result, anyhow};
use libtest_mimic::{Failed, Trial};

use crate::agent::{Agent, Manager};
use crate::lab::Lab;
use crate::packages::Build;
use crate::spent::{self, On};
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
    /// The lab, so set up.
    Lab(Setting, fn(&mut Scene<'_>) -> Result<()>),
    /// Nothing: it is about the harness, and runs anywhere.
    Dry(fn() -> Result<()>),
}

/// What is on the nodes when a story begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Setting {
    manager: Manager,
    build: Build,
    /// Whether the nodes are of different suites, node1 of the older one.
    mixed: bool,
}

/// Ours under Pacemaker, on nodes that are alike.
const USUAL: Setting = Setting { manager: Manager::Pacemaker, build: Build::Current, mixed: false };

impl Setting {
    fn agent(self) -> Result<Agent> {
        match self {
            Self { manager: Manager::Pacemaker, build: Build::Current, .. } => Agent::under_test(),
            Self { manager, build, .. } => Agent::packaged(build, manager),
        }
    }
}

const fn lab(name: &'static str, tell: fn(&mut Scene<'_>) -> Result<()>) -> Story {
    Story { name, tell: Tell::Lab(USUAL, tell) }
}

/// The same under classic Heartbeat.
const fn classic(name: &'static str, tell: fn(&mut Scene<'_>) -> Result<()>) -> Story {
    Story { name, tell: Tell::Lab(Setting { manager: Manager::Heartbeat, ..USUAL }, tell) }
}

/// Under Pacemaker, with an older build on all nodes.
const fn older(name: &'static str, tell: fn(&mut Scene<'_>) -> Result<()>) -> Story {
    Story { name, tell: Tell::Lab(Setting { build: Build::Previous, ..USUAL }, tell) }
}

/// On nodes of different suites (`make lab WORLD=bookworm,trixie`), node1 of the older one; no other story is told there.
const fn mixed(name: &'static str, tell: fn(&mut Scene<'_>) -> Result<()>) -> Story {
    Story { name, tell: Tell::Lab(Setting { mixed: true, ..USUAL }, tell) }
}

const fn dry(name: &'static str, tell: fn() -> Result<()>) -> Story {
    Story { name, tell: Tell::Dry(tell) }
}

/// All stories, in the order in which they are told.
pub(crate) fn all() -> Vec<Story> {
    [
        audited::STORIES,
        handoff::STORIES,
        kinds::STORIES,
        poweroff::STORIES,
        worse::STORIES,
        broken::STORIES,
        ordinary::STORIES,
        stock::STORIES,
        terms::STORIES,
        told::STORIES,
        tools::STORIES,
        saved::STORIES,
        memory::STORIES,
        upgrade::STORIES,
        distribution::STORIES,
        classic::STORIES,
    ]
    .concat()
}

/// Those that have found most for their time: the whole handoff with a disk, the pause and the leader's leave; a killed sender, which
/// libxenlight or `xl resume` has to settle; what the scheduler says of what x0 stands on; the glance.
const QUICK: [&str; 4] = [
    "handoff_when_pacemaker_stops",
    "sender_killed_while_x0_is_suspended_and_x0_runs_on",
    "stop_is_a_shutdown_when_what_x0_stands_on_stops_here",
    "monitor_starts_no_process_while_x0_runs_and_one_otherwise",
];

/// The stories of `make lab-quick`.
pub(crate) fn quick() -> Vec<Story> {
    all().into_iter().filter(|story| QUICK.contains(&story.name)).collect()
}

/// About this file itself: every story that is named above is there.
fn quick_ones_are_there() -> Result<()> {
    anyhow::ensure!(quick().len() == QUICK.len(), "{QUICK:?} are not all there");
    Ok(())
}

/// Will a story be told that begins with an older build?
pub(crate) fn need_an_older_build(arguments: &libtest_mimic::Arguments) -> bool {
    let told = |story: &Story| match &arguments.filter {
        Some(word) if arguments.exact => story.name == word,
        Some(word) => story.name.contains(word.as_str()),
        None => true,
    };
    all().iter().any(|story| {
        told(story) && matches!(story.tell, Tell::Lab(Setting { build: Build::Previous, .. }, _))
    })
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
    /// With the snapshot of that cluster.
    On(Box<Lab>, Setting),
    /// It did not come up; the stories that follow need not try.
    Broken(String),
}

impl Shared {
    /// The story as a test on the lab, in a world that is mixed or not; one that is not for this world is listed as ignored.
    pub(crate) fn trial(&self, story: Story, mixed: bool) -> Trial {
        let Tell::Lab(setting, tell) = story.tell else { return without_lab(story) };
        if setting.mixed != mixed {
            return without_lab(story);
        }
        let shared = self.clone();
        Trial::test(story.name, move || {
            // The test's name stands on the line already.
            eprintln!();
            let began = Instant::now();
            let told =
                spent::story(story.name, || shared.with(setting, |lab| Scene::play(lab, story.name, tell)));
            say(format_args!("{}: {:.0} s in all", story.name, began.elapsed().as_secs_f64()));
            told.map_err(failed)
        })
    }

    /// Switches the lab off.
    pub(crate) fn close(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = State::Off;
    }

    fn with(&self, setting: Setting, work: impl FnOnce(&mut Lab) -> Result<()>) -> Result<()> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*state, State::Off) {
            *state = match spent::time(On::Layers, || up(setting)) {
                Ok(lab) => State::On(Box::new(lab), setting),
                Err(error) => State::Broken(format!("{error:#}")),
            };
        }
        match &mut *state {
            State::On(lab, current) => {
                if *current != setting {
                    spent::time(On::Layers, || lab.ready(&setting.agent()?))?;
                    *current = setting;
                }
                spent::time(On::Restore, || lab.restore())?;
                work(lab)
            }
            State::Broken(why) => Err(anyhow!("the lab did not come up: {why}")),
            State::Off => Err(anyhow!("the lab is off")),
        }
    }
}

fn up(setting: Setting) -> Result<Lab> {
    let mut lab = Lab::open()?;
    lab.ready(&setting.agent()?)?;
    Ok(lab)
}

fn failed(error: anyhow::Error) -> Failed {
    Failed::from(format!("{error:#}"))
}
