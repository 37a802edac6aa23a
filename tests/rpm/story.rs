//! A run of stories about packages: each is a trial, what cannot be tried is skipped with a reason, and the last line counts.

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

/// A promise, and why it cannot be tried here, if it cannot.
#[derive(Clone)]
pub(crate) struct Story {
    name: String,
    run: fn(),
    skipped: Option<String>,
}

impl Story {
    pub(crate) fn new(name: impl Into<String>, run: fn()) -> Self {
        Self { name: name.into(), run, skipped: None }
    }

    pub(crate) fn unless(self, skipped: Option<String>) -> Self {
        Self { skipped, ..self }
    }
}

/// Tells them all, unless there is a reason why none can be tried. `check` is what the last line begins with.
pub(crate) fn tell(
    check: &str,
    mut arguments: Arguments,
    why_not: Option<&str>,
    stories: Vec<Story>,
) -> ExitCode {
    // The slow ones build, with all processors.
    arguments.test_threads = Some(arguments.test_threads.unwrap_or(1));
    let trials = stories
        .into_iter()
        .map(|story| {
            let skipped = why_not.map(str::to_owned).or(story.skipped);
            if let Some(reason) = &skipped {
                println!("skipped: {}: {reason}", story.name);
            }
            Trial::test(story.name, move || {
                (story.run)();
                Ok(())
            })
            .with_ignored_flag(skipped.is_some())
        })
        .collect();
    let end = libtest_mimic::run(&arguments, trials);
    println!("{check}: passed={} failed={} skipped={}", end.num_passed, end.num_failed, end.num_ignored);
    end.exit_code()
}
