//! `make soak`: random events on real Pacemaker with four domains, the promises audited after each.
//!
//! `cargo test --test pacemaker -- soak [seed=N] [events=N]`. Rounds are calm and stormy by turns. In a calm round only
//! what an operator does every day is done, one thing at a time, each waited for: no guest may be booted again. In a storm
//! anything happens while the last thing is still under way; a guest may then be booted again, but never run twice. Each
//! round ends with everything healed, and every domain must run, once, where the cluster believes it to be.
//!
//! Operators make mistakes ([`wrong`]), logs are rotated, toolstacks break, guests reboot, crash and power off by themselves. Every
//! event says whether it is a reason to fence a node ([`Event::fences`]) or to boot a guest again in calm ([`Event::boots`]); any
//! other fencing or boot breaks a promise.

use crate::cluster::{Cluster, NODES, XEN_RUNS};
use crate::fabric::Cable;
use crate::faults::processes::of_role;
use crate::spawn::until;
use crate::story::{Domain, Story};
use crate::{audit, skip_reason};
use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use wrong::Wrong;

mod wrong;

/// Clusters at once; each has its share of the events, and a seed of its own.
const LANES: u64 = 2;
const EVENTS: u64 = 200;
/// Events of one round.
const ROUND: u64 = 10;
/// All that an operator does to heal must have helped by then.
const HEALED: Duration = Duration::from_secs(180);
/// How often the operator cleans up what has failed meanwhile.
const CLEAN_UP: Duration = Duration::from_secs(10);
const CALM: Duration = Duration::from_secs(90);
/// How much of the agents' log is printed when a promise is broken; all of it is in the file.
const LAST_LINES: usize = 60;
const DOMAINS: [&str; 4] = ["x0", "x1", "x2", "x3"];
/// The one that the cluster may migrate by itself, by its place.
const MIGRATES: usize = 2;
/// Whom a storm kills.
const ROLES: [&str; 10] =
    ["start", "stop", "migrate_to", "sender", "receiver", "relay", "serve", "fetch", "keeper", "attrd"];

/// What one lane came to.
#[derive(Debug, Default)]
struct Tally {
    events: u64,
    double_runs: usize,
    lost: usize,
    fenced: usize,
    fenced_without_cause: usize,
    mistakes: u64,
    /// What else a promise forbids.
    broken: Vec<String>,
}

/// Runs the soak and ends with one line that counts.
pub(crate) fn run(words: &[String]) -> ExitCode {
    let number = |key: &str| {
        let word = words.iter().find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
        word.filter(|text| !text.is_empty())
            .map(|text| text.parse().unwrap_or_else(|_| panic!("{key}: no number")))
    };
    if let Some(why) = skip_reason() {
        eprintln!("soak: skipped, {why}");
        println!("soak: events=0 double_runs=0 lost=0 fenced_without_cause=0");
        return ExitCode::FAILURE;
    }
    let seed: u64 = number("seed").unwrap_or_else(by_the_clock);
    let events: u64 = number("events").unwrap_or(EVENTS);
    println!("soak: seed={seed} events={events} on {LANES} clusters");
    let tallies = Mutex::new(vec![]);
    std::thread::scope(|scope| {
        for lane in 0..LANES {
            let tallies = &tallies;
            let share = events / LANES + u64::from(lane < events % LANES);
            scope.spawn(move || {
                let tally = soak(lane, seed.wrapping_add(lane), share);
                tallies.lock().expect("no lane panics with it").push(tally);
            });
        }
    });
    let tallies = tallies.into_inner().unwrap_or_default();
    let sum = |of: fn(&Tally) -> usize| tallies.iter().map(of).sum::<usize>();
    let (double_runs, lost) = (sum(|t| t.double_runs), sum(|t| t.lost));
    let (fenced, without_cause) = (sum(|t| t.fenced), sum(|t| t.fenced_without_cause));
    let count = |of: fn(&Tally) -> u64| tallies.iter().map(of).sum::<u64>();
    let (done, mistakes) = (count(|t| t.events), count(|t| t.mistakes));
    let broken: Vec<&String> = tallies.iter().flat_map(|t| &t.broken).collect();
    for what in &broken {
        println!("soak: broken: {what}");
    }
    println!(
        "soak: events={done} double_runs={double_runs} lost={lost} fenced_without_cause={without_cause} fenced={fenced} \
         mistakes={mistakes}"
    );
    let well = double_runs + lost + without_cause == 0 && broken.is_empty() && done == events;
    if well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn by_the_clock() -> u64 {
    u64::try_from(rustix::time::clock_gettime(rustix::time::ClockId::Realtime).tv_sec).unwrap_or(1)
}

/// One lane. A panic of the harness is a broken lane, not the end of the others.
fn soak(lane: u64, seed: u64, events: u64) -> Tally {
    let mut tally = Tally::default();
    let cluster = Cluster::start();
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        Lane::begin(&cluster, lane, seed).all_rounds(events, &mut tally);
    }));
    if outcome.is_err() && tally.lost == 0 && tally.double_runs == 0 && tally.broken.is_empty() {
        tally.broken.push(format!("lane {lane}, seed {seed}: see the panic above"));
    }
    tally
}

/// What a guest may be called.
fn names(name: &str) -> impl Iterator<Item = String> {
    std::iter::once("").chain(audit::OTHER_NAMES).map(move |end| format!("{name}{end}"))
}

/// splitmix64: small, and the same everywhere.
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let sides = u64::try_from(sides).unwrap_or(1).max(1);
        usize::try_from((z ^ (z >> 31)) % sides).unwrap_or(0)
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from.get(self.throw(from.len())).copied().expect("something to pick from")
    }
}

/// What may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Standby(&'static str),
    Online(&'static str),
    ShutDown(&'static str),
    Join(&'static str),
    Move(&'static str, &'static str),
    Ban(&'static str, &'static str),
    Clear(&'static str),
    CleanUp(&'static str),
    Disable(&'static str),
    Enable(&'static str),
    Cut(&'static str),
    CutLan(&'static str),
    Heal(&'static str),
    KillPacemaker(&'static str),
    Kill(&'static str, &'static str),
    PowerOff(&'static str),
    Fence(&'static str),
    Mistake(Wrong),
    PutRight(Wrong),
    /// xl answers every call with an error.
    BreakXl(&'static str),
    /// The host was booted without Xen; there is no domain on it.
    NoXen(&'static str),
    /// xl's logs, renamed, emptied or deleted while they are held open.
    Rotate(&'static str, &'static str),
    /// What the agent keeps of a domain's name on a node is noise.
    Spoil(&'static str, &'static str),
    /// What a guest does by itself.
    Guest(&'static str, &'static str),
}

impl Event {
    /// The node that the cluster may have fenced for it.
    fn fences(self) -> Option<&'static str> {
        match self {
            Event::Cut(node)
            | Event::CutLan(node)
            | Event::KillPacemaker(node)
            | Event::PowerOff(node)
            | Event::Fence(node)
            // A guest may be there that cannot be stopped.
            | Event::BreakXl(node)
            // A controller that needs attrd just then gives up for good, and Pacemaker with it (2.1.5: "Could not connect to attrd").
            | Event::Kill(node, "stop" | "attrd") => Some(node),
            _ => None,
        }
    }

    /// The guest that is booted once more for it, also in calm.
    fn boots(self) -> Option<&'static str> {
        match self {
            Event::Guest(name, _) => Some(name),
            Event::Mistake(wrong) | Event::PutRight(wrong) if wrong.restarts() => Some(wrong.guest()),
            _ => None,
        }
    }

    /// Whether the cluster has one node less until it is healed.
    fn takes_a_node(self) -> bool {
        matches!(
            self,
            Event::Standby(_)
                | Event::ShutDown(_)
                | Event::Cut(_)
                | Event::CutLan(_)
                | Event::KillPacemaker(_)
                | Event::PowerOff(_)
                | Event::Fence(_)
                | Event::BreakXl(_)
        )
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Standby(node) => write!(f, "standby {node}"),
            Event::Online(node) => write!(f, "online {node}"),
            Event::ShutDown(node) => write!(f, "shutdown {node}"),
            Event::Join(node) => write!(f, "join {node}"),
            Event::Move(name, node) => write!(f, "move {name} {node}"),
            Event::Ban(name, node) => write!(f, "ban {name} {node}"),
            Event::Clear(name) => write!(f, "clear {name}"),
            Event::CleanUp(name) => write!(f, "cleanup {name}"),
            Event::Disable(name) => write!(f, "disable {name}"),
            Event::Enable(name) => write!(f, "enable {name}"),
            Event::Cut(node) => write!(f, "cut {node}"),
            Event::CutLan(node) => write!(f, "cut the LAN of {node}"),
            Event::Heal(node) => write!(f, "heal {node}"),
            Event::KillPacemaker(node) => write!(f, "kill -9 pacemaker on {node}"),
            Event::Kill(node, role) => write!(f, "kill -9 {role} on {node}"),
            Event::PowerOff(node) => write!(f, "power off {node}"),
            Event::Fence(node) => write!(f, "fence {node}"),
            Event::Mistake(wrong) => write!(f, "mistake: {wrong}"),
            Event::PutRight(wrong) => write!(f, "put right: {wrong}"),
            Event::BreakXl(node) => write!(f, "xl breaks on {node}"),
            Event::NoXen(node) => write!(f, "no hypervisor on {node}"),
            Event::Rotate(node, how) => write!(f, "rotate xl's logs on {node}: {how}"),
            Event::Spoil(name, node) => write!(f, "noise in what {node} keeps of {name}"),
            Event::Guest(name, what) => write!(f, "{name} by itself: {what}"),
        }
    }
}

struct Lane<'a> {
    number: u64,
    seed: u64,
    began: Instant,
    story: Story<'a>,
    cluster: &'a Cluster,
    dice: Dice,
    /// In standby, shut down, cut, killed or without power, as far as we did it.
    out: BTreeSet<&'static str>,
    /// Pairs of domain and node that a ban forbids.
    banned: BTreeSet<(&'static str, &'static str)>,
    /// Mistakes that were not put right yet.
    wrong: Vec<Wrong>,
    /// Nodes that were given a reason to be fenced in this round.
    fence_due: BTreeSet<&'static str>,
    /// Fencings that were looked at.
    fencings: usize,
    /// How often each guest may have been booted by now, if it is calm.
    boots_due: Vec<usize>,
    told: Vec<String>,
}

impl<'a> Lane<'a> {
    fn begin(cluster: &'a Cluster, number: u64, seed: u64) -> Lane<'a> {
        let story = Story::begin(cluster);
        cluster.enable_fencing();
        let [n1, n2, n3] = NODES;
        for (name, nodes) in DOMAINS.into_iter().zip([[n1, n2, n3], [n2, n3, n1], [n3, n1, n2], [n1, n3, n2]])
        {
            let domain = Domain::new(name).only_on(&nodes).parameter("handoff_timeout", "60");
            let domain =
                if name == DOMAINS[MIGRATES] { domain.meta("allow-migrate", "true") } else { domain };
            // two have a path of their own for migrations
            let own_path = ["x1", "x3"].contains(&name);
            let domain = if own_path { domain.parameter("migration_network_suffix", "-m") } else { domain };
            story.given(&domain);
        }
        for node in NODES {
            cluster.start_guard(node);
            // As Xen from 4.20 on has it, and libxenlight before: what was suspended and not given away can go on.
            cluster.knob(node, "have-resume", "");
        }
        Lane {
            number,
            seed,
            began: Instant::now(),
            story,
            cluster,
            dice: Dice(seed),
            out: BTreeSet::new(),
            banned: BTreeSet::new(),
            wrong: vec![],
            fence_due: BTreeSet::new(),
            fencings: 0,
            boots_due: vec![0; DOMAINS.len()],
            told: vec![],
        }
    }

    fn all_rounds(&mut self, events: u64, tally: &mut Tally) {
        let mut calm = true;
        while tally.events < events {
            self.boots_due = self.boots();
            for _ in 0..ROUND.min(events - tally.events) {
                let event = if calm { self.calm_event() } else { self.storm_event() };
                self.tell(&format!("{} {event}", if calm { "calm " } else { "storm" }));
                self.fence_due.extend(event.fences());
                if let Some(place) = DOMAINS.into_iter().position(|name| event.boots() == Some(name)) {
                    self.boots_due[place] += 1;
                }
                // Pacemaker 2.1.5, told to forget a node's history, believes a migration to there that another node's history still has, unless
                // the probe says 7; where xl is broken it says 5. It then stops what may migrate in both places.
                // Told to forget its history (a clean-up after a failure), it takes a guest that has ever migrated for one that still does, and
                // restarts it ("Forcing recovery ... because it can no longer migrate").
                let forgets = matches!(event, Event::CleanUp(name) if name == DOMAINS[MIGRATES]);
                if forgets || matches!(event, Event::BreakXl(_) | Event::NoXen(_)) {
                    self.boots_due[MIGRATES] += 1;
                }
                self.happen(event);
                tally.events += 1;
                tally.mistakes += u64::from(matches!(event, Event::Mistake(_)));
                self.wait(calm);
                if calm && let Event::Mistake(wrong) = event {
                    self.let_stand(wrong);
                }
                self.audit(tally);
                if calm {
                    self.audit_boots(&event.to_string(), tally);
                }
            }
            self.tell("heal");
            self.heal(tally);
            self.audit(tally);
            if calm {
                self.audit_boots("healing", tally);
            }
            self.fence_due.clear();
            calm = !calm;
        }
    }

    /// A calm event may boot those that it says, and nobody else.
    fn audit_boots(&self, after: &str, tally: &mut Tally) {
        let (due, seen) = (self.boots_due.clone(), self.boots());
        if seen.iter().zip(&due).any(|(seen, due)| seen > due) {
            self.give_up(
                &mut tally.broken,
                format!("booted again in calm after {after}: {seen:?}, due {due:?}"),
            );
        }
    }

    /// Something planned, after which every domain has a place to be.
    fn calm_event(&mut self) -> Event {
        if let Some(wrong) = self.wrong.first() {
            return Event::PutRight(*wrong);
        }
        loop {
            let (node, name) = (self.dice.pick(&NODES), self.dice.pick(&DOMAINS));
            let event = if let Some(out) = self.out.first().copied()
                && self.dice.throw(2) == 0
            {
                let is_up = self.cluster.fabric.on(out, &["pidof", "pacemakerd"]).ok();
                match self.dice.throw(4) {
                    // An empty node: nothing has to be stopped there.
                    0 if is_up && !self.is_broken(out) => Event::BreakXl(out),
                    1 if is_up && !self.is_broken(out) => Event::NoXen(out),
                    _ if is_up && !self.is_broken(out) => Event::Online(out),
                    _ => Event::Join(out),
                }
            } else {
                match self.dice.throw(11) {
                    6 | 7 => Event::Mistake(self.some_wrong(name)),
                    8 => self.rotation(node),
                    9 => Event::Spoil(name, node),
                    10 => self.of_its_own(name),
                    0 => Event::Standby(node),
                    1 => Event::ShutDown(node),
                    2 => Event::Move(name, node),
                    3 => Event::Ban(name, node),
                    4 => Event::Clear(name),
                    _ => Event::CleanUp(name),
                }
            };
            let fits = match event {
                Event::Standby(node) | Event::ShutDown(node) => {
                    self.out.is_empty() && DOMAINS.iter().all(|name| self.has_place(name, Some(node), None))
                }
                Event::Move(name, node) => {
                    !self.out.contains(node) && !self.banned.iter().any(|(n, _)| *n == name)
                }
                Event::Ban(name, node) => self.has_place(name, None, Some(node)),
                Event::BreakXl(node) | Event::NoXen(node) => self.cluster.domains(node).is_empty(),
                _ => true,
            };
            if fits {
                return event;
            }
        }
    }

    /// Whether a domain could run somewhere if these were taken from it too.
    fn has_place(&self, name: &'static str, out: Option<&str>, banned: Option<&str>) -> bool {
        NODES.into_iter().any(|node| {
            !self.out.contains(node)
                && !self.banned.contains(&(name, node))
                && Some(node) != out
                && Some(node) != banned
        })
    }

    /// Anything, but never two nodes away at once: without a quorum nothing would happen at all.
    fn storm_event(&mut self) -> Event {
        if let Some(out) = self.out.first().copied()
            && self.dice.throw(3) == 0
        {
            return Event::Heal(out);
        }
        if let Some(wrong) = self.wrong.first().copied()
            && self.dice.throw(3) == 0
        {
            return Event::PutRight(wrong);
        }
        loop {
            let (node, name) = (self.dice.pick(&NODES), self.dice.pick(&DOMAINS));
            let event = match self.dice.throw(26) {
                0 => Event::Standby(node),
                1 => Event::ShutDown(node),
                2 | 3 => Event::Move(name, node),
                4 => Event::Ban(name, node),
                5 => Event::Clear(name),
                6 => Event::CleanUp(name),
                7 => Event::Disable(name),
                8 => Event::Enable(name),
                9 => Event::Cut(node),
                10 => Event::CutLan(node),
                11 => Event::KillPacemaker(node),
                12 => Event::PowerOff(node),
                13 => Event::Fence(node),
                14..=16 if self.wrong.len() < 2 && !self.is_wrong(name) => {
                    Event::Mistake(self.some_wrong(name))
                }
                17 => Event::BreakXl(node),
                18 => self.rotation(node),
                19 => Event::Spoil(name, node),
                20 | 21 => self.of_its_own(name),
                _ => match self.somebody_to_kill() {
                    Some((node, role)) => Event::Kill(node, role),
                    None => continue,
                },
            };
            if !event.takes_a_node() || self.out.is_empty() {
                return event;
            }
        }
    }

    fn rotation(&mut self, node: &'static str) -> Event {
        Event::Rotate(node, self.dice.pick(&["renamed", "emptied", "deleted"]))
    }

    fn of_its_own(&mut self, name: &'static str) -> Event {
        Event::Guest(name, self.dice.pick(&["reboot", "crash", "poweroff"]))
    }

    /// Whether its toolstack does not work, by an event of ours.
    fn is_broken(&self, node: &str) -> bool {
        self.cluster.fabric.is_up(node)
            && self.cluster.fabric.root(node).join("var/lib/xl-standin/ctl/all.fail").exists()
    }

    /// A process of the agent's that is at work just now.
    fn somebody_to_kill(&mut self) -> Option<(&'static str, &'static str)> {
        let up: Vec<&'static str> =
            NODES.into_iter().filter(|node| self.cluster.fabric.is_up(node)).collect();
        let mut found = vec![];
        for node in up {
            let roles = ROLES.into_iter().filter(|role| !of_role(self.cluster, node, role).is_empty());
            found.extend(roles.map(|role| (node, role)));
        }
        (!found.is_empty()).then(|| self.dice.pick(&found))
    }

    fn happen(&mut self, event: Event) {
        let cluster = self.cluster;
        let role = |name: &str, role: &str| {
            cluster.crm(&["crm_resource", "-r", name, "--meta", "-p", "target-role", "-v", role]);
        };
        match event {
            Event::Standby(node) => {
                cluster.crm(&["crm_standby", "-N", node, "-v", "on"]);
                self.out.insert(node);
            }
            Event::Online(node) => {
                cluster.crm(&["crm_standby", "-N", node, "-D"]);
                self.out.remove(node);
            }
            Event::ShutDown(node) => {
                if cluster.fabric.on(node, &["pidof", "pacemakerd"]).ok() {
                    cluster.terminate_pacemaker(node);
                }
                self.out.insert(node);
            }
            Event::Join(node) | Event::Heal(node) => self.bring_back(node),
            Event::Move(name, node) => {
                cluster.crm(&["crm_resource", "--move", "-r", name, "-N", node]);
            }
            Event::Ban(name, node) => {
                cluster.crm(&["crm_resource", "--ban", "-r", name, "-N", node]);
                self.banned.insert((name, node));
            }
            Event::Clear(name) => {
                cluster.crm(&["crm_resource", "--clear", "-r", name]);
                self.banned.retain(|(n, _)| *n != name);
            }
            Event::CleanUp(name) => {
                cluster.crm(&["crm_resource", "--cleanup", "-r", name]);
            }
            Event::Disable(name) => role(name, "Stopped"),
            Event::Enable(name) => role(name, "Started"),
            Event::Cut(node) => {
                Cable::ALL.into_iter().for_each(|cable| cluster.fabric.pull(node, cable));
                self.out.insert(node);
            }
            Event::CutLan(node) => {
                cluster.fabric.pull(node, Cable::Cluster);
                self.out.insert(node);
            }
            Event::KillPacemaker(node) => {
                self.kill(node, "pacemaker");
                self.out.insert(node);
            }
            Event::Kill(node, role) => self.kill(node, role),
            Event::PowerOff(node) => {
                cluster.power_off(node);
                self.out.insert(node);
            }
            Event::Fence(node) => {
                // asked for in the background: whoever waits for it would have to answer it, too
                let by = cluster.somebody();
                cluster
                    .fabric
                    .sh(&by, &format!("setsid stonith_admin --reboot {node} </dev/null >/dev/null 2>&1 &"));
                self.out.insert(node);
            }
            Event::Mistake(wrong) => self.do_wrong(wrong),
            Event::PutRight(wrong) => self.put_right(wrong),
            Event::BreakXl(node) | Event::NoXen(node) => {
                if cluster.fabric.is_up(node) {
                    if matches!(event, Event::NoXen(_)) {
                        cluster.fabric.sh(node, &format!("rm -f {XEN_RUNS}"));
                    }
                    cluster.knob(node, "all.fail", "1\ncannot init xl context");
                    cluster.crm(&["crm_resource", "--refresh", "-N", node]);
                }
                self.out.insert(node);
            }
            Event::Rotate(node, how) => {
                let deed = match how {
                    "renamed" => "mv $f $f.1",
                    "emptied" => "cp $f $f.1; : >$f",
                    _ => "rm $f",
                };
                if cluster.fabric.is_up(node) {
                    let all =
                        format!("for f in /var/log/xen/xl-*.log; do [ ! -f $f ] || {{ {deed}; }}; done");
                    cluster.fabric.sh(node, &all);
                }
            }
            Event::Spoil(name, node) => {
                if cluster.fabric.is_up(node) {
                    let kept = format!("/run/xen-handoff/{name}.identity");
                    cluster.fabric.sh(node, &format!("[ ! -f {kept} ] || head -c 200 /dev/urandom >{kept}"));
                }
            }
            Event::Guest(name, what) => {
                for node in self.runs_on(name) {
                    for called in names(name).filter(|called| self.story.state(&node, called) == "running") {
                        cluster.xl(&node, &["standin", "guest", &called, what]);
                    }
                }
            }
        }
    }

    /// The nodes on which it runs, whatever it is called.
    fn runs_on(&self, name: &str) -> Vec<String> {
        let mut nodes: Vec<String> = names(name).flat_map(|called| self.story.running_on(&called)).collect();
        nodes.sort();
        nodes
    }

    fn kill(&self, node: &str, role: &str) {
        if !self.cluster.fabric.is_up(node) {
            return;
        }
        let there = of_role(self.cluster, node, role);
        let numbers: Vec<&str> = there.iter().map(String::as_str).collect();
        self.cluster.fabric.on(node, &[&["kill", "-9"][..], &numbers].concat());
    }

    /// Power, and the configurations that were on its disk.
    fn power_on(&self, node: &str) {
        self.cluster.power_on(node);
        self.write_configs_of(node);
    }

    /// A node as it was: power, cables, standby, Pacemaker, guard.
    fn bring_back(&mut self, node: &'static str) {
        let cluster = self.cluster;
        if !cluster.fabric.is_up(node) {
            self.power_on(node);
        }
        cluster.fabric.heal(node);
        if self.is_broken(node) {
            cluster.fabric.put(node, XEN_RUNS, 0o600, "");
            cluster.unset_knob(node, "all.fail");
            cluster.crm(&["crm_resource", "--cleanup", "-N", node]);
        }
        if !cluster.fabric.on(node, &["pidof", "sshd"]).ok() {
            cluster.start_sshd(node);
        }
        if self.out.contains(node) && cluster.is_leaving(node) {
            // told to go: it goes before it comes back
            let _in_time = until(CALM, || {
                cluster.answer_fencing();
                !cluster.fabric.is_up(node) || !cluster.fabric.on(node, &["pidof", "pacemakerd"]).ok()
            });
            if !cluster.fabric.is_up(node) {
                self.power_on(node);
            }
        }
        if !cluster.fabric.on(node, &["pidof", "pacemakerd"]).ok() {
            cluster.start_pacemaker(node);
        }
        cluster.start_guard(node);
        cluster.crm(&["crm_standby", "-N", node, "-D"]);
        self.out.remove(node);
    }

    /// In calm until all has come to rest; in a storm for a moment, so that the next event meets the last one's work.
    fn wait(&mut self, calm: bool) {
        let limit = if calm { CALM } else { Duration::from_millis(300 + 500 * self.dice.throw(10) as u64) };
        let rested = until(limit, || {
            self.cluster.answer_fencing();
            self.cluster.is_settled() && (!calm || (self.all_run() && self.all_are_in()))
        });
        if calm && rested.is_err() {
            self.tell("no rest in calm");
        }
    }

    /// A mistake that nobody has noticed yet.
    fn let_stand(&self, wrong: Wrong) {
        let noticed = until(wrong.stands(), || !self.cluster.answer_fencing().is_empty());
        if noticed.is_ok() {
            eprintln!("lane {} a node is fenced while {wrong}", self.number);
        }
    }

    /// Every node that was not taken away is back in the cluster.
    fn all_are_in(&self) -> bool {
        NODES.into_iter().filter(|node| !self.out.contains(node)).all(|node| self.cluster.is_online(node))
    }

    /// Every domain runs in one place, the one that the cluster knows; but for those that a mistake may keep from being booted.
    fn all_run(&self) -> bool {
        let ended = |name: &str| self.wrong.iter().any(|wrong| wrong.guest() == name && wrong.restarts());
        DOMAINS.into_iter().filter(|name| !ended(name)).all(|name| {
            let mut believed = self.cluster.believed(name);
            believed.dedup();
            believed.len() == 1 && self.runs_on(name) == believed
        })
    }

    /// What an operator does when all hell has broken loose, until everything runs or the time is over.
    fn heal(&mut self, tally: &mut Tally) {
        for node in NODES {
            self.bring_back(node);
        }
        while let Some(wrong) = self.wrong.first().copied() {
            self.put_right(wrong);
        }
        for name in DOMAINS {
            self.insist(&["crm_resource", "--clear", "-r", name]);
            self.insist(&["crm_resource", "-r", name, "--meta", "-p", "target-role", "-v", "Started"]);
            self.banned.retain(|(n, _)| *n != name);
        }
        let mut cleaned = Instant::now();
        let healed = until(HEALED, || {
            self.cluster.answer_fencing();
            let off: Vec<&'static str> = NODES
                .into_iter()
                .filter(|n| {
                    !self.cluster.fabric.is_up(n) || !self.cluster.fabric.on(n, &["pidof", "pacemakerd"]).ok()
                })
                .collect();
            for node in off {
                self.bring_back(node);
            }
            if cleaned.elapsed() > CLEAN_UP {
                cleaned = Instant::now();
                if !self.cluster.failures().is_empty() {
                    self.cluster.crm(&["crm_resource", "--cleanup"]);
                }
            }
            NODES.into_iter().all(|node| self.cluster.is_online(node))
                && self.cluster.is_settled()
                && self.all_run()
        });
        if healed.is_err() {
            let lost: Vec<String> = DOMAINS
                .into_iter()
                .filter(|name| self.runs_on(name).len() != 1)
                .map(|name| format!("{name} runs on {:?}", self.runs_on(name)))
                .collect();
            tally.lost += lost.len();
            self.give_up(&mut tally.broken, format!("not healed: {lost:?}"));
        }
        self.cluster.crm(&["crm_resource", "--cleanup"]);
        self.give_back_names();
    }

    /// What was booted under another name that its file had then is restarted under its own.
    fn give_back_names(&mut self) {
        for (place, name) in DOMAINS.into_iter().enumerate() {
            if self.story.running_on(name).len() == 1 {
                continue;
            }
            for role in ["Stopped", "Started"] {
                self.insist(&["crm_resource", "-r", name, "--meta", "-p", "target-role", "-v", role]);
                let done = until(HEALED, || {
                    self.cluster.answer_fencing();
                    self.cluster.is_settled()
                        && self.story.running_on(name).len() == usize::from(role == "Started")
                });
                if done.is_err() {
                    eprintln!("lane {} {name} does not become {role}", self.number);
                }
            }
            self.boots_due[place] += 1;
        }
    }

    /// An operator sees that a command failed (there is no quorum yet), and gives it again.
    fn insist(&self, words: &[&str]) {
        let mut said = String::new();
        let done = until(HEALED, || {
            self.cluster.answer_fencing();
            let answer = self.cluster.crm(words);
            said = answer.stderr.trim().to_owned();
            answer.ok()
        });
        if done.is_err() {
            eprintln!("lane {} {words:?} never succeeds: {said}", self.number);
        }
    }

    fn boots(&self) -> Vec<usize> {
        let events = self.story.events();
        DOMAINS.into_iter().map(|name| audit::boots(&events, name).len()).collect()
    }

    fn audit(&mut self, tally: &mut Tally) {
        let fencings = self.cluster.fencings();
        let new = fencings.get(self.fencings..).unwrap_or_default().to_vec();
        self.fencings = fencings.len();
        tally.fenced += new.len();
        let undue: Vec<&String> = new.iter().filter(|node| !self.fence_due.contains(node.as_str())).collect();
        if !undue.is_empty() {
            tally.fenced_without_cause += undue.len();
            self.give_up(&mut tally.broken, format!("fenced without cause: {undue:?}"));
        }
        let twice = audit::two_at_once(&self.story.events());
        tally.double_runs = twice.len();
        if !twice.is_empty() {
            self.give_up(&mut tally.broken, format!("ran twice: {twice:?}"));
        }
    }

    fn tell(&mut self, what: &str) {
        let line = format!("lane {} {:>7.1} s {what}", self.number, self.began.elapsed().as_secs_f64());
        eprintln!("{line}");
        self.told.push(line);
    }

    /// A promise is broken: all that is known goes into a file, and the lane ends.
    fn give_up(&self, broken: &mut Vec<String>, what: String) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/soak");
        let file = folder.join(format!("seed-{}.log", self.seed));
        let text = format!("{what}\n{}\n{}\n", self.told.join("\n"), self.story.report());
        let written = std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(&file, text));
        if let Err(error) = written {
            eprintln!("{}: {error}", file.display());
        }
        // the end of it also where only what was printed is kept
        let agents = self.cluster.story_of_logs();
        let said: Vec<&str> = agents.lines().collect();
        let end = said.get(said.len().saturating_sub(LAST_LINES)..).unwrap_or_default();
        end.iter().for_each(|line| println!("soak: {line}"));
        broken.push(format!("lane {}, seed {}: {what}; see {}", self.number, self.seed, file.display()));
        panic!("{what}");
    }
}
