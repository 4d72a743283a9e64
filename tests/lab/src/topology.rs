//! Topology files of [containerlab](https://containerlab.dev), run as namespaces with the daemons of this machine.
//!
//! ```no_run
//! use std::path::Path;
//! use ironlb_lab::{Lab, topology::Topology};
//!
//! # fn main() -> ironlb_lab::Result<()> {
//! let topology = Topology::read(Path::new("tests/topologies/single-tor.clab.yml"))?;
//! let lab = Lab::new("single-tor")?;
//! let fabric = topology.deploy(&lab, Path::new("target/debug/ironlb"))?;
//! fabric.host("client")?.tcp_get("192.0.2.10:80".parse().expect("an address"))?;
//! fabric.router("tor")?.show("show bgp summary json")?;
//! fabric.process("n1-lb")?.kill()?;
//! # Ok(()) }
//! ```
//!
//! A node is a host, a link a cable, `exec` the same commands, and what runs is told by the image ([`Software`]). A node's file
//! system is a directory with copies of its binds; absolute paths in its command are looked up there. So the files of a topology
//! are what containerlab would give to a container, and a test may change them while they are in use.
//!
//! What a file says and the lab does not do is an error, not passed over.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::{Error, Result};
use format::{Bind, Definition, Endpoint, File};

mod deploy;
mod format;

pub use deploy::Deployment;

/// A topology that has been read and makes sense.
#[derive(Debug)]
pub struct Topology {
    name: String,
    nodes: BTreeMap<String, Node>,
    links: Vec<[Endpoint; 2]>,
}

/// What an image stands for here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Software {
    /// A Linux host in which nothing runs.
    Host,
    /// FRR, with the file that is bound to /etc/frr/frr.conf.
    Frr,
    /// BIRD, with the file that is bound to /etc/bird/bird.conf.
    Bird,
    /// The `ironlb` binary, with the arguments of `cmd`.
    Ironlb,
}

#[derive(Debug)]
struct Node {
    software: Software,
    /// The node whose network it shares.
    inside: Option<String>,
    /// The source is a path of this machine.
    binds: BTreeMap<String, PathBuf>,
    exec: Vec<Vec<String>>,
    env: BTreeMap<String, String>,
    sysctls: BTreeMap<String, String>,
    command: Vec<String>,
}

impl Topology {
    /// Reads a file, and everything that it names.
    ///
    /// # Errors
    /// [`Error::File`] when it cannot be read; [`Error::Topology`] when containerlab would not take it, or the lab cannot do what
    /// it says.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).map_err(|source| Error::File {
            path: path.to_owned(),
            source,
        })?;
        let folder = path.parent().unwrap_or(path);
        Self::parse(&text, folder).map_err(|reason| Error::Topology {
            path: path.to_owned(),
            reason,
        })
    }

    /// The topology's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The nodes and what runs on each.
    pub fn nodes(&self) -> impl Iterator<Item = (&str, Software)> {
        let nodes = self.nodes.iter();
        nodes.map(|(name, node)| (name.as_str(), node.software))
    }

    /// The files and directories that nodes have from this machine.
    pub fn sources(&self) -> impl Iterator<Item = &Path> {
        let binds = self.nodes.values().flat_map(|node| node.binds.values());
        binds.map(PathBuf::as_path)
    }

    fn parse(text: &str, folder: &Path) -> std::result::Result<Self, String> {
        let file: File = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
        let mut nodes = BTreeMap::new();
        for (name, definition) in &file.topology.nodes {
            let group = definition.group.as_ref();
            if let Some(group) = group.filter(|it| !file.topology.groups.contains_key(*it)) {
                return Err(format!(
                    "{name} is of the group {group}, which there is not"
                ));
            }
            let node = Node::new(file.topology.resolve(definition), folder);
            nodes.insert(
                name.clone(),
                node.map_err(|reason| format!("{name}: {reason}"))?,
            );
        }
        let topology = Self {
            name: file.name,
            nodes,
            links: file
                .topology
                .links
                .into_iter()
                .map(|it| it.endpoints)
                .collect(),
        };
        topology.check()?;
        Ok(topology)
    }

    fn check(&self) -> std::result::Result<(), String> {
        for (name, node) in &self.nodes {
            let Some(inside) = &node.inside else { continue };
            if self.nodes.get(inside).is_none_or(|it| it.inside.is_some()) {
                return Err(format!(
                    "{name} shares the network of {inside}, which has none of its own"
                ));
            }
            if !node.exec.is_empty() || !node.sysctls.is_empty() {
                return Err(format!(
                    "{name} shares the network of {inside}: exec and sysctls go there"
                ));
            }
        }
        let mut used = BTreeSet::new();
        for endpoint in self.links.iter().flatten() {
            let Endpoint { node, interface } = endpoint;
            match self.nodes.get(node) {
                None => return Err(format!("a link ends at {node}, which there is not")),
                Some(it) if it.inside.is_some() => {
                    return Err(format!(
                        "a link ends at {node}, which has no network of its own"
                    ));
                }
                Some(_) => {}
            }
            // Up to 15 characters, and eth0 is the management network's.
            let is_name = (1..=15).contains(&interface.len()) && interface != "eth0";
            if !is_name || interface.contains(['/', ':', ' ']) {
                return Err(format!("{node} cannot have an interface {interface:?}"));
            }
            if !used.insert(endpoint) {
                return Err(format!("{node}:{interface} has two links"));
            }
        }
        Ok(())
    }
}

impl Node {
    fn new(definition: Definition, folder: &Path) -> std::result::Result<Self, String> {
        if definition.kind.as_deref() != Some("linux") {
            return Err(format!(
                "the kind is {:?}, and the lab runs \"linux\"",
                definition.kind.unwrap_or_default()
            ));
        }
        let software = software(definition.image.as_deref().unwrap_or_default())?;
        // The management network would be a second way between all nodes, with a default route.
        let inside = match definition.network_mode.as_deref() {
            Some("none") => None,
            Some(mode) if mode.starts_with("container:") => {
                Some(mode.trim_start_matches("container:").to_owned())
            }
            mode => {
                return Err(format!(
                    "network-mode is {mode:?}, and the lab has \"none\" and \"container:NODE\""
                ));
            }
        };
        let mut binds = BTreeMap::new();
        for text in &definition.binds {
            let Bind { source, target } = text.parse()?;
            let source = folder.join(source);
            if !source.exists() {
                return Err(format!("{} is bound and is not there", source.display()));
            }
            binds.insert(target, source);
        }
        let node = Self {
            software,
            inside,
            binds,
            exec: definition.exec.iter().map(|it| words(it)).collect(),
            env: definition.env,
            sysctls: definition.sysctls,
            command: words(definition.cmd.as_deref().unwrap_or_default()),
        };
        node.check(definition.user.as_deref())?;
        Ok(node)
    }

    /// Whether the lab can do what the node asks for.
    fn check(&self, user: Option<&str>) -> std::result::Result<(), String> {
        if let Some(line) = self
            .exec
            .iter()
            .find(|line| line.first().is_none_or(|it| it != "ip"))
        {
            return Err(format!(
                "exec runs {:?}, and the lab runs ip",
                line.join(" ")
            ));
        }
        let is_right = match self.software {
            Software::Host => self.command == ["sleep", "infinity"],
            Software::Frr => self.command.is_empty(),
            Software::Bird => self.command == ["bird", "-c", BIRD_CONFIG, "-d"],
            Software::Ironlb => !self.command.is_empty(),
        };
        if !is_right {
            return Err(format!(
                "the lab does not run {:?} for this image",
                self.command.join(" ")
            ));
        }
        if self.software == Software::Ironlb && user != Some("0:0") {
            return Err("ironlb is not root by its image: it needs user \"0:0\"".to_owned());
        }
        for target in self.software.needs() {
            if !self.binds.contains_key(*target) {
                return Err(format!("nothing is bound to {target}"));
            }
        }
        Ok(())
    }
}

impl Software {
    /// The files without which it does not start.
    fn needs(self) -> &'static [&'static str] {
        match self {
            Self::Host | Self::Ironlb => &[],
            Self::Frr => &[FRR_CONFIG, FRR_DAEMONS, "/etc/frr/vtysh.conf"],
            Self::Bird => &[BIRD_CONFIG],
        }
    }
}

/// What the lab has in place of an image. It must have a tag, or what is deployed would change by itself.
fn software(image: &str) -> std::result::Result<Software, String> {
    match image.rsplit_once(':') {
        Some((_, "" | "latest")) | None => {
            Err(format!("the image {image:?} has no tag that lasts"))
        }
        Some(("nicolaka/netshoot", _)) => Ok(Software::Host),
        Some(("quay.io/frrouting/frr", _)) => Ok(Software::Frr),
        Some(("pierky/bird", _)) => Ok(Software::Bird),
        Some(("ironlb", _)) => Ok(Software::Ironlb),
        Some(_) => Err(format!(
            "the lab has nothing in place of the image {image:?}"
        )),
    }
}

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

const FRR_CONFIG: &str = "/etc/frr/frr.conf";
const FRR_DAEMONS: &str = "/etc/frr/daemons";
const BIRD_CONFIG: &str = "/etc/bird/bird.conf";

#[cfg(test)]
mod tests;
