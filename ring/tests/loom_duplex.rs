//! Every interleaving, up to a bound on preemptions, of two sides of a duplex that end their directions.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p handover-ring --release --test loom_duplex`
#![cfg(loom)]

mod loom_kernel;

use abi::ring::{End, EndState, Geometry};
use loom::sync::Arc;
use loom::thread;
use loom_kernel::{Calls, FOREVER, Kernel, bytes, ends, explore};
use ring::Error;
use ring::duplex::{Direction, Duplex};
use ring::memory::Owner;
use ring::slot::{Consumer, Producer};

type Side = Duplex<Producer<Calls>, Consumer<Calls>>;

/// Two sides over rings of one slot, and the kernels of the rings in which the one and the other send.
fn link() -> (Side, Side, [Arc<Kernel>; 2]) {
    let (there, theirs, first) = ends(&Owner::model(Geometry::slot(64, 1), u32::MAX, 1));
    let (back, ours, second) = ends(&Owner::model(Geometry::slot(64, 1), 0, 1));
    (
        Side::new(there, ours),
        Side::new(back, theirs),
        [first, second],
    )
}

/// Receives until the direction has ended, and returns the answer that said so. Messages are those of these numbers, in order.
fn receive_all(side: &mut Side, numbers: core::ops::Range<u64>) -> Error {
    let mut next = numbers.start;
    loop {
        let mut target = [0; 8];
        match side.receiver.receive(&mut target, FOREVER) {
            Ok(length) => {
                assert_eq!((length, target), (8, bytes(next)));
                next += 1;
            }
            Err(error) => {
                assert_eq!(next, numbers.end, "before the end");
                return error;
            }
        }
    }
}

#[test]
fn each_direction_ends_in_order_beside_what_is_sent_in_the_other() {
    explore(3, || {
        let (mut one, mut other, kernels) = link();
        let asks = thread::spawn(move || {
            one.sender.send(&bytes(0), FOREVER).unwrap();
            one.finish().unwrap();
            assert_eq!(receive_all(&mut one, 1..2), Error::PeerClosed);
        });
        other.sender.send(&bytes(1), FOREVER).unwrap();
        assert_eq!(receive_all(&mut other, 0..1), Error::PeerClosed);
        other.finish().unwrap();
        asks.join().unwrap();
        for kernel in kernels {
            kernel.assert_no_wakeup_was_lost();
        }
    });
}

#[test]
fn a_side_that_closes_both_directions_wakes_who_sends_and_has_sent_what_it_sent() {
    explore(4, || {
        let (mut one, mut other, _) = link();
        // Its ring is full, so that it sleeps.
        one.sender.send(&bytes(0), FOREVER).unwrap();
        let closes = thread::spawn(move || {
            other.sender.send(&bytes(1), FOREVER).unwrap();
            other.close().unwrap();
            assert_eq!(other.close(), Ok(()), "what has ended has ended");
        });
        let sent = one.sender.send(&bytes(2), FOREVER);
        assert_eq!(sent, Err(Error::PeerClosed));
        assert_eq!(receive_all(&mut one, 1..2), Error::PeerClosed);
        closes.join().unwrap();
    });
}

#[test]
fn a_direction_is_closed_when_all_of_it_was_received_and_never_goes_back() {
    let number = |direction| match direction {
        Direction::Open => 0,
        Direction::Draining => 1,
        Direction::Closed => 2,
    };
    explore(4, move || {
        let (mut one, mut other, _) = link();
        let sends = thread::spawn(move || {
            one.sender.try_send(&bytes(0)).unwrap();
            one.finish().unwrap();
        });
        let before = other.receiving();
        let mut target = [0; 8];
        let received = other.receiver.try_receive(&mut target);
        let after = other.receiving();
        assert!(number(before) <= number(after));
        match received {
            Ok(_) => assert_ne!(before, Direction::Closed, "it was not all received"),
            Err(Error::Empty) => assert_eq!(before, Direction::Open),
            Err(error) => panic!("{error}"),
        }
        sends.join().unwrap();
        let rest = other.receiver.try_receive(&mut target);
        assert_eq!(rest.is_ok(), received.is_err());
        assert_eq!(other.receiving(), Direction::Closed);
    });
}

#[test]
fn a_side_that_dies_ends_both_directions_and_wakes_who_receives() {
    explore(4, || {
        let (mut one, other, [first, second]) = link();
        let dies = thread::spawn(move || {
            let mut other = other;
            other.sender.try_send(&bytes(0)).unwrap();
            second.close(End::Producer, EndState::Closed);
            first.close(End::Consumer, EndState::Closed);
        });
        assert_eq!(receive_all(&mut one, 0..1), Error::PeerDied);
        dies.join().unwrap();
        assert_eq!(one.sender.try_send(&bytes(1)), Err(Error::PeerDied));
        assert_eq!(one.sending(), Direction::Closed);
        assert_eq!(one.receiving(), Direction::Closed);
    });
}
