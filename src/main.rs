//! ironlb: one binary, every command.
//!
//! This file picks the command; each command is a module of its own name. The controller, the speaker and their
//! cores are crates of their own: see docs/architecture.md.

mod crds;
mod daemon;
mod demo;
mod families;
mod logging;
mod manifests;
mod plan;
mod standalone;
mod validate;

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
    Controller(ironlb_controller::Args),
    Speaker(ironlb_speaker::kubernetes::Args),
    Demo(demo::Args),
    Standalone(standalone::Args),
    Validate(validate::Args),
    Plan(plan::Args),
    Crds(crds::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Err(error) = logging::start(&cli.logging) {
        eprintln!("error: {error}");
        return ExitCode::from(2);
    }
    match cli.command {
        Command::Controller(args) => daemon::controller(args),
        Command::Speaker(args) => daemon::speaker(args),
        Command::Demo(args) => demo::run(&args),
        Command::Standalone(args) => daemon::standalone(args),
        Command::Validate(args) => validate::run(&args),
        Command::Plan(args) => plan::run(&args),
        Command::Crds(args) => crds::run(&args),
    }
}
