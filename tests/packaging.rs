//! What is shipped beside the executable, against the code: a setting that nobody reads, or a file that nobody installs, is an
//! error.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../man/support.rs"]
mod support;

use std::path::{Path, PathBuf};

use clap::{CommandFactory, Parser};
use xen_handoff::cli::{Cli, Command};
use xen_handoff::host::Root;
use xen_handoff::ocf::environment::Environment;
use xen_handoff::settings::{self, Reader, SETTINGS};

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The values of a key of a unit file.
fn values<'a>(unit: &'a str, key: &str) -> Vec<&'a str> {
    unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect()
}

#[test]
fn every_setting_is_in_the_packaged_file_and_on_its_page_and_somebody_reads_it() {
    let (file, page) = (read("packaging/sysconfig/xen-handoff"), read("man/xen-handoff.conf.5"));
    let nothing = format!("{:?}", Environment::from_pairs([]));
    let in_the_file: Vec<(&str, &str)> =
        file.lines().filter_map(|line| line.strip_prefix('#')?.split_once('=')).collect();
    let in_the_table: Vec<(&str, &str)> =
        SETTINGS.iter().map(|setting| (setting.name, setting.example)).collect();
    assert_eq!(
        in_the_file.iter().filter(|(name, _)| !name.contains(' ')).copied().collect::<Vec<_>>(),
        in_the_table
    );
    for setting in &SETTINGS {
        assert!(page.contains(&format!(".BR {} =", setting.name)), "{} is not on the page", setting.name);
        match setting.reader {
            Reader::EveryTime => {
                let read = settings::MOVES.contains(&setting.name) || setting.name == settings::TOOLSTACK;
                assert!(read, "nobody reads {}", setting.name);
            }
            Reader::Guard => {
                let read = Environment::from_pairs([(setting.name.to_owned(), setting.example.to_owned())]);
                assert_ne!(format!("{read:?}"), nothing, "nobody reads {}", setting.name);
            }
        }
    }
    assert!(file.lines().all(|line| line.is_empty() || line.starts_with('#')), "a setting is switched on");
    let unit = read("packaging/systemd/xen-handoff-guard.service");
    assert_eq!(values(&unit, "EnvironmentFile"), settings::FILES.map(|file| format!("-{file}")));
    let (makefile, rules) = (read("Makefile"), read("packaging/debian/rules"));
    assert!(makefile.contains("packaging/sysconfig/xen-handoff:$(SETTINGSDIR)"));
    let folders = ["SETTINGSDIR = $(SYSCONFDIR)/sysconfig", "SETTINGSDIR=/etc/default"];
    assert!(makefile.contains(folders[0]) && rules.contains(folders[1]), "not one of {:?}", settings::FILES);
}

#[test]
fn the_guards_unit_calls_what_there_is() {
    let unit = read("packaging/systemd/xen-handoff-guard.service");
    for (key, holds) in [("ExecStart", false), ("ExecStop", true)] {
        let [line] = values(&unit, key)[..] else { unreachable!("one {key}") };
        assert!(line.starts_with("/usr/sbin/xen-handoff "), "{line}");
        let cli = Cli::try_parse_from(line.split_whitespace()).unwrap();
        assert!(matches!(cli.command, Command::Guard { hold } if hold == holds), "{line}");
    }
    // systemd 219 does not know "infinity" there, and would kill the guard after its default of 90 s.
    assert_eq!(values(&unit, "TimeoutStopSec"), ["0"]);
}

/// By the measure of systemd itself, whose highest is 10.
#[test]
fn the_guards_unit_can_be_confined_as_the_page_says() {
    let more = read("packaging/examples/guard-confined.conf");
    // systemd 219 would read a list of what is allowed as one with nothing in it. The first line says which of the two
    // it is; what follows takes out of it.
    assert!(values(&more, "SystemCallFilter")[0].starts_with('~'), "EL 7");
    // What ends guests while the host goes down has all that it needs.
    assert_eq!(values(&more, "ExecStop"), ["", "+/usr/sbin/xen-handoff guard --hold"]);
    let folder = tempfile::tempdir().unwrap();
    let unit = folder.path().join("xen-handoff-guard.service");
    let drop_ins = folder.path().join("xen-handoff-guard.service.d");
    std::fs::create_dir(&drop_ins).unwrap();
    std::fs::write(&unit, read("packaging/systemd/xen-handoff-guard.service")).unwrap();
    std::fs::write(drop_ins.join("confined.conf"), &more).unwrap();
    let said = tool("systemd-analyze", &["security", "--offline=true", "--no-pager", unit.to_str().unwrap()]);
    let Some(said) = said else {
        return eprintln!("skipped: no systemd-analyze that looks at a file (systemd 252)");
    };
    let level =
        said.lines().find_map(|line| line.split("exposure level for ").nth(1)?.split(' ').nth(1)).unwrap();
    assert_eq!(level, "2.8", "doc/confinement.md has this figure\n{said}");
}

#[test]
fn the_apparmor_profile_of_the_page_compiles() {
    let page = read("doc/apparmor.md");
    let profile = page.split("```apparmor\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    // Without the cleansing of the environment, which would take a signal that is needed.
    assert!(!profile.contains(" Ux,"));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("profile");
    std::fs::write(&file, profile).unwrap();
    if tool("apparmor_parser", &["--version"]).is_none() {
        return eprintln!("skipped: no apparmor_parser");
    }
    let file = file.to_str().unwrap();
    assert!(tool("apparmor_parser", &["--skip-kernel-load", "--skip-cache", file]).is_some());
}

/// What a tool prints; `None` where there is none, or it fails.
fn tool(name: &str, args: &[&str]) -> Option<String> {
    #[allow(clippy::disallowed_methods, reason = "a tool of this host, as it is")]
    let output = std::process::Command::new(name).args(args).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Enabled by whoever wants it, so in no preset.
#[test]
fn the_metrics_unit_calls_what_there_is_and_its_timer_starts_it() {
    let unit = read("packaging/systemd/xen-handoff-metrics.service");
    let [line] = values(&unit, "ExecStart")[..] else { unreachable!("one ExecStart") };
    assert!(line.starts_with("/usr/sbin/xen-handoff "), "{line}");
    let cli = Cli::try_parse_from(line.split_whitespace()).unwrap();
    assert!(matches!(cli.command, Command::History { metrics: true, into: Some(_), .. }), "{line}");
    let [variable] = values(&unit, "Environment")[..] else { unreachable!("one Environment") };
    let name = variable.split('=').next().unwrap();
    assert!(line.contains(&format!("${{{name}}}")), "{line}");
    let timer = read("packaging/systemd/xen-handoff-metrics.timer");
    assert_eq!(values(&timer, "WantedBy"), ["timers.target"]);
    assert!(!read("packaging/systemd/preset/80-xen-handoff.preset").contains("metrics"));
    for list in ["packaging/rpm/xen-handoff.spec", "Makefile"] {
        assert!(read(list).contains("xen-handoff-metrics.service"), "{list}");
    }
}

#[test]
fn the_folder_of_records_is_made_where_the_program_looks() {
    let made: Vec<String> = read("packaging/tmpfiles.d/xen-handoff.conf")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split_whitespace().take(3).collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(made, [format!("d {} 0700", Root::default().state_folder().display())]);
}

#[test]
fn the_packages_are_of_this_version_and_day_and_their_changelogs_say_so() {
    let spec = read("packaging/rpm/xen-handoff.spec");
    let version = spec.lines().find_map(|line| line.strip_prefix("Version:")).unwrap().trim();
    assert_eq!(version, env!("CARGO_PKG_VERSION"));
    for member in ["bench", "load"] {
        let manifest = read(&format!("{member}/Cargo.toml"));
        assert!(manifest.contains(&format!("\nversion = \"{version}\"\n")), "{member}/Cargo.toml");
    }
    assert!(
        read("man/xen-handoff-handoff.7").contains(&format!("\"xen\\-handoff {version}\"")),
        "the operators' page"
    );
    let newest = spec.split("%changelog\n").nth(1).unwrap().lines().next().unwrap();
    assert!(newest.ends_with(&format!(" - {version}-1")), "{newest}");
    let changelog = read("packaging/debian/changelog");
    assert!(changelog.starts_with(&format!("xen-handoff ({version}-1) ")), "{changelog}");
    // The day of both is the time on every file: "Sun Nov 22 2026", "Sun, 22 Nov 2026 12:00:00 +0000"
    let words: Vec<&str> = newest.split(' ').collect();
    let day = format!("  {}, {} {} {} 12:00:00 +0000\n", words[1], words[3], words[2], words[4]);
    assert!(changelog.contains(&day), "no {day:?} in {changelog}");
}

#[test]
fn everything_in_packaging_is_installed() {
    fn below(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { below(&path, found) } else { found.push(path) }
        }
    }
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut found, makefile) = (Vec::new(), read("Makefile"));
    below(&top.join("packaging"), &mut found);
    for path in found {
        let path = path.strip_prefix(top).unwrap();
        // How the packages are made, not what is in them; and what is used on the machine that sets nodes up.
        let is_a_tool = ["rpm", "deb", "debian", "licences", "glibc-at-most", "ansible"]
            .iter()
            .any(|name| path.starts_with(Path::new("packaging").join(name)));
        assert!(is_a_tool || makefile.contains(&format!("{}:", path.display())), "{}", path.display());
    }
}

/// The RPM lists them one by one; the Makefile, and so Debian's package, takes all but the bench's.
#[test]
fn every_command_that_people_type_has_a_page_of_its_own_in_the_packages() {
    let (spec, makefile) = (read("packaging/rpm/xen-handoff.spec"), read("Makefile"));
    assert!(makefile.contains("$(filter-out $(BENCH_PAGE),$(wildcard man/*.8)),$(page):$(MANDIR)/man8)"));
    let overview = read("man/xen-handoff.8");
    let main = spec.split("%files heartbeat").next().unwrap();
    let mut pages = vec!["xen-handoff".to_owned(), "xen-handoff-bench".to_owned()];
    for subcommand in Cli::command().get_subcommands().filter(|subcommand| !subcommand.is_hide_set()) {
        let page = format!("xen-handoff-{}", subcommand.get_name());
        assert!(main.contains(&format!("\n%{{_mandir}}/man8/{page}.8*\n")), "{page} is not in the spec file");
        let entry = format!("\n.BR {} (8)\n", page.replace('-', "\\-"));
        assert!(overview.contains(&entry), "xen-handoff(8) does not name {page}");
        pages.push(page);
    }
    let folder = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("man")).unwrap();
    let names = folder.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    let mut there: Vec<String> = names.filter_map(|name| Some(name.strip_suffix(".8")?.to_owned())).collect();
    there.sort();
    pages.sort();
    assert_eq!(there, pages, "make man makes them; one that is no command's any more is removed by hand");
}

/// Every file of Rust below this folder, as one text.
fn sources_below(folder: &str) -> String {
    fn gather(folder: &Path, text: &mut String) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                gather(&path, text);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                text.push_str(&std::fs::read_to_string(path).unwrap());
            }
        }
    }
    let mut text = String::new();
    gather(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &mut text);
    text
}

/// The names in the first code span of a row's third column. What is there in part may name one, what is there must.
#[test]
fn every_feature_that_is_said_to_be_there_has_its_test() {
    let sources = sources_below("src") + &sources_below("tests") + &sources_below("bench");
    let table = read("doc/features.md");
    let mut shown = 0;
    for row in table.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| feature")) {
        let columns: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let test = columns[2].trim_matches('`');
        let (all, part) = (columns[1] == "yes", columns[1].starts_with("p "));
        assert!(if test.is_empty() { !all } else { all || part }, "{row}");
        if !test.is_empty() {
            shown += 1;
            let (function, named) = (format!("fn {test}("), format!("\"{test}\""));
            assert!(sources.contains(&function) || sources.contains(&named), "no test {test}, for: {row}");
        }
    }
    assert!(shown > 20, "{shown} rows");
}

/// What the README says has been tried is what runs have written down, and each of them can be given again.
#[test]
fn the_readmes_table_of_what_was_tried_is_that_of_the_runs() {
    let (readme, runs, makefile) = (read("README.md"), read("doc/support.tsv"), read("Makefile"));
    assert_eq!(readme, support::readme(&readme, &runs).unwrap(), "make man");
    let mut cells = Vec::new();
    for row in support::rows(&runs).unwrap() {
        assert!(["RPM", "deb", "from source"].contains(&row.package), "{row:?}");
        let day: Vec<&str> = row.when.split('-').collect();
        assert!(day.len() == 3 && row.when.len() == 10, "{row:?}");
        let target = row.by.strip_prefix("make ").and_then(|command| command.split(' ').next());
        assert!(makefile.contains(&format!("\n{}:", target.unwrap_or("?"))), "no target for {row:?}");
        cells.push((row.manager, row.place, row.package));
    }
    let lines = cells.len();
    cells.sort_unstable();
    cells.dedup();
    assert_eq!(cells.len(), lines, "a cell has two lines");
}

/// `tests/recipes/mod.rs` gives what stands in a recipe to the test that asks for it by its title.
#[test]
fn every_recipe_is_run_by_a_test() {
    let sources = sources_below("tests");
    let page = read("doc/recipes.md");
    let titles: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    assert!(!titles.is_empty(), "doc/recipes.md has none");
    for title in titles {
        assert!(sources.contains(&format!("recipe(\"{title}\"")), "no test runs {title:?}");
    }
}

/// The pages tell nobody to set another time than the agent advises.
#[test]
fn the_times_on_the_pages_are_those_that_the_agent_advises() {
    let metadata = read("ocf/Xen.xml");
    let mut seen = 0;
    for page in ["README.md", "doc/recipes.md"] {
        let page = read(page);
        for (at, _) in page.match_indices(" op ") {
            let words: Vec<&str> = page[at + 4..].split_whitespace().take(3).collect();
            let Some(timeout) = words[1..].iter().find_map(|word| word.strip_prefix("timeout=")) else {
                continue;
            };
            let advised = format!("<action name=\"{}\" timeout=\"{timeout}\"", words[0]);
            assert!(metadata.contains(&advised), "not advised: {words:?}");
            seen += 1;
        }
    }
    assert!(seen >= 16, "{seen}");
}
