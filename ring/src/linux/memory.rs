//! The memory of a ring on Linux: what is mapped where, and the checks that keep a peer's file from ending this process.
//!
//! Each end makes a file in memory with the pages that it alone writes: P and the data for the producer, C for the
//! consumer. It maps them, seals the file against everybody else's writing, growing and shrinking, and passes it on. The peer
//! maps it for reading. Page H belongs to no file: each process keeps its own, and plays the kernel's part in it.
//!
//! Invariant: a [`Mapping`] is one reservation of address space in which every byte of the view is mapped as long as
//! it lives, over files that can't shrink and whose pages are all there.
#![allow(unsafe_code)]

use core::ffi::c_void;
use core::mem::offset_of;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use abi::ring::{
    DATA_OFFSET, End, Form, Geometry, HEADER_OFFSET, Header, IndexPage, Kind, PAGE_BYTES,
};
use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags};
use rustix::mm::{Advice, MapFlags, MprotectFlags, ProtFlags};

use super::link::{Futex, Unused};
use super::process::Process;
use super::{Error, Fault};
use crate::memory::{ConsumerMemory, ProducerMemory};

/// What a file must be sealed against before its peer maps it.
const SEALS: SealFlags = SealFlags::SHRINK
    .union(SealFlags::GROW)
    .union(SealFlags::FUTURE_WRITE);

/// Of a file system whose files are in memory, page by page (`statfs(2)`, `TMPFS_MAGIC`).
const TMPFS_MAGIC: u64 = 0x0102_1994;

/// Bytes of the file with the pages that `end` writes.
fn file_bytes(geometry: Geometry, end: End) -> u64 {
    match end {
        End::Producer => PAGE_BYTES as u64 + geometry.data_bytes(),
        End::Consumer => PAGE_BYTES as u64,
    }
}

/// A file for the pages that `end` writes, all of them there and zero. It is not sealed yet.
pub(super) fn create_file(geometry: Geometry, end: End) -> Result<OwnedFd, Error> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = rustix::fs::memfd_create("handover-ring", flags)?;
    let bytes = file_bytes(geometry, end);
    rustix::fs::ftruncate(&file, bytes)?;
    rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, bytes)?;
    Ok(file)
}

/// Gives up all further writing to a file, save through what is mapped already.
pub(super) fn seal(file: &OwnedFd) -> Result<(), Error> {
    if crate::sabotaged!("linux_file_not_sealed") {
        return Ok(());
    }
    Ok(rustix::fs::fcntl_add_seals(
        file,
        SEALS.union(SealFlags::SEAL),
    )?)
}

/// Whether a file that the peer's `end` sent can be mapped and read without harm.
///
/// A file that can shrink, or whose pages are taken from a pool when they are touched, can end with SIGBUS whoever
/// reads it; a page that is not there yet would be charged to whoever touches it first.
pub(super) fn check_file(file: &OwnedFd, geometry: Geometry, end: End) -> Result<(), Error> {
    // What is not a file in memory has no seals to tell of.
    let seals = rustix::fs::fcntl_get_seals(file).map_err(|_| Fault::NotAFileInMemory)?;
    if rustix::fs::fstatfs(file)?.f_type as u64 != TMPFS_MAGIC {
        return Err(Fault::NotAFileInMemory.into());
    }
    if !seals.contains(SEALS) && !crate::sabotaged!("linux_seals_not_checked") {
        return Err(Fault::NotSealed.into());
    }
    // The size is looked at after the seals, so that it stays what it is.
    let stat = rustix::fs::fstat(file)?;
    let bytes = file_bytes(geometry, end);
    let whole = stat.st_size as u64 == bytes && stat.st_blocks as u64 >= bytes / 512;
    if !whole && !crate::sabotaged!("linux_size_not_checked") {
        return Err(Fault::FileSize.into());
    }
    Ok(())
}

/// Who may write the pages of a file in a mapping.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    /// This process.
    Write,
    /// The peer's.
    Read,
}

/// A view in which the peer's pages are missing.
pub(super) struct Half {
    mapping: Mapping,
    end: End,
}

impl Half {
    /// Maps and fills what `end` writes, over its file.
    pub(super) fn new(
        geometry: Geometry,
        end: End,
        start: u32,
        file: &OwnedFd,
    ) -> Result<Self, Error> {
        let mapping = Mapping::reserve(geometry)?;
        mapping.place_end(end, file.as_fd(), Access::Write)?;
        mapping.format_end(end, start);
        Ok(Self { mapping, end })
    }

    /// Maps the peer's file, which was found harmless, for reading.
    pub(super) fn complete(self, file: &OwnedFd) -> Result<Mapping, Error> {
        let peer = self.end.peer();
        self.mapping.place_end(peer, file.as_fd(), Access::Read)?;
        Ok(self.mapping)
    }
}

/// A view of a ring, with the data twice in a row.
///
/// A child of `fork` inherits the value and of the view only page H: where the rest was, there may be anything that the child has
/// mapped since.
pub(super) struct Mapping {
    base: NonNull<u8>,
    geometry: Geometry,
    home: Process,
}

// SAFETY: the memory belongs to no thread, and is reached through atomics only.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// A view whose files both are this process's.
    pub(super) fn own(geometry: Geometry, start: u32) -> Result<Self, Error> {
        let mapping = Self::reserve(geometry)?;
        for end in [End::Producer, End::Consumer] {
            let file = create_file(geometry, end)?;
            mapping.place_end(end, file.as_fd(), Access::Write)?;
            mapping.format_end(end, start);
        }
        Ok(mapping)
    }

    /// Address space for a view. Only page H is there.
    fn reserve(geometry: Geometry) -> Result<Self, Error> {
        let bytes = Self::bytes(geometry)?;
        let home = Process::this()?;
        // SAFETY: without an address it takes what is free.
        let base = unsafe {
            rustix::mm::mmap_anonymous(
                core::ptr::null_mut(),
                bytes,
                ProtFlags::empty(),
                MapFlags::PRIVATE | MapFlags::NORESERVE,
            )
        }?;
        let base = NonNull::new(base.cast()).ok_or(rustix::io::Errno::NOMEM)?;
        // From here on the reservation is given back when something fails.
        let mapping = Self {
            base,
            geometry,
            home,
        };
        // SAFETY: page H lies in the reservation, which nobody else has seen.
        unsafe {
            let header = base.add(HEADER_OFFSET).as_ptr().cast();
            rustix::mm::mprotect(
                header,
                PAGE_BYTES,
                MprotectFlags::READ | MprotectFlags::WRITE,
            )
        }?;
        Ok(mapping)
    }

    /// Maps what `end` writes.
    fn place_end(&self, end: End, file: BorrowedFd<'_>, access: Access) -> Result<(), Error> {
        self.place(IndexPage::offset(end), PAGE_BYTES, file, 0, access)?;
        if end == End::Producer {
            let bytes = self.geometry.data_bytes() as usize;
            for offset in [DATA_OFFSET, DATA_OFFSET + bytes] {
                self.place(offset, bytes, file, PAGE_BYTES, access)?;
            }
        }
        Ok(())
    }

    fn bytes(geometry: Geometry) -> Result<usize, Error> {
        match usize::try_from(geometry.view_bytes()) {
            Ok(bytes) if bytes <= isize::MAX as usize => Ok(bytes),
            _ => Err(Error::Geometry),
        }
    }

    fn place(
        &self,
        offset: usize,
        bytes: usize,
        file: BorrowedFd<'_>,
        file_offset: usize,
        access: Access,
    ) -> Result<(), Error> {
        let protection = match access {
            Access::Write => ProtFlags::READ | ProtFlags::WRITE,
            Access::Read => ProtFlags::READ,
        };
        let flags = MapFlags::SHARED | MapFlags::FIXED;
        // SAFETY: the part of the view lies in the reservation, and nobody has used it before.
        unsafe {
            let at = self.base.add(offset).as_ptr().cast::<c_void>();
            rustix::mm::mmap(at, bytes, protection, flags, file, file_offset as u64)?;
            // A child of fork would be a second holder of this end.
            rustix::mm::madvise(at, bytes, Advice::LinuxDontFork)?;
        }
        Ok(())
    }

    /// Fills what `end` writes in a new ring. This process may write it.
    pub(super) fn format_end(&self, end: End, start: u32) {
        let page = IndexPage::offset(end);
        for offset in [
            offset_of!(IndexPage, index),
            offset_of!(IndexPage, waits_until),
        ] {
            self.word(page + offset).store(start, Ordering::Relaxed);
        }
        if end == End::Producer && self.geometry.kind == Kind::Slot {
            for position in 0..self.geometry.capacity {
                let word = self.geometry.initial_word(start, position);
                self.slot_word(position).store(word, Ordering::Relaxed);
            }
        }
    }

    /// Fills page H; the magic number last.
    pub(super) fn format_header(&self, form: Form, start: u32, epoch: u32) {
        for (offset, word) in Header::new(self.geometry, form, start, epoch).words() {
            // SYNC(ring.format)
            self.word(HEADER_OFFSET + offset)
                .store(word, Ordering::Release);
        }
    }

    /// Whether this process has the view, and is no child of the one that has.
    pub(super) fn is_here(&self) -> bool {
        self.home.is_this()
    }

    pub(super) fn state(&self, end: End) -> &AtomicU32 {
        self.word(HEADER_OFFSET + Header::state_offset(end))
    }

    /// The index that `end` tells of. Where the peer writes it, it may only be loaded.
    pub(super) fn index(&self, end: End) -> &AtomicU32 {
        self.word(IndexPage::offset(end) + offset_of!(IndexPage, index))
    }

    fn word(&self, offset: usize) -> &AtomicU32 {
        debug_assert!(offset.is_multiple_of(4) && offset + 4 <= DATA_OFFSET);
        // SAFETY: all callers pass the constant offset of an aligned word of H, P or C, which are mapped. Shared words are
        // accessed only atomically.
        unsafe { AtomicU32::from_ptr(self.base.add(offset).cast().as_ptr()) }
    }

    fn slot_word(&self, position: u32) -> &AtomicU64 {
        debug_assert!(position < self.geometry.capacity);
        let offset = DATA_OFFSET + self.geometry.slot_offset(position) as usize;
        // SAFETY: a slot below the capacity lies in the data, which is mapped, and is 64-byte aligned.
        unsafe { AtomicU64::from_ptr(self.base.add(offset).cast().as_ptr()) }
    }

    /// The producer's role on this view.
    ///
    /// # Safety
    /// The mapping outlives the result, the role is taken once, and this process may write the producer's file.
    pub(super) unsafe fn producer(&self) -> Result<ProducerMemory, crate::Error> {
        // SAFETY: the view is mapped whole, over files that can't shrink and are there; files begin as zeroes. What else
        // in this process touches it is this module, which uses atomics. The caller promises the rest.
        unsafe { ProducerMemory::from_raw(self.base, self.geometry) }
    }

    /// The consumer's role on this view.
    ///
    /// # Safety
    /// The mapping outlives the result, the role is taken once, and this process may write the consumer's file.
    pub(super) unsafe fn consumer(&self) -> Result<ConsumerMemory, crate::Error> {
        // SAFETY: as for the producer.
        unsafe { ConsumerMemory::from_raw(self.base, self.geometry) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // In a child it would be memory of the child's.
        if !self.is_here() && !crate::sabotaged!("linux_child_unmaps_its_own") {
            return;
        }
        if let Ok(bytes) = Self::bytes(self.geometry) {
            // SAFETY: the reservation is this mapping's, and who got memory of it promised to be gone.
            let _ = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), bytes) };
        }
    }
}

/// The producer's role, and what it sleeps by, which keeps the mapping: it is to be dropped after the role.
pub(super) fn producer(end: Unused) -> Result<(ProducerMemory, Futex), crate::Error> {
    let futex = end.take(End::Producer)?;
    // SAFETY: see above; there is one `Unused` for each end, and it is used up here.
    let memory = unsafe { futex.link().mapping.producer() }?;
    Ok((memory, futex))
}

/// The consumer's role, likewise.
pub(super) fn consumer(end: Unused) -> Result<(ConsumerMemory, Futex), crate::Error> {
    let futex = end.take(End::Consumer)?;
    // SAFETY: as above.
    let memory = unsafe { futex.link().mapping.consumer() }?;
    Ok((memory, futex))
}
