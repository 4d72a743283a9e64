use std::{
    cell::RefCell,
    collections::BTreeSet,
    panic,
    path::{Path, PathBuf},
    process::{self, Command},
    sync::{
        Arc, Mutex, MutexGuard, Once, PoisonError, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use ironlb_sys::namespace::{become_root_in_a_user_namespace, is_root};
use tokio::signal::unix::{SignalKind, signal};

use crate::{Error, Host, Process, Result, Switch, directory::Directory, error::Doing};

/// A set of hosts and switches and the processes on them.
///
/// When it is dropped, all its processes are killed and its files are removed. The same happens on SIGINT and SIGTERM,
/// after which the program exits with 128 plus the signal's number. Should the program be killed, the kernel ends the
/// processes, and with them the namespaces.
#[derive(Debug)]
pub struct Lab {
    inner: Arc<Inner>,
}

impl Lab {
    /// Makes labs possible without root: when the program is not root, moves it into a user namespace where it is.
    /// To be called first in `main`, before there is a second thread. Root needs it not, and no harm is done.
    ///
    /// # Errors
    /// When the system does not allow user namespaces.
    pub fn enter() -> Result<()> {
        if is_root().doing(|| "read /proc/self".into())? {
            return Ok(());
        }
        become_root_in_a_user_namespace().doing(|| {
            "become root in a user namespace (not allowed here? root needs none)".into()
        })?;
        IN_OWN_USER_NAMESPACE.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Makes an empty lab. `name` appears in file names and messages; it need not be unique.
    ///
    /// # Errors
    /// When its directory cannot be made.
    pub fn new(name: &str) -> Result<Self> {
        clean_up_on_signals()?;
        show_logs_on_panic();
        let inner = Arc::new(Inner {
            name: name.to_owned(),
            directory: Directory::new(name)?,
            hosts: Mutex::default(),
            processes: Mutex::default(),
            started: AtomicUsize::new(0),
        });
        locked(&LABS).push(Arc::downgrade(&inner));
        let lab = Self { inner };
        lab.show_logs_if_this_thread_panics();
        Ok(lab)
    }

    /// The name it was made with.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Adds a host: a network namespace with its loopback interface up and nothing else.
    /// IPv6 addresses are usable at once, without duplicate address detection.
    ///
    /// # Errors
    /// The kernel's refusal, or a host of that name is there already.
    pub fn host(&self, name: &str) -> Result<Host> {
        if !locked(&self.inner.hosts).insert(name.to_owned()) {
            return Err(Error::System {
                doing: format!("add the host {name} to {}", self.name()),
                source: std::io::ErrorKind::AlreadyExists.into(),
            });
        }
        Host::new(Arc::clone(&self.inner), name)
    }

    /// Adds a host that forwards IPv4 and IPv6.
    ///
    /// # Errors
    /// As for [`Self::host`].
    pub fn router(&self, name: &str) -> Result<Host> {
        let router = self.host(name)?;
        router.forward()?;
        Ok(router)
    }

    /// Adds an Ethernet switch without any host on it. It floods multicast, runs no spanning tree and takes
    /// part in nothing itself.
    ///
    /// # Errors
    /// As for [`Self::host`].
    pub fn switch(&self, name: &str) -> Result<Switch> {
        Switch::new(self.host(name)?)
    }

    /// A directory for the lab's files, which is removed with it.
    pub fn directory(&self) -> &Path {
        self.inner.directory.path()
    }

    /// The end of the log of every process of the lab, running or not, `lines` lines of each.
    pub fn log_tails(&self, lines: usize) -> String {
        self.inner.log_tails(lines)
    }

    /// Shows the end of the logs when the current thread panics. That is so anyway on the thread that made the
    /// lab; a test that uses another's lab calls this first.
    pub fn show_logs_if_this_thread_panics(&self) {
        INVOLVED.with_borrow_mut(|labs| {
            labs.retain(|lab| lab.strong_count() > 0);
            labs.push(Arc::downgrade(&self.inner));
        });
    }

    /// Blocks for good. Ctrl-C still cleans up and exits.
    pub fn stay(self) -> ! {
        loop {
            thread::park();
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.inner.tear_down();
    }
}

#[derive(Debug)]
pub(crate) struct Inner {
    name: String,
    directory: Directory,
    hosts: Mutex<BTreeSet<String>>,
    processes: Mutex<Vec<Process>>,
    started: AtomicUsize,
}

impl Inner {
    /// Starts a process that ends with the lab.
    pub(crate) fn start(&self, host: &str, name: &str, command: Command) -> Result<Process> {
        let log = self.log_path(host, name);
        let mut processes = locked(&self.processes);
        let process = Process::start(format!("{host}/{name}"), command, log)?;
        processes.push(process.clone());
        Ok(process)
    }

    /// A directory that is removed with the lab.
    pub(crate) fn new_directory(&self, host: &str, name: &str) -> Result<PathBuf> {
        let path = self.numbered(host, name);
        std::fs::create_dir(&path).map_err(|source| Error::File {
            path: path.clone(),
            source,
        })?;
        Ok(path)
    }

    fn log_path(&self, host: &str, name: &str) -> PathBuf {
        self.numbered(host, &format!("{name}.log"))
    }

    fn numbered(&self, host: &str, name: &str) -> PathBuf {
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        self.directory
            .path()
            .join(format!("{number:02}-{host}-{name}"))
    }

    fn log_tails(&self, lines: usize) -> String {
        let processes = locked(&self.processes);
        let tail = |process: &Process| {
            let state = match process.status() {
                Ok(Some(status)) => format!("ended with {status}"),
                Ok(None) => "running".to_owned(),
                Err(error) => error.to_string(),
            };
            format!(
                "== {}: {} ({state})\n{}\n",
                self.name,
                process.name(),
                process.log_tail(lines)
            )
        };
        processes.iter().map(tail).collect()
    }

    fn tear_down(&self) {
        for process in locked(&self.processes).drain(..) {
            // One that cannot be killed ends with this program.
            let _ = process.kill();
        }
        self.directory.remove();
    }
}

/// The labs that the current thread uses; [`Host::in_namespace`] hands them on to its thread.
pub(crate) fn involved() -> Vec<Weak<Inner>> {
    INVOLVED.with_borrow(Clone::clone)
}

pub(crate) fn involve(labs: Vec<Weak<Inner>>) {
    INVOLVED.set(labs);
}

fn show_logs_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            before(info);
            let labs =
                INVOLVED.try_with(|labs| labs.try_borrow().map(|l| l.clone()).unwrap_or_default());
            for lab in labs.unwrap_or_default().iter().filter_map(Weak::upgrade) {
                eprintln!("{}", lab.log_tails(LINES_AFTER_A_PANIC));
            }
        }));
    });
}

fn clean_up_on_signals() -> Result<()> {
    static STARTED: Mutex<bool> = Mutex::new(false);
    let mut started = locked(&STARTED);
    if !*started {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .doing(|| "watch for signals".into())?;
        thread::Builder::new()
            .name("lab-signals".into())
            .spawn(move || runtime.block_on(exit_on_a_signal()))
            .doing(|| "watch for signals".into())?;
        *started = true;
    }
    Ok(())
}

async fn exit_on_a_signal() {
    let (Ok(mut interrupt), Ok(mut terminate)) = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    ) else {
        // The default action remains: the program ends, and the kernel cleans up all but the files.
        return;
    };
    let number = tokio::select! {
        _ = interrupt.recv() => SignalKind::interrupt().as_raw_value(),
        _ = terminate.recv() => SignalKind::terminate().as_raw_value(),
    };
    for lab in locked(&LABS).drain(..).filter_map(|lab| lab.upgrade()) {
        lab.tear_down();
    }
    process::exit(128 + number);
}

pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

thread_local! {
    static INVOLVED: RefCell<Vec<Weak<Inner>>> = const { RefCell::new(Vec::new()) };
}

/// [`Lab::enter`] had to make a user namespace.
pub(crate) static IN_OWN_USER_NAMESPACE: AtomicBool = AtomicBool::new(false);
static LABS: Mutex<Vec<Weak<Inner>>> = Mutex::new(Vec::new());
const LINES_AFTER_A_PANIC: usize = 20;
