//! Promised frames: what lets a page be filled, or a shared one be copied, without failing.
//!
//! A region is promised its worst case when it is made: every leaf table and every page that may be
//! written. Regions that share leaf tables or frames since a snapshot are a *family* and have one
//! purse. Its *claims* are the worst cases of all members, and *held* are the frames that the family
//! has drawn; no slot of any member can take more than one frame, so `claims − held` promises
//! suffice whoever writes first. A member that overcommits brings no claims. While there is one,
//! copies are paid out of open memory; when that runs out, it is the overcommitted member that is
//! lost (rule S14), never the write of another. Whatever happens, `promised + held` is at least
//! `claims`: frames that would bring the sum below it become promises when they are freed.
//!
//! Only frames that may be written count. What nobody can write is never copied.

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;

use abi::Error;

use crate::lock::{Lock, Rank};
use crate::room::room_for;
use crate::{Budget, Machine, Region};

/// The promises of one region.
#[derive(Debug)]
pub(crate) enum Reserve {
    /// Of a region that never shared anything.
    Own {
        /// Frames that are promised and not drawn.
        promised: u64,
    },
    /// Of one that has, or had, relatives.
    Family {
        family: Arc<Family>,
        /// Whether it draws on open memory only.
        overcommitted: bool,
    },
}

/// Regions that descend from one by snapshots.
#[derive(Debug)]
pub(crate) struct Family {
    /// The number of the region that was there first.
    koid: u64,
    purse: Lock<Purse>,
}

#[derive(Debug)]
struct Purse {
    promised: u64,
    claims: u64,
    held: u64,
    overcommitted: Vec<Weak<Region>>,
    /// Places of the list that are kept for members to come.
    expected: usize,
}

/// Why nothing was drawn.
#[derive(Debug)]
pub(crate) enum Dry {
    /// The last promise is in the hands of a CPU that is about to use it, or to give it back.
    Contended,
    /// This region has to be lost first.
    Lose(Arc<Region>),
    /// The region itself has overcommitted, and nothing is left for it.
    Lost,
}

impl Purse {
    /// Takes a member off the list of those that overcommit.
    fn strike(&mut self, member: &Region) {
        self.overcommitted
            .retain(|other| !core::ptr::eq(other.as_ptr(), member));
    }

    /// Gives up what no member can need any more. What members that overcommit hold may be the one
    /// frame of a slot of another, which then needs a promise again.
    fn settle(&mut self, machine: &impl Machine) {
        let held = match self.overcommitted.is_empty() {
            true => self.held,
            false => 0,
        };
        let needed = self.claims.saturating_sub(held);
        let surplus = self.promised.saturating_sub(needed);
        self.promised -= surplus;
        machine.unreserve(surplus);
    }

    /// Takes frames of open memory for a member that has claims, or names the member that has to be
    /// lost for them.
    fn draw_open(&mut self, machine: &impl Machine, count: u64) -> Result<(), Dry> {
        if machine.reserve(count) {
            return Ok(());
        }
        let victim = self.overcommitted.iter().find_map(Weak::upgrade);
        Err(victim.map_or(Dry::Contended, Dry::Lose))
    }
}

impl Reserve {
    /// How many frames are promised; those of a family to each of its members.
    pub(crate) fn promised(&self) -> u64 {
        match self {
            Reserve::Own { promised } => *promised,
            Reserve::Family { family, .. } => family.purse.lock().promised,
        }
    }

    /// The number of the family, which the purse belongs to.
    pub(crate) fn family_koid(&self) -> Option<u64> {
        match self {
            Reserve::Own { .. } => None,
            Reserve::Family { family, .. } => Some(family.koid),
        }
    }

    /// Whether the region may share leaf tables with another.
    pub(crate) fn is_family(&self) -> bool {
        matches!(self, Reserve::Family { .. })
    }

    /// Whether the region draws on open memory only.
    pub(crate) fn is_overcommitted(&self) -> bool {
        matches!(
            self,
            Reserve::Family {
                overcommitted: true,
                ..
            }
        )
    }

    /// Makes the promises of a region that nobody shares yet so many.
    pub(crate) fn set(&mut self, count: u64) {
        if let Reserve::Own { promised } = self {
            *promised = count;
        }
    }

    /// Draws promises of a region that nobody else knows yet.
    pub(crate) fn take(&mut self, count: u64) {
        if let Reserve::Own { promised } = self {
            *promised -= count;
        }
    }

    /// Takes the right to one frame for an empty page that only this region has.
    pub(crate) fn draw(&mut self, machine: &impl Machine) -> Result<(), Dry> {
        self.draw_several(machine, 1)
    }

    fn draw_several(&mut self, machine: &impl Machine, count: u64) -> Result<(), Dry> {
        match self {
            Reserve::Own { promised } => {
                *promised = promised.checked_sub(count).ok_or(Dry::Contended)?;
            }
            Reserve::Family {
                family,
                overcommitted: false,
            } => {
                let mut purse = family.purse.lock();
                match purse.promised.checked_sub(count) {
                    Some(rest) => purse.promised = rest,
                    // The page's own frame may have been left to a member that overcommits.
                    None if purse.overcommitted.is_empty() => return Err(Dry::Contended),
                    None => purse.draw_open(machine, count)?,
                }
                purse.held += count;
            }
            Reserve::Family { family, .. } => {
                if !machine.reserve(count) {
                    return Err(Dry::Lost);
                }
                family.purse.lock().held += count;
            }
        }
        Ok(())
    }

    /// Takes the right to as many frames as a copy of what is shared needs, or to none: two that need
    /// a table and a page each would take the last one from each other.
    pub(crate) fn draw_for_copy(&mut self, machine: &impl Machine, count: u64) -> Result<(), Dry> {
        let Reserve::Family {
            family,
            overcommitted: false,
        } = self
        else {
            return self.draw_several(machine, count);
        };
        let mut purse = family.purse.lock();
        if purse.overcommitted.is_empty() {
            purse.promised = purse.promised.checked_sub(count).ok_or(Dry::Contended)?;
        } else {
            purse.draw_open(machine, count)?;
        }
        purse.held += count;
        Ok(())
    }

    /// Gives back the right to a frame that was drawn and is not held any more, and says how the
    /// frame is to be freed. `ended`: the region has ended meanwhile.
    pub(crate) fn put_back(&mut self, machine: &impl Machine, ended: bool) -> Budget {
        match self {
            Reserve::Own { .. } if ended => Budget::Open,
            Reserve::Own { promised } => {
                *promised += 1;
                Budget::Reserved
            }
            Reserve::Family {
                family,
                overcommitted,
            } => {
                let mut purse = family.purse.lock();
                purse.held -= 1;
                if *overcommitted && purse.promised + purse.held >= purse.claims {
                    return Budget::Open;
                }
                purse.promised += 1;
                if ended {
                    purse.settle(machine);
                }
                Budget::Reserved
            }
        }
    }

    /// Counts frames that a leaf took along, which were freed as promises: others could take what is
    /// open before a member needs it again.
    pub(crate) fn note_freed(&mut self, machine: &impl Machine, freed: u64) {
        match self {
            Reserve::Own { promised } => *promised += freed,
            Reserve::Family { family, .. } => {
                let mut purse = family.purse.lock();
                purse.held -= freed;
                purse.promised += freed;
                purse.settle(machine);
            }
        }
    }

    /// The purse that a region with these claims shares with its snapshots from now on.
    #[inline(always)]
    pub(crate) fn family(&mut self, koid: u64, claims: u64) -> Arc<Family> {
        match self {
            Reserve::Family { family, .. } => family.clone(),
            Reserve::Own { promised } => {
                let promised = *promised;
                self.found_family(koid, claims, promised)
            }
        }
    }

    #[cold]
    fn found_family(&mut self, koid: u64, claims: u64, promised: u64) -> Arc<Family> {
        let purse = Purse {
            promised,
            claims,
            held: claims - promised,
            overcommitted: Vec::new(),
            expected: 0,
        };
        let family = crate::shared(Family {
            koid,
            purse: Lock::new(Rank::Reserve, purse),
        });
        *self = Reserve::Family {
            family: family.clone(),
            overcommitted: false,
        };
        family
    }

    /// What `member` leaves behind, which ends, has these claims, and has freed so many of the frames
    /// that count, as promises.
    pub(crate) fn end(&mut self, machine: &impl Machine, member: &Region, claims: u64, freed: u64) {
        match self {
            Reserve::Own { promised } => {
                machine.unreserve(core::mem::take(promised) + freed);
            }
            Reserve::Family {
                family,
                overcommitted,
            } => {
                let mut purse = family.purse.lock();
                purse.held -= freed;
                purse.promised += freed;
                if *overcommitted {
                    purse.strike(member);
                } else {
                    purse.claims -= claims;
                }
                purse.settle(machine);
            }
        }
    }
}

impl Family {
    /// Takes a member in, with its claims, whose promises are handed over.
    #[inline(always)]
    pub(crate) fn join(&self, claims: u64) {
        let mut purse = self.purse.lock();
        purse.claims += claims;
        purse.promised += claims;
    }

    /// Keeps a place for one more member that overcommits. The caller then adds it.
    pub(crate) fn prepare(&self) -> Result<(), Error> {
        loop {
            let needed = {
                let mut purse = self.purse.lock();
                let needed = purse.overcommitted.len() + purse.expected + 1;
                if purse.overcommitted.capacity() >= needed {
                    purse.expected += 1;
                    return Ok(());
                }
                needed
            };
            // The heap may have to grow, which takes locks of lower rank.
            let mut roomier = room_for(needed.next_power_of_two())?;
            let mut purse = self.purse.lock();
            if roomier.capacity() > purse.overcommitted.capacity() {
                roomier.append(&mut purse.overcommitted);
                core::mem::swap(&mut purse.overcommitted, &mut roomier);
            }
        }
    }

    /// Makes the first member one that brings no claims, after [`prepare`](Family::prepare).
    pub(crate) fn leave_claims(&self, member: &Arc<Region>) {
        self.purse.lock().claims = 0;
        self.join_overcommitted(member);
    }

    /// Takes a member in that brings no claims, after [`prepare`](Family::prepare).
    pub(crate) fn join_overcommitted(&self, member: &Arc<Region>) {
        let mut purse = self.purse.lock();
        purse.expected -= 1;
        purse.overcommitted.push(Arc::downgrade(member));
    }
}
