//! What is in the packages.

use std::process::Command;

use crate::Story;
use crate::command::{end, run, word};
use crate::packages::{Packages, field, first, fresh, top};

pub(crate) fn stories() -> Vec<Story> {
    vec![
        Story::new("lintian_finds_nothing", lintian_finds_nothing),
        Story::new("the_packages_have_what_make_install_installs", what_make_install_installs),
        Story::new("all_files_are_roots_and_only_its_own_folders_are_secret", all_files_are_roots),
        Story::new("the_settings_are_a_conffile_and_nothing_else_is", the_settings_are_a_conffile),
        Story::new("it_asks_for_no_newer_glibc_than_any_suite_has", it_asks_for_no_newer_glibc),
        Story::new("the_packaged_agent_answers_with_its_metadata", the_packaged_agent_answers),
        Story::new("nothing_in_the_packages_says_where_they_were_built", nothing_says_where),
        Story::new("debug_information_is_in_its_own_package_and_fits", debug_information_fits),
        Story::new("licences_of_what_is_linked_in_are_beside_the_copyright", licences),
    ]
}

/// In the packages that are installed: the source package has the crates of others, whose style is not ours.
fn lintian_finds_nothing() {
    let mut lintian = Command::new("lintian");
    lintian.args([
        "--allow-root",
        "--display-info",
        "--pedantic",
        "--fail-on",
        "error,warning,info,pedantic",
    ]);
    // Machine code that looks like a misspelt word; "allow to" is in the agent's own words, and known.
    lintian.args(["--suppress-tags", "spelling-error-in-binary,typo-in-manual-page"]);
    let found = end(lintian.args(first().unwrap().installed()).env("LC_ALL", "C.UTF-8"));
    assert_eq!(found.code, 0, "{}", found.said);
}

/// Mode, owner and path of each file and folder of a package.
fn contents(package: &std::path::Path) -> Vec<(String, String, String)> {
    let lines = run("dpkg-deb", &["--contents", word(package)]).lines();
    let entry = |line: &String| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let path = words[5].trim_start_matches('.').trim_end_matches('/');
        (words[0].to_owned(), words[1].to_owned(), path.to_owned())
    };
    lines.iter().map(entry).filter(|(_, _, path)| !path.is_empty()).collect()
}

fn what_make_install_installs() {
    let packages = first().unwrap();
    let target = fresh("make-install");
    let debians = ["SETTINGSDIR=/etc/default", "ZSHDIR=/usr/share/zsh/vendor-completions"];
    for (package, folder, rule) in
        [(&packages.main, "usr/sbin", "install-files"), (&packages.bench, "usr/bin", "install-bench-files")]
    {
        let built = Packages::unpacked(package, "make-install-built").join(folder);
        let (destination, built) =
            (format!("DESTDIR={}", target.display()), format!("BUILT={}", built.display()));
        let install = [&["-s", "-C", word(top()), rule, &destination, &built], &debians[..]].concat();
        run("make", &install).text();
    }
    let mut packaged: Vec<String> = [&packages.main, &packages.heartbeat, &packages.bench]
        .into_iter()
        .flat_map(|package| contents(package))
        .filter(|(mode, _, path)| {
            let ours =
                ["/usr/share/doc/", "/usr/share/lintian/"].iter().any(|folder| path.starts_with(folder));
            !mode.starts_with('d') && !ours
        })
        .map(|(_, _, path)| path.strip_suffix(".gz").unwrap_or(&path).to_owned())
        .collect();
    packaged.sort();
    let mut installed = run("find", &[word(&target), "!", "-type", "d", "-printf", "/%P\n"]).lines();
    installed.sort();
    assert_eq!(packaged, installed);
}

fn all_files_are_roots() {
    for package in first().unwrap().installed() {
        for (mode, owner, path) in contents(package) {
            assert_eq!(owner, "root/root", "{path}");
            let secret = ["/etc/xen-handoff", "/var/lib/xen-handoff"].contains(&path.as_str());
            let programs =
                ["/usr/sbin/xen-handoff", "/usr/bin/xen-handoff-bench", "/usr/bin/xen-handoff-load"];
            let expected = match mode.get(..1) {
                Some("d") if secret => "drwx------",
                Some("d") => "drwxr-xr-x",
                Some("l") => "lrwxrwxrwx",
                _ if programs.contains(&path.as_str()) => "-rwxr-xr-x",
                _ => "-rw-r--r--",
            };
            assert_eq!(mode, expected, "{path}");
        }
    }
}

fn the_settings_are_a_conffile() {
    for (package, expected) in
        first().unwrap().installed().into_iter().zip([&["/etc/default/xen-handoff"][..], &[], &[], &[]])
    {
        let control = fresh("conffiles");
        run("dpkg-deb", &["--control", word(package), word(&control)]).text();
        let listed = std::fs::read_to_string(control.join("conffiles")).unwrap_or_default();
        assert_eq!(listed.lines().collect::<Vec<_>>(), expected, "{}", package.display());
    }
}

/// bullseye, the oldest suite, has 2.31.
fn it_asks_for_no_newer_glibc() {
    let packages = first().unwrap();
    for package in [&packages.main, &packages.bench, &packages.load] {
        let depends = field(package, "Depends");
        let libc = depends.split(", ").find(|dependency| dependency.starts_with("libc6 ")).unwrap();
        let newest = libc.trim_end_matches(')').rsplit("2.").next().unwrap();
        assert!(newest.parse::<u32>().unwrap() <= 31, "{depends}");
        // Nothing else of a suite's own libraries
        let others = ["libc6 ", "openssh-client", "resource-agents", "libgcc-s1 "];
        let foreign =
            depends.split(", ").find(|dependency| !others.iter().any(|name| dependency.starts_with(name)));
        assert_eq!(foreign, None, "{depends}");
    }
}

fn the_packaged_agent_answers() {
    let files = Packages::unpacked(&first().unwrap().main, "agent");
    let agent = files.join("usr/lib/ocf/resource.d/handoff/Xen");
    let expected = std::fs::read_to_string(top().join("ocf/Xen.xml")).unwrap();
    assert_eq!(run(word(&agent), &["meta-data"]).text(), expected);
}

fn nothing_says_where() {
    let packages = first().unwrap();
    for package in packages.installed().into_iter().chain([packages.debug.as_path()]) {
        let files = Packages::unpacked(package, "where");
        let found =
            run("grep", &["--recursive", "--files-with-matches", "--text", word(top()), word(&files)]);
        assert_eq!(found.code, 1, "{}", found.said);
    }
}

fn debug_information_fits() {
    let packages = first().unwrap();
    let program = Packages::unpacked(&packages.main, "debug-main").join("usr/sbin/xen-handoff");
    let notes = run("readelf", &["--notes", "--wide", word(&program)]).text();
    let id = notes.split("Build ID: ").nth(1).unwrap().split_whitespace().next().unwrap();
    let sections = run("readelf", &["--sections", "--wide", word(&program)]).text();
    assert!(!sections.contains(".symtab") && !sections.contains(".debug_info"), "{sections}");
    let (start, rest) = id.split_at(2);
    let wanted = format!("usr/lib/debug/.build-id/{start}/{rest}.debug");
    assert!(Packages::unpacked(&packages.debug, "debug").join(&wanted).exists(), "no {wanted}");
}

fn licences() {
    let packages = first().unwrap();
    for (package, name) in [
        (&packages.main, "xen-handoff"),
        (&packages.bench, "xen-handoff-bench"),
        (&packages.load, "xen-handoff-load"),
    ] {
        let folder = Packages::unpacked(package, "licences").join("usr/share/doc").join(name);
        let list = run("sh", &["-c", "zcat -f \"$1\"/LICENSE.dependencies*", "list", word(&folder)]).lines();
        let copyright = std::fs::read_to_string(folder.join("copyright")).unwrap();
        let linked = list.iter().filter(|line| !line.contains(": xen-handoff"));
        assert!(linked.count() > 20, "{list:?}");
        for line in &list {
            let (expression, _) = line.split_once(": ").unwrap();
            let names =
                expression.split([' ', '(', ')']).filter(|name| !["AND", "OR", "WITH", ""].contains(name));
            for licence in names {
                let known = licence == "LLVM-exception" || copyright.contains(licence);
                assert!(known, "{licence} of {line} is not in the copyright file");
            }
        }
    }
}
