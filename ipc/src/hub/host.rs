//! What the host does: connect to guests, dismiss them, and recover their seats.

use abi::hub::PeerState;
use abi::ring::EndState;
use abi::trace::Cause;
use abi::{Error, Handle, HubInfo, Rights, RingEnds};

use super::{Hub, MemberSide, Seat};
use crate::{Domain, Ipc, Payload, Platform};

impl<P: Platform> Ipc<P> {
    /// Gives the host its ends of the rings of a guest, and a link to it; with MANAGE. Also of one that is
    /// gone already, whose messages are still there.
    ///
    /// # Errors
    /// `Denied`: anybody but the host; `NotFound`: no such guest in this tenancy; `Exists`: it was connected;
    /// `Quota`, `NoMemory`; those of a look-up.
    pub fn connect_guest(
        &self,
        domain: &Domain<P>,
        handle: Handle,
        peer: u32,
        epoch: u32,
    ) -> Result<(Handle, RingEnds), Error> {
        let (by, hub) = self.hub(domain, handle, Rights::MANAGE)?;
        if domain.koid() != hub.host {
            return Err(Error::Denied);
        }
        let free = |seat: &mut Seat<P>| match seat.link {
            Some(_) => Err(Error::Exists),
            None => Ok(seat.member.clone()),
        };
        let member = hub.state.lock().seat(peer, epoch).and_then(free);
        let member = member.map_err(|error| by.refuse(error))?;
        let charge = domain.charge_object()?;
        let mut places = domain.table.lock();
        places.prepare(3)?;
        let payload = Payload::HubMember(member, MemberSide::Host);
        let link = self.new_object(payload, Rights::HUB_LINK, domain.koid(), charge);
        let connected = by.commit(|| {
            let mut state = hub.state.lock();
            let seat = state.seat(peer, epoch)?;
            if seat.link.is_some() {
                return Err(Error::Exists);
            }
            seat.link = Some(link.clone());
            Ok(seat.host_ends.clone())
        });
        // What is given may be dead by then.
        match connected {
            Ok(ends) => {
                let ends = ends.map(|end| self.hand_end(domain, &mut places, &end));
                let [producer, consumer] = ends;
                Ok((places.insert(link), RingEnds { producer, consumer }))
            }
            Err(error) => {
                drop(places);
                self.lose(&link);
                Err(error)
            }
        }
    }

    /// Ends a guest, or with peer 0 says the host's goodbye to all of them; with MANAGE. Doing so again
    /// changes nothing.
    ///
    /// # Errors
    /// `NotFound`: no such guest in this tenancy; those of a look-up.
    pub fn dismiss_guest(
        &self,
        domain: &Domain<P>,
        handle: Handle,
        peer: u32,
        epoch: u32,
    ) -> Result<(), Error> {
        let (by, hub) = self.hub(domain, handle, Rights::MANAGE)?;
        if peer == 0 {
            let said = by.commit(|| Ok(self.close_door(&hub)))?;
            if said {
                self.tell_all_guests(&hub, EndState::Draining);
            }
            return Ok(());
        }
        let (member, membership, gone) = by.commit(|| {
            let mut state = hub.state.lock();
            let seat = state.seat(peer, epoch)?;
            let (member, membership) = (seat.member.clone(), seat.membership.clone());
            let gone = self.mark_gone(&member, &mut state);
            Ok((member, membership, gone))
        })?;
        if let Ok(gone) = gone {
            self.tell_gone(&member, gone);
        }
        if let Some(membership) = membership {
            self.kill(&membership, Cause::Vacated);
        }
        Ok(())
    }

    /// Makes the seat of a guest that is gone empty, in the next tenancy; with MANAGE. What is left of the
    /// tenancy is dead on every CPU before anybody can have the seat.
    ///
    /// # Errors
    /// `NotFound`: no such guest in this tenancy; `Busy`: it is not gone; those of a look-up.
    pub fn recover_seat(
        &self,
        domain: &Domain<P>,
        handle: Handle,
        peer: u32,
        epoch: u32,
    ) -> Result<(), Error> {
        let (by, hub) = self.hub(domain, handle, Rights::MANAGE)?;
        let entry = hub.entry(peer)?;
        let seat = by.commit(|| {
            let mut state = hub.state.lock();
            let seat = state.seat(peer, epoch)?.clone();
            if entry.standing() != seat.member.standing(PeerState::Goodbye) {
                return Err(Error::Busy);
            }
            state.seats[peer as usize].take();
            Ok(seat)
        })?;
        let early = mm::sabotaged!("hub_seat_empty_before_reset");
        if early {
            self.vacate(&hub, peer, epoch);
        }
        let ends = seat.guest_ends.iter().flatten().chain(&seat.host_ends);
        let also = [&seat.membership, &seat.link, &seat.table];
        for node in ends.chain(also.into_iter().flatten()) {
            self.kill(node, Cause::Vacated);
        }
        if !early {
            self.vacate(&hub, peer, epoch);
        }
        Ok(())
    }

    /// Says that a seat is empty; after its last tenancy it never is.
    fn vacate(&self, hub: &Hub<P>, peer: u32, epoch: u32) {
        let gone = abi::hub::Standing::new(PeerState::Goodbye, epoch);
        let mut state = hub.state.lock();
        if let Ok(entry) = hub.entry(peer) {
            let _ = entry.advance(gone, PeerState::Empty);
        }
        state.waiting[peer as usize / 64] &= !(1 << (peer % 64));
        self.show_beat(&state, peer, 0);
        self.show(hub, &state, peer);
    }

    /// Facts about a hub; with INSPECT.
    pub fn hub_info(&self, domain: &Domain<P>, handle: Handle) -> Result<HubInfo, Error> {
        let (by, hub) = self.hub(domain, handle, Rights::INSPECT)?;
        let guests = hub.entries.iter().skip(1);
        let mut info = HubInfo {
            geometry: hub.geometry,
            goodbye: u32::from(!hub.is_hosted()),
            ..HubInfo::default()
        };
        for entry in guests {
            match entry.standing().state {
                PeerState::Empty => {}
                PeerState::Reserved => info.reserved += 1,
                PeerState::Attached => info.attached += 1,
                PeerState::Goodbye => info.leaving += 1,
            }
        }
        by.tell(info)
    }
}
