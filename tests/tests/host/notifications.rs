//! Notifications: bits arrive once, at one of those who wait, or stay until somebody takes them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::common::realm::Realm;
use crate::common::waiting::asleep;
use abi::limits::NOTIFICATION_BITS;
use abi::{DeriveArgs, Error, Events, FOREVER, Handle, Mode, Rights};

fn notification(realm: &Realm, domain: usize) -> Handle {
    realm
        .ipc
        .create_notification(&realm.domains[domain])
        .unwrap()
}

fn poll(realm: &Realm, domain: usize, handle: Handle) -> Result<u64, Error> {
    realm
        .ipc
        .wait_notification(&realm.domains[domain], handle, 0)
}

fn signal(realm: &Realm, domain: usize, handle: Handle, bits: u64) -> Result<(), Error> {
    realm.ipc.signal(&realm.domains[domain], handle, bits)
}

#[test]
fn bits_stay_until_somebody_takes_them_and_are_then_gone() {
    let realm = Realm::new(1);
    let handle = notification(&realm, 0);
    assert_eq!(poll(&realm, 0, handle), Err(Error::WouldBlock));
    signal(&realm, 0, handle, 1).unwrap();
    signal(&realm, 0, handle, 6).unwrap();
    signal(&realm, 0, handle, 4).unwrap();
    assert_eq!(poll(&realm, 0, handle), Ok(7));
    assert_eq!(poll(&realm, 0, handle), Err(Error::WouldBlock));
    realm.finish();
}

#[test]
fn a_signal_of_no_bit_or_of_one_that_there_is_not_is_refused() {
    let realm = Realm::new(1);
    let handle = notification(&realm, 0);
    for bits in [0, 1 << 63, u64::MAX] {
        assert_eq!(signal(&realm, 0, handle, bits), Err(Error::Invalid));
    }
    signal(&realm, 0, handle, NOTIFICATION_BITS).unwrap();
    assert_eq!(poll(&realm, 0, handle), Ok(NOTIFICATION_BITS));
    realm.finish();
}

#[test]
fn a_badge_says_which_bits_a_signal_sets() {
    let realm = Realm::new(1);
    let handle = notification(&realm, 0);
    let narrower = DeriveArgs {
        badge: 0x30,
        ..DeriveArgs::new(Rights::all())
    };
    let badged = realm.derive_with(0, handle, narrower).unwrap();
    for bits in [1, 0x10, 0x30] {
        assert_eq!(signal(&realm, 0, badged, bits), Err(Error::Invalid));
    }
    signal(&realm, 0, badged, 0).unwrap();
    assert_eq!(poll(&realm, 0, badged), Ok(0x30));
    signal(&realm, 0, handle, 1).unwrap();
    assert_eq!(poll(&realm, 0, handle), Ok(1));
    realm.finish();
}

#[test]
fn signalling_and_waiting_take_a_right_each() {
    let realm = Realm::new(1);
    let handle = notification(&realm, 0);
    let only = |right| realm.derive(0, handle, right).unwrap();
    let (signals, waits) = (only(Rights::SIGNAL), only(Rights::WAIT));
    assert_eq!(signal(&realm, 0, waits, 1), Err(Error::Denied));
    assert_eq!(poll(&realm, 0, signals), Err(Error::Denied));
    assert_eq!(signal(&realm, 0, realm.via[0][0], 1), Err(Error::WrongKind));
    signal(&realm, 0, signals, 1).unwrap();
    assert_eq!(poll(&realm, 0, waits), Ok(1));
    realm.finish();
}

#[test]
fn who_sleeps_is_woken_with_the_bits_and_nothing_is_left() {
    let realm = Arc::new(Realm::new(2));
    let handle = notification(&realm, 0);
    let theirs = realm.give(0, handle, 1, Mode::Share);
    let other = realm.clone();
    realm.machine().set_before_park(move |_| {
        signal(&other, 1, theirs, 5).unwrap();
    });
    let taken = realm
        .ipc
        .wait_notification(&realm.domains[0], handle, FOREVER);
    assert_eq!(taken, Ok(5));
    assert_eq!(poll(&realm, 0, handle), Err(Error::WouldBlock));
    realm.machine().clear_hooks();
    Arc::into_inner(realm).unwrap().finish();
}

#[test]
fn a_deadline_that_has_passed_ends_the_wait_and_leaves_later_bits_alone() {
    let realm = Realm::new(1);
    let handle = notification(&realm, 0);
    let wait = |deadline| {
        realm
            .ipc
            .wait_notification(&realm.domains[0], handle, deadline)
    };
    assert_eq!(wait(1), Err(Error::TimedOut));
    signal(&realm, 0, handle, 2).unwrap();
    assert_eq!(wait(1), Ok(2));
    realm.finish();
}

#[test]
fn whoever_waits_longest_gets_the_bits_and_the_next_get_the_next() {
    let realm = Arc::new(Realm::new(1));
    let handle = notification(&realm, 0);
    let mut sleepers = Vec::new();
    for _ in 0..3 {
        let sleeper = asleep(&realm, move |realm| {
            realm
                .ipc
                .wait_notification(&realm.domains[0], handle, FOREVER)
        });
        sleepers.push(sleeper);
    }
    for (bit, sleeper) in sleepers.into_iter().enumerate() {
        signal(&realm, 0, handle, 1 << bit).unwrap();
        assert_eq!(sleeper.join().unwrap(), Ok(1 << bit));
    }
    Arc::into_inner(realm).unwrap().finish();
}

#[test]
fn every_signal_of_many_threads_arrives_once() {
    const SIGNALS: u64 = 60;
    let realm = Arc::new(Realm::new(2));
    let handle = notification(&realm, 0);
    let theirs = realm.give(0, handle, 1, Mode::Share);
    let taken = Arc::new(AtomicU64::new(0));
    let waiters: Vec<_> = (0..3)
        .map(|_| {
            let (realm, taken) = (realm.clone(), taken.clone());
            std::thread::spawn(move || {
                loop {
                    let bits = realm
                        .ipc
                        .wait_notification(&realm.domains[0], handle, FOREVER)
                        .unwrap();
                    let before = taken.fetch_add(bits & !(7 << 60), Ordering::Relaxed);
                    assert_eq!(before & bits & !(7 << 60), 0, "a bit arrived twice");
                    if bits & (7 << 60) != 0 {
                        // More than one of the last bits may come at once: the rest is passed on.
                        let rest = bits & (7 << 60) & ((bits & (7 << 60)) - 1);
                        if rest != 0 {
                            signal(&realm, 0, handle, rest).unwrap();
                        }
                        return;
                    }
                }
            })
        })
        .collect();
    let signallers: Vec<_> = (0..2)
        .map(|half| {
            let realm = realm.clone();
            std::thread::spawn(move || {
                for bit in (half..SIGNALS).step_by(2) {
                    signal(&realm, 1, theirs, 1 << bit).unwrap();
                }
            })
        })
        .collect();
    signallers.into_iter().for_each(|s| s.join().unwrap());
    for last in 60..63 {
        signal(&realm, 1, theirs, 1 << last).unwrap();
    }
    waiters.into_iter().for_each(|w| w.join().unwrap());
    assert_eq!(taken.load(Ordering::Relaxed), (1 << SIGNALS) - 1);
    Arc::into_inner(realm).unwrap().finish();
}

#[test]
fn a_revoke_ends_the_waits_below_it_and_no_others() {
    let realm = Arc::new(Realm::new(2));
    let handle = notification(&realm, 0);
    let kept = realm.derive(0, handle, Rights::all()).unwrap();
    let top = realm.derive(0, handle, Rights::all()).unwrap();
    let theirs = realm.give(0, top, 1, Mode::Share);
    let sleep = |domain: usize, handle| {
        asleep(&realm, move |realm| {
            realm
                .ipc
                .wait_notification(&realm.domains[domain], handle, FOREVER)
        })
    };
    let (stays, ends) = (sleep(0, kept), sleep(1, theirs));
    assert_eq!(realm.revoke(0, top), Ok(1));
    assert_eq!(ends.join().unwrap(), Err(Error::Revoked));
    signal(&realm, 0, handle, 1).unwrap();
    assert_eq!(stays.join().unwrap(), Ok(1));
    assert_eq!(signal(&realm, 1, theirs, 1), Err(Error::Revoked));
    Arc::into_inner(realm).unwrap().finish();
}

#[test]
fn who_waits_through_a_handle_that_is_dropped_or_moved_away_goes_on() {
    let realm = Arc::new(Realm::new(2));
    for moved in [false, true] {
        let handle = notification(&realm, 0);
        let kept = realm.derive(0, handle, Rights::REVOKE).unwrap();
        let top = if moved {
            handle
        } else {
            realm.derive(0, handle, Rights::all()).unwrap()
        };
        let sleeper = asleep(&realm, move |realm| {
            realm.ipc.wait_notification(&realm.domains[0], top, FOREVER)
        });
        if moved {
            realm.give(0, top, 1, Mode::Move);
        } else {
            realm.drop_handle(0, top).unwrap();
        }
        assert_eq!(sleeper.join().unwrap(), Err(Error::Cancelled));
        realm.drop_handle(0, kept).unwrap();
    }
    Arc::into_inner(realm).unwrap().finish();
}

#[test]
fn a_revoke_between_the_look_up_and_the_sleep_is_not_missed() {
    let realm = Arc::new(Realm::new(1));
    let handle = notification(&realm, 0);
    let below = realm.derive(0, handle, Rights::all()).unwrap();
    let other = realm.clone();
    realm.machine().set_before_park(move |_| {
        assert_eq!(other.revoke(0, handle), Ok(1));
    });
    let waited = realm
        .ipc
        .wait_notification(&realm.domains[0], below, FOREVER);
    assert_eq!(waited, Err(Error::Revoked));
    realm.machine().clear_hooks();
    Arc::into_inner(realm).unwrap().finish();
}

#[test]
fn a_task_that_has_to_end_wakes_up_and_takes_no_bits_with_it() {
    let realm = Arc::new(Realm::new(1));
    let handle = notification(&realm, 0);
    realm
        .machine()
        .set_before_park(|_| fake::FakeTask::current().end());
    let waiting = realm.clone();
    let waited = std::thread::spawn(move || {
        waiting
            .ipc
            .wait_notification(&waiting.domains[0], handle, FOREVER)
    });
    assert_eq!(waited.join().unwrap(), Err(Error::Interrupted));
    realm.machine().clear_hooks();
    signal(&realm, 0, handle, 1).unwrap();
    assert_eq!(poll(&realm, 0, handle), Ok(1));
    Arc::into_inner(realm).unwrap().finish();
}

#[test]
fn a_wait_for_the_event_does_not_take_the_bits() {
    let realm = Arc::new(Realm::new(1));
    let handle = notification(&realm, 0);
    let wait = |events, deadline| {
        realm
            .ipc
            .wait_object(&realm.domains[0], handle, events, deadline)
    };
    assert_eq!(wait(Events::SIGNALED, 0), Err(Error::WouldBlock));
    assert_eq!(wait(Events::empty(), 0), Err(Error::Invalid));
    assert_eq!(wait(Events::ENDED, 0), Err(Error::Unsupported));
    assert_eq!(wait(Events::SIGNALED, 1), Err(Error::TimedOut));
    let other = realm.clone();
    realm.machine().set_before_park(move |_| {
        signal(&other, 0, handle, 1).unwrap();
    });
    assert_eq!(wait(Events::SIGNALED, FOREVER), Ok(Events::SIGNALED));
    realm.machine().clear_hooks();
    assert_eq!(wait(Events::SIGNALED, 0), Ok(Events::SIGNALED));
    assert_eq!(poll(&realm, 0, handle), Ok(1));
    Arc::into_inner(realm).unwrap().finish();
}
