//! How an end sleeps and wakes its peer, and how long it looks before it does.

use crate::Error;

/// The way into the kernel, or whatever stands in for it.
pub trait Wait {
    /// Sleeps until the peer's index has reached `seen` (see [`crate::index::has_reached`]), the peer's end is no longer
    /// open, or `deadline_ns` (absolute monotonic nanoseconds, `u64::MAX` = for ever) has passed.
    ///
    /// The implementation re-reads the peer's index under the lock that [`Wait::wake`] of the peer takes, and sleeps
    /// only if [`crate::index::wait_is_over`] denies. Returning early with `Ok` is allowed: the caller looks again.
    ///
    /// # Errors
    /// [`Error::TimedOut`], [`Error::Cancelled`], [`Error::Interrupted`], [`Error::Revoked`], [`Error::Unsupported`].
    /// Whatever it says, a message or space that is there by then is taken first, save that [`Error::Cancelled`], which is
    /// told once, is passed on: what is there stays for the next call.
    fn wait(&self, seen: u32, deadline_ns: u64) -> Result<(), Error>;

    /// Wakes the peer if it sleeps on this ring. There is no error: a peer that is gone is noticed in the ring's header.
    fn wake(&self);

    /// Whether the peer of this end can sleep. Where it can't, nothing is asked for its sake, and no fence executed, when
    /// something is sent or given back.
    #[inline(always)]
    fn wakes(&self) -> bool {
        true
    }
}

impl<W: Wait + ?Sized> Wait for &W {
    #[inline(always)]
    fn wakes(&self) -> bool {
        (**self).wakes()
    }

    fn wait(&self, seen: u32, deadline_ns: u64) -> Result<(), Error> {
        (**self).wait(seen, deadline_ns)
    }

    fn wake(&self) {
        (**self).wake();
    }
}

/// A [`Wait`] that can also tell the peer that its end stops, while the end is still there.
///
/// What it tells is state in the ring's header and takes no room in the ring, so a full ring can be closed.
pub trait Close: Wait {
    /// Says that this end is closed in order: a consumer receives what was sent before and then
    /// [`Error::PeerClosed`], a producer that at once. This end answers [`Error::Closed`] from then on.
    ///
    /// # Errors
    /// [`Error::Revoked`], [`Error::Closed`]: it was closed already.
    fn close(&self) -> Result<(), Error>;

    /// Says that the peer broke the protocol: it gets [`Error::PeerFault`], also when either end was closed in order before.
    /// How the peer's own end ended stays as it was, and no other ring is touched.
    ///
    /// # Errors
    /// [`Error::Revoked`], [`Error::Closed`]: it may have been told already.
    fn accuse(&self) -> Result<(), Error>;
}

impl<W: Close + ?Sized> Close for &W {
    fn close(&self) -> Result<(), Error> {
        (**self).close()
    }

    fn accuse(&self) -> Result<(), Error> {
        (**self).accuse()
    }
}

/// Sleeps that begin with the wake of another end of the same holder, as one call of a kernel that has one for both.
///
/// `P` is how that other end wakes its peer.
pub trait Turn<P: Wait>: Wait {
    /// [`Wait::wake`] at `other`, and then [`Wait::wait`] here: nothing that `other` published is left to be woken for.
    ///
    /// # Errors
    /// As [`Wait::wait`]. The peer of `other` is woken whatever the answer.
    fn wake_and_wait(&self, other: &P, seen: u32, deadline_ns: u64) -> Result<(), Error> {
        other.wake();
        self.wait(seen, deadline_ns)
    }
}

/// One place to sleep at for several ends, each of whose peers wakes it there.
pub trait Gather {
    /// Sleeps until the peer of one of the ends has called [`Wait::wake`] or is no longer open, since the end was armed
    /// ([`crate::Consumer::arm`]), or `deadline_ns` (absolute monotonic nanoseconds, 0 = only look, `u64::MAX` = for ever)
    /// has passed. A wake between arming and this call counts. Returning early is allowed: the caller looks again.
    ///
    /// # Errors
    /// As [`Wait::wait`].
    fn wait(&self, deadline_ns: u64) -> Result<(), Error>;

    /// Has every CPU on which a peer runs execute a full barrier, as asymmetric ends need it between arming and the last
    /// look. Without it they are refused.
    ///
    /// # Errors
    /// [`Error::Unsupported`].
    fn barrier(&self) -> Result<(), Error> {
        Err(Error::Unsupported)
    }
}

impl<G: Gather + ?Sized> Gather for &G {
    fn wait(&self, deadline_ns: u64) -> Result<(), Error> {
        (**self).wait(deadline_ns)
    }

    fn barrier(&self) -> Result<(), Error> {
        (**self).barrier()
    }
}

/// For rings on which neither end ever sleeps: it wakes nobody, and a wait is [`Error::Unsupported`]. What one end does
/// to announce a sleep, the other does not see.
#[derive(Clone, Copy, Debug, Default)]
pub struct Polling;

impl Wait for Polling {
    fn wait(&self, _seen: u32, _deadline_ns: u64) -> Result<(), Error> {
        Err(Error::Unsupported)
    }

    fn wake(&self) {}

    #[inline(always)]
    fn wakes(&self) -> bool {
        false
    }
}

/// How many looks are worth it before sleeping, learnt from whether they paid off.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spin {
    looks: u32,
}

impl Spin {
    // A pause is 40 to 140 cycles: from well under a microsecond to about the price of sleeping and being woken.
    const FEWEST: u32 = 4;
    const MOST: u32 = 256;

    pub(crate) const fn new() -> Self {
        Self { looks: 32 }
    }

    /// How often to look now. Under loom a look that fails is one interleaving more and teaches nothing.
    pub(crate) fn looks(self) -> u32 {
        if cfg!(loom) { 0 } else { self.looks }
    }

    /// Spend more on looking next time.
    pub(crate) fn paid_off(&mut self) {
        self.looks = (self.looks * 2).min(Self::MOST);
    }

    /// Spend less on looking next time.
    pub(crate) fn was_in_vain(&mut self) {
        self.looks = (self.looks / 2).max(Self::FEWEST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spinning_stays_within_its_bounds() {
        let mut spin = Spin::new();
        for _ in 0..40 {
            spin.was_in_vain();
        }
        assert_eq!(spin.looks, Spin::FEWEST);
        for _ in 0..40 {
            spin.paid_off();
        }
        assert_eq!(spin.looks, Spin::MOST);
    }
}
