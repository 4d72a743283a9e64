//! `ironlb validate`: say everything that is wrong with a configuration.

use std::io::{self, Write as _};
use std::process::ExitCode;

use crate::manifests::{self, Files};

/// Check manifests of all kinds of configuration, and say everything that is wrong with them
///
/// Exit status: 0 when they are valid, 1 when they are not, 2 when the command itself was wrong.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    files: Files,

    /// How to print what is wrong
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

/// How to print.
#[derive(Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    /// For people: on a terminal with an excerpt of the source, else one line each
    #[default]
    Text,
    /// For machines: {"errors":[{"source","line","column","object","field","message"}]} on standard output
    Json,
}

/// Checks, prints and returns the exit status.
pub(crate) fn run(args: &Args) -> ExitCode {
    manifests::exit_status(validate(args))
}

fn validate(args: &Args) -> Result<bool, String> {
    let sources = args.files.sources()?;
    let (found, judged) = ironlb_config::judge(&sources);
    let errors = judged.errors;
    let told = match args.output {
        Output::Json => {
            let mut out = io::stdout().lock();
            writeln!(out, "{}", serde_json::json!({ "errors": errors }))
        }
        Output::Text => {
            manifests::warn(&found).and_then(|()| manifests::explain(&errors, &sources))
        }
    };
    manifests::written(told)?;
    Ok(errors.is_empty())
}
