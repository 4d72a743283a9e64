//! What a topology file may say: of containerlab's format the part that the lab carries out, and nothing that it would pass over.

use std::collections::BTreeMap;
use std::str::FromStr;

use serde::Deserialize;

/// A whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) name: String,
    pub(super) topology: Body,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Body {
    #[serde(default)]
    pub(super) defaults: Definition,
    #[serde(default)]
    pub(super) kinds: BTreeMap<String, Definition>,
    #[serde(default)]
    pub(super) groups: BTreeMap<String, Definition>,
    pub(super) nodes: BTreeMap<String, Definition>,
    #[serde(default)]
    pub(super) links: Vec<Link>,
}

/// What is said of a node, or of all nodes of a group or kind.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Definition {
    pub(super) kind: Option<String>,
    pub(super) group: Option<String>,
    pub(super) image: Option<String>,
    pub(super) cmd: Option<String>,
    pub(super) user: Option<String>,
    pub(super) network_mode: Option<String>,
    #[serde(default)]
    pub(super) binds: Vec<String>,
    #[serde(default)]
    pub(super) exec: Vec<String>,
    #[serde(default)]
    pub(super) env: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) sysctls: BTreeMap<String, String>,
}

/// A cable: in short form the endpoints alone, in extended form with its type.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Link {
    #[serde(rename = "type", default)]
    pub(super) _type: LinkType,
    pub(super) endpoints: [Endpoint; 2],
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum LinkType {
    #[default]
    Veth,
}

/// An interface of a node, `node:interface` in short form.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(from = "EndpointForm")]
pub(super) struct Endpoint {
    pub(super) node: String,
    pub(super) interface: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum EndpointForm {
    Short(String),
    Extended(ExtendedEndpoint),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExtendedEndpoint {
    node: String,
    interface: String,
}

impl From<EndpointForm> for Endpoint {
    fn from(form: EndpointForm) -> Self {
        match form {
            EndpointForm::Short(text) => {
                let (node, interface) = text.split_once(':').unwrap_or((&text, ""));
                Self {
                    node: node.to_owned(),
                    interface: interface.to_owned(),
                }
            }
            EndpointForm::Extended(ExtendedEndpoint { node, interface }) => {
                Self { node, interface }
            }
        }
    }
}

/// A file or directory of this machine and where the container has it, `source:target` with or without `:ro` or `:rw`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bind {
    pub(super) source: String,
    pub(super) target: String,
}

impl FromStr for Bind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split(':').collect();
        match parts.as_slice() {
            [source, target] | [source, target, "ro" | "rw"] if target.starts_with('/') => {
                Ok(Self {
                    source: (*source).to_owned(),
                    target: (*target).to_owned(),
                })
            }
            _ => Err(format!(
                "the bind {text:?} is not a path, a colon and an absolute path in the container, with or without :ro"
            )),
        }
    }
}

impl Body {
    /// What is said of a node everywhere: the most specific word counts, and binds, commands and settings add up from the general
    /// to the specific, as containerlab has it.
    pub(super) fn resolve(&self, node: &Definition) -> Definition {
        let none = Definition::default();
        let group = node.group.as_ref().or(self.defaults.group.as_ref());
        let group = group.and_then(|it| self.groups.get(it)).unwrap_or(&none);
        let kind = node.kind.as_ref().or(group.kind.as_ref());
        let kind = kind.or(self.defaults.kind.as_ref());
        let kind = kind.and_then(|it| self.kinds.get(it)).unwrap_or(&none);
        [kind, group, node]
            .into_iter()
            .fold(self.defaults.clone(), Definition::refined_by)
    }
}

impl Definition {
    fn refined_by(mut self, other: &Self) -> Self {
        fn take(field: &mut Option<String>, other: &Option<String>) {
            if other.is_some() {
                field.clone_from(other);
            }
        }
        take(&mut self.kind, &other.kind);
        take(&mut self.group, &other.group);
        take(&mut self.image, &other.image);
        take(&mut self.cmd, &other.cmd);
        take(&mut self.user, &other.user);
        take(&mut self.network_mode, &other.network_mode);
        self.binds.extend_from_slice(&other.binds);
        self.exec.extend_from_slice(&other.exec);
        self.env.extend(other.env.clone());
        self.sysctls.extend(other.sysctls.clone());
        self
    }
}
