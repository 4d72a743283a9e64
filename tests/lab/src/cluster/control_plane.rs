use std::{
    env, fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    sync::Mutex,
    time::Duration,
};

use serde_json::json;

use super::network::{CONTROL_V4, POD_CIDRS, SERVICE_CIDRS};
use crate::{Error, Host, Process, Result, cluster::Api, error::Doing, lab::locked};

/// etcd, kube-apiserver and kube-controller-manager on one host, with credentials made for this cluster alone.
#[derive(Debug)]
pub(crate) struct ControlPlane {
    host: Host,
    directory: PathBuf,
    program: PathBuf,
    api_server: Mutex<Process>,
    api: Api,
}

impl ControlPlane {
    pub(crate) fn start(host: Host, directory: PathBuf) -> Result<Self> {
        let program = program()?;
        let tokens = Tokens {
            admin: random()?,
            proxy: random()?,
        };
        let file = |source| Error::File {
            path: directory.clone(),
            source,
        };
        fs::create_dir(&directory).map_err(file)?;
        prepare_files(&host, &program, &directory, &tokens)?;
        start_etcd(&host, &directory)?;
        let api_server = start_api_server(&host, &program, &directory)?;
        // Its first act is to make its certificate, which the clients must trust.
        let certificate = directory.join(CERTIFICATE);
        api_server.wait_until("the API server makes its certificate", PATIENCE, || {
            fs::metadata(&certificate).map_err(|source| Error::File {
                path: certificate.clone(),
                source,
            })
        })?;
        let api = Api::new(&host, &directory.join(ADMIN))?;
        let control_plane = Self {
            host,
            directory,
            program,
            api_server: Mutex::new(api_server),
            api,
        };
        control_plane.wait_until_ready()?;
        control_plane.start_controller_manager()?;
        Ok(control_plane)
    }

    pub(crate) fn api(&self) -> &Api {
        &self.api
    }

    pub(crate) fn api_server(&self) -> Process {
        locked(&self.api_server).clone()
    }

    /// It closes its port at once, and then waits a minute for watches that never end.
    pub(crate) fn stop_api_server(&self) -> Result<()> {
        let process = self.api_server();
        process
            .terminate(LAST_REQUESTS)
            .map(|_| ())
            .or_else(|_| process.kill())
    }

    pub(crate) fn start_api_server(&self) -> Result<()> {
        let mut api_server = locked(&self.api_server);
        if !api_server.is_running() {
            *api_server = start_api_server(&self.host, &self.program, &self.directory)?;
        }
        drop(api_server);
        self.wait_until_ready()
    }

    /// One part of Kubernetes as a command, to be run on any host.
    pub(crate) fn part(&self, name: &str) -> Command {
        part(&self.program, name)
    }

    pub(crate) fn admin_kubeconfig(&self) -> PathBuf {
        self.directory.join(ADMIN)
    }

    /// Writes a kubeconfig file with a bearer token for `server`, and gives its path.
    pub(crate) fn write_kubeconfig(
        &self,
        name: &str,
        token: &str,
        server: &str,
    ) -> Result<PathBuf> {
        let path = self.directory.join(format!("{name}.kubeconfig"));
        write_secret(&path, &kubeconfig(&self.directory, token, server))?;
        Ok(path)
    }

    pub(crate) fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        let mut command = self.part("kubectl");
        command.arg("--kubeconfig").arg(self.admin_kubeconfig());
        command
            .arg("--cache-dir")
            .arg(self.directory.join("kubectl"))
            .args(arguments);
        let output = self.host.run(&mut command)?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(Error::Api {
            request: format!("kubectl {}", arguments.join(" ")),
            reason: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        })
    }

    fn wait_until_ready(&self) -> Result<()> {
        self.api_server()
            .wait_until("the API server is ready", PATIENCE, || self.api.ready())
    }

    fn start_controller_manager(&self) -> Result<()> {
        let mut command = self.part("kube-controller-manager");
        command
            .arg(format!(
                "--kubeconfig={}",
                self.admin_kubeconfig().display()
            ))
            .arg(format!("--controllers={CONTROLLERS}"))
            .arg(format!(
                "--service-account-private-key-file={}",
                self.directory.join(KEY).display()
            ))
            .arg(format!(
                "--root-ca-file={}",
                self.directory.join(CERTIFICATE).display()
            ))
            .args(["--leader-elect=false", "--bind-address=127.0.0.1"]);
        self.host.spawn_as("kube-controller-manager", command)?;
        Ok(())
    }
}

/// The address of the API server.
pub(crate) fn server() -> String {
    format!("https://{CONTROL_V4}:{PORT}")
}

struct Tokens {
    admin: String,
    proxy: String,
}

fn prepare_files(host: &Host, program: &Path, directory: &Path, tokens: &Tokens) -> Result<()> {
    let Tokens { admin, proxy } = tokens;
    let users = format!(
        "{admin},admin,admin,system:masters\n{proxy},system:kube-proxy,system:kube-proxy\n"
    );
    write_secret(&directory.join(USERS), &users)?;
    write_secret(
        &directory.join(ADMIN),
        &kubeconfig(directory, admin, &server()),
    )?;
    write_secret(
        &directory.join(PROXY),
        &kubeconfig(directory, proxy, &server()),
    )?;
    write_secret(
        &directory.join(PROXY_CONFIGURATION),
        &proxy_configuration(directory),
    )?;
    let output = host.run(part(program, "new-signing-key").arg(directory.join(KEY)))?;
    if output.status.success() {
        return Ok(());
    }
    let reason = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(Error::Api {
        request: "make a signing key".into(),
        reason,
    })
}

fn start_etcd(host: &Host, directory: &Path) -> Result<Process> {
    let mut command = Command::new("etcd");
    command.arg("--data-dir").arg(directory.join("etcd")).args([
        "--unsafe-no-fsync",
        "--log-level=warn",
        "--listen-client-urls=http://127.0.0.1:2379",
        "--advertise-client-urls=http://127.0.0.1:2379",
        "--listen-peer-urls=http://127.0.0.1:2380",
    ]);
    host.spawn(command).map_err(|error| match error {
        Error::System { source, .. } if source.kind() == io::ErrorKind::NotFound => {
            Error::Missing {
                program: "etcd".into(),
                hint: "it is in Debian's etcd-server; `./test kube` installs it".into(),
            }
        }
        other => other,
    })
}

fn start_api_server(host: &Host, program: &Path, directory: &Path) -> Result<Process> {
    let key = directory.join(KEY);
    let mut command = part(program, "kube-apiserver");
    command
        .arg(format!("--secure-port={PORT}"))
        .arg(format!("--advertise-address={CONTROL_V4}"))
        .arg(format!("--cert-dir={}", directory.display()))
        .arg(format!(
            "--token-auth-file={}",
            directory.join(USERS).display()
        ))
        .arg(format!("--service-account-key-file={}", key.display()))
        .arg(format!(
            "--service-account-signing-key-file={}",
            key.display()
        ))
        .arg(format!("--service-cluster-ip-range={SERVICE_CIDRS}"))
        .args([
            "--etcd-servers=http://127.0.0.1:2379",
            "--service-account-issuer=https://kubernetes.default.svc",
            "--authorization-mode=RBAC",
            "--bind-address=0.0.0.0",
        ]);
    host.spawn_as("kube-apiserver", command)
}

/// kube-proxy as it runs on `node`.
pub(crate) fn proxy_command(control_plane: &ControlPlane, node: &str) -> Command {
    let mut command = control_plane.part("kube-proxy");
    command
        .arg(format!(
            "--config={}",
            control_plane.directory.join(PROXY_CONFIGURATION).display()
        ))
        .arg(format!("--hostname-override={node}"));
    command
}

fn proxy_configuration(directory: &Path) -> String {
    json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clusterCIDR": POD_CIDRS,
        "clientConnection": { "kubeconfig": directory.join(PROXY) },
        // Not the default of a second, which each test would wait for.
        "nftables": { "minSyncPeriod": "50ms" },
        // Not zero would be settings of the whole machine.
        "conntrack": { "maxPerCore": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s" },
    })
    .to_string()
}

fn part(program: &Path, name: &str) -> Command {
    let mut command = Command::new(program);
    command.arg(name);
    command
}

fn program() -> Result<PathBuf> {
    let cache = env::var_os("IRONLB_CACHE")
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache/ironlb")));
    let path = cache.unwrap_or_default().join("control-plane");
    if path.is_file() {
        return Ok(path);
    }
    let hint = "`./test kube` builds it".to_owned();
    Err(Error::Missing {
        program: path.display().to_string(),
        hint,
    })
}

/// YAML's subset JSON. The certificate names no address of a proxy in between, hence the server's name.
fn kubeconfig(directory: &Path, token: &str, server: &str) -> String {
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "lab",
        "clusters": [{ "name": "lab", "cluster": {
            "server": server,
            "certificate-authority": directory.join(CERTIFICATE),
            "tls-server-name": "kubernetes.default.svc",
        }}],
        "users": [{ "name": "lab", "user": { "token": token } }],
        "contexts": [{ "name": "lab", "context": { "cluster": "lab", "user": "lab" } }],
    })
    .to_string()
}

fn write_secret(path: &Path, text: &str) -> Result<()> {
    let file = |source| Error::File {
        path: path.to_owned(),
        source,
    };
    fs::write(path, text).map_err(file)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(file)
}

fn random() -> Result<String> {
    let uuid =
        fs::read_to_string("/proc/sys/kernel/random/uuid").doing(|| "make a token".into())?;
    Ok(uuid.trim().to_owned())
}

/// Those that a Service with Pods behind it needs, and that clean up.
const CONTROLLERS: &str = "endpointslice-controller,garbage-collector-controller,namespace-controller,\
    serviceaccount-controller,serviceaccount-token-controller,root-ca-certificate-publisher-controller";
const PORT: u16 = 6443;
const ADMIN: &str = "admin.kubeconfig";
const PROXY: &str = "kube-proxy.kubeconfig";
const PROXY_CONFIGURATION: &str = "kube-proxy.json";
const USERS: &str = "users.csv";
const KEY: &str = "service-account.key";
const CERTIFICATE: &str = "apiserver.crt";
const PATIENCE: Duration = Duration::from_secs(60);
const LAST_REQUESTS: Duration = Duration::from_secs(2);
