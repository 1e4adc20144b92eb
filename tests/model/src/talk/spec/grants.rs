//! Offers that wait for their addressee, and the tokens that name them (I6).

use abi::{Error, GrantFlags, Mode, Rights};

use super::messages::Handing;
use super::{Carried, Kind, Spec};

/// What leads to another process.
#[derive(Clone, Copy, Debug)]
pub enum Way {
    /// What a handle stands for.
    Handle(usize),
    /// A seat at a hub that both processes have had, from one to the other.
    Hub {
        /// Whose side of it.
        of: usize,
        /// Who is at the other.
        to: usize,
    },
}

/// An offer that is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Given {
    /// How.
    pub mode: Mode,
    /// What the receiver may do at most.
    pub rights: Rights,
    /// What else is asked.
    pub flags: GrantFlags,
    /// When the token is worth nothing any more.
    pub until: u64,
}

/// An offer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token {
    pub(super) carried: Carried,
    from: usize,
    pub(super) to: usize,
    /// The end at which it has to be accepted, if it went over a channel.
    pub(super) at: Option<(usize, usize)>,
    pub(super) until: u64,
    pub(super) open: bool,
}

/// The process at the other end of a way.
struct Peer {
    process: usize,
    there: bool,
    /// The end at this side, of a channel.
    here: Option<(usize, usize)>,
    /// The capability of this side.
    via: Option<usize>,
}

impl Spec {
    fn peer_of(&mut self, way: Way, needed: Rights) -> Result<Peer, Error> {
        let handle = match way {
            Way::Handle(handle) => handle,
            Way::Hub { of, to } => {
                return Ok(Peer {
                    process: to,
                    there: !self.ended[of] && !self.ended[to],
                    here: None,
                    via: None,
                });
            }
        };
        let leads = |kind| !matches!(kind, Kind::Region | Kind::Notification);
        let found = self.use_kind(handle, needed, leads)?;
        let (process, there, here) = match self.kind_of(found) {
            Kind::Process(number) => (number, true, None),
            Kind::RingEnd(ring, side) => {
                let ring = &self.rings[ring];
                (ring.holders[1 - side], !ring.closed[1 - side], None)
            }
            Kind::End(channel, side) => {
                let ends = &self.channels[channel];
                let there = !ends.closed[1 - side];
                (ends.holders[1 - side], there, Some((channel, side)))
            }
            Kind::Region | Kind::Notification => return Err(Error::WrongKind),
        };
        Ok(Peer {
            process,
            there,
            here,
            via: Some(found),
        })
    }

    /// Offers what a handle stands for to who is at the other end of a way, and returns the number of
    /// the token.
    pub fn grant(&mut self, handle: usize, way: Way, wanted: Given) -> Result<usize, Error> {
        let peer = self.peer_of(way, Rights::GRANT)?;
        if !peer.there {
            return Err(Error::PeerClosed);
        }
        if wanted.until <= self.now {
            return Err(Error::TimedOut);
        }
        if self.ended[peer.process] {
            return Err(Error::PeerClosed);
        }
        let meaningful = match wanted.mode {
            Mode::Share => GrantFlags::empty(),
            Mode::Move => GrantFlags::REVOKE_OTHERS,
            Mode::CopyOnWrite => GrantFlags::OVERCOMMIT,
        };
        if !meaningful.contains(wanted.flags) {
            return Err(Error::Invalid);
        }
        let handing = Handing {
            mode: wanted.mode,
            rights: wanted.rights,
            revokes: wanted.flags.contains(GrantFlags::REVOKE_OTHERS),
            over: peer.here.map(|(channel, _)| channel),
            via: peer.via,
        };
        let carried = self.begin(handle, handing)?;
        self.tokens.push(Token {
            carried,
            from: self.handles[handle].process,
            to: peer.process,
            at: peer.here.map(|(channel, side)| (channel, 1 - side)),
            until: wanted.until,
            open: true,
        });
        Ok(self.tokens.len() - 1)
    }

    /// Takes what a token stands for, if it was offered by who is at the other end of a way; `None` is
    /// a number that never was a token.
    pub fn accept(&mut self, by: usize, token: Option<usize>, way: Way) -> Result<usize, Error> {
        let peer = self.peer_of(way, Rights::empty())?;
        let number = token.ok_or(Error::NotFound)?;
        let token = self.tokens[number];
        let from_there = match peer.here {
            Some(_) => token.at == peer.here,
            None => token.at.is_none() && token.from == peer.process,
        };
        if !token.open || token.to != by || !from_there {
            return Err(Error::NotFound);
        }
        self.tokens[number].open = false;
        Ok(self.deliver(token.carried, by))
    }

    /// Withdraws an offer.
    pub fn cancel(&mut self, by: usize, token: Option<usize>) -> Result<(), Error> {
        let number = token.ok_or(Error::NotFound)?;
        let token = self.tokens[number];
        if !token.open || token.from != by {
            return Err(Error::NotFound);
        }
        self.return_token(number);
        Ok(())
    }

    fn return_token(&mut self, number: usize) {
        self.tokens[number].open = false;
        self.take_back(self.tokens[number].carried);
    }

    /// Offers that nobody can accept any more go back.
    pub(super) fn return_tokens(&mut self, which: impl Fn(&Token) -> bool) {
        for number in 0..self.tokens.len() {
            if self.tokens[number].open && which(&self.tokens[number]) {
                self.return_token(number);
            }
        }
    }

    /// Whether an offer of memory waits to be accepted.
    pub fn offers_memory(&self, token: usize) -> bool {
        let Token { open, carried, .. } = self.tokens[token];
        let kind = self.kind_of(carried.capability);
        open && matches!(kind, Kind::Region | Kind::RingEnd(..))
    }
}
