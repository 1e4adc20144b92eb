//! The other side of calls in [words](super::words): a server answers one and waits for the next, in
//! one hold of one lock.
//!
//! The right to answer the next call gets the place of the one that is used up, which the server keeps
//! while it waits. So nothing can be missing when a call comes.

use abi::{Error, Handle, ObjectKind, Rights, Words};
use mm::lock::Lock;

use super::loan::NO_LOAN;
use super::{EndOf, Inbox, unheld};
use crate::table::Kept;
use crate::wait::Ticket;
use crate::{Domain, Ipc, Node, Payload, Platform};

/// What a server has before it may wait.
enum Next<P: Platform> {
    /// Words, and the right to answer if they are a call.
    Taken(Option<Node<P>>),
    /// It has slept where somebody may have handed it a call.
    Served,
    /// It has slept among others.
    Slept,
}

impl<P: Platform> Ipc<P> {
    /// Answers a call, if there is one, and takes the next message of four words that was sent to an
    /// end, waiting for it for ever. An answer that nobody waits for is lost, and so is one that the caller does
    /// not take, which gets `TooLarge`.
    ///
    /// # Errors
    /// What is wrong with `end` or `reply`, and then nothing was done; else as of
    /// [`receive`](Ipc::receive), and the answer was given. `TooLarge`: what is next is not four words,
    /// and stays.
    pub fn serve_words(
        &self,
        domain: &Domain<P>,
        end: Handle,
        reply: Handle,
        words: [u64; 4],
    ) -> Result<Words, Error> {
        match self.answer_and_serve_on(domain, (end, reply), words) {
            Some(served) => served,
            None => self.serve_anyhow(domain, end, reply, words),
        }
    }

    /// Serves where there is nothing to answer, or what is to be answered is looked for once more to say what is
    /// wrong with it.
    #[cold]
    fn serve_anyhow(
        &self,
        domain: &Domain<P>,
        end: Handle,
        reply: Handle,
        words: [u64; 4],
    ) -> Result<Words, Error> {
        self.platform().with_current_task(|task| {
            if reply != Handle::NONE {
                let right = self.use_up(domain, reply)?;
                if let Ok(woken) = self.answer_words_by(&right, words) {
                    self.platform().unpark(&woken);
                }
            }
            let reply = self.serve_on(domain, end, task, None)?;
            Ok(found::<P>(task, reply))
        })
    }

    /// Answers a call by a right that was taken, if its caller still waits, and serves on, where both can't be
    /// done at once.
    #[cold]
    pub(super) fn answer_apart(
        &self,
        domain: &Domain<P>,
        (end, reply): (Handle, Handle),
        (right, kept): (Node<P>, Option<Kept>),
        missed: Result<(), Error>,
        words: [u64; 4],
    ) -> Result<Words, Error> {
        let served = self.platform().with_current_task(|task| {
            let reply = match missed {
                Ok(()) => self.serve_on(domain, end, task, kept)?,
                Err(_) => match self.channel_end(domain, end, Rights::RECEIVE) {
                    Ok(end) => {
                        let woken = self.answer_words_by(&right, words).ok();
                        self.serve_by(domain, &end, task, woken, kept)?
                    }
                    Err(_) => {
                        right.pass(domain.koid());
                        domain.table.put_back(reply, kept, right);
                        // `end` may be `reply`.
                        self.channel_end(domain, end, Rights::RECEIVE)?;
                        return Err(Error::BadHandle);
                    }
                },
            };
            Ok(found::<P>(task, reply))
        });
        self.settle(domain, served.is_ok());
        served
    }

    /// What follows a wait that did not end with a call in hand and a place for the right to answer.
    #[cold]
    pub(super) fn after_serving(
        &self,
        domain: &Domain<P>,
        end: Handle,
        task: &P::Task,
        slept: Result<(), Error>,
        kept: Option<Kept>,
    ) -> Result<Handle, Error> {
        if let Some(right) = P::call_cell(task).take_handed() {
            let place = place_for(domain, kept).inspect_err(|_| self.lose(&right))?;
            return Ok(install(domain, &place, right));
        }
        let left = |node: &Node<P>| match node.object().payload() {
            Payload::ChannelEnd(channel, side) => {
                let inbox = channel.inbox(*side).lock();
                Ok(inbox.departures.has(node, P::wait_cell(task)))
            }
            _ => Ok(false),
        };
        let slept = match domain.table.with(end, left) {
            Ok(true) => slept.and(Err(Error::Cancelled)),
            _ => slept,
        };
        if let Err(error) = slept {
            // As when a caller leaves.
            let _ = domain.table.with(end, |node| {
                if let Payload::ChannelEnd(channel, side) = node.object().payload() {
                    channel.inbox(*side).lock().meeting.leave_server(task);
                }
                Ok(())
            });
            if let Some(place) = kept {
                domain.table.lock().give_back(&place);
            }
            return Err(error);
        }
        let served = self.serve_on(domain, end, task, kept);
        self.settle(domain, served.is_ok());
        served.map_err(unheld)
    }

    /// Waits as [`serve_by`](Ipc::serve_by) an end that is looked up first.
    #[cold]
    fn serve_on(
        &self,
        domain: &Domain<P>,
        end: Handle,
        task: &P::Task,
        kept: Option<Kept>,
    ) -> Result<Handle, Error> {
        match self.channel_end(domain, end, Rights::RECEIVE) {
            Ok(end) => self.serve_by(domain, &end, task, None, kept),
            Err(error) => {
                if let Some(place) = kept {
                    domain.table.lock().give_back(&place);
                }
                Err(error)
            }
        }
    }

    /// Waits for words from the queue or from whoever calls, which the current task finds in its cell.
    /// `woken` is somebody who is to go on, at the latest when this sleeps.
    #[cold]
    fn serve_by(
        &self,
        domain: &Domain<P>,
        end: &EndOf<P>,
        task: &P::Task,
        mut woken: Option<P::Task>,
        kept: Option<Kept>,
    ) -> Result<Handle, Error> {
        let served = place_for(domain, kept).and_then(|place| {
            let next = self.next_words(domain, end, task, &mut woken);
            if let Ok(Some(right)) = next {
                return Ok(install(domain, &place, right));
            }
            domain.table.lock().give_back(&place);
            next.map(|_| Handle::NONE)
        });
        // Whoever did not go on while this slept does now.
        if let Some(task) = woken {
            self.platform().unpark(&task);
        }
        served
    }

    fn next_words(
        &self,
        domain: &Domain<P>,
        end: &EndOf<P>,
        task: &P::Task,
        woken: &mut Option<P::Task>,
    ) -> Result<Option<Node<P>>, Error> {
        let (channel, side) = end.parts()?;
        let inbox = channel.inbox(side);
        loop {
            let next = self.take_words(domain, end, inbox, task, woken);
            let next = next.inspect_err(|_| {
                // Whatever it was told of is another's to take.
                self.wake_next_receiver(inbox);
            })?;
            if let Next::Taken(right) = next {
                return Ok(right);
            }
            if let Some(right) = P::call_cell(task).take_handed() {
                return Ok(Some(right));
            }
            let has_left = || {
                let departures = &inbox.lock().departures;
                departures.has(&end.node, P::wait_cell(task))
            };
            if matches!(next, Next::Served) && has_left() {
                return Err(Error::Cancelled);
            }
        }
    }

    /// Takes words from the queue, or sleeps until there may be some there or in hand.
    fn take_words(
        &self,
        domain: &Domain<P>,
        end: &EndOf<P>,
        inbox: &Lock<Inbox<P>>,
        task: &P::Task,
        woken: &mut Option<P::Task>,
    ) -> Result<Next<P>, Error> {
        let mut state = inbox.lock();
        end.check(domain)?;
        if let Some((packet, _)) = state.queue.first() {
            if !packet.is_words() {
                return Err(Error::TooLarge);
            }
            let was_full = !state.queue.has_room();
            let right = state.queue.pop().and_then(|packet| {
                let [a, b, c, d] = packet.words();
                P::wait_cell(task).set_words([a, b, c, d, packet.badge]);
                packet.reply.take()
            });
            let sender = state.wake_sender();
            drop(state);
            let (channel, side) = end.parts()?;
            self.tell_room(channel, side, was_full, sender);
            return Ok(Next::Taken(right));
        }
        if state.peer_closed {
            return Err(Error::PeerClosed);
        }
        // One task meets callers; others look after it.
        let (ticket, next) = match state.meeting.has_no_server() {
            true => {
                state.meeting.serve(task, NO_LOAN);
                (Ticket { task: task.clone() }, Next::Served)
            }
            false => {
                let (task, node) = (task.clone(), &end.node);
                let receivers = &mut state.receivers;
                let listed = receivers.enlist(task, node, domain.koid(), Rights::RECEIVE);
                (listed.map_err(unheld)?, Next::Slept)
            }
        };
        drop(state);
        let slept = match woken.take() {
            Some(woken) => self.sleep_unparking(&woken, &ticket, abi::FOREVER),
            None => self.sleep(&ticket, abi::FOREVER),
        };
        if slept.is_err() {
            let mut state = inbox.lock();
            state.meeting.leave_server(task);
            state.receivers.withdraw(&ticket);
        }
        slept.map(|()| next)
    }
}

/// What a task was woken with.
#[inline(always)]
pub(super) fn found<P: Platform>(task: &P::Task, reply: Handle) -> Words {
    let [a, b, c, d, badge, _] = P::wait_cell(task).words();
    Words {
        words: [a, b, c, d],
        reply,
        badge,
    }
}

/// The place that was kept, or another.
fn place_for<P: Platform>(domain: &Domain<P>, kept: Option<Kept>) -> Result<Kept, Error> {
    match kept {
        Some(place) => Ok(place),
        None => domain.table.lock().keep(),
    }
}

/// Gives a right to reply to a domain, in a place of its table that was kept for it.
#[inline(always)]
pub(super) fn install<P: Platform>(domain: &Domain<P>, place: &Kept, right: Node<P>) -> Handle {
    right.pass(domain.koid());
    domain.table.fill(place, ObjectKind::Reply, right)
}
