//! A proxy before the API server that makes it misbehave: slow, throttled, forgetful, cut off, in conflict.
//!
//! The product speaks plain HTTP to it; it speaks TLS to the real API server and hands the caller's token on.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use http::{Method, StatusCode};
use ironlb_lab::Host;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};
use tokio::sync::watch;

/// A running proxy. It serves until the program ends.
#[derive(Clone)]
pub(crate) struct Proxy {
    shared: Arc<Shared>,
    address: SocketAddr,
}

/// What a fault is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// Watches that go on from a resource version.
    ResumedWatches,
    /// Reading what pools there are, before watching them.
    FirstReadsOfPools,
    /// Everything that changes something.
    Writes,
    /// Writes of the status of a Service.
    ServiceStatuses,
    /// Every request.
    Everything,
}

/// How the API server misbehaves.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// Answers with this status, and `Retry-After` in seconds.
    Refuse(u16, Option<u32>),
    /// Answers this much later.
    Slow(Duration),
    /// Passes the request on and then answers as if it had not arrived (502).
    LoseAnswer,
    /// Answers a resumed watch with an `Expired` event in the stream (410).
    Expire,
    /// Answers that the object has been modified (409), although it has not: no newer one will come.
    Conflict,
    /// Somebody else changes the Service, between the writer's read and its write, which is then passed on: a genuine
    /// conflict. [`Proxy::meddle`] says what is changed; the annotation [`MEDDLED`] counts.
    Meddle,
}

/// A write of the status of a Service that reached the proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StatusWrite {
    /// `namespace/name`.
    pub(crate) service: String,
    /// The resource version that it was for.
    pub(crate) version: String,
    pub(crate) answer: u16,
}

/// Counts the changes of [`Fault::Meddle`] on a Service.
pub(crate) const MEDDLED: &str = "example.com/meddled";

struct Shared {
    client: Client,
    /// Somebody else.
    administrator: Client,
    meddling: Mutex<Value>,
    meddled: AtomicUsize,
    status_writes: Mutex<Vec<StatusWrite>>,
    reads: Mutex<Vec<String>>,
    faults: Mutex<Vec<(What, Fault, usize)>>,
    requests: AtomicUsize,
    faulted: AtomicUsize,
    /// What the API server forbade: a verb that a role lacks.
    forbidden: Mutex<BTreeSet<String>>,
    cut: watch::Sender<u64>,
}

impl Proxy {
    /// Starts a proxy on `host`, which must reach the API server that `kubeconfig` names. The credentials in it are for
    /// [`Fault::Meddle`] alone.
    pub(crate) fn start(host: &Host, address: SocketAddr, kubeconfig: &std::path::Path) -> Self {
        let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
        let (started, client) = std::sync::mpsc::channel();
        let host = host.clone();
        thread::spawn(move || {
            host.in_namespace(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .unwrap();
                runtime.block_on(serve(address, kubeconfig, started));
            })
        });
        let shared = client.recv_timeout(Duration::from_secs(10)).unwrap();
        Self { shared, address }
    }

    /// Its URL.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on, `times` requests that are `what` meet `fault`.
    pub(crate) fn inject(&self, what: What, fault: Fault, times: usize) {
        self.shared
            .faults
            .lock()
            .unwrap()
            .push((what, fault, times));
    }

    /// From now on, `times` writes of the status of a Service come just after somebody else's merge patch of it.
    pub(crate) fn meddle(&self, patch: Value, times: usize) {
        *self.shared.meddling.lock().unwrap() = patch;
        self.inject(What::ServiceStatuses, Fault::Meddle, times);
    }

    /// How often somebody else changed a Service so far.
    pub(crate) fn meddled(&self) -> usize {
        self.shared.meddled.load(Ordering::Relaxed)
    }

    /// The writes of the status of a Service so far, in order of their answers.
    pub(crate) fn status_writes(&self, service: &str) -> Vec<StatusWrite> {
        let writes = self.shared.status_writes.lock().unwrap();
        let of_service = writes.iter().filter(|write| write.service == service);
        of_service.cloned().collect()
    }

    /// Path and query of the requests so far that list or watch.
    pub(crate) fn reads(&self) -> Vec<String> {
        self.shared.reads.lock().unwrap().clone()
    }

    /// No more faults.
    pub(crate) fn heal(&self) {
        self.shared.faults.lock().unwrap().clear();
    }

    /// Ends every response that is under way, watches above all.
    pub(crate) fn cut(&self) {
        self.shared.cut.send_modify(|number| *number += 1);
    }

    /// Requests so far.
    pub(crate) fn requests(&self) -> usize {
        self.shared.requests.load(Ordering::Relaxed)
    }

    /// Requests that the API server has forbidden, and not allowed later.
    pub(crate) fn forbidden(&self) -> BTreeSet<String> {
        self.shared.forbidden.lock().unwrap().clone()
    }

    /// Requests that met a fault so far.
    pub(crate) fn faulted(&self) -> usize {
        self.shared.faulted.load(Ordering::Relaxed)
    }
}

async fn serve(
    address: SocketAddr,
    kubeconfig: Kubeconfig,
    started: std::sync::mpsc::Sender<Arc<Shared>>,
) {
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .unwrap();
    let administrator = Client::try_from(config.clone()).unwrap();
    config.auth_info = kube::config::AuthInfo::default();
    config.default_retry = false;
    let shared = Arc::new(Shared {
        client: Client::try_from(config).unwrap(),
        administrator,
        meddling: Mutex::default(),
        meddled: AtomicUsize::new(0),
        status_writes: Mutex::default(),
        reads: Mutex::default(),
        faults: Mutex::default(),
        requests: AtomicUsize::new(0),
        faulted: AtomicUsize::new(0),
        forbidden: Mutex::default(),
        cut: watch::channel(0).0,
    });
    let routes = Router::new().fallback(pass).with_state(shared.clone());
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    started.send(shared).unwrap();
    axum::serve(listener, routes).await.unwrap();
}

async fn pass(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    shared.requests.fetch_add(1, Ordering::Relaxed);
    let (request, status_write) = status_write(request).await;
    let mut lost = false;
    match shared.fault(&request) {
        Some(Fault::Refuse(status, after)) => return refusal(status, after),
        Some(Fault::Expire) => return expired(),
        Some(Fault::Conflict) => {
            shared.note(status_write, StatusCode::CONFLICT);
            return conflict();
        }
        Some(Fault::Meddle) => shared.meddle(request.uri().path()).await,
        Some(Fault::Slow(time)) => tokio::time::sleep(time).await,
        Some(Fault::LoseAnswer) => lost = true,
        None => {}
    }
    let mut cut = shared.cut.subscribe();
    let answer = shared.forward(request).await;
    if let Ok(response) = &answer {
        shared.note(status_write, response.status());
    }
    if lost {
        return StatusCode::BAD_GATEWAY.into_response();
    }
    match answer {
        Ok(response) => response.map(|body| {
            let frames = body
                .into_data_stream()
                .take_until(async move { cut.changed().await.is_ok() });
            Body::from_stream(frames)
        }),
        Err(error) => (StatusCode::BAD_GATEWAY, format!("{error}\n")).into_response(),
    }
}

/// Whether a request writes the status of a Service.
async fn status_write(request: Request) -> (Request, Option<StatusWrite>) {
    if !What::ServiceStatuses.is(&request) {
        return (request, None);
    }
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 10 << 20)
        .await
        .unwrap_or_default();
    let patch: Value = serde_json::from_slice(&body).unwrap_or_default();
    // /api/v1/namespaces/NAMESPACE/services/NAME/status
    let path: Vec<&str> = parts.uri.path().split('/').collect();
    let write = StatusWrite {
        service: format!("{}/{}", path[4], path[6]),
        version: patch["metadata"]["resourceVersion"]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
        answer: 0,
    };
    (Request::from_parts(parts, Body::from(body)), Some(write))
}

impl Shared {
    fn note(&self, write: Option<StatusWrite>, answer: StatusCode) {
        let answered = write.map(|write| StatusWrite {
            answer: answer.as_u16(),
            ..write
        });
        self.status_writes.lock().unwrap().extend(answered);
    }

    /// Changes the Service whose status is at `path`.
    async fn meddle(&self, path: &str) {
        let count = self.meddled.fetch_add(1, Ordering::Relaxed) + 1;
        let mut patch = self.meddling.lock().unwrap().clone();
        patch["metadata"]["annotations"][MEDDLED] = json!(count.to_string());
        let request = http::Request::patch(path.trim_end_matches("/status"))
            .header(http::header::CONTENT_TYPE, "application/merge-patch+json")
            .body(kube::client::Body::from(patch.to_string().into_bytes()))
            .unwrap();
        let response = self.administrator.send(request).await.unwrap();
        assert!(response.status().is_success(), "{}", response.status());
    }

    fn fault(&self, request: &Request) -> Option<Fault> {
        let mut faults = self.faults.lock().unwrap();
        let (_, fault, times) = faults
            .iter_mut()
            .find(|(what, _, times)| *times > 0 && what.is(request))?;
        *times -= 1;
        self.faulted.fetch_add(1, Ordering::Relaxed);
        Some(*fault)
    }

    async fn forward(&self, request: Request) -> Result<Response, kube::Error> {
        let (mut parts, body) = request.into_parts();
        parts.headers.remove(http::header::HOST);
        let body = axum::body::to_bytes(body, 10 << 20)
            .await
            .unwrap_or_default();
        let what = format!("{} {}", parts.method, parts.uri.path());
        if parts.method == Method::GET && parts.uri.query().is_some() {
            self.reads.lock().unwrap().push(parts.uri.to_string());
        }
        let request = http::Request::from_parts(parts, kube::client::Body::from(body.to_vec()));
        let response = self.client.send(request).await?;
        let mut forbidden = self.forbidden.lock().unwrap();
        if response.status() == StatusCode::FORBIDDEN {
            forbidden.insert(what);
        } else if response.status().is_success() {
            // An API server that has just started forbids everything, until it has read its roles.
            forbidden.remove(&what);
        }
        drop(forbidden);
        Ok(response.map(Body::new))
    }
}

impl What {
    fn is(self, request: &Request) -> bool {
        let query = request.uri().query().unwrap_or_default();
        let version = query
            .split('&')
            .find_map(|part| part.strip_prefix("resourceVersion="));
        let read = request.method() == Method::GET;
        match self {
            Self::ResumedWatches => {
                read && query.contains("watch=true") && version.is_some_and(|v| !v.is_empty())
            }
            Self::FirstReadsOfPools => {
                let first =
                    query.contains("sendInitialEvents=true") || !query.contains("watch=true");
                read && request.uri().path().ends_with("/ipaddresspools") && first
            }
            Self::Writes => !read,
            Self::ServiceStatuses => {
                let path: Vec<&str> = request.uri().path().split('/').collect();
                matches!(
                    path[..],
                    ["", "api", "v1", "namespaces", _, "services", _, "status"]
                ) && request.method() == Method::PATCH
            }
            Self::Everything => true,
        }
    }
}

fn refusal(status: u16, after: Option<u32>) -> Response {
    let mut response = Response::builder().status(status);
    if let Some(seconds) = after {
        response = response.header(http::header::RETRY_AFTER, seconds);
    }
    response.body(Body::from("no\n")).unwrap()
}

/// As the API server says it.
fn conflict() -> Response {
    let status = r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"Operation cannot be fulfilled: the object has been modified; please apply your changes to the latest version and try again","reason":"Conflict","code":409}"#;
    (
        StatusCode::CONFLICT,
        [(http::header::CONTENT_TYPE, "application/json")],
        status,
    )
        .into_response()
}

fn expired() -> Response {
    let event = r#"{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","status":"Failure","code":410,"reason":"Expired","message":"too old resource version"}}"#;
    Body::from(format!("{event}\n")).into_response()
}
