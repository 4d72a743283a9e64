//! The configuration: the ConfigMap and the custom resources, followed, and made into one [`Config`].
//!
//! A burst of changes (`kubectl apply -f DIR`) is one change. What is in error keeps its last good state and is told of in
//! the log, the metrics, an Event on the object and the ConfigurationState; the rest is in force.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ironlb_config::{
    Error, LegacyConfigMap, Lowered, Object, ObjectKind, ObjectRef, Objects, crd, lower,
};
use ironlb_model::{Config, Labels};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ApiResource, DynamicObject};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use crate::configuration_state::{self, Component};
use crate::last_good::LastGood;
use crate::sources::{CONFIGURATION, Update};
use crate::{Barrier, Change, Metrics, ObjectName, Selection, Uids, follow};

/// What a watch of one kind says about the configuration.
enum Said {
    Applied(Box<Object>),
    /// The API has an object that is none of its kind, with these labels.
    Undecodable(ObjectRef, Labels, String),
    Deleted(ObjectRef),
    Read(ObjectKind),
}

/// The tasks that follow the configuration in `namespace` and tell it to `listener`, and the uids of its objects, by `Kind/name`.
/// What was good last is kept in the file `last_good`, where one is named.
pub(crate) fn start(
    client: &Client,
    namespace: &str,
    component: Component,
    last_good: Option<PathBuf>,
    metrics: &Metrics,
    listener: mpsc::Sender<Update>,
) -> (JoinSet<()>, Uids<String>) {
    let (sender, said) = mpsc::channel(QUEUE);
    let mut watches = Watches {
        client,
        namespace,
        metrics,
        sender,
        uids: Uids::default(),
        tasks: JoinSet::new(),
    };
    watches.config_map();
    watches.kind::<crd::IPAddressPool>(ObjectKind::IPAddressPool);
    watches.kind::<crd::L2Advertisement>(ObjectKind::L2Advertisement);
    watches.kind::<crd::BGPAdvertisement>(ObjectKind::BGPAdvertisement);
    watches.kind::<crd::BGPPeer>(ObjectKind::BGPPeer);
    watches.kind::<crd::BFDProfile>(ObjectKind::BFDProfile);
    watches.kind::<crd::Community>(ObjectKind::Community);
    let (mut tasks, uids) = (watches.tasks, watches.uids);

    let (errors, reported) = watch::channel(None);
    tasks.spawn(configuration_state::keep(
        client.clone(),
        namespace.to_owned(),
        component,
        uids.clone(),
        reported,
    ));
    let (last_good, remembered) = last_good.map(LastGood::open).unzip();
    let gatherer = Gatherer {
        last_good,
        remembered: remembered.map(Arc::new).unwrap_or_default(),
        metrics: metrics.clone(),
        listener,
        errors,
        barrier: Barrier::new(KINDS.map(ObjectKind::name)),
        objects: Objects::default(),
        in_force: None,
    };
    tasks.spawn(gatherer.run(said));
    (tasks, uids)
}

struct Watches<'a> {
    client: &'a Client,
    namespace: &'a str,
    metrics: &'a Metrics,
    sender: mpsc::Sender<Said>,
    /// By `Kind/name`, as errors name their objects.
    uids: Uids<String>,
    tasks: JoinSet<()>,
}

impl Watches<'_> {
    fn config_map(&mut self) {
        let api = Api::<ConfigMap>::namespaced(self.client.clone(), self.namespace);
        let selection = Selection {
            fields: Some(format!("metadata.name={CONFIG_MAP}")),
            ..Selection::of(ObjectKind::LegacyConfigMap.name())
        };
        self.follow(api, selection, |change| match change {
            Change::Applied(map) => config_map(map),
            Change::Deleted(name) => Said::Deleted(reference(ObjectKind::LegacyConfigMap, name)),
            Change::Read => Said::Read(ObjectKind::LegacyConfigMap),
        });
    }

    /// Follows a kind of custom resource. Decoded loosely first, so that one object that is none does not hide the others.
    fn kind<K>(&mut self, kind: ObjectKind)
    where
        K: Resource<DynamicType = ()> + DeserializeOwned + Into<Object>,
    {
        let resource = ApiResource::erase::<K>(&());
        let api =
            Api::<DynamicObject>::namespaced_with(self.client.clone(), self.namespace, &resource);
        let selection = Selection {
            may_be_absent: true,
            ..Selection::of(kind.name())
        };
        self.follow(api, selection, move |change| match change {
            Change::Applied(object) => custom_resource::<K>(kind, object),
            Change::Deleted(name) => Said::Deleted(reference(kind, name)),
            Change::Read => Said::Read(kind),
        });
    }

    fn follow<K>(
        &mut self,
        api: Api<K>,
        selection: Selection,
        say: impl Fn(Change<K>) -> Said + Send + 'static,
    ) where
        K: Resource + Clone + DeserializeOwned + fmt::Debug + Send + Sync + 'static,
    {
        let (uids, kind) = (self.uids.clone(), selection.kind);
        let say = move |change: Change<K>| {
            match &change {
                Change::Applied(object) => {
                    let (name, uid) = (ObjectName::of(object).name, object.meta().uid.as_deref());
                    uids.insert(format!("{kind}/{name}"), uid.unwrap_or_default().into());
                }
                Change::Deleted(name) => uids.remove(&format!("{kind}/{}", name.name)),
                Change::Read => {}
            }
            Some(say(change))
        };
        self.tasks.spawn(follow(
            api,
            selection,
            self.metrics.clone(),
            self.sender.clone(),
            say,
        ));
    }
}

fn config_map(map: ConfigMap) -> Said {
    let name = ObjectName::of(&map);
    let Some(text) = map.data.unwrap_or_default().remove(CONFIG_KEY) else {
        return Said::Deleted(reference(ObjectKind::LegacyConfigMap, name));
    };
    let map = LegacyConfigMap {
        namespace: name.namespace.to_string(),
        name: name.name.to_string(),
        text,
    };
    Said::Applied(Box::new(map.into()))
}

fn custom_resource<K: DeserializeOwned + Into<Object>>(
    kind: ObjectKind,
    object: DynamicObject,
) -> Said {
    let reference = reference(kind, ObjectName::of(&object));
    let labels = object.metadata.labels.clone().unwrap_or_default();
    let decoded = serde_json::to_value(object).and_then(serde_json::from_value::<K>);
    match decoded {
        Ok(object) => Said::Applied(Box::new(object.into())),
        Err(error) => Said::Undecodable(reference, labels, error.to_string()),
    }
}

fn reference(kind: ObjectKind, name: ObjectName) -> ObjectRef {
    ObjectRef {
        kind,
        namespace: name.namespace.to_string(),
        name: name.name.to_string(),
    }
}

/// Gathers what the watches say, and lowers it.
struct Gatherer {
    metrics: Metrics,
    listener: mpsc::Sender<Update>,
    /// What is wrong with the configuration in force; `None` before there is one.
    errors: watch::Sender<Option<Vec<Error>>>,
    barrier: Barrier,
    objects: Objects,
    in_force: Option<Arc<Config>>,
    last_good: Option<LastGood>,
    /// What was good when the process before this one ended.
    remembered: Arc<Config>,
}

impl Gatherer {
    async fn run(mut self, mut said: mpsc::Receiver<Said>) {
        while let Some(first) = said.recv().await {
            self.take(first);
            let latest = Instant::now() + LONGEST_BURST;
            while let Ok(Some(next)) =
                timeout_at(latest.min(Instant::now() + QUIET), said.recv()).await
            {
                self.take(next);
            }
            if self.barrier.waiting().is_empty() && self.lower().await.is_err() {
                return;
            }
        }
    }

    fn take(&mut self, said: Said) {
        match said {
            Said::Applied(object) => {
                if let Some(last_good) = &mut self.last_good {
                    last_good.apply(&object);
                }
                self.objects.apply(*object);
            }
            Said::Undecodable(reference, labels, message) => {
                if let Some(last_good) = &mut self.last_good {
                    last_good.apply_undecodable(reference.clone());
                }
                self.objects.apply_undecodable(reference, labels, message);
            }
            Said::Deleted(reference) => {
                if let Some(last_good) = &mut self.last_good {
                    last_good.delete(&reference);
                }
                self.objects.delete(&reference);
            }
            Said::Read(kind) => {
                self.barrier.read(kind.name());
            }
        }
    }

    /// Puts what is known now in force. An error when nobody listens any more.
    async fn lower(&mut self) -> Result<(), mpsc::error::SendError<Update>> {
        let in_force = self.in_force.clone();
        let (objects, before) = (
            self.objects.clone(),
            in_force.unwrap_or_else(|| Arc::clone(&self.remembered)),
        );
        let mut last_good = self.last_good.take();
        // Milliseconds with a thousand pools: too long for a thread that answers ARP requests.
        let lowered = tokio::task::spawn_blocking(move || {
            let lowered = lower(&objects, &before);
            if let Some(last_good) = &mut last_good {
                last_good.keep(&lowered.errors);
            }
            (lowered, last_good)
        });
        let Lowered { config, errors } = match lowered.await {
            Ok((lowered, last_good)) => {
                self.last_good = last_good;
                lowered
            }
            Err(error) => {
                tracing::error!(%error, "the configuration could not be judged; the last one stays in force");
                self.metrics.update_errors.inc();
                return Ok(());
            }
        };
        self.report(errors);
        if self.in_force.as_deref() == Some(&config) {
            return Ok(());
        }
        let config = Arc::new(config);
        let first = self.in_force.replace(config.clone()).is_none();
        tracing::info!(
            pools = config.pools.len(),
            l2_advertisements = config.l2_advertisements.len(),
            bgp_advertisements = config.bgp_advertisements.len(),
            peers = config.peers.len(),
            pools_in_error = config.pools_in_error.labels.len(),
            "configuration in force"
        );
        self.metrics.config_loaded.set(1);
        self.listener.send(Update::Config(config)).await?;
        if first {
            self.listener.send(Update::Read(CONFIGURATION)).await?;
        }
        Ok(())
    }

    fn report(&self, errors: Vec<Error>) {
        self.metrics.config_stale.set((!errors.is_empty()).into());
        self.errors.send_if_modified(|reported| {
            let before = reported.as_deref().unwrap_or_default();
            for error in errors.iter().filter(|error| !before.contains(error)) {
                self.metrics.update_errors.inc();
                tracing::warn!("configuration: {error}; what it last said stays in force");
            }
            if errors.is_empty() && !before.is_empty() {
                tracing::info!("configuration: nothing is wrong with it any more");
            }
            let changed = reported.as_ref() != Some(&errors);
            *reported = Some(errors);
            changed
        });
    }
}

/// All sources of configuration.
pub(crate) const KINDS: [ObjectKind; 7] = [
    ObjectKind::IPAddressPool,
    ObjectKind::L2Advertisement,
    ObjectKind::BGPAdvertisement,
    ObjectKind::BGPPeer,
    ObjectKind::BFDProfile,
    ObjectKind::Community,
    ObjectKind::LegacyConfigMap,
];
const CONFIG_MAP: &str = "config";
const CONFIG_KEY: &str = "config";
const QUEUE: usize = 256;
/// A burst of changes ends when nothing has come for this long.
const QUIET: Duration = Duration::from_millis(50);
/// And then at the latest.
const LONGEST_BURST: Duration = Duration::from_millis(500);
