//! `xen-handoff status --watch` in a terminal: a picture of all nodes that are asked, drawn anew whenever one
//! of them answers, and once a second.
//!
//! Each node is asked by a thread of its own, so that one which does not answer holds up nothing but itself.
//! Other nodes are asked for their records alone; which nodes there are is asked of the cluster manager, once
//! a minute, and what its scheduler does next every ten seconds, each by a thread of its own.

mod board;
mod picture;
mod screen;

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Weak};
use std::thread::Builder;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};
use rustix::pipe::{PipeFlags, pipe_with};

use self::board::{Board, Next, Plan};
use self::screen::Screen;
use super::names::{Nodes, in_words};
use super::way;
use crate::clock::{Clock, Deadline, SystemClock, UnixTime};
use crate::cluster::Coming;
use crate::command::wait_ready;
use crate::here::{Here, Seed};
use crate::host::NodeName;
use crate::node::standing::{Row, rows};
use crate::parameters::Parameters;

/// How often a node is asked.
pub(super) const AGAIN: Duration = Duration::from_secs(2);
/// Limit of asking one node.
pub(super) const LIMIT: Duration = Duration::from_secs(20);
/// How often it is asked which nodes there are, and how they are reached.
const NODES_AGAIN: Duration = Duration::from_secs(60);
/// The same, while the cluster manager does not say.
const SOON: Duration = Duration::from_secs(10);
/// How long after an answer the scheduler is asked again what comes next.
const PLAN_AGAIN: Duration = Duration::from_secs(10);
/// Limit of asking it.
const PLAN_LIMIT: Duration = Duration::from_secs(30);
/// How often the size of the terminal is looked at.
const SIZE_AGAIN: Duration = Duration::from_millis(250);

/// What a thread has found out.
enum Heard {
    Nodes(Nodes),
    Rows(NodeName, Result<Vec<Row>, String>),
    Plan(Plan),
}

/// How threads tell it.
#[derive(Clone)]
struct Line {
    words: Sender<Heard>,
    /// Wakes who listens.
    bell: Arc<OwnedFd>,
}

impl Line {
    fn tell(&self, heard: Heard) {
        // Nobody listens any more, or the bell has been rung already.
        let _ = self.words.send(heard);
        let _ = rustix::io::write(&*self.bell, b".");
    }
}

/// Shows it until a key ends it.
///
/// # Errors
/// If this node's records cannot be read, the terminal has gone, or no thread can be made.
pub(super) fn run(here: &Here, all: bool, has_colours: bool) -> anyhow::Result<()> {
    // Whoever may not do this is told so, and needs no picture for it.
    here.store.domains()?;
    let mut board = Board::of(here.cluster().own_name(), !all, UnixTime::now());
    let (words, heard) = channel();
    let (rung, bell) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
    let line = Line { words, bell: Arc::new(bell) };
    let mut asked = BTreeMap::new();
    if all {
        for ask in [ask_for_nodes, ask_for_plan] {
            let (seed, line) = (here.seed(), line.clone());
            Builder::new().spawn(move || ask(&seed, &line))?;
        }
    }
    let mut screen = Screen::begin(has_colours)?;
    loop {
        listen(&heard, &rung, &mut board);
        ask_all(&here.seed(), &line, &board, &mut asked)?;
        let size = screen.size();
        screen.show(size, picture::of(&board, size, UnixTime::now()))?;
        let mut open: Vec<PollFd<'_>> =
            [Some(rung.as_fd()), screen.keys()].into_iter().flatten().map(readable).collect();
        wait_ready(&mut open, SIZE_AGAIN)?;
        let is_pressed = open.get(1).is_some_and(|keys| !keys.revents().is_empty());
        if is_pressed && screen.is_ended()? {
            return Ok(());
        }
    }
}

fn readable(fd: std::os::fd::BorrowedFd<'_>) -> PollFd<'_> {
    PollFd::from_borrowed_fd(fd, PollFlags::IN)
}

/// Puts on the board what has been heard.
fn listen(heard: &Receiver<Heard>, rung: &OwnedFd, board: &mut Board) {
    let mut bells = [0; 64];
    while rustix::io::read(rung, &mut bells).is_ok_and(|read| read > 0) {}
    while let Ok(heard) = heard.try_recv() {
        let now = UnixTime::now();
        match heard {
            Heard::Nodes(nodes) => board.others_are(nodes.others, nodes.caveat, now),
            Heard::Rows(node, said) => board.has_said(&node, said, now),
            Heard::Plan(plan) => board.plan = plan,
        }
    }
}

/// Sees to it that each node on the board, and no other, is asked.
fn ask_all(
    seed: &Seed,
    line: &Line,
    board: &Board,
    asked: &mut BTreeMap<NodeName, Arc<()>>,
) -> std::io::Result<()> {
    asked.retain(|node, _| board.nodes.iter().any(|known| known.node == *node));
    for known in &board.nodes {
        if asked.contains_key(&known.node) {
            continue;
        }
        let (wanted, node) = (Arc::new(()), known.node.clone());
        let (goes_on, seed, line) = (Arc::downgrade(&wanted), seed.clone(), line.clone());
        if node == board.me {
            Builder::new().spawn(move || ask_here(&node, seed, &line, &goes_on))?;
        } else {
            Builder::new().spawn(move || ask_there(&node, &seed, &line, &goes_on))?;
        }
        asked.insert(known.node.clone(), wanted);
    }
    Ok(())
}

fn is_wanted(goes_on: &Weak<()>) -> bool {
    goes_on.strong_count() > 0
}

/// Asks this node, as long as that is wanted.
fn ask_here(node: &NodeName, seed: Seed, line: &Line, goes_on: &Weak<()>) {
    let here = seed.grow();
    while is_wanted(goes_on) {
        line.tell(Heard::Rows(node.clone(), rows(&here).map_err(|error| error.to_string())));
        SystemClock.pass(AGAIN);
    }
}

/// Asks another node, as long as that is wanted.
fn ask_there(node: &NodeName, seed: &Seed, line: &Line, goes_on: &Weak<()>) {
    while is_wanted(goes_on) {
        // How nodes are reached may change meanwhile, and is asked of the cluster.
        let (way, until) = (way(&seed.clone().grow()), Deadline::after(NODES_AGAIN));
        while is_wanted(goes_on) && !until.passed() {
            let deadline = Deadline::after(LIMIT);
            let said = way.one(node, deadline, |node| node.status(deadline));
            line.tell(Heard::Rows(node.clone(), said.map_err(|error| error.to_string())));
            SystemClock.pass(AGAIN);
        }
    }
}

/// Asks the cluster which nodes there are, as long as somebody listens.
fn ask_for_nodes(seed: &Seed, line: &Line) {
    loop {
        let here = seed.clone().grow();
        let nodes = Nodes::of(&here.root, here.cluster().as_ref());
        let again = if nodes.caveat.is_some() { SOON } else { NODES_AGAIN };
        line.tell(Heard::Nodes(nodes));
        SystemClock.pass(again);
    }
}

/// Asks the cluster's scheduler what comes next, as long as somebody listens.
fn ask_for_plan(seed: &Seed, line: &Line) {
    loop {
        let here = seed.clone().grow();
        line.tell(Heard::Plan(plan(&here)));
        SystemClock.pass(PLAN_AGAIN);
    }
}

fn plan(here: &Here) -> Plan {
    let asked_at = UnixTime::now();
    let next = |coming: Coming| {
        let Coming { managed, from, to, fate, because } = coming;
        let (parameters, _) = Parameters::judge(&managed.parameters);
        let domain = here.domain_of(&parameters, &managed.resource);
        let domain = domain.map_or(managed.resource, |domain| domain.to_string());
        Next { domain, from, to, fate, because }
    };
    match here.cluster().coming(PLAN_LIMIT) {
        Ok(all) => Plan::Is(asked_at, all.into_iter().map(next).collect()),
        Err(error) => Plan::Unknown(in_words(&error)),
    }
}
