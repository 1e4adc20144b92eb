//! The memory of a ring.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use abi::ring::{DATA_OFFSET, Form, Geometry};
use ring::memory::{ConsumerMemory, Owner, ProducerMemory};

/// The memory of a ring. Words can be overwritten at any time, as a hostile peer would.
pub struct Backing {
    base: NonNull<u8>,
    pub geometry: Geometry,
}

// SAFETY: the mapping belongs to no thread.
unsafe impl Send for Backing {}
// SAFETY: all accesses are atomic.
unsafe impl Sync for Backing {}

impl Backing {
    pub fn new(geometry: Geometry) -> Self {
        Self {
            base: match needs_mapping(geometry) {
                true => mapping::map(geometry),
                false => allocation::map(geometry),
            },
            geometry,
        }
    }

    /// Bytes of the view, the data once.
    pub fn bytes(&self) -> usize {
        DATA_OFFSET + self.geometry.data_bytes() as usize
    }

    /// The word at a byte offset of the view.
    pub fn word(&self, offset: usize) -> &AtomicU32 {
        assert!(offset.is_multiple_of(4) && offset + 4 <= DATA_OFFSET);
        // SAFETY: in bounds and aligned; these words are accessed only atomically.
        unsafe { AtomicU32::from_ptr(self.base.add(offset).cast().as_ptr()) }
    }

    fn long_word(&self, offset: usize) -> &AtomicU64 {
        assert!(offset.is_multiple_of(8));
        // SAFETY: callers stay within the mapping. A test overwrites and looks while no end is at work.
        unsafe { AtomicU64::from_ptr(self.base.add(offset).cast().as_ptr()) }
    }

    /// Writes a word at a byte offset as a hostile peer would. Data is written in the size in which the ends read it,
    /// since mixed sizes are beyond what Miri models.
    pub fn overwrite(&self, offset: usize, value: u32) {
        if offset < DATA_OFFSET {
            self.word(offset).store(value, Ordering::Relaxed);
            return;
        }
        assert!(offset + 4 <= self.bytes());
        let word = self.long_word(offset / 8 * 8);
        let kept = word.load(Ordering::Relaxed);
        let changed = match offset % 8 {
            0 => kept & !u64::from(u32::MAX) | u64::from(value),
            _ => kept & u64::from(u32::MAX) | u64::from(value) << 32,
        };
        word.store(changed, Ordering::Relaxed);
        if self.geometry.contiguous_bytes() > self.geometry.data_bytes() {
            let other = offset / 8 * 8 + self.geometry.data_bytes() as usize;
            self.long_word(other).store(changed, Ordering::Relaxed);
        }
    }

    /// The bytes at a byte offset of the view.
    pub fn read(&self, offset: usize, length: usize) -> Vec<u8> {
        assert!(offset + length <= self.bytes());
        let words = (offset / 8..(offset + length).div_ceil(8))
            .map(|word| self.long_word(word * 8).load(Ordering::Relaxed));
        let bytes = words.flat_map(u64::to_ne_bytes);
        bytes.skip(offset % 8).take(length).collect()
    }

    pub fn format(&self, start: u32) -> Owner {
        self.format_as(Form::Symmetric, start)
    }

    pub fn format_as(&self, form: Form, start: u32) -> Owner {
        // SAFETY: zeroed, aligned and large enough; a test keeps the backing alive to its end and attaches later.
        unsafe { Owner::format(self.base, self.geometry, form, start, 1) }.unwrap()
    }

    pub fn producer_memory(&self) -> ProducerMemory {
        // SAFETY: as above; a test takes each role once at a time.
        unsafe { ProducerMemory::from_raw(self.base, self.geometry) }.unwrap()
    }

    pub fn consumer_memory(&self) -> ConsumerMemory {
        // SAFETY: as above.
        unsafe { ConsumerMemory::from_raw(self.base, self.geometry) }.unwrap()
    }
}

impl Drop for Backing {
    fn drop(&mut self) {
        match needs_mapping(self.geometry) {
            true => mapping::unmap(self.base, self.geometry),
            false => allocation::unmap(self.base, self.geometry),
        }
    }
}

/// Whether the data must be there twice in a row. Miri can't map.
fn needs_mapping(geometry: Geometry) -> bool {
    cfg!(not(miri)) && geometry.contiguous_bytes() > geometry.data_bytes()
}

/// The data twice in a row, as the kernel maps it.
#[cfg(not(miri))]
mod mapping {
    use core::ffi::c_void;
    use std::os::fd::OwnedFd;
    use std::ptr::{NonNull, null_mut};

    use abi::ring::{DATA_OFFSET, Geometry};
    use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
    use rustix::mm::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};

    pub fn map(geometry: Geometry) -> NonNull<u8> {
        let data = geometry.data_bytes() as usize;
        let file = memfd_create("ring", MemfdFlags::CLOEXEC).unwrap();
        ftruncate(&file, (DATA_OFFSET + data) as u64).unwrap();
        let length = geometry.view_bytes() as usize;
        // SAFETY: a new mapping touches nobody's memory.
        let base = unsafe {
            mmap_anonymous(null_mut(), length, ProtFlags::empty(), MapFlags::PRIVATE).unwrap()
        };
        place(base, 0, DATA_OFFSET + data, &file, 0);
        place(base, DATA_OFFSET + data, data, &file, DATA_OFFSET);
        NonNull::new(base.cast()).unwrap()
    }

    fn place(base: *mut c_void, at: usize, length: usize, file: &OwnedFd, offset: usize) {
        let flags = MapFlags::SHARED | MapFlags::FIXED;
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: it takes the place of a part of the mapping that `map` has just made.
        unsafe {
            mmap(
                base.byte_add(at),
                length,
                access,
                flags,
                file,
                offset as u64,
            )
        }
        .unwrap();
    }

    pub fn unmap(base: NonNull<u8>, geometry: Geometry) {
        // SAFETY: it was mapped so, and nobody uses it any more.
        unsafe { munmap(base.as_ptr().cast(), geometry.view_bytes() as usize) }.unwrap();
    }
}

#[cfg(miri)]
use allocation as mapping;

/// The data and room for its copy, which the producer keeps under Miri.
mod allocation {
    use std::alloc::{Layout, alloc_zeroed, dealloc};
    use std::ptr::NonNull;

    use abi::ring::{Geometry, PAGE_BYTES};

    fn layout(geometry: Geometry) -> Layout {
        Layout::from_size_align(geometry.view_bytes() as usize, PAGE_BYTES).unwrap()
    }

    pub fn map(geometry: Geometry) -> NonNull<u8> {
        // SAFETY: a view has bytes.
        NonNull::new(unsafe { alloc_zeroed(layout(geometry)) }).unwrap()
    }

    pub fn unmap(base: NonNull<u8>, geometry: Geometry) {
        // SAFETY: it was allocated so, and nobody uses it any more.
        unsafe { dealloc(base.as_ptr(), layout(geometry)) }
    }
}
