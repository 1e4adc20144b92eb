//! How two processes on Linux agree on a ring in each direction, and what a peer that keeps to nothing is answered.
#![cfg(all(feature = "std", target_os = "linux", not(loom)))]

mod linux_peer;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread;

use linux_peer::*;
use ring::byte::Byte;
use ring::duplex::Direction;
use ring::linux::{
    Connection, DuplexOffer, End, Error as SetupError, Fault, Form, Geometry, Setup,
};
use ring::slot::Slot;

/// A socket for the other direction over which a hostile peer has offered a ring in which it receives.
fn way_back(end: End) -> (Connection, Connection) {
    let (kept, passed) = Connection::pair().unwrap();
    let file = sealed(file_bytes(end), ALL_SEALS);
    send(&kept, &bytes_of(&message(OFFER, end)), &[file.as_fd()]);
    (kept, passed)
}

/// What an honest process makes of the offer of a duplex.
fn offered(first: u32, end: End, files: &[BorrowedFd<'_>]) -> Result<DuplexOffer, SetupError> {
    let (honest, hostile) = Connection::pair().unwrap();
    send(&hostile, &bytes_of(&message(first, end)), files);
    honest.duplex_offer(soon())
}

#[track_caller]
fn assert_fault(answer: Result<DuplexOffer, SetupError>, fault: Fault) {
    assert!(
        matches!(&answer, Err(SetupError::PeerFault(found)) if *found == fault),
        "{answer:?} instead of {fault:?}"
    );
}

#[test]
fn an_offer_of_a_duplex_is_two_offers_of_which_the_second_has_a_socket_of_its_own() {
    let (honest, peer) = Connection::pair().unwrap();
    let setup = Setup::new(GEOMETRY).symmetric();
    let offers = thread::spawn(move || setup.duplex(setup, honest, soon()).map(drop));
    let (there, mut files) = receive_all(&peer);
    assert_eq!(there, bytes_of_offer(DUPLEX, End::Producer));
    let back = files.pop().unwrap();
    assert_eq!(files.len(), 1);
    let back = Connection::from_socket(back).unwrap();
    let (back_bytes, files) = receive_all(&back);
    assert_eq!(back_bytes, bytes_of_offer(OFFER, End::Consumer));
    assert_eq!(files.len(), 1);
    drop((peer, back));
    let answer = offers.join().unwrap();
    assert!(matches!(answer, Err(SetupError::PeerClosed)), "{answer:?}");
}

/// The bytes of an honest offer in the symmetric form.
fn bytes_of_offer(first: u32, end: End) -> Vec<u8> {
    let mut words = message(first, end);
    words[3] = Form::Symmetric as u32;
    bytes_of(&words)
}

#[test]
fn a_duplex_is_offered_with_one_file_and_one_socket_and_nothing_else() {
    let file = sealed(file_bytes(End::Producer), ALL_SEALS);
    let (_kept, passed) = way_back(End::Consumer);
    let both = [file.as_fd(), passed.as_fd()];
    assert!(offered(DUPLEX, End::Producer, &both).is_ok());
    assert_fault(offered(OFFER, End::Producer, &both), Fault::Message);
    for files in [&both[..1], &[both[0], both[1], both[1]], &[]] {
        assert_fault(offered(DUPLEX, End::Producer, files), Fault::Files);
    }
    // What is not a socket, or is one that does not keep messages apart.
    let (stream, _other) = std::os::unix::net::UnixStream::pair().unwrap();
    let stream = OwnedFd::from(stream);
    for other in [file.as_fd(), stream.as_fd()] {
        let files = [file.as_fd(), other];
        assert_fault(offered(DUPLEX, End::Producer, &files), Fault::NotASocket);
    }
    // A file that could harm who maps it, in either direction.
    let harmful = unsealed(file_bytes(End::Producer));
    let (_kept, passed) = way_back(End::Consumer);
    let files = [harmful.as_fd(), passed.as_fd()];
    assert_fault(offered(DUPLEX, End::Producer, &files), Fault::NotSealed);
    let (kept, passed) = Connection::pair().unwrap();
    let offer = bytes_of(&message(OFFER, End::Consumer));
    send(&kept, &offer, &[harmful.as_fd()]);
    let files = [file.as_fd(), passed.as_fd()];
    assert_fault(offered(DUPLEX, End::Producer, &files), Fault::NotSealed);
}

#[test]
fn both_rings_of_a_duplex_are_offered_and_go_different_ways() {
    for ends in [
        [End::Producer, End::Producer],
        [End::Consumer, End::Consumer],
        [End::Consumer, End::Producer],
    ] {
        let file = sealed(file_bytes(ends[0]), ALL_SEALS);
        let (_kept, passed) = way_back(ends[1]);
        let files = [file.as_fd(), passed.as_fd()];
        assert_fault(offered(DUPLEX, ends[0], &files), Fault::Terms);
    }
    // The second is never offered.
    let file = sealed(file_bytes(End::Producer), ALL_SEALS);
    let (kept, passed) = Connection::pair().unwrap();
    drop(kept);
    let files = [file.as_fd(), passed.as_fd()];
    let answer = offered(DUPLEX, End::Producer, &files);
    assert!(matches!(answer, Err(SetupError::PeerClosed)), "{answer:?}");
}

#[test]
fn a_duplex_that_is_declined_or_cut_short_is_none() {
    let declines: [fn(Connection); 3] = [
        |peer| drop(peer.duplex_offer(soon()).unwrap()),
        |peer| drop(peer),
        // It takes one of the two.
        |peer| {
            let (offer, files) = receive_all(&peer);
            drop(files);
            let mut answer = offer;
            answer[..4].copy_from_slice(&ANSWER.to_le_bytes());
            answer[32] = End::Consumer as u8;
            let file = sealed(file_bytes(End::Consumer), ALL_SEALS);
            send(&peer, &answer, &[file.as_fd()]);
        },
    ];
    for decline in declines {
        let (one, other) = Connection::pair().unwrap();
        let peer = thread::spawn(move || decline(other));
        let answer = one.duplex(GEOMETRY, GEOMETRY, soon()).map(drop);
        assert!(matches!(answer, Err(SetupError::PeerClosed)), "{answer:?}");
        peer.join().unwrap();
    }
    let (one, _silent) = Connection::pair().unwrap();
    let answer = one.duplex(GEOMETRY, GEOMETRY, shortly()).map(drop);
    assert!(matches!(answer, Err(SetupError::TimedOut)), "{answer:?}");
}

#[test]
fn the_directions_of_a_duplex_need_not_be_of_one_kind() {
    let (one, other) = Connection::pair().unwrap();
    let accepts = thread::spawn(move || {
        let offer = other.duplex_offer(soon()).unwrap().symmetric();
        assert_eq!(offer.receiving(), GEOMETRY);
        assert_eq!(offer.sending(), Geometry::byte(4096));
        offer.accept().unwrap()
    });
    let ours = one.duplex(GEOMETRY, Geometry::byte(4096), soon()).unwrap();
    assert_eq!(ours.sender.form(), Form::Symmetric);
    assert_eq!(ours.receiver.form(), Form::Symmetric);
    let mut ours = ours.attach::<Slot, Byte>().unwrap();
    let mut theirs = accepts.join().unwrap().attach::<Byte, Slot>().unwrap();
    ours.sender.send(b"there", soon()).unwrap();
    let mut bytes = [0; 56];
    assert_eq!(theirs.receiver.receive(&mut bytes, soon()), Ok(5));
    theirs.sender.write_all(b"back", soon()).unwrap();
    let mut bytes = [0; 4];
    ours.receiver.read_exact(&mut bytes, soon()).unwrap();
    assert_eq!(bytes, *b"back");
    assert_eq!(ours.sending(), Direction::Open);
    assert_eq!(theirs.receiving(), Direction::Open);
}
