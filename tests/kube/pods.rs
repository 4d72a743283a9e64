//! Controller and speaker as the pods of `deploy/`: what a kubelet makes of the manifests that the API server has, so far
//! as it decides what a process may do and what it finds.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use ironlb_lab::cluster::{Node, objects};
use ironlb_lab::{Process, eventually, eventually_ok, needs_the_lab};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::product::{NAMESPACE, PATIENCE, Product, Tenant, shared};

#[test]
fn the_pods_of_deploy_find_the_api_server_and_outlive_their_tokens() {
    needs_the_lab!();
    let product = shared();
    let tenant = Tenant::new(&product, "pods", 28);
    let second = Second::install(&product, "pods-system");
    second.configure(&tenant);
    let flags = |port| ["--lb-class", CLASS, "--port", port];
    let controller = second.start(
        "controller",
        &manifest(&product, "controller"),
        &flags("7480"),
    );
    // This one is to read in the volume which namespace it is in.
    let mut spec = manifest(&product, "speaker");
    let environment = spec["containers"][0]["env"].as_array_mut().unwrap();
    environment.retain(|entry| entry["name"] != "IRONLB_NAMESPACE");
    let speaker = second.start("speaker", &spec, &flags("7481"));
    tenant.pod("n1", "web", "a");
    let service = |name: &str| {
        let spec = json!({ "loadBalancerClass": CLASS, "selector": { "app": "web" } });
        tenant.service(name, &spec);
    };
    service("web");
    let address = tenant.v4(0);
    tenant.wait_for_address("web", address);
    tenant.wait_for_announcer(address, Some("n1"));
    tenant.wait_until_served(address);

    // Exactly what the manifests give, and nothing that a root or a shell would need.
    let uid = |status: &str| {
        line(status, "Uid:")
            .split_whitespace()
            .nth(1)
            .unwrap()
            .to_owned()
    };
    let log = speaker.process.log();
    assert!(!log.contains("cannot be kept"), "{log}");
    let of_speaker = NET_RAW | NET_BIND_SERVICE;
    for (pod, user, capabilities) in [(&controller, "65534", 0), (&speaker, "0", of_speaker)] {
        let status = fs::read_to_string(format!("/proc/{}/status", pod.process.id())).unwrap();
        assert_eq!(uid(&status), user);
        for set in ["CapPrm:", "CapEff:", "CapBnd:"] {
            let found = u64::from_str_radix(line(&status, set), 16).unwrap();
            assert_eq!(found, capabilities, "{set} of {}", pod.process.name());
        }
        for set in ["CapInh:", "CapAmb:"] {
            assert_eq!(u64::from_str_radix(line(&status, set), 16), Ok(0), "{set}");
        }
        assert_eq!(line(&status, "NoNewPrivs:"), "1");
        let mounts = fs::read_to_string(format!("/proc/{}/mountinfo", pod.process.id())).unwrap();
        let root = mounts
            .lines()
            .rfind(|mount| mount.split(' ').nth(4) == Some("/"));
        let options = root.unwrap().split(' ').nth(5).unwrap();
        assert!(options.split(',').any(|option| option == "ro"), "{options}");
    }

    // The accounts are made anew under their names, so the tokens of the first are worth nothing any more; the files get
    // those of the second, as a kubelet puts them there.
    let pods = [&controller, &speaker];
    let old = pods.map(|pod| fs::read_to_string(pod.volume().join("token")).unwrap());
    let api = product.cluster.api();
    for pod in pods {
        api.delete("v1/ServiceAccount", second.namespace, &pod.account)
            .unwrap();
        let account = json!({
            "apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": { "name": pod.account, "namespace": second.namespace },
        });
        api.apply_object(&account).unwrap();
        second.write_files(pod.volume(), &pod.account, pod.user);
    }
    for token in old {
        let who = ["--token", &token, "auth", "whoami"];
        eventually("the old token is refused", PATIENCE, || {
            product.cluster.kubectl(&who).is_err()
        })
        .unwrap();
    }
    service("next");
    tenant.wait_for_address("next", tenant.v4(1));
    tenant.wait_for_announcer(tenant.v4(1), Some("n1"));
    // Watches outlive a token; a status that is written does not.
    eventually_ok("the speaker says so", PATIENCE, || {
        let found = api
            .list(
                "metallb.io/v1beta1/ServiceL2Status",
                second.namespace,
                "metallb.io/service-name=next",
            )
            .unwrap();
        match &found[..] {
            [status] if status["status"]["node"] == "n1" => Ok(()),
            others => Err(format!("{others:#?}")),
        }
    })
    .unwrap();
    assert_eq!(tenant.addresses("web"), [address]);
    tenant.wait_until_served(address);
    assert!(controller.process.is_running() && speaker.process.is_running());
    for pod in pods {
        pod.process.terminate(PATIENCE).unwrap();
    }
}

#[test]
fn capabilities_do_not_reach_a_speaker_that_is_not_root() {
    needs_the_lab!();
    let product = shared();
    let second = Second::install(&product, "pods-user-system");
    let mut spec = manifest(&product, "speaker");
    spec["containers"][0]["securityContext"]["runAsUser"] = json!(IMAGE_USER);
    let flags = ["--lb-class", "example.com/user", "--port", "7482"];
    let speaker = second.start("speaker", &spec, &flags);
    let end = speaker.process.wait(PATIENCE).unwrap();
    assert_eq!(end.code(), Some(1));
    let log = speaker.process.log();
    assert!(log.contains("is CAP_NET_RAW missing?"), "{log}");
}

#[test]
fn the_manifests_name_the_image_and_give_no_more_than_is_needed() {
    needs_the_lab!();
    let product = shared();
    for (component, user, capabilities) in [
        ("controller", 65_534, Value::Null),
        // Packet sockets, and the port of BGP. A user who is not root would not get it: the image's binary has no file capabilities, which
        // allowPrivilegeEscalation would have to allow, and Kubernetes has no ambient ones.
        ("speaker", 0, json!(["NET_RAW", "NET_BIND_SERVICE"])),
    ] {
        let spec = manifest(&product, component);
        let containers = spec["containers"].as_array().unwrap();
        let [container] = &containers[..] else {
            panic!("{containers:#?}");
        };
        let image = concat!("ironlb:", env!("CARGO_PKG_VERSION"));
        assert_eq!(container["image"], image);
        assert_eq!(container["command"], Value::Null);
        let context = &container["securityContext"];
        assert_eq!(context["readOnlyRootFilesystem"], true);
        assert_eq!(context["allowPrivilegeEscalation"], false);
        assert_eq!(context["privileged"], Value::Null);
        assert_eq!(context["capabilities"]["drop"], json!(["ALL"]));
        assert_eq!(context["capabilities"]["add"], capabilities);
        let given = &spec["securityContext"];
        assert_eq!(privileges(&spec).0, user);
        assert_eq!(given["runAsNonRoot"] == true, user != 0);
        assert_eq!(given["seccompProfile"]["type"], "RuntimeDefault");
        assert_eq!(spec["hostNetwork"] == true, component == "speaker");
        for shared in ["hostPID", "hostIPC"] {
            assert_eq!(spec[shared], Value::Null, "{shared} of {component}");
        }
        // Of the node a speaker has one directory of its own, in memory.
        let paths = |list: &Value, path: &str| -> Vec<Value> {
            let list = list.as_array().into_iter().flatten();
            list.map(|one| one.pointer(path).unwrap().clone()).collect()
        };
        let own: &[&str] = if component == "speaker" {
            &["/run/ironlb"]
        } else {
            &[]
        };
        assert_eq!(paths(&spec["volumes"], "/hostPath/path"), own);
        assert_eq!(paths(&container["volumeMounts"], "/mountPath"), own);
    }
}

#[test]
fn the_component_for_fast_bfd_adds_one_capability_and_has_bfd_run_before_other_threads() {
    needs_the_lab!();
    let product = shared();
    let second = Second::install(&product, "pods-bfd-system");
    let directory = tempfile::tempdir().unwrap();
    let overlay = directory.path().join("overlay");
    let deploy = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy");
    let copied = Command::new("cp")
        .args(["-r", deploy])
        .arg(directory.path())
        .status();
    assert!(copied.unwrap().success());
    fs::create_dir(&overlay).unwrap();
    let text = "resources: [../deploy]\ncomponents: [../deploy/real-time]\n";
    fs::write(overlay.join("kustomization.yaml"), text).unwrap();
    let built = |path: &Path| {
        let path = path.to_string_lossy();
        let yaml = product.cluster.kubectl(&["kustomize", &path]).unwrap();
        objects(&yaml).unwrap()
    };
    let plain = built(Path::new(deploy));
    let mut with_component = built(&overlay);
    let speakers = |all: &[Value]| all.iter().position(|one| one["kind"] == "DaemonSet");
    let speaker = speakers(&with_component).unwrap();
    let spec = with_component[speaker]["spec"]["template"]["spec"].clone();
    let added = "/spec/template/spec/containers/0/securityContext/capabilities/add";
    let added = with_component[speaker].pointer_mut(added).unwrap();
    assert_eq!(added.as_array_mut().unwrap().pop(), Some(json!("SYS_NICE")));
    assert_eq!(with_component, plain);

    second.watch_with_bfd();
    let without = plain[speakers(&plain).unwrap()]["spec"]["template"]["spec"].clone();
    let ordinary = NET_RAW | NET_BIND_SERVICE;
    for (spec, capabilities, says) in [
        (without, ordinary, "BFD runs like any other thread"),
        (spec, ordinary | SYS_NICE, "BFD runs before"),
    ] {
        let flags = ["--lb-class", "example.com/bfd", "--port", "7483"];
        let pod = second.start("speaker", &spec, &flags);
        pod.process.wait_for_line(says, PATIENCE).unwrap();
        let status = fs::read_to_string(format!("/proc/{}/status", pod.process.id())).unwrap();
        let found = u64::from_str_radix(line(&status, "CapEff:"), 16);
        assert_eq!(found, Ok(capabilities));
        pod.process.kill().unwrap();
    }
}

/// A container of a pod, as far as the kernel and the API server can tell.
struct Pod {
    account: String,
    user: u32,
    directory: TempDir,
    process: Process,
}

impl Pod {
    /// The volume of its ServiceAccount.
    fn volume(&self) -> PathBuf {
        self.directory.path().join("volume")
    }
}

/// A second ironlb in the cluster, in a namespace of its own, whose pods run on the first node.
struct Second<'a> {
    product: &'a Product,
    node: &'a Node,
    namespace: &'static str,
}

impl<'a> Second<'a> {
    /// Gives it the rights that `deploy/` gives.
    fn install(product: &'a Product, namespace: &'static str) -> Self {
        let cluster = product.cluster;
        cluster.namespace(namespace).unwrap();
        let roles = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/rbac.yaml");
        let roles = fs::read_to_string(roles)
            .unwrap()
            .replace(NAMESPACE, namespace)
            .replace("ironlb:", &format!("{namespace}:"));
        cluster.api().apply(&roles).unwrap();
        Self {
            product,
            node: cluster.node("n1").unwrap(),
            namespace,
        }
    }

    /// Gives it the addresses of a tenant, to be announced from its node.
    fn configure(&self, tenant: &Tenant<'_>) {
        let meta = json!({ "name": tenant.name, "namespace": self.namespace });
        let pool = json!({
            "apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool", "metadata": meta,
            "spec": { "addresses": [tenant.range_v4()] },
        });
        let here = json!([{ "matchLabels": { "kubernetes.io/hostname": self.node.name() } }]);
        let advertisement = json!({
            "apiVersion": "metallb.io/v1beta1", "kind": "L2Advertisement", "metadata": meta,
            "spec": { "nodeSelectors": here },
        });
        for object in [pool, advertisement] {
            self.product.cluster.api().apply_object(&object).unwrap();
        }
    }

    /// Gives its node a peer, who is not there, to watch with BFD.
    fn watch_with_bfd(&self) {
        let meta = json!({ "name": "fast", "namespace": self.namespace });
        let profile = json!({
            "apiVersion": "metallb.io/v1beta1", "kind": "BFDProfile", "metadata": meta,
            "spec": { "transmitInterval": 50, "receiveInterval": 50 },
        });
        let peer = json!({
            "apiVersion": "metallb.io/v1beta2", "kind": "BGPPeer", "metadata": meta,
            "spec": { "myASN": 64512, "peerASN": 64513, "peerAddress": "10.0.0.87", "bfdProfile": "fast" },
        });
        for object in [profile, peer] {
            self.product.cluster.api().apply_object(&object).unwrap();
        }
    }

    /// Runs the container of a pod, with further arguments.
    fn start(&self, component: &str, spec: &Value, flags: &[&str]) -> Pod {
        let container = &spec["containers"][0];
        let (user, privileges) = privileges(spec);
        let account = spec["serviceAccountName"].as_str().unwrap().to_owned();
        let directory = tempfile::tempdir().unwrap();
        let (volume, binary) = (
            directory.path().join("volume"),
            directory.path().join("ironlb"),
        );
        fs::create_dir(&volume).unwrap();
        for path in [directory.path(), &volume] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        // Where every user can run it, whoever owns the checkout.
        fs::copy(env!("CARGO_BIN_EXE_ironlb"), &binary).unwrap();
        self.write_files(volume.clone(), &account, user);

        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation=private", "sh", "-ec", ENTER, "sh"]);
        command.arg(volume);
        command.arg(
            if container["securityContext"]["readOnlyRootFilesystem"] == true {
                "ro"
            } else {
                "rw"
            },
        );
        let mounts = container["volumeMounts"].as_array().into_iter().flatten();
        let mounts: Vec<&str> = mounts
            .filter_map(|mount| mount["mountPath"].as_str())
            .collect();
        command.arg(mounts.join(" "));
        command.arg("setpriv").args(privileges).arg(binary);
        let arguments = container["args"].as_array().unwrap();
        command.args(arguments.iter().map(|argument| argument.as_str().unwrap()));
        let name = format!("{component}-as-a-pod");
        command
            .args(flags)
            .env_clear()
            .envs(self.environment(container, &name));
        let process = self.node.host().spawn_as(&name, command).unwrap();
        Pod {
            account,
            user,
            directory,
            process,
        }
    }

    /// What a container finds in its environment.
    fn environment(&self, container: &Value, pod: &str) -> Vec<(String, String)> {
        let field = |path: &str| match path {
            "metadata.name" => pod.to_owned(),
            "metadata.namespace" => self.namespace.to_owned(),
            "spec.nodeName" => self.node.name().to_owned(),
            other => panic!("{other} is not known here"),
        };
        let entries = container["env"].as_array().unwrap().iter().map(|entry| {
            let path = &entry["valueFrom"]["fieldRef"]["fieldPath"];
            let value = match path.as_str() {
                Some(path) => field(path),
                None => entry["value"].as_str().unwrap().to_owned(),
            };
            (entry["name"].as_str().unwrap().to_owned(), value)
        });
        let api = self.product.cluster.api();
        let kubernetes = api.get("v1/Service", "default", "kubernetes").unwrap();
        let host = kubernetes.unwrap()["spec"]["clusterIP"].clone();
        let fixed = [
            ("KUBERNETES_SERVICE_HOST", host.as_str().unwrap()),
            ("KUBERNETES_SERVICE_PORT", "443"),
            // For the script before the container.
            ("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"),
        ];
        entries
            .chain(fixed.map(|(name, value)| (name.to_owned(), value.to_owned())))
            .collect()
    }

    /// Puts a new token into the volume, with the certificate and the namespace, at one instant for who reads: the names
    /// are links into a directory, which is another one then.
    fn write_files(&self, volume: PathBuf, account: &str, user: u32) {
        let api = self.product.cluster.api();
        let token = api.token(self.namespace, account).unwrap();
        let root = eventually_ok("the namespace has the root certificate", PATIENCE, || {
            let map = api.get("v1/ConfigMap", self.namespace, "kube-root-ca.crt");
            let map = map.map_err(|error| error.to_string())?;
            map.ok_or_else(|| "not yet".to_owned())
        });
        let root = root.unwrap()["data"]["ca.crt"].as_str().unwrap().to_owned();
        let directory = (0..)
            .map(|number| volume.join(format!("..{number}")))
            .find(|path| fs::create_dir(path).is_ok())
            .unwrap();
        for (name, text) in [
            ("token", &*token),
            ("ca.crt", &*root),
            ("namespace", self.namespace),
        ] {
            let file = directory.join(name);
            fs::write(&file, text).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
            chown(&file, Some(user), None).unwrap();
            // Links from the first time on.
            let _ = symlink(Path::new("..data").join(name), volume.join(name));
        }
        let link = volume.join("..data_tmp");
        symlink(directory.file_name().unwrap(), &link).unwrap();
        fs::rename(link, volume.join("..data")).unwrap();
    }
}

/// The spec of the pods that the API server has of the Deployment or DaemonSet in `deploy/`.
fn manifest(product: &Product, component: &str) -> Value {
    let kind = match component {
        "controller" => "apps/v1/Deployment",
        _ => "apps/v1/DaemonSet",
    };
    let api = product.cluster.api();
    let object = api.get(kind, NAMESPACE, component).unwrap();
    object.unwrap()["spec"]["template"]["spec"].clone()
}

/// A container's user, and how setpriv makes a process what a runtime makes of the container: the capabilities that it adds
/// are the bounding set, and none is inheritable or ambient.
fn privileges(spec: &Value) -> (u32, Vec<String>) {
    let context = &spec["containers"][0]["securityContext"];
    let of_pod = &spec["securityContext"];
    let id = |field: &str, image: u64| {
        let given = context[field].as_u64().or_else(|| of_pod[field].as_u64());
        u32::try_from(given.unwrap_or(image)).unwrap()
    };
    let (user, root) = (id("runAsUser", IMAGE_USER), context["runAsUser"] == 0);
    let group = id("runAsGroup", if root { 0 } else { IMAGE_USER });
    let capabilities = |field: &str| {
        let named = context["capabilities"][field]
            .as_array()
            .into_iter()
            .flatten();
        named
            .map(|name| name.as_str().unwrap().to_lowercase())
            .collect::<Vec<_>>()
    };
    assert_eq!(capabilities("drop"), ["all"]);
    let mut bounding = vec!["-all".to_owned()];
    bounding.extend(capabilities("add").iter().map(|name| format!("+{name}")));
    let mut arguments = vec![
        format!("--reuid={user}"),
        format!("--regid={group}"),
        "--clear-groups".to_owned(),
        format!("--bounding-set={}", bounding.join(",")),
        "--inh-caps=-all".to_owned(),
        "--pdeathsig=KILL".to_owned(),
    ];
    if context["allowPrivilegeEscalation"] == false {
        arguments.push("--no-new-privs".to_owned());
    }
    (user, arguments)
}

/// The value of a line in `/proc/PID/status`.
fn line<'a>(status: &'a str, name: &str) -> &'a str {
    let found = status.lines().find_map(|line| line.strip_prefix(name));
    found.unwrap().trim()
}

/// Mounts the volume where a pod has it, makes directories of the node that it has too, makes the root file system read-only, and becomes the rest of the arguments.
const ENTER: &str = r#"
    volume=$1 mode=$2 mounts=$3
    shift 3
    mount --bind "$volume" /mnt
    mount -t tmpfs -o mode=755 tmpfs /run
    mkdir -p /var/run/secrets/kubernetes.io/serviceaccount
    mount --move /mnt /var/run/secrets/kubernetes.io/serviceaccount
    for path in $mounts; do mkdir "$path"; done
    mount -o remount,bind,$mode /
    exec "$@"
"#;
/// The user and group of the image.
const IMAGE_USER: u64 = 65_534;
const NET_BIND_SERVICE: u64 = 1 << 10;
const NET_RAW: u64 = 1 << 13;
const SYS_NICE: u64 = 1 << 23;
const CLASS: &str = "example.com/pods";
