//! Serving a submission ring: who enters takes the desk, and with it entries, one by one or a chain at once.

use alloc::boxed::Box;
use alloc::sync::Arc;

use abi::submission::{MAX_CHAIN, Operation, Submission, SubmissionFlags};
use abi::{Error, Events, Handle, Rights};

use super::desk::Desk;
use super::{Facts, SubmissionRing};
use crate::{Capability, Counted, Domain, Ipc, Outcome, Platform};

/// Entries after which others may run, and what was done is published.
const SLICE: u32 = 64;

/// How many of the entries that are there are taken. What is linked belongs together as far as it is taken.
#[derive(Clone, Copy)]
pub(super) enum Portion {
    /// So many at most.
    UpTo(u32),
    /// About a slice: a chain that begins in it is taken with it.
    Slice,
}

/// Whoever serves a ring, in the name of its domain. `F` makes the system calls.
pub(super) struct Server<'a, P: Platform, F> {
    pub(super) ipc: &'a Ipc<P>,
    pub(super) domain: &'a Domain<P>,
    pub(super) ring: &'a Arc<SubmissionRing<P>>,
    /// By what it does so.
    pub(super) by: &'a Capability<P>,
    pub(super) desk: Box<Desk<P>>,
    pub(super) operate: &'a F,
    /// The platform is told of each entry.
    pub(super) watched: bool,
    /// The platform was told that the entry which is completed next begins.
    pub(super) begun: bool,
    /// Completions that had been posted when somebody was told of it last.
    told: u64,
    /// Of the slice, what was done before entries are taken.
    spent: u32,
}

impl<P: Platform> Ipc<P> {
    /// Has up to `submit` entries of a ring served and waits until at least `wait_for` completions are
    /// there to be taken; with SEND. Returns how many entries were taken; 0 of a ring with a thread, which
    /// is woken. `operate` makes the system
    /// call of an operation, which must not wait: it gets 0 as deadline.
    ///
    /// # Errors
    /// If no entry was taken: `Busy`: somebody else serves the ring; `PeerFault`: an index that the
    /// process wrote can't be; `Invalid`: more completions than there is room for; `WouldBlock`: too few,
    /// and the deadline is 0; those of a look-up and of [`sleep`](Ipc::sleep). Entries are taken in slices of
    /// 64 and the rest of a chain that began among them: of one that a revoke or reduce finds taken, all are done, and
    /// none of another one.
    pub fn enter_submissions(
        &self,
        domain: &Domain<P>,
        handle: Handle,
        submit: u32,
        wait_for: u32,
        deadline_ns: u64,
        operate: impl Fn(Operation, [u64; 6]) -> Result<u64, Error>,
    ) -> Result<u64, Error> {
        let (capability, ring) = self.submission_ring(domain, handle, Rights::SEND)?;
        if wait_for > ring.geometry.completions {
            return Err(Error::Invalid);
        }
        let polled = ring.is_polled();
        if polled {
            self.wake_server(&ring, &capability)?;
        }
        let taken = match submit {
            _ if polled => 0,
            0 => 0,
            _ => {
                let portion = Portion::UpTo(submit);
                self.serve_submissions(domain, &ring, &capability, portion, &operate)?
            }
        };
        if wait_for == 0 {
            if submit > 0 || polled {
                return Ok(taken.into());
            }
            if !ring.has_due() {
                return capability.tell(0);
            }
        }
        let mut out_of_time = (deadline_ns == 0).then_some(Error::WouldBlock);
        let waited = loop {
            if !polled && ring.has_due() {
                let none = Portion::UpTo(0);
                match self.serve_submissions(domain, &ring, &capability, none, &operate) {
                    Err(error) if error != Error::Busy => break Err(error),
                    _ => {}
                }
            }
            let ticket = {
                let mut state = ring.state.lock();
                if state.closed {
                    break Err(Error::Cancelled);
                }
                match self.completions_of(&ring) {
                    Ok(count) if count >= wait_for => break Ok(()),
                    Ok(_) => {}
                    Err(error) => break Err(error),
                }
                if let Some(error) = out_of_time {
                    break Err(error);
                }
                if !polled && !state.due.is_empty() && state.desk.is_some() {
                    drop(state);
                    if self.platform().pause() {
                        break Err(Error::Interrupted);
                    }
                    continue;
                }
                let task = self.platform().current_task();
                let node = &capability.node;
                let waiters = &mut state.waiters;
                match waiters.enlist(task, node, domain.koid(), Rights::SEND) {
                    Ok(ticket) => ticket,
                    Err(error) => break Err(error),
                }
            };
            let slept = self.sleep_in(&ticket, deadline_ns, &ring.state, |state| {
                &mut state.waiters
            });
            match slept {
                Ok(()) => {}
                // What came before that counts, told or not.
                Err(Error::TimedOut) if !mm::sabotaged!("deadline_without_last_look") => {
                    out_of_time = Some(Error::TimedOut);
                }
                Err(error) => break Err(error),
            }
        };
        // Who was woken to serve and could not leaves it to the next.
        let next = ring.state.lock().wake_for_due();
        if let Some(task) = next {
            self.platform().unpark(&task);
        }
        match waited {
            // What was found in the ring is told by a capability that allows it; why a wait ended is said as it was.
            Err(error @ (Error::WouldBlock | Error::PeerFault)) if taken == 0 => {
                Err(capability.refuse(error))
            }
            Err(error) if taken == 0 => Err(error),
            _ => Ok(taken.into()),
        }
    }

    /// Whether a capability allows to go on, which whoever takes it away or reduces it finds out: under the lock of
    /// the state, which that one takes afterwards.
    pub(super) fn may_serve(&self, by: &Capability<P>) -> Result<(), Error> {
        match mm::sabotaged!("entries_by_what_was_reduced") {
            true => Ok(()),
            false => by.check(),
        }
    }

    /// Looks at what is due, and takes a portion of the entries, a slice at a time as long as the capability allows
    /// it; returns how many. `Busy`, `PeerFault`; `Cancelled`: the ring is gone; why the capability does not.
    pub(super) fn serve_submissions(
        &self,
        domain: &Domain<P>,
        ring: &Arc<SubmissionRing<P>>,
        by: &Capability<P>,
        portion: Portion,
        operate: &impl Fn(Operation, [u64; 6]) -> Result<u64, Error>,
    ) -> Result<u32, Error> {
        let (desk, due) = {
            let mut state = ring.state.lock();
            if state.closed {
                return Err(Error::Cancelled);
            }
            self.may_serve(by)?;
            let due = state.due.len();
            (state.desk.take().ok_or(Error::Busy)?, due)
        };
        let told = desk.posted;
        let mut server = Server {
            ipc: self,
            domain,
            ring,
            by,
            desk,
            operate,
            watched: self.platform().watches_entries(),
            begun: false,
            told,
            spent: 0,
        };
        let looked = match due {
            0 => Ok(()),
            due => server.look_at_due(due),
        };
        let taken = looked.and_then(|()| server.take(portion));
        let (desk, told) = (server.desk, server.told);
        desk.publish(ring, self.platform());
        self.give_desk_back(ring, desk, told);
        taken
    }

    fn give_desk_back(&self, ring: &Arc<SubmissionRing<P>>, desk: Box<Desk<P>>, told: u64) {
        let count = desk.posted - told;
        let posted = count > 0;
        if posted {
            self.platform().count(Counted::Completions(count));
        }
        let (closed, waits, due, woken) = {
            let mut state = ring.state.lock();
            state.facts = Facts {
                pending: desk.waiting(),
                taken: desk.taken,
                posted: desk.posted,
            };
            match state.closed {
                true => (Some(desk), false, false, None),
                false => {
                    let waits = posted && !state.waiters.is_empty();
                    state.desk = Some(desk);
                    let woken = if waits { None } else { state.wake_for_due() };
                    (None, waits, !state.due.is_empty(), woken)
                }
            }
        };
        if let Some(mut desk) = closed {
            self.clear_desk(ring, &mut desk);
            return;
        }
        if waits {
            self.end_all_waits(Outcome::Ready, &ring.state, |state| &mut state.waiters);
        }
        if let Some(task) = woken {
            self.platform().unpark(&task);
        }
        // Who was told of what is due while the desk was out may have found it so.
        if posted || due && !mm::sabotaged!("left_due_not_told") {
            self.fire(&ring.events, Events::READABLE, 0);
        }
    }

    /// Tells whoever waits for completions that there are more, by who serves on.
    #[cold]
    fn tell_posted(&self, ring: &SubmissionRing<P>, count: u64) {
        self.platform().count(Counted::Completions(count));
        self.end_all_waits(Outcome::Ready, &ring.state, |state| &mut state.waiters);
        self.fire(&ring.events, Events::READABLE, 0);
    }
}

impl<P: Platform> SubmissionRing<P> {
    /// Whether an operation is to be looked at.
    pub(super) fn has_due(&self) -> bool {
        !self.state.lock().due.is_empty()
    }
}

impl<P: Platform, F> Server<'_, P, F>
where
    F: Fn(Operation, [u64; 6]) -> Result<u64, Error>,
{
    /// Takes a portion of the entries; returns how many. `PeerFault` if none was.
    fn take(&mut self, portion: Portion) -> Result<u32, Error> {
        let (submit, ends_at) = match portion {
            Portion::UpTo(0) => return Ok(0),
            Portion::UpTo(submit) => (submit, submit),
            Portion::Slice if mm::sabotaged!("slice_cuts_chain") => (SLICE, SLICE),
            Portion::Slice => (u32::MAX, SLICE),
        };
        let (ring, machine) = (self.ring, self.ipc.platform());
        let (tail, head) = (ring.submissions.tail(machine), self.desk.head);
        let there = match mm::sabotaged!("submission_index_not_wrapped") {
            true => tail.saturating_sub(head),
            false => tail.wrapping_sub(head),
        };
        self.desk.looked_at = tail;
        self.desk.left_at = None;
        if there > ring.submissions.capacity() {
            return Err(Error::PeerFault);
        }
        // What was judged, and no other tail that is there by now.
        let there = match mm::sabotaged!("submission_tail_read_twice") {
            true => ring.submissions.tail(machine).wrapping_sub(self.desk.head),
            false => there,
        };
        let most = there.min(submit);
        let (mut taken, mut slice) = (0, SLICE.saturating_sub(self.spent));
        while taken < most.min(ends_at) {
            if taken >= slice {
                slice = taken + SLICE;
                let says_why = taken == 0 && !mm::sabotaged!("used_up_slice_says_nothing");
                match self.end_slice() {
                    Ok(()) => {}
                    Err(error) if says_why => return Err(error),
                    Err(_) => break,
                }
            }
            let one = match self.take_next(most - taken) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if taken == 0 => return Err(error),
                Err(_) => break,
            };
            taken += one;
        }
        Ok(taken)
    }

    /// Publishes what was done, tells who waits for it, and lets others run. True: the task has to end.
    pub(super) fn pause(&mut self) -> bool {
        self.desk.publish(self.ring, self.ipc.platform());
        let count = self.desk.posted - self.told;
        if count > 0 && !mm::sabotaged!("completions_told_at_the_end") {
            self.told = self.desk.posted;
            self.ipc.tell_posted(self.ring, count);
        }
        self.ipc.platform().pause()
    }

    /// Between two slices. `Interrupted`: the task has to end; or why the capability does not allow the next.
    fn end_slice(&mut self) -> Result<(), Error> {
        if self.pause() {
            return Err(Error::Interrupted);
        }
        let _state = self.ring.state.lock();
        self.ipc.may_serve(self.by)
    }

    /// Takes one entry, or a chain, of at most `most` that are there. 0: no cell can be kept for it.
    #[inline(always)]
    fn take_next(&mut self, most: u32) -> Result<u32, Error> {
        let (ring, machine) = (self.ring, self.ipc.platform());
        let entry = ring.submissions.entry(machine, self.desk.head);
        let linked = entry.flags & SubmissionFlags::LINK.bits() != 0;
        if linked || self.desk.cut {
            return self.take_chain(entry, most);
        }
        if !self.desk.keep(ring, machine, 1)? {
            return Ok(0);
        }
        self.desk.head = self.desk.head.wrapping_add(1);
        self.desk.taken += 1;
        self.run(&entry, &[]);
        Ok(1)
    }

    /// Takes a chain of entries, which ends at the latest with the last one that is there.
    #[cold]
    fn take_chain(&mut self, first: Submission, most: u32) -> Result<u32, Error> {
        let (ring, machine) = (self.ring, self.ipc.platform());
        let mut chain = core::mem::take(&mut self.desk.chain);
        chain.clear();
        chain.push(first);
        let is_linked = |entry: &Submission| entry.flags & SubmissionFlags::LINK.bits() != 0;
        while chain.last().is_some_and(is_linked)
            && chain.len() < MAX_CHAIN
            && (chain.len() as u32) < most
        {
            let at = self.desk.head.wrapping_add(chain.len() as u32);
            chain.push(ring.submissions.entry(machine, at));
        }
        let count = chain.len() as u32;
        let kept = self.desk.keep(ring, machine, count);
        if kept != Ok(true) {
            self.desk.chain = chain;
            return kept.map(|_| 0);
        }
        self.desk.head = self.desk.head.wrapping_add(count);
        self.desk.taken += u64::from(count);
        let goes_on = chain.last().is_some_and(is_linked) && chain.len() == MAX_CHAIN;
        let begins = !core::mem::replace(&mut self.desk.cut, goes_on && count < most);
        if begins && !self.desk.cut {
            self.run_chain(&chain);
        } else {
            // One that is too long is refused, all of it.
            let why = if begins {
                Error::TooLarge
            } else {
                Error::Cancelled
            };
            self.complete::<true>(&chain[0], Err(why));
            self.cancel_rest(&chain[1..]);
        }
        self.desk.chain = chain;
        Ok(count)
    }

    /// Looks at the first `count` operations that are due and goes on with their chains, a slice at a time as entries
    /// are taken. Fails where no more may be done; what is left stays due.
    #[cold]
    fn look_at_due(&mut self, count: usize) -> Result<(), Error> {
        let looked = (0..count).try_for_each(|_| {
            if self.spent >= SLICE && !mm::sabotaged!("due_in_one_slice") {
                self.spent = 0;
                self.end_slice()?;
            }
            let key = self.ring.state.lock().next_due();
            if let Some(key) = key {
                self.spent += self.look_at(key);
            }
            Ok(())
        });
        self.ipc.tell_notes(self.ring);
        looked
    }
}
