//! The registered handles as one ring knows them: a table of its own, so that no entry looks at memory
//! that other rings change.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::submission::Registered;
use abi::{Error, Handle, cost};
use mm::{Account, RecordCharge};

use crate::Platform;
use crate::chunks::BLOCK;

/// How a place stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Standing {
    /// Nothing is registered here.
    #[default]
    Free,
    /// Operations may use it.
    Live,
    /// No further operation may.
    Halted,
}

#[derive(Clone, Copy, Debug, Default)]
struct Place {
    handle: Handle,
    /// Operations that use it.
    in_use: u32,
    generation: u16,
    standing: Standing,
}

/// Places in a row, of which the first is of a multiple of their number.
struct Block {
    /// Which multiple.
    number: u16,
    places: Box<[Place; BLOCK]>,
}

/// The table of a ring. A program may choose its slots, so there are places only around those that it has used: one
/// more takes a block at most, whichever it is.
pub(super) struct Known {
    /// In the order of their numbers.
    blocks: Vec<Block>,
    charge: RecordCharge,
}

impl Known {
    /// An empty table. `payer` pays for what it grows by.
    pub(super) fn new(payer: &Arc<Account>) -> Known {
        const {
            // The list of blocks is at most twice as long as needed.
            let block = BLOCK * size_of::<Place>() + 2 * size_of::<Block>();
            assert!((block + 64) as u64 <= cost::REGISTERED);
        }
        Known {
            blocks: Vec::new(),
            charge: payer.charge_nothing(),
        }
    }

    /// Where the block of a slot is in the list, or where it would be.
    #[inline(always)]
    fn position(&self, slot: u16) -> Result<usize, usize> {
        let number = slot / BLOCK as u16;
        // Mostly none is left out before it.
        let at = usize::from(number);
        match self.blocks.get(at) {
            Some(block) if block.number == number => Ok(at),
            _ => self
                .blocks
                .binary_search_by_key(&number, |block| block.number),
        }
    }

    #[inline(always)]
    fn get(&self, slot: u16) -> Option<&Place> {
        let at = self.position(slot).ok()?;
        Some(&self.blocks[at].places[usize::from(slot) % BLOCK])
    }

    #[inline(always)]
    fn get_mut(&mut self, slot: u16) -> Option<&mut Place> {
        let at = self.position(slot).ok()?;
        Some(&mut self.blocks[at].places[usize::from(slot) % BLOCK])
    }

    /// Whether there is a place for a slot.
    pub(super) fn has_room(&self, slot: u16) -> bool {
        self.position(slot).is_ok()
    }

    /// Makes a place for a slot, which a program chooses, and those around it. True: there was none before. `Quota`,
    /// `NoMemory`: it is as it was.
    pub(super) fn make_room(&mut self, machine: &impl Platform, slot: u16) -> Result<bool, Error> {
        let Err(at) = self.position(slot) else {
            return Ok(false);
        };
        machine.ensure_memory()?;
        self.charge.extend(cost::REGISTERED)?;
        let made = self.insert(at, slot / BLOCK as u16);
        made.inspect_err(|_| self.charge.release(cost::REGISTERED))?;
        Ok(true)
    }

    fn insert(&mut self, at: usize, number: u16) -> Result<(), Error> {
        let mut places = Vec::new();
        let room = places.try_reserve_exact(BLOCK);
        room.and_then(|()| self.blocks.try_reserve(1))
            .map_err(|_| Error::NoMemory)?;
        places.resize_with(BLOCK, Place::default);
        let places = places.into_boxed_slice().try_into();
        let places = places.map_err(|_| Error::NoMemory)?;
        self.blocks.insert(at, Block { number, places });
        Ok(())
    }

    /// Gives back what was [made](Known::make_room) for a slot in vain.
    pub(super) fn take_room_back(&mut self, slot: u16) {
        if let Ok(at) = self.position(slot) {
            self.blocks.remove(at);
            self.charge.release(cost::REGISTERED);
        }
    }

    /// Acknowledges that a handle is registered, where room was [made](Known::make_room). `Exists`: there is none, or
    /// something is there already.
    pub(super) fn learn(&mut self, id: Registered, handle: Handle) -> Result<(), Error> {
        match self.get_mut(id.slot()) {
            Some(place) if place.standing == Standing::Free => {
                *place = Place {
                    handle,
                    in_use: 0,
                    generation: id.generation(),
                    standing: Standing::Live,
                };
                Ok(())
            }
            _ => Err(Error::Exists),
        }
    }

    /// What a registered handle stands for, which is in use until it is [left](Known::leave). `NotFound`: it is
    /// not registered, or not any more.
    pub(super) fn enter(&mut self, id: Registered) -> Result<Handle, Error> {
        let place = self.get_mut(id.slot());
        let place = place.ok_or(Error::NotFound)?;
        let same = place.generation == id.generation() || mm::sabotaged!("generation_not_compared");
        if place.standing != Standing::Live || !same {
            return Err(Error::NotFound);
        }
        place.in_use += 1;
        Ok(place.handle)
    }

    /// One operation less uses it. True: it was the last, and no other may begin.
    pub(super) fn leave(&mut self, slot: u16) -> bool {
        let Some(place) = self.get_mut(slot) else {
            return false;
        };
        // Of a process that ends everything was let go before.
        match place.in_use.checked_sub(1) {
            Some(left) => {
                place.in_use = left;
                left == 0 && place.standing == Standing::Halted
            }
            None => false,
        }
    }

    /// Lets no further operation use it, and tells how many do.
    pub(super) fn halt(&mut self, slot: u16) -> u32 {
        match self.get_mut(slot) {
            Some(place) if place.standing != Standing::Free => {
                place.standing = Standing::Halted;
                place.in_use
            }
            _ => 0,
        }
    }

    /// How many operations use it.
    pub(super) fn in_use(&self, slot: u16) -> u32 {
        self.get(slot).map_or(0, |place| place.in_use)
    }

    /// Lets operations use it again.
    pub(super) fn resume(&mut self, slot: u16) {
        if let Some(place) = self.get_mut(slot)
            && place.standing == Standing::Halted
        {
            place.standing = Standing::Live;
        }
    }

    /// Forgets a handle that no operation uses.
    pub(super) fn forget(&mut self, slot: u16) {
        if let Some(place) = self.get_mut(slot) {
            *place = Place::default();
        }
    }
}
