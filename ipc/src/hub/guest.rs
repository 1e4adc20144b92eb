//! What guests do: claim, signal, leave; and how one is gone that does nothing any more.

use alloc::sync::Arc;

use abi::hub::{PeerState, Standing};
use abi::trace::Cause;
use abi::{Error, Handle, HubGuestEnds, HubSeat, HubSignal, Rights};

use super::{Member, MemberSide, State};
use crate::node::NodeState;
use crate::table::Locked;
use crate::{Capability, Domain, Ipc, Node, Payload, Platform};

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
        let (by, member) = self.member(domain, handle, Rights::MANAGE)?;
        let hub = &member.hub;
        let known = member.seat().epoch;
        if epoch != known && !mm::sabotaged!("hub_epoch_not_compared") {
            return Err(Error::NotFound);
        }
        let mut places = domain.table.lock();
        places.prepare(3)?;
        let table = self.derive_table(domain, hub);
        let table = table.map_err(|error| by.refuse(error))?;
        let claimed = self.claim(domain, &by, &member, &table);
        let (ends, woken) = match claimed {
            Ok(claimed) => claimed,
            Err(error) => {
                drop(places);
                self.lose(&table);
                return Err(by.refuse(error));
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
        by: &Capability<P>,
        member: &Member<P>,
        table: &Node<P>,
    ) -> Result<([Node<P>; 2], Option<P::Task>), Error> {
        let (hub, HubSeat { peer, epoch }) = (&member.hub, member.seat());
        if !hub.is_hosted() {
            return Err(Error::PeerClosed);
        }
        let ends = {
            let mut state = hub.state.lock();
            let ends = &state.seat(peer, epoch)?.guest_ends;
            ends.clone().ok_or(Error::NotFound)?
        };
        let first = self.bill(&ends[0], domain)?;
        let second = self
            .bill(&ends[1], domain)
            .inspect_err(|_| self.withdraw_bill(&first, &ends[0], domain))?;
        let attached = by.commit(|| self.attach(member, table));
        let attached = attached.inspect_err(|_| {
            self.withdraw_bill(&second, &ends[1], domain);
            self.withdraw_bill(&first, &ends[0], domain);
        });
        Ok((ends, attached?))
    }

    /// Has the guest attached, who is to be handed its ends from then on, and returns who is to be unparked.
    fn attach(&self, member: &Member<P>, table: &Node<P>) -> Result<Option<P::Task>, Error> {
        let (hub, HubSeat { peer, epoch }) = (&member.hub, member.seat());
        let mut state = hub.state.lock();
        if !hub.is_hosted() {
            return Err(Error::PeerClosed);
        }
        let seat = state.seat(peer, epoch)?;
        let reserved = member.standing(PeerState::Reserved);
        let advanced = hub.entry(peer)?.advance(reserved, PeerState::Attached);
        advanced.map_err(|now| match now == member.standing(PeerState::Attached) {
            true => Error::Exists,
            false => Error::NotFound,
        })?;
        seat.claimed = true;
        seat.table = Some(table.clone());
        self.show_beat(&state, peer, self.platform().now_ns());
        self.show(hub, &state, peer);
        Ok(state.note(self.platform(), peer))
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
        let (by, member) = self.member(domain, handle, Rights::SIGNAL)?;
        let (hub, HubSeat { peer, epoch }) = (&member.hub, member.seat());
        let noted = by.commit(|| {
            let mut state = hub.state.lock();
            // Until the hub is over: what comes after the goodbye of its host can be received as well.
            let attached = member.state() == Some(PeerState::Attached);
            let refused = mm::sabotaged!("signal_after_goodbye_refused") && !hub.is_hosted();
            if !attached || refused {
                return Err(Error::PeerClosed);
            }
            self.show_beat(&state, peer, self.platform().now_ns());
            if signal == HubSignal::Beat {
                return Ok(None);
            }
            let ends = state.seat(peer, epoch)?.host_ends.clone();
            let woken = state.note(self.platform(), peer);
            self.set_awake(hub, &mut state);
            Ok(Some((woken, ends)))
        })?;
        let Some((woken, ends)) = noted else {
            return Ok(());
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
        let (by, member) = self.member(domain, handle, Rights::MANAGE)?;
        let gone = by.commit(|| self.mark_gone(&member, &mut member.hub.state.lock()))?;
        self.tell_gone(&member, gone);
        Ok(())
    }

    /// Nobody has one side of a seat any more. A host that has no link still has the seat: its guest sees that
    /// the rings are closed. Of a guest nothing is left that its account would pay for.
    pub(crate) fn end_member(&self, member: &Arc<Member<P>>, side: MemberSide) {
        if side == MemberSide::Host {
            return;
        }
        let gone = self.mark_gone(member, &mut member.hub.state.lock());
        if let Ok(gone) = gone {
            self.tell_gone(member, gone);
        }
        if mm::sabotaged!("gone_guest_stays_charged") {
            return;
        }
        let kept = {
            let mut state = member.hub.state.lock();
            let HubSeat { peer, epoch } = member.seat();
            let seat = state.seat(peer, epoch);
            seat.map(|seat| (seat.membership.take(), seat.table.take()))
        };
        if let Ok((_, Some(table))) = &kept {
            self.kill(table, Cause::Vacated);
        }
    }

    /// Says that a guest is gone; `NotFound`: it was gone before. What it had of the rings is for
    /// [`tell_gone`](Ipc::tell_gone), after unlocking.
    pub(super) fn mark_gone(
        &self,
        member: &Member<P>,
        state: &mut State<P>,
    ) -> Result<Gone<P>, Error> {
        let (hub, HubSeat { peer, epoch }) = (&member.hub, member.seat());
        let seat = state.seat(peer, epoch)?;
        let entry = hub.entry(peer)?;
        let now = entry.standing();
        if now.epoch != epoch || now.state == PeerState::Goodbye {
            return Err(Error::NotFound);
        }
        let from = Standing::new(now.state, epoch);
        entry
            .advance(from, PeerState::Goodbye)
            .map_err(|_| Error::NotFound)?;
        // Whoever recovers the seat before they are dead finds them there.
        let ends = match mm::sabotaged!("guest_ends_forgotten_alive") {
            true => seat.guest_ends.take(),
            false => seat.guest_ends.clone(),
        };
        self.show(hub, state, peer);
        Ok(Gone {
            ends,
            woken: state.note(self.platform(), peer),
        })
    }

    /// Takes the ends of the rings from a guest that is gone, so that what it sent is all that there will be,
    /// and tells who waits for that.
    pub(super) fn tell_gone(&self, member: &Member<P>, gone: Gone<P>) {
        for end in gone.ends.iter().flatten() {
            self.kill(end, Cause::Vacated);
        }
        if !mm::sabotaged!("gone_guest_stays_charged") {
            let ends = {
                let mut state = member.hub.state.lock();
                let HubSeat { peer, epoch } = member.seat();
                let seat = state.seat(peer, epoch);
                seat.map(|seat| seat.guest_ends.take())
            };
            drop(ends);
        }
        for side in [MemberSide::Guest, MemberSide::Host] {
            self.tell_side(member, side);
        }
        self.tell_host(&member.hub, gone.woken);
    }
}

/// What is left to do when a guest was marked as gone.
#[must_use = "the guest still has its ends"]
pub(super) struct Gone<P: Platform> {
    ends: Option<[Node<P>; 2]>,
    /// Who of the host is to be unparked.
    woken: Option<P::Task>,
}
