//! One file of manifests: what it says, and the last good state of each object in it.
//!
//! What is good in a file counts. What is wrong in it counts as what it last was; so does what is missing from it, as long as a
//! part of it cannot be read and may be just that.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use std::{fs, io};

use ironlb_config::{Contents, Error, Manifest, ManifestKey, Source};

/// One file.
#[derive(Clone, Debug, Default)]
pub(crate) struct File {
    /// As it was read last; `None` before it was.
    text: Option<Arc<str>>,
    contents: Contents,
    /// Why it could not be read, since `text` was.
    trouble: Option<Error>,
    good: BTreeMap<ManifestKey, Good>,
}

/// The last good state of an object.
#[derive(Clone, Debug)]
pub(crate) struct Good {
    /// The text of the file then.
    pub(crate) text: Arc<str>,
    manifest: Arc<Manifest>,
}

/// The objects in force, by key; configuration is not among them.
pub(crate) type InForce = BTreeMap<ManifestKey, Arc<Manifest>>;

/// What looking at a file gave.
pub(crate) enum Look {
    /// Its text, which has not changed for a moment.
    Text(String),
    /// It is being written.
    Restless,
    /// It was removed meanwhile.
    Gone,
    /// It cannot be read.
    Trouble(Error),
}

impl File {
    /// Takes in what a look at the file called `name` gave. `true` when that is new.
    pub(crate) fn take(&mut self, name: &str, look: Look) -> bool {
        match look {
            Look::Text(text) => {
                let had_trouble = self.trouble.take().is_some();
                if self.text.as_deref() == Some(&*text) {
                    return had_trouble;
                }
                self.read(name, &Arc::from(text));
                true
            }
            Look::Trouble(error) => {
                let is_new = self.trouble.as_ref() != Some(&error);
                self.trouble = Some(error);
                is_new
            }
            Look::Restless | Look::Gone => false,
        }
    }

    /// What it says now. Configuration is among it also when something is wrong with it.
    pub(crate) fn manifests(&self) -> &[Arc<Manifest>] {
        &self.contents.manifests
    }

    /// The last good state of each object, by key.
    pub(crate) const fn good(&self) -> &BTreeMap<ManifestKey, Good> {
        &self.good
    }

    /// The objects in their last good state.
    pub(crate) fn last_good(&self) -> impl Iterator<Item = &Arc<Manifest>> {
        self.good.values().map(|good| &good.manifest)
    }

    /// What is wrong with it by itself.
    pub(crate) fn errors(&self) -> impl Iterator<Item = &Error> {
        self.contents.errors.iter().chain(&self.trouble)
    }

    /// Whether there may be objects in it that nobody knows.
    pub(crate) const fn is_unreadable(&self) -> bool {
        self.contents.is_unreadable() || self.trouble.is_some()
    }

    /// What is in force as it is in the file is good. `in_force` has it all but for configuration, of which `wrong` says by
    /// source and object what is not.
    pub(crate) fn judge(&mut self, in_force: &InForce, wrong: &BTreeSet<(&str, String)>) {
        let is_good = |manifest: &Manifest| {
            if manifest.is_configuration() {
                return !wrong.contains(&(manifest.source(), manifest.key().object()));
            }
            let counts = in_force.get(manifest.key());
            counts.is_some_and(|it| it.source() == manifest.source() && it.says_the_same(manifest))
        };
        let manifests = self.contents.manifests.iter();
        if let Some(text) = &self.text {
            for manifest in manifests.filter(|manifest| is_good(manifest)) {
                let good = Good {
                    text: Arc::clone(text),
                    manifest: Arc::clone(manifest),
                };
                self.good.insert(manifest.key().clone(), good);
            }
        }
        // Another file has it now.
        self.good.retain(|key, good| {
            let counts = in_force.get(key);
            counts.is_none_or(|it| it.source() == good.manifest.source())
        });
    }

    /// The `objects` of `text` were good once.
    pub(crate) fn remember(&mut self, name: &str, text: &Arc<str>, objects: &BTreeSet<String>) {
        let contents = contents(name, text);
        let known = contents.manifests.into_iter();
        for manifest in known.filter(|it| objects.contains(&it.key().to_string())) {
            let good = Good {
                text: Arc::clone(text),
                manifest,
            };
            let key = good.manifest.key().clone();
            self.good.entry(key).or_insert(good);
        }
    }

    fn read(&mut self, name: &str, text: &Arc<str>) {
        self.contents = contents(name, text);
        self.text = Some(Arc::clone(text));
        let said: BTreeSet<&ManifestKey> =
            self.contents.manifests.iter().map(|it| it.key()).collect();
        let contents = &self.contents;
        self.good
            .retain(|key, _| said.contains(key) || contents.may_have_broken(key));
    }
}

/// Looks at the file at `path`, which errors call `name`.
pub(crate) fn look(path: &Path, name: &str) -> Look {
    let read = || {
        let before = fs::metadata(path)?.modified()?;
        let bytes = fs::read(path)?;
        let after = fs::metadata(path)?.modified()?;
        Ok::<_, io::Error>((bytes, before == after && rests(after)))
    };
    match read() {
        Ok((_, false)) => Look::Restless,
        Ok((bytes, true)) => String::from_utf8(bytes).map_or_else(
            |error| {
                let after = error.utf8_error().valid_up_to();
                let message = format!("not UTF-8 text after byte {after}");
                Look::Trouble(Error::of_source(name, message))
            },
            Look::Text,
        ),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Look::Gone,
        Err(error) => {
            let message = format!("cannot be read: {error}");
            Look::Trouble(Error::of_source(name, message))
        }
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
