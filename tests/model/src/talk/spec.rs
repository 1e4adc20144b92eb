//! Objects, capabilities, messages and offers, by value.

mod grants;
mod lineage;
mod messages;

use std::collections::VecDeque;

use abi::{Error, Mode, Rights};
use grants::Token;
pub use grants::{Given, Way};
pub use lineage::Told;
use messages::Message;

use crate::tree;
pub use crate::tree::Narrowed;

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Memory, whatever is in it.
    Region,
    /// Bits.
    Notification,
    /// One of the two ends of a channel.
    End(usize, usize),
    /// One of the two ends of a ring.
    RingEnd(usize, usize),
    /// What stands for a process, by its number.
    Process(usize),
}

/// Something that capabilities refer to.
#[derive(Clone, Copy, Debug)]
pub struct Object {
    /// What it is.
    pub kind: Kind,
    /// The bits that are set, of a notification.
    pub bits: u64,
    /// Nothing is left of it.
    pub gone: bool,
}

/// Who has a capability.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Holder {
    #[default]
    Nobody,
    /// A process, by number.
    Process(usize),
    /// A message or a token, which shares or copies.
    Offer,
    /// A message or a token, which moves.
    Transit,
}

/// One of the object of this number.
type Capability = tree::Capability<usize, Holder>;

/// A handle that was given out once.
#[derive(Clone, Copy, Debug)]
pub struct Issued {
    process: usize,
    capability: usize,
    dropped: bool,
}

/// A capability on its way.
#[derive(Clone, Copy, Debug)]
struct Carried {
    capability: usize,
    mode: Mode,
    /// The handle that it was sent by, and what that allowed.
    source: (usize, Rights),
}

#[derive(Clone, Debug)]
struct Channel {
    capacity: usize,
    /// What was sent to each end and not received.
    queues: [VecDeque<Message>; 2],
    /// Whether each end is gone.
    closed: [bool; 2],
    /// Who has the first capability of each end, or had it last.
    holders: [usize; 2],
}

#[derive(Clone, Copy, Debug)]
struct Ring {
    closed: [bool; 2],
    /// Who has each end, or had it last.
    holders: [usize; 2],
}

/// Everything there is. Numbers are places in these lists and are never used twice.
#[derive(Clone, Debug, Default)]
pub struct Spec {
    now: u64,
    ended: Vec<bool>,
    /// All objects.
    pub objects: Vec<Object>,
    capabilities: Vec<Capability>,
    /// All handles.
    pub handles: Vec<Issued>,
    /// In the order in which they were made.
    channels: Vec<Channel>,
    rings: Vec<Ring>,
    tokens: Vec<Token>,
    /// Handles for one use that the present call uses.
    claimed: Vec<usize>,
}

impl Spec {
    /// A process that has nothing.
    pub fn start(&mut self) -> usize {
        self.ended.push(false);
        self.ended.len() - 1
    }

    fn add(&mut self, kind: Kind) -> usize {
        self.objects.push(Object {
            kind,
            bits: 0,
            gone: false,
        });
        self.objects.len() - 1
    }

    /// The first capability of an object, which nobody has yet.
    fn root(&mut self, object: usize, rights: Rights) -> usize {
        self.capabilities.push(Capability::first(object, rights));
        self.capabilities.len() - 1
    }

    fn issue(&mut self, process: usize, capability: usize) -> usize {
        self.capabilities[capability].holder = Holder::Process(process);
        self.handles.push(Issued {
            process,
            capability,
            dropped: false,
        });
        self.handles.len() - 1
    }

    fn create(&mut self, process: usize, kind: Kind, rights: Rights) -> usize {
        let object = self.add(kind);
        let capability = self.root(object, rights);
        self.issue(process, capability)
    }

    /// A region.
    pub fn region(&mut self, process: usize) -> usize {
        self.create(process, Kind::Region, Rights::REGION)
    }

    /// A notification.
    pub fn notification(&mut self, process: usize) -> usize {
        self.create(process, Kind::Notification, Rights::NOTIFICATION)
    }

    /// What stands for a process.
    pub fn introduce(&mut self, process: usize, of: usize) -> usize {
        self.create(process, Kind::Process(of), Rights::PROCESS)
    }

    /// The two ends of a channel.
    pub fn channel(&mut self, process: usize, capacity: u64) -> [usize; 2] {
        self.channels.push(Channel {
            capacity: capacity as usize,
            queues: Default::default(),
            closed: [false; 2],
            holders: [process; 2],
        });
        let channel = self.channels.len() - 1;
        [0, 1].map(|side| self.create(process, Kind::End(channel, side), Rights::CHANNEL_END))
    }

    /// The two ends of a ring: who writes, who reads.
    pub fn ring(&mut self, process: usize) -> [usize; 2] {
        self.rings.push(Ring {
            closed: [false; 2],
            holders: [process; 2],
        });
        let ring = self.rings.len() - 1;
        let rights = [Rights::RING_PRODUCER, Rights::RING_CONSUMER];
        [0, 1].map(|side| self.create(process, Kind::RingEnd(ring, side), rights[side]))
    }

    /// What a handle stands for is moved to another process.
    pub fn give(&mut self, handle: usize, process: usize) -> usize {
        let Issued { capability, .. } = self.handles[handle];
        let rights = self.capabilities[capability].rights;
        let (mode, source) = (Mode::Move, (handle, rights));
        self.deliver(
            Carried {
                capability,
                mode,
                source,
            },
            process,
        )
    }

    /// The capability that a handle stands for.
    fn look_up(&self, handle: usize, needed: Rights) -> Result<usize, Error> {
        let issued = &self.handles[handle];
        if issued.dropped || self.ended[issued.process] {
            return Err(Error::BadHandle);
        }
        let capability = &self.capabilities[issued.capability];
        match capability.holder {
            _ if capability.revoked => Err(Error::Revoked),
            Holder::Transit => Err(Error::InTransit),
            holder if holder != Holder::Process(issued.process) => Err(Error::BadHandle),
            _ if !capability.rights.contains(needed) => Err(Error::Denied),
            _ => Ok(issued.capability),
        }
    }

    /// The same to use it: one for one use is this call's until that [ends](Spec::settle).
    fn use_by(&mut self, handle: usize, needed: Rights) -> Result<usize, Error> {
        let found = self.look_up(handle, needed)?;
        if self.capabilities[found].once {
            self.claimed.push(handle);
        }
        Ok(found)
    }

    /// A call has ended: what it used and was for one use is used up, if it succeeded.
    pub fn settle(&mut self, succeeded: bool) {
        for handle in std::mem::take(&mut self.claimed) {
            if succeeded {
                // It may be revoked already.
                let _ = self.drop_handle(handle);
            }
        }
    }

    fn kind_of(&self, capability: usize) -> Kind {
        self.objects[self.capabilities[capability].of].kind
    }

    /// To use one of a kind.
    fn use_kind(
        &mut self,
        handle: usize,
        needed: Rights,
        is: fn(Kind) -> bool,
    ) -> Result<usize, Error> {
        let found = self.look_up(handle, Rights::empty())?;
        match is(self.kind_of(found)) {
            true => self.use_by(handle, needed),
            false => Err(Error::WrongKind),
        }
    }

    fn end_of(&mut self, handle: usize, needed: Rights) -> Result<(usize, usize), Error> {
        let capability = self.use_kind(handle, needed, |kind| matches!(kind, Kind::End(..)))?;
        match self.kind_of(capability) {
            Kind::End(channel, side) => Ok((channel, side)),
            _ => Err(Error::WrongKind),
        }
    }

    fn notification_of(&mut self, handle: usize, needed: Rights) -> Result<&mut Object, Error> {
        let is = |kind| kind == Kind::Notification;
        let capability = self.use_kind(handle, needed, is)?;
        Ok(&mut self.objects[self.capabilities[capability].of])
    }

    /// Sets bits: those of the badge, if there is one, and no others.
    pub fn signal(&mut self, handle: usize, bits: u64) -> Result<(), Error> {
        let badge = self.capabilities[self.handles[handle].capability].badge;
        let notification = self.notification_of(handle, Rights::SIGNAL)?;
        let bits = match badge {
            0 if bits == 0 || bits >> 63 != 0 => return Err(Error::Invalid),
            0 => bits,
            _ if bits != 0 => return Err(Error::Invalid),
            badge => badge,
        };
        notification.bits |= bits;
        Ok(())
    }

    /// Takes the bits that are set.
    pub fn poll(&mut self, handle: usize) -> Result<u64, Error> {
        let notification = self.notification_of(handle, Rights::WAIT)?;
        match std::mem::take(&mut notification.bits) {
            0 => Err(Error::WouldBlock),
            bits => Ok(bits),
        }
    }

    /// A process ends: what it has is given back, what was offered to it returns.
    pub fn exit(&mut self, process: usize) {
        self.ended[process] = true;
        self.return_tokens(|token| token.to == process);
        for capability in &mut self.capabilities {
            if capability.holder == Holder::Process(process) {
                capability.holder = Holder::Nobody;
            }
        }
    }

    /// What nobody can reach any more is gone, and an end along with what was sent to it or offered there.
    /// Called after each step.
    pub fn collect(&mut self) {
        loop {
            let kept = self.kept();
            let mut alive = vec![false; self.objects.len()];
            for (at, capability) in self.capabilities.iter().enumerate() {
                alive[capability.of] |= kept[at];
            }
            let dies = |at: &usize| !alive[*at] && !self.objects[*at].gone;
            let Some(dead) = (0..alive.len()).find(dies) else {
                return;
            };
            self.objects[dead].gone = true;
            match self.objects[dead].kind {
                Kind::End(channel, side) => {
                    self.channels[channel].closed[side] = true;
                    for message in std::mem::take(&mut self.channels[channel].queues[side]) {
                        message
                            .carried
                            .into_iter()
                            .for_each(|one| self.take_back(one));
                    }
                    self.return_tokens(|token| token.at == Some((channel, side)));
                }
                Kind::RingEnd(ring, side) => self.rings[ring].closed[side] = true,
                Kind::Region | Kind::Notification | Kind::Process(_) => {}
            }
        }
    }

    /// How many handles a process has.
    pub fn handle_count(&self, process: usize) -> usize {
        let held = |issued: &&Issued| issued.process == process && !issued.dropped;
        self.handles.iter().filter(held).count()
    }

    /// How many objects there are.
    pub fn object_count(&self) -> u64 {
        self.objects.iter().filter(|object| !object.gone).count() as u64
    }
}
