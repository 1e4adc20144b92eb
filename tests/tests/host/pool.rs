//! The frame allocator by itself: blocks, runs, holes, and the canary.

use std::collections::BTreeSet;

use crate::common::pool::{CPUS, blocks, machine, run, take_all};
use fake::{FakeMachine, on_cpu};
use mm::{Budget, Frame, FrameCache, FrameMeta, FramePool, FrameState, Frames, MAX_ORDER};
use proptest::prelude::*;

/// One step of the test of everything at once: what, by which CPU, with which number.
type Step = (u8, usize, u64);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is taken and given back by whom: frames are conserved, given to one at a time, no
    /// more are free than there are, blocks are aligned and sum up to what is free, promises are
    /// kept, and in the end the blocks are those of the beginning.
    #[test]
    fn frames_are_conserved_given_once_and_come_together_again(
        steps in prop::collection::vec((0..8u8, 0..CPUS, 0..64u64), 1..160),
        frames in 40..200u64,
    ) {
        let memory = machine(frames, 2);
        let machine = memory.machine();
        let fresh = blocks(machine);
        let (mut held, mut promised) = (Vec::new(), 0);
        for (step, cpu, number) in steps {
            on_cpu(cpu, || take_a_step(machine, (step, cpu, number), &mut held, &mut promised))?;
            let all: BTreeSet<Frame> = held.iter().copied().collect();
            prop_assert_eq!(all.len(), held.len());
            let free = frames - held.len() as u64;
            prop_assert_eq!(machine.pool().free_frames(), free);
            prop_assert_eq!(machine.pool().available(), free - promised);
            let statistics = machine.pool().statistics();
            prop_assert_eq!(statistics.iter().map(|node| node.total).sum::<u64>(), frames);
            for node in statistics {
                prop_assert!(node.free <= node.total);
            }
        }
        let in_blocks: u64 = blocks(machine)
            .iter()
            .flat_map(|orders| orders.iter().enumerate())
            .map(|(order, count)| count << order)
            .sum();
        prop_assert_eq!(in_blocks, machine.pool().free_frames());
        for frame in held {
            machine.free(frame, Budget::Open);
        }
        machine.unreserve(promised);
        prop_assert_eq!(blocks(machine), fresh);
        prop_assert_eq!(machine.pool().available(), frames);
    }
}

fn take_a_step(
    machine: &FakeMachine,
    (step, cpu, number): Step,
    held: &mut Vec<Frame>,
    promised: &mut u64,
) -> Result<(), TestCaseError> {
    let available = machine.pool().available();
    let node = [None, Some(0), Some(1)][number as usize % 3];
    let order = number as u32 % 5;
    let budget = [Budget::Open, Budget::Reserved][cpu % 2];
    let at = number as usize % held.len().max(1);
    match step {
        0 | 1 => {
            let frame = machine.allocate(node, Budget::Open);
            prop_assert_eq!(frame.is_some(), available > 0);
            held.extend(frame);
        }
        2 if *promised > 0 => {
            held.extend(machine.allocate(node, Budget::Reserved));
            *promised -= 1;
        }
        3 if budget == Budget::Open || *promised >= 1 << order => {
            let first = machine.allocate_run(order, node, budget);
            prop_assert!(first.is_none_or(|first| first.number().is_multiple_of(1 << order)));
            if let Some(first) = first {
                held.extend(run(first, order));
                *promised -= if budget == Budget::Reserved {
                    1 << order
                } else {
                    0
                };
            }
        }
        4 => {
            let granted = machine.reserve(number);
            prop_assert_eq!(granted, number <= available);
            *promised += if granted { number } else { 0 };
        }
        // Two frames side by side, whether they were taken together or not.
        5 if !held.is_empty() => {
            let first = Frame::from_number(held[at].number() & !1);
            let pair = [first, Frame::from_number(first.number() + 1)];
            let node_of = |at: usize| machine.pool().node_of(pair[at]);
            if pair.iter().all(|frame| held.contains(frame)) && node_of(0) == node_of(1) {
                machine.free_run(first, 1, Budget::Open);
                held.retain(|frame| !pair.contains(frame));
            }
        }
        _ if !held.is_empty() => {
            machine.free(held.swap_remove(at), budget);
            *promised += u64::from(budget == Budget::Reserved);
        }
        _ => {}
    }
    Ok(())
}

#[test]
fn runs_are_aligned_and_disjoint_and_merge_when_freed_frame_by_frame() {
    let memory = machine(4096, 1);
    let machine = memory.machine();
    let fresh = blocks(machine);
    let mut seen = BTreeSet::new();
    let runs: Vec<(Frame, u32)> = [9, 0, 3, 9, 1, 10, 0, 5]
        .map(|order| {
            (
                machine.allocate_run(order, None, Budget::Open).unwrap(),
                order,
            )
        })
        .into();
    for &(first, order) in &runs {
        assert_eq!(
            first.number() % (1 << order),
            0,
            "{first:?} of order {order}"
        );
        assert!(run(first, order).all(|frame| seen.insert(frame)));
    }
    for (index, &(first, order)) in runs.iter().enumerate() {
        match index % 3 {
            0 => machine.free_run(first, order, Budget::Open),
            1 => run(first, order).for_each(|frame| machine.free(frame, Budget::Open)),
            // The tail of a run goes back as its largest aligned parts: 2^order − 1 frames stay.
            _ => {
                let last = Frame::from_number(first.number() + (1 << order) - 1);
                machine.free(last, Budget::Open);
                for part in 0..order {
                    let rest = last.number() + 1 - (2 << part);
                    machine.free_run(Frame::from_number(rest), part, Budget::Open);
                }
            }
        }
    }
    assert_eq!(blocks(machine), fresh);
    assert_eq!(machine.pool().available(), 4096);
    assert_eq!(
        machine.allocate_run(MAX_ORDER + 1, None, Budget::Open),
        None
    );
}

#[test]
fn a_run_that_is_not_there_takes_nothing_even_on_a_promise() {
    let memory = machine(256, 1);
    let machine = memory.machine();
    let all = take_all(machine);
    let (even, odd): (Vec<Frame>, Vec<Frame>) =
        all.iter().partition(|frame| frame.number() % 2 == 0);
    even.iter()
        .for_each(|frame| machine.free(*frame, Budget::Open));
    assert!(machine.reserve(100));
    let counts = || (machine.pool().free_frames(), machine.pool().available());
    let before = counts();
    for budget in [Budget::Open, Budget::Reserved] {
        assert_eq!(machine.allocate_run(1, None, budget), None);
        assert_eq!(counts(), before);
    }
    // One frame between two is all that is missing.
    machine.free(odd[0], Budget::Open);
    let first = machine.allocate_run(1, None, Budget::Reserved);
    assert!(first.is_some());
    assert_eq!(counts(), (before.0 - 1, before.1 + 1));
}

#[test]
fn a_reserved_hole_neither_enters_a_run_nor_ends_the_search() {
    // The pool's own metadata and ranges; the machine lends its memory.
    let memory = machine(256, 1);
    let machine = memory.machine();
    let meta: Vec<FrameMeta> = std::iter::repeat_with(FrameMeta::new).take(256).collect();
    let caches: Vec<FrameCache> = std::iter::repeat_with(FrameCache::new).take(CPUS).collect();
    let pool = FramePool::new(Vec::leak(meta), Vec::leak(caches));
    let usable = [3..7, 9..64, 65..100, 128..131, 132..255];
    for (index, range) in usable.iter().enumerate() {
        pool.add_range(range.start, range.end, index % 2);
    }
    let expected: BTreeSet<u64> = usable.into_iter().flatten().collect();
    let (mut runs, mut given) = (Vec::new(), BTreeSet::new());
    for order in (0..=6).rev() {
        while let Some(first) = pool.allocate_run(machine, order, Some(0), Budget::Open) {
            for frame in run(first, order) {
                assert!(expected.contains(&frame.number()), "{frame:?} is reserved");
                assert!(given.insert(frame.number()), "{frame:?} is given twice");
            }
            runs.push((first, order));
        }
    }
    assert_eq!(given, expected, "every frame beside the holes can be had");
    assert_eq!((pool.available(), pool.free_frames()), (0, 0));
    for (first, order) in runs {
        pool.free_run(machine, first, order, Budget::Open);
    }
    assert_eq!(pool.free_frames(), expected.len() as u64);
    assert_eq!(
        pool.meta(Frame::from_number(64)).state(),
        FrameState::Reserved
    );
}

#[test]
fn the_head_of_a_run_is_uncounted_and_has_no_leaf_owners_whatever_it_was_before() {
    let memory = machine(512, 1);
    let machine = memory.machine();
    for _ in 0..3 {
        let first = machine.allocate_run(8, None, Budget::Open).unwrap();
        let meta = machine.meta(first);
        assert_eq!((meta.leaf_owners(), meta.is_counted()), (0, false));
        meta.set_leaf_owners(1);
        meta.set_counted(true);
        meta.add_leaf_owner();
        assert!(!meta.remove_leaf_owner() && meta.is_counted());
        assert!(meta.remove_leaf_owner());
        meta.set_leaf_owners(7);
        machine.free_run(first, 8, Budget::Open);
    }
}

#[test]
fn the_machine_fails_runs_when_asked_to() {
    let memory = machine(512, 1);
    let machine = memory.machine();
    machine.fail_after(1);
    let first = machine.allocate_run(2, None, Budget::Open).unwrap();
    assert_eq!(machine.allocate_run(2, None, Budget::Open), None);
    assert!(machine.stop_failing());
    machine.refuse_runs(true);
    assert!(machine.reserve(4));
    assert_eq!(machine.allocate_run(2, None, Budget::Reserved), None);
    machine.refuse_runs(false);
    assert!(machine.allocate_run(2, None, Budget::Reserved).is_some());
    machine.free_run(first, 2, Budget::Open);
}

#[test]
#[should_panic(expected = "is freed twice")]
fn a_frame_that_a_cpu_keeps_is_not_freed_again() {
    let memory = machine(64, 1);
    let frame = memory.machine().allocate(None, Budget::Open).unwrap();
    memory.machine().free(frame, Budget::Open);
    memory.machine().free(frame, Budget::Open);
}

#[test]
#[should_panic(expected = "is freed twice")]
fn a_frame_within_a_free_block_is_not_freed_again() {
    let memory = machine(64, 1);
    let first = memory
        .machine()
        .allocate_run(3, None, Budget::Open)
        .unwrap();
    memory.machine().free_run(first, 3, Budget::Open);
    let within = Frame::from_number(first.number() + 5);
    memory.machine().free(within, Budget::Open);
}

#[test]
#[should_panic(expected = "was written while it was free: its byte 9 is 0x1")]
fn a_write_to_a_free_frame_is_noticed_when_it_is_taken() {
    let memory = machine(64, 1);
    let machine = memory.machine();
    let frame = machine.allocate(None, Budget::Open).unwrap();
    machine.free(frame, Budget::Open);
    Frames::write(machine, frame, 9, &[1]);
    machine.allocate(None, Budget::Open);
}

#[test]
fn a_write_to_a_frame_of_a_free_run_is_noticed_wherever_it_was() {
    for (part, offset) in [(0, 0), (3, 4095), (7, 512)] {
        let memory = machine(64, 1);
        let machine = memory.machine();
        let first = machine.allocate_run(3, None, Budget::Open).unwrap();
        machine.free_run(first, 3, Budget::Open);
        let hit = Frame::from_number(first.number() + part);
        Frames::write(machine, hit, offset, &[0]);
        let take = || machine.allocate_run(3, None, Budget::Open) == Some(first);
        let taken = std::panic::catch_unwind(std::panic::AssertUnwindSafe(take));
        let panic = taken.expect_err("nobody noticed");
        let text = panic.downcast_ref::<String>().expect("a message");
        assert!(text.starts_with(&format!("{hit:?}")), "{text}");
    }
}
