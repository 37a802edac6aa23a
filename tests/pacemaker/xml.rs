//! The little that the tests read from Pacemaker's XML: elements with their attributes and where they stand.

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use std::collections::BTreeMap;

/// An element: its ancestors' names and ids, its own name, its attributes.
#[derive(Clone, Debug)]
pub(crate) struct Element {
    /// `name` or `name#id` of every ancestor, outermost first.
    pub(crate) path: Vec<String>,
    pub(crate) name: String,
    attributes: BTreeMap<String, String>,
}

impl Element {
    /// An attribute, empty when missing.
    pub(crate) fn get(&self, attribute: &str) -> &str {
        self.attributes.get(attribute).map_or("", String::as_str)
    }

    /// Whether an ancestor is called so.
    pub(crate) fn is_below(&self, ancestor: &str) -> bool {
        self.path.iter().any(|p| p == ancestor || p.split('#').next() == Some(ancestor))
    }
}

/// All elements in document order; what is not XML has none.
pub(crate) fn elements(text: &str) -> Vec<Element> {
    let mut reader = Reader::from_str(text);
    let mut path: Vec<String> = vec![];
    let mut found = vec![];
    loop {
        match reader.read_event() {
            Ok(Event::Start(start)) => {
                let element = element(&path, &start);
                path.push(match element.get("id") {
                    "" => element.name.clone(),
                    id => format!("{}#{id}", element.name),
                });
                found.push(element);
            }
            Ok(Event::Empty(start)) => found.push(element(&path, &start)),
            Ok(Event::End(_)) => {
                path.pop();
            }
            Ok(Event::Eof) | Err(_) => return found,
            Ok(_) => {}
        }
    }
}

fn element(path: &[String], start: &BytesStart<'_>) -> Element {
    let attributes = start
        .attributes()
        .flatten()
        .map(|a| {
            let text = quick_xml::escape::unescape(&a.value).unwrap_or_default().into_owned();
            (a.key.as_ref().to_owned(), text)
        })
        .collect();
    let name = start.name().as_ref().to_owned();
    Element { path: path.to_vec(), name, attributes }
}

/// Where a simulation says that a resource ends up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Running on these nodes.
    On(Vec<String>),
    /// In the configuration, running nowhere.
    Nowhere,
    /// Not in the configuration: it is being deleted.
    Gone,
}

/// The final place of a resource in `crm_simulate --output-as=xml`.
pub(crate) fn final_place(simulation: &str, resource: &str) -> Place {
    let all = elements(simulation);
    let mut rows = all
        .iter()
        .filter(|e| e.name == "resource" && e.get("id") == resource && e.is_below("revised_cluster_status"));
    let Some(first) = rows.next() else { return Place::Gone };
    let me = format!("resource#{resource}");
    let nodes: Vec<String> = all
        .iter()
        .filter(|e| e.name == "node" && e.is_below("revised_cluster_status") && e.path.last() == Some(&me))
        .map(|e| e.get("name").to_owned())
        .collect();
    if nodes.is_empty() || first.get("role") == "Stopped" { Place::Nowhere } else { Place::On(nodes) }
}
