//! `ironlb validate`: say everything that is wrong with a configuration.

use std::io::{IsTerminal as _, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ironlb_config::{Error, Source, report};

/// Check manifests of all kinds of configuration, and say everything that is wrong with them
///
/// Exit status: 0 when they are valid, 1 when they are not, 2 when the command itself was wrong.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// File, directory (its *.yaml, *.yml and *.json, and those below) or - for standard input; may be given again
    #[arg(short, long = "file", value_name = "PATH", required = true)]
    files: Vec<PathBuf>,

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
    let sources = match sources(&args.files) {
        Ok(sources) => sources,
        Err(message) => {
            eprintln!("error: {message}");
            return ExitCode::from(2);
        }
    };
    let errors = ironlb_config::validate(&sources);
    if let Err(error) = print(&errors, &sources, args.output) {
        eprintln!("error: {error}");
        return ExitCode::from(2);
    }
    ExitCode::from(u8::from(!errors.is_empty()))
}

fn print(errors: &[Error], sources: &[Source], output: Output) -> std::io::Result<()> {
    if output == Output::Json {
        let mut out = std::io::stdout().lock();
        serde_json::to_writer(&mut out, &serde_json::json!({ "errors": errors }))?;
        return writeln!(out);
    }
    let mut out = std::io::stderr().lock();
    if out.is_terminal() {
        let styled = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        return write!(out, "{}", report::render(errors, sources, styled));
    }
    errors.iter().try_for_each(|error| writeln!(out, "{error}"))
}

/// The texts of `paths`, in order; those of a directory by name.
///
/// # Errors
///
/// A sentence that names the path that cannot be read.
pub(crate) fn sources(paths: &[PathBuf]) -> Result<Vec<Source>, String> {
    let mut sources = Vec::new();
    for path in paths {
        if path.as_os_str() == "-" {
            sources.push(standard_input()?);
        } else if path.is_dir() {
            let before = sources.len();
            directory(path, &mut sources)?;
            if sources.len() == before {
                return Err(format!("{} has no *.yaml, *.yml or *.json", path.display()));
            }
        } else {
            sources.push(file(path)?);
        }
    }
    Ok(sources)
}

fn standard_input() -> Result<Source, String> {
    let mut bytes = Vec::new();
    std::io::stdin()
        .read_to_end(&mut bytes)
        .map_err(|error| format!("standard input: {error}"))?;
    source("-".to_owned(), bytes)
}

fn file(path: &Path) -> Result<Source, String> {
    let name = path.display().to_string();
    let bytes = std::fs::read(path).map_err(|error| format!("{name}: {error}"))?;
    source(name, bytes)
}

fn source(name: String, bytes: Vec<u8>) -> Result<Source, String> {
    let text = String::from_utf8(bytes).map_err(|error| {
        let after = error.utf8_error().valid_up_to();
        format!("{name}: not UTF-8 text after byte {after}")
    })?;
    Ok(Source { name, text })
}

/// Hidden files and directories are left out: mounted ConfigMaps keep their old states in such.
fn directory(path: &Path, sources: &mut Vec<Source>) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    let mut entries: Vec<PathBuf> = std::fs::read_dir(path)
        .map_err(failed)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()
        .map_err(failed)?;
    entries.sort();
    for entry in entries {
        let name = entry.file_name().unwrap_or_default().to_string_lossy();
        let is_manifest = [".yaml", ".yml", ".json"]
            .iter()
            .any(|ending| name.ends_with(ending));
        if name.starts_with('.') {
            continue;
        }
        // Not through links, which may lead back here.
        if entry.is_dir() && !entry.is_symlink() {
            directory(&entry, sources)?;
        } else if is_manifest {
            sources.push(file(&entry)?);
        }
    }
    Ok(())
}
