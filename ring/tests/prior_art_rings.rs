//! What went wrong in rings of others, and goes right here. `docs/prior-art-tests.md` says which.
#![cfg(not(loom))]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use abi::ring::{End, EndState, Geometry};
use common::{Backing, polled_bytes, polled_packets, polled_ring, sleeping_packets};
use ring::packet::{Consumer, Producer};
use ring::{Error, Polling};
use static_assertions::{assert_impl_all, assert_not_impl_any};

thread_local! {
    static ALLOCATED: Cell<u64> = const { Cell::new(0) };
}

/// Counts what each thread allocates.
struct Counting;

// SAFETY: all of it is done by `System`; counting touches no memory of the allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.set(ALLOCATED.get() + 1);
        // SAFETY: the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How often this thread allocates while something is done.
fn allocations(body: impl FnOnce()) -> u64 {
    let before = ALLOCATED.get();
    body();
    ALLOCATED.get() - before
}

/// Polling an empty ring must not either, nor being refused.
#[test]
fn an_end_sends_and_receives_without_allocating() {
    let mut slots = polled_ring(Geometry::slot(64, 8), 0);
    let mut packets = polled_packets(Geometry::packet(4096), 0);
    let mut bytes = polled_bytes(Geometry::byte(4096), 0);
    let (message, mut target) = ([7; 40], [0; 64]);
    let counted = allocations(|| {
        for _ in 0..200 {
            assert_eq!(slots.producer.try_send(&message), Ok(()));
            assert_eq!(slots.consumer.try_receive(&mut target), Ok(40));
            assert_eq!(slots.consumer.try_receive(&mut target), Err(Error::Empty));
            assert_eq!(packets.producer.try_send(1, &message), Ok(()));
            assert_eq!(packets.consumer.try_receive(&mut target), Ok((1, 40)));
            assert_eq!(packets.consumer.try_receive(&mut target), Err(Error::Empty));
            assert_eq!(bytes.producer.try_write(&message), Ok(40));
            assert_eq!(bytes.consumer.try_read(&mut target), Ok(40));
            assert_eq!(bytes.consumer.try_read(&mut target), Err(Error::Empty));
        }
        while packets.producer.try_send(1, &message).is_ok() {}
    });
    assert_eq!(counted, 0);
    assert_ne!(allocations(|| drop(Box::new(1))), 0);
}

/// Nobody but who makes a ring writes its beginning: whoever attaches later finds it as it is.
#[test]
fn what_was_sent_before_the_other_end_attached_is_received() {
    let backing = Backing::new(Geometry::packet(4096));
    let _owner = backing.format(0);
    let mut producer = Producer::attach(backing.producer_memory(), Polling).unwrap();
    producer.try_send(1, b"early").unwrap();
    producer.try_send(2, b"and another").unwrap();
    let mut consumer = Consumer::attach(backing.consumer_memory(), Polling).unwrap();
    producer.try_send(3, b"late").unwrap();
    let mut target = [0; 16];
    for (tag, length) in [(1, 5), (2, 11), (3, 4)] {
        assert_eq!(consumer.try_receive(&mut target), Ok((tag, length)));
    }
    assert_eq!(consumer.try_receive(&mut target), Err(Error::Empty));
}

/// A wait that ends at its deadline takes nothing out of the ring.
#[test]
fn a_message_that_came_at_the_deadline_is_not_lost() {
    let mut ring = sleeping_packets(Geometry::packet(4096), 0);
    let mut target = [0; 16];
    let rounds = if cfg!(miri) { 5 } else { 200 };
    std::thread::scope(|scope| {
        let (producer, kernel) = (&mut ring.producer, ring.kernel.clone());
        scope.spawn(move || {
            for number in 0..rounds {
                producer.send(number, b"message", u64::MAX).unwrap();
                std::thread::yield_now();
            }
            kernel.close(End::Producer, EndState::Draining);
        });
        let mut expected = 0;
        loop {
            // So short that it often ends while a message comes.
            let deadline = ring.kernel.now_ns() + 1;
            match ring.consumer.receive(&mut target, deadline) {
                Ok((tag, length)) => {
                    assert_eq!((tag, length), (expected, 7));
                    expected += 1;
                }
                Err(Error::TimedOut) => {}
                Err(error) => {
                    assert_eq!(error, Error::PeerClosed);
                    break;
                }
            }
        }
        assert_eq!(expected, rounds);
    });
}

/// Two tasks that send at once do not compile.
#[test]
fn an_end_changes_threads_and_is_never_in_two() {
    assert_impl_all!(Polling: Send, Sync);
    assert_impl_all!(Producer<Polling>: Send);
    assert_impl_all!(Consumer<Polling>: Send);
    assert_not_impl_any!(Producer<Polling>: Sync, Clone);
    assert_not_impl_any!(Consumer<Polling>: Sync, Clone);
    assert_not_impl_any!(ring::slot::Producer<Polling>: Sync, Clone);
    assert_not_impl_any!(ring::slot::Consumer<Polling>: Sync, Clone);
    assert_not_impl_any!(ring::byte::Producer<Polling>: Sync, Clone);
    assert_not_impl_any!(ring::byte::Consumer<Polling>: Sync, Clone);
}
