//! A peer on Linux that keeps to nothing: in the handshake, in its files, in its pages and over the socket.
#![cfg(all(feature = "std", target_os = "linux", not(loom)))]

use std::io::{IoSlice, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use abi::ring::{DATA_OFFSET, IndexPage, PAGE_BYTES, slot_word};
use ring::Error;
use ring::linux::{
    Connection, End, EndState, Error as SetupError, Fault, Geometry, Setup, deadline_in, now_ns,
};
use rustix::fs::{MemfdFlags, SealFlags};
use rustix::mm::{MapFlags, ProtFlags};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};

const GEOMETRY: Geometry = Geometry::slot(64, 8);
const OFFER: u32 = u32::from_le_bytes(*b"HOro");
const ANSWER: u32 = u32::from_le_bytes(*b"HOra");

fn soon() -> u64 {
    deadline_in(Duration::from_secs(60))
}

fn shortly() -> u64 {
    deadline_in(Duration::from_millis(20))
}

/// An honest message, to be spoilt.
fn message(first: u32, end: End) -> [u32; 16] {
    let mut words = [0; 16];
    words[..10].copy_from_slice(&[
        first,
        1,
        GEOMETRY.kind as u32,
        1,
        GEOMETRY.slot_size,
        GEOMETRY.capacity,
        0,
        1,
        end as u32,
        1,
    ]);
    words
}

fn bytes_of(words: &[u32; 16]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn file_bytes(end: End) -> u64 {
    match end {
        End::Producer => PAGE_BYTES as u64 + GEOMETRY.data_bytes(),
        End::Consumer => PAGE_BYTES as u64,
    }
}

/// A file in memory as an honest end makes it, but for the seals.
fn unsealed(bytes: u64) -> OwnedFd {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = rustix::fs::memfd_create("hostile", flags).unwrap();
    let mut file = std::fs::File::from(file);
    file.write_all(&vec![0; bytes as usize]).unwrap();
    file.into()
}

fn sealed(bytes: u64, seals: SealFlags) -> OwnedFd {
    let file = unsealed(bytes);
    rustix::fs::fcntl_add_seals(&file, seals).unwrap();
    file
}

const ALL_SEALS: SealFlags = SealFlags::SHRINK
    .union(SealFlags::GROW)
    .union(SealFlags::FUTURE_WRITE);

fn send(socket: &Connection, bytes: &[u8], files: &[BorrowedFd<'_>]) {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !files.is_empty() {
        assert!(ancillary.push(SendAncillaryMessage::ScmRights(files)));
    }
    let slices = [IoSlice::new(bytes)];
    rustix::net::sendmsg(socket, &slices, &mut ancillary, SendFlags::NOSIGNAL).unwrap();
}

fn receive(socket: &Connection) -> (Vec<u8>, Option<OwnedFd>) {
    let mut bytes = [0; 128];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut slices = [IoSliceMut::new(&mut bytes)];
    let flags = RecvFlags::CMSG_CLOEXEC;
    let count = rustix::net::recvmsg(socket, &mut slices, &mut ancillary, flags)
        .unwrap()
        .bytes;
    let file = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut files) => files.next(),
        _ => None,
    });
    (bytes[..count].to_vec(), file)
}

/// What an honest process answers to an offer.
fn offered(bytes: &[u8], files: &[BorrowedFd<'_>]) -> SetupError {
    let (honest, hostile) = Connection::pair().unwrap();
    send(&hostile, bytes, files);
    honest.offer(soon()).map(|_| ()).unwrap_err()
}

/// What an honest process makes of an answer to its offer to produce.
fn answered(bytes: &[u8], files: &[BorrowedFd<'_>]) -> SetupError {
    let (honest, hostile) = Connection::pair().unwrap();
    send(&hostile, bytes, files);
    let setup = Setup::new(GEOMETRY).symmetric();
    setup.produce(honest, soon()).map(|_| ()).unwrap_err()
}

#[track_caller]
fn assert_fault(error: SetupError, fault: Fault) {
    assert!(
        matches!(error, SetupError::PeerFault(found) if found == fault),
        "{error:?} instead of {fault:?}"
    );
}

/// Each word of a message, what it is spoilt to, and how that is called.
const SPOILT: &[(usize, u32, Fault)] = &[
    (0, 0, Fault::Message),
    (1, 2, Fault::Version),
    (2, 0, Fault::Geometry),
    (2, 4, Fault::Geometry),
    (3, 0, Fault::Form),
    (3, 3, Fault::Form),
    (4, 0, Fault::Geometry),
    (4, 65, Fault::Geometry),
    (4, u32::MAX, Fault::Geometry),
    (5, 0, Fault::Geometry),
    (5, 3, Fault::Geometry),
    (5, 1 << 31, Fault::Geometry),
    (8, 2, Fault::Terms),
    (8, u32::MAX, Fault::Terms),
    (9, 0, Fault::Terms),
    (9, 3, Fault::Terms),
    (10, 1, Fault::Reserved),
    (11, 1, Fault::Reserved),
    (12, 1, Fault::Reserved),
    (13, 1, Fault::Reserved),
    (14, 1, Fault::Reserved),
    (15, 1 << 31, Fault::Reserved),
];

#[test]
fn every_spoilt_word_of_an_offer_is_refused_by_its_name() {
    let file = sealed(file_bytes(End::Producer), ALL_SEALS);
    for &(word, value, fault) in SPOILT {
        let mut words = message(OFFER, End::Producer);
        words[word] = value;
        assert_fault(offered(&bytes_of(&words), &[file.as_fd()]), fault);
    }
}

#[test]
fn every_spoilt_word_of_an_answer_is_refused_by_its_name() {
    let file = sealed(file_bytes(End::Consumer), ALL_SEALS);
    // What may be in an offer, but is not what was offered here.
    let others = [
        (3, 2, Fault::Form),
        (4, 128, Fault::Geometry),
        (5, 16, Fault::Geometry),
        (6, 1, Fault::Terms),
        (7, 2, Fault::Terms),
        (8, 0, Fault::Terms),
    ];
    for &(word, value, fault) in SPOILT.iter().chain(&others) {
        let mut words = message(ANSWER, End::Consumer);
        words[word] = value;
        assert_fault(answered(&bytes_of(&words), &[file.as_fd()]), fault);
    }
    // An offer is no answer.
    let words = message(OFFER, End::Consumer);
    assert_fault(answered(&bytes_of(&words), &[file.as_fd()]), Fault::Message);
}

#[test]
fn a_message_of_another_length_or_without_exactly_one_file_is_refused() {
    let file = sealed(file_bytes(End::Producer), ALL_SEALS);
    let whole = bytes_of(&message(OFFER, End::Producer));
    for length in [1, 4, 63] {
        assert_fault(offered(&whole[..length], &[file.as_fd()]), Fault::Message);
    }
    let longer = [&whole[..], &[0]].concat();
    assert_fault(offered(&longer, &[file.as_fd()]), Fault::Message);
    assert_fault(offered(&whole, &[]), Fault::Files);
    assert_fault(offered(&whole, &[file.as_fd(), file.as_fd()]), Fault::Files);
    assert_fault(
        offered(&whole, &[file.as_fd(), file.as_fd(), file.as_fd()]),
        Fault::Files,
    );
    assert!(matches!(
        offered(&[], &[file.as_fd()]),
        SetupError::PeerClosed
    ));
}

#[test]
fn a_file_that_could_harm_who_maps_it_is_refused() {
    let words = bytes_of(&message(OFFER, End::Producer));
    let bytes = file_bytes(End::Producer);
    let refused = |file: &OwnedFd, fault| assert_fault(offered(&words, &[file.as_fd()]), fault);
    // Any seal that is missing.
    refused(&unsealed(bytes), Fault::NotSealed);
    for missing in [SealFlags::SHRINK, SealFlags::GROW, SealFlags::FUTURE_WRITE] {
        refused(
            &sealed(bytes, ALL_SEALS.difference(missing)),
            Fault::NotSealed,
        );
    }
    // A page too few or too many, some bytes too few, nothing at all, and the right size with nothing behind it.
    for bytes in [bytes - 4096, bytes + 4096, bytes - 1, 0] {
        refused(&sealed(bytes, ALL_SEALS), Fault::FileSize);
    }
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let empty = rustix::fs::memfd_create("hostile", flags).unwrap();
    rustix::fs::ftruncate(&empty, bytes).unwrap();
    rustix::fs::fcntl_add_seals(&empty, ALL_SEALS).unwrap();
    refused(&empty, Fault::FileSize);
    // Other files.
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&vec![0; bytes as usize]).unwrap();
    refused(&file.into(), Fault::NotAFileInMemory);
    let device = std::fs::File::open("/dev/zero").unwrap();
    refused(&device.into(), Fault::NotAFileInMemory);
    let (_read, write) = std::io::pipe().unwrap();
    refused(&write.into(), Fault::NotAFileInMemory);
}

#[test]
fn who_says_nothing_is_waited_for_no_longer_than_the_deadline() {
    let (honest, _silent) = Connection::pair().unwrap();
    let deadline_ns = shortly();
    assert!(matches!(
        honest.offer(deadline_ns),
        Err(SetupError::TimedOut)
    ));
    assert!(now_ns() >= deadline_ns);
    let (honest, _silent) = Connection::pair().unwrap();
    assert!(matches!(
        honest.produce(GEOMETRY, shortly()),
        Err(SetupError::TimedOut)
    ));
    let (honest, gone) = Connection::pair().unwrap();
    drop(gone);
    assert!(matches!(honest.offer(soon()), Err(SetupError::PeerClosed)));
    let (honest, declines) = Connection::pair().unwrap();
    let peer = thread::spawn(move || drop(declines.offer(soon()).unwrap()));
    assert!(matches!(
        honest.consume(GEOMETRY, soon()),
        Err(SetupError::PeerClosed)
    ));
    peer.join().unwrap();
}

#[test]
fn two_that_want_the_same_end_get_none() {
    let (one, other) = Connection::pair().unwrap();
    let peer = thread::spawn(move || {
        let offer = other.offer(soon()).unwrap();
        assert_eq!(offer.end(), End::Consumer);
        assert!(matches!(offer.produce(), Err(SetupError::SameEnd)));
    });
    assert!(matches!(
        one.produce(GEOMETRY, soon()),
        Err(SetupError::PeerClosed)
    ));
    peer.join().unwrap();
}

#[test]
fn a_socket_that_does_not_keep_messages_apart_is_refused() {
    let (stream, _other) = std::os::unix::net::UnixStream::pair().unwrap();
    assert!(Connection::from_socket(stream.into()).is_err());
    let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    assert!(Connection::from_socket(udp.into()).is_err());
    let (one, _other) = Connection::pair().unwrap();
    assert!(Connection::from_socket(one.into()).is_ok());
}

#[test]
fn what_the_peer_is_given_cannot_be_written_by_it() {
    let (honest, hostile) = Connection::pair().unwrap();
    let peer = thread::spawn(move || honest.produce(GEOMETRY, soon()));
    let (_, file) = receive(&hostile);
    let file = file.unwrap();
    let bytes = file_bytes(End::Producer);
    assert!(rustix::fs::ftruncate(&file, 0).is_err());
    assert!(rustix::fs::ftruncate(&file, 2 * bytes).is_err());
    assert!(rustix::io::pwrite(&file, &[1], 0).is_err());
    let hole = rustix::fs::FallocateFlags::PUNCH_HOLE | rustix::fs::FallocateFlags::KEEP_SIZE;
    assert!(rustix::fs::fallocate(&file, hole, 0, bytes).is_err());
    // SAFETY: without an address it takes what is free.
    let map = |protection| unsafe {
        let null = std::ptr::null_mut();
        rustix::mm::mmap(null, 4096, protection, MapFlags::SHARED, &file, 0)
    };
    assert!(map(ProtFlags::READ | ProtFlags::WRITE).is_err());
    assert!(map(ProtFlags::READ).is_ok());
    drop(hostile);
    assert!(matches!(peer.join().unwrap(), Err(SetupError::PeerClosed)));
}

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
    let (one, hostile) = Connection::pair().unwrap();
    let peer = thread::spawn(move || honest(one));
    let (_, _file) = receive(&hostile);
    let pages = Pages::new(end);
    send(
        &hostile,
        &bytes_of(&message(ANSWER, end)),
        &[pages.file.as_fd()],
    );
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
