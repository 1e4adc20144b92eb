//! What is handed over, by value: begun, delivered, or gone back; and messages.

use abi::{Error, Mode, Rights};

use super::{Capability, Carried, Holder, Kind, Spec};
use crate::tree::Budget;

#[derive(Clone, Debug)]
pub(super) struct Message {
    word: u64,
    badge: u64,
    pub(super) carried: Vec<Carried>,
}

/// What was received: the word, the badge of what it was sent with, and a handle for each capability
/// that was not revoked on the way.
pub type Received = (u64, u64, Vec<Option<usize>>);

/// How something is to be handed over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Handing {
    pub(super) mode: Mode,
    /// What the receiver may do at most.
    pub(super) rights: Rights,
    /// Whether what is below it is taken back first.
    pub(super) revokes: bool,
    /// The channel over which it goes, if it has to be younger.
    pub(super) over: Option<usize>,
    /// The capability over which it goes, if that has to stay.
    pub(super) via: Option<usize>,
}

impl Spec {
    /// Sends a message without waiting.
    pub fn send(&mut self, end: usize, word: u64, loads: &[(Mode, usize)]) -> Result<(), Error> {
        for (at, (mode, handle)) in loads.iter().enumerate() {
            let again = loads[..at].iter().find(|(_, other)| other == handle);
            if again.is_some_and(|(other, _)| [*mode, *other].contains(&Mode::Move)) {
                return Err(Error::Overlap);
            }
        }
        let (channel, side) = self.end_of(end, Rights::SEND)?;
        let there = 1 - side;
        if self.channels[channel].closed[there] {
            return Err(Error::PeerClosed);
        }
        if self.channels[channel].queues[there].len() == self.channels[channel].capacity {
            return Err(Error::Full);
        }
        let before = self.clone();
        let badge = self.capabilities[self.handles[end].capability].badge;
        let mut carried = Vec::new();
        for (mode, handle) in loads {
            let handing = Handing {
                mode: *mode,
                rights: Rights::all(),
                revokes: false,
                over: Some(channel),
                via: None,
            };
            match self.begin(*handle, handing) {
                Ok(begun) => carried.push(begun),
                Err(error) => {
                    // All or nothing.
                    *self = before;
                    return Err(error);
                }
            }
        }
        self.channels[channel].queues[there].push_back(Message {
            word,
            badge,
            carried,
        });
        Ok(())
    }

    /// One capability on its way.
    pub(super) fn begin(&mut self, handle: usize, how: Handing) -> Result<Carried, Error> {
        let found = match how.mode {
            Mode::Share => self.use_by(handle, Rights::empty())?,
            Mode::Move | Mode::CopyOnWrite => self.look_up(handle, Rights::empty())?,
        };
        let kind = self.kind_of(found);
        if let (Kind::End(sent, _), Some(over)) = (kind, how.over)
            && sent <= over
        {
            return Err(Error::Invalid);
        }
        if how.revokes && how.via.is_some_and(|via| self.below(found)[via]) {
            return Err(Error::Invalid);
        }
        let before = self.capabilities[found].rights;
        let capability = match how.mode {
            Mode::Share => {
                let parent = self.look_up(handle, Rights::GRANT | Rights::DUPLICATE)?;
                self.derive_from(parent, how.rights, Budget::Usual)?
            }
            Mode::Move => {
                let mut needed = Rights::GRANT | Rights::MOVE;
                needed.set(Rights::REVOKE, how.revokes);
                let moved = self.look_up(handle, needed)?;
                if self.claimed.contains(&handle) {
                    return Err(Error::Busy);
                }
                self.check_move(moved, before & how.rights, how.revokes)?;
                if how.revokes {
                    self.kill(&self.below(moved));
                }
                self.capabilities[moved].rights = before & how.rights;
                moved
            }
            Mode::CopyOnWrite => {
                if kind != Kind::Region {
                    return Err(Error::WrongKind);
                }
                self.use_by(handle, Rights::GRANT | Rights::READ | Rights::DUPLICATE)?;
                let copy = self.add(Kind::Region);
                self.root(copy, Rights::REGION & how.rights)
            }
        };
        self.capabilities[capability].holder = match how.mode {
            Mode::Move => Holder::Transit,
            Mode::Share | Mode::CopyOnWrite => Holder::Offer,
        };
        Ok(Carried {
            capability,
            mode: how.mode,
            source: (handle, before),
        })
    }

    /// Whether a capability may be moved with these rights: nobody else may have access to memory, and
    /// nothing below it may be left with more. What is below may have what it likes if it is revoked first.
    fn check_move(&self, moved: usize, rights: Rights, revokes: bool) -> Result<(), Error> {
        let object = self.capabilities[moved].of;
        let memory = self.objects[object].kind == Kind::Region;
        let (kept, below) = (self.kept(), self.below(moved));
        let access = |c: &Capability| {
            let held = c.holder != Holder::Nobody && !c.revoked;
            held && c.rights.intersects(Rights::ACCESS)
        };
        for (at, other) in self.capabilities.iter().enumerate() {
            if at == moved || other.of != object || revokes && below[at] {
                continue;
            }
            let exceeds = kept[at] && below[at] && !rights.contains(other.rights);
            if exceeds || memory && access(other) {
                return Err(Error::Shared);
            }
        }
        Ok(())
    }

    /// Gives what was handed over to a process.
    pub(super) fn deliver(&mut self, carried: Carried, process: usize) -> usize {
        if carried.mode == Mode::Move {
            self.handles[carried.source.0].dropped = true;
        }
        let is_first = self.capabilities[carried.capability].parent.is_none();
        match self.kind_of(carried.capability) {
            // Who has another one speaks for nobody.
            Kind::End(channel, side) if is_first => self.channels[channel].holders[side] = process,
            Kind::RingEnd(ring, side) => self.rings[ring].holders[side] = process,
            _ => {}
        }
        self.issue(process, carried.capability)
    }

    /// Takes the next message.
    pub fn receive(&mut self, end: usize) -> Result<Received, Error> {
        let (channel, side) = self.end_of(end, Rights::RECEIVE)?;
        let process = self.handles[end].process;
        let ends = &mut self.channels[channel];
        let Some(message) = ends.queues[side].pop_front() else {
            return Err(match ends.closed[1 - side] {
                true => Error::PeerClosed,
                false => Error::WouldBlock,
            });
        };
        let mut handles = Vec::new();
        for carried in message.carried {
            // The handle of what was revoked on the way stays with its sender, and tells so.
            let revoked = self.capabilities[carried.capability].revoked;
            handles.push((!revoked).then(|| self.deliver(carried, process)));
        }
        Ok((message.word, message.badge, handles))
    }

    /// What was on its way goes back: to its sender what was moved, if that lives.
    pub(super) fn take_back(&mut self, carried: Carried) {
        let sender = self.handles[carried.source.0].process;
        let returns = carried.mode == Mode::Move && !self.ended[sender];
        let parent = self.capabilities[carried.capability].parent;
        let above = parent.map_or(Rights::all(), |parent| self.capabilities[parent].rights);
        let capability = &mut self.capabilities[carried.capability];
        if returns {
            capability.holder = Holder::Process(sender);
            capability.rights = carried.source.1 & above;
        } else {
            capability.holder = Holder::Nobody;
        }
    }
}
