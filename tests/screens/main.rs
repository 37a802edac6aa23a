//! The pages for people against the program: every screen on them is given by a test and compared, and every
//! command on them is one that the command line takes.
//!
//! A screen is a node's prompt, a command, and what it prints. `SCENES` says what must be so for it; one that
//! stands there and on no page, and a screen without one, fail.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stdout,
    dead_code,
    unreachable_pub,
    missing_docs,
    missing_debug_implementations,
    reason = "a test fails by panicking, and its helpers are nobody's library"
)]

mod compare;
mod lines;
mod masks;
mod page;
mod scenes;
#[path = "../world/three_nodes.rs"]
mod three_nodes;
#[path = "../world/mod.rs"]
mod world;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};

use compare::{difference, fits};
use masks::masks_of;
use page::{Screen, prompt, with_screens};
use scenes::Given;

/// How a screen comes about.
struct Scene {
    /// What is typed, behind the prompt of the node; of what nobody types, its first line.
    given: &'static str,
    /// Gives it and says what was printed.
    print: fn(&Given<'_>) -> String,
}

const SCENES: &[Scene] = &[
    Scene { given: "n1# xen-handoff check", print: scenes::with_own_keys },
    Scene { given: "n1# xen-handoff check", print: scenes::not_well },
    Scene { given: "n1# xen-handoff check --monitoring", print: scenes::with_own_keys },
    Scene { given: "n1# xen-handoff preflight x0", print: scenes::on_n1 },
    Scene { given: "n1# xen-handoff preflight x0 --to n2", print: scenes::no_bridge },
    Scene { given: "n1# xen-handoff history --all", print: scenes::handed_over },
    Scene { given: "n2# xen-handoff status --all", print: scenes::on_its_way },
    Scene { given: "n1# xen-handoff status", print: scenes::on_n1 },
    Scene { given: "n1# xen-handoff drain --plan n1", print: scenes::no_key },
    Scene { given: "n1# xen-handoff drain n1", print: scenes::an_evacuation },
    Scene { given: "n1# xen-handoff recover --dry-run x0", print: scenes::on_n1 },
    Scene { given: "n3# xen-handoff recover --dry-run x0", print: scenes::broken_off },
    Scene { given: "n1# xen-handoff reach n2", print: scenes::on_n1 },
    Scene { given: "n1# xen-handoff reach --all", print: scenes::on_n1 },
    Scene { given: "n1# xen-handoff explain XH0101", print: scenes::on_n1 },
    Scene { given: "n1# xen-handoff explain x0", print: scenes::not_handed_over },
    Scene { given: "n1# xen-handoff adopt --dry-run", print: scenes::of_the_old_agent },
    Scene { given: "n1# xen-handoff keys", print: scenes::keyless },
    Scene { given: "n1# xen-handoff keys --export", print: scenes::keyless },
    Scene { given: "n1# xen-handoff keys --remove n3", print: scenes::with_own_keys },
    Scene {
        given: "n1# OCF_RESOURCE_INSTANCE=x0 OCF_RESKEY_name=x0 xen-handoff agent monitor; echo $?",
        print: scenes::on_n1,
    },
    // Said to the console, with nothing typed; how far it is when the host begins to go down.
    Scene { given: "waiting for x0: # %, n2, # s left", print: scenes::shutdown_is_held },
];

/// So many different command lines are on the pages, at least: fewer, and they are not found any more.
const COMMAND_LINES: usize = 60;

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("show") {
        show(std::env::args().nth(2).as_deref().unwrap_or_default());
        return ExitCode::SUCCESS;
    }
    let mut given: Vec<&str> = SCENES.iter().map(|scene| scene.given).collect();
    given.dedup();
    let trial = |given| {
        let name = format!("what_a_page_shows_is_what_is_printed: {given}");
        Trial::test(name, move || is_as_on_the_pages(given))
    };
    let mut trials: Vec<Trial> = given.into_iter().map(trial).collect();
    trials.push(Trial::test("every_screen_is_given_by_a_test", || {
        let without: Vec<String> = screens()?
            .into_iter()
            .filter(|(_, screen)| !SCENES.iter().any(|scene| is_of(screen, scene.given)))
            .map(|(file, screen)| format!("{file}: no scene prints {:?}", screen.given))
            .collect();
        if without.is_empty() { Ok(()) } else { Err(without.join("\n").into()) }
    }));
    trials.push(Trial::test("every_command_line_on_the_pages_is_taken", || {
        let found = lines::all_are_taken(&page::with_commands())?;
        if found >= COMMAND_LINES { Ok(()) } else { Err(format!("{found} found").into()) }
    }));
    trials.push(Trial::test("every_command_line_in_the_examples_of_help_is_taken", || {
        Ok(lines::of_help_are_taken()?)
    }));
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// What the node and the command of a scene are. What is said unasked has none.
fn typed(given: &'static str) -> Given<'static> {
    let (node, command) = prompt(given).unwrap_or(("", ""));
    Given { node, command }
}

/// Prints the screens of the scenes that have this word, for whoever writes a page.
fn show(word: &str) {
    for scene in SCENES.iter().filter(|scene| scene.given.contains(word)) {
        println!("{}\n{}", scene.given, (scene.print)(&typed(scene.given)));
    }
}

/// Whether this is a screen of that command, or the same said unasked.
fn is_of(screen: &Screen, given: &str) -> bool {
    if prompt(given).is_some() { screen.given == given } else { fits(&screen.given, given) }
}

/// Every screen on the pages, with its file.
fn screens() -> Result<Vec<(String, Screen)>, Failed> {
    let unasked =
        |line: &str| SCENES.iter().any(|scene| prompt(scene.given).is_none() && fits(line, scene.given));
    let mut all = Vec::new();
    for page in with_screens() {
        let screens = page.screens(unasked)?;
        all.extend(screens.into_iter().map(|screen| (page.file.clone(), screen)));
    }
    Ok(all)
}

/// Each screen of that command is what one of its scenes prints, and each scene is on a page.
fn is_as_on_the_pages(given: &'static str) -> Result<(), Failed> {
    let scenes: Vec<&Scene> = SCENES.iter().filter(|scene| scene.given == given).collect();
    let printed: Vec<String> = scenes.iter().map(|scene| (scene.print)(&typed(given))).collect();
    let mut on_a_page = vec![false; scenes.len()];
    let mut wrong = String::new();
    for (file, mut screen) in screens()?.into_iter().filter(|(_, screen)| is_of(screen, given)) {
        if prompt(given).is_none() {
            screen.lines.insert(0, screen.given.clone());
        }
        let differences: Vec<Option<String>> = scenes
            .iter()
            .zip(&printed)
            .map(|(scene, printed)| {
                let mut masks = masks_of(scene.given).to_vec();
                masks.extend(prompt(given).is_none().then_some(given));
                difference(&screen.lines, printed, &masks)
            })
            .collect();
        match differences.iter().position(Option::is_none) {
            Some(scene) => on_a_page[scene] = true,
            None => {
                for (difference, printed) in differences.iter().flatten().zip(&printed) {
                    wrong += &format!("{file}: {}\n{difference}\nall of it:\n{printed}\n", screen.given);
                }
            }
        }
    }
    let unused = on_a_page.iter().zip(&printed).filter(|(is, _)| !**is);
    wrong.extend(unused.map(|(_, printed)| format!("no page shows this of {given}:\n{printed}\n")));
    if wrong.is_empty() { Ok(()) } else { Err(wrong.into()) }
}
