use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU32, Ordering},
};

use crate::{Error, Result};

/// A directory of its own for each lab, removed with it.
///
/// A lab that is killed cannot remove its directory, so each new lab removes those whose owner is gone:
/// the owner holds a lock on a file in it, which the kernel releases whatever happens.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    _lock: File,
}

impl Directory {
    pub(crate) fn new(lab: &str) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);

        let parent = env::temp_dir();
        remove_abandoned(&parent);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{}-{count}-{lab}", process::id());
        // Under its hidden name nobody takes it for abandoned before the lock is held.
        let hidden = parent.join(format!(".{name}"));
        let path = parent.join(name);
        let lock = create_locked(&hidden).map_err(|source| Error::File {
            path: hidden.clone(),
            source,
        })?;
        fs::rename(&hidden, &path).map_err(|source| Error::File {
            path: path.clone(),
            source,
        })?;
        Ok(Self { path, _lock: lock })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn remove(&self) {
        // Nothing more can be done about what the system does not let us remove.
        let _ = fs::remove_dir_all(&self.path);
    }
}

fn create_locked(directory: &Path) -> std::io::Result<File> {
    fs::create_dir(directory)?;
    let lock = File::create_new(directory.join(LOCK))?;
    lock.lock()?;
    Ok(lock)
}

fn remove_abandoned(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else {
        return;
    };
    for path in entries.flatten().map(|entry| entry.path()) {
        let ours = path
            .file_name()
            .is_some_and(|n| n.to_string_lossy().starts_with(PREFIX));
        if ours && File::open(path.join(LOCK)).is_ok_and(|lock| lock.try_lock().is_ok()) {
            // Another lab may be removing it at the same time.
            let _ = fs::remove_dir_all(&path);
        }
    }
}

const PREFIX: &str = "ironlb-lab-";
const LOCK: &str = "lock";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_without_an_owner_is_removed_and_one_with_an_owner_stays() {
        let kept = Directory::new("kept").unwrap();
        let abandoned = Directory::new("abandoned").unwrap();
        let path = abandoned.path().to_owned();
        drop(abandoned);
        assert!(
            path.exists(),
            "dropping releases the lock and leaves the directory, as a kill does"
        );

        let next = Directory::new("next").unwrap();
        assert!(!path.exists());
        assert!(kept.path().exists());
        kept.remove();
        next.remove();
    }
}
