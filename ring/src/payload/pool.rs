//! A pool of slots of several sizes, which both sides of a hub's seat allocate from and give back to without a lock.
//!
//! A slot is one atomic word, `state:8 | 0:24 | generation:32`, and its bytes. Whose it is, is part of that word, so
//! there is no instant at which a slot is taken and nobody's, and whoever dies leaves none that
//! [`Pool::reclaim`] does not find. There is no list of free slots, so none that a hostile peer could tie a knot in, and
//! nothing for ABA to happen to: a word that is free again is in another generation.

mod waiting;

use core::sync::atomic::{AtomicU32 as Hint, Ordering};

use super::layout::{Class, Layout, MAX_CLASSES};
use crate::Error;
use crate::sabotaged;
use crate::sync::{AtomicU32, AtomicU64};

/// Who has a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Side {
    /// The host of a hub.
    Host = 1,
    /// Its guest.
    Guest = 2,
}

impl Side {
    /// The other side.
    pub const fn peer(self) -> Side {
        match self {
            Side::Host => Side::Guest,
            Side::Guest => Side::Host,
        }
    }
}

const FREE: u8 = 0;

const fn word(state: u8, generation: u32) -> u64 {
    state as u64 | (generation as u64) << 32
}

const fn state_of(word: u64) -> u32 {
    word as u32
}

const fn generation_of(word: u64) -> u32 {
    (word >> 32) as u32
}

/// The memory of a pool.
pub trait SlotWords {
    /// The word of a slot, by its number among all.
    fn word(&self, slot: u32) -> Option<&AtomicU64>;

    /// The word by which a side says for how many bytes it waits for a slot: 0, it does not.
    fn waits(&self, side: Side) -> &AtomicU32;

    /// Copies bytes into a slot that this side has.
    ///
    /// # Errors
    /// [`Error::Invalid`]: they are not all within the pool.
    fn write(&self, place: u64, bytes: &[u8]) -> Result<(), Error>;

    /// Copies bytes out, which the peer may be writing.
    ///
    /// # Errors
    /// [`Error::Invalid`]: they are not all within the pool.
    fn read(&self, place: u64, target: &mut [u8]) -> Result<(), Error>;
}

/// What names a slot with something in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SlotRef {
    /// Which of several pools.
    pub extent: u16,
    /// Which class of it, the smallest being 0.
    pub class: u16,
    /// Which slot of the class.
    pub index: u32,
    /// Which tenancy of the slot.
    pub generation: u32,
    /// Bytes of it that mean something.
    pub length: u32,
}

/// One side's view of a pool.
#[derive(Debug)]
pub struct Pool<M> {
    memory: M,
    layout: Layout,
    side: Side,
    /// Where to look first in each class.
    hints: [Hint; MAX_CLASSES],
}

impl<M: SlotWords> Pool<M> {
    /// A pool in memory that was zeros when the first of both sides began.
    pub fn new(memory: M, layout: Layout, side: Side) -> Pool<M> {
        Pool {
            memory,
            layout,
            side,
            hints: [const { Hint::new(0) }; MAX_CLASSES],
        }
    }

    /// What it is made of.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Takes a slot for `length` bytes: of the smallest class that has room for so many, or of the next one that has
    /// a slot left.
    ///
    /// # Errors
    /// [`Error::TooLarge`]: no class has slots of that size; [`Error::Full`]: none is free now.
    pub fn allocate(&self, length: usize) -> Result<SlotRef, Error> {
        let length = u32::try_from(length).map_err(|_| Error::TooLarge)?;
        if length > self.layout.largest() {
            return Err(Error::TooLarge);
        }
        for (class, Class { slot_bytes, count }) in self.layout.classes().iter().enumerate() {
            if *slot_bytes < length {
                continue;
            }
            let hint = self.hints[class].load(Ordering::Relaxed);
            for index in
                (0..*count).map(|step| ((hint as u64 + step as u64) % *count as u64) as u32)
            {
                if let Some(generation) = self.take(class, index) {
                    self.hints[class].store((index + 1) % count, Ordering::Relaxed);
                    return Ok(SlotRef {
                        extent: 0,
                        class: class as u16,
                        index,
                        generation,
                        length,
                    });
                }
            }
        }
        Err(Error::Full)
    }

    /// Takes a slot if it is free, and returns its generation.
    fn take(&self, class: usize, index: u32) -> Option<u32> {
        let (number, _) = self.layout.locate(class, index)?;
        let slot = self.memory.word(number)?;
        let before = slot.load(Ordering::Relaxed);
        if state_of(before) != u32::from(FREE) {
            return None;
        }
        let before = match sabotaged!("pool_word_read_twice") {
            true => slot.load(Ordering::Relaxed),
            false => before,
        };
        let generation = generation_of(before).wrapping_add(1);
        let owner = self.side as u8;
        if sabotaged!("pool_owner_after_publication") {
            const NOBODY: u8 = 0xff;
            let taken = word(NOBODY, generation);
            slot.compare_exchange(before, taken, Ordering::AcqRel, Ordering::Relaxed)
                .ok()?;
            slot.store(word(owner, generation), Ordering::Release);
            return Some(generation);
        }
        // SYNC(pool.slot): whoever gave it back has read it by now.
        let taken = word(owner, generation);
        slot.compare_exchange(before, taken, Ordering::AcqRel, Ordering::Relaxed)
            .ok()?;
        Some(generation)
    }

    /// The word and the place of what a reference names, if its owner has it in that generation.
    fn find(&self, reference: SlotRef, owner: Side) -> Result<(&AtomicU64, u64, u64), Error> {
        let located = self.layout.locate(reference.class.into(), reference.index);
        let (number, place) = located.ok_or(Error::PeerFault)?;
        let class = self.layout.classes()[usize::from(reference.class)];
        if reference.length > class.slot_bytes {
            return Err(Error::PeerFault);
        }
        let slot = self.memory.word(number).ok_or(Error::PeerFault)?;
        let expected = word(owner as u8, reference.generation);
        if slot.load(Ordering::Acquire) != expected {
            return Err(Error::PeerFault);
        }
        Ok((slot, place, expected))
    }

    /// Fills a slot that this side has taken and not sent yet.
    ///
    /// # Errors
    /// [`Error::TooLarge`]: more than was asked for; [`Error::PeerFault`]: the peer has written over its word.
    pub fn write(&self, reference: SlotRef, offset: usize, bytes: &[u8]) -> Result<(), Error> {
        let place = self.part(reference, self.side, offset, bytes.len())?;
        self.memory.write(place, bytes)
    }

    /// Whether a reference that the peer sent is one that it may send.
    ///
    /// # Errors
    /// [`Error::PeerFault`]: any field is out of bounds, or the slot is not the peer's in that generation.
    pub fn check(&self, reference: SlotRef) -> Result<(), Error> {
        self.find(reference, self.side.peer()).map(|_| ())
    }

    /// Copies bytes of what the peer sent.
    ///
    /// # Errors
    /// [`Error::TooLarge`]: they go beyond its length; [`Error::PeerFault`] as for [`check`](Pool::check).
    pub fn read(&self, reference: SlotRef, offset: usize, target: &mut [u8]) -> Result<(), Error> {
        let place = self.part(reference, self.side.peer(), offset, target.len())?;
        self.memory.read(place, target)
    }

    fn part(
        &self,
        reference: SlotRef,
        owner: Side,
        offset: usize,
        len: usize,
    ) -> Result<u64, Error> {
        let (_, place, _) = self.find(reference, owner)?;
        match offset.checked_add(len) {
            Some(end) if end <= reference.length as usize => Ok(place + offset as u64),
            _ => Err(Error::TooLarge),
        }
    }

    /// Gives a slot back that the peer sent, and that was read.
    ///
    /// # Errors
    /// [`Error::PeerFault`]: it is not the peer's in that generation: of two who give one back, exactly one is told so.
    pub fn release(&self, reference: SlotRef) -> Result<(), Error> {
        self.give_back(reference, self.side.peer())
    }

    /// Gives a slot back that this side has taken and not sent.
    ///
    /// # Errors
    /// As of [`release`](Pool::release).
    pub fn withdraw(&self, reference: SlotRef) -> Result<(), Error> {
        self.give_back(reference, self.side)
    }

    fn give_back(&self, reference: SlotRef, owner: Side) -> Result<(), Error> {
        let (slot, _, expected) = self.find(reference, owner)?;
        let free = word(FREE, reference.generation);
        if sabotaged!("pool_freed_without_exchange") {
            slot.store(free, Ordering::Release);
            return Ok(());
        }
        // SYNC(pool.slot): what was read of it was read before.
        slot.compare_exchange(expected, free, Ordering::AcqRel, Ordering::Relaxed)
            .map(|_| ())
            .map_err(|_| Error::PeerFault)
    }

    /// Gives every slot back that a side has which is gone, and returns how many. The other side uses the pool meanwhile.
    pub fn reclaim(&self, of: Side) -> u32 {
        let mut reclaimed = 0;
        for slot in (0..self.layout.slots()).filter_map(|number| self.memory.word(number)) {
            let before = slot.load(Ordering::Acquire);
            if state_of(before) != of as u32 {
                continue;
            }
            let free = word(FREE, generation_of(before));
            let freed = slot.compare_exchange(before, free, Ordering::AcqRel, Ordering::Relaxed);
            reclaimed += u32::from(freed.is_ok());
        }
        reclaimed
    }

    /// Who has a slot at this moment; nobody if it is free.
    ///
    /// # Errors
    /// [`Error::Invalid`]: no such slot; [`Error::PeerFault`]: its word says what none of both sides writes.
    pub fn holder(&self, class: u16, index: u32) -> Result<Option<Side>, Error> {
        let located = self.layout.locate(class.into(), index);
        let slot = located.and_then(|(number, _)| self.memory.word(number));
        let state = state_of(slot.ok_or(Error::Invalid)?.load(Ordering::Acquire));
        match state {
            0 => Ok(None),
            state if state == Side::Host as u32 => Ok(Some(Side::Host)),
            state if state == Side::Guest as u32 => Ok(Some(Side::Guest)),
            _ => Err(Error::PeerFault),
        }
    }

    /// Slots that are free at this moment.
    pub fn free_slots(&self) -> u32 {
        let words = (0..self.layout.slots()).filter_map(|number| self.memory.word(number));
        let free = words.filter(|slot| state_of(slot.load(Ordering::Relaxed)) == u32::from(FREE));
        free.count() as u32
    }
}
