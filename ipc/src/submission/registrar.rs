//! The registrar of a process: handles that all its submission rings know under one number each.
//!
//! Every ring has a table of its own, so registering is a broadcast: each acknowledges, or says why it
//! can't. The first error wins, and then those who have acknowledged forget it again: a slot is clean or
//! not used again, never known to some. Each number has a generation, so one that was let go is never
//! taken for its successor.
//!
//! A [slot](super::slots) is let go when nobody uses it ([`retire`](super::retire)), in whichever ring that is. All this
//! takes locks and asks nobody to run, so it works from within whatever serves a ring, too.
//!
//! Lock rank: Queue; then Ports, for one ring at a time, or Calls, for the list of an object.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::{fmt, mem};

use abi::limits::{MAX_REGISTERED, MAX_SUBMISSION_RINGS};
use abi::submission::Registered;
use abi::{Error, Handle, cost};
use mm::Account;
use mm::lock::{Lock, Rank};

use super::SubmissionRing;
use super::slots::{NONE, Slot, Slots, Standing};
use crate::chunks::{BLOCK, Chunks};
use crate::{Node, Platform, Waiters};

/// The registrar of a domain.
pub struct Registrar<P: Platform> {
    /// The domain that it is of.
    owner: u64,
    pub(super) state: Lock<Slots<P>>,
}

impl<P: Platform> Registrar<P> {
    /// That of a domain, of which nothing is known. `payer` pays for what it grows by.
    pub(crate) fn new(owner: u64, payer: &Arc<Account>) -> Arc<Registrar<P>> {
        const {
            assert!((BLOCK * size_of::<Slot<P>>() + 64) as u64 <= cost::REGISTRAR);
            assert!(size_of::<Registrar<P>>() + 16 <= 256);
        }
        let slots = Slots {
            slots: Chunks::new(),
            free: NONE,
            ending: NONE,
            most: MAX_REGISTERED,
            reserved: 0,
            rings: Vec::new(),
            waiters: Waiters::new(),
            charge: payer.charge_nothing(),
        };
        mm::shared(Registrar {
            owner,
            state: Lock::new(Rank::Queue, slots),
        })
    }

    /// Whether a capability is not its domain's any more. One that is on its way to another may come back.
    pub(super) fn has_lost(&self, node: &Node<P>) -> bool {
        let held = node.check_held(self.owner);
        !matches!(held, Ok(()) | Err(Error::InTransit))
    }

    /// Sets how many slots there may be, while there are none. Errors of
    /// [`set_slots`](crate::Ipc::set_slots).
    pub(super) fn configure(&self, machine: &P, most: u64, reserved: u64) -> Result<(), Error> {
        if most == 0 || most > MAX_REGISTERED as u64 || reserved > most {
            return Err(Error::Invalid);
        }
        let (most, reserved) = (most as usize, reserved as usize);
        let bytes = reserved.div_ceil(BLOCK) as u64 * cost::REGISTRAR;
        let charge_more = |state: &mut Slots<P>| match state.slots.len() {
            0 => state.charge.extend(bytes),
            _ => Err(Error::Exists),
        };
        charge_more(&mut self.state.lock())?;
        // As many as a program chooses, and so without the lock.
        let mut made = Slots::make(machine, reserved);
        let mut state = self.state.lock();
        let answer = match &mut made {
            Ok(made)
                if state.slots.len() == 0 || mm::sabotaged!("slots_set_without_second_look") =>
            {
                mem::swap(&mut state.slots, made);
                (state.most, state.reserved) = (most, reserved);
                Ok(())
            }
            // Somebody was first.
            Ok(_) => Err(Error::Exists),
            Err(error) => Err(*error),
        };
        if answer.is_err() {
            state.charge.release(bytes);
        }
        // What was made in vain goes after the lock.
        answer
    }

    /// One more ring, which learns all that is registered. `Limit`, `Quota`, `NoMemory`.
    pub(super) fn join(&self, machine: &P, ring: &Arc<SubmissionRing<P>>) -> Result<(), Error> {
        let mut from = 0;
        loop {
            let missing = {
                let mut state = self.state.lock();
                let missing = state.first_unknown(ring, from);
                // There may be more to learn by the time that there is room.
                let again = !mm::sabotaged!("ring_joins_without_second_look");
                let missing = missing.or_else(|| state.first_unknown(ring, 0).filter(|_| again));
                match missing {
                    None => return state.admit(ring),
                    Some(slot) => slot,
                }
            };
            // Without the lock, as this may be for as many slots as a program chooses. Others run before and not after it:
            // memory is there then for what follows and can't fail.
            let _ = machine.pause();
            ring.known.lock().make_room(machine, missing)?;
            from = usize::from(missing) + 1;
        }
    }

    /// A ring is gone, and nothing in it uses anything.
    pub(super) fn leave(&self, ring: &Arc<SubmissionRing<P>>) {
        let mut state = self.state.lock();
        state.rings.retain(|other| !Arc::ptr_eq(other, ring));
        if state.rings.is_empty() {
            state.rings = Vec::new();
        }
    }
}

impl<P: Platform> Slots<P> {
    /// The first slot from one on that is registered and that a ring has no room for.
    fn first_unknown(&self, ring: &SubmissionRing<P>, from: usize) -> Option<u16> {
        let known = ring.known.lock();
        let mut slots = self.slots.iter().enumerate().skip(from);
        let unknown = slots.find(|(index, slot)| {
            matches!(slot.standing, Standing::Live | Standing::Retiring)
                && !known.has_room(*index as u16)
        });
        unknown.map(|(index, _)| index as u16)
    }

    /// One more ring, which has room for all that is registered and learns it. `Limit`, `NoMemory`.
    fn admit(&mut self, ring: &Arc<SubmissionRing<P>>) -> Result<(), Error> {
        if self.rings.len() >= MAX_SUBMISSION_RINGS {
            return Err(Error::Limit);
        }
        self.rings.try_reserve(1).map_err(|_| Error::NoMemory)?;
        let mut known = ring.known.lock();
        for (index, slot) in self.slots.iter().enumerate() {
            if matches!(slot.standing, Standing::Live | Standing::Retiring) {
                let id = Registered::new(index as u16, slot.generation);
                known.learn(id, slot.handle)?;
                if slot.standing == Standing::Retiring {
                    // It may be live again.
                    known.halt(id.slot());
                }
            }
        }
        drop(known);
        self.rings.push(ring.clone());
        Ok(())
    }

    /// Has every ring know a slot. The first error wins, and then none does.
    pub(super) fn broadcast(
        &mut self,
        machine: &P,
        id: Registered,
        handle: Handle,
    ) -> Result<(), Error> {
        const { assert!(MAX_SUBMISSION_RINGS <= u64::BITS as usize) }
        let mut answer = Ok(());
        // Who acknowledged, and which of them have room for it alone, by their places.
        let (mut acknowledged, mut made) = (0, 0u64);
        for (at, ring) in self.rings.iter().enumerate() {
            let mut known = ring.known.lock();
            // Once one has refused, the others are not asked for room in vain.
            answer = known.make_room(machine, id.slot()).and_then(|is_new| {
                made |= u64::from(is_new) << at;
                known.learn(id, handle)
            });
            if answer.is_err() {
                break;
            }
            acknowledged = at + 1;
        }
        if answer.is_err() && !mm::sabotaged!("registrar_without_rollback") {
            for (at, ring) in self.rings[..acknowledged].iter().enumerate() {
                let mut known = ring.known.lock();
                known.forget(id.slot());
                if made >> at & 1 != 0 && !mm::sabotaged!("refused_registration_keeps_room") {
                    known.take_room_back(id.slot());
                }
            }
        }
        answer
    }
}

impl<P: Platform> fmt::Debug for Registrar<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.lock();
        f.debug_struct("Registrar")
            .field("slots", &state.slots.len())
            .field("rings", &state.rings.len())
            .finish_non_exhaustive()
    }
}
