//! The thread of a submission ring serves it by itself, so that nobody has to enter the kernel for that.
//!
//! It takes entries slice by slice and lets others of its urgency run in between, as any thread of its
//! process does, and whenever there are none. When nothing has come for a while it says in the header that it
//! rests, looks once more, and sleeps. Two things can come: entries, and room for the completions of entries that
//! were left. Who publishes entries, or gives room back while entries are left, looks at the header afterwards; with
//! a full fence on both sides one of the two sees the other.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use abi::submission::Operation;
use abi::{Error, FOREVER, Handle, Rights};

use super::SubmissionRing;
use super::serve::Portion;
use crate::sync::fence;
use crate::{Capability, Domain, Ipc, Outcome, Platform};

impl<P: Platform> Ipc<P> {
    /// Serves a ring until it is gone, its capability does not allow that with SEND any more, or the task has to end;
    /// by the thread of the ring, which sleeps when nothing has come for `idle_ns`. `operate` as for
    /// [`enter_submissions`](Ipc::enter_submissions).
    pub fn poll_submissions(
        &self,
        domain: &Domain<P>,
        handle: Handle,
        idle_ns: u64,
        operate: impl Fn(Operation, [u64; 6]) -> Result<u64, Error>,
    ) {
        let Ok((_, ring)) = self.submission_ring(domain, handle, Rights::empty()) else {
            return;
        };
        let needed = match mm::sabotaged!("polled_by_what_was_reduced") {
            true => Rights::empty(),
            false => Rights::SEND,
        };
        if let Ok((by, _)) = self.submission_ring(domain, handle, needed) {
            self.poll_by(domain, &ring, &by, idle_ns, &operate);
        }
        // Nobody looks for entries from now on: who has some is to call, and is told why.
        let mut state = ring.state.lock();
        if !state.closed && !mm::sabotaged!("end_of_polling_not_noted") {
            state.resting = true;
            ring.submissions.note(self.platform(), state.notes());
        }
    }

    fn poll_by(
        &self,
        domain: &Domain<P>,
        ring: &Arc<SubmissionRing<P>>,
        by: &Capability<P>,
        idle_ns: u64,
        operate: &impl Fn(Operation, [u64; 6]) -> Result<u64, Error>,
    ) {
        let mut busy_ns = self.platform().now_ns();
        while !self.platform().pause() {
            let due = ring.has_due();
            match self.serve_submissions(domain, ring, by, Portion::Slice, operate) {
                Ok(0) | Err(Error::Busy | Error::PeerFault | Error::Interrupted) if !due => {}
                Ok(_) | Err(Error::Busy | Error::PeerFault | Error::Interrupted) => {
                    busy_ns = self.platform().now_ns();
                    continue;
                }
                // It is gone, or what allowed it is, and neither comes back.
                Err(_) if !mm::sabotaged!("polling_thread_goes_on_in_vain") => return,
                Err(_) => continue,
            }
            if self.platform().now_ns().saturating_sub(busy_ns) < idle_ns {
                // Whoever is as urgent and has something to do comes first.
                self.platform().give_way();
                continue;
            }
            let ticket = {
                let mut state = ring.state.lock();
                if state.closed {
                    return;
                }
                let Some(desk) = state.desk.as_ref() else {
                    continue;
                };
                let (head, looked_at, left_at) = (desk.head, desk.looked_at, desk.left_at);
                state.resting = true;
                ring.submissions.note(self.platform(), state.notes());
                // SYNC(submission.rest): the note is there before these looks; who publishes entries or gives
                // room back stores the tail or the head before it looks for the note.
                if !mm::sabotaged!("submission_rest_without_fence") {
                    fence(Ordering::SeqCst);
                }
                let tail = ring.submissions.tail(self.platform());
                // What was looked at and could not be taken does not keep it awake.
                let came = tail != head && tail != looked_at;
                let came = came && !mm::sabotaged!("submission_rest_without_look");
                // What was left for want of room does, once there is more than there was then.
                let room = left_at.is_some_and(|at| ring.completions.head(self.platform()) != at);
                let room = room && !mm::sabotaged!("submission_rest_without_look_at_room");
                let ticket = match came || room || !state.due.is_empty() {
                    true => Err(Error::WouldBlock),
                    false => {
                        let (task, node) = (self.platform().current_task(), &by.node);
                        state.server.enlist(task, node, domain.koid(), by.rights)
                    }
                };
                if ticket.is_err() {
                    state.resting = false;
                    ring.submissions.note(self.platform(), state.notes());
                }
                match ticket {
                    Ok(ticket) => ticket,
                    Err(Error::WouldBlock) => continue,
                    Err(_) => return,
                }
            };
            let slept = self.sleep_in(&ticket, FOREVER, &ring.state, |state| &mut state.server);
            if slept.is_err() {
                return;
            }
            ring.state.lock().resting = false;
            self.tell_notes(ring);
            busy_ns = self.platform().now_ns();
        }
    }

    /// Wakes the thread of a ring, if it sleeps, by who may serve it.
    pub(super) fn wake_server(
        &self,
        ring: &Arc<SubmissionRing<P>>,
        by: &Capability<P>,
    ) -> Result<(), Error> {
        let woken = {
            let mut state = ring.state.lock();
            self.may_serve(by)?;
            state.server.wake_first(Outcome::Ready)
        };
        if let Some(task) = woken {
            self.platform().unpark(&task);
        }
        Ok(())
    }
}
