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
