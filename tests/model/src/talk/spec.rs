//! Objects and messages, by value.

mod messages;

use std::collections::VecDeque;

use abi::{Error, Rights};
use messages::Message;

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Memory, whatever is in it.
    Region,
    /// Bits.
    Notification,
    /// One of the two ends of a channel.
    End(usize, usize),
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holder {
    Nobody,
    /// A process, by number.
    Process(usize),
    /// A message, which shares or copies.
    Message,
    /// A message, which moves.
    Transit,
}

#[derive(Clone, Copy, Debug)]
struct Capability {
    object: usize,
    parent: Option<usize>,
    rights: Rights,
    holder: Holder,
    revoked: bool,
}

/// A handle that was given out once.
#[derive(Clone, Copy, Debug)]
pub struct Issued {
    process: usize,
    capability: usize,
    dropped: bool,
}

#[derive(Clone, Debug)]
struct Channel {
    capacity: usize,
    /// What was sent to each end and not received.
    queues: [VecDeque<Message>; 2],
    /// Whether each end is gone.
    closed: [bool; 2],
}

/// Everything there is. Numbers are places in these lists and are never used twice.
#[derive(Clone, Debug, Default)]
pub struct Spec {
    ended: Vec<bool>,
    /// All objects.
    pub objects: Vec<Object>,
    capabilities: Vec<Capability>,
    /// All handles.
    pub handles: Vec<Issued>,
    /// In the order in which they were made.
    channels: Vec<Channel>,
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

    fn grow(&mut self, object: usize, parent: Option<usize>, rights: Rights) -> usize {
        self.capabilities.push(Capability {
            object,
            parent,
            rights,
            holder: Holder::Nobody,
            revoked: false,
        });
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
        let capability = self.grow(object, None, rights);
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

    /// The two ends of a channel, of which each process gets one.
    pub fn channel(&mut self, processes: [usize; 2], capacity: u64) -> [usize; 2] {
        self.channels.push(Channel {
            capacity: capacity as usize,
            queues: Default::default(),
            closed: [false; 2],
        });
        let channel = self.channels.len() - 1;
        [0, 1].map(|side| {
            let kind = Kind::End(channel, side);
            self.create(processes[side], kind, Rights::CHANNEL_END)
        })
    }

    /// What a handle stands for is moved to another process.
    pub fn give(&mut self, handle: usize, process: usize) -> usize {
        self.handles[handle].dropped = true;
        let capability = self.handles[handle].capability;
        self.issue(process, capability)
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

    /// The rights and the object of a handle.
    pub fn known(&self, handle: usize) -> Result<(Rights, usize), Error> {
        let capability = &self.capabilities[self.look_up(handle, Rights::empty())?];
        Ok((capability.rights, capability.object))
    }

    /// The same of one of a kind.
    fn look_up_kind(
        &self,
        handle: usize,
        needed: Rights,
        is: fn(Kind) -> bool,
    ) -> Result<usize, Error> {
        let found = self.look_up(handle, Rights::empty())?;
        match is(self.objects[self.capabilities[found].object].kind) {
            true => self.look_up(handle, needed),
            false => Err(Error::WrongKind),
        }
    }

    fn end_of(&self, handle: usize, needed: Rights) -> Result<(usize, usize), Error> {
        let is_end = |kind| matches!(kind, Kind::End(..));
        let capability = self.look_up_kind(handle, needed, is_end)?;
        match self.objects[self.capabilities[capability].object].kind {
            Kind::End(channel, side) => Ok((channel, side)),
            _ => Err(Error::WrongKind),
        }
    }

    /// Whether each capability is kept. Those below have higher numbers than what they came from.
    fn kept(&self) -> Vec<bool> {
        let held = |c: &Capability| !c.revoked && c.holder != Holder::Nobody;
        let mut kept: Vec<bool> = self.capabilities.iter().map(held).collect();
        for at in (0..kept.len()).rev() {
            if let (true, Some(parent)) = (kept[at], self.capabilities[at].parent) {
                kept[parent] = true;
            }
        }
        kept
    }

    fn below(&self, top: usize) -> Vec<bool> {
        let mut below = vec![false; self.capabilities.len()];
        for (at, capability) in self.capabilities.iter().enumerate() {
            below[at] = capability
                .parent
                .is_some_and(|parent| parent == top || below[parent]);
        }
        below
    }

    /// Makes a capability below what a handle stands for.
    pub fn derive(&mut self, handle: usize, rights: Rights) -> Result<usize, Error> {
        let parent = self.look_up(handle, Rights::DUPLICATE)?;
        let child = self.below_of(parent, rights);
        Ok(self.issue(self.handles[handle].process, child))
    }

    fn below_of(&mut self, parent: usize, rights: Rights) -> usize {
        let above = self.capabilities[parent];
        self.grow(above.object, Some(parent), above.rights & rights)
    }

    /// Gives a handle back.
    pub fn drop_handle(&mut self, handle: usize) -> Result<(), Error> {
        match self.look_up(handle, Rights::empty()) {
            Ok(capability) => self.capabilities[capability].holder = Holder::Nobody,
            Err(Error::Revoked) => {}
            Err(error) => return Err(error),
        }
        self.handles[handle].dropped = true;
        Ok(())
    }

    /// Takes back what was derived, and tells how many that were.
    pub fn revoke(&mut self, handle: usize) -> Result<u64, Error> {
        let capability = self.look_up(handle, Rights::REVOKE)?;
        let (kept, below) = (self.kept(), self.below(capability));
        let mut count = 0;
        for (at, capability) in self.capabilities.iter_mut().enumerate() {
            capability.revoked |= below[at];
            count += u64::from(kept[at] && below[at]);
        }
        Ok(count)
    }

    /// Sets bits.
    pub fn signal(&mut self, handle: usize, bits: u64) -> Result<(), Error> {
        let is = |kind| kind == Kind::Notification;
        let capability = self.look_up_kind(handle, Rights::SIGNAL, is)?;
        if bits == 0 || bits >> 63 != 0 {
            return Err(Error::Invalid);
        }
        self.objects[self.capabilities[capability].object].bits |= bits;
        Ok(())
    }

    /// Takes the bits that are set.
    pub fn poll(&mut self, handle: usize) -> Result<u64, Error> {
        let is = |kind| kind == Kind::Notification;
        let capability = self.look_up_kind(handle, Rights::WAIT, is)?;
        match std::mem::take(&mut self.objects[self.capabilities[capability].object].bits) {
            0 => Err(Error::WouldBlock),
            bits => Ok(bits),
        }
    }

    /// A process ends: what it has is given back.
    pub fn exit(&mut self, process: usize) {
        self.ended[process] = true;
        for capability in &mut self.capabilities {
            if capability.holder == Holder::Process(process) {
                capability.holder = Holder::Nobody;
            }
        }
    }

    /// What nobody can reach any more is gone, and an end along with what was sent to it. Called after
    /// each step.
    pub fn collect(&mut self) {
        loop {
            let kept = self.kept();
            let mut alive = vec![false; self.objects.len()];
            for (at, capability) in self.capabilities.iter().enumerate() {
                alive[capability.object] |= kept[at];
            }
            let dies = |at: &usize| !alive[*at] && !self.objects[*at].gone;
            let Some(dead) = (0..alive.len()).find(dies) else {
                return;
            };
            self.objects[dead].gone = true;
            if let Kind::End(channel, side) = self.objects[dead].kind {
                self.channels[channel].closed[side] = true;
                for message in std::mem::take(&mut self.channels[channel].queues[side]) {
                    self.take_back(message);
                }
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
