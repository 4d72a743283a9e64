//! One file of manifests: what it says, and the last good state of each object in it.
//!
//! What is good in a file counts. What is wrong in it counts as what it last was; so does what is missing from it, as long as a
//! part of it cannot be read and may be just that.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use std::{fs, io};

use ironlb_config::{Contents, Error, Manifest, ManifestKey, Source};

use super::directory::index::{Claim, Index};

/// One file.
#[derive(Clone, Debug, Default)]
pub(crate) struct File {
    /// As it was read last; `None` before it was.
    text: Option<Arc<str>>,
    /// By what the system would show that it is another text now.
    stamp: Option<Stamp>,
    contents: Contents,
    /// Why it could not be read, since `text` was.
    trouble: Option<Box<Error>>,
    /// In order of the objects.
    good: Vec<Good>,
}

/// The last good state of an object.
#[derive(Clone, Debug)]
pub(crate) struct Good {
    /// The text of the file then.
    pub(crate) text: Arc<str>,
    manifest: Arc<Manifest>,
}

impl Good {
    /// Which object it is.
    pub(crate) fn key(&self) -> &ManifestKey {
        self.manifest.key()
    }
}

/// What a look at a file changed.
pub(crate) struct News {
    /// At least the objects that the file said, or had said, something of.
    pub(crate) before: Vec<ManifestKey>,
}

/// What looking at a file gave.
pub(crate) enum Look {
    /// Its text, which has not changed for a moment.
    Text(String, Option<Stamp>),
    /// It is as it was, and was not read.
    Same,
    /// It is being written.
    Restless,
    /// It was removed meanwhile.
    Gone,
    /// It cannot be read.
    Trouble(Error),
}

impl File {
    /// Takes in what a look at the file called `name` gave.
    pub(crate) fn take(&mut self, name: &str, look: Look) -> Option<News> {
        match look {
            Look::Text(text, stamp) => {
                self.stamp = stamp;
                let had_trouble = self.trouble.take().is_some();
                if self.text.as_deref() == Some(&*text) {
                    return had_trouble.then(|| News { before: Vec::new() });
                }
                let before = self.claims().map(|claim| claim.manifest.key().clone());
                let before = before.collect();
                self.read(name, &Arc::from(text));
                Some(News { before })
            }
            Look::Trouble(error) => {
                self.stamp = None;
                let is_new = self.trouble.as_deref() != Some(&error);
                self.trouble = Some(Box::new(error));
                is_new.then(|| News { before: Vec::new() })
            }
            Look::Same | Look::Restless | Look::Gone => None,
        }
    }

    /// What the system said of the text that was read last.
    pub(crate) const fn stamp(&self) -> Option<&Stamp> {
        self.stamp.as_ref()
    }

    /// The last good state of each object.
    pub(crate) fn good(&self) -> &[Good] {
        &self.good
    }

    /// What it says now, as written, configuration also when something is wrong with it; then what it said last of what is not there
    /// as it should be.
    pub(crate) fn claims(&self) -> impl Iterator<Item = Claim> {
        let manifests = &self.contents.manifests;
        let said: BTreeSet<&ManifestKey> = manifests.iter().map(|it| it.key()).collect();
        let kept = self.good.iter().filter(move |it| !said.contains(it.key()));
        let claim = |is_kept| {
            move |manifest: &Arc<Manifest>| Claim {
                manifest: Arc::clone(manifest),
                is_kept,
            }
        };
        let kept = kept.map(|good| &good.manifest).map(claim(true));
        manifests.iter().map(claim(false)).chain(kept)
    }

    /// What is wrong with it by itself.
    pub(crate) fn errors(&self) -> impl Iterator<Item = &Error> {
        self.contents.errors.iter().chain(self.trouble.as_deref())
    }

    /// Whether there may be objects in it that nobody knows.
    pub(crate) const fn is_unreadable(&self) -> bool {
        self.contents.is_unreadable() || self.trouble.is_some()
    }

    /// Whether there is something wrong with it.
    pub(crate) fn has_errors(&self) -> bool {
        self.errors().next().is_some()
    }

    /// What is in force as it is in the file is good. `in_force` has it all but for configuration, of which `wrong` says by
    /// source and object what is not. `true` where something else is good now.
    pub(crate) fn judge(&mut self, in_force: &Index, wrong: &BTreeSet<(&str, String)>) -> bool {
        let is_good = |manifest: &Manifest| {
            if manifest.is_configuration() {
                return !wrong.contains(&(manifest.source(), manifest.key().object()));
            }
            let counts = in_force.in_force(manifest.key());
            counts.is_some_and(|it| it.source() == manifest.source() && it.says_the_same(manifest))
        };
        let before = std::mem::take(&mut self.good);
        let mut good: BTreeMap<ManifestKey, Good> = before
            .iter()
            .map(|good| (good.key().clone(), good.clone()))
            .collect();
        let manifests = self.contents.manifests.iter();
        if let Some(text) = &self.text {
            for manifest in manifests.filter(|manifest| is_good(manifest)) {
                let now = Good {
                    text: Arc::clone(text),
                    manifest: Arc::clone(manifest),
                };
                good.insert(manifest.key().clone(), now);
            }
        }
        // Another file has it now.
        good.retain(|key, good| {
            let counts = in_force.in_force(key);
            counts.is_none_or(|it| it.source() == good.manifest.source())
        });
        self.good = good.into_values().collect();
        self.good.shrink_to_fit();
        let is_same = |(before, now): (&Good, &Good)| {
            Arc::ptr_eq(&before.text, &now.text) && before.key() == now.key()
        };
        before.len() != self.good.len() || !before.iter().zip(&self.good).all(is_same)
    }

    /// The `objects` of `text` were good once.
    pub(crate) fn remember(&mut self, name: &str, text: &Arc<str>, objects: &BTreeSet<String>) {
        for manifest in contents(name, text).manifests {
            if !objects.contains(&manifest.key().to_string()) {
                continue;
            }
            let good = Good {
                text: Arc::clone(text),
                manifest,
            };
            let place = self.good.binary_search_by(|it| it.key().cmp(good.key()));
            if let Err(place) = place {
                self.good.insert(place, good);
            }
        }
    }

    fn read(&mut self, name: &str, text: &Arc<str>) {
        self.contents = contents(name, text);
        self.contents.manifests.shrink_to_fit();
        self.text = Some(Arc::clone(text));
        let said: BTreeSet<&ManifestKey> =
            self.contents.manifests.iter().map(|it| it.key()).collect();
        let contents = &self.contents;
        self.good
            .retain(|it| said.contains(it.key()) || contents.may_have_broken(it.key()));
    }
}

/// Looks at the file at `path`, which errors call `name`. It is not read where what the system says of it is `known`.
pub(crate) fn look(path: &Path, name: &str, known: Option<&Stamp>) -> Look {
    let read = || {
        let before = fs::metadata(path)?;
        if known.is_some_and(|known| *known == Stamp::new(&before)) {
            return Ok(Look::Same);
        }
        let bytes = fs::read(path)?;
        let after = fs::metadata(path)?;
        let modified = after.modified()?;
        if before.modified()? != modified || !rests(modified) {
            return Ok(Look::Restless);
        }
        let stamp = Stamp::new(&after);
        Ok::<_, io::Error>(String::from_utf8(bytes).map_or_else(
            |error| {
                let after = error.utf8_error().valid_up_to();
                let message = format!("not UTF-8 text after byte {after}");
                Look::Trouble(Error::of_source(name, message))
            },
            |text| Look::Text(text, stamp.is_of_old().then_some(stamp)),
        ))
    };
    match read() {
        Ok(look) => look,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Look::Gone,
        Err(error) => {
            let message = format!("cannot be read: {error}");
            Look::Trouble(Error::of_source(name, message))
        }
    }
}

/// What changes when a file is written or replaced, whatever time its writer gives it: the system itself notes `changed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// Of the file at `path`; `None` where it may change once more and look the same.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let stamp = Self::new(&fs::metadata(path).ok()?);
        stamp.is_of_old().then_some(stamp)
    }

    fn new(file: &fs::Metadata) -> Self {
        Self {
            device: file.dev(),
            inode: file.ino(),
            size: file.size(),
            modified: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
        }
    }

    /// Whether a change from now on has another time for certain: the system's clock for files has coarse steps.
    fn is_of_old(&self) -> bool {
        let (seconds, nanoseconds) = self.changed;
        let since =
            |seconds, nanoseconds| SystemTime::UNIX_EPOCH + Duration::new(seconds, nanoseconds);
        let changed = u64::try_from(seconds)
            .ok()
            .zip(u32::try_from(nanoseconds).ok());
        changed.is_some_and(|(seconds, nanoseconds)| {
            since(seconds, nanoseconds)
                .elapsed()
                .is_ok_and(|age| age >= REST)
        })
    }
}

fn contents(name: &str, text: &str) -> Contents {
    ironlb_config::contents(&Source {
        name: name.to_owned(),
        text: text.to_owned(),
    })
}

/// Whether a file was changed long enough ago. One from the future counts as old: clocks differ.
fn rests(changed: SystemTime) -> bool {
    changed.elapsed().is_ok_and(|age| age >= REST) || changed > SystemTime::now()
}

/// A file that did not change for so long is taken for whole.
pub(crate) const REST: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_looks_as_it_did_is_not_read_once_it_is_old_enough_to_tell() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.yaml");
        fs::write(&path, "first").unwrap();
        let limit = std::time::Instant::now() + Duration::from_secs(10);
        let stamp = loop {
            match look(&path, "a.yaml", None) {
                Look::Text(_, Some(stamp)) => break stamp,
                _ => assert!(std::time::Instant::now() < limit, "it never rests"),
            }
        };
        assert!(matches!(look(&path, "a.yaml", Some(&stamp)), Look::Same));
        fs::write(&path, "other").unwrap();
        let seen = look(&path, "a.yaml", Some(&stamp));
        assert!(matches!(seen, Look::Restless | Look::Text(..)));
    }
}
