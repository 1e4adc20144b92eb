//! The ends of rings: the protocol of the crate `ring` over the kernel's waiting and waking.

use core::ptr::NonNull;

use abi::ring as ring_layout;
use abi::{Error, Handle, RingEnds, RingGeometry, RingInfo, UserPtr};
use ring::memory::{ConsumerMemory, ProducerMemory};
use ring::slot::{Consumer, Producer};

use crate::sys;

/// Sends messages.
pub type Sender = Producer<RingWait>;
/// Receives messages.
pub type Receiver = Consumer<RingWait>;

/// Makes a ring of `capacity` slots of `slot_size` bytes and returns its two ends: producer,
/// consumer.
pub fn ring(slot_size: u32, capacity: u32) -> Result<(Handle, Handle), Error> {
    let geometry = RingGeometry::slot(slot_size, capacity).with_form(ring_layout::Form::Symmetric);
    let mut ends = RingEnds {
        producer: Handle::NONE,
        consumer: Handle::NONE,
    };
    // SAFETY: the pointers lead to what lives during the call.
    unsafe {
        sys::ring_create(
            UserPtr::new((&raw const geometry) as u64),
            UserPtr::new((&raw mut ends) as u64),
        )
    }?;
    Ok((ends.producer, ends.consumer))
}

/// Sleeps and wakes at an end by system calls. Dropping it gives the end back, and the peer sees
/// that it is gone.
#[derive(Debug)]
pub struct RingWait {
    end: Handle,
}

impl ring::Wait for RingWait {
    fn wait(&self, seen: u32, deadline_ns: u64) -> Result<(), ring::Error> {
        // SAFETY: the call touches no memory of this process.
        unsafe { sys::ring_wait(self.end, seen, deadline_ns) }.map_err(|error| match error {
            Error::TimedOut | Error::WouldBlock => ring::Error::TimedOut,
            Error::Cancelled => ring::Error::Cancelled,
            Error::Interrupted => ring::Error::Interrupted,
            Error::BadHandle | Error::InTransit => ring::Error::Closed,
            Error::Revoked => ring::Error::Revoked,
            _ => ring::Error::Unsupported,
        })
    }

    fn wake(&self) {
        // SAFETY: the call touches no memory of this process.
        let _ = unsafe { sys::ring_wake(self.end) };
    }
}

impl Drop for RingWait {
    fn drop(&mut self) {
        let _ = crate::drop_handle(self.end);
    }
}

/// Maps the view of an end and tells its geometry.
fn open(end: Handle) -> Result<(NonNull<u8>, ring_layout::Geometry), Error> {
    let mut info = RingInfo::default();
    // SAFETY: the pointer leads to `info`; a new mapping touches nobody's memory.
    let base = unsafe {
        sys::ring_info(end, UserPtr::new((&raw mut info) as u64))?;
        sys::ring_map(end)?
    };
    let base = NonNull::new(base as *mut u8).ok_or(Error::Fault)?;
    Ok((base, info.geometry.decode()?.geometry))
}

/// The producing end that a handle stands for. It can be opened once.
pub fn open_sender(end: Handle) -> Result<Sender, Error> {
    let (base, geometry) = open(end)?;
    // SAFETY: the kernel mapped this end's view just now, and lets it be mapped only once.
    let memory = unsafe { ProducerMemory::from_raw(base, geometry) }.map_err(to_abi)?;
    Producer::attach(memory, RingWait { end }).map_err(to_abi)
}

/// The consuming end that a handle stands for. It can be opened once.
pub fn open_receiver(end: Handle) -> Result<Receiver, Error> {
    let (base, geometry) = open(end)?;
    // SAFETY: as above.
    let memory = unsafe { ConsumerMemory::from_raw(base, geometry) }.map_err(to_abi)?;
    Consumer::attach(memory, RingWait { end }).map_err(to_abi)
}

/// The error of the contract that a ring's error is.
pub fn to_abi(error: ring::Error) -> Error {
    match error {
        ring::Error::Full => Error::Full,
        ring::Error::Empty => Error::Empty,
        ring::Error::TooLarge => Error::TooLarge,
        ring::Error::Closed => Error::BadHandle,
        ring::Error::PeerClosed | ring::Error::PeerDied => Error::PeerClosed,
        ring::Error::PeerFault => Error::PeerFault,
        ring::Error::Revoked => Error::Revoked,
        ring::Error::TimedOut => Error::TimedOut,
        ring::Error::Cancelled => Error::Cancelled,
        ring::Error::Interrupted => Error::Interrupted,
        ring::Error::Invalid => Error::Invalid,
        _ => Error::Unsupported,
    }
}
