//! Which process this is. A child of `fork` inherits the values of its parent, and none of what they are a way to is its own.
#![allow(unsafe_code)]

use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{AtomicU32, Ordering};
use std::sync::OnceLock;

use abi::ring::PAGE_BYTES;
use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, ProtFlags};

/// A process, as what was made in it remembers it. No child is equal to a parent that had made something, also where the system gives both the
/// same number, as it does to the first of each namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Process(u32);

impl Process {
    /// The one that calls.
    pub(super) fn this() -> Result<Self, Errno> {
        /// The highest number that a process of this line has had. A child goes on from where its parent was.
        static LAST: AtomicU32 = AtomicU32::new(0);
        static PAGE: OnceLock<WipedPage> = OnceLock::new();
        let page = match PAGE.get() {
            Some(page) => page,
            None => {
                // Outside of the lock, which a child would inherit as it is. Who comes second drops its own.
                let made = WipedPage::new()?;
                PAGE.get_or_init(|| made)
            }
        };
        let number = page.number();
        let known = number.load(Ordering::Relaxed);
        if known != 0 {
            return Ok(Self(known));
        }
        let fresh = LAST.fetch_add(1, Ordering::Relaxed) + 1;
        let set = number.compare_exchange(0, fresh, Ordering::Relaxed, Ordering::Relaxed);
        Ok(Self(set.err().unwrap_or(fresh)))
    }

    /// Whether this is the one that calls.
    pub(super) fn is_this(self) -> bool {
        Self::this() == Ok(self)
    }
}

/// A page that a child finds empty.
///
/// Invariant: it is mapped for reading and writing as long as the value lives, and nobody else has it.
struct WipedPage(NonNull<u8>);

// SAFETY: the page belongs to no thread, and is accessed atomically only.
unsafe impl Send for WipedPage {}
// SAFETY: as above.
unsafe impl Sync for WipedPage {}

impl WipedPage {
    fn new() -> Result<Self, Errno> {
        let rights = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: without an address it takes what is free.
        let base = unsafe {
            rustix::mm::mmap_anonymous(null_mut(), PAGE_BYTES, rights, MapFlags::PRIVATE)
        }?;
        // From here on it is given back when something fails.
        let page = Self(NonNull::new(base.cast()).ok_or(Errno::NOMEM)?);
        // SAFETY: the page is this value's; what changes is what a child gets of it.
        unsafe { rustix::mm::madvise(base, PAGE_BYTES, Advice::LinuxWipeOnFork) }?;
        Ok(page)
    }

    fn number(&self) -> &AtomicU32 {
        // SAFETY: by the invariant it is mapped, aligned, and accessed atomically only.
        unsafe { AtomicU32::from_ptr(self.0.cast().as_ptr()) }
    }
}

impl Drop for WipedPage {
    fn drop(&mut self) {
        // SAFETY: by the invariant nobody else has it.
        let _ = unsafe { rustix::mm::munmap(self.0.as_ptr().cast(), PAGE_BYTES) };
    }
}
