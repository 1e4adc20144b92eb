//! Channels: messages in order, all of a message or nothing, and ends that close.

mod common;

use std::sync::{Arc, Mutex};

use abi::limits::{MAX_CHANNEL_MESSAGES, MAX_MESSAGE};
use abi::{BindFlags, Error, Events, FOREVER, Handle, HandleTransfer, Mode, Resources, Rights};
use common::messages::{End, Ends, Got, asleep, poor};
use common::realm::Realm;
use common::{READ, WRITE, page};

const ALL: Rights = Rights::all();

/// A deadline that has passed.
const PAST: u64 = 1;

#[test]
fn messages_arrive_in_the_order_in_which_they_were_sent() {
    let realm = Realm::new(2);
    let ends = Ends::between(&realm, 0, 1, 8);
    for round in 0..20_u64 {
        for number in 0..8 {
            ends.here
                .send(&realm, &bytes(round * 8 + number), &[])
                .unwrap();
        }
        for number in 0..8 {
            let got = ends.there.receive(&realm).unwrap();
            assert_eq!(got.bytes, bytes(round * 8 + number));
        }
    }
    realm.finish();
}

/// Bytes that follow from a number, their length too.
fn bytes(number: u64) -> Vec<u8> {
    let len = (number * 37 % 257) as usize;
    (0..len).map(|at| (number * 31 + at as u64) as u8).collect()
}

#[test]
fn a_message_is_at_most_256_bytes_and_4_capabilities() {
    let realm = Realm::new(2);
    let ends = Ends::between(&realm, 0, 1, 2);
    let region = realm.region(0, 1);
    let share = HandleTransfer::new(region, Mode::Share, ALL);
    for len in [0, 1, 32, 255, MAX_MESSAGE] {
        let sent = vec![7; len];
        ends.here.send(&realm, &sent, &[share; 4]).unwrap();
        let got = ends.there.receive(&realm).unwrap();
        assert_eq!((got.bytes, got.handles.len()), (sent, 4));
    }
    let before = realm.counts();
    let long = ends.here.send(&realm, &[7; MAX_MESSAGE + 1], &[]);
    assert_eq!(long, Err(Error::TooLarge));
    let many = ends.here.send(&realm, b"", &[share; 5]);
    assert_eq!(many, Err(Error::TooLarge));
    assert_eq!(realm.counts(), before);
    realm.finish();
}

#[test]
fn a_capacity_is_1_to_64_and_charged_whole_at_creation() {
    let realm = Realm::new(1);
    let before = realm.counts();
    for capacity in [0, MAX_CHANNEL_MESSAGES + 1, u32::MAX] {
        let refused = realm.ipc.create_channel(&realm.domains[0], capacity);
        assert_eq!(refused.err(), Some(Error::Invalid));
    }
    assert_eq!(realm.counts(), before);
    for capacity in [1, 5, MAX_CHANNEL_MESSAGES] {
        let before = realm.used(0);
        let ends = Ends::of(&realm, 0, capacity);
        let made = realm.used(0);
        for _ in 0..capacity {
            ends.here.send(&realm, &[1; MAX_MESSAGE], &[]).unwrap();
        }
        assert_eq!(ends.here.send(&realm, b"", &[]), Err(Error::Full));
        assert_eq!(realm.used(0), made);
        ends.drop(&realm);
        assert_eq!(realm.used(0), before);
    }
    realm.finish();
}

#[test]
fn a_full_queue_is_full_at_once_or_after_the_deadline() {
    let realm = Realm::new(2);
    let ends = Ends::between(&realm, 0, 1, 1);
    ends.here.send(&realm, b"first", &[]).unwrap();
    assert_eq!(ends.here.send(&realm, b"second", &[]), Err(Error::Full));
    let late = ends.here.send_until(&realm, b"second", &[], PAST);
    assert_eq!(late, Err(Error::TimedOut));
    assert_eq!(ends.there.receive(&realm).unwrap().bytes, b"first");
    ends.here.send_until(&realm, b"second", &[], PAST).unwrap();
    assert_eq!(ends.there.receive(&realm).unwrap().bytes, b"second");
    assert_eq!(ends.there.receive(&realm).err(), Some(Error::WouldBlock));
    let late = ends.there.receive_until(&realm, PAST);
    assert_eq!(late.err(), Some(Error::TimedOut));
    realm.finish();
}

#[test]
fn who_waits_for_room_sends_when_there_is_some() {
    let realm = Realm::new(2);
    let ends = Ends::between(&realm, 0, 1, 1);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..500 {
                let sent = ends.here.send_until(&realm, &bytes(number), &[], FOREVER);
                assert_eq!(sent, Ok(()));
            }
        });
        for number in 0..500 {
            let got = ends.there.receive_until(&realm, FOREVER).unwrap();
            assert_eq!(got.bytes, bytes(number));
        }
    });
    realm.finish();
}

#[test]
fn every_message_of_many_senders_is_received_once_by_many_receivers() {
    let realm = Realm::new(2);
    let ends = Ends::between(&realm, 0, 1, 3);
    let received = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for sender in 0..4_u64 {
            let (ends, realm) = (&ends, &realm);
            scope.spawn(move || {
                for number in 0..200_u64 {
                    let message = (sender * 1000 + number).to_le_bytes();
                    ends.here.send_until(realm, &message, &[], FOREVER).unwrap();
                }
            });
        }
        for _ in 0..3 {
            scope.spawn(|| {
                let mut mine = Vec::new();
                loop {
                    let got = ends.there.receive_until(&realm, FOREVER).unwrap();
                    let number = u64::from_le_bytes(got.bytes.try_into().unwrap());
                    if number == u64::MAX {
                        break;
                    }
                    mine.push(number);
                }
                // Of one sender, each receiver sees what came later later.
                for sender in 0..4 {
                    let of: Vec<_> = mine.iter().filter(|n| **n / 1000 == sender).collect();
                    assert!(of.is_sorted());
                }
                received.lock().unwrap().extend(mine);
            });
        }
        // The receivers end when everything was received.
        while received.lock().unwrap().len() < 800 {
            let queued = ends.there.info(&realm).queued;
            if queued == 0 {
                let _ = ends.here.send(&realm, &u64::MAX.to_le_bytes(), &[]);
            }
            std::thread::yield_now();
        }
    });
    let mut received = received.into_inner().unwrap();
    received.sort_unstable();
    let all: Vec<u64> = (0..4)
        .flat_map(|sender| (0..200).map(move |number| sender * 1000 + number))
        .collect();
    assert_eq!(received, all);
    realm.finish();
}

#[test]
fn peer_closed_comes_after_the_last_message() {
    let realm = Realm::new(2);
    let ends = Ends::between(&realm, 0, 1, 4);
    ends.here.send(&realm, b"one", &[]).unwrap();
    ends.here.send(&realm, b"two", &[]).unwrap();
    ends.here.drop(&realm);
    assert_eq!(ends.there.receive(&realm).unwrap().bytes, b"one");
    assert_eq!(ends.there.info(&realm).peer_closed, 1);
    assert_eq!(ends.there.receive(&realm).unwrap().bytes, b"two");
    let end = ends.there.receive_until(&realm, FOREVER);
    assert_eq!(end.err(), Some(Error::PeerClosed));
    assert_eq!(ends.there.send(&realm, b"", &[]), Err(Error::PeerClosed));
    realm.finish();
}

#[test]
fn an_end_is_closed_with_its_last_capability() {
    let realm = Realm::new(2);
    let ends = Ends::between(&realm, 0, 1, 4);
    let second = End::new(0, realm.derive(0, ends.here.handle, ALL).unwrap());
    ends.here.drop(&realm);
    second.send(&realm, b"still", &[]).unwrap();
    assert_eq!(ends.there.receive(&realm).unwrap().bytes, b"still");
    second.drop(&realm);
    assert_eq!(ends.there.receive(&realm).err(), Some(Error::PeerClosed));
    realm.finish();
}

#[test]
fn who_waits_is_told_that_the_other_end_is_gone() {
    for sends in [false, true] {
        let realm = Realm::new(2);
        let ends = Ends::between(&realm, 0, 1, 1);
        ends.here.send(&realm, b"full", &[]).unwrap();
        std::thread::scope(|scope| {
            let waiter = asleep(scope, &realm, || match sends {
                true => ends.here.send_until(&realm, b"more", &[], FOREVER),
                false => ends.here.receive_until(&realm, FOREVER).map(|_| ()),
            });
            ends.there.drop(&realm);
            assert_eq!(waiter.join().unwrap(), Err(Error::PeerClosed));
        });
        realm.finish();
    }
}

#[test]
fn who_waits_through_a_revoked_end_is_told() {
    for what in 0..3 {
        let realm = Realm::new(2);
        let ends = Ends::of(&realm, 0, 1);
        ends.here.send(&realm, b"full", &[]).unwrap();
        let derived = realm.derive(0, ends.here.handle, ALL).unwrap();
        let derived = End::new(0, derived);
        std::thread::scope(|scope| {
            let waiter = asleep(scope, &realm, || match what {
                0 => derived.send_until(&realm, b"more", &[], FOREVER),
                1 => derived.receive_until(&realm, FOREVER).map(|_| ()),
                _ => realm
                    .ipc
                    .serve_words(&realm.domains[0], derived.handle, Handle::NONE, [0; 4])
                    .map(|_| ()),
            });
            assert_eq!(realm.revoke(0, ends.here.handle), Ok(1));
            assert_eq!(waiter.join().unwrap(), Err(Error::Revoked));
        });
        let refused = derived.send(&realm, b"", &[]);
        assert_eq!(refused, Err(Error::Revoked));
        realm.finish();
    }
}

#[test]
fn a_message_carries_capabilities_in_each_mode() {
    let realm = Realm::new(2);
    let ends = Ends::between(&realm, 0, 1, 2);
    let [moved, shared, copied] = [(); 3].map(|()| realm.region(0, 1));
    let vas = [moved, shared, copied].map(|region| realm.map(0, region, WRITE));
    for (number, va) in vas.into_iter().enumerate() {
        realm.store(0, 0, va, number as u64 + 1).unwrap();
    }
    let transfers = [
        HandleTransfer::new(moved, Mode::Move, ALL),
        HandleTransfer::new(shared, Mode::Share, READ | Rights::MAP),
        HandleTransfer::new(copied, Mode::CopyOnWrite, ALL),
    ];
    ends.here.send(&realm, b"three", &transfers).unwrap();
    assert_eq!(realm.look_up(0, moved), Err(Error::InTransit));
    assert!(!realm.reaches(0, vas[0]));
    // After the send, and so not in the snapshot.
    realm.store(0, 0, vas[2], 9).unwrap();
    let got = ends.there.receive(&realm).unwrap();
    assert_eq!(realm.look_up(0, moved), Err(Error::BadHandle));
    let rights = [READ | WRITE, READ, READ | WRITE];
    for (number, (handle, rights)) in got.handles.iter().zip(rights).enumerate() {
        let va = realm.map(1, *handle, rights);
        assert_eq!(realm.load(1, 1, page(va, 0)), Ok(number as u64 + 1));
    }
    assert_eq!(realm.try_map(1, got.handles[1], WRITE), Err(Error::Denied));
    realm.finish();
}

#[test]
fn a_send_that_fails_leaves_every_handle_with_the_sender() {
    let realm = Realm::new(2);
    let ends = Ends::between(&realm, 0, 1, 1);
    let (moved, shared) = (realm.region(0, 1), realm.region(0, 1));
    let no_move = realm.derive(0, shared, ALL - Rights::MOVE).unwrap();
    let va = realm.map(0, moved, WRITE);
    realm.store(0, 0, va, 1).unwrap();
    let good = HandleTransfer::new(moved, Mode::Move, ALL);
    let before = realm.counts();
    let bad = [
        (HandleTransfer::new(no_move, Mode::Move, ALL), Error::Denied),
        (HandleTransfer::new(moved, Mode::Move, ALL), Error::Overlap),
        (HandleTransfer::new(moved, Mode::Share, ALL), Error::Overlap),
        (
            HandleTransfer::new(Handle::from_bits(7), Mode::Move, ALL),
            Error::BadHandle,
        ),
        (
            HandleTransfer {
                mode: 3,
                ..HandleTransfer::new(shared, Mode::Share, ALL)
            },
            Error::Invalid,
        ),
        (
            HandleTransfer {
                rights: 1 << 31,
                ..HandleTransfer::new(shared, Mode::Share, ALL)
            },
            Error::Invalid,
        ),
    ];
    for (transfer, error) in bad {
        let share = HandleTransfer::new(shared, Mode::Share, ALL);
        let refused = ends.here.send(&realm, b"", &[share, good, transfer]);
        assert_eq!(refused, Err(error));
        assert_eq!(realm.counts(), before);
        // Not even unmapped: nothing was taken away before all was known to be allowed.
        assert_eq!(realm.store(0, 0, va, 1), Ok(()), "{error}");
    }
    // The queue is full, or the other end gone.
    ends.here.send(&realm, b"full", &[]).unwrap();
    assert_eq!(ends.here.send(&realm, b"", &[good]), Err(Error::Full));
    assert_eq!(realm.store(0, 0, va, 1), Ok(()));
    ends.there.drop(&realm);
    assert_eq!(ends.here.send(&realm, b"", &[good]), Err(Error::PeerClosed));
    assert_eq!(realm.store(0, 0, va, 1), Ok(()));
    realm.finish();
}

#[test]
fn an_end_that_closes_during_the_send_leaves_every_handle_with_the_sender() {
    let realm = Realm::new(2);
    realm.run_also_on_3(0);
    let ends = Ends::between(&realm, 0, 1, 1);
    let region = realm.region(0, 1);
    let va = realm.map(0, region, WRITE);
    for cpu in [0, 3] {
        realm.store(cpu, 0, va, 5).unwrap();
    }
    let (ipc, receiver) = (Arc::downgrade(&realm.ipc), realm.domains[1].clone());
    let there = ends.there.handle;
    realm.machine().set_while_waiting(move |_| {
        let ipc = ipc.upgrade().unwrap();
        let _ = fake::on_cpu(1, || ipc.drop_capability(&receiver, there));
    });
    let moved = HandleTransfer::new(region, Mode::Move, ALL);
    let sent = ends.here.send(&realm, b"", &[moved]);
    realm.machine().clear_hooks();
    assert_eq!(sent, Err(Error::PeerClosed));
    assert!(realm.look_up(0, region).is_ok());
    let va = realm.map(0, region, WRITE);
    assert_eq!(realm.load(0, 0, va), Ok(5));
    realm.finish();
}

#[test]
fn a_receive_that_cannot_be_paid_leaves_the_message() {
    let realm = Realm::with_quotas(&[Resources::NONE, Resources::bytes(1 << 20)]);
    let ends = Ends::between(&realm, 0, 1, 2);
    let (moved, shared) = (realm.region(0, 1), realm.region(0, 1));
    let transfers = [
        HandleTransfer::new(moved, Mode::Move, ALL),
        HandleTransfer::new(shared, Mode::Share, ALL),
    ];
    ends.here.send(&realm, b"both", &transfers).unwrap();
    let poor = poor(&realm, 1);
    let before = realm.counts();
    assert_eq!(ends.there.receive(&realm).err(), Some(Error::Quota));
    assert_eq!(realm.counts(), before);
    drop(poor);
    let got = ends.there.receive(&realm).unwrap();
    assert_eq!((got.bytes.as_slice(), got.handles.len()), (&b"both"[..], 2));
    realm.finish();
}

#[test]
fn a_message_that_does_not_fit_stays_and_tells_what_it_needs() {
    let realm = Realm::new(2);
    let ends = Ends::between(&realm, 0, 1, 2);
    let region = realm.region(0, 1);
    let share = HandleTransfer::new(region, Mode::Share, ALL);
    ends.here.send(&realm, b"seven b", &[share]).unwrap();
    let before = realm.counts();
    for (bytes, handles) in [(6, 4), (256, 0), (0, 0)] {
        let mut seen = None;
        let end = ends.there.handle;
        let refused = realm.ipc.receive(&realm.domains[1], end, 0, |preview| {
            seen = Some((preview.bytes.len(), preview.handles));
            match preview.bytes.len() > bytes || preview.handles > handles {
                true => Err(Error::TooLarge),
                false => Ok(()),
            }
        });
        assert_eq!((refused.err(), seen), (Some(Error::TooLarge), Some((7, 1))));
        assert_eq!(realm.counts(), before);
    }
    assert_eq!(ends.there.receive(&realm).unwrap().handles.len(), 1);
    realm.finish();
}

#[test]
fn what_was_revoked_on_the_way_is_a_handle_of_nothing() {
    let realm = Realm::new(2);
    let ends = Ends::between(&realm, 0, 1, 2);
    let (kept, revoked) = (realm.region(0, 1), realm.region(0, 1));
    let transfers = [revoked, kept].map(|handle| HandleTransfer::new(handle, Mode::Share, ALL));
    ends.here.send(&realm, b"", &transfers).unwrap();
    assert_eq!(realm.revoke(0, revoked), Ok(1));
    let got = ends.there.receive(&realm).unwrap();
    assert_eq!(got.handles[0], Handle::NONE);
    assert!(realm.look_up(1, got.handles[1]).is_ok());
    realm.finish();
}

#[test]
fn what_lies_in_a_queue_goes_back_when_its_receiver_ends() {
    let realm = Realm::new(3);
    let ends = Ends::between(&realm, 0, 1, 4);
    let mut objects = Vec::new();
    for number in 0..4 {
        let region = realm.region(0, 1);
        let (pair, shared) = (Ends::of(&realm, 0, 1), realm.region(0, 1));
        let transfers = [
            HandleTransfer::new(region, Mode::Move, ALL),
            HandleTransfer::new(shared, Mode::Share, ALL),
            HandleTransfer::new(shared, Mode::CopyOnWrite, ALL),
            HandleTransfer::new(pair.there.handle, Mode::Move, ALL),
        ];
        ends.here.send(&realm, &bytes(number), &transfers).unwrap();
        objects.push((region, pair));
    }
    let held = realm.ipc.object_count();
    realm.exit(1);
    // The snapshots, the end itself and what domain 1 had of the others' processes.
    assert!(realm.ipc.object_count() < held);
    for (region, pair) in &objects {
        assert!(realm.look_up(0, *region).is_ok());
        assert!(realm.look_up(0, pair.there.handle).is_ok());
        pair.here.send(&realm, b"works", &[]).unwrap();
    }
    realm.finish();
}

#[test]
fn what_a_dead_sender_sent_arrives_and_what_nobody_receives_ends() {
    for receives in [false, true] {
        let realm = Realm::new(2);
        let ends = Ends::between(&realm, 0, 1, 4);
        let region = realm.region(0, 1);
        let moved = HandleTransfer::new(region, Mode::Move, ALL);
        ends.here.send(&realm, b"will", &[moved]).unwrap();
        realm.exit(0);
        if receives {
            let got = ends.there.receive(&realm).unwrap();
            realm.map(1, got.handles[0], WRITE);
            assert_eq!(ends.there.receive(&realm).err(), Some(Error::PeerClosed));
        }
        realm.finish();
    }
}

#[test]
fn a_channel_end_goes_only_over_an_older_channel() {
    let realm = Realm::new(2);
    let older = Ends::of(&realm, 0, 2);
    let younger = Ends::of(&realm, 0, 2);
    let give = |end: &End| [HandleTransfer::new(end.handle, Mode::Move, ALL)];
    let refused = [
        (&older.here, &older.here),
        (&older.here, &older.there),
        (&younger.here, &older.here),
        (&younger.there, &older.there),
        (&younger.there, &younger.there),
    ];
    let before = realm.counts();
    for (over, end) in refused {
        for mode in [Mode::Move, Mode::Share] {
            let transfer = [HandleTransfer::new(end.handle, mode, ALL)];
            let sent = over.send(&realm, b"", &transfer);
            assert_eq!(sent, Err(Error::Invalid));
        }
        assert_eq!(realm.counts(), before);
    }
    older.here.send(&realm, b"", &give(&younger.here)).unwrap();
    let got = older.there.receive(&realm).unwrap();
    End::new(0, got.handles[0]).send(&realm, b"", &[]).unwrap();
    realm.finish();
}

#[test]
fn channels_deep_in_one_another_are_closed_without_depth() {
    const DEPTH: usize = 600;
    let realm = Realm::new(1);
    let before = realm.counts();
    let outer = Ends::of(&realm, 0, 1);
    let mut last = outer.here.handle;
    let mut ends = vec![outer.there.handle];
    for _ in 0..DEPTH {
        let inner = Ends::of(&realm, 0, 1);
        let shared = HandleTransfer::new(inner.there.handle, Mode::Share, ALL);
        End::new(0, last).send(&realm, b"", &[shared]).unwrap();
        inner.there.drop(&realm);
        realm.drop_handle(0, last).unwrap();
        last = inner.here.handle;
    }
    realm.drop_handle(0, last).unwrap();
    // Every queue but the first is held by a message in the one before.
    assert_eq!(realm.ipc.object_count(), before.1 + DEPTH as u64 + 1);
    // With little stack, as in a kernel.
    std::thread::scope(|scope| {
        let small = std::thread::Builder::new().stack_size(192 << 10);
        let end = ends.pop().unwrap();
        let realm = &realm;
        let closing = move || realm.drop_handle(0, end).unwrap();
        small.spawn_scoped(scope, closing).unwrap().join().unwrap();
    });
    assert_eq!(realm.counts(), before);
    realm.finish();
}

#[test]
fn events_hold_as_the_ends_stand() {
    let realm = Realm::new(2);
    let ends = Ends::between(&realm, 0, 1, 1);
    let level = |end: &End| {
        let domain = &realm.domains[end.domain];
        let all = Events::READABLE | Events::WRITABLE | Events::PEER_CLOSED;
        realm.ipc.wait_object(domain, end.handle, all, 0)
    };
    assert_eq!(level(&ends.here), Ok(Events::WRITABLE));
    ends.here.send(&realm, b"", &[]).unwrap();
    assert_eq!(level(&ends.here), Err(Error::WouldBlock));
    assert_eq!(level(&ends.there), Ok(Events::READABLE | Events::WRITABLE));
    ends.here.drop(&realm);
    assert_eq!(
        level(&ends.there),
        Ok(Events::READABLE | Events::PEER_CLOSED)
    );
    realm.finish();
}

#[test]
fn who_waits_for_an_event_of_an_end_is_told_when_it_comes() {
    let wanted = [Events::READABLE, Events::WRITABLE, Events::PEER_CLOSED];
    for wanted in wanted {
        let realm = Realm::new(2);
        let ends = Ends::between(&realm, 0, 1, 1);
        ends.here.send(&realm, b"", &[]).unwrap();
        std::thread::scope(|scope| {
            let waiter = asleep(scope, &realm, || {
                let end = &ends.here;
                let domain = &realm.domains[0];
                realm.ipc.wait_object(domain, end.handle, wanted, FOREVER)
            });
            match wanted {
                Events::READABLE => ends.there.send(&realm, b"", &[]).unwrap(),
                Events::WRITABLE => drop::<Got>(ends.there.receive(&realm).unwrap()),
                _ => ends.there.drop(&realm),
            }
            assert_eq!(waiter.join().unwrap(), Ok(wanted));
        });
        realm.finish();
    }
}

#[test]
fn a_message_that_somebody_was_told_of_who_lost_the_end_wakes_another() {
    for serves in [false, true] {
        let realm = Realm::new(2);
        let ends = Ends::between(&realm, 0, 1, 2);
        let lost = End::new(1, realm.derive(1, ends.there.handle, ALL).unwrap());
        let (enlisted, is_enlisted) = std::sync::mpsc::channel();
        let (go_on, goes_on) = std::sync::mpsc::channel::<()>();
        realm.machine().set_before_park(move |_| {
            let _ = enlisted.send(());
            let _ = goes_on.recv();
        });
        // What is no four words tells a server that it has to receive.
        let take = |end: &End| match serves {
            false => end.receive_until(&realm, FOREVER).map(|got| got.bytes),
            true => {
                let domain = &realm.domains[1];
                let served = realm
                    .ipc
                    .serve_words(domain, end.handle, Handle::NONE, [0; 4]);
                served.map(|_| Vec::new())
            }
        };
        let taken = match serves {
            false => Ok(b"message".to_vec()),
            true => Err(Error::TooLarge),
        };
        std::thread::scope(|scope| {
            let first = scope.spawn(|| take(&lost));
            is_enlisted.recv().unwrap();
            let second = asleep(scope, &realm, || take(&ends.there));
            // Tells the first, which loses its capability before it looks.
            ends.here.send(&realm, b"message", &[]).unwrap();
            lost.drop(&realm);
            drop(go_on);
            assert_eq!(first.join().unwrap(), Err(Error::BadHandle));
            assert_eq!(second.join().unwrap(), taken);
        });
        realm.finish();
    }
}

#[test]
fn a_place_that_was_kept_for_a_send_that_fails_is_told_of() {
    let realm = Realm::new(2);
    realm.run_also_on_3(0);
    let ends = Ends::between(&realm, 0, 1, 1);
    let watched = realm.derive(0, ends.here.handle, ALL).unwrap();
    let port = realm.ipc.create_port(&realm.domains[0]).unwrap();
    let region = realm.region(0, 1);
    let va = realm.map(0, region, WRITE);
    for cpu in [0, 3] {
        realm.store(cpu, 0, va, 5).unwrap();
    }
    let (ipc, domain) = (Arc::downgrade(&realm.ipc), realm.domains[0].clone());
    let lost = ends.here.handle;
    realm.machine().set_while_waiting(move |_| {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let ipc = ipc.upgrade().unwrap();
                let (wanted, flags) = (Events::WRITABLE, BindFlags::empty());
                let _ = ipc.bind_port(&domain, port, watched, wanted, flags, 1);
                let _ = ipc.drop_capability(&domain, lost);
            });
        });
    });
    let moved = HandleTransfer::new(region, Mode::Move, ALL);
    let sent = ends.here.send(&realm, b"", &[moved]);
    realm.machine().clear_hooks();
    assert_eq!(sent, Err(Error::BadHandle));
    let mut told = 0;
    let delivered = realm
        .ipc
        .wait_port(&realm.domains[0], port, 1, 0, |_, packets| {
            told = packets[0].events;
            Ok(())
        });
    assert_eq!(delivered, Ok(1));
    assert_eq!(told, Events::WRITABLE.bits());
    realm.finish();
}
