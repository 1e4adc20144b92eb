//! The frame allocator with several CPUs and nodes: what each CPU keeps, promises, and who is given
//! what from where.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::common::pool::{CPUS, blocks, machine, run, take_all};
use fake::{FakeMachine, on_cpu};
use mm::{Budget, Frame, Frames, NodeStatistics, RegionOptions};

/// Makes every CPU keep frames, in all the ways there are.
fn let_cpus_keep(machine: &FakeMachine) {
    for cpu in 0..CPUS {
        on_cpu(cpu, || {
            let few: Vec<_> = (0..40)
                .filter_map(|_| machine.allocate(None, Budget::Open))
                .collect();
            few.iter()
                .for_each(|frame| machine.free(*frame, Budget::Open));
        });
    }
}

#[test]
fn what_other_cpus_keep_is_found_when_nothing_else_is_left() {
    for budget in [Budget::Open, Budget::Reserved] {
        let memory = machine(300, 2);
        let machine = memory.machine();
        let_cpus_keep(machine);
        if budget == Budget::Reserved {
            assert!(machine.reserve(300));
            assert_eq!(machine.allocate(None, Budget::Open), None);
        }
        let mut taken = BTreeSet::new();
        for _ in 0..300 {
            assert!(taken.insert(machine.allocate(Some(1), budget).unwrap()));
        }
        assert_eq!(machine.allocate(None, Budget::Open), None);
        assert_eq!(machine.pool().free_frames(), 0);
    }
}

#[test]
fn what_other_cpus_keep_is_collected_for_a_run() {
    let memory = machine(255, 1);
    let machine = memory.machine();
    let_cpus_keep(machine);
    // Frames 128 to 255 are one block when nobody keeps any of them.
    let first = machine.allocate_run(7, None, Budget::Open);
    assert_eq!(first, Some(Frame::from_number(128)));
}

#[test]
fn a_cpu_keeps_64_frames_at_most() {
    let memory = machine(512, 2);
    let machine = memory.machine();
    let all = take_all(machine);
    all.iter()
        .for_each(|frame| machine.free(*frame, Budget::Open));
    // A CPU of the other node gets what CPU 0 does not keep; then the node counts as empty.
    let node = machine.pool().statistics()[0];
    on_cpu(CPUS - 1, || {
        for _ in 0..node.free {
            machine.allocate(Some(0), Budget::Open).unwrap();
        }
    });
    let given = machine.pool().statistics()[0].given_as_asked - node.given_as_asked;
    assert!((node.free - 64..node.free).contains(&given), "{given}");
}

#[test]
fn threads_on_all_cpus_never_hold_the_same_frame() {
    const FRAMES: u64 = 600;
    let memory = machine(FRAMES, 2);
    let machine = memory.machine();
    let fresh = blocks(machine);
    let taken: Vec<AtomicBool> = (0..=FRAMES).map(|_| AtomicBool::new(false)).collect();
    let mark = |frame: Frame, to: bool| {
        let before = taken[frame.number() as usize].swap(to, Ordering::SeqCst);
        assert_ne!(before, to, "{frame:?} has two holders");
    };
    std::thread::scope(|scope| {
        for cpu in 0..CPUS {
            let mark = &mark;
            scope.spawn(move || {
                on_cpu(cpu, || {
                    let mut random = fastrand::Rng::with_seed(cpu as u64);
                    let mut held: Vec<(Frame, u32)> = Vec::new();
                    for _ in 0..4000 {
                        if random.u32(..5) > 1 && held.len() < 120 {
                            let order = random.u32(..20).saturating_sub(16);
                            let node = Some(random.usize(..3)).filter(|node| *node < 2);
                            let first = machine.allocate_run(order, node, Budget::Open);
                            held.extend(first.map(|first| (first, order)));
                            first
                                .into_iter()
                                .flat_map(|first| run(first, order))
                                .for_each(|frame| mark(frame, true));
                        } else if !held.is_empty() {
                            let (first, order) = held.swap_remove(random.usize(..held.len()));
                            run(first, order).for_each(|frame| mark(frame, false));
                            if random.bool() {
                                machine.free_run(first, order, Budget::Open);
                            } else {
                                run(first, order)
                                    .for_each(|frame| machine.free(frame, Budget::Open));
                            }
                        }
                    }
                    for (first, order) in held {
                        run(first, order).for_each(|frame| mark(frame, false));
                        machine.free_run(first, order, Budget::Open);
                    }
                });
            });
        }
    });
    assert_eq!(machine.pool().free_frames(), FRAMES);
    assert_eq!(machine.pool().available(), FRAMES);
    assert_eq!(blocks(machine), fresh);
}

#[test]
fn promised_frames_are_found_while_others_take_and_give_back() {
    let memory = machine(200, 2);
    let machine = memory.machine();
    assert!(machine.reserve(100));
    std::thread::scope(|scope| {
        for cpu in 1..CPUS {
            scope.spawn(move || {
                on_cpu(cpu, || {
                    for _ in 0..300 {
                        let some: Vec<_> = (0..60)
                            .filter_map(|_| machine.allocate(None, Budget::Open))
                            .collect();
                        some.iter()
                            .for_each(|frame| machine.free(*frame, Budget::Open));
                    }
                });
            });
        }
        for _ in 0..30 {
            let drawn: Vec<_> = (0..100)
                .map(|_| machine.allocate(Some(1), Budget::Reserved).unwrap())
                .collect();
            drawn
                .iter()
                .for_each(|frame| machine.free(*frame, Budget::Reserved));
        }
    });
    machine.unreserve(100);
    assert_eq!(machine.pool().available(), 200);
    assert_eq!(machine.pool().free_frames(), 200);
}

#[test]
fn frames_are_counted_where_they_were_given_and_not_where_they_were_asked() {
    let memory = machine(512, 2);
    let machine = memory.machine();
    let of = |node| machine.pool().statistics()[node];
    let fresh = [of(0), of(1)];
    assert_eq!(
        fresh[0],
        NodeStatistics {
            total: 256,
            free: 256,
            ..NodeStatistics::default()
        }
    );
    // A length that is no whole page takes whole ones, and returns as many.
    for len in [1, 4097, 3 * 4096, 5 * 4096 + 1] {
        let before = of(1);
        let region = memory
            .create_region(
                memory.account(),
                len,
                RegionOptions {
                    node: Some(1),
                    commit: true,
                    ..RegionOptions::default()
                },
            )
            .unwrap();
        assert_eq!(
            of(1).given_as_asked - before.given_as_asked,
            len.div_ceil(4096)
        );
        assert_eq!(of(1).given_elsewhere, 0);
        memory.destroy_region(&region);
        assert_eq!((of(0).free, of(1).free), (256, 256));
    }
    // 256 of the node's own, and the rest from the other.
    let before = [of(0), of(1)];
    let frames: Vec<_> = (0..300)
        .map(|_| machine.allocate(Some(1), Budget::Open).unwrap())
        .collect();
    let own = frames
        .iter()
        .filter(|frame| machine.pool().node_of(**frame) == 1)
        .count() as u64;
    assert_eq!(own, 256);
    assert_eq!(of(1).given_as_asked - before[1].given_as_asked, 256);
    assert_eq!(of(1).given_elsewhere - before[1].given_elsewhere, 44);
    assert_eq!((of(1).free, of(0).free), (0, 256 - 44));
    assert_eq!(of(0).given_as_asked, before[0].given_as_asked);
    frames
        .iter()
        .for_each(|frame| machine.free(*frame, Budget::Open));
    assert_eq!((of(0).free, of(1).free), (256, 256));
    // Who asks for none gets its CPU's own, and that is no answer to a wish.
    for (cpu, node) in [(0, 0), (CPUS - 1, 1)] {
        let before = of(node);
        let frame = on_cpu(cpu, || machine.allocate(None, Budget::Open)).unwrap();
        let run = on_cpu(cpu, || machine.allocate_run(3, None, Budget::Open)).unwrap();
        assert_eq!(
            [frame, run].map(|frame| machine.pool().node_of(frame)),
            [node; 2]
        );
        let now = of(node);
        assert_eq!(now.given_unasked - before.given_unasked, 9);
        assert_eq!(now.given_as_asked, before.given_as_asked);
    }
}
