use std::{
    fmt::Display,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        mpsc::{self, Sender},
    },
    thread,
    time::Duration,
};

use ironlb_sys::namespace::{Signal, die_with_parent, send_signal};

use crate::{Error, Result, error::Doing, wait::eventually_ok};

/// A process on a host, with everything it prints in one log file.
///
/// A handle may be cloned, sent and dropped freely: the process runs until it is ended, or the lab is.
#[derive(Clone, Debug)]
pub struct Process {
    inner: Arc<Inner>,
}

impl Process {
    /// Starts `command`, which must not redirect its output itself. `name` is for people.
    pub(crate) fn start(name: String, mut command: Command, log: PathBuf) -> Result<Self> {
        let file = |source| Error::File {
            path: log.clone(),
            source,
        };
        let output = File::create(&log).map_err(file)?;
        let errors = output.try_clone().map_err(file)?;
        command.stdin(Stdio::null()).stdout(output).stderr(errors);
        let child = spawn_to_last(command).doing(|| format!("start {name}"))?;
        let inner = Inner {
            name,
            log,
            id: child.id(),
            child: Mutex::new(child),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// The host and the name of the process, such as `n1/kube-proxy`.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// The process's id. The kernel may give it to another once this one has ended.
    pub fn id(&self) -> u32 {
        self.inner.id
    }

    /// The file with all that the process printed.
    pub fn log_path(&self) -> &Path {
        &self.inner.log
    }

    /// All that the process printed up to now.
    pub fn log(&self) -> String {
        fs::read(&self.inner.log).map_or_else(
            |error| error.to_string(),
            |text| String::from_utf8_lossy(&text).into_owned(),
        )
    }

    /// The last `lines` lines that the process printed.
    pub fn log_tail(&self, lines: usize) -> String {
        let log = self.log();
        let all: Vec<&str> = log.lines().collect();
        all.get(all.len().saturating_sub(lines)..)
            .unwrap_or_default()
            .join("\n")
    }

    /// How the process ended, or `None` while it runs.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn status(&self) -> Result<Option<ExitStatus>> {
        self.child()
            .try_wait()
            .doing(|| format!("look after {}", self.name()))
    }

    /// Whether the process still runs; one that is paused does.
    pub fn is_running(&self) -> bool {
        matches!(self.status(), Ok(None))
    }

    /// Waits until the process has ended by itself.
    ///
    /// # Errors
    /// [`Error::Timeout`] when it still runs after `limit`.
    pub fn wait(&self, limit: Duration) -> Result<ExitStatus> {
        let what = format!("{} ends", self.name());
        eventually_ok(&what, limit, || match self.status() {
            Ok(Some(status)) => Ok(status),
            Ok(None) => Err("it runs".to_owned()),
            Err(error) => Err(error.to_string()),
        })
    }

    /// Kills the process (SIGKILL) and waits for its end. No harm if it has ended already.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn kill(&self) -> Result<()> {
        let mut child = self.child();
        child.kill().doing(|| format!("kill {}", self.name()))?;
        child.wait().doing(|| format!("wait for {}", self.name()))?;
        Ok(())
    }

    /// Asks the process to stop (SIGTERM) and waits for its end.
    ///
    /// # Errors
    /// [`Error::Timeout`] when it still runs after `limit`.
    pub fn terminate(&self, limit: Duration) -> Result<ExitStatus> {
        self.signal(Signal::Terminate)?;
        self.wait(limit)
    }

    /// Freezes the process (SIGSTOP), all its threads: it keeps its sockets and answers nothing.
    ///
    /// # Errors
    /// The kernel's refusal; the process has ended.
    pub fn pause(&self) -> Result<()> {
        self.signal(Signal::Stop)?;
        // The signal is on its way when the call above returns; each thread stops on its own.
        let what = format!("{} stands still", self.name());
        self.wait_until(&what, PATIENCE, || {
            if stands_still(self.id())? {
                Ok(())
            } else {
                Err(io::Error::other("it moves"))
            }
        })
    }

    /// Lets a frozen process go on (SIGCONT).
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn resume(&self) -> Result<()> {
        self.signal(Signal::Continue)
    }

    /// Sends a signal. A process that has ended gets none.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let mut child = self.child();
        // Until it is waited for, and this lock keeps others from that, its id is its own.
        if child
            .try_wait()
            .doing(|| format!("look after {}", self.name()))?
            .is_some()
        {
            return Ok(());
        }
        send_signal(self.inner.id, signal).doing(|| format!("send {signal:?} to {}", self.name()))
    }

    /// Waits until the log has a line that contains `text`, and gives the first such line.
    ///
    /// # Errors
    /// [`Error::Ended`] when the process ends without it, [`Error::Timeout`] after `limit`.
    pub fn wait_for_line(&self, text: &str, limit: Duration) -> Result<String> {
        self.wait_until(&format!("{} prints {text:?}", self.name()), limit, || {
            let log = self.log();
            let found = log
                .lines()
                .find(|line| line.contains(text))
                .map(str::to_owned);
            found.ok_or("it has not yet")
        })
    }

    /// Waits until `attempt` succeeds while the process runs, and gives what it gave. `what` names the condition.
    ///
    /// # Errors
    /// [`Error::Ended`] when the process ends before, [`Error::Timeout`] after `limit`.
    pub fn wait_until<T, E: Display>(
        &self,
        what: &str,
        limit: Duration,
        mut attempt: impl FnMut() -> std::result::Result<T, E>,
    ) -> Result<T> {
        let mut ended = None;
        let result = eventually_ok(what, limit, || {
            // Looked at first: what the process did just before its end still counts.
            ended = self.status().ok().flatten();
            match attempt() {
                Ok(value) => Ok(Some(value)),
                Err(_) if ended.is_some() => Ok(None),
                Err(error) => Err(error),
            }
        })?;
        match (result, ended) {
            (None, Some(status)) => Err(Error::Ended {
                process: self.name().to_owned(),
                status,
                during: what.to_owned(),
                log: self.log_tail(LINES_IN_ERRORS),
            }),
            (Some(value), _) => Ok(value),
            (None, None) => Err(Error::Timeout {
                what: what.to_owned(),
                after: limit,
                last: None,
            }),
        }
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        self.inner
            .child
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct Inner {
    name: String,
    log: PathBuf,
    id: u32,
    child: Mutex<Child>,
}

/// Starts the process from a thread that lives as long as this program: the kernel ends the process when
/// the thread that started it ends, and the threads of tests end early.
fn spawn_to_last(mut command: Command) -> io::Result<Child> {
    type Order = (Command, Sender<io::Result<Child>>);
    static ORDERS: OnceLock<Mutex<Sender<Order>>> = OnceLock::new();

    // A terminal's Ctrl-C is for the lab alone, which then ends its processes in order.
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    die_with_parent(&mut command);
    let orders = ORDERS.get_or_init(|| {
        let (sender, receiver) = mpsc::channel::<Order>();
        thread::spawn(move || {
            for (mut command, answer) in receiver {
                // Whoever gave up waiting leaves the child to the end of this program.
                let _ = answer.send(command.spawn());
            }
        });
        Mutex::new(sender)
    });
    let gone = || io::Error::other("the thread that starts processes has ended");
    let (sender, receiver) = mpsc::channel();
    let orders = orders.lock().unwrap_or_else(PoisonError::into_inner);
    orders.send((command, sender)).map_err(|_| gone())?;
    receiver.recv().map_err(|_| gone())?
}

/// Whether all threads of a process are stopped by a signal, proc_pid_stat(5).
fn stands_still(process: u32) -> io::Result<bool> {
    for thread in fs::read_dir(format!("/proc/{process}/task"))? {
        let stat = fs::read_to_string(thread?.path().join("stat"))?;
        if !stat
            .rsplit_once(") ")
            .is_some_and(|(_, state)| state.starts_with('T'))
        {
            return Ok(false);
        }
    }
    Ok(true)
}

const PATIENCE: Duration = Duration::from_secs(5);
const LINES_IN_ERRORS: usize = 15;
