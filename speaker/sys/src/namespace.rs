//! Network namespaces, the user namespace that allows making them without root, and child processes that
//! live in one and never outlive their parent.
//!
//! Namespaces here have no name: a [`NetNamespace`] holds one by a file descriptor, and the kernel
//! removes it when the last descriptor is closed and the last process in it has ended. Nothing is left behind
//! by a killed process. See namespaces(7).
#![allow(
    unsafe_code,
    reason = "unshare, setns, prctl and kill have no safe form in std"
)]

use std::{
    fs::{self, File},
    io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::{fs::MetadataExt, process::CommandExt},
    },
    panic,
    process::Command,
    thread,
};

/// A network namespace, held open.
#[derive(Debug)]
pub struct NetNamespace {
    fd: OwnedFd,
}

impl NetNamespace {
    /// Makes a new, empty namespace: one loopback interface, which is down.
    ///
    /// # Errors
    /// The kernel's refusal; EPERM without CAP_SYS_ADMIN in the current user namespace.
    pub fn new() -> io::Result<Self> {
        on_a_thread_of_its_own(|| {
            // SAFETY: unshare takes no pointer. It changes this thread alone, which ends below.
            check(unsafe { libc::unshare(libc::CLONE_NEWNET) })?;
            Self::current()
        })?
    }

    /// The namespace of the calling thread.
    ///
    /// # Errors
    /// When /proc is not mounted.
    pub fn current() -> io::Result<Self> {
        let file = File::open("/proc/thread-self/ns/net")?;
        Ok(Self { fd: file.into() })
    }

    /// Runs `work` on a thread inside the namespace and waits for it. Sockets made there belong to
    /// the namespace for as long as they live. A panic in `work` goes on in the caller.
    ///
    /// # Errors
    /// When the thread cannot be started or may not enter.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> io::Result<T> {
        on_a_thread_of_its_own(|| {
            self.enter()?;
            Ok(work())
        })?
    }

    /// Moves the calling thread into the namespace, for good.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn enter(&self) -> io::Result<()> {
        enter(self.fd.as_fd())
    }

    /// Makes `command` start inside the namespace.
    ///
    /// # Errors
    /// When the process is out of file descriptors.
    pub fn start_inside(&self, command: &mut Command) -> io::Result<()> {
        let fd = self.fd.try_clone()?;
        // SAFETY: the closure runs between fork and exec and does one system call, allocating nothing.
        unsafe { command.pre_exec(move || enter(fd.as_fd())) };
        Ok(())
    }
}

impl AsFd for NetNamespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Whether the process has the effective user id 0 in its user namespace.
///
/// # Errors
/// When /proc is not mounted.
pub fn is_root() -> io::Result<bool> {
    Ok(fs::metadata("/proc/self")?.uid() == 0)
}

/// Moves the process into a new user namespace in which it is root, with a mount and a network
/// namespace that belong to it. What it makes from then on needs no privilege outside.
///
/// # Errors
/// EINVAL when the process has more than one thread, EPERM or ENOSPC where user namespaces are not allowed.
pub fn become_root_in_a_user_namespace() -> io::Result<()> {
    let owner = fs::metadata("/proc/self")?;
    let (uid, gid) = (owner.uid(), owner.gid());
    // SAFETY: unshare takes no pointer; the kernel refuses a process with several threads.
    check(unsafe { libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS | libc::CLONE_NEWNET) })?;
    // The kernel wants setgroups off before an unprivileged gid map, user_namespaces(7).
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("0 {uid} 1"))?;
    fs::write("/proc/self/gid_map", format!("0 {gid} 1"))
}

/// Makes the kernel kill the process that `command` starts as soon as the thread that started it ends,
/// however it ends. Start such processes from a thread that lives as long as they should.
pub fn die_with_parent(command: &mut Command) {
    let parent = std::process::id();
    // SAFETY: the closure runs between fork and exec and does two system calls, allocating nothing.
    unsafe {
        command.pre_exec(move || {
            check(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL))?;
            // The parent may have died before the call above.
            if libc::getppid().cast_unsigned() == parent {
                Ok(())
            } else {
                Err(io::ErrorKind::BrokenPipe.into())
            }
        });
    }
}

/// A signal that the lab and the tests send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT
    Interrupt,
    /// SIGTERM: please stop.
    Terminate,
    /// SIGKILL: stop at once.
    Kill,
    /// SIGSTOP: freeze.
    Stop,
    /// SIGCONT: go on after a freeze.
    Continue,
}

impl Signal {
    fn number(self) -> libc::c_int {
        match self {
            Self::Interrupt => libc::SIGINT,
            Self::Terminate => libc::SIGTERM,
            Self::Kill => libc::SIGKILL,
            Self::Stop => libc::SIGSTOP,
            Self::Continue => libc::SIGCONT,
        }
    }
}

/// Sends `signal` to one child process. The caller must not have waited for the child yet: until then the
/// kernel gives its id to nobody else.
///
/// # Errors
/// ESRCH when there is no such process; EINVAL for an id that names a group of processes.
pub fn send_signal(child: u32, signal: Signal) -> io::Result<()> {
    let pid = libc::pid_t::try_from(child).map_err(|_| io::ErrorKind::InvalidInput)?;
    if pid <= 1 {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: kill takes no pointer, and the id names exactly one process.
    check(unsafe { libc::kill(pid, signal.number()) })
}

fn enter(namespace: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the descriptor is open for the time of the call; setns takes no pointer.
    check(unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) })
}

fn on_a_thread_of_its_own<T: Send>(work: impl FnOnce() -> T + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let running = thread::Builder::new()
            .name("namespace".into())
            .spawn_scoped(scope, work)?;
        running
            .join()
            .or_else(|reason| panic::resume_unwind(reason))
    })
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_to_a_group_of_processes_is_refused() {
        for pid in [0, 1, u32::MAX] {
            let error = send_signal(pid, Signal::Continue).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "pid {pid}");
        }
    }

    #[test]
    fn a_signal_to_a_process_that_is_gone_is_an_error() {
        let mut child = Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        let error = send_signal(child.id(), Signal::Continue).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ESRCH));
    }

    #[test]
    fn a_panic_inside_goes_on_in_the_caller() {
        let caught =
            panic::catch_unwind(|| NetNamespace::current().unwrap().run(|| panic!("inside")));
        // Without privilege the thread cannot enter and there is nothing to panic.
        if let Err(reason) = caught {
            assert_eq!(reason.downcast_ref::<&str>(), Some(&"inside"));
        }
    }
}
