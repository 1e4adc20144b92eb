//! A snapshot has the bytes of its instant, whoever writes first (I3, I7).

use std::sync::Arc;

use crate::common::{LEAF, READ, WRITE, World, page};
use abi::Error;
use mm::Region;

/// Pages of the regions here: one that is written, one that is only read, one that nobody touches.
const WRITTEN: u64 = 0;
const SHOWN: u64 = 1;
const UNTOUCHED: u64 = 2;

/// A region with a page of each kind, mapped for writing in a space.
fn source(world: &World, space: usize) -> (Arc<Region>, u64) {
    let region = world.region(3);
    let va = world.map(space, &region, WRITE);
    world.store(space, space, page(va, WRITTEN), 7).unwrap();
    assert_eq!(world.load(space, space, page(va, SHOWN)), Ok(0));
    (region, va)
}

fn before(page: u64) -> u64 {
    if page == WRITTEN { 7 } else { 0 }
}

#[test]
fn what_the_source_writes_afterwards_is_not_in_the_snapshot() {
    for at in [WRITTEN, SHOWN, UNTOUCHED] {
        let world = World::new(2);
        let (region, a) = source(&world, 0);
        let copy = world.snapshot(&region);
        let b = world.map(1, &copy, WRITE);
        world.store(0, 0, page(a, at), 8).unwrap();
        assert_eq!(world.load(1, 1, page(b, at)), Ok(before(at)), "page {at}");
        assert_eq!(world.load(0, 0, page(a, at)), Ok(8));
        world.audit(&[region.clone(), copy.clone()]);
        world.finish(&[region, copy]);
    }
}

#[test]
fn what_is_written_to_the_snapshot_is_not_in_the_source() {
    for at in [WRITTEN, SHOWN, UNTOUCHED] {
        let world = World::new(2);
        let (region, a) = source(&world, 0);
        let copy = world.snapshot(&region);
        let b = world.map(1, &copy, WRITE);
        world.store(1, 1, page(b, at), 9).unwrap();
        assert_eq!(world.load(0, 0, page(a, at)), Ok(before(at)), "page {at}");
        world.store(0, 0, page(a, at), 8).unwrap();
        assert_eq!(world.load(1, 1, page(b, at)), Ok(9));
        world.audit(&[region.clone(), copy.clone()]);
        world.finish(&[region, copy]);
    }
}

#[test]
fn every_mapping_of_each_side_shows_its_own_bytes_on_every_cpu() {
    let world = World::new(4);
    let (region, first) = source(&world, 0);
    // The source twice in one space and once in another; the snapshot likewise.
    let second = world.map(0, &region, READ);
    let third = world.map(1, &region, WRITE);
    let copy = world.snapshot(&region);
    let fourth = world.map(2, &copy, WRITE);
    let fifth = world.map(2, &copy, READ);
    let sixth = world.map(3, &copy, WRITE);
    let source_sees = [(0, first), (0, second), (1, third)];
    let copy_sees = [(2, fourth), (2, fifth), (3, sixth)];
    let shows = |at: u64, in_source: u64, in_copy: u64| {
        for (cpu, va) in source_sees {
            assert_eq!(world.load(cpu, cpu, page(va, at)), Ok(in_source));
        }
        for (cpu, va) in copy_sees {
            assert_eq!(world.load(cpu, cpu, page(va, at)), Ok(in_copy));
        }
    };
    for at in [WRITTEN, SHOWN, UNTOUCHED] {
        // All translations are cached for reading before anybody writes.
        shows(at, before(at), before(at));
        world.store(1, 1, page(third, at), 100 + at).unwrap();
        shows(at, 100 + at, before(at));
        world.store(3, 3, page(sixth, at), 200 + at).unwrap();
        shows(at, 100 + at, 200 + at);
        world.store(0, 0, page(first, at), 300 + at).unwrap();
        world.store(2, 2, page(fourth, at), 400 + at).unwrap();
        shows(at, 300 + at, 400 + at);
        world.audit(&[region.clone(), copy.clone()]);
    }
    world.finish(&[region, copy]);
}

#[test]
fn a_write_through_one_mapping_is_seen_through_the_others_of_its_side() {
    let world = World::shared();
    let (region, first) = source(&world, 0);
    let second = world.map(0, &region, WRITE);
    let copy = world.snapshot(&region);
    for va in [first, second] {
        assert_eq!(world.load(1, 0, va), Ok(7));
    }
    world.store(0, 0, first, 8).unwrap();
    assert_eq!(world.load(1, 0, second), Ok(8));
    world.store(1, 0, second, 9).unwrap();
    assert_eq!(world.load(0, 0, first), Ok(9));
    assert_eq!(world.word(&copy, 0), 7);
    world.audit(&[region.clone(), copy.clone()]);
    world.finish(&[region, copy]);
}

#[test]
fn snapshots_of_snapshots_each_keep_their_instant() {
    let world = World::new(1);
    let region = world.region(2);
    let mut chain = vec![region];
    for depth in 0..6 {
        let last = chain.last().unwrap();
        world.set_word(last, 0, 10 + depth).unwrap();
        chain.push(world.snapshot(last));
    }
    // The last was not written since it was made.
    let expected = [10, 11, 12, 13, 14, 15, 15];
    for (region, expected) in chain.iter().zip(expected) {
        assert_eq!(world.word(region, 0), expected);
        assert_eq!(region.family(), chain[0].koid());
    }
    world.audit(&chain);
    // From the middle outwards, so that each is left by its neighbours in turn.
    for (at, value) in [(3, 50), (2, 51), (5, 52), (0, 53), (6, 54)] {
        world.set_word(&chain[at], 0, value).unwrap();
        world.set_word(&chain[at], 1, value).unwrap();
        world.audit(&chain);
    }
    let words: Vec<_> = chain.iter().map(|region| world.word(region, 0)).collect();
    assert_eq!(words, [53, 11, 51, 50, 14, 52, 54]);
    let words: Vec<_> = chain.iter().map(|region| world.word(region, 1)).collect();
    assert_eq!(words, [53, 0, 51, 50, 0, 52, 54]);
    world.finish(&chain);
}

#[test]
fn a_chain_of_snapshots_outlives_its_links_in_any_order() {
    for order in [[0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2], [2, 0, 3, 1]] {
        let world = World::new(1);
        let mut chain = vec![world.region(2)];
        for depth in 0..3 {
            world.set_word(&chain[depth], 0, depth as u64).unwrap();
            let next = world.snapshot(&chain[depth]);
            chain.push(next);
        }
        let mut left: Vec<usize> = (0..4).collect();
        for gone in order {
            world.memory.destroy_region(&chain[gone]);
            left.retain(|at| *at != gone);
            let regions: Vec<_> = left.iter().map(|at| chain[*at].clone()).collect();
            world.audit(&regions);
            for at in &left {
                assert_eq!(world.word(&chain[*at], 0), (*at).min(2) as u64);
            }
        }
        world.finish(&[]);
    }
}

#[test]
fn a_snapshot_of_a_part_has_the_bytes_of_the_part() {
    let world = World::large(2);
    let region = world.region(2 * 512 + 3);
    let va = world.map(0, &region, WRITE);
    for at in [0, 512, 513, 1024, 1026] {
        world.store(0, 0, page(va, at), at + 1).unwrap();
    }
    let part = |offset, len| {
        world
            .memory
            .snapshot(world.memory.account(), &region, offset, len, false)
    };
    let tail = part(LEAF, 0).unwrap();
    assert_eq!((tail.len(), tail.leaf_count()), (LEAF + 3 * 4096, 2));
    let middle = part(LEAF, LEAF).unwrap();
    assert_eq!((middle.len(), middle.leaf_count()), (LEAF, 1));
    let last = part(2 * LEAF, 3 * 4096).unwrap();
    assert_eq!(last.pages(), 3);
    let b = world.map(1, &tail, WRITE);
    for at in [512, 513, 1024, 1026] {
        world.store(0, 0, page(va, at), 0).unwrap();
        assert_eq!(world.load(1, 1, page(b, at - 512)), Ok(at + 1));
    }
    assert_eq!(world.word(&middle, 1), 514);
    assert_eq!(world.word(&last, 2), 1027);
    // What is outside of the part was never shared.
    assert_eq!(world.memory.large_and_shared_leaves(&tail).1, 2);
    assert_eq!(world.memory.large_and_shared_leaves(&region).1, 0);
    for (offset, len, error) in [
        (4096, 0, Error::Align),
        (0, 4096, Error::Align),
        (3 * LEAF, 0, Error::Range),
        (0, 4 * LEAF, Error::Range),
        (LEAF, u64::MAX, Error::Range),
        (u64::MAX, 1, Error::Align),
        (1 << 47, 0, Error::Range),
        (0, 1 << 47, Error::Range),
    ] {
        assert_eq!(part(offset, len).err(), Some(error), "{offset:#x} {len:#x}");
    }
    let all = [region, tail, middle, last];
    world.audit(&all);
    world.finish(&all);
}

#[test]
fn a_snapshot_of_a_sealed_region_may_be_written() {
    let world = World::new(2);
    let (region, a) = source(&world, 0);
    world.memory.seal(&region).unwrap();
    let copy = world.snapshot(&region);
    assert!(!copy.is_sealed());
    let b = world.map(1, &copy, WRITE);
    for at in [WRITTEN, SHOWN, UNTOUCHED] {
        world.store(1, 1, page(b, at), 9).unwrap();
        assert_eq!(world.load(0, 0, page(a, at)), Ok(before(at)));
        assert_eq!(world.store(0, 0, page(a, at), 1), Err(Error::Denied));
    }
    // And the other way round: sealing one side takes nothing from the other.
    world.memory.seal(&copy).unwrap();
    let third = world.snapshot(&copy);
    world.set_word(&third, 0, 5).unwrap();
    assert_eq!(world.word(&copy, 0), 9);
    let all = [region, copy, third];
    world.audit(&all);
    world.finish(&all);
}
