//! Files that are put in place whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Puts what `write` writes at `path`, whole or not at all, readable by the owner alone. When it returns, no crash can undo it.
///
/// # Errors
/// Where the file system refuses; what was at `path` is there still, unless it was only the directory that could not be synced.
pub fn replace(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let mut options = OpenOptions::new();
    let file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)?;
    let put = || {
        let mut out = BufWriter::with_capacity(BUFFER, file);
        write(&mut out)?;
        let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    if let Err(error) = put() {
        // On a full disk the half of it is in the way of whatever would help.
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    File::open(directory_of(path))?.sync_all()
}

/// The directory that a file is in.
pub fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

const BUFFER: usize = 1 << 16;
