//! Which events an object can have, and which of them hold for it: computed from its state at each look.
//!
//! Lock rank: none of its own. Looking takes the lock of the object, of rank Queue or below.

use crate::rings::possible_ring_events;
use crate::{Events, Ipc, Payload, Platform};

/// Which events hold for an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// The events.
    pub events: abi::Events,
    /// Of `FAULTED`: the number of the thread. Else 0.
    pub value: u64,
}

impl Level {
    /// Of an object for which no event holds.
    pub const NONE: Level = Level::of(abi::Events::empty());

    /// A level without a value.
    pub const fn of(events: abi::Events) -> Level {
        Level { events, value: 0 }
    }
}

impl<P: Platform> Ipc<P> {
    /// Which events hold for an object. Takes its lock of rank Queue, if it has one.
    pub(crate) fn level_of(&self, payload: &Payload<P>) -> Level {
        match payload {
            Payload::Process(process) => self.platform().process_level(process),
            Payload::ChannelEnd(channel, side) => channel.level(*side),
            Payload::Thread(task) => self.platform().task_level(task),
            Payload::Notification(notification) => Level::of(notification.level()),
            Payload::RingEnd(ring, end) => Level::of(self.ring_level(ring, *end)),
            Payload::Hub(hub) => Level::of(hub.level()),
            Payload::HubMember(member, side) => Level::of(member.level(*side)),
            Payload::SubmissionRing(ring) => Level::of(self.submission_level(ring)),
            _ => Level::NONE,
        }
    }
}

impl<P: Platform> Payload<P> {
    /// Who waits for its events, if it can have any.
    pub(crate) fn events(&self) -> Option<&Events<P>> {
        match self {
            Payload::Process(process) => Some(P::process_events(process)),
            Payload::ChannelEnd(channel, side) => Some(channel.events(*side)),
            Payload::Thread(task) => Some(P::task_events(task)),
            Payload::Notification(notification) => Some(notification.events()),
            Payload::RingEnd(ring, end) => Some(ring.events(*end)),
            Payload::Hub(hub) => Some(hub.events()),
            Payload::HubMember(member, side) => Some(member.events(*side)),
            Payload::SubmissionRing(ring) => Some(ring.events()),
            _ => None,
        }
    }

    /// The events that it can have.
    pub(crate) fn possible_events(&self) -> abi::Events {
        match self {
            Payload::Process(_) => abi::Events::ENDED | abi::Events::FAULTED,
            Payload::ChannelEnd(..) => {
                abi::Events::READABLE | abi::Events::WRITABLE | abi::Events::PEER_CLOSED
            }
            Payload::Thread(_) => abi::Events::ENDED,
            Payload::Notification(_) => abi::Events::SIGNALED,
            Payload::RingEnd(ring, end) => possible_ring_events(ring, *end),
            Payload::Hub(_) => abi::Events::READABLE,
            Payload::HubMember(..) => abi::Events::PEER_CLOSED,
            Payload::SubmissionRing(_) => abi::Events::READABLE,
            _ => abi::Events::empty(),
        }
    }
}
