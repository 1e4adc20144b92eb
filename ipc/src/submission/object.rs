//! Submission rings as objects: made, mapped, told about and closed.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::submission::{
    COMPLETION_BYTES, ENTRY_BYTES, SubmissionArgs, SubmissionGeometry, SubmissionInfo,
    SubmissionRingFlags, SubmissionViews,
};
use abi::{Error, Handle, ObjectKind, Rights, cost};
use mm::lock::{Lock, Rank};
use mm::{MapRequest, Permit, RING_CONSUMER_VIEW, RING_PRODUCER_VIEW, Region};

use super::desk::{Desk, PLACES};
use super::pending::PLACE_BYTES;
use super::registered::Known;
use super::shared::{Half, data_pages};
use super::{Facts, State, SubmissionRing};
use crate::{Capability, Domain, Events, Ipc, Payload, Platform, Waiters};

/// Heads of the allocations of a ring.
const SPARE: usize = 1024;

impl<P: Platform> Ipc<P> {
    /// A submission ring of a domain, which knows all handles that the domain has registered. When it
    /// fails, nothing is left of it.
    ///
    /// # Errors
    /// `Invalid`, `TooLarge`: see [`SubmissionArgs::decode`]; `Limit`: the domain has
    /// [`MAX_SUBMISSION_RINGS`](abi::limits::MAX_SUBMISSION_RINGS); `Quota`, `NoMemory`.
    pub fn create_submission_ring(
        &self,
        domain: &Domain<P>,
        args: &SubmissionArgs,
    ) -> Result<Handle, Error> {
        let (geometry, flags) = args.decode()?;
        let charge = domain.account().charge_record(cost::SUBMISSION_RING)?;
        let (submissions, completions) = self.create_halves(domain, geometry)?;
        let regions = [submissions.region.clone(), completions.region.clone()];
        let ring = self.assemble(domain, geometry, flags, submissions, completions);
        let ring = ring.and_then(|mut ring| {
            ring.charge = Some(charge);
            let ring = mm::shared(ring);
            ring.registrar.join(self.platform(), &ring).map(|()| ring)
        });
        let ring = ring.inspect_err(|_| {
            for region in &regions {
                self.memory.destroy_region(region);
            }
        })?;
        let payload = Payload::SubmissionRing(ring);
        self.install_object(domain, payload, Rights::SUBMISSION_RING)
    }

    fn assemble(
        &self,
        domain: &Domain<P>,
        geometry: SubmissionGeometry,
        flags: SubmissionRingFlags,
        submissions: Half,
        completions: Half,
    ) -> Result<SubmissionRing<P>, Error> {
        const {
            let records = size_of::<SubmissionRing<P>>() + size_of::<Desk<P>>();
            let frames = 2 * (3 + 64) * size_of::<mm::Frame>();
            let chain = abi::submission::MAX_CHAIN * ENTRY_BYTES as usize;
            let places = PLACES * PLACE_BYTES;
            assert!((records + frames + chain + places + SPARE) as u64 <= cost::SUBMISSION_RING);
            assert!((places + 2 * 64) as u64 <= cost::WAITING);
        }
        Ok(SubmissionRing {
            owner: domain.koid(),
            geometry,
            flags,
            submissions,
            completions,
            permit: mm::shared(Permit::new()),
            registrar: domain.registrar.clone(),
            known: Lock::new(Rank::Ports, Known::new(domain.account())),
            state: Lock::new(
                Rank::Ports,
                State {
                    desk: Some(Desk::new(geometry.start, domain.account())?),
                    due: VecDeque::new(),
                    noted: Vec::new(),
                    waiters: Waiters::new(),
                    server: Waiters::new(),
                    resting: false,
                    closed: false,
                    facts: Facts::default(),
                },
            ),
            events: Events::new(),
            charge: None,
        })
    }

    fn create_halves(
        &self,
        domain: &Domain<P>,
        geometry: SubmissionGeometry,
    ) -> Result<(Half, Half), Error> {
        let SubmissionGeometry {
            entries,
            completions,
            start,
        } = geometry;
        let submissions = self.create_half(domain, (entries, ENTRY_BYTES), start)?;
        match self.create_half(domain, (completions, COMPLETION_BYTES), start) {
            Ok(completions) => Ok((submissions, completions)),
            Err(error) => {
                self.memory.destroy_region(&submissions.region);
                Err(error)
            }
        }
    }

    fn create_half(
        &self,
        domain: &Domain<P>,
        (capacity, size): (u32, u32),
        start: u32,
    ) -> Result<Half, Error> {
        let pages = data_pages(capacity, size);
        let region = self.memory.create_ring_region(domain.account(), pages)?;
        Half::lay_out(self.platform(), &region, (capacity, size), start)
            .inspect_err(|_| self.memory.destroy_region(&region))
    }

    /// The ring that a handle stands for, with its capability.
    pub(super) fn submission_ring(
        &self,
        domain: &Domain<P>,
        handle: Handle,
        rights: Rights,
    ) -> Result<(Capability<P>, Arc<SubmissionRing<P>>), Error> {
        let kind = Some(ObjectKind::SubmissionRing);
        let capability = domain.look_up(handle, kind, rights)?;
        let Payload::SubmissionRing(ring) = capability.object().payload() else {
            return Err(Error::WrongKind);
        };
        let ring = ring.clone();
        Ok((capability, ring))
    }

    /// Maps both rings of a submission ring; with MAP. `Exists`: they are mapped; those of a look-up and of
    /// [`Memory::map`](mm::Memory::map).
    pub fn map_submission_ring(
        &self,
        domain: &Domain<P>,
        handle: Handle,
    ) -> Result<SubmissionViews, Error> {
        let (by, ring) = self.submission_ring(domain, handle, Rights::MAP)?;
        // The ring is mapped by a permit of its own, which a reduce of the capability leaves alone.
        by.commit(|| self.map_halves(domain, &ring))
    }

    /// The same by whom it is allowed to.
    fn map_halves(
        &self,
        domain: &Domain<P>,
        ring: &SubmissionRing<P>,
    ) -> Result<SubmissionViews, Error> {
        if ring.permit.mappings() > 0 {
            return Err(Error::Exists);
        }
        let submissions =
            self.map_half(domain, ring, &ring.submissions.region, RING_PRODUCER_VIEW)?;
        match self.map_half(domain, ring, &ring.completions.region, RING_CONSUMER_VIEW) {
            Ok(completions) => Ok(SubmissionViews {
                submissions,
                completions,
            }),
            Err(error) => {
                // What its permit stands for is no capability, which would be released with it.
                let _ = self.memory.unmap(domain.space(), submissions);
                Err(error)
            }
        }
    }

    fn map_half(
        &self,
        domain: &Domain<P>,
        ring: &SubmissionRing<P>,
        region: &Arc<Region>,
        view: usize,
    ) -> Result<u64, Error> {
        let access = Rights::READ | Rights::WRITE;
        let request = MapRequest {
            view,
            ..MapRequest::whole(region, ring.permit.clone(), access)
        };
        self.memory.map(domain.space(), request)
    }

    /// Facts about a submission ring; with INSPECT.
    pub fn submission_info(
        &self,
        domain: &Domain<P>,
        handle: Handle,
    ) -> Result<SubmissionInfo, Error> {
        let (by, ring) = self.submission_ring(domain, handle, Rights::INSPECT)?;
        let state = ring.state.lock();
        let facts = SubmissionInfo {
            entries: ring.geometry.entries,
            completions: ring.geometry.completions,
            flags: ring.flags.bits(),
            pending: state.facts.pending,
            taken: state.facts.taken,
            posted: state.facts.posted,
        };
        drop(state);
        by.tell(facts)
    }

    /// Which events hold: there are completions to be taken, or some to be had by entering.
    pub(crate) fn submission_level(&self, ring: &SubmissionRing<P>) -> abi::Events {
        let state = ring.state.lock();
        let mut events = abi::Events::empty();
        if !state.closed {
            let some = self.completions_of(ring) != Ok(0);
            events.set(abi::Events::READABLE, some || !state.due.is_empty());
        }
        events
    }

    /// How many completions the process has not taken. With the lock of the state of a ring that is not
    /// closed, which keeps its frames in place. `PeerFault`: it says that it took more than there were.
    pub(super) fn completions_of(&self, ring: &SubmissionRing<P>) -> Result<u32, Error> {
        let tail = ring.completions.tail(self.platform());
        let count = tail.wrapping_sub(ring.completions.head(self.platform()));
        match count <= ring.geometry.completions {
            true => Ok(count),
            false => Err(Error::PeerFault),
        }
    }

    /// Ends a ring whose capability is gone, with all operations that wait; who waited at it by that was told when it went.
    /// Its memory goes at once, or when whoever serves it is done with one more step.
    pub(crate) fn close_submission_ring(&self, ring: &Arc<SubmissionRing<P>>) {
        let desk = {
            let mut state = ring.state.lock();
            state.closed = true;
            state.desk.take()
        };
        if let Some(mut desk) = desk {
            self.clear_desk(ring, &mut desk);
        }
    }

    /// Returns what a closed ring has, by the last who had its desk. As many operations wait as there are cells, and
    /// others run in between: they find a ring that is closed.
    pub(super) fn clear_desk(&self, ring: &Arc<SubmissionRing<P>>, desk: &mut Desk<P>) {
        // What it has retire is as before, whatever else it let go of.
        for (step, place) in desk.pending.iter().enumerate() {
            if let Some(pending) = place {
                let (operation, entry) = (pending.operation, &pending.entry);
                let _ = self.give_up(ring, operation, entry, Error::Cancelled);
            }
            self.after_step(step);
        }
        for (step, place) in desk.pending.iter_mut().enumerate() {
            if let Some(pending) = place.take() {
                self.let_go(ring, *pending);
            }
            self.after_step(step);
        }
        ring.registrar.leave(ring);
        for half in [&ring.submissions, &ring.completions] {
            self.memory.destroy_region(&half.region);
        }
    }

    /// Says to the process what there is to be noted at this moment.
    pub(crate) fn tell_notes(&self, ring: &SubmissionRing<P>) {
        let state = ring.state.lock();
        if !state.closed {
            ring.submissions.note(self.platform(), state.notes());
        }
    }

    /// Ends the waits at a ring whose capability is not their process's any more.
    pub(crate) fn end_submission_waits(&self, ring: &SubmissionRing<P>) {
        self.end_unheld_waits(&ring.state, |state| &mut state.waiters);
        self.end_unheld_waits(&ring.state, |state| &mut state.server);
    }
}
