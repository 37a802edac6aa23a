//! `xen-handoff adopt`: makes resources of `ocf:heartbeat:Xen` resources of `ocf:handoff:Xen`, without
//! stopping what they run.
//!
//! A changed provider means a restart to Pacemaker, unless the resource is not managed at that moment; and
//! what the old agent has reported must be forgotten, so that the new one is asked. Hence four commands for
//! each, the same that an operator would give: they are printed before they are given. Everything is looked
//! at before the first is given; a resource that its operator has unmanaged stays so; and where a command
//! fails, what was changed until then is put back.

use std::io::Write;

use crate::cluster::adoption::{Adopted, Adoption};
use crate::cluster::managed::ManagedDomain;
use crate::cluster::pacemaker::Pacemaker;
use crate::host::Root;
use crate::parameters::Parameters;

/// A command, as its words.
type Words = Vec<String>;

/// Prints the commands for each resource, and gives them unless this is a `dry_run`. True if all that were
/// meant could be adopted.
///
/// # Errors
/// If the cluster does not say what it manages; a command that failed, after what it could undo was undone.
pub fn run(root: &Root, dry_run: bool, only: &[String]) -> anyhow::Result<bool> {
    let pacemaker = Pacemaker::new(root);
    let mut out = std::io::stdout();
    let all = pacemaker.adoptions()?;
    let known = |name: &String| all.iter().any(|adoption| names(adoption).any(|found| found == name));
    for name in only {
        anyhow::ensure!(known(name), "{name} is no resource of ocf:heartbeat:Xen in this cluster");
    }
    let is_meant = |adoption: &&Adoption| only.is_empty() || names(adoption).any(|name| only.contains(name));
    let meant: Vec<&Adoption> = all.iter().filter(is_meant).collect();
    if meant.is_empty() {
        writeln!(out, "This cluster has no resource of ocf:heartbeat:Xen.")?;
        return Ok(true);
    }
    let mut complete = true;
    for adoption in meant {
        let together = names(adoption).map(String::as_str).collect::<Vec<_>>().join(", ");
        if let Err(why) = fits(adoption, only) {
            writeln!(out, "# {together}: left as it is: {why}")?;
            complete = false;
            continue;
        }
        writeln!(out, "# {together}")?;
        carry_out(&Commands::of(adoption), &mut |words| {
            writeln!(out, "{}", shown(words))?;
            if dry_run { Ok(()) } else { Ok(pacemaker.order(words)?) }
        })?;
        for hint in adoption.resources.iter().flat_map(|adopted| hints(&adopted.domain)) {
            writeln!(out, "# advised: {hint}")?;
        }
    }
    Ok(complete)
}

/// The resources that are adopted together.
fn names(adoption: &Adoption) -> impl Iterator<Item = &String> {
    adoption.resources.iter().map(|adopted| &adopted.domain.resource)
}

/// Whether this agent carries out all that the resources ask for, and whether nothing else would change.
fn fits(adoption: &Adoption, only: &[String]) -> Result<(), String> {
    let unnamed: Vec<&str> =
        names(adoption).filter(|name| !only.contains(name)).map(String::as_str).collect();
    if !only.is_empty() && !unnamed.is_empty() {
        let others = unnamed.join(", ");
        return Err(format!(
            "the template {} says the provider of {others}, too: name all of them",
            adoption.id
        ));
    }
    for Adopted { domain, is_managed } in &adoption.resources {
        let of = |why: String| format!("{}: {why}", domain.resource);
        Parameters::read(&domain.parameters).map_err(|bad| of(bad.to_string()))?;
        is_managed.as_ref().map_err(|why| of(why.clone()))?;
    }
    Ok(())
}

/// What adopts resources, in the order in which it is given.
struct Commands {
    /// So that none is restarted; each with what takes it back.
    unmanage: Vec<(Words, Words)>,
    /// Changes the provider.
    change: Words,
    /// Changes it back.
    change_back: Words,
    /// So that the agent is asked that now is theirs.
    refresh: Vec<Words>,
}

impl Commands {
    fn of(adoption: &Adoption) -> Self {
        let words = |text: &[&str]| text.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let (element, id) = (adoption.element, adoption.id.as_str());
        let xpath = format!("//{element}[@id=\"{id}\"]");
        let provider = |provider: &str| {
            let xml = format!("<{element} id=\"{id}\" provider=\"{provider}\"/>");
            words(&["cibadmin", "--modify", "--xpath", &xpath, "--xml-text", &xml])
        };
        let unmanage = |adopted: &Adopted| {
            let meta = ["crm_resource", "--resource", &adopted.domain.resource, "--meta"];
            let set = |value: &str| {
                words(&[&meta[..], &["--set-parameter", "is-managed", "--parameter-value", value]].concat())
            };
            let before = match &adopted.is_managed {
                Ok(Some(value)) => set(value),
                _ => words(&[&meta[..], &["--delete-parameter", "is-managed"]].concat()),
            };
            (set("false"), before)
        };
        let managed = adoption.resources.iter().filter(|adopted| !adopted.is_unmanaged());
        Self {
            unmanage: managed.map(unmanage).collect(),
            change: provider("handoff"),
            change_back: provider("heartbeat"),
            refresh: names(adoption)
                .map(|name| words(&["crm_resource", "--refresh", "--resource", name]))
                .collect(),
        }
    }
}

/// Gives them. Where one fails, what was given is taken back, it included: it may have changed something all
/// the same.
fn carry_out(
    commands: &Commands,
    give: &mut dyn FnMut(&[String]) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut undo: Vec<&Words> = Vec::new();
    let forth = commands.unmanage.iter().map(|(set, before)| (set, vec![before]));
    let change = (&commands.change, commands.refresh.iter().rev().chain([&commands.change_back]).collect());
    let refresh = commands.refresh.iter().map(|words| (words, Vec::new()));
    let forth: Vec<(&Words, Vec<&Words>)> = forth.chain([change]).chain(refresh).collect();
    for (words, back) in forth {
        undo.extend(back);
        let Err(error) = give(words) else { continue };
        let failed: Vec<String> =
            undo.iter().rev().filter(|words| give(words).is_err()).map(|words| shown(words)).collect();
        if failed.is_empty() {
            return Err(error.context("nothing is changed: what had been was put back"));
        }
        return Err(
            error.context(format!("still to be given, to put back what was changed: {}", failed.join("; ")))
        );
    }
    // Adopted. A resource that stays unmanaged is nothing to undo the rest for.
    let failed: Vec<String> = commands
        .unmanage
        .iter()
        .filter(|(_, before)| give(before).is_err())
        .map(|(_, before)| shown(before))
        .collect();
    anyhow::ensure!(failed.is_empty(), "adopted, and still to be given: {}", failed.join("; "));
    Ok(())
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

    fn x0() -> Adopted {
        let parameters = [("xmfile".to_owned(), "/etc/xen/x0.cfg".to_owned())].into();
        let domain = ManagedDomain { resource: "x0".to_owned(), parameters, ..ManagedDomain::default() };
        Adopted { domain, is_managed: Ok(None) }
    }

    fn alone(adopted: Adopted) -> Adoption {
        Adoption { element: "primitive", id: "x0".to_owned(), resources: vec![adopted] }
    }

    /// What is given where the commands with this word in them fail; and what comes of it.
    fn given(adopted: Adopted, fails: &str) -> (Vec<String>, anyhow::Result<()>) {
        let mut given = Vec::new();
        let end = carry_out(&Commands::of(&alone(adopted)), &mut |words| {
            given.push(shown(words));
            anyhow::ensure!(fails.is_empty() || !shown(words).contains(fails), "no");
            Ok(())
        });
        (given, end)
    }

    #[test]
    fn what_this_agent_does_not_carry_out_is_left_with_the_reason() {
        let mut adopted = x0();
        fits(&alone(adopted.clone()), &[]).unwrap();
        adopted.domain.parameters.insert("allow_mem_management".to_owned(), "yes".to_owned());
        fits(&alone(adopted.clone()), &[]).unwrap();
        adopted.domain.parameters.insert("name".to_owned(), "x0--incoming".to_owned());
        assert!(fits(&alone(adopted), &[]).unwrap_err().contains("--incoming"));
        let odd = Adopted { is_managed: Err("a rule".to_owned()), ..x0() };
        assert!(fits(&alone(odd), &[]).unwrap_err().contains("a rule"));
    }

    #[test]
    fn one_of_a_template_is_not_adopted_without_the_others() {
        let mut other = x0();
        other.domain.resource = "x1".to_owned();
        let both = Adoption { element: "template", id: "vm".to_owned(), resources: vec![x0(), other] };
        let why = fits(&both, &["x0".to_owned()]).unwrap_err();
        assert!(why.contains("x1") && why.contains("vm"), "{why}");
        fits(&both, &["x1".to_owned(), "x0".to_owned()]).unwrap();
        fits(&both, &[]).unwrap();
    }

    #[test]
    fn commands_can_be_pasted_into_a_shell() {
        let (given, end) = given(x0(), "");
        end.unwrap();
        let modify = r#"cibadmin --modify --xpath '//primitive[@id="x0"]' --xml-text '<primitive id="x0" provider="handoff"/>'"#;
        assert_eq!(
            given,
            [
                "crm_resource --resource x0 --meta --set-parameter is-managed --parameter-value false",
                modify,
                "crm_resource --refresh --resource x0",
                "crm_resource --resource x0 --meta --delete-parameter is-managed",
            ]
        );
    }

    #[test]
    fn what_an_operator_has_set_is_what_it_is_afterwards() {
        let set = |value: &str| Adopted { is_managed: Ok(Some(value.to_owned())), ..x0() };
        let (unmanaged, _) = given(set("no"), "");
        assert!(!unmanaged.iter().any(|command| command.contains("is-managed")), "{unmanaged:?}");
        let (managed, _) = given(set("true"), "");
        assert!(
            managed.last().unwrap().ends_with("--set-parameter is-managed --parameter-value true"),
            "{managed:?}"
        );
    }

    #[test]
    fn what_fails_in_the_middle_is_taken_back_and_the_old_agent_is_asked_again() {
        for (fails, expected) in [
            ("--parameter-value false", &["--delete-parameter"][..]),
            ("provider=\"handoff\"", &["provider=\"heartbeat\"", "--refresh", "--delete-parameter"]),
            ("--refresh", &["provider=\"heartbeat\"", "--refresh", "--delete-parameter"]),
        ] {
            let (given, end) = given(x0(), fails);
            let first = given.iter().position(|command| command.contains(fails)).unwrap();
            let undone = &given[first + 1..];
            assert_eq!(undone.len(), expected.len(), "{undone:?}");
            for (command, part) in undone.iter().zip(expected) {
                assert!(command.contains(part), "{undone:?}");
            }
            let said = format!("{:#}", end.unwrap_err());
            // What was put back by a command that fails itself is for the operator
            assert_eq!(said.contains("still to be given"), fails == "--refresh", "{said}");
        }
        let (_, end) = given(x0(), "--delete-parameter");
        assert!(format!("{:#}", end.unwrap_err()).contains("adopted, and still to be given: crm_resource"));
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
