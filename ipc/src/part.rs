//! Parts of regions: what a capability covers, in units of 2 MiB.

use abi::Error;
use abi::limits::LEAF_SIZE;
use mm::Region;

/// The part of a region that a capability covers. Offsets that are passed with the capability count
/// from where its part begins, so its holder need not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// In units of 2 MiB.
    first: u32,
    count: u32,
}

impl Part {
    /// All of any region.
    pub const WHOLE: Part = Part {
        first: 0,
        count: u32::MAX,
    };

    /// Where it begins, in bytes of the region.
    pub fn offset(self) -> u64 {
        u64::from(self.first) * LEAF_SIZE
    }

    /// How many bytes of a region it covers.
    pub fn len_in(self, region: &Region) -> u64 {
        let end = self.end_in(region).min(region.len());
        end.saturating_sub(self.offset())
    }

    /// Where it ends, in bytes of the region, in whole units.
    fn end_in(self, region: &Region) -> u64 {
        let end = u64::from(self.first) + u64::from(self.count);
        end.min(region.leaf_count() as u64) * LEAF_SIZE
    }

    /// Where `len` bytes from `offset` of the part on are: an offset and a length in the region, as
    /// functions of `mm` take them; a length of 0 stands for the rest. `Range`: not within the part.
    #[inline(always)]
    pub fn locate(self, region: &Region, offset: u64, len: u64) -> Result<(u64, u64), Error> {
        if self == Part::WHOLE || mm::sabotaged!("part_not_checked") {
            return Ok((offset, len));
        }
        self.locate_within(region, offset, len)
    }

    fn locate_within(self, region: &Region, offset: u64, len: u64) -> Result<(u64, u64), Error> {
        let end = self.end_in(region);
        let start = self.offset().checked_add(offset).ok_or(Error::Range)?;
        let rest = end.checked_sub(start).filter(|rest| *rest > 0);
        let rest = rest.ok_or(Error::Range)?;
        match len {
            // What reaches the end of the region may be said in its own terms.
            0 if end >= region.len() => Ok((start, 0)),
            0 => Ok((start, rest)),
            len if len <= rest => Ok((start, len)),
            _ => Err(Error::Range),
        }
    }

    /// Where bytes of the part are in the region. `Range`: not all are within it.
    pub fn bytes(self, region: &Region, offset: u64, len: u64) -> Result<u64, Error> {
        let end = offset.checked_add(len).ok_or(Error::Range)?;
        if end > self.len_in(region) && !mm::sabotaged!("part_not_checked") {
            return Err(Error::Range);
        }
        self.offset().checked_add(offset).ok_or(Error::Range)
    }

    /// A part of this part: an offset of 0 and a length of 0 stand for all of it. `Align`, `Range`,
    /// `Unsupported`: the frames of the region are fixed, or it is an image.
    pub fn narrow(self, region: &Region, offset: u64, len: u64) -> Result<Part, Error> {
        if (offset, len) == (0, 0) {
            return Ok(self);
        }
        if region.kind() != abi::RegionKind::Anonymous {
            return Err(Error::Unsupported);
        }
        let (start, len) = self.locate(region, offset, len)?;
        let end = match len {
            0 => self.end_in(region),
            len => start.checked_add(len).ok_or(Error::Range)?,
        };
        // Up to the end of the region, whose last unit need not be whole.
        let end = if end >= region.len() && end <= self.end_in(region) {
            self.end_in(region)
        } else {
            end
        };
        if end > self.end_in(region) || start >= end {
            return Err(Error::Range);
        }
        if !start.is_multiple_of(LEAF_SIZE) || !end.is_multiple_of(LEAF_SIZE) {
            return Err(Error::Align);
        }
        Ok(Part {
            first: (start / LEAF_SIZE) as u32,
            count: ((end - start) / LEAF_SIZE) as u32,
        })
    }
}
