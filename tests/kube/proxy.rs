//! A proxy before the API server that makes it misbehave: slow, throttled, forgetful, cut off.
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
    /// Everything that changes something.
    Writes,
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
}

struct Shared {
    client: Client,
    faults: Mutex<Vec<(What, Fault, usize)>>,
    requests: AtomicUsize,
    faulted: AtomicUsize,
    /// What the API server forbade: a verb that a role lacks.
    forbidden: Mutex<BTreeSet<String>>,
    cut: watch::Sender<u64>,
}

impl Proxy {
    /// Starts a proxy on `host`, which must reach the API server that `kubeconfig` names. Credentials in it are not used.
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
    config.auth_info = kube::config::AuthInfo::default();
    config.default_retry = false;
    let shared = Arc::new(Shared {
        client: Client::try_from(config).unwrap(),
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
    let mut lost = false;
    match shared.fault(&request) {
        Some(Fault::Refuse(status, after)) => return refusal(status, after),
        Some(Fault::Expire) => return expired(),
        Some(Fault::Slow(time)) => tokio::time::sleep(time).await,
        Some(Fault::LoseAnswer) => lost = true,
        None => {}
    }
    let mut cut = shared.cut.subscribe();
    let answer = shared.forward(request).await;
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

impl Shared {
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
            Self::Writes => !read,
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

fn expired() -> Response {
    let event = r#"{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","status":"Failure","code":410,"reason":"Expired","message":"too old resource version"}}"#;
    Body::from(format!("{event}\n")).into_response()
}
