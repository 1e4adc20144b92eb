//! Futures over the ends of rings, and the executor that runs them.

use abi::RingGeometry;
use abi::ring::{EndState, Form, Kind, packet};
use alloc::vec;
use alloc::vec::Vec;
use ring::asynchronous::{Receiver, Sender};
use ring::byte::Byte;
use ring::packet::Packet;
use ring::slot::Slot;
use rt::{Error, Executor, FOREVER, Handle, Mode, Rights, RingEnd, TaskWait, ThreadSpawn};

use super::ends::each_told_once;
use super::{ALL, message, start};
use crate::Case;
use crate::calls::small_ring;
use crate::check::{must_end, other_cpu, succeeds};

/// A ring that can be waited for at a port.
fn symmetric_ring() -> (Handle, Handle) {
    let geometry = RingGeometry::slot(64, 4).with_form(Form::Symmetric);
    done!(rt::ring_of(&geometry), "a ring")
}

/// What is sent to a peer, by number: among short messages, such as fill a ring alone.
fn request(kind: Kind, index: u32) -> Vec<u8> {
    let longest = match kind {
        Kind::Slot => 56,
        Kind::Packet => packet::max_payload(4096),
        Kind::Byte => 4092,
    };
    let length = match index % 4 {
        0 => longest,
        _ => index * 7 % 57,
    };
    (0..length).map(|at| (index * 31 + at) as u8).collect()
}

/// The end of a conversation of which everything has been said.
fn all_said(last: Result<impl Sized, ring::Error>) -> Result<u32, ring::Error> {
    match last {
        Err(ring::Error::PeerClosed) => Ok(ROUNDS),
        Err(error) => Err(error),
        Ok(_) => Ok(0),
    }
}

const ROUNDS: u32 = 100;

type Said = Result<u32, ring::Error>;

async fn say_in_slots(mut sender: Sender<Slot, TaskWait>) -> Said {
    for round in 0..ROUNDS {
        sender.send(&request(Kind::Slot, round)).await?;
    }
    Ok(ROUNDS)
}

async fn hear_in_slots(mut receiver: Receiver<Slot, TaskWait>) -> Said {
    let mut target = [0; 56];
    for round in 0..ROUNDS {
        let length = receiver.receive(&mut target).await?;
        if target[..length] != request(Kind::Slot, round) {
            return Ok(round);
        }
    }
    all_said(receiver.receive(&mut target).await)
}

async fn say_in_packets(mut sender: Sender<Packet, TaskWait>) -> Said {
    for round in 0..ROUNDS {
        sender.send(round, &request(Kind::Packet, round)).await?;
    }
    Ok(ROUNDS)
}

async fn hear_in_packets(mut receiver: Receiver<Packet, TaskWait>) -> Said {
    let mut target = vec![0; 4096];
    for round in 0..ROUNDS {
        let (tag, length) = receiver.receive(&mut target).await?;
        if (tag, &target[..length]) != (round, &request(Kind::Packet, round)) {
            return Ok(round);
        }
    }
    all_said(receiver.receive(&mut target).await)
}

async fn say_in_bytes(mut sender: Sender<Byte, TaskWait>) -> Said {
    for round in 0..ROUNDS {
        let bytes = request(Kind::Byte, round);
        let length = (bytes.len() as u32).to_le_bytes();
        // In one piece, and the other half of them as they go.
        match round % 8 {
            0..4 => {
                sender.ready(4 + bytes.len()).await?;
                let mut row = sender.end().reserve(4 + bytes.len())?;
                row.write(0, &length)?;
                row.write(4, &bytes)?;
                row.commit(4 + bytes.len())?;
            }
            _ => {
                sender.write_all(&length).await?;
                sender.write_all(&bytes).await?;
            }
        }
    }
    Ok(ROUNDS)
}

async fn hear_in_bytes(mut receiver: Receiver<Byte, TaskWait>) -> Said {
    let mut target = vec![0; 4096];
    for round in 0..ROUNDS {
        let mut length = [0; 4];
        receiver.read_exact(&mut length).await?;
        let target = &mut target[..u32::from_le_bytes(length) as usize];
        receiver.read_exact(target).await?;
        if *target != request(Kind::Byte, round) {
            return Ok(round);
        }
    }
    all_said(receiver.read(&mut target).await)
}

/// One thread converses with several processes at once: with each, one task says everything, and waits for the room that is
/// needed for what comes next, and one hears the answers.
pub fn conversations(case: &Case) {
    must_end();
    let executor = done!(Executor::create(), "an executor");
    let mut children = Vec::new();
    let mut tasks = Vec::new();
    for (kind, cpus) in [
        (Kind::Slot, 1),
        (Kind::Packet, other_cpu()),
        (Kind::Byte, other_cpu()),
    ] {
        let shape = match kind {
            Kind::Slot => RingGeometry::slot(64, 4),
            Kind::Packet => RingGeometry::packet(4096),
            Kind::Byte => RingGeometry::byte(4096),
        };
        let shape = shape.with_form(Form::Symmetric);
        let (to, their_from) = done!(rt::ring_of(&shape), "a ring");
        let (their_to, from) = done!(rt::ring_of(&shape), "a ring");
        let child = case.child("echo_any").handle(their_from, Mode::Move, ALL);
        children.push(start(child.handle(their_to, Mode::Move, ALL).cpus(cpus)));
        macro_rules! converse {
            ($kind:ty, $say:ident, $hear:ident) => {{
                let sender = executor.open_sender::<$kind>(to);
                let receiver = executor.open_receiver::<$kind>(from);
                let said = executor.spawn($say(done!(sender, "opening an end")));
                (
                    said,
                    executor.spawn($hear(done!(receiver, "opening an end"))),
                )
            }};
        }
        let (said, heard) = match kind {
            Kind::Slot => converse!(Slot, say_in_slots, hear_in_slots),
            Kind::Packet => converse!(Packet, say_in_packets, hear_in_packets),
            Kind::Byte => converse!(Byte, say_in_bytes, hear_in_bytes),
        };
        tasks.push((kind, said, heard));
    }
    let rounds = executor.run(async {
        let mut rounds = Vec::new();
        for (kind, said, heard) in tasks {
            rounds.push((kind, said.await, heard.await));
        }
        rounds
    });
    for (kind, said, heard) in rounds {
        same!(
            (said, heard),
            (Ok(ROUNDS), Ok(ROUNDS)),
            "rounds over {kind:?}"
        );
    }
    for child in &children {
        succeeds(child);
    }
}

/// A task waits for the room that a slow peer makes, and for a peer that dies.
pub fn room_and_death(case: &Case) {
    must_end();
    let executor = done!(Executor::create(), "an executor");
    let (to, from) = symmetric_ring();
    let slow = case.child("receive_slowly");
    let child = start(slow.handle(from, Mode::Move, ALL).cpus(other_cpu()));
    let mut sender = done!(executor.open_sender::<Slot>(to), "opening an end");
    let sent = executor.run(async {
        for index in 0..200 {
            let (bytes, len) = message(index);
            sender.send(&bytes[..len]).await?;
        }
        Ok::<(), ring::Error>(())
    });
    same!(sent, Ok(()), "sending to a slow peer");
    drop(sender);
    succeeds(&child);

    let (to, from) = symmetric_ring();
    let lost = case.child("send_and_spin");
    let child = start(lost.handle(to, Mode::Move, ALL).cpus(other_cpu()));
    let mut receiver = done!(executor.open_receiver::<Slot>(from), "opening an end");
    let answers = executor.run(async {
        let mut target = [0; 56];
        let first = receiver.receive(&mut target).await;
        let killed = child.kill();
        (first, killed, receiver.receive(&mut target).await)
    });
    let died = Err(ring::Error::PeerDied);
    same!(answers, (Ok(4), Ok(()), died), "the answers to a task");
    done!(child.wait(FOREVER), "the end of the peer");
    // Nothing tells the port of an end that may not be waited at any more.
    let (_to, from) = symmetric_ring();
    let mut receiver = done!(executor.open_receiver::<Slot>(from), "opening an end");
    done!(rt::reduce(from, ALL - Rights::WAIT), "taking a right away");
    let answer = executor.run(receiver.receive(&mut [0; 56]));
    same!(answer, Err(ring::Error::Unsupported), "waiting without it");
    // Who sleeps at a port brings no barrier.
    let (to, from) = done!(rt::ring(64, 4), "a ring");
    let refused = executor.open_receiver::<Slot>(from).map(|_| ());
    same!(refused, Err(Error::Unsupported), "an asymmetric ring");
    for end in [to, from] {
        done!(rt::drop_handle(end), "dropping an end");
    }
}

/// Tasks that are made and woken by another thread while the executor sleeps.
pub fn woken_by_threads(_case: &Case) {
    let executor = done!(Executor::create(), "an executor");
    let (to, from) = symmetric_ring();
    let mut receiver = done!(executor.open_receiver::<Slot>(from), "opening an end");
    let other = executor.clone();
    let body = move || {
        // By now the other sleeps.
        done!(rt::sleep_until(rt::in_ms(2)), "sleeping");
        let mut sender = done!(other.open_sender::<Slot>(to), "opening an end");
        let task = other.spawn(async move {
            for index in 0..50 {
                let (bytes, len) = message(index);
                sender.send(&bytes[..len]).await?;
            }
            Ok::<(), ring::Error>(())
        });
        task.detach();
    };
    let spawn = ThreadSpawn::new().cpus(other_cpu());
    let thread = done!(spawn.start(body), "a thread");
    let received = executor.run(async {
        let mut target = [0; 56];
        for index in 0..50 {
            let len = receiver.receive(&mut target).await?;
            if target[..len] != message(index).0[..message(index).1] {
                return Ok(index);
            }
        }
        receiver.receive(&mut target).await.map(|_| 0)
    });
    same!(received, Err(ring::Error::PeerClosed), "all of 50 messages");
    done!(thread.join(), "the end of the thread");
}

/// An end at which tasks wait is closed and kept, told of to the peer, and handed on like any other.
pub fn ends_of_tasks(case: &Case) {
    must_end();
    let executor = done!(Executor::create(), "an executor");
    let mut target = [0; 56];
    let (to, from) = symmetric_ring();
    let mut sender = done!(executor.open_sender::<Slot>(to), "opening an end");
    for index in 0..3 {
        let (bytes, len) = message(index);
        let sent = executor.run(sender.send(&bytes[..len]));
        done!(sent, "message {index}");
    }
    let mut receiver = done!(executor.open_receiver::<Slot>(from), "opening an end");
    let first = executor.run(receiver.receive(&mut target));
    same!(first, Ok(message(0).1), "the first message");
    // To this very process, and from there on for a thread.
    let (via, back) = small_ring();
    let moved = |receiver: Receiver<Slot, TaskWait>| {
        let end = receiver.into_end().into_handle();
        let token = done!(rt::grant(end, via, Mode::Move, ALL), "granting an end");
        done!(rt::accept(token, back), "accepting it")
    };
    let reopened = executor.open_receiver::<Slot>(moved(receiver));
    let mut receiver = done!(reopened, "opening it again");
    let second = executor.run(receiver.receive(&mut target));
    same!(second, Ok(message(1).1), "the second message");
    let reopened = rt::open_receiver(moved(receiver));
    let mut receiver = done!(reopened, "opening it for a thread");
    let third = receiver.receive(&mut target, FOREVER);
    same!(third, Ok(message(2).1), "the third message");
    let heir = case.child("send_messages").arg("1");
    let heir = heir.handle(sender.into_end().into_handle(), Mode::Move, ALL);
    let child = start(heir.cpus(other_cpu()));
    let next = receiver.receive(&mut target, FOREVER);
    same!(next, Ok(message(0).1), "what the heir sends");
    succeeds(&child);

    let (to, from) = symmetric_ring();
    let mut sender = done!(executor.open_sender::<Slot>(to), "opening an end");
    let mut receiver = done!(executor.open_receiver::<Slot>(from), "opening an end");
    let hears = executor.spawn(async move {
        let answer = receiver.receive(&mut [0; 56]).await;
        (answer, receiver)
    });
    let (heard, mut receiver) = executor.run(async {
        done!(sender.end().finish(), "finishing");
        hears.await
    });
    same!(heard, Err(ring::Error::PeerClosed), "what a task hears");
    refused!(
        sender.end().finish(),
        ring::Error::Closed,
        "finishing again"
    );
    refused!(
        receiver.end().accuse(),
        ring::Error::Invalid,
        "accusing for nothing"
    );
    each_told_once(receiver.end().waiter());
    same!(
        sender.end().peer_state(),
        EndState::Poisoned,
        "what the peer is told"
    );
}
