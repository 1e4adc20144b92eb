//! Channels: messages in order, all of a message or nothing, and nobody loses any.

use std::sync::{Arc, Mutex};

use crate::common::messages::{Ends, bytes, poor};
use crate::common::realm::Realm;
use crate::common::{READ, WRITE, page};
use abi::limits::{MAX_CHANNEL_MESSAGES, MAX_MESSAGE};
use abi::{Error, FOREVER, Handle, HandleTransfer, Mode, Resources, Rights};

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
        let send = |number: u64| {
            let message = number.to_le_bytes();
            ends.here
                .send_until(&realm, &message, &[], FOREVER)
                .unwrap();
        };
        let senders = [0, 1, 2, 3].map(|sender| {
            scope.spawn(move || (0..200).for_each(|number| send(sender * 1000 + number)))
        });
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
        senders
            .into_iter()
            .for_each(|sender| sender.join().unwrap());
        // Behind everything else: each receiver ends at one of them.
        (0..3).for_each(|_| send(u64::MAX));
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
    let ends = Ends::between(&realm, 0, 1, 1);
    let (region, _) = realm.region_cached_on_two();
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
