//! What stands on the pages for people: the boxes of the README and of `doc/`, the displays of the manual
//! pages.

use std::path::Path;

/// A text for people.
#[derive(Debug)]
pub(crate) struct Page {
    /// Its file.
    pub(crate) file: String,
    /// Its boxes.
    pub(crate) boxes: Vec<Vec<String>>,
    /// All of it, as it is in the file.
    pub(crate) text: String,
}

/// A command and what it prints.
#[derive(Debug)]
pub(crate) struct Screen {
    /// The node's prompt and the command; of what is printed unasked, its first line.
    pub(crate) given: String,
    /// The lines below it.
    pub(crate) lines: Vec<String>,
}

/// What a box may begin a line with that is no screen: a command that stands there to be typed.
const TYPED: [&str; 16] = [
    "/usr/share/heartbeat/hb_takeover",
    "HA_node=node1",
    "ansible-playbook",
    "apt",
    "cibadmin",
    "crm",
    "crm_resource",
    "crm_standby",
    "dnf",
    "journalctl",
    "make",
    "pcs",
    "systemctl",
    "xen-handoff",
    "xen-handoff-bench",
    "xen-handoff-load",
];

/// Lines of files, which begin a box.
const OF_FILES: [&str; 5] = [
    "[Service]",
    "export OCF_AGENTS=/usr/lib/ocf/resource.d",
    "max_outgoing_migrations=4",
    "node1 xen-handoff::x0::/etc/xen/x0.cfg::handoff_timeout=600::timeout=300",
    "OCF_RESKEY_xmfile=/etc/xen/x0.cfg",
];

/// Every page that shows what a command prints. What doc/recipes.md shows is given on real nodes, by
/// `tests/recipes`.
pub(crate) fn with_screens() -> Vec<Page> {
    let mut pages = manuals();
    pages.extend(["README.md", "doc/install.md"].map(markdown));
    pages
}

/// Every page that says what to type.
pub(crate) fn with_commands() -> Vec<Page> {
    let mut pages = manuals();
    for folder in ["doc", "doc/design"] {
        pages.extend(below(folder, "md").iter().map(|file| markdown(&format!("{folder}/{file}"))));
    }
    pages.extend(["README.md", "CONTRIBUTING.md"].map(markdown));
    pages
}

fn read(file: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}

/// The files in a folder that end so.
fn below(folder: &str, ending: &str) -> Vec<String> {
    let entries = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> =
        names.filter(|name| Path::new(name).extension().is_some_and(|is| is == ending)).collect();
    names.sort();
    names
}

fn manuals() -> Vec<Page> {
    let pages = ["5", "7", "8"].into_iter().flat_map(|section| below("man", section));
    pages.map(|file| manual(&format!("man/{file}"))).collect()
}

fn markdown(file: &str) -> Page {
    let text = read(file);
    let boxes = between(&text, |line| line.starts_with("```"), |line| line.starts_with("```"));
    Page { file: file.to_owned(), boxes, text }
}

fn manual(file: &str) -> Page {
    let text = read(file);
    let shown: String = text.lines().map(|line| unroff(line) + "\n").collect();
    let boxes = between(&shown, |line| line == ".nf", |line| line == ".fi");
    Page { file: file.to_owned(), boxes, text }
}

/// The lines between a line of the one kind and the next one of the other.
fn between(text: &str, begins: fn(&str) -> bool, ends: fn(&str) -> bool) -> Vec<Vec<String>> {
    let (mut boxes, mut open): (Vec<Vec<String>>, Option<Vec<String>>) = (Vec::new(), None);
    for line in text.lines() {
        match &mut open {
            None if begins(line) => open = Some(Vec::new()),
            None => {}
            Some(_) if ends(line) => boxes.extend(open.take()),
            Some(lines) => lines.push(line.to_owned()),
        }
    }
    boxes
}

/// A line of roff as it is shown.
pub(crate) fn unroff(line: &str) -> String {
    let mut shown = line.to_owned();
    for (roff, plain) in
        [("\\fB", ""), ("\\fI", ""), ("\\fR", ""), ("\\&", ""), ("\\-", "-"), ("\\ ", " "), ("\\e", "\\")]
    {
        shown = shown.replace(roff, plain);
    }
    shown
}

/// A line that begins with a node's prompt.
pub(crate) fn prompt(line: &str) -> Option<(&str, &str)> {
    let (node, command) = line.split_once("# ")?;
    (!node.is_empty() && node.chars().all(|c| c.is_ascii_alphanumeric())).then_some((node, command))
}

impl Page {
    /// The screens on it. `unasked` knows the first line of what is printed without a command.
    ///
    /// # Errors
    /// A box that is neither a screen nor what is typed, nor a file.
    pub(crate) fn screens(&self, unasked: impl Fn(&str) -> bool) -> Result<Vec<Screen>, String> {
        let mut screens: Vec<Screen> = Vec::new();
        for lines in self.boxes.iter().filter(|lines| !lines.is_empty()) {
            if lines[0].is_empty() || OF_FILES.contains(&lines[0].as_str()) {
                continue;
            }
            if prompt(&lines[0]).is_none() && !unasked(&lines[0]) {
                self.is_typed(lines)?;
                continue;
            }
            for (place, line) in lines.iter().enumerate() {
                match screens.last_mut() {
                    _ if place == 0 || prompt(line).is_some() => {
                        screens.push(Screen { given: line.clone(), lines: Vec::new() });
                    }
                    Some(screen) => screen.lines.push(line.clone()),
                    None => {}
                }
            }
        }
        Ok(screens)
    }

    /// Every line of it is typed.
    fn is_typed(&self, lines: &[String]) -> Result<(), String> {
        let mut goes_on = false;
        for line in lines.iter().filter(|line| !line.is_empty()) {
            let first = line.split(' ').next().unwrap_or_default();
            if !goes_on && !TYPED.contains(&first) {
                return Err(format!(
                    "{}: {line:?} is no command. What a command prints stands below the command, behind the prompt of a node",
                    self.file
                ));
            }
            goes_on = line.ends_with('\\');
        }
        Ok(())
    }
}
