//! The kernel's own access to the memory of a region (rule S4): page by page, under the region
//! lock, resolving each page as the fault of a program would.

use abi::limits::PAGE_SIZE;
use abi::{Error, RegionKind, Rights};

use crate::fault::Need;
use crate::{Entry, EntryFlags, Frame, Machine, Memory, Permit, Region};

impl<M: Machine> Memory<M> {
    /// Copies bytes out of a region. `Range`: they reach past its end or into a hole; `Revoked`:
    /// it is gone; `Unsupported`: device memory.
    pub fn read_region(&self, region: &Region, offset: u64, bytes: &mut [u8]) -> Result<(), Error> {
        check_range(region, offset, bytes.len())?;
        let mut done = 0;
        while done < bytes.len() {
            let (page, start, len) = piece(offset, done, bytes.len());
            self.with_page(region, page, Need::Read, |frame| {
                self.machine
                    .read(frame, start, &mut bytes[done..done + len]);
            })?;
            done += len;
        }
        Ok(())
    }

    /// Copies bytes into a region, as far as a program could write them. `Denied`: one of the
    /// pages may not be written; `Sealed`; `Range`, `Revoked` and `Unsupported` as for
    /// [`read_region`](Memory::read_region).
    pub fn write_region(&self, region: &Region, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        check_range(region, offset, bytes.len())?;
        if region.is_sealed() {
            return Err(Error::Sealed);
        }
        let mut done = 0;
        while done < bytes.len() {
            let (page, start, len) = piece(offset, done, bytes.len());
            self.with_page(region, page, Need::Write, |frame| {
                self.machine.write(frame, start, &bytes[done..done + len]);
            })?;
            done += len;
        }
        Ok(())
    }

    /// Copies bytes out of a region in the name of a permit: of each page, what is there while the permit
    /// is live and allows READ. `Revoked`, `Denied`: it does not any more; otherwise as
    /// [`read_region`](Memory::read_region).
    pub fn read_region_by(
        &self,
        region: &Region,
        permit: &Permit,
        offset: u64,
        bytes: &mut [u8],
    ) -> Result<(), Error> {
        check_range(region, offset, bytes.len())?;
        let mut done = 0;
        while done < bytes.len() {
            let (page, start, len) = piece(offset, done, bytes.len());
            let mut checked = Ok(());
            self.with_page(region, page, Need::Read, |frame| {
                checked = permit.check(Rights::READ);
                if checked.is_ok() || crate::sabotaged!("copy_asks_nobody") {
                    self.machine
                        .read(frame, start, &mut bytes[done..done + len]);
                }
            })?;
            checked?;
            done += len;
        }
        Ok(())
    }

    /// Copies bytes that were read in the name of the permit `source` into a region in the name of another: into
    /// each page while both are live and allow it, READ and WRITE. Those before the first error have been
    /// copied. `Unsupported`: also a page that can be executed; otherwise as
    /// [`write_region`](Memory::write_region).
    pub fn write_region_by(
        &self,
        region: &Region,
        permit: &Permit,
        source: &Permit,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), Error> {
        check_range(region, offset, bytes.len())?;
        if region.is_sealed() {
            return Err(Error::Sealed);
        }
        let mut done = 0;
        while done < bytes.len() {
            let (page, start, len) = piece(offset, done, bytes.len());
            let mut checked = Ok(());
            self.with_entry(region, page, Need::Write, |entry, frame| {
                checked = permit.check(Rights::WRITE);
                if !crate::sabotaged!("copied_without_recheck") {
                    checked = checked.and_then(|()| source.check(Rights::READ));
                }
                // No mapping says that somebody may write here, which would keep others from executing (S17).
                if !entry.has(EntryFlags::NO_EXECUTE) {
                    checked = Err(Error::Unsupported);
                }
                if checked.is_ok() || crate::sabotaged!("copy_asks_nobody") {
                    self.machine.write(frame, start, &bytes[done..done + len]);
                }
            })?;
            checked?;
            done += len;
        }
        Ok(())
    }

    /// Runs `access` on the frame of a page while the region lock keeps it in place.
    pub(crate) fn with_page(
        &self,
        region: &Region,
        page: u64,
        need: Need,
        access: impl FnOnce(Frame),
    ) -> Result<(), Error> {
        self.with_entry(region, page, need, |_, frame| access(frame))
    }

    /// The same with the entry of the page.
    fn with_entry(
        &self,
        region: &Region,
        page: u64,
        need: Need,
        access: impl FnOnce(Entry, Frame),
    ) -> Result<(), Error> {
        // The direct map does not show it (S16), and devices mind who reads their registers.
        if region.kind() == RegionKind::Device {
            return Err(Error::Unsupported);
        }
        let reached = self.resolve(region, 0, page, need, |entry| {
            entry.frame().map(|frame| access(entry, frame))
        })?;
        reached.ok_or(Error::Range)
    }
}

/// Whether `len` bytes from `offset` on lie within the pages of a region.
fn check_range(region: &Region, offset: u64, len: usize) -> Result<(), Error> {
    let end = offset.checked_add(len as u64).ok_or(Error::Range)?;
    if end > region.pages() * PAGE_SIZE {
        return Err(Error::Range);
    }
    Ok(())
}

/// The page, the offset in it and the length of what can be copied at once after `done` bytes.
pub(crate) fn piece(offset: u64, done: usize, total: usize) -> (u64, usize, usize) {
    let at = offset + done as u64;
    let start = (at % PAGE_SIZE) as usize;
    let len = (PAGE_SIZE as usize - start).min(total - done);
    (at / PAGE_SIZE, start, len)
}
