//! The state file: which Service holds which addresses. In standalone mode it is the record that an allocation exists.
//!
//! ```json
//! {
//!   "format": "ironlb-state",
//!   "version": 1,
//!   "allocations": [
//!     { "service": "default/web", "ips": ["192.0.2.1"], "pool": "first" }
//!   ]
//! }
//! ```
//!
//! It is written to a temporary file, synced, renamed and its directory synced, so that after a crash at any instant
//! either the old or the new one is there, whole. A file that cannot be understood is never written over: an
//! address that moved because its record was lost is worse than a process that does not start.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use ironlb_model::{Name, ServiceKey};
use ironlb_watch::file;
use serde::Deserialize;
use serde::de::IgnoredAny;

/// The addresses of Services, by Service.
pub(crate) type Allocations = BTreeMap<ServiceKey, Allocation>;

/// The addresses of one Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Allocation {
    /// At least one.
    pub(crate) ips: Vec<IpAddr>,
    /// Where they come from, when it is known.
    pub(crate) pool: Option<Name>,
}

/// The state file, locked by this process for as long as this lives.
#[derive(Debug)]
pub(crate) struct StateFile {
    path: PathBuf,
    allocations: Allocations,
    _lock: File,
}

/// Why there is no state to work with.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StateError {
    /// Another process works with it.
    #[error(
        "state file {path}: in use by process {process}; two processes must not allocate from one state (stop the \
         other, or follow it with --follow)", path = path.display()
    )]
    InUse {
        /// The file.
        path: PathBuf,
        /// Whoever holds the lock, as far as it says.
        process: String,
    },
    /// It is not what this program writes.
    #[error(
        "state file {path}: {reason}; it was left as it is. Restore it from a backup; or, where Services may get \
         new addresses, move it away and start again", path = path.display()
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// It was there once.
    #[error(
        "state file {path}: gone, but {trace} is still there. Restore it from a backup; or, where Services may get \
         new addresses, remove {trace} and start again", path = path.display(), trace = trace.display()
    )]
    Lost {
        /// The file.
        path: PathBuf,
        /// What is written only after it.
        trace: PathBuf,
    },
    /// The system refuses.
    #[error("{path}: {source}", path = path.display())]
    System {
        /// The file.
        path: PathBuf,
        /// The refusal.
        source: io::Error,
    },
}

impl StateFile {
    /// Locks and reads the file at `path`. Where there is none, an empty one is made.
    pub(crate) fn open(path: &Path) -> Result<Self, StateError> {
        let lock = lock(path)?;
        let trace = copy_path(path);
        let allocations = match read(path)? {
            Some(allocations) => allocations,
            None if trace.exists() => {
                return Err(StateError::Lost {
                    path: path.into(),
                    trace,
                });
            }
            None => {
                let none = Allocations::new();
                file::replace(path, |out| encode(&none, out)).map_err(|source| {
                    StateError::System {
                        path: path.into(),
                        source,
                    }
                })?;
                none
            }
        };
        Ok(Self {
            path: path.to_owned(),
            allocations,
            _lock: lock,
        })
    }

    /// What is in the file.
    pub(crate) const fn allocations(&self) -> &Allocations {
        &self.allocations
    }

    /// Makes these Services hold this, or nothing, in the file. When it returns, no crash can undo it; where it fails, nothing has changed.
    pub(crate) fn write(
        &mut self,
        changes: impl IntoIterator<Item = (ServiceKey, Option<Allocation>)>,
    ) -> io::Result<()> {
        let mut undo = Vec::new();
        for (service, wanted) in changes {
            if self.allocations.get(&service) != wanted.as_ref() {
                let before = self.put(service.clone(), wanted);
                undo.push((service, before));
            }
        }
        if undo.is_empty() {
            return Ok(());
        }
        let written = file::replace(&self.path, |out| encode(&self.allocations, out));
        if written.is_err() {
            for (service, before) in undo.into_iter().rev() {
                self.put(service, before);
            }
        }
        written
    }

    fn put(&mut self, service: ServiceKey, held: Option<Allocation>) -> Option<Allocation> {
        match held {
            Some(held) => self.allocations.insert(service, held),
            None => self.allocations.remove(&service),
        }
    }
}

/// What is in the file at `path`; `None` where there is no file.
pub(crate) fn read(path: &Path) -> Result<Option<Allocations>, StateError> {
    match fs::read(path) {
        Ok(bytes) => decode(&bytes)
            .map(Some)
            .map_err(|reason| StateError::Unreadable {
                path: path.into(),
                reason,
            }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(StateError::System {
            path: path.into(),
            source,
        }),
    }
}

/// Where the copy of the manifests is kept that goes with a state file.
pub(crate) fn copy_path(state: &Path) -> PathBuf {
    beside(state, ".manifests")
}

/// The lock is a file of its own, because the state file is replaced with every change.
fn lock(state: &Path) -> Result<File, StateError> {
    let path = beside(state, ".lock");
    let system = |source| StateError::System {
        path: path.clone(),
        source,
    };
    let mut options = OpenOptions::new();
    options
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600);
    let mut file = options.open(&path).map_err(system)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::Error(source)) => return Err(system(source)),
        Err(TryLockError::WouldBlock) => {
            let mut process = String::new();
            // Only for the message.
            let _ = file.read_to_string(&mut process);
            let process = process.trim().to_owned();
            return Err(StateError::InUse {
                path: state.into(),
                process,
            });
        }
    }
    file.set_len(0).map_err(system)?;
    writeln!(file, "{}", std::process::id()).map_err(system)?;
    Ok(file)
}

/// One line for each Service, and no document in between: there may be many, and this is written for each change.
fn encode(allocations: &Allocations, out: &mut dyn Write) -> io::Result<()> {
    write!(
        out,
        "{{\n  \"format\": \"{FORMAT}\",\n  \"version\": {VERSION},\n  \"allocations\": ["
    )?;
    let mut separator = "";
    for (service, Allocation { ips, pool }) in allocations {
        let ServiceKey { namespace, name } = service;
        write!(out, "{separator}\n    {{ \"service\": ")?;
        serde_json::to_writer(&mut *out, &format_args!("{namespace}/{name}"))?;
        out.write_all(b", \"ips\": ")?;
        serde_json::to_writer(&mut *out, ips)?;
        out.write_all(b", \"pool\": ")?;
        serde_json::to_writer(&mut *out, &pool.as_deref())?;
        out.write_all(b" }")?;
        separator = ",";
    }
    out.write_all(b"\n  ]\n}\n")
}

fn decode(bytes: &[u8]) -> Result<Allocations, String> {
    let header: Header = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if header.format != FORMAT {
        return Err(format!("its format is {:?}, not {FORMAT:?}", header.format));
    }
    if header.version != VERSION {
        return Err(format!(
            "its version is {}; this program knows {VERSION}",
            header.version
        ));
    }
    let document: Document = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let mut allocations = Allocations::new();
    for entry in document.allocations {
        let (namespace, name) = entry
            .service
            .split_once('/')
            .filter(|(namespace, name)| !namespace.is_empty() && !name.is_empty())
            .ok_or_else(|| format!("{:?} is not namespace/name of a Service", entry.service))?;
        if entry.ips.is_empty() {
            return Err(format!("{} is there without an address", entry.service));
        }
        let allocation = Allocation {
            ips: entry.ips,
            pool: entry.pool.map(Into::into),
        };
        if allocations
            .insert(ServiceKey::new(namespace, name), allocation)
            .is_some()
        {
            return Err(format!("{} is there twice", entry.service));
        }
    }
    Ok(allocations)
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// What every version has.
#[derive(Deserialize)]
struct Header {
    format: String,
    version: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(rename = "format")]
    _format: IgnoredAny,
    #[serde(rename = "version")]
    _version: IgnoredAny,
    allocations: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    service: String,
    ips: Vec<IpAddr>,
    pool: Option<String>,
}

const FORMAT: &str = "ironlb-state";
const VERSION: u32 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn allocations(entries: &[(&str, &str)]) -> Allocations {
        let entry = |(name, ip): &(&str, &str)| {
            let allocation = Allocation {
                ips: vec![ip.parse().unwrap()],
                pool: Some("first".into()),
            };
            (ServiceKey::new("default", *name), allocation)
        };
        entries.iter().map(entry).collect()
    }

    fn changes(wanted: &Allocations) -> Vec<(ServiceKey, Option<Allocation>)> {
        let wanted = wanted.clone().into_iter();
        wanted
            .map(|(service, held)| (service, Some(held)))
            .collect()
    }

    #[test]
    fn what_was_written_is_there_after_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.json");
        let wanted = allocations(&[("a", "192.0.2.1"), ("b", "2001:db8::1")]);
        let mut state = StateFile::open(&path).unwrap();
        state.write(changes(&wanted)).unwrap();
        drop(state);
        assert_eq!(StateFile::open(&path).unwrap().allocations(), &wanted);
        assert_eq!(read(&path).unwrap().unwrap(), wanted);
    }

    #[test]
    fn a_temporary_file_left_by_a_crash_is_no_state() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.json");
        let wanted = allocations(&[("a", "192.0.2.1")]);
        StateFile::open(&path)
            .unwrap()
            .write(changes(&wanted))
            .unwrap();
        fs::write(beside(&path, ".new"), "{\"format\":").unwrap();
        assert_eq!(StateFile::open(&path).unwrap().allocations(), &wanted);
    }

    #[test]
    fn a_second_process_is_refused_and_told_whom_to_stop() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.json");
        let first = StateFile::open(&path).unwrap();
        let error = StateFile::open(&path).unwrap_err().to_string();
        assert!(
            error.contains(&format!("process {}", std::process::id())),
            "{error}"
        );
        drop(first);
        StateFile::open(&path).unwrap();
    }

    #[test]
    fn what_cannot_be_understood_is_refused_and_left_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.json");
        let mut whole = Vec::new();
        encode(&allocations(&[("a", "192.0.2.1")]), &mut whole).unwrap();
        let text = String::from_utf8(whole.clone()).unwrap();
        let bad = [
            Vec::new(),
            b"not json".to_vec(),
            whole[..whole.len() / 2].to_vec(),
            text.replace("\"version\": 1", "\"version\": 2")
                .into_bytes(),
            text.replace("ironlb-state", "other").into_bytes(),
            text.replace("192.0.2.1", "192.0.2").into_bytes(),
            text.replace("default/a", "a").into_bytes(),
            text.replace("\"pool\"", "\"pools\"").into_bytes(),
        ];
        for bytes in bad {
            fs::write(&path, &bytes).unwrap();
            let error = StateFile::open(&path).unwrap_err().to_string();
            assert!(error.contains("left as it is"), "{error}");
            assert_eq!(fs::read(&path).unwrap(), bytes);
        }
    }

    #[test]
    fn a_state_that_was_there_once_is_not_begun_anew() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.json");
        fs::write(copy_path(&path), "{}").unwrap();
        assert!(matches!(
            StateFile::open(&path),
            Err(StateError::Lost { .. })
        ));
        assert!(!path.exists());
    }
}
