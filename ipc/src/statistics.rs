//! What goes through objects, counted where it goes through.
//!
//! Messages are counted in what an object's own lock guards: plain numbers, so that counting costs an
//! addition. So are waits and wakes, in the [list](crate::Waiters) of those who wait; [`Traffic`] is the
//! sum. A [`Tally`] is part of every object. What counts at an object counts for the system, too ([`Counted`]), and once where it
//! counts at two: a copy does at its source when it is made, and at itself when it arrives. Invariant: no count ever goes back.

use core::ops::Add;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use abi::{Error, Handle, Mode, ObjectInfo, Rights};

use crate::{Domain, Ipc, Payload, Platform};

/// What went through something that takes messages, or that somebody waits at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Messages sent, signals given, packets told.
    pub messages: u64,
    /// Bytes of those messages.
    pub bytes: u64,
    /// Waits that ended because of what happened here.
    pub wakes: u64,
    /// Waits that began here.
    pub waits: u64,
}

/// What counts for the whole system; see [`Platform::count`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// A message of so many bytes, or a signal, a packet, an expiry of none.
    Message {
        /// Bytes.
        bytes: u64,
    },
    /// A message of four words that went to who waited for it from who waits from now on: a
    /// [`Message`](Counted::Message) of 32 bytes and a [`Wait`](Counted::Wait).
    Handed,
    /// So many completions of a submission ring: a [`Message`](Counted::Message) of no bytes each.
    Completions(u64),
    /// An entry of a submission ring that comes to nothing.
    Refused(Error),
    /// A wait that begins.
    Wait,
    /// An object that was handed over has arrived: of CopyOnWrite the snapshot, whose source counts only for itself.
    Transfer(Mode),
}

impl Traffic {
    /// Nothing so far.
    pub const NONE: Traffic = Traffic {
        messages: 0,
        bytes: 0,
        wakes: 0,
        waits: 0,
    };
}

impl Add for Traffic {
    type Output = Traffic;

    fn add(self, other: Traffic) -> Traffic {
        Traffic {
            messages: self.messages + other.messages,
            bytes: self.bytes + other.bytes,
            wakes: self.wakes + other.wakes,
            waits: self.waits + other.waits,
        }
    }
}

/// Messages that went one way.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Messages {
    count: u64,
    bytes: u64,
}

impl Messages {
    /// Counts a message of so many bytes.
    #[inline(always)]
    pub(crate) fn count(&mut self, bytes: u64) {
        self.count += 1;
        self.bytes += bytes;
    }

    /// They are all that went through.
    pub(crate) fn traffic(self) -> Traffic {
        Traffic {
            messages: self.count,
            bytes: self.bytes,
            ..Traffic::NONE
        }
    }
}

/// Kinds of refusal that are told apart.
const ERRORS: usize = 32;

const _: () = {
    let mut index = 0;
    while index < Error::ALL.len() {
        assert!((Error::ALL[index] as usize) < ERRORS);
        index += 1;
    }
};

/// What is counted of every object.
#[derive(Debug)]
pub(crate) struct Tally {
    transfers: [AtomicU64; 3],
    /// Each stops at its greatest number.
    refusals: [AtomicU32; ERRORS],
}

impl Tally {
    pub(crate) const fn new() -> Tally {
        Tally {
            transfers: [const { AtomicU64::new(0) }; 3],
            refusals: [const { AtomicU32::new(0) }; ERRORS],
        }
    }

    /// Counts that the object was handed over. Under the lineage lock, so nobody comes in between.
    #[inline(always)]
    pub(crate) fn count_transfer(&self, mode: Mode) {
        let count = &self.transfers[mode as usize];
        count.store(count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    fn count_refusal(&self, error: Error) {
        let count = &self.refusals[error as usize];
        // Where it stops, trying again would change nothing.
        let _ = count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| {
            count.checked_add(1)
        });
    }
}

impl<P: Platform> Ipc<P> {
    /// What has gone through an object since it was made; needs INSPECT. The counts go on meanwhile.
    pub fn object_info(&self, domain: &Domain<P>, handle: Handle) -> Result<ObjectInfo, Error> {
        let capability = domain.look_up(handle, None, Rights::INSPECT)?;
        let object = capability.object();
        let traffic = object.payload().traffic();
        let faults = match object.payload() {
            Payload::Process(process) => self.platform().faults_of(process),
            _ => object.region().map_or(0, |region| region.faults()),
        };
        // Whatever is told was so while this allowed to ask, so the rest is read before it is let go.
        let mut lineage = capability.stay()?;
        if mm::sabotaged!("object_info_read_after_letting_go") {
            drop(lineage);
            lineage = object.lineage.lock();
        }
        let capabilities = lineage.len() as u32;
        let tally = &object.tally;
        Ok(ObjectInfo {
            koid: object.koid(),
            kind: object.kind() as u32,
            capabilities,
            messages: traffic.messages,
            bytes: traffic.bytes,
            wakes: traffic.wakes,
            waits: traffic.waits,
            faults,
            transfers: tally.transfers.each_ref().map(load),
            refusals: tally
                .refusals
                .each_ref()
                .map(|count| count.load(Ordering::Relaxed).into()),
        })
    }

    /// The number of the object that `handle` stands for, if any. It is no use of the capability. For a
    /// trace, with no lock held.
    pub fn koid_of(&self, domain: &Domain<P>, handle: Handle) -> Option<u64> {
        let koid = domain.table.with(handle, |node| Ok(node.object().koid()));
        koid.ok()
    }

    /// Counts that a call on what `handle` stands for was refused. What names nothing counts nothing.
    /// For the embedder, where it answers a call, with no lock held.
    #[cold]
    pub fn count_refusal(&self, domain: &Domain<P>, handle: Handle, error: Error) {
        let _ = domain.table.with(handle, |node| {
            node.object().tally.count_refusal(error);
            Ok(())
        });
    }
}

fn load(count: &AtomicU64) -> u64 {
    count.load(Ordering::Relaxed)
}
