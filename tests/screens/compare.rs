//! A screen of a page against what was printed.

/// What stands for lines that the page leaves out.
const AND_SO_ON: &str = "...";

/// Whether a line is one of this form: `#` is a number, `*` is anything. How many spaces there are does not
/// count.
pub(crate) fn fits(line: &str, mask: &str) -> bool {
    fn rest(line: &[char], mask: &[char]) -> bool {
        let digits = |line: &[char]| line.iter().take_while(|c| c.is_ascii_digit()).count();
        match mask.split_first() {
            None => line.is_empty(),
            Some(('*', more)) => (0..=line.len()).any(|some| rest(&line[some..], more)),
            Some(('#', more)) => {
                let whole = digits(line);
                let after = &line[whole..];
                let part = if after.first() == Some(&'.') { digits(&after[1..]) } else { 0 };
                let number = if part > 0 { whole + 1 + part } else { whole };
                whole > 0 && rest(&line[number..], more)
            }
            Some((c, more)) => line.first() == Some(c) && rest(&line[1..], more),
        }
    }
    let plain =
        |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ").chars().collect::<Vec<_>>();
    rest(&plain(line), &plain(mask))
}

/// The printed lines; of those that follow each other and have one mask, since how often a thing is said
/// differs, the first.
fn once<'a>(printed: &'a str, masks: &[&str]) -> Vec<&'a str> {
    let mask_of = |line: &str| masks.iter().position(|mask| fits(line, mask));
    let mut lines: Vec<&str> = printed.lines().collect();
    lines.dedup_by(|line, before| mask_of(line).is_some_and(|mask| mask_of(before) == Some(mask)));
    lines
}

/// Where the page shows something else than was printed; `None` if it does not.
pub(crate) fn difference(shown: &[String], printed: &str, masks: &[&str]) -> Option<String> {
    let lines = once(printed, masks);
    let same = |shown: &str, line: &str| {
        shown.trim_end() == line.trim_end() || masks.iter().any(|mask| fits(shown, mask) && fits(line, mask))
    };
    let mut at = 0;
    for (place, wanted) in shown.iter().enumerate() {
        if wanted == AND_SO_ON {
            let next = shown.get(place + 1)?;
            match lines.iter().skip(at).position(|line| same(next, line)) {
                Some(skipped) => at += skipped,
                None => return Some(format!("after ... there is no line {next:?}")),
            }
            continue;
        }
        match lines.get(at) {
            Some(line) if same(wanted, line) => at += 1,
            Some(line) => return Some(format!("the page: {wanted:?}\nprinted:  {line:?}")),
            None => return Some(format!("the page: {wanted:?}\nprinted:  no more")),
        }
    }
    lines.get(at).map(|line| format!("the page: no more\nprinted:  {line:?}"))
}
