//! Bindings: an object that a port is told of, and the packet by which it is told.
//!
//! The packet is part of the binding, so making a binding can fail and telling can't. A binding is in
//! two lists, of its port and of the events of its object, and keeps neither alive: it goes with its
//! port, and with the capability of the object that it was made by. Whoever takes one out says so under
//! the lock of the port first and then takes it out of the list of the object; so who puts it there looks
//! whether it is bound still.
//!
//! Lock ranks: Events, then Ports; never the other way round.

use alloc::sync::Arc;
use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};

use abi::limits::{MAX_SHARED_WATCHES, MAX_WATCHES};
use abi::{BindFlags, Error, Handle, ObjectKind, PortPacket, Rights, cost};
use mm::RecordCharge;

use crate::submission::Told;
use crate::{Domain, Events, Ipc, Level, Node, Object, Payload, Platform, Port, SubmissionRing};

/// The place of a binding that is not in the list of its object.
const NOWHERE: u32 = u32::MAX;

/// Who is told.
enum Target<P: Platform> {
    Port(Arc<Port<P>>),
    /// An operation that waits in a submission ring, by the key of the binding.
    Operation(Arc<SubmissionRing<P>>),
}

/// What a port, or an operation, is told of.
pub(crate) struct Binding<P: Platform> {
    target: Target<P>,
    pub(crate) key: u64,
    events: abi::Events,
    flags: BindFlags,
    /// What it takes to be told.
    needed: Rights,
    /// By which the object is watched, and the domain that it was looked up in.
    node: Node<P>,
    holder: u64,
    /// Where it is in the list of its object; under the lock of that.
    place: AtomicU32,
    /// Everything from here on changes under the lock of the port.
    bound: AtomicBool,
    status: AtomicU8,
    happened: AtomicU32,
    count: AtomicU32,
    value: AtomicU64,
    _charge: RecordCharge,
}

/// Where the packet of a binding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Status {
    /// There is nothing to tell.
    Idle = 0,
    /// Among those that are to be taken.
    Queued = 1,
    /// Somebody is taking it.
    Taken = 2,
}

impl<P: Platform> Binding<P> {
    /// One that is in no list yet. `Quota`.
    fn new(
        domain: &Domain<P>,
        target: Target<P>,
        key: u64,
        node: &Node<P>,
        events: abi::Events,
        flags: BindFlags,
        needed: Rights,
    ) -> Result<Arc<Binding<P>>, Error> {
        Ok(mm::shared(Binding {
            target,
            key,
            events,
            flags,
            needed,
            node: node.clone(),
            holder: domain.koid(),
            place: AtomicU32::new(NOWHERE),
            bound: AtomicBool::new(true),
            status: AtomicU8::new(Status::Idle as u8),
            happened: AtomicU32::new(0),
            count: AtomicU32::new(0),
            value: AtomicU64::new(0),
            _charge: domain.account().charge_record(cost::BINDING)?,
        }))
    }

    /// The object.
    pub(crate) fn object(&self) -> &Arc<Object<P>> {
        self.node.object()
    }

    /// The events that it is for.
    pub(crate) fn events(&self) -> abi::Events {
        self.events
    }

    pub(crate) fn is_once(&self) -> bool {
        self.flags.contains(BindFlags::ONCE)
    }

    /// Whether it is a port that is told, and no operation.
    pub(crate) fn is_of_port(&self) -> bool {
        matches!(self.target, Target::Port(_))
    }

    /// Adds what happened to its packet, and returns who is to be unparked for it.
    pub(crate) fn tell(self: &Arc<Self>, level: Level) -> Option<Told<P>> {
        match &self.target {
            Target::Port(port) => {
                let task = port.tell(self, level.events & self.events, level.value)?;
                Some(Told {
                    task: Some(task),
                    ring: None,
                })
            }
            Target::Operation(ring) => Some(self.told_to(ring)),
        }
    }

    fn told_to(&self, ring: &Arc<SubmissionRing<P>>) -> Told<P> {
        Told::of(ring.clone(), self.key as u32)
    }

    /// Its capability does not allow it any more, and it has left the list of its object: whoever was told
    /// learns so.
    fn end(self: &Arc<Self>, platform: &P) -> Option<Told<P>> {
        match &self.target {
            Target::Port(port) => {
                port.remove(platform, self);
                None
            }
            Target::Operation(ring) => {
                self.set_unbound();
                Some(self.told_to(ring))
            }
        }
    }

    /// Where it is in the list of its object.
    pub(crate) fn place(&self) -> Option<usize> {
        match self.place.load(Ordering::Relaxed) {
            NOWHERE => None,
            place => Some(place as usize),
        }
    }

    pub(crate) fn set_place(&self, place: Option<usize>) {
        let place = place.map_or(NOWHERE, |place| place as u32);
        self.place.store(place, Ordering::Relaxed);
    }

    /// Among how many of its object it may be.
    pub(crate) fn most_watches(&self) -> usize {
        let first = self.node.is_root() || mm::sabotaged!("watches_taken_by_anybody");
        if first {
            MAX_WATCHES
        } else {
            MAX_SHARED_WATCHES
        }
    }

    /// Whether the capability that it was made by is still there and allows it, or why not.
    pub(crate) fn check_held(&self) -> Result<(), Error> {
        self.node.check_allowed(self.holder, self.needed)
    }

    pub(crate) fn is_held(&self) -> bool {
        self.check_held().is_ok()
    }

    pub(crate) fn is_bound(&self) -> bool {
        self.bound.load(Ordering::Relaxed)
    }

    pub(crate) fn status(&self) -> Status {
        match self.status.load(Ordering::Relaxed) {
            0 => Status::Idle,
            1 => Status::Queued,
            _ => Status::Taken,
        }
    }

    pub(crate) fn set_status(&self, status: Status) {
        self.status.store(status as u8, Ordering::Relaxed);
    }

    pub(crate) fn set_unbound(&self) {
        self.bound.store(false, Ordering::Relaxed);
    }

    /// Adds to its packet.
    pub(crate) fn add(&self, happened: abi::Events, count: u32, value: u64) {
        let happened = happened.bits() | self.happened.load(Ordering::Relaxed);
        self.happened.store(happened, Ordering::Relaxed);
        let count = count.saturating_add(self.count.load(Ordering::Relaxed));
        self.count.store(count, Ordering::Relaxed);
        self.value.store(value, Ordering::Relaxed);
    }

    /// Whether something has been added to its packet.
    pub(crate) fn has_news(&self) -> bool {
        self.happened.load(Ordering::Relaxed) != 0
    }

    /// What has been added, after which its packet is empty.
    pub(crate) fn take(&self) -> PortPacket {
        PortPacket {
            key: self.key,
            value: self.value.swap(0, Ordering::Relaxed),
            events: self.happened.swap(0, Ordering::Relaxed),
            count: self.count.swap(0, Ordering::Relaxed),
        }
    }

    /// Whether it is told again as long as an event holds.
    pub(crate) fn is_level(&self) -> bool {
        !self.flags.contains(BindFlags::EDGE)
    }
}

impl<P: Platform> fmt::Debug for Binding<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Binding")
            .field("key", &self.key)
            .field("object", &self.object().koid())
            .field("events", &self.events)
            .field("flags", &self.flags)
            .finish_non_exhaustive()
    }
}

/// The rights to an object that it takes to be told of events of it.
fn needed_for(events: abi::Events) -> Rights {
    if events.contains(abi::Events::FAULTED) && !mm::sabotaged!("faults_held_by_anybody") {
        Rights::WAIT | Rights::MANAGE
    } else {
        Rights::WAIT
    }
}

impl<P: Platform> Ipc<P> {
    /// Has a port told of events of an object under a key: with MANAGE on the port and WAIT on the object,
    /// and with MANAGE on it too for [`FAULTED`](abi::Events::FAULTED), which keeps a process from its end.
    /// `domain` pays for it. If one of the events holds already, it is told.
    ///
    /// # Errors
    /// `Invalid`: no event; `Unsupported`: a port, an event that such an object does not have, or
    /// `FAULTED` with `ONCE`, which would leave a stopped thread to nobody;
    /// `Exists`: the key is taken; `Limit`: the port has [`MAX_BINDINGS`](abi::limits::MAX_BINDINGS), or the
    /// object [`MAX_WATCHES`], for another than its first capability [`MAX_SHARED_WATCHES`];
    /// `Denied`: the object by a capability for one use, with which the binding would end;
    /// `Quota`, `NoMemory`; those of a look-up.
    pub fn bind_port(
        &self,
        domain: &Domain<P>,
        port: Handle,
        object: Handle,
        events: abi::Events,
        flags: BindFlags,
        key: u64,
    ) -> Result<(), Error> {
        const {
            // With its places in three lists, each at most four times as long as needed.
            assert!((size_of::<Binding<P>>() + 16 + 3 * 4 * 8) as u64 <= cost::BINDING);
        }
        let by = domain.look_up(port, Some(ObjectKind::Port), Rights::MANAGE)?;
        let Payload::Port(port) = by.object().payload() else {
            return Err(Error::WrongKind);
        };
        let watched = domain.look_up_lasting(object, None, needed_for(events))?;
        if events.is_empty() {
            return Err(Error::Invalid);
        }
        let stops = events.contains(abi::Events::FAULTED);
        if stops && flags.contains(BindFlags::ONCE) {
            return Err(Error::Unsupported);
        }
        let payload = watched.object().payload();
        let source = payload.events().ok_or(Error::Unsupported)?;
        if !payload.possible_events().contains(events) {
            return Err(Error::Unsupported);
        }
        let target = Target::Port(port.clone());
        let needed = needed_for(events);
        let binding = Binding::new(domain, target, key, &watched.node, events, flags, needed)?;
        by.commit(|| port.insert(&binding))?;
        if let Err(error) = source.watch(&binding) {
            port.remove(self.platform(), &binding);
            return Err(error);
        }
        let level = self.level_of(payload);
        if level.events.intersects(events)
            && let Some(told) = binding.tell(level)
        {
            self.pass_on(told);
        }
        Ok(())
    }

    /// Has an operation of a submission ring told, under its key, when one of the events happens to what a
    /// handle stands for, and when the capability allows it no more: as long as that has the right
    /// `needed`. What holds already is not told.
    ///
    /// # Errors
    /// `Unsupported`: it has no such event, or is a submission ring; otherwise as of
    /// [`bind_port`](Ipc::bind_port).
    pub(crate) fn watch_for(
        &self,
        domain: &Domain<P>,
        ring: &Arc<SubmissionRing<P>>,
        key: u32,
        handle: Handle,
        events: abi::Events,
        needed: Rights,
    ) -> Result<Arc<Binding<P>>, Error> {
        let watched = domain.look_up_lasting(handle, None, needed)?;
        let payload = watched.object().payload();
        // Else rings could tell one another in a circle.
        if matches!(payload, Payload::SubmissionRing(_)) {
            return Err(Error::Unsupported);
        }
        let source = payload.events().ok_or(Error::Unsupported)?;
        if !payload.possible_events().contains(events) {
            return Err(Error::Unsupported);
        }
        let (target, flags) = (Target::Operation(ring.clone()), BindFlags::EDGE);
        let key = key.into();
        let binding = Binding::new(domain, target, key, &watched.node, events, flags, needed)?;
        source.watch(&binding)?;
        Ok(binding)
    }

    /// Takes a binding back, with its packet if that was not taken; with MANAGE. `NotFound`: no such key;
    /// those of a look-up.
    pub fn unbind_port(&self, domain: &Domain<P>, port: Handle, key: u64) -> Result<(), Error> {
        let by = domain.look_up(port, Some(ObjectKind::Port), Rights::MANAGE)?;
        let Payload::Port(port) = by.object().payload() else {
            return Err(Error::WrongKind);
        };
        let removed = by.commit(|| {
            let removed = port.remove_key(self.platform(), key);
            removed.ok_or(Error::NotFound)
        });
        let binding = removed?;
        self.unwatch(&binding);
        Ok(())
    }

    /// Takes a binding that its port does not have any more out of the list of its object.
    pub(crate) fn unwatch(&self, binding: &Arc<Binding<P>>) {
        let payload = binding.object().payload();
        if let Some(events) = payload.events() {
            events.unwatch(self.platform(), binding);
        }
        self.watcher_left(binding);
    }

    fn watcher_left(&self, binding: &Binding<P>) {
        if let Payload::Process(process) = binding.object().payload()
            && binding.events.contains(abi::Events::FAULTED)
        {
            self.platform().watcher_left(process);
        }
    }

    /// Ends the bindings of an object whose capability is not their process's any more or does not allow
    /// them any more.
    pub(crate) fn end_unheld_bindings(&self, events: &Events<P>) {
        let (platform, mut before) = (self.platform(), usize::MAX);
        while let Some(binding) = events.unwatch_unheld(platform, &mut before) {
            if let Some(told) = binding.end(platform) {
                self.pass_on(told);
            }
            self.watcher_left(&binding);
        }
    }
}
