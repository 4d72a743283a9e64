//! A topology on the hosts of a lab.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{BIRD_CONFIG, FRR_CONFIG, FRR_DAEMONS, Node, Software, Topology};
use crate::router::{Bird, Frr, Router};
use crate::{Error, Host, Lab, Process, Result};

/// A topology that runs. It ends with its lab.
#[derive(Debug)]
pub struct Deployment {
    hosts: BTreeMap<String, Host>,
    routers: BTreeMap<String, Router>,
    programs: BTreeMap<String, Program>,
}

/// A node that runs ironlb.
#[derive(Debug)]
struct Program {
    root: PathBuf,
    recipe: Recipe,
    process: Process,
}

/// How it is started.
#[derive(Debug)]
struct Recipe {
    host: Host,
    path: PathBuf,
    arguments: Vec<String>,
    env: BTreeMap<String, String>,
}

impl Topology {
    /// Makes the hosts, joins them, and starts what runs on them; `ironlb` is the binary that stands for the image of that name.
    ///
    /// # Errors
    /// The kernel's refusal, [`Error::Missing`] for a daemon that is not installed, [`Error::Router`] for one that refuses its
    /// configuration, [`Error::Topology`] for a command that fails.
    pub fn deploy(&self, lab: &Lab, ironlb: &Path) -> Result<Deployment> {
        let mut hosts = BTreeMap::new();
        for (name, _) in self.nodes.iter().filter(|(_, node)| node.inside.is_none()) {
            hosts.insert(name.clone(), lab.host(name)?);
        }
        for (name, node) in &self.nodes {
            if let Some(host) = node.inside.as_ref().and_then(|inside| hosts.get(inside)) {
                hosts.insert(name.clone(), host.clone());
            }
        }
        let mut deployment = Deployment {
            hosts,
            routers: BTreeMap::new(),
            programs: BTreeMap::new(),
        };
        for [near, far] in &self.links {
            let (host, other) = (deployment.host(&near.node)?, deployment.host(&far.node)?);
            host.connect_to(other, &near.interface, &[], &far.interface, &[])?;
        }
        for (name, node) in &self.nodes {
            node.configure(deployment.host(name)?)?;
        }
        for (name, node) in &self.nodes {
            deployment.start(name, node, ironlb)?;
        }
        Ok(deployment)
    }
}

impl Node {
    fn configure(&self, host: &Host) -> Result<()> {
        for (name, value) in &self.sysctls {
            host.sysctl(&name.replace('.', "/"), value)?;
        }
        for line in &self.exec {
            let Some((program, arguments)) = line.split_first() else {
                continue;
            };
            let output = host.run(Command::new(program).args(arguments))?;
            if !output.status.success() {
                let errors = String::from_utf8_lossy(&output.stderr);
                return Err(Error::Topology {
                    path: host.name().into(),
                    reason: format!("{}: {}", line.join(" "), errors.trim()),
                });
            }
        }
        Ok(())
    }

    /// Copies what is bound to where the node has it.
    fn fill(&self, root: &Path) -> Result<()> {
        for (target, source) in &self.binds {
            copy(source, &inside(root, target)).map_err(|error| Error::File {
                path: source.clone(),
                source: error,
            })?;
        }
        Ok(())
    }
}

impl Deployment {
    /// A node's host: its own, or the one whose network it shares.
    ///
    /// # Errors
    /// [`Error::NoNode`].
    pub fn host(&self, node: &str) -> Result<&Host> {
        find(&self.hosts, node)
    }

    /// A node that is a router.
    ///
    /// # Errors
    /// [`Error::NoNode`].
    pub fn router(&self, node: &str) -> Result<&Router> {
        find(&self.routers, node)
    }

    /// The process of a node that runs ironlb; after [`Self::restart`] the new one.
    ///
    /// # Errors
    /// [`Error::NoNode`].
    pub fn process(&self, node: &str) -> Result<&Process> {
        Ok(&find(&self.programs, node)?.process)
    }

    /// Where the lab has a file of a node that runs ironlb, such as `/manifests/service.yaml`.
    ///
    /// # Errors
    /// [`Error::NoNode`].
    pub fn file(&self, node: &str, path: &str) -> Result<PathBuf> {
        Ok(inside(&find(&self.programs, node)?.root, path))
    }

    /// Starts a node that runs ironlb again, with the same command and the files that it left. The former process should have ended.
    ///
    /// # Errors
    /// [`Error::NoNode`]; when it cannot be started.
    pub fn restart(&mut self, node: &str) -> Result<&Process> {
        let no_node = || Error::NoNode { node: node.into() };
        let program = self.programs.get_mut(node).ok_or_else(no_node)?;
        program.process = program.recipe.start(node)?;
        Ok(&program.process)
    }

    fn start(&mut self, name: &str, node: &Node, ironlb: &Path) -> Result<()> {
        let host = self.host(name)?.clone();
        let root = host.directory_for(name)?;
        node.fill(&root)?;
        let read = |path: &str| {
            let path = inside(&root, path);
            fs::read_to_string(&path).map_err(|source| Error::File { path, source })
        };
        let router = match node.software {
            Software::Host => return Ok(()),
            Software::Frr => {
                check_daemons(name, &read(FRR_DAEMONS)?)?;
                Router::start(&host, Frr, &read(FRR_CONFIG)?)?
            }
            Software::Bird => Router::start(&host, Bird, &read(BIRD_CONFIG)?)?,
            Software::Ironlb => {
                let recipe = Recipe::new(host, &root, ironlb, node);
                let process = recipe.start(name)?;
                let program = Program {
                    root,
                    recipe,
                    process,
                };
                self.programs.insert(name.to_owned(), program);
                return Ok(());
            }
        };
        self.routers.insert(name.to_owned(), router);
        Ok(())
    }
}

impl Recipe {
    fn new(host: Host, root: &Path, path: &Path, node: &Node) -> Self {
        let here = |argument: &String| match argument.starts_with('/') {
            true => inside(root, argument).to_string_lossy().into_owned(),
            false => argument.clone(),
        };
        Self {
            host,
            path: path.to_owned(),
            arguments: node.command.iter().map(here).collect(),
            env: node.env.clone(),
        }
    }

    fn start(&self, name: &str) -> Result<Process> {
        let mut command = Command::new(&self.path);
        command.args(&self.arguments).envs(&self.env);
        self.host.spawn_as(name, command)
    }
}

fn find<'a, T>(among: &'a BTreeMap<String, T>, node: &str) -> Result<&'a T> {
    among
        .get(node)
        .ok_or_else(|| Error::NoNode { node: node.into() })
}

/// The lab starts these daemons whatever the file says, so it must say so.
fn check_daemons(node: &str, file: &str) -> Result<()> {
    let on = |line: &&str| line.ends_with("d=yes");
    let on: Vec<&str> = file.lines().filter(on).collect();
    if on == ["bgpd=yes", "bfdd=yes"] {
        return Ok(());
    }
    Err(Error::Topology {
        path: node.into(),
        reason: format!("{FRR_DAEMONS} has {on:?}, and the lab runs bgpd and bfdd"),
    })
}

/// Where the node's directory has an absolute path of the container.
fn inside(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

fn copy(source: &Path, target: &Path) -> std::io::Result<()> {
    if source.is_dir() {
        fs::create_dir_all(target)?;
        for entry in fs::read_dir(source)? {
            let entry = entry?;
            copy(&entry.path(), &target.join(entry.file_name()))?;
        }
        return Ok(());
    }
    if let Some(folder) = target.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::copy(source, target).map(drop)
}
