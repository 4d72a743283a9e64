//! Log lines: events with fields, on stderr.

use std::io::{self, IsTerminal};

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

/// How the log is written.
#[derive(clap::Args)]
#[command(next_help_heading = "Log")]
pub(crate) struct Args {
    /// The least important lines to log: error, warn, info, debug, trace, or a filter by module such as
    /// `info,ironlb_speaker=debug`
    #[arg(
        long,
        global = true,
        env = "IRONLB_LOG",
        default_value = "info",
        value_name = "LEVEL"
    )]
    log_level: String,

    /// How log lines are written
    #[arg(long, global = true, env = "IRONLB_LOG_FORMAT", default_value = "text")]
    log_format: Format,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

/// Starts logging. An unknown level is refused with the reason.
pub(crate) fn start(args: &Args) -> Result<(), String> {
    let level = match args.log_level.as_str() {
        "all" => "trace",
        "none" => "off",
        level => level,
    };
    let filter = EnvFilter::try_new(level)
        .map_err(|error| format!("--log-level {:?}: {error}", args.log_level))?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr);
    match args.log_format {
        Format::Text => lines.with_target(false).with_ansi(style()).init(),
        Format::Json => lines.json().flatten_event(true).init(),
    }
    Ok(())
}

/// Whether stderr is a terminal that wants colour (NO_COLOR unset or empty).
fn style() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
