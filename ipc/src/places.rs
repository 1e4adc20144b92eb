//! The places of a capability table: where they are never changes, so whoever has a handle finds its
//! place without the lock of the table, and two threads that use two handles do not meet.
//!
//! Each place has a lock of its own, held while its tenant is used; the lock of the table is needed
//! to let tenants move in and out. Lock rank: places, one at a time.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::mem;

use abi::limits::MAX_HANDLES;
use abi::{Error, Handle, ObjectKind};
use mm::lock::{Lock, Rank};
use spin::Once;

use crate::table::Held;

/// Places that are made at once.
pub(crate) const BLOCK: usize = 64;

const BLOCKS: usize = MAX_HANDLES / BLOCK;

// The index of a handle finds its place by masks alone.
const _: () = assert!(BLOCKS.is_power_of_two() && BLOCK.is_power_of_two());

/// No place: no index is as great.
pub(crate) const NONE: u32 = 0xff_ffff;
const _: () = assert!(MAX_HANDLES <= NONE as usize);

/// Bits of a handle by which its place is not in the first block.
const BEYOND_FIRST: u64 = NONE as u64 & !(BLOCK as u64 - 1);
const _: () = assert!(Handle::from_bits(BEYOND_FIRST).index() as u64 == BEYOND_FIRST);

/// What is at a place.
pub(crate) struct Tenant<T> {
    /// The handle that names it. Of an empty place: the generation of the next one, and the next empty
    /// place as the index. Of one that is lent what is there: [`lent`].
    name: Handle,
    value: Option<T>,
}

/// What was at a place of a process that ends.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Left<T> {
    Here(T),
    /// It was there by a loan, and is at home, elsewhere or gone.
    Elsewhere(T),
}

impl<T: Held> Tenant<T> {
    /// What is here, if it is what the handle was made for. It is not lent any more.
    #[inline(always)]
    pub(crate) fn named(&mut self, handle: Handle) -> Result<&T, Error> {
        if !self.has_name(handle) {
            self.recall(handle)?;
        }
        self.value.as_ref().ok_or(Error::BadHandle)
    }

    /// What is here.
    #[inline(always)]
    pub(crate) fn value(&self) -> Option<&T> {
        self.value.as_ref()
    }

    /// Whether the handle was made for what is here, which is not lent.
    #[inline(always)]
    pub(crate) fn has_name(&self, handle: Handle) -> bool {
        self.name == handle
    }

    #[cold]
    #[inline(never)]
    fn recall(&mut self, handle: Handle) -> Result<(), Error> {
        let loan = self.loan(handle.index()).ok_or(Error::BadHandle)?;
        let value = self.value.as_ref().ok_or(Error::BadHandle)?;
        if !value.recall(loan, Some(handle)) {
            return Err(Error::BadHandle);
        }
        self.name = handle;
        Ok(())
    }
}

impl<T> Tenant<T> {
    /// The number of the loan by which this place, of an index, has what is here.
    fn loan(&self, index: u32) -> Option<u32> {
        let lent = self.value.is_some() && self.name.index() == index ^ 1;
        lent.then(|| self.name.generation())
    }
}

impl<T> Tenant<T> {
    /// Takes out what is here, which a handle [names](Tenant::named); as [`Place::move_out`].
    #[inline(always)]
    pub(crate) fn leave(&mut self, handle: Handle, next_free: u32) -> Result<(T, bool), Error> {
        let value = self.value.take().ok_or(Error::BadHandle)?;
        let next = next_generation(handle.generation());
        self.name = next.map_or(Handle::NONE, |next| empty(next, next_free));
        Ok((value, next.is_some()))
    }
}

/// The name of an empty place.
#[inline(always)]
fn empty(generation: u32, next_free: u32) -> Handle {
    Handle::from_bits(u64::from(generation) << 24 | u64::from(next_free))
}

/// The name of a place that has what is there by a loan of a number. No handle that leads here is that.
fn lent(index: u32, loan: u32) -> Handle {
    Handle::from_bits(u64::from(loan) << 24 | u64::from(index ^ 1))
}

/// A place of a table.
pub(crate) struct Place<T>(Lock<Tenant<T>>);

impl<T> Place<T> {
    /// The lock of its tenant.
    #[inline(always)]
    pub(crate) fn tenant(&self) -> &Lock<Tenant<T>> {
        &self.0
    }

    /// Lets a tenant in, under the table's lock, and returns its handle and the next empty place.
    #[inline(always)]
    pub(crate) fn move_in(&self, index: u32, kind: ObjectKind, value: T) -> (Handle, u32) {
        let mut tenant = self.0.lock();
        let (generation, next_free) = (tenant.name.generation(), tenant.name.index());
        tenant.name = Handle::new(index, generation, kind);
        debug_assert!(tenant.value.is_none(), "a place is let to two");
        mem::forget(tenant.value.replace(value));
        (tenant.name, next_free)
    }

    /// Takes out what a handle names if `wanted`, under the table's lock. The handle is never valid
    /// again. True when the place can be used again: then `next_free` comes after it.
    #[inline(always)]
    pub(crate) fn move_out(
        &self,
        handle: Handle,
        next_free: u32,
        wanted: impl FnOnce(&T) -> Result<(), Error>,
    ) -> Result<(T, bool), Error>
    where
        T: Held,
    {
        let mut tenant = self.0.lock();
        wanted(tenant.named(handle)?)?;
        tenant.leave(handle, next_free)
    }

    /// Lets in again what was moved out of this place, which nobody else was let into since.
    #[cold]
    pub(crate) fn move_back(&self, handle: Handle, value: T) {
        let mut tenant = self.0.lock();
        tenant.name = handle;
        tenant.value = Some(value);
    }

    /// Lets what was taken out in again, by a loan.
    pub(crate) fn lend(&self, index: u32, loan: u32, value: T) {
        let mut tenant = self.0.lock();
        debug_assert!(tenant.value.is_none(), "a place is let to two");
        tenant.name = lent(index, loan);
        tenant.value = Some(value);
    }

    /// Takes out what is here by a loan, and the number of that; the place is empty then, behind the tenant
    /// that a handle named.
    pub(crate) fn take_back(&self, handle: Handle) -> Option<(T, u32)> {
        let mut tenant = self.0.lock();
        let loan = tenant.loan(handle.index())?;
        let value = tenant.value.take()?;
        // A loan begins only where there is a next generation.
        let next = next_generation(handle.generation());
        tenant.name = next.map_or(Handle::NONE, |next| empty(next, NONE));
        Some((value, loan))
    }

    /// Takes out whatever is here, under the table's lock, which is too early to drop it; for good.
    pub(crate) fn clear(&self, index: u32) -> Option<Left<T>>
    where
        T: Held,
    {
        let mut tenant = self.0.lock();
        let loan = tenant.loan(index);
        let value = tenant.value.take()?;
        tenant.name = Handle::NONE;
        let is_here = loan.is_none_or(|loan| value.recall(loan, None));
        Some(match is_here {
            true => Left::Here(value),
            false => Left::Elsewhere(value),
        })
    }

    /// Gives an empty place the generation of its next tenant.
    #[cfg(all(test, not(loom)))]
    pub(crate) fn age(&self, generation: u32) {
        let mut tenant = self.0.lock();
        tenant.name = empty(generation, tenant.name.index());
    }

    /// Which empty place comes after this one, which is empty.
    pub(crate) fn next_free(&self) -> u32 {
        self.0.lock().name.index()
    }

    /// Says which empty place comes after this one.
    pub(crate) fn set_next_free(&self, next_free: u32) {
        let mut tenant = self.0.lock();
        tenant.name = empty(tenant.name.generation(), next_free);
    }
}

/// The generation of a place's next tenant; `None` when the place is used up.
pub(crate) fn next_generation(generation: u32) -> Option<u32> {
    if mm::sabotaged!("generation_not_bumped") {
        return Some(generation);
    }
    generation.checked_add(1)
}

type Block<T> = Box<[Place<T>; BLOCK]>;

/// All places of a table, in blocks that stay where they are.
pub(crate) struct Places<T> {
    /// Those that most processes have no more than: found without a look whether they are there.
    first: Block<T>,
    /// The others; none is at 0.
    further: [Once<Block<T>>; BLOCKS],
}

impl<T> Places<T> {
    /// Bytes of a block.
    pub(crate) const BLOCK_BYTES: usize = size_of::<[Place<T>; BLOCK]>();

    /// A block of empty places, each of which leads to the next. `NoMemory`.
    pub(crate) fn new() -> Result<Places<T>, Error> {
        Ok(Places {
            first: block(0)?,
            further: [const { Once::new() }; BLOCKS],
        })
    }

    /// Whether a handle leads to a place of the first block.
    #[inline(always)]
    pub(crate) fn is_of_first(&self, handle: Handle) -> bool {
        handle.bits() & BEYOND_FIRST == 0
    }

    /// The place that a handle leads to. That its index is no greater than there are places is not looked
    /// at: the name of a tenant has all of it.
    #[inline(always)]
    pub(crate) fn of(&self, handle: Handle) -> Option<&Place<T>> {
        // Bits of the handle as they are: this is on the way of every call.
        match self.is_of_first(handle) {
            true => Some(self.of_first(handle)),
            false => self.further(handle.index()),
        }
    }

    /// The place that a handle leads to if it is of the first block; else another one, which has another name.
    #[inline(always)]
    pub(crate) fn of_first(&self, handle: Handle) -> &Place<T> {
        &self.first[handle.bits() as usize % BLOCK]
    }

    /// The place of an index.
    #[inline]
    pub(crate) fn at(&self, index: u32) -> Option<&Place<T>> {
        match index < BLOCK as u32 {
            true => Some(&self.first[index as usize % BLOCK]),
            false => self.further(index),
        }
    }

    #[cold]
    #[inline(never)]
    fn further(&self, index: u32) -> Option<&Place<T>> {
        let block = self.further[index as usize / BLOCK % BLOCKS].get()?;
        Some(&block[index as usize % BLOCK])
    }

    /// Makes another block, and returns the index of its first place. `Limit`: there is no room for
    /// another; `NoMemory`.
    pub(crate) fn grow(&self, number: usize) -> Result<u32, Error> {
        let first = (number * BLOCK) as u32;
        let once = self.further.get(number).ok_or(Error::Limit)?;
        once.try_call_once(|| block(first))?;
        Ok(first)
    }
}

/// Empty places from an index on, each of which leads to the next.
fn block<T>(first: u32) -> Result<Block<T>, Error> {
    let mut block = Vec::new();
    block
        .try_reserve_exact(BLOCK)
        .map_err(|_| Error::NoMemory)?;
    block.extend((first + 1..).take(BLOCK).map(|next_free| {
        let tenant = Tenant {
            // So that no handle is 0.
            name: empty(1, next_free),
            value: None,
        };
        Place(Lock::new(Rank::Places, tenant))
    }));
    let block = block.into_boxed_slice().try_into();
    block.map_err(|_| Error::NoMemory)
}

#[cfg(test)]
mod tests {
    use super::next_generation;

    #[test]
    fn a_place_whose_generations_are_used_up_is_retired() {
        assert_eq!(next_generation(1), Some(2));
        assert_eq!(next_generation(u32::MAX - 1), Some(u32::MAX));
        assert_eq!(next_generation(u32::MAX), None);
    }
}
