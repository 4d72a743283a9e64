//! The manifests that `validate` and `plan` are given: where they come from, and how what is wrong with them is told.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ironlb_config::{Error, Manifests, Objects, Source, report};

/// Which manifests to read.
#[derive(clap::Args)]
pub(crate) struct Files {
    /// File, directory (its *.yaml, *.yml and *.json, and those below) or - for standard input; may be given again
    #[arg(
        short = 'f',
        long = "filename",
        alias = "file",
        value_name = "PATH",
        required = true
    )]
    paths: Vec<PathBuf>,
}

impl Files {
    /// The texts, in order; those of a directory by name. A file that is named twice is read once.
    ///
    /// # Errors
    /// A sentence that names the path that cannot be read.
    pub(crate) fn sources(&self) -> Result<Vec<Source>, String> {
        let mut reader = Reader::default();
        for path in &self.paths {
            if path.as_os_str() == "-" {
                reader.standard_input()?;
            } else if path.is_dir() {
                let before = reader.files;
                reader.directory(path)?;
                if reader.files == before {
                    return Err(format!("{} has no *.yaml, *.yml or *.json", path.display()));
                }
            } else {
                reader.file(path)?;
            }
        }
        Ok(reader.sources)
    }
}

#[derive(Default)]
struct Reader {
    sources: Vec<Source>,
    /// How many files there were, each time that one was named.
    files: usize,
    seen: BTreeSet<PathBuf>,
}

impl Reader {
    fn standard_input(&mut self) -> Result<(), String> {
        if !self.seen.insert("-".into()) {
            return Ok(());
        }
        let mut bytes = Vec::new();
        io::stdin()
            .read_to_end(&mut bytes)
            .map_err(|error| format!("standard input: {error}"))?;
        self.add("-".to_owned(), bytes)
    }

    fn file(&mut self, path: &Path) -> Result<(), String> {
        self.files += 1;
        let name = path.display().to_string();
        let failed = |error: io::Error| format!("{name}: {error}");
        // A pipe has no name that says which one it is; it is another each time.
        let metadata = fs::metadata(path).map_err(failed)?;
        if metadata.is_file() && !self.seen.insert(path.canonicalize().map_err(failed)?) {
            return Ok(());
        }
        let bytes = fs::read(path).map_err(failed)?;
        self.add(name, bytes)
    }

    fn add(&mut self, name: String, bytes: Vec<u8>) -> Result<(), String> {
        let text = String::from_utf8(bytes).map_err(|error| {
            let after = error.utf8_error().valid_up_to();
            format!("{name}: not UTF-8 text after byte {after}")
        })?;
        self.sources.push(Source { name, text });
        Ok(())
    }

    /// Hidden files and directories are left out: mounted ConfigMaps keep their old states in such.
    fn directory(&mut self, path: &Path) -> Result<(), String> {
        let failed = |error: io::Error| format!("{}: {error}", path.display());
        let mut entries: Vec<PathBuf> = fs::read_dir(path)
            .map_err(failed)?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()
            .map_err(failed)?;
        entries.sort();
        for entry in entries {
            let name = entry.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with('.') {
                continue;
            }
            // Not through links, which may lead back here.
            if entry.is_dir() && !entry.is_symlink() {
                self.directory(&entry)?;
            } else if EXTENSIONS.iter().any(|ending| name.ends_with(ending)) && !is_special(&entry)
            {
                self.file(&entry)?;
            }
        }
        Ok(())
    }
}

/// Whether it is there and no file: one would wait for ever on a pipe that nobody writes to.
fn is_special(path: &Path) -> bool {
    path.exists() && !path.is_file()
}

/// The exit status of a command: 0 when all is right, 1 when something is wrong with the manifests, 2 and a line on standard error
/// when the command itself could not be done.
pub(crate) fn exit_status(is_valid: Result<bool, String>) -> ExitCode {
    match is_valid {
        Ok(is_valid) => ExitCode::from(u8::from(!is_valid)),
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::from(2)
        }
    }
}

/// What came of writing. Whoever no longer reads, as `head`, has what it wanted.
pub(crate) fn written(result: io::Result<()>) -> Result<(), String> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.to_string()),
        _ => Ok(()),
    }
}

/// Tells people what is wrong: on a terminal with an excerpt of the source, else one line each.
pub(crate) fn explain(errors: &[Error], sources: &[Source]) -> io::Result<()> {
    let mut out = io::stderr().lock();
    if out.is_terminal() {
        let styled = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        return write!(out, "{}", report::render(errors, sources, styled));
    }
    errors.iter().try_for_each(|error| writeln!(out, "{error}"))
}

/// Tells people what is not wrong, and probably not what they meant.
pub(crate) fn warn(manifests: &Manifests) -> io::Result<()> {
    warn_of_namespaces(&manifests.objects)?;
    let mut out = io::stderr().lock();
    let mut doubts = manifests.doubts.iter();
    doubts.try_for_each(|doubt| writeln!(out, "warning: {doubt}"))
}

/// Configuration in several namespaces was read, and in a cluster only that of one namespace is.
fn warn_of_namespaces(objects: &Objects) -> io::Result<()> {
    let namespaces: BTreeSet<&str> = objects
        .references()
        .map(|reference| reference.namespace.as_str())
        .filter(|namespace| !namespace.is_empty())
        .collect();
    if namespaces.len() < 2 {
        return Ok(());
    }
    let namespaces: Vec<&str> = namespaces.into_iter().collect();
    writeln!(
        io::stderr().lock(),
        "warning: there is configuration in the namespaces {}; in a cluster, only that in ironlb's own namespace counts",
        namespaces.join(", ")
    )
}

const EXTENSIONS: [&str; 3] = [".yaml", ".yml", ".json"];
