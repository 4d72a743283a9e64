//! The directory of manifests: reads what changed in its files, and puts together what all of them say.
//!
//! Each file is read and parsed by itself, and only when it has changed. An object that is wrong counts as what it last was, also after a
//! restart: see [`File`] and [`Copy`]. A file that is being written is left alone until it rests.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ironlb_config::{Error, Manifest, ManifestKey, Manifests};

use super::copy::Copy;
use super::file::{self, File, InForce, Look};
use super::state;

/// A directory of manifests, read again and again.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    copy: Copy,
    /// By path. Before the first look those of the copy.
    files: BTreeMap<String, File>,
    in_force: InForce,
    has_looked: bool,
    /// When every file was read, changed or not.
    read_all: Option<Instant>,
    /// What is good may be something else than what the copy says.
    is_judged: bool,
}

/// What a look into the directory gave.
#[derive(Debug)]
pub(crate) struct Reading {
    /// All objects: as they are, or as they last were when they are wrong.
    pub(crate) manifests: Manifests,
    /// What is wrong with the files as they are.
    pub(crate) errors: Vec<Error>,
    /// A file changed so recently that it may still be written to: look again soon.
    pub(crate) restless: bool,
}

impl Directory {
    /// The directory at `path`, with the copy that goes with a state file.
    pub(crate) fn new(path: &Path, state: &Path, is_ours: bool) -> Self {
        let (copy, files) = Copy::load(state::copy_path(state), is_ours);
        let mut directory = Self {
            path: path.to_owned(),
            copy,
            files,
            in_force: InForce::new(),
            has_looked: false,
            read_all: None,
            is_judged: false,
        };
        directory.in_force = in_force(&directory.offers());
        directory
    }

    /// What was good last, before the directory was looked at.
    pub(crate) fn remembered(&self) -> Manifests {
        Manifests::gather(self.offers().into_iter().cloned(), false)
    }

    /// Looks at every file. `None` when nothing is different from the last time.
    ///
    /// # Errors
    /// When the directory itself cannot be read: then nothing is known, and nothing is to change.
    pub(crate) fn read(&mut self) -> io::Result<Option<Reading>> {
        let paths = manifests_in(&self.path)?;
        let reads_all = self.read_all.is_none_or(|at| at.elapsed() >= THOROUGH);
        if reads_all {
            self.read_all = Some(Instant::now());
        }
        let mut known = std::mem::take(&mut self.files);
        let mut is_different = !std::mem::replace(&mut self.has_looked, true);
        let mut restless = false;
        for path in paths {
            let name = path.display().to_string();
            let is_known = known.contains_key(&name);
            let mut file = known.remove(&name).unwrap_or_default();
            let look = file::look(&path, &name, file.stamp().filter(|_| !reads_all));
            restless |= matches!(look, Look::Restless);
            let is_new = file.take(&name, look);
            is_different |= is_new;
            if is_known || is_new {
                self.files.insert(name, file);
            }
        }
        is_different |= !known.is_empty();
        Ok((is_different || restless).then(|| self.reading(restless)))
    }

    /// What is in force now is good, but for the configuration that is in `errors`.
    pub(crate) fn judge(&mut self, errors: &[Error]) {
        let wrong = errors
            .iter()
            .map(|it| (it.source.as_str(), it.object.clone()));
        let wrong: BTreeSet<_> = wrong.collect();
        for file in self.files.values_mut() {
            file.judge(&self.in_force, &wrong);
        }
        self.is_judged = true;
    }

    /// Writes the copy, where there may be something new in it.
    pub(crate) fn keep(&mut self) {
        if std::mem::take(&mut self.is_judged) {
            self.copy.keep(&self.files);
        }
    }

    fn reading(&mut self, restless: bool) -> Reading {
        let offers = self.offers();
        let in_force = in_force(&offers);
        let is_unreadable = self.files.values().any(File::is_unreadable);
        let mut manifests = Manifests::gather(offers.into_iter().cloned(), is_unreadable);
        let mut errors = std::mem::take(&mut manifests.errors);
        errors.extend(self.files.values().flat_map(File::errors).cloned());
        errors.sort();
        self.in_force = in_force;
        Reading {
            manifests,
            errors,
            restless,
        }
    }

    /// All objects, those that are in force before others of their key; last those that no file has as they should be, in
    /// their last good state.
    fn offers(&self) -> Vec<&Arc<Manifest>> {
        let mut offers: Vec<&Arc<Manifest>> =
            self.files.values().flat_map(File::manifests).collect();
        let said: BTreeSet<&ManifestKey> = offers.iter().map(|it| it.key()).collect();
        let last_good = self.files.values().flat_map(File::last_good);
        let mut kept: Vec<&Arc<Manifest>> =
            last_good.filter(|it| !said.contains(it.key())).collect();
        for list in [&mut offers, &mut kept] {
            list.sort_by_cached_key(|manifest| self.rank(manifest));
        }
        kept.sort_by_key(|it| it.key());
        kept.dedup_by_key(|it| it.key());
        offers.extend(kept);
        offers
    }

    /// Which of several with one key counts: the lowest. First what changes nothing.
    fn rank(&self, manifest: &Manifest) -> (bool, bool) {
        let Some(counts) = self.in_force.get(manifest.key()) else {
            return (true, true);
        };
        (
            !counts.says_the_same(manifest),
            counts.source() != manifest.source(),
        )
    }
}

/// The first of each key.
fn in_force(offers: &[&Arc<Manifest>]) -> InForce {
    let mut first = InForce::new();
    for manifest in offers.iter().filter(|it| !it.is_configuration()) {
        let key = manifest.key().clone();
        first.entry(key).or_insert_with(|| Arc::clone(manifest));
    }
    first
}

/// The manifests of a directory and those below it: files named `*.yaml`, `*.yml` or `*.json`, in order of their names. What is
/// hidden is left out, for mounted ConfigMaps keep their old states so; so are links to directories, which may lead back.
fn manifests_in(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let (path, kind) = (entry.path(), entry.file_type()?);
        let is_hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        let extension = path.extension().and_then(|extension| extension.to_str());
        if is_hidden {
            continue;
        } else if kind.is_dir() {
            match manifests_in(&path) {
                Ok(below) => paths.extend(below),
                // It was removed meanwhile, and its files with it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        } else if extension.is_some_and(|it| EXTENSIONS.contains(&it))
            && (kind.is_file() || kind.is_symlink() && path.is_file())
        {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// How often all files are read: on some network file systems one may change and look the same.
const THOROUGH: Duration = Duration::from_secs(10);
const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];

#[cfg(test)]
mod tests;
