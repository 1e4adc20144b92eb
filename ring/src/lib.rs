//! Rings in shared memory between two sides that do not trust one another: threads, processes on Linux, or programs of a
//! kernel that uses this crate.
//!
//! One end sends and the other receives. Both are plain memory accesses; the system is entered only to sleep, or to wake a
//! peer that sleeps. There are three kinds:
//!
//! | kind | carries | sends by | receives by |
//! |---|---|---|---|
//! | [`slot`] | messages in slots of one size | [`send`](slot::Producer::send) | [`receive`](slot::Consumer::receive) |
//! | [`packet`] | messages of any length, with a tag | [`send`](packet::Producer::send) | [`receive`](packet::Consumer::receive) |
//! | [`byte`] | a stream of bytes | [`write_all`](byte::Producer::write_all) | [`read`](byte::Consumer::read) |
//!
//! Each has calls that answer at once (`try_…`), calls that wait until a deadline, and calls that write and read in place
//! (`reserve` and `commit`, `peek` and `release`); slots and packets are sent and received in batches, too. [`duplex`] makes
//! two rings one for both directions, [`mpsc`] receives from many, [`asynchronous`] has tasks wait in place of threads.
//!
#![cfg_attr(
    all(feature = "std", target_os = "linux", not(loom)),
    doc = r#"
# On Linux

With the feature `std`, [`linux`] makes rings between threads and between processes. All that is needed is this crate:

```
use ring::linux::{Geometry, pair};

// 8 slots of 64 bytes, of which a message can have 56.
let (producer, consumer) = pair(Geometry::slot(64, 8))?;
let (mut producer, mut consumer) = (producer.slot()?, consumer.slot()?);
let sender = std::thread::spawn(move || producer.send(b"hello", u64::MAX));
let mut bytes = [0; 56];
let length = consumer.receive(&mut bytes, u64::MAX)?;
assert_eq!(&bytes[..length], b"hello");
sender.join().unwrap()?;
# Ok::<(), Box<dyn std::error::Error>>(())
```
"#
)]
//!
//! # Without an operating system
//!
//! Without features the crate is `no_std`, allocates nothing, and leaves three things to whoever uses it: memory that is
//! mapped as [`memory`] has it, in which each end can write only what is its own; a way to sleep and to wake ([`Wait`]); and
//! someone who tells each end how the other ended ([`memory::Owner`]). Two ends that only poll, in memory of one thread:
//!
//! ```
//! use std::ptr::NonNull;
//! use ring::memory::{ConsumerMemory, Owner, ProducerMemory};
//! use ring::slot::{Consumer, Producer};
//! use ring::{Error, Form, Geometry, Polling};
//!
//! #[repr(align(4096))]
//! struct View([u8; 4 * 4096]);
//! let mut view = Box::new(View([0; 4 * 4096]));
//! let base = NonNull::from(&mut view.0).cast::<u8>();
//! let geometry = Geometry::slot(64, 8);
//!
//! // Where a kernel has made the ring, it has done this, and each end has its own view with its own rights.
//! // SAFETY: the view is zeroed, page-aligned, large enough for the geometry, outlives all three, and each role is taken once.
//! let (owner, producer, consumer) = unsafe {
//!     (
//!         Owner::format(base, geometry, Form::Symmetric, 0, 1).unwrap(),
//!         ProducerMemory::from_raw(base, geometry).unwrap(),
//!         ConsumerMemory::from_raw(base, geometry).unwrap(),
//!     )
//! };
//! let mut producer = Producer::attach(producer, Polling)?;
//! let mut consumer = Consumer::attach(consumer, Polling)?;
//!
//! producer.try_send(b"hello")?;
//! let mut bytes = [0; 56];
//! let length = consumer.try_receive(&mut bytes)?;
//! assert_eq!(&bytes[..length], b"hello");
//! assert_eq!(consumer.try_receive(&mut bytes), Err(Error::Empty));
//! # drop(owner);
//! # Ok::<(), Error>(())
//! ```
//!
//! # For kernels, and those who make one
//!
//! These modules are what a kernel and its programs share beside the rings, and nothing of them is needed on Linux or for the
//! ends above: [`index`], how indices are compared, also by who plays the kernel's part; [`hub`], how a seat of many guests
//! with one host stands; [`payload`], messages of any size in pools and regions that both sides map; [`submission`], how the
//! program of a submission ring enters its kernel only if it must; [`trace`], a ring that nobody waits for.
//!
//! # What a peer can do
//!
//! Everything that the peer can write is read once, checked, and answered with [`Error::PeerFault`] when no honest peer
//! could have written it. Nothing a peer does makes an end panic, read or write outside its ring, or wait on a word
//! in memory without end.
//!
//! What is *not* guaranteed: that the peer ever sends or receives, that the bytes of a message mean anything, or that a
//! message's bytes stay the same between two looks at them before it is released: copy them out once, then judge the copy.
#![no_std]
#![deny(unsafe_code)]

#[cfg(any(loom, test, feature = "std", all(sabotage, not(target_os = "none"))))]
extern crate std;

pub mod asynchronous;
pub mod byte;
mod bytes;
pub mod duplex;
mod ends;
mod error;
pub mod hub;
pub mod index;
#[cfg(all(feature = "std", target_os = "linux", not(loom)))]
pub mod linux;
#[cfg(not(loom))]
pub mod memory;
#[cfg(loom)]
#[path = "memory_model.rs"]
pub mod memory;
pub mod mpsc;
pub mod packet;
pub mod payload;
#[doc(hidden)]
pub mod sabotage;
pub mod slot;
pub mod submission;
mod sync;
pub mod trace;
mod wait;

pub use abi::ring::{End, EndState, Form, Geometry, GeometryError, Kind};
pub use bytes::SharedBytes;
pub use ends::{Consumer, Producer, RingKind};
pub use error::{Error, Unanswered, Unfinished};
pub use wait::{Close, Gather, Polling, Turn, Wait};
