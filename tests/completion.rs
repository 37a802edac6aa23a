//! What a shell completes: the names of the world that there is, beside subcommands and options. By the scripts as they are
//! packaged, in bash, and in zsh and fish where they are installed.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stderr,
    dead_code,
    unreachable_pub,
    missing_docs,
    missing_debug_implementations,
    reason = "a test fails by panicking, and its helpers are nobody's library"
)]

mod world;

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use world::{Host, World, run};
use xen_handoff::completion::VARIABLE;

const EXE: &str = env!("CARGO_BIN_EXE_xen-handoff");

/// x0 under our agent, `old` under the stock one; two nodes.
fn world() -> World {
    let world = World::new(&["n1", "other"]);
    let cib = std::fs::read_to_string(world.shared("cib.xml")).unwrap();
    let old = "<primitive id=\"old\" class=\"ocf\" provider=\"heartbeat\" type=\"Xen\"/></resources>";
    std::fs::write(world.shared("cib.xml"), cib.replace("</resources>", old)).unwrap();
    world
}

/// The question that a shell's script asks; the last word is the one that is being typed.
fn question(host: &Host, words: &[&str]) -> Command {
    let mut command = Command::new(EXE);
    command.args(["--", "xen-handoff"]).args(words).env_clear();
    command.env("XEN_HANDOFF_ROOT", &host.root).env(VARIABLE, "fish");
    command
}

/// What may stand there, without what is said of it.
fn offered(host: &Host, words: &[&str]) -> Vec<String> {
    let output = run(&mut question(host, words));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && output.stderr.is_empty(), "{words:?}: {output:?}");
    said.lines().map(|line| line.split('\t').next().unwrap().to_owned()).collect()
}

#[test]
fn each_place_on_a_command_line_is_offered_what_may_stand_there() {
    let world = world();
    let n1 = world.host("n1");
    for (words, wanted) in [
        (&["drain", ""][..], &["n1", "other"][..]),
        (&["reach", "o"], &["other"]),
        (&["preflight", "x0", "--to", ""], &["n1", "other"]),
        (&["keys", "--remove", "n"], &["n1"]),
        (&["preflight", ""], &["x0"]),
        (&["recover", ""], &["x0"]),
        (&["history", "--all", ""], &["x0"]),
        (&["explain", ""], &["x0"]),
        (&["explain", "XH0101"], &["XH0101"]),
        (&["adopt", "--dry-run", ""], &["old"]),
        (&["check", "--ignore", "cl"], &["cluster", "clock"]),
        (&["agent", "st"], &["start", "stop", "status"]),
        // Options: to whoever begins one, and where nothing else may stand.
        (&["drain", "n1", "--pl"], &["--plan"]),
        (&["reach", "--network"], &["--network-suffix"]),
        (&["check", ""], &["--json", "--monitoring", "--ignore"]),
        (&["check", "--he"], &["--help"]),
    ] {
        assert_eq!(offered(&n1, words), wanted, "{words:?}");
    }
}

#[test]
fn what_only_our_own_processes_call_is_offered_to_nobody() {
    let world = world();
    let n1 = world.host("n1");
    let commands: BTreeSet<String> = offered(&n1, &[""]).into_iter().collect();
    let people = xen_handoff::cli::Cli::for_people();
    let mut wanted: BTreeSet<String> =
        people.get_subcommands().map(|subcommand| subcommand.get_name().to_owned()).collect();
    wanted.insert("help".to_owned());
    assert_eq!(commands, wanted);
    assert_eq!(offered(&n1, &["se"]), Vec::<String>::new());
}

/// Every file below a folder, with its size.
fn files(folder: &Path) -> BTreeSet<(std::path::PathBuf, u64)> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        match entry.metadata().unwrap() {
            folder if folder.is_dir() => found.extend(files(&entry.path())),
            file => drop(found.insert((entry.path(), file.len()))),
        }
    }
    found
}

#[test]
fn a_cluster_that_does_not_answer_costs_a_second_and_says_nothing() {
    let world = world();
    let n1 = world.host("n1");
    n1.put_script("usr/sbin/cibadmin", "echo trouble >&2; exec sleep 60");
    std::fs::write(n1.root.join("etc/xen-handoff/known_hosts"), "kept ssh-ed25519 AAAA\n").unwrap();
    let before = files(&n1.root);
    let begun = Instant::now();
    assert_eq!(offered(&n1, &["drain", ""]), ["kept"], "the nodes of known_hosts");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert!(!offered(&n1, &["preflight", ""]).contains(&"x0".to_owned()));
    assert_eq!(files(&n1.root), before, "a question has changed something");
}

#[test]
fn nothing_but_a_question_of_a_shell_is_taken_for_one() {
    let world = world();
    let n1 = world.host("n1");
    for words in [&["agent", "meta-data"][..], &["status"], &["explain", "XH0101"]] {
        let asked = |shell: &str| {
            let root = n1.root.as_os_str();
            let mut command = Command::new(EXE);
            command.args(words).env_clear().env("XEN_HANDOFF_ROOT", root).env("HA_LOGFACILITY", "none");
            let output = run(command.env(VARIABLE, shell));
            (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
        };
        assert_eq!(asked("bash"), asked(""), "{words:?}");
        assert_eq!(asked("bash").0, Some(0), "{words:?}");
    }
    let agent = n1.root.join("Xen");
    std::os::unix::fs::symlink(EXE, &agent).unwrap();
    let mut action = Command::new(&agent);
    action.args(["--", "xen-handoff", "drain", ""]).env_clear().env(VARIABLE, "bash");
    action.env("XEN_HANDOFF_ROOT", &n1.root).env("HA_LOGFACILITY", "none");
    assert_eq!(run(&mut action).status.code(), Some(3), "the agent has no such action");
    let unasked = run(question(&n1, &["drain", ""]).env_remove(VARIABLE));
    assert_eq!(unasked.status.code(), Some(2), "no command line begins so");
}

/// Types these lines in a shell on a terminal, TAB included, and gives what stood there when Enter was pressed. `None` where there is no such shell.
fn typed(host: &Host, shell: &[&str], prepare: &str, lines: &[&str]) -> Option<Vec<String>> {
    let is_there = |name: &str| {
        std::env::var_os("PATH")
            .is_some_and(|path| std::env::split_paths(&path).any(|at| at.join(name).is_file()))
    };
    if let Some(lacks) = ["script", shell[0]].into_iter().find(|name| !is_there(name)) {
        eprintln!("skipped: no {lacks}");
        return None;
    }
    let programs = Path::new(EXE).parent().unwrap().display();
    let path = format!("{programs}:{}", std::env::var("PATH").unwrap());
    let stood = host.root.join("stood");
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--command", &shell.join(" "), "/dev/null"]);
    script
        .env_clear()
        .env("PATH", path)
        .env("XEN_HANDOFF_ROOT", &host.root)
        .env("TERM", "xterm")
        .env("STOOD", &stood);
    script
        .env("HOME", &host.root)
        .env("SCRIPTS", Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/completion"));
    let mut child =
        script.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // To the line's begin, and something before it that only writes it down.
    let keys: String = lines.iter().map(|line| format!("{line}\u{1}echo >>$STOOD \n")).collect();
    child.stdin.take().unwrap().write_all(format!("{prepare}\n{keys}exit\n").as_bytes()).unwrap();
    let said = String::from_utf8_lossy(&child.wait_with_output().unwrap().stdout).into_owned();
    let stood = std::fs::read_to_string(stood).unwrap_or_default();
    assert_eq!(stood.lines().count(), lines.len(), "{said}");
    Some(stood.lines().map(str::to_owned).collect())
}

/// A node, a domain that is the only one, an option, its value, a subcommand, a file.
const LINES: [(&str, &str); 6] = [
    ("xen-handoff drain o\t", "xen-handoff drain other"),
    ("xen-handoff preflight \t", "xen-handoff preflight x0"),
    ("xen-handoff drain other --pl\t", "xen-handoff drain other --plan"),
    ("xen-handoff check --ignore tr\t", "xen-handoff check --ignore transport"),
    ("xen-handoff pref\t", "xen-handoff preflight"),
    ("xen-handoff preflight x0 --config /etc/hostn\t", "xen-handoff preflight x0 --config /etc/hostname"),
];

fn completes(shell: &[&str], prepare: &str) {
    let world = world();
    let lines = LINES.map(|(line, _)| line);
    let Some(stood) = typed(&world.host("n1"), shell, prepare, &lines) else { return };
    assert_eq!(stood, LINES.map(|(_, wanted)| wanted), "{shell:?}");
}

#[test]
fn bash_completes_a_node_and_a_domain() {
    completes(&["bash", "--noprofile", "--norc", "-i"], "source $SCRIPTS/bash/xen-handoff");
}

/// As the package has it: found by its name, and read at the first TAB.
#[test]
fn zsh_completes_a_node_and_a_domain() {
    completes(
        &["zsh", "-f", "-i"],
        "bindkey -e; fpath=($SCRIPTS/zsh $fpath); autoload -U compinit; compinit -u -D",
    );
}

#[test]
fn fish_completes_a_node_and_a_domain() {
    completes(&["fish", "--no-config", "-i"], "source $SCRIPTS/fish/xen-handoff.fish");
}
