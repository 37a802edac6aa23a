//! `xen-handoff-bench memory`: response times and processor use of a guest that holds more and more memory, and while it moves
//! (the paper's tables 1 and 2).
//!
//! The guest runs `xen-handoff-load`. At each step it is told to hold 10 MiB more (or less), and is asked to touch all of it,
//! by httperf at a fixed rate for the processors' use, then by calls one after another for an exact time. The guest's own
//! clock says how much of that was the touching.

use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use xen_handoff::host::{NodeName, Root};

use crate::curl::{self, Stats};
use crate::httperf::{Load, Report};
use crate::memory_figures::{FORMAT, Measurement, Slice, Step};
use crate::progress::Progress;
use crate::remote::{Place, now};
use crate::span::Span;
use crate::table::milliseconds;
use crate::trigger::Trigger;
use crate::usage::{self, Sample, Usage};

/// How many calls are made one after another for an exact time.
const EXACT: u32 = 100;
/// How long the service may take for a step of memory.
const STEP: Duration = Duration::from_secs(60);
/// How long the command may go on after the last call.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the operator asked for.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Name or address of the guest
    server: NodeName,
    /// Port on which its xen-handoff-load listens
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// What httperf asks for
    #[arg(long, default_value = "/memaccess")]
    uri: String,
    /// How many steps of 10 MiB up, and down again
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    steps: u32,
    /// How many connections httperf makes at each step, a call each
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..))]
    num_conns: u32,
    /// How many of them in a second
    #[arg(long, default_value_t = 50.0)]
    rate: f64,
    /// How long an answer may take
    #[arg(long, default_value = "5", value_name = "SPAN")]
    timeout: Span,
    /// Run httperf and curl on that machine, by ssh [default: here]
    #[arg(long, value_name = "HOST")]
    client: Option<NodeName>,
    /// Node whose processors are watched, by ssh; for each node once [default: this machine]
    #[arg(long, value_name = "HOST")]
    node: Vec<NodeName>,
    /// Configuration for ssh, in place of your own
    #[arg(long, value_name = "FILE")]
    ssh_config: Option<PathBuf>,
    /// Folder for memory.json, memory.csv and memory.svg
    #[arg(long, default_value = "bench-memory", value_name = "DIR")]
    out: PathBuf,
    /// What this measurement is called in tables [default: the server]
    #[arg(long)]
    name: Option<String>,
    /// Hold all steps of memory, and measure over time while the command is given
    #[arg(long)]
    during: bool,
    /// How long that is measured
    #[arg(long, default_value = "60", value_name = "SPAN", requires = "during")]
    duration: Span,
    /// When the command is given
    #[arg(long, default_value = "9", value_name = "SPAN", requires = "during")]
    at: Span,
    /// Print the figures as JSON
    #[arg(long)]
    json: bool,
    /// The command that makes the domain move
    #[arg(last = true, requires = "during")]
    command: Vec<String>,
}

/// Measures, writes the files and prints.
///
/// # Errors
/// If the service or a tool does not answer at the beginning, memory is refused, or a file cannot be written.
pub fn run(root: &Root, options: &Options) -> anyhow::Result<()> {
    ensure!(options.rate.is_finite() && options.rate > 0.0, "--rate must be more than 0");
    std::fs::create_dir_all(&options.out).with_context(|| format!("making {}", options.out.display()))?;
    let mut bench = Bench::new(root, options);
    let boot = bench.stats().context("the guest's xen-handoff-load does not answer")?.boot_id;
    let mut measurement = Measurement {
        format: FORMAT,
        name: options.name.clone().unwrap_or_else(|| options.server.to_string()),
        server: options.server.to_string(),
        client: bench.client.name(),
        rate: options.rate,
        steps: Vec::new(),
        slices: Vec::new(),
        command: None,
        usage_around: Vec::new(),
        rebooted: None,
    };
    if options.during {
        bench.over_time(&mut measurement)?;
    } else {
        measurement.steps = bench.ramp()?;
    }
    measurement.rebooted = bench.stats().ok().map(|stats| stats.boot_id != boot);
    drop(bench);
    let keep = |name: &str, text: String| {
        std::fs::write(options.out.join(name), text)
            .with_context(|| format!("writing {}", options.out.join(name).display()))
    };
    keep("memory.csv", measurement.csv())?;
    keep("memory.json", serde_json::to_string_pretty(&measurement)? + "\n")?;
    keep("memory.svg", measurement.picture())?;
    let mut out = std::io::stdout();
    if options.json {
        serde_json::to_writer_pretty(&mut out, &measurement)?;
        return Ok(writeln!(out)?);
    }
    write!(out, "\n{}\n", measurement.report())?;
    Ok(writeln!(out, "files: {}: memory.json, memory.csv, memory.svg", options.out.display())?)
}

/// The doing.
#[derive(Debug)]
struct Bench<'a> {
    root: &'a Root,
    options: &'a Options,
    client: Place,
    watched: Vec<Place>,
    progress: Progress,
    began: Instant,
}

impl<'a> Bench<'a> {
    fn new(root: &'a Root, options: &'a Options) -> Self {
        let config = options.ssh_config.as_deref();
        let mut watched: Vec<Place> = options.node.iter().map(|node| Place::of(Some(node), config)).collect();
        if watched.is_empty() {
            watched.push(Place::Here);
        }
        let client = Place::of(options.client.as_ref(), config);
        Self { root, options, client, watched, progress: Progress::default(), began: Instant::now() }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}:{}{path}", self.options.server, self.options.port)
    }

    fn stats(&self) -> anyhow::Result<Stats> {
        curl::stats(self.root, &self.client, &self.url("/stats"), STEP)
    }

    /// Asks for one step more or less. False if there is nothing to let go.
    fn step(&self, path: &str) -> anyhow::Result<()> {
        let answer = curl::get(self.root, &self.client, &self.url(path), STEP)?;
        ensure!(answer.status == 200, "{path} answers {}: {}", answer.status, answer.body.trim());
        Ok(())
    }

    /// Lets everything go that an earlier run may have left.
    fn empty(&self) -> anyhow::Result<()> {
        // Each call takes one step away; a service that never gets there is not ours.
        for _ in 0..10_000 {
            if self.stats()?.held_bytes == 0 {
                return Ok(());
            }
            self.step("/decrease_mem")?;
        }
        bail!("the service lets no memory go");
    }

    fn load(&self, connections: u32, rate: Option<f64>) -> Load {
        Load {
            server: self.options.server.to_string(),
            port: self.options.port,
            uri: self.options.uri.clone(),
            connections,
            rate,
            timeout: self.options.timeout.0,
        }
    }

    fn httperf(&self, load: &Load) -> anyhow::Result<Report> {
        let begun = load.rate.map_or(f64::from(load.connections) * load.timeout, |rate| {
            f64::from(load.connections) / rate + load.timeout
        });
        let limit = Duration::from_secs_f64(begun + 60.0);
        let output = self.client.run(self.root, "httperf", &load.arguments(), limit)?.success()?;
        Report::read(&output.stdout).with_context(|| format!("httperf reports {:?}", output.stdout))
    }

    fn samples(&self) -> anyhow::Result<Vec<Sample>> {
        self.watched.iter().map(|place| usage::sample(self.root, place)).collect()
    }

    fn usage(&self, before: &[Sample], after: &[Sample]) -> Vec<Usage> {
        let pairs = self.watched.iter().zip(before.iter().zip(after));
        pairs.filter_map(|(place, (before, after))| usage::between(&place.name(), before, after)).collect()
    }

    fn ramp(&mut self) -> anyhow::Result<Vec<Step>> {
        self.empty()?;
        let steps = self.options.steps;
        let mut done = Vec::new();
        for number in 1..=2 * steps - 1 {
            let upward = number <= steps;
            self.step(if upward { "/increase_mem" } else { "/decrease_mem" })?;
            let step = self.measure(upward)?;
            self.progress.say(&format!(
                "{:6.1} s: step {number} of {}: {:.0} MiB, {} ms",
                self.began.elapsed().as_secs_f64(),
                2 * steps - 1,
                step.held_mib,
                milliseconds(step.response_ms)
            ));
            done.push(step);
        }
        self.empty()?;
        Ok(done)
    }

    fn measure(&mut self, upward: bool) -> anyhow::Result<Step> {
        let at_rate = self.load(self.options.num_conns, Some(self.options.rate));
        let exact = self.load(EXACT, None);
        let held = self.stats()?;
        let before = self.samples()?;
        let loaded = self.httperf(&at_rate)?;
        let after = self.samples()?;
        let called = self.httperf(&exact)?;
        let end = self.stats()?;
        let accesses = end.accesses.saturating_sub(held.accesses);
        let microseconds = end.access_microseconds.saturating_sub(held.access_microseconds);
        let wanted = at_rate.connections + exact.connections;
        Ok(Step {
            held_mib: held.held_bytes as f64 / f64::from(1 << 20),
            upward,
            response_ms: called.call_ms(&exact),
            at_rate_ms: loaded.call_ms(&at_rate),
            touch_ms: (accesses > 0).then(|| microseconds as f64 / 1000.0 / accesses as f64),
            failed: wanted.saturating_sub(loaded.good + called.good),
            usage: self.usage(&before, &after),
        })
    }

    fn over_time(&mut self, into: &mut Measurement) -> anyhow::Result<()> {
        self.empty()?;
        for _ in 0..self.options.steps {
            self.step("/increase_mem")?;
        }
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "calls of one second; saturates"
        )]
        let in_a_second = self.options.rate.ceil() as u32;
        let load = self.load(in_a_second, Some(self.options.rate));
        let mut trigger = Trigger::new(&self.options.command, self.options.at.0);
        let first = self.samples()?;
        let (began, zero) = (Instant::now(), now());
        let mut at_command = None;
        loop {
            let at_s = began.elapsed().as_secs_f64();
            if at_s >= self.options.duration.0 {
                break;
            }
            if at_command.is_none() && at_s >= self.options.at.0 {
                at_command = Some(self.samples()?);
                trigger.look(at_s, &self.options.out)?;
                self.progress.say(&format!("{at_s:6.1} s: {}", trigger.line()));
            }
            trigger.look(at_s, &self.options.out)?;
            let at_s = began.elapsed().as_secs_f64();
            let report = self.httperf(&load)?;
            into.slices.push(Slice {
                at_s,
                to_s: began.elapsed().as_secs_f64(),
                response_ms: report.call_ms(&load),
                longest_ms: (report.good > 0).then_some(report.longest_ms),
                good: report.good,
                failed: in_a_second.saturating_sub(report.good),
            });
            self.progress.show(|| {
                let failed: u32 = into.slices.iter().map(|slice| slice.failed).sum();
                format!("{at_s:6.1} s: {} ms, {failed} failed so far", milliseconds(report.call_ms(&load)))
            });
        }
        into.command = trigger.finish(zero, PATIENCE)?;
        let last = self.samples()?;
        if let Some(middle) = at_command {
            into.usage_around.push((self.usage(&first, &middle), self.usage(&middle, &last)));
        }
        // The guest may have been rebooted, and then holds nothing.
        self.empty()
    }
}
