//! The plan of the house: upper rooms use lower ones, and no two files use each other. The order of the rooms is the table in `src/lib.rs`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use syn::visit::{self, Visit};

/// A module, as the names on the way to it from the crate's root.
type Module = Vec<String>;

/// What each file of `sources` uses of the others, tests left out.
fn uses(sources: &Path) -> BTreeMap<Module, BTreeSet<Module>> {
    let files = rust_files(sources);
    let modules: BTreeMap<Module, &PathBuf> =
        files.iter().map(|file| (module(sources, file), file)).collect();
    modules
        .iter()
        .map(|(of, file)| {
            let text = std::fs::read_to_string(file).unwrap();
            let parsed = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            let mut paths = Paths::default();
            paths.visit_file(&parsed);
            let used = paths.found.iter().filter_map(|path| target(of, path, &modules));
            (of.clone(), used.filter(|used| used != of && !used.is_empty()).collect())
        })
        .collect()
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            files.push(path);
        }
    }
    files
}

fn module(sources: &Path, file: &Path) -> Module {
    let path = file.strip_prefix(sources).unwrap().with_extension("");
    let mut names: Module = path.iter().map(|name| name.to_str().unwrap().to_owned()).collect();
    if matches!(names.last().unwrap().as_str(), "mod" | "lib") {
        names.pop();
    }
    names
}

/// The module that `path`, written in `of`, leads into; `None` where that is none of ours.
fn target(of: &Module, path: &[String], modules: &BTreeMap<Module, &PathBuf>) -> Option<Module> {
    let mut at = of.clone();
    let mut rest = path;
    match rest.first()?.as_str() {
        "crate" | "xen_handoff" => at.clear(),
        "super" => {}
        "self" => rest = &rest[1..],
        // A child's name, without anything before it.
        child => {
            at.push(child.to_owned());
            modules.get(&at)?;
            rest = &rest[1..];
        }
    }
    if path[0] == "crate" || path[0] == "xen_handoff" {
        rest = &rest[1..];
    }
    while rest.first().is_some_and(|name| name == "super") {
        at.pop();
        rest = &rest[1..];
    }
    for name in rest {
        at.push(name.clone());
        if !modules.contains_key(&at) {
            at.pop();
            break;
        }
    }
    Some(at)
}

/// Every path of a file, those in `use` and all others.
#[derive(Default)]
struct Paths {
    found: Vec<Vec<String>>,
}

impl Paths {
    fn tree(&mut self, before: &[String], tree: &syn::UseTree) {
        let with = |name: &syn::Ident| before.iter().cloned().chain([name.to_string()]).collect::<Vec<_>>();
        match tree {
            syn::UseTree::Path(path) => self.tree(&with(&path.ident), &path.tree),
            syn::UseTree::Name(name) => self.found.push(with(&name.ident)),
            syn::UseTree::Rename(name) => self.found.push(with(&name.ident)),
            syn::UseTree::Glob(_) => self.found.push(before.to_vec()),
            syn::UseTree::Group(group) => group.items.iter().for_each(|item| self.tree(before, item)),
        }
    }
}

impl<'ast> Visit<'ast> for Paths {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let attributes = match item {
            syn::Item::Mod(module) => &module.attrs,
            syn::Item::Fn(function) => &function.attrs,
            syn::Item::Use(used) => &used.attrs,
            _ => return visit::visit_item(self, item),
        };
        let for_tests = attributes.iter().any(|attribute| {
            attribute.path().is_ident("cfg")
                && attribute.parse_args::<syn::Ident>().is_ok_and(|word| word == "test")
        });
        if !for_tests {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_use(&mut self, used: &'ast syn::ItemUse) {
        self.tree(&[], &used.tree);
    }

    /// Who may see it is no use of it.
    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.segments.len() > 1 {
            self.found.push(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        }
        visit::visit_path(self, path);
    }
}

/// The rooms from the top down, as the table in `src/lib.rs` has them; those of one line may not use each other upward either.
fn rooms(lib: &str) -> Vec<String> {
    let rows = lib.lines().filter_map(|line| line.strip_prefix("//! | ")).skip(1);
    rows.flat_map(|row| {
        let names = row.split(" | ").next().unwrap().split('`').skip(1).step_by(2);
        names.map(str::to_owned).collect::<Vec<_>>()
    })
    .collect()
}

fn shown(module: &Module) -> String {
    if module.is_empty() { "lib".to_owned() } else { module.join("::") }
}

/// What uses a room that is not below its own.
fn upward(uses: &BTreeMap<Module, BTreeSet<Module>>, rooms: &[String]) -> Vec<String> {
    let floor = |module: &Module| {
        let room = module.first()?;
        let at = rooms.iter().position(|name| name == room);
        Some(at.unwrap_or_else(|| panic!("{room} is no room of the table in src/lib.rs")))
    };
    let mut found = Vec::new();
    for (of, used) in uses {
        for used in used.iter().filter(|used| used[0] != *of.first().unwrap_or(&String::new())) {
            if floor(used) <= floor(of) {
                found.push(format!("{} uses {}, which is not below it", shown(of), shown(used)));
            }
        }
    }
    found
}

/// Files that use each other, however many are between them: one way round for each such set.
fn loops(uses: &BTreeMap<Module, BTreeSet<Module>>) -> Vec<String> {
    let mut found = BTreeMap::new();
    for of in uses.keys() {
        let mut came_from: BTreeMap<&Module, &Module> = BTreeMap::new();
        let mut next = vec![of];
        while let Some(at) = next.pop() {
            for used in &uses[at] {
                if used == of {
                    let mut way = vec![of, at];
                    while let Some(before) = came_from.get(way[way.len() - 1]) {
                        way.push(before);
                    }
                    let names: BTreeSet<String> = way.iter().map(|module| shown(module)).collect();
                    way.reverse();
                    let words = way.iter().map(|module| shown(module)).collect::<Vec<_>>().join(" uses ");
                    found.entry(names).or_insert(words);
                } else if !came_from.contains_key(used) {
                    came_from.insert(used, at);
                    next.push(used);
                }
            }
        }
    }
    found.into_values().collect()
}

#[test]
fn no_file_uses_a_room_that_is_not_below_its_own_and_no_two_use_each_other() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let lib = std::fs::read_to_string(sources.join("lib.rs")).unwrap();
    let uses = uses(&sources);
    let faults = [upward(&uses, &rooms(&lib)), loops(&uses)].concat();
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn no_two_files_of_the_bench_use_each_other() {
    let faults = loops(&uses(&Path::new(env!("CARGO_MANIFEST_DIR")).join("bench/src")));
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

/// Comments that are longer than a line of code; tables and what is drawn or set in by three columns may be.
fn too_long(text: &str) -> impl Iterator<Item = usize> + '_ {
    let is_too_long = |line: &str| {
        let comment = line.trim_start().strip_prefix("//").map(|rest| rest.trim_start_matches(['/', '!']));
        let is_drawn = |comment: &str| comment.starts_with(" |") || comment.starts_with("   ");
        line.chars().count() > 110 && comment.is_some_and(|comment| !is_drawn(comment))
    };
    text.lines().enumerate().filter(move |(_, line)| is_too_long(line)).map(|(at, _)| at + 1)
}

#[test]
fn comments_end_at_110_columns() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut faults = Vec::new();
    for file in rust_files(&sources) {
        let text = std::fs::read_to_string(&file).unwrap();
        faults.extend(too_long(&text).map(|line| format!("{}:{line}", file.display())));
    }
    assert!(faults.is_empty(), "{} lines:\n{}", faults.len(), faults.join("\n"));
    let (long, short) = ("x ".repeat(60), "x ".repeat(50));
    let text =
        [format!("/// {long}"), format!("//! {short}"), format!("//! | {long} |"), format!("//!   {long}")];
    assert_eq!(too_long(&text.join("\n")).collect::<Vec<_>>(), [1]);
}
