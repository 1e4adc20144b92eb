//! Who wants to be told of what happens to an object.
//!
//! Nothing is remembered here of what has happened: whether an event holds is computed from the state
//! of the object itself. Whoever waits enlists first and looks at the state afterwards; whoever
//! changes the state changes it first and tells afterwards, outside of its lock. So nobody
//! misses anything, and telling neither allocates nor fails.
//!
//! Lock rank: Events. Nothing of the object is locked with it; the ports that are told are.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::sync::atomic::Ordering;

use abi::{Error, Handle, Rights};
use mm::lock::{Lock, Rank};

use crate::binding::Binding;
use crate::submission::Told;
use crate::sync::{AtomicU32, fence};
use crate::wait::Ticket;
use crate::{Counted, Domain, Ipc, Level, Node, Object, Payload, Platform, Traffic, Waiters};

/// What the list of bindings keeps room for, however few it has.
const FEW: usize = 16;

/// Bindings that are told in one hold of the lock.
const AT_ONCE: usize = 8;

/// Those who wait for events of an object.
pub struct Events<P: Platform> {
    /// At least the events that somebody waits for, so that telling nobody is one look.
    interest: AtomicU32,
    state: Lock<State<P>>,
}

struct State<P: Platform> {
    waiters: Waiters<P>,
    /// Each knows its place.
    bindings: Vec<Arc<Binding<P>>>,
    /// Bindings that have left since the others were asked what they wait for.
    left: usize,
}

impl<P: Platform> Events<P> {
    /// Nobody.
    pub fn new() -> Events<P> {
        Events {
            interest: AtomicU32::new(0),
            state: Lock::new(
                Rank::Events,
                State {
                    waiters: Waiters::new(),
                    bindings: Vec::new(),
                    left: 0,
                },
            ),
        }
    }

    /// Notes under the lock that somebody waits for some events; who does looks at the level next.
    fn add_interest(&self, wanted: abi::Events) {
        self.interest.fetch_or(wanted.bits(), Ordering::Relaxed);
        // SYNC(events.interest): of a state that is read without a lock; pairs with `fire_unlocked`.
        if !mm::sabotaged!("event_awaited_without_fence") {
            fence(Ordering::SeqCst);
        }
    }

    /// Forgets under the lock what nobody waits for any more.
    fn update_interest(&self, state: &State<P>) {
        if state.waiters.is_empty() {
            let bindings = state.bindings.iter();
            let wanted = bindings.fold(0, |wanted, binding| wanted | binding.events().bits());
            self.interest.store(wanted, Ordering::Relaxed);
        }
    }

    /// Whether somebody may wait for one of some events.
    #[inline(always)]
    pub(crate) fn is_awaited(&self, happened: abi::Events) -> bool {
        self.interest.load(Ordering::Relaxed) & happened.bits() != 0
    }

    /// Whether a port is told of one of some events.
    pub fn is_watched(&self, wanted: abi::Events) -> bool {
        let interest = self.interest.load(Ordering::Relaxed);
        if interest & wanted.bits() == 0 {
            return false;
        }
        let state = self.state.lock();
        let mut bindings = state.bindings.iter();
        let told =
            |binding: &Arc<Binding<P>>| binding.events().intersects(wanted) && binding.is_held();
        let by_port = |binding: &Arc<Binding<P>>| {
            binding.is_of_port() || mm::sabotaged!("faults_held_by_an_entry")
        };
        bindings.any(|binding| by_port(binding) && told(binding))
    }

    /// Has a binding told, unless its port has let it go. `Limit`, `NoMemory`, or why its capability is not
    /// there any more.
    pub(crate) fn watch(&self, binding: &Arc<Binding<P>>) -> Result<(), Error> {
        let mut state = self.state.lock();
        // A revoke marks its nodes first and looks through the list afterwards.
        binding.check_held()?;
        if !binding.is_bound() {
            return Ok(());
        }
        if state.bindings.len() >= binding.most_watches() {
            return Err(Error::Limit);
        }
        let room = state.bindings.try_reserve(1);
        room.map_err(|_| Error::NoMemory)?;
        binding.set_place(Some(state.bindings.len()));
        state.bindings.push(binding.clone());
        self.add_interest(binding.events());
        Ok(())
    }

    /// Has a binding told no more, if it was.
    pub(crate) fn unwatch(&self, platform: &P, binding: &Binding<P>) {
        let mut state = self.state.lock();
        if let Some(at) = binding.place() {
            self.remove(platform, &mut state, at);
        }
    }

    /// The same of the last binding before a place whose capability is not its process's any more. What
    /// leaves the list meanwhile leaves its place to the last, which was looked at or still is before.
    pub(crate) fn unwatch_unheld(
        &self,
        platform: &P,
        before: &mut usize,
    ) -> Option<Arc<Binding<P>>> {
        let mut state = self.state.lock();
        let end = state.bindings.len().min(*before);
        let mut bindings = state.bindings[..end].iter();
        *before = bindings.rposition(|binding| !binding.is_held())?;
        Some(self.remove(platform, &mut state, *before))
    }

    fn remove(&self, platform: &P, state: &mut State<P>, at: usize) -> Arc<Binding<P>> {
        let binding = state.bindings.swap_remove(at);
        binding.set_place(None);
        if let Some(moved) = state.bindings.get(at) {
            moved.set_place(Some(at));
        }
        let count = state.bindings.len();
        if state.bindings.capacity() > FEW.max(4 * count) && mm::may_shrink(platform) {
            mm::shrink_to(&mut state.bindings, 2 * count);
        }
        // Many are asked what they wait for when as many have left, so that the end of all takes no longer than there are.
        // Until then who tells may find nobody.
        state.left += 1;
        let count = state.bindings.len();
        if count <= state.left + FEW || mm::sabotaged!("interest_asked_at_each_end") {
            debug_assert!(count <= state.left + FEW, "more are asked than have left");
            self.update_interest(state);
            state.left = 0;
        }
        binding
    }

    /// The waits for events.
    pub(crate) fn traffic(&self) -> Traffic {
        self.state.lock().waiters.traffic()
    }

    fn withdraw(&self, ticket: &Ticket<P>) {
        let mut state = self.state.lock();
        state.waiters.withdraw(ticket);
        self.update_interest(&state);
    }
}

impl<P: Platform> Default for Events<P> {
    fn default() -> Self {
        Events::new()
    }
}

impl<P: Platform> fmt::Debug for Events<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let interest = self.interest.load(Ordering::Relaxed);
        f.debug_struct("Events")
            .field("interest", &abi::Events::from_bits_truncate(interest))
            .finish_non_exhaustive()
    }
}

impl<P: Platform> Ipc<P> {
    /// Tells everybody who waits for one of these events of an object whose level is read without a lock. Its
    /// state was stored before. Called as [`fire`](Ipc::fire).
    pub fn fire_unlocked(&self, events: &Events<P>, happened: abi::Events, value: u64) {
        // SYNC(events.interest): who says that it waits before this fence is seen below, and who does after it
        // sees the state.
        if !mm::sabotaged!("event_told_without_fence") {
            fence(Ordering::SeqCst);
        }
        self.fire(events, happened, value);
    }

    /// Tells everybody who waits for one of these events. The state of the object has changed before,
    /// under a lock that its level is read under. Called
    /// without that lock, or another of rank `Events` or above.
    #[inline]
    pub fn fire(&self, events: &Events<P>, happened: abi::Events, value: u64) {
        // SYNC(events.interest): who enlisted before it looked at the level, whose lock came before
        // ours, is seen here; who looked after us has seen the change.
        if events.is_awaited(happened) {
            self.tell(events, happened, value);
        }
    }

    #[cold]
    fn tell(&self, events: &Events<P>, happened: abi::Events, value: u64) {
        let level = Level {
            events: happened,
            value,
        };
        let mut from = usize::MAX;
        while from > 0 {
            from = self.tell_ports(events, level, from);
        }
        self.wake_batches(|batch| {
            let mut state = events.state.lock();
            state.waiters.wake_matching(happened.bits(), value, batch);
            events.update_interest(&state);
        });
    }

    /// Tells some of the bindings before a place, the last first, and returns the place before which the
    /// rest are. What leaves the list meanwhile leaves its place to the last, which has been told.
    fn tell_ports(&self, events: &Events<P>, level: Level, before: usize) -> usize {
        let mut woken = [const { None }; AT_ONCE];
        let from = {
            let state = events.state.lock();
            let before = before.min(state.bindings.len());
            let from = before.saturating_sub(AT_ONCE);
            for (binding, woken) in state.bindings[from..before].iter().zip(&mut woken) {
                if binding.events().intersects(level.events) && binding.is_held() {
                    *woken = binding.tell(level);
                }
            }
            from
        };
        woken
            .into_iter()
            .flatten()
            .for_each(|told| self.pass_on(told));
        from
    }

    /// Tells whom something concerns that a binding was told of. As [`fire`](Ipc::fire).
    pub(crate) fn pass_on(&self, told: Told<P>) {
        if let Some(task) = told.task {
            self.platform().unpark(&task);
        }
        // Nothing in a submission ring waits for another, so this goes no deeper.
        if let Some(ring) = told.ring {
            self.tell_notes(&ring);
            self.fire(ring.events(), abi::Events::READABLE, 0);
        }
    }

    /// Ends all waits at an object, and all bindings of it, whose capability is not their process's any
    /// more or does not allow them any more: waits with `Revoked` if it was revoked, `Denied` if it was
    /// reduced, else with `Cancelled`. Called after the capabilities were taken away or reduced, with no
    /// lock of rank Queue or above. `left` is one that was given away, and may come back.
    #[inline(always)]
    pub(crate) fn complete_revoked_waits(&self, object: &Object<P>, left: Option<&Node<P>>) {
        // Nobody waits at memory.
        if object.kind() != abi::ObjectKind::Region {
            self.complete_revoked_waits_at(object.payload(), left);
        }
    }

    fn complete_revoked_waits_at(&self, payload: &Payload<P>, left: Option<&Node<P>>) {
        match payload {
            Payload::Notification(notification) => self.end_notification_waits(notification),
            Payload::Port(port) => self.end_port_waits(port),
            Payload::Hub(hub) => self.end_hub_waits(hub),
            Payload::ChannelEnd(channel, side) => self.end_channel_waits(channel, *side, left),
            Payload::RingEnd(ring, end) => self.end_ring_waits(ring, *end),
            Payload::SubmissionRing(ring) => self.end_submission_waits(ring),
            _ => {}
        }
        let Some(events) = payload.events() else {
            return;
        };
        self.wake_batches(|batch| {
            let mut state = events.state.lock();
            state.waiters.wake_unheld(batch);
            events.update_interest(&state);
        });
        self.end_unheld_bindings(events);
    }

    /// Waits until one of the events holds for an object, and returns those that do.
    ///
    /// # Errors
    /// `Invalid`: no event; `Unsupported`: one that such an object does not have; `WouldBlock`: the
    /// deadline is 0; those of a look-up with WAIT and of [`sleep`](Ipc::sleep).
    pub fn wait_object(
        &self,
        domain: &Domain<P>,
        handle: Handle,
        wanted: abi::Events,
        deadline_ns: u64,
    ) -> Result<abi::Events, Error> {
        let capability = domain.look_up(handle, None, Rights::WAIT)?;
        let payload = capability.object().payload();
        if wanted.is_empty() {
            return Err(Error::Invalid);
        }
        let events = payload.events().ok_or(Error::Unsupported)?;
        if !payload.possible_events().contains(wanted) {
            return Err(Error::Unsupported);
        }
        let holding = || {
            let level = self.level_of(payload).events & wanted;
            (!level.is_empty()).then_some(level)
        };
        if let Some(level) = holding() {
            return capability.tell(level);
        }
        if deadline_ns == 0 {
            return Err(capability.refuse(Error::WouldBlock));
        }
        let task = self.platform().current_task();
        let ticket = {
            let mut state = events.state.lock();
            let ticket = state.waiters.enlist_for(
                task,
                &capability.node,
                domain.koid(),
                Rights::WAIT,
                wanted.bits(),
            )?;
            events.add_interest(wanted);
            ticket
        };
        if let Some(level) = holding()
            && !mm::sabotaged!("event_before_enlisting_missed")
        {
            events.withdraw(&ticket);
            // It began, and is over.
            if !mm::sabotaged!("wait_that_is_over_not_counted") {
                self.platform().count(Counted::Wait);
            }
            return match mm::sabotaged!("event_after_enlisting_told_without_recheck") {
                true => Ok(level),
                false => capability.tell(level),
            };
        }
        if let Err(error) = self.sleep(&ticket, deadline_ns) {
            events.withdraw(&ticket);
            return Err(error);
        }
        Ok(abi::Events::from_bits_truncate(ticket.words()[0] as u32))
    }
}
