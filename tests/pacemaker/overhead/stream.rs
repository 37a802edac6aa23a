//! `make bench-stream`: a stream through xl's sender, our relay, ssh and our receiver, against `ssh HOST cat`
//! of the same bytes between the same two nodes, in turn with it.
//!
//! `cargo test --test pacemaker -- overhead stream [mib=4096] [runs=3]`. The bytes are those of this
//! machine's own programs and libraries, 256 MiB of them again and again, in records of 4 MiB. A stream's
//! time is from the first byte that the sender writes to the target's word that it has all of it; of `ssh
//! HOST cat` it is that of the command without what `ssh HOST true` takes. Both go from the node that has the
//! guest to the other one, by the ssh of that one, and everything runs on the processors of one machine.
//!
//! Rows have `case` = `stream`, `what`, `mib`, `seconds`, `mib_per_second`; `ratio`, to the rate of `ssh HOST
//! cat` in the same run; `pause_seconds`, where a guest moved: from its suspension to its running at the
//! target. The row `pause` compares that of handoffs and of bare `xl migrate`, streams of 64 MiB in turn.

use super::moves::{Which, seconds};
use super::{Bench, FROM, TO, median, number, rounded};
use crate::audit;
use crate::spawn::{command, must, run, until};
use serde_json::{Value, json};
use std::process::ExitCode;
use std::time::{Duration, Instant};

const X0: &str = "x0";
/// A guest that the cluster does not know.
const BARE: &str = "y0";
/// What is sent.
const PAGES: &str = "/shared/pages";
const PAGES_MIB: u64 = 256;
/// A limited rate, in MiB/s.
const RATE: u64 = 100;
/// A session of its own, as the agent's worker has: the kernel shares processors out among sessions (`autogroup`), and
/// the tests' own may have been told to give way.
const OF_ITS_OWN: &str = "setsid --wait";
const SOON: Duration = Duration::from_secs(10);

/// One stream.
#[derive(Clone, Copy, Debug)]
struct Sent {
    seconds: f64,
    pause: Option<f64>,
}

/// Measures, prints a table, writes the rows.
pub(super) fn measure(bench: &Bench<'_>, load: f64, words: &[String]) -> ExitCode {
    let mib = number(words, "mib").unwrap_or(4096);
    let runs = number(words, "runs").unwrap_or(3);
    bench.end(Streams { bench, mib }.all(runs), load)
}

struct Streams<'a, 'b> {
    bench: &'a Bench<'b>,
    mib: u64,
}

impl Streams<'_, '_> {
    fn all(&self, runs: usize) -> Result<Vec<Value>, String> {
        self.make_pages();
        self.bench.give(&[X0.to_owned()]);
        println!(
            "{:<34} {:>6} {:>8} {:>7} {:>6} {:>8}",
            "what", "MiB", "seconds", "MiB/s", "ratio", "pause s"
        );
        let (mut ours, mut plain, mut bare) = (vec![], vec![], vec![]);
        for _ in 0..runs {
            plain.push(self.cat(self.mib, &[]));
            ours.push(self.handoff(self.mib)?);
            bare.push(self.bare(self.mib)?);
        }
        let reference = self.reference(&plain);
        let mut rows = vec![
            self.row("ssh HOST cat", self.mib, &plain, reference),
            self.row("handoff", self.mib, &ours, reference),
            self.row("xl migrate", self.mib, &bare, reference),
        ];
        let less = self.mib / 4;
        for (parameter, value) in
            [("migration_compression", "zstd".to_owned()), ("migration_rate", RATE.to_string())]
        {
            self.set(parameter, &value);
            let sent = [self.handoff(less)?, self.handoff(less)?];
            rows.push(self.row(&format!("handoff, {parameter}={value}"), less, &sent, reference));
            self.set(parameter, if value == "zstd" { "none" } else { "0" });
        }
        for cipher in self.ciphers() {
            let sent = [self.cat(less, &["-c", &cipher])];
            rows.push(self.row(&format!("ssh -c {cipher} HOST cat"), less, &sent, reference));
        }
        rows.push(self.pauses(5 * runs)?);
        self.bench.take_back();
        Ok(rows)
    }

    /// MiB/s of `ssh HOST cat`.
    fn reference(&self, plain: &[Sent]) -> f64 {
        rate(self.mib, median(plain.iter().map(|sent| sent.seconds).collect()))
    }

    fn row(&self, what: &str, mib: u64, sent: &[Sent], reference: f64) -> Value {
        let took = median(sent.iter().map(|sent| sent.seconds).collect());
        let pauses: Vec<f64> = sent.iter().filter_map(|sent| sent.pause).collect();
        let pause = (!pauses.is_empty()).then(|| rounded(median(pauses)));
        let rate = rate(mib, took);
        let said = pause.map_or_else(String::new, |pause| format!("{pause:8.3}"));
        println!("{what:<34} {mib:>6} {took:>8.2} {rate:>7.0} {:>6.2} {said}", rate / reference);
        json!({
            "case": "stream", "nodes": 2, "domains": 1, "silent": 0, "what": what, "mib": mib,
            "seconds": rounded(took), "mib_per_second": rate.round(), "ratio": rounded(rate / reference),
            "pause_seconds": pause, "runs": sent.len(),
        })
    }

    /// What of the pause is ours.
    fn pauses(&self, runs: usize) -> Result<Value, String> {
        let (mut ours, mut bare) = (vec![], vec![]);
        for _ in 0..runs {
            ours.extend(self.handoff(64)?.pause);
            bare.extend(self.bare(64)?.pause);
        }
        let (ours, bare) = (median(ours), median(bare));
        println!("pause: handoff {ours:.3} s, bare xl migrate {bare:.3} s: {:.2}", ours / bare);
        Ok(json!({
            "case": "stream", "nodes": 2, "domains": 1, "silent": 0, "what": "pause", "mib": 64,
            "seconds": rounded(ours), "bare_seconds": rounded(bare), "ratio": rounded(ours / bare),
            "runs": runs,
        }))
    }

    fn make_pages(&self) {
        let file = self.bench.cluster.fabric.shared().join("pages");
        let script =
            "find /usr/lib /usr/bin -type f -print0 | sort -z | xargs -0 cat 2>/dev/null | head -c $1 >$2";
        let bytes = (PAGES_MIB << 20).to_string();
        must(command("sh").args(["-c", script, "sh", &bytes]).arg(&file));
        for node in [FROM, TO] {
            self.bench.cluster.knob(node, "stream.file", PAGES);
            self.bench.cluster.knob(node, "stream.last-seconds", "0");
        }
    }

    fn set(&self, parameter: &str, value: &str) {
        self.bench.cluster.must(&["crm_resource", "-r", X0, "-p", parameter, "-v", value]);
        self.bench.cluster.settle();
    }

    /// The node that has the guest, and the other one.
    fn here_and_there(&self) -> (&'static str, &'static str) {
        if self.bench.runs_on(FROM, X0) { (FROM, TO) } else { (TO, FROM) }
    }

    /// A handoff.
    fn handoff(&self, mib: u64) -> Result<Sent, String> {
        let (from, _) = self.here_and_there();
        self.bench.cluster.knob(from, "stream.mib", &mib.to_string());
        let since = super::kernel::now(rustix::time::ClockId::Realtime);
        self.bench.one(&[X0.to_owned()], from == FROM)?;
        self.sent(X0, since)
    }

    /// xl's own migration of a guest that the cluster does not know.
    fn bare(&self, mib: u64) -> Result<Sent, String> {
        let (fabric, (from, to)) = (&self.bench.cluster.fabric, self.here_and_there());
        fabric.put(
            from,
            "/etc/xen/y0.cfg",
            0o644,
            "name = \"y0\"\ntype = \"pvh\"\nmemory = 128\nvcpus = 1\n",
        );
        fabric.sh(from, "xl create /etc/xen/y0.cfg");
        self.bench.cluster.knob(from, "stream.mib", &mib.to_string());
        let since = super::kernel::now(rustix::time::ClockId::Realtime);
        fabric.sh(from, &format!("{OF_ITS_OWN} xl migrate {BARE} {to}"));
        until(SOON, || self.bench.runs_on(to, BARE)).map_err(|_| "y0 does not run".to_owned())?;
        let sent = self.sent(BARE, since);
        fabric.sh(to, &format!("xl destroy {BARE}"));
        sent
    }

    /// What is known of the stream of this guest since then.
    fn sent(&self, name: &str, since: u64) -> Result<Sent, String> {
        let stamps = self.bench.stamps();
        let at = |which: Which| {
            let mut of = stamps.iter().filter(|s| s.domain == name && s.at > since && s.which == which);
            of.next().map(|stamp| stamp.at).ok_or_else(|| format!("no stream of {name}: {which:?}"))
        };
        let file = self.bench.cluster.fabric.shared().join("xl-events");
        let mut events = audit::read(&std::fs::read_to_string(file).unwrap_or_default());
        events.retain(|event| event.at > since);
        // It ran until then, which is before these events.
        let suspended = events.iter().find(|e| e.name == name && e.new == "shutdown-suspend").map(|e| e.at);
        let runs = events.iter().find(|e| e.name == name && e.new == "running").map(|e| e.at);
        let pause = suspended.zip(runs).map(|(from, to)| seconds(from, to));
        Ok(Sent { seconds: seconds(at(Which::First)?, at(Which::Ready)?), pause })
    }

    /// The bare bytes, from the node that has the guest to the other one.
    fn cat(&self, mib: u64, options: &[&str]) -> Sent {
        let files = vec![PAGES; usize::try_from(mib / PAGES_MIB).unwrap_or(1).max(1)].join(" ");
        let command = format!("exec cat {files}");
        let (began, nothing) = (self.timed("true", options), self.timed("true", options));
        let login = began.min(nothing);
        Sent { seconds: (self.timed(&command, options) - login).max(0.001), pause: None }
    }

    fn timed(&self, what: &str, options: &[&str]) -> f64 {
        let (from, to) = self.here_and_there();
        let options = options.join(" ");
        let ssh = format!("ssh -i /root/.ssh/id_ed25519 {options} {from} '{what}'");
        let script = format!("exec {OF_ITS_OWN} {ssh} >/dev/null");
        let began = Instant::now();
        self.bench.cluster.fabric.sh(to, &script);
        began.elapsed().as_secs_f64()
    }

    /// Those that both ends can.
    fn ciphers(&self) -> Vec<String> {
        let (from, to) = self.here_and_there();
        let all = self.bench.cluster.fabric.sh(to, "ssh -Q cipher");
        let works = |cipher: &&str| {
            let words = ["ssh", "-i", "/root/.ssh/id_ed25519", "-c", cipher, from, "true"];
            run(&mut self.bench.cluster.fabric.inside(to, &words)).ok()
        };
        all.lines().filter(works).map(str::to_owned).collect()
    }
}

fn rate(mib: u64, seconds: f64) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "some thousand MiB")]
    let mib = mib as f64;
    mib / seconds
}
