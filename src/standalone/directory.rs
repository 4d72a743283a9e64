//! The directory of manifests: reads what changed in its files, and puts together what all of them say.
//!
//! Each file is read and parsed by itself, and only when it has changed. An object that is wrong counts as what it last was, also after a
//! restart: see [`File`] and [`Copy`]. A file that is being written is left alone until it rests.

pub(crate) mod index;
mod touched;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ironlb_config::{Error, Objects};

use super::copy::{Copy, Files};
use super::file::{self, File, Look};
use super::state;
use index::{Difference, Index};
pub(crate) use touched::Touched;

/// A directory of manifests, read again and again.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    copy: Copy,
    /// By path. Before the first look those of the copy.
    files: Files,
    index: Index,
    /// Files with something wrong in them, and those that may hide objects that nobody knows.
    in_error: BTreeSet<String>,
    unreadable: BTreeSet<String>,
    /// Files to look at again whatever the system says of them: they were being written.
    restless: BTreeSet<PathBuf>,
    /// A link is among the files: what is behind it may be anywhere.
    has_links: bool,
    has_looked: bool,
    /// When every file was read, changed or not, and how long that took.
    read_all: Option<(Instant, Duration)>,
    /// Files of which something else may be good now.
    to_judge: BTreeSet<String>,
    /// Files of which something else is good than the copy says.
    to_keep: BTreeSet<String>,
}

/// What a look into the directory gave.
#[derive(Debug)]
pub(crate) struct Reading {
    /// The objects that are not what they were the last time. The first time all that there are. What is wrong is as it last was.
    pub(crate) differences: Vec<Difference>,
    /// All configuration, when something of it may be different.
    pub(crate) configuration: Option<Objects>,
    /// What is wrong with the files as they are.
    pub(crate) errors: Vec<Error>,
    /// A file changed so recently that it may still be written to: look again soon.
    pub(crate) restless: bool,
}

impl Directory {
    /// The directory at `path`, with the copy that goes with a state file.
    pub(crate) fn new(path: &Path, state: &Path, is_ours: bool) -> Self {
        let (copy, files) = Copy::load(state::copy_path(state), is_ours);
        let mut index = Index::default();
        for (name, file) in &files {
            index.set(name, [], file.claims());
        }
        index.settle();
        Self {
            path: path.to_owned(),
            copy,
            files,
            index,
            in_error: BTreeSet::new(),
            unreadable: BTreeSet::new(),
            restless: BTreeSet::new(),
            has_links: false,
            has_looked: false,
            read_all: None,
            to_judge: BTreeSet::new(),
            to_keep: BTreeSet::new(),
        }
    }

    /// The configuration that was good last, before the directory was looked at.
    pub(crate) fn remembered(&self) -> Objects {
        self.index.configuration(false)
    }

    /// Looks at the files that were `touched`. `None` when nothing is different from the last time.
    ///
    /// # Errors
    /// When the directory itself cannot be read: then nothing is known, and nothing is to change.
    pub(crate) fn read(&mut self, touched: &Touched) -> io::Result<Option<Reading>> {
        match self.paths_of(touched) {
            Some(paths) => {
                let found = Found {
                    paths,
                    ..Found::default()
                };
                Ok(self.look(found, false))
            }
            None => {
                let mut found = Found::default();
                found.search(&self.path)?;
                self.has_links = found.has_links;
                Ok(self.look(found, true))
            }
        }
    }

    /// Looks at the files that were found, which are all that there are or some.
    fn look(&mut self, mut found: Found, is_all: bool) -> Option<Reading> {
        let begin = Instant::now();
        // On some network file systems a file may change and look the same.
        let is_due = |(at, took): (Instant, Duration)| at.elapsed() >= THOROUGH.max(took * SELDOM);
        let reads_all = is_all && self.read_all.is_none_or(is_due);
        let is_first = !std::mem::replace(&mut self.has_looked, true);
        let was_hiding = !self.unreadable.is_empty();
        let mut is_different = is_first;
        if is_all {
            is_different |= self.forget_others(&found);
            self.restless.clear();
        } else {
            found.paths.append(&mut self.restless);
        }
        for path in found.paths {
            is_different |= self.look_at(&path, reads_all);
        }
        for (path, error) in found.troubles {
            let name = name_of(&path);
            let message = format!("cannot be read, and what is in it stays as it is: {error}");
            let trouble = Look::Trouble(Error::of_source(&name, message));
            is_different |= self.take(name, trouble);
        }
        if reads_all {
            self.read_all = Some((Instant::now(), begin.elapsed()));
        }
        let is_hiding_anew = was_hiding == self.unreadable.is_empty();
        let is_to_tell = is_different || !self.restless.is_empty();
        is_to_tell.then(|| self.reading(is_first, is_hiding_anew))
    }

    /// What is in force now is good, but for the configuration that is in `errors`. Configuration is judged where it was lowered anew.
    pub(crate) fn judge(&mut self, errors: &[Error], is_configuration_anew: bool) {
        if is_configuration_anew {
            let files = self.index.configuration_files().map(str::to_owned);
            self.to_judge.extend(files);
        }
        let wrong = errors
            .iter()
            .map(|it| (it.source.as_str(), it.object.clone()));
        let wrong: BTreeSet<_> = wrong.collect();
        for name in std::mem::take(&mut self.to_judge) {
            let Some(file) = self.files.get_mut(&name) else {
                continue;
            };
            let before: Vec<_> = file
                .claims()
                .map(|claim| claim.manifest.key().clone())
                .collect();
            if file.judge(&self.index, &wrong) {
                self.index.set(&name, before, file.claims());
                self.to_keep.insert(name);
            }
        }
    }

    /// Writes the copy, where there may be something new in it.
    pub(crate) fn keep(&mut self) {
        if !self.to_keep.is_empty() && self.copy.keep(&self.files, &self.to_keep) {
            self.to_keep.clear();
        }
    }

    /// Looks at one file. `true` when that gave something new.
    fn look_at(&mut self, path: &Path, reads_it: bool) -> bool {
        let name = name_of(path);
        let known = self.files.get(&name);
        let stamp = known.and_then(File::stamp).filter(|_| !reads_it);
        let look = file::look(path, &name, stamp);
        match look {
            Look::Gone => self.forget(&name),
            Look::Restless => {
                self.restless.insert(path.to_owned());
                false
            }
            Look::Same => false,
            Look::Text(..) | Look::Trouble(_) => self.take(name, look),
        }
    }

    /// Takes in what a look at the file of this name gave. `true` when that is something new.
    fn take(&mut self, name: String, look: Look) -> bool {
        let mut file = self.files.remove(&name).unwrap_or_default();
        let news = file.take(&name, look);
        let is_new = news.is_some();
        if let Some(news) = news {
            self.index.set(&name, news.before, file.claims());
            note(&mut self.in_error, &name, file.has_errors());
            note(&mut self.unreadable, &name, file.is_unreadable());
            self.to_judge.insert(name.clone());
        }
        self.files.insert(name, file);
        is_new
    }

    /// The file is not there any more. `true` where it was.
    fn forget(&mut self, name: &str) -> bool {
        let Some(file) = self.files.remove(name) else {
            return false;
        };
        let before = file.claims().map(|claim| claim.manifest.key().clone());
        self.index.set(name, before, []);
        self.in_error.remove(name);
        self.unreadable.remove(name);
        self.to_keep.insert(name.to_owned());
        true
    }

    /// Forgets the files that are not among those found, but for those in a directory that could not be read.
    fn forget_others(&mut self, found: &Found) -> bool {
        let is_within = |name: &str| {
            let mut troubles = found.troubles.iter();
            troubles.any(|(directory, _)| Path::new(name).starts_with(directory))
        };
        let names: BTreeSet<String> = found.paths.iter().map(|it| name_of(it)).collect();
        let known = self.files.keys();
        let gone = known.filter(|name| !names.contains(*name) && !is_within(name));
        let gone: Vec<String> = gone.cloned().collect();
        for name in &gone {
            self.forget(name);
        }
        !gone.is_empty()
    }

    fn reading(&mut self, is_first: bool, is_hiding_anew: bool) -> Reading {
        let settled = self.index.settle();
        self.to_judge.extend(settled.files);
        let configuration = (is_first || settled.is_configuration_touched || is_hiding_anew)
            .then(|| self.index.configuration(!self.unreadable.is_empty()));
        let differences = if is_first {
            let everything = self.index.everything().map(|manifest| Difference {
                before: None,
                now: Some(Arc::clone(manifest)),
            });
            everything.collect()
        } else {
            settled.differences
        };
        let in_error = self.in_error.iter().filter_map(|it| self.files.get(it));
        let mut errors: Vec<Error> = in_error.flat_map(File::errors).cloned().collect();
        errors.extend(self.index.errors());
        errors.sort();
        Reading {
            differences,
            configuration,
            errors,
            restless: !self.restless.is_empty(),
        }
    }

    /// The files to look at when these were touched; `None` where that may be all of them.
    fn paths_of(&self, touched: &Touched) -> Option<BTreeSet<PathBuf>> {
        let Touched::Paths(paths) = touched else {
            return None;
        };
        if self.has_links || !self.has_looked {
            return None;
        }
        let mut files = BTreeSet::new();
        for path in paths {
            let Ok(below) = path.strip_prefix(&self.path) else {
                // Something else that is watched, such as a state file that is followed.
                continue;
            };
            if below.iter().any(is_hidden) {
                continue;
            }
            let name = name_of(path);
            let found = fs::symlink_metadata(path);
            let is_anything = match &found {
                Ok(found) => found.is_dir() || found.is_symlink(),
                // It may have been a directory.
                Err(_) => self.has_files_below(&name),
            };
            if is_anything {
                return None;
            }
            let is_file = found.is_ok_and(|found| found.is_file()) && is_manifest(path);
            if is_file || self.files.contains_key(&name) {
                files.insert(path.clone());
            }
        }
        Some(files)
    }

    fn has_files_below(&self, directory: &str) -> bool {
        let within = format!("{directory}/");
        let mut from = self.files.range(within.clone()..);
        from.next()
            .is_some_and(|(name, _)| name.starts_with(&within))
    }
}

fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}

fn note(names: &mut BTreeSet<String>, name: &str, is_in: bool) {
    if is_in {
        names.insert(name.to_owned());
    } else {
        names.remove(name);
    }
}

fn name_of(path: &Path) -> String {
    path.display().to_string()
}

fn is_manifest(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    extension.is_some_and(|it| EXTENSIONS.contains(&it))
}

/// The manifests of a directory and those below it: files named `*.yaml`, `*.yml` or `*.json`, in order of their names. What is
/// hidden is left out, for mounted ConfigMaps keep their old states so; so are links to directories, which may lead back.
#[derive(Default)]
struct Found {
    paths: BTreeSet<PathBuf>,
    has_links: bool,
    /// Directories below that cannot be read, and why not.
    troubles: Vec<(PathBuf, io::Error)>,
}

impl Found {
    fn search(&mut self, directory: &Path) -> io::Result<()> {
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let (path, kind) = (entry.path(), entry.file_type()?);
            if is_hidden(&entry.file_name()) {
                continue;
            } else if kind.is_dir() {
                match self.search(&path) {
                    Ok(()) => {}
                    // It was removed meanwhile, and its files with it.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => self.troubles.push((path, error)),
                }
            } else if is_manifest(&path) {
                self.has_links |= kind.is_symlink();
                if kind.is_file() || kind.is_symlink() && path.is_file() {
                    self.paths.insert(path);
                }
            }
        }
        Ok(())
    }
}

/// How often all files are read, though they look as they did.
const THOROUGH: Duration = Duration::from_secs(10);
/// Where there are many, as seldom as leaves this share of the time for other things.
const SELDOM: u32 = 100;
const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];

#[cfg(test)]
mod tests;
