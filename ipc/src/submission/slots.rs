//! The slots of a registrar: which are taken, by what, and in which list each is.
//!
//! A slot is in one list at most: that of the free ones, that of those which an object has here, or that of those whose
//! capability has ended and which rings know still. All of it is under the lock of the registrar.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;

use abi::submission::Registered;
use abi::{Error, Handle, cost};
use mm::RecordCharge;

use super::registrar::Registrar;
use super::{STEPS, SubmissionRing};
use crate::chunks::{BLOCK, Chunks};
use crate::{Node, Object, Platform, Waiters};

/// The end of a list of slots.
pub(super) const NONE: u32 = u32::MAX;
/// What is before a slot that is in no list.
const UNLISTED: u32 = NONE - 1;

/// How a slot stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Standing {
    /// It can be taken.
    #[default]
    Free,
    /// Every ring knows it.
    Live,
    /// Somebody waits for what uses it.
    Retiring,
    /// Its capability has ended, and it is free when nothing uses it any more.
    Dead,
    /// Its generations are used up.
    UsedUp,
}

/// A ring, and the operation of it that waits for a slot to be let go.
pub(super) type Retirer<P> = (Arc<SubmissionRing<P>>, u32);

pub(super) struct Slot<P: Platform> {
    pub(super) node: Option<Node<P>>,
    /// While it is retiring, if no call sleeps for that: the address of a ring, and an operation of it.
    retirer: Option<(usize, u32)>,
    pub(super) handle: Handle,
    /// In its list: that of the free ones, that of those which an object has here, or that of those which end.
    next: u32,
    previous: u32,
    pub(super) generation: u16,
    pub(super) standing: Standing,
}

impl<P: Platform> Default for Slot<P> {
    fn default() -> Self {
        Slot {
            node: None,
            retirer: None,
            handle: Handle::NONE,
            next: NONE,
            previous: UNLISTED,
            generation: 1,
            standing: Standing::Free,
        }
    }
}

pub(super) struct Slots<P: Platform> {
    pub(super) slots: Chunks<Slot<P>>,
    /// The first that can be taken by who does not ask for one.
    pub(super) free: u32,
    /// The first whose capability has ended, and which rings know still.
    pub(super) ending: u32,
    /// How many there may be, and how many from 0 on are reserved.
    pub(super) most: usize,
    pub(super) reserved: usize,
    pub(super) rings: Vec<Arc<SubmissionRing<P>>>,
    pub(super) waiters: Waiters<P>,
    pub(super) charge: RecordCharge,
}

impl<P: Platform> Slots<P> {
    /// Takes a free slot: this one, which must be reserved, or any that is not. Room for it is there, and
    /// nothing else has changed when it is given [back](Slots::give_back).
    pub(super) fn take(&mut self, wanted: Option<u64>) -> Result<Registered, Error> {
        let index = match wanted {
            Some(slot) => {
                let index = usize::try_from(slot).map_err(|_| Error::Range)?;
                if index >= self.reserved {
                    return Err(Error::Range);
                }
                index
            }
            None if self.free != NONE => {
                let index = self.free as usize;
                self.free = self.slots[index].next;
                index
            }
            None => {
                let index = self.slots.len().max(self.reserved);
                if index >= self.most {
                    return Err(Error::Limit);
                }
                self.grow(index + 1)?;
                index
            }
        };
        let slot = &self.slots[index];
        match slot.standing {
            Standing::Free => Ok(Registered::new(index as u16, slot.generation)),
            _ => Err(Error::Exists),
        }
    }

    /// So many slots, which nobody has yet. Others run in between. `NoMemory`.
    pub(super) fn make(machine: &P, count: usize) -> Result<Chunks<Slot<P>>, Error> {
        let mut slots = Chunks::new();
        for block in 0..count.div_ceil(BLOCK) {
            if block > 0 && block.is_multiple_of(STEPS) {
                let _ = machine.pause();
                machine.ensure_memory()?;
            }
            slots.reserve(1)?;
            for _ in 0..BLOCK.min(count - slots.len()) {
                slots.push(Slot::default());
            }
        }
        Ok(slots)
    }

    /// Makes room for so many slots. `Quota`, `NoMemory`.
    fn grow(&mut self, count: usize) -> Result<(), Error> {
        while self.slots.len() < count {
            if self.slots.len().is_multiple_of(BLOCK) {
                self.charge.extend(cost::REGISTRAR)?;
                if let Err(error) = self.slots.reserve(1) {
                    self.charge.release(cost::REGISTRAR);
                    return Err(error);
                }
            }
            self.slots.push(Slot::default());
        }
        Ok(())
    }

    /// Puts a slot that was taken back, for the next: the smallest numbers come first again. One that was
    /// made for it goes.
    pub(super) fn give_back(&mut self, index: usize) {
        if index + 1 == self.slots.len()
            && self.slots[index].generation == 1
            && index >= self.reserved
        {
            self.pop();
        } else if index >= self.reserved {
            self.slots[index].next = self.free;
            self.free = index as u32;
        }
    }

    /// The last slot goes, and its block with the first of it.
    fn pop(&mut self) {
        let left = self.slots.len() - 1;
        self.slots.shorten(left);
        if left.is_multiple_of(BLOCK) {
            self.slots.truncate(left / BLOCK);
            self.charge.release(cost::REGISTRAR);
        }
    }

    /// What every ring knows now. The registrar is that of these slots, as in all that lists them by object.
    pub(super) fn settle(
        &mut self,
        registrar: &Registrar<P>,
        id: Registered,
        handle: Handle,
        node: Node<P>,
    ) {
        let (first, _) = node.object().registrars.slots(registrar);
        node.object()
            .registrars
            .set_first(registrar, id.slot().into());
        let slot = &mut self.slots[usize::from(id.slot())];
        slot.handle = handle;
        slot.node = Some(node);
        slot.standing = Standing::Live;
        self.put_before(id.slot().into(), first);
    }

    /// Lists a slot before the first of a list.
    fn put_before(&mut self, index: u32, first: u32) {
        let slot = &mut self.slots[index as usize];
        (slot.previous, slot.next) = (NONE, first);
        if first != NONE {
            self.slots[first as usize].previous = index;
        }
    }

    /// Takes a slot out of its list: that of its object, or, if it is dead, of those which end.
    fn unlist(&mut self, registrar: &Registrar<P>, index: u32) {
        let slot = &mut self.slots[index as usize];
        let (previous, next) = (slot.previous, slot.next);
        (slot.previous, slot.next) = (UNLISTED, NONE);
        match previous {
            UNLISTED => return,
            NONE if slot.standing == Standing::Dead => self.ending = next,
            NONE => {
                if let Some(node) = &slot.node {
                    node.object().registrars.set_first(registrar, next);
                }
            }
            previous => self.slots[previous as usize].next = next,
        }
        if next != NONE {
            self.slots[next as usize].previous = previous;
        }
    }

    /// Lists what is registered by capabilities of an object that have ended among what [ends](Slots::next_ending), by what
    /// the object has here, however much else there is.
    pub(super) fn list_ended(&mut self, registrar: &Registrar<P>, object: &Object<P>) {
        let (first, count) = object.registrars.slots(registrar);
        let scans = mm::sabotaged!("registrations_scanned");
        let mut at = if scans { 0 } else { first };
        let mut steps = 0;
        while at != NONE && (at as usize) < self.slots.len() {
            steps += 1;
            debug_assert!(steps <= count, "who looks for what ends looks at more");
            let slot = &self.slots[at as usize];
            let next = if scans { at + 1 } else { slot.next };
            let is_listed = matches!(slot.standing, Standing::Live | Standing::Retiring);
            let has_ended = |node: &Node<P>| {
                core::ptr::eq(Arc::as_ptr(node.object()), object) && registrar.has_lost(node)
            };
            if is_listed && slot.node.as_ref().is_some_and(has_ended) {
                self.unlist(registrar, at);
                self.slots[at as usize].standing = Standing::Dead;
                self.put_before(at, self.ending);
                self.ending = at;
            }
            at = next;
        }
    }

    /// The next one that ends, which is in no list any more.
    pub(super) fn next_ending(&mut self, registrar: &Registrar<P>) -> Option<u16> {
        let index = self.ending;
        (index != NONE).then(|| {
            self.unlist(registrar, index);
            index as u16
        })
    }

    /// How the slot of an id stands; `Free` if it is another's, or nobody's.
    pub(super) fn standing(&self, id: Registered) -> Standing {
        let slot = self.slots.get(id.slot().into());
        let same = |slot: &&Slot<P>| {
            slot.generation == id.generation() || mm::sabotaged!("generation_not_compared")
        };
        slot.filter(same)
            .map_or(Standing::Free, |slot| slot.standing)
    }

    /// Returns its memory, to be given back without the lock, when nothing is registered any more and nothing ever
    /// will be.
    pub(super) fn clear(&mut self) -> impl Sized + use<P> {
        let blocks = self.slots.len().div_ceil(BLOCK) as u64;
        self.free = NONE;
        self.charge.release(blocks * cost::REGISTRAR);
        mem::replace(&mut self.slots, Chunks::new())
    }

    /// Lets no further operation use a slot, which stands so from now on, and tells how many do.
    pub(super) fn halt(&mut self, index: u16, standing: Standing) -> u32 {
        self.slots[usize::from(index)].standing = standing;
        let rings = self.rings.iter();
        rings.map(|ring| ring.known.lock().halt(index)).sum()
    }

    /// Lets a slot go: it is free, or will be with the last operation that uses it. Returns who is to be told,
    /// and what it was registered by.
    #[must_use = "it is to be told, and noted off"]
    pub(super) fn end(
        &mut self,
        registrar: &Registrar<P>,
        index: u16,
    ) -> (Option<Retirer<P>>, Option<Node<P>>) {
        self.unlist(registrar, index.into());
        let retirer = self.take_retirer(index);
        match self.halt(index, Standing::Dead) {
            0 => (retirer, self.free(registrar, index)),
            _ => (retirer, None),
        }
    }

    /// Whether a slot is to go and no operation uses it any more.
    pub(super) fn is_over(&self, index: u16) -> bool {
        let slot = self.slots.get(index.into());
        let mut rings = self.rings.iter();
        slot.is_some_and(|slot| matches!(slot.standing, Standing::Retiring | Standing::Dead))
            && rings.all(|ring| ring.known.lock().in_use(index) == 0)
    }

    /// Lets operations use a slot again.
    pub(super) fn resume(&mut self, index: u16) {
        let slot = &mut self.slots[usize::from(index)];
        (slot.standing, slot.retirer) = (Standing::Live, None);
        for ring in &self.rings {
            ring.known.lock().resume(index);
        }
    }

    /// Has an operation told when a slot that it has retire is let go.
    pub(super) fn set_retirer(&mut self, id: Registered, ring: &Arc<SubmissionRing<P>>, key: u32) {
        if self.standing(id) == Standing::Retiring && !mm::sabotaged!("retirer_not_told") {
            self.slots[usize::from(id.slot())].retirer = Some((Arc::as_ptr(ring).addr(), key));
        }
    }

    /// Who is to be told of the end of a slot, from whoever ends it.
    pub(super) fn take_retirer(&mut self, index: u16) -> Option<Retirer<P>> {
        let (address, key) = self.slots[usize::from(index)].retirer.take()?;
        let mut rings = self.rings.iter();
        let ring = rings.find(|ring| Arc::as_ptr(ring).addr() == address)?;
        Some((ring.clone(), key))
    }

    /// By which capability a slot is registered.
    pub(super) fn node(&self, index: u16) -> Option<&Node<P>> {
        self.slots.get(index.into())?.node.as_ref()
    }

    /// Makes a slot, which nothing uses, one that can be taken again under the next generation, and
    /// returns what it was registered by.
    #[must_use = "it is to be noted off"]
    pub(super) fn free(&mut self, registrar: &Registrar<P>, index: u16) -> Option<Node<P>> {
        self.unlist(registrar, index.into());
        for ring in &self.rings {
            ring.known.lock().forget(index);
        }
        let (at, reserved) = (usize::from(index), self.reserved);
        let slot = &mut self.slots[at];
        let node = slot.node.take();
        slot.retirer = None;
        slot.handle = Handle::NONE;
        match slot.generation.checked_add(1) {
            Some(generation) => {
                slot.generation = generation;
                slot.standing = Standing::Free;
                if at >= reserved {
                    slot.next = self.free;
                    self.free = index.into();
                }
            }
            None => slot.standing = Standing::UsedUp,
        }
        node
    }

    /// The last slot before a place that is registered by something, even if that has ended; the place is that of it
    /// then. It is in no list any more.
    pub(super) fn last_before(
        &mut self,
        registrar: &Registrar<P>,
        before: &mut usize,
    ) -> Option<u16> {
        let last = self.slots.len().min(*before);
        let is_registered = |index: &usize| {
            let slot = &self.slots[*index];
            let forgotten = mm::sabotaged!("dead_registration_stays");
            slot.node.is_some() && !(forgotten && slot.standing == Standing::Dead)
        };
        *before = (0..last).rev().find(is_registered)?;
        self.unlist(registrar, *before as u32);
        Some(*before as u16)
    }
}
