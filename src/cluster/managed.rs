//! The domains that the cluster manages by this agent, as its configuration has them. For the operators'
//! tools: an action is told by its environment.

use std::collections::BTreeMap;
use std::time::Duration;

use super::xml::Element;
use crate::ocf::span::parse_timeout;

/// What Pacemaker gives an operation that sets no timeout.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(20);

/// One resource of ours.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ManagedDomain {
    /// The resource's id.
    pub resource: String,
    /// Its parameters.
    pub parameters: BTreeMap<String, String>,
    /// How long each operation may take: start, stop, migrate_to, ... Empty where the cluster manager has no
    /// limits. One whose timeout Pacemaker cannot read is in `unreadable` instead.
    pub timeouts: BTreeMap<String, Duration>,
    /// The operations whose timeout nobody can say, with what is written there.
    pub unreadable: BTreeMap<String, String>,
    /// Whether the cluster may migrate it by itself.
    pub allow_migrate: bool,
    /// Its priority, which decides who goes first where not all can.
    pub priority: i64,
}

impl ManagedDomain {
    /// Whether somebody who says `name` means this one.
    pub fn is_called(&self, name: &str) -> bool {
        self.resource == name || self.parameters.get("name").is_some_and(|own| own == name)
    }
}

/// Every `ocf:PROVIDER:Xen` of a CIB, in its order.
pub(super) fn read(cib: &Element, provider: &str) -> Vec<ManagedDomain> {
    let Some(configuration) = cib.child("configuration") else { return Vec::new() };
    let Some(resources) = configuration.child("resources") else { return Vec::new() };
    let default = configuration
        .every("op_defaults")
        .flat_map(|defaults| defaults.every("nvpair"))
        .find(|pair| pair.get("name") == Some("timeout"))
        .and_then(|pair| pair.get("value"));
    let defaults: Vec<&Element> = configuration.child("rsc_defaults").into_iter().collect();
    let templates: Vec<&Element> = resources.every("template").collect();
    resources
        .every("primitive")
        .filter_map(|primitive| {
            let template = primitive
                .get("template")
                .and_then(|id| templates.iter().copied().find(|template| template.get("id") == Some(id)));
            // What the primitive says itself comes last, and wins.
            let sources: Vec<&Element> = template.into_iter().chain([primitive]).collect();
            let says = |name: &str| sources.iter().rev().find_map(|element| element.get(name));
            (says("class") == Some("ocf")
                && says("provider") == Some(provider)
                && says("type") == Some("Xen"))
            .then(|| {
                let id = primitive.get("id").unwrap_or_default();
                // What a group says counts for its members, and what is said for all for those who say
                // nothing else.
                let around = resources.children.iter().filter(|parent| {
                    parent.name != "primitive"
                        && parent.every("primitive").any(|inside| inside.get("id") == Some(id))
                });
                let meta: Vec<&Element> =
                    defaults.iter().copied().chain(around).chain(sources.iter().copied()).collect();
                let (timeouts, unreadable) = timeouts(&sources, default);
                ManagedDomain {
                    resource: id.to_owned(),
                    parameters: pairs(&sources, "instance_attributes"),
                    timeouts,
                    unreadable,
                    allow_migrate: pairs(&sources, "meta_attributes")
                        .get("allow-migrate")
                        .is_some_and(|value| matches!(value.as_str(), "true" | "1" | "yes" | "on")),
                    priority: pairs(&meta, "meta_attributes").get("priority").map_or(0, |text| score(text)),
                }
            })
        })
        .collect()
}

/// The name-value pairs of these sets, the later element's over the earlier one's.
fn pairs(sources: &[&Element], set: &str) -> BTreeMap<String, String> {
    sources
        .iter()
        .flat_map(|element| element.children.iter().filter(|child| child.name == set))
        .flat_map(|set| set.every("nvpair"))
        .filter_map(|pair| Some((pair.get("name")?.to_owned(), pair.get("value")?.to_owned())))
        .collect()
}

/// A score as Pacemaker writes it; 0 for what is none.
fn score(text: &str) -> i64 {
    const INFINITY: i64 = 1_000_000;
    match text.trim() {
        "INFINITY" | "+INFINITY" => INFINITY,
        "-INFINITY" => -INFINITY,
        number => number.parse::<i64>().unwrap_or_default().clamp(-INFINITY, INFINITY),
    }
}

/// What each operation's timeout is, and those of which that is not known.
fn timeouts(
    sources: &[&Element],
    default: Option<&str>,
) -> (BTreeMap<String, Duration>, BTreeMap<String, String>) {
    let mut said: BTreeMap<&str, Option<&str>> =
        ["start", "stop", "monitor", "migrate_to", "migrate_from"].map(|name| (name, default)).into();
    for op in sources.iter().flat_map(|element| element.every("op")) {
        let Some(name) = op.get("name") else { continue };
        let inside = op.every("nvpair").find(|pair| pair.get("name") == Some("timeout"));
        let set = op.get("timeout").or_else(|| inside?.get("value"));
        if set.is_some() {
            said.insert(name, set);
        }
    }
    let (mut timeouts, mut unreadable) = (BTreeMap::new(), BTreeMap::new());
    for (name, text) in said {
        match text.map_or(Some(DEFAULT_TIMEOUT), parse_timeout) {
            Some(timeout) => drop(timeouts.insert(name.to_owned(), timeout)),
            None => drop(unreadable.insert(name.to_owned(), text.unwrap_or_default().to_owned())),
        }
    }
    (timeouts, unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_resources_are_found_with_their_parameters_and_limits_through_templates_too() {
        let cib = r#"<cib><configuration><op_defaults><meta_attributes id="o"><nvpair id="t" name="timeout" value="30s"/>
            </meta_attributes></op_defaults><rsc_defaults><meta_attributes id="r"><nvpair id="rp" name="priority" value="7"/>
            </meta_attributes></rsc_defaults><resources>
            <template id="vm" class="ocf" provider="handoff" type="Xen"><meta_attributes id="m"><nvpair id="am"
            name="allow-migrate" value="true"/></meta_attributes><operations><op id="o1" name="stop" interval="0"
            timeout="180s"/></operations></template>
            <primitive id="x0" template="vm"><instance_attributes id="i"><nvpair id="f" name="xmfile"
            value="/etc/xen/x0.cfg"/></instance_attributes><operations><op id="o2" name="start" timeout="5min"/>
            </operations></primitive>
            <primitive id="old" class="ocf" provider="heartbeat" type="Xen"><operations><op id="o3" name="start"
            timeout="600S"/><op id="o4" name="stop" timeout="10Min"/><op id="o5" name="monitor" timeout="PT2M"/></operations>
            </primitive>
            <group id="g"><meta_attributes id="gm"><nvpair id="gp" name="priority" value="50"/></meta_attributes><primitive id="x1" class="ocf" provider="handoff" type="Xen"><instance_attributes id="j">
            <nvpair id="n" name="name" value="web"/></instance_attributes></primitive></group>
            </resources></configuration></cib>"#;
        let cib = Element::parse(cib).unwrap();
        let found = read(&cib, "handoff");
        let [x0, x1] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!((x0.resource.as_str(), x0.allow_migrate), ("x0", true));
        assert_eq!(x0.parameters["xmfile"], "/etc/xen/x0.cfg");
        let seconds = |name: &str| x0.timeouts[name].as_secs();
        assert_eq!((seconds("start"), seconds("stop"), seconds("migrate_to")), (300, 180, 30));
        let old = &read(&cib, "heartbeat")[0];
        assert_eq!(
            (old.resource.as_str(), old.timeouts["start"].as_secs(), old.timeouts["stop"].as_secs()),
            ("old", 600, 600)
        );
        assert_eq!(old.timeouts.get("monitor"), None, "what cannot be read is no default");
        assert_eq!(old.unreadable["monitor"], "PT2M");
        assert_eq!((x0.priority, x1.priority), (7, 50), "of all, and of its group");
        assert!(x1.is_called("web") && x1.is_called("x1") && !x1.allow_migrate);
    }
}
