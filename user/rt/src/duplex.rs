//! Two rings between two programs, one in each direction: [`ring::duplex`] over the kernel's waiting and waking.
//!
//! A request and the wait for its answer, or an answer and the wait for the next request, are one call
//! of the kernel ([`Duplex::exchange`](ring::duplex::Duplex::exchange)): the one that is woken goes on where the caller
//! goes to sleep.

use abi::{Error, Handle, RingGeometry};
use ring::Turn;
use ring::duplex::Deferring;
use ring::slot::{Consumer, Producer, Slot};

use crate::ring_end::{RingWait, ended, memory_of_both, ring_of, to_abi};
use crate::sys;

/// One side of a duplex. Dropping it closes both ends in order and gives them back.
pub type Duplex = ring::duplex::Duplex<Producer<Deferring<RingWait>>, Consumer<RingWait>>;

/// The two ends that one side of a duplex has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DuplexEnds {
    /// Sends to the other side.
    pub producer: Handle,
    /// Receives from it.
    pub consumer: Handle,
}

/// Two rings of `capacity` slots of `slot_size` bytes, as two sides.
pub fn duplex(slot_size: u32, capacity: u32) -> Result<(DuplexEnds, DuplexEnds), Error> {
    let geometry = RingGeometry::slot(slot_size, capacity);
    let (there, their_in) = ring_of(&geometry)?;
    let back = ring_of(&geometry).inspect_err(|_| {
        let _ = crate::drop_handle(there);
        let _ = crate::drop_handle(their_in);
    });
    let (back, here) = back?;
    Ok((
        DuplexEnds {
            producer: there,
            consumer: here,
        },
        DuplexEnds {
            producer: back,
            consumer: their_in,
        },
    ))
}

/// The side that has two ends. They can be opened once.
///
/// # Errors
/// As of [`open_sender`](crate::open_sender), for both: where one can't be opened, the other is as it was, too.
pub fn open_duplex(ends: DuplexEnds) -> Result<Duplex, Error> {
    // Before either is taken over.
    let (there, back) = memory_of_both::<Slot>(ends.producer, ends.consumer)?;
    let sends = Deferring::new(RingWait::of(ends.producer));
    let receives = RingWait::of(ends.consumer);
    let sender = Producer::attach(there, sends).map_err(to_abi)?;
    let receiver = Consumer::attach(back, receives).map_err(to_abi)?;
    Ok(Duplex::new(sender, receiver))
}

impl Turn<RingWait> for RingWait {
    #[inline]
    fn wake_and_wait(
        &self,
        other: &RingWait,
        seen: u32,
        deadline_ns: u64,
    ) -> Result<(), ring::Error> {
        // SAFETY: the call touches no memory of this process.
        let slept = unsafe { sys::ring_turn(other.handle(), self.handle(), seen, deadline_ns) };
        ended(slept, deadline_ns)
    }
}
