//! Channels: messages of bytes and capabilities between two ends, calls and their answers.
//!
//! Each end has a queue of messages that were sent to it, all places of which are there from the
//! beginning; a lock for each guards the queue and who waits at it. An end is an object of its own,
//! closed with its last capability: what was sent to it and not received goes back to who sent it, or
//! ends.
//!
//! A message can carry an end only of a channel that is younger than the one it goes over. So what
//! lies in queues can't lead round to itself, and channels can't keep each other alive
//! (docs/adr/0022).
//!
//! Calls of four words don't lie in the queue when somebody serves: caller and server
//! [meet](meeting) under the lock of the end, and the words go from the one to the other
//! (docs/adr/0027).
//!
//! Invariants kept here (docs/INVARIANTS.md): I5, I9, I10, I11. Lock ranks: Queue for the state of an
//! end, of which never two are held; above it Calls for the call that a [right to reply](reply)
//! answers, and Waits for the cells of the tasks that wait.

mod again;
mod answer;
mod call;
mod close;
mod end;
mod hand;
mod limit;
mod loan;
mod meeting;
mod message;
mod queue;
mod ready;
mod receive;
mod reply;
mod rounds;
mod send;
mod serve;
mod traffic;
mod words;

use alloc::sync::Arc;
use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};

use abi::limits::MAX_CHANNEL_MESSAGES;
use abi::{ChannelEnds, ChannelInfo, Error, Handle, ObjectKind, Resources, Rights, cost};
use mm::Charge;
use mm::lock::{Lock, Rank};

use self::end::{EndOf, unheld};
use self::limit::Limits;
use self::meeting::Meeting;
use self::queue::{BLOCK, Packet, Queue};
use self::ready::{Departures, Left, Ready};
use crate::Level;
use crate::domain::Peer;
use crate::events::Events;
use crate::grants::First;
use crate::statistics::Messages;
use crate::wait::Outcome;
use crate::waiters::Waiters;
use crate::{Domain, Ipc, Node, Payload, Platform};

pub use self::again::NEXT_REPLY;
pub use self::hand::CallCell;
pub use self::limit::{Limits as ChannelLimits, Passage};
pub(crate) use self::message::check_goes_over;
pub use self::message::{Outgoing, Preview, Received};
pub use self::reply::{Fit, Reply};

/// Which of the two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelSide {
    /// One.
    First = 0,
    /// The other.
    Second = 1,
}

impl ChannelSide {
    /// The other one.
    pub const fn peer(self) -> ChannelSide {
        match self {
            ChannelSide::First => ChannelSide::Second,
            ChannelSide::Second => ChannelSide::First,
        }
    }
}

/// Two ends, and what is on the way between them.
pub struct Channel<P: Platform> {
    sides: [Side<P>; 2],
    _charge: Charge,
}

/// One end.
struct Side<P: Platform> {
    koid: u64,
    /// The domain that has the first capability of the end, or had it last.
    holder: AtomicU64,
    inbox: Lock<Inbox<P>>,
    events: Events<P>,
    /// Those that are to be accepted at this end.
    grants: First,
    /// The next of the ends that are being closed together.
    grave: Lock<Option<(Arc<Channel<P>>, ChannelSide)>>,
}

/// What was sent to an end, and who waits for that to change.
struct Inbox<P: Platform> {
    queue: Queue<P>,
    /// This end is gone: nobody receives.
    closed: bool,
    /// The other one is gone: nothing comes any more.
    peer_closed: bool,
    /// What may be sent to here, which is what the other end is limited to.
    limits: Limits,
    /// Who receives here and is told what comes, and those behind.
    ready: Ready<P>,
    receivers: Waiters<P>,
    departures: Departures,
    /// Who receives words here, and whose call that is.
    meeting: Meeting<P>,
    /// Those at the other end who wait for a place.
    senders: Waiters<P>,
    /// Those at the other end who wait for their limit to let them.
    limited: Waiters<P>,
    /// Those at the other end who wait for an answer.
    callers: Waiters<P>,
    /// Messages that were put into the queue.
    sent: Messages,
    /// Answers to callers at the other end, but for those of words that met who called.
    answered: Messages,
}

impl<P: Platform> Inbox<P> {
    /// Whoever waits for a message and is to look. Those who take any message come first.
    fn wake_receiver(&mut self) -> Option<P::Task> {
        self.end_receiver(Outcome::Ready)
    }

    /// Whether nothing is here to be received and nobody waits for it, while something may come.
    #[inline(always)]
    fn is_idle(&self) -> bool {
        self.queue.is_empty()
            && self.ready.is_nobody()
            && self.receivers.is_empty()
            && !self.peer_closed
    }

    /// Ends the wait of one who waits for a message.
    fn end_receiver(&mut self, outcome: Outcome) -> Option<P::Task> {
        let woken = self.ready.end(outcome);
        let woken = woken.or_else(|| self.receivers.wake_first(outcome));
        woken.or_else(|| self.end_server(outcome, Left::NOTHING))
    }

    /// The same of who serves.
    fn end_server(&mut self, outcome: Outcome, left: Left) -> Option<P::Task> {
        let woken = self.meeting.end_server(outcome, left)?;
        self.receivers.count_wake();
        Some(woken)
    }

    /// Whoever waits for a place, if there is one.
    #[inline(always)]
    fn wake_sender(&mut self) -> Option<P::Task> {
        if self.senders.is_empty() {
            return None;
        }
        self.wake_first_sender()
    }

    #[cold]
    fn wake_first_sender(&mut self) -> Option<P::Task> {
        if !self.queue.has_room() {
            return None;
        }
        self.senders.wake_first(Outcome::Ready)
    }
}

impl<P: Platform> Channel<P> {
    /// The number of an end.
    pub fn koid(&self, side: ChannelSide) -> u64 {
        self.side(side).koid
    }

    /// Whether it was made after another one.
    fn is_younger_than(&self, other: &Channel<P>) -> bool {
        self.sides[0].koid > other.sides[0].koid || mm::sabotaged!("cycle_not_refused")
    }

    /// Who waits for events of an end.
    pub fn events(&self, side: ChannelSide) -> &Events<P> {
        &self.side(side).events
    }

    /// The events that hold for an end at this moment.
    pub fn level(&self, side: ChannelSide) -> Level {
        let mut events = abi::Events::empty();
        {
            let inbox = self.inbox(side).lock();
            events.set(abi::Events::READABLE, !inbox.queue.is_empty());
            events.set(abi::Events::PEER_CLOSED, inbox.peer_closed);
        }
        let outbox = self.inbox(side.peer()).lock();
        events.set(
            abi::Events::WRITABLE,
            outbox.queue.has_room() && !outbox.closed,
        );
        Level::of(events)
    }

    /// The domain at the other end of an end.
    pub(crate) fn peer_of(&self, side: ChannelSide) -> Peer {
        let holder = self.side(side.peer()).holder.load(Ordering::Acquire);
        match self.inbox(side).lock().peer_closed {
            false => Peer::Present(holder),
            true => Peer::Gone(holder),
        }
    }

    pub(crate) fn set_holder(&self, side: ChannelSide, domain: u64) {
        self.side(side).holder.store(domain, Ordering::Release);
    }

    /// Whether nobody can receive or accept anything at an end any more.
    pub(crate) fn is_closed(&self, side: ChannelSide) -> bool {
        self.inbox(side).lock().closed
    }

    /// What is pending to be accepted at an end.
    pub(crate) fn grants(&self, side: ChannelSide) -> &First {
        &self.side(side).grants
    }

    fn side(&self, side: ChannelSide) -> &Side<P> {
        &self.sides[side as usize]
    }

    fn inbox(&self, side: ChannelSide) -> &Lock<Inbox<P>> {
        &self.side(side).inbox
    }
}

impl<P: Platform> fmt::Debug for Channel<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel")
            .field("first", &self.sides[0].koid)
            .field("second", &self.sides[1].koid)
            .finish_non_exhaustive()
    }
}

impl<P: Platform> Ipc<P> {
    /// A channel whose ends `domain` has, each with room for `capacity` messages. The domain pays for
    /// all of it, wherever the ends go. `Invalid`: not 1 to [`MAX_CHANNEL_MESSAGES`]; `Quota`,
    /// `NoMemory`, `Limit`: nothing is left of it.
    pub fn create_channel(&self, domain: &Domain<P>, capacity: u32) -> Result<ChannelEnds, Error> {
        const {
            // A lock of loom is larger.
            let lists = 2 * (MAX_CHANNEL_MESSAGES as usize / BLOCK) * size_of::<usize>();
            assert!(cfg!(loom) || (size_of::<Channel<P>>() + lists + 16) as u64 <= cost::CHANNEL);
            assert!(size_of::<Packet<P>>() as u64 <= cost::MESSAGE);
        }
        if !(1..=MAX_CHANNEL_MESSAGES).contains(&capacity) {
            return Err(Error::Invalid);
        }
        let capacity = capacity as usize;
        let places = 2 * capacity.next_multiple_of(BLOCK) as u64;
        let bytes = cost::CHANNEL + places * cost::MESSAGE;
        let charge = domain.account().charge(Resources::bytes(bytes))?;
        let side = || {
            Ok(Side {
                koid: self.memory.next_koid(),
                holder: AtomicU64::new(domain.koid()),
                inbox: Lock::new(
                    Rank::Queue,
                    Inbox {
                        queue: Queue::new(self.platform(), capacity)?,
                        closed: false,
                        peer_closed: false,
                        limits: Limits::NONE,
                        ready: Ready::new(),
                        receivers: Waiters::new(),
                        departures: Departures::new(),
                        meeting: Meeting::new(),
                        senders: Waiters::new(),
                        limited: Waiters::new(),
                        callers: Waiters::new(),
                        sent: Messages::default(),
                        answered: Messages::default(),
                    },
                ),
                events: Events::new(),
                grants: First::new(),
                grave: Lock::new(Rank::Queue, None),
            })
        };
        let channel = mm::shared(Channel {
            sides: [side()?, side()?],
            _charge: charge,
        });
        let end = |side| {
            (
                Payload::ChannelEnd(channel.clone(), side),
                Rights::CHANNEL_END,
            )
        };
        let ends = [end(ChannelSide::First), end(ChannelSide::Second)];
        let [first, second] = self.install_both(domain, ends)?;
        Ok(ChannelEnds { first, second })
    }

    /// Facts about an end.
    pub fn channel_info(&self, domain: &Domain<P>, end: Handle) -> Result<ChannelInfo, Error> {
        let by = domain.look_up(end, Some(ObjectKind::ChannelEnd), Rights::INSPECT)?;
        let Payload::ChannelEnd(channel, side) = by.object().payload() else {
            return Err(Error::WrongKind);
        };
        let side = *side;
        let (capacity, queued, peer_closed) = {
            let inbox = channel.inbox(side).lock();
            (inbox.queue.capacity(), inbox.queue.len(), inbox.peer_closed)
        };
        let outbox = channel.inbox(side.peer()).lock();
        let facts = ChannelInfo {
            koid: channel.koid(side),
            peer: channel.koid(side.peer()),
            capacity: capacity as u32,
            queued: queued as u32,
            peer_queued: outbox.queue.len() as u32,
            peer_closed: peer_closed.into(),
            message_rate: outbox.limits.message_rate(),
            byte_rate: outbox.limits.byte_rate(),
        };
        drop(outbox);
        by.tell(facts)
    }

    /// Ends all waits through capabilities of an end that were revoked, reduced or given away; which one
    /// was, if one was.
    pub(crate) fn end_channel_waits(
        &self,
        channel: &Channel<P>,
        side: ChannelSide,
        left: Option<&Node<P>>,
    ) {
        let (inbox, outbox) = (channel.inbox(side), channel.inbox(side.peer()));
        self.end_unheld_waits(inbox, |inbox| &mut inbox.receivers);
        self.end_looking_waits(inbox, left);
        self.end_unheld_waits(outbox, |outbox| &mut outbox.senders);
        self.end_unheld_waits(outbox, |outbox| &mut outbox.limited);
        self.end_unheld_waits(outbox, |outbox| &mut outbox.callers);
        self.end_unheld_call(outbox);
    }
}
