//! Routers of other projects on hosts of the lab, to see what they make of us.
//!
//! ```no_run
//! use std::time::Duration;
//! use ironlb_lab::{Lab, router::{Frr, Router}};
//!
//! # fn main() -> ironlb_lab::Result<()> {
//! let lab = Lab::new("example")?;
//! let lan = lab.switch("lan")?;
//! let host = lab.router("tor")?;
//! host.connect(&lan, "eth0", &["10.0.0.1/24"])?;
//! let tor = Router::start(&host, Frr, "router bgp 65001\n neighbor 10.0.0.2 remote-as external\n")?;
//! tor.wait_for("the session is up", "show bgp summary json", Duration::from_secs(10), |summary| {
//!     summary["ipv4Unicast"]["peers"]["10.0.0.2"]["state"] == "Established"
//! })?;
//! tor.process("bgpd")?.kill()?;
//! # Ok(()) }
//! ```
//!
//! Each router runs in the foreground on its host, with its files in a directory of its own and its log with those of the lab's
//! other processes, so several of a kind run side by side, and none outlives the lab. What a kind of router needs to be started
//! and asked is a [`Software`]; [`Router`] is the same for all of them.

use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::wait::eventually_ok;
use crate::{Error, Host, Process, Result};

mod bird;
mod exabgp;
mod frr;
mod gobgp;
mod openbgpd;

pub use bird::Bird;
pub use exabgp::ExaBgp;
pub use frr::Frr;
pub use gobgp::GoBgp;
pub use openbgpd::OpenBgpd;

/// A router of another project. It ends with the lab, or by [`Self::stop`] and [`Self::kill`]; dropping it leaves it running.
#[derive(Clone, Debug)]
pub struct Router {
    place: Place,
    software: Arc<dyn Software>,
    processes: Vec<Process>,
}

impl Router {
    /// Starts a router with `config`, written in its own language, and waits until it answers.
    ///
    /// # Errors
    /// [`Error::Missing`] when it is not installed, [`Error::Router`] when it refuses the configuration.
    pub fn start(host: &Host, software: impl Software + 'static, config: &str) -> Result<Self> {
        let directory = host.directory_for(software.name())?;
        let place = Place {
            host: host.clone(),
            directory,
        };
        let processes = software.start(&place, config)?;
        Ok(Self {
            place,
            software: Arc::new(software),
            processes,
        })
    }

    /// The host it runs on.
    pub fn host(&self) -> &Host {
        &self.place.host
    }

    /// Where its files and control sockets are, for its own command line to find it.
    pub fn directory(&self) -> &Path {
        &self.place.directory
    }

    /// What it is, such as `FRR`.
    pub fn software(&self) -> &'static str {
        self.software.name()
    }

    /// Asks a question as an operator would on its command line, and gives the answer as text.
    ///
    /// # Errors
    /// [`Error::Router`] when it does not understand or does not run.
    pub fn ask(&self, question: &str) -> Result<String> {
        self.software.ask(&self.place, question)
    }

    /// Asks a question whose answer can be had as JSON.
    ///
    /// # Errors
    /// [`Error::Router`] when it does not understand, does not run, or answers with something else.
    pub fn show(&self, question: &str) -> Result<Value> {
        self.software.show(&self.place, question)
    }

    /// Waits until the answer to `question` is as it should be, and gives that answer. `what` names the condition.
    ///
    /// # Errors
    /// [`Error::Timeout`] after `limit`, with the last answer.
    pub fn wait_for(
        &self,
        what: &str,
        question: &str,
        limit: Duration,
        condition: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let what = format!("{}: {what}", self.host().name());
        eventually_ok(&what, limit, || {
            let answer = self.show(question).map_err(|error| error.to_string())?;
            if condition(&answer) {
                Ok(answer)
            } else {
                Err(format!("{question}: {answer}"))
            }
        })
    }

    /// Changes the configuration while it runs. What `config` means to the present one, added or put in its place, is the
    /// router's own way: [`Frr`] adds lines, [`Bird`] takes a whole new file.
    ///
    /// # Errors
    /// [`Error::Router`] when it refuses.
    pub fn configure(&self, config: &str) -> Result<()> {
        self.software.configure(&self.place, config)
    }

    /// One of its processes, such as `bgpd`: to pause, signal or kill it alone, or to read its log.
    ///
    /// # Errors
    /// [`Error::Router`] when it has none of that name.
    pub fn process(&self, name: &str) -> Result<&Process> {
        let named = |process: &&Process| process.name().rsplit('/').next() == Some(name);
        self.processes.iter().find(named).ok_or_else(|| {
            let names: Vec<_> = self.processes.iter().map(Process::name).collect();
            self.place.refusal("processes", &names.join(", "))
        })
    }

    /// All its processes, in the order they were started.
    pub fn processes(&self) -> &[Process] {
        &self.processes
    }

    /// All that its processes printed up to now.
    pub fn log(&self) -> String {
        self.processes.iter().map(Process::log).collect()
    }

    /// Stops it in order, as its service manager would: it may take leave of its peers.
    ///
    /// # Errors
    /// [`Error::Timeout`] when a process still runs after `limit`.
    pub fn stop(&self, limit: Duration) -> Result<()> {
        for process in self.processes.iter().rev() {
            process.terminate(limit)?;
        }
        Ok(())
    }

    /// Kills all its processes: it takes leave of nobody.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn kill(&self) -> Result<()> {
        self.processes.iter().try_for_each(Process::kill)
    }

    /// Freezes all its processes: sockets stay open and nothing is answered.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn pause(&self) -> Result<()> {
        self.processes.iter().try_for_each(Process::pause)
    }

    /// Lets it go on after [`Self::pause`].
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn resume(&self) -> Result<()> {
        self.processes.iter().try_for_each(Process::resume)
    }
}

/// How a kind of router is started, asked and changed.
pub trait Software: fmt::Debug + Send + Sync {
    /// What it is called, without spaces.
    fn name(&self) -> &'static str;

    /// Starts its processes in the foreground, to log to standard output or standard error, and waits until they answer.
    ///
    /// # Errors
    /// As for [`Router::start`].
    fn start(&self, place: &Place, config: &str) -> Result<Vec<Process>>;

    /// See [`Router::ask`].
    ///
    /// # Errors
    /// As there.
    fn ask(&self, place: &Place, question: &str) -> Result<String>;

    /// See [`Router::show`]. For those that answer in JSON when asked to, reading the answer is all.
    ///
    /// # Errors
    /// As there.
    fn show(&self, place: &Place, question: &str) -> Result<Value> {
        let answer = self.ask(place, question)?;
        serde_json::from_str(&answer).map_err(|_| place.refusal(question, &answer))
    }

    /// See [`Router::configure`].
    ///
    /// # Errors
    /// As there.
    fn configure(&self, place: &Place, config: &str) -> Result<()>;
}

/// Where a router runs: its host, and a directory for its files and control sockets.
#[derive(Clone, Debug)]
pub struct Place {
    /// The host.
    pub host: Host,
    /// The directory, empty at first, removed with the lab.
    pub directory: PathBuf,
}

impl Place {
    /// A path inside the directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Writes a file into the directory and gives its path.
    ///
    /// # Errors
    /// The file system's refusal.
    pub fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.path(name);
        fs::write(&path, text).map_err(|source| Error::File {
            path: path.clone(),
            source,
        })?;
        Ok(path)
    }

    /// Starts a process under a name that [`Router::process`] finds it by.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn(&self, name: &str, command: Command) -> Result<Process> {
        self.host.spawn_as(name, command)
    }

    /// Starts a process, and waits until its control socket, a file of the directory, is there.
    ///
    /// # Errors
    /// [`Error::Ended`] when it ends instead, with the end of its log.
    pub fn spawn_until(&self, name: &str, command: Command, socket: &str) -> Result<Process> {
        let process = self.spawn(name, command)?;
        self.wait_until_it_listens(&process, socket)?;
        Ok(process)
    }

    /// Waits until the control socket of a process, a file of the directory, is there.
    ///
    /// # Errors
    /// As for [`Self::spawn_until`].
    pub fn wait_until_it_listens(&self, process: &Process, socket: &str) -> Result<()> {
        let path = self.path(socket);
        let what = format!("{} listens on {}", process.name(), path.display());
        process.wait_until(&what, START, || {
            path.exists().then_some(()).ok_or("it does not yet")
        })
    }

    /// Runs a client program on the host and gives what it prints on standard output; `question` is for messages.
    ///
    /// # Errors
    /// [`Error::Router`] with all its output when it fails.
    pub fn client(&self, question: &str, command: &mut Command) -> Result<String> {
        let output = self.host.run(command)?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            return Ok(text);
        }
        let errors = String::from_utf8_lossy(&output.stderr);
        Err(self.refusal(question, &format!("{text}{errors}")))
    }

    /// What to say when a router refuses.
    pub fn refusal(&self, question: &str, answer: &str) -> Error {
        Error::Router {
            host: self.host.name().to_owned(),
            question: question.to_owned(),
            answer: answer.trim().to_owned(),
        }
    }
}

/// Finds a program in `folders` or on the search path.
///
/// # Errors
/// [`Error::Missing`], which names the Debian package.
pub fn program(name: &str, folders: &[&str], package: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = folders.iter().map(|folder| Path::new(folder).to_owned());
    // Debian's users do not all search where its daemons are.
    let all = folders
        .chain(std::env::split_paths(&path))
        .chain([PathBuf::from("/usr/sbin")]);
    let mut candidates = all.map(|folder| folder.join(OsStr::new(name)));
    let found = candidates.find(|path| path.is_file());
    found.ok_or_else(|| Error::Missing {
        program: name.to_owned(),
        hint: format!("apt-get install {package}"),
    })
}

/// How long a daemon may take until it listens.
const START: Duration = Duration::from_secs(20);
