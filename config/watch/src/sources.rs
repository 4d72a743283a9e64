//! The watches that a controller or a speaker lives on, as one stream of updates.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use ironlb_config::kinds;
use ironlb_model::bgp::Password;
use ironlb_model::{Config, EndpointSlice, Name, Namespace, Node, Service, ServiceKey, SliceKey};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::configuration;
use crate::configuration_state::Component;
use crate::{Change, Metrics, Selection, Uids, follow};

/// Something that a source says.
#[derive(Clone, Debug)]
pub enum Update {
    /// The configuration is now this.
    Config(Arc<Config>),
    /// A Service is there, or has changed.
    ServiceApplied(Box<Service>),
    /// A Service is gone.
    ServiceDeleted(ServiceKey),
    /// A namespace is there, or has changed.
    NamespaceApplied(Namespace),
    /// A namespace is gone.
    NamespaceDeleted(Name),
    /// A node is there, or has changed.
    NodeApplied(Node),
    /// A node is gone.
    NodeDeleted(Name),
    /// An EndpointSlice is there, or has changed.
    EndpointsApplied(EndpointSlice),
    /// An EndpointSlice is gone.
    EndpointsDeleted(SliceKey),
    /// A Secret of the type that passwords are in, by its name, is there, or has changed: with its password, or with none; `None` when
    /// it is gone.
    Secret(String, Option<Password>),
    /// A source, by its name, has said all that there was at the start.
    Read(&'static str),
}

/// Watches under way. They end when this is dropped.
pub struct Sources {
    client: Client,
    metrics: Metrics,
    listener: mpsc::Sender<Update>,
    tasks: JoinSet<()>,
}

impl Sources {
    /// No watch yet; those to come speak to `listener`.
    pub fn new(client: Client, metrics: Metrics, listener: mpsc::Sender<Update>) -> Self {
        Self {
            client,
            metrics,
            listener,
            tasks: JoinSet::new(),
        }
    }

    /// Watches the Services of all namespaces that the field selector `fields` selects, and keeps their uids.
    pub fn services(&mut self, fields: Option<&str>, uids: Uids) {
        let selection = Selection {
            fields: fields.map(str::to_owned),
            ..Selection::of(SERVICE)
        };
        self.follow(
            selection,
            move |change: Change<kinds::Service>| match change {
                Change::Applied(service) => {
                    let service = service.to_model();
                    uids.insert(service.key.clone(), service.uid.clone());
                    Some(Update::ServiceApplied(Box::new(service)))
                }
                Change::Deleted(name) => {
                    let key = ServiceKey::new(name.namespace, name.name);
                    uids.remove(&key);
                    Some(Update::ServiceDeleted(key))
                }
                Change::Read => Some(Update::Read(SERVICE)),
            },
        );
    }

    /// Watches all namespaces.
    pub fn namespaces(&mut self) {
        self.follow(
            Selection::of(NAMESPACE),
            |change: Change<kinds::Namespace>| match change {
                Change::Applied(namespace) => Some(Update::NamespaceApplied(namespace.to_model())),
                Change::Deleted(name) => Some(Update::NamespaceDeleted(name.name)),
                Change::Read => Some(Update::Read(NAMESPACE)),
            },
        );
    }

    /// Watches all nodes, and keeps their uids. A node says that it lives every few seconds; what is not a change to us is
    /// not said.
    pub fn nodes(&mut self, uids: Uids<Name>) {
        let mut known = std::collections::BTreeMap::<Name, Node>::new();
        self.follow(
            Selection::of(NODE),
            move |change: Change<kinds::Node>| match change {
                Change::Applied(node) => {
                    let uid = node.metadata.uid.as_deref().unwrap_or_default().into();
                    let node = node.to_model();
                    uids.insert(node.name.clone(), uid);
                    let before = known.insert(node.name.clone(), node.clone());
                    (before.as_ref() != Some(&node)).then_some(Update::NodeApplied(node))
                }
                Change::Deleted(name) => {
                    uids.remove(&name.name);
                    known.remove(&name.name);
                    Some(Update::NodeDeleted(name.name))
                }
                Change::Read => Some(Update::Read(NODE)),
            },
        );
    }

    /// Watches the addresses of all nodes. Nothing else is said of a node.
    pub fn node_addresses(&mut self) {
        let mut known = std::collections::BTreeMap::<Name, Node>::new();
        self.follow(
            Selection::of(NODE),
            move |change: Change<kinds::Node>| match change {
                Change::Applied(node) => {
                    let node = node.to_model();
                    let node = Node {
                        name: node.name,
                        addresses: node.addresses,
                        ..Node::default()
                    };
                    let before = known.insert(node.name.clone(), node.clone());
                    (before.as_ref() != Some(&node)).then_some(Update::NodeApplied(node))
                }
                Change::Deleted(name) => {
                    known.remove(&name.name);
                    Some(Update::NodeDeleted(name.name))
                }
                Change::Read => Some(Update::Read(NODE)),
            },
        );
    }

    /// Watches the EndpointSlices of all namespaces, except those of headless Services, which have no address.
    pub fn endpoint_slices(&mut self) {
        let selection = Selection {
            labels: Some(NOT_HEADLESS.to_owned()),
            ..Selection::of(ENDPOINT_SLICE)
        };
        self.follow(
            selection,
            |change: Change<kinds::EndpointSlice>| match change {
                Change::Applied(slice) => Some(Update::EndpointsApplied(slice.to_model())),
                Change::Deleted(name) => Some(Update::EndpointsDeleted(SliceKey::new(
                    name.namespace,
                    name.name,
                ))),
                Change::Read => Some(Update::Read(ENDPOINT_SLICE)),
            },
        );
    }

    /// Watches the Secrets in `namespace` that hold a password.
    pub fn secrets(&mut self, namespace: &str) {
        let selection = Selection {
            fields: Some(WITH_PASSWORD.to_owned()),
            ..Selection::of(SECRET)
        };
        let api = Api::<Secret>::namespaced(self.client.clone(), namespace);
        self.tasks.spawn(follow(
            api,
            selection,
            self.metrics.clone(),
            self.listener.clone(),
            |change: Change<Secret>| match change {
                Change::Applied(secret) => {
                    let name = secret.metadata.name.clone().unwrap_or_default();
                    Some(Update::Secret(name, Some(password(&secret))))
                }
                Change::Deleted(name) => Some(Update::Secret(name.name.to_string(), None)),
                Change::Read => Some(Update::Read(SECRET)),
            },
        ));
    }

    /// Watches the configuration in `namespace`, and says in the API whether `component` could use it. Gives the uids of its
    /// objects, by `Kind/name`. With a file `last_good`, what is in error when the watch begins counts as what it was when
    /// the last process ended.
    pub fn configuration(
        &mut self,
        namespace: &str,
        component: Component,
        last_good: Option<PathBuf>,
    ) -> Uids<String> {
        let listener = self.listener.clone();
        let (mut tasks, uids) = configuration::start(
            &self.client,
            namespace,
            component,
            last_good,
            &self.metrics,
            listener,
        );
        self.tasks.spawn(async move {
            tasks.join_next().await;
        });
        uids
    }

    /// Waits until a watch ends, which none does while somebody listens.
    pub async fn ended(&mut self) {
        self.tasks.join_next().await;
    }

    fn follow<K>(
        &mut self,
        selection: Selection,
        say: impl FnMut(Change<K>) -> Option<Update> + Send + 'static,
    ) where
        K: Resource<DynamicType = ()>
            + Clone
            + DeserializeOwned
            + fmt::Debug
            + Send
            + Sync
            + 'static,
    {
        let api = Api::<K>::all(self.client.clone());
        self.tasks.spawn(follow(
            api,
            selection,
            self.metrics.clone(),
            self.listener.clone(),
            say,
        ));
    }
}

/// What a Secret has under `password`, where that is text which may be one.
fn password(secret: &Secret) -> Password {
    let data = secret.data.as_ref();
    let bytes = data.and_then(|data| data.get("password"));
    let text = bytes.and_then(|bytes| std::str::from_utf8(&bytes.0).ok());
    match text {
        Some(text) if (1..=Password::LONGEST).contains(&text.len()) => {
            Password::Plain(text.to_owned())
        }
        _ => Password::None,
    }
}

/// The source of Services.
pub const SERVICE: &str = "Service";
/// The source of namespaces.
pub const NAMESPACE: &str = "Namespace";
/// The source of nodes.
pub const NODE: &str = "Node";
/// The source of EndpointSlices.
pub const ENDPOINT_SLICE: &str = "EndpointSlice";
/// The source of passwords.
pub const SECRET: &str = "Secret";
/// The source of the configuration.
pub const CONFIGURATION: &str = "configuration";

/// The type of Secret that a password is in, as MetalLB demands it.
const WITH_PASSWORD: &str = "type=kubernetes.io/basic-auth";
/// Slices of headless Services bear this label (KEP-752).
const NOT_HEADLESS: &str = "!service.kubernetes.io/headless";
