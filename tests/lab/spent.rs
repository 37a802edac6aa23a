//! Where the seconds of a run went: a table at its end, a line for each story.
//!
//! Each second counts once, for the outermost thing that is being done: what a node is asked while the cluster is waited for is the wait
//! for the cluster. Only the thread that tells the stories counts.

use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

/// What a story can spend time with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum On {
    /// Making layers: boots, the cluster and x0 brought up. Only where the cache has none.
    Layers,
    /// Going back to the snapshot, and to the first answer of x0.
    Restore,
    /// Preparing: a disk for x0, another x0.
    Preparing,
    /// Waiting for x0 to run elsewhere, to be suspended: the transfer, and what the cluster does up to it.
    Moving,
    /// Waiting for what the cluster says, the rest of its work.
    Cluster,
    /// Commands on the nodes: questions, and what is done to them.
    Commands,
    /// The audit at the end, and logs where it failed.
    Audit,
}

const COLUMNS: [(On, &str); 7] = [
    (On::Layers, "layers"),
    (On::Restore, "restore"),
    (On::Preparing, "prepare"),
    (On::Moving, "move"),
    (On::Cluster, "cluster"),
    (On::Commands, "commands"),
    (On::Audit, "audit"),
];

#[derive(Debug, Default)]
struct Row {
    story: String,
    all: Duration,
    of: [Duration; COLUMNS.len()],
}

#[derive(Debug)]
struct Ledger {
    /// The story that is being told, and by whom.
    open: Option<(ThreadId, Instant, Row)>,
    /// Something is being counted: what is done within it is a part of it.
    counting: bool,
    rows: Vec<Row>,
}

static LEDGER: Mutex<Ledger> = Mutex::new(Ledger { open: None, counting: false, rows: Vec::new() });

fn ledger<T>(work: impl FnOnce(&mut Ledger) -> T) -> T {
    work(&mut LEDGER.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Tells a story, whose time counts from here on.
pub(crate) fn story<T>(name: &str, work: impl FnOnce() -> T) -> T {
    let row = Row { story: name.to_string(), ..Row::default() };
    ledger(|ledger| ledger.open = Some((std::thread::current().id(), Instant::now(), row)));
    let done = work();
    ledger(|ledger| {
        if let Some((_, began, mut row)) = ledger.open.take() {
            row.all = began.elapsed();
            ledger.rows.push(row);
        }
    });
    done
}

/// Does something that is counted.
pub(crate) fn time<T>(on: On, work: impl FnOnce() -> T) -> T {
    let mine = ledger(|ledger| {
        let told_here =
            ledger.open.as_ref().is_some_and(|(thread, ..)| *thread == std::thread::current().id());
        let mine = told_here && !ledger.counting;
        ledger.counting |= mine;
        mine
    });
    if !mine {
        return work();
    }
    let _end = End { on, began: Instant::now() };
    work()
}

/// Counts also where the work panics.
struct End {
    on: On,
    began: Instant,
}

impl Drop for End {
    fn drop(&mut self) {
        ledger(|ledger| {
            ledger.counting = false;
            let column = COLUMNS.iter().position(|(on, _)| *on == self.on);
            if let (Some((.., row)), Some(column)) = (&mut ledger.open, column) {
                row.of[column] += self.began.elapsed();
            }
        });
    }
}

/// The table, in whole seconds, the dearest story first; nothing if no story was told.
pub(crate) fn table() -> Option<String> {
    ledger(|ledger| {
        ledger.rows.sort_by_key(|row| std::cmp::Reverse(row.all));
        (!ledger.rows.is_empty()).then(|| draw(&ledger.rows))
    })
}

fn draw(rows: &[Row]) -> String {
    let mut sum = Row { story: "all".to_string(), ..Row::default() };
    for row in rows {
        sum.all += row.all;
        sum.of.iter_mut().zip(row.of).for_each(|(sum, of)| *sum += of);
    }
    let width = rows.iter().map(|row| row.story.len()).max().unwrap_or_default().max(5);
    let mut text = format!("{:width$} {:>6}", "story", "all");
    COLUMNS.iter().for_each(|(_, name)| text += &format!(" {name:>8}"));
    text += &format!(" {:>8}\n", "other");
    for row in rows.iter().chain([&sum]) {
        let _ = write!(text, "{:width$} {:>6.0}", row.story, row.all.as_secs_f64());
        row.of.iter().for_each(|of| text += &format!(" {:>8.0}", of.as_secs_f64()));
        let other = row.all.saturating_sub(row.of.iter().sum());
        let _ = writeln!(text, " {:>8.0}", other.as_secs_f64());
    }
    text
}

/// About this file itself: [`crate::story`] tells it anywhere.
pub(crate) fn every_second_counts_once() -> anyhow::Result<()> {
    let row = |story: &str, all, moving| Row {
        story: story.to_string(),
        all: Duration::from_secs(all),
        of: COLUMNS.map(|(on, _)| Duration::from_secs(if on == On::Moving { moving } else { 0 })),
    };
    let table = draw(&[row("long", 100, 60), row("short", 10, 3)]);
    let last: Vec<&str> = table.lines().last().unwrap_or_default().split_whitespace().collect();
    anyhow::ensure!(last == ["all", "110", "0", "0", "0", "63", "0", "0", "0", "47"], "{table}");
    anyhow::ensure!(table.lines().count() == 4, "{table}");
    Ok(())
}
