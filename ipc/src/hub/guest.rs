//! What guests do: claim, signal, leave; and how one is gone that does nothing any more.

use alloc::sync::Arc;

use abi::hub::{PeerState, Standing};
use abi::{Error, Handle, HubGuestEnds, HubSignal, Rights};

use super::{Member, MemberSide, Seat, State};
use crate::node::NodeState;
use crate::table::Locked;
use crate::{Domain, Ipc, Node, Payload, Platform};

impl<P: Platform> Ipc<P> {
    /// Begins to use a seat, in the tenancy that the guest was told of; with MANAGE.
    ///
    /// # Errors
    /// `NotFound`: it is not reserved in this tenancy; `Exists`: it was claimed; `PeerClosed`: the host has said
    /// goodbye or is gone; `Quota`, `NoMemory`; those of a look-up. Nothing has changed then.
    pub fn claim_seat(
        &self,
        domain: &Domain<P>,
        handle: Handle,
        epoch: u32,
    ) -> Result<HubGuestEnds, Error> {
        let (_, member) = self.member(domain, handle, Rights::MANAGE)?;
        let hub = &member.hub;
        let epoch = match mm::sabotaged!("hub_epoch_not_compared") {
            true => member.epoch,
            false => epoch,
        };
        if epoch != member.epoch {
            return Err(Error::NotFound);
        }
        let mut places = domain.table.lock();
        places.prepare(3)?;
        let table = self.derive_table(domain, hub)?;
        let claimed = self.claim(domain, &member, &table);
        let (ends, woken) = match claimed {
            Ok(claimed) => claimed,
            Err(error) => {
                drop(places);
                self.lose(&table);
                return Err(error);
            }
        };
        let [producer, consumer] = ends.map(|end| self.hand_end(domain, &mut places, &end));
        let ends = HubGuestEnds {
            producer,
            consumer,
            table: places.insert(table),
        };
        drop(places);
        self.tell_host(hub, woken);
        Ok(ends)
    }

    /// Makes a domain pay for its ends, and is the last step that can fail.
    #[allow(clippy::type_complexity)] // The ends, and who is to be unparked.
    fn claim(
        &self,
        domain: &Domain<P>,
        member: &Member<P>,
        table: &Node<P>,
    ) -> Result<([Node<P>; 2], Option<P::Task>), Error> {
        let (hub, peer) = (&member.hub, member.peer);
        if !hub.is_hosted() {
            return Err(Error::PeerClosed);
        }
        let ends = {
            let mut state = hub.state.lock();
            state.seat(peer, member.epoch)?.guest_ends.clone()
        };
        let first = self.bill(&ends[0], domain)?;
        let second = self
            .bill(&ends[1], domain)
            .inspect_err(|_| self.withdraw_bill(&first, &ends[0], domain))?;
        let mut state = hub.state.lock();
        let reserved = member.standing(PeerState::Reserved);
        match hub.entry(peer)?.advance(reserved, PeerState::Attached) {
            Ok(_) => {
                if let Ok(seat) = state.seat(peer, member.epoch) {
                    seat.table = Some(table.clone());
                }
                self.show_beat(&state, peer, self.platform().now_ns());
                self.show(hub, &state, peer);
                Ok((ends, state.note(peer)))
            }
            Err(now) => {
                drop(state);
                self.withdraw_bill(&second, &ends[1], domain);
                self.withdraw_bill(&first, &ends[0], domain);
                Err(match now == member.standing(PeerState::Attached) {
                    true => Error::Exists,
                    false => Error::NotFound,
                })
            }
        }
    }

    /// Gives an end of a seat to a domain, whose table is locked and has room. No handle: it was revoked at
    /// this moment.
    pub(super) fn hand_end(
        &self,
        domain: &Domain<P>,
        places: &mut Locked<'_, Node<P>>,
        end: &Node<P>,
    ) -> Handle {
        let object = end.object();
        {
            let _lineage = object.lineage.lock();
            if end.state() == NodeState::Dead {
                return Handle::NONE;
            }
            end.deliver(domain.koid());
        }
        if let Payload::RingEnd(ring, side) = object.payload()
            && domain.koid() != ring.holder(*side)
        {
            self.pass_end(ring, *side, domain);
        }
        places.insert(end.clone())
    }

    /// Tells the host something; with SIGNAL.
    ///
    /// # Errors
    /// `PeerClosed`: the seat is not this guest's any more, or the host is gone; those of a look-up.
    pub fn signal_host(
        &self,
        domain: &Domain<P>,
        handle: Handle,
        signal: HubSignal,
    ) -> Result<(), Error> {
        let (_, member) = self.member(domain, handle, Rights::SIGNAL)?;
        let hub = &member.hub;
        let (woken, ends) = {
            let mut state = hub.state.lock();
            let attached = member.state() == Some(PeerState::Attached);
            if !attached || !hub.is_hosted() {
                return Err(Error::PeerClosed);
            }
            self.show_beat(&state, member.peer, self.platform().now_ns());
            if signal == HubSignal::Beat {
                return Ok(());
            }
            let ends = state.seat(member.peer, member.epoch)?.host_ends.clone();
            self.set_asleep(hub, &mut state, false);
            (state.note(member.peer), ends)
        };
        self.tell_host(hub, woken);
        // A host may as well sleep at one ring.
        for end in &ends {
            if let Payload::RingEnd(ring, side) = end.object().payload() {
                self.wake_end(ring, *side);
            }
        }
        Ok(())
    }

    /// Leaves a seat; with MANAGE.
    ///
    /// # Errors
    /// `NotFound`: it was left, or the guest was dismissed; those of a look-up.
    pub fn leave_seat(&self, domain: &Domain<P>, handle: Handle) -> Result<(), Error> {
        let (_, member) = self.member(domain, handle, Rights::MANAGE)?;
        self.end_tenancy(&member).map(drop)
    }

    /// Nobody has one side of a seat any more. A host that has no link still has the seat: its guest sees that
    /// the rings are closed.
    pub(crate) fn end_member(&self, member: &Arc<Member<P>>, side: MemberSide) {
        if side == MemberSide::Guest {
            let _ = self.end_tenancy(member);
        }
    }

    /// Says that a guest is gone, and takes its ends of the rings away, so that what it sent is all that
    /// there will be. `NotFound`: it was gone.
    pub(super) fn end_tenancy(&self, member: &Member<P>) -> Result<Seat<P>, Error> {
        let hub = &member.hub;
        let (seat, woken) = {
            let mut state = hub.state.lock();
            let seat = state.seat(member.peer, member.epoch)?.clone();
            self.mark_gone(member, &mut state)?;
            (seat, state.note(member.peer))
        };
        seat.guest_ends.iter().for_each(|end| self.kill(end));
        let events = [MemberSide::Guest, MemberSide::Host].map(|side| member.events(side));
        for events in events {
            self.fire(events, abi::Events::PEER_CLOSED, 0);
        }
        self.tell_host(hub, woken);
        Ok(seat)
    }

    /// `NotFound`: it was gone before.
    fn mark_gone(&self, member: &Member<P>, state: &mut State<P>) -> Result<(), Error> {
        let hub = &member.hub;
        let entry = hub.entry(member.peer)?;
        let now = entry.standing();
        if now.epoch != member.epoch || now.state == PeerState::Goodbye {
            return Err(Error::NotFound);
        }
        let from = Standing::new(now.state, member.epoch);
        entry
            .advance(from, PeerState::Goodbye)
            .map_err(|_| Error::NotFound)?;
        self.show(hub, state, member.peer);
        Ok(())
    }
}
