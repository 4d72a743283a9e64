//! Hears from the system which files were touched.

use std::path::Path;
use std::time::Duration;

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
        let told = move |event| {
            if let Some(touched) = touched_by(event) {
                // Nobody listens any more when the process ends.
                let _ = touch.send(touched);
            }
        };
        let watch = || {
            let mut watcher = notify::recommended_watcher(told)?;
            watcher.watch(directory, RecursiveMode::Recursive)?;
            if let Some(followed) = followed {
                let parent = followed.parent().filter(|it| !it.as_os_str().is_empty());
                let parent = parent.unwrap_or_else(|| Path::new("."));
                watcher.watch(parent, RecursiveMode::NonRecursive)?;
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

    /// Waits for a change, and until the burst that it begins is over, or lasts too long to wait for. Gives what was touched; `None`
    /// where nothing will be heard.
    pub(crate) async fn burst(&mut self) -> Option<Touched> {
        let mut all = self.touched.recv().await?;
        let limit = Instant::now() + LONGEST_BURST;
        while Instant::now() < limit {
            match timeout(file::REST, self.touched.recv()).await {
                Ok(Some(next)) => all.add(next),
                Ok(None) | Err(_) => break,
            }
        }
        Some(all)
    }
}

/// What may be different after an event. Our own reading is no news. An error, like a queue that ran over, means that events were lost,
/// so that all may be news.
fn touched_by(event: notify::Result<Event>) -> Option<Touched> {
    let Ok(event) = event else {
        return Some(Touched::All);
    };
    let is_written = event.kind == EventKind::Access(AccessKind::Close(AccessMode::Write));
    if event.kind.is_access() && !is_written {
        return None;
    }
    let is_vague = event.need_rescan() || event.paths.is_empty();
    Some(match is_vague {
        true => Touched::All,
        false => Touched::Paths(event.paths.into_iter().collect()),
    })
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

    #[test]
    fn an_event_touches_its_paths_and_one_that_tells_of_a_loss_everything() {
        let created =
            Event::new(EventKind::Create(CreateKind::File)).add_path("/a/web.yaml".into());
        let touched = touched_by(Ok(created)).unwrap();
        assert_eq!(touched, Touched::Paths(["/a/web.yaml".into()].into()));

        let overflow = Event::new(EventKind::Other).set_flag(Flag::Rescan);
        assert_eq!(touched_by(Ok(overflow)), Some(Touched::All));
        let failed = notify::Error::generic("lost");
        assert_eq!(touched_by(Err(failed)), Some(Touched::All));

        let read = EventKind::Access(AccessKind::Close(AccessMode::Read));
        assert_eq!(touched_by(Ok(Event::new(read).add_path("/a".into()))), None);
        let written = EventKind::Access(AccessKind::Close(AccessMode::Write));
        let written = Event::new(written).add_path("/a/b.yaml".into());
        assert!(touched_by(Ok(written)).is_some());
    }
}
