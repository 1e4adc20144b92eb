//! Regions that payloads are in: what this side has published, and what the peer has.
//!
//! A region is published once, under a number and a generation, before the first message that refers to it; each
//! message leases a part of it, and the receiver gives the lease back when it has read it. A region without leases can
//! be withdrawn and its number used again, in another generation.
//!
//! A region that is all of one payload comes with the only message that refers to it, so that the receiver can let go of
//! it as soon as that is finished, and its number is free when the lease is back. Of others the receiver can't tell whether
//! a reference is on its way: it keeps them until it is told that they are withdrawn.

use crate::Error;
use crate::sabotaged;

/// Which region of those that a side has published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RegionId {
    /// Its place.
    pub slot: u32,
    /// Which tenancy of the place.
    pub generation: u32,
}

/// A part of a region, as a message names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RegionRef {
    /// The region.
    pub region: RegionId,
    /// Where the payload begins, in bytes.
    pub offset: u64,
    /// Its length in bytes.
    pub length: u64,
}

#[derive(Clone, Copy, Debug)]
struct Published {
    generation: u32,
    /// 0 while nothing is there.
    length: u64,
    leases: u32,
    /// One message refers to it.
    whole: bool,
}

impl Published {
    /// Whether another can have its place.
    fn is_empty(&self) -> bool {
        self.length == 0 && self.generation < u32::MAX
    }
}

/// What this side has published to one peer: at most `N` regions at a time.
#[derive(Clone, Debug)]
pub struct Leases<const N: usize> {
    regions: [Published; N],
}

impl<const N: usize> Default for Leases<N> {
    fn default() -> Self {
        let nothing = Published {
            generation: 0,
            length: 0,
            leases: 0,
            whole: false,
        };
        Leases {
            regions: [nothing; N],
        }
    }
}

impl<const N: usize> Leases<N> {
    /// Publishes a region of so many bytes. The peer is to be told before the first lease.
    ///
    /// # Errors
    /// [`Error::Invalid`]: it has no bytes; [`Error::Full`]: `N` are published.
    pub fn publish(&mut self, length: u64) -> Result<RegionId, Error> {
        self.take_number(length, false)
    }

    /// The same of one that the peer is told of by the only message that refers to it.
    ///
    /// # Errors
    /// As there.
    pub fn publish_whole(&mut self, length: u64) -> Result<RegionId, Error> {
        self.take_number(length, true)
    }

    fn take_number(&mut self, length: u64, whole: bool) -> Result<RegionId, Error> {
        if length == 0 {
            return Err(Error::Invalid);
        }
        let slot = self.regions.iter().position(Published::is_empty);
        let slot = slot.ok_or(Error::Full)?;
        let region = &mut self.regions[slot];
        region.length = length;
        region.whole = whole;
        region.generation += 1;
        Ok(RegionId {
            slot: slot as u32,
            generation: region.generation,
        })
    }

    fn region(&mut self, id: RegionId) -> Option<&mut Published> {
        let region = self.regions.get_mut(id.slot as usize)?;
        (region.length != 0 && region.generation == id.generation).then_some(region)
    }

    /// Whether no more can be published before the peer has finished what it has of one. Where it has nothing, it is for
    /// this side to withdraw another.
    pub fn awaits_peer(&self) -> bool {
        let mut regions = self.regions.iter();
        let by_peer = |region: &Published| region.leases > 0;
        regions.clone().any(by_peer) && !regions.any(Published::is_empty)
    }

    /// Leases a part of it.
    ///
    /// # Errors
    /// [`Error::Invalid`]: no such region, or not within it; [`Error::Full`]: it has too many leases.
    pub fn lease(&mut self, id: RegionId, offset: u64, length: u64) -> Result<RegionRef, Error> {
        let region = self.region(id).ok_or(Error::Invalid)?;
        match offset.checked_add(length) {
            Some(end) if end <= region.length => {}
            _ => return Err(Error::Invalid),
        }
        region.leases = region.leases.checked_add(1).ok_or(Error::Full)?;
        Ok(RegionRef {
            region: id,
            offset,
            length,
        })
    }

    /// The peer gives a lease back.
    ///
    /// # Errors
    /// [`Error::PeerFault`]: it has none of such a region.
    pub fn release(&mut self, id: RegionId) -> Result<(), Error> {
        let region = self.region(id).ok_or(Error::PeerFault)?;
        region.leases = region.leases.checked_sub(1).ok_or(Error::PeerFault)?;
        Ok(())
    }

    /// Whether the peer has finished all of a region that one message refers to.
    pub fn is_over(&self, id: RegionId) -> bool {
        let region = self.regions.get(id.slot as usize);
        let region = region.filter(|region| region.generation == id.generation);
        region.is_some_and(|region| region.whole && region.leases == 0)
    }

    /// Leases that the peer has of a region.
    pub fn leases(&self, id: RegionId) -> u32 {
        let region = self.regions.get(id.slot as usize);
        let region = region.filter(|region| region.generation == id.generation);
        region.map_or(0, |region| region.leases)
    }

    /// Whether a region can be withdrawn: nobody leases it.
    ///
    /// # Errors
    /// [`Error::Invalid`]: no such region; [`Error::Full`]: it is leased.
    pub fn check_withdrawal(&mut self, id: RegionId) -> Result<(), Error> {
        match self.region(id).ok_or(Error::Invalid)?.leases {
            0 => Ok(()),
            _ => Err(Error::Full),
        }
    }

    /// Forgets a region that nobody leases.
    ///
    /// # Errors
    /// As of [`check_withdrawal`](Leases::check_withdrawal).
    pub fn withdraw(&mut self, id: RegionId) -> Result<(), Error> {
        self.check_withdrawal(id)?;
        self.regions[id.slot as usize].length = 0;
        Ok(())
    }

    /// The peer is gone, and with it all its leases; returns how many.
    pub fn drop_peer(&mut self) -> u64 {
        let leases = self.regions.iter_mut();
        leases
            .map(|region| u64::from(core::mem::take(&mut region.leases)))
            .sum()
    }
}

/// What the peer has published last under a number.
#[derive(Debug)]
struct Told<T> {
    generation: u32,
    length: u64,
    /// The message that told of it is the only one that refers to it.
    whole: bool,
    /// The peer has said that it is withdrawn.
    withdrawn: bool,
    /// Nothing once that is finished, or the region is withdrawn.
    what: Option<T>,
}

/// What the peer has published: at most `N` regions at a time, each with what this side has made of it.
#[derive(Debug)]
pub struct Known<T, const N: usize> {
    regions: [Option<Told<T>>; N],
}

impl<T, const N: usize> Default for Known<T, N> {
    fn default() -> Self {
        Known {
            regions: [const { None }; N],
        }
    }
}

impl<T, const N: usize> Known<T, N> {
    /// Whether a number that the peer gives to a region can be that of a new one.
    ///
    /// # Errors
    /// [`Error::PeerFault`]: no such number, or a generation that is not newer.
    pub fn check_new(&self, id: RegionId) -> Result<(), Error> {
        let place = self.regions.get(id.slot as usize);
        let known = place.ok_or(Error::PeerFault)?;
        match known
            .as_ref()
            .is_none_or(|told| told.generation < id.generation)
        {
            true => Ok(()),
            false => Err(Error::PeerFault),
        }
    }

    /// Notes a region that the peer has published and this side can reach `length` bytes of, and returns what was known
    /// under its number before, which is withdrawn.
    ///
    /// # Errors
    /// As of [`check_new`](Known::check_new).
    pub fn learn(&mut self, id: RegionId, length: u64, what: T) -> Result<Option<T>, Error> {
        self.note(id, length, Some(what), false)
    }

    /// The same of one that came with the only message that refers to it, which is to be [forgotten](Known::forget) when
    /// that is finished.
    ///
    /// # Errors
    /// As there.
    pub fn learn_whole(&mut self, id: RegionId, length: u64, what: T) -> Result<Option<T>, Error> {
        self.note(id, length, Some(what), true)
    }

    /// The same of one that was withdrawn before this side has made anything of it: no message may refer to it.
    ///
    /// # Errors
    /// As there.
    pub fn learn_withdrawn(&mut self, id: RegionId, length: u64) -> Result<Option<T>, Error> {
        self.note(id, length, None, false)
    }

    fn note(
        &mut self,
        id: RegionId,
        length: u64,
        what: Option<T>,
        whole: bool,
    ) -> Result<Option<T>, Error> {
        self.check_new(id)?;
        let place = &mut self.regions[id.slot as usize];
        let told = Told {
            generation: id.generation,
            length,
            whole,
            withdrawn: false,
            what,
        };
        Ok(place.replace(told).and_then(|before| before.what))
    }

    /// Gives what was known of a region that came with its only message, if it is known still. Its generation is not
    /// forgotten, so that nothing else is told of under that.
    pub fn forget(&mut self, id: RegionId) -> Option<T> {
        let told = self.regions.get_mut(id.slot as usize)?.as_mut()?;
        match told.whole && told.generation == id.generation {
            true => told.what.take(),
            false => None,
        }
    }

    /// Gives what was known of a region of which the peer says that it has withdrawn it.
    ///
    /// # Errors
    /// [`Error::PeerFault`]: no such region in this generation, one that came with its only message, or the peer has said
    /// so before.
    pub fn withdraw(&mut self, id: RegionId) -> Result<Option<T>, Error> {
        let told = self.regions.get_mut(id.slot as usize);
        let told = told.and_then(Option::as_mut).ok_or(Error::PeerFault)?;
        if told.generation != id.generation || told.whole || told.withdrawn {
            return Err(Error::PeerFault);
        }
        told.withdrawn = true;
        Ok(told.what.take())
    }

    fn find(&self, reference: RegionRef) -> Result<&Told<T>, Error> {
        let RegionId { slot, generation } = reference.region;
        let told = self.regions.get(slot as usize).and_then(Option::as_ref);
        let told = told.ok_or(Error::PeerFault)?;
        let stale = told.generation != generation && !sabotaged!("lease_generation_not_checked");
        let end = reference.offset.checked_add(reference.length);
        let within = end.is_some_and(|end| end <= told.length);
        match !stale && (within || sabotaged!("lease_bounds_not_checked")) {
            true => Ok(told),
            false => Err(Error::PeerFault),
        }
    }

    /// Checks everything in a reference of a message to a part of a region.
    ///
    /// # Errors
    /// [`Error::PeerFault`]: no such region in this generation, not within it, one that came with its only message, or
    /// one that was withdrawn.
    pub fn check_part(&self, reference: RegionRef) -> Result<(), Error> {
        let told = self.find(reference)?;
        let in_parts = !told.whole || sabotaged!("whole_region_in_parts");
        let there = told.what.is_some() || sabotaged!("withdrawn_region_in_parts");
        match in_parts && there {
            true => Ok(()),
            false => Err(Error::PeerFault),
        }
    }

    /// What a reference leads to, after everything in it was checked.
    ///
    /// # Errors
    /// [`Error::PeerFault`]: no such region in this generation, not within it, or it was forgotten.
    pub fn resolve(&self, reference: RegionRef) -> Result<&T, Error> {
        let what = self.find(reference)?.what.as_ref();
        what.ok_or(Error::PeerFault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_not_used_again_after_its_last_generation() {
        let mut leases: Leases<2> = Leases::default();
        leases.regions[0].generation = u32::MAX - 1;
        let last = leases.publish(10).unwrap();
        assert_eq!((last.slot, last.generation), (0, u32::MAX));
        leases.withdraw(last).unwrap();
        // Nor would its peer believe it.
        let mut known: Known<(), 2> = Known::default();
        assert_eq!(known.learn(last, 10, ()), Ok(None));
        let again = RegionId {
            generation: 0,
            ..last
        };
        assert_eq!(known.learn(again, 10, ()), Err(Error::PeerFault));
        let other = leases.publish(10).unwrap();
        assert_eq!((other.slot, other.generation), (1, 1));
        assert_eq!(leases.publish(10), Err(Error::Full));
    }
}
