//! The configuration that was good last, in a file of the node: so that what is in error when a speaker starts has a last state too.
//!
//! It has the objects as the API had them when nothing was wrong with them. Passwords are among that, so it is readable by its owner
//! alone, and belongs on a file system in memory. It only ever helps with what is in error: what the API has, and is good, is
//! in force as it is.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use ironlb_config::{Error, Object, ObjectRef, Source, lower, read};
use ironlb_model::Config;
use kube::Resource;
use serde::Serialize;
use serde_json::{Value, json};

use crate::configuration::KINDS;
use crate::file;

/// The objects that are there, and what each of them said when it was good last.
#[derive(Debug)]
pub(crate) struct LastGood {
    path: PathBuf,
    /// As they are; `None` for one that is none of its kind.
    there: BTreeMap<ObjectRef, Option<Manifest>>,
    good: BTreeMap<ObjectRef, Manifest>,
    /// What is in the file, as far as this process knows.
    written: Option<BTreeMap<ObjectRef, Manifest>>,
    /// The last write failed, and was reported.
    is_troubled: bool,
}

/// An object as a line of JSON. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
struct Manifest(Arc<str>);

/// Leaves out the text: it may hold passwords.
impl std::fmt::Debug for Manifest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Manifest({} bytes)", self.0.len())
    }
}

impl LastGood {
    /// The file at `path`, and the configuration that it has.
    pub(crate) fn open(path: PathBuf) -> (Self, Config) {
        let mut last_good = Self {
            path,
            there: BTreeMap::new(),
            good: BTreeMap::new(),
            written: None,
            is_troubled: false,
        };
        let config = match fs::read_to_string(&last_good.path) {
            Ok(text) => last_good.remember(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Config::default(),
            Err(error) => last_good.ignore(&error),
        };
        (last_good, config)
    }

    /// An object is there, or has changed.
    pub(crate) fn apply(&mut self, object: &Object) {
        self.there.insert(object.reference(), manifest(object));
    }

    /// An object is there, and is none of its kind.
    pub(crate) fn apply_undecodable(&mut self, reference: ObjectRef) {
        self.there.insert(reference, None);
    }

    /// An object is gone.
    pub(crate) fn delete(&mut self, reference: &ObjectRef) {
        self.there.remove(reference);
    }

    /// Everything that is there is good, but for the objects of `errors`. Writes that, where it is not so already; should that
    /// fail, the next call tries again.
    pub(crate) fn keep(&mut self, errors: &[Error]) {
        let wrong: BTreeSet<&str> = errors.iter().map(|error| error.object.as_str()).collect();
        for (reference, manifest) in &self.there {
            let name = format!("{}/{}", reference.kind.name(), reference.name);
            if let Some(manifest) = manifest
                && !wrong.contains(&*name)
            {
                self.good.insert(reference.clone(), manifest.clone());
            }
        }
        self.good
            .retain(|reference, _| self.there.contains_key(reference));
        if self.written.as_ref() == Some(&self.good) {
            return;
        }
        match self.write() {
            Ok(()) => {
                self.written = Some(self.good.clone());
                self.is_troubled = false;
            }
            Err(error) => {
                if !std::mem::replace(&mut self.is_troubled, true) {
                    let path = self.path.display();
                    tracing::warn!(
                        %path, %error,
                        "the last good configuration cannot be kept; a speaker that starts while something is in error does not \
                         announce what depends on that"
                    );
                }
            }
        }
    }

    /// Takes what the file has for what was good last, until the API says more.
    fn remember(&mut self, text: String) -> Config {
        for line in text.lines().filter(|line| *line != SEPARATOR) {
            let reference = serde_json::from_str::<Value>(line)
                .ok()
                .and_then(|value| reference(&value));
            match reference {
                Some(reference) => self.good.insert(reference, Manifest(line.into())),
                None => return self.ignore(&"it has something that is no object"),
            };
        }
        let source = Source {
            name: self.path.display().to_string(),
            text,
        };
        let lowered = lower(&read(&[source]).objects, &Config::default());
        for error in lowered.errors {
            tracing::debug!(%error, "what was good last is not any more");
        }
        lowered.config
    }

    fn ignore(&mut self, why: &dyn std::fmt::Display) -> Config {
        self.good.clear();
        let path = self.path.display();
        tracing::warn!(%path, %why, "the last good configuration cannot be read; it is kept anew");
        Config::default()
    }

    fn write(&self) -> io::Result<()> {
        let lines: Vec<&str> = self.good.values().map(|manifest| &*manifest.0).collect();
        let text = lines.join(&format!("\n{SEPARATOR}\n"));
        file::replace(&self.path, |out| out.write_all(text.as_bytes()))
    }
}

/// Which object a line of the file is about.
fn reference(manifest: &Value) -> Option<ObjectRef> {
    let kind = manifest.get("kind")?.as_str()?;
    let metadata = manifest.get("metadata")?;
    let text = |field: &str| Some(metadata.get(field)?.as_str()?.to_owned());
    Some(ObjectRef {
        kind: KINDS.into_iter().find(|known| known.name() == kind)?,
        namespace: text("namespace")?,
        name: text("name")?,
    })
}

/// The object as a file would have it.
fn manifest(object: &Object) -> Option<Manifest> {
    fn value<K: Resource<DynamicType = ()> + Serialize>(object: &K) -> Option<Value> {
        let mut value = serde_json::to_value(object).ok()?;
        let fields = value.as_object_mut()?;
        fields.remove("status");
        fields.insert("apiVersion".to_owned(), K::api_version(&()).into());
        fields.insert("kind".to_owned(), K::kind(&()).into());
        let metadata = fields.get_mut("metadata")?.as_object_mut()?;
        metadata.retain(|field, _| ["namespace", "name", "labels"].contains(&field.as_str()));
        leave_out_nulls(&mut value);
        Some(value)
    }
    let value = match object {
        Object::IPAddressPool(object) => value(&**object),
        Object::L2Advertisement(object) => value(&**object),
        Object::BGPAdvertisement(object) => value(&**object),
        Object::BGPPeer(object) => value(&**object),
        Object::BFDProfile(object) => value(&**object),
        Object::Community(object) => value(&**object),
        Object::LegacyConfigMap(map) => Some(json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": { "namespace": map.namespace, "name": map.name },
            "data": { "config": map.text },
        })),
    };
    Some(Manifest(value?.to_string().into()))
}

/// The API has a field that is not set as none; in a file, null is a value.
fn leave_out_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(leave_out_nulls);
        }
        Value::Array(values) => values.iter_mut().for_each(leave_out_nulls),
        _ => {}
    }
}

const SEPARATOR: &str = "---";

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use ironlb_config::{LegacyConfigMap, Objects};

    use super::*;

    const GOOD: &str = "address-pools: [{name: first, protocol: layer2, addresses: [192.0.2.0/24]}]\n\
                        peers: [{my-asn: 64512, peer-asn: 64513, peer-address: 10.0.0.1, password: hunter2}]\n";

    struct Node {
        root: tempfile::TempDir,
        objects: Objects,
        last_good: LastGood,
        config: Config,
    }

    impl Node {
        fn new() -> Self {
            Self::start(tempfile::tempdir().unwrap())
        }

        fn start(root: tempfile::TempDir) -> Self {
            let (last_good, config) = LastGood::open(root.path().join("config"));
            Self {
                root,
                objects: Objects::default(),
                last_good,
                config,
            }
        }

        /// As after a new start, with nothing read from the API yet.
        fn restart(self) -> Self {
            Self::start(self.root)
        }

        fn apply(&mut self, object: Object) {
            self.last_good.apply(&object);
            self.objects.apply(object);
        }

        fn settle(&mut self) {
            let lowered = lower(&self.objects, &self.config);
            self.last_good.keep(&lowered.errors);
            self.config = lowered.config;
        }

        fn pools(&self) -> Vec<String> {
            let pools = self.config.pools.values();
            pools
                .map(|pool| format!("{} {}", pool.name, pool.ranges[0]))
                .collect()
        }
    }

    fn config_map(text: &str) -> Object {
        let map = LegacyConfigMap {
            namespace: "metallb-system".to_owned(),
            name: "config".to_owned(),
            text: text.to_owned(),
        };
        map.into()
    }

    fn pool(addresses: &str) -> Object {
        let pool = json!({
            "apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool",
            "metadata": { "namespace": "metallb-system", "name": "second", "labels": { "a": "b" }, "resourceVersion": "7" },
            "spec": { "addresses": [addresses] },
        });
        let pool: ironlb_config::crd::IPAddressPool = serde_json::from_value(pool).unwrap();
        pool.into()
    }

    #[test]
    fn a_configmap_that_is_no_yaml_at_a_start_is_in_force_as_it_was_last() {
        let mut node = Node::new();
        node.apply(config_map(GOOD));
        node.settle();
        let before = node.config.clone();
        let broken = |node: &mut Node| {
            node.apply(config_map("address-pools: ["));
            node.settle();
            assert_eq!(node.config, before);
        };
        broken(&mut node);
        // However often.
        for _ in 0..2 {
            node = node.restart();
            broken(&mut node);
        }
        node = node.restart();
        node.apply(config_map(&GOOD.replace("192.0.2.0", "198.51.100.0")));
        node.settle();
        assert_eq!(node.pools(), ["first 198.51.100.0/24"]);
    }

    #[test]
    fn one_object_in_error_is_as_it_was_and_the_others_are_as_they_are() {
        let mut node = Node::new();
        node.apply(config_map(GOOD));
        node.apply(pool("198.51.100.0/24"));
        node.settle();
        node = node.restart();
        node.apply(config_map(&GOOD.replace("192.0.2.0", "203.0.113.0")));
        node.apply(pool("198.51.100.0/99"));
        node.settle();
        assert_eq!(
            node.pools(),
            ["first 203.0.113.0/24", "second 198.51.100.0/24"]
        );
    }

    #[test]
    fn every_kind_means_in_the_file_what_it_means_in_the_api() {
        fn object<T: serde::de::DeserializeOwned + Into<Object>>(
            kind: &str,
            version: &str,
            spec: Value,
        ) -> Object {
            let object = json!({
                "apiVersion": format!("metallb.io/{version}"), "kind": kind,
                "metadata": { "namespace": "metallb-system", "name": "one" }, "spec": spec,
            });
            serde_json::from_value::<T>(object).unwrap().into()
        }
        use ironlb_config::crd;
        let mut node = Node::new();
        for object in [
            pool("198.51.100.0/24"),
            object::<crd::L2Advertisement>(
                "L2Advertisement",
                "v1beta1",
                json!({
                    "ipAddressPools": ["second"], "interfaces": ["eth0"],
                    "nodeSelectors": [{ "matchLabels": { "kubernetes.io/hostname": "n1" } }],
                }),
            ),
            object::<crd::BFDProfile>(
                "BFDProfile",
                "v1beta1",
                json!({ "receiveInterval": 50, "echoMode": true }),
            ),
            object::<crd::Community>(
                "Community",
                "v1beta1",
                json!({ "communities": [{ "name": "a", "value": "64512:1" }] }),
            ),
            object::<crd::BGPAdvertisement>(
                "BGPAdvertisement",
                "v1beta1",
                json!({
                    "aggregationLength": 32, "localPref": 200, "communities": ["a", "large:1:2:3"], "peers": ["one"],
                }),
            ),
            object::<crd::BGPPeer>(
                "BGPPeer",
                "v1beta2",
                json!({
                    "myASN": 64512, "peerASN": 64513, "peerAddress": "10.0.0.1", "password": "hunter2", "holdTime": "30s",
                    "bfdProfile": "one", "nodeSelectors": [{ "matchExpressions": [{ "key": "a", "operator": "Exists" }] }],
                }),
            ),
        ] {
            node.apply(object);
        }
        let lowered = lower(&node.objects, &Config::default());
        assert_eq!(lowered.errors, []);
        node.settle();
        assert_eq!(node.restart().config, lowered.config);
    }

    #[test]
    fn what_is_deleted_is_gone_from_the_file_too() {
        let mut node = Node::new();
        node.apply(pool("198.51.100.0/24"));
        node.apply(config_map(GOOD));
        node.settle();
        node = node.restart();
        node.apply(pool("198.51.100.0/24"));
        node.settle();
        node = node.restart();
        assert_eq!(node.pools(), ["second 198.51.100.0/24"]);
    }

    #[test]
    fn the_file_is_its_owner_s_alone_and_its_secrets_are_in_no_debug_output() {
        let mut node = Node::new();
        node.apply(config_map(GOOD));
        node.settle();
        let path = node.root.path().join("config");
        assert!(fs::read_to_string(&path).unwrap().contains("hunter2"));
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert!(!format!("{:?}", node.last_good).contains("hunter2"));
    }

    #[test]
    fn a_file_that_cannot_be_read_or_written_is_no_obstacle() {
        let mut node = Node::new();
        fs::write(node.root.path().join("config"), "{\"kind\": \"IPAddr").unwrap();
        node = node.restart();
        assert_eq!(node.config, Config::default());
        fs::create_dir(node.root.path().join("config.new")).unwrap();
        node.apply(config_map(GOOD));
        node.settle();
        assert_eq!(node.pools().len(), 1);
        fs::remove_dir(node.root.path().join("config.new")).unwrap();
        node.settle();
        assert_eq!(node.restart().pools().len(), 1);
    }
}
