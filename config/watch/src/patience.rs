//! `Retry-After`, honoured for every request alike.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{Response, StatusCode};
use tower::{Layer, Service};

use crate::backoff::fraction;

/// Holds back a response that says "not now" (429 or 503 with `Retry-After`, RFC 9110 §10.2.3) for as long as it says,
/// and up to a quarter longer, at random: all who are told the same second would come back in the same one.
///
/// Whoever sent the request sees the refusal only when it may try again; so no caller can forget to wait, and a worker
/// of a bounded set that is told to slow down is slow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience;

impl<S> Layer<S> for Patience {
    type Service = Patient<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Patient { inner }
    }
}

/// A service with [`Patience`].
#[derive(Clone, Debug)]
pub(crate) struct Patient<S> {
    inner: S,
}

impl<S, Request, Body> Service<Request> for Patient<S>
where
    S: Service<Request, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: 'static,
    Body: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let response = self.inner.call(request);
        Box::pin(async move {
            let response = response.await?;
            if let Some(delay) = asked_to_wait(&response) {
                tracing::debug!(status = %response.status(), seconds = delay.as_secs(), "the API server asks to wait");
                tokio::time::sleep(delay.mul_f64(1.0 + fraction() / 4.0)).await;
            }
            Ok(response)
        })
    }
}

/// How long the server wants to be left alone, at most [`LONGEST`]. Only the form in seconds is known in Kubernetes.
fn asked_to_wait<Body>(response: &Response<Body>) -> Option<Duration> {
    let refusal = [
        StatusCode::TOO_MANY_REQUESTS,
        StatusCode::SERVICE_UNAVAILABLE,
    ];
    let seconds = response
        .headers()
        .get(RETRY_AFTER)?
        .to_str()
        .ok()?
        .parse()
        .ok()?;
    refusal
        .contains(&response.status())
        .then(|| Duration::from_secs(seconds).min(LONGEST))
}

/// What a server may ask for at most, so that one wrong header does not stop us for a day.
const LONGEST: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use tokio::time::Instant;
    use tower::ServiceExt;

    use super::*;

    async fn time_until_seen(status: u16, retry_after: &'static str) -> Duration {
        let service = tower::service_fn(move |()| async move {
            let response = Response::builder()
                .status(status)
                .header(RETRY_AFTER, retry_after);
            Ok::<_, Infallible>(response.body(()).unwrap())
        });
        let begin = Instant::now();
        let response = Patience.layer(service).oneshot(()).await.unwrap();
        assert_eq!(response.status().as_u16(), status);
        begin.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_throttled_request_is_answered_when_it_may_be_tried_again() {
        for (status, asked, seconds) in [(429, "7", 7), (503, "2", 2)] {
            let (least, waited) = (
                Duration::from_secs(seconds),
                time_until_seen(status, asked).await,
            );
            assert!((least..=least * 5 / 4).contains(&waited), "{waited:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn two_who_are_told_the_same_do_not_come_back_together() {
        let (one, other) = tokio::join!(time_until_seen(429, "9"), time_until_seen(429, "9"));
        assert_ne!(one, other);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_no_refusal_is_not_held_back() {
        assert_eq!(time_until_seen(201, "7").await.as_secs(), 0);
        assert_eq!(
            time_until_seen(429, "Fri, 07 Nov 2036 23:59:59 GMT")
                .await
                .as_secs(),
            0
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_cannot_stop_us_for_a_day() {
        assert!(time_until_seen(429, "86400").await <= LONGEST * 5 / 4);
    }
}
