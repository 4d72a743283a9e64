//! Follow all objects of a kind: every change, none lost.
//!
//! One [`follow`] is one watch. It begins with everything there is (a streaming list where the server has it, pages
//! otherwise, both read at the latest version and not from a stale cache), goes on with changes, and resumes where it
//! was when the connection ends. When the server no longer knows that version (410) it reads everything again, and says
//! `Deleted` for what is no longer there. Nothing is ever said to be gone because the API could not be reached.
//!
//! Objects are handed on and forgotten: only their names are kept, for that comparison.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use ironlb_model::Name;
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use crate::backoff::{Backoff, jittered};
use crate::metrics::Metrics;

/// What a watch says about the objects of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change<K> {
    /// The object is there, or has changed.
    Applied(K),
    /// The object is gone.
    Deleted(ObjectName),
    /// All that was there at the beginning has been said. Comes once.
    Read,
}

/// An object of a kind, by namespace and name. Prints as `namespace/name`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectName {
    /// Its namespace; empty for an object that has none.
    pub namespace: Name,
    /// Its name.
    pub name: Name,
}

impl ObjectName {
    /// The name of `object`.
    pub fn of<K: Resource>(object: &K) -> Self {
        let meta = object.meta();
        Self {
            namespace: meta.namespace.as_deref().unwrap_or_default().into(),
            name: meta.name.as_deref().unwrap_or_default().into(),
        }
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            return f.write_str(&self.name);
        }
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Which objects of a kind are wanted.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// The kind, for log lines.
    pub kind: &'static str,
    /// A field selector.
    pub fields: Option<String>,
    /// A label selector.
    pub labels: Option<String>,
    /// Whether the server may not have this kind at all (its CRD is not installed): then it counts as read and
    /// empty, and is asked for again now and then.
    pub may_be_absent: bool,
}

impl Selection {
    /// All objects of `kind`.
    pub fn of(kind: &'static str) -> Self {
        Self {
            kind,
            ..Self::default()
        }
    }
}

/// Says every change of the objects in `selection` to `listener`, in the words that `say` gives it (`None` for nothing),
/// until the listener has gone.
pub async fn follow<K, M>(
    api: Api<K>,
    selection: Selection,
    metrics: Metrics,
    listener: mpsc::Sender<M>,
    say: impl FnMut(Change<K>) -> Option<M>,
) where
    K: Resource + Clone + DeserializeOwned + fmt::Debug + 'static,
{
    let mut backoff = Backoff::new(FIRST_DELAY, LONGEST_DELAY);
    let mut follower = Follower {
        api,
        selection,
        metrics,
        listener,
        say,
        known: BTreeSet::new(),
        position: None,
        pages: false,
        read: false,
        refusals: 0,
        troubled: false,
    };
    loop {
        let begin = Instant::now();
        let interruption = follower.pass().await;
        // A connection that opens and closes at once is a failure too, or it would be a busy loop.
        let lasted = begin.elapsed() >= LASTING;
        if lasted {
            backoff.succeeded();
        }
        let delay = match follower.recover(interruption).await {
            Recovery::Finished => return,
            Recovery::Instead => Duration::ZERO,
            Recovery::AtOnce if lasted => Duration::ZERO,
            Recovery::AtOnce | Recovery::Later => backoff.failed(),
            Recovery::MuchLater => jittered(ABSENT_DELAY),
        };
        tokio::select! {
            () = follower.listener.closed() => return,
            () = tokio::time::sleep(delay) => {}
        }
    }
}

struct Follower<K, M, F> {
    api: Api<K>,
    selection: Selection,
    metrics: Metrics,
    listener: mpsc::Sender<M>,
    say: F,
    /// The names of all objects that have been said to be there.
    known: BTreeSet<ObjectName>,
    /// The resource version up to which everything has been said; `None` when everything must be read again.
    position: Option<String>,
    /// Whether to list by pages, because the server has no streaming lists.
    pages: bool,
    /// Whether [`Change::Read`] has been said.
    read: bool,
    /// Answers in a row by which the server refused to go on from `position`.
    refusals: u32,
    /// Whether the log says that this watch has trouble.
    troubled: bool,
}

/// Why a pass ended.
#[derive(Debug, thiserror::Error)]
enum Interruption {
    #[error("the stream ended")]
    Ended,
    #[error("nothing was heard for {} s", .0.as_secs())]
    Silent(Duration),
    #[error(transparent)]
    Failed(#[from] kube::Error),
    #[error("nobody listens any more")]
    Closed,
}

/// What to do after an interruption.
enum Recovery {
    /// In another way, which can happen only once.
    Instead,
    AtOnce,
    Later,
    MuchLater,
    Finished,
}

impl<K, M, F> Follower<K, M, F>
where
    K: Resource + Clone + DeserializeOwned + fmt::Debug + 'static,
    F: FnMut(Change<K>) -> Option<M>,
{
    /// One list, one watch, or the one after the other, until it is interrupted.
    async fn pass(&mut self) -> Interruption {
        let pass = match self.position.clone() {
            Some(version) => self.watch(&version).await,
            None if self.pages => self.list().await,
            None => self.stream().await,
        };
        pass.err().unwrap_or(Interruption::Ended)
    }

    /// Reads everything as a stream that then goes on with the changes (KEP-3157).
    async fn stream(&mut self) -> Result<(), Interruption> {
        // An empty version asks for the latest state; `0` would be content with any, also one before our last write.
        let mut events = self.open(true, "").await?;
        let mut seen = BTreeSet::new();
        loop {
            match next(&mut events, LIST_SILENCE).await? {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                    seen.insert(ObjectName::of(&object));
                    self.applied(object).await?;
                }
                WatchEvent::Deleted(object) => {
                    seen.remove(&ObjectName::of(&object));
                }
                WatchEvent::Bookmark(mark) if mark.metadata.annotations.contains_key(LIST_END) => {
                    self.complete(seen, mark.metadata.resource_version).await?;
                    return self.changes(events).await;
                }
                WatchEvent::Bookmark(_) => {}
                WatchEvent::Error(status) => return Err(kube::Error::Api(status).into()),
            }
        }
    }

    /// Reads everything page by page, at the latest version.
    async fn list(&mut self) -> Result<(), Interruption> {
        let mut parameters = ListParams {
            label_selector: self.selection.labels.clone(),
            field_selector: self.selection.fields.clone(),
            limit: Some(PAGE),
            ..ListParams::default()
        };
        let mut seen = BTreeSet::new();
        loop {
            let page = in_time(LIST_TIMEOUT, self.api.list(&parameters)).await?;
            for object in page.items {
                seen.insert(ObjectName::of(&object));
                self.applied(object).await?;
            }
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => parameters.continue_token = Some(token),
                None => {
                    let version = page.metadata.resource_version.unwrap_or_default();
                    self.complete(seen, version.clone()).await?;
                    return self.watch(&version).await;
                }
            }
        }
    }

    /// Goes on from `version`.
    async fn watch(&mut self, version: &str) -> Result<(), Interruption> {
        let events = self.open(false, version).await?;
        self.works();
        self.changes(events).await
    }

    async fn changes(&mut self, mut events: impl Events<K>) -> Result<(), Interruption> {
        loop {
            let event = next(&mut events, WATCH_SILENCE).await?;
            self.position = match event {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                    let version = object.meta().resource_version.clone();
                    self.applied(object).await?;
                    version
                }
                WatchEvent::Deleted(object) => {
                    let name = ObjectName::of(&object);
                    self.known.remove(&name);
                    self.say(Change::Deleted(name)).await?;
                    object.meta().resource_version.clone()
                }
                WatchEvent::Bookmark(mark) => Some(mark.metadata.resource_version),
                WatchEvent::Error(status) => return Err(kube::Error::Api(status).into()),
            };
        }
    }

    async fn open(
        &mut self,
        initial: bool,
        version: &str,
    ) -> Result<impl Events<K> + use<K, M, F>, Interruption> {
        let parameters = WatchParams {
            label_selector: self.selection.labels.clone(),
            field_selector: self.selection.fields.clone(),
            timeout: Some(watch_seconds()),
            bookmarks: true,
            send_initial_events: initial,
        };
        let events = in_time(OPEN_TIMEOUT, self.api.watch(&parameters, version)).await?;
        Ok(events.boxed())
    }

    async fn applied(&mut self, object: K) -> Result<(), Interruption> {
        self.known.insert(ObjectName::of(&object));
        self.say(Change::Applied(object)).await
    }

    /// A list is complete: what was known and is not in it is gone.
    async fn complete(
        &mut self,
        seen: BTreeSet<ObjectName>,
        version: String,
    ) -> Result<(), Interruption> {
        let known = std::mem::replace(&mut self.known, seen);
        for name in known {
            if !self.known.contains(&name) {
                self.say(Change::Deleted(name)).await?;
            }
        }
        self.position = Some(version);
        self.works();
        self.say_read().await
    }

    async fn say_read(&mut self) -> Result<(), Interruption> {
        if std::mem::replace(&mut self.read, true) {
            return Ok(());
        }
        self.say(Change::Read).await
    }

    async fn say(&mut self, change: Change<K>) -> Result<(), Interruption> {
        self.metrics.updates.inc();
        let Some(message) = (self.say)(change) else {
            return Ok(());
        };
        self.listener
            .send(message)
            .await
            .map_err(|_| Interruption::Closed)
    }

    /// The log has a line when trouble begins and one when it is over, none for each attempt.
    fn trouble(&mut self, reason: &dyn fmt::Display) {
        let kind = self.selection.kind;
        if std::mem::replace(&mut self.troubled, true) {
            tracing::debug!(kind, %reason, "watch still interrupted");
        } else {
            tracing::warn!(kind, %reason, "watch interrupted; what is known stays in force");
        }
    }

    fn works(&mut self) {
        self.refusals = 0;
        if std::mem::replace(&mut self.troubled, false) {
            tracing::info!(kind = self.selection.kind, "watch goes on");
        }
    }

    /// Decides where and when to go on.
    async fn recover(&mut self, interruption: Interruption) -> Recovery {
        let kind = self.selection.kind;
        tracing::debug!(kind, reason = %interruption, "watch interrupted");
        let status = match interruption {
            Interruption::Closed => return Recovery::Finished,
            Interruption::Ended => return Recovery::AtOnce,
            Interruption::Silent(_) => {
                // A server that never ends its streaming list (its etcd cannot say how far it is) can still list.
                self.pages |= self.position.is_none();
                return Recovery::AtOnce;
            }
            Interruption::Failed(kube::Error::Api(status)) => status,
            Interruption::Failed(error) => {
                self.metrics.interrupted(kind, "unreachable");
                self.trouble(&error);
                return Recovery::Later;
            }
        };
        match status.code {
            // The version is too old, and what happened since is forgotten.
            410 => {
                self.metrics.interrupted(kind, "expired");
                self.position = None;
                return Recovery::AtOnce;
            }
            404 if self.selection.may_be_absent => {
                tracing::debug!(kind, "the API server does not have this kind");
                return match self.say_read().await {
                    Ok(()) => Recovery::MuchLater,
                    Err(_) => Recovery::Finished,
                };
            }
            // 400 and 422 of a server that has none, 500 of one whose etcd cannot say how far it is.
            400 | 422 | 500 if self.position.is_none() && !self.pages => {
                tracing::debug!(
                    kind,
                    message = status.message,
                    "no streaming lists here; listing by pages"
                );
                self.pages = true;
                return Recovery::Instead;
            }
            429 => self.metrics.interrupted(kind, "throttled"),
            _ => {
                self.metrics.interrupted(kind, "refused");
                self.trouble(&status.message);
            }
        }
        self.refusals = self.refusals.saturating_add(1);
        if self.refusals >= REFUSALS {
            // Whatever it is about this version, it does not get better: begin again.
            self.position = None;
            self.refusals = 0;
        }
        Recovery::Later
    }
}

/// The events of a watch.
trait Events<K>: Stream<Item = kube::Result<WatchEvent<K>>> + Unpin {}

impl<K, S: Stream<Item = kube::Result<WatchEvent<K>>> + Unpin> Events<K> for S {}

async fn next<K>(
    events: &mut impl Events<K>,
    silence: Duration,
) -> Result<WatchEvent<K>, Interruption> {
    match timeout(silence, events.next()).await {
        Ok(Some(event)) => Ok(event?),
        Ok(None) => Err(Interruption::Ended),
        Err(_) => Err(Interruption::Silent(silence)),
    }
}

async fn in_time<T>(
    limit: Duration,
    answer: impl Future<Output = kube::Result<T>>,
) -> Result<T, Interruption> {
    match timeout(limit, answer).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(Interruption::Silent(limit)),
    }
}

/// Watches that were opened together, by all speakers after an API server's restart, do not end together.
fn watch_seconds() -> u32 {
    u32::try_from(jittered(LONGEST_WATCH).as_secs()).unwrap_or(u32::MAX)
}

/// The annotation of the bookmark that ends a streaming list.
const LIST_END: &str = "k8s.io/initial-events-end";
/// Objects in a page of a list. A page is in memory whole, more than once, and the allocator keeps what it held.
const PAGE: u32 = 100;
/// The longest time that a watch is asked to last; the server ends it then.
const LONGEST_WATCH: Duration = Duration::from_secs(290);
/// The server marks its position every minute; silence for longer than this means that the connection is dead.
const WATCH_SILENCE: Duration = Duration::from_secs(100);
const LIST_SILENCE: Duration = Duration::from_secs(10);
const LIST_TIMEOUT: Duration = Duration::from_secs(60);
const OPEN_TIMEOUT: Duration = Duration::from_secs(30);
/// A pass that takes this long did not fail at once.
const LASTING: Duration = Duration::from_secs(5);
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(5);
/// How often to look whether a CRD has been installed.
const ABSENT_DELAY: Duration = Duration::from_secs(20);
/// Refusals in a row after which everything is read again.
const REFUSALS: u32 = 5;
