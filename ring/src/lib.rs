//! Shared-memory rings between two programs that do not trust one another.
//!
//! One end sends and the other receives: messages in slots of one size ([`slot`]), messages of any length with a tag
//! ([`packet`]), or a stream of bytes ([`byte`]). Sending and receiving are plain
//! memory accesses; the kernel is entered only to sleep, or to wake a peer that sleeps. The MMU lets each end write
//! only what is its own ([`abi::ring`] has the map), and everything that the peer can write is read once, checked,
//! and answered with [`Error::PeerFault`] when no honest peer could have written it. Nothing a peer does makes an end panic, read or write
//! outside its ring, or wait on a word in memory without end.
//!
//! ```
//! use std::ptr::NonNull;
//! use abi::ring::{Form, Geometry};
//! use ring::memory::{ConsumerMemory, Owner, ProducerMemory};
//! use ring::slot::{Consumer, Producer};
//! use ring::{Error, Polling};
//!
//! #[repr(align(4096))]
//! struct View([u8; 4 * 4096]);
//! let mut view = Box::new(View([0; 4 * 4096]));
//! let base = NonNull::from(&mut view.0).cast::<u8>();
//! let geometry = Geometry::slot(64, 8);
//!
//! // In a program the kernel has done this, and each end has its own view with its own rights.
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
//! Nothing above needs an operating system. `linux` (feature `std`) makes rings between threads and processes on Linux,
//! [`asynchronous`] has tasks wait in place of threads.
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
mod sabotage;
pub mod slot;
pub mod submission;
mod sync;
pub mod trace;
mod wait;

pub use bytes::SharedBytes;
pub use ends::{Consumer, Producer, RingKind};
pub use error::{Error, Unfinished};
pub(crate) use sabotage::sabotaged;
pub use wait::{Close, Gather, Polling, Wait};
