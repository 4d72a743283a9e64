//! ironlb: one binary, every command.
//!
//! This file picks the command; each command is a module of its own name. The controller, the speaker and their
//! cores are crates of their own: see docs/architecture.md.

mod logging;
mod standalone;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Load balancer for Kubernetes clusters outside the clouds, and for plain hosts
#[derive(Parser)]
#[command(version, propagate_version = true)]
struct Cli {
    #[command(flatten)]
    logging: logging::Args,

    #[command(subcommand)]
    command: Command,
}

// Each variant holds the command's `Args`; its doc comment is the line in `ironlb --help`.
#[derive(Subcommand)]
enum Command {
    Standalone(standalone::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Err(error) = logging::start(&cli.logging) {
        eprintln!("error: {error}");
        return ExitCode::from(2);
    }
    match cli.command {
        Command::Standalone(args) => standalone::run(&args),
    }
}
