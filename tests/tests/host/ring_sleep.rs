//! Sleeping at an end of an asymmetric ring: what the peer has written and nobody sees yet.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::common::ring_pair::{GEOMETRY, Pair};
use abi::limits::{RING_BARRIER_NS, RING_BARRIERS};
use abi::ring::{CONSUMER_OFFSET, End, Form, Geometry, IndexPage, PRODUCER_OFFSET};
use abi::{Error, Events, FOREVER, Mode, Rights, RingShape};
use mm::Cpus;

/// A deadline that passes at once here, after all others.
const LATER: u64 = FOREVER - 1;

const TAIL: u64 = PRODUCER_OFFSET as u64;

/// How often a task went to sleep.
fn count_sleeps(pair: &Pair) -> Arc<AtomicUsize> {
    let sleeps = Arc::new(AtomicUsize::new(0));
    let count = sleeps.clone();
    pair.realm.machine().set_before_park(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
    });
    sleeps
}

/// Has the CPU of domain 0 make its tail visible when it is interrupted: until then it is in the store buffer.
fn publish_at_barrier(pair: &Pair, tail: u64) {
    let ipc = Arc::downgrade(&pair.realm.ipc);
    let space = pair.realm.domains[0].space().clone();
    pair.realm.machine().set_while_waiting(move |_| {
        let ipc = ipc.upgrade().unwrap();
        fake::on_cpu(0, || fake::store(ipc.memory(), &space, tail, 1).unwrap());
    });
}

#[test]
fn a_sleeper_sees_what_its_peer_had_written_and_not_made_visible() {
    let pair = Pair::new();
    let tail = pair.map(0, pair.producer) + TAIL;
    let sleeps = count_sleeps(&pair);
    publish_at_barrier(&pair, tail);
    let waited = fake::on_cpu(1, || pair.wait(1, 1, 100));
    assert_eq!(waited, Ok(()));
    assert_eq!(sleeps.load(Ordering::Relaxed), 0);
    pair.realm.machine().clear_hooks();
    pair.realm.finish();
}

#[test]
fn who_sleeps_for_more_than_one_is_woken_when_all_are_there() {
    // Both ends of slots at their most; bytes and packets are waited for in numbers by who sends them.
    for (geometry, sleeper, wanted) in [
        (Geometry::slot(64, 16), End::Consumer, 8),
        (Geometry::slot(64, 16), End::Producer, 8),
        (Geometry::byte(4096), End::Producer, 4096),
        (Geometry::packet(4096), End::Producer, 4096),
    ] {
        for form in [Form::Asymmetric, Form::Symmetric] {
            let pair = Pair::of(RingShape {
                form,
                ..geometry.into()
            });
            let (own, peer) = (sleeper as usize, sleeper.peer() as usize);
            let ends = [pair.producer, pair.consumer];
            let pages = [End::Producer, End::Consumer].map(|end| IndexPage::offset(end) as u64);
            let indices = [0, 1].map(|end| pair.map(end, ends[end]) + pages[end]);
            if sleeper == End::Producer {
                // It has filled the ring, so that as much is free as the other has come on.
                let filled = geometry.capacity.into();
                pair.realm.store(0, 0, indices[0], filled).unwrap();
            }
            // Whenever it sleeps, its peer goes on by an eighth, and wakes it by the last of them.
            let (mut at, step) = (0, wanted / 8);
            let ipc = Arc::downgrade(&pair.realm.ipc);
            let domain = pair.realm.domains[peer].clone();
            pair.realm.machine().set_before_park(move |_| {
                let ipc = ipc.upgrade().unwrap();
                at += step;
                fake::on_cpu(peer, || {
                    fake::store(ipc.memory(), domain.space(), indices[peer], at).unwrap();
                    if at == wanted {
                        ipc.wake_ring(&domain, ends[peer]).unwrap();
                    }
                });
            });
            let wait = |deadline| fake::on_cpu(own, || pair.wait(own, wanted as u32, deadline));
            for _ in 1..8 {
                assert_eq!(wait(100), Err(Error::TimedOut), "{geometry:?} {sleeper:?}");
            }
            assert_eq!(wait(FOREVER), Ok(()), "{geometry:?} {sleeper:?}");
            // All are there.
            assert_eq!(wait(0), Ok(()));
            pair.realm.machine().clear_hooks();
            pair.realm.finish();
        }
    }
}

#[test]
fn what_a_peer_publishes_as_it_leaves_its_cpu_is_seen_whenever_the_sleeper_looks() {
    let pair = Pair::new();
    let tail = pair.map(0, pair.producer) + TAIL;
    let sleeps = count_sleeps(&pair);
    // Between the sleeper's look at the tail and what it makes of it.
    let ipc = Arc::downgrade(&pair.realm.ipc);
    let space = pair.realm.domains[0].space().clone();
    let mut published = false;
    pair.realm.machine().set_after_word_load(move |_| {
        let ipc = ipc.upgrade().unwrap();
        if !core::mem::replace(&mut published, true) {
            fake::on_cpu(0, || fake::store(ipc.memory(), &space, tail, 1).unwrap());
            fake::enter(ipc.memory(), 0, None);
        }
    });
    let waited = fake::on_cpu(1, || pair.wait(1, 1, 100));
    assert_eq!(waited, Ok(()));
    assert_eq!(sleeps.load(Ordering::Relaxed), 0);
    pair.realm.machine().clear_hooks();
    pair.realm.finish();
}

#[test]
fn nobody_is_interrupted_where_nothing_can_be_hidden() {
    let wait = |pair: &Pair, cpu, deadline| {
        let before = pair.realm.memory().shootdowns();
        let waited = fake::on_cpu(cpu, || pair.wait(1, 1, deadline));
        (waited, pair.realm.memory().shootdowns() - before)
    };
    let pair = Pair::new();
    assert_eq!(wait(&pair, 1, 0), (Err(Error::WouldBlock), 0));
    // The peer runs here, and nowhere else.
    assert_eq!(wait(&pair, 0, 100), (Err(Error::TimedOut), 0));
    assert_eq!(wait(&pair, 1, 100), (Err(Error::TimedOut), 1));
    fake::enter(pair.realm.memory(), 0, None);
    assert_eq!(wait(&pair, 1, 100), (Err(Error::TimedOut), 0));
    pair.realm.drop_handle(0, pair.producer).unwrap();
    assert_eq!(wait(&pair, 1, 100), (Ok(()), 0));
    pair.realm.finish();

    let pair = Pair::of(RingShape {
        form: Form::Symmetric,
        ..GEOMETRY.into()
    });
    assert_eq!(wait(&pair, 1, 100), (Err(Error::TimedOut), 0));
    pair.realm.finish();
}

#[test]
fn an_end_that_moves_meanwhile_is_looked_at_where_it_is() {
    for mover in [End::Producer, End::Consumer] {
        who_moves_is_looked_at_where_it_is(mover);
    }
}

fn who_moves_is_looked_at_where_it_is(mover: End) {
    let pair = Pair::new();
    let (ipc, domains) = (Arc::downgrade(&pair.realm.ipc), pair.realm.domains.clone());
    let (end, page) = match mover {
        End::Producer => (pair.producer, PRODUCER_OFFSET as u64),
        End::Consumer => (pair.consumer, CONSUMER_OFFSET as u64),
    };
    let (from, sleeper) = (mover as usize, mover.peer() as usize);
    let via = pair.realm.via.clone();
    let (barriers, mut index) = (Arc::new(AtomicUsize::new(0)), 0);
    let count = barriers.clone();
    pair.realm.machine().set_while_waiting(move |machine| {
        let ipc = ipc.upgrade().unwrap();
        let current = machine.current();
        match count.fetch_add(1, Ordering::Relaxed) {
            0 => {
                let flags = abi::GrantFlags::empty();
                let mode = Mode::Move;
                let all = Rights::all();
                let token = fake::on_cpu(from, || {
                    ipc.grant(&domains[from], end, via[from][2], mode, all, flags, FOREVER)
                });
                fake::on_cpu(2, || {
                    let end = ipc.accept(&domains[2], token.unwrap(), via[2][from]);
                    index = ipc.map_ring(&domains[2], end.unwrap()).unwrap() + page;
                });
            }
            // The new holder has published, and its CPU is interrupted.
            _ if machine.kicks(2) > 0 => {
                fake::on_cpu(2, || {
                    fake::store(ipc.memory(), domains[2].space(), index, 1).unwrap();
                });
            }
            _ => {}
        }
        assert_eq!(machine.current(), current);
    });
    let sleeps = count_sleeps(&pair);
    let waited = fake::on_cpu(sleeper, || pair.wait(sleeper, 1, 100));
    assert_eq!(waited, Ok(()));
    assert_eq!(sleeps.load(Ordering::Relaxed), 0);
    assert!(barriers.load(Ordering::Relaxed) >= 2);
    pair.realm.machine().clear_hooks();
    pair.realm.finish();
}

#[test]
fn a_sleeper_that_wakes_again_and_again_interrupts_its_peer_seldom() {
    let pair = Pair::new();
    let memory = pair.realm.memory();
    let interrupts = |waits: u64, deadline| {
        let before = memory.shootdowns();
        for _ in 0..waits {
            let waited = fake::on_cpu(1, || pair.wait(1, 1, deadline));
            assert!(matches!(waited, Ok(()) | Err(Error::TimedOut)));
        }
        memory.shootdowns() - before
    };
    let (burst, interval) = (RING_BARRIERS, RING_BARRIER_NS);
    pair.realm.machine().advance_ns(interval);
    assert_eq!(interrupts(4 * burst, LATER), burst);
    // Without a barrier it sleeps until there can be one, and then looks again.
    assert_eq!(
        fake::on_cpu(1, || pair.wait(1, 1, LATER)),
        Ok(()),
        "it slept on"
    );
    assert_eq!(fake::on_cpu(1, || pair.wait(1, 1, 1)), Err(Error::TimedOut));
    pair.realm.machine().advance_ns(3 * interval);
    assert_eq!(interrupts(burst, LATER), 3);
    pair.realm.machine().advance_ns(1000 * burst * interval);
    assert_eq!(interrupts(2 * burst, LATER), burst);
    pair.realm.finish();
}

#[test]
fn nobody_waits_for_an_index_where_that_brings_no_barrier() {
    for (form, answer) in [
        (Form::Asymmetric, Err(Error::Unsupported)),
        (Form::Symmetric, Err(Error::WouldBlock)),
    ] {
        let pair = Pair::of(RingShape {
            form,
            ..GEOMETRY.into()
        });
        let (ipc, domain) = (&pair.realm.ipc, &pair.realm.domains[1]);
        let wait = |events| ipc.wait_object(domain, pair.consumer, events, 0);
        assert_eq!(wait(Events::READABLE), answer);
        assert_eq!(wait(Events::PEER_CLOSED), Err(Error::WouldBlock));
        let out = pair.map(0, pair.producer);
        pair.realm.store(0, 0, out + TAIL, 1).unwrap();
        pair.realm.drop_handle(0, pair.producer).unwrap();
        assert_eq!(wait(Events::PEER_CLOSED), Ok(Events::PEER_CLOSED));
        pair.realm.finish();
    }
}
