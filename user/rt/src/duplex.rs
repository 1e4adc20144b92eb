//! Two rings between two programs, one in each direction.
//!
//! Each direction ends by itself: who has nothing more to say [finishes](Duplex::finish) and goes on receiving.
//! A request and the wait for its answer, or an answer and the wait for the next request, are one call
//! of the kernel ([`Duplex::exchange`]): the one that is woken goes on where the caller goes to sleep.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, Ordering};

use abi::{Error, Handle, RingClose, RingGeometry};
use ring::slot::{Consumer, Producer, Slot};

use crate::ring_end::{
    close_ring, consumer_memory, ended, from_abi, give_back, producer_memory, ring_of, to_abi,
};
use crate::sys;

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

/// What both ends of a side know of a wake that is still to be done.
#[derive(Debug)]
struct Turn {
    ends: DuplexEnds,
    /// A wake is left for the wait that follows.
    defers: AtomicBool,
    /// One was.
    owed: AtomicBool,
}

impl Turn {
    /// The wake that is owed, if there is one, and the sleep at an end.
    fn sleep(&self, end: Handle, seen: u32, deadline_ns: u64) -> Result<(), ring::Error> {
        // One thread has both ends.
        let slept = if self.owed.load(Ordering::Relaxed) {
            self.owed.store(false, Ordering::Relaxed);
            // SAFETY: the call touches no memory of this process.
            unsafe { sys::ring_turn(self.ends.producer, end, seen, deadline_ns) }
        } else {
            // SAFETY: as above.
            unsafe { sys::ring_wait(end, seen, deadline_ns) }
        };
        ended(slept, deadline_ns)
    }

    /// The wake that is owed, if there is one.
    fn settle(&self) {
        if self.owed.load(Ordering::Relaxed) {
            self.owed.store(false, Ordering::Relaxed);
            // SAFETY: as above.
            let _ = unsafe { sys::ring_wake(self.ends.producer) };
        }
    }
}

/// Sleeps and wakes at one of the two ends. Dropping it closes that end in order.
#[derive(Debug)]
pub struct DuplexWait {
    end: Handle,
    turn: Arc<Turn>,
}

impl ring::Wait for DuplexWait {
    fn wait(&self, seen: u32, deadline_ns: u64) -> Result<(), ring::Error> {
        self.turn.sleep(self.end, seen, deadline_ns)
    }

    fn wake(&self) {
        if self.end == self.turn.ends.producer && self.turn.defers.load(Ordering::Relaxed) {
            self.turn.owed.store(true, Ordering::Relaxed);
            return;
        }
        // SAFETY: the call touches no memory of this process.
        let _ = unsafe { sys::ring_wake(self.end) };
    }
}

impl ring::Close for DuplexWait {
    fn close(&self) -> Result<(), ring::Error> {
        close_ring(self.end, RingClose::Orderly).map_err(from_abi)
    }

    fn accuse(&self) -> Result<(), ring::Error> {
        close_ring(self.end, RingClose::Faulty).map_err(from_abi)
    }
}

impl Drop for DuplexWait {
    fn drop(&mut self) {
        give_back(self.end);
    }
}

/// One side of a duplex.
pub struct Duplex {
    sender: Producer<DuplexWait>,
    receiver: Consumer<DuplexWait>,
    turn: Arc<Turn>,
}

impl Duplex {
    /// The side that has two ends. They can be opened once.
    ///
    /// # Errors
    /// As of [`open_sender`](crate::open_sender), for both.
    pub fn open(ends: DuplexEnds) -> Result<Duplex, Error> {
        let turn = Arc::new(Turn {
            ends,
            defers: AtomicBool::new(false),
            owed: AtomicBool::new(false),
        });
        let wait = |end| DuplexWait {
            end,
            turn: turn.clone(),
        };
        // Before either is taken over.
        let there = producer_memory::<Slot>(ends.producer)?;
        let back = consumer_memory::<Slot>(ends.consumer)?;
        let sender = Producer::attach(there, wait(ends.producer));
        let receiver = Consumer::attach(back, wait(ends.consumer));
        Ok(Duplex {
            sender: sender.map_err(to_abi)?,
            receiver: receiver.map_err(to_abi)?,
            turn,
        })
    }

    /// What sends.
    pub fn sender(&mut self) -> &mut Producer<DuplexWait> {
        &mut self.sender
    }

    /// What receives.
    pub fn receiver(&mut self) -> &mut Consumer<DuplexWait> {
        &mut self.receiver
    }

    /// Sends a message and receives the next one that comes, which sleeps until then at once: worth it where
    /// the other side has nothing to say before it has this message.
    ///
    /// # Errors
    /// Of [`send`](Producer::send): nothing was sent; of [`receive`](Consumer::receive): it was.
    pub fn exchange(
        &mut self,
        message: &[u8],
        target: &mut [u8],
        deadline_ns: u64,
    ) -> Result<usize, ring::Error> {
        self.turn.defers.store(true, Ordering::Relaxed);
        let sent = self.sender.send(message, deadline_ns);
        self.turn.defers.store(false, Ordering::Relaxed);
        let received = sent.and_then(|()| self.receive_asleep(target, deadline_ns));
        self.turn.settle();
        received
    }

    /// Receives a message, sleeping at once if there is none.
    fn receive_asleep(
        &mut self,
        target: &mut [u8],
        deadline_ns: u64,
    ) -> Result<usize, ring::Error> {
        loop {
            // The kernel looks before it sleeps.
            let seen = self.receiver.announce();
            let slept = self.turn.sleep(self.turn.ends.consumer, seen, deadline_ns);
            match (self.receiver.try_receive(target), slept) {
                // Woken early, or by a peer that lies, which is told apart here.
                (Err(ring::Error::Empty), Ok(())) => _ = self.receiver.arm()?,
                (Err(ring::Error::Empty), Err(error)) => {
                    self.receiver.disarm();
                    return Err(error);
                }
                (received, _) => return received,
            }
        }
    }

    /// Says that this side sends no more: the other receives what was sent before, and then learns it. This
    /// side goes on receiving.
    pub fn finish(&mut self) -> Result<(), ring::Error> {
        self.sender.finish()
    }
}
