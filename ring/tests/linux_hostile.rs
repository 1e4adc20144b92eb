//! A peer on Linux that keeps to nothing once there is a ring: in its pages and over the socket.
#![cfg(all(feature = "std", target_os = "linux", not(loom)))]

mod linux_peer;

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use abi::ring::{DATA_OFFSET, IndexPage, PAGE_BYTES, slot_word};
use linux_peer::*;
use ring::linux::{Connection, End, EndState, Futex, Setup, deadline_in, now_ns};
use ring::{Error, Wait, slot};
use rustix::mm::{MapFlags, ProtFlags};

/// The pages of a hostile end, which it writes as it likes.
struct Pages {
    base: *mut u8,
    file: OwnedFd,
    bytes: usize,
}

// SAFETY: it is memory that all threads reach, through atomics.
unsafe impl Send for Pages {}
// SAFETY: as above.
unsafe impl Sync for Pages {}

impl Pages {
    fn new(end: End) -> Self {
        let bytes = file_bytes(end);
        let file = unsealed(bytes);
        // SAFETY: without an address it takes what is free.
        let base = unsafe {
            rustix::mm::mmap(
                std::ptr::null_mut(),
                bytes as usize,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
                &file,
                0,
            )
        };
        rustix::fs::fcntl_add_seals(&file, ALL_SEALS).unwrap();
        let pages = Self {
            base: base.unwrap().cast(),
            file,
            bytes: bytes as usize,
        };
        if end == End::Producer {
            for position in 0..GEOMETRY.capacity {
                let word = GEOMETRY.initial_word(0, position);
                let at = PAGE_BYTES + GEOMETRY.slot_offset(position) as usize;
                pages.word(at).store(word as u32, Ordering::Relaxed);
                pages
                    .word(at + 4)
                    .store((word >> 32) as u32, Ordering::Relaxed);
            }
        }
        pages
    }

    fn word(&self, offset: usize) -> &AtomicU32 {
        assert!(offset.is_multiple_of(4) && offset < self.bytes);
        // SAFETY: in the mapping, which lives to the end of the process, and aligned.
        unsafe { AtomicU32::from_ptr(self.base.add(offset).cast()) }
    }
}

/// An honest end whose peer is the test, with the peer's pages and its socket.
fn meet<T: Send + 'static>(
    end: End,
    honest: impl FnOnce(Connection) -> T + Send + 'static,
) -> (T, Pages, Connection) {
    meet_as(message(ANSWER, end), end, honest)
}

/// The same, with another answer to what the honest end offers.
fn meet_as<T: Send + 'static>(
    answer: [u32; 16],
    end: End,
    honest: impl FnOnce(Connection) -> T + Send + 'static,
) -> (T, Pages, Connection) {
    let (one, hostile) = Connection::pair().unwrap();
    let peer = thread::spawn(move || honest(one));
    let (_, _file) = receive(&hostile);
    let pages = Pages::new(end);
    send(&hostile, &bytes_of(&answer), &[pages.file.as_fd()]);
    (peer.join().unwrap(), pages, hostile)
}

fn setup() -> Setup {
    Setup::new(GEOMETRY).symmetric()
}

#[test]
fn a_peer_that_publishes_by_hand_is_understood() {
    let (end, pages, _socket) = meet(End::Producer, |one| setup().consume(one, soon()).unwrap());
    let mut end = end.slot().unwrap();
    pages
        .word(PAGE_BYTES + 8)
        .store(0x6f6c_6548, Ordering::Relaxed);
    pages.word(PAGE_BYTES + 4).store(4, Ordering::Relaxed);
    pages.word(PAGE_BYTES).store(1, Ordering::Release);
    let mut bytes = [0; 56];
    assert_eq!(end.receive(&mut bytes, soon()), Ok(4));
    assert_eq!(&bytes[..4], b"Helo");
}

#[test]
fn whatever_a_hostile_producer_writes_ends_in_an_answer() {
    let (end, pages, _socket) = meet(End::Producer, |one| setup().consume(one, soon()).unwrap());
    let mut end = end.slot().unwrap();
    let mut random = fastrand::Rng::with_seed(3);
    let mut received = 0_u32;
    for _ in 0..2_000 {
        let index = received & (GEOMETRY.capacity - 1);
        let slot = PAGE_BYTES + GEOMETRY.slot_offset(index) as usize;
        // Sometimes what an honest one would write, so that it goes on for a while.
        let word = slot_word(received.wrapping_add(1), random.u32(..60));
        pages
            .word(slot + 4)
            .store((word >> 32) as u32, Ordering::Relaxed);
        pages.word(slot).store(word as u32, Ordering::Release);
        let anywhere = random.usize(0..pages.bytes / 4) * 4;
        if random.u8(..) < 200 {
            pages.word(0).store(random.u32(..), Ordering::Relaxed);
        } else {
            pages
                .word(anywhere)
                .store(random.u32(..), Ordering::Relaxed);
        }
        match end.receive(&mut [0; 56], deadline_in(Duration::from_millis(1))) {
            Ok(length) => {
                assert!(length <= 56);
                received += 1;
            }
            Err(Error::TimedOut) => {}
            Err(error) => {
                assert_eq!(error, Error::PeerFault);
                // For good.
                assert_eq!(end.try_receive(&mut [0; 56]), Err(Error::PeerFault));
                return;
            }
        }
    }
    panic!("a random word in a slot is no sequence");
}

#[test]
fn a_head_that_no_honest_consumer_writes_is_a_fault() {
    for head in [1, 9, u32::MAX, 1 << 31] {
        let (end, pages, _socket) =
            meet(End::Consumer, |one| setup().produce(one, soon()).unwrap());
        let mut end = end.slot().unwrap();
        pages.word(0).store(head, Ordering::Relaxed);
        let answer = loop {
            match end.send(&[1], shortly()) {
                Ok(()) => {}
                Err(error) => break error,
            }
        };
        // A head that is not ahead of the tail can be an honest one.
        let expected = match head {
            1 => Error::TimedOut,
            _ => Error::PeerFault,
        };
        assert_eq!(answer, expected, "head {head:#x}");
    }
}

#[test]
fn an_index_that_changes_all_the_time_keeps_nobody_beyond_the_deadline() {
    let (end, pages, _socket) = meet(End::Producer, |one| setup().consume(one, soon()).unwrap());
    let mut end = end.slot().unwrap();
    let deadline_ns = deadline_in(Duration::from_millis(100));
    thread::scope(|scope| {
        scope.spawn(|| {
            // Never ahead of the consumer, so that nothing is published.
            for value in 0_u32.. {
                pages.word(0).store(value | 1 << 31, Ordering::Relaxed);
                if now_ns() > deadline_ns + 50_000_000 {
                    break;
                }
            }
        });
        let answer = end.receive(&mut [0; 56], deadline_ns);
        assert_eq!(answer, Err(Error::TimedOut));
    });
}

#[test]
fn what_comes_over_the_socket_is_a_close_a_wake_or_a_fault() {
    let wakes_and_close: [&[u8]; 3] = [b"w", b"w", b"c"];
    for (said, state) in [
        (&wakes_and_close[..], EndState::Draining),
        (&[b"x"], EndState::Poisoned),
        (&[b"cc"], EndState::Poisoned),
        (&[&[b'c'; 4096]], EndState::Poisoned),
        (&[b""], EndState::Closed),
    ] {
        let (end, _pages, socket) =
            meet(End::Producer, |one| setup().consume(one, soon()).unwrap());
        let mut end = end.slot().unwrap();
        // Files that come along go nowhere.
        let file = unsealed(4096);
        for bytes in said {
            send(&socket, bytes, &[file.as_fd()]);
        }
        let expected = match state {
            EndState::Poisoned => Error::PeerFault,
            EndState::Closed => Error::PeerDied,
            _ => Error::PeerClosed,
        };
        assert_eq!(end.receive(&mut [0; 56], soon()), Err(expected));
        assert_eq!(end.peer_state(), state);
    }
}

#[test]
fn wakes_that_nobody_needs_harm_nobody() {
    let (end, pages, socket) = meet(End::Producer, |one| setup().consume(one, soon()).unwrap());
    let mut end = end.slot().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..5_000 {
                send(&socket, b"w", &[]);
                let index = pages.word(IndexPage::offset(End::Producer) - PAGE_BYTES);
                // SAFETY: none is needed; the word is a word.
                let _ =
                    rustix::thread::futex::wake(index, rustix::thread::futex::Flags::empty(), 1);
            }
        });
        assert_eq!(end.receive(&mut [0; 56], shortly()), Err(Error::TimedOut));
    });
    const { assert!(DATA_OFFSET == 3 * PAGE_BYTES) };
}

/// An honest consumer whose peer is a task, and so woken over the socket.
fn meet_task() -> (slot::Consumer<Futex>, Connection) {
    let mut answer = message(ANSWER, End::Producer);
    answer[9] = 2;
    let (end, _pages, hostile) = meet_as(answer, End::Producer, |one| {
        setup().consume(one, soon()).unwrap()
    });
    (end.slot().unwrap(), hostile)
}

#[test]
fn who_closed_in_order_and_had_not_heard_everything_is_not_dead() {
    for _ in 0..50 {
        let (mut end, hostile) = meet_task();
        end.waiter().wake();
        send(&hostile, b"c", &[]);
        drop(hostile);
        assert_eq!(end.receive(&mut [], soon()), Err(Error::PeerClosed));
    }
}

#[test]
fn who_is_woken_all_the_time_and_does_not_listen_hears_of_the_end() {
    let (end, hostile) = meet_task();
    for _ in 0..10_000 {
        end.waiter().wake();
    }
    drop(end);
    let mut said = Vec::new();
    while let (bytes, _) = receive(&hostile)
        && !bytes.is_empty()
    {
        said.push(bytes);
    }
    assert_eq!(said.pop(), Some(b"c".to_vec()));
    assert!(said.iter().all(|bytes| bytes == b"w"));
}
