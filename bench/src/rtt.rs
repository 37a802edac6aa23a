//! `xen-handoff-bench rtt`: pings a domain, has it moved meanwhile, and says what its users saw (the paper's tables 3 and 4).

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use xen_handoff::command::{self, Tool};
use xen_handoff::host::{NodeName, Root};

use crate::curl;
use crate::events::{self, Event};
use crate::phases::{self, Found};
use crate::ping::{self, End, Reader};
use crate::plot;
use crate::progress::Progress;
use crate::remote::{Place, Remote, now};
use crate::rtt_figures::{self, Context, Measurement, Row};
use crate::series::Series;
use crate::span::Span;
use crate::trigger::{self, Given, Trigger};
use crate::ways::{self, Way};

/// When the command is given if nothing else is said: where the paper gave it.
const AT: f64 = 9.0;
/// How long the command may go on after the last ping.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often the guest is asked who it is.
const ASKED: Duration = Duration::from_secs(1);
/// How often something is looked at while pings come in.
const LOOKED: Duration = Duration::from_millis(20);

/// What the operator asked for.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Name or address by which the domain is pinged
    host: NodeName,
    /// How many pings
    #[arg(long, default_value_t = 3000, value_parser = clap::value_parser!(u32).range(1..))]
    count: u32,
    /// Time between two pings; below 2 ms ping wants root, before iputils 20211215 below 200 ms
    #[arg(long, default_value = "0.01", value_name = "SPAN")]
    interval: Span,
    /// How long, in whole seconds, in place of --count
    #[arg(long, value_name = "SPAN", conflicts_with = "count")]
    duration: Option<Span>,
    /// When the command is given [default: 9s]; without a command, when you do it by hand
    #[arg(long, value_name = "SPAN")]
    at: Option<Span>,
    /// Folder for rtt.json, rtt.csv, rtt.svg, ping.txt and the command's output
    #[arg(long, default_value = "bench-rtt", value_name = "DIR")]
    out: PathBuf,
    /// What this measurement is called in tables [default: the host]
    #[arg(long)]
    name: Option<String>,
    /// Node whose journal has the transfer's events, read by ssh when the pings are over; for each node once
    #[arg(long, value_name = "HOST")]
    node: Vec<NodeName>,
    /// Configuration for ssh, in place of your own
    #[arg(long, value_name = "FILE")]
    ssh_config: Option<PathBuf>,
    /// Events from a file, as journalctl -o short-unix writes them
    #[arg(long, value_name = "FILE")]
    events: Vec<PathBuf>,
    /// The domain whose events count, where there are those of several
    #[arg(long)]
    domain: Option<String>,
    /// Where the guest's xen-handoff-load answers /stats, to count its reboots
    #[arg(long, value_name = "URL")]
    stats: Option<String>,
    /// File of rows to add this measurement to, or to renew it in, by its name
    #[arg(long, value_name = "FILE")]
    rows: Option<PathBuf>,
    /// Print the figures as JSON
    #[arg(long)]
    json: bool,
    /// The command that makes the domain move
    #[arg(last = true)]
    command: Vec<String>,
}

/// Measures, writes the files and prints.
///
/// # Errors
/// If ping refuses or nothing answers, the command cannot be started, the nodes' events cannot be read, or a file cannot be
/// written. A command that fails is a note in the result, not an error.
pub fn run(root: &Root, options: &Options) -> anyhow::Result<()> {
    let plan = Plan::of(options)?;
    std::fs::create_dir_all(&options.out).with_context(|| format!("making {}", options.out.display()))?;
    let raw = measure(root, options, &plan)?;
    let mut notes = raw.notes;
    let all = events_of(root, options, raw.series.began, &mut notes)?;
    let meant = events::domain_meant(&all, options.domain.as_deref(), &options.host.to_string());
    let (of_domain, meant) = match meant {
        Ok(Some(domain)) => (all.into_iter().filter(|event| event.domain == domain).collect(), true),
        Ok(None) => (Vec::new(), false),
        Err(why) => {
            notes.push(why);
            (Vec::new(), false)
        }
    };
    let mut events: Vec<Event> = of_domain;
    events.sort_by(|a, b| a.at.total_cmp(&b.at));
    for event in &mut events {
        event.at -= raw.series.began;
    }
    let transfer = events::transfer(&events);
    if transfer.is_none() && !(options.node.is_empty() && options.events.is_empty()) {
        notes.push(match meant {
            true => "the events have no transfer in them".to_owned(),
            false => "no events of this domain in that time".to_owned(),
        });
    }
    let given = raw.given;
    let found = phases::find(&raw.series, given.as_ref().map(|given| given.at_s), transfer.as_ref());
    let context = Context {
        name: plan.name.clone(),
        host: options.host.to_string(),
        command: given,
        by_events: transfer.is_some(),
        events,
        reboots: raw.reboots,
        notes,
    };
    let measurement = Measurement::of(&raw.series, &found, context);
    write(options, &raw.series, &found, &measurement)?;
    report(options, &measurement)
}

/// What follows from the options.
#[derive(Debug)]
struct Plan {
    name: String,
    end: End,
    at: Option<f64>,
}

impl Plan {
    fn of(options: &Options) -> anyhow::Result<Self> {
        let interval = options.interval.0;
        ensure!(interval > 0.0, "--interval must be more than 0");
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "whole seconds; saturates"
        )]
        let seconds = |span: Span| span.0.ceil().max(1.0) as u32;
        let end = options.duration.map_or(End::Count(options.count), |span| End::Seconds(seconds(span)));
        let at = match (options.at, options.command.is_empty()) {
            (Some(at), _) => Some(at.0),
            (None, false) => Some(AT),
            (None, true) => None,
        };
        let lasts = match end {
            End::Count(count) => f64::from(count) * interval,
            End::Seconds(seconds) => f64::from(seconds),
        };
        if let Some(at) = at {
            ensure!(
                at < lasts,
                "the command is to be given at {at} s, but the pings end after {lasts:.1} s: see --count, --duration, --at"
            );
        }
        let name = options.name.clone().unwrap_or_else(|| options.host.to_string());
        Ok(Self { name, end, at })
    }
}

/// What came out of the run itself.
#[derive(Debug)]
struct Raw {
    series: Series,
    given: Option<Given>,
    reboots: Option<usize>,
    notes: Vec<String>,
}

fn measure(root: &Root, options: &Options, plan: &Plan) -> anyhow::Result<Raw> {
    let host = options.host.to_string();
    let guest = options.stats.as_ref().map(|url| Guest::watch(root, url));
    let mut trigger = plan.at.map(|at| Trigger::new(&options.command, at));
    let mut progress = Progress::default();
    let mut pinging = Pinging::begin(root, &ping::arguments(&host, plan.end, options.interval.0))?;
    let mut reader = Reader::default();
    let mut text = String::new();
    let began = Instant::now();
    loop {
        match pinging.lines.recv_timeout(LOOKED) {
            Ok(line) => {
                reader.take(&line);
                text.push_str(&line);
                text.push('\n');
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        let elapsed = began.elapsed().as_secs_f64();
        if let Some(trigger) = &mut trigger
            && trigger.look(elapsed, &options.out)?
        {
            progress.say(&match trigger.line() {
                line if line.is_empty() => format!("{elapsed:6.1} s: now"),
                line => format!("{elapsed:6.1} s: {line}"),
            });
        }
        progress.show(|| standing(&reader, elapsed, plan.end));
    }
    let (status, stderr) = pinging.end()?;
    std::fs::write(options.out.join("ping.txt"), &text).context("keeping ping's output")?;
    let series = series(reader, options, status, &stderr)?;
    if trigger.as_ref().is_some_and(Trigger::runs) {
        progress.say("the pings are over; waiting for the command");
    }
    let given = trigger.map(|trigger| trigger.finish(series.began, PATIENCE)).transpose()?.flatten();
    let mut notes = Vec::new();
    if given.as_ref().is_some_and(|given| given.status.is_some_and(|status| status != 0)) {
        notes.push(format!("the command failed; its words are in {}", trigger::LOG));
    }
    let boots = guest.map(Guest::boots).transpose()?;
    if boots == Some(0) {
        notes.push("the guest never said who it is: see --stats".to_owned());
    }
    let reboots = boots.and_then(|boots| boots.checked_sub(1));
    Ok(Raw { series, given, reboots, notes })
}

fn series(reader: Reader, options: &Options, status: ExitStatus, stderr: &str) -> anyhow::Result<Series> {
    let answered = reader.answered();
    if let Some(series) = reader.finish(options.interval.0) {
        return Ok(series);
    }
    if let Some(advice) = ping::advice(stderr) {
        bail!("ping refuses: {} ({advice})", stderr.trim());
    }
    match stderr.trim() {
        "" if answered == 0 && status.code() == Some(1) => bail!("{} answers no ping", options.host),
        "" => bail!("ping ended early ({status})"),
        words => bail!("ping failed ({status}): {words}"),
    }
}

fn standing(reader: &Reader, elapsed: f64, end: End) -> String {
    let reached = reader.reached();
    let unanswered = usize::try_from(reached).unwrap_or_default().saturating_sub(reader.answered());
    let mut line = match end {
        End::Count(count) => format!("{elapsed:6.1} s: ping {reached} of {count}, {unanswered} lost"),
        End::Seconds(seconds) => format!("{elapsed:6.1} of {seconds} s: {reached} pings, {unanswered} lost"),
    };
    if let Some((at, rtt_ms)) = reader.latest() {
        line.push_str(&format!(", {rtt_ms} ms"));
        let silent = now() - at;
        if silent > 1.0 {
            line.push_str(&format!(", silent for {silent:.1} s"));
        }
    }
    line
}

/// A ping that runs. Ended with whoever holds it.
#[derive(Debug)]
struct Pinging {
    child: Child,
    lines: Receiver<String>,
    reader: Option<JoinHandle<()>>,
    /// Not a pipe: a host that cannot be reached has ping complain at each request, and a full pipe would stop it.
    stderr: File,
}

impl Pinging {
    fn begin(root: &Root, args: &[String]) -> anyhow::Result<Self> {
        let stderr = tempfile::tempfile().context("making a file for ping's complaints")?;
        let mut child = command::spawn(
            &Tool::find(root, "ping")?,
            args,
            Stdio::null(),
            Stdio::piped(),
            Stdio::from(stderr.try_clone()?),
        )?;
        let stdout = child.stdout.take().context("ping has no stdout")?;
        let (sender, lines) = mpsc::channel();
        let reader = std::thread::spawn(move || {
            let lines = BufReader::new(stdout).lines();
            // The first line that is none, or that nobody wants any more, is the last.
            let _ = lines.map_while(Result::ok).try_for_each(|line| sender.send(line));
        });
        Ok(Self { child, lines, reader: Some(reader), stderr })
    }

    /// Its exit status and what it complained about.
    fn end(&mut self) -> anyhow::Result<(ExitStatus, String)> {
        let status = self.child.wait().context("waiting for ping")?;
        if let Some(reader) = self.reader.take() {
            // A reader that panicked has read nothing more; the lines that came are whole.
            let _ = reader.join();
        }
        let mut stderr = String::new();
        self.stderr.rewind()?;
        self.stderr.read_to_string(&mut stderr)?;
        Ok((status, stderr))
    }
}

impl Drop for Pinging {
    fn drop(&mut self) {
        // Both fail where ping has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The guest, asked once a second which boot it is in.
#[derive(Debug)]
struct Guest {
    stop: mpsc::Sender<()>,
    asking: JoinHandle<BTreeSet<String>>,
}

impl Guest {
    fn watch(root: &Root, url: &str) -> Self {
        let (stop, stopped) = mpsc::channel();
        let (root, url) = (root.clone(), url.to_owned());
        let asking = std::thread::spawn(move || {
            let mut seen = BTreeSet::new();
            loop {
                // While it moves or boots it does not answer.
                if let Ok(stats) = curl::stats(&root, &Place::Here, &url, ASKED * 3) {
                    seen.insert(stats.boot_id);
                }
                if !matches!(stopped.recv_timeout(ASKED), Err(RecvTimeoutError::Timeout)) {
                    return seen;
                }
            }
        });
        Self { stop, asking }
    }

    /// In how many boots it was seen.
    fn boots(self) -> anyhow::Result<usize> {
        // It cannot have gone: it ends only when told.
        let _ = self.stop.send(());
        let seen = self.asking.join().map_err(|_| anyhow::anyhow!("asking the guest broke off"))?;
        Ok(seen.len())
    }
}

/// All events since `began`, from files and nodes, by our clock.
fn events_of(
    root: &Root,
    options: &Options,
    began: f64,
    notes: &mut Vec<String>,
) -> anyhow::Result<Vec<Event>> {
    let mut all = Vec::new();
    for file in &options.events {
        let text = std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
        all.extend(events::read(&text).into_iter().filter(|event| event.at >= began));
    }
    for node in &options.node {
        match Remote::new(node, options.ssh_config.as_deref()).events(root, began) {
            Ok((events, ahead)) => {
                all.extend(events);
                if let Some(ahead) = ahead {
                    notes.push(format!(
                        "{node}'s clock is {ahead:+.1} s off ours: its events are corrected by that"
                    ));
                }
            }
            // The measurement is made; it is worth more than where its phases come from.
            Err(error) => notes.push(format!("{node}'s events cannot be read: {error:#}")),
        }
    }
    Ok(all)
}

fn write(options: &Options, series: &Series, found: &Found, measurement: &Measurement) -> anyhow::Result<()> {
    let keep = |name: &str, text: String| {
        std::fs::write(options.out.join(name), text)
            .with_context(|| format!("writing {}", options.out.join(name).display()))
    };
    keep("rtt.csv", rtt_figures::csv(series, found))?;
    keep("rtt.json", serde_json::to_string_pretty(measurement)? + "\n")?;
    keep("rtt.svg", measurement.picture(series))?;
    if let Some(rows) = &options.rows {
        keep_row(rows, measurement.row()).with_context(|| format!("renewing {}", rows.display()))?;
    }
    Ok(())
}

/// Puts a row into a file of rows, in the place of the one of its name.
fn keep_row(path: &Path, row: Row) -> anyhow::Result<()> {
    let known: Vec<Row> = match std::fs::read_to_string(path) {
        Ok(text) => serde_json::from_str(&text).context("it is no file of rows")?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let mut beside = tempfile::NamedTempFile::new_in(folder)?;
    serde_json::to_writer_pretty(&mut beside, &rtt_figures::with_row(known, row))?;
    beside.write_all(b"\n")?;
    beside.persist(path)?;
    Ok(())
}

fn report(options: &Options, measurement: &Measurement) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    if options.json {
        serde_json::to_writer_pretty(&mut out, measurement)?;
        return Ok(writeln!(out)?);
    }
    write!(out, "\n{}\n{}", measurement.name, measurement.report())?;
    let files = ["rtt.json", "rtt.csv", "rtt.svg", "ping.txt"].join(", ");
    Ok(writeln!(out, "files          {}: {files}", options.out.display())?)
}

/// `xen-handoff-bench compare`: several results in one table, and in one picture.
///
/// # Errors
/// If a result cannot be read or the picture cannot be written.
pub fn compare(folders: &[PathBuf], picture: Option<&Path>, bars: Option<&Path>) -> anyhow::Result<()> {
    let mut measurements = Vec::new();
    let mut panels = Vec::new();
    for folder in folders {
        let file = folder.join("rtt.json");
        let text = std::fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
        let measurement: Measurement = serde_json::from_str(&text)
            .with_context(|| format!("{} is no result of xen-handoff-bench rtt", file.display()))?;
        if picture.is_some() {
            panels.push(measurement.panel(&series_of(folder, &measurement)?));
        }
        measurements.push(measurement);
    }
    if let Some(path) = picture {
        let svg = plot::draw("seconds after the command", &panels);
        std::fs::write(path, svg).with_context(|| format!("writing {}", path.display()))?;
    }
    let ways: Vec<Way> = measurements.iter().filter_map(Way::of).collect();
    let (comparison, phases) = (rtt_figures::comparison(&measurements), ways::table(&ways));
    if let Some(path) = bars {
        // Of the figures that are printed.
        let svg = ways::picture(&ways::read(&phases));
        std::fs::write(path, svg).with_context(|| format!("writing {}", path.display()))?;
    }
    let between = if phases.is_empty() { "" } else { "\n" };
    Ok(write!(std::io::stdout(), "{comparison}{between}{phases}")?)
}

/// The series that was kept beside a result.
fn series_of(folder: &Path, measurement: &Measurement) -> anyhow::Result<Series> {
    let file = folder.join("rtt.csv");
    let text = std::fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
    let probes = rtt_figures::read_csv(&text)
        .with_context(|| format!("{} is not as it was written", file.display()))?;
    Ok(Series {
        interval: measurement.interval_s,
        began: measurement.began_unix,
        probes,
        duplicates: measurement.duplicates,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_rows_grows_and_is_renewed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("target/rows.json");
        let row = |name: &str, lost| Row {
            name: name.to_owned(),
            rtt_idle_ms: Some(0.2),
            rtt_during_ms: None,
            longest_gap_s: 0.1,
            lost,
            total_s: None,
            reboots: None,
        };
        for (name, lost) in [("a", 1), ("b", 2), ("a", 3)] {
            keep_row(&path, row(name, lost)).unwrap();
        }
        let rows: Vec<Row> = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(rows, [row("a", 3), row("b", 2)]);
        std::fs::write(&path, "{}").unwrap();
        assert!(keep_row(&path, row("c", 0)).is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{}");
    }
}
