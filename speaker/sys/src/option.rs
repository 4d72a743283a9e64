//! Socket options that have no safe form.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;

/// setsockopt(2).
#[allow(unsafe_code, reason = "setsockopt has no safe form")]
pub(crate) fn set<T: Copy>(
    socket: &impl AsRawFd,
    level: i32,
    option: i32,
    value: &T,
) -> io::Result<()> {
    // SAFETY: the pointer is to a value of the length said, alive during the call.
    check(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const *value).cast(),
            length_of::<T>()?,
        )
    })?;
    Ok(())
}

/// The size of a `T`, as the system calls have it.
pub(crate) fn length_of<T>() -> io::Result<libc::socklen_t> {
    libc::socklen_t::try_from(size_of::<MaybeUninit<T>>()).map_err(io::Error::other)
}

/// What a system call returned, or the error that it left.
pub(crate) fn check(result: i32) -> io::Result<i32> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result)
}
