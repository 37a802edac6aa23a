//! `README.md` word for word: every command of "Quick start" and "Daily use", typed in the page's order on nodes that have
//! nothing of ours, and each screen compared. What was typed and printed is in `target/readme-transcript.txt`.

use super::Test;
use crate::cluster::{Cluster, NODES};
use crate::compare::{difference, fits};
use crate::masks::masks_of;
use crate::spawn::{command, must, until};
use crate::story::{SOON, Story};
use std::io::Write;
use std::path::{Path, PathBuf};

pub(crate) const STORIES: &[(&str, Test)] = &[("readme_word_for_word_on_fresh_nodes", word_for_word)];

const SECTIONS: [&str; 2] = ["Quick start", "Daily use"];

/// What begins a command.
const COMMANDS: [&str; 11] = [
    "apt",
    "crm",
    "crm_resource",
    "dnf",
    "journalctl",
    "make",
    "man",
    "pcs",
    "systemctl",
    "xen-handoff",
    "zypper",
];

/// What begins a command that is not given here, and why. Each must be on the page.
const NOT_GIVEN: [(&str, &str); 7] = [
    ("make deb", "what `make install` lays out was put on the nodes"),
    ("make rpm", "for other distributions"),
    ("dnf install", "for other distributions"),
    ("zypper install", "for other distributions"),
    ("journalctl -x", "no journald in a namespace"),
    ("--agent-validation", "recipe_a_resource_with_the_advised_times gives it"),
    ("--force", "drain_tries_what_the_stop_will_try_and_asks_before_a_reboot gives it"),
];

/// An option that the page names by itself, and the commands that it is about.
const OPTIONS: [(&str, &[&str]); 5] = [
    ("--accept", &["xen-handoff keys --accept </shared/printed"]),
    ("--monitoring", &["xen-handoff check --monitoring"]),
    // Ended as by ^C.
    ("--watch", &["timeout --signal INT 1 xen-handoff status --all --watch || [ $? = 124 ]"]),
    ("--plan", &["xen-handoff drain n1 --plan"]),
    (
        "--json",
        &[
            "xen-handoff check --json",
            "xen-handoff preflight x0 --json",
            "xen-handoff history --all --json",
            "xen-handoff status --all --json",
            "xen-handoff explain x0 --json",
            "xen-handoff drain n1 --plan --json",
            "xen-handoff reach --all --json",
        ],
    ),
];

/// What stands there on nodes between which x0 has moved before, and what the page shows, where it has not.
const AFTER_MOVES: [(&str, &str); 2] = [
    ("x0 handed off to n2, in about # s (as its last move)", "x0  handed off to n2"),
    (
        "1 to move alive, 2 at a time: about # s.",
        "1 to move alive, 2 at a time; no move of this node has shown yet how long that\ntakes.",
    ),
];
/// The same of an end of a line.
const HAS_RUN: &str = "; the last copy that came there has run";

/// What a drain that looks in the wrong moment does not see.
const MAY_BE_MISSED: &str = "# s x0: on offer, not fetched yet";

/// So many lines of a manual page are kept.
const KEPT: usize = 10;

/// Where something is typed.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Every,
    /// On whichever: on the first.
    One,
    /// Behind this prompt.
    Node(String),
}

/// What the page has somebody type.
#[derive(Debug, Clone)]
struct Typed {
    place: Place,
    command: String,
    /// The screen below it; empty where there is none.
    shows: Vec<String>,
    /// Named in the text, and not in a box.
    in_text: bool,
}

fn section(title: &str) -> &'static str {
    let page = include_str!("../../../README.md");
    let rest = page.split_once(&format!("\n## {title}\n")).unwrap_or_else(|| panic!("no {title:?}")).1;
    rest.split("\n## ").next().unwrap_or_default()
}

/// All that is to be typed, in the order of the page.
fn read(section: &str) -> Vec<Typed> {
    let pieces = section.split("```").enumerate();
    pieces.flat_map(|(at, piece)| if at % 2 == 1 { in_box(piece) } else { in_text(piece) }).collect()
}

fn in_text(text: &str) -> Vec<Typed> {
    let spans = text.split('`').skip(1).step_by(2);
    let flat = spans.map(|span| span.split_whitespace().collect::<Vec<_>>().join(" "));
    let is_command = |span: &String| {
        let first = span.split(' ').next().unwrap_or_default();
        span.starts_with("--") || (span.contains(' ') && COMMANDS.contains(&first))
    };
    let typed = |command| Typed { place: Place::One, command, shows: Vec::new(), in_text: true };
    flat.filter(is_command).map(typed).collect()
}

fn in_box(text: &str) -> Vec<Typed> {
    let mut all: Vec<Typed> = Vec::new();
    for line in text.replace("\\\n", "").lines().filter(|line| !line.is_empty()) {
        let prompt = line.split_once("# ").filter(|(node, _)| NODES.contains(node));
        let screen = all.last_mut().filter(|typed| matches!(typed.place, Place::Node(_)));
        let (place, command) = match (prompt, screen) {
            (Some((node, command)), _) => (Place::Node(node.to_owned()), command),
            (None, Some(typed)) => {
                typed.shows.push(line.to_owned());
                continue;
            }
            (None, None) => {
                let (command, comment) = line.split_once(" # ").unwrap_or((line, ""));
                let place = if comment.contains("on every node") { Place::Every } else { Place::One };
                (place, command)
            }
        };
        let command = command.split_whitespace().collect::<Vec<_>>().join(" ");
        all.push(Typed { place, command, shows: Vec::new(), in_text: false });
    }
    all
}

/// What the page's names of nodes stand for: its first one, its second one, its third one.
type Naming = [&'static str; 3];

/// Every one in which these names of the page stand for these nodes.
fn namings(fixed: &[(&str, &str)]) -> Vec<Naming> {
    let [a, b, c] = NODES;
    let all = [[a, b, c], [a, c, b], [b, a, c], [b, c, a], [c, a, b], [c, b, a]];
    let fits = |naming: &Naming| fixed.iter().all(|(page, node)| translated(page, &NODES, naming) == *node);
    all.into_iter().filter(fits).collect()
}

/// A text with other names of nodes in it.
fn translated(text: &str, from: &Naming, to: &Naming) -> String {
    let marked = from
        .iter()
        .enumerate()
        .fold(text.to_owned(), |text, (at, name)| text.replace(name, &format!("\u{1}{at}\u{1}")));
    to.iter().enumerate().fold(marked, |text, (at, name)| text.replace(&format!("\u{1}{at}\u{1}"), name))
}

/// As it would be printed where x0 has not moved before. A domid says how often it has come to a host.
fn as_on_new_nodes(text: &str) -> String {
    let line = |line: &str| match AFTER_MOVES.iter().find(|(after, _)| fits(line, after)) {
        Some((_, page)) => format!("{page}\n"),
        None => line.replace(HAS_RUN, "") + "\n",
    };
    let text: String = text.lines().map(line).collect();
    let mut pieces = text.split("(domid ");
    let first = pieces.next().unwrap_or_default().to_owned();
    pieces
        .fold(first, |text, piece| text + "(domid 1" + piece.trim_start_matches(|c: char| c.is_ascii_digit()))
}

/// What `make install` lays out, as Debian's package has it.
fn laid_out(cluster: &Cluster) -> PathBuf {
    if let Some(tree) = std::env::var_os("XEN_HANDOFF_INSTALL") {
        return tree.into();
    }
    let (tree, top) = (cluster.fabric.fresh_folder().join("tree"), env!("CARGO_MANIFEST_DIR"));
    let built = Path::new(env!("CARGO_BIN_EXE_xen-handoff")).parent().expect("its folder");
    let mut make = command("make");
    make.args(["-s", "-C", top, "install-files", "SETTINGSDIR=/etc/default"]);
    must(make.arg(format!("DESTDIR={}", tree.display())).arg(format!("BUILT={}", built.display())));
    tree
}

struct Reader<'a> {
    story: Story<'a>,
    tree: PathBuf,
    transcript: std::fs::File,
    /// What did not work, or is shown otherwise.
    wrong: Vec<String>,
    /// The page's n1 is where x0 was when its place was asked for last.
    naming: Naming,
    not_given: Vec<&'static str>,
}

fn word_for_word(cluster: &Cluster) {
    let story = Story::begin(cluster);
    // README asks for it before the first step.
    cluster.enable_fencing();
    cluster.settle();
    for node in NODES {
        cluster.take_ours_away(node);
        cluster.fabric.sh(node, "rm -rf /var/lib/xen-handoff /run/xen-handoff /var/lib/xl-standin/ctl/*");
        cluster.fabric.put(node, "/etc/xen/x0.cfg", 0o644, "name = \"x0\"\ntype = \"pvh\"\nmemory = 16\n");
        // Xen's own service for guests runs, and has none of the cluster's.
        let kept = "/var/lib/standin-systemctl";
        cluster.fabric.sh(
            node,
            &format!(
                "mkdir -p {kept} && touch {kept}/xendomains.service.enabled {kept}/xendomains.service.active"
            ),
        );
        assert!(!cluster.fabric.on(node, &["xen-handoff", "--version"]).ok(), "{node} has it already");
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/readme-transcript.txt");
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("its folder");
    let transcript = std::fs::File::create(path).expect("the transcript");
    let tree = laid_out(cluster);
    let mut reader =
        Reader { story, tree, transcript, wrong: Vec::new(), naming: NODES, not_given: Vec::new() };
    reader.note(
        "Three nodes of namespaces with Pacemaker and a stand-in toolstack, and nothing of xen-handoff.",
    );
    for title in SECTIONS {
        reader.note(&format!("README.md, {title}"));
        let all = read(section(title));
        assert!(all.iter().filter(|typed| !typed.shows.is_empty()).count() >= 3, "{title}: {all:#?}");
        for typed in &all {
            let in_a_box = |other: &&Typed| !other.in_text && other.command == typed.command;
            if typed.in_text && all.iter().any(|other| in_a_box(&other)) {
                reader.note(&format!("{}: where its screen is", typed.command));
            } else {
                reader.follow(typed);
            }
        }
    }
    let forgotten = NOT_GIVEN.iter().filter(|(begin, _)| !reader.not_given.contains(begin));
    assert_eq!(forgotten.collect::<Vec<_>>(), Vec::<&(&str, &str)>::new(), "the page has these no more");
    assert!(reader.wrong.is_empty(), "{}\n{}", reader.wrong.join("\n"), reader.story.report());
    reader.story.nothing_left("x0");
    // By pcs, and by crm after that.
    reader.story.promises("x0", 2);
    // The next test finds nodes as they were.
    NODES.iter().for_each(|node| cluster.power_off(node));
}

impl Reader<'_> {
    fn write(&mut self, text: &str) {
        self.transcript.write_all(text.as_bytes()).expect("writing the transcript");
    }

    /// What nobody has typed.
    fn note(&mut self, text: &str) {
        self.write(&format!("[{text}]\n"));
    }

    /// Where x0 is, which is the page's n1 from now on.
    fn place(&mut self) -> &'static str {
        let believed = self.story.cluster.believed("x0");
        let at = NODES.into_iter().find(|node| believed == [*node]);
        let at = at.unwrap_or_else(|| panic!("x0 is on {believed:?}\n{}", self.story.report()));
        self.story.runs("x0", at);
        self.naming = namings(&[("n1", at)])[0];
        at
    }

    /// The page's words with the names of the nodes.
    fn here(&self, text: &str) -> String {
        translated(text, &NODES, &self.naming)
    }

    /// Does what the page says.
    fn follow(&mut self, typed: &Typed) {
        let cluster = self.story.cluster;
        let command = typed.command.as_str();
        if let Some((begin, why)) = NOT_GIVEN.iter().find(|(begin, _)| command.starts_with(begin)) {
            self.not_given.push(begin);
            return self.note(&format!("{command}: not given, {why}"));
        }
        if command.starts_with("man ") && !cluster.fabric.on(NODES[0], &["sh", "-c", "command -v man"]).ok() {
            return self.note(&format!("{command}: not given, no man on these nodes"));
        }
        if command.starts_with("apt install") {
            return self.install(command);
        }
        if let Some((_, commands)) = OPTIONS.iter().find(|(option, _)| *option == command) {
            return commands.iter().for_each(|command| {
                // What one node has exported is for another.
                let node = self.naming[usize::from(command.contains("--accept"))];
                drop(self.give(node, &self.here(command)));
            });
        }
        if command.starts_with("--") {
            return self.wrong.push(format!("no command is known for the page's {command}"));
        }
        match (&typed.place, command) {
            (Place::Every, _) => NODES.iter().for_each(|node| drop(self.give(node, command))),
            (Place::Node(node), "xen-handoff status --all") => self.while_it_moves(node, typed),
            (Place::Node(node), _) => self.screen(node, typed),
            (Place::One, _) => {
                if command.starts_with("crm configure primitive") {
                    self.note("the other way to make it: what pcs has made goes first");
                    cluster.must(&["cibadmin", "--delete", "--xpath", "//primitive[@id='x0']"]);
                    self.story.runs_nowhere("x0");
                }
                self.give(self.naming[0], &self.here(command));
            }
        }
        if ["pcs resource create", "pcs node", "crm configure"].iter().any(|begin| command.starts_with(begin))
        {
            cluster.settle();
        }
        if ["pcs resource create", "crm configure"].iter().any(|begin| command.starts_with(begin)) {
            self.place();
        }
    }

    /// No apt in a namespace.
    fn install(&mut self, command_line: &str) {
        self.note(&format!(
            "{command_line}: not given; what `make install` lays out is copied, and the guard enabled as the package does"
        ));
        for node in NODES {
            must(command("cp").arg("-a").arg(self.tree.join(".")).arg(self.story.cluster.fabric.root(node)));
            self.story.cluster.fabric.sh(node, "systemctl enable xen-handoff-guard.service");
        }
    }

    /// Types it, and gives what was printed. It must succeed.
    fn give(&mut self, node: &str, line: &str) -> String {
        let said = self.story.cluster.fabric.on(node, &["timeout", "120", "sh", "-c", line]);
        let printed = format!("{}{}", said.stdout, said.stderr);
        self.printed(node, line, said.status, &printed);
        std::fs::write(self.story.cluster.fabric.shared().join("printed"), &said.stdout).expect("a file");
        printed
    }

    fn printed(&mut self, node: &str, line: &str, status: i32, printed: &str) {
        let lines: Vec<&str> = printed.lines().collect();
        let kept = if line.starts_with("man ") { KEPT.min(lines.len()) } else { lines.len() };
        let shown: String = lines[..kept].iter().map(|line| format!("{line}\n")).collect();
        self.write(&format!("{node}# {line}\n{shown}"));
        if kept < lines.len() {
            self.note(&format!("and {} lines more", lines.len() - kept));
        }
        if status != 0 {
            self.note(&format!("exit status {status}"));
            // What comes after it would fail for want of it.
            panic!("{}\n{node}# {line}: exit status {status}\n{printed}", self.wrong.join("\n"));
        }
    }

    /// Types what has a screen; x0 is on the page's n1.
    fn screen(&mut self, prompt: &str, typed: &Typed) {
        assert_eq!(prompt, NODES[0], "{typed:?}");
        let place = self.place();
        let line = self.here(&typed.command);
        let printed = if line.starts_with("xen-handoff drain") {
            self.while_it_is_held(place, &line)
        } else {
            self.give(place, &line)
        };
        // Who was where then is not who is where now.
        let fixed: &[(&str, &str)] = if typed.command.contains("history") { &[] } else { &[("n1", place)] };
        self.compare(typed, &printed, fixed);
    }

    /// What the page shows, in some naming of the nodes that has these in it.
    fn compare(&mut self, typed: &Typed, printed: &str, fixed: &[(&str, &str)]) {
        let Place::Node(node) = &typed.place else { return };
        let masks = masks_of(&format!("{node}# {}", typed.command));
        let in_words = |naming: &Naming| as_on_new_nodes(&translated(printed, naming, &NODES));
        let mut shows = typed.shows.clone();
        let may_be_missed = |line: &str| fits(line, MAY_BE_MISSED);
        if !printed.lines().any(may_be_missed) {
            shows.retain(|line| !may_be_missed(line));
        }
        let differences: Option<Vec<String>> =
            namings(fixed).iter().map(|naming| difference(&shows, &in_words(naming), masks)).collect();
        let Some(differences) = differences else { return self.note("as on the page") };
        let difference = differences.join("\nor, with other names of the nodes\n");
        self.note(&format!("not as on the page:\n{difference}"));
        self.wrong.push(format!("{}: {difference}\nall of it:\n{printed}", typed.command));
    }

    /// How far x0 has come is seen while it is held on its way, and on the node where it arrives.
    fn while_it_moves(&mut self, prompt: &str, typed: &Typed) {
        let (from, cluster) = (self.place(), self.story.cluster);
        self.note(&format!("while x0 moves, since {from} is in standby"));
        self.hold(from);
        self.story.standby(from);
        let says = |node: &str, what: &str| {
            cluster.fabric.on(node, &["xen-handoff", "status"]).stdout.contains(what)
        };
        let mut to = None;
        until(SOON, || {
            to = NODES.into_iter().find(|node| *node != from && says(node, " MiB in "));
            to.is_some() && says(from, " %")
        })
        .unwrap_or_else(|_| panic!("x0 is not on its way\n{}", self.story.report()));
        let to = to.unwrap_or(from);
        let printed = self.give(to, &typed.command);
        self.release(from);
        self.story.runs("x0", to);
        self.compare(typed, &printed, &[(prompt, to), ("n1", from)]);
        self.story.online(from);
        cluster.settle();
    }

    /// A drain that sees x0 on its way.
    fn while_it_is_held(&mut self, from: &str, line: &str) -> String {
        let fabric = &self.story.cluster.fabric;
        self.hold(from);
        fabric.sh(
            from,
            &format!(
                "({line} >/shared/drained 2>&1; echo $? >/shared/drained.status) </dev/null >/dev/null 2>&1 &"
            ),
        );
        let read = |name: &str| std::fs::read_to_string(fabric.shared().join(name)).unwrap_or_default();
        until(SOON, || read("drained").contains("x0: on its way"))
            .unwrap_or_else(|_| panic!("{}\n{}", read("drained"), self.story.report()));
        self.release(from);
        until(SOON, || !read("drained.status").is_empty()).unwrap_or_else(|_| panic!("{}", read("drained")));
        let (printed, status) = (read("drained"), read("drained.status"));
        self.printed(from, line, status.trim().parse().unwrap_or(-1), &printed);
        self.story.cluster.settle();
        self.story.nothing_left("x0");
        printed
    }

    fn hold(&self, node: &str) {
        self.story.cluster.knob(node, "stream.mib", "15");
        self.story.cluster.knob(node, "migrate.hold", "in-stream");
    }

    fn release(&self, node: &str) {
        self.story.cluster.unset_knob(node, "migrate.hold");
        self.story.cluster.unset_knob(node, "stream.mib");
    }
}
