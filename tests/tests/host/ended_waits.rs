//! What goes on by a capability while that is lost, gets less or ends in time: every [way to wait](WAYS)
//! ends by everything that can end it, and says why.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Barrier, mpsc};

use crate::common::endings::{ENDINGS, Ending, Waiting, is_derived, is_movable};
use crate::common::messages::{End, asleep};
use crate::common::ports::{EDGE, LEVEL, NOTHING, bind, notification, packet, poll, port, signal};
use crate::common::realm::Realm;
use crate::common::scenes::{At, Scene};
use crate::common::stage::Stage;
use crate::common::ways::{WAYS, Way};
use crate::common::{calls, ports};
use abi::{DeriveArgs, Error, FOREVER, Mode, Rights, SYSCALLS};
use fake::FakeTask;

const ALL: Rights = Rights::all();
/// When what is limited in time ends.
const END: u64 = 1000;
/// A deadline that does not come by itself.
const LATER: u64 = FOREVER - 1;

/// Whether what a thread waits by is limited in time.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Time {
    Any,
    Limited,
}

/// Has somebody wait, does something meanwhile, and returns what the wait came to.
fn meanwhile(way: &Way, time: Time, end: impl FnOnce(&Waiting<'_>)) -> Result<(), Error> {
    let realm = Realm::new(3);
    realm.machine().hold_deadlines();
    let scene = Scene::of(&realm, way.at);
    let deadline = match time {
        Time::Any => FOREVER,
        Time::Limited => END,
    };
    let args = DeriveArgs {
        deadline,
        ..DeriveArgs::new(ALL)
    };
    let handle = match is_derived(way) {
        true => realm.derive_with(0, scene.object, args).unwrap(),
        false => scene.object,
    };
    let over = AtomicBool::new(false);
    let waited = std::thread::scope(|scope| {
        let (be_ready, is_ready) = mpsc::channel();
        let (name, named) = mpsc::channel();
        let (realm, scene, over) = (&realm, &scene, &over);
        let waiter = scope.spawn(move || {
            name.send(FakeTask::current()).unwrap();
            let deadline = match way.ends_in_time {
                true => LATER,
                false => FOREVER,
            };
            let stage = Stage {
                realm,
                scene,
                handle,
                deadline,
                ready: &|| be_ready.send(()).unwrap(),
            };
            let waited = (way.wait)(&stage);
            over.store(true, Ordering::Release);
            realm.ipc.end_task(&FakeTask::current());
            waited
        });
        is_ready.recv().unwrap();
        let task = named.recv().unwrap();
        task.until_sleeping();
        end(&Waiting {
            realm,
            way,
            scene,
            handle,
            task,
            over,
        });
        waiter.join().unwrap()
    });
    speak(&realm, &scene);
    realm.finish();
    waited
}

/// Checks that words still go both ways over a channel that is left, and that they are answered.
fn speak(realm: &Realm, scene: &Scene) {
    let all = Rights::SEND | Rights::RECEIVE;
    let here = End::new(0, scene.object);
    let left = |end: End| {
        let rights = realm.look_up(end.domain, end.handle);
        rights.is_ok_and(|rights| rights.contains(all)) && end.handle.kind() == Some(CHANNEL)
    };
    let Some(there) = scene.there.filter(|&there| left(here) && left(there)) else {
        return;
    };
    for end in [here, there] {
        let domain = &realm.domains[end.domain];
        realm.ipc.limit_channel(domain, end.handle, 0, 0).unwrap();
        while end.receive(realm).is_ok() {}
    }
    for (caller, server) in [(here, there), (there, here)] {
        std::thread::scope(|scope| {
            let (name, named) = mpsc::channel();
            let serves = asleep(scope, realm, move || {
                name.send(FakeTask::current()).unwrap();
                let mut call = abi::Words::default();
                loop {
                    match calls::serve(realm, &server, call.reply, call.words) {
                        Ok(next) => call = next,
                        Err(error) => return error,
                    }
                }
            });
            for word in 1..4 {
                let words = [word; 4];
                assert_eq!(calls::call_words(realm, &caller, words), Ok(words));
            }
            realm.ipc.end_task(&FakeTask::current());
            let task = named.recv().unwrap();
            task.until_sleeping();
            realm.ipc.cancel_wait(&task).unwrap();
            assert_eq!(serves.join().unwrap(), Error::Cancelled);
        });
    }
}

const CHANNEL: abi::ObjectKind = abi::ObjectKind::ChannelEnd;

fn endings(way: &Way) -> impl Iterator<Item = &'static Ending> {
    ENDINGS.iter().filter(|ending| (ending.fits)(way))
}

#[test]
fn every_wait_ends_by_all_that_ends_it_and_says_why() {
    for way in WAYS {
        for time in [Time::Any, Time::Limited] {
            for ending in endings(way) {
                let waited = meanwhile(way, time, ending.end);
                let name = (way.name, time, ending.name);
                assert_eq!(waited, ending.told(way), "{name:?}");
            }
        }
    }
}

#[test]
fn of_two_things_that_end_a_wait_at_once_one_is_told() {
    for way in WAYS {
        for (at, one) in endings(way).enumerate() {
            for other in endings(way).skip(at + 1) {
                let waited = meanwhile(way, Time::Any, |of| {
                    let both = Barrier::new(2);
                    std::thread::scope(|scope| {
                        for ending in [one, other] {
                            let both = &both;
                            scope.spawn(move || {
                                both.wait();
                                (ending.end)(of);
                            });
                        }
                    });
                });
                let told = [one, other].map(|ending| ending.told(way));
                let name = (way.name, one.name, other.name);
                assert!(told.contains(&waited), "{name:?}: {waited:?}");
            }
        }
    }
}

#[test]
fn what_becomes_of_another_capability_ends_no_wait() {
    for way in WAYS.iter().filter(|way| is_derived(way)) {
        let waited = meanwhile(way, Time::Any, |of| {
            let realm = of.realm;
            let other = || realm.derive(0, of.scene.object, ALL).unwrap();
            realm.drop_handle(0, other()).unwrap();
            realm.reduce(0, other(), Rights::empty()).unwrap();
            realm.revoke_itself(0, other()).unwrap();
            if is_movable(way) {
                realm.give(0, other(), 2, Mode::Move);
            }
            realm.exit(2);
            // Who sends is let through.
            if way.at == At::Channel && way.call != "channel_send" {
                let domain = &realm.domains[0];
                let limited = realm.ipc.limit_channel(domain, of.scene.object, 1, 1);
                assert_eq!(limited, Ok(()));
            }
            of.cancel();
        });
        assert_eq!(waited, Err(Error::Cancelled), "{}", way.name);
    }
}

#[test]
fn a_wait_ends_with_the_time_of_its_capability() {
    for way in WAYS.iter().filter(|way| is_derived(way)) {
        let waited = meanwhile(way, Time::Limited, |of| {
            of.realm.wait_until(END - 1);
            of.realm.wait_until(END);
        });
        assert_eq!(waited, Err(Error::Revoked), "{}", way.name);
    }
}

#[test]
fn every_call_that_sleeps_is_among_the_ways_to_wait() {
    // What needs no right sleeps by no capability: a thread that is begun, a number that is let go.
    let sleeps = |call: &&abi::SyscallInfo| {
        call.errors.contains(&Error::Interrupted) && !call.rights.is_empty()
    };
    let sleeping = SYSCALLS.iter().filter(sleeps).map(|call| call.name);
    let ways = WAYS.iter().map(|way| way.call);
    assert_eq!(ways.collect::<BTreeSet<_>>(), sleeping.collect());
}

#[test]
fn others_who_wait_at_the_same_object_go_on() {
    let realm = Realm::new(1);
    let object = notification(&realm, 0);
    let less = realm.derive(0, object, ALL).unwrap();
    std::thread::scope(|scope| {
        let wait = |handle| {
            let domain = &realm.domains[0];
            realm.ipc.wait_notification(domain, handle, FOREVER)
        };
        let ends = asleep(scope, &realm, move || wait(less));
        let stays = asleep(scope, &realm, move || wait(object));
        realm.reduce(0, less, Rights::SIGNAL).unwrap();
        assert_eq!(ends.join().unwrap(), Err(Error::Denied));
        signal(&realm, 0, less);
        assert_eq!(stays.join().unwrap(), Ok(1));
    });
    realm.finish();
}

#[test]
fn a_binding_ends_with_the_right_to_wait() {
    let realm = Realm::new(1);
    let (port, object) = (port(&realm, 0), notification(&realm, 0));
    let before = realm.counts();
    for flags in [EDGE, LEVEL] {
        let below = realm.derive(0, object, ALL).unwrap();
        bind(&realm, 0, port, below, flags, 7).unwrap();
        signal(&realm, 0, object);
        realm.reduce(0, below, !Rights::WAIT).unwrap();
        // It is gone with its packet, and its key is free.
        assert_eq!(poll(&realm, port), NOTHING);
        ports::clear(&realm, 0, object);
        bind(&realm, 0, port, object, EDGE, 7).unwrap();
        signal(&realm, 0, object);
        assert_eq!(poll(&realm, port), Ok(vec![packet(7, 1)]));
        ports::clear(&realm, 0, object);
        realm.ipc.unbind_port(&realm.domains[0], port, 7).unwrap();
        realm.drop_handle(0, below).unwrap();
        assert_eq!(realm.counts(), before);
    }
    realm.finish();
}

#[test]
fn a_timer_sets_no_bits_by_a_capability_that_may_not_signal_any_more() {
    let realm = Realm::new(2);
    let object = notification(&realm, 0);
    let below = realm.derive(0, object, ALL).unwrap();
    let theirs = realm.give(0, below, 1, Mode::Share);
    let domain = &realm.domains[1];
    let timer = realm.ipc.create_timer(domain, theirs, 1).unwrap();
    realm.ipc.set_timer(domain, timer, 10, 0).unwrap();
    realm.reduce(0, below, !Rights::SIGNAL).unwrap();
    realm.machine().advance_ns(10);
    fake::on_cpu(1, || realm.ipc.expire_timers(1, usize::MAX));
    fake::on_cpu(0, || realm.ipc.expire_timers(0, usize::MAX));
    let bits = realm.ipc.wait_notification(&realm.domains[0], object, 0);
    assert_eq!(bits, Err(Error::WouldBlock));
    realm.finish();
}
