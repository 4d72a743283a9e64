//! The directory of manifests: reads its files, and keeps what was good about one that is broken.
//!
//! A file that does not parse counts as what it last was, also after a restart: the last good text of every file is kept
//! in a copy beside the state file. A file that is being written is left alone until it rests.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use ironlb_config::{Error, Manifests, Source};
use serde::{Deserialize, Serialize};

use super::state;

/// A directory of manifests, read again and again.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    copy: Copy,
    /// By path; what each file counts as.
    files: BTreeMap<String, Text>,
}

/// What one file holds, and counts as.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Text {
    /// As read last; `None` before it was.
    current: Option<String>,
    /// The last without an error; or the first, whatever was wrong with it.
    used: String,
    /// What is wrong with `current`.
    errors: Vec<Error>,
}

/// The copy of the last good texts.
#[derive(Debug)]
struct Copy {
    path: PathBuf,
    /// A process that only follows another's state reads the copy and does not write it.
    is_ours: bool,
    files: BTreeMap<String, String>,
}

/// What a look into the directory gave.
#[derive(Debug)]
pub(crate) struct Reading {
    /// All objects, of files as they are and of broken ones as they were.
    pub(crate) manifests: Manifests,
    /// What is wrong with the files as they are.
    pub(crate) errors: Vec<Error>,
    /// A file changed so recently that it may still be written to: look again soon.
    pub(crate) restless: bool,
}

impl Directory {
    /// The directory at `path`, with the copy that goes with a state file.
    pub(crate) fn new(path: &Path, state: &Path, is_ours: bool) -> Self {
        let copy = Copy::load(state::copy_path(state), is_ours);
        Self {
            path: path.to_owned(),
            copy,
            files: BTreeMap::new(),
        }
    }

    /// Looks at every file. `None` when nothing is different from the last time.
    ///
    /// # Errors
    /// When the directory itself cannot be read: then nothing is known, and nothing is to change.
    pub(crate) fn read(&mut self) -> io::Result<Option<Reading>> {
        let mut found = BTreeMap::new();
        let mut restless = false;
        for path in manifests_in(&self.path)? {
            let name = path.display().to_string();
            let known = self
                .files
                .get(&name)
                .cloned()
                .or_else(|| self.remembered(&name));
            let text = match read_file(&path) {
                Some((text, true)) => match known {
                    Some(known) if known.current.as_ref() == Some(&text) => Some(known),
                    known => Some(judge(&name, text, known)),
                },
                // It is being written, vanished meanwhile, or may not be read: it counts as what it was.
                other => {
                    restless |= other.is_some();
                    known
                }
            };
            found.extend(text.map(|text| (name, text)));
        }
        if found == self.files && !restless {
            return Ok(None);
        }
        self.files = found;
        self.copy.keep(&self.files);
        Ok(Some(self.reading(restless)))
    }

    /// What a file counts as of which only the copy knows.
    fn remembered(&self, name: &str) -> Option<Text> {
        let used = self.copy.files.get(name)?.clone();
        Some(Text {
            current: None,
            used,
            errors: Vec::new(),
        })
    }

    fn reading(&self, restless: bool) -> Reading {
        let source = |(name, text): (&String, &Text)| Source {
            name: name.clone(),
            text: text.used.clone(),
        };
        let sources: Vec<Source> = self.files.iter().map(source).collect();
        let manifests = ironlb_config::read(&sources);
        let errors = self
            .files
            .values()
            .flat_map(|text| text.errors.clone())
            .collect();
        Reading {
            manifests,
            errors,
            restless,
        }
    }
}

impl Copy {
    fn load(path: PathBuf, is_ours: bool) -> Self {
        let files = match fs::read(&path).map(|bytes| serde_json::from_slice::<Document>(&bytes)) {
            Ok(Ok(document)) => document.files,
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            // It only helps with broken files; without it they count as what is left of them.
            Ok(Err(error)) => ignored(&path, &error),
            Err(error) => ignored(&path, &error),
        };
        Self {
            path,
            is_ours,
            files,
        }
    }

    fn keep(&mut self, files: &BTreeMap<String, Text>) {
        let used = files
            .iter()
            .map(|(name, text)| (name.clone(), text.used.clone()))
            .collect();
        if self.is_ours && self.files != used {
            let document = Document { files: used };
            let written = serde_json::to_vec(&document)
                .map_err(io::Error::other)
                .and_then(|bytes| state::replace(&self.path, &bytes));
            if let Err(error) = written {
                let path = self.path.display();
                tracing::warn!(%path, %error, "the copy of the manifests cannot be written");
            }
            self.files = document.files;
        }
    }
}

/// The manifests of a directory and those below it: files named `*.yaml`, `*.yml` or `*.json`, in order of their names. What is
/// hidden is left out, for mounted ConfigMaps keep their old states so; so are links to directories, which may lead back.
fn manifests_in(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let is_hidden = path
            .file_name()
            .is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        let extension = path.extension().and_then(|extension| extension.to_str());
        if is_hidden {
            continue;
        } else if path.is_dir() && !path.is_symlink() {
            match manifests_in(&path) {
                Ok(below) => paths.extend(below),
                // It was removed meanwhile, and its files with it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        } else if extension.is_some_and(|it| EXTENSIONS.contains(&it)) && path.is_file() {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// What a file with a new text counts as: that text, unless it is wrong and something is known that was not.
fn judge(name: &str, text: String, known: Option<Text>) -> Text {
    let errors = errors_in(name, &text);
    let used = match known {
        Some(known) if !errors.is_empty() => known.used,
        _ => text.clone(),
    };
    Text {
        current: Some(text),
        used,
        errors,
    }
}

/// A file's text, and whether it rests.
fn read_file(path: &Path) -> Option<(String, bool)> {
    let read = || {
        let before = fs::metadata(path)?.modified()?;
        let bytes = fs::read(path)?;
        let after = fs::metadata(path)?.modified()?;
        Ok::<_, io::Error>((bytes, before == after && rests(after)))
    };
    match read() {
        Ok((bytes, rests)) => Some((String::from_utf8_lossy(&bytes).into_owned(), rests)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => {
            let path = path.display();
            tracing::warn!(%path, %error, "a manifest cannot be read; what it said last stays in force");
            None
        }
    }
}

/// Whether a file was changed long enough ago. One from the future counts as old: clocks differ.
fn rests(changed: SystemTime) -> bool {
    changed.elapsed().is_ok_and(|age| age >= REST) || changed > SystemTime::now()
}

/// What is wrong with a text by itself. What only shows together with other files is found when all are lowered.
fn errors_in(name: &str, text: &str) -> Vec<Error> {
    let sources = [Source {
        name: name.to_owned(),
        text: text.to_owned(),
    }];
    ironlb_config::read(&sources).errors
}

fn ignored(path: &Path, error: &dyn std::error::Error) -> BTreeMap<String, String> {
    let path = path.display();
    tracing::warn!(%path, %error, "the copy of the manifests cannot be read and is made anew");
    BTreeMap::new()
}

#[derive(Serialize, Deserialize)]
struct Document {
    files: BTreeMap<String, String>,
}

const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];
/// A file that did not change for so long is taken for whole.
pub(crate) const REST: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    const GOOD: &str =
        "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {type: LoadBalancer}\n";
    const BROKEN: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: we";

    struct Folder {
        root: tempfile::TempDir,
        directory: Directory,
    }

    impl Folder {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            fs::create_dir(root.path().join("manifests")).unwrap();
            let directory = Self::open(root.path());
            Self { root, directory }
        }

        fn open(root: &Path) -> Directory {
            Directory::new(&root.join("manifests"), &root.join("state"), true)
        }

        fn write(&self, name: &str, text: &str) {
            fs::write(self.root.path().join("manifests").join(name), text).unwrap();
        }

        /// The reading once every file rests.
        fn read(&mut self) -> Reading {
            let limit = Instant::now() + Duration::from_secs(10);
            loop {
                match self.directory.read().unwrap() {
                    Some(reading) if !reading.restless => return reading,
                    _ => assert!(Instant::now() < limit, "no rest"),
                }
            }
        }
    }

    fn services(reading: &Reading) -> Vec<&str> {
        reading
            .manifests
            .services
            .iter()
            .map(|service| &*service.key.name)
            .collect()
    }

    #[test]
    fn files_that_are_hidden_or_of_other_kinds_are_not_read() {
        let mut folder = Folder::new();
        for name in [".hidden.yaml", "web.yaml.swp", "notes.txt", "web.yaml~"] {
            folder.write(name, BROKEN);
        }
        folder.write("web.yaml", GOOD);
        let reading = folder.read();
        assert_eq!(services(&reading), ["web"]);
        assert!(reading.errors.is_empty());
    }

    #[test]
    fn directories_below_are_read_too() {
        let mut folder = Folder::new();
        fs::create_dir(folder.root.path().join("manifests/team")).unwrap();
        fs::create_dir(folder.root.path().join("manifests/.git")).unwrap();
        folder.write("team/web.yaml", GOOD);
        folder.write(".git/old.yaml", BROKEN);
        let reading = folder.read();
        assert_eq!(services(&reading), ["web"]);
        assert!(reading.errors.is_empty());
    }

    #[test]
    fn a_file_that_breaks_counts_as_what_it_was_and_its_error_is_told() {
        let mut folder = Folder::new();
        folder.write("web.yaml", GOOD);
        folder.read();
        folder.write("web.yaml", BROKEN);
        let reading = folder.read();
        assert_eq!(services(&reading), ["web"]);
        assert!(
            reading.errors[0].source.ends_with("web.yaml"),
            "{:?}",
            reading.errors
        );
        folder.write("web.yaml", &GOOD.replace("web", "other"));
        assert_eq!(services(&folder.read()), ["other"]);
    }

    #[test]
    fn a_broken_file_counts_as_what_it_was_also_after_a_restart() {
        let mut folder = Folder::new();
        folder.write("web.yaml", GOOD);
        folder.read();
        folder.write("web.yaml", BROKEN);
        folder.directory = Folder::open(folder.root.path());
        let reading = folder.read();
        assert_eq!(services(&reading), ["web"]);
        assert_eq!(reading.errors.len(), 1);
    }

    #[test]
    fn a_file_that_is_removed_takes_its_objects_with_it() {
        let mut folder = Folder::new();
        folder.write("web.yaml", GOOD);
        folder.read();
        fs::remove_file(folder.root.path().join("manifests/web.yaml")).unwrap();
        assert_eq!(services(&folder.read()), [""; 0]);
    }

    #[test]
    fn a_directory_without_a_change_gives_no_reading() {
        let mut folder = Folder::new();
        folder.write("web.yaml", GOOD);
        folder.read();
        assert!(folder.directory.read().unwrap().is_none());
    }

    #[test]
    fn a_directory_that_cannot_be_read_is_an_error_and_not_empty() {
        let mut folder = Folder::new();
        folder.write("web.yaml", GOOD);
        folder.read();
        fs::remove_dir_all(folder.root.path().join("manifests")).unwrap();
        assert!(folder.directory.read().is_err());
    }
}
