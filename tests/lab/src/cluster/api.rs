use std::{
    collections::BTreeMap,
    fmt::Display,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use kube::{
    Client, Config,
    api::{
        Api as Objects, ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams,
        PostParams, Request,
    },
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

use crate::{Error, Host, Result, error::Doing, lab::locked, wait::eventually_ok};

/// The API server's administrator: applies and reads objects as JSON values.
///
/// A kind is named `Service`, or `metallb.io/v1beta1/BGPPeer` where its group and version matter. The namespace is ignored
/// for kinds that have none. All calls block.
#[derive(Debug)]
pub struct Api {
    runtime: Runtime,
    client: ClientBox,
    resources: Mutex<BTreeMap<String, Resource>>,
}

/// The objects in YAML documents.
///
/// # Errors
/// When it is no YAML.
pub fn objects(yaml: &str) -> Result<Vec<Value>> {
    let mut documents: Vec<Value> =
        serde_saphyr::from_multiple(yaml).map_err(|error| refused("read YAML", error))?;
    documents.retain(|document| !document.is_null());
    Ok(documents)
}

impl Api {
    /// A client whose connections begin at `host`.
    pub(crate) fn new(host: &Host, kubeconfig: &Path) -> Result<Self> {
        let namespace = Arc::clone(host.shared_namespace());
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .on_thread_start(move || {
                // A thread left outside reaches no API server, which every call then reports.
                let _ = namespace.enter();
            })
            .build()
            .doing(|| "start a client of the API server".into())?;
        let connecting = runtime.spawn(connect(kubeconfig.to_owned()));
        let client = runtime
            .block_on(connecting)
            .map_err(|e| refused("connect", e))?;
        let client = ClientBox(client.map_err(|error| refused("connect", error))?);
        Ok(Self {
            runtime,
            client,
            resources: Mutex::default(),
        })
    }

    /// Creates or changes every object in the YAML documents (server-side apply, with force) and gives what the
    /// server made of them. An object without a namespace goes to `default`.
    ///
    /// # Errors
    /// The server's first refusal; what is before it in the text has been applied. Text that is not YAML.
    pub fn apply(&self, yaml: &str) -> Result<Vec<Value>> {
        let objects = objects(yaml)?;
        objects
            .iter()
            .map(|object| self.apply_object(object))
            .collect()
    }

    /// Creates or changes one object, as [`Self::apply`] does.
    ///
    /// # Errors
    /// The server's refusal.
    pub fn apply_object(&self, object: &Value) -> Result<Value> {
        let text = |pointer: &str| {
            object
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let kind = format!("{}/{}", text("/apiVersion"), text("/kind"));
        let name = text("/metadata/name").to_owned();
        let namespace = Some(text("/metadata/namespace")).filter(|given| !given.is_empty());
        let namespace = namespace.unwrap_or("default");
        let objects = self.objects(&kind, namespace)?;
        let (parameters, patch) = (
            PatchParams::apply(MANAGER).force(),
            Patch::Apply(object.clone()),
        );
        let request = format!("apply {kind} {namespace}/{name}");
        let work = async move { objects.patch(&name, &parameters, &patch).await };
        self.wait_for(&request, work)
            .and_then(|object| value(&request, object))
    }

    /// Reads one object, if it is there.
    ///
    /// # Errors
    /// The server's refusal.
    pub fn get(&self, kind: &str, namespace: &str, name: &str) -> Result<Option<Value>> {
        let (objects, name) = (self.objects(kind, namespace)?, name.to_owned());
        let request = format!("get {kind} {namespace}/{name}");
        let found = self.wait_for(&request, async move { objects.get_opt(&name).await })?;
        found.map(|object| value(&request, object)).transpose()
    }

    /// Reads all objects of a kind in a namespace that match a label selector, which may be empty.
    ///
    /// # Errors
    /// The server's refusal.
    pub fn list(&self, kind: &str, namespace: &str, selector: &str) -> Result<Vec<Value>> {
        let objects = self.objects(kind, namespace)?;
        let parameters = ListParams::default().labels(selector);
        let request = format!("list {kind} in {namespace}");
        let found = self.wait_for(&request, async move { objects.list(&parameters).await })?;
        found
            .items
            .into_iter()
            .map(|object| value(&request, object))
            .collect()
    }

    /// Changes one object by a merge patch (RFC 7386).
    ///
    /// # Errors
    /// The server's refusal.
    pub fn patch(&self, kind: &str, namespace: &str, name: &str, patch: &Value) -> Result<Value> {
        let (objects, name) = (self.objects(kind, namespace)?, name.to_owned());
        let request = format!("patch {kind} {namespace}/{name}");
        let patch = Patch::Merge(patch.clone());
        let work = async move { objects.patch(&name, &PatchParams::default(), &patch).await };
        self.wait_for(&request, work)
            .and_then(|object| value(&request, object))
    }

    /// Changes the status of one object by a merge patch, of which `status` is the value of that field.
    ///
    /// # Errors
    /// The server's refusal.
    pub fn patch_status(
        &self,
        kind: &str,
        namespace: &str,
        name: &str,
        status: &Value,
    ) -> Result<Value> {
        let (objects, name) = (self.objects(kind, namespace)?, name.to_owned());
        let request = format!("patch the status of {kind} {namespace}/{name}");
        let patch = Patch::Merge(json!({ "status": status }));
        let work = async move {
            objects
                .patch_status(&name, &PatchParams::default(), &patch)
                .await
        };
        self.wait_for(&request, work)
            .and_then(|object| value(&request, object))
    }

    /// Deletes one object at once, without a grace period. It may be gone already.
    ///
    /// # Errors
    /// The server's refusal.
    pub fn delete(&self, kind: &str, namespace: &str, name: &str) -> Result<()> {
        let (objects, name) = (self.objects(kind, namespace)?, name.to_owned());
        let request = format!("delete {kind} {namespace}/{name}");
        let parameters = DeleteParams::default().grace_period(0);
        let work = async move {
            match objects.delete(&name, &parameters).await {
                Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
                other => other.map(|_| ()),
            }
        };
        self.wait_for(&request, work)
    }

    /// A new token for a ServiceAccount (TokenRequest), valid for a day.
    ///
    /// # Errors
    /// The server's refusal, such as that there is no such account.
    pub fn token(&self, namespace: &str, service_account: &str) -> Result<String> {
        let objects = self.objects("v1/ServiceAccount", namespace)?;
        let body = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
            "spec": { "expirationSeconds": 24 * 60 * 60 },
        });
        let request = format!("request a token of {namespace}/{service_account}");
        let account = service_account.to_owned();
        let answer: Value = self.wait_for(&request, async move {
            objects
                .create_subresource("token", &account, &PostParams::default(), &body)
                .await
        })?;
        let token = answer.pointer("/status/token").and_then(Value::as_str);
        token
            .map(str::to_owned)
            .ok_or_else(|| refused(&request, "no token in the answer"))
    }

    /// Whether the API server says that it is ready.
    ///
    /// # Errors
    /// Its reason, or that it cannot be reached.
    pub fn ready(&self) -> Result<()> {
        let request = Request::new("/readyz")
            .list(&ListParams::default())
            .map_err(|error| refused("ask for readiness", error))?;
        let client = self.client();
        let work = async move { client.request_text(request).await };
        self.wait_for("ask for readiness", work).map(|_| ())
    }

    /// The client, for what needs types; to be used inside [`Self::wait_for`].
    pub fn client(&self) -> Client {
        self.client.0.clone()
    }

    /// Runs requests where the API server can be reached, and waits for the result at most ten seconds.
    /// `request` names them in errors.
    ///
    /// # Errors
    /// The error of `work`, or that it took too long.
    pub fn wait_for<T: Send + 'static, E: Display + Send + 'static>(
        &self,
        request: &str,
        work: impl Future<Output = std::result::Result<T, E>> + Send + 'static,
    ) -> Result<T> {
        let task = self
            .runtime
            .spawn(async { tokio::time::timeout(PATIENCE, work).await });
        match self.runtime.block_on(task) {
            Ok(Ok(result)) => result.map_err(|error| refused(request, error)),
            Ok(Err(_)) => Err(refused(request, "no answer within ten seconds")),
            Err(error) => Err(refused(request, error)),
        }
    }

    /// Access to the objects of a kind. A kind that is not known yet is waited for: its definition may be new.
    fn objects(&self, kind: &str, namespace: &str) -> Result<Objects<DynamicObject>> {
        let what = format!("the API server knows {kind}");
        let resource = eventually_ok(&what, PATIENCE, || self.resource(kind))?;
        Ok(if resource.namespaced {
            Objects::namespaced_with(self.client(), namespace, &resource.api)
        } else {
            Objects::all_with(self.client(), &resource.api)
        })
    }

    fn resource(&self, kind: &str) -> Result<Resource> {
        if let Some(found) = locked(&self.resources).get(kind) {
            return Ok(found.clone());
        }
        let client = self.client();
        let all = self.wait_for("discover kinds", async move { discover(&client).await })?;
        let mut resources = locked(&self.resources);
        for resource in all {
            let full = format!("{}/{}", resource.api.api_version, resource.api.kind);
            // The core group comes first, and of each group the preferred version.
            resources
                .entry(resource.api.kind.clone())
                .or_insert_with(|| resource.clone());
            resources.insert(full, resource);
        }
        let found = resources.get(kind).cloned();
        found.ok_or_else(|| refused("discover kinds", format!("{kind} is not one of them")))
    }
}

#[derive(Clone, Debug)]
struct Resource {
    api: ApiResource,
    namespaced: bool,
}

/// [`Client`] has no Debug of its own.
struct ClientBox(Client);

impl std::fmt::Debug for ClientBox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client")
    }
}

async fn connect(kubeconfig: std::path::PathBuf) -> std::result::Result<Client, String> {
    let file = Kubeconfig::read_from(kubeconfig).map_err(|error| error.to_string())?;
    let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
        .await
        .map_err(|error| error.to_string())?;
    Client::try_from(config).map_err(|error| error.to_string())
}

async fn discover(client: &Client) -> kube::Result<Vec<Resource>> {
    let mut lists = vec![("v1".to_owned(), client.list_core_api_resources("v1").await?)];
    for group in client.list_api_groups().await?.groups {
        for version in group.versions {
            let list = client
                .list_api_group_resources(&version.group_version)
                .await?;
            lists.push((version.group_version, list));
        }
    }
    let resources = lists.into_iter().flat_map(|(api_version, list)| {
        let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
        let (group, version) = (group.to_owned(), version.to_owned());
        let whole = list
            .resources
            .into_iter()
            .filter(|resource| !resource.name.contains('/'));
        whole
            .map(move |resource| Resource {
                api: ApiResource {
                    group: group.clone(),
                    version: version.clone(),
                    api_version: api_version.clone(),
                    kind: resource.kind,
                    plural: resource.name,
                },
                namespaced: resource.namespaced,
            })
            .collect::<Vec<_>>()
    });
    Ok(resources.collect())
}

fn value(request: &str, object: DynamicObject) -> Result<Value> {
    serde_json::to_value(object).map_err(|error| refused(request, error))
}

fn refused(request: &str, reason: impl Display) -> Error {
    Error::Api {
        request: request.to_owned(),
        reason: reason.to_string(),
    }
}

const MANAGER: &str = "test";
const PATIENCE: Duration = Duration::from_secs(10);
