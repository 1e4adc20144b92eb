//! Every interleaving, up to a bound on preemptions, of tasks that wait with those who wake them, with
//! time, with a cancel and with a revoke: a wait is completed once, what it was completed with is
//! neither lost nor there twice, and nobody sleeps for ever.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p handover-ipc --release --test loom_wait`
#![cfg(loom)]

mod loom_platform;

use abi::{BindFlags, Error, Events, FOREVER, Rights};
use ipc::Payload;
use loom_platform::{Realm, current, explore, spawn};

/// A deadline that may pass at any time.
const SOON: u64 = 1;

/// Bits that were signalled arrived at who waited, or are still there.
fn arrived(realm: &Realm, waited: Result<u64, Error>, otherwise: Error, bits: u64) {
    match waited {
        Ok(taken) => assert_eq!(taken | realm.rest(), bits),
        Err(error) => {
            assert_eq!(error, otherwise);
            assert_eq!(realm.rest(), bits);
        }
    }
}

#[test]
fn who_waits_for_ever_is_woken() {
    explore(4, || {
        let realm = Realm::new();
        let waiter = spawn(&realm, |realm| realm.wait(realm.notification, FOREVER));
        realm.signal(1);
        assert_eq!(waiter.join().unwrap(), Ok(1));
        assert_eq!(realm.rest(), 0);
    });
}

#[test]
fn a_signal_at_the_deadline_is_taken_or_stays() {
    explore(4, || {
        let realm = Realm::new();
        let waiter = spawn(&realm, |realm| realm.wait(realm.notification, SOON));
        realm.signal(1);
        realm.signal(2);
        arrived(&realm, waiter.join().unwrap(), Error::TimedOut, 3);
    });
}

#[test]
fn a_signal_and_a_revoke_at_once_end_a_wait_once() {
    explore(4, || {
        let realm = Realm::new();
        let waiter = spawn(&realm, |realm| realm.wait(realm.below, FOREVER));
        let revoker = spawn(&realm, |realm| realm.revoke(realm.notification));
        realm.signal(1);
        revoker.join().unwrap();
        arrived(&realm, waiter.join().unwrap(), Error::Revoked, 1);
    });
}

#[test]
fn nobody_waits_by_what_has_been_revoked() {
    explore(4, || {
        let realm = Realm::new();
        let waiter = spawn(&realm, |realm| realm.wait(realm.below, FOREVER));
        realm.revoke(realm.notification);
        assert_eq!(waiter.join().unwrap(), Err(Error::Revoked));
    });
}

#[test]
fn nobody_waits_for_what_its_capability_does_not_allow_any_more() {
    explore(4, || {
        let realm = Realm::new();
        let waiter = spawn(&realm, |realm| realm.wait(realm.below, FOREVER));
        let reduced = realm.ipc.reduce(&realm.domain, realm.below, !Rights::WAIT);
        reduced.unwrap();
        // For others, whenever the wait began.
        realm.signal(1);
        assert_eq!(waiter.join().unwrap(), Err(Error::Denied));
        assert_eq!(realm.rest(), 1);
    });
}

#[test]
fn a_cancel_that_succeeds_is_what_ends_the_wait() {
    explore(4, || {
        let realm = Realm::new();
        let task = current();
        let canceller = spawn(&realm, move |realm| realm.ipc.cancel_wait(&task));
        let signaller = spawn(&realm, |realm| realm.signal(1));
        let waited = realm.wait(realm.notification, SOON);
        let cancelled = canceller.join().unwrap();
        signaller.join().unwrap();
        assert_eq!(cancelled.is_ok(), waited == Err(Error::Cancelled));
        let otherwise = match cancelled {
            Ok(()) => Error::Cancelled,
            Err(_) => Error::TimedOut,
        };
        arrived(&realm, waited, otherwise, 1);
    });
}

#[test]
fn of_two_who_wait_each_gets_what_woke_it() {
    explore(4, || {
        let realm = Realm::new();
        let wait = |realm: &Realm| realm.wait(realm.notification, SOON).unwrap_or(0);
        let waiter = spawn(&realm, wait);
        let signaller = spawn(&realm, |realm| {
            realm.signal(1);
            realm.signal(2);
        });
        let own = wait(&realm);
        signaller.join().unwrap();
        let theirs = waiter.join().unwrap();
        let rest = realm.rest();
        assert_eq!((own ^ theirs ^ rest, own + theirs + rest), (3, 3));
    });
}

#[test]
fn an_event_between_the_look_and_the_sleep_is_not_missed() {
    explore(4, || {
        let realm = Realm::new();
        let waiter = spawn(&realm, |realm| {
            let wanted = Events::SIGNALED;
            realm
                .ipc
                .wait_object(&realm.domain, realm.notification, wanted, FOREVER)
        });
        realm.signal(1);
        assert_eq!(waiter.join().unwrap(), Ok(Events::SIGNALED));
        assert_eq!(realm.rest(), 1);
    });
}

#[test]
fn an_end_that_is_told_of_without_a_lock_is_not_missed() {
    explore(4, || {
        let realm = Realm::new();
        let task = current();
        let payload = Payload::Thread(task.clone());
        let installed = realm
            .ipc
            .install_object(&realm.domain, payload, Rights::THREAD);
        let thread = installed.unwrap();
        let waiter = spawn(&realm, move |realm| {
            let ipc = &realm.ipc;
            ipc.wait_object(&realm.domain, thread, Events::ENDED, FOREVER)
        });
        task.end(&realm.ipc);
        assert_eq!(waiter.join().unwrap(), Ok(Events::ENDED));
        realm.ipc.drop_capability(&realm.domain, thread).unwrap();
    });
}

/// Waits at a port for one packet and returns how often it was told.
fn next(realm: &Realm, port: abi::Handle) -> u32 {
    let mut count = 0;
    let taken = realm
        .ipc
        .wait_port(&realm.domain, port, 1, FOREVER, |_, packets| {
            count = packets[0].count;
            Ok(())
        });
    assert_eq!(taken, Ok(1));
    count
}

fn bind(realm: &Realm, port: abi::Handle, flags: BindFlags) {
    let (object, wanted) = (realm.below, Events::SIGNALED);
    realm
        .ipc
        .bind_port(&realm.domain, port, object, wanted, flags, 1)
        .unwrap();
}

#[test]
fn a_signal_while_it_is_bound_is_told() {
    for flags in [BindFlags::EDGE, BindFlags::empty()] {
        explore(4, move || {
            let realm = Realm::new();
            let port = realm.ipc.create_port(&realm.domain).unwrap();
            let waiter = spawn(&realm, move |realm| {
                bind(realm, port, flags);
                next(realm, port)
            });
            realm.signal(1);
            assert!(waiter.join().unwrap() >= 1);
        });
    }
}

#[test]
fn a_signal_while_a_packet_is_taken_is_told_with_it_or_after_it() {
    explore(4, || {
        let realm = Realm::new();
        let port = realm.ipc.create_port(&realm.domain).unwrap();
        bind(&realm, port, BindFlags::EDGE);
        let signaller = spawn(&realm, |realm| {
            realm.signal(1);
            realm.signal(2);
        });
        let mut told = 0;
        while told < 2 {
            told += next(&realm, port);
        }
        signaller.join().unwrap();
        assert_eq!(told, 2);
    });
}

#[test]
fn a_level_that_falls_and_rises_while_it_is_looked_at_is_told() {
    explore(4, || {
        let realm = Realm::new();
        let port = realm.ipc.create_port(&realm.domain).unwrap();
        bind(&realm, port, BindFlags::empty());
        realm.signal(1);
        let signaller = spawn(&realm, |realm| {
            assert_eq!(realm.rest(), 1);
            realm.signal(2);
        });
        assert!(next(&realm, port) >= 1);
        signaller.join().unwrap();
        assert_eq!(realm.rest(), 2);
    });
}

#[test]
fn who_waits_at_a_port_is_woken_or_finds_it_revoked() {
    explore(4, || {
        let realm = Realm::new();
        let port = realm.ipc.create_port(&realm.domain).unwrap();
        let all = abi::Rights::all();
        let below = realm.ipc.derive(&realm.domain, port, all).unwrap();
        bind(&realm, port, BindFlags::EDGE);
        let waiter = spawn(&realm, move |realm| {
            realm
                .ipc
                .wait_port(&realm.domain, below, 1, FOREVER, |_, _| Ok(()))
        });
        let revoker = spawn(&realm, move |realm| realm.revoke(port));
        realm.signal(1);
        revoker.join().unwrap();
        match waiter.join().unwrap() {
            Ok(taken) => assert_eq!(taken, 1),
            Err(error) => {
                assert_eq!(error, Error::Revoked);
                // What it was woken for is still there.
                assert_eq!(next(&realm, port), 1);
            }
        }
    });
}
