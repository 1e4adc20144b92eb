//! Rings as objects: their pages, their two ends, and who sleeps at them.
//!
//! The protocol of the messages is the crate `ring`; here is what takes a kernel: [laying the pages
//! out](layout), [sleeping](waiting) without losing a wakeup, and what becomes of [ends] that close,
//! move or lose their holder.
//!
//! One lock a ring, of rank Queue, holds all that changes. The pages H, P and C are touched under it and while
//! an end is there: the last end to go takes it before they are returned.

mod bucket;
mod ends;
mod layout;
mod waiting;

use alloc::sync::Arc;
use core::fmt;
use core::mem::offset_of;

use abi::ring::{End, EndState, Form, Geometry, IndexPage};
use abi::{Error, Events, Handle, ObjectKind, Rights, RingGeometry, RingInfo, RingShape};
use mm::lock::{Lock, Rank};
use mm::{Account, AddressSpace, Frame, MapRequest, Region};

use crate::domain::Peer;
use crate::{Domain, Ipc, Payload, Platform, Traffic, Waiters};
use bucket::Bucket;

/// A ring: two views over the same frames.
pub struct Ring<P: Platform> {
    region: Arc<Region>,
    shape: RingShape,
    /// The pages H, P and C. They are in place while either end is there.
    control: [Frame; layout::CONTROL_PAGES],
    state: Lock<RingState<P>>,
    /// Who waits for events of the producing and of the consuming end.
    events: [crate::Events<P>; 2],
}

struct RingState<P: Platform> {
    sides: [Side<P>; 2],
    /// As in H.
    epoch: u32,
    barriers: Bucket,
}

/// What the kernel keeps for one end.
pub(crate) struct Side<P: Platform> {
    /// The domain that has it, or had it last.
    holder: u64,
    /// The space of that domain, while the end is there.
    space: Option<Arc<AddressSpace>>,
    /// As in H.
    ended: EndState,
    /// One at most that has not been told.
    waiters: Waiters<P>,
    messages: u64,
}

impl<P: Platform> Side<P> {
    fn of(domain: &Domain<P>) -> Side<P> {
        Side::held(domain.koid(), domain.space().clone())
    }

    /// Of an end that a domain with this number and space has.
    pub(crate) fn held(holder: u64, space: Arc<AddressSpace>) -> Side<P> {
        Side {
            holder,
            space: Some(space),
            ended: EndState::Open,
            waiters: Waiters::new(),
            messages: 0,
        }
    }

    /// Whether nobody can have the end any more.
    fn is_gone(&self) -> bool {
        self.space.is_none()
    }
}

impl<P: Platform> RingState<P> {
    fn side(&self, end: End) -> &Side<P> {
        &self.sides[end as usize]
    }

    fn side_mut(&mut self, end: End) -> &mut Side<P> {
        &mut self.sides[end as usize]
    }
}

impl<P: Platform> Ring<P> {
    /// The region under both views.
    pub fn region(&self) -> &Arc<Region> {
        &self.region
    }

    /// Its kind and size.
    pub fn geometry(&self) -> Geometry {
        self.shape.geometry
    }

    /// The domain that has an end, or had it last.
    pub fn holder(&self, end: End) -> u64 {
        self.state.lock().side(end).holder
    }

    /// The domain at the other end of an end.
    pub(crate) fn peer_of(&self, end: End) -> Peer {
        let state = self.state.lock();
        let peer = state.side(end.peer());
        match peer.is_gone() {
            false => Peer::Present(peer.holder),
            true => Peer::Gone(peer.holder),
        }
    }

    /// Who waits for events of an end.
    pub(crate) fn events(&self, end: End) -> &crate::Events<P> {
        &self.events[end as usize]
    }

    /// What went through an end.
    pub(crate) fn traffic(&self, end: End) -> Traffic {
        let state = self.state.lock();
        let side = state.side(end);
        Traffic {
            messages: side.messages,
            ..side.waiters.traffic()
        }
    }

    /// The page that an end writes.
    fn index_page(&self, end: End) -> Frame {
        self.control[1 + end as usize]
    }

    /// How far an end says that it is: any word. Under the lock, while an end is there.
    fn index(&self, machine: &P, end: End) -> u32 {
        machine.load_u32(self.index_page(end), offset_of!(IndexPage, index))
    }

    /// How much there is to receive, by what both ends say; `None`: no honest pair of them can say so. Under the lock,
    /// while an end is there.
    ///
    /// What is in a slot may be received before the tail tells of it. Then nothing is there, however long the producer
    /// stays where it is: who was told otherwise would look in vain and keep it from going on, if it is the more urgent.
    fn used(&self, machine: &P) -> Option<u32> {
        let Geometry { kind, capacity, .. } = self.geometry();
        let [tail, head] = [End::Producer, End::Consumer].map(|end| self.index(machine, end));
        match mm::sabotaged!("ring_level_by_tail_alone") {
            true => ring::index::distance(tail, head, capacity),
            false => ring::index::waiting(kind, tail, head, capacity),
        }
    }
}

impl<P: Platform> fmt::Debug for Ring<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring")
            .field("region", &self.region.koid())
            .field("shape", &self.shape)
            .finish_non_exhaustive()
    }
}

impl<P: Platform> Ipc<P> {
    /// A ring whose ends `domain` has. The domain pays for its memory, wherever the ends go. When
    /// it fails, nothing is left of it.
    pub fn create_ring(
        &self,
        domain: &Domain<P>,
        shape: impl Into<RingShape>,
    ) -> Result<(Handle, Handle), Error> {
        let ring = self.new_ring(domain.account(), shape.into(), || Side::of(domain))?;
        let payload = |end| Payload::RingEnd(ring.clone(), end);
        let producer = (payload(End::Producer), Rights::RING_PRODUCER);
        let consumer = (payload(End::Consumer), Rights::RING_CONSUMER);
        let [producer, consumer] = self.install_both(domain, [producer, consumer])?;
        Ok((producer, consumer))
    }

    /// A ring without capabilities, whose ends are as `side` says and whose memory `account` pays for. Each end
    /// is to be closed. When it fails, nothing is left of it.
    pub(crate) fn new_ring(
        &self,
        account: &Arc<Account>,
        shape: RingShape,
        side: impl Fn() -> Side<P>,
    ) -> Result<Arc<Ring<P>>, Error> {
        const { assert!(size_of::<Ring<P>>() as u64 + 16 <= abi::cost::REGION / 2 + abi::cost::RING) }
        let region = self
            .memory
            .create_ring_region(account, shape.geometry.data_pages())?;
        let control = self
            .lay_out_ring(&region, shape, layout::FIRST_EPOCH)
            .inspect_err(|_| self.memory.destroy_region(&region))?;
        let state = RingState {
            sides: [side(), side()],
            epoch: layout::FIRST_EPOCH,
            barriers: Bucket::new(),
        };
        Ok(mm::shared(Ring {
            region,
            shape,
            control,
            state: Lock::new(Rank::Queue, state),
            events: [crate::Events::new(), crate::Events::new()],
        }))
    }

    /// Facts about the ring of an end, with INSPECT.
    pub fn ring_info(&self, domain: &Domain<P>, handle: Handle) -> Result<RingInfo, Error> {
        let kind = Some(ObjectKind::RingEnd);
        domain.with_node(handle, kind, Rights::INSPECT, |node| {
            let Payload::RingEnd(ring, end) = node.object().payload() else {
                return Err(Error::WrongKind);
            };
            let state = ring.state.lock();
            node.check_allowed(domain.koid(), Rights::INSPECT)?;
            let Geometry {
                kind,
                slot_size,
                capacity,
            } = ring.shape.geometry;
            Ok(RingInfo {
                geometry: RingGeometry {
                    kind: kind as u32,
                    slot_size,
                    capacity,
                    form: ring.shape.form as u32,
                    start: ring.shape.start,
                    reserved: 0,
                },
                epoch: state.epoch,
                end: *end as u32,
                producer_state: state.side(End::Producer).ended as u32,
                consumer_state: state.side(End::Consumer).ended as u32,
                tail: ring.index(self.platform(), End::Producer),
                head: ring.index(self.platform(), End::Consumer),
            })
        })
    }

    /// Maps the view of an end and returns the address of its header page. `Exists`: it is mapped.
    pub fn map_ring(&self, domain: &Domain<P>, handle: Handle) -> Result<u64, Error> {
        let capability = domain.look_up(handle, Some(ObjectKind::RingEnd), Rights::MAP)?;
        let Payload::RingEnd(ring, end) = capability.object().payload() else {
            return Err(Error::WrongKind);
        };
        let map = || {
            if capability.node.mappings() > 0 {
                return Err(Error::Exists);
            }
            let access = Rights::READ | Rights::WRITE;
            let request = MapRequest {
                view: match end {
                    End::Producer => mm::RING_PRODUCER_VIEW,
                    End::Consumer => mm::RING_CONSUMER_VIEW,
                },
                ..MapRequest::whole(&ring.region, capability.node.permit(), access)
            };
            self.memory.map(domain.space(), request)
        };
        // Of two threads that map it at once, the second finds what the first did.
        match mm::sabotaged!("ring_mapped_without_lock") {
            true => map(),
            false => capability.commit(map),
        }
    }

    /// Which events hold for an end, by what both sides have told of their indices.
    pub(crate) fn ring_level(&self, ring: &Ring<P>, end: End) -> Events {
        let state = ring.state.lock();
        if state.side(end).is_gone() {
            return Events::empty();
        }
        let mut events = Events::empty();
        let used = ring.used(self.platform());
        match end {
            End::Producer => events.set(
                Events::WRITABLE,
                used.is_some_and(|used| used < ring.geometry().capacity),
            ),
            // Indices that can't be are for the consumer to see, who accuses its peer.
            End::Consumer => events.set(Events::READABLE, used != Some(0)),
        }
        let ended = state.side(end.peer()).ended != EndState::Open;
        events.set(Events::PEER_CLOSED, ended);
        events & possible_ring_events(ring, end)
    }
}

/// The events that an end can have. Of an asymmetric ring nobody but who [waits there](waiting) learns that an
/// index has moved: the publisher relies on the barrier that such a wait brings.
pub(crate) fn possible_ring_events<P: Platform>(ring: &Ring<P>, end: End) -> Events {
    if is_asymmetric(ring.shape.form) && !mm::sabotaged!("ring_events_without_barrier") {
        return Events::PEER_CLOSED;
    }
    match end {
        End::Producer => Events::WRITABLE | Events::PEER_CLOSED,
        End::Consumer => Events::READABLE | Events::PEER_CLOSED,
    }
}

/// Whether a sleeper of this form needs a barrier on the peer's CPUs before its last look.
fn is_asymmetric(form: Form) -> bool {
    matches!(form, Form::Asymmetric)
}
