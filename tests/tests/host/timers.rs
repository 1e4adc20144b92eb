//! Timers: bits that are set at a time, in the name of who made the timer and no longer than that.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::common::realm::Realm;
use abi::limits::MIN_TIMER_PERIOD;
use abi::{Error, Handle, Mode, Resources, Rights, cost};
use fake::on_cpu;
use ipc::{Platform, following_ns};
use proptest::prelude::*;

const NEVER: u64 = u64::MAX;
const PERIOD: u64 = MIN_TIMER_PERIOD;
/// More timers than any test has.
const ALL: usize = 1 << 20;

proptest! {
    #[test]
    fn a_periodic_timer_goes_off_at_multiples_of_its_period_and_in_the_future(
        at: u64,
        period in 1..u64::MAX,
        late: u64,
    ) {
        let now = at.saturating_add(late);
        let next = following_ns(at, period, now);
        prop_assert!(next > now || next == NEVER);
        if next < NEVER {
            prop_assert_eq!((next - at) % period, 0);
            prop_assert!(next - now <= period);
        }
        prop_assert_eq!(following_ns(at, 0, now), NEVER);
    }
}

fn notification(realm: &Realm, domain: usize) -> Handle {
    let domain = &realm.domains[domain];
    realm.ipc.create_notification(domain).unwrap()
}

fn timer(realm: &Realm, domain: usize, notification: Handle, bits: u64) -> Handle {
    let domain = &realm.domains[domain];
    realm.ipc.create_timer(domain, notification, bits).unwrap()
}

fn set(realm: &Realm, timer: Handle, at: u64, period: u64) -> Result<(), Error> {
    realm.ipc.set_timer(&realm.domains[0], timer, at, period)
}

fn bits(realm: &Realm, domain: usize, notification: Handle) -> u64 {
    let domain = &realm.domains[domain];
    match realm.ipc.wait_notification(domain, notification, 0) {
        Err(Error::WouldBlock) => 0,
        other => other.unwrap(),
    }
}

/// Lets time pass, and CPU 0 look at its timers when it is told to.
fn pass(realm: &Realm, by: u64) {
    realm.machine().advance_ns(by);
    on_cpu(0, || realm.ipc.expire_timers(0, ALL));
}

#[test]
fn a_timer_sets_its_bits_at_its_time_once() {
    let realm = Realm::new(1);
    let notification = notification(&realm, 0);
    let timer = timer(&realm, 0, notification, 5);
    set(&realm, timer, 1000, 0).unwrap();
    assert_eq!(realm.machine().alarm_ns(0), 1000);
    pass(&realm, 999);
    assert_eq!(bits(&realm, 0, notification), 0);
    assert_eq!(realm.machine().alarm_ns(0), 1000);
    pass(&realm, 1);
    assert_eq!(bits(&realm, 0, notification), 5);
    assert_eq!(realm.machine().alarm_ns(0), NEVER);
    pass(&realm, 5000);
    assert_eq!(bits(&realm, 0, notification), 0);
    realm.finish();
}

#[test]
fn a_time_in_the_past_is_now() {
    let realm = Realm::new(1);
    let notification = notification(&realm, 0);
    let timer = timer(&realm, 0, notification, 1);
    realm.machine().advance_ns(1000);
    for past in [0, 999, 1000] {
        set(&realm, timer, past, 0).unwrap();
        assert_eq!(bits(&realm, 0, notification), 1, "{past}");
    }
    assert_eq!(realm.machine().alarm_ns(0), NEVER);
    realm.finish();
}

#[test]
fn missed_periods_are_made_up_for_once_and_the_rhythm_stays() {
    let realm = Realm::new(1);
    let notification = notification(&realm, 0);
    let timer = timer(&realm, 0, notification, 1);
    set(&realm, timer, 100, PERIOD).unwrap();
    for turn in 1..=3 {
        pass(&realm, if turn == 1 { 150 } else { PERIOD });
        assert_eq!(bits(&realm, 0, notification), 1);
        assert_eq!(realm.machine().alarm_ns(0), 100 + turn * PERIOD);
    }
    pass(&realm, 10 * PERIOD);
    assert_eq!(bits(&realm, 0, notification), 1);
    for object in [notification, timer] {
        let info = realm.ipc.object_info(&realm.domains[0], object);
        assert_eq!(info.unwrap().messages, 4);
    }
    assert_eq!(realm.machine().alarm_ns(0), 100 + 13 * PERIOD);
    realm.finish();
}

#[test]
fn setting_a_timer_anew_forgets_what_was_set_before() {
    let realm = Realm::new(1);
    let notification = notification(&realm, 0);
    let timer = timer(&realm, 0, notification, 1);
    set(&realm, timer, 1000, PERIOD).unwrap();
    set(&realm, timer, 5000, 0).unwrap();
    pass(&realm, 4999);
    assert_eq!(bits(&realm, 0, notification), 0);
    pass(&realm, 1);
    assert_eq!(bits(&realm, 0, notification), 1);
    set(&realm, timer, 6000, PERIOD).unwrap();
    set(&realm, timer, NEVER, PERIOD).unwrap();
    pass(&realm, 10 * PERIOD);
    assert_eq!(bits(&realm, 0, notification), 0);
    realm.finish();
}

#[test]
fn a_timer_that_is_dropped_sets_nothing_any_more() {
    let realm = Realm::new(1);
    let notification = notification(&realm, 0);
    let timer = timer(&realm, 0, notification, 1);
    set(&realm, timer, 1000, PERIOD).unwrap();
    realm.drop_handle(0, timer).unwrap();
    pass(&realm, 10 * PERIOD);
    assert_eq!(bits(&realm, 0, notification), 0);
    realm.finish();
}

#[test]
fn a_timer_ends_with_the_capability_that_it_was_made_with() {
    let realm = Realm::new(2);
    let own = notification(&realm, 0);
    for end in [Realm::revoke_all, Realm::drop_last, Realm::move_away] {
        let derived = realm.derive(0, own, Rights::all()).unwrap();
        let timer = timer(&realm, 0, derived, 1);
        let now = realm.machine().now_ns();
        set(&realm, timer, now + 10, PERIOD).unwrap();
        pass(&realm, 10);
        assert_eq!(bits(&realm, 0, own), 1);
        end(&realm, own, derived);
        pass(&realm, 10 * PERIOD);
        assert_eq!(bits(&realm, 0, own), 0);
        set(&realm, timer, 0, 0).unwrap();
        assert_eq!(bits(&realm, 0, own), 0);
        realm.drop_handle(0, timer).unwrap();
    }
    realm.finish();
}

trait Ends {
    fn revoke_all(&self, own: Handle, derived: Handle);
    fn drop_last(&self, own: Handle, derived: Handle);
    fn move_away(&self, own: Handle, derived: Handle);
}

impl Ends for Realm {
    fn revoke_all(&self, own: Handle, _: Handle) {
        self.revoke(0, own).unwrap();
    }

    fn drop_last(&self, _: Handle, derived: Handle) {
        self.drop_handle(0, derived).unwrap();
    }

    fn move_away(&self, _: Handle, derived: Handle) {
        let _theirs = self.give(0, derived, 1, Mode::Move);
    }
}

#[test]
fn a_timer_of_a_notification_that_is_gone_is_harmless() {
    let realm = Realm::new(1);
    let notification = notification(&realm, 0);
    let timer = timer(&realm, 0, notification, 1);
    set(&realm, timer, 1000, PERIOD).unwrap();
    realm.drop_handle(0, notification).unwrap();
    pass(&realm, 10 * PERIOD);
    assert_eq!(realm.machine().alarm_ns(0), NEVER);
    set(&realm, timer, 0, 0).unwrap();
    realm.finish();
}

#[test]
fn a_timer_that_was_moved_is_set_by_its_new_holder_and_signals_for_its_maker() {
    let realm = Realm::new(2);
    let notification = notification(&realm, 0);
    let timer = timer(&realm, 0, notification, 1);
    let theirs = realm.give(0, timer, 1, Mode::Move);
    assert_eq!(set(&realm, timer, 0, 0), Err(Error::BadHandle));
    let set_by_1 = realm.ipc.set_timer(&realm.domains[1], theirs, 0, 0);
    assert_eq!(set_by_1, Ok(()));
    assert_eq!(bits(&realm, 0, notification), 1);
    // When its maker ends, nobody's authority is left.
    let shared = realm.give(0, notification, 1, Mode::Share);
    realm.exit(0);
    let set_by_1 = realm.ipc.set_timer(&realm.domains[1], theirs, 0, 0);
    assert_eq!(set_by_1, Ok(()));
    assert_eq!(bits(&realm, 1, shared), 0);
    realm.finish();
}

#[test]
fn what_is_no_timer_is_refused_and_costs_nothing() {
    let realm = Realm::new(1);
    let domain = &realm.domains[0];
    let notification = notification(&realm, 0);
    let waits = realm.derive(0, notification, Rights::WAIT).unwrap();
    let before = realm.counts();
    let create = |handle, bits| realm.ipc.create_timer(domain, handle, bits);
    assert_eq!(create(waits, 1), Err(Error::Denied));
    assert_eq!(create(realm.via[0][0], 1), Err(Error::WrongKind));
    assert_eq!(create(notification, 0), Err(Error::Invalid));
    assert_eq!(create(notification, 1 << 63), Err(Error::Invalid));
    assert_eq!(realm.counts(), before);
    let timer = timer(&realm, 0, notification, 1);
    for period in [1, PERIOD - 1] {
        assert_eq!(set(&realm, timer, 0, period), Err(Error::Range));
    }
    assert_eq!(bits(&realm, 0, notification), 0);
    assert_eq!(set(&realm, notification, 0, 0), Err(Error::WrongKind));
    let inspect = realm.derive(0, timer, Rights::INSPECT).unwrap();
    assert_eq!(set(&realm, inspect, 0, 0), Err(Error::Denied));
    realm.finish();
}

#[test]
fn timers_are_charged_and_end_with_the_quota() {
    let each = cost::OBJECT + cost::CAPABILITY;
    let quota = Resources::bytes(100 * each);
    let realm = Realm::with_quotas(&[quota]);
    let notification = notification(&realm, 0);
    let create = || realm.ipc.create_timer(&realm.domains[0], notification, 1);
    let come_and_go = || {
        let made: Vec<Handle> = std::iter::from_fn(|| create().ok()).collect();
        assert!((50..100).contains(&made.len()), "{}", made.len());
        assert_eq!(create(), Err(Error::Quota));
        for (index, timer) in made.iter().enumerate() {
            set(&realm, *timer, 1000 + index as u64, PERIOD).unwrap();
        }
        for timer in made {
            realm.drop_handle(0, timer).unwrap();
        }
        realm.counts()
    };
    // A table keeps what it has grown by.
    let grown = come_and_go();
    assert_eq!(come_and_go(), grown);
    realm.finish();
}

#[test]
fn a_look_at_the_timers_takes_no_more_than_it_was_told_and_comes_again() {
    let realm = Realm::new(1);
    let notification = notification(&realm, 0);
    for bit in 0..10 {
        let timer = timer(&realm, 0, notification, 1 << bit);
        set(&realm, timer, 100 + bit, 0).unwrap();
    }
    realm.machine().advance_ns(1000);
    on_cpu(0, || realm.ipc.expire_timers(0, 4));
    assert_eq!(bits(&realm, 0, notification), 0b1111);
    assert_eq!(realm.machine().alarm_ns(0), 104);
    on_cpu(0, || realm.ipc.expire_timers(0, ALL));
    assert_eq!(bits(&realm, 0, notification), 0b11_1111_0000);
    realm.finish();
}

#[test]
fn a_timer_that_was_set_on_one_cpu_is_set_anew_and_dropped_on_another() {
    let realm = Realm::new(1);
    let notification = notification(&realm, 0);
    let timer = timer(&realm, 0, notification, 1);
    on_cpu(1, || set(&realm, timer, 1000, 0)).unwrap();
    on_cpu(2, || set(&realm, timer, 2000, PERIOD)).unwrap();
    realm.machine().advance_ns(1500);
    on_cpu(1, || realm.ipc.expire_timers(1, ALL));
    assert_eq!(bits(&realm, 0, notification), 0);
    realm.machine().advance_ns(500);
    on_cpu(2, || realm.ipc.expire_timers(2, ALL));
    assert_eq!(bits(&realm, 0, notification), 1);
    assert_eq!(realm.machine().alarm_ns(2), 2000 + PERIOD);
    on_cpu(0, || realm.drop_handle(0, timer)).unwrap();
    realm.machine().advance_ns(PERIOD);
    on_cpu(2, || realm.ipc.expire_timers(2, ALL));
    assert_eq!(bits(&realm, 0, notification), 0);
    realm.finish();
}

#[test]
fn after_a_timer_is_stopped_no_bit_comes_whatever_other_cpus_do() {
    let realm = Arc::new(Realm::new(1));
    let notification = notification(&realm, 0);
    let timer = timer(&realm, 0, notification, 1);
    let stop = Arc::new(AtomicBool::new(false));
    let expiring: Vec<_> = [1, 2]
        .map(|cpu| {
            let (realm, stop) = (realm.clone(), stop.clone());
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    realm.machine().advance_ns(PERIOD);
                    on_cpu(cpu, || realm.ipc.expire_timers(cpu, ALL));
                }
            })
        })
        .into();
    for turn in 0..2000 {
        let cpu = 1 + turn % 2;
        let now = realm.machine().now_ns();
        on_cpu(cpu, || set(&realm, timer, now + PERIOD, PERIOD)).unwrap();
        std::thread::yield_now();
        on_cpu(0, || set(&realm, timer, NEVER, 0)).unwrap();
        bits(&realm, 0, notification);
        std::thread::yield_now();
        assert_eq!(bits(&realm, 0, notification), 0, "turn {turn}");
    }
    stop.store(true, Ordering::Relaxed);
    for thread in expiring {
        thread.join().unwrap();
    }
    realm.drop_handle(0, timer).unwrap();
    Arc::into_inner(realm)
        .expect("all threads are gone")
        .finish();
}

#[test]
fn a_timer_that_is_dropped_while_it_is_set_is_not_set() {
    let realm = Realm::new(1);
    let notification = notification(&realm, 0);
    for turn in 0..100 {
        let timer = timer(&realm, 0, notification, 1);
        let at = realm.machine().now_ns() + 1000;
        let begins = std::sync::Barrier::new(2);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                begins.wait();
                // As often as it is there.
                while on_cpu(0, || set(&realm, timer, at, 0)).is_ok() {}
            });
            begins.wait();
            on_cpu(1, || realm.drop_handle(0, timer)).unwrap();
        });
        pass(&realm, 1000);
        assert_eq!(bits(&realm, 0, notification), 0, "turn {turn}");
    }
    realm.finish();
}
