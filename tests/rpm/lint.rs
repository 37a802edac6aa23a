//! What a reader of the packages finds: rpmlint, signatures.

use std::path::Path;
use std::process::Command;

use crate::Story;
use crate::command::{end, run, word};
use crate::packages::{first, fresh, top};

pub(crate) fn stories() -> Vec<Story> {
    vec![
        Story::new("rpmlint_finds_nothing", rpmlint_finds_nothing),
        Story::new("a_signed_package_verifies_and_no_other", a_signed_package_verifies_and_no_other),
    ]
}

fn rpmlint_finds_nothing() {
    let packages = first().unwrap();
    let config = top().join("packaging/rpm/rpmlint.toml");
    let mut rpmlint = Command::new("rpmlint");
    rpmlint.arg("--config").arg(config);
    rpmlint.args([&packages.main, &packages.heartbeat, &packages.bench, &packages.source]);
    let found = end(rpmlint.args(&packages.load).arg(packages.folder.join("SOURCES/xen-handoff.spec")));
    assert!(found.code == 0 && found.said.contains(" 0 errors, 0 warnings"), "{}", found.said);
}

/// A database of keys, with this one in it or none.
fn verifies(package: &Path, keys: &Path) -> bool {
    let dbpath = ["--dbpath", word(keys), "--define", "_pkgverify_level signature", "--checksig"];
    run("rpmkeys", &[&dbpath[..], &[word(package)]].concat()).code == 0
}

fn a_signed_package_verifies_and_no_other() {
    let unsigned = &first().unwrap().main;
    let folder = fresh("signed");
    let (home, keys, package) = (folder.join("gnupg"), folder.join("keys"), folder.join("signed.rpm"));
    std::fs::create_dir_all(&keys).unwrap();
    run("install", &["-d", "-m", "700", word(&home)]).text();
    std::fs::copy(unsigned, &package).unwrap();
    let gpg =
        ["--batch", "--passphrase", "", "--quick-generate-key", "Throw-away <nobody@example.org>", "rsa3072"];
    end(Command::new("gpg").args(gpg).env("GNUPGHOME", &home)).text();
    let sign = top().join("packaging/rpm/sign");
    let signed = end(Command::new(sign).args(["nobody@example.org", word(&folder)]).env("GNUPGHOME", &home));
    end(Command::new("gpgconf").args(["--kill", "all"]).env("GNUPGHOME", &home)).text();
    signed.text();
    assert!(!verifies(&package, &keys), "it verifies without its key");
    let key = folder.join("RPM-GPG-KEY-xen-handoff");
    run("rpmkeys", &["--dbpath", word(&keys), "--import", word(&key)]).text();
    assert!(verifies(&package, &keys), "it does not verify");
    assert!(!verifies(unsigned, &keys), "a package without signature verifies");
    let mut bytes = std::fs::read(&package).unwrap();
    let last = bytes.len() - 100;
    bytes[last] ^= 1;
    std::fs::write(&package, bytes).unwrap();
    assert!(!verifies(&package, &keys), "a package that was altered verifies");
}
