//! Several who receive at one end at once: one of them gets a message, and only that one pays for it.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::common::messages::{End, Ends, USE, poor};
use crate::common::realm::Realm;
use abi::{Error, FOREVER, HandleTransfer, Mode, Resources, Rights};

const ALL: Rights = Rights::all();

/// The same end in another domain too.
fn shared(realm: &Realm, end: &End, to: usize) -> End {
    let derived = realm.give(end.domain, end.handle, to, Mode::Share);
    assert!(realm.look_up(to, derived).unwrap().contains(USE));
    End::new(to, derived)
}

/// Receives at once, and lets `meanwhile` happen after the first message was shown.
fn receive_after(
    realm: &Realm,
    end: &End,
    meanwhile: impl FnOnce(),
) -> (Result<usize, Error>, Vec<Vec<u8>>) {
    let (mut meanwhile, mut shown) = (Some(meanwhile), Vec::new());
    let domain = &realm.domains[end.domain];
    let received = realm.ipc.receive(domain, end.handle, 0, |preview| {
        shown.push(preview.bytes.to_vec());
        if let Some(meanwhile) = meanwhile.take() {
            meanwhile();
        }
        Ok(())
    });
    (received.map(|received| received.handles_len), shown)
}

#[test]
fn who_was_shown_what_another_takes_is_not_asked_to_pay() {
    let realm = Realm::with_quotas(&[
        Resources::NONE,
        Resources::bytes(1 << 20),
        Resources::bytes(1 << 20),
    ]);
    let ends = Ends::between(&realm, 0, 1, 2);
    let rich = shared(&realm, &ends.there, 2);
    let region = realm.region(0, 3);
    let moved = HandleTransfer::new(region, Mode::Move, ALL);
    ends.here.send(&realm, b"one", &[moved]).unwrap();
    let poor = poor(&realm, 1);
    let (received, shown) = receive_after(&realm, &ends.there, || {
        assert_eq!(rich.receive(&realm).unwrap().handles.len(), 1);
    });
    assert_eq!((received, shown.len()), (Err(Error::WouldBlock), 1));
    drop(poor);
    let frames = [0, 1, 2].map(|domain| realm.used(domain).frames);
    assert_eq!(frames, [0, 0, 3]);
    realm.finish();
}

#[test]
fn what_is_taken_is_what_was_shown_last() {
    let realm = Realm::new(2);
    let ends = Ends::between(&realm, 0, 1, 2);
    ends.here.send(&realm, b"one", &[]).unwrap();
    ends.here.send(&realm, b"two", &[]).unwrap();
    let (received, shown) = receive_after(&realm, &ends.there, || {
        assert_eq!(ends.there.receive(&realm).unwrap().bytes, b"one");
    });
    assert_eq!(
        (received, shown.last().unwrap().as_slice()),
        (Ok(0), &b"two"[..])
    );
    assert_eq!(ends.there.receive(&realm).err(), Some(Error::WouldBlock));
    realm.finish();
}

#[test]
fn who_receives_a_capability_pays_for_it_from_then_on() {
    let realm = Realm::new(2);
    let ends = Ends::between(&realm, 0, 1, 2);
    let before = realm.used(1);
    let region = realm.region(0, 5);
    let moved = HandleTransfer::new(region, Mode::Move, ALL);
    ends.here.send(&realm, b"", &[moved]).unwrap();
    assert_eq!((realm.used(0).frames, realm.used(1)), (5, before));
    let got = ends.there.receive(&realm).unwrap();
    assert_eq!((realm.used(0).frames, realm.used(1).frames), (0, 5));
    let share = HandleTransfer::new(got.handles[0], Mode::Share, ALL);
    let (sender, receiver) = (realm.used(1).bytes, realm.used(0).bytes);
    ends.there.send(&realm, b"", &[share]).unwrap();
    let _ = ends.here.receive(&realm).unwrap();
    let grown = [realm.used(1).bytes - sender, realm.used(0).bytes - receiver];
    assert_eq!(grown, [0, abi::cost::CAPABILITY]);
    realm.finish();
}

#[test]
fn of_many_who_receive_at_once_each_pays_for_what_it_got() {
    const MESSAGES: u64 = 300;
    let realm = Realm::new(3);
    let ends = Ends::between(&realm, 0, 1, 4);
    let other = shared(&realm, &ends.there, 2);
    let got = [const { AtomicU64::new(0) }; 2];
    std::thread::scope(|scope| {
        for (end, got) in [(ends.there, &got[0]), (other, &got[1])].repeat(2) {
            let realm = &realm;
            scope.spawn(move || {
                while end.receive_until(realm, FOREVER).unwrap().bytes != b"end" {
                    got.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for _ in 0..MESSAGES {
            let moved = HandleTransfer::new(realm.region(0, 1), Mode::Move, ALL);
            ends.here
                .send_until(&realm, b"", &[moved], FOREVER)
                .unwrap();
        }
        for _ in 0..4 {
            ends.here.send_until(&realm, b"end", &[], FOREVER).unwrap();
        }
    });
    let got = got.map(AtomicU64::into_inner);
    assert_eq!(got[0] + got[1], MESSAGES);
    let paid = [0, 1, 2].map(|domain| realm.used(domain).frames);
    assert_eq!(paid, [0, got[0], got[1]]);
    realm.finish();
}
