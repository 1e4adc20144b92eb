//! Sleeping at an end of a ring, and waking who sleeps there.
//!
//! It is Dekker's pattern. The sleeper has written what it waits for and looks once more whether it is there,
//! under the lock that a wake takes; the publisher has published and looks whether somebody waits. Each needs a
//! full barrier between its two steps, and in the asymmetric form the publisher has none: the sleeper makes
//! every CPU that the peer runs on execute one before its last look (rule S8). What a CPU that runs the peer no
//! more has written is visible: it has loaded another root, and then told so (`mm/src/shootdown.rs`).

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use abi::ring::{End, EndState};
use abi::{Error, Events, Handle, ObjectKind, Rights};
use mm::AddressSpace;

use super::{Ring, RingState, is_asymmetric};
use crate::sync::fence;
use crate::{Counted, Domain, Ipc, Node, Outcome, Payload, Platform, Ticket};

/// What somebody finds who wants to sleep.
enum Found<P: Platform> {
    /// No reason to.
    Over,
    /// The peer may have published what is not visible yet: its CPUs, and the epoch in which they are its.
    Unsure(Arc<AddressSpace>, u32),
    /// Nothing: it is in the list.
    Nothing(Begun<P>),
}

/// A wait that has begun.
struct Begun<P: Platform> {
    node: Node<P>,
    /// It looks again then at the latest.
    until_ns: u64,
}

impl<P: Platform> Ring<P> {
    /// Whether whoever waits at `end` for its peer's index to reach `seen` need not sleep. Under the lock, while
    /// the end is there.
    #[inline(always)]
    fn is_wait_over(&self, machine: &P, state: &RingState<P>, end: End, seen: u32) -> bool {
        let ended = state.side(end).ended;
        let peer = state.side(end.peer()).ended;
        let index = self.index(machine, end.peer());
        ended != EndState::Open || ring::index::wait_is_over(peer, index, seen)
    }
}

impl<P: Platform> Ipc<P> {
    /// Sleeps until the peer's index has reached `seen`, either end is not open any more, or the peer has
    /// called wake; with WAIT. It may return early.
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
        self.platform().with_current_task(|task| {
            match self.begin_ring_wait(domain, handle, task, seen, deadline_ns)? {
                Some(begun) => self.sleep_at_ring(&begun, task, deadline_ns, None),
                None => Ok(()),
            }
        })
    }

    /// [`wake_ring`](Ipc::wake_ring) by one end and then [`wait_ring`](Ipc::wait_ring) by another: where it can, the
    /// CPU goes over to who was woken at once. What fails after the wake leaves the peer woken.
    pub fn turn_ring(
        &self,
        domain: &Domain<P>,
        handle: Handle,
        waiting: Handle,
        seen: u32,
        deadline_ns: u64,
    ) -> Result<(), Error> {
        let woken = self.take_ring_sleeper(domain, handle)?;
        self.platform().with_current_task(|task| {
            match self.begin_ring_wait(domain, waiting, task, seen, deadline_ns) {
                Ok(Some(begun)) => self.sleep_at_ring(&begun, task, deadline_ns, woken.as_ref()),
                over => {
                    if let Some(task) = &woken {
                        self.platform().unpark(task);
                    }
                    over.map(drop)
                }
            }
        })
    }

    /// Puts the current task, `task`, into the list of an end; `None`: there is no reason to wait.
    #[inline(always)]
    fn begin_ring_wait(
        &self,
        domain: &Domain<P>,
        handle: Handle,
        task: &P::Task,
        seen: u32,
        deadline_ns: u64,
    ) -> Result<Option<Begun<P>>, Error> {
        let mut sure_of = None;
        loop {
            // As [`with_node`](Domain::with_node) does, without a closure: two calls go through here.
            let found = {
                let mut tenant = domain.table.tenant(handle)?;
                let node = tenant.named(handle)?;
                domain.check_to_use(handle, node, Some(ObjectKind::RingEnd), Rights::WAIT)?;
                self.look_before_sleep(domain, node, task, (seen, deadline_ns), sure_of)?
            };
            match found {
                Found::Over => return Ok(None),
                Found::Nothing(begun) => return Ok(Some(begun)),
                Found::Unsure(space, epoch) => {
                    if !mm::sabotaged!("ring_sleeper_without_barrier") {
                        // SYNC(ring.sleep): the fence that the publisher leaves out.
                        self.memory.barrier(&space);
                    }
                    sure_of = Some(epoch);
                }
            }
        }
    }

    /// Sleeps in a wait that has begun, unparking who was `woken` on the way.
    #[inline(always)]
    fn sleep_at_ring(
        &self,
        begun: &Begun<P>,
        task: &P::Task,
        deadline_ns: u64,
        woken: Option<&P::Task>,
    ) -> Result<(), Error> {
        self.platform().count(Counted::Wait);
        let cell = P::wait_cell(task);
        let slept = match woken {
            Some(woken) => self.sleep_in_turn(woken, cell, begun.until_ns),
            None => self.sleep_by(cell, begun.until_ns),
        };
        match slept {
            Ok(()) => Ok(()),
            Err(error) => Self::end_ring_wait(begun, task, deadline_ns, error),
        }
    }

    /// What follows a sleep that nobody ended for what it was about.
    #[cold]
    fn end_ring_wait(
        begun: &Begun<P>,
        task: &P::Task,
        deadline_ns: u64,
        error: Error,
    ) -> Result<(), Error> {
        if let Payload::RingEnd(ring, end) = begun.node.object().payload() {
            let mut state = ring.state.lock();
            let ticket = Ticket { task: task.clone() };
            state.side_mut(*end).waiters.withdraw(&ticket);
        }
        match error {
            Error::TimedOut if begun.until_ns < deadline_ns => Ok(()),
            error => Err(error),
        }
    }

    /// One look, and into the list if there is nothing: with `sure_of` the epoch whose publisher has executed
    /// a barrier since the sleeper said what it waits for.
    #[inline(always)]
    fn look_before_sleep(
        &self,
        domain: &Domain<P>,
        node: &Node<P>,
        task: &P::Task,
        (seen, deadline_ns): (u32, u64),
        sure_of: Option<u32>,
    ) -> Result<Found<P>, Error> {
        let Payload::RingEnd(ring, end) = node.object().payload() else {
            return Err(Error::WrongKind);
        };
        let mut state = ring.state.lock();
        // While the capability is there and the lock is held, the end is there and its pages are in
        // place.
        node.check_allowed(domain.koid(), Rights::WAIT)?;
        let is_sure = match sure_of {
            // The end may have got another holder meanwhile, whose CPUs are others.
            Some(epoch) => epoch == state.epoch || mm::sabotaged!("ring_holder_not_rechecked"),
            None => !is_asymmetric(ring.shape.form),
        };
        // Before the look, which sees what a peer published that has left its CPU by now.
        let unsure_of = match is_sure || deadline_ns == 0 {
            true => None,
            false => self.unsure_of(&state, *end).cloned(),
        };
        // SYNC(ring.sleep): under the lock that a wake takes; a peer that published before
        // this look is seen here, one that publishes after it finds a sleeper.
        if !mm::sabotaged!("ring_not_looked_at_again")
            && ring.is_wait_over(self.platform(), &state, *end, seen)
        {
            return Ok(Found::Over);
        }
        let unsure_of = match mm::sabotaged!("ring_looked_at_before_asking") && !is_sure {
            true => self.unsure_of(&state, *end).cloned(),
            false => unsure_of,
        };
        if deadline_ns == 0 {
            return Err(Error::WouldBlock);
        }
        if !state.side(*end).waiters.is_empty() {
            return Err(Error::Busy);
        }
        let mut until_ns = deadline_ns;
        if let Some(space) = unsure_of {
            let now_ns = self.platform().now_ns();
            let epoch = state.epoch;
            match state.barriers.take(now_ns) {
                Ok(()) => return Ok(Found::Unsure(space, epoch)),
                // If something was published meanwhile that nobody wakes for, it is seen then.
                Err(next_ns) => until_ns = deadline_ns.min(next_ns),
            }
        }
        let waiters = &mut state.side_mut(*end).waiters;
        waiters.enter(task, node, domain.koid(), Rights::WAIT, u32::MAX);
        Ok(Found::Nothing(Begun {
            node: node.clone(),
            until_ns,
        }))
    }

    /// The space of the peer of an end if it may be publishing on another CPU now.
    #[inline(always)]
    fn unsure_of<'a>(&self, state: &'a RingState<P>, end: End) -> Option<&'a Arc<AddressSpace>> {
        let space = state.side(end.peer()).space.as_ref()?;
        // SYNC(space.loaded): what this CPU wrote before is visible to whoever enters the space from now on.
        if !mm::sabotaged!("ring_peer_looked_for_without_fence") {
            fence(Ordering::SeqCst);
        }
        let others = self.memory.active(space).without(self.platform().current());
        (!others.is_empty()).then_some(space)
    }

    /// Wakes whoever sleeps at the other end, with SIGNAL.
    pub fn wake_ring(&self, domain: &Domain<P>, handle: Handle) -> Result<(), Error> {
        if let Some(task) = self.take_ring_sleeper(domain, handle)? {
            self.platform().unpark(&task);
        }
        Ok(())
    }

    /// Ends the wait of who sleeps at the other end, who is to be unparked, and tells who waits for its events.
    #[inline(always)]
    fn take_ring_sleeper(
        &self,
        domain: &Domain<P>,
        handle: Handle,
    ) -> Result<Option<P::Task>, Error> {
        let (woken, watched) = {
            let mut tenant = domain.table.tenant(handle)?;
            let node = tenant.named(handle)?;
            domain.check_to_use(handle, node, Some(ObjectKind::RingEnd), Rights::SIGNAL)?;
            let Payload::RingEnd(ring, end) = node.object().payload() else {
                return Err(Error::WrongKind);
            };
            let woken = {
                let mut state = ring.state.lock();
                // As in a wait: who takes it away from above has this lock afterwards.
                if !mm::sabotaged!("ring_wake_without_recheck") {
                    node.check_allowed(domain.koid(), Rights::SIGNAL)?;
                }
                let peer = state.side_mut(end.peer());
                peer.messages += 1;
                peer.waiters.wake_first(Outcome::Ready)
            };
            let watched = ring.events(end.peer()).is_awaited(MOVED);
            (woken, watched.then(|| node.clone()))
        };
        self.platform().count(Counted::Message { bytes: 0 });
        if let Some(node) = watched {
            self.tell_of_move(&node);
        }
        Ok(woken)
    }

    #[cold]
    fn tell_of_move(&self, node: &Node<P>) {
        if let Payload::RingEnd(ring, end) = node.object().payload() {
            self.fire(ring.events(end.peer()), MOVED, 0);
        }
    }

    /// Wakes whoever sleeps at an end.
    pub(crate) fn wake_end(&self, ring: &Ring<P>, end: End) {
        let woken = {
            let mut state = ring.state.lock();
            state.side_mut(end).waiters.wake_first(Outcome::Ready)
        };
        if let Some(task) = woken {
            self.platform().unpark(&task);
        }
        self.fire(ring.events(end), MOVED, 0);
    }

    /// Ends the waits at an end whose capability is not their process's any more.
    pub(crate) fn end_ring_waits(&self, ring: &Ring<P>, end: End) {
        self.end_unheld_waits(&ring.state, |state| &mut state.side_mut(end).waiters);
    }
}

/// What holds for an end whose peer has moved its index.
const MOVED: Events = Events::READABLE.union(Events::WRITABLE);
