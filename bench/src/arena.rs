//! Shared memory that both ends of what is measured live in, whether they are threads or processes.

use std::num::NonZeroUsize;
use std::ptr::NonNull;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, mmap_anonymous};

const PAGE_BYTES: usize = 4096;

/// Zeroed memory that a forked child shares, handed out from the front and taken back all at once.
///
/// Invariant: `base` begins `bytes` mapped bytes that are never unmapped, and no two results of [`Arena::take`] since
/// the last [`Arena::reuse`] overlap.
pub struct Arena {
    base: NonNull<u8>,
    bytes: usize,
    used: AtomicUsize,
    mirrored: Mutex<Vec<Mirrored>>,
}

/// Memory whose second part is mapped twice in a row. It stays mapped, too.
struct Mirrored {
    base: NonNull<u8>,
    before: usize,
    twice: usize,
    taken: bool,
}

// SAFETY: the memory belongs to no thread, and the rest is atomic or locked.
unsafe impl Send for Arena {}
// SAFETY: as above.
unsafe impl Sync for Arena {}

impl Arena {
    /// An arena of so many bytes, present from the start.
    ///
    /// # Errors
    /// What the system says of the mapping.
    pub fn new(bytes: NonZeroUsize) -> nix::Result<Self> {
        let rights = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        let flags = MapFlags::MAP_SHARED | MapFlags::MAP_POPULATE;
        // SAFETY: a new mapping at an address that the system chooses touches no memory of this process.
        let base = unsafe { mmap_anonymous(None, bytes, rights, flags) }?;
        Ok(Self {
            base: base.cast(),
            bytes: bytes.get(),
            used: AtomicUsize::new(0),
            mirrored: Mutex::default(),
        })
    }

    /// Zeroed bytes of its own for the caller, on pages of their own.
    ///
    /// # Panics
    /// When the arena is full, which is a mistake of the benchmark.
    pub fn take(&self, bytes: usize) -> NonNull<u8> {
        let whole = bytes.next_multiple_of(PAGE_BYTES);
        let offset = self.used.fetch_add(whole, Ordering::Relaxed);
        assert!(whole <= self.bytes && offset <= self.bytes - whole);
        // SAFETY: the assertion keeps the range in the mapping.
        unsafe { self.base.add(offset) }
    }

    /// Zeroed bytes of its own for the caller: `before`, and after them `twice` that are mapped twice in a row. Both are
    /// whole pages.
    ///
    /// # Panics
    /// When the system has no such memory.
    pub fn take_mirrored(&self, before: usize, twice: usize) -> NonNull<u8> {
        assert!(before.is_multiple_of(PAGE_BYTES) && twice.is_multiple_of(PAGE_BYTES));
        let mut all = self.mirrored.lock().expect("nobody panics in here");
        let free = all
            .iter_mut()
            .find(|one| !one.taken && (one.before, one.twice) == (before, twice));
        if let Some(one) = free {
            one.taken = true;
            return one.base;
        }
        let base = map_mirrored(before, twice).expect("memory that is mapped twice");
        all.push(Mirrored {
            base,
            before,
            twice,
            taken: true,
        });
        base
    }

    /// Moves a value into the arena. It is never dropped.
    pub fn place<T>(&self, value: T) -> &'static mut T {
        const { assert!(align_of::<T>() <= PAGE_BYTES) };
        let place = self.take(size_of::<T>()).cast::<T>();
        // SAFETY: the bytes are mapped for ever, aligned to a page, and nobody else has them until `reuse`, which its
        // caller answers for.
        unsafe {
            place.write(value);
            &mut *place.as_ptr()
        }
    }

    /// Takes everything back and zeroes it.
    ///
    /// # Safety
    /// Nothing that was taken or placed, and no reference to it, is used again.
    pub unsafe fn reuse(&self) {
        let used = self.used.swap(0, Ordering::Relaxed);
        // SAFETY: `take` has seen to it that all this is mapped, and by the contract nobody uses it.
        unsafe { self.base.write_bytes(0, used) };
        let mut all = self.mirrored.lock().expect("nobody panics in here");
        for one in all.iter_mut().filter(|one| one.taken) {
            // SAFETY: as above.
            unsafe { one.base.write_bytes(0, one.before + one.twice) };
            one.taken = false;
        }
    }
}

fn map_mirrored(before: usize, twice: usize) -> nix::Result<NonNull<u8>> {
    let bytes = |count: usize| NonZeroUsize::new(count).ok_or(nix::Error::EINVAL);
    let file = memfd_create(c"handover-bench", MFdFlags::empty())?;
    nix::unistd::ftruncate(&file, (before + twice) as i64)?;
    let whole = bytes(before + 2 * twice)?;
    // SAFETY: a new mapping at an address that the system chooses touches no memory of this process.
    let base = unsafe { mmap_anonymous(None, whole, ProtFlags::PROT_NONE, MapFlags::MAP_PRIVATE) }?;
    let rights = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    let flags = MapFlags::MAP_SHARED | MapFlags::MAP_FIXED | MapFlags::MAP_POPULATE;
    let parts = [
        (0, before + twice, 0),
        (before + twice, twice, before as i64),
    ];
    for (place, length, offset) in parts {
        let at = NonZeroUsize::new(base.addr().get() + place);
        // SAFETY: this replaces a part of the mapping above, which nobody uses yet.
        unsafe { mmap(at, bytes(length)?, rights, flags, &file, offset) }?;
    }
    Ok(base.cast())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_in_one_half_is_in_the_other() {
        let arena = Arena::new(NonZeroUsize::MIN).unwrap();
        let base = arena.take_mirrored(PAGE_BYTES, PAGE_BYTES);
        // SAFETY: the arena gave one page and one that is mapped twice to this test alone.
        unsafe {
            base.add(PAGE_BYTES + 5).write_volatile(7);
            assert_eq!(base.add(2 * PAGE_BYTES + 5).read_volatile(), 7);
            arena.reuse();
        }
        assert_eq!(arena.take_mirrored(PAGE_BYTES, PAGE_BYTES), base);
    }

    #[test]
    fn memory_is_zeroed_when_it_is_taken_again() {
        let arena = Arena::new(NonZeroUsize::new(8 * PAGE_BYTES).unwrap()).unwrap();
        *arena.place(0x55_u8) = 0xaa;
        assert_ne!(arena.take(1), arena.take(1));
        // SAFETY: nothing of it is used again.
        unsafe { arena.reuse() };
        // SAFETY: the page is the arena's and nobody else has it.
        assert_eq!(unsafe { arena.take(1).read() }, 0);
    }
}
