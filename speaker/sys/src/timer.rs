//! A timer that is more exact than the runtime's, which counts in milliseconds; and the scheduling of a thread that has to be on time.
#![allow(
    unsafe_code,
    reason = "timerfd and the calls that schedule a thread have no safe form"
)]

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::unix::AsyncFd;

use crate::option::check;

/// timerfd_create(2), on the monotonic clock.
#[derive(Debug)]
pub struct Timer {
    fd: AsyncFd<OwnedFd>,
}

impl Timer {
    /// A timer that is not set. Needs a tokio runtime.
    ///
    /// # Errors
    /// When there are no more descriptors.
    pub fn new() -> io::Result<Self> {
        let flags = libc::TFD_NONBLOCK | libc::TFD_CLOEXEC;
        // SAFETY: no memory is involved.
        let fd = check(unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, flags) })?;
        // SAFETY: the descriptor was just made, and nobody else has it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self {
            // SAFETY: the descriptor stays the same and open for as long as the owner lives; it is never replaced.
            fd: unsafe { AsyncFd::register(fd) }?,
        })
    }

    /// Expires `after` from now, in place of what was set before; never for `None`.
    ///
    /// # Errors
    /// None that is known.
    pub fn set(&self, after: Option<Duration>) -> io::Result<()> {
        // Zero would mean never.
        let after = after.map_or(Duration::ZERO, |after| after.max(Duration::from_nanos(1)));
        let value = libc::itimerspec {
            it_interval: timespec(Duration::ZERO)?,
            it_value: timespec(after)?,
        };
        // SAFETY: the pointer is to an itimerspec, alive during the call; the old value is not asked for.
        check(unsafe {
            libc::timerfd_settime(self.fd.as_raw_fd(), 0, &raw const value, ptr::null_mut())
        })?;
        Ok(())
    }

    /// Ready when it has expired, once.
    ///
    /// # Errors
    /// None that is known.
    pub fn poll_expired(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut guard = ready!(self.fd.poll_read_ready(cx))?;
            let read = guard.try_io(|fd| {
                let mut count = 0u64;
                // SAFETY: the pointer is to eight bytes, alive during the call.
                let read = unsafe { libc::read(fd.as_raw_fd(), (&raw mut count).cast(), 8) };
                if read < 0 {
                    return Err(io::Error::last_os_error());
                }
                Ok(())
            });
            if let Ok(result) = read {
                return Poll::Ready(result);
            }
        }
    }
}

/// How the kernel was asked to schedule a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheduling {
    /// Before every ordinary thread.
    RealTime,
    /// Before most: a nice value of -20.
    Favoured,
    /// As any other: this process may ask for nothing better (CAP_SYS_NICE).
    Ordinary,
}

/// Has the calling thread woken as soon as it can be: exact timers, and the best scheduling that this process may ask for. Threads that it
/// starts are scheduled as others.
pub fn be_on_time() -> Scheduling {
    // A timer may be late by so many nanoseconds to be served with others. No privilege is needed.
    // SAFETY: no memory is involved.
    let _ = unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1) };
    let lowest = libc::sched_param { sched_priority: 1 };
    let policy = libc::SCHED_RR | libc::SCHED_RESET_ON_FORK;
    // SAFETY: the pointer is to a sched_param, alive during the call; 0 is the calling thread.
    if check(unsafe { libc::sched_setscheduler(0, policy, &raw const lowest) }).is_ok() {
        return Scheduling::RealTime;
    }
    // SAFETY: no memory is involved; 0 is the calling thread.
    if check(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, -20) }).is_ok() {
        return Scheduling::Favoured;
    }
    Scheduling::Ordinary
}

fn timespec(duration: Duration) -> io::Result<libc::timespec> {
    Ok(libc::timespec {
        tv_sec: duration.as_secs().try_into().map_err(io::Error::other)?,
        tv_nsec: duration.subsec_nanos().into(),
    })
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Instant;

    use super::*;

    #[tokio::test]
    async fn a_timer_expires_once_each_time_it_is_set_and_not_before() {
        let timer = Timer::new().unwrap();
        for after in [Duration::ZERO, Duration::from_millis(3)] {
            let start = Instant::now();
            timer.set(Some(Duration::from_secs(3_600))).unwrap();
            timer.set(Some(after)).unwrap();
            poll_fn(|cx| timer.poll_expired(cx)).await.unwrap();
            assert!(start.elapsed() >= after);
        }
        timer.set(Some(Duration::from_millis(1))).unwrap();
        timer.set(None).unwrap();
        let expired = poll_fn(|cx| timer.poll_expired(cx));
        let limit = Duration::from_millis(20);
        assert!(tokio::time::timeout(limit, expired).await.is_err());
    }
}
