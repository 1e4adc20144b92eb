//! The two ends of a ring that is there, before it is known what they are used as.

use abi::ring::{Form, Geometry};

use super::gathering::Gathering;
use super::link::{Canceller, Futex, Unused};
use super::{Error, memory};
use crate::{RingKind, byte, packet, slot};

macro_rules! end {
    ($(#[$documentation:meta])* $Name:ident, $role:ident, $Memory:ident) => {
        $(#[$documentation])*
        #[must_use = "dropping it closes the end"]
        pub struct $Name(Unused);

        impl $Name {
            pub(super) fn new(end: Unused) -> Self {
                Self(end)
            }

            /// Kind and size.
            pub fn geometry(&self) -> Geometry {
                self.0.terms().geometry
            }

            /// What became of the form that was asked for.
            pub fn form(&self) -> Form {
                self.0.terms().form
            }

            /// Has whoever sleeps at `gathering` woken for this end, too. If its peer is another process, the ring is made
            /// [for tasks](super::Setup::for_tasks).
            ///
            /// # Errors
            /// [`Error::Attach`]: the peer is another process, and was not told that it wakes no thread
            /// ([`Setup::for_tasks`](super::Setup::for_tasks)).
            pub fn gathered_at(self, gathering: &Gathering) -> Result<Self, Error> {
                self.0.gather(gathering.waker())?;
                Ok(self)
            }

            /// What ends the waits of this end, from another thread.
            pub fn canceller(&self) -> Canceller {
                self.0.canceller()
            }

            /// The end as one of a SLOT ring.
            ///
            /// # Errors
            /// [`Error::Attach`]: it is of another kind, or the peer has damaged it already.
            pub fn slot(self) -> Result<slot::$role<Futex>, Error> {
                self.attach()
            }

            /// The end as one of a PACKET ring.
            ///
            /// # Errors
            /// As of a SLOT ring.
            pub fn packet(self) -> Result<packet::$role<Futex>, Error> {
                self.attach()
            }

            /// The end as one of a BYTE ring.
            ///
            /// # Errors
            /// As of a SLOT ring.
            pub fn byte(self) -> Result<byte::$role<Futex>, Error> {
                self.attach()
            }

            /// The end as one of a kind that the caller is generic over.
            ///
            /// # Errors
            /// As of a SLOT ring.
            pub fn attach<K: RingKind>(self) -> Result<crate::$role<K, Futex>, Error> {
                let (memory, futex) = memory::$Memory(self.0)?;
                Ok(crate::$role::attach(memory, futex)?)
            }
        }
    };
}

end! {
    /// The end that sends. [`ProducerEnd::slot`], [`ProducerEnd::packet`] and [`ProducerEnd::byte`] make it usable.
    ProducerEnd, Producer, producer
}
end! {
    /// The end that receives. [`ConsumerEnd::slot`], [`ConsumerEnd::packet`] and [`ConsumerEnd::byte`] make it usable.
    ConsumerEnd, Consumer, consumer
}
