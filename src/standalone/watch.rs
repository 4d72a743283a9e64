//! Hears from the system which files were touched.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ironlb_watch::file::directory_of;
use notify::event::{AccessKind, AccessMode, Event, EventKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::directory::Touched;
use super::file;

/// The directory, and the state file of another process, watched where the system can. A directory that is replaced as a whole is
/// noticed by looking now and then.
pub(crate) struct Watch {
    touched: mpsc::UnboundedReceiver<Touched>,
    /// For as long as it lives, it tells.
    watcher: Option<RecommendedWatcher>,
}

impl Watch {
    /// Of `directory` and those below it, and of the file that is followed.
    pub(crate) fn start(directory: &Path, followed: Option<&Path>) -> Self {
        let (touch, touched) = mpsc::unbounded_channel();
        let named = Named::new(directory);
        let told = move |event| {
            if let Some(touched) = touched_by(event, &named) {
                // Nobody listens any more when the process ends.
                let _ = touch.send(touched);
            }
        };
        let watch = || {
            let mut watcher = notify::recommended_watcher(told)?;
            watcher.watch(directory, RecursiveMode::Recursive)?;
            if let Some(followed) = followed {
                watcher.watch(directory_of(followed), RecursiveMode::NonRecursive)?;
            }
            Ok::<_, notify::Error>(watcher)
        };
        let watcher = watch().inspect_err(|error| {
            tracing::warn!(
                %error,
                "changes of the manifests cannot be heard of, so they are looked at each second; where a limit was reached, raise \
                 fs.inotify.max_user_watches or fs.inotify.max_user_instances and start again"
            );
        });
        Self {
            touched,
            watcher: watcher.ok(),
        }
    }

    /// How often to look at all files though no change was heard of.
    pub(crate) const fn poll(&self) -> Duration {
        match self.watcher {
            Some(_) => POLL,
            None => POLL_UNWATCHED,
        }
    }

    /// Waits until something is touched; `None` where nothing will be heard. Nothing is lost when the wait is given up.
    pub(crate) async fn touched(&mut self) -> Option<Touched> {
        self.touched.recv().await
    }

    /// Waits until the burst that began with `first` is over, or lasts too long to wait for. Gives all that it touched.
    pub(crate) async fn burst(&mut self, first: Touched) -> Touched {
        let mut all = first;
        let limit = Instant::now() + LONGEST_BURST;
        while Instant::now() < limit {
            match timeout(file::REST, self.touched.recv()).await {
                Ok(Some(next)) => all.add(next),
                Ok(None) | Err(_) => break,
            }
        }
        all
    }
}

/// A directory as it was named, and as events name it.
struct Named {
    as_given: PathBuf,
    in_events: PathBuf,
}

impl Named {
    fn new(directory: &Path) -> Self {
        Self {
            as_given: directory.to_owned(),
            in_events: std::path::absolute(directory).unwrap_or_else(|_| directory.to_owned()),
        }
    }

    fn named(&self, path: PathBuf) -> PathBuf {
        match path.strip_prefix(&self.in_events) {
            Ok(below) => self.as_given.join(below),
            Err(_) => path,
        }
    }
}

/// What may be different after an event. Our own reading is no news. An error, like a queue that ran over, means that events were lost,
/// so that all may be news.
fn touched_by(event: notify::Result<Event>, directory: &Named) -> Option<Touched> {
    let Ok(event) = event else {
        return Some(Touched::All);
    };
    let is_written = event.kind == EventKind::Access(AccessKind::Close(AccessMode::Write));
    if event.kind.is_access() && !is_written {
        return None;
    }
    if event.need_rescan() || event.paths.is_empty() {
        return Some(Touched::All);
    }
    let paths = event.paths.into_iter().map(|path| directory.named(path));
    Some(Touched::Paths(paths.collect()))
}

const POLL: Duration = Duration::from_secs(10);
/// The same where no change can be heard of.
const POLL_UNWATCHED: Duration = Duration::from_secs(1);
/// Changes without a pause are looked at after this time anyway.
const LONGEST_BURST: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use notify::event::{CreateKind, Flag};

    use super::*;

    fn touched(event: notify::Result<Event>) -> Option<Touched> {
        touched_by(event, &Named::new(Path::new("/a")))
    }

    #[test]
    fn an_event_touches_its_paths_and_one_that_tells_of_a_loss_everything() {
        let created = EventKind::Create(CreateKind::File);
        let created = Event::new(created).add_path("/a/web.yaml".into());
        let path = Touched::Paths(["/a/web.yaml".into()].into());
        assert_eq!(touched(Ok(created)), Some(path.clone()));

        let overflow = Event::new(EventKind::Other).set_flag(Flag::Rescan);
        assert_eq!(touched(Ok(overflow)), Some(Touched::All));
        let failed = notify::Error::generic("lost");
        assert_eq!(touched(Err(failed)), Some(Touched::All));

        let read = EventKind::Access(AccessKind::Close(AccessMode::Read));
        let read = Event::new(read).add_path("/a/web.yaml".into());
        assert_eq!(touched(Ok(read)), None);
        let written = EventKind::Access(AccessKind::Close(AccessMode::Write));
        let written = Event::new(written).add_path("/a/web.yaml".into());
        assert_eq!(touched(Ok(written)), Some(path));
    }

    #[test]
    fn a_change_is_told_of_by_the_name_that_the_directory_was_given_by() {
        for given in ["manifests", "./manifests/", "../a/manifests"] {
            let named = Named::new(Path::new(given));
            let event = std::env::current_dir()
                .unwrap()
                .join(given)
                .join("b/web.yaml");
            let found = Path::new(given).join("b/web.yaml");
            assert_eq!(named.named(event), found);
        }
    }

    /// By the watch itself, also of a directory that was made after it began.
    #[test]
    fn the_watch_tells_of_every_file_also_below_a_new_directory() {
        let root = tempfile::tempdir().unwrap();
        let mut watch = Watch::start(root.path(), None);
        assert_eq!(watch.poll(), POLL);
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_time().build().unwrap();
        let mut hears_of = |name: &str, make: fn(&Path)| {
            let path = root.path().join(name);
            let limit = std::time::Instant::now() + Duration::from_secs(10);
            runtime.block_on(async {
                loop {
                    make(&path);
                    match timeout(Duration::from_millis(100), watch.touched()).await {
                        Ok(Some(Touched::Paths(paths))) if paths.contains(&path) => return,
                        Ok(Some(Touched::All)) => return,
                        _ => assert!(std::time::Instant::now() < limit, "nothing of {name}"),
                    }
                }
            });
        };
        hears_of("team", |path| std::fs::create_dir_all(path).unwrap());
        // Again and again: a directory is told of just before it is watched, and what it has by then is found with it.
        hears_of("team/a.yaml", |path| std::fs::write(path, "").unwrap());
    }

    #[test]
    fn what_cannot_be_watched_is_looked_at_more_often() {
        let mut watch = Watch::start(Path::new("/nowhere/at/all"), None);
        assert_eq!(watch.poll(), POLL_UNWATCHED);
        let runtime = tokio::runtime::Builder::new_current_thread();
        let heard = { runtime }.build().unwrap().block_on(watch.touched());
        assert_eq!(heard, None);
    }
}
