//! What is in the packages.

use std::collections::BTreeSet;
use std::path::Path;

use crate::Story;
use crate::command::{run, word};
use crate::packages::{Packages, first, fresh, plain, top};
use crate::system::files_below;

/// EL 7's.
const OLDEST: &str = "2.17";

pub(crate) fn stories() -> Vec<Story> {
    vec![
        Story::new("the_executable_needs_no_symbol_newer_than_glibc_2_17", no_newer_symbol),
        Story::new("a_plain_build_would_need_newer_ones", a_plain_build_would_need_newer_ones),
        Story::new("the_packages_have_what_make_install_installs", what_make_install_installs),
        Story::new("all_files_are_roots_and_only_its_own_folders_are_secret", all_files_are_roots),
        Story::new("the_providers_folder_is_ours_and_resource_d_is_not", the_providers_folder_is_ours),
        Story::new("the_packaged_agent_answers_with_its_metadata", the_packaged_agent_answers),
        Story::new("nothing_in_the_packages_says_where_they_were_built", nothing_says_where),
        Story::new("debug_information_is_in_its_own_package_and_fits", debug_information_fits),
        Story::new("manual_pages_are_compressed_and_readable", manual_pages_are_readable),
        Story::new("bash_completes_what_people_type_and_not_what_only_we_call", bash_completes),
        Story::new("licences_and_bundled_crates_are_those_of_what_is_linked_in", licences_and_bundled_crates),
        Story::new("the_bill_of_materials_names_every_crate_and_no_place_of_ours", the_bill_of_materials),
    ]
}

/// The newest version of a symbol of glibc's that the package's executable needs.
fn newest_symbol(package: &Path, name: &str) -> (u32, u32) {
    let files = Packages::unpacked(package, name);
    let table = run("objdump", &["-T", word(&files.join("usr/sbin/xen-handoff"))]).text();
    let version = |word: &str| {
        let (major, rest) = word.trim_matches(['(', ')']).strip_prefix("GLIBC_")?.split_once('.')?;
        Some((major.parse().ok()?, rest.split('.').next()?.parse().ok()?))
    };
    table.split_whitespace().filter_map(version).max().unwrap()
}

fn no_newer_symbol() {
    assert_eq!(
        newest_symbol(&first().unwrap().main, "newest-first"),
        (2, 17),
        "it is {OLDEST} that EL 7 has"
    );
}

fn a_plain_build_would_need_newer_ones() {
    let newest = newest_symbol(&plain().main, "newest-plain");
    assert!(newest > (2, 17), "{newest:?}: the gate would see no difference");
}

/// A value for each file of the package, and the file.
fn each_file(package: &Path, value: &str) -> Vec<(String, String)> {
    let query = format!("[%{{{value}}} %{{FILENAMES}}\\n]");
    let lines = run("rpm", &["--query", "--queryformat", &query, "--package", word(package)]).lines();
    lines
        .into_iter()
        .filter(|line| !line.contains("no files"))
        .filter_map(|line| line.split_once(" /").map(|(value, path)| (value.to_owned(), format!("/{path}"))))
        .collect()
}

fn what_make_install_installs() {
    let packages = first().unwrap();
    let target = fresh("make-install");
    for (package, folder, rule) in
        [(&packages.main, "usr/sbin", "install-files"), (&packages.bench, "usr/bin", "install-bench-files")]
    {
        let built = Packages::unpacked(package, "make-install-built").join(folder);
        let (destination, built) =
            (format!("DESTDIR={}", target.display()), format!("BUILT={}", built.display()));
        run("make", &["-s", "-C", word(top()), rule, &destination, &built]).text();
    }
    let mut packaged: Vec<String> = [&packages.main, &packages.heartbeat, &packages.bench]
        .into_iter()
        .flat_map(|package| each_file(package, "FILEMODES:perms"))
        .filter(|(mode, path)| {
            !mode.starts_with('d') && !path.contains("/doc/") && !path.contains("/licenses/")
        })
        .map(|(_, path)| path.strip_suffix(".gz").unwrap_or(&path).to_owned())
        .collect();
    packaged.sort();
    assert_eq!(packaged, files_below(&target));
}

fn all_files_are_roots() {
    let Packages { main, bench, .. } = first().unwrap();
    let of_both = |value| [each_file(main, value), each_file(bench, value)].concat();
    for value in ["FILEUSERNAME", "FILEGROUPNAME"] {
        assert!(of_both(value).iter().all(|(owner, _)| owner == "root"));
    }
    for (mode, path) in of_both("FILEMODES:perms") {
        let secret =
            ["/etc/xen-handoff", "/run/xen-handoff", "/var/lib/xen-handoff"].contains(&path.as_str());
        let expected = match mode.get(..1) {
            Some("d") if secret => "drwx------",
            Some("d") => "drwxr-xr-x",
            Some("l") => "lrwxrwxrwx",
            _ if ["/usr/sbin/xen-handoff", "/usr/bin/xen-handoff-bench"].contains(&path.as_str()) => {
                "-rwxr-xr-x"
            }
            _ => "-rw-r--r--",
        };
        assert_eq!(mode, expected, "{path}");
    }
}

fn the_providers_folder_is_ours() {
    let main = &first().unwrap().main;
    let ours: Vec<String> = each_file(main, "FILEMODES:perms").into_iter().map(|(_, path)| path).collect();
    assert!(ours.iter().any(|path| path == "/usr/lib/ocf/resource.d/handoff"));
    assert!(!ours.iter().any(|path| ["/usr/lib/ocf", "/usr/lib/ocf/resource.d"].contains(&path.as_str())));
    let needs = run("rpm", &["--query", "--requires", "--package", word(main)]).lines();
    assert!(needs.iter().any(|need| need == "resource-agents"), "{needs:?}");
}

fn the_packaged_agent_answers() {
    let files = Packages::unpacked(&first().unwrap().main, "agent");
    let agent = files.join("usr/lib/ocf/resource.d/handoff/Xen");
    let expected = std::fs::read_to_string(top().join("ocf/Xen.xml")).unwrap();
    assert_eq!(run(word(&agent), &["meta-data"]).text(), expected);
}

fn nothing_says_where() {
    let packages = first().unwrap();
    for package in [&packages.main, &packages.heartbeat, &packages.bench, &packages.debuginfo]
        .into_iter()
        .chain(&packages.load)
    {
        let files = Packages::unpacked(package, "where");
        let found =
            run("grep", &["--recursive", "--files-with-matches", "--text", word(top()), word(&files)]);
        assert_eq!(found.code, 1, "{}", found.said);
    }
}

fn debug_information_fits() {
    let packages = first().unwrap();
    let files = Packages::unpacked(&packages.main, "debug-main");
    let notes = run("readelf", &["--notes", "--wide", word(&files.join("usr/sbin/xen-handoff"))]).text();
    let id = notes.split("Build ID: ").nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
    let sections =
        run("readelf", &["--sections", "--wide", word(&files.join("usr/sbin/xen-handoff"))]).text();
    assert!(!sections.contains(".symtab") && !sections.contains(".debug_info"), "{sections}");
    let (start, rest) = id.split_at(2);
    let wanted = format!("/usr/lib/debug/.build-id/{start}/{rest}.debug");
    let debug = run("rpm", &["--query", "--list", "--package", word(&packages.debuginfo)]).lines();
    assert!(debug.contains(&wanted), "no {wanted} in {debug:?}");
}

fn manual_pages_are_readable() {
    for (package, least) in [(&first().unwrap().main, 2), (&first().unwrap().bench, 1)] {
        let files = Packages::unpacked(package, "man");
        let pages: Vec<String> = files_below(&files.join("usr/share/man"))
            .iter()
            .map(|page| format!("usr/share/man{page}"))
            .collect();
        assert!(pages.len() >= least && pages.iter().all(|page| page.ends_with(".gz")), "{pages:?}");
        for page in pages {
            let text = run("mandoc", &["-T", "html", word(&files.join(&page))]).text();
            assert!(text.contains(">NAME<"), "{page}: {text}");
        }
    }
}

/// What bash offers after the command of this package.
fn offered(package: &Path, command: &str) -> Vec<String> {
    let files = Packages::unpacked(package, "completion");
    let script = files.join("usr/share/bash-completion/completions").join(command);
    let try_it = format!(
        "PATH='{0}/usr/sbin:{0}/usr/bin':$PATH; source '{1}'; COMP_WORDS=({command} ''); COMP_CWORD=1; \
         function=$(complete -p {command} | sed 's/.*-F \\([^ ]*\\).*/\\1/'); $function {command} '' {command}; \
         printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        files.display(),
        script.display()
    );
    run("bash", &["-c", &try_it]).lines()
}

fn bash_completes() {
    let measurements = offered(&first().unwrap().bench, "xen-handoff-bench");
    for word in ["rtt", "memory", "compare"] {
        assert!(measurements.iter().any(|line| line == word), "no {word} in {measurements:?}");
    }
    let offered = offered(&first().unwrap().main, "xen-handoff");
    for word in ["keys", "status", "reach", "recover", "agent"] {
        assert!(offered.iter().any(|line| line == word), "no {word} in {offered:?}");
    }
    for word in ["serve", "relay", "guard", "keep", "thaw", "push", "fetch", "receiver"] {
        assert!(!offered.iter().any(|line| line == word), "{word} in {offered:?}");
    }
}

/// `MIT OR Apache-2.0` and `(Apache-2.0 OR MIT)` are the same.
fn choices(licence: &str) -> BTreeSet<String> {
    licence.trim_matches(['(', ')']).split(" OR ").map(str::to_owned).collect()
}

/// The packages with an executable.
fn with_executables() -> Vec<&'static Path> {
    let packages = first().unwrap();
    [Some(&packages.main), Some(&packages.bench), packages.load.as_ref()]
        .into_iter()
        .flatten()
        .map(AsRef::as_ref)
        .collect()
}

/// The crates that are linked into a package's executable, by name and version.
fn bundled(package: &Path) -> BTreeSet<(String, String)> {
    let provides = run("rpm", &["-qp", "--provides", word(package)]).lines();
    let crates = provides.iter().filter_map(|line| line.strip_prefix("bundled(crate(")?.split_once(")) = "));
    crates.map(|(name, version)| (name.to_owned(), version.to_owned())).collect()
}

fn licences_and_bundled_crates() {
    for package in with_executables() {
        let files = Packages::unpacked(package, "licences").join("usr/share/licenses");
        let folder = std::fs::read_dir(files).unwrap().next().unwrap().unwrap().path();
        let list = std::fs::read_to_string(folder.join("LICENSE.dependencies")).unwrap();
        let tag = run("rpm", &["-qp", "--queryformat", "%{LICENSE}", word(package)]).text();
        let named: BTreeSet<_> = tag.split(" AND ").map(choices).collect();
        let (mut used, mut linked) = (BTreeSet::new(), BTreeSet::new());
        for line in list.lines() {
            let (licence, crate_) = line.split_once(": ").unwrap();
            used.extend(licence.split(" AND ").map(choices));
            let (name, version) = crate_.split_once(" v").unwrap();
            if !name.starts_with("xen-handoff") {
                linked.insert((name.to_owned(), version.to_owned()));
            }
        }
        assert_eq!(named, used, "the License tag and LICENSE.dependencies of {}", package.display());
        assert_eq!(
            bundled(package),
            linked,
            "bundled crates and LICENSE.dependencies of {}",
            package.display()
        );
        assert!(linked.len() > 20, "{linked:?}");
    }
}

fn the_bill_of_materials() {
    let folder = &first().unwrap().folder;
    let mut named = BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if !word(&path).ends_with(".cdx.json") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(!text.contains("file:///"), "{} says where it was made", path.display());
        let bill: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(bill["bomFormat"], "CycloneDX");
        let part = |part: &serde_json::Value| {
            let text = |key: &str| part[key].as_str().unwrap().to_owned();
            (text("name"), text("version"))
        };
        named.extend(bill["components"].as_array().unwrap().iter().map(part));
    }
    let linked: BTreeSet<_> = with_executables().into_iter().flat_map(bundled).collect();
    let missing: Vec<_> = linked.difference(&named).cloned().collect();
    assert!(missing.is_empty(), "not named: {missing:?}");
}
