//! Hubs are made, seats are reserved, and a hub is over.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::AtomicU64;

use abi::hub::{PeerState, Standing, host_beat};
use abi::ring::{End, EndState};
use abi::{Error, Handle, HubGeometry, HubHandles, HubSeat, Resources, Rights, RingShape, cost};
use mm::lock::{Lock, Rank};
use mm::{Account, AddressSpace, Frame, RecordCharge};
use ring::hub::{PeerEntry, reserve_first};

use super::{HOST, Hub, Member, MemberSide, Seat, State, Table, WORDS};
use crate::lineage::{Budget, Child};
use crate::node::PENDING;
use crate::rings::Side;
use crate::{Capability, Domain, Events, Ipc, Node, Outcome, Payload, Platform, Waiters};

/// Room for `count` of something.
fn room<T>(count: usize) -> Result<Vec<T>, Error> {
    let mut room = Vec::new();
    room.try_reserve_exact(count).map_err(|_| Error::NoMemory)?;
    Ok(room)
}

impl<P: Platform> Ipc<P> {
    /// A hub whose host `domain` is, and its table. When it fails, nothing is left of it.
    ///
    /// # Errors
    /// `Invalid`, `Unsupported`: the geometry; `Quota`, `NoMemory`.
    pub fn create_hub(
        &self,
        domain: &Domain<P>,
        geometry: HubGeometry,
    ) -> Result<HubHandles, Error> {
        const {
            let seat = size_of::<Option<Seat<P>>>() + size_of::<Member<P>>() + 64;
            assert!(seat as u64 <= cost::HUB_SEAT);
            let entries = abi::hub::PEERS * size_of::<PeerEntry>();
            assert!((size_of::<Hub<P>>() + entries + 64) as u64 <= cost::HUB);
        }
        let rings = geometry.decode()?;
        let account = domain.account();
        let peers = geometry.guests as usize + 1;
        let bytes = cost::HUB + u64::from(geometry.guests) * cost::HUB_SEAT;
        let charge = account.charge(Resources::bytes(bytes))?;
        let (mut entries, mut seats) = (room(peers)?, room(peers)?);
        entries.resize_with(peers, || PeerEntry::new(PeerState::Empty));
        entries[HOST] = PeerEntry::new(PeerState::Attached);
        seats.resize_with(peers, || None);
        let (page, root) = self.create_table(account)?;
        let state = State {
            table: Some(Table {
                page,
                root,
                account: account.clone(),
                space: domain.space().clone(),
            }),
            seats,
            waiting: [0; WORDS],
            asleep: false,
            is_watched: false,
            waiters: Waiters::new(),
            messages: 0,
            charge,
        };
        let hub = mm::shared(Hub {
            host: domain.koid(),
            geometry,
            rings,
            entries,
            state: Lock::new(Rank::Hubs, state),
            events: Events::new(),
        });
        {
            let state = hub.state.lock();
            self.show_beat(&state, HOST as u32, host_beat(false, geometry.heartbeat_ns));
            self.show(&hub, &state, HOST as u32);
        }
        self.install_hub(domain, &hub)
            .inspect_err(|_| self.end_hub(&hub))
    }

    /// The page of a table, and the capability that the kernel keeps of it.
    fn create_table(&self, account: &Arc<Account>) -> Result<(Frame, Node<P>), Error> {
        let region = self.memory.create_kernel_region(account, 1)?;
        let page = region.fixed_frame(0).ok_or(Error::NoMemory);
        let page = page.inspect_err(|_| self.memory.destroy_region(&region))?;
        let payload = Payload::Region(region);
        let rights = Rights::HUB_TABLE;
        let root = self.create_object(account, payload, rights, PENDING)?;
        Ok((page, root))
    }

    /// Gives a domain the hub and a capability of its table: nobody can name one of them while the other may fail.
    fn install_hub(&self, domain: &Domain<P>, hub: &Arc<Hub<P>>) -> Result<HubHandles, Error> {
        let charge = domain.charge_object()?;
        let mut places = domain.table.lock();
        places.prepare(2)?;
        let table = self.derive_table(domain, hub)?;
        // Nothing fails from here on.
        let payload = Payload::Hub(hub.clone());
        let hub = self.new_object(payload, Rights::HUB, domain.koid(), charge);
        Ok(HubHandles {
            hub: places.insert(hub),
            table: places.insert(table),
        })
    }

    /// A capability of the table for a domain, whose own table is locked.
    pub(super) fn derive_table(&self, domain: &Domain<P>, hub: &Hub<P>) -> Result<Node<P>, Error> {
        let root = {
            let state = hub.state.lock();
            let table = state.table.as_ref().ok_or(Error::PeerClosed)?;
            table.root.clone()
        };
        let child = Child {
            rights: Rights::HUB_TABLE,
            holder: domain.koid(),
            budget: Budget::Shared,
            limits: None,
            timed: 0,
        };
        let mut lineage = root.object().lineage.lock();
        if !root.is_live() {
            return Err(Error::PeerClosed);
        }
        lineage.derive(&root, child, domain.account())
    }

    /// Takes a seat that nobody has, and returns its membership; with SEND. The seat is taken when nothing else can
    /// fail: nobody learns of a try that comes to nothing, which uses up no tenancy.
    ///
    /// # Errors
    /// `Full`: every seat is taken; `PeerClosed`: the host has said goodbye or is gone; `Quota`: of the domain,
    /// for the membership, or of the host, for the rings; `NoMemory`; those of a look-up. Nothing has changed then.
    pub fn reserve_seat(
        &self,
        domain: &Domain<P>,
        handle: Handle,
    ) -> Result<(Handle, HubSeat), Error> {
        let (by, hub) = self.hub(domain, handle, Rights::SEND)?;
        let reserved = self.furnish(domain, &by, &hub);
        reserved.map_err(|error| by.refuse(error))
    }

    /// Makes a domain pay for a membership and sees to it that there is room for its handle.
    fn pay_member(&self, domain: &Domain<P>) -> Result<RecordCharge, Error> {
        let charge = domain.charge_object()?;
        domain.table.lock().prepare(1)?;
        Ok(charge)
    }

    /// Makes what belongs to a seat, takes one, and gives its membership to a domain, which pays for that first.
    fn furnish(
        &self,
        domain: &Domain<P>,
        by: &Capability<P>,
        hub: &Arc<Hub<P>>,
    ) -> Result<(Handle, HubSeat), Error> {
        hub.may_be_joined()?;
        let pay = || self.pay_member(domain);
        // Before the host pays for anything, for however long.
        let guest_first = !mm::sabotaged!("host_pays_before_guest");
        let charge = guest_first.then(pay).transpose()?;
        let host = {
            let state = hub.state.lock();
            let table = state.table.as_ref().ok_or(Error::PeerClosed)?;
            (table.account.clone(), table.space.clone())
        };
        let (up, down) = hub.rings;
        let [to_host, from_guest] = self.seat_ring(hub, &host, up)?;
        let down = self.seat_ring(hub, &host, down);
        let [to_guest, from_host] = down.inspect_err(|_| {
            self.lose(&to_host);
            self.lose(&from_guest);
        })?;
        let ends = [to_host, from_host, to_guest, from_guest];
        let charge = charge.map_or_else(pay, Ok);
        let taken = charge.and_then(|charge| self.take_seat(domain, by, hub, charge, &ends));
        taken.inspect_err(|_| ends.iter().for_each(|end| self.lose(end)))
    }

    /// A ring of a seat, whose ends nobody has yet, and the host as far as the ring knows: producer, consumer.
    fn seat_ring(
        &self,
        hub: &Hub<P>,
        (account, space): &(Arc<Account>, Arc<AddressSpace>),
        shape: RingShape,
    ) -> Result<[Node<P>; 2], Error> {
        let ring = self.new_ring(account, shape, || Side::held(hub.host, space.clone()))?;
        let payload = |end| Payload::RingEnd(ring.clone(), end);
        let producer = self
            .create_object(
                account,
                payload(End::Producer),
                Rights::RING_PRODUCER,
                PENDING,
            )
            .inspect_err(|_| self.close_end(&ring, End::Consumer))?;
        let consumer = self
            .create_object(
                account,
                payload(End::Consumer),
                Rights::RING_CONSUMER,
                PENDING,
            )
            .inspect_err(|_| self.lose(&producer))?;
        Ok([producer, consumer])
    }

    /// Takes the first seat that is empty, fills it and gives its membership to a domain.
    fn take_seat(
        &self,
        domain: &Domain<P>,
        by: &Capability<P>,
        hub: &Arc<Hub<P>>,
        charge: RecordCharge,
        ends: &[Node<P>; 4],
    ) -> Result<(Handle, HubSeat), Error> {
        let member = mm::shared(Member {
            hub: hub.clone(),
            seat: AtomicU64::new(0),
            holder: AtomicU64::new(domain.koid()),
            events: [Events::new(), Events::new()],
        });
        let mut table = domain.table.lock();
        // Another thread may have taken the room that there was.
        table.prepare(1)?;
        let payload = Payload::HubMember(member.clone(), MemberSide::Guest);
        let node = self.new_object(payload, Rights::HUB_MEMBER, domain.koid(), charge);
        let first = || reserve_first(hub.entries.iter().skip(1));
        let early = match mm::sabotaged!("hub_seat_taken_before_it_is_sure") {
            true => first(),
            false => None,
        };
        let taken = by.commit(|| {
            let mut state = hub.state.lock();
            // Whoever says goodbye looks at every seat afterwards.
            if state.table.is_none() || !hub.is_hosted() {
                return Err(Error::PeerClosed);
            }
            let (place, standing) = early.or_else(first).ok_or(Error::Full)?;
            let seat = HubSeat {
                peer: place as u32 + 1,
                epoch: standing.epoch,
            };
            member.take(seat);
            let [to_host, from_host, to_guest, from_guest] = ends.clone();
            state.seats[seat.peer as usize] = Some(Seat {
                member,
                membership: Some(node.clone()),
                link: None,
                claimed: false,
                table: None,
                guest_ends: Some([to_host, from_host]),
                host_ends: [to_guest, from_guest],
            });
            self.show(hub, &state, seat.peer);
            Ok(seat)
        });
        match taken {
            Ok(seat) => Ok((table.insert(node), seat)),
            Err(error) => {
                drop(table);
                self.lose(&node);
                Err(error)
            }
        }
    }

    /// The host is gone for good: nobody joins any more, and every guest is told. What the host has sent can
    /// still be received.
    pub(crate) fn end_hub(&self, hub: &Hub<P>) {
        // Whoever says goodbye at this moment may not have come to telling them.
        if self.close_door(hub) || !mm::sabotaged!("hub_end_relies_on_goodbye") {
            self.tell_all_guests(hub, EndState::Closed);
        }
        let table = {
            let mut state = hub.state.lock();
            for peer in 1..hub.entries.len() as u32 {
                let entry = &hub.entries[peer as usize];
                let _ = entry.advance(entry.standing(), PeerState::Goodbye);
                self.show(hub, &state, peer);
            }
            state.table.take()
        };
        let Some(table) = table else { return };
        for place in 1..hub.entries.len() {
            let seat = hub.state.lock().seats[place].take();
            if let Some(seat) = seat {
                // What was taken, or is about to be handed over, goes with what else its side has.
                let ours =
                    |end: &&Node<P>, taken: bool| match mm::sabotaged!("hub_end_forgets_claim") {
                        true => end.holder() == PENDING,
                        false => !taken,
                    };
                let connected = seat.link.is_some();
                let claimed = match mm::sabotaged!("hub_end_takes_ends_of_who_leaves") {
                    true => seat.table.is_some(),
                    false => seat.claimed,
                };
                let of_host = seat.host_ends.iter().filter(|end| ours(end, connected));
                let of_guest = seat.guest_ends.iter().flatten();
                let of_guest = of_guest.filter(|end| ours(end, claimed));
                of_host.chain(of_guest).for_each(|end| self.lose(end));
                self.tell_side(&seat.member, MemberSide::Guest);
                // Nobody is told any more when the guest goes.
                if !mm::sabotaged!("hub_end_tells_no_link") {
                    self.tell_side(&seat.member, MemberSide::Host);
                }
            }
        }
        let seats = {
            let mut state = hub.state.lock();
            let seats = u64::from(hub.geometry.guests) * cost::HUB_SEAT;
            state.charge.release(Resources::bytes(seats));
            core::mem::take(&mut state.seats)
        };
        drop(seats);
        self.end_all_waits(Outcome::PeerClosed, &hub.state, |state| &mut state.waiters);
        self.lose(&table.root);
    }

    /// Whoever waits at this side of a seat for the other to go is told.
    pub(super) fn tell_side(&self, member: &Member<P>, side: MemberSide) {
        let events = member.events(side);
        self.fire_unlocked(events, abi::Events::PEER_CLOSED, 0);
    }

    /// Nobody joins or claims any more. Whether that is new.
    pub(super) fn close_door(&self, hub: &Hub<P>) -> bool {
        let state = hub.state.lock();
        let attached = Standing::new(PeerState::Attached, 0);
        let said = hub.entries[HOST].advance(attached, PeerState::Goodbye);
        self.show(hub, &state, HOST as u32);
        said.is_ok()
    }

    /// Each guest is told how the host went, those that sleep too, unless it knows.
    pub(super) fn tell_all_guests(&self, hub: &Hub<P>, how: EndState) {
        if mm::sabotaged!("hub_goodbye_wakes_nobody") {
            return;
        }
        for place in 1..hub.entries.len() {
            let seat = hub.state.lock().seats.get(place).cloned().flatten();
            let Some(seat) = seat else { continue };
            for end in &seat.host_ends {
                if let Payload::RingEnd(ring, end) = end.object().payload() {
                    self.close_for_holder(ring, *end, how);
                }
            }
            self.tell_side(&seat.member, MemberSide::Guest);
        }
    }
}
