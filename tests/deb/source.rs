//! The same from the sources: elsewhere, in a clean root, and without network.

use crate::Story;
use crate::command::word;
use crate::packages::{again, field, first};
use crate::system::{System, clean};

/// Where Debian's own compiler is new enough: that of the security suite.
const SUITE: &str = "bookworm";

pub(crate) fn stories(unasked: bool) -> Vec<Story> {
    let missing = if unasked { None } else { clean(SUITE, "build").err() };
    vec![
        Story::new("two_builds_in_different_folders_are_the_same_bytes", two_builds_are_the_same_bytes),
        Story::new(
            "the_source_package_builds_in_a_clean_root_with_debians_own_compiler_and_no_network",
            it_builds_in_a_clean_root,
        )
        .unless(missing),
    ]
}

fn two_builds_are_the_same_bytes() {
    let (one, other) = (first().unwrap().all(), again().all());
    assert_eq!(one.len(), other.len());
    for (one, other) in one.into_iter().zip(other) {
        assert_eq!(one.file_name(), other.file_name());
        let same = std::fs::read(&one).unwrap() == std::fs::read(&other).unwrap();
        assert!(same, "{} and {} differ", one.display(), other.display());
    }
}

fn it_builds_in_a_clean_root() {
    let system = System::over(&clean(SUITE, "build").unwrap(), "build");
    let sources = first().unwrap().all().into_iter().filter(|path| !word(path).ends_with(".deb"));
    sources.for_each(|file| system.bring(&file));
    // Its Build-Depends are checked: no -d
    system.sh("cd /packages && dpkg-source --extract xen-handoff_*.dsc /packages/tree && cd tree && \
        DEB_BUILD_OPTIONS=noautodbgsym dpkg-buildpackage --build=binary --no-sign >../log 2>&1 || \
        { tail -n 30 ../log; exit 1; }");
    let version = field(&first().unwrap().main, "Version");
    let package = format!("/packages/xen-handoff_{version}_amd64.deb");
    let said = system
        .sh(&format!("dpkg-deb --extract {package} /built && /built/usr/sbin/xen-handoff agent meta-data"));
    assert!(said.contains("<resource-agent name=\"Xen\""), "{said}");
}
