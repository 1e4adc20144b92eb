//! How ends close and are taken away, and what their peers learn of it.

use abi::ring::EndState;
use rt::{Env, Error, FOREVER, Handle, Mode, Rights, RingClose, RingEnd, Thread};

use super::{ALL, start};
use crate::Case;
use crate::calls::{cap_drop, ring_wait, small_ring};
use crate::check::{eventually, other_cpu, succeeds};

/// A way in which the producing end ends.
type Ending = fn(rt::Sender);

/// Ends it without a word, as death does.
fn vanish(sender: rt::Sender) {
    done!(cap_drop(sender.into_handle()), "dropping an end");
}

fn be_revoked(sender: rt::Sender) {
    let end = sender.into_handle();
    done!(rt::revoke_all(end), "revoking an end");
}

fn complain(sender: rt::Sender) {
    done!(
        rt::close_ring(sender.handle(), RingClose::Faulty),
        "closing an end"
    );
    // It stays so, whatever becomes of it.
    drop(sender);
}

pub fn endings(_: &Case) {
    let ways: [(&str, Ending, EndState, ring::Error); 4] = [
        (
            "in order",
            drop,
            EndState::Draining,
            ring::Error::PeerClosed,
        ),
        ("gone", vanish, EndState::Closed, ring::Error::PeerDied),
        (
            "revoked",
            be_revoked,
            EndState::Revoked,
            ring::Error::Revoked,
        ),
        (
            "faulty",
            complain,
            EndState::Poisoned,
            ring::Error::PeerFault,
        ),
    ];
    for (way, end, state, answer) in ways {
        let (producer, consumer) = small_ring();
        let mut sender = done!(rt::open_sender(producer), "opening an end");
        let mut receiver = done!(rt::open_receiver(consumer), "opening an end");
        for index in 0..3u8 {
            done!(sender.try_send(&[index]), "sending");
        }
        end(sender);
        let info = done!(rt::ring_info(consumer), "facts about a ring");
        same!(info.producer_state, state as u32, "the state: {way}");
        same!(receiver.peer_state(), state, "what its page says: {way}");
        let mut target = [9];
        for index in 0..3u8 {
            done!(
                receiver.receive(&mut target, FOREVER),
                "what was sent before: {way}"
            );
            same!(target, [index], "what was sent before: {way}");
        }
        for _ in 0..2 {
            let next = receiver.receive(&mut target, FOREVER);
            refused!(next, answer, "after the last message: {way}");
        }
    }
    // An end that is closed sends no more, and its peer need not be there for that.
    let (producer, consumer) = small_ring();
    let mut sender = done!(rt::open_sender(producer), "opening an end");
    for _ in 0..2 {
        done!(
            rt::close_ring(producer, RingClose::Orderly),
            "closing an end"
        );
    }
    refused!(sender.send(b"", FOREVER), ring::Error::Closed, "sending");
    done!(ring_wait(producer, 1, FOREVER), "waiting at a closed end");
    done!(cap_drop(consumer), "dropping the other end");
    done!(
        rt::close_ring(producer, RingClose::Orderly),
        "closing an end"
    );
}

pub fn half_closed(case: &Case) {
    const COUNT: u32 = 100;
    for cpus in [1, other_cpu()] {
        let (here, there) = done!(rt::duplex(64, 8), "two rings");
        let child = case.child("add_up").cpus(cpus);
        let child = child.handle(there.producer, Mode::Move, ALL);
        let child = start(child.handle(there.consumer, Mode::Move, ALL));
        let mut rings = done!(rt::open_duplex(here), "opening a side");
        for index in 0..COUNT {
            let sent = rings.sender.send(&index.to_le_bytes(), FOREVER);
            done!(sent, "number {index}");
        }
        done!(rings.finish(), "finishing");
        refused!(rings.finish(), ring::Error::Closed, "finishing again");
        refused!(
            rings.sender.try_send(b""),
            ring::Error::Closed,
            "sending after the end"
        );
        let mut sum = [0; 4];
        done!(rings.receiver.receive(&mut sum, FOREVER), "the sum");
        same!(u32::from_le_bytes(sum), COUNT * (COUNT - 1) / 2, "the sum");
        let next = rings.receiver.receive(&mut sum, FOREVER);
        refused!(next, ring::Error::PeerClosed, "after the sum");
        done!(rings.close(), "closing what is closed in one direction");
        succeeds(&child);
    }
}

/// Closes an end, and accuses the peer, as often as there is something to be told by it.
pub(super) fn each_told_once(end: &impl ring::Close) {
    use ring::Error::Closed;
    done!(end.close(), "closing an end");
    refused!(end.close(), Closed, "closing it again");
    // What is drained after an orderly close can still be found to be nonsense.
    done!(end.accuse(), "accusing the peer");
    refused!(end.accuse(), Closed, "accusing it again");
    refused!(end.close(), Closed, "closing after that");
}

pub fn closed_again(_: &Case) {
    let (producer, consumer) = small_ring();
    let sender = done!(rt::open_sender(producer), "opening an end");
    let receiver = done!(rt::open_receiver(consumer), "opening an end");
    each_told_once(sender.waiter());
    each_told_once(receiver.waiter());
    let accused = (sender.peer_state(), receiver.peer_state());
    let poisoned = EndState::Poisoned;
    same!(accused, (poisoned, poisoned), "what each has of the other");
    drop(receiver);
    let info = done!(sender.waiter().info(), "facts about a ring");
    same!(
        info.consumer_state,
        poisoned as u32,
        "the state of who is gone"
    );
    // Of which nothing can be told any more is closed all the same.
    let (producer, consumer) = small_ring();
    let sender = done!(rt::open_sender(producer), "opening an end");
    let receiver = done!(rt::open_receiver(consumer), "opening an end");
    let rest = Rights::all() - Rights::INSPECT;
    done!(rt::reduce(producer, rest), "taking INSPECT away");
    done!(ring::Close::close(sender.waiter()), "closing an end");
    same!(
        receiver.peer_state(),
        EndState::Draining,
        "what the other has of it"
    );
}

pub fn half_open(_: &Case) {
    let (here, there) = done!(rt::duplex(64, 4), "two rings");
    let mut theirs = done!(rt::open_receiver(there.consumer), "its end");
    // Of another kind, of the wrong side, and open already.
    let (packets, open) = {
        let geometry = rt::RingGeometry::packet(4096);
        let (_, packets) = done!(rt::ring_of(&geometry), "a ring");
        let (_, other) = small_ring();
        let open = done!(rt::open_receiver(other), "opening an end");
        (packets, open)
    };
    for (consumer, error) in [
        (packets, Error::Unsupported),
        (there.producer, Error::Unsupported),
        (open.handle(), Error::Exists),
    ] {
        let producer = here.producer;
        let ends = rt::DuplexEnds { producer, consumer };
        refused!(rt::open_duplex(ends).map(drop), error, "one that can't be");
    }
    let mut rings = done!(rt::open_duplex(here), "opening both");
    done!(rings.sender.try_send(b"all the same"), "sending");
    let length = done!(theirs.try_receive(&mut [0; 56]), "receiving");
    same!(length, 12, "the length");
}

pub fn another_kind(_: &Case) {
    let (producer, consumer) = small_ring();
    refused!(
        rt::open_packet_sender(producer),
        Error::Unsupported,
        "slots as packets"
    );
    refused!(
        rt::open_byte_receiver(consumer),
        Error::Unsupported,
        "slots as bytes"
    );
    refused!(
        rt::open_receiver(producer),
        Error::Unsupported,
        "the end of a sender as that of a receiver"
    );
    refused!(
        rt::open_sender(consumer),
        Error::Unsupported,
        "the end of a receiver as that of a sender"
    );
    // Both are as they were.
    let mut sender = done!(rt::open_sender(producer), "opening an end");
    let mut receiver = done!(rt::open_receiver(consumer), "opening an end");
    refused!(
        rt::open_sender(producer),
        Error::Exists,
        "an end that is open"
    );
    refused!(
        rt::open_receiver(consumer),
        Error::Exists,
        "an end that is open"
    );
    done!(sender.try_send(b"all the same"), "sending");
    let length = done!(receiver.try_receive(&mut [0; 56]), "receiving");
    same!(length, 12, "the length");
    // Nor does an executor take what it can't open.
    let executor = done!(rt::Executor::create(), "an executor");
    let geometry = rt::RingGeometry::slot(64, 4).with_form(abi::ring::Form::Symmetric);
    let (producer, consumer) = done!(rt::ring_of(&geometry), "a ring");
    for _ in 0..2 {
        let sender = executor.open_sender::<ring::packet::Packet>(producer);
        refused!(sender.map(drop), Error::Unsupported, "slots as packets");
        let receiver = executor.open_receiver::<ring::byte::Byte>(consumer);
        refused!(receiver.map(drop), Error::Unsupported, "slots as bytes");
    }
    let sender = done!(
        executor.open_sender::<ring::slot::Slot>(producer),
        "opening an end"
    );
    let mut receiver = done!(
        executor.open_receiver::<ring::slot::Slot>(consumer),
        "opening an end"
    );
    let again = executor.open_sender::<ring::slot::Slot>(producer);
    refused!(again.map(drop), Error::Exists, "an end that is open");
    let received = executor.run(async {
        let mut sender = sender;
        sender.send(b"as a task").await?;
        receiver.receive(&mut [0; 56]).await
    });
    same!(received, Ok(9), "the length");
}

pub fn in_one_process(_: &Case) {
    let (producer, consumer) = small_ring();
    let thread = Thread::spawn(move || {
        let mut receiver = done!(rt::open_receiver(consumer), "opening an end");
        let mut sum = 0;
        let mut target = [0; 4];
        while receiver.receive(&mut target, FOREVER).is_ok() {
            sum += u32::from_le_bytes(target);
        }
        sum
    });
    let thread = done!(thread, "a thread");
    let mut sender = done!(rt::open_sender(producer), "opening an end");
    for index in 0..1000u32 {
        done!(sender.send(&index.to_le_bytes(), FOREVER), "sending");
    }
    drop(sender);
    same!(done!(thread.join(), "the sum"), 999 * 500, "the sum");
}

pub fn taken_while_asleep(_: &Case) {
    let takes: [(fn(Handle), Error); 2] = [
        (
            |end| _ = done!(rt::revoke_all(end), "revoking"),
            Error::Revoked,
        ),
        (|end| done!(cap_drop(end), "dropping"), Error::Cancelled),
    ];
    for (take, answer) in takes {
        let (producer, consumer) = small_ring();
        let thread = Thread::spawn(move || ring_wait(consumer, 1, FOREVER));
        let thread = done!(thread, "a thread");
        let waits = || done!(rt::object_info(consumer), "facts").waits;
        eventually("the sleep", || waits() > 0);
        take(consumer);
        same!(
            done!(thread.join(), "its answer"),
            Err(answer),
            "its answer"
        );
        // The other end learns it at once.
        done!(ring_wait(producer, 1, FOREVER), "waiting for nobody");
    }
}

/// The roles of children here.
pub fn child(role: &str, env: &Env) -> bool {
    let end = env.handle(0);
    match role {
        "add_up" => {
            let consumer = env.handle(1);
            let ends = rt::DuplexEnds {
                producer: end,
                consumer,
            };
            let mut rings = done!(rt::open_duplex(ends), "opening a side");
            let mut sum = 0;
            let mut target = [0; 4];
            let why = loop {
                match rings.receiver.receive(&mut target, FOREVER) {
                    Ok(_) => sum += u32::from_le_bytes(target),
                    Err(why) => break why,
                }
            };
            same!(why, ring::Error::PeerClosed, "the end of the numbers");
            let sent = rings.sender.send(&sum.to_le_bytes(), FOREVER);
            done!(sent, "the sum");
        }
        _ => return false,
    }
    true
}
