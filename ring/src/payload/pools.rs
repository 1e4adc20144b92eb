//! A pool that grows while it is used.

use super::pool::{Pool, Side, SlotRef, SlotWords};
use crate::Error;

/// Pools that can be added one after the other.
pub const MAX_EXTENTS: usize = 16;
/// A pool that grows while it is used: pools of which none ever moves or goes, so that whatever anybody holds stays good.
#[derive(Debug)]
pub struct Pools<M> {
    extents: [Option<Pool<M>>; MAX_EXTENTS],
}

impl<M: SlotWords> Default for Pools<M> {
    fn default() -> Self {
        Pools {
            extents: [const { None }; MAX_EXTENTS],
        }
    }
}

impl<M: SlotWords> Pools<M> {
    /// How many there are.
    pub fn extents(&self) -> usize {
        self.extents.iter().flatten().count()
    }

    /// Adds one, and returns its number.
    ///
    /// # Errors
    /// [`Error::Full`]: there are [`MAX_EXTENTS`].
    pub fn grow(&mut self, pool: Pool<M>) -> Result<u16, Error> {
        let number = self.extents();
        let place = self.extents.get_mut(number).ok_or(Error::Full)?;
        *place = Some(pool);
        Ok(number as u16)
    }

    fn extent(&self, reference: SlotRef) -> Result<&Pool<M>, Error> {
        let extent = self.extents.get(usize::from(reference.extent));
        extent.and_then(Option::as_ref).ok_or(Error::PeerFault)
    }

    /// As [`Pool::allocate`], of the first that has room.
    ///
    /// # Errors
    /// [`Error::TooLarge`]: no slot of any is that large; [`Error::Full`].
    pub fn allocate(&self, length: usize) -> Result<SlotRef, Error> {
        let mut answer = Error::TooLarge;
        for (extent, pool) in self.extents.iter().flatten().enumerate() {
            match pool.allocate(length) {
                Ok(slot) => {
                    let extent = extent as u16;
                    return Ok(SlotRef { extent, ..slot });
                }
                Err(Error::Full) => answer = Error::Full,
                Err(_) => {}
            }
        }
        Err(answer)
    }

    /// Whether any slot, free or not, is as large.
    pub fn fits(&self, length: usize) -> bool {
        let mut pools = self.extents.iter().flatten();
        pools.any(|pool| length <= pool.layout().largest() as usize)
    }

    /// As [`Pool::arm`], in all: `false` if any has such a slot, or none is ever that large.
    pub fn arm(&self, length: usize) -> bool {
        let Ok(length) = u32::try_from(length) else {
            return false;
        };
        let mut pools = self.extents.iter().flatten();
        let waits = self.fits(length as usize)
            && pools.all(|pool| length > pool.layout().largest() || pool.arm(length));
        if !waits {
            self.disarm();
        }
        waits
    }

    /// As [`Pool::disarm`], in all.
    pub fn disarm(&self) {
        self.extents.iter().flatten().for_each(Pool::disarm);
    }

    /// As [`Pool::must_tell_peer`].
    #[must_use = "nobody else tells it"]
    pub fn must_tell_peer(&self, freed: SlotRef) -> bool {
        let pool = self.extent(freed);
        pool.is_ok_and(|pool| pool.must_tell_peer(freed))
    }

    /// As [`Pool::write`].
    ///
    /// # Errors
    /// As there.
    pub fn write(&self, reference: SlotRef, offset: usize, bytes: &[u8]) -> Result<(), Error> {
        self.extent(reference)?.write(reference, offset, bytes)
    }

    /// As [`Pool::check`].
    ///
    /// # Errors
    /// As there.
    pub fn check(&self, reference: SlotRef) -> Result<(), Error> {
        self.extent(reference)?.check(reference)
    }

    /// As [`Pool::read`].
    ///
    /// # Errors
    /// As there.
    pub fn read(&self, reference: SlotRef, offset: usize, target: &mut [u8]) -> Result<(), Error> {
        self.extent(reference)?.read(reference, offset, target)
    }

    /// As [`Pool::release`].
    ///
    /// # Errors
    /// As there.
    pub fn release(&self, reference: SlotRef) -> Result<(), Error> {
        self.extent(reference)?.release(reference)
    }

    /// As [`Pool::withdraw`].
    ///
    /// # Errors
    /// As there.
    pub fn withdraw(&self, reference: SlotRef) -> Result<(), Error> {
        self.extent(reference)?.withdraw(reference)
    }

    /// As [`Pool::reclaim`], of all.
    pub fn reclaim(&self, of: Side) -> u32 {
        let pools = self.extents.iter().flatten();
        pools.map(|pool| pool.reclaim(of)).sum()
    }
}
