//! `ironlb crds`: print the CustomResourceDefinitions.

use std::io::Write as _;
use std::process::ExitCode;

use ironlb_config::crd;

/// Print the CustomResourceDefinitions, for `kubectl apply -f -`
#[derive(clap::Args)]
pub(crate) struct Args {}

/// Prints them as YAML documents on standard output.
pub(crate) fn run(_: &Args) -> ExitCode {
    let mut out = std::io::stdout().lock();
    match crd::yaml().and_then(|text| Ok(out.write_all(text.as_bytes())?)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}
