//! The registered handles as one ring knows them: a table of its own, so that no entry looks at memory
//! that other rings change.

use alloc::sync::Arc;

use abi::submission::Registered;
use abi::{Error, Handle, cost};
use mm::{Account, RecordCharge};

use crate::Platform;
use crate::chunks::{BLOCK, Chunks};

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

/// The table of a ring.
pub(super) struct Known {
    places: Chunks<Place>,
    charge: RecordCharge,
}

impl Known {
    /// An empty table. `payer` pays for what it grows by.
    pub(super) fn new(payer: &Arc<Account>) -> Known {
        const { assert!((BLOCK * size_of::<Place>() + 64) as u64 <= cost::REGISTERED) }
        Known {
            places: Chunks::new(),
            charge: payer.charge_nothing(),
        }
    }

    /// Blocks that it has.
    pub(super) fn blocks(&self) -> usize {
        self.places.len() / BLOCK
    }

    /// Makes room for so many places, of which a program chooses how many. `Quota`, `NoMemory`: it is as it was.
    pub(super) fn grow(&mut self, machine: &impl Platform, places: usize) -> Result<(), Error> {
        let blocks = self.blocks();
        let grown = self.grow_by_blocks(machine, places);
        grown.inspect_err(|_| self.shrink(blocks))
    }

    fn grow_by_blocks(&mut self, machine: &impl Platform, places: usize) -> Result<(), Error> {
        while self.places.len() < places {
            machine.ensure_memory()?;
            self.charge.extend(cost::REGISTERED)?;
            if let Err(error) = self.places.reserve(BLOCK) {
                self.charge.release(cost::REGISTERED);
                return Err(error);
            }
            for _ in 0..BLOCK {
                self.places.push(Place::default());
            }
        }
        Ok(())
    }

    /// Gives places back that were made room for in vain.
    pub(super) fn shrink(&mut self, blocks: usize) {
        let surplus = self.blocks().saturating_sub(blocks);
        self.places.truncate(blocks);
        self.charge.release(surplus as u64 * cost::REGISTERED);
    }

    /// Acknowledges that a handle is registered, where room was [made](Known::grow). `Exists`: there is none, or something
    /// is there already.
    pub(super) fn learn(&mut self, id: Registered, handle: Handle) -> Result<(), Error> {
        match self.places.get_mut(id.slot().into()) {
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
        let place = self.places.get_mut(id.slot().into());
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
        let Some(place) = self.places.get_mut(slot.into()) else {
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
        match self.places.get_mut(slot.into()) {
            Some(place) if place.standing != Standing::Free => {
                place.standing = Standing::Halted;
                place.in_use
            }
            _ => 0,
        }
    }

    /// How many operations use it.
    pub(super) fn in_use(&self, slot: u16) -> u32 {
        self.places.get(slot.into()).map_or(0, |place| place.in_use)
    }

    /// Lets operations use it again.
    pub(super) fn resume(&mut self, slot: u16) {
        if let Some(place) = self.places.get_mut(slot.into())
            && place.standing == Standing::Halted
        {
            place.standing = Standing::Live;
        }
    }

    /// Forgets a handle that no operation uses.
    pub(super) fn forget(&mut self, slot: u16) {
        if let Some(place) = self.places.get_mut(slot.into()) {
            *place = Place::default();
        }
    }
}
