//! `xen-handoff explain`: what a message means, by its id or its words; and the last stop of a domain, by
//! what is kept of it here.

use std::io::Write;

use serde::Serialize;

use super::history::end_word;
use super::names::{Domains, UnknownName};
use super::output;
use super::shown::{Table, paragraph, width};
use crate::domain::{DomainName, Presence};
use crate::foreign::Foreign;
use crate::handoff::Phase;
use crate::here::Here;
use crate::logging::said::{self, Said};
use crate::messages::{Catalogue, Entry, Id, Level};
use crate::moves::journal::{self, Move};
use crate::node::standing::stands;

/// No more lines of one action are shown.
const MOST_LINES: usize = 12;

/// A message, with all that is known of it.
#[derive(Debug, Serialize)]
struct MessageView<'a> {
    id: Id,
    level: &'a str,
    /// Its words, `{}` for each value.
    words: &'a [String],
    happened: &'a str,
    holds: &'a str,
    to_do: &'a str,
    journal_id: String,
}

impl<'a> MessageView<'a> {
    fn of(entry: &'a Entry) -> Self {
        Self {
            id: entry.id,
            level: entry.level.word(),
            words: &entry.says,
            happened: &entry.what,
            holds: &entry.holds,
            to_do: &entry.to_do,
            journal_id: entry.id.for_journal(),
        }
    }
}

/// A line that is kept.
#[derive(Debug, Serialize)]
struct SaidView<'a> {
    said_at: String,
    action: Option<&'a str>,
    level: &'a str,
    line: &'a str,
}

/// How the domain stands here now.
#[derive(Debug, Serialize)]
struct HereView<'a> {
    domain: &'a DomainName,
    state: &'static str,
    domid: Option<u32>,
    unknown_because: Option<&'a str>,
    phase: &'static str,
    offer_ends_at: Option<String>,
}

/// The last move that this node knows of.
#[derive(Debug, Serialize)]
struct MoveView<'a> {
    source: &'a str,
    target: &'a str,
    began_at: String,
    end: &'static str,
    said: &'a str,
}

#[derive(Debug, Default, Serialize)]
struct Document<'a> {
    messages: Vec<MessageView<'a>>,
    said: Vec<SaidView<'a>>,
    here: Option<HereView<'a>>,
    last_move: Option<MoveView<'a>>,
}

/// Explains what was asked for. `false` if nothing of it is known here.
///
/// # Errors
/// [`UnknownName`] if there is no such message, domain or resource; if stdout is closed.
pub fn run(world: &Here, asked: &str, json: bool) -> anyhow::Result<bool> {
    let catalogue = Catalogue::own();
    if let Ok(id) = asked.trim().parse::<Id>() {
        let entry = catalogue.entry(id).ok_or_else(|| {
            UnknownName::new(
                "message",
                &id.to_string(),
                catalogue.entries().map(|entry| entry.id.to_string()),
            )
        })?;
        return tell(&[entry], json);
    }
    if asked.trim().contains(char::is_whitespace) {
        return tell(&of_line(catalogue, asked)?, json);
    }
    of_domain(world, asked.trim(), json)
}

/// All messages.
///
/// # Errors
/// If stdout is closed.
pub fn list(json: bool) -> anyhow::Result<bool> {
    let entries: Vec<&Entry> = Catalogue::own().entries().collect();
    if json {
        return tell(&entries, true);
    }
    let mut table = Table::new(&["ID", "LEVEL", "MESSAGE"]);
    for entry in entries {
        table.row([entry.id.to_string(), entry.level.word().to_owned(), title(entry)], Vec::new());
    }
    write!(std::io::stdout(), "{}", table.text(width()))?;
    Ok(true)
}

/// The messages of a line: the one whose id it bears, where it bears one, and those whose words it has.
fn of_line<'a>(catalogue: &'a Catalogue, line: &str) -> anyhow::Result<Vec<&'a Entry>> {
    let mut ids: Vec<Id> = Id::on(line).into_iter().collect();
    // The log's own head does not count: a date, a host, a process.
    let words = line.split_once("]: ").or(line.split_once("xen-handoff: ")).map_or(line, |(_, words)| words);
    for id in catalogue.find(words).into_iter().flat_map(|found| found.all) {
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    let entries: Vec<&Entry> = ids.into_iter().filter_map(|id| catalogue.entry(id)).collect();
    if entries.is_empty() {
        return Err(
            UnknownName::with("message with the words", line.trim(), nearest(catalogue, words)).into()
        );
    }
    Ok(entries)
}

/// The message that has the most words in common with this line, if that is the better part of both.
fn nearest(catalogue: &Catalogue, line: &str) -> Option<String> {
    let words_of = |text: &str| -> Vec<String> {
        let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| word.len() > 2);
        words.map(str::to_lowercase).collect()
    };
    let asked = words_of(line);
    let alike = |says: &String| {
        let own = words_of(says);
        let common = own.iter().filter(|word| asked.contains(word)).count();
        let alike = common * 200 / (own.len() + asked.len()).max(1);
        (common >= 2 && alike > 50).then_some(alike)
    };
    let all = catalogue.entries().flat_map(|entry| entry.says.iter().map(move |says| (entry, says)));
    let near = all.filter_map(|(entry, says)| Some((alike(says)?, entry, says)));
    near.max_by_key(|(alike, ..)| *alike)
        .map(|(_, entry, says)| format!("{} ({})", entry.id, says.replace("{}", "...")))
}

/// The first words of a message, for people.
fn title(entry: &Entry) -> String {
    entry.says.first().map(|says| says.replace("{}", "...")).unwrap_or_default()
}

fn tell(entries: &[&Entry], json: bool) -> anyhow::Result<bool> {
    if json {
        let messages = entries.iter().map(|entry| MessageView::of(entry)).collect();
        output::print("explain", &Document { messages, ..Document::default() }, false)?;
    } else {
        let texts: Vec<String> = entries.iter().map(|entry| explanation(entry, width())).collect();
        write!(std::io::stdout(), "{}", texts.join("\n"))?;
    }
    Ok(true)
}

fn explanation(entry: &Entry, width: usize) -> String {
    let mut text = paragraph(&format!("{}  ", entry.id), &title(entry), width);
    for (label, words) in
        [("What happened", &entry.what), ("What holds now", &entry.holds), ("What to do", &entry.to_do)]
    {
        text += &paragraph(&format!("  {label:<16}"), &words.replace('`', ""), width);
    }
    text
}

/// What is kept here of a domain.
struct Kept {
    /// What its last stop said; where there was none, what was said last.
    said: Vec<Said>,
    here: (Presence, Phase),
    last_move: Option<Move>,
}

fn of_domain(world: &Here, name: &str, json: bool) -> anyhow::Result<bool> {
    let root = &world.root;
    let domains = Domains::of(world);
    let domain = domains.domain(name)?;
    let known = domains.find(name);
    let resource = known.map_or(name, |(managed, _)| managed.resource.as_str());
    let all = said::read(root, &names(resource, domain.as_str(), name));
    let moves = journal::read(root).unwrap_or_default();
    let last_move = moves.into_iter().rfind(|entry| entry.domain == domain);
    let here = stands(world, &domain);
    if all.is_empty() && last_move.is_none() && known.is_none() && here == (Presence::Absent, Phase::Idle) {
        // One word may be a message as well.
        return match Catalogue::own().find(name) {
            Some(found) => {
                tell(&found.all.iter().filter_map(|id| Catalogue::own().entry(*id)).collect::<Vec<_>>(), json)
            }
            None => Err(domains.unknown(name, [])),
        };
    }
    let is_known = !all.is_empty() || last_move.is_some();
    let kept = Kept { said: last_stop(all), here, last_move };
    if json {
        output::print("explain", &document(&domain, &kept), false)?;
    } else {
        write!(std::io::stdout(), "{}", story(&domain, &kept, width()))?;
    }
    Ok(is_known)
}

/// Each name once.
fn names<'a>(resource: &'a str, domain: &'a str, name: &'a str) -> Vec<&'a str> {
    let mut names = vec![resource, domain, name];
    names.sort_unstable();
    names.dedup();
    names
}

/// What the last stop said, and what was said after it by others than monitors; where there was no stop, what
/// the last process said.
fn last_stop(all: Vec<Said>) -> Vec<Said> {
    let by =
        all.iter().rfind(|said| said.action.as_deref() == Some("stop")).or(all.last()).map(|said| said.pid);
    let begin = all.iter().rposition(|said| Some(said.pid) != by && said.action.as_deref() == Some("stop"));
    let from = begin.map_or(0, |at| at + 1);
    let mut told: Vec<Said> = all.into_iter().skip(from).skip_while(|said| Some(said.pid) != by).collect();
    let is_monitor = |said: &Said| said.action.as_deref() == Some("monitor");
    if !told.iter().all(is_monitor) {
        told.retain(|said| !is_monitor(said));
    }
    told
}

/// A change of the record's phase: what the program needs for itself.
const PHASE_CHANGED: &str = "XH0935";

/// The messages of a line. A change of phase is none.
fn messages(said: &Said) -> Vec<&'static Entry> {
    let catalogue = Catalogue::own();
    let ids = catalogue.find(&said.line).map(|found| found.all).unwrap_or_default();
    let entries = ids.into_iter().filter_map(|id| catalogue.entry(id));
    entries.filter(|entry| entry.id.to_string() != PHASE_CHANGED).collect()
}

/// The lines that tell people something: those with a message, and whatever is more than an information.
/// Where there are no others, all.
fn for_people(said: &[Said]) -> Vec<&Said> {
    let is_of_another_version =
        |said: &Said| Id::on(&said.line).is_some_and(|id| id.to_string() != PHASE_CHANGED);
    let tells =
        |said: &&Said| said.level != "info" || !messages(said).is_empty() || is_of_another_version(said);
    let told: Vec<&Said> = said.iter().filter(tells).collect();
    if told.is_empty() { said.iter().collect() } else { told }
}

/// The messages that say how it came: the last error; else why nothing was handed over; else what the
/// cluster's action said last, or somebody else warned of after it; else the last line that has one.
fn deciding(said: &[Said]) -> Vec<&'static Entry> {
    let with_messages = said.iter().map(|said| (said, messages(said)));
    let found: Vec<(&Said, Vec<&Entry>)> = with_messages.filter(|(_, entries)| !entries.is_empty()).collect();
    // A frame that warns, as "start waits", is over when something follows.
    let is_reason = |entry: &&Entry| entry.is_frame && entry.level == Level::Info;
    let error = found.iter().rfind(|(said, _)| said.level == "error");
    let framed = || found.iter().rfind(|(_, entries)| entries.iter().any(is_reason));
    let outcome = || found.iter().rfind(|(said, _)| said.action.is_some() || said.level == "warning");
    let deciding = error.or_else(framed).or_else(outcome).or(found.last());
    deciding.map(|(_, entries)| entries.clone()).unwrap_or_default()
}

fn document<'a>(domain: &'a DomainName, kept: &'a Kept) -> Document<'a> {
    let (presence, phase) = &kept.here;
    let (state, domid) = output::state(presence);
    let unknown_because = match presence {
        Presence::Unknown(why) => Some(why.as_str()),
        _ => None,
    };
    let said = kept.said.iter().map(|said| SaidView {
        said_at: said.at.rfc3339(),
        action: said.action.as_deref(),
        level: &said.level,
        line: &said.line,
    });
    Document {
        messages: deciding(&kept.said).into_iter().map(MessageView::of).collect(),
        said: said.collect(),
        here: Some(HereView {
            domain,
            state,
            domid,
            unknown_because,
            phase: phase.name(),
            offer_ends_at: phase.offer().map(|offer| offer.deadline.rfc3339()),
        }),
        last_move: kept.last_move.as_ref().map(|entry| MoveView {
            source: entry.source.as_str(),
            target: entry.target.as_str(),
            began_at: entry.began_at.rfc3339(),
            end: end_word(entry.end),
            said: &entry.said,
        }),
    }
}

fn story(domain: &DomainName, kept: &Kept, width: usize) -> String {
    let (presence, phase) = &kept.here;
    let mut text = String::new();
    if kept.said.is_empty() {
        text += &paragraph(
            "",
            &format!(
                "Nothing that was said of {domain} is kept here since this host came up. Ask on the node \
                 where it was: xen-handoff history --all {domain} says which. What was said before a reboot: \
                 journalctl -b -1 XH_DOMAIN={domain}"
            ),
            width,
        );
    }
    let told = for_people(&kept.said);
    let skipped = told.len().saturating_sub(MOST_LINES);
    for (nth, said) in told.into_iter().enumerate() {
        // The first lines say why, the last ones how it ended.
        let half = MOST_LINES / 2;
        if skipped > 0 && (half..half + skipped).contains(&nth) {
            if nth == half {
                text += &format!("  ... {skipped} more lines\n");
            }
            continue;
        }
        let by = said.action.as_deref().map(|action| format!("{action}: ")).unwrap_or_default();
        text += &paragraph(&format!("{}  ", said.at.rfc3339()), &format!("{by}{}", said.line), width);
    }
    for entry in deciding(&kept.said) {
        text.push('\n');
        text += &explanation(entry, width);
    }
    text.push('\n');
    let offer = phase.offer().map(|offer| format!("; its offer ends at {}", offer.deadline.rfc3339()));
    let recorded = match phase {
        Phase::Idle => String::new(),
        phase => format!(", {}", phase.name()),
    };
    text += &paragraph("Here now    ", &format!("{presence}{recorded}{}", offer.unwrap_or_default()), width);
    if let Some(entry) = &kept.last_move {
        let words = format!(
            "from {} to {}, begun at {}: {}{}",
            entry.source,
            entry.target,
            entry.began_at.rfc3339(),
            end_word(entry.end),
            if entry.said.is_empty() { String::new() } else { format!("; {}", entry.said) }
        );
        text += &paragraph("Last move   ", &words, width);
    }
    text
}

/// The readers of text from outside here.
pub const FOREIGN: &[Foreign] =
    &[Foreign { name: "a pasted line", read: |text| drop(of_line(Catalogue::own(), text)) }];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::UnixTime;
    use crate::moves::journal::a_move;

    fn said(at: u64, pid: u32, action: Option<&str>, level: &str, line: &str) -> Said {
        let (action, level, line) = (action.map(str::to_owned), level.to_owned(), line.to_owned());
        Said { at: UnixTime(at), pid, action, level, line }
    }

    #[test]
    fn a_pasted_line_is_explained_by_its_id_and_by_its_words_with_or_without_the_logs_head() {
        let catalogue = Catalogue::own();
        let ids = |line: &str| -> Vec<String> {
            of_line(catalogue, line).unwrap().iter().map(|entry| entry.id.to_string()).collect()
        };
        let bare = "domain=x0 node=n1 no handoff: handoff=never";
        assert_eq!(ids(bare), ["XH0102", "XH0101"]);
        assert_eq!(
            ids(&format!("Nov 22 10:41:07 n1 xen-handoff[12]: resource=x0 {bare} [XH0102]")),
            ["XH0102", "XH0101"]
        );
        assert_eq!(ids("words of another version [XH0101]"), ["XH0101"]);
    }

    #[test]
    fn a_line_that_nobody_says_is_an_error_with_the_nearest_message() {
        let error =
            of_line(Catalogue::own(), "the cluster would not start this on another node").unwrap_err();
        assert!(error.is::<UnknownName>());
        assert!(
            error
                .to_string()
                .contains("did you mean XH0103 (the cluster will not start it on another node)?"),
            "{error}"
        );
        let error = of_line(Catalogue::own(), "quite something else").unwrap_err().to_string();
        assert!(!error.contains("did you mean"), "{error}");
    }

    #[test]
    fn the_last_stop_is_told_with_what_came_of_it_and_without_monitors_and_earlier_stops() {
        let all = vec![
            said(1, 1, Some("stop"), "info", "domain=x0 node=n1 stop: nothing here [XH0201]"),
            said(2, 2, Some("start"), "info", "domain=x0 node=n1 start: booted (domid 1)"),
            said(3, 3, Some("stop"), "info", "domain=x0 node=n1 no handoff: handoff=never [XH0102]"),
            said(4, 3, Some("stop"), "info", "domain=x0 node=n1 stop: shut down [XH0204]"),
            said(5, 4, Some("monitor"), "warning", "domain=x0 not healthy yet: no"),
        ];
        let told = last_stop(all.clone());
        assert_eq!(told.iter().map(|said| said.at).collect::<Vec<_>>(), [UnixTime(3), UnixTime(4)]);
        assert_eq!(deciding(&told)[0].id.to_string(), "XH0102");
        assert_eq!(last_stop(all[4..].to_vec()).len(), 1, "a monitor alone");
        assert!(last_stop(Vec::new()).is_empty());
    }

    fn decided(said: &[Said]) -> Vec<String> {
        deciding(said).iter().map(|entry| entry.id.to_string()).collect()
    }

    #[test]
    fn what_the_action_said_is_explained_and_not_how_the_record_changed() {
        let phase = |at, pid, action, change: &str| {
            let line = format!("domain=x0 phase={change} event=e generation=1 by=p [XH0935]");
            said(at, pid, action, "info", &line)
        };
        let mut all = vec![
            phase(1, 1, Some("stop"), "idle->offering"),
            said(2, 1, Some("stop"), "info", "domain=x0 node=n1 stop: runs on, offered to n2 [XH0202]"),
            phase(3, 2, None, "offered->sending"),
            said(4, 2, None, "info", "domain=x0 to=n2 sender=moved xl=\"Migration successful.\""),
        ];
        assert_eq!(decided(&all), ["XH0202"]);
        assert_eq!(for_people(&all).iter().map(|said| said.at).collect::<Vec<_>>(), [UnixTime(2)]);
        all.push(said(5, 3, None, "warning", "domain=x0 nobody has fetched it; its offer ends now [XH1402]"));
        assert_eq!(decided(&all), ["XH1402"], "what the keeper warned of came after the stop");
        let start = [
            said(6, 4, Some("start"), "warning", "domain=x0 start waits: not enough [XH0301]"),
            said(7, 4, Some("start"), "info", "domain=x0 start: fetched, running, from n1 [XH0403]"),
            phase(8, 4, Some("start"), "arrived->idle"),
        ];
        assert_eq!(decided(&start), ["XH0403"], "it waits no more");
        assert_eq!(decided(&start[..1]), ["XH0301"]);
        assert_eq!(decided(&start[2..]), [""; 0]);
        assert_eq!(for_people(&start[2..]).len(), 1, "better than nothing");
    }

    #[test]
    fn a_warning_and_a_message_of_another_version_are_told() {
        let all = [
            said(1, 1, None, "warning", "domain=x0 xl says what nobody knows"),
            said(2, 1, None, "info", "domain=x0 what only a later version says [XH0999]"),
            said(3, 1, None, "info", "domain=x0 transfer=go"),
        ];
        assert_eq!(for_people(&all).len(), 2);
    }

    #[test]
    fn the_story_says_what_happened_why_what_holds_now_and_what_to_do_in_80_columns() {
        let failed = "x0 on n1: it could not be stopped in time and is running (domid 3)";
        let kept = Kept {
            said: vec![said(3, 3, Some("stop"), "error", failed)],
            here: (Presence::Running(crate::domain::DomainId(3)), Phase::Idle),
            last_move: Some(a_move(1)),
        };
        let domain = DomainName::new("x0").unwrap();
        let text = story(&domain, &kept, 80);
        for part in [
            "stop: x0 on n1",
            "What happened",
            "What holds now",
            "What to do",
            "Here now    running (domid 3)",
            "Last move   from",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert!(!text.contains('`'), "{text}");
        let document = serde_json::to_string(&document(&domain, &kept)).unwrap();
        assert!(
            document.contains("\"state\":\"running\"") && document.contains("\"level\":\"error\""),
            "{document}"
        );
    }
}
