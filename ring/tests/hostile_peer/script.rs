//! Plays a script of bytes against both ends of a ring: what they are asked for, and what a peer writes in between.
//!
//! Whatever the script is, no end panics, reads or writes outside of its ring, or takes back that its peer is faulty.
//! The fuzzer and the tests of this crate include this file, and so does the guest suite, whose rings are the kernel's:
//! it needs `core` alone.

use abi::ring::{
    CONSUMER_OFFSET, DATA_OFFSET, End, Geometry, HEADER_OFFSET, Header, Kind, PRODUCER_OFFSET,
};
use ring::memory::{ConsumerMemory, ProducerMemory};
use ring::{Error, Wait, byte, packet, slot};

use crate::script::Script;

const TARGET_BYTES: usize = 5000;

/// A ring that was made for a script.
pub trait Shared {
    /// How its ends sleep and wake. No script sleeps: a deadline has always passed.
    type Wait: Wait;

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

/// Both ends of a ring of any kind.
enum Ends<W: Wait> {
    Slot(slot::Producer<W>, slot::Consumer<W>),
    Byte(byte::Producer<W>, byte::Consumer<W>),
    Packet(packet::Producer<W>, packet::Consumer<W>),
}

impl<W: Wait> Ends<W> {
    fn attach(shared: &impl Shared<Wait = W>) -> Result<Self, Error> {
        let ((sends, wakes), (receives, waits)) = (shared.producer(), shared.consumer());
        Ok(match shared.geometry().kind {
            Kind::Slot => Self::Slot(
                slot::Producer::attach(sends, wakes)?,
                slot::Consumer::attach(receives, waits)?,
            ),
            Kind::Byte => Self::Byte(
                byte::Producer::attach(sends, wakes)?,
                byte::Consumer::attach(receives, waits)?,
            ),
            Kind::Packet => Self::Packet(
                packet::Producer::attach(sends, wakes)?,
                packet::Consumer::attach(receives, waits)?,
            ),
        })
    }

    /// Sends in one of the ways there are.
    fn send(&mut self, way: u8, length: usize) -> Result<(), Error> {
        let bytes = [way; TARGET_BYTES];
        let copied = &bytes[..length.min(TARGET_BYTES)];
        match (self, way % 4) {
            (Self::Slot(producer, _), 0) => producer.try_send(copied),
            (Self::Byte(producer, _), 0) => producer.try_write(copied).map(|written| {
                assert!(written <= copied.len());
            }),
            (Self::Packet(producer, _), 0) => producer.try_send(way.into(), copied),
            (Self::Slot(producer, _), 1) => producer.send_batch(&[copied, &[], copied]).map(drop),
            (Self::Byte(producer, _), 1) => producer
                .write_all(copied, 0)
                .map_err(|stopped| stopped.error),
            (Self::Packet(producer, _), 1) => {
                let batch = [(1, copied), (2, &[][..]), (3, copied)];
                producer.send_batch(batch).map(drop)
            }
            (Self::Slot(producer, _), 2) => producer.arm(1).map(drop),
            (Self::Byte(producer, _), 2) => producer.arm(length as u32).map(drop),
            (Self::Packet(producer, _), 2) => {
                let wanted = producer.bytes_of_ring(length)?;
                producer.arm(wanted).map(drop)
            }
            (Self::Slot(producer, _), _) => {
                let mut reservation = producer.reserve(length)?;
                fill(reservation.as_mut_slice(), way, length);
                reservation.commit(length / 2)
            }
            (Self::Byte(producer, _), _) => {
                let mut reservation = producer.reserve(length)?;
                fill(reservation.as_mut_slice(), way, length);
                reservation.commit(length / 2)
            }
            (Self::Packet(producer, _), _) => {
                let mut reservation = producer.reserve(length)?;
                fill(reservation.as_mut_slice(), way, length);
                reservation.commit_first(1, length / 2)
            }
        }
    }

    /// Receives in one of the ways there are.
    fn receive(&mut self, way: u8, length: usize) -> Result<(), Error> {
        match self {
            Self::Slot(_, consumer) => {
                receive!(consumer, way, length, [there => there], [bytes => bytes])
            }
            Self::Packet(_, consumer) => {
                receive!(consumer, way, length, [(_, there) => there], [_, bytes => bytes])
            }
            Self::Byte(_, consumer) => read(consumer, way, length),
        }
    }

    /// What each end counts.
    fn counts(&mut self) -> [Result<u32, Error>; 2] {
        match self {
            Self::Slot(producer, consumer) => [producer.len(), consumer.len()],
            Self::Byte(producer, consumer) => [producer.len(), consumer.len()],
            Self::Packet(producer, consumer) => [producer.len(), consumer.len()],
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
    while !script.is_over() {
        let act = script.byte();
        match act % 8 {
            0 | 1 => {
                // Nothing is asked of an end that passes no bytes of a stream.
                let least = usize::from(geometry.kind == Kind::Byte);
                let answer = ends.send(act / 8, script.length().max(least));
                assert!(!faulty[0] || answer.is_err(), "{answer:?} to who is faulty");
            }
            2 | 3 => {
                let least = usize::from(geometry.kind == Kind::Byte);
                let answer = ends.receive(act / 8, script.length().max(least));
                let allowed = answer.is_err() || !faulty[1];
                assert!(allowed, "{answer:?} from who is faulty");
            }
            4 | 5 => overwrite(&shared, &mut script),
            6 => {
                let counts = ends.counts();
                for (count, faulty) in counts.into_iter().zip(&mut faulty) {
                    assert!(count.unwrap_or(0) <= geometry.capacity);
                    // Nothing but the peer's words makes counting fail, and then for good.
                    assert!(!*faulty || count == Err(Error::PeerFault), "{count:?}");
                    *faulty = count == Err(Error::PeerFault);
                }
            }
            _ => {
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
