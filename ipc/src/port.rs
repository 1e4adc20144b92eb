//! Ports: one task waits for many objects.
//!
//! What is to be told is a queue of [bindings](crate::binding), each of which has one packet. A packet
//! of a level binding says what holds when it is taken, not what did when it was queued, and comes back
//! as long as something holds. Who takes packets keeps their bindings to itself until they are
//! delivered: nobody else is told of one meanwhile, and what can't be delivered stays.
//!
//! Invariants kept here (docs/INVARIANTS.md): I5, I9, I10. Lock rank: Ports. Nothing of an object is locked
//! with it.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use abi::limits::MAX_BINDINGS;
use abi::{Error, Handle, ObjectKind, PortPacket, Rights};
use mm::lock::{Lock, Rank};

use crate::binding::{Binding, Status};
use crate::{Capability, Counted, Domain, Ipc, Outcome, Payload, Platform, Traffic, Waiters};

/// Packets that are delivered at once.
const BATCH: usize = 16;

/// What a list keeps room for, however few it has.
const FEW: usize = 16;

/// A queue of what is to be told.
pub struct Port<P: Platform> {
    state: Lock<State<P>>,
}

struct State<P: Platform> {
    /// By key.
    bindings: Vec<Arc<Binding<P>>>,
    /// Those with a packet; it has room for all.
    ready: VecDeque<Arc<Binding<P>>>,
    waiters: Waiters<P>,
    /// Its last capability is gone.
    closed: bool,
    messages: u64,
}

impl<P: Platform> State<P> {
    fn find(&self, key: u64) -> Result<usize, usize> {
        self.bindings.binary_search_by_key(&key, |other| other.key)
    }

    /// Queues the packet of a binding, and wakes somebody for it.
    fn queue(&mut self, binding: &Arc<Binding<P>>) -> Option<P::Task> {
        binding.set_status(Status::Queued);
        self.ready.push_back(binding.clone());
        self.wake()
    }

    /// Wakes somebody if there is a packet.
    fn wake(&mut self) -> Option<P::Task> {
        if self.ready.is_empty() {
            return None;
        }
        self.waiters.wake_first(Outcome::Ready)
    }

    /// Takes the binding at a place out.
    fn remove(&mut self, platform: &P, at: usize) -> Arc<Binding<P>> {
        let binding = self.bindings.remove(at);
        binding.set_unbound();
        if binding.status() == Status::Queued {
            self.ready.retain(|other| !Arc::ptr_eq(other, &binding));
        }
        let count = self.bindings.len();
        if self.bindings.capacity() > FEW.max(4 * count) && mm::may_shrink(platform) {
            mm::shrink_to(&mut self.bindings, 2 * count);
            let mut shorter = VecDeque::new();
            if shorter.try_reserve_exact(2 * count).is_ok() {
                shorter.append(&mut self.ready);
                self.ready = shorter;
            }
        }
        binding
    }
}

impl<P: Platform> Port<P> {
    pub(crate) fn new() -> Port<P> {
        Port {
            state: Lock::new(
                Rank::Ports,
                State {
                    bindings: Vec::new(),
                    ready: VecDeque::new(),
                    waiters: Waiters::new(),
                    closed: false,
                    messages: 0,
                },
            ),
        }
    }

    pub(crate) fn traffic(&self) -> Traffic {
        let state = self.state.lock();
        Traffic {
            messages: state.messages,
            ..state.waiters.traffic()
        }
    }

    /// Puts a binding in. `Exists`: its key is taken; `Limit`, `NoMemory`; `BadHandle`: the port is gone.
    pub(crate) fn insert(&self, binding: &Arc<Binding<P>>) -> Result<(), Error> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(Error::BadHandle);
        }
        let count = state.bindings.len();
        let Err(at) = state.find(binding.key) else {
            return Err(Error::Exists);
        };
        if count >= MAX_BINDINGS {
            return Err(Error::Limit);
        }
        // Room in the queue for all.
        let missing = count + 1 - state.ready.len();
        let room = state.ready.try_reserve(missing);
        room.and_then(|()| state.bindings.try_reserve(1))
            .map_err(|_| Error::NoMemory)?;
        state.bindings.insert(at, binding.clone());
        Ok(())
    }

    /// Takes a binding out, if it is in.
    pub(crate) fn remove(&self, platform: &P, binding: &Arc<Binding<P>>) {
        let mut state = self.state.lock();
        if binding.is_bound()
            && let Ok(at) = state.find(binding.key)
        {
            state.remove(platform, at);
        }
    }

    /// Takes the binding of a key out.
    pub(crate) fn remove_key(&self, platform: &P, key: u64) -> Option<Arc<Binding<P>>> {
        let mut state = self.state.lock();
        let at = state.find(key).ok()?;
        Some(state.remove(platform, at))
    }

    /// Adds to the packet of a binding, and returns who is to be unparked for it.
    pub(crate) fn tell(
        &self,
        binding: &Arc<Binding<P>>,
        happened: abi::Events,
        value: u64,
    ) -> Option<P::Task> {
        let mut state = self.state.lock();
        if !binding.is_bound() {
            return None;
        }
        binding.add(happened, 1, value);
        match binding.status() {
            Status::Idle => state.queue(binding),
            Status::Queued | Status::Taken => None,
        }
    }

    /// Empties it for good, one binding at a time.
    fn close(&self) -> Option<Arc<Binding<P>>> {
        let mut state = self.state.lock();
        state.closed = true;
        state.ready.clear();
        let binding = state.bindings.pop();
        if let Some(binding) = &binding {
            binding.set_unbound();
        }
        binding
    }
}

impl<P: Platform> fmt::Debug for Port<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.lock();
        f.debug_struct("Port")
            .field("bindings", &state.bindings.len())
            .field("ready", &state.ready.len())
            .finish_non_exhaustive()
    }
}

/// Packets that somebody is taking.
struct Taking<P: Platform> {
    bindings: [Option<Arc<Binding<P>>>; BATCH],
    packets: [PortPacket; BATCH],
    len: usize,
}

impl<P: Platform> Taking<P> {
    fn new() -> Taking<P> {
        Taking {
            bindings: [const { None }; BATCH],
            packets: [PortPacket::default(); BATCH],
            len: 0,
        }
    }

    fn push(&mut self, binding: Arc<Binding<P>>, packet: PortPacket) {
        self.bindings[self.len] = Some(binding);
        self.packets[self.len] = packet;
        self.len += 1;
    }
}

impl<P: Platform> Ipc<P> {
    /// A port, of which `domain` gets the first capability. Errors as of
    /// [`install_object`](Ipc::install_object).
    pub fn create_port(&self, domain: &Domain<P>) -> Result<Handle, Error> {
        let payload = Payload::Port(mm::shared(Port::new()));
        self.install_object(domain, payload, Rights::PORT)
    }

    /// Waits until a port has something to tell, and delivers up to `len` packets, some at a time; with
    /// WAIT. Returns how many. What `deliver` refuses is told later, and its error is the answer if
    /// nothing was delivered before. It is called with no lock held.
    ///
    /// # Errors
    /// `Invalid`: `len` is 0; `WouldBlock`: there is nothing, and the deadline is 0; those of a look-up and
    /// of [`sleep`](Ipc::sleep).
    pub fn wait_port(
        &self,
        domain: &Domain<P>,
        handle: Handle,
        len: usize,
        deadline_ns: u64,
        mut deliver: impl FnMut(usize, &[PortPacket]) -> Result<(), Error>,
    ) -> Result<usize, Error> {
        let capability = domain.look_up(handle, Some(ObjectKind::Port), Rights::WAIT)?;
        let Payload::Port(port) = capability.object().payload() else {
            return Err(Error::WrongKind);
        };
        if len == 0 {
            return Err(Error::Invalid);
        }
        loop {
            let delivered = self.take_packets(port, &capability, len, &mut deliver)?;
            if delivered > 0 {
                return Ok(delivered);
            }
            if deadline_ns == 0 {
                return Err(capability.refuse(Error::WouldBlock));
            }
            let ticket = {
                let mut state = port.state.lock();
                if !state.ready.is_empty() {
                    continue;
                }
                let task = self.platform().current_task();
                let waiters = &mut state.waiters;
                waiters.enlist(task, &capability.node, domain.koid(), Rights::WAIT)?
            };
            self.sleep_in(&ticket, deadline_ns, &port.state, |state| {
                &mut state.waiters
            })?;
        }
    }

    /// Delivers what is there, each binding once.
    fn take_packets(
        &self,
        port: &Port<P>,
        by: &Capability<P>,
        len: usize,
        deliver: &mut impl FnMut(usize, &[PortPacket]) -> Result<(), Error>,
    ) -> Result<usize, Error> {
        let mut left = usize::MAX;
        let mut delivered = 0;
        while left > 0 && delivered < len {
            let mut taking = Taking::new();
            let mut most = BATCH.min(len - delivered);
            {
                let mut state = port.state.lock();
                if let Err(error) = by.check() {
                    // It may have been woken for a packet that is another's to take now.
                    let woken = state.wake();
                    drop(state);
                    woken.iter().for_each(|task| self.platform().unpark(task));
                    return match delivered {
                        0 => Err(error),
                        delivered => Ok(delivered),
                    };
                }
                left = left.min(state.ready.len());
                most = most.min(left);
                for _ in 0..most {
                    let Some(binding) = state.ready.pop_front() else {
                        break;
                    };
                    binding.set_status(Status::Taken);
                    let packet = binding.take();
                    taking.push(binding, packet);
                }
            }
            if most == 0 {
                break;
            }
            left -= most;
            let told = self.update(&mut taking);
            let answer = match told {
                0 => Ok(()),
                // They say what holds now.
                told => by
                    .tell(())
                    .and_then(|()| deliver(delivered, &taking.packets[..told])),
            };
            self.give_back(port, &taking, told, answer.is_ok());
            match answer {
                Ok(()) => delivered += told,
                Err(error) if delivered == 0 => return Err(error),
                Err(_) => return Ok(delivered),
            }
        }
        Ok(delivered)
    }

    /// Makes packets say what holds now, and those that have something to tell the first. Returns how
    /// many these are.
    fn update(&self, taking: &mut Taking<P>) -> usize {
        let mut told = 0;
        for at in 0..taking.len {
            let packet = &mut taking.packets[at];
            let Some(binding) = &taking.bindings[at] else {
                continue;
            };
            if !binding.is_held() {
                continue;
            }
            if binding.is_level() {
                let level = self.level_of(binding.object().payload());
                packet.events = (level.events & binding.events()).bits();
                packet.value = level.value;
            }
            if packet.events != 0 {
                packet.count = packet.count.max(1);
                taking.packets.swap(told, at);
                taking.bindings.swap(told, at);
                told += 1;
            }
        }
        told
    }

    /// Ends the taking of packets, of which the first `told` were delivered, or refused.
    fn give_back(&self, port: &Port<P>, taking: &Taking<P>, told: usize, delivered: bool) {
        let packets = taking.packets.iter().enumerate();
        for ((at, packet), binding) in packets.zip(taking.bindings.iter().flatten()) {
            let mut state = port.state.lock();
            if at < told && delivered {
                state.messages += 1;
                self.platform().count(Counted::Message { bytes: 0 });
            }
            if !binding.is_bound() {
                continue;
            }
            if at < told && delivered && binding.is_once() {
                if let Ok(at) = state.find(binding.key) {
                    state.remove(self.platform(), at);
                }
                drop(state);
                self.unwatch(binding);
                continue;
            }
            if at < told && !delivered {
                let events = abi::Events::from_bits_truncate(packet.events);
                binding.add(events, packet.count, packet.value);
            }
            binding.set_status(Status::Idle);
            let goes_on = at < told && binding.is_level();
            let has_news = binding.has_news() && !mm::sabotaged!("port_packet_lost");
            if goes_on || has_news {
                let woken = state.queue(binding);
                drop(state);
                woken.iter().for_each(|task| self.platform().unpark(task));
            }
        }
    }

    /// Takes everything out of a port without capabilities.
    pub(crate) fn close_port(&self, port: &Port<P>) {
        while let Some(binding) = port.close() {
            self.unwatch(&binding);
        }
    }

    /// Ends the waits at a port whose capability is not their process's any more.
    pub(crate) fn end_port_waits(&self, port: &Port<P>) {
        self.end_unheld_waits(&port.state, |state| &mut state.waiters);
    }
}
