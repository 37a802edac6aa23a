//! The catalogue: how `doc/messages.txt` is read. Its head says what its lines mean.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use super::id::Id;
use super::pattern::Pattern;

/// The file, as it was when this program was built.
const TEXT: &str = include_str!("../../doc/messages.txt");

/// How the message is to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// All is well, or as it was ordered.
    Info,
    /// Something is not as it should be; the action goes on.
    Warning,
    /// Something failed.
    Error,
    /// It stands behind another message, whose level counts.
    Reason,
}

impl Level {
    /// The word that the file has for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Reason => "reason",
        }
    }

    fn named(word: &str) -> Option<Self> {
        [Self::Info, Self::Warning, Self::Error, Self::Reason].into_iter().find(|level| level.word() == word)
    }
}

/// A message.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its id, which no other has or will have.
    pub id: Id,
    /// How it is to be taken.
    pub level: Level,
    /// Whether what stands behind it says more.
    pub is_frame: bool,
    /// Its words, `{}` for each value.
    pub says: Vec<String>,
    /// What happened, and why.
    pub what: String,
    /// What holds now; its group's, where it has none of its own.
    pub holds: String,
    /// What to do; its group's, where it has none of its own.
    pub to_do: String,
    pub(super) patterns: Vec<Pattern>,
}

/// Messages of one kind.
#[derive(Debug, Clone, Default)]
pub struct Group {
    /// Its heading.
    pub title: String,
    /// What they have in common.
    pub about: String,
    /// What holds now, unless one says otherwise.
    pub holds: String,
    /// What to do, unless one says otherwise.
    pub to_do: String,
    /// The messages.
    pub entries: Vec<Entry>,
}

/// All messages.
#[derive(Debug, Clone, Default)]
pub struct Catalogue {
    /// In the order of the file.
    pub groups: Vec<Group>,
    /// Words that say nothing by themselves.
    pub parts: Vec<String>,
    /// Ids that are never given again.
    pub retired: BTreeSet<Id>,
}

/// A line of the catalogue that is none.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct Fault {
    line: usize,
    what: &'static str,
}

impl Catalogue {
    /// This program's own. It is read by the first who asks.
    pub fn own() -> &'static Self {
        static OWN: OnceLock<Catalogue> = OnceLock::new();
        // A test reads it as well: what is built in is well formed.
        OWN.get_or_init(|| Self::read(TEXT).unwrap_or_default())
    }

    /// Reads one.
    ///
    /// # Errors
    /// [`Fault`] for the first line that is none, and for an id that is given twice.
    pub fn read(text: &str) -> Result<Self, Fault> {
        let mut catalogue = Self::default();
        for (at, line) in joined(text) {
            catalogue.take(&line).map_err(|what| Fault { line: at, what })?;
        }
        for group in &mut catalogue.groups {
            for entry in &mut group.entries {
                for (own, common) in [(&mut entry.holds, &group.holds), (&mut entry.to_do, &group.to_do)] {
                    if own.is_empty() {
                        own.clone_from(common);
                    }
                }
                entry.patterns = entry.says.iter().map(|says| Pattern::new(says)).collect();
            }
        }
        let mut given = catalogue.retired.clone();
        if catalogue.entries().all(|entry| given.insert(entry.id)) {
            Ok(catalogue)
        } else {
            Err(Fault { line: 0, what: "an id is given twice, or was retired" })
        }
    }

    fn take(&mut self, line: &str) -> Result<(), &'static str> {
        if let Some(title) = line.strip_prefix("= ") {
            self.groups.push(Group { title: title.to_owned(), ..Group::default() });
            return Ok(());
        }
        let group = self.groups.last_mut().ok_or("it stands before the first group")?;
        if !line.starts_with(' ') {
            group.entries.push(head(line)?);
            return Ok(());
        }
        let (key, text) = line.trim_start().split_once(": ").ok_or("no key")?;
        let text = text.to_owned();
        match (key, group.entries.last_mut()) {
            ("part", _) => self.parts.push(text),
            ("retired", _) => {
                self.retired.insert(text.parse().map_err(|_| "no id")?);
            }
            ("about", None) => group.about = text,
            ("holds", None) => group.holds = text,
            ("do", None) => group.to_do = text,
            ("says", Some(entry)) => entry.says.push(text),
            ("what", Some(entry)) => entry.what = text,
            ("holds", Some(entry)) => entry.holds = text,
            ("do", Some(entry)) => entry.to_do = text,
            _ => return Err("no such key here"),
        }
        Ok(())
    }

    /// Every message.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.groups.iter().flat_map(|group| &group.entries)
    }

    /// The message of this id.
    pub fn entry(&self, id: Id) -> Option<&Entry> {
        self.entries().find(|entry| entry.id == id)
    }
}

/// `XH0101 frame info`.
fn head(line: &str) -> Result<Entry, &'static str> {
    let (id, kind) = line.split_once(' ').ok_or("an entry without a level")?;
    let (is_frame, level) = kind.strip_prefix("frame ").map_or((false, kind), |level| (true, level));
    Ok(Entry {
        id: id.parse().map_err(|_| "no id")?,
        level: Level::named(level).ok_or("no such level")?,
        is_frame,
        says: Vec::new(),
        what: String::new(),
        holds: String::new(),
        to_do: String::new(),
        patterns: Vec::new(),
    })
}

/// The lines that say something, with their numbers; one that is indented by more than a key goes on with the
/// line before.
fn joined(text: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    for (at, line) in text.lines().enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match (line.strip_prefix("    "), lines.last_mut()) {
            (Some(more), Some((_, before))) => {
                before.push(' ');
                before.push_str(more.trim_start());
            }
            _ => lines.push((at + 1, line.to_owned())),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = "# head\n\n= SOME\n  about: of\n      them\n  holds: It runs.\n  do: Wait.\n\nXH0101 frame info\n  says: no: {}\n  \
                         what: a\n\nXH0102 error\n  says: b\n  what: c\n  do: d\n\n= PARTS\n  part: it is {}\n  retired: XH0103\n";

    #[test]
    fn the_built_in_catalogue_is_well_formed_and_says_everything_of_each_message() {
        let catalogue = Catalogue::read(TEXT).unwrap();
        assert!(catalogue.entries().count() > 200);
        for entry in catalogue.entries() {
            for text in [&entry.what, &entry.holds, &entry.to_do] {
                assert!(!text.is_empty() && text.ends_with(['.', '?', '"']), "{}: {text:?}", entry.id);
            }
            assert!(!entry.says.is_empty(), "{} has no words", entry.id);
        }
    }

    #[test]
    fn an_entry_takes_from_its_group_what_it_has_not_of_its_own() {
        let catalogue = Catalogue::read(SMALL).unwrap();
        let both: Vec<_> = catalogue.entries().collect();
        assert_eq!((both[0].holds.as_str(), both[0].to_do.as_str()), ("It runs.", "Wait."));
        assert_eq!(both[1].to_do, "d");
        assert!(both[0].is_frame && both[1].level == Level::Error);
        assert_eq!((catalogue.groups[0].about.as_str(), catalogue.parts.len()), ("of them", 1));
    }

    #[test]
    fn an_id_is_never_given_twice_nor_again_after_it_was_retired() {
        for text in [SMALL.replace("XH0102", "XH0101"), SMALL.replace("retired: XH0103", "retired: XH0102")] {
            assert!(Catalogue::read(&text).unwrap_err().to_string().contains("given twice"));
        }
        let fault = Catalogue::read(&SMALL.replace("error", "fatal")).unwrap_err();
        assert_eq!(fault.to_string(), "line 13: no such level");
    }
}
