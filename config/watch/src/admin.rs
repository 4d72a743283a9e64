//! The HTTP server of a controller or speaker: `/healthz`, `/readyz`, `/metrics`.
//!
//! Plain HTTP, read-only, and nothing secret in it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;

use crate::Barrier;

/// Where the server listens.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct AdminArgs {
    /// The address that metrics and health are served on
    #[arg(
        long,
        env = "IRONLB_METRICS_BIND_ADDRESS",
        default_value = "::",
        value_name = "ADDRESS"
    )]
    pub metrics_bind_address: IpAddr,

    /// The port that metrics and health are served on
    #[arg(long, env = "IRONLB_PORT", default_value_t = 7472)]
    pub port: u16,
}

impl AdminArgs {
    /// Binds the socket. Where `::` is asked for and the host has no IPv6, `0.0.0.0` takes its place.
    ///
    /// # Errors
    ///
    /// When the address is not this host's, or the port is taken.
    pub async fn listen(&self) -> io::Result<TcpListener> {
        let address = SocketAddr::new(self.metrics_bind_address, self.port);
        let listener = match TcpListener::bind(address).await {
            Err(error)
                if address.ip() == Ipv6Addr::UNSPECIFIED
                    && error.kind() != io::ErrorKind::AddrInUse =>
            {
                TcpListener::bind((Ipv4Addr::UNSPECIFIED, self.port)).await
            }
            result => result,
        };
        listener
            .map_err(|error| io::Error::new(error.kind(), format!("metrics on {address}: {error}")))
    }
}

/// Brings metrics up to date that are not counted as things happen.
pub type Refresh = Box<dyn Fn() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// What the server shows.
#[derive(Clone)]
pub struct Admin {
    registry: Arc<Registry>,
    barrier: Barrier,
    refresh: Option<Arc<Refresh>>,
}

impl Admin {
    /// Shows the metrics of `registry`, and is ready once `barrier` is lifted.
    pub fn new(registry: Registry, barrier: Barrier) -> Self {
        Self {
            registry: Arc::new(registry),
            barrier,
            refresh: None,
        }
    }

    /// The same, with `refresh` before metrics are shown.
    #[must_use]
    pub fn refreshed(mut self, refresh: Refresh) -> Self {
        self.refresh = Some(Arc::new(refresh));
        self
    }

    /// Serves until the process ends.
    ///
    /// # Errors
    ///
    /// When the socket fails for good.
    pub async fn serve(self, listener: TcpListener) -> io::Result<()> {
        axum::serve(listener, self.routes()).await
    }

    fn routes(self) -> Router {
        Router::new()
            .route("/healthz", get(|| async { "ok\n" }))
            .route("/readyz", get(ready))
            .route("/metrics", get(metrics))
            .with_state(self)
    }
}

async fn ready(State(admin): State<Admin>) -> Response {
    let waiting = admin.barrier.waiting();
    if waiting.is_empty() {
        return "ok\n".into_response();
    }
    let text = format!("not read yet: {}\n", waiting.join(", "));
    (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
}

async fn metrics(State(admin): State<Admin>) -> Response {
    if let Some(refresh) = &admin.refresh {
        refresh().await;
    }
    let mut text = String::new();
    match encode(&mut text, &admin.registry) {
        Ok(()) => ([(CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use tower::ServiceExt;

    use super::*;
    use crate::Metrics;

    async fn ask(admin: &Admin, path: &str) -> (u16, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = admin.clone().routes().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn it_is_ready_once_everything_has_been_read() {
        let barrier = Barrier::new(["Service", "Node"]);
        let admin = Admin::new(Registry::default(), barrier.clone());
        assert_eq!(ask(&admin, "/healthz").await.0, 200);
        assert_eq!(
            ask(&admin, "/readyz").await,
            (503, "not read yet: Node, Service\n".to_owned())
        );
        barrier.read("Node");
        barrier.read("Service");
        assert_eq!(ask(&admin, "/readyz").await, (200, "ok\n".to_owned()));
    }

    #[tokio::test]
    async fn metrics_have_the_names_that_dashboards_know() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        metrics.config_stale.set(1);
        metrics.updates.inc();
        let (status, text) = ask(&Admin::new(registry, Barrier::new([])), "/metrics").await;
        assert_eq!(status, 200);
        for line in [
            "metallb_k8s_client_updates_total 1",
            "metallb_k8s_client_config_stale_bool 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
    }
}
