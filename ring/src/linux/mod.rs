//! Rings on Linux, between threads and between processes that need not trust one another.
//!
//! # Between threads
//!
//! ```
//! use ring::linux::{Geometry, pair};
//!
//! // 1,024 slots of 64 bytes, of which a message can have 56.
//! let (producer, consumer) = pair(Geometry::slot(64, 1024))?;
//! let mut producer = producer.slot()?;
//! let mut consumer = consumer.slot()?;
//! let sender = std::thread::spawn(move || {
//!     for number in 0..100_000_u64 {
//!         producer.send(&number.to_le_bytes(), u64::MAX)?;
//!     }
//!     Ok::<(), ring::Error>(())
//! });
//! let mut bytes = [0; 8];
//! let mut received = 0;
//! // The end that is dropped is closed, and what it sent is received first.
//! while consumer.receive(&mut bytes, u64::MAX).is_ok() {
//!     assert_eq!(u64::from_le_bytes(bytes), received);
//!     received += 1;
//! }
//! assert_eq!(received, 100_000);
//! sender.join().unwrap()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Between processes
//!
//! One process [offers](Connection::produce) a ring over a Unix socket, the other looks at the [`Offer`] and accepts. Each
//! makes the pages that it writes, and nobody else can write them: the files behind them are sealed before they are
//! passed on. Whoever gets such a file checks that it can't shrink under its hands, so a peer can't end this process either.
//!
//! ```
//! use std::time::Duration;
//! use ring::linux::{Connection, Geometry, Listener, deadline_in};
//!
//! # let directory = std::env::temp_dir().join(format!("handover-ring-doc-{}", std::process::id()));
//! # std::fs::create_dir_all(&directory)?;
//! # let path = directory.join("log");
//! # let client_path = path.clone();
//! let listener = Listener::bind(&path)?;
//! # let client = std::thread::spawn(move || -> Result<(), ring::linux::Error> {
//! # let path = client_path;
//! // In another process:
//! let connection = Connection::connect(&path)?;
//! let mut producer = connection
//!     .produce(Geometry::slot(256, 64), deadline_in(Duration::from_secs(5)))?
//!     .slot()?;
//! producer.send(b"hello", deadline_in(Duration::from_secs(5)))?;
//! # Ok(())
//! # });
//!
//! // Here:
//! let offer = listener.accept(u64::MAX)?.offer(deadline_in(Duration::from_secs(5)))?;
//! assert!(offer.geometry().data_bytes() <= 1 << 20);
//! let mut consumer = offer.consume()?.slot()?;
//! let mut bytes = [0; 248];
//! let length = consumer.receive(&mut bytes, u64::MAX)?;
//! assert_eq!(&bytes[..length], b"hello");
//! // A peer that is gone, however it went, is no more than an answer.
//! assert_eq!(consumer.receive(&mut bytes, u64::MAX), Err(ring::Error::PeerClosed));
//! # client.join().unwrap()?;
//! # std::fs::remove_dir_all(&directory)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Who wants to be answered makes a [duplex](Connection::duplex), two rings over one connection.
//!
//! # How large
//!
//! A [`Geometry`] is a kind and a size. Slots are multiples of 64 bytes, of which a message can have 8 less; there
//! are 1, 2, 4, 8, and so on of them. PACKET and BYTE rings have so many bytes, a power of two from 4096 on; the
//! longest message of a PACKET ring has 64 less, as [`Geometry::max_message_bytes`] says. No ring has more than
//! [`MAX_DATA_BYTES`]. Who knows how long messages get and how much memory there is asks for
//! [`Setup::for_messages`]:
//!
//! ```
//! use ring::linux::{Kind, Setup};
//!
//! // Messages of up to 1500 bytes, and 256 KiB for all that were not received yet.
//! let (producer, _consumer) = Setup::for_messages(Kind::Slot, 1500, 256 << 10)?.pair()?;
//! assert_eq!((producer.geometry().slot_size, producer.geometry().capacity), (1536, 128));
//! # Ok::<(), ring::linux::Error>(())
//! ```
//!
//! # A stream of bytes
//!
//! ```
//! use ring::linux::{Geometry, pair};
//!
//! let (producer, consumer) = pair(Geometry::byte(4096))?;
//! let (mut producer, mut consumer) = (producer.byte()?, consumer.byte()?);
//! producer.write_all(b"one line\nanother", u64::MAX)?;
//! producer.finish()?;
//! // What is there is in one piece, and is copied out once.
//! let chunk = consumer.peek(4096)?;
//! let mut text = vec![0; chunk.len()];
//! chunk.read(0, &mut text)?;
//! let line = 1 + text.iter().position(|&byte| byte == b'\n').unwrap();
//! chunk.release(line)?;
//! let mut rest = [0; 7];
//! consumer.read_exact(&mut rest, u64::MAX)?;
//! assert_eq!(&rest, b"another");
//! assert_eq!(consumer.try_read(&mut rest), Err(ring::Error::PeerClosed));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Waiting
//!
//! Each call that waits takes a deadline, nanoseconds of the monotonic clock as [`deadline_in`] counts them: 0 does
//! not wait, `u64::MAX` waits for ever. A [`Canceller`] ends a wait from another thread. A threshold has an end sleep
//! until there is so much that it is worth being woken:
//!
//! ```
//! use std::time::Duration;
//! use ring::linux::{Geometry, deadline_in, pair};
//!
//! let (producer, consumer) = pair(Geometry::slot(64, 64))?;
//! let canceller = consumer.canceller();
//! let (mut producer, mut consumer) = (producer.slot()?, consumer.slot()?);
//! let mut bytes = [0; 56];
//! let soon = deadline_in(Duration::from_millis(1));
//! assert_eq!(consumer.receive(&mut bytes, soon), Err(ring::Error::TimedOut));
//! // The producer is woken for 16 slots that are free, the consumer for 16 messages, or when the other closes.
//! producer.set_wake_threshold(16)?;
//! consumer.set_wake_threshold(16)?;
//! let receiver = std::thread::spawn(move || {
//!     let mut received = 0;
//!     loop {
//!         match consumer.receive(&mut bytes, u64::MAX) {
//!             Ok(_) => received += 1,
//!             Err(error) => return (received, error),
//!         }
//!     }
//! });
//! for _ in 0..100 {
//!     producer.send(b"message", u64::MAX)?;
//! }
//! // Without this it would wait for the next 16.
//! canceller.cancel();
//! assert_eq!(receiver.join().unwrap().1, ring::Error::Cancelled);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A thread that waits for many rings sleeps at a [`Gathering`], and tasks of an executor wait by [`crate::asynchronous`].
//! Neither sleeps where a peer in another process would wake a thread. So whoever has one of them wait between processes
//! says it when the ring is made, by [`Setup::for_tasks`] or [`Offer::for_tasks`].
//!
//! # What it costs
//!
//! Who publishes a message looks whether the peer sleeps, and who goes to sleep looks whether a message was published. Between
//! its own word and its look each needs a fence, and there are two forms of a ring, which [`Form`] names:
//!
//! - *symmetric*: each executes a fence of its own, at every message;
//! - *asymmetric*: whoever goes to sleep has the fence executed on both sides, by one `membarrier(2)` that interrupts the CPUs on
//!   which registered processes run, a few microseconds; a message has none.
//!
//! Rings are asymmetric unless the system forbids that call or one side has asked for the other form ([`Setup::symmetric`]).
//! A message to a receiver that is awake costs no system call. Waking a sleeping thread is one `futex(2)`, going to sleep
//! one `futex_waitv(2)` after a short time of looking. A process has one thread that listens to all its peers, once it has one.
//!
//! # What is not promised
//!
//! - It needs Linux 5.16 (`futex_waitv`) and a little-endian machine with pages of 4 KiB.
//! - That a process is dead is noticed by its socket, which a child keeps open that inherited it: nothing here
//!   survives `exec`, but a child of `fork` without `exec` does keep it, until it drops its copy of the end. That is all
//!   that such a child may do with what it inherited: to drop it touches nothing of its parent's, and to use it is
//!   undefined, for the memory of the ring is not there. Rings that the child makes itself are as any others.
//! - A peer that changes its index again and again, or sends bytes over the socket, costs this process CPU time until it
//!   hangs up on it: by the deadline of a wait, or by dropping the end. The thread that the bytes keep busy is the one that listens
//!   to all peers.
//! - The first asymmetric ring that a process makes or accepts registers it for `membarrier(2)` (`GLOBAL_EXPEDITED`). From then on
//!   any process of the system, one that has no ring too, can interrupt the CPUs on which it runs by calling that in a loop.
//!   [`Setup::symmetric`] and [`Offer::symmetric`] keep a process from it as long as all its rings are made so.
//! - A process that stops, but lives, is not noticed: give waits a deadline.
//! - A waker that panics does so for itself: nothing else notices, not even who woke it.

mod connection;
mod duplex;
mod ends;
mod error;
mod gathering;
mod handshake;
mod link;
mod memory;
mod process;
mod remote;
mod setup;

use std::time::Duration;

pub use abi::ring::{End, EndState, Form, Geometry, Kind};
pub use connection::{Connection, Listener, Offer, Peer};
pub use duplex::{DuplexEnds, DuplexOffer, Side};
pub use ends::{ConsumerEnd, ProducerEnd};
pub use error::{Error, Fault};
pub use gathering::Gathering;
pub use link::{Canceller, Futex};
pub use setup::Setup;

/// The largest data of a ring, in bytes: 1 GiB. A peer can't make this process reserve more address space than twice as much.
pub const MAX_DATA_BYTES: u64 = 1 << 30;

/// Both ends of a ring in this process.
///
/// # Errors
/// As [`Setup::pair`].
pub fn pair(geometry: Geometry) -> Result<(ProducerEnd, ConsumerEnd), Error> {
    Setup::new(geometry).pair()
}

/// The clock of all deadlines: nanoseconds of the monotonic clock.
pub fn now_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// The deadline that is `duration` away from now; for ever if that is too far.
pub fn deadline_in(duration: Duration) -> u64 {
    let duration_ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    now_ns().saturating_add(duration_ns)
}
