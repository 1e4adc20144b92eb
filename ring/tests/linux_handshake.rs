//! A peer on Linux that keeps to nothing until there is a ring: in the handshake and in its files.
#![cfg(all(feature = "std", target_os = "linux", not(loom)))]

#[path = "golden/dump.rs"]
mod dump;
mod linux_peer;

use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use abi::ring::PAGE_BYTES;
use linux_peer::*;
use ring::linux::{
    Connection, End, Error as SetupError, Fault, Form, Geometry, Listener, Setup, now_ns,
};
use rustix::fs::{MemfdFlags, OFlags, SealFlags};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};
use rustix::net::sockopt::{self, Timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

/// What two processes say to each other before there is a ring, each with a file of its own.
#[test]
fn an_offer_and_its_answer_have_these_bytes() {
    let geometry = Geometry::packet(0x1000);
    let setup = Setup::new(geometry).symmetric().starting_at(0x0102_0308);
    let (honest, peer) = Connection::pair().unwrap();
    let offers = thread::spawn(move || setup.produce(honest, soon()).map(|_| ()));
    let (offer, file) = receive(&peer);
    drop((peer, file));
    assert!(offers.join().unwrap().is_err());
    let (honest, peer) = Connection::pair().unwrap();
    let bytes = PAGE_BYTES as u64 + geometry.data_bytes();
    send(&peer, &offer, &[sealed(bytes, ALL_SEALS).as_fd()]);
    let accepted = honest.offer(soon()).unwrap().for_tasks().consume().unwrap();
    assert_eq!(
        (accepted.geometry(), accepted.form()),
        (geometry, Form::Symmetric)
    );
    let (answer, _file) = receive(&peer);
    dump::check(&[offer, answer].concat(), include_str!("golden/offer.txt"));
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
    (0, OFFER ^ 1 << 24, Fault::Message),
    (1, 0, Fault::Version),
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
    // An answer is no offer.
    let words = message(ANSWER, End::Producer);
    assert_fault(offered(&bytes_of(&words), &[file.as_fd()]), Fault::Message);
    // Slots begin at any index and packets at a multiple of 8; who makes a ring says which epoch it is.
    let packets = Geometry::packet(4096);
    let of = |start, epoch| {
        let mut words = message(OFFER, End::Producer);
        words[2] = packets.kind as u32;
        words[4..=7].copy_from_slice(&[packets.slot_size, packets.capacity, start, epoch]);
        bytes_of(&words)
    };
    for start in [1, 4, u32::MAX] {
        assert_fault(offered(&of(start, 1), &[file.as_fd()]), Fault::Terms);
    }
    let (honest, hostile) = Connection::pair().unwrap();
    let bytes = PAGE_BYTES as u64 + packets.data_bytes();
    send(&hostile, &of(8, 7), &[sealed(bytes, ALL_SEALS).as_fd()]);
    assert_eq!(honest.offer(soon()).unwrap().geometry(), packets);
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
    // More than there is room for, too.
    for count in [3, 32] {
        assert_fault(offered(&whole, &vec![file.as_fd(); count]), Fault::Files);
    }
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
fn who_asks_the_system_for_the_peer_of_each_message_gets_the_files_all_the_same() {
    let [one, other] = <[_; 2]>::from(Connection::pair().unwrap()).map(|side| {
        rustix::net::sockopt::set_socket_passcred(&side, true).unwrap();
        Connection::from_socket(side.into()).unwrap()
    });
    let peer = thread::spawn(move || other.offer(soon()).unwrap().consume().map(drop));
    let made = one.produce(GEOMETRY, soon());
    assert!(made.is_ok(), "{:?}", made.err());
    peer.join().unwrap().unwrap();
}

#[test]
fn a_listener_takes_no_path_from_another_and_leaves_none_behind_that_is_not_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let first = Listener::bind(&path).unwrap();
    assert!(Listener::bind(&path).is_err());
    // Whoever connects is with the one that was first.
    let client = Connection::connect(&path).unwrap();
    let served = first.accept(soon()).unwrap();
    drop(first);
    assert!(path.exists(), "it may be another's by now");
    assert!(Connection::connect(&path).is_err());
    assert!(Listener::bind(&path).is_err());
    let peer = thread::spawn(move || served.offer(soon()).unwrap().consume().unwrap());
    let mut end = client.produce(GEOMETRY, soon()).unwrap().slot().unwrap();
    end.try_send(b"still").unwrap();
    let mut received = peer.join().unwrap().slot().unwrap();
    assert_eq!(received.try_receive(&mut [0; 56]), Ok(5));
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

#[test]
fn no_wait_for_a_client_lasts_beyond_its_deadline_whoever_else_takes_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let listener = Arc::new(Listener::bind(&path).unwrap());
    // What nobody waits for in the system can't be waited for too long.
    let flags = rustix::fs::fcntl_getfl(&*listener).unwrap();
    assert!(flags.contains(OFlags::NONBLOCK));
    for _ in 0..10 {
        let _client = Connection::connect(&path).unwrap();
        let (tell, told) = mpsc::channel();
        for _ in 0..2 {
            let (listener, tell) = (listener.clone(), tell.clone());
            thread::spawn(move || tell.send(listener.accept(shortly()).map(drop)));
        }
        let mut answers = [(); 2].map(|()| told.recv_timeout(SOON).unwrap());
        answers.sort_by_key(Result::is_err);
        assert!(
            matches!(answers, [Ok(()), Err(SetupError::TimedOut)]),
            "{answers:?}"
        );
    }
}

/// The limit in the system of a thread that waits for room at a listener, once it sleeps there.
fn limit_of_who_connects(thread: &Path) -> Option<Duration> {
    let socket = loop {
        let call = std::fs::read_to_string(thread.join("syscall")).unwrap();
        let mut words = call.split_whitespace();
        if words.next() == Some(&libc::SYS_connect.to_string()) {
            let socket = words.next().unwrap().trim_start_matches("0x");
            break i32::from_str_radix(socket, 16).unwrap();
        }
        thread::yield_now();
    };
    // SAFETY: whoever sleeps with it goes on when there is room, or after half a minute.
    let socket = unsafe { BorrowedFd::borrow_raw(socket) };
    sockopt::socket_timeout(socket, Timeout::Send).unwrap()
}

#[test]
fn no_wait_for_room_at_a_listener_lasts_beyond_its_deadline() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let listener = Listener::bind(&path).unwrap();
    let address = SocketAddrUnix::new(&path).unwrap();
    let mut waiting = Vec::new();
    let full = loop {
        let (kind, flags) = (SocketType::SEQPACKET, SocketFlags::NONBLOCK);
        let socket = rustix::net::socket_with(AddressFamily::UNIX, kind, flags, None).unwrap();
        match rustix::net::connect(&socket, &address) {
            Ok(()) => waiting.push(socket),
            Err(error) => break error,
        }
    };
    assert_eq!((full, waiting.is_empty()), (Errno::AGAIN, false));
    let (tell, told) = mpsc::channel();
    let late = path.clone();
    let connects = thread::spawn(move || {
        let thread = std::fs::read_link("/proc/thread-self").unwrap();
        tell.send(Path::new("/proc").join(thread)).unwrap();
        Connection::connect_by(late, soon())
    });
    let limit = limit_of_who_connects(&told.recv().unwrap());
    assert!(limit.is_some_and(|limit| limit <= SOON), "{limit:?}");
    // There is room when one of them was accepted, and then none again.
    listener.accept(soon()).unwrap();
    connects.join().unwrap().unwrap();
    let answer = Connection::connect_by(&path, shortly());
    assert!(matches!(answer, Err(SetupError::TimedOut)), "{answer:?}");
    listener.accept(soon()).unwrap();
    Connection::connect_by(&path, soon()).unwrap();
}
