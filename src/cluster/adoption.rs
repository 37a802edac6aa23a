//! What would have to change for resources of `ocf:heartbeat:Xen` to be of our agent: looked up as a whole
//! before anything is changed.

use super::managed::{self, ManagedDomain};
use super::xml::Element;

/// One place of the configuration that says the provider, and the resources that have theirs from there: a
/// resource itself, or a template for all that refer to it (such a resource cannot say another).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adoption {
    /// `primitive` or `template`.
    pub element: &'static str,
    /// The id of that.
    pub id: String,
    /// The resources.
    pub resources: Vec<Adopted>,
}

/// A resource of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adopted {
    /// What the cluster has of it.
    pub domain: ManagedDomain,
    /// What it says itself about `is-managed`, if it does.
    ///
    /// # Errors
    /// If it says so in a way that cannot be put back afterwards.
    pub is_managed: Result<Option<String>, String>,
}

impl Adopted {
    /// Whether its operator has taken it out of the cluster's hands already.
    pub fn is_unmanaged(&self) -> bool {
        let set = self.is_managed.as_ref().ok().and_then(Option::as_deref).unwrap_or_default();
        matches!(set.to_ascii_lowercase().as_str(), "false" | "off" | "no" | "n" | "0")
    }
}

/// All of them, in the configuration's order.
pub(super) fn read(cib: &Element) -> Vec<Adoption> {
    let primitives: Vec<&Element> = cib.every("primitive").collect();
    let mut all: Vec<Adoption> = Vec::new();
    for domain in managed::read(cib, "heartbeat") {
        let primitive = primitives.iter().find(|element| element.get("id") == Some(&domain.resource));
        let Some(primitive) = primitive else { continue };
        let (element, id) = match (primitive.get("provider"), primitive.get("template")) {
            (None, Some(template)) => ("template", template),
            _ => ("primitive", domain.resource.as_str()),
        };
        let id = id.to_owned();
        let adopted = Adopted { is_managed: is_managed(primitive), domain };
        match all.iter_mut().find(|adoption| adoption.element == element && adoption.id == id) {
            Some(adoption) => adoption.resources.push(adopted),
            None => all.push(Adoption { element, id, resources: vec![adopted] }),
        }
    }
    all
}

/// What a resource says itself.
fn is_managed(primitive: &Element) -> Result<Option<String>, String> {
    let mut said = Vec::new();
    for set in primitive.children.iter().filter(|child| child.name == "meta_attributes") {
        if set.get("id-ref").is_some() {
            return Err("its meta attributes are those of another resource (id-ref)".to_owned());
        }
        let pairs: Vec<&Element> =
            set.every("nvpair").filter(|pair| pair.get("name") == Some("is-managed")).collect();
        if !pairs.is_empty() && set.child("rule").is_some() {
            return Err("its is-managed depends on a rule".to_owned());
        }
        said.extend(pairs);
    }
    match said.as_slice() {
        [] => Ok(None),
        [pair] => match pair.get("value") {
            Some(value) => Ok(Some(value.to_owned())),
            None => Err("its is-managed is that of another resource (id-ref)".to_owned()),
        },
        _ => Err("it says is-managed more than once".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(resources: &str) -> Vec<Adoption> {
        let cib = format!("<cib><configuration><resources>{resources}</resources></configuration></cib>");
        read(&Element::parse(&cib).unwrap())
    }

    const TEMPLATE: &str = r#"<template id="vm" class="ocf" provider="heartbeat" type="Xen"/>"#;

    #[test]
    fn a_template_is_changed_once_for_all_that_refer_to_it() {
        let found = of(&format!(
            r#"{TEMPLATE}<primitive id="x0" template="vm"/><primitive id="x1" class="ocf" provider="heartbeat" type="Xen"/>
               <group id="g"><primitive id="x2" template="vm"/></group>"#
        ));
        let places: Vec<(&str, &str, Vec<&str>)> = found
            .iter()
            .map(|adoption| {
                let names = adoption.resources.iter().map(|adopted| adopted.domain.resource.as_str());
                (adoption.element, adoption.id.as_str(), names.collect())
            })
            .collect();
        assert_eq!(places, [("template", "vm", vec!["x0", "x2"]), ("primitive", "x1", vec!["x1"])]);
    }

    #[test]
    fn what_a_resource_says_of_its_management_is_known_or_refused() {
        let said = |meta: &str| {
            let resources = format!(
                r#"<primitive id="x0" class="ocf" provider="heartbeat" type="Xen">{meta}</primitive>"#
            );
            of(&resources).remove(0).resources.remove(0)
        };
        let pair = |value: &str| {
            format!(r#"<meta_attributes id="m"><nvpair id="p" name="is-managed" {value}/></meta_attributes>"#)
        };
        assert_eq!(said("").is_managed, Ok(None));
        assert_eq!(said(&pair(r#"value="true""#)).is_managed, Ok(Some("true".to_owned())));
        assert!(!said(&pair(r#"value="true""#)).is_unmanaged());
        assert!(said(&pair(r#"value="False""#)).is_unmanaged());
        for odd in [
            pair(r#"id-ref="other""#),
            r#"<meta_attributes id-ref="others"/>"#.to_owned(),
            pair(r#"value="true""#) + &pair(r#"value="false""#),
            r#"<meta_attributes id="m"><rule id="r"/><nvpair id="p" name="is-managed" value="false"/></meta_attributes>"#.to_owned(),
        ] {
            assert!(said(&odd).is_managed.is_err(), "{odd}");
        }
    }
}
