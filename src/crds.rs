//! `ironlb crds`: print the CustomResourceDefinitions.

use std::io::{self, Write as _};
use std::process::ExitCode;

use ironlb_config::crd;

use crate::manifests;

/// Print the CustomResourceDefinitions, for `kubectl apply -f -`
#[derive(clap::Args)]
pub(crate) struct Args {}

/// Prints them as YAML documents on standard output.
pub(crate) fn run(_: &Args) -> ExitCode {
    manifests::exit_status(print().map(|()| true))
}

fn print() -> Result<(), String> {
    let text = crd::yaml().map_err(|error| error.to_string())?;
    manifests::written(io::stdout().lock().write_all(text.as_bytes()))
}
