//! One test on the lab: its words for what is done and what is seen, its audits, and what it leaves when it fails.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::audit::{Audit, Expected};
use crate::cluster::{CHANGE, Status};
use crate::disk::Disk;
use crate::guest::{Pinging, Pings};
use crate::lab::Lab;
use crate::node::{COMMAND, Node};
use crate::process::Running;
use crate::sampler;
use crate::spent::{self, On};
use crate::wait::{self, now, say};

/// The longest time that x0 may be silent in a live migration, which pauses it for 7 to 9 s on an emulated machine that has
/// two cores to itself ...
const SILENCE: f64 = 20.0;
/// ... and, where the machine is busy and all is slower, as a part of the whole test.
const SILENT_PART: f64 = 0.25;

/// How often x0 is pinged in a story: its silence is judged by the second.
const PING: Duration = Duration::from_millis(100);

/// How long x0 may take for its next records; a migration's last phase may lie in it.
const WRITING: Duration = Duration::from_secs(60);

/// How long x0 may take to boot with a device model: the two share one emulated processor.
const MODEL_BOOTING: Duration = Duration::from_secs(480);

/// How long x0 may take to boot and to answer.
const BOOTING: Duration = Duration::from_secs(60);

/// A test in progress.
#[derive(Debug)]
pub(crate) struct Scene<'a> {
    /// The nodes.
    pub(crate) lab: &'a mut Lab,
    /// What has to be so at the end; a story says where it is not the default.
    pub(crate) expected: Expected,
    audit: Audit,
    began: f64,
    pinging: Option<Pinging>,
    disk: Option<Disk>,
    /// What the story was not about to its end. It is served on: a guest that still writes to a disk that goes is not freed before its
    /// host gives the disk up, minutes later.
    forgotten: Option<Disk>,
    /// Journals that are being followed, since their nodes will go off.
    journals: BTreeMap<usize, (Running, PathBuf)>,
}

/// Something that the cluster had an agent do.
#[derive(Debug, Clone)]
pub(crate) struct Operation {
    /// On which node.
    pub(crate) node: usize,
    /// `stop`, `start`, `migrate_to`, ...
    pub(crate) name: String,
    /// For which resource.
    pub(crate) resource: String,
    /// When it was asked for.
    pub(crate) began: f64,
    /// When it was done, and how that was reported: `ok` or what was wrong.
    pub(crate) result: Option<(f64, String)>,
}

impl Operation {
    /// Has it succeeded?
    pub(crate) fn ok(&self) -> bool {
        self.result.as_ref().is_some_and(|(_, result)| result == "ok")
    }

    /// When it was over.
    pub(crate) fn ended(&self) -> Option<f64> {
        self.result.as_ref().map(|(at, _)| *at)
    }
}

impl<'a> Scene<'a> {
    /// Tells a story from beginning to end, audits included.
    pub(crate) fn play(lab: &'a mut Lab, name: &str, tell: fn(&mut Scene<'_>) -> Result<()>) -> Result<()> {
        let mut scene = Self::begin(lab, PING)?;
        let told = tell(&mut scene);
        let verdict = spent::time(On::Audit, || scene.verdict());
        let result = match (told, verdict) {
            (Ok(()), Ok(wrong)) if wrong.is_empty() => return Ok(()),
            (told, Ok(wrong)) => {
                let mut lines: Vec<String> =
                    told.err().map(|error| format!("{error:#}")).into_iter().collect();
                lines.extend(wrong.into_iter().map(|line| format!("audit: {line}")));
                lines.join("\n")
            }
            (Ok(()), Err(error)) => format!("the audit could not be held: {error:#}"),
            (Err(told), Err(error)) => format!("{told:#}\nand the audit could not be held: {error:#}"),
        };
        let logs = spent::time(On::Audit, || scene.keep_logs(name));
        Err(anyhow!("{result}\n{logs}"))
    }

    /// The moment when the cluster is ready and x0 runs on node1, watched and pinged so often from now on.
    pub(crate) fn begin(lab: &'a mut Lab, ping: Duration) -> Result<Self> {
        let audit = spent::time(On::Restore, || {
            crate::guest::wait_for(Duration::from_secs(60))?;
            Audit::begin(lab)
        })?;
        let scene = Self {
            expected: Expected { runs_on: Some(1), reboots: 0..=0, unanswered: false },
            audit,
            began: now(),
            pinging: Some(Pinging::begin(ping)?),
            disk: None,
            forgotten: None,
            journals: BTreeMap::new(),
            lab,
        };
        scene.x0_runs_on(1)?;
        Ok(scene)
    }

    /// Node `index`.
    pub(crate) fn node(&self, index: usize) -> Result<&Node> {
        self.lab.node(index)
    }

    /// The watch over this test.
    pub(crate) fn audit(&self) -> &Audit {
        &self.audit
    }

    /// Everything that was wrong so far, by what was seen and by what x0's disk holds.
    pub(crate) fn verdict(&self) -> Result<Vec<String>> {
        let mut wrong = self.audit.verdict(self.lab, &self.expected)?;
        let Some(disk) = &self.disk else { return Ok(wrong) };
        if self.expected.runs_on.is_some() && disk.grows(WRITING).is_err() {
            wrong.push("x0 writes no more to its disk".to_string());
        }
        wrong.extend(disk.faults()?.into_iter().map(|fault| format!("x0's disk: {fault}")));
        say(format_args!("x0's disk has {} records", disk.written()?));
        Ok(wrong)
    }

    /// x0's disk, where the story gave it one.
    pub(crate) fn disk(&self) -> Result<&Disk> {
        self.disk.as_ref().context("x0 has no disk in this story")
    }

    /// Forgets what was seen and watches from now on.
    pub(crate) fn watch_anew(&mut self) -> Result<()> {
        self.lab.samples.clear();
        wait::until("fresh samples", Duration::from_secs(10), || {
            Ok(self.lab.nodes.iter().all(|node| self.lab.samples.last(node.index).is_some()).then_some(()))
        })?;
        self.audit = Audit::begin(self.lab)?;
        Ok(())
    }

    // What is done.

    /// Gives x0 a disk that both nodes reach, and waits until x0 writes to it. It stays x0's on its way to another node:
    /// a migration takes along what a domain has, not what its configuration file says.
    pub(crate) fn give_x0_a_disk(&mut self) -> Result<()> {
        let device = self.serve_a_disk()?;
        self.node(1)?.ok(&format!("xl block-attach x0 phy:{device},xvda,w"))?;
        self.x0_writes()
    }

    /// Lets all nodes reach the disk, for an x0 that is to have it from its boot on; what it is called there.
    pub(crate) fn serve_a_disk(&mut self) -> Result<String> {
        spent::time(On::Preparing, || {
            self.disk = Some(Disk::serve()?);
            Disk::attach(&self.lab.nodes)
        })
    }

    /// Waits until x0 has written to its disk.
    pub(crate) fn x0_writes(&self) -> Result<()> {
        let records = spent::time(On::Preparing, || self.disk()?.grows(WRITING))?;
        say(format_args!("x0 has a disk on both nodes and has written {records} records to it"));
        Ok(())
    }

    /// Makes another x0 of a changed configuration, on all nodes' disks, without the cluster: it boots on node1, and what is watched
    /// and told begins after that.
    pub(crate) fn x0_becomes(&mut self, change: impl FnOnce(&str) -> String) -> Result<()> {
        let config = change(&self.node(1)?.ok("cat /etc/xen/x0.cfg")?);
        for node in &self.lab.nodes {
            node.put("/etc/xen/x0.cfg", config.as_bytes(), "644", "root")?;
        }
        say("x0 is made anew");
        spent::time(On::Preparing, || {
            self.while_unmanaged(|_| {
                let anew = "xl destroy x0 && xl create -q /etc/xen/x0.cfg 2>&1";
                let created = self.node(1)?.start(anew)?.finish(CHANGE)?;
                ensure!(created.status.success(), "xl create: {}{}", created.stdout, created.stderr);
                crate::guest::wait_for(MODEL_BOOTING).map(drop)
            })
        })?;
        self.began = now();
        self.watch_anew()?;
        self.x0_runs_on(1)
    }

    /// x0's disk was not what the story was about to its end.
    pub(crate) fn forget_the_disk(&mut self) {
        self.forgotten = self.disk.take();
    }

    /// Sees to it that node2 leads the cluster, and gives x0 another parameter on the way if one is named. A leader that
    /// leaves waits for the whole transition, node2's start included; any other node leaves when its own part is done,
    /// which is the harder case for what it has left running.
    pub(crate) fn node2_leads(&self, parameter: Option<(&str, &str)>) -> Result<()> {
        say("node2 takes the lead");
        let (first, second) = (self.node(1)?, self.node(2)?);
        second.ok("crm_attribute -t crm_config -n maintenance-mode -v true")?;
        if let Some((name, value)) = parameter {
            // In maintenance, and before node1's history begins anew: else the cluster would restart x0 for it.
            second.ok(&format!("crm_resource -r x0 -p {name} -v {value}"))?;
        }
        first.ok("systemctl restart pacemaker")?;
        Status::wait(second, "node2 to lead and x0 to be found on node1", |status| {
            let found = status.resource("x0").is_some_and(|x0| x0.nodes == ["node1"] && x0.role == "Started");
            status.leader.as_deref() == Some("node2") && status.online.len() == self.lab.nodes.len() && found
        })?;
        second.ok("crm_attribute -t crm_config -n maintenance-mode -v false")?;
        Status::wait(second, "x0 to be the cluster's again", |status| {
            status.runs("x0", "node1") && status.resource("x0").is_some_and(|x0| x0.managed)
        })?;
        Ok(())
    }

    /// Has sshd of a node open sessions as Debian's does: with PAM, and so in scopes of systemd's, which end early when the
    /// host goes down.
    pub(crate) fn real_sessions(&self, node: usize) -> Result<()> {
        self.node(node)?
            .ok("sed -i 's/^UsePAM no/UsePAM yes/' /etc/ssh/sshd_config.d/lab.conf && systemctl reload ssh")
            .map(drop)
    }

    /// Follows a node's journal from here on, since that node will go off.
    pub(crate) fn keep_journal(&mut self, node: usize) -> Result<()> {
        let path = std::env::current_dir()?.join(format!("journal{node}"));
        let follow = format!("journalctl -f -n all -o short-unix --since @{:.0}", self.began.floor());
        let journal = self.node(node)?.record(&follow, &path)?;
        self.journals.insert(node, (journal, path));
        Ok(())
    }

    /// Does something on a node in the moment in which a program logs these words there, and prints when it was done.
    pub(crate) fn once_logged(&self, node: usize, program: &str, words: &str, what: &str) -> Result<Running> {
        // From the beginning of the story on, since they may come before the journal is looked at.
        let follow = format!("journalctl -f -n all -o cat -t {program} --since @{:.0}", self.began.floor());
        self.node(node)?.start(&format!("{follow} | {{ grep -q -m 1 '{words}' && {what} && date +%s.%N; }}"))
    }

    /// Begins `systemctl poweroff` on a node, whose journal is kept here from now on.
    pub(crate) fn power_off(&mut self, node: usize) -> Result<()> {
        self.power_off_all(&[node])
    }

    /// The same on several nodes in one second.
    pub(crate) fn power_off_all(&mut self, nodes: &[usize]) -> Result<()> {
        for &node in nodes {
            self.keep_journal(node)?;
            say(format_args!("systemctl poweroff on node{node}"));
        }
        let off = |&node: &usize| self.node(node)?.start("systemctl poweroff --no-wall");
        let begun: Vec<Running> = nodes.iter().map(off).collect::<Result<_>>()?;
        for one in begun {
            let output = one.finish(COMMAND)?;
            ensure!(output.status.success(), "systemctl poweroff: {}", output.stderr);
        }
        Ok(())
    }

    /// Takes a node's power away. Its journal was kept up to then, and it is not asked for anything any more.
    pub(crate) fn pull_the_plug(&mut self, node: usize) -> Result<()> {
        let clock = sampler::glance(node).with_context(|| format!("node{node} does not tell the time"))?;
        self.lab.pull_the_plug(node)?;
        say(format_args!("node{node} has no power any more"));
        self.audit.departed(node, clock);
        Ok(())
    }

    /// Begins `systemctl stop pacemaker` on a node.
    pub(crate) fn stop_pacemaker(&self, node: usize) -> Result<Running> {
        say(format_args!("systemctl stop pacemaker on node{node}"));
        self.node(node)?.start("systemctl stop pacemaker")
    }

    /// Sends a node into standby, or back.
    pub(crate) fn standby(&self, node: usize, on: bool) -> Result<()> {
        let value = if on { "on" } else { "off" };
        say(format_args!("node{node} standby={value}"));
        self.node(2)?.ok(&format!("crm_attribute -t nodes -N node{node} -n standby -v {value}")).map(drop)
    }

    /// Sends the node that has x0 into standby, and waits for x0 on the other.
    pub(crate) fn leave(&mut self, from: usize, to: usize) -> Result<()> {
        self.expected.runs_on = Some(to);
        self.standby(from, true)?;
        self.x0_arrives_on(to)?;
        self.cluster_has_x0_on(2, to).map(drop)
    }

    /// Sets a meta attribute of x0.
    pub(crate) fn meta(&self, name: &str, value: &str) -> Result<()> {
        say(format_args!("x0 meta {name}={value}"));
        self.node(2)?.ok(&format!("crm_resource -r x0 --meta -p {name} -v {value}")).map(drop)
    }

    /// Adds a piece of XML to a section of the cluster's configuration.
    pub(crate) fn configure(&self, section: &str, xml: &str) -> Result<()> {
        self.node(2)?.feed(&format!("cibadmin --create -o {section} --xml-pipe"), xml.as_bytes()).map(drop)
    }

    // What is waited for.

    /// Waits until a node runs x0 and no other one does, by what the hypervisors say.
    pub(crate) fn x0_arrives_on(&self, node: usize) -> Result<f64> {
        spent::time(On::Moving, || {
            let runs = || Ok(self.runs_only_on(node).then(now));
            wait::until(format_args!("x0 to run on node{node}"), CHANGE, runs)
        })
    }

    /// Waits until the cluster, asked on a node, has x0 started there and has nothing more to do.
    pub(crate) fn cluster_has_x0_on(&self, asked: usize, node: usize) -> Result<Status> {
        let name = format!("node{node}");
        let what = format!("the cluster to have x0 on {name}");
        Status::wait(self.node(asked)?, &what, |status| status.runs("x0", &name))
    }

    /// Waits until another boot of x0 answers than the one at the beginning, so that it is seen, and counted, before the story ends.
    pub(crate) fn x0_has_booted_anew(&self) -> Result<()> {
        let old = self.audit.witnesses().first().map(|witness| witness.boot.clone());
        wait::until("the new x0 to answer", BOOTING, || {
            Ok(self.audit.witnesses().last().filter(|now| Some(&now.boot) != old.as_ref()).map(drop))
        })
    }

    /// Waits until x0 is suspended on that node, which a migration does for its last phase.
    pub(crate) fn x0_is_suspended_on(&self, node: usize) -> Result<f64> {
        let is_suspended = || {
            let copies = self.lab.samples.last(node).map(|sample| sample.copies).unwrap_or_default();
            Ok(copies.iter().any(|copy| copy.is_suspended()).then(now))
        };
        spent::time(On::Moving, || {
            wait::until(format_args!("x0 to be suspended on node{node}"), CHANGE, is_suspended)
        })
    }

    /// Waits until a node has gone off by itself. From then on it is not asked for anything any more.
    pub(crate) fn goes_off(&mut self, node: usize) -> Result<()> {
        self.go_off(&[node])
    }

    /// The same of several nodes.
    pub(crate) fn go_off(&mut self, nodes: &[usize]) -> Result<()> {
        let mut clocks = BTreeMap::new();
        let mut on = nodes.to_vec();
        while let Some(&first) = on.first() {
            let (lab, audit) = (&mut *self.lab, &mut self.audit);
            let still = on.clone();
            let off = wait::until_every(
                Duration::from_secs(1),
                format_args!("node{first} to go off"),
                CHANGE,
                || {
                    for &node in &still {
                        if let Some(clock) = sampler::glance(node) {
                            clocks.insert(node, clock);
                        }
                        if lab.is_off(node)? {
                            return Ok(Some(node));
                        }
                    }
                    Ok(None)
                },
            )
            .with_context(|| {
                let log = PathBuf::from(format!("console{first}.log"));
                format!("its console at last: {}", crate::process::tail(&log, 30))
            })?;
            say(format_args!("node{off} is off"));
            audit.departed(off, *clocks.get(&off).with_context(|| format!("node{off} never told the time"))?);
            on.retain(|&node| node != off);
        }
        Ok(())
    }

    // What is seen.

    /// What a node has written to its console.
    pub(crate) fn console(&self, node: usize) -> Result<String> {
        self.lab.console(node)
    }

    /// x0 runs on that node now, and only there.
    pub(crate) fn x0_runs_on(&self, node: usize) -> Result<()> {
        ensure!(self.runs_only_on(node), "x0 does not run on node{node} alone");
        Ok(())
    }

    fn runs_only_on(&self, wanted: usize) -> bool {
        self.lab.nodes.iter().all(|node| {
            let running = self.lab.samples.last(node.index).is_some_and(|sample| sample.running().is_some());
            running == (node.index == wanted)
        })
    }

    /// Did that node run x0 at that moment? By the last sample before it.
    pub(crate) fn ran_at(&self, node: usize, moment: f64) -> Result<bool> {
        let timed = self.audit.timed(self.lab)?;
        let last = timed.iter().rfind(|sample| sample.node == node && sample.at < moment);
        Ok(last.is_some_and(|sample| sample.running.is_some()))
    }

    /// What the cluster had done on all nodes since the beginning, monitors left out, in order.
    pub(crate) fn operations(&self) -> Result<Vec<Operation>> {
        let mut all = Vec::new();
        for node in &self.lab.nodes {
            let log = self.journal(node.index, "pacemaker-controld")?;
            all.extend(operations(node.index, &log, self.began));
        }
        all.retain(|operation| operation.name != "monitor" && operation.name != "probe");
        all.sort_by(|a, b| a.began.total_cmp(&b.began));
        Ok(all)
    }

    /// x0's operations as `stop@node1 start@node2`, all of which have to be ok.
    pub(crate) fn x0_had(&self, wanted: &str) -> Result<Vec<Operation>> {
        let operations: Vec<Operation> =
            self.operations()?.into_iter().filter(|operation| operation.resource == "x0").collect();
        let story: Vec<String> = operations
            .iter()
            .map(|operation| {
                let result = match &operation.result {
                    Some((_, result)) if result == "ok" => String::new(),
                    Some((_, result)) => format!("({result})"),
                    None => "(unfinished)".to_string(),
                };
                format!("{}@node{}{result}", operation.name, operation.node)
            })
            .collect();
        let story = story.join(" ");
        ensure!(story == wanted, "the cluster had x0's agent do [{story}], the story says [{wanted}]");
        Ok(operations)
    }

    /// What a program has logged on a node since the beginning.
    fn journal(&self, node: usize, program: &str) -> Result<String> {
        if !self.audit.is_gone(node) {
            let since = self.began.floor();
            let command = format!("journalctl -o short-unix --no-pager -t {program} --since @{since:.0}");
            return self.node(node)?.ok(&command);
        }
        let (_, path) =
            self.journals.get(&node).with_context(|| format!("nobody has kept node{node}'s journal"))?;
        let all = String::from_utf8_lossy(&std::fs::read(path)?).into_owned();
        let tag = format!(" {program}[");
        Ok(all.lines().filter(|line| line.contains(&tag)).map(|line| format!("{line}\n")).collect())
    }

    /// What the agent has logged on a node since the beginning.
    pub(crate) fn agent_log(&self, node: usize) -> Result<String> {
        self.journal(node, "xen-handoff")
    }

    /// The agent has logged a line on that node that holds these words.
    pub(crate) fn agent_said(&self, node: usize, words: &str) -> Result<String> {
        let log = self.agent_log(node)?;
        let line = log.lines().find(|line| line.contains(words)).map(ToString::to_string);
        line.with_context(|| format!("the agent on node{node} has not said {words:?}, but:\n{log}"))
    }

    /// Ends the pings and tells how they went.
    pub(crate) fn pings(&mut self) -> Result<Pings> {
        let pings = self.pinging.take().context("the pings have ended already")?.end()?;
        let (_, gap) = pings.longest_gap();
        say(format_args!("pings: {} sent, {} lost, longest gap {gap:.1} s", pings.sent, pings.lost()));
        Ok(pings)
    }

    /// x0 was reachable all the time, but for a migration's pause.
    pub(crate) fn x0_was_hardly_silent(&mut self) -> Result<()> {
        self.longest_silence().map(drop)
    }

    /// The same; how long that pause was, in seconds.
    pub(crate) fn longest_silence(&mut self) -> Result<f64> {
        let pings = self.pings()?;
        let (_, gap) = pings.longest_gap();
        let limit = SILENCE.max((now() - self.began) * SILENT_PART);
        if gap > limit {
            bail!("x0 was silent for {gap:.1} s, {} of {} pings lost", pings.lost(), pings.sent);
        }
        Ok(gap)
    }

    /// Copies the nodes' logs to `target/lab/NAME`, and returns where they are and how they end.
    pub(crate) fn keep_logs(&self, name: &str) -> String {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/lab").join(name);
        let _ = std::fs::remove_dir_all(&dir);
        if let Err(error) = std::fs::create_dir_all(&dir) {
            return format!("no place for logs: {error}");
        }
        let mut lines = vec![format!("logs: {}", dir.display())];
        for (node, (_, journal)) in &self.journals {
            let _ = std::fs::copy(journal, dir.join(format!("node{node}-journal-followed")));
        }
        for node in &self.lab.nodes {
            let console = format!("console{}.log", node.index);
            let _ = std::fs::copy(&console, dir.join(format!("{}-console", node.name)));
            if self.audit.is_gone(node.index) {
                continue;
            }
            let kept = keep_node_logs(node, self.began, &dir);
            lines.push(kept.unwrap_or_else(|error| format!("no logs of {}: {error:#}", node.name)));
        }
        let samples: String = self
            .audit
            .timed(self.lab)
            .unwrap_or_default()
            .iter()
            .map(|sample| format!("{:.3} node{} {:?}\n", sample.at, sample.node, sample.running))
            .collect();
        let _ = std::fs::write(dir.join("samples"), samples);
        lines.join("\n")
    }
}

/// Fetches a node's logs and returns the agent's last words there.
fn keep_node_logs(node: &Node, began: f64, dir: &Path) -> Result<String> {
    let since = format!("--no-pager --since @{:.0}", began.floor());
    let path = |what: &str| -> PathBuf { dir.join(format!("{}-{what}", node.name)) };
    let journal = node.run(&format!("journalctl -o short-unix {since}"))?.stdout;
    std::fs::write(path("journal"), journal)?;
    std::fs::write(path("pacemaker.log"), node.run("cat /var/log/pacemaker/pacemaker.log")?.stdout)?;
    let state = "date +%s.%N; xl list; ps -ef; for f in $(find /run/xen-handoff /var/log/xen -type f); do \
                 echo; echo \"== $f\"; tail -n 200 $f; done; cibadmin -Q";
    std::fs::write(path("state"), node.run(state)?.stdout)?;
    let said = node.run(&format!("journalctl -o short-unix {since} -t xen-handoff | tail -n 12"))?.stdout;
    Ok(format!("the agent on {} at last:\n    {}", node.name, said.trim().replace('\n', "\n    ")))
}

/// Finds the operations in a controller's log: a line when one is asked for, another with its result.
fn operations(node: usize, log: &str, since: f64) -> Vec<Operation> {
    let mut found: Vec<Operation> = Vec::new();
    for line in log.lines() {
        let at = line.split(' ').next().and_then(|time| time.parse::<f64>().ok()).unwrap_or_default();
        if at < since {
            continue;
        }
        if let Some(rest) = after(line, "Requesting local execution of ") {
            if let Some((name, resource)) = name_and_resource(rest) {
                found.push(Operation { node, name, resource, began: at, result: None });
            }
        } else if let Some(rest) = after(line, "Result of ")
            && let Some((name, resource)) = name_and_resource(rest)
            && let Some(open) = found
                .iter_mut()
                .rfind(|one| one.name == name && one.resource == resource && one.result.is_none())
        {
            let result = rest.split_once(": ").map_or(rest, |(_, result)| result);
            // Pacemaker 3 writes it large.
            let result = if result == "OK" { "ok" } else { result };
            open.result = Some((at, result.to_string()));
        }
    }
    found
}

fn after<'l>(line: &'l str, words: &str) -> Option<&'l str> {
    line.split_once(words).map(|(_, rest)| rest)
}

/// `stop operation for x0 on node1...`
fn name_and_resource(text: &str) -> Option<(String, String)> {
    let (name, rest) = text.split_once(" operation for ")?;
    Some((name.to_string(), rest.split(' ').next()?.to_string()))
}
