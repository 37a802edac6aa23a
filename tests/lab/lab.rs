//! The lab: the nodes, from power on to a running cluster, and back to that moment before every test.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};

use crate::agent::{Agent, Manager};
use crate::classic;
use crate::cluster;
use crate::guest;
use crate::image::{self, Image};
use crate::layers::{self, Cache, RunDir};
use crate::network;
use crate::node::Node;
use crate::process;
use crate::qemu::{self, Acceleration, Begin, Machine};
use crate::sampler::{self, Samples};
use crate::wait::{say, step, until};
use crate::world::World;

/// How many nodes there are: what `XEN_HANDOFF_LAB_NODES` says, two unless it does. Each is another emulated machine that wants a
/// core.
pub(crate) fn how_many() -> Result<usize> {
    let asked = std::env::var("XEN_HANDOFF_LAB_NODES").unwrap_or_default();
    match asked.trim() {
        "" | "2" => Ok(2),
        "3" => Ok(3),
        other => Err(anyhow!("XEN_HANDOFF_LAB_NODES={other}: there are two nodes or three")),
    }
}

/// How long a node may take from power on until it lets us log in. Beside other emulated machines one of trixie took 200 s.
const BOOT: Duration = Duration::from_secs(600);

/// The nodes have booted, nothing of the cluster runs.
const BOOTED: &str = "booted";
/// The cluster is online and x0 runs on node1.
const READY: &str = "ready";

/// Nodes, switch, clocks and snapshots of one run.
#[derive(Debug)]
pub(crate) struct Lab {
    /// The nodes, in order.
    pub(crate) nodes: Vec<Node>,
    /// What the hypervisors have.
    pub(crate) samples: Samples,
    machines: Vec<Option<Machine>>,
    /// Just started from the snapshot, so there is nothing to go back from.
    fresh: bool,
    /// The layer that tests go back to.
    ready: Option<PathBuf>,
    world: World,
    /// What each node is made of, in order.
    images: Vec<Image>,
    acceleration: Acceleration,
    cache: Cache,
    // The last field: it is removed when all that lives in it has gone.
    _dir: RunDir,
}

impl Lab {
    /// The lab with the images built and the switch up, its machines off.
    pub(crate) fn open() -> Result<Self> {
        let cache = Cache::open()?;
        let count = how_many()?;
        let world = World::asked(count)?;
        let images: Vec<Image> =
            world.suites().iter().map(|suite| image::ensure(&cache, suite)).collect::<Result<_>>()?;
        let dir = cache.run_dir()?;
        // Sockets have short names only; from here on everything of the run is named relative to its directory.
        std::env::set_current_dir(&dir.path)?;
        network::up(count)?;
        let samples = Samples::listen()?;
        let acceleration = Acceleration::probe(images.first().context("there are no nodes")?);
        let nodes =
            (1..).zip(&images).map(|(index, image)| Node::new(image, index)).collect::<Result<_>>()?;
        let machines = (0..count).map(|_| None).collect();
        Ok(Self {
            nodes,
            samples,
            machines,
            fresh: false,
            ready: None,
            world,
            images,
            acceleration,
            cache,
            _dir: dir,
        })
    }

    /// Node `index`, from 1.
    pub(crate) fn node(&self, index: usize) -> Result<&Node> {
        self.nodes.get(index.wrapping_sub(1)).with_context(|| format!("there is no node{index}"))
    }

    /// What node `index` is made of, from 1.
    pub(crate) fn image(&self, index: usize) -> Result<&Image> {
        self.images.get(index.wrapping_sub(1)).with_context(|| format!("there is no node{index}"))
    }

    /// How their processors come about.
    pub(crate) fn acceleration(&self) -> Acceleration {
        self.acceleration
    }

    /// Has that node switched itself off?
    pub(crate) fn is_off(&mut self, index: usize) -> Result<bool> {
        let machine = self.machines.get_mut(index.wrapping_sub(1)).and_then(Option::as_mut);
        machine.with_context(|| format!("node{index} was never on"))?.is_off()
    }

    /// Takes the power away from that node.
    pub(crate) fn pull_the_plug(&mut self, index: usize) -> Result<()> {
        let machine = self.machines.get_mut(index.wrapping_sub(1)).and_then(Option::take);
        machine.map(drop).with_context(|| format!("node{index} was never on"))
    }

    /// What node `index` has written to its console since it was started, or restored.
    pub(crate) fn console(&self, index: usize) -> Result<String> {
        let bytes = std::fs::read(format!("console{index}.log"))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Brings the cluster up with that agent, or takes it from the cache, and stands where every test begins.
    pub(crate) fn ready(&mut self, agent: &Agent) -> Result<()> {
        self.power_off();
        let booted = self.booted()?;
        let key = layers::hash(
            format!("{} {} {}", name_of(&booted), agent.key()?, set_up_key(agent, self.nodes.len()))
                .as_bytes(),
        )?;
        // The closure needs the whole lab, so the cache steps aside for it.
        let cache = self.cache.clone();
        let kind = format!("{}-{}", agent.layer(), self.world.name());
        let ready = cache.ensure(&kind, &key, |dir| {
            step("bringing the cluster up (under a minute and a half, kept for later runs)", || {
                self.fetch_all(&booted)?;
                self.power_on(Begin::Paused(BOOTED))?;
                self.resume()?;
                guest::configure(&self.nodes)?;
                match agent.manager() {
                    Manager::Pacemaker => cluster::set_up(self, agent)?,
                    Manager::Heartbeat => classic::set_up(self, agent)?,
                }
                self.save(READY, Some(BOOTED))?;
                self.deposit(dir)
            })
        })?;
        self.fetch_all(&ready)?;
        self.ready = Some(ready);
        step("starting from the snapshot", || {
            self.power_on(Begin::Paused(READY))?;
            self.resume()
        })?;
        self.fresh = true;
        Ok(())
    }

    /// Goes back to the moment when the cluster was ready: some three seconds.
    pub(crate) fn restore(&mut self) -> Result<()> {
        if std::mem::take(&mut self.fresh) {
            return Ok(());
        }
        step("going back to the ready cluster", || self.go_back())
    }

    /// Each machine gets a new QEMU. One that runs could go back by itself, but not its time stamp counter: QEMU 7.2 never
    /// lets that decrease under emulation, so the node would find itself minutes later than its other timers say.
    fn go_back(&mut self) -> Result<()> {
        self.nodes.iter_mut().for_each(Node::disconnect);
        let layer = self.ready.clone().context("the cluster has never been ready")?;
        each(&mut self.machines, |index, slot| {
            let ended_well = slot.take().is_some_and(|machine| machine.quit().is_ok());
            // One that was killed may have left its disk in a state of any kind.
            if ended_well { Ok(()) } else { fetch(&layer, index) }
        })?;

        self.power_on(Begin::Paused(READY))?;
        self.resume()
    }

    /// The layer with the booted nodes.
    fn booted(&mut self) -> Result<PathBuf> {
        let version = process::run("qemu-system-x86_64", &["--version"], Duration::from_secs(10))?;
        let hardware = qemu::hardware(self.acceleration);
        let count = self.nodes.len();
        let made_of: Vec<&str> = self.images.iter().map(|image| image.key.as_str()).collect();
        let key = layers::hash(format!("{made_of:?} {count} {hardware:?} {version}").as_bytes())?;
        let cache = self.cache.clone();
        cache.ensure(&format!("{BOOTED}-{}", self.world.name()), &key, |dir| {
            let boot =
                || "booting the nodes (a minute with bookworm, three with trixie, kept for later runs)";
            // Under emulation a boot can fail for no fault of the nodes; a test that fails is not tried again.
            step(boot(), || self.boot()).or_else(|error| {
                say(format_args!("the boot failed and is tried once more: {error:#}"));
                self.power_off();
                step(boot(), || self.boot())
            })?;
            self.save(BOOTED, None)?;
            self.deposit(dir)
        })
    }

    fn indices(&self) -> std::ops::RangeInclusive<usize> {
        1..=self.nodes.len()
    }

    fn fetch_all(&self, layer: &Path) -> Result<()> {
        self.indices().try_for_each(|index| fetch(layer, index))
    }

    fn boot(&mut self) -> Result<()> {
        for (index, image) in (1..).zip(&self.images) {
            let base = format!("../{}/root.raw", name_of(&image.dir));
            let disk = format!("node{index}.qcow2");
            let create = ["create", "-q", "-f", "qcow2", "-F", "raw", "-b", &base, &disk];
            process::run("qemu-img", &create, Duration::from_secs(30))?;
        }
        self.power_on(Begin::Boot)?;
        let up = self.connect(BOOT).and_then(|()| self.settle());
        up.map_err(|error| {
            let logs: Vec<String> = self
                .indices()
                .map(|index| process::tail(Path::new(&format!("console{index}.log")), 12))
                .collect();
            error.context(logs.join("\n"))
        })
    }

    /// Waits until the boot is over on all nodes and Xen's toolstack answers.
    fn settle(&self) -> Result<()> {
        for node in &self.nodes {
            node.ok("systemctl is-system-running --wait >/dev/null; systemctl --failed --no-legend | cat")?;
            let domains = node.ok("xl list")?;
            if !domains.contains("Domain-0") {
                return Err(anyhow!("{} has no Domain-0: {domains}", node.name));
            }
        }
        Ok(())
    }

    fn power_on(&mut self, begin: Begin<'_>) -> Result<()> {
        let (images, how) = (&self.images, self.acceleration);
        each(&mut self.machines, |index, slot| {
            let image = images.get(index - 1).context("a machine without an image")?;
            *slot = Some(Machine::start(image, how, index, begin)?);
            Ok(())
        })
    }

    /// Pulls every node's plug; [`Self::ready`] begins anew.
    pub(crate) fn switch_off(&mut self) {
        self.power_off();
    }

    fn power_off(&mut self) {
        self.nodes.iter_mut().for_each(Node::disconnect);
        self.machines.iter_mut().for_each(|slot| *slot = None);
    }

    /// Lets restored machines run, in the present, and logs in.
    fn resume(&mut self) -> Result<()> {
        network::forget()?;
        for machine in self.machines.iter_mut().flatten() {
            machine.resume()?;
        }
        for index in self.indices() {
            sampler::set_clock(index)?;
        }
        self.samples.clear();
        self.connect(Duration::from_secs(120))?;
        until("the samplers", Duration::from_secs(60), || {
            Ok(self.indices().all(|index| self.samples.last(index).is_some()).then_some(()))
        })
    }

    fn connect(&mut self, limit: Duration) -> Result<()> {
        each(&mut self.nodes, |_, node| node.connect(limit))
    }

    /// Saves all nodes as of one moment. The older snapshot that this one replaces goes, since each holds a whole memory.
    fn save(&mut self, snapshot: &str, replaced: Option<&str>) -> Result<()> {
        self.nodes.iter_mut().for_each(Node::disconnect);
        until("all nodes to be in the hypervisor at once", Duration::from_secs(60), || self.pause_all())?;
        each(&mut self.machines, |_, slot| {
            let machine = slot.as_mut().context("a node is off")?;
            if let Some(replaced) = replaced {
                machine.delete(replaced)?;
            }
            machine.save(snapshot)
        })
    }

    /// Pauses all nodes, if they are in a state that can be loaded again; else they run on.
    fn pause_all(&mut self) -> Result<Option<()>> {
        let mut fit = true;
        for machine in self.machines.iter_mut().flatten() {
            machine.pause()?;
        }
        for machine in self.machines.iter_mut().flatten() {
            fit &= machine.in_hypervisor()?;
        }
        if !fit {
            for machine in self.machines.iter_mut().flatten() {
                machine.resume()?;
            }
        }
        Ok(fit.then_some(()))
    }

    /// Switches the machines off and moves their disks to where they are kept.
    fn deposit(&mut self, dir: &Path) -> Result<()> {
        for (index, slot) in (1..).zip(&mut self.machines) {
            if let Some(machine) = slot.take() {
                machine.quit()?;
            }
            let disk = format!("node{index}.qcow2");
            std::fs::rename(&disk, dir.join(&disk))?;
        }
        Ok(())
    }
}

/// What a snapshot of the ready cluster depends on, besides the agent's files.
fn set_up_key(agent: &Agent, nodes: usize) -> String {
    let cluster = match agent.manager() {
        Manager::Pacemaker => cluster::key(agent, nodes),
        Manager::Heartbeat => classic::key(nodes),
    };
    format!("{}{cluster}", guest::CONFIG)
}

/// Copies a node's disk from a layer to here.
fn fetch(layer: &Path, index: usize) -> Result<()> {
    let disk = format!("node{index}.qcow2");
    layers::copy(&layer.join(&disk), Path::new(&disk))
}

/// Brings the cluster up for a person, and leaves it alone until this run is ended.
pub(crate) fn hold() -> Result<()> {
    let mut lab = Lab::open()?;
    lab.ready(&Agent::under_test()?)?;
    for (node, image) in lab.nodes.iter().zip(&lab.images) {
        say(format_args!(
            "{} is up: nsenter -t $(pgrep -of 'qemu.*-name {}') -n ssh -i {} root@{}",
            node.name,
            node.name,
            image.file("tester_key"),
            network::manage_address(node.index)
        ));
    }
    say("they stay up until this is ended (^C)");
    loop {
        std::thread::park();
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.power_off();
    }
}

fn name_of(dir: &Path) -> String {
    dir.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Does the same to all at once, numbered from 1, and reports the first that failed.
fn each<T: Send>(items: &mut [T], work: impl Fn(usize, &mut T) -> Result<()> + Sync) -> Result<()> {
    std::thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> =
            (1..).zip(items).map(|(index, item)| scope.spawn(move || work(index, item))).collect();
        let mut all = Ok(());
        for thread in threads {
            let result = thread.join().unwrap_or_else(|_| Err(anyhow!("a thread died")));
            all = all.and(result);
        }
        all
    })
}
