//! Rings on Linux between processes: this program runs itself once more.
#![cfg(all(feature = "std", target_os = "linux", not(loom)))]

mod linux_race;
mod other_process;

use std::time::Duration;

use linux_race::{Kind, Passed, Thread, assert_both_slept, receive_all, rounds, send_all};
use other_process::*;
use ring::byte::Byte;
use ring::linux::{Connection, EndState, Form, Futex, Gathering, Geometry, Setup};
use ring::mpsc::{Next, Receiver};
use ring::packet::Packet;
use ring::slot::Slot;
use ring::{Error, slot};

/// How many messages a race takes.
const ROUNDS: u32 = 3_000;

/// What the other process does, if this is it.
#[test]
fn the_other_process() {
    let setup = Setup::new(GEOMETRY).starting_at(u32::MAX - 20);
    let produce = |setup: Setup, connection| {
        let end = setup.produce(connection, soon()).unwrap();
        end.slot().unwrap()
    };
    let consume = |connection| setup.consume(connection, soon()).unwrap().slot().unwrap();
    play(&[
        ("send", &|connection| {
            send(produce(setup, connection), 20_000)
        }),
        ("send symmetric", &|connection| {
            send(produce(setup.symmetric(), connection), 20_000);
        }),
        ("send for ever", &|connection| {
            send(produce(setup, connection), u64::MAX)
        }),
        ("receive", &|connection| receive(consume(connection))),
        ("receive for ever", &|connection| {
            let mut end = consume(connection);
            while end.receive(&mut [0; 120], u64::MAX).is_ok() {}
        }),
        ("send packets", &|connection| send_packets(connection, 500)),
        ("send packets for ever", &|connection| {
            send_packets(connection, u32::MAX)
        }),
        ("send bytes", &send_bytes),
        ("answer", &answer_questions),
        ("race SLOT", &|with| {
            race_with_who_receives::<Slot>(with, |setup| setup)
        }),
        ("race PACKET", &|with| {
            race_with_who_receives::<Packet>(with, |setup| setup)
        }),
        ("race BYTE", &|with| {
            race_with_who_receives::<Byte>(with, |setup| setup)
        }),
        ("race symmetric SLOT", &|with| {
            race_with_who_receives::<Slot>(with, Setup::symmetric);
        }),
        ("race symmetric PACKET", &|with| {
            race_with_who_receives::<Packet>(with, Setup::symmetric);
        }),
        ("race symmetric BYTE", &|with| {
            race_with_who_receives::<Byte>(with, Setup::symmetric);
        }),
        ("say no more", &say_no_more),
        ("panic", &|connection| {
            let mut end = produce(setup, connection);
            end.try_send(b"last").unwrap();
            std::process::abort();
        }),
    ]);
}

fn send_bytes(connection: Connection) {
    let setup = Setup::new(Geometry::byte(4096)).starting_at(u32::MAX - 9_999);
    let mut end = setup.produce(connection, soon()).unwrap().byte().unwrap();
    end.write_all(&text(), soon()).unwrap();
}

/// Sends packets of all sizes, whose tags are their numbers, across the wrap of the indices.
fn send_packets(connection: Connection, count: u32) {
    let setup = Setup::new(Geometry::packet(4096)).starting_at(0u32.wrapping_sub(40_000));
    let mut end = setup.produce(connection, soon()).unwrap().packet().unwrap();
    for number in 0..count {
        let bytes = [number as u8; 1500];
        let length = (number as usize * 7) % 1500;
        if end.send(number & 0xff, &bytes[..length], soon()).is_err() {
            return;
        }
    }
}

/// What is written to the stream.
fn text() -> Vec<u8> {
    (0..50_000_u32).flat_map(u32::to_le_bytes).collect()
}

/// The message of this number.
fn message(number: u64) -> Vec<u8> {
    let length = 8 + (number % 113) as usize;
    let mut bytes = vec![number as u8; length];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    bytes
}

fn send(mut end: slot::Producer<Futex>, messages: u64) {
    for number in 0..messages {
        if end.send(&message(number), soon()).is_err() {
            return;
        }
    }
}

/// Receives until the peer is gone, and returns how many there were. All are as they were sent.
fn drain(end: &mut slot::Consumer<Futex>) -> u64 {
    let mut bytes = [0; 120];
    let mut number = 0;
    loop {
        match end.receive(&mut bytes, soon()) {
            Ok(length) => {
                assert_eq!(bytes[..length], message(number));
                number += 1;
            }
            Err(Error::PeerClosed) => return number,
            Err(error) => panic!("after {number} messages: {error}"),
        }
    }
}

fn receive(mut end: slot::Consumer<Futex>) {
    assert_eq!(drain(&mut end), 20_000);
}

#[test]
fn another_process_sends_everything_in_order_and_closes() {
    for role in ["send", "send symmetric"] {
        let other = Other::start(role);
        let mut end = other.consume();
        assert_eq!(drain(&mut end), 20_000);
        assert_eq!(end.peer_state(), EndState::Draining);
        other.ends_well();
    }
}

#[test]
fn another_process_receives_everything_in_order() {
    let other = Other::start("receive");
    send(other.produce(), 20_000);
    other.ends_well();
}

#[test]
fn the_form_is_what_both_sides_can() {
    let barriers = rustix::thread::membarrier_query()
        .contains_command(rustix::thread::MembarrierCommand::GlobalExpedited);
    for (role, theirs) in [("send", true), ("send symmetric", false)] {
        for ours in [true, false] {
            let other = Other::start(role);
            let mut offer = other.connection().offer(soon()).unwrap();
            if !ours {
                offer = offer.symmetric();
            }
            let end = offer.consume().unwrap();
            let asymmetric = barriers && ours && theirs;
            assert_eq!(end.form() == Form::Asymmetric, asymmetric);
            assert_eq!(drain(&mut end.slot().unwrap()), 20_000);
        }
    }
}

#[test]
fn a_producer_that_is_killed_at_any_moment_has_sent_whole_messages_and_is_noticed() {
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..30 {
        let mut other = Other::start("send for ever");
        let mut end = other.consume();
        let mut bytes = [0; 120];
        let first = random.u64(0..2_000);
        for number in 0..first {
            let length = end.receive(&mut bytes, soon()).unwrap();
            assert_eq!(bytes[..length], message(number));
        }
        other.kill();
        // Whatever it had published by then is whole, and no more than the ring holds.
        let mut number = first;
        let answer = loop {
            match end.receive(&mut bytes, soon()) {
                Ok(length) => assert_eq!(bytes[..length], message(number)),
                Err(error) => break error,
            }
            number += 1;
        };
        assert_eq!(answer, Error::PeerDied);
        assert!(number - first <= 16);
        assert_eq!(end.peer_state(), EndState::Closed);
    }
}

#[test]
fn a_consumer_that_is_killed_at_any_moment_is_noticed_by_who_waits_for_room() {
    let mut random = fastrand::Rng::with_seed(8);
    for _ in 0..30 {
        let mut other = Other::start("receive for ever");
        let mut end = other.produce();
        for number in 0..random.u64(0..2_000) {
            end.send(&message(number), soon()).unwrap();
        }
        other.kill();
        let mut number = 0;
        while end.send(&message(number), soon()).is_ok() {
            number += 1;
        }
        assert_eq!(end.send(&[], soon()), Err(Error::PeerDied));
        assert_eq!(end.peer_state(), EndState::Closed);
    }
}

#[test]
fn packets_and_bytes_come_from_another_process_across_the_wrap_of_the_indices() {
    let other = Other::start("send packets");
    let offer = other.connection().offer(soon()).unwrap();
    let mut end = offer.consume().unwrap().packet().unwrap();
    let mut bytes = [0; 1500];
    for number in 0..500_u32 {
        let (tag, length) = end.receive(&mut bytes, soon()).unwrap();
        assert_eq!((tag, length), (number & 0xff, (number as usize * 7) % 1500));
        assert_eq!(bytes[..length], [number as u8; 1500][..length]);
    }
    assert_eq!(end.receive(&mut bytes, soon()), Err(Error::PeerClosed));
    other.ends_well();

    let other = Other::start("send bytes");
    let offer = other.connection().offer(soon()).unwrap();
    let mut end = offer.consume().unwrap().byte().unwrap();
    let mut read = vec![0; text().len()];
    end.read_exact(&mut read, soon()).unwrap();
    assert!(read == text());
    assert_eq!(end.read(&mut [0], soon()), Err(Error::PeerClosed));
    other.ends_well();
}

#[test]
fn a_producer_that_is_killed_keeps_no_other_back() {
    let gathering = Gathering::new();
    let mut receiver =
        Receiver::<Packet, Futex, _, _>::new([const { None }; 4], gathering.clone()).unwrap();
    let mut others = Vec::new();
    for role in ["send packets for ever", "send packets", "send packets"] {
        let other = Other::start(role);
        let offer = other.connection().offer(soon()).unwrap().for_tasks();
        let end = offer.consume().unwrap().gathered_at(&gathering).unwrap();
        let place = receiver
            .join(end.packet().unwrap())
            .map_err(|(_, error)| error);
        assert_eq!(place, Ok(others.len()));
        others.push(other);
    }
    let mut counts = [0; 3];
    let mut ends = [None; 3];
    let mut bytes = [0; 1500];
    while receiver.members() > 0 {
        match receiver.next(soon()) {
            Ok(Next::Ready { place, consumer }) => {
                let (tag, _) = consumer.try_receive(&mut bytes).unwrap();
                assert_eq!(tag, counts[place] & 0xff);
                counts[place] += 1;
                if place == 0 && counts[0] == 100 {
                    others[0].kill();
                }
            }
            Ok(Next::Ended { place, why, .. }) => ends[place] = Some(why),
            // It was woken for what had been received by then.
            Err(error) => assert_eq!(error, Error::Empty),
        }
    }
    assert_eq!(counts[1..], [500, 500]);
    let closed = Some(Error::PeerClosed);
    assert_eq!(ends, [Some(Error::PeerDied), closed, closed]);
    for other in others.drain(1..) {
        other.ends_well();
    }
}

#[test]
fn a_peer_that_dies_while_this_side_sleeps_wakes_it() {
    let mut other = Other::start("say no more");
    let mut end = other.consume();
    assert_eq!(end.receive(&mut [0; 120], soon()), Ok(4));
    std::thread::scope(|scope| {
        let sleeper = scope.spawn(move || end.receive(&mut [0; 120], soon()));
        std::thread::sleep(Duration::from_millis(50));
        other.kill();
        assert_eq!(sleeper.join().unwrap(), Err(Error::PeerDied));
    });
}

#[test]
fn what_a_process_sent_before_it_aborted_is_received() {
    let other = Other::start("panic");
    let mut end = other.consume();
    let mut bytes = [0; 120];
    assert_eq!(end.receive(&mut bytes, soon()), Ok(4));
    assert_eq!(end.receive(&mut bytes, soon()), Err(Error::PeerDied));
    assert_eq!(end.peer_state(), EndState::Closed);
}

/// Answers each question with its bytes the other way round, and says goodbye when there are no more.
fn answer_questions(connection: Connection) {
    let offered = Setup::new(Geometry::packet(4096));
    let side = offered.duplex(offered.starting_at(64), connection, soon());
    let mut side = side.unwrap().packet().unwrap();
    let mut bytes = [0; 200];
    loop {
        match side.receiver.receive(&mut bytes, soon()) {
            Ok((number, length)) => {
                bytes[..length].reverse();
                side.sender.send(number, &bytes[..length], soon()).unwrap();
            }
            Err(error) => {
                assert_eq!(error, Error::PeerClosed);
                break;
            }
        }
    }
    side.sender.send(0, b"goodbye", soon()).unwrap();
}

#[test]
fn two_processes_talk_both_ways_over_one_connection() {
    let other = Other::start("answer");
    let offer = other.connection().duplex_offer(soon()).unwrap();
    let geometry = Geometry::packet(4096);
    assert_eq!((offer.sending(), offer.receiving()), (geometry, geometry));
    assert_eq!(offer.peer().unwrap().process, other.child.id() as i32);
    let mut side = offer.accept().unwrap().packet().unwrap();
    let mut bytes = [0; 200];
    for number in 0..2_000_u32 {
        let length = 1 + number as usize % 200;
        let question: Vec<u8> = (0..length).map(|byte| byte as u8).collect();
        side.sender.send(number, &question, soon()).unwrap();
        let answer = side.receiver.receive(&mut bytes, soon());
        assert_eq!(answer, Ok((number, length)));
        assert!(bytes[..length].iter().rev().eq(&question));
    }
    // No more questions; the other direction is as it was.
    side.finish().unwrap();
    assert_eq!(side.receiver.receive(&mut bytes, soon()), Ok((0, 7)));
    let ended = side.receiver.receive(&mut bytes, soon());
    assert_eq!(ended, Err(Error::PeerClosed));
    other.ends_well();
}

#[test]
fn the_death_of_a_process_is_told_in_both_directions() {
    let mut other = Other::start("answer");
    let offer = other.connection().duplex_offer(soon()).unwrap();
    let mut side = offer.accept().unwrap().packet().unwrap();
    side.sender.send(7, b"?", soon()).unwrap();
    let mut bytes = [0; 200];
    assert_eq!(side.receiver.receive(&mut bytes, soon()), Ok((7, 1)));
    other.kill();
    let answer = side.receiver.receive(&mut bytes, soon());
    assert_eq!(answer, Err(Error::PeerDied));
    let full = loop {
        if let Err(error) = side.sender.send(0, &[0; 200], soon()) {
            break error;
        }
    };
    assert_eq!(full, Error::PeerDied);
}

/// Sends in all rounds of a race, and leaves behind how that went.
fn race_with_who_receives<K: Kind>(connection: Connection, form: impl Fn(Setup) -> Setup) {
    let directory = shared_directory();
    Thread::tell_of_current(&directory.join("sender"));
    let end = form(Setup::new(K::GEOMETRY)).produce(connection, soon());
    let end = end.unwrap().attach::<K>().unwrap();
    let receiver = Thread::told_by(&directory.join("receiver"));
    let Passed {
        other_seen,
        off_cpu,
    } = send_all(end, &receiver, rounds(ROUNDS));
    std::fs::write(directory.join("passed"), format!("{other_seen} {off_cpu}")).unwrap();
}

fn no_wakeup_is_lost<K: Kind>(role: &str) {
    let mut other = Other::start(role);
    let directory = other.directory.path().to_owned();
    Thread::tell_of_current(&directory.join("receiver"));
    let offer = other.connection().offer(soon()).unwrap();
    let end = offer.consume().unwrap().attach::<K>().unwrap();
    let sender = Thread::told_by(&directory.join("sender"));
    let received = receive_all(end, &sender, rounds(ROUNDS));
    assert!(other.child.wait().unwrap().success());
    let sent = std::fs::read_to_string(directory.join("passed")).unwrap();
    let (other_seen, off_cpu) = sent.split_once(' ').unwrap();
    let sent = Passed {
        other_seen: other_seen.parse().unwrap(),
        off_cpu: off_cpu.parse().unwrap(),
    };
    assert_both_slept(role, rounds(ROUNDS), (sent, received));
}

#[test]
fn no_wakeup_is_lost_between_two_processes_in_either_form() {
    for form in ["race", "race symmetric"] {
        no_wakeup_is_lost::<Slot>(&format!("{form} SLOT"));
        no_wakeup_is_lost::<Packet>(&format!("{form} PACKET"));
        no_wakeup_is_lost::<Byte>(&format!("{form} BYTE"));
    }
}
