//! Plays a script of bytes against both ends of a ring: what they are asked for, and what a peer writes in between.
//!
//! Whatever the script is, no end panics, reads or writes outside of its ring, or takes back that its peer is faulty.
//! The fuzzer and the tests of this crate include this file, and so does the guest suite, whose rings are the kernel's:
//! it needs `core` alone.

#[path = "waiting.rs"]
mod waiting;

use abi::ring::{
    CONSUMER_OFFSET, DATA_OFFSET, End, Geometry, HEADER_OFFSET, Header, Kind, PRODUCER_OFFSET,
};
use ring::byte::Byte;
use ring::duplex::{Deferring, Duplex};
use ring::memory::{ConsumerMemory, ProducerMemory};
use ring::packet::Packet;
use ring::slot::Slot;
use ring::{Error, RingKind, Turn, Wait, byte, packet, slot};

use crate::script::Script;

const TARGET_BYTES: usize = 5000;

/// A time that has passed: who waits until it does all that is to be done for a sleep.
const PASSED_NS: u64 = 1;

/// Acts from here on are of ends that wait.
const WAITING: u8 = 224;

/// A ring that was made for a script.
pub trait Shared {
    /// How its ends sleep and wake. No script sleeps: a deadline has always passed, whatever is woken before.
    type Wait: Turn<Self::Wait>;

    /// What it was made as.
    fn geometry(&self) -> Geometry;

    /// The producer's part. A new one takes the place of the last.
    fn producer(&self) -> (ProducerMemory, Self::Wait);

    /// The consumer's part, in the same way.
    fn consumer(&self) -> (ConsumerMemory, Self::Wait);

    /// The index that an end last stored, or that was written over it.
    fn index(&self, end: End) -> u32;

    /// Writes a word at a byte offset of the view, if anybody can.
    fn overwrite(&self, offset: usize, value: u32);
}

impl Script<'_> {
    /// Short ones more often than long ones, and some that never fit.
    fn length(&mut self) -> usize {
        match self.byte() {
            short @ 0..200 => short.into(),
            255 => 1 << 30,
            _ => usize::from(self.byte()) * 20,
        }
    }

    /// Any word, or one near something that may be right.
    fn lie(&mut self, near: u32) -> u32 {
        match self.byte() % 4 {
            0 => self.word(),
            1 => near.wrapping_add(u32::from(self.byte()) * 8),
            2 => near.wrapping_sub(self.byte().into()),
            _ => self.byte().into(),
        }
    }
}

/// Receives whole messages in one of the ways there are: SLOT and PACKET differ in what an answer has beside the bytes.
macro_rules! receive {
    ($consumer:ident, $way:ident, $length:ident, [$received:pat => $there:ident], [$($each:pat),* => $bytes:ident]) => {{
        let mut target = [0; TARGET_BYTES];
        let room = &mut target[..$length.min(TARGET_BYTES)];
        let most = room.len();
        match $way % 4 {
            0 => $consumer.try_receive(room).map(|$received| assert!($there <= most)),
            1 => $consumer
                .receive_batch(3, |$($each),*| {
                    assert_eq!($bytes.copy_to(&mut target), Ok($bytes.len()));
                })
                .map(drop),
            2 => {
                $consumer.flush();
                $consumer.arm().map(drop)
            }
            _ => {
                let longest = $consumer.max_message_bytes();
                let message = $consumer.peek()?;
                assert!(message.len() <= longest);
                message.read(0, &mut target[..message.len()])?;
                message.release();
                Ok(())
            }
        }
    }};
}

fn receive_slots<W: Wait>(
    consumer: &mut slot::Consumer<W>,
    way: u8,
    length: usize,
) -> Result<(), Error> {
    receive!(consumer, way, length, [there => there], [bytes => bytes])
}

fn receive_packets<W: Wait>(
    consumer: &mut packet::Consumer<W>,
    way: u8,
    length: usize,
) -> Result<(), Error> {
    receive!(consumer, way, length, [(_, there) => there], [_, bytes => bytes])
}

/// Reads from a stream in one of the ways there are.
fn read<W: Wait>(consumer: &mut byte::Consumer<W>, way: u8, length: usize) -> Result<(), Error> {
    let mut target = [0; TARGET_BYTES];
    let room = &mut target[..length.min(TARGET_BYTES)];
    let most = room.len();
    match way % 4 {
        0 => consumer.try_read(room).map(|length| {
            assert!(length <= most);
        }),
        1 => consumer
            .read_exact(room, 0)
            .map_err(|stopped| stopped.error),
        2 => {
            consumer.flush();
            consumer.arm().map(drop)
        }
        _ => {
            let chunk = consumer.peek(length)?;
            let there = chunk.len();
            assert!(there <= length);
            chunk.read(0, &mut target[..there])?;
            chunk.release(there / 2)
        }
    }
}

/// Fills what was reserved, all of it.
fn fill(reserved: &mut [u8], way: u8, length: usize) {
    assert_eq!(reserved.len(), length);
    reserved.fill(way);
}

/// Both ends of a ring, as a side of two of them that hears what it says.
type Both<K, W> = Duplex<ring::Producer<K, Deferring<W>>, ring::Consumer<K, W>>;

/// Both ends of a ring of any kind.
enum Ends<W: Turn<W>> {
    Slot(Both<Slot, W>),
    Byte(Both<Byte, W>),
    Packet(Both<Packet, W>),
}

fn producer<K: RingKind, S: Shared, W: Wait>(
    shared: &S,
    wait: impl FnOnce(S::Wait) -> W,
) -> Result<ring::Producer<K, W>, Error> {
    let (memory, wakes) = shared.producer();
    ring::Producer::attach(memory, wait(wakes))
}

fn consumer<K: RingKind, S: Shared, W: Wait>(
    shared: &S,
    wait: impl FnOnce(S::Wait) -> W,
) -> Result<ring::Consumer<K, W>, Error> {
    let (memory, waits) = shared.consumer();
    ring::Consumer::attach(memory, wait(waits))
}

fn both<K: RingKind, S: Shared>(shared: &S) -> Result<Both<K, S::Wait>, Error> {
    let sender = producer(shared, Deferring::new)?;
    Ok(Duplex::new(sender, consumer(shared, |waits| waits)?))
}

impl<W: Turn<W>> Ends<W> {
    fn attach(shared: &impl Shared<Wait = W>) -> Result<Self, Error> {
        Ok(match shared.geometry().kind {
            Kind::Slot => Self::Slot(both(shared)?),
            Kind::Byte => Self::Byte(both(shared)?),
            Kind::Packet => Self::Packet(both(shared)?),
        })
    }

    /// Sends in one of the ways there are.
    fn send(&mut self, way: u8, length: usize) -> Result<(), Error> {
        let bytes = [way; TARGET_BYTES];
        let copied = &bytes[..length.min(TARGET_BYTES)];
        match (self, way % 4) {
            (Self::Slot(ends), 0) => ends.sender.try_send(copied),
            (Self::Byte(ends), 0) => ends.sender.try_write(copied).map(|written| {
                assert!(written <= copied.len());
            }),
            (Self::Packet(ends), 0) => ends.sender.try_send(way.into(), copied),
            (Self::Slot(ends), 1) => ends.sender.send_batch(&[copied, &[], copied]).map(drop),
            (Self::Byte(ends), 1) => ends
                .sender
                .write_all(copied, 0)
                .map_err(|stopped| stopped.error),
            (Self::Packet(ends), 1) => {
                let batch = [(1, copied), (2, &[][..]), (3, copied)];
                ends.sender.send_batch(batch).map(drop)
            }
            (Self::Slot(ends), 2) => ends.sender.arm(1).map(drop),
            (Self::Byte(ends), 2) => ends.sender.arm(length as u32).map(drop),
            (Self::Packet(ends), 2) => {
                let wanted = ends.sender.bytes_of_ring(length)?;
                ends.sender.arm(wanted).map(drop)
            }
            (Self::Slot(ends), _) => {
                let mut reservation = ends.sender.reserve(length)?;
                fill(reservation.as_mut_slice(), way, length);
                reservation.commit(length / 2)
            }
            (Self::Byte(ends), _) => {
                let mut reservation = ends.sender.reserve(length)?;
                fill(reservation.as_mut_slice(), way, length);
                reservation.commit(length / 2)
            }
            (Self::Packet(ends), _) => {
                let mut reservation = ends.sender.reserve(length)?;
                fill(reservation.as_mut_slice(), way, length);
                reservation.commit_first(1, length / 2)
            }
        }
    }

    /// Receives in one of the ways there are.
    fn receive(&mut self, way: u8, length: usize) -> Result<(), Error> {
        match self {
            Self::Slot(ends) => receive_slots(&mut ends.receiver, way, length),
            Self::Packet(ends) => receive_packets(&mut ends.receiver, way, length),
            Self::Byte(ends) => read(&mut ends.receiver, way, length),
        }
    }

    /// Sends until a time that has passed.
    fn send_asleep(&mut self, length: usize) -> Result<(), Error> {
        let bytes = &[7; TARGET_BYTES][..length.min(TARGET_BYTES)];
        match self {
            Self::Slot(ends) => ends.sender.send(bytes, PASSED_NS),
            Self::Packet(ends) => ends.sender.send(7, bytes, PASSED_NS),
            Self::Byte(ends) => {
                let written = ends.sender.write_all(bytes, PASSED_NS);
                written.map_err(|stopped| stopped.error)
            }
        }
    }

    /// Receives in the same way.
    fn receive_asleep(&mut self, length: usize) -> Result<(), Error> {
        let target = &mut [0; TARGET_BYTES][..length.min(TARGET_BYTES)];
        let most = target.len();
        let there = match self {
            Self::Slot(ends) => ends.receiver.receive(target, PASSED_NS)?,
            Self::Packet(ends) => ends.receiver.receive(target, PASSED_NS)?.1,
            Self::Byte(ends) => ends.receiver.read(target, PASSED_NS)?,
        };
        assert!(there <= most);
        Ok(())
    }

    /// Sends, and receives what is there next.
    fn exchange(&mut self, length: usize) -> Result<(), Error> {
        let bytes = &[7; TARGET_BYTES][..length.min(TARGET_BYTES)];
        let target = &mut [0; TARGET_BYTES];
        let exchanged = match self {
            Self::Slot(ends) => ends.exchange(bytes, target, PASSED_NS),
            Self::Packet(ends) => {
                let exchanged = ends.exchange((7, bytes), target, PASSED_NS);
                exchanged.map(|(_, there)| there)
            }
            Self::Byte(ends) => ends.turn(
                |sender| sender.try_write(bytes).map(drop),
                |receiver| receiver.try_read(target),
                PASSED_NS,
            ),
        };
        let there = exchanged.map_err(|unanswered| unanswered.error())?;
        assert!(there <= TARGET_BYTES);
        Ok(())
    }

    /// What each end counts.
    fn counts(&mut self) -> [Result<u32, Error>; 2] {
        match self {
            Self::Slot(ends) => [ends.sender.len(), ends.receiver.len()],
            Self::Byte(ends) => [ends.sender.len(), ends.receiver.len()],
            Self::Packet(ends) => [ends.sender.len(), ends.receiver.len()],
        }
    }
}

fn geometry(script: &mut Script<'_>) -> Geometry {
    match script.byte() % 4 {
        0 => Geometry::slot(64, 1 << (script.byte() % 5)),
        1 => Geometry::slot(4160, 2),
        2 => Geometry::byte(4096),
        _ => Geometry::packet(4096),
    }
}

/// One of the words that some end reads and the other, or the kernel, writes.
fn overwrite(shared: &impl Shared, script: &mut Script<'_>) {
    let geometry = shared.geometry();
    let (tail, head) = (shared.index(End::Producer), shared.index(End::Consumer));
    let (offset, near) = match script.byte() % 12 {
        0 => (HEADER_OFFSET + Header::state_offset(End::Producer), 1),
        1 => (HEADER_OFFSET + Header::state_offset(End::Consumer), 1),
        // All that was checked when the ends were attached.
        2 => (HEADER_OFFSET + 4 * usize::from(script.byte() % 8), 1),
        3 | 4 => (PRODUCER_OFFSET, tail),
        5 => (PRODUCER_OFFSET + 128, head),
        6 | 7 => (CONSUMER_OFFSET, head),
        8 => (CONSUMER_OFFSET + 128, tail),
        _ => {
            let data = geometry.data_bytes() as usize;
            let around = match geometry.kind {
                Kind::Slot => {
                    let position = head & (geometry.capacity - 1);
                    geometry.slot_offset(position) as usize
                }
                Kind::Byte | Kind::Packet => head as usize & (data - 1),
            };
            let place = around + 4 * usize::from(script.byte() % 8);
            (DATA_OFFSET + place % data / 4 * 4, tail)
        }
    };
    shared.overwrite(offset, script.lie(near));
}

/// Plays a script against a ring that is made to begin at an index, and stops when an end finds its peer faulty at
/// attaching.
pub fn play<S: Shared>(script: &[u8], make: impl FnOnce(Geometry, u32) -> S) {
    let mut script = Script::new(script);
    let geometry = geometry(&mut script);
    let granule = geometry.granule();
    let start = script.lie(0) / granule * granule;
    let shared = make(geometry, start);
    let mut ends = Ends::attach(&shared).expect("nobody has lied yet");
    let mut faulty = [false; 2];
    // Nothing is asked of an end that passes no bytes of a stream.
    let least = usize::from(geometry.kind == Kind::Byte);
    while !script.is_over() {
        let act = script.byte();
        let waits = act.checked_sub(WAITING);
        match (waits, act % 8) {
            (None, 0 | 1) => {
                let answer = ends.send(act / 8, script.length().max(least));
                assert!(!faulty[0] || answer.is_err(), "{answer:?} to who is faulty");
            }
            (None, 2 | 3) => {
                let answer = ends.receive(act / 8, script.length().max(least));
                let allowed = answer.is_err() || !faulty[1];
                assert!(allowed, "{answer:?} from who is faulty");
            }
            (None, 4 | 5) => overwrite(&shared, &mut script),
            (None, 6) => {
                let counts = ends.counts();
                for (count, faulty) in counts.into_iter().zip(&mut faulty) {
                    assert!(count.unwrap_or(0) <= geometry.capacity);
                    // Nothing but the peer's words makes counting fail, and then for good.
                    assert!(!*faulty || count == Err(Error::PeerFault), "{count:?}");
                    *faulty = count == Err(Error::PeerFault);
                }
            }
            (Some(_), 0 | 4) => {
                let answer = ends.send_asleep(script.length().max(least));
                assert!(!faulty[0] || answer.is_err(), "{answer:?} to who is faulty");
            }
            (Some(_), 1 | 5) => {
                let answer = ends.receive_asleep(script.length().max(least));
                let allowed = answer.is_err() || !faulty[1];
                assert!(allowed, "{answer:?} from who is faulty");
            }
            (Some(_), 2 | 6) => {
                let answer = ends.exchange(script.length().max(least));
                let allowed = answer.is_err() || faulty == [false; 2];
                assert!(allowed, "{answer:?} with who is faulty");
            }
            _ => {
                if let Some(waits) = waits {
                    waiting::pass_to_others(&shared, waits / 4, script.length().max(least));
                }
                // Another holder. It believes in what is stored no more than the last one.
                match Ends::attach(&shared) {
                    Ok(attached) => (ends, faulty) = (attached, [false; 2]),
                    Err(error) => {
                        let possible = [Error::PeerFault, Error::Invalid, Error::Unsupported];
                        return assert!(possible.contains(&error), "{error}");
                    }
                }
            }
        }
    }
}
