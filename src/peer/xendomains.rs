//! What Xen's own service for guests, `xendomains`, would do with the cluster's domains on this node. Changes
//! nothing.
//!
//! Xen's script (`tools/hotplug/Linux/xendomains.in`) and Debian's (of xen-utils-common) read the same
//! settings. When the host comes up they start each file of `XENDOMAINS_AUTO`, and before that, where
//! `XENDOMAINS_RESTORE` is set, what lies in `XENDOMAINS_SAVE` by a domain's name. When they are stopped they
//! send every domain that runs to `XENDOMAINS_MIGRATE`; what is still there they save to `XENDOMAINS_SAVE`;
//! the rest they shut down. Xen's script leaves those alone that it has not started, where
//! `XENDOMAINS_AUTO_ONLY` is `true`; Debian's does not know that setting, and its file has none.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::setup::service;
use crate::clock::Deadline;
use crate::domain::DomainName;
use crate::here::Here;
use crate::host::Root;
use crate::parameters::Parameters;
use crate::preflight::setup::{Started, Xendomains};
use crate::settings::value;
use crate::small_file;

/// The service.
pub const XENDOMAINS: &str = "xendomains.service";
/// Where its settings are: on Debian, and elsewhere. Each of the scripts knows one of them.
const SETTINGS: [&str; 2] = ["/etc/default/xendomains", "/etc/sysconfig/xendomains"];
/// What it starts where the settings do not say.
const AUTO: &str = "/etc/xen/auto";
/// Limit of reading all that it would start.
const LIMIT: Duration = Duration::from_secs(30);
/// No file of settings is longer, in bytes.
const LARGEST: u64 = 1 << 20;

/// Looks at this node.
///
/// # Errors
/// What cannot be read, and why.
pub fn look(here: &Here) -> Result<Xendomains, String> {
    let (settings, text) = settings(&here.root)?;
    let set = |name: &str| match value(&text, name) {
        // A shell would make something of it.
        Some(value) if value.contains(['$', '`', '\\']) => {
            Err(format!("{settings}: {name}={value} is more than a plain word"))
        }
        value => Ok(value),
    };
    let (saves, auto) = (set("XENDOMAINS_SAVE")?, set("XENDOMAINS_AUTO")?);
    let names_it = text.lines().any(|line| line.trim_start().starts_with("XENDOMAINS_AUTO="));
    // Where it is set to nothing, nothing is started.
    let auto = auto.or_else(|| (!names_it).then(|| AUTO.to_owned()));
    let restores = saves.as_ref().filter(|_| value(&text, "XENDOMAINS_RESTORE").is_some());
    let files = |folder: Option<&String>| folder.map_or(Ok(Vec::new()), |folder| files(&here.root, folder));
    let starts = files(auto.as_ref()).and_then(|auto| Ok((auto, files(restores)?)));
    let starts = starts.and_then(|(auto, saved)| starts_of(here, &auto, &saved));
    let spares = value(&text, "XENDOMAINS_AUTO_ONLY").as_deref() == Some("true");
    let keeps = [("XENDOMAINS_MIGRATE", set("XENDOMAINS_MIGRATE")?), ("XENDOMAINS_SAVE", saves)];
    let keeps =
        keeps.into_iter().filter(|_| !spares).filter_map(|(name, value)| Some((name.to_owned(), value?)));
    let service = service(&here.root, XENDOMAINS);
    Ok(Xendomains { service, starts, settings, keeps: keeps.collect() })
}

/// The file of settings, and its text; no text where there is none.
fn settings(root: &Root) -> Result<(String, String), String> {
    for file in SETTINGS {
        match small_file::read(&root.join(file), LARGEST) {
            Ok(text) => return Ok((file.to_owned(), String::from_utf8_lossy(&text).into_owned())),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(format!("{file}: {error}")),
        }
    }
    Ok((SETTINGS[0].to_owned(), String::new()))
}

/// The files in a folder, as a shell's `*` has them, by their paths inside the root.
fn files(root: &Root, folder: &str) -> Result<Vec<String>, String> {
    let said = |error: std::io::Error| format!("{folder}: {error}");
    let entries = match std::fs::read_dir(root.join(folder)) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(said)?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let name = entry.map_err(said)?.file_name();
        let name = name.to_str().ok_or_else(|| format!("{folder} has a file whose name is no text"))?;
        if !name.starts_with('.') {
            files.push(format!("{}/{name}", folder.trim_end_matches('/')));
        }
    }
    files.sort();
    Ok(files)
}

/// A domain of the cluster's, as this node knows it.
struct Own {
    resource: String,
    name: DomainName,
    /// Its configuration file, links followed.
    file: Option<PathBuf>,
}

/// Which of these are of the cluster's domains: by the file itself, or by the domain's name in it.
fn starts_of(here: &Here, auto: &[String], saved: &[String]) -> Result<Vec<Started>, String> {
    if auto.is_empty() && saved.is_empty() {
        return Ok(Vec::new());
    }
    let all = owns(here)?;
    let deadline = Deadline::after(LIMIT);
    let toolstack = here.toolstack();
    let (mut starts, mut unread) = (Vec::new(), None);
    for file in auto {
        let path = here.root.join(file);
        let itself = std::fs::canonicalize(&path).ok();
        let is_same = |own: &&Own| own.file.is_some() && own.file == itself;
        let own = all.iter().find(is_same).or_else(|| {
            let name = toolstack.read_config(&path, deadline.left()).map(|config| config.name);
            let name = name.inspect_err(|error| unread = Some(format!("{file}: {error}"))).ok()?;
            all.iter().find(|own| own.name == name)
        });
        let started =
            |own: &Own| Started { resource: own.resource.clone(), file: file.clone(), is_saved: false };
        starts.extend(own.map(started));
    }
    for file in saved {
        let name = Path::new(file).file_name().and_then(|name| name.to_str());
        let its = all.iter().filter(|own| name == Some(own.name.as_str()));
        starts.extend(its.map(|own| Started {
            resource: own.resource.clone(),
            file: file.clone(),
            is_saved: true,
        }));
    }
    // What was found is bad enough.
    unread.filter(|_| starts.is_empty()).map_or(Ok(starts), Err)
}

fn owns(here: &Here) -> Result<Vec<Own>, String> {
    let managed = here.cluster().domains().map_err(|error| error.to_string())?;
    let own = |managed: crate::cluster::managed::ManagedDomain| {
        let (parameters, _) = Parameters::judge(&managed.parameters);
        let name = here.domain_of(&parameters, &managed.resource).map_err(|error| format!("{error:#}"))?;
        let file = parameters.xmfile.as_deref().and_then(Path::to_str);
        let file = file.and_then(|file| std::fs::canonicalize(here.root.join(file)).ok());
        Ok(Own { resource: managed.resource, name, file })
    };
    managed.into_iter().map(own).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::managed::ManagedDomain;
    use crate::domain::DomainConfig;
    use crate::here::fake::{World, x0};

    /// The cluster has x0, from /etc/xen/x0.cfg.
    fn world() -> World {
        let world = World::listing([]);
        let parameters = [("name", "x0"), ("xmfile", "/etc/xen/x0.cfg")];
        let parameters = parameters.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let x0 = ManagedDomain { resource: "vm".to_owned(), parameters, ..ManagedDomain::default() };
        world.cluster.domains.are(Ok(vec![x0]));
        world.file("etc/xen/x0.cfg", "name = 'other'");
        world.file("etc/xen/auto/.hidden", "");
        world
    }

    fn files(world: &World) -> Result<Vec<String>, String> {
        Ok(look(&world.here)?.starts?.into_iter().map(|started| started.file).collect())
    }

    #[test]
    fn what_it_starts_is_the_clusters_by_its_file_or_by_its_name() {
        let world = world();
        assert_eq!(files(&world), Ok(vec![]));
        let auto = world.here.root.join("/etc/xen/auto");
        std::os::unix::fs::symlink("../x0.cfg", auto.join("link")).unwrap();
        assert_eq!(files(&world), Ok(vec!["/etc/xen/auto/link".to_owned()]));
        std::fs::remove_file(auto.join("link")).unwrap();
        world.xl.config.replace(Some(DomainConfig::blank(&x0())));
        world.file("etc/xen/auto/copy", "name = 'x0'");
        assert_eq!(files(&world), Ok(vec!["/etc/xen/auto/copy".to_owned()]));
        world.file("etc/default/xendomains", "XENDOMAINS_AUTO=\"\"\n");
        assert_eq!(files(&world), Ok(vec![]), "it is told to start nothing");
        world.file("etc/default/xendomains", "XENDOMAINS_AUTO=/srv/auto/\n");
        world.file("srv/auto/x", "name = 'x0'");
        assert_eq!(files(&world), Ok(vec!["/srv/auto/x".to_owned()]));
    }

    #[test]
    fn a_domain_of_the_clusters_that_was_saved_would_come_back_as_it_was() {
        let world = world();
        world.file("var/lib/xen/save/x0", "Xen saved domain");
        world.file("var/lib/xen/save/x1", "Xen saved domain");
        world.file("etc/sysconfig/xendomains", "XENDOMAINS_SAVE=/var/lib/xen/save\n");
        assert_eq!(files(&world), Ok(vec![]), "it is not told to bring it back");
        world
            .file("etc/sysconfig/xendomains", "XENDOMAINS_SAVE=/var/lib/xen/save\nXENDOMAINS_RESTORE=true\n");
        let starts = look(&world.here).unwrap().starts.unwrap();
        assert!(starts[0].is_saved && starts.len() == 1 && starts[0].resource == "vm", "{starts:?}");
    }

    #[test]
    fn what_it_does_with_domains_that_run_when_it_is_stopped_is_read_from_its_settings() {
        let world = world();
        let keeps = |text: &str| {
            world.file("etc/default/xendomains", text);
            look(&world.here).unwrap().keeps.into_iter().map(|(name, _)| name).collect::<Vec<_>>()
        };
        // Debian's file, and Xen's own.
        let debian = "XENDOMAINS_MIGRATE=\"\"\nXENDOMAINS_SAVE=/var/lib/xen/save\nXENDOMAINS_RESTORE=true\n";
        assert_eq!(keeps(debian), ["XENDOMAINS_SAVE"]);
        assert!(keeps(&format!("{debian}XENDOMAINS_AUTO_ONLY=true\n")).is_empty());
        assert_eq!(keeps(&format!("{debian}XENDOMAINS_AUTO_ONLY=false\n")), ["XENDOMAINS_SAVE"]);
        let sends = "XENDOMAINS_MIGRATE=\"n2 --live\"\nXENDOMAINS_SAVE=\n";
        assert_eq!(keeps(sends), ["XENDOMAINS_MIGRATE"]);
        assert!(keeps("XENDOMAINS_MIGRATE=\nXENDOMAINS_SAVE=\n").is_empty());
    }

    #[test]
    fn what_cannot_be_read_is_no_empty_folder() {
        let world = world();
        world.file("etc/default/xendomains", "XENDOMAINS_AUTO=$HOME/auto\n");
        assert!(look(&world.here).unwrap_err().contains("XENDOMAINS_AUTO=$HOME/auto is more"));
        world.file("etc/default/xendomains", "XENDOMAINS_AUTO=/etc/xen/x0.cfg\n");
        assert!(look(&world.here).unwrap().starts.unwrap_err().starts_with("/etc/xen/x0.cfg: "));
        world.file("etc/default/xendomains", "");
        world.file("etc/xen/auto/odd", "rotten");
        assert!(look(&world.here).unwrap().starts.unwrap_err().starts_with("/etc/xen/auto/odd: "));
        world.cluster.domains.are(Err("it does not say"));
        assert!(look(&world.here).unwrap().starts.unwrap_err().contains("it does not say"));
        std::fs::remove_file(world.here.root.join("/etc/xen/auto/odd")).unwrap();
        assert_eq!(files(&world), Ok(vec![]), "where there is nothing, nobody need be asked");
    }
}
