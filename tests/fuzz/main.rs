//! What nobody ever wrote, to every reader of text from outside, to the server as a whole, and to the stream: `make fuzz`.
//!
//! Inputs are captures and kept files with some changes ([`mutate`]). For each, this counts a panic in any thread, more than 16 MiB of
//! memory, more than a second of the processor, and more than ten seconds in all. The same seed makes the same inputs in the same
//! order. A process of its own reads them, so that an abort is a count and not an end; what failed is kept in `tests/fuzz/corpus`,
//! and comes first in every later run.
#![allow(clippy::print_stdout, reason = "a harness talks to a person")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]
#![allow(clippy::disallowed_methods, reason = "it starts itself, and the server, as they are")]

mod mutate;
mod process;
mod targets;

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use peak_alloc::PeakAlloc;
use rustix::time::{ClockId, clock_gettime};
use targets::Target;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// The most that one input may take.
const MOST_MEMORY: usize = 16 << 20;
/// The most of the processor that one input may take.
const MOST_WORK: Duration = Duration::from_secs(1);
/// The longest that one input may take, waits included; a busy machine is no fault.
const LONGEST: Duration = Duration::from_secs(10);
/// An end for what does not end.
const NO_END: Duration = Duration::from_secs(40);
/// How often a worker that was ended by an input is begun again.
const AGAIN: u64 = 20;

static PANICS: AtomicU64 = AtomicU64::new(0);
static SAID: Mutex<String> = Mutex::new(String::new());

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let given = |name: &str| {
        words.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('=')?.parse::<u64>().ok())
    };
    let only = words.iter().find_map(|word| word.strip_prefix("only=")).unwrap_or_default();
    let (Some(seconds), seed) = (given("time"), given("seed").unwrap_or_else(|| fastrand::u64(..1_000_000)))
    else {
        // The server starts its own executable, which is this one here, to keep what it was asked to keep.
        return ExitCode::SUCCESS;
    };
    match given("worker") {
        Some(round) => work(seed, round, seconds, only),
        None => lead(seed, seconds, only),
    }
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Which input is being read: where a worker leaves it for whoever finds that it has died.
fn current(scratch: &Path) -> PathBuf {
    scratch.join("current")
}

/// Starts workers until the time is over, and counts.
fn lead(seed: u64, seconds: u64, only: &str) -> ExitCode {
    println!("seed={seed}");
    let scratch = tempfile::tempdir_in("/dev/shm").unwrap();
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut counts: BTreeMap<String, [u64; 4]> = BTreeMap::new();
    let mut round = 0;
    for _ in 0..AGAIN {
        let left = end.saturating_duration_since(Instant::now()).as_secs();
        if round > 0 && left == 0 {
            break;
        }
        let mut worker = Command::new(std::env::current_exe().unwrap())
            .args([
                format!("worker={round}"),
                format!("seed={seed}"),
                format!("time={left}"),
                format!("only={only}"),
            ])
            .env("TMPDIR", scratch.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        for line in BufReader::new(worker.stdout.take().unwrap()).lines().map_while(Result::ok) {
            let mut words = line.split('\t');
            match (words.next(), words.next()) {
                (Some("round"), Some(number)) => round = number.parse::<u64>().unwrap() + 1,
                (Some("count"), Some(name)) => {
                    let more: Vec<u64> = words.map(|word| word.parse().unwrap()).collect();
                    let count = counts.entry(name.to_owned()).or_default();
                    count.iter_mut().zip(more).for_each(|(count, more)| *count += more);
                }
                _ => println!("{line}"),
            }
        }
        let status = worker.wait().unwrap();
        if status.success() {
            break;
        }
        let (name, input) = left_behind(&current(scratch.path()));
        if name.is_empty() {
            println!("fuzz: the worker could not begin: {status}");
            return ExitCode::FAILURE;
        }
        let file = keep(&name, &input);
        println!("{name}: {status}: {}", file.display());
        counts.entry(name).or_default()[1] += 1;
        round += 1;
    }
    for (name, [inputs, panics, over, milliseconds]) in &counts {
        println!("{inputs:>10} {panics:>3} {over:>3} {milliseconds:>8} ms  {name}");
    }
    let [inputs, panics, over] =
        counts.values().fold([0; 3], |sum, count| [0, 1, 2].map(|n| sum[n] + count[n]));
    println!("fuzz: inputs={inputs} panics={panics} over={over}");
    if panics + over == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Keeps an input that failed.
fn keep(name: &str, input: &[u8]) -> PathBuf {
    let mut hasher = DefaultHasher::new();
    input.hash(&mut hasher);
    let folder = targets::corpus(repository(), name);
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join(format!("{:016x}", hasher.finish()));
    std::fs::write(&file, input).unwrap();
    file
}

/// What [`Trace::set`] has written.
fn left_behind(file: &Path) -> (String, Vec<u8>) {
    let bytes = std::fs::read(file).unwrap_or_default();
    let word =
        |at: usize| bytes.get(at..at + 8).map_or(0, |word| usize::from_le_bytes(word.try_into().unwrap()));
    let (name, input) = (word(0), word(8));
    let part = |from: usize, length: usize| bytes.get(from..from + length).unwrap_or_default().to_vec();
    (String::from_utf8_lossy(&part(16, name)).into_owned(), part(16 + name, input))
}

struct Trace(std::fs::File);

impl Trace {
    fn set(&self, name: &str, input: &[u8]) {
        let lengths = [name.len() as u64, input.len() as u64].map(u64::to_le_bytes).concat();
        self.0.write_all_at(&[&lengths, name.as_bytes(), input].concat(), 0).unwrap();
    }
}

/// Reads inputs until the time is over, from this round on.
fn work(seed: u64, first: u64, seconds: u64, only: &str) -> ExitCode {
    let scratch = std::env::temp_dir();
    let trace = Trace(std::fs::File::create(current(&scratch)).unwrap());
    let mut targets = targets::all(repository(), &scratch);
    targets.extend(process::served(&scratch));
    targets.retain(|target| target.name.contains(only));
    std::panic::set_hook(Box::new(|panic| {
        PANICS.fetch_add(1, Ordering::SeqCst);
        *SAID.lock().unwrap_or_else(PoisonError::into_inner) = panic.to_string().replace('\n', " ");
    }));
    let end = Instant::now() + Duration::from_secs(seconds);
    watch();
    if first == 0 {
        for target in &targets {
            let kept = targets::kept(repository(), &target.name);
            let inputs: Vec<Vec<u8>> =
                kept.into_iter().map(|(_, input)| input).chain(target.seeds.clone()).collect();
            tell(target, inputs.iter().map(|input| read(target, input, &trace)));
        }
    }
    for round in first.. {
        println!("round\t{round}");
        for (number, target) in targets.iter().enumerate() {
            let mut rng = fastrand::Rng::with_seed(
                seed ^ round.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (number as u64) << 48,
            );
            tell(
                target,
                (0..target.turn).map(|_| read(target, &mutate::make(&mut rng, &target.seeds), &trace)),
            );
            if Instant::now() >= end {
                return ExitCode::SUCCESS;
            }
        }
    }
    ExitCode::SUCCESS
}

fn tell(target: &Target, results: impl Iterator<Item = [u64; 2]>) {
    let (mut count, began) = ([0; 3], Instant::now());
    for [panics, over] in results {
        count = [count[0] + 1, count[1] + panics, count[2] + over];
    }
    let [inputs, panics, over] = count;
    println!("count\t{}\t{inputs}\t{panics}\t{over}\t{}", target.name, began.elapsed().as_millis());
}

static BEGAN: Mutex<Option<Instant>> = Mutex::new(None);

/// Ends this process when an input has no end.
fn watch() {
    std::thread::spawn(|| {
        loop {
            std::thread::sleep(Duration::from_secs(1));
            let began = *BEGAN.lock().unwrap();
            if began.is_some_and(|began| began.elapsed() > NO_END) {
                println!("an input has no end");
                std::process::abort();
            }
        }
    });
}

/// How often it panicked, and whether it took too much.
fn read(target: &Target, input: &[u8], trace: &Trace) -> [u64; 2] {
    trace.set(&target.name, input);
    let work = || Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default();
    *BEGAN.lock().unwrap() = Some(Instant::now());
    PANICS.store(0, Ordering::SeqCst);
    let (began, worked) = (Instant::now(), work());
    MEMORY.reset_peak_usage();
    let before = MEMORY.current_usage();
    let _ = catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
    let memory = MEMORY.peak_usage().saturating_sub(before);
    let (took, worked) = (began.elapsed(), work().saturating_sub(worked));
    *BEGAN.lock().unwrap() = None;
    let panics = PANICS.load(Ordering::SeqCst).min(1);
    let over = u64::from(memory > MOST_MEMORY || worked > MOST_WORK || took > LONGEST);
    if panics + over > 0 {
        let why = if panics > 0 {
            SAID.lock().unwrap_or_else(PoisonError::into_inner).clone()
        } else {
            format!("{} KiB, {worked:.1?} of the processor, {took:.1?}", memory >> 10)
        };
        println!("{}: {why}: {}", target.name, keep(&target.name, input).display());
    }
    [panics, over]
}
