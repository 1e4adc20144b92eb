//! Objects: what capabilities refer to.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use abi::{Error, Mode, ObjectKind, RegionKind, Rights, cost};
use mm::lock::{Lock, Rank};
use mm::{Account, Mapping, RecordCharge, Region};
use ring_layout::End;

use crate::grants::First;
use crate::lineage::Lineage;
use crate::node::Branch;
use crate::statistics::{Tally, Traffic};
use crate::submission::Registrars;
use crate::{
    Channel, ChannelSide, Hub, Interrupt, Ipc, Member, MemberSide, Node, Notification, Platform,
    Port, Reply, Resource, Ring, SubmissionRing, Timer,
};

use abi::ring as ring_layout;

/// How the program in an image begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageInfo {
    /// The address that the region is mapped at, a multiple of 2 MiB.
    pub base: u64,
    /// The first instruction.
    pub entry: u64,
}

/// What an object is.
#[derive(Debug)]
pub enum Payload<P: Platform> {
    /// Memory.
    Region(Arc<Region>),
    /// A pristine image, and how to start it.
    Image(Arc<Region>, ImageInfo),
    /// One side of a ring.
    RingEnd(Arc<Ring<P>>, End),
    /// A process.
    Process(P::Process),
    /// Physical addresses that devices answer.
    Resource(Resource),
    /// One end of a channel.
    ChannelEnd(Arc<Channel<P>>, ChannelSide),
    /// The right to answer a call.
    Reply(Arc<Reply<P>>),
    /// A thread.
    Thread(P::Task),
    /// Bits that are signalled and waited for.
    Notification(Notification<P>),
    /// What sets such bits at a time.
    Timer(Arc<Timer<P>>),
    /// What sets such bits when a device asks for it.
    Interrupt(Arc<Interrupt<P>>),
    /// Where a task waits for many objects.
    Port(Arc<Port<P>>),
    /// What guests join.
    Hub(Arc<Hub<P>>),
    /// One side of a seat at a hub.
    HubMember(Arc<Member<P>>, MemberSide),
    /// By which a process asks for many calls at once.
    SubmissionRing(Arc<SubmissionRing<P>>),
}

impl<P: Platform> Payload<P> {
    /// What kind of object it makes.
    #[inline(always)]
    fn kind(&self) -> ObjectKind {
        match self {
            Payload::Region(_) => ObjectKind::Region,
            Payload::Image(..) => ObjectKind::Image,
            Payload::RingEnd(..) => ObjectKind::RingEnd,
            Payload::Process(_) => ObjectKind::Process,
            Payload::Resource(_) => ObjectKind::Resource,
            Payload::ChannelEnd(..) => ObjectKind::ChannelEnd,
            Payload::Reply(_) => ObjectKind::Reply,
            Payload::Thread(_) => ObjectKind::Thread,
            Payload::Notification(_) => ObjectKind::Notification,
            Payload::Timer(_) => ObjectKind::Timer,
            Payload::Interrupt(_) => ObjectKind::Interrupt,
            Payload::Port(_) => ObjectKind::Port,
            Payload::Hub(_) => ObjectKind::Hub,
            Payload::HubMember(..) => ObjectKind::HubMember,
            Payload::SubmissionRing(_) => ObjectKind::SubmissionRing,
        }
    }

    /// What went through it.
    pub fn traffic(&self) -> Traffic {
        let own = match self {
            Payload::ChannelEnd(channel, side) => channel.traffic(*side),
            Payload::Notification(notification) => notification.traffic(),
            Payload::Timer(timer) => timer.traffic(),
            Payload::Interrupt(interrupt) => interrupt.traffic(),
            Payload::Port(port) => port.traffic(),
            Payload::Hub(hub) => hub.traffic(),
            Payload::RingEnd(ring, end) => ring.traffic(*end),
            Payload::SubmissionRing(ring) => ring.traffic(),
            // Who waits for their events is all.
            Payload::Region(_)
            | Payload::Image(..)
            | Payload::Process(_)
            | Payload::Resource(_)
            | Payload::Thread(_)
            | Payload::HubMember(..)
            | Payload::Reply(_) => Traffic::NONE,
        };
        match self.events() {
            Some(events) => own + events.traffic(),
            None => own,
        }
    }
}

/// What an object may have of the heap beside its own record.
pub(crate) const PAYLOAD_BYTES: usize = 512;

/// Something that capabilities refer to, and the lineage of those capabilities. It lives until the
/// last node is gone.
#[derive(Debug)]
pub struct Object<P: Platform> {
    koid: u64,
    kind: ObjectKind,
    payload: Payload<P>,
    pub(crate) lineage: Lock<Lineage<P>>,
    pub(crate) tally: Tally,
    /// Those of its capabilities that are pending.
    pub(crate) grants: First,
    /// Where its capabilities are registered.
    pub(crate) registrars: Registrars<P>,
}

impl<P: Platform> Object<P> {
    /// Its number.
    pub fn koid(&self) -> u64 {
        self.koid
    }

    /// What it is.
    pub fn payload(&self) -> &Payload<P> {
        &self.payload
    }

    /// Its kind.
    #[inline(always)]
    pub fn kind(&self) -> ObjectKind {
        self.kind
    }

    /// Counts that it was handed over.
    pub(crate) fn count_transfer(&self, mode: Mode) {
        let _lineage = self.lineage.lock();
        self.tally.count_transfer(mode);
    }

    /// The region behind it that mappings are made of, if it has one.
    pub fn region(&self) -> Option<&Arc<Region>> {
        match &self.payload {
            Payload::Region(region) | Payload::Image(region, _) => Some(region),
            Payload::RingEnd(ring, _) => Some(ring.region()),
            Payload::Process(_)
            | Payload::Resource(_)
            | Payload::Notification(_)
            | Payload::Thread(_)
            | Payload::Timer(_)
            | Payload::Interrupt(_)
            | Payload::Port(_)
            | Payload::Hub(_)
            | Payload::HubMember(..)
            | Payload::SubmissionRing(_)
            | Payload::ChannelEnd(..)
            | Payload::Reply(_) => None,
        }
    }
}

impl<P: Platform> Ipc<P> {
    /// The first capability of a new object, which `holder` has. `account` pays for both. `Quota`: the
    /// object is gone again with all that it holds.
    pub fn create_object(
        &self,
        account: &Arc<Account>,
        payload: Payload<P>,
        rights: Rights,
        holder: u64,
    ) -> Result<Node<P>, Error> {
        let charge = match account.charge_record(cost::OBJECT + cost::CAPABILITY) {
            Ok(charge) => charge,
            Err(error) => return Err(self.refuse_object(payload, error)),
        };
        Ok(self.new_object(payload, rights, holder, charge))
    }

    /// The same with a charge that was made for it.
    #[inline(always)]
    pub(crate) fn new_object(
        &self,
        payload: Payload<P>,
        rights: Rights,
        holder: u64,
        charge: RecordCharge,
    ) -> Node<P> {
        let koid = match &payload {
            Payload::Region(region) | Payload::Image(region, _) => region.koid(),
            Payload::ChannelEnd(channel, side) => channel.koid(*side),
            Payload::RingEnd(..)
            | Payload::Resource(_)
            | Payload::Notification(_)
            | Payload::Timer(_)
            | Payload::Interrupt(_)
            | Payload::Port(_)
            | Payload::Hub(_)
            | Payload::HubMember(..)
            | Payload::SubmissionRing(_)
            | Payload::Reply(_) => self.memory.next_koid(),
            Payload::Process(process) => self.platform().domain_of(process),
            Payload::Thread(task) => self.platform().task_koid(task),
        };
        let object = mm::shared(Object {
            koid,
            kind: payload.kind(),
            payload,
            lineage: Lock::new(Rank::Lineage, Lineage::new()),
            tally: Tally::new(),
            grants: First::new(),
            registrars: Registrars::new(),
        });
        self.objects.fetch_add(1, Ordering::Relaxed);
        let mut lineage = object.lineage.lock();
        lineage.add_root(&object, rights, holder, charge)
    }

    /// Says that a node may have lost what kept it: its holder, its last mapping, or its last
    /// child. Takes it out of its tree if so, and the object along with its last node.
    pub(crate) fn release(&self, branch: &Branch<P>) {
        let object = branch.object();
        let released = object
            .lineage
            .lock()
            .release(branch, &|above| self.unlist_timed(above));
        self.unlist_dead(branch);
        if released.emptied {
            self.destroy_object(object);
        }
    }

    /// Says that a mapping is gone.
    pub(crate) fn release_mapping(&self, mapping: &Mapping) {
        let authority = mapping.permit().authority();
        if let Some(branch) = authority.downcast_ref::<Branch<P>>() {
            self.release(branch);
        }
    }

    /// Returns what an object without capabilities holds.
    pub(crate) fn destroy_object(&self, object: &Object<P>) {
        self.destroy_payload(&object.payload);
        self.forget_object();
    }

    /// Counts an object no more whose payload is returned otherwise.
    pub(crate) fn forget_object(&self) {
        self.objects.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn destroy_payload(&self, payload: &Payload<P>) {
        match payload {
            Payload::Region(region) | Payload::Image(region, _) => {
                if region.kind() == RegionKind::Kernel {
                    self.platform().release_kernel_region(region);
                }
                self.memory.destroy_region(region);
            }
            Payload::RingEnd(ring, end) => self.close_end(ring, *end),
            Payload::ChannelEnd(channel, side) => self.close_channel_end(channel, *side),
            Payload::Reply(reply) => self.abandon_call(reply),
            Payload::Timer(timer) => self.end_timer(timer),
            Payload::Interrupt(interrupt) => self.end_interrupt(interrupt),
            Payload::Port(port) => self.close_port(port),
            Payload::Hub(hub) => self.end_hub(hub),
            Payload::HubMember(member, side) => self.end_member(member, *side),
            Payload::SubmissionRing(ring) => self.close_submission_ring(ring),
            Payload::Process(process) => self.platform().abandoned(process),
            Payload::Resource(_) | Payload::Notification(_) | Payload::Thread(_) => {}
        }
    }
}
