//! What Prometheus and Grafana are given, `packaging/monitoring`, against the metrics that the program has,
//! and by Prometheus' own tool. Grafana itself is not asked here: what it would refuse or show empty is
//! looked for by the rules of its published schema.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and starts processes"
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use xen_handoff::messages::{Catalogue, Id};
use xen_handoff::tool::metrics::METRICS;

const ALERTS: &str = include_str!("../packaging/monitoring/alerts.yml");
const DASHBOARD: &str = include_str!("../packaging/monitoring/grafana.json");
/// What others write, and the labels of theirs that count: node_exporter, Prometheus.
const OTHERS: [(&str, &[&str]); 2] = [("node_textfile_mtime_seconds", &["file"]), ("up", &[])];
/// The labels that Prometheus gives to each sample.
const PROMETHEUS: [&str; 2] = ["instance", "job"];

fn top() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn dashboard() -> Value {
    serde_json::from_str(DASHBOARD).unwrap()
}

/// The panels, each with its title.
fn panels(dashboard: &Value) -> Vec<(&str, &Value)> {
    let all = dashboard["panels"].as_array().unwrap();
    all.iter().map(|panel| (panel["title"].as_str().unwrap(), panel)).collect()
}

/// The queries of a panel.
fn queries(panel: &Value) -> Vec<&str> {
    panel["targets"].as_array().unwrap().iter().map(|target| target["expr"].as_str().unwrap()).collect()
}

/// As Grafana would ask it, of all nodes and domains over an hour.
fn asked(query: &str) -> String {
    [("$instance", ".*"), ("$domain", ".*"), ("$__range_s", "3600"), ("$__interval", "10m")]
        .iter()
        .fold(query.to_owned(), |query, (variable, value)| query.replace(variable, value))
}

/// The metrics in this text, each with the labels that it is asked by.
fn selectors(text: &str) -> Vec<(String, Vec<String>)> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let names = METRICS.iter().chain(&OTHERS).map(|(name, _)| *name);
    let starts = |at: usize| !text[..at].ends_with(is_part);
    let mut found = Vec::new();
    let ours = text.match_indices("xen_handoff_").map(|(at, _)| at);
    let others = names.flat_map(|name| text.match_indices(name).map(|(at, _)| at));
    let places: BTreeSet<usize> = ours.chain(others).filter(|at| starts(*at)).collect();
    for at in places {
        let rest = &text[at..];
        let name = rest.split(|c| !is_part(c)).next().unwrap();
        let within = rest[name.len()..].strip_prefix('{').and_then(|rest| rest.split_once('}'));
        let labels = within.map_or("", |(within, _)| within).split("\",");
        let label = |pair: &str| pair.split(['=', '!', '~']).next().unwrap().trim().to_owned();
        found.push((name.to_owned(), labels.map(label).filter(|label| !label.is_empty()).collect()));
    }
    found
}

/// What of these selectors the program does not have.
fn unknown(text: &str) -> Vec<String> {
    let mut unknown = Vec::new();
    for (name, labels) in selectors(text) {
        let Some((_, has)) = METRICS.iter().chain(&OTHERS).find(|(known, _)| *known == name) else {
            unknown.push(name);
            continue;
        };
        let is_known = |label: &String| has.contains(&label.as_str()) || PROMETHEUS.contains(&label.as_str());
        unknown
            .extend(labels.iter().filter(|label| !is_known(label)).map(|label| format!("{name}: {label}")));
    }
    unknown
}

/// The lines of this key in the rules, its value in one.
fn values(key: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut deeper = None;
    for line in ALERTS.lines() {
        let depth = line.len() - line.trim_start_matches([' ', '-']).len();
        if deeper.is_some_and(|above| depth > above && !line.trim().is_empty()) {
            let last = found.last_mut().unwrap();
            last.push(' ');
            last.push_str(line.trim());
            continue;
        }
        deeper = None;
        if let Some(value) = line.trim().trim_start_matches("- ").strip_prefix(&format!("{key}: ")) {
            found.push(value.trim_start_matches(">-").to_owned());
            deeper = Some(depth);
        }
    }
    found
}

/// The ids that stand in this text.
fn ids(text: &str) -> Vec<&str> {
    let digits = |id: &&str| id[2..].bytes().all(|byte| byte.is_ascii_digit());
    text.match_indices("XH").filter_map(|(at, _)| text.get(at..at + 6)).filter(digits).collect()
}

#[test]
fn every_metric_label_and_message_that_is_asked_for_exists() {
    assert_eq!(
        unknown(r#"xen_handoff_phases{a="1"} + xen_handoff_phase{phase="a",end!~"b"}"#),
        ["xen_handoff_phases", "xen_handoff_phase: end"]
    );
    let rules = values("expr").join("\n");
    assert_eq!(unknown(&rules), [""; 0], "alerts.yml");
    let dashboard = dashboard();
    let mut all = rules;
    for (title, panel) in panels(&dashboard) {
        for query in queries(panel) {
            assert_eq!(unknown(query), [""; 0], "{title}: {query}");
            assert!(!selectors(query).is_empty(), "{title} asks for no metric: {query}");
            all.push_str(query);
        }
    }
    for (name, _) in METRICS {
        assert!(all.contains(name), "nothing is made of {name}");
    }
    for id in ids(&all) {
        assert!(Catalogue::own().entry(id.parse::<Id>().unwrap()).is_some(), "{id} is no message");
    }
}

#[test]
fn the_dashboard_and_the_alerts_mean_the_same_by_a_reboot_and_by_what_needs_a_person() {
    let lists = |text: &str| -> BTreeSet<String> {
        text.split('"')
            .filter(|part| part.starts_with("XH") && part.contains('|'))
            .map(str::to_owned)
            .collect()
    };
    let queries: String = panels(&dashboard())
        .into_iter()
        .flat_map(|(_, panel)| queries(panel))
        .map(|query| query.to_owned() + "\n")
        .collect();
    assert_eq!(lists(&queries), lists(&values("expr").join("\n")));
    assert_eq!(lists(&queries).len(), 3, "offers that ended, reasons that are wanted, a person's");
}

#[test]
fn every_alert_says_what_to_type_and_the_program_has_that() {
    let (alerts, all) = (values("alert"), values("do"));
    assert_eq!((alerts.len(), values("summary").len(), values("description").len()), (8, 8, 8));
    assert_eq!((alerts.len(), values("severity").len()), (all.len(), 8));
    for (alert, commands) in alerts.iter().zip(all) {
        for command in commands.split("; ") {
            let command = command.replace("{{ $labels.domain }}", "x0").replace("{{ $labels.id }}", "XH0101");
            assert!(!command.contains("{{"), "{alert}: {command}");
            let words: Vec<&str> = command.split(' ').collect();
            if words[0] == "xen-handoff" {
                let parsed = <xen_handoff::cli::Cli as clap::Parser>::try_parse_from(&words);
                assert!(parsed.is_ok(), "{alert}: {command}: {}", parsed.unwrap_err());
            }
            for unit in words.iter().filter(|word| word.starts_with("xen-handoff-")) {
                assert!(top().join("packaging/systemd").join(unit).is_file(), "{alert}: no {unit}");
            }
        }
    }
}

/// By the rules of Grafana's dashboard schema that an import breaks on, or shows nothing.
#[test]
fn grafana_can_lay_the_dashboard_out_and_knows_where_its_figures_are() {
    let dashboard = dashboard();
    for key in ["title", "uid", "schemaVersion", "templating", "time", "panels"] {
        assert!(!dashboard[key].is_null(), "no {key}");
    }
    assert!(
        dashboard["uid"].as_str().unwrap().len() <= 40 && dashboard["id"].is_null(),
        "an import gives it its id"
    );
    let variables: BTreeSet<&str> = dashboard["templating"]["list"]
        .as_array()
        .unwrap()
        .iter()
        .map(|variable| variable["name"].as_str().unwrap())
        .collect();
    let required: BTreeSet<&str> =
        dashboard["__requires"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap()).collect();
    let (mut numbers, mut taken) = (BTreeSet::new(), BTreeSet::new());
    for (title, panel) in panels(&dashboard) {
        assert!(numbers.insert(panel["id"].as_u64().unwrap()), "{title}: its number is another one's");
        assert!(required.contains(panel["type"].as_str().unwrap()), "{title}: its plugin is not required");
        assert!(!panel["description"].as_str().unwrap().is_empty(), "{title}");
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
        let side = |name: &str| panel["gridPos"][name].as_u64().unwrap();
        assert!(side("x") + side("w") <= 24 && side("w") > 0 && side("h") > 0, "{title} does not fit");
        for x in side("x")..side("x") + side("w") {
            for y in side("y")..side("y") + side("h") {
                assert!(taken.insert((x, y)), "{title} lies on another one");
            }
        }
        let names: BTreeSet<&str> = panel["targets"]
            .as_array()
            .unwrap()
            .iter()
            .map(|target| target["refId"].as_str().unwrap())
            .collect();
        assert_eq!(names.len(), queries(panel).len(), "{title}: two queries of one name");
        for query in queries(panel) {
            for variable in query.split('$').skip(1) {
                let name = variable.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap();
                assert!(variables.contains(name) || name.starts_with("__"), "{title}: no variable {name}");
            }
        }
    }
}

/// `None`, and said so, where there is no promtool.
fn promtool(folder: &Path, args: &[&str]) -> Option<(bool, String)> {
    match Command::new("promtool").args(args).current_dir(folder).output() {
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
            Some((output.status.success(), said.into_owned()))
        }
        Err(error) => {
            eprintln!("skipped: no promtool (Debian: package prometheus): {error}");
            None
        }
    }
}

#[test]
fn promtool_finds_the_alerts_right_and_they_fire_for_what_they_say() {
    let alerts = top().join("packaging/monitoring/alerts.yml");
    let Some((is_right, said)) = promtool(&top(), &["check", "rules", alerts.to_str().unwrap()]) else {
        return;
    };
    assert!(is_right && said.contains("8 rules found"), "{said}");
    let tests = include_str!("monitoring/alerts.yml");
    for alert in values("alert") {
        assert!(tests.contains(&alert), "no test in tests/monitoring/alerts.yml for {alert}");
    }
    let (is_right, said) =
        promtool(&top().join("tests/monitoring"), &["test", "rules", "alerts.yml"]).unwrap();
    assert!(is_right, "{said}");
}

/// A panel's title, and what it shows of `tests/monitoring/dashboard.yml`'s nodes.
const SHOWN: [(&str, &[(&str, &str)]); 12] = [
    ("On offer", &[("{}", "1")]),
    ("On their way", &[("{}", "1")]),
    ("Need a person", &[("{}", "1")]),
    ("Rebooted instead", &[("{}", "1")]),
    ("Share rebooted instead", &[("{}", "0.5")]),
    ("Oldest metrics", &[("{}", "600")]),
    ("Moves by how they ended", &[("{end=\"moved\"}", "2"), ("{end=\"not-moved\"}", "0")]),
    ("What the last move of each domain took", &[("{domain=\"x0\"}", "5")]),
    ("How long each domain stood still in it", &[("{domain=\"x0\"}", "0.5")]),
    ("Bytes moved", &[("{instance=\"n1\"}", "1024"), ("{instance=\"n2\"}", "2048")]),
    (
        "Open now",
        &[
            ("xen_handoff_phase{instance=\"n1\",domain=\"x1\",phase=\"offered\"}", "1"),
            ("xen_handoff_phase{instance=\"n1\",domain=\"x2\",phase=\"settling\"}", "1"),
        ],
    ),
    ("Age of the metrics", &[("{instance=\"n1\",file=\"/f/xen-handoff.prom\"}", "600")]),
];

#[test]
fn every_query_of_the_dashboard_is_one_and_shows_what_its_title_says() {
    let folder = tempfile::tempdir().unwrap();
    let (dashboard, mut rules) = (dashboard(), "groups:\n- name: dashboard\n  rules:\n".to_owned());
    let mut tests = include_str!("monitoring/dashboard.yml").to_owned();
    for (title, panel) in panels(&dashboard) {
        for query in queries(panel) {
            let query = Value::String(asked(query));
            rules +=
                &format!("  - {{record: a, expr: {query}, labels: {{panel: {}}}}}\n", Value::from(title));
        }
    }
    for (title, samples) in SHOWN {
        let panel = panels(&dashboard).into_iter().find(|(other, _)| *other == title).unwrap().1;
        let query = Value::String(asked(queries(panel)[0]));
        tests += &format!("      - expr: {query}\n        eval_time: 70m\n        exp_samples:\n");
        for (labels, value) in samples {
            tests += &format!("          - {{labels: {}, value: {value}}}\n", Value::from(*labels));
        }
    }
    std::fs::write(folder.path().join("rules.yml"), rules).unwrap();
    std::fs::write(folder.path().join("tests.yml"), tests).unwrap();
    let Some((is_right, said)) = promtool(folder.path(), &["check", "rules", "rules.yml"]) else { return };
    assert!(is_right, "{said}");
    let (is_right, said) = promtool(folder.path(), &["test", "rules", "tests.yml"]).unwrap();
    assert!(is_right, "{said}");
}
