//! The ends of rings: the protocol of the crate `ring` over the kernel's waiting and waking.

use core::ptr::NonNull;

use abi::ring::{self as ring_layout, End, EndState};
use abi::{Error, FOREVER, Handle, RingClose, RingEnds, RingGeometry, RingInfo, UserPtr};
use ring::byte::Byte;
use ring::memory::{ConsumerMemory, ProducerMemory};
use ring::packet::Packet;
use ring::slot::Slot;
use ring::{Consumer, Producer, RingKind, byte, packet, sabotaged, slot};

use crate::sys;

/// Sends messages.
pub type Sender = slot::Producer<RingWait>;
/// Receives messages.
pub type Receiver = slot::Consumer<RingWait>;
/// Sends records of any length.
pub type PacketSender = packet::Producer<RingWait>;
/// Receives records of any length.
pub type PacketReceiver = packet::Consumer<RingWait>;
/// Writes a stream of bytes.
pub type ByteSender = byte::Producer<RingWait>;
/// Reads a stream of bytes.
pub type ByteReceiver = byte::Consumer<RingWait>;

/// Makes a ring of `capacity` slots of `slot_size` bytes and returns its two ends: producer,
/// consumer. It is asymmetric: only who sleeps there pays for it, and nobody can wait for it at a port.
pub fn ring(slot_size: u32, capacity: u32) -> Result<(Handle, Handle), Error> {
    ring_of(&RingGeometry::slot(slot_size, capacity))
}

/// Makes a ring of any kind, size and form and returns its two ends: producer, consumer.
pub fn ring_of(geometry: &RingGeometry) -> Result<(Handle, Handle), Error> {
    let mut ends = RingEnds {
        producer: Handle::NONE,
        consumer: Handle::NONE,
    };
    // SAFETY: the pointers lead to what lives during the call.
    unsafe {
        sys::ring_create(
            UserPtr::new((&raw const *geometry) as u64),
            UserPtr::new((&raw mut ends) as u64),
        )
    }?;
    Ok((ends.producer, ends.consumer))
}

/// Facts about a ring, by one of its ends.
pub fn ring_info(end: Handle) -> Result<RingInfo, Error> {
    let mut info = RingInfo::default();
    // SAFETY: the pointer leads to `info`.
    unsafe { sys::ring_info(end, UserPtr::new((&raw mut info) as u64)) }?;
    Ok(info)
}

/// Closes an end for good; the handle stays. Its peer receives what was sent before.
pub fn close_ring(end: Handle, how: RingClose) -> Result<(), Error> {
    // SAFETY: the call touches no memory of this process.
    unsafe { sys::ring_close(end, how) }
}

/// Sleeps and wakes at an end by system calls. Dropping it closes the end in order and gives it back. An
/// end whose holder is killed, or that is given back by its bare handle, is one whose holder is gone.
#[derive(Debug)]
pub struct RingWait {
    end: Handle,
}

impl RingWait {
    /// For an end, which is given back with it.
    pub(crate) fn of(end: Handle) -> RingWait {
        RingWait { end }
    }

    /// The end, which stays its.
    pub fn handle(&self) -> Handle {
        self.end
    }

    /// Facts about the ring.
    pub fn info(&self) -> Result<RingInfo, Error> {
        ring_info(self.end)
    }

    /// Closes the end if that changes anything: the kernel leaves one as it is that is closed, and does not say so. Nor does
    /// this where INSPECT was taken away since the end was opened.
    fn close(&self, how: RingClose) -> Result<(), ring::Error> {
        let own = match self.info() {
            Ok(info) if info.end == End::Producer as u32 => info.producer_state,
            Ok(info) => info.consumer_state,
            // To close it needs SIGNAL alone.
            Err(Error::Denied) => EndState::Open as u32,
            Err(error) => return Err(from_abi(error)),
        };
        let may_end = EndState::from_raw(own).is_some_and(|own| own.may_become(how.ends_as()));
        if !may_end && !sabotaged!("closed_end_closes_again") {
            return Err(ring::Error::Closed);
        }
        close_ring(self.end, how).map_err(from_abi)
    }
}

/// The error of the crate `ring` that an error of a wait is.
pub(crate) fn from_abi(error: Error) -> ring::Error {
    match error {
        Error::TimedOut | Error::WouldBlock => ring::Error::TimedOut,
        Error::Cancelled => ring::Error::Cancelled,
        Error::Interrupted => ring::Error::Interrupted,
        Error::BadHandle | Error::InTransit => ring::Error::Closed,
        Error::Revoked => ring::Error::Revoked,
        _ => ring::Error::Unsupported,
    }
}

/// How a wait ended. A peer that wakes this end again and again for nothing keeps it no longer than until the
/// deadline.
pub(crate) fn ended(waited: Result<(), Error>, deadline_ns: u64) -> Result<(), ring::Error> {
    waited.map_err(from_abi)?;
    if deadline_ns != FOREVER && crate::now_ns() >= deadline_ns {
        return Err(ring::Error::TimedOut);
    }
    Ok(())
}

impl ring::Wait for RingWait {
    fn wait(&self, seen: u32, deadline_ns: u64) -> Result<(), ring::Error> {
        // SAFETY: the call touches no memory of this process.
        ended(
            unsafe { sys::ring_wait(self.end, seen, deadline_ns) },
            deadline_ns,
        )
    }

    fn wake(&self) {
        // SAFETY: the call touches no memory of this process.
        let _ = unsafe { sys::ring_wake(self.end) };
    }
}

impl ring::Close for RingWait {
    fn close(&self) -> Result<(), ring::Error> {
        RingWait::close(self, RingClose::Orderly)
    }

    fn accuse(&self) -> Result<(), ring::Error> {
        RingWait::close(self, RingClose::Faulty)
    }
}

impl Drop for RingWait {
    fn drop(&mut self) {
        give_back(self.end);
    }
}

/// Closes an end in order and drops its handle.
pub(crate) fn give_back(end: Handle) {
    // One that was taken away is not this process's to close.
    let _ = close_ring(end, RingClose::Orderly);
    let _ = crate::drop_handle(end);
}

/// The view of an end, which is mapped as long as the end is there.
struct View {
    base: NonNull<u8>,
    geometry: ring_layout::Geometry,
}

impl View {
    /// Maps that of an end of this kind, on this side.
    fn map<K: RingKind>(end: Handle, side: End) -> Result<View, Error> {
        let info = ring_info(end)?;
        let shape = info.geometry.decode()?;
        // Before it is mapped, which is done once.
        if shape.geometry.kind != K::KIND || info.end != side as u32 {
            return Err(Error::Unsupported);
        }
        // SAFETY: a new mapping touches nobody's memory.
        let base = unsafe { sys::ring_map(end) }?;
        Ok(View {
            base: NonNull::new(base as *mut u8).ok_or(Error::Fault)?,
            geometry: shape.geometry,
        })
    }

    /// The role of the producer.
    fn producer(self) -> Result<ProducerMemory, Error> {
        // SAFETY: the kernel mapped this end's view just now, and lets it be mapped only once.
        let memory = unsafe { ProducerMemory::from_raw(self.base, self.geometry) };
        memory.map_err(to_abi)
    }

    /// The role of the consumer.
    fn consumer(self) -> Result<ConsumerMemory, Error> {
        // SAFETY: as above.
        let memory = unsafe { ConsumerMemory::from_raw(self.base, self.geometry) };
        memory.map_err(to_abi)
    }

    /// Unmaps it, of an end that is still there: it is as it was.
    fn unmap(self) {
        if !sabotaged!("unopened_view_stays") {
            // SAFETY: nobody plays a role on it, so nothing leads there.
            let _ = unsafe { sys::unmap(self.base.as_ptr() as u64) };
        }
    }
}

/// The memory of the producing end of this kind that a handle stands for. It can be opened once. The handle stays the
/// caller's.
pub(crate) fn producer_memory<K: RingKind>(end: Handle) -> Result<ProducerMemory, Error> {
    View::map::<K>(end, End::Producer)?.producer()
}

/// The same of the consuming end.
pub(crate) fn consumer_memory<K: RingKind>(end: Handle) -> Result<ConsumerMemory, Error> {
    View::map::<K>(end, End::Consumer)?.consumer()
}

/// Both ends of one side of two rings, or neither.
pub(crate) fn memory_of_both<K: RingKind>(
    producer: Handle,
    consumer: Handle,
) -> Result<(ProducerMemory, ConsumerMemory), Error> {
    let there = View::map::<K>(producer, End::Producer)?;
    match View::map::<K>(consumer, End::Consumer) {
        Ok(back) => Ok((there.producer()?, back.consumer()?)),
        Err(error) => {
            // What somebody took away meanwhile is mapped nowhere, and its place may be another's.
            if ring_info(producer).is_ok() {
                there.unmap();
            }
            Err(error)
        }
    }
}

/// Takes over an end that was checked and mapped; from here on nothing fails but what the kernel would not have made.
fn open_producer<K: RingKind>(end: Handle) -> Result<Producer<K, RingWait>, Error> {
    let memory = producer_memory::<K>(end)?;
    Producer::attach(memory, RingWait { end }).map_err(to_abi)
}

/// The same of a consuming end.
fn open_consumer<K: RingKind>(end: Handle) -> Result<Consumer<K, RingWait>, Error> {
    let memory = consumer_memory::<K>(end)?;
    Consumer::attach(memory, RingWait { end }).map_err(to_abi)
}

/// The producing end of a SLOT ring. It can be opened once.
///
/// # Errors
/// `Unsupported`: the end is another, or the ring is of another kind; `Exists`: it is open; as of [`ring_info`]. The end
/// is the caller's still, as it was. `PeerFault`: the peer has written nonsense; the end is closed and given back then.
pub fn open_sender(end: Handle) -> Result<Sender, Error> {
    open_producer::<Slot>(end)
}

/// The consuming end of a SLOT ring, as [`open_sender`].
///
/// # Errors
/// As there.
pub fn open_receiver(end: Handle) -> Result<Receiver, Error> {
    open_consumer::<Slot>(end)
}

/// The producing end of a PACKET ring, as [`open_sender`].
///
/// # Errors
/// As there.
pub fn open_packet_sender(end: Handle) -> Result<PacketSender, Error> {
    open_producer::<Packet>(end)
}

/// The consuming end of a PACKET ring, as [`open_sender`].
///
/// # Errors
/// As there.
pub fn open_packet_receiver(end: Handle) -> Result<PacketReceiver, Error> {
    open_consumer::<Packet>(end)
}

/// The producing end of a BYTE ring, as [`open_sender`].
///
/// # Errors
/// As there.
pub fn open_byte_sender(end: Handle) -> Result<ByteSender, Error> {
    open_producer::<Byte>(end)
}

/// The consuming end of a BYTE ring, as [`open_sender`].
///
/// # Errors
/// As there.
pub fn open_byte_receiver(end: Handle) -> Result<ByteReceiver, Error> {
    open_consumer::<Byte>(end)
}

/// Ways to sleep at an end that this process has.
pub trait AtEnd: ring::Wait {
    /// The end, which stays its.
    fn handle(&self) -> Handle;

    /// The end, which is not closed.
    fn into_handle(self) -> Handle;
}

impl AtEnd for RingWait {
    fn handle(&self) -> Handle {
        self.end
    }

    fn into_handle(self) -> Handle {
        let end = self.end;
        core::mem::forget(self);
        end
    }
}

/// What every typed end can do besides.
pub trait RingEnd: Sized {
    /// The end.
    fn handle(&self) -> Handle;

    /// Gives the end up without closing it, to hand it on: whoever gets it opens it and goes on where this one
    /// stopped. What was received is given back first.
    fn into_handle(self) -> Handle;
}

impl<K: RingKind, W: AtEnd> RingEnd for Producer<K, W> {
    fn handle(&self) -> Handle {
        self.waiter().handle()
    }

    /// It has told of all that it published, with every publish.
    fn into_handle(self) -> Handle {
        self.into_waiter().into_handle()
    }
}

impl<K: RingKind, W: AtEnd> RingEnd for Consumer<K, W> {
    fn handle(&self) -> Handle {
        self.waiter().handle()
    }

    fn into_handle(self) -> Handle {
        self.into_waiter().into_handle()
    }
}

/// The error of the contract that a ring's error is. A peer that is gone without a word is `PeerClosed`, too.
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
