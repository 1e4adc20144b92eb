//! Messages, by value: sent, received, or gone back.

use abi::{Error, Mode, Rights};

use super::{Capability, Holder, Kind, Spec};

/// A capability on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Carried {
    capability: usize,
    mode: Mode,
    /// The handle that it was sent by, and what that allowed.
    source: (usize, Rights),
}

#[derive(Clone, Debug)]
pub(super) struct Message {
    word: u64,
    carried: Vec<Carried>,
}

/// What was received: the word, and a handle for each capability that was not revoked on the way.
pub type Received = (u64, Vec<Option<usize>>);

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
        let mut carried = Vec::new();
        for (mode, handle) in loads {
            match self.begin(channel, *mode, *handle) {
                Ok(begun) => carried.push(begun),
                Err(error) => {
                    // All or nothing.
                    *self = before;
                    return Err(error);
                }
            }
        }
        self.channels[channel].queues[there].push_back(Message { word, carried });
        Ok(())
    }

    /// One capability on its way over a channel.
    fn begin(&mut self, channel: usize, mode: Mode, handle: usize) -> Result<Carried, Error> {
        let found = self.look_up(handle, Rights::empty())?;
        let object = self.capabilities[found].object;
        let kind = self.objects[object].kind;
        if let Kind::End(sent, _) = kind
            && sent <= channel
        {
            return Err(Error::Invalid);
        }
        let rights = self.capabilities[found].rights;
        let capability = match mode {
            Mode::Share => {
                let parent = self.look_up(handle, Rights::GRANT | Rights::DUPLICATE)?;
                self.below_of(parent, Rights::all())
            }
            Mode::Move => {
                let moved = self.look_up(handle, Rights::GRANT | Rights::MOVE)?;
                self.check_move(moved)?;
                moved
            }
            Mode::CopyOnWrite => {
                if kind != Kind::Region {
                    return Err(Error::WrongKind);
                }
                self.look_up(handle, Rights::GRANT | Rights::READ | Rights::DUPLICATE)?;
                let copy = self.add(Kind::Region);
                self.grow(copy, None, Rights::REGION)
            }
        };
        self.capabilities[capability].holder = match mode {
            Mode::Move => Holder::Transit,
            Mode::Share | Mode::CopyOnWrite => Holder::Message,
        };
        Ok(Carried {
            capability,
            mode,
            source: (handle, rights),
        })
    }

    /// Nobody else may have access to memory that is moved.
    fn check_move(&self, moved: usize) -> Result<(), Error> {
        let object = self.capabilities[moved].object;
        let access = |c: &Capability| {
            let held = c.holder != Holder::Nobody && !c.revoked;
            held && c.rights.intersects(Rights::ACCESS)
        };
        let mut all = self.capabilities.iter().enumerate();
        match all.any(|(at, other)| at != moved && other.object == object && access(other)) {
            true => Err(Error::Shared),
            false => Ok(()),
        }
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
            let revoked = self.capabilities[carried.capability].revoked;
            // The handle of what was revoked on the way stays with its sender, and tells so.
            if carried.mode == Mode::Move && !revoked {
                self.handles[carried.source.0].dropped = true;
            }
            handles.push((!revoked).then(|| self.issue(process, carried.capability)));
        }
        Ok((message.word, handles))
    }

    /// What a message carried goes back: to its sender what was moved, if that lives.
    pub(super) fn take_back(&mut self, message: Message) {
        for carried in message.carried {
            let sender = self.handles[carried.source.0].process;
            let returns = carried.mode == Mode::Move && !self.ended[sender];
            let capability = &mut self.capabilities[carried.capability];
            if returns {
                capability.holder = Holder::Process(sender);
                capability.rights = carried.source.1;
            } else {
                capability.holder = Holder::Nobody;
            }
        }
    }
}
