//! Handing over: grants, tokens, and what comes back (I6).

use abi::{Error, GrantFlags, Mode, Rights};

use super::{Copied, Holder, Spec, Token};
use crate::tree::Budget;

/// A grant that is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Given {
    /// To whom.
    pub to: usize,
    /// How.
    pub mode: Mode,
    /// What the receiver may do at most.
    pub rights: Rights,
    /// What else is asked.
    pub flags: GrantFlags,
    /// When the token is worth nothing any more.
    pub until: u64,
}

impl Spec {
    /// Offers what a handle stands for to a process, and returns the number of the token.
    pub fn grant(&mut self, handle: usize, wanted: Given, available: u64) -> Result<usize, Error> {
        let Given {
            to,
            mode,
            rights,
            flags,
            until,
        } = wanted;
        if until <= self.now {
            return Err(Error::TimedOut);
        }
        if self.ended[to] {
            return Err(Error::PeerClosed);
        }
        let meaningful = match mode {
            Mode::Share => GrantFlags::empty(),
            Mode::Move => GrantFlags::REVOKE_OTHERS,
            Mode::CopyOnWrite => GrantFlags::OVERCOMMIT,
        };
        if !meaningful.contains(flags) {
            return Err(Error::Invalid);
        }
        let from = self.handles[handle].process;
        let revokes = flags.contains(GrantFlags::REVOKE_OTHERS);
        let capability = match mode {
            Mode::CopyOnWrite => {
                let all = Copied {
                    offset: 0,
                    len: 0,
                    overcommit: flags.contains(GrantFlags::OVERCOMMIT),
                };
                let (region, allowed) = self.copy(handle, Rights::GRANT, all, available)?;
                self.own(region, allowed & rights)
            }
            Mode::Share => {
                let parent = self.look_up(handle, Rights::GRANT | Rights::DUPLICATE)?;
                self.derive_from(parent, rights, Budget::Usual)?
            }
            Mode::Move => {
                let mut needed = Rights::GRANT | Rights::MOVE;
                needed.set(Rights::REVOKE, revokes);
                self.look_up(handle, needed)?
            }
        };
        let before = self.capabilities[capability].rights;
        self.capabilities[capability].holder = match mode {
            Mode::Move => {
                self.check_move(capability, before & rights, revokes)?;
                if revokes {
                    let below = self.below(capability);
                    self.kill(|at| below[at]);
                }
                self.capabilities[capability].rights = before & rights;
                for mapping in &mut self.mappings {
                    mapping.dead |= mapping.capability == capability;
                }
                Holder::Transit
            }
            Mode::Share | Mode::CopyOnWrite => Holder::Token,
        };
        self.tokens.push(Token {
            from,
            to,
            capability,
            mode,
            source: (handle, before),
            until,
            open: true,
        });
        Ok(self.tokens.len() - 1)
    }

    /// Whether a capability may be moved with these rights: nobody else may have access, and
    /// nothing below it may be left with more. What is below may have what it likes if it is
    /// revoked first.
    fn check_move(&self, capability: usize, rights: Rights, revokes: bool) -> Result<(), Error> {
        let region = self.capabilities[capability].of.region;
        let (kept, below) = (self.kept(), self.below(capability));
        for (at, other) in self.capabilities.iter().enumerate() {
            if revokes && below[at] {
                continue;
            }
            let elsewhere = at != capability && other.of.region == region && self.has_access(at);
            let exceeds = kept[at] && !other.revoked && below[at] && !rights.contains(other.rights);
            if elsewhere || exceeds {
                return Err(Error::Shared);
            }
        }
        if !self.regions[region].pins.is_empty() {
            return Err(Error::Pinned);
        }
        Ok(())
    }

    /// Takes what a token stands for; `grantor` is whom the taker believes it to be from.
    pub fn accept(&mut self, token: usize, by: usize, grantor: usize) -> Result<usize, Error> {
        let offered = self.tokens[token];
        if !offered.open || (by, grantor) != (offered.to, offered.from) {
            return Err(Error::NotFound);
        }
        self.tokens[token].open = false;
        if offered.mode == Mode::Move {
            self.handles[offered.source.0].dropped = true;
        }
        Ok(self.issue(by, offered.capability))
    }

    /// Withdraws an offer.
    pub fn cancel(&mut self, token: usize, by: usize) -> Result<(), Error> {
        if !self.tokens[token].open || self.tokens[token].from != by {
            return Err(Error::NotFound);
        }
        self.take_back(token);
        Ok(())
    }

    /// A token gives back what it stood for: to its grantor what was moved, if that lives.
    pub(super) fn take_back(&mut self, token: usize) {
        let offered = self.tokens[token];
        self.tokens[token].open = false;
        let returns = offered.mode == Mode::Move && !self.ended[offered.from];
        let parent = self.capabilities[offered.capability].parent;
        let above = parent.map_or(Rights::all(), |parent| self.capabilities[parent].rights);
        let capability = &mut self.capabilities[offered.capability];
        if returns {
            capability.holder = Holder::Process(offered.from);
            capability.rights = offered.source.1 & above;
        } else {
            capability.holder = Holder::Nobody;
        }
    }
}
