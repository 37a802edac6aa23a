//! `xen-handoff adopt`: makes resources of `ocf:heartbeat:Xen` resources of `ocf:handoff:Xen`, without stopping what they run.
//!
//! A changed provider means a restart to Pacemaker, unless the resource is not managed at that moment; and what the old agent
//! has reported must be forgotten, so that the new one is asked. Hence four commands for each, the same that an operator would
//! give: they are printed before they are given.

use std::io::Write;

use crate::cluster::managed::ManagedDomain;
use crate::cluster::pacemaker::Pacemaker;
use crate::host::Root;
use crate::ocf::parameters::Parameters;

/// Prints the commands for each resource, and gives them unless this is a `dry_run`. True if all that were meant could be adopted.
///
/// # Errors
/// If the cluster does not say what it manages; a command that failed.
pub fn run(root: &Root, dry_run: bool, only: &[String]) -> anyhow::Result<bool> {
    let pacemaker = Pacemaker::new(root);
    let mut out = std::io::stdout();
    let all = pacemaker.domains_of("heartbeat")?;
    for name in only {
        anyhow::ensure!(
            all.iter().any(|found| found.resource == *name),
            "{name} is no resource of ocf:heartbeat:Xen in this cluster"
        );
    }
    let meant: Vec<&ManagedDomain> =
        all.iter().filter(|found| only.is_empty() || only.contains(&found.resource)).collect();
    if meant.is_empty() {
        writeln!(out, "This cluster has no resource of ocf:heartbeat:Xen.")?;
        return Ok(true);
    }
    let mut complete = true;
    for managed in meant {
        if let Err(why) = fits(managed) {
            writeln!(out, "# {}: left as it is: {why}", managed.resource)?;
            complete = false;
            continue;
        }
        writeln!(out, "# {}", managed.resource)?;
        for words in commands(&managed.resource) {
            writeln!(out, "{}", shown(&words))?;
            if !dry_run {
                pacemaker.order(&words)?;
            }
        }
        for hint in hints(managed) {
            writeln!(out, "# advised: {hint}")?;
        }
    }
    Ok(complete)
}

/// Whether this agent carries out all that the resource asks for.
fn fits(managed: &ManagedDomain) -> Result<(), String> {
    Parameters::read(&managed.parameters).map(drop).map_err(|bad| bad.to_string())
}

fn commands(resource: &str) -> [Vec<String>; 4] {
    let words = |text: &[&str]| text.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let xpath = format!("//primitive[@id=\"{resource}\"]");
    let primitive = format!("<primitive id=\"{resource}\" provider=\"handoff\"/>");
    let meta = ["crm_resource", "--resource", resource, "--meta"];
    [
        words(&[&meta[..], &["--set-parameter", "is-managed", "--parameter-value", "false"]].concat()),
        words(&["cibadmin", "--modify", "--xpath", &xpath, "--xml-text", &primitive]),
        words(&["crm_resource", "--refresh", "--resource", resource]),
        words(&[&meta[..], &["--delete-parameter", "is-managed"]].concat()),
    ]
}

/// As one would type it.
fn shown(words: &[String]) -> String {
    let plain = |word: &str| word.chars().all(|c| c.is_ascii_alphanumeric() || "-_./=:".contains(c));
    let quoted =
        |word: &String| if plain(word) { word.clone() } else { format!("'{}'", word.replace('\'', r"'\''")) };
    words.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

/// Limits that are too small for a move, or that nobody can read.
fn hints(managed: &ManagedDomain) -> Vec<String> {
    [("start", 300), ("stop", 180), ("migrate_to", 300)]
        .into_iter()
        .filter(|(operation, _)| *operation != "migrate_to" || managed.allow_migrate)
        .filter(|(operation, advised)| {
            managed.unreadable.contains_key(*operation)
                || managed.timeouts.get(*operation).is_some_and(|set| set.as_secs() < *advised)
        })
        .map(|(operation, advised)| {
            format!("pcs resource update {} op {operation} timeout={advised}s", managed.resource)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn what_this_agent_does_not_carry_out_is_left_with_the_reason() {
        let parameters = [("xmfile".to_owned(), "/etc/xen/x0.cfg".to_owned())].into();
        let mut managed = ManagedDomain { resource: "x0".to_owned(), parameters, ..ManagedDomain::default() };
        fits(&managed).unwrap();
        managed.parameters.insert("allow_mem_management".to_owned(), "yes".to_owned());
        fits(&managed).unwrap();
        managed.parameters.insert("name".to_owned(), "x0--incoming".to_owned());
        assert!(fits(&managed).unwrap_err().contains("--incoming"));
    }

    #[test]
    fn commands_can_be_pasted_into_a_shell() {
        let shown: Vec<String> = commands("x0").iter().map(|words| shown(words)).collect();
        assert_eq!(shown[2], "crm_resource --refresh --resource x0");
        let modify = r#"cibadmin --modify --xpath '//primitive[@id="x0"]' --xml-text '<primitive id="x0" provider="handoff"/>'"#;
        assert_eq!(shown[1], modify);
    }

    #[test]
    fn limits_that_are_too_small_for_a_move_are_named() {
        let timeouts =
            [("start".to_owned(), Duration::from_secs(60)), ("stop".to_owned(), Duration::from_secs(200))];
        let managed = ManagedDomain {
            resource: "x0".to_owned(),
            timeouts: timeouts.into(),
            ..ManagedDomain::default()
        };
        assert_eq!(hints(&managed), ["pcs resource update x0 op start timeout=300s"]);
    }
}
