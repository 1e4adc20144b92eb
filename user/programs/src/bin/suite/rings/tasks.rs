//! Futures over the ends of rings, and the executor that runs them.

use abi::RingGeometry;
use abi::ring::Form;
use alloc::vec::Vec;
use ring::slot::Slot;
use rt::{Error, Executor, FOREVER, Handle, Mode, ThreadSpawn};

use super::{ALL, message, start};
use crate::Case;
use crate::check::{other_cpu, succeeds};

/// A ring that can be waited for at a port.
fn symmetric_ring() -> (Handle, Handle) {
    let geometry = RingGeometry::slot(64, 4).with_form(Form::Symmetric);
    done!(rt::ring_of(&geometry), "a ring")
}

/// One thread converses with several processes at once.
pub fn conversations(case: &Case) {
    const PEERS: usize = 3;
    const ROUNDS: u32 = 200;
    let executor = done!(Executor::create(), "an executor");
    let mut children = Vec::new();
    let mut tasks = Vec::new();
    for peer in 0..PEERS {
        let (to, their_from) = symmetric_ring();
        let (their_to, from) = symmetric_ring();
        let child = case
            .child("echo")
            .handle(their_from, Mode::Move, ALL)
            .handle(their_to, Mode::Move, ALL)
            .cpus(if peer == 0 { 1 } else { other_cpu() });
        children.push(start(child));
        let mut sender = done!(executor.open_sender::<Slot>(to), "opening an end");
        let mut receiver = done!(executor.open_receiver::<Slot>(from), "opening an end");
        tasks.push(executor.spawn(async move {
            let mut target = [0; 56];
            for round in 0..ROUNDS {
                let (bytes, len) = message(round);
                sender.send(&bytes[..len]).await?;
                let back = receiver.receive(&mut target).await?;
                if target[..back] != bytes[..len] {
                    return Ok(round);
                }
            }
            drop(sender);
            match receiver.receive(&mut target).await {
                Err(ring::Error::PeerClosed) => Ok(ROUNDS),
                Err(error) => Err(error),
                Ok(_) => Ok(0),
            }
        }));
    }
    let rounds = executor.run(async {
        let mut rounds = Vec::new();
        for task in tasks {
            rounds.push(task.await);
        }
        rounds
    });
    for (peer, rounds) in rounds.into_iter().enumerate() {
        same!(rounds, Ok(ROUNDS), "rounds with peer {peer}");
    }
    for child in &children {
        succeeds(child);
    }
}

/// A task waits for the room that a slow peer makes, and for a peer that dies.
pub fn room_and_death(case: &Case) {
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
