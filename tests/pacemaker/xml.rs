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

/// The final place of a resource, by the CIB as it is in the end and what `crm_resource --locate` says about it.
pub(crate) fn final_place(after: &str, said: &str, resource: &str) -> Place {
    let configured =
        |e: &Element| e.get("id") == resource && e.is_below("resources") && e.is_below("configuration");
    if !elements(after).iter().any(configured) {
        return Place::Gone;
    }
    let on = |line: &str| {
        let words = line.strip_prefix(&format!("resource {resource} is running on: "))?;
        words.split_whitespace().next().map(str::to_owned)
    };
    let mut nodes: Vec<String> = said.lines().filter_map(on).collect();
    nodes.sort();
    if nodes.is_empty() { Place::Nowhere } else { Place::On(nodes) }
}
