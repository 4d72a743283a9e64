//! The copy of what was good: beside the state file, the last good state of every object, so that one that breaks keeps
//! it through a restart.
//!
//! It holds the texts of files, passwords included, and is readable by its owner alone. It is one JSON document with all files,
//! and after it one for each time that some of them changed, which says what those are now. When more has been added than
//! the first document holds, and when the process starts, all is written anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;

use ironlb_watch::file::replace;
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};

use super::file::File;

/// The files, by name.
pub(crate) type Files = BTreeMap<String, File>;

/// The copy, as it is on disk.
#[derive(Debug)]
pub(crate) struct Copy {
    path: PathBuf,
    /// A process that only follows another's state reads the copy and does not write it.
    is_ours: bool,
    /// What this process wrote, so that something can be added to it.
    written: Option<Size>,
    /// The last write failed, and was reported.
    is_troubled: bool,
}

/// Octets.
#[derive(Clone, Copy, Debug)]
struct Size {
    all: u64,
    added: u64,
}

impl Copy {
    /// The copy at `path`, and the files in it by name.
    pub(crate) fn load(path: PathBuf, is_ours: bool) -> (Self, Files) {
        let files = match fs::read(&path) {
            Ok(bytes) => open(&path, &bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Files::new(),
            Err(error) => {
                ignored(&path, &error);
                Files::new()
            }
        };
        let copy = Self {
            path,
            is_ours,
            written: None,
            is_troubled: false,
        };
        (copy, files)
    }

    /// Makes it what is good in `files`, where the `changed` of them were something else. `false` where that failed and is to be tried
    /// again.
    pub(crate) fn keep(&mut self, files: &Files, changed: &BTreeSet<String>) -> bool {
        if !self.is_ours {
            return true;
        }
        match self.write(files, changed) {
            Ok(written) => {
                self.written = Some(written);
                self.is_troubled = false;
            }
            Err(error) => {
                self.written = None;
                if !std::mem::replace(&mut self.is_troubled, true) {
                    let path = self.path.display();
                    tracing::warn!(%path, %error, "the copy of the manifests cannot be written; a file that breaks would lose its last good \
                        state when this process restarts");
                }
            }
        }
        self.written.is_some()
    }

    fn write(&self, files: &Files, changed: &BTreeSet<String>) -> io::Result<Size> {
        if let Some(written) = self.written
            && written.added <= written.all.max(SMALL)
            && let Some(added) = self.add(files, changed)?
        {
            return Ok(Size {
                added: written.added + added,
                ..written
            });
        }
        let all = Document(files.iter().map(|(name, file)| (name, Some(file))));
        replace(&self.path, |out| write_line(out, &all))?;
        Ok(Size {
            all: fs::metadata(&self.path)?.len(),
            added: 0,
        })
    }

    /// Adds what the `changed` files are now. `None` where there is nothing to add to.
    fn add(&self, files: &Files, changed: &BTreeSet<String>) -> io::Result<Option<u64>> {
        let mut bytes = Vec::new();
        let changed = changed.iter().map(|name| (name, files.get(name)));
        write_line(&mut bytes, &Document(changed))?;
        let mut file = match OpenOptions::new().append(true).open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        file.write_all(&bytes)?;
        file.sync_data()?;
        Ok(Some(bytes.len() as u64))
    }
}

/// It only helps with what is broken; without it that counts as what is left of it.
fn ignored(path: &std::path::Path, error: &dyn std::error::Error) {
    let path = path.display();
    tracing::warn!(%path, %error, "a part of the copy of the manifests cannot be read; it is made anew");
}

fn write_line(out: &mut dyn Write, document: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, document)?;
    out.write_all(b"\n")
}

/// What was in the copy. What a crash left unfinished at its end is left out.
fn open(path: &std::path::Path, bytes: &[u8]) -> Files {
    let mut versions = BTreeMap::new();
    for document in serde_json::Deserializer::from_slice(bytes).into_iter::<Read>() {
        match document {
            Ok(document) => versions.extend(document.files),
            Err(error) => {
                ignored(path, &error);
                break;
            }
        }
    }
    versions.retain(|_, versions| !versions.is_empty());
    let file = |(name, versions): (String, Vec<ReadVersion>)| {
        let mut file = File::default();
        for ReadVersion { text, objects } in versions {
            file.remember(&name, &text.into(), &objects);
        }
        (name, file)
    };
    versions.into_iter().map(file).collect()
}

/// For each file, by name, the texts that its objects are in; none of a file that is gone.
struct Document<I>(I);

impl<'a, I: Iterator<Item = (&'a String, Option<&'a File>)> + Clone> Serialize for Document<I> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct InOrder<I>(I);
        impl<'a, I: Iterator<Item = (&'a String, Option<&'a File>)> + Clone> Serialize for InOrder<I> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_map(self.0.clone().map(|(name, file)| (name, versions(file))))
            }
        }
        let mut document = serializer.serialize_map(Some(1))?;
        document.serialize_entry("files", &InOrder(self.0.clone()))?;
        document.end()
    }
}

/// A text that a file had, and which of its objects are in force as they are in it.
#[derive(PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Version<'a> {
    text: &'a str,
    objects: BTreeSet<String>,
}

#[derive(Deserialize)]
struct Read {
    files: BTreeMap<String, Vec<ReadVersion>>,
}

#[derive(Deserialize)]
struct ReadVersion {
    text: String,
    objects: BTreeSet<String>,
}

fn versions(file: Option<&File>) -> Vec<Version<'_>> {
    // By where the text is: all objects of one share it, and to compare a long text for each of them takes long.
    let mut versions: BTreeMap<*const u8, Version<'_>> = BTreeMap::new();
    for good in file.map(File::good).unwrap_or_default() {
        let version = versions
            .entry(good.text.as_ptr())
            .or_insert_with(|| Version {
                text: &good.text,
                objects: BTreeSet::new(),
            });
        version.objects.insert(good.key().to_string());
    }
    let mut versions: Vec<Version<'_>> = versions.into_values().collect();
    versions.sort_unstable();
    versions
}

/// A copy that is smaller is not worth to be written anew for what was added to it.
const SMALL: u64 = 1 << 20;
