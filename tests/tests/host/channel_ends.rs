//! Ends of channels: how they close, what becomes of what lies in them, and who is told.

use std::sync::Arc;

use crate::common::WRITE;
use crate::common::messages::{End, Ends, Got, asleep, bytes};
use crate::common::realm::Realm;
use abi::{BindFlags, Error, Events, FOREVER, Handle, HandleTransfer, Mode, Rights};

const ALL: Rights = Rights::all();

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
        // Of a server that waits to meet a caller, and somebody else who waits, the other one is told.
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
            assert_eq!(first.join().unwrap(), Err(Error::Cancelled));
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
    assert_eq!(sent, Err(Error::Cancelled));
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
