//! Rings on Linux between threads of one process.
#![cfg(all(feature = "std", target_os = "linux", not(loom)))]

mod linux_race;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use linux_race::{assert_both_slept, race, rounds};
use ring::byte::Byte;
use ring::linux::{
    Connection, ConsumerEnd, EndState, Error as SetupError, Form, Gathering, Geometry, Kind,
    ProducerEnd, Setup, Side, deadline_in, now_ns, pair,
};
use ring::mpsc::{Next, Receiver};
use ring::packet::Packet;
use ring::slot::Slot;
use ring::{Close, Error, Gather, Wait};

const MESSAGES: u64 = 100_000;

/// How long a test waits for what has to come.
const SOON: Duration = Duration::from_secs(30);

fn pass_everything(
    (producer, consumer): (ProducerEnd, ConsumerEnd),
    (for_space, for_messages): (u32, u32),
) {
    let mut producer = producer.slot().unwrap();
    let mut consumer = consumer.slot().unwrap();
    producer.set_wake_threshold(for_space).unwrap();
    consumer.set_wake_threshold(for_messages).unwrap();
    thread::scope(|scope| {
        scope.spawn(move || {
            for number in 0..MESSAGES {
                let length = (number % 50) as usize;
                let bytes = [number as u8; 56];
                producer.send(&bytes[..length], deadline_in(SOON)).unwrap();
            }
        });
        let mut bytes = [0; 56];
        for number in 0..MESSAGES {
            let length = consumer.receive(&mut bytes, deadline_in(SOON)).unwrap();
            assert_eq!(length, (number % 50) as usize);
            assert_eq!(bytes[..length], [number as u8; 56][..length]);
        }
        assert_eq!(
            consumer.receive(&mut bytes, deadline_in(SOON)),
            Err(Error::PeerClosed)
        );
    });
}

#[test]
fn threads_pass_everything_in_order_in_both_forms_and_sizes() {
    for capacity in [1, 8, 1024] {
        let setup = Setup::new(Geometry::slot(64, capacity));
        pass_everything(setup.pair().unwrap(), (1, 1));
        pass_everything(setup.symmetric().pair().unwrap(), (1, 1));
    }
}

#[test]
fn thresholds_and_indices_that_wrap_lose_nothing() {
    let setup = Setup::new(Geometry::slot(64, 64)).starting_at(u32::MAX - 1000);
    pass_everything(setup.pair().unwrap(), (32, 32));
    pass_everything(setup.symmetric().pair().unwrap(), (16, 8));
}

#[test]
fn the_form_is_the_one_that_was_asked_for() {
    let setup = Setup::new(Geometry::slot(64, 8));
    let (producer, consumer) = setup.symmetric().pair().unwrap();
    assert_eq!(producer.form(), Form::Symmetric);
    assert_eq!(consumer.form(), Form::Symmetric);
    let barriers = rustix::thread::membarrier_query()
        .contains_command(rustix::thread::MembarrierCommand::GlobalExpedited);
    let (producer, _consumer) = setup.pair().unwrap();
    assert_eq!(producer.form() == Form::Asymmetric, barriers);
}

#[test]
fn a_wait_ends_at_its_deadline_and_not_before() {
    let (producer, consumer) = pair(Geometry::slot(64, 1)).unwrap();
    let mut consumer = consumer.slot().unwrap();
    let mut producer = producer.slot().unwrap();
    let deadline_ns = deadline_in(Duration::from_millis(30));
    assert_eq!(
        consumer.receive(&mut [0; 56], deadline_ns),
        Err(Error::TimedOut)
    );
    assert!(now_ns() >= deadline_ns);
    producer.try_send(&[]).unwrap();
    let deadline_ns = deadline_in(Duration::from_millis(30));
    assert_eq!(producer.send(&[], deadline_ns), Err(Error::TimedOut));
    assert!(now_ns() >= deadline_ns);
    // A deadline that is over is no reason to refuse what is there.
    assert_eq!(consumer.receive(&mut [0; 56], 1), Ok(0));
}

#[test]
fn a_cancelled_wait_says_so_and_the_next_is_a_new_one() {
    let (_producer, consumer) = pair(Geometry::slot(64, 1)).unwrap();
    let canceller = consumer.canceller();
    let mut consumer = consumer.slot().unwrap();
    // Before the wait, it ends the next; during it, that one.
    canceller.cancel();
    let receive =
        |consumer: &mut ring::slot::Consumer<_>| consumer.receive(&mut [0; 56], deadline_in(SOON));
    assert_eq!(receive(&mut consumer), Err(Error::Cancelled));
    let stopped = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            assert_eq!(receive(&mut consumer), Err(Error::Cancelled));
            stopped.store(true, Ordering::Release);
        });
        thread::sleep(Duration::from_millis(10));
        canceller.cancel();
    });
    assert!(stopped.load(Ordering::Acquire));
    let soon_ns = deadline_in(Duration::from_millis(10));
    assert_eq!(
        consumer.receive(&mut [0; 56], soon_ns),
        Err(Error::TimedOut)
    );
}

#[test]
fn a_bell_that_rings_all_the_time_keeps_nobody_beyond_the_deadline() {
    let gathering = Gathering::new();
    let (producer, consumer) = pair(Geometry::slot(64, 4)).unwrap();
    let mut producer = producer.slot().unwrap();
    let consumer = consumer.gathered_at(&gathering).unwrap().slot().unwrap();
    let mut receiver = Receiver::new([Some(consumer)], gathering.clone()).unwrap();
    // A deadline that is over, at which the bell has been rung again.
    for _ in 0..3 {
        producer.waiter().wake();
        assert_eq!(receiver.next(1).err(), Some(Error::TimedOut));
    }
    // What it was rung for is not forgotten, and what is there is taken whatever the time is.
    assert_eq!(gathering.wait(deadline_in(SOON)), Ok(()));
    producer.try_send(b"now").unwrap();
    assert!(matches!(receiver.next(1), Ok(Next::Ready { .. })));
}

#[test]
fn the_end_of_a_thread_that_panics_is_told_from_one_that_was_closed() {
    for (panics, state, answer) in [
        (false, EndState::Draining, Error::PeerClosed),
        (true, EndState::Closed, Error::PeerDied),
    ] {
        let (producer, consumer) = pair(Geometry::slot(64, 4)).unwrap();
        let mut producer = producer.slot().unwrap();
        let mut consumer = consumer.slot().unwrap();
        let holder = thread::spawn(move || {
            producer.try_send(b"last").unwrap();
            // Without a message: the hook that prints it is not what is tested.
            if panics {
                std::panic::resume_unwind(Box::new(()));
            }
        });
        let mut bytes = [0; 56];
        assert_eq!(consumer.receive(&mut bytes, deadline_in(SOON)), Ok(4));
        assert_eq!(consumer.receive(&mut bytes, deadline_in(SOON)), Err(answer));
        assert_eq!(consumer.peer_state(), state);
        assert_eq!(holder.join().is_err(), panics);
    }
}

#[test]
fn closing_wakes_a_sleeper_at_either_end_at_once() {
    for round in 0..200 {
        let begun = Instant::now();
        let pause = || thread::sleep(Duration::from_micros(round));
        let (producer, consumer) = pair(Geometry::slot(64, 1)).unwrap();
        let (closes, mut sleeps) = (producer.slot().unwrap(), consumer.slot().unwrap());
        thread::scope(|scope| {
            let sleeper = scope.spawn(move || sleeps.receive(&mut [0; 56], deadline_in(SOON)));
            pause();
            drop(closes);
            assert_eq!(sleeper.join().unwrap(), Err(Error::PeerClosed));
        });
        let (producer, consumer) = pair(Geometry::slot(64, 1)).unwrap();
        let (mut sleeps, closes) = (producer.slot().unwrap(), consumer.slot().unwrap());
        sleeps.try_send(&[]).unwrap();
        thread::scope(|scope| {
            let sleeper = scope.spawn(move || sleeps.send(&[], deadline_in(SOON)));
            pause();
            drop(closes);
            assert_eq!(sleeper.join().unwrap(), Err(Error::PeerClosed));
        });
        assert!(
            begun.elapsed() < SOON,
            "a sleeper was woken by its deadline"
        );
    }
}

#[test]
fn impossible_geometries_are_refused() {
    let bytes = |kind, slot_size, capacity| Geometry {
        kind,
        slot_size,
        capacity,
    };
    for geometry in [
        Geometry::slot(0, 4),
        Geometry::slot(100, 4),
        Geometry::slot(64, 0),
        Geometry::slot(64, 3),
        Geometry::slot(65536, 1 << 31),
        bytes(Kind::Byte, 0, 2048),
        bytes(Kind::Packet, 64, 4096),
    ] {
        assert!(matches!(pair(geometry), Err(SetupError::Geometry)));
    }
}

#[test]
fn an_end_is_of_the_kind_that_was_made() {
    let geometry = Geometry {
        kind: Kind::Byte,
        slot_size: 0,
        capacity: 4096,
    };
    let (producer, _consumer) = pair(geometry).unwrap();
    assert!(matches!(producer.slot(), Err(SetupError::Attach(_))));
}

/// Both sides of a duplex, as two processes have them.
fn duplex() -> (Side<Packet>, Side<Packet>) {
    let (one, other) = Connection::pair().unwrap();
    let accepts = thread::spawn(move || other.duplex_offer(u64::MAX).unwrap().accept().unwrap());
    let geometry = Geometry::packet(4096);
    let ours = one.duplex(geometry, geometry, deadline_in(SOON)).unwrap();
    let theirs = accepts.join().unwrap();
    (ours.packet().unwrap(), theirs.packet().unwrap())
}

#[test]
fn each_direction_of_a_duplex_ends_by_itself() {
    let (mut ours, theirs) = duplex();
    let server = thread::spawn(move || {
        let mut theirs = theirs;
        let mut bytes = [0; 64];
        let mut asked = 0;
        loop {
            match theirs.receiver.receive(&mut bytes, deadline_in(SOON)) {
                Ok(_) => asked += 1,
                Err(error) => {
                    assert_eq!(error, Error::PeerClosed);
                    break;
                }
            }
        }
        // Its own direction is open as ever.
        for number in 0..asked {
            theirs
                .sender
                .send(number, b"answer", deadline_in(SOON))
                .unwrap();
        }
        theirs.finish().unwrap();
        // What is dropped is closed, which would be the answer to what is sent late.
        theirs
    });
    for _ in 0..10 {
        ours.sender.send(0, b"question", deadline_in(SOON)).unwrap();
    }
    ours.finish().unwrap();
    assert_eq!(ours.finish(), Err(Error::Closed));
    assert_eq!(ours.sender.try_send(0, b"late"), Err(Error::Closed));
    let mut bytes = [0; 64];
    for number in 0..10 {
        let received = ours.receiver.receive(&mut bytes, deadline_in(SOON));
        assert_eq!(received, Ok((number, 6)));
    }
    assert_eq!(
        ours.receiver.receive(&mut bytes, deadline_in(SOON)),
        Err(Error::PeerClosed)
    );
    drop(server.join().unwrap());
}

#[test]
fn who_broke_the_protocol_is_told_so() {
    let (ours, mut theirs) = duplex();
    ours.sender.waiter().accuse().unwrap();
    let answer = theirs.receiver.receive(&mut [0; 64], deadline_in(SOON));
    assert_eq!(answer, Err(Error::PeerFault));
    // It stays so when the accuser is gone.
    drop(ours);
    assert_eq!(theirs.receiver.peer_state(), EndState::Poisoned);
}

#[test]
fn a_peer_that_is_accused_after_its_orderly_close_has_closed_in_order_for_all_others() {
    let (mut ours, mut theirs) = duplex();
    ours.sender.try_send(0, b"last").unwrap();
    ours.finish().unwrap();
    let mut bytes = [0; 64];
    let limit = deadline_in(SOON);
    assert_eq!(theirs.receiver.receive(&mut bytes, limit), Ok((0, 4)));
    let closed = Err(Error::PeerClosed);
    assert_eq!(theirs.receiver.receive(&mut bytes, limit), closed);
    let accuser = theirs.receiver.waiter();
    assert_eq!(accuser.accuse(), Ok(()));
    assert_eq!(accuser.accuse(), Err(Error::Closed));
    // Who is accused is told, over the socket.
    while ours.sender.try_send(0, b"more") != Err(Error::PeerFault) {
        assert!(now_ns() < limit, "it was not told");
        thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(ours.close(), Ok(()));
    // Its close is what it was, before and after it is gone; and so is the other direction.
    assert_eq!(theirs.receiver.peer_state(), EndState::Draining);
    while theirs.sender.peer_state() == EndState::Open {
        assert!(now_ns() < limit, "the other direction was not closed");
        thread::sleep(Duration::from_millis(1));
    }
    drop(ours);
    assert_eq!(theirs.sender.send(0, b"", limit), closed.map(|_| ()));
    assert_eq!(theirs.receiver.receive(&mut bytes, limit), closed);
    assert_eq!(theirs.receiver.waiter().accuse(), Err(Error::Closed));
}

#[test]
fn who_wants_no_more_can_accuse_of_what_is_left() {
    let (producer, consumer) = pair(Geometry::slot(64, 4)).unwrap();
    let (mut producer, mut consumer) = (producer.slot().unwrap(), consumer.slot().unwrap());
    producer.try_send(b"left").unwrap();
    consumer.finish().unwrap();
    assert_eq!(producer.try_send(b""), Err(Error::PeerClosed));
    consumer.waiter().accuse().unwrap();
    assert_eq!(producer.try_send(b""), Err(Error::PeerFault));
    assert_eq!(consumer.finish(), Err(Error::Closed));
    assert_eq!(producer.own_state(), EndState::Open);
}

fn no_wakeup_is_lost<K: linux_race::Kind>(name: &str, form: impl Fn(Setup) -> Setup, rounds: u32) {
    assert_both_slept(name, rounds, race::<K>(form, rounds));
}

#[test]
fn no_wakeup_is_lost_in_the_symmetric_form() {
    no_wakeup_is_lost::<Slot>("SLOT, symmetric", Setup::symmetric, rounds(60_000));
}

#[test]
fn no_wakeup_is_lost_in_the_asymmetric_form() {
    no_wakeup_is_lost::<Slot>("SLOT, asymmetric", |setup| setup, rounds(60_000));
}

/// The sleep of these kinds is that of slots; what is published is another word.
#[test]
fn no_wakeup_is_lost_of_packets_and_of_bytes() {
    let rounds = rounds(6_000);
    no_wakeup_is_lost::<Packet>("PACKET, symmetric", Setup::symmetric, rounds);
    no_wakeup_is_lost::<Packet>("PACKET, asymmetric", |setup| setup, rounds);
    no_wakeup_is_lost::<Byte>("BYTE, symmetric", Setup::symmetric, rounds);
    no_wakeup_is_lost::<Byte>("BYTE, asymmetric", |setup| setup, rounds);
}
