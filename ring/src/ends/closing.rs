//! Closing one end, while it is still there.

use super::{Consumer, Producer, RingKind};
use crate::Error;
use crate::wait::Close;

impl<K: RingKind, W: Close> Producer<K, W> {
    /// Ends the stream: the consumer receives all that was sent, and then [`Error::PeerClosed`].
    ///
    /// It takes no room in the ring, so it succeeds when the ring is full. Sending is [`Error::Closed`] from then on.
    ///
    /// # Errors
    /// [`Error::Closed`]: it has ended already; [`Error::Revoked`].
    pub fn finish(&mut self) -> Result<(), Error> {
        if crate::sabotaged!("end_needs_space") {
            self.check_space(1)?;
        }
        self.waiter().close()
    }

    /// Tells a peer that was caught breaking the protocol that it was.
    ///
    /// # Errors
    /// [`Error::Invalid`]: it was not; and as [`Close::accuse`].
    pub fn accuse(&mut self) -> Result<(), Error> {
        match self.poisoned {
            true => self.waiter().accuse(),
            false => Err(Error::Invalid),
        }
    }
}

impl<K: RingKind, W: Close> Consumer<K, W> {
    /// Wants no more: the producer gets [`Error::PeerClosed`] at once. What is left in the ring can still be received, and
    /// then the answer is [`Error::Closed`].
    ///
    /// # Errors
    /// [`Error::Closed`]: it was closed already; [`Error::Revoked`].
    pub fn finish(&mut self) -> Result<(), Error> {
        self.flush();
        self.waiter().close()
    }

    /// Tells a peer that was caught breaking the protocol that it was.
    ///
    /// # Errors
    /// [`Error::Invalid`]: it was not; and as [`Close::accuse`].
    pub fn accuse(&mut self) -> Result<(), Error> {
        match self.poisoned {
            true => self.waiter().accuse(),
            false => Err(Error::Invalid),
        }
    }
}
