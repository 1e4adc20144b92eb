//! What becomes of the ends of a ring: they close, move, and lose their holders.
//!
//! An end that is closed tells why, in H and once: in order, faulty, revoked, or gone without a word. An end
//! that moves stays what it is, and the epoch in H says that somebody else has it.

use core::array;
use core::mem::offset_of;

use abi::ring::{End, EndState, Header};
use abi::{Error, Events, Handle, ObjectKind, Rights, RingClose};

use super::{Ring, RingState};
use crate::{Domain, Ipc, Outcome, Payload, Platform};

/// Those who slept at the producing and at the consuming end.
type Woken<P> = [Option<<P as Platform>::Task>; 2];

impl<P: Platform> Ipc<P> {
    /// Closes an end, whose handle and view stay, and wakes who sleeps at either; with SIGNAL. Its peer receives
    /// what was sent before. An end that is closed stays as it is, but that a fault counts after an orderly
    /// close, too.
    pub fn close_ring(
        &self,
        domain: &Domain<P>,
        handle: Handle,
        how: RingClose,
    ) -> Result<(), Error> {
        let kind = Some(ObjectKind::RingEnd);
        let (node, woken) = domain.with_node(handle, kind, Rights::SIGNAL, |node| {
            let Payload::RingEnd(ring, end) = node.object().payload() else {
                return Err(Error::WrongKind);
            };
            let mut state = ring.state.lock();
            // As in a wait: the pages are in place.
            node.check_allowed(domain.koid(), Rights::SIGNAL)?;
            Ok((
                node.clone(),
                self.set_end_state(ring, &mut state, *end, how.ends_as()),
            ))
        })?;
        if let Payload::RingEnd(ring, end) = node.object().payload() {
            self.tell_of_end(ring, *end, woken);
        }
        Ok(())
    }

    /// Closes an end for its holder, which keeps it, and wakes who sleeps at either.
    pub(crate) fn close_for_holder(&self, ring: &Ring<P>, end: End, ended: EndState) {
        let woken = {
            let mut state = ring.state.lock();
            if state.side(end).is_gone() {
                return;
            }
            self.set_end_state(ring, &mut state, end, ended)
        };
        self.tell_of_end(ring, end, woken);
    }

    /// Tells the peer that an end is gone, and returns the ring's memory with the second.
    pub(crate) fn close_end(&self, ring: &Ring<P>, end: End) {
        self.end_ring(ring, end, EndState::Closed);
    }

    /// The same of an end that was closed or revoked, as its `state` tells the peer.
    pub(crate) fn end_ring(&self, ring: &Ring<P>, end: End, ended: EndState) {
        let (woken, space, was_last) = {
            let mut state = ring.state.lock();
            let woken = self.set_end_state(ring, &mut state, end, ended);
            let space = state.side_mut(end).space.take();
            let was_last = state.side(end.peer()).is_gone();
            (woken, space, was_last)
        };
        drop(space);
        self.tell_of_end(ring, end, woken);
        if was_last {
            self.memory.destroy_region(&ring.region);
        }
    }

    /// Writes the state of an end, unless it is closed, and returns who is to be unparked. Under the lock,
    /// while the end is there.
    fn set_end_state(
        &self,
        ring: &Ring<P>,
        state: &mut RingState<P>,
        end: End,
        ended: EndState,
    ) -> Woken<P> {
        let side = state.side_mut(end);
        if side.ended.may_become(ended) {
            side.ended = ended;
            if !mm::sabotaged!("ring_state_not_written") {
                // SYNC(ring.close): what the end sent before is there for whoever sees this.
                let offset = Header::state_offset(end);
                self.platform()
                    .store_u32(ring.control[0], offset, ended as u32);
            }
        }
        array::from_fn(|side| state.sides[side].waiters.wake_first(Outcome::Ready))
    }

    fn tell_of_end(&self, ring: &Ring<P>, end: End, woken: Woken<P>) {
        for task in woken.iter().flatten() {
            self.platform().unpark(task);
        }
        let events = Events::READABLE | Events::WRITABLE | Events::PEER_CLOSED;
        self.fire(ring.events(end.peer()), events, 0);
    }

    /// Says that an end has another holder, by a new epoch: it goes on where the one before it stopped. Who sleeps
    /// at the other end, or at a port for it, looks again: the one before may have published, and not come to waking anybody.
    pub(crate) fn pass_end(&self, ring: &Ring<P>, end: End, receiver: &Domain<P>) {
        let space = receiver.space().clone();
        let mut state = ring.state.lock();
        let side = state.side_mut(end);
        side.holder = receiver.koid();
        if side.is_gone() {
            return;
        }
        let before = side.space.replace(space);
        if !mm::sabotaged!("ring_epoch_not_raised") {
            state.epoch = state.epoch.wrapping_add(1);
        }
        let offset = offset_of!(Header, epoch);
        self.platform()
            .store_u32(ring.control[0], offset, state.epoch);
        drop(state);
        drop(before);
        if !mm::sabotaged!("ring_move_wakes_nobody") {
            self.wake_end(ring, end.peer());
        }
    }
}
