//! The bearer token in a file, which is renewed while we run.
//!
//! A ServiceAccount's token in a pod lives for an hour; long before it ends, the kubelet writes the next one to the same
//! file (KEP-1205). The file is read again now and then, and at once when the API server does not know the token any
//! more, as after the account was deleted and made anew. A file that cannot be read leaves the last token in use.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::{HeaderValue, Request, Response, StatusCode};
use tokio::time::Instant;
use tower::{Layer, Service};

/// Puts the token of a file on every request. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct TokenFile(Arc<Mutex<Token>>);

/// The token as it was read last.
#[derive(Debug)]
struct Token {
    file: PathBuf,
    header: HeaderValue,
    read: Instant,
}

impl TokenFile {
    /// The token in `file`.
    ///
    /// # Errors
    /// When the file cannot be read, or what is in it cannot be a token.
    pub(crate) fn open(file: &Path) -> io::Result<Self> {
        Ok(Self(Arc::new(Mutex::new(Token {
            header: header(file)?,
            file: file.to_owned(),
            read: Instant::now(),
        }))))
    }

    fn header(&self) -> HeaderValue {
        let mut token = self.token();
        if token.read.elapsed() >= READ_AGAIN {
            token.read_again();
        }
        token.header.clone()
    }

    /// `header` is not accepted. Reads the file again, unless somebody has since.
    fn refused(&self, header: &HeaderValue) {
        let mut token = self.token();
        if token.header == *header {
            token.read_again();
        }
    }

    fn token(&self) -> MutexGuard<'_, Token> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Token {
    fn read_again(&mut self) {
        self.read = Instant::now();
        match header(&self.file) {
            Ok(header) => self.header = header,
            Err(error) => {
                let file = self.file.display();
                tracing::warn!(%file, %error, "token not read again; the last one stays in use");
            }
        }
    }
}

fn header(file: &Path) -> io::Result<HeaderValue> {
    let token = fs::read_to_string(file)?;
    let token = token.trim();
    if token.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "there is no token in it",
        ));
    }
    let mut header = HeaderValue::try_from(format!("Bearer {token}"))
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "what is in it is no token"))?;
    header.set_sensitive(true);
    Ok(header)
}

impl<S> Layer<S> for TokenFile {
    type Service = Authorized<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Authorized {
            inner,
            token: self.clone(),
        }
    }
}

/// A service with a [`TokenFile`].
#[derive(Clone, Debug)]
pub(crate) struct Authorized<S> {
    inner: S,
    token: TokenFile,
}

impl<S, Body, Answer> Service<Request<Body>> for Authorized<S>
where
    S: Service<Request<Body>, Response = Response<Answer>>,
    S::Future: Send + 'static,
    S::Error: 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let (token, header) = (self.token.clone(), self.token.header());
        request.headers_mut().insert(AUTHORIZATION, header.clone());
        let response = self.inner.call(request);
        Box::pin(async move {
            let response = response.await?;
            if response.status() == StatusCode::UNAUTHORIZED {
                token.refused(&header);
            }
            Ok(response)
        })
    }
}

/// As often as Kubernetes' own clients do. The kubelet renews a token when a fifth of its life is left.
const READ_AGAIN: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use tower::ServiceExt;

    use super::*;

    /// A directory of its own for each test.
    fn token_file(test: &str, token: &str) -> PathBuf {
        let name = format!("ironlb-token-{}-{test}", std::process::id());
        let file = std::env::temp_dir().join(name);
        fs::write(&file, token).unwrap();
        file
    }

    /// What a request is sent with to a server that accepts only `accepted`.
    async fn sent(token: &TokenFile, accepted: &'static str) -> String {
        let server = tower::service_fn(move |request: Request<()>| async move {
            let header = request.headers()[AUTHORIZATION]
                .to_str()
                .unwrap()
                .to_owned();
            let status = if header == format!("Bearer {accepted}") {
                200
            } else {
                401
            };
            Ok::<_, Infallible>(Response::builder().status(status).body(header).unwrap())
        });
        let request = Request::new(());
        token
            .layer(server)
            .oneshot(request)
            .await
            .unwrap()
            .into_body()
    }

    #[tokio::test(start_paused = true)]
    async fn a_renewed_token_is_used_within_a_minute() {
        let file = token_file("renewed", "one\n");
        let token = TokenFile::open(&file).unwrap();
        fs::write(&file, "two").unwrap();
        assert_eq!(sent(&token, "one").await, "Bearer one");
        tokio::time::sleep(READ_AGAIN).await;
        assert_eq!(sent(&token, "two").await, "Bearer two");
        fs::remove_file(&file).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_that_is_refused_is_read_again_at_once() {
        let file = token_file("refused", "one");
        let token = TokenFile::open(&file).unwrap();
        fs::write(&file, "two").unwrap();
        assert_eq!(sent(&token, "two").await, "Bearer one");
        assert_eq!(sent(&token, "two").await, "Bearer two");
        fs::remove_file(&file).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_is_gone_or_empty_leaves_the_last_token_in_use() {
        let file = token_file("gone", "one");
        let token = TokenFile::open(&file).unwrap();
        fs::write(&file, "").unwrap();
        tokio::time::sleep(READ_AGAIN).await;
        assert_eq!(sent(&token, "one").await, "Bearer one");
        fs::remove_file(&file).unwrap();
        tokio::time::sleep(READ_AGAIN).await;
        assert_eq!(sent(&token, "one").await, "Bearer one");
        assert!(TokenFile::open(&file).is_err());
    }

    #[test]
    fn a_token_is_never_printed() {
        let file = token_file("printed", "hush");
        let token = TokenFile::open(&file).unwrap();
        assert!(!format!("{token:?}").contains("hush"), "{token:?}");
        fs::remove_file(&file).unwrap();
    }
}
