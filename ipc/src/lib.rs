//! The IPC of Handover: capabilities, their lineage, transfers, and ring objects, over the regions
//! of `mm`.
//!
//! A program names objects by *handles*, which are slots in the table of its [`Domain`]. Behind
//! each is a [`Node`] in the lineage tree of its [`Object`]: the path by which the authority came,
//! which a revoke can cut. Handing over is *begin* (check everything), *clear* (take the sender's
//! access away and wait until every CPU has acknowledged) and *deliver* (let the receiver in), in
//! this order.
//!
//! Like `mm`, it knows neither privileged instructions nor the scheduler: an embedder provides
//! [`Platform`].
//!
//! Invariants kept here (docs/INVARIANTS.md): I4, I5, I6, I9, I13. Lock ranks: capability table and
//! its places, grants, lineage, limits, then those of `mm`, then a hub, then the queue of a ring end.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod alarms;
mod authority;
mod bell;
mod binding;
mod channel;
mod chunks;
mod copy;
mod deeds;
mod devices;
mod domain;
mod events;
mod grants;
mod hub;
mod interrupt;
mod level;
mod limits;
mod lineage;
mod node;
mod notification;
mod object;
mod part;
mod places;
mod platform;
mod port;
mod regions;
mod revoke;
mod rings;
mod statistics;
mod submission;
mod sync;
mod table;
mod timer;
mod transfer;
mod wait;
mod waiters;

use alloc::boxed::Box;
use core::sync::atomic::{AtomicU64, Ordering};

use abi::limits::MAX_CPUS;
use mm::Memory;
use mm::lock::{Lock, Rank};

pub use channel::{
    CallCell, Channel, ChannelLimits, ChannelSide, Fit, NEXT_REPLY, Outgoing, Passage, Preview,
    Received, Reply,
};
use timer::TimerQueue;

pub use devices::Resource;
pub use domain::Domain;
pub use events::Events;
pub use hub::{Hub, Member, MemberSide};
pub use interrupt::{Interrupt, Line};
pub use level::Level;
pub use limits::Narrowing;
pub use node::Node;
pub use notification::Notification;
pub use object::{ImageInfo, Object, Payload};
pub use part::Part;
pub use platform::{Moment, Parked, Platform};
pub use port::Port;
pub use rings::Ring;
pub use statistics::{Counted, Traffic};
pub use submission::{Registrar, SubmissionRing};
pub use table::Capability;
pub use timer::{Timer, following_ns};
pub use transfer::Offer;
pub use wait::{Outcome, Ticket, WAIT_WORDS, WaitCell};
pub use waiters::Waiters;

/// The IPC of one machine.
pub struct Ipc<P: Platform> {
    memory: Memory<P>,
    grants: Lock<grants::Grants<P>>,
    timed: Lock<limits::Timed<P>>,
    /// When the first of those ends.
    lapse_ns: AtomicU64,
    objects: AtomicU64,
    /// The timers of each CPU.
    alarms: Box<[Lock<TimerQueue<P>>]>,
}

impl<P: Platform> Ipc<P> {
    /// The IPC of `platform`.
    pub fn new(platform: P) -> Ipc<P> {
        Ipc {
            memory: Memory::new(platform),
            grants: Lock::new(Rank::Grants, grants::Grants::new()),
            timed: Lock::new(Rank::Limits, limits::Timed::new()),
            lapse_ns: AtomicU64::new(abi::FOREVER),
            objects: AtomicU64::new(0),
            alarms: (0..MAX_CPUS)
                .map(|_| Lock::new(Rank::Alarms, TimerQueue::new()))
                .collect(),
        }
    }

    /// Its memory.
    pub fn memory(&self) -> &Memory<P> {
        &self.memory
    }

    /// The platform.
    pub fn platform(&self) -> &P {
        self.memory.machine()
    }

    /// Objects that exist.
    pub fn object_count(&self) -> u64 {
        self.objects.load(Ordering::Relaxed)
    }
}
