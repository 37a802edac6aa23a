//! dnf, on repositories that stand for EL 7, 8 and 9 and for openSUSE: would the package's dependencies be met there?
//!
//! openSUSE's own resolver is zypper, which asks the same library as dnf (libsolv). What we ask for has the same names there
//! (resource-agents, openssh-clients, systemd; glibc's own capabilities): read in its spec files and in the lists of what its
//! packages provide, and not tried on an openSUSE.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Story;
use crate::command::{Ended, end, run, word};
use crate::packages::{Packages, first, fresh, next, plain, top, version_and_release};

/// Releases and their glibc.
const RELEASES: [(&str, &str); 5] =
    [("7", "2.17"), ("8", "2.28"), ("9", "2.34"), ("leap-15.6", "2.38"), ("tumbleweed", "2.42")];

pub(crate) fn stories() -> Vec<Story> {
    vec![
        Story::new(
            "dnf_installs_upgrades_downgrades_and_removes_it_on_el_7_8_9_and_opensuse",
            dnf_installs_it,
        ),
        Story::new(
            "dnf_refuses_a_plain_build_on_el_7_and_8_and_takes_it_on_newer_ones",
            dnf_refuses_a_plain_build,
        ),
        Story::new("dnf_takes_the_heartbeat_package_only_with_its_own_release", heartbeat_only_with_its_own),
        Story::new("dnf_refuses_it_where_resource_agents_is_not_to_be_had", no_resource_agents),
    ]
}

/// A repository of these packages, and of the stand-in of a release.
fn repository(release: &str, glibc: &str, packages: &[&Path], name: &str) -> PathBuf {
    let folder = fresh(&format!("repository-{name}-{release}"));
    let (topdir, release) = (format!("_topdir {}", folder.display()), format!("release_of {release}"));
    let glibc = format!("glibc {glibc}");
    let stub = top().join("tests/rpm/el-stub.spec");
    let defines = ["--define", &topdir, "--define", &release, "--define", &glibc];
    run(
        "rpmbuild",
        &[&["--quiet", "--nodeps", "--target", "x86_64", "-bb"], &defines[..], &[word(&stub)]].concat(),
    )
    .text();
    for package in packages {
        std::fs::copy(package, folder.join(package.file_name().unwrap())).unwrap();
    }
    run("createrepo_c", &["--quiet", word(&folder)]).text();
    folder
}

/// dnf on an empty system of this release.
fn dnf(repository: &Path, release: &str, args: &[&str]) -> Ended {
    let place = |name: &str| {
        let folder = repository.join("system").join(name);
        std::fs::create_dir_all(&folder).unwrap();
        folder
    };
    let mut dnf = Command::new("dnf");
    dnf.args(["--quiet", "--assumeyes", "--nogpgcheck", "--disableplugin=*", "--repo=local"])
        .arg(format!("--installroot={}", place("root").display()))
        .arg(format!("--releasever={release}"))
        .arg("--setopt=reposdir=/dev/null")
        .arg(format!("--setopt=cachedir={}", place("cache").display()))
        .arg(format!("--setopt=logdir={}", place("log").display()))
        .arg("--setopt=persistdir=/var/lib/dnf")
        .arg("--setopt=tsflags=noscripts,nodocs")
        .arg(format!("--repofrompath=local,file://{}", repository.display()));
    end(dnf.args(args).current_dir(repository))
}

fn dnf_installs_it() {
    let (version, number) = version_and_release(&first().unwrap().main);
    let (now, later) = (number.to_string(), (number + 1).to_string());
    // As the README says it.
    let file = format!("./xen-handoff-{version}-{number}.x86_64.rpm");
    for (release, glibc) in RELEASES {
        let both = [first().unwrap().main.as_path(), &next().main];
        let repository = repository(release, glibc, &both, "ours");
        for (verb, what, then) in [
            ("install", file.as_str(), now.as_str()),
            ("upgrade", "xen-handoff", &later),
            ("downgrade", "xen-handoff", &now),
            ("remove", "xen-handoff", "package xen-handoff is not installed"),
        ] {
            let ended = dnf(&repository, release, &[verb, what]);
            assert_eq!(ended.code, 0, "{release}: {}", ended.said);
            let root = repository.join("system/root");
            // Where Debian's dnf has it.
            let database = ["--root", word(&root), "--define", "_dbpath /root/.rpmdb"];
            let installed = run(
                "rpm",
                &[&database[..], &["--query", "--queryformat=%{release}", "xen-handoff"]].concat(),
            );
            let found = String::from_utf8(installed.stdout).unwrap();
            assert_eq!(found.trim(), then, "{release} after {verb}");
        }
    }
}

fn dnf_refuses_a_plain_build() {
    for (release, glibc) in RELEASES {
        let repository = repository(release, glibc, &[&plain().main], "plain");
        let ended = dnf(&repository, release, &["install", "xen-handoff"]);
        match release {
            "7" | "8" => {
                assert_ne!(ended.code, 0, "EL {release} takes it: {}", ended.said);
                assert!(ended.said.contains("nothing provides libc.so.6(GLIBC_2."), "{}", ended.said);
            }
            _ => assert_eq!(ended.code, 0, "{release}: {}", ended.said),
        }
    }
}

fn heartbeat_only_with_its_own() {
    let Packages { main, heartbeat, .. } = first().unwrap();
    let fits = repository("7", "2.17", &[main, heartbeat], "heartbeat");
    let ended = dnf(&fits, "7", &["install", "xen-handoff-heartbeat"]);
    assert_eq!(ended.code, 0, "{}", ended.said);
    let other = repository("7", "2.17", &[&next().main, heartbeat], "heartbeat-other");
    let ended = dnf(&other, "7", &["install", "xen-handoff-heartbeat"]);
    assert_ne!(ended.code, 0, "{}", ended.said);
}

fn no_resource_agents() {
    let bare = fresh("repository-bare");
    std::fs::copy(&first().unwrap().main, bare.join("xen-handoff.rpm")).unwrap();
    run("createrepo_c", &["--quiet", word(&bare)]).text();
    let ended = dnf(&bare, "9", &["install", "xen-handoff"]);
    assert_ne!(ended.code, 0, "{}", ended.said);
    assert!(ended.said.contains("nothing provides resource-agents"), "{}", ended.said);
}
