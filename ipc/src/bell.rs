//! Bells: what sets bits of a notification by itself, in the name of who made it.
//!
//! A bell is as good as the capability that it was made with, in the hands of its maker: when that was
//! revoked, reduced, dropped or moved away, or its maker has ended, the bell sets nothing any more. It keeps the
//! notification in memory and nothing else.

use core::fmt;

use abi::{Error, Handle, ObjectKind, Rights};

use crate::notification::signal_bits;
use crate::{Capability, Domain, Ipc, Node, Payload, Platform};

/// Bits of a notification, and who sets them.
pub(crate) struct Bell<P: Platform> {
    node: Node<P>,
    maker: u64,
    bits: u64,
}

impl<P: Platform> Bell<P> {
    /// A bell of a domain, and the capability by which it is made, with SIGNAL. `Denied`: also of a capability for
    /// one use, with which the bell would end; `Invalid`: what a signal would refuse.
    pub(crate) fn new(
        domain: &Domain<P>,
        notification: Handle,
        bits: u64,
    ) -> Result<(Capability<P>, Bell<P>), Error> {
        let kind = Some(ObjectKind::Notification);
        let by = domain.look_up_lasting(notification, kind, Rights::SIGNAL)?;
        let bell = Bell {
            bits: signal_bits(&by.node, bits)?,
            node: by.node.clone(),
            maker: domain.koid(),
        };
        Ok((by, bell))
    }
}

impl<P: Platform> fmt::Debug for Bell<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bell")
            .field("node", &self.node)
            .field("bits", &self.bits)
            .finish_non_exhaustive()
    }
}

impl<P: Platform> Ipc<P> {
    /// Sets the bits. Neither allocates nor waits.
    ///
    /// # Errors
    /// Why its maker does not have the capability any more, or `Denied`: it lacks SIGNAL by now.
    pub(crate) fn ring(&self, bell: &Bell<P>) -> Result<(), Error> {
        match bell.node.object().payload() {
            Payload::Notification(notification) => {
                if mm::sabotaged!("bell_asks_nobody") {
                    self.set_bits(notification, bell.bits);
                    return Ok(());
                }
                self.signal_as(notification, &bell.node, bell.maker, bell.bits)
            }
            _ => Err(Error::WrongKind),
        }
    }
}
