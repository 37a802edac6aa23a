//! What the cluster has lost nodes switched off with, by its own word. Pure functions.

use std::collections::BTreeMap;

use super::xml::Element;
use crate::ocf::span::parse_timeout;

/// What a lost node is switched off with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fencing {
    /// Nothing is, and that is how the cluster is configured.
    Off,
    /// The cluster fences.
    On {
        /// Its fencing devices, each with whether it is started and has not failed.
        devices: Vec<(String, bool)>,
        /// Whether a node that is lost switches itself off by its watchdog, and the cluster waits for that.
        by_watchdog: bool,
    },
    /// Its configuration names these devices. Whether they work, it does not say.
    Configured(Vec<String>),
}

/// By `crm_mon` of the cluster as it is, and by the CIB where that says more.
///
/// # Errors
/// If the cluster does not say whether it fences.
pub(super) fn read(state: &Element, cib: &Element) -> Result<Fencing, String> {
    // Since 3.0.2 it has both names.
    let names = ["fencing-enabled", "stonith-enabled"];
    let enabled = state.every("cluster_options").find_map(|set| names.iter().find_map(|name| set.get(name)));
    match enabled {
        Some("false") => return Ok(Fencing::Off),
        Some("true") => {}
        other => return Err(format!("whether fencing is enabled: {}", other.unwrap_or("nothing"))),
    }
    let mut devices: BTreeMap<String, bool> = BTreeMap::new();
    let is = |resource: &Element, name: &str| resource.get(name) == Some("true");
    for resource in state.every("resource") {
        let is_device = resource.get("resource_agent").is_some_and(|agent| agent.starts_with("stonith:"));
        // One that is not configured any more fences nobody. (Since 3.0.2 that is called "removed", too.)
        let Some(id) = resource.get("id").filter(|_| is_device && !is(resource, "orphaned")) else {
            continue;
        };
        let works = is(resource, "active") && !is(resource, "failed");
        *devices.entry(id.split(':').next().unwrap_or(id).to_owned()).or_default() |= works;
    }
    Ok(Fencing::On { devices: devices.into_iter().collect(), by_watchdog: by_watchdog(cib) })
}

/// Whether the cluster has said that its nodes have a watchdog, and is told to rely on that.
fn by_watchdog(cib: &Element) -> bool {
    let option = |name: &str| {
        let sets = cib.at(&["configuration", "crm_config"]).into_iter().flat_map(|config| &config.children);
        let mut pairs = sets.flat_map(|set| set.every("nvpair"));
        pairs.find(|pair| pair.get("name") == Some(name)).and_then(|pair| pair.get("value"))
    };
    let timeout = option("fencing-watchdog-timeout").or_else(|| option("stonith-watchdog-timeout"));
    // Below nought: as long as sbd says.
    let is_long =
        |text: &str| text.trim().starts_with('-') || parse_timeout(text).is_some_and(|time| !time.is_zero());
    option("have-watchdog") == Some("true") && timeout.is_some_and(is_long)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(options: &str, resources: &str, pairs: &str) -> Result<Fencing, String> {
        let state = format!("<r><summary>{options}</summary><nodes/><resources>{resources}</resources></r>");
        let cib = format!("<cib><configuration><crm_config>{pairs}</crm_config></configuration></cib>");
        read(&Element::parse(&state).unwrap(), &Element::parse(&cib).unwrap())
    }

    const ENABLED: &str = r#"<cluster_options stonith-enabled="true"/>"#;

    fn device(id: &str, more: &str) -> String {
        format!(r#"<resource id="{id}" resource_agent="stonith:fence_ipmilan" {more}/>"#)
    }

    #[test]
    fn a_device_counts_that_is_started_has_not_failed_and_is_still_configured() {
        let resources = [
            device("a", r#"active="true" failed="false""#),
            device("b", r#"active="false""#),
            device("c", r#"active="true" failed="true""#),
            device("d", r#"active="true" orphaned="true""#),
            format!(
                "<clone>{}{}</clone>",
                device("e:0", r#"active="false""#),
                device("e:1", r#"active="true""#)
            ),
            r#"<resource id="x0" resource_agent="ocf:handoff:Xen" active="true"/>"#.to_owned(),
        ];
        let Fencing::On { devices, by_watchdog } = said(ENABLED, &resources.concat(), "").unwrap() else {
            panic!("it is on")
        };
        let all: Vec<_> = devices.iter().map(|(id, works)| (id.as_str(), *works)).collect();
        assert_eq!(all, [("a", true), ("b", false), ("c", false), ("e", true)]);
        assert!(!by_watchdog);
    }

    #[test]
    fn what_is_not_said_is_no_answer_and_off_is_off() {
        assert_eq!(said(r#"<cluster_options stonith-enabled="false"/>"#, "", ""), Ok(Fencing::Off));
        let both = r#"<cluster_options fencing-enabled="true" stonith-enabled="true"/>"#;
        assert!(matches!(said(both, "", ""), Ok(Fencing::On { .. })));
        for unsaid in ["", "<cluster_options/>", r#"<cluster_options stonith-enabled="maybe"/>"#] {
            assert!(said(unsaid, "", "").is_err(), "{unsaid}");
        }
    }

    #[test]
    fn a_watchdog_counts_where_there_is_one_and_the_cluster_waits_for_it() {
        let by = |watchdog: &str, timeout: &str| {
            let pair = |name: &str, value: &str| format!(r#"<nvpair name="{name}" value="{value}"/>"#);
            let pairs = pair("have-watchdog", watchdog) + &pair("stonith-watchdog-timeout", timeout);
            let set = format!("<cluster_property_set>{pairs}</cluster_property_set>");
            matches!(said(ENABLED, "", &set), Ok(Fencing::On { by_watchdog: true, .. }))
        };
        assert!(by("true", "10s") && by("true", "-1"));
        assert!(!by("true", "0") && !by("true", "0s") && !by("false", "10s") && !by("true", "soon"));
    }

    /// What each release's own tools say of clusters with and without fencing: `tests/captured/ask`.
    #[test]
    fn every_release_says_it_in_words_that_are_read() {
        for release in ["2.0.5", "2.1.5", "3.0.0", "3.0.3"] {
            let folder = format!("{}/tests/captured/pacemaker-{release}", env!("CARGO_MANIFEST_DIR"));
            let cib = std::fs::read_to_string(format!("{folder}/cib--n3-fenced.cib.xml")).unwrap();
            let cib = Element::parse(&cib).unwrap();
            let of = |name: &str| {
                let state = std::fs::read_to_string(format!("{folder}/crm_mon--{name}.xml")).unwrap();
                read(&Element::parse(&state).unwrap(), &cib)
            };
            let power = Fencing::On { devices: vec![("power".to_owned(), true)], by_watchdog: false };
            assert_eq!(of("fencing"), Ok(power), "{release}");
            assert_eq!(of("no-fencing"), Ok(Fencing::Off), "{release}");
        }
    }
}
