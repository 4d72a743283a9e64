//! The steps of the demo as they are told: lines for people as they happen, or one JSON object at the end.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::ValueEnum;
use serde::Serialize;

/// How the steps are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// A line for each step, as it ends
    Text,
    /// {"steps":[{"name","ok","seconds","detail"}]}
    Json,
}

/// The steps so far.
#[derive(Debug)]
pub(crate) struct Report {
    output: Output,
    steps: Vec<Step>,
}

#[derive(Debug, Serialize)]
struct Document<'a> {
    steps: &'a [Step],
}

#[derive(Debug, Serialize)]
struct Step {
    name: &'static str,
    ok: bool,
    seconds: f64,
    detail: String,
}

/// A step failed, and was told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failed;

impl Report {
    pub(crate) const fn new(output: Output) -> Self {
        Self {
            output,
            steps: Vec::new(),
        }
    }

    /// Says something between the steps, to people.
    pub(crate) fn say(&self, text: &str) {
        if self.output == Output::Text {
            print(&format!("{text}\n"));
        }
    }

    /// Does a step, times it and tells what came of it: `work` gives its result and the detail to tell.
    pub(crate) fn step<T>(
        &mut self,
        name: &'static str,
        work: impl FnOnce() -> Result<(T, String)>,
    ) -> Result<T, Failed> {
        let start = Instant::now();
        let result = work();
        let elapsed = start.elapsed();
        match result {
            Ok((value, detail)) => {
                self.add(name, true, elapsed, detail);
                Ok(value)
            }
            Err(error) => {
                self.add(name, false, elapsed, sentence(&error));
                Err(Failed)
            }
        }
    }

    /// Tells the end; `true` when every step went well.
    pub(crate) fn finish(self) -> bool {
        let ok = self.steps.iter().all(|step| step.ok);
        if self.output == Output::Json {
            let document = Document { steps: &self.steps };
            let text = serde_json::to_string_pretty(&document).unwrap_or_default();
            print(&format!("{text}\n"));
        }
        ok
    }

    fn add(&mut self, name: &'static str, ok: bool, elapsed: Duration, detail: String) {
        let seconds = elapsed.as_secs_f64();
        if self.output == Output::Text {
            let word = if ok { "ok" } else { "FAILED" };
            let mut lines = detail.lines();
            let first = lines.next().unwrap_or_default();
            let rest: String = lines.map(|line| format!("{:31}{line}\n", "")).collect();
            print(&format!(
                "{word:<6} {seconds:>7.2} s  {name:<11}  {first}\n{rest}"
            ));
        }
        let seconds = (seconds * 1_000.0).round() / 1_000.0;
        self.steps.push(Step {
            name,
            ok,
            seconds,
            detail,
        });
    }
}

/// The chain of reasons, without those that the one before has in its own words.
fn sentence(error: &anyhow::Error) -> String {
    let mut sentence = String::new();
    for reason in error.chain().map(ToString::to_string) {
        if sentence.is_empty() {
            sentence = reason;
        } else if !sentence.contains(&reason) {
            sentence = format!("{sentence}: {reason}");
        }
    }
    sentence
}

/// Standard output may be a pipe that nobody reads any more; the demo goes on to clean up.
fn print(text: &str) {
    let mut output = io::stdout().lock();
    let _ = output
        .write_all(text.as_bytes())
        .and_then(|()| output.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failed_step_fails_the_whole() {
        let mut report = Report::new(Output::Text);
        assert_eq!(report.step("one", || Ok((1, "fine".into()))).ok(), Some(1));
        assert!(report.step::<()>("two", || anyhow::bail!("no")).is_err());
        assert!(!report.finish());
    }
}
