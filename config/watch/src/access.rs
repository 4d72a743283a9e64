//! How to reach the API server, and as whom.

use std::env;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kube::client::ClientBuilder;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use crate::credential::TokenFile;
use crate::patience::Patience;

/// Where the cluster is.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Access {
    /// A kubeconfig file; without one, the ServiceAccount of the pod
    #[arg(long, env = "KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// ironlb's own namespace, where its configuration is; without it METALLB_NAMESPACE, else the pod's namespace,
    /// else metallb-system
    #[arg(long, env = "IRONLB_NAMESPACE", value_name = "NAME")]
    pub namespace: Option<String>,
}

/// Why there is no way to the API server.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The kubeconfig file cannot be read, or lacks something.
    #[error("kubeconfig {path}: {source}")]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: kube::config::KubeconfigError,
    },
    /// No kubeconfig was named, and this is no pod.
    #[error(
        "no kubeconfig is given (--kubeconfig or KUBECONFIG), and this is not a pod with a ServiceAccount: {0}"
    )]
    NotInCluster(#[source] kube::config::InClusterError),
    /// The file that the bearer token is in cannot be read.
    #[error("token file {path}: {source}")]
    Token {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: std::io::Error,
    },
    /// The client cannot be built: a certificate or key that is none, for example.
    #[error("client for the API server: {0}")]
    Client(#[source] Box<kube::Error>),
}

impl Access {
    /// A client for the API server. It has not connected yet.
    ///
    /// # Errors
    ///
    /// When there is no usable kubeconfig or ServiceAccount.
    pub async fn client(&self) -> Result<Client, AccessError> {
        let mut config = self.config().await?;
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        config.write_timeout = Some(WRITE_TIMEOUT);
        // Who asks decides when to ask again: a retry under the hood of a watch would outlast an API server's restart.
        config.default_retry = false;
        let token = token_file(&mut config)?;
        let builder = ClientBuilder::try_from(config)
            .map_err(|error| AccessError::Client(Box::new(error)))?;
        let builder = builder.with_layer(&Patience);
        Ok(match token {
            Some(token) => builder.with_layer(&token).build(),
            None => builder.build(),
        })
    }

    /// The namespace of ironlb itself.
    pub fn namespace(&self) -> String {
        let named = self
            .namespace
            .clone()
            .or_else(|| env::var("METALLB_NAMESPACE").ok());
        let named = named.filter(|name| !name.is_empty());
        named
            .or_else(|| own_namespace(Path::new(NAMESPACE_FILE)))
            .unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned())
    }

    async fn config(&self) -> Result<Config, AccessError> {
        let Some(path) = self
            .kubeconfig
            .as_ref()
            .filter(|path| !path.as_os_str().is_empty())
        else {
            return Config::incluster().map_err(AccessError::NotInCluster);
        };
        let wrong = |source| AccessError::Kubeconfig {
            path: path.clone(),
            source,
        };
        let file = Kubeconfig::read_from(path).map_err(wrong)?;
        Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
            .await
            .map_err(wrong)
    }
}

/// Takes the token file over from `kube`, whose client would go on for a minute with a token that is refused.
fn token_file(config: &mut Config) -> Result<Option<TokenFile>, AccessError> {
    let user = &mut config.auth_info;
    let others = user.token.is_some() || user.username.is_some() || user.auth_provider.is_some();
    let Some(path) = user.token_file.take_if(|_| !others) else {
        return Ok(None);
    };
    user.exec = None;
    let opened = TokenFile::open(Path::new(&path));
    opened.map(Some).map_err(|source| AccessError::Token {
        path: path.into(),
        source,
    })
}

fn own_namespace(file: &Path) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    let name = text.trim();
    (!name.is_empty()).then(|| name.to_owned())
}

const NAMESPACE_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";
const DEFAULT_NAMESPACE: &str = "metallb-system";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_names_the_namespace() {
        let access = Access {
            namespace: Some("lb".to_owned()),
            ..Access::default()
        };
        assert_eq!(access.namespace(), "lb");
    }

    #[tokio::test]
    async fn a_missing_kubeconfig_is_named() {
        let access = Access {
            kubeconfig: Some(PathBuf::from("/nowhere/kubeconfig")),
            ..Access::default()
        };
        let error = access.client().await.err().unwrap().to_string();
        assert!(
            error.starts_with("kubeconfig /nowhere/kubeconfig: "),
            "{error}"
        );
    }
}
