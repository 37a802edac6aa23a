//! `xen-handoff status --watch` in a real terminal, tmux's, on a stand-in world. What is drawn in which size, of what, is tested beside
//! the code (`src/tool/watch/picture.rs`).

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    dead_code,
    unreachable_pub,
    missing_docs,
    missing_debug_implementations,
    reason = "a test fails by panicking, and its helpers are nobody's library"
)]

#[path = "world/three_nodes.rs"]
mod three_nodes;
mod world;

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use three_nodes::{managed, x0_on_n1};
use world::{Host, World, run};

/// A terminal, with a shell that has run the tool and waits.
struct Terminal {
    socket: PathBuf,
}

impl Terminal {
    /// One of this size with the dashboard, on this host; `None` where there is no tmux.
    fn open(world: &World, host: &Host, columns: u16, lines: u16) -> Option<Self> {
        Self::with(world, host, (columns, lines), "status --all --watch")
    }

    /// The same with any subcommand.
    fn with(world: &World, host: &Host, (columns, lines): (u16, u16), words: &str) -> Option<Self> {
        let path = std::env::var_os("PATH").unwrap();
        if !std::env::split_paths(&path).any(|folder| folder.join("tmux").is_file()) {
            eprintln!("skipped: no tmux");
            return None;
        }
        let terminal = Self { socket: world.shared("tmux") };
        let tool = env!("CARGO_BIN_EXE_xen-handoff");
        let line = format!("stty -a; {tool} {words}; echo ended with $?; stty -a; read -r line");
        let (columns, lines) = (columns.to_string(), lines.to_string());
        let size = ["new-session", "-d", "-x", &columns, "-y", &lines, "/bin/sh", "-c", &line];
        let mut tmux = terminal.tmux(&size);
        tmux.env_clear().env("PATH", path).env("XEN_HANDOFF_ROOT", &host.root).env("HA_LOGFACILITY", "none");
        let output = run(&mut tmux);
        assert!(output.status.success(), "{output:?}");
        Some(terminal)
    }

    fn tmux(&self, words: &[&str]) -> Command {
        let mut tmux = Command::new("tmux");
        tmux.args(["-f", "/dev/null", "-S"]).arg(&self.socket).args(words);
        tmux
    }

    fn told(&self, words: &[&str]) -> String {
        let output = run(&mut self.tmux(words));
        assert!(output.status.success(), "{words:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// What it shows, once that is as it is to be; kept in the folder `XEN_HANDOFF_SCREENS`, for whoever wants to look at it.
    fn shows(&self, what: &str, is: impl Fn(&str) -> bool) -> String {
        let until = Instant::now() + Duration::from_secs(120);
        loop {
            let screen = self.told(&["capture-pane", "-p", "-S", "-100"]);
            if is(&screen) {
                if let Some(folder) = std::env::var_os("XEN_HANDOFF_SCREENS") {
                    std::fs::write(PathBuf::from(folder).join(format!("{what}.txt")), &screen).unwrap();
                }
                return screen;
            }
            assert!(Instant::now() < until, "never {what}:\n{screen}");
        }
    }

    fn press(&self, key: &str) {
        self.told(&["send-keys", key]);
    }

    fn resize(&self, columns: &str, lines: &str) {
        self.told(&["resize-window", "-x", columns, "-y", lines]);
    }

    /// The tool has ended well, and the terminal is as it was.
    fn is_given_back(&self) {
        let screen = self.shows("ended", |screen| screen.matches("min = ").count() == 2);
        assert!(screen.contains("ended with 0"), "{screen}");
        let settings: Vec<&str> = screen.split("ended with 0").collect();
        let words = |text: &str| {
            let at = text.find("intr = ").unwrap();
            text[at..]
                .split_whitespace()
                .map(str::to_owned)
                .take_while(|word| word != "echoke")
                .collect::<Vec<_>>()
        };
        assert_eq!(words(settings[0]), words(settings[1]));
        assert_eq!(self.told(&["display-message", "-p", "#{alternate_on}#{cursor_flag}"]).trim(), "01");
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        run(&mut self.tmux(&["kill-server"]));
    }
}

/// x0 is on offer on n1, and its stream will stop in the middle.
fn x0_on_offer() -> World {
    let world = x0_on_n1();
    managed(&world, Some("n1"));
    let n1 = world.host("n1");
    n1.knob("stream.mib", "15");
    n1.knob("migrate.hold", "in-stream");
    n1.succeeds("stop");
    world
}

/// A stream that goes on when this is dropped, also where the test has failed.
struct Held<'a>(&'a Host);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.unset_knob("migrate.hold");
    }
}

/// The line of a domain.
fn line<'a>(screen: &'a str, domain: &str) -> &'a str {
    let is_its = |line: &&str| line.get(2..).is_some_and(|line| line.starts_with(&format!("{domain} ")));
    screen.lines().find(is_its).unwrap_or_default()
}

#[test]
fn a_move_is_seen_from_the_offer_to_its_end_in_a_terminal_of_any_size() {
    let world = x0_on_offer();
    let (n1, n2, n3) = (world.host("n1"), world.host("n2"), world.host("n3"));
    let Some(terminal) = Terminal::open(&world, &n3, 60, 15) else { return };
    let screen = terminal.shows("offered", |screen| line(screen, "x0").contains("offer ends in "));
    assert!(screen.contains("1 on offer") && line(&screen, "x0").contains("  n1  "), "{screen}");
    std::thread::scope(|scope| {
        let held = Held(&n1);
        let start = scope.spawn(|| n2.act("start", &[("OCF_RESKEY_CRM_meta_timeout", "600000")]));
        let half = |screen: &str| line(screen, "x0").contains(" 43 %");
        let narrow = terminal.shows("narrow", half);
        assert!(line(&narrow, "x0").contains("n1 > n2    [###") && narrow.contains("1 moving"), "{narrow}");
        assert!(!narrow.contains("of 16 MiB"), "{narrow}");
        terminal.resize("160", "40");
        let wide = terminal.shows("wide", |screen| half(screen) && screen.contains("7 of 16 MiB"));
        assert!(wide.lines().next().unwrap().trim_end().len() < 160 && wide.lines().count() <= 40, "{wide}");
        terminal.resize("60", "4");
        let low = terminal.shows("low", |screen| half(screen) && !screen.contains("of 16 MiB"));
        assert!(low.starts_with("n3 ") && low.contains("q quits"), "{low}");
        terminal.resize("80", "24");
        drop(held);
        assert_eq!(start.join().unwrap().code, 0);
    });
    terminal.shows("nothing", |screen| screen.contains("Nothing moves, and nothing is on offer."));
    terminal.press("q");
    terminal.is_given_back();
}

#[test]
fn a_node_that_goes_silent_keeps_its_rows_on_the_screen_with_their_age() {
    let world = x0_on_offer();
    let (n1, n2) = (world.host("n1"), world.host("n2"));
    let Some(terminal) = Terminal::open(&world, &n2, 80, 24) else { return };
    terminal.shows("answers", |screen| line(screen, "x0").contains("offer ends in "));
    n1.cut(true);
    let screen = terminal.shows("silent", |screen| line(screen, "x0").contains(" s old) offer ends in "));
    assert!(line(&screen, "x0").starts_with("? "), "{screen}");
    assert!(screen.lines().next().unwrap().contains("  n1 SILENT  1 domain  1 on offer"), "{screen}");
    let words = screen.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("! n1 SILENT for ") && words.contains("No route to host"), "{screen}");
    n1.cut(false);
    terminal.shows("back", |screen| !screen.contains("SILENT") && line(screen, "x0").starts_with("  x0"));
    terminal.press("C-c");
    terminal.is_given_back();
}

/// What the scheduler is about to do from now on.
fn plans(world: &World, operations: &[(u32, &str, &str)]) {
    let synapse = |(id, task, node): &(u32, &str, &str)| {
        format!(
            "<synapse><action_set><rsc_op id=\"{id}\" operation=\"{task}\" on_node=\"{node}\"><primitive id=\"x0\"/></rsc_op>\
             </action_set><inputs/></synapse>"
        )
    };
    let graph: String = operations.iter().map(synapse).collect();
    let path = world.shared("graph.xml");
    // The tools may be asked while it is written.
    std::fs::write(path.with_extension("new"), format!("<transition_graph>{graph}</transition_graph>"))
        .unwrap();
    std::fs::rename(path.with_extension("new"), path).unwrap();
}

#[test]
fn what_the_cluster_does_next_is_shown_until_it_is_under_way_and_a_scheduler_that_does_not_say_is_named() {
    let world = x0_on_n1();
    managed(&world, Some("n1"));
    let (n1, n3) = (world.host("n1"), world.host("n3"));
    let Some(terminal) = Terminal::open(&world, &n3, 60, 15) else { return };
    let next = |screen: &str| screen.lines().any(|line| line.starts_with("  next  x0: n1 > n2"));
    terminal.shows("nothing-next", |screen| screen.contains("As of: ") && screen.contains("next "));
    plans(&world, &[(1, "stop", "n1"), (2, "start", "n2")]);
    let screen = terminal.shows("next", next);
    assert!(screen.lines().next().unwrap().contains("  1 next"), "{screen}");
    terminal.resize("60", "4");
    terminal.shows("next-low", |screen| screen.lines().count() <= 4 && screen.contains("  1 next"));
    terminal.resize("80", "24");
    n1.succeeds("stop");
    let screen = terminal.shows("under-way", |screen| line(screen, "x0").contains("offer ends in "));
    assert!(!next(&screen), "{screen}");
    n3.put_script("usr/sbin/crm_simulate", "echo no schema for it; exit 1");
    terminal.shows("mute", |screen| {
        screen.contains("! what comes next is not known: cannot read what crm_simulate")
    });
    terminal.press("q");
    terminal.is_given_back();
}

#[test]
fn a_command_that_takes_its_time_says_for_what_until_it_has_its_answer() {
    let world = x0_on_n1();
    managed(&world, Some("n1"));
    let (n1, go) = (world.host("n1"), world.shared("go"));
    let held = format!("until [ -e {} ]; do sleep 0.05; done; echo no schema for it; exit 1", go.display());
    n1.put_script("usr/sbin/crm_mon", &held);
    let Some(terminal) = Terminal::with(&world, &n1, (60, 15), "drain n1 --plan") else { return };
    let waits = |screen: &str| {
        let is_it =
            |line: &str| line.starts_with("asking the scheduler, and each targ") && line.ends_with(" s");
        screen.lines().any(is_it)
    };
    // Cut off at the terminal's width, so that it can be taken away again.
    let screen = terminal.shows("waits", waits);
    assert!(screen.lines().all(|line| line.len() <= 60), "{screen}");
    std::fs::write(&go, "").unwrap();
    let screen = terminal.shows("answered", |screen| screen.contains("ended with 1"));
    assert!(
        screen.contains("cannot read what crm_mon says") && !screen.contains("asking the scheduler"),
        "{screen}"
    );
}
