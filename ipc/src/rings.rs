//! Rings as objects: their pages, their two ends, and who sleeps at them.
//!
//! The protocol of the messages is the crate `ring`; here is what takes a kernel: laying the pages
//! out, sleeping without losing a wakeup, and telling the peer that an end is gone.

use alloc::sync::Arc;
use core::fmt;
use core::mem::offset_of;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use abi::ring::{End, EndState, Form, Geometry, Header, IndexPage};
use abi::{Error, Events, Handle, ObjectKind, Rights};
use mm::lock::{Lock, Rank};
use mm::{Account, Frame, MapRequest, Region};

use crate::domain::Peer;
use crate::{Counted, Domain, Ipc, Outcome, Payload, Platform, Traffic, Waiters};

/// Pages before the data.
const CONTROL_PAGES: usize = 3;

/// Where a ring begins to count, and which tenancy it is.
const START: u32 = 0;
const EPOCH: u32 = 1;

/// A ring: two views over the same frames.
pub struct Ring<P: Platform> {
    region: Arc<Region>,
    geometry: Geometry,
    /// The pages H, P and C. They are in place while either end is open.
    control: [Frame; CONTROL_PAGES],
    producer: Side<P>,
    consumer: Side<P>,
    open: AtomicU32,
}

/// What the kernel keeps for one end.
struct Side<P: Platform> {
    /// The domain that has it, or had it last.
    holder: AtomicU64,
    state: Lock<SideState<P>>,
    events: crate::Events<P>,
    /// Changes under the lock of its state.
    closed: AtomicBool,
}

struct SideState<P: Platform> {
    /// One at most that has not been told.
    waiters: Waiters<P>,
    messages: u64,
}

impl<P: Platform> Ring<P> {
    /// The region under both views.
    pub fn region(&self) -> &Arc<Region> {
        &self.region
    }

    /// Its kind and size.
    pub fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// The domain that has an end, or had it last.
    pub fn holder(&self, end: End) -> u64 {
        self.side(end).holder.load(Ordering::Acquire)
    }

    /// The domain at the other end of an end.
    pub(crate) fn peer_of(&self, end: End) -> Peer {
        let holder = self.holder(end.peer());
        match self.side(end.peer()).closed.load(Ordering::Acquire) {
            false => Peer::Present(holder),
            true => Peer::Gone(holder),
        }
    }

    pub(crate) fn set_holder(&self, end: End, domain: u64) {
        self.side(end).holder.store(domain, Ordering::Release);
    }

    /// Who waits for events of an end.
    pub(crate) fn events(&self, end: End) -> &crate::Events<P> {
        &self.side(end).events
    }

    /// What went through an end.
    pub(crate) fn traffic(&self, end: End) -> Traffic {
        let state = self.side(end).state.lock();
        Traffic {
            messages: state.messages,
            ..state.waiters.traffic()
        }
    }

    fn side(&self, end: End) -> &Side<P> {
        match end {
            End::Producer => &self.producer,
            End::Consumer => &self.consumer,
        }
    }

    /// The page that an end writes.
    fn index_page(&self, end: End) -> Frame {
        match end {
            End::Producer => self.control[1],
            End::Consumer => self.control[2],
        }
    }
}

impl<P: Platform> fmt::Debug for Ring<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring")
            .field("region", &self.region.koid())
            .field("geometry", &self.geometry)
            .finish_non_exhaustive()
    }
}

impl<P: Platform> Ipc<P> {
    /// A ring whose ends `domain` has. The domain pays for its memory, wherever the ends go. When
    /// it fails, nothing is left of it.
    pub fn create_ring(
        &self,
        domain: &Domain<P>,
        geometry: Geometry,
    ) -> Result<(Handle, Handle), Error> {
        let ring = self.new_ring(domain, domain.account(), geometry)?;
        let payload = |end| Payload::RingEnd(ring.clone(), end);
        let producer = self
            .install_object(domain, payload(End::Producer), Rights::RING_PRODUCER)
            .inspect_err(|_| self.close_end(&ring, End::Consumer))?;
        match self.install_object(domain, payload(End::Consumer), Rights::RING_CONSUMER) {
            Ok(consumer) => Ok((producer, consumer)),
            Err(error) => {
                self.drop_capability(domain, producer)?;
                Err(error)
            }
        }
    }

    /// A ring without capabilities, whose ends `domain` is said to have and `account` pays for. Each end is to
    /// be closed. When it fails, nothing is left of it.
    pub(crate) fn new_ring(
        &self,
        domain: &Domain<P>,
        account: &Arc<Account>,
        geometry: Geometry,
    ) -> Result<Arc<Ring<P>>, Error> {
        const { assert!(size_of::<Ring<P>>() as u64 + 16 <= abi::cost::REGION / 2) }
        let region = self
            .memory
            .create_ring_region(account, geometry.data_pages())?;
        let ring = self.lay_out(domain, &region, geometry);
        let ring = ring.inspect_err(|_| self.memory.destroy_region(&region))?;
        Ok(Arc::new(ring))
    }

    /// Writes what both ends find in the pages of a new ring; the magic number last.
    fn lay_out(
        &self,
        domain: &Domain<P>,
        region: &Arc<Region>,
        geometry: Geometry,
    ) -> Result<Ring<P>, Error> {
        let frame = |index| region.fixed_frame(index).ok_or(Error::NoMemory);
        let control = [frame(0)?, frame(1)?, frame(2)?];
        let machine = self.platform();
        for page in 0..geometry.data_pages() {
            let data = frame(CONTROL_PAGES + page as usize)?;
            for position in geometry.slots_beginning_in(page) {
                let at = geometry.slot_offset(position) % abi::limits::PAGE_SIZE;
                let word = geometry.initial_word(START, position);
                machine.write(data, at as usize, &word.to_le_bytes());
            }
        }
        for page in [control[1], control[2]] {
            let fresh = IndexPage::new(START);
            machine.store_u32(page, offset_of!(IndexPage, index), fresh.index);
            machine.store_u32(page, offset_of!(IndexPage, waits_until), fresh.waits_until);
        }
        let header = Header::new(geometry, Form::Symmetric, START, EPOCH);
        let words = [
            (offset_of!(Header, version), header.version),
            (offset_of!(Header, kind), header.kind),
            (offset_of!(Header, form), header.form),
            (offset_of!(Header, slot_size), header.slot_size),
            (offset_of!(Header, capacity), header.capacity),
            (offset_of!(Header, start), header.start),
            (offset_of!(Header, epoch), header.epoch),
            (offset_of!(Header, producer_state), header.producer_state),
            (offset_of!(Header, consumer_state), header.consumer_state),
            (offset_of!(Header, magic), abi::ring::MAGIC),
        ];
        for (offset, word) in words {
            machine.store_u32(control[0], offset, word);
        }
        let side = || Side {
            holder: AtomicU64::new(domain.koid()),
            state: Lock::new(
                Rank::Queue,
                SideState {
                    waiters: Waiters::new(),
                    messages: 0,
                },
            ),
            events: crate::Events::new(),
            closed: AtomicBool::new(false),
        };
        Ok(Ring {
            region: region.clone(),
            geometry,
            control,
            producer: side(),
            consumer: side(),
            open: AtomicU32::new(2),
        })
    }

    /// The ring and the end that a handle stands for.
    pub fn ring_end(
        &self,
        domain: &Domain<P>,
        handle: Handle,
        rights: Rights,
    ) -> Result<(Arc<Ring<P>>, End), Error> {
        let capability = domain.look_up(handle, Some(ObjectKind::RingEnd), rights)?;
        match capability.object().payload() {
            Payload::RingEnd(ring, end) => Ok((ring.clone(), *end)),
            _ => Err(Error::WrongKind),
        }
    }

    /// Maps the view of an end and returns the address of its header page. `Exists`: it is mapped.
    pub fn map_ring(&self, domain: &Domain<P>, handle: Handle) -> Result<u64, Error> {
        let capability = domain.look_up(handle, Some(ObjectKind::RingEnd), Rights::MAP)?;
        let Payload::RingEnd(ring, end) = capability.object().payload() else {
            return Err(Error::WrongKind);
        };
        if capability.node.mappings() > 0 {
            return Err(Error::Exists);
        }
        let access = Rights::READ | Rights::WRITE;
        self.memory.map(
            domain.space(),
            MapRequest {
                view: match end {
                    End::Producer => mm::RING_PRODUCER_VIEW,
                    End::Consumer => mm::RING_CONSUMER_VIEW,
                },
                ..MapRequest::whole(&ring.region, capability.node.permit(), access)
            },
        )
    }

    /// Sleeps until the peer's index has reached `seen`, the peer is not open any more, or it has
    /// called wake; with WAIT.
    ///
    /// # Errors
    /// `WouldBlock`: the deadline is 0; `Busy`: somebody sleeps at this end; those of a look-up and of
    /// [`sleep`](Ipc::sleep).
    pub fn wait_ring(
        &self,
        domain: &Domain<P>,
        handle: Handle,
        seen: u32,
        deadline_ns: u64,
    ) -> Result<(), Error> {
        let capability = domain.look_up(handle, Some(ObjectKind::RingEnd), Rights::WAIT)?;
        let Payload::RingEnd(ring, end) = capability.object().payload() else {
            return Err(Error::WrongKind);
        };
        let side = ring.side(*end);
        let ticket = {
            let mut state = side.state.lock();
            // While the capability is there and the lock is held, the end is open and its pages are in
            // place.
            capability.node.check_allowed(domain.koid(), Rights::WAIT)?;
            // SYNC(ring.sleep): under the lock that a wake takes; a peer that published before
            // this look is seen here, one that publishes after it finds a sleeper.
            if self.wait_is_over(ring, *end, seen) {
                return Ok(());
            }
            if deadline_ns == 0 {
                return Err(Error::WouldBlock);
            }
            if !state.waiters.is_empty() {
                return Err(Error::Busy);
            }
            let task = self.platform().current_task();
            let waiters = &mut state.waiters;
            waiters.enlist(task, &capability.node, domain.koid(), Rights::WAIT)?
        };
        self.sleep_in(&ticket, deadline_ns, &side.state, |state| {
            &mut state.waiters
        })
    }

    /// Wakes whoever sleeps at the other end.
    pub fn wake_ring(&self, domain: &Domain<P>, handle: Handle) -> Result<(), Error> {
        let (ring, end) = self.ring_end(domain, handle, Rights::SIGNAL)?;
        self.platform().count(Counted::Message { bytes: 0 });
        self.wake_end(&ring, end.peer(), 1);
        Ok(())
    }

    /// Tells the peer that nothing more is sent or received at an end, which stays with whoever has it.
    pub(crate) fn drain_end(&self, ring: &Ring<P>, end: End) {
        {
            let _state = ring.side(end).state.lock();
            if ring.side(end).closed.load(Ordering::Acquire) {
                return;
            }
            let state = EndState::Draining as u32;
            self.platform()
                .store_u32(ring.control[0], Header::state_offset(end), state);
        }
        self.wake_end(ring, end.peer(), 0);
    }

    /// Tells the peer that an end is gone, and returns the ring's memory with the second.
    pub(crate) fn close_end(&self, ring: &Ring<P>, end: End) {
        self.end_ring(ring, end, EndState::Closed);
    }

    /// The same of an end that was closed or revoked, as its `state` tells the peer.
    pub(crate) fn end_ring(&self, ring: &Ring<P>, end: End, state: EndState) {
        {
            let _state = ring.side(end).state.lock();
            ring.side(end).closed.store(true, Ordering::Release);
        }
        self.platform()
            .store_u32(ring.control[0], Header::state_offset(end), state as u32);
        self.wake_end(ring, end.peer(), 0);
        let peer = ring.events(end.peer());
        self.fire(peer, Events::PEER_CLOSED, 0);
        if ring.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.memory.destroy_region(&ring.region);
        }
    }

    /// Wakes who sleeps at an end, for so many times that its peer asked for it.
    pub(crate) fn wake_end(&self, ring: &Ring<P>, end: End, signals: u64) {
        let side = ring.side(end);
        let woken = {
            let mut state = side.state.lock();
            state.messages += signals;
            state.waiters.wake_first(Outcome::Ready)
        };
        if let Some(task) = woken {
            self.platform().unpark(&task);
        }
        self.fire(&side.events, Events::READABLE | Events::WRITABLE, 0);
    }

    /// Ends the waits at an end whose capability is not their process's any more.
    pub(crate) fn end_ring_waits(&self, ring: &Ring<P>, end: End) {
        self.end_unheld_waits(&ring.side(end).state, |state| &mut state.waiters);
    }

    /// Which events hold for an end, by what both sides have told of their indices.
    pub(crate) fn ring_level(&self, ring: &Ring<P>, end: End) -> Events {
        let side = ring.side(end);
        let _state = side.state.lock();
        if side.closed.load(Ordering::Acquire) {
            return Events::empty();
        }
        let index = |end| {
            let page = ring.index_page(end);
            self.platform().load_u32(page, offset_of!(IndexPage, index))
        };
        let used = index(End::Producer).wrapping_sub(index(End::Consumer));
        let mut events = Events::empty();
        match end {
            End::Producer => events.set(Events::WRITABLE, used < ring.geometry.capacity),
            End::Consumer => events.set(Events::READABLE, used != 0),
        }
        let gone = ring.side(end.peer()).closed.load(Ordering::Acquire);
        events.set(Events::PEER_CLOSED, gone);
        events
    }

    /// Whether whoever waits at `end` for its peer's index to reach `seen` need not sleep.
    fn wait_is_over(&self, ring: &Ring<P>, end: End, seen: u32) -> bool {
        let machine = self.platform();
        let state = machine.load_u32(ring.control[0], Header::state_offset(end.peer()));
        let index = machine.load_u32(ring.index_page(end.peer()), offset_of!(IndexPage, index));
        let state = EndState::from_raw(state).unwrap_or(EndState::Poisoned);
        ring::index::wait_is_over(state, index, seen)
    }
}

/// The events that an end can have.
pub(crate) fn possible_ring_events(end: End) -> Events {
    match end {
        End::Producer => Events::WRITABLE | Events::PEER_CLOSED,
        End::Consumer => Events::READABLE | Events::PEER_CLOSED,
    }
}
