//! Handing over: grants, tokens, and what comes back (I6).

use abi::{Error, Mode, Rights};

use super::{Holder, Spec, Token};

impl Spec {
    /// Offers what a handle stands for to a process, and returns the number of the token.
    pub fn grant(
        &mut self,
        handle: usize,
        to: usize,
        mode: Mode,
        rights: Rights,
    ) -> Result<usize, Error> {
        if self.ended[to] {
            return Err(Error::PeerClosed);
        }
        let from = self.handles[handle].process;
        let capability = match mode {
            Mode::CopyOnWrite => return Err(Error::Unsupported),
            Mode::Share => {
                let parent = self.look_up(handle, Rights::GRANT | Rights::DUPLICATE)?;
                let child = self.derive_from(parent, rights);
                self.capabilities[child].holder = Holder::Token;
                child
            }
            Mode::Move => self.look_up(handle, Rights::GRANT | Rights::MOVE)?,
        };
        let before = self.capabilities[capability].rights;
        if mode == Mode::Move {
            self.check_move(capability, before & rights)?;
            self.capabilities[capability].rights = before & rights;
            self.capabilities[capability].holder = Holder::Transit;
            for mapping in &mut self.mappings {
                mapping.dead |= mapping.capability == capability;
            }
        }
        self.tokens.push(Token {
            from,
            to,
            capability,
            mode,
            source: (handle, before),
            open: true,
        });
        Ok(self.tokens.len() - 1)
    }

    /// Whether a capability may be moved with these rights: nobody else may have access, and
    /// nothing below it may be left with more.
    fn check_move(&self, capability: usize, rights: Rights) -> Result<(), Error> {
        let region = self.capabilities[capability].region;
        let (kept, below) = (self.kept(), self.below(capability));
        for (at, other) in self.capabilities.iter().enumerate() {
            let elsewhere = at != capability && other.region == region && self.has_access(at);
            let exceeds = kept[at] && !other.revoked && below[at] && !rights.contains(other.rights);
            if elsewhere || exceeds {
                return Err(Error::Shared);
            }
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
        let capability = &mut self.capabilities[offered.capability];
        if returns {
            capability.holder = Holder::Process(offered.from);
            capability.rights = offered.source.1;
        } else {
            capability.holder = Holder::Nobody;
        }
    }
}
