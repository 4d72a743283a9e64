//! How the process's allocator treats the system's memory.
#![allow(
    unsafe_code,
    reason = "mallopt(3) and malloc_trim(3) are the only ways to tell it"
)]

/// Makes the allocator give back what is no longer used, at the price of some speed where many threads allocate.
///
/// glibc has an arena for each thread that ever allocated, and what one arena has to spare no other can use: with two thousand
/// Services that is a third of the resident memory. Here there is one arena, and the end of it is given back as soon as there is
/// a little. To be called before there is a second thread. Other allocators are left alone.
pub fn keep_little() {
    #[cfg(target_env = "gnu")]
    for (parameter, value) in [
        (libc::M_ARENA_MAX, 1),
        (libc::M_TRIM_THRESHOLD, SPARE),
        (libc::M_TOP_PAD, SPARE),
    ] {
        // SAFETY: mallopt(3) takes any parameter and any value; it gives 0 for those it does not know.
        unsafe { libc::mallopt(parameter, value) };
    }
}

/// Gives back what the allocator has to spare now, wherever it lies between what is used. For when much that was read once has just
/// been dropped; whoever allocates meanwhile waits a moment. Other allocators are left alone.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim(3) takes any number of bytes to leave at the end, and touches nothing that is in use.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Bytes that the allocator may keep to spare at the end of its arena.
#[cfg(target_env = "gnu")]
const SPARE: libc::c_int = 64 << 10;
