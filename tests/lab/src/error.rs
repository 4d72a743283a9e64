use std::{io, net::AddrParseError, path::PathBuf, process::ExitStatus, time::Duration};

/// What can go wrong in a lab. Each message names the host, the process or the address in question.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused.
    #[error("cannot {doing}: {source}")]
    System {
        /// What was being done, with the object.
        doing: String,
        /// The refusal.
        source: io::Error,
    },
    /// The kernel refused a change of links, addresses, routes or neighbours.
    #[error("cannot {doing}: {source}")]
    Netlink {
        /// What was being done, with the object.
        doing: String,
        /// The refusal.
        source: rtnetlink::Error,
    },
    /// A file could not be written or read.
    #[error("{path}: {source}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The refusal.
        source: io::Error,
    },
    /// Not an address with its prefix length, such as `10.0.0.1/24`.
    #[error("{text:?} is not an address with a prefix length, such as 10.0.0.1/24 or fd00::1/64")]
    Prefix {
        /// What was given.
        text: String,
    },
    /// Not an IP address.
    #[error("{text:?} is not an IP address: {source}")]
    Address {
        /// What was given.
        text: String,
        /// The parser's reason.
        source: AddrParseError,
    },
    /// There is no such interface on the host.
    #[error("{host} has no interface {interface}")]
    NoInterface {
        /// The host.
        host: String,
        /// The interface that was asked for.
        interface: String,
    },
    /// A condition did not come true in time.
    #[error("{what}: not within {after:?}{last}", last = last.as_ref().map_or_else(String::new, |l| format!(" (last: {l})")))]
    Timeout {
        /// The condition.
        what: String,
        /// How long it was waited for.
        after: Duration,
        /// What the last attempt gave.
        last: Option<String>,
    },
    /// A process ended that should not have, or ended otherwise than it should.
    #[error("{process} ended with {status} before this: {during}; the end of its log:\n{log}")]
    Ended {
        /// Host and name of the process.
        process: String,
        /// How it ended.
        status: ExitStatus,
        /// What was being waited for.
        during: String,
        /// The end of its log.
        log: String,
    },
    /// A server answered with something that is not its name and our address.
    #[error("{server} answered {answer:?}, not a name and an address")]
    Answer {
        /// The server's address.
        server: String,
        /// Its answer.
        answer: String,
    },
    /// A program that the lab needs is not there.
    #[error("{program} is needed and was not found; {hint}")]
    Missing {
        /// The program.
        program: String,
        /// How to get it.
        hint: String,
    },
    /// A router of another project does not do what it was asked.
    #[error("the router on {host} answered {question:?} with: {answer}")]
    Router {
        /// The host it runs on.
        host: String,
        /// The question or the configuration.
        question: String,
        /// What it said.
        answer: String,
    },
    /// A topology file is wrong, or says what the lab does not do.
    #[error("{path}: {reason}", path = path.display())]
    Topology {
        /// The file, or the node.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A topology has no such node, or something else runs on it.
    #[error("the topology has no such node {node}")]
    NoNode {
        /// The node that was asked for.
        node: String,
    },
    /// The API server refused a request.
    #[error("{request}: {reason}")]
    Api {
        /// Verb and object.
        request: String,
        /// The API server's reason.
        reason: String,
    },
}

/// The result of everything a lab does.
pub type Result<T> = std::result::Result<T, Error>;

/// Turns an [`io::Error`] into an [`Error`] that says what was being done.
pub(crate) trait Doing<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| Error::System {
            doing: what(),
            source,
        })
    }
}

impl<T> Doing<T> for std::result::Result<T, rtnetlink::Error> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| Error::Netlink {
            doing: what(),
            source,
        })
    }
}
