//! The same from the sources: elsewhere, and without network.

use std::path::Path;

use crate::Story;
use crate::command::{run, word};
use crate::packages::{Packages, again, first, fresh, plain, top};

pub(crate) fn stories() -> Vec<Story> {
    vec![
        Story::new("the_source_package_is_rebuilt_with_no_network_and_plain_cargo", rebuilt_with_no_network),
        Story::new("the_tarballs_are_the_same_bytes_again", the_tarballs_are_the_same_bytes),
        Story::new("two_builds_in_different_folders_are_the_same_bytes", two_builds_are_the_same_bytes),
    ]
}

fn rebuilt_with_no_network() {
    let interfaces = run("unshare", &["--net", "cat", "/proc/net/dev"]).text();
    assert_eq!(interfaces.lines().count(), 3, "more than a loopback: {interfaces}");
    let files = Packages::unpacked(&plain().main, "rebuilt");
    let agent = files.join("usr/lib/ocf/resource.d/handoff/Xen");
    let expected = std::fs::read_to_string(top().join("ocf/Xen.xml")).unwrap();
    assert_eq!(run(word(&agent), &["meta-data"]).text(), expected);
}

fn the_tarballs_are_the_same_bytes() {
    let folder = fresh("tarballs");
    run(word(&top().join("packaging/rpm/sources")), &[word(&folder)]).text();
    let made = first().unwrap().folder.join("SOURCES");
    let differ = run("diff", &["--recursive", "--brief", word(&made), word(&folder)]);
    assert_eq!(differ.code, 0, "(was the tree changed since `make rpm`?) {}", differ.said);
}

/// A package without its signature, if it has one: a signature has its time in it.
fn unsigned(package: &Path, folder: &Path) -> Vec<u8> {
    let query = ["--query", "--queryformat", "%{SIGPGP}%{RSAHEADER}%{DSAHEADER}", "--package", word(package)];
    if run("rpm", &query).text() == "(none)(none)(none)" {
        return std::fs::read(package).unwrap();
    }
    let copy = folder.join(package.file_name().unwrap());
    std::fs::copy(package, &copy).unwrap();
    run("rpmsign", &["--delsign", word(&copy)]).text();
    std::fs::read(copy).unwrap()
}

fn two_builds_are_the_same_bytes() {
    let folder = fresh("unsigned");
    for (one, other) in first().unwrap().all().into_iter().zip(again().all()) {
        let (one_bytes, other_bytes) = (unsigned(one, &folder), unsigned(other, &folder));
        assert!(one_bytes == other_bytes, "{} and {} differ", one.display(), other.display());
    }
}
