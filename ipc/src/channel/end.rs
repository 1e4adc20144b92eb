//! Channel ends as a call has looked them up.

use alloc::sync::Arc;

use abi::{Error, Handle, ObjectKind, Rights};

use super::{Channel, ChannelSide};
use crate::{Domain, Ipc, Node, Payload, Platform};

/// A capability of a channel end, as it was looked up.
pub(super) struct EndOf<P: Platform> {
    pub(super) node: Node<P>,
    /// What it has to allow.
    pub(super) needed: Rights,
}

impl<P: Platform> EndOf<P> {
    /// The channel and the end.
    pub(super) fn parts(&self) -> Result<(&Arc<Channel<P>>, ChannelSide), Error> {
        match self.node.object().payload() {
            Payload::ChannelEnd(channel, side) => Ok((channel, *side)),
            _ => Err(Error::WrongKind),
        }
    }

    /// Whether `domain` still has it and it allows what is needed: `Cancelled` when it was given away.
    /// A revoke or reduce comes first and takes the lock of an inbox afterwards, under which this is
    /// asked.
    #[inline(always)]
    pub(super) fn check(&self, domain: &Domain<P>) -> Result<(), Error> {
        let allowed = self.node.check_allowed(domain.koid(), self.needed);
        allowed.map_err(unheld)
    }
}

/// What somebody is told whose capability was taken away during a call, for this reason.
pub(super) fn unheld(error: Error) -> Error {
    match error {
        Error::BadHandle | Error::InTransit => Error::Cancelled,
        error => error,
    }
}

impl<P: Platform> Ipc<P> {
    /// Looks a channel end up that allows what is needed.
    #[inline(always)]
    pub(super) fn channel_end(
        &self,
        domain: &Domain<P>,
        end: Handle,
        rights: Rights,
    ) -> Result<EndOf<P>, Error> {
        domain.with_node(end, Some(ObjectKind::ChannelEnd), rights, |node| {
            let node = node.clone();
            Ok(EndOf {
                node,
                needed: rights,
            })
        })
    }
}
