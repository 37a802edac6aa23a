//! A small element tree over quick-xml, for documents whose children come in any order and mixture (the CIB,
//! and what Pacemaker's tools print with `--output-as=xml`).

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

/// One element: its name, attributes and child elements. Text between elements is not kept; the CIB has none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Element {
    pub(super) name: String,
    attributes: Vec<(String, String)>,
    pub(super) children: Vec<Element>,
}

impl Element {
    /// Reads a document.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut reader = Reader::from_str(text);
        let mut open: Vec<Element> = vec![Element::default()];
        loop {
            let event = reader.read_event().map_err(|error| error.to_string())?;
            match event {
                Event::Start(start) => open.push(Self::begin(&start)?),
                Event::Empty(start) => {
                    let element = Self::begin(&start)?;
                    open.last_mut().ok_or("an element outside the document")?.children.push(element);
                }
                Event::End(_) => {
                    let element = open.pop().ok_or("an end without a begin")?;
                    open.last_mut().ok_or("an end without a begin")?.children.push(element);
                }
                Event::Eof => break,
                Event::Text(_)
                | Event::CData(_)
                | Event::Comment(_)
                | Event::Decl(_)
                | Event::PI(_)
                | Event::DocType(_)
                | Event::GeneralRef(_) => {}
            }
        }
        match (open.pop(), open.pop()) {
            (Some(mut document), None) if document.children.len() == 1 => {
                Ok(document.children.swap_remove(0))
            }
            _ => Err("the document is not whole".to_owned()),
        }
    }

    fn begin(start: &BytesStart<'_>) -> Result<Self, String> {
        let attributes = start
            .attributes()
            .map(|attribute| {
                let attribute = attribute.map_err(|error| error.to_string())?;
                let value =
                    quick_xml::escape::unescape(&attribute.value).map_err(|error| error.to_string())?;
                Ok((attribute.key.as_ref().to_owned(), value.into_owned()))
            })
            .collect::<Result<_, String>>()?;
        Ok(Self { name: start.name().as_ref().to_owned(), attributes, children: Vec::new() })
    }

    /// The value of an attribute.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The first child of this name.
    pub(super) fn child(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The element down this path of names.
    pub(super) fn at(&self, path: &[&str]) -> Option<&Element> {
        path.iter().try_fold(self, |element, name| element.child(name))
    }

    /// This element and everything below it, in the order of the document.
    pub(super) fn all(&self) -> Vec<&Element> {
        let mut found = vec![self];
        for child in &self.children {
            found.extend(child.all());
        }
        found
    }

    /// Everything of this name below this element, at any depth.
    pub(super) fn every(&self, name: &str) -> impl Iterator<Item = &Element> {
        let name = name.to_owned();
        self.all().into_iter().filter(move |element| element.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mixed_children_keep_their_order_and_attributes_are_unescaped() {
        let tree =
            Element::parse("<?xml version=\"1.0\"?>\n<a><b i='1'/> <c/><b i='&lt;2'>x</b></a>").unwrap();
        let names: Vec<_> = tree.children.iter().map(|child| child.name.as_str()).collect();
        assert_eq!(names, ["b", "c", "b"]);
        assert_eq!(tree.children[2].get("i"), Some("<2"));
    }

    #[test]
    fn a_document_that_is_cut_short_is_an_error() {
        for text in ["", "<a><b/>", "<a/><b/>", "plain", "<a></b>"] {
            assert!(Element::parse(text).is_err(), "{text:?} was read");
        }
    }
}
