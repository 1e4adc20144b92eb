//! What both ends find in the pages of a ring before either has touched it.

use alloc::sync::Arc;
use core::mem::offset_of;

use abi::ring::{Header, IndexPage};
use abi::{Error, RingShape};
use mm::{Frame, Region};

use crate::{Ipc, Platform};

/// Pages before the data.
pub(crate) const CONTROL_PAGES: usize = 3;

/// The epoch of a ring that was just made.
pub(crate) const FIRST_EPOCH: u32 = 1;

impl<P: Platform> Ipc<P> {
    /// Fills the pages of a ring region with what a ring begins with (rule S7), the magic number last, and
    /// returns its pages H, P and C. Both ends are open.
    ///
    /// Nobody has the region mapped, and whoever had it mapped has been waited for.
    pub(crate) fn lay_out_ring(
        &self,
        region: &Arc<Region>,
        shape: RingShape,
        epoch: u32,
    ) -> Result<[Frame; CONTROL_PAGES], Error> {
        let RingShape {
            geometry,
            form,
            start,
        } = shape;
        let frame = |index| region.fixed_frame(index).ok_or(Error::NoMemory);
        let control = [frame(0)?, frame(1)?, frame(2)?];
        let machine = self.platform();
        machine.store_u32(control[0], offset_of!(Header, magic), 0);
        for page in 0..geometry.data_pages() {
            let data = frame(CONTROL_PAGES + page as usize)?;
            for position in geometry.slots_beginning_in(page) {
                let at = geometry.slot_offset(position) % abi::limits::PAGE_SIZE;
                let word = geometry.initial_word(start, position);
                machine.write(data, at as usize, &word.to_le_bytes());
            }
        }
        for page in [control[1], control[2]] {
            let fresh = IndexPage::new(start);
            machine.store_u32(page, offset_of!(IndexPage, index), fresh.index);
            machine.store_u32(page, offset_of!(IndexPage, waits_until), fresh.waits_until);
        }
        for (offset, word) in Header::new(geometry, form, start, epoch).words() {
            machine.store_u32(control[0], offset, word);
        }
        Ok(control)
    }
}
