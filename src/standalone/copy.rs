//! The copy of what was good: beside the state file, the last good state of every object, so that one that breaks keeps
//! it through a restart.
//!
//! It holds the texts of files, passwords included, and is readable by its owner alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::file::File;
use super::state;

/// The copy, as it is on disk.
#[derive(Debug)]
pub(crate) struct Copy {
    path: PathBuf,
    /// A process that only follows another's state reads the copy and does not write it.
    is_ours: bool,
    written: Vec<u8>,
}

impl Copy {
    /// The copy at `path`, and the files in it by name.
    pub(crate) fn load(path: PathBuf, is_ours: bool) -> (Self, BTreeMap<String, File>) {
        let written = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => ignored(&path, &error),
        };
        let mut files = BTreeMap::new();
        if !written.is_empty() {
            match serde_json::from_slice::<Document>(&written) {
                Ok(document) => files = document.open(),
                Err(error) => drop(ignored(&path, &error)),
            }
        }
        let copy = Self {
            path,
            is_ours,
            written,
        };
        (copy, files)
    }

    /// Makes it what is good in `files`. Where that fails, the next call tries again.
    pub(crate) fn keep(&mut self, files: &BTreeMap<String, File>) {
        if !self.is_ours {
            return;
        }
        let written = serde_json::to_vec(&Document::of(files))
            .map_err(io::Error::other)
            .and_then(|bytes| {
                if bytes != self.written {
                    state::replace(&self.path, &bytes)?;
                    self.written = bytes;
                }
                Ok(())
            });
        if let Err(error) = written {
            let path = self.path.display();
            tracing::warn!(%path, %error, "the copy of the manifests cannot be written");
        }
    }
}

/// It only helps with what is broken; without it that counts as what is left of it.
fn ignored(path: &std::path::Path, error: &dyn std::error::Error) -> Vec<u8> {
    let path = path.display();
    tracing::warn!(%path, %error, "the copy of the manifests cannot be read and is made anew");
    Vec::new()
}

/// What is in the copy: for each file the texts that its objects are in.
#[derive(Serialize, Deserialize)]
struct Document {
    files: BTreeMap<String, Vec<Version>>,
}

/// A text that a file had, and which of its objects are in force as they are in it.
#[derive(PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Version {
    text: String,
    objects: BTreeSet<String>,
}

impl Document {
    fn of(files: &BTreeMap<String, File>) -> Self {
        let versions = |file: &File| {
            // By where the text is: all objects of one share it, and to compare a long text for each of them takes long.
            let mut versions: BTreeMap<*const u8, Version> = BTreeMap::new();
            for (key, good) in file.good() {
                let version = versions
                    .entry(good.text.as_ptr())
                    .or_insert_with(|| Version {
                        text: good.text.to_string(),
                        objects: BTreeSet::new(),
                    });
                version.objects.insert(key.to_string());
            }
            let mut versions: Vec<Version> = versions.into_values().collect();
            versions.sort_unstable();
            versions
        };
        let files = files.iter();
        Self {
            files: files
                .map(|(name, file)| (name.clone(), versions(file)))
                .collect(),
        }
    }

    fn open(self) -> BTreeMap<String, File> {
        let mut files = BTreeMap::new();
        for (name, versions) in self.files {
            let mut file = File::default();
            for Version { text, objects } in versions {
                file.remember(&name, &Arc::from(text), &objects);
            }
            files.insert(name, file);
        }
        files
    }
}
