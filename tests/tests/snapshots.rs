//! A snapshot has the bytes of its instant, whoever writes first (I3, I7).

mod common;

use std::sync::Arc;

use abi::Error;
use common::{LEAF, READ, WRITE, World, page};
use fake::{Access, Config};
use mm::{Region, RegionOptions};

/// Pages of the regions here: one that is written, one that is only read, one that nobody touches.
const WRITTEN: u64 = 0;
const SHOWN: u64 = 1;
const UNTOUCHED: u64 = 2;

/// A machine with room for snapshots of several leaf tables.
fn large_world(spaces: usize) -> World {
    World::of(
        spaces,
        Config {
            frames: 8192,
            ..Config::default()
        },
    )
}

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
    let world = large_world(2);
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

#[test]
fn tables_are_shared_until_written_and_only_those() {
    let world = large_world(1);
    let region = world.region(4 * 512);
    for at in 0..4 {
        world.set_word(&region, at * 512, at).unwrap();
    }
    let counts = fake::counts(&world.memory);
    let copy = world.snapshot(&region);
    let third = world.snapshot(&copy);
    // The cost of sharing is no frame at all.
    let now = fake::counts(&world.memory);
    assert_eq!((now.tables, now.pages), (counts.tables, counts.pages));
    let shared = |region: &Region| world.memory.large_and_shared_leaves(region).1;
    assert_eq!([&region, &copy, &third].map(|r| shared(r)), [4, 4, 4]);
    // Reading leaves everything where it is, also what nobody has touched.
    for at in 0..4 {
        assert_eq!(world.word(&copy, at * 512), at);
        assert_eq!(world.word(&copy, at * 512 + 1), 0);
    }
    assert_eq!([&region, &copy, &third].map(|r| shared(r)), [4, 4, 4]);
    world.set_word(&copy, 512, 9).unwrap();
    assert_eq!([&region, &copy, &third].map(|r| shared(r)), [4, 3, 4]);
    let now = fake::counts(&world.memory);
    // One leaf table and one frame were copied.
    assert_eq!(
        (now.tables, now.pages),
        (counts.tables + 1, counts.pages + 1)
    );
    world.set_word(&region, 512, 9).unwrap();
    assert_eq!([&region, &copy, &third].map(|r| shared(r)), [3, 3, 3]);
    // The last owner of the table and of the frame writes without any copy.
    let before = fake::counts(&world.memory);
    world.set_word(&third, 512, 9).unwrap();
    assert_eq!(fake::counts(&world.memory), before);
    let all = [region, copy, third];
    world.audit(&all);
    world.finish(&all);
}

#[test]
fn the_last_owner_of_a_page_writes_without_a_copy() {
    let world = World::new(2);
    let (region, a) = source(&world, 0);
    let frame = |cpu: usize, va, access| {
        fake::on_cpu(cpu, || {
            fake::touch(&world.memory, &world.spaces[cpu], va, access).unwrap()
        })
    };
    let original = frame(0, a, Access::Read);
    let copy = world.snapshot(&region);
    let b = world.map(1, &copy, WRITE);
    assert_eq!(frame(1, b, Access::Read), original);
    assert_ne!(frame(0, a, Access::Write), original);
    // The table has another owner no more, and neither has the frame.
    assert_eq!(frame(1, b, Access::Write), original);
    assert_eq!(world.load(1, 1, b), Ok(7));

    // The same when the other side ends instead of writing.
    let again = world.snapshot(&copy);
    world.memory.destroy_region(&copy);
    let c = world.map(1, &again, WRITE);
    assert_eq!(frame(1, c, Access::Write), original);
    assert_eq!(world.load(1, 1, c), Ok(7));
    world.audit(&[region.clone(), again.clone()]);
    world.finish(&[region, again]);
}

#[test]
fn the_zero_frame_is_never_written_and_never_counted() {
    let world = World::new(2);
    let region = world.region(4);
    let (a, b) = (world.map(0, &region, WRITE), world.map(1, &region, READ));
    let zero = mm::Frames::zero_frame(world.memory.machine());
    let touch = |cpu: usize, va, access| {
        fake::on_cpu(cpu, || {
            fake::touch(&world.memory, &world.spaces[cpu], va, access)
        })
    };
    let frames = fake::counts(&world.memory);
    for at in 0..4 {
        assert_eq!(touch(1, page(b, at), Access::Read), Ok(zero));
        assert!(!world.reaches(0, page(a, at), Access::Write));
    }
    assert_eq!(fake::counts(&world.memory), frames);
    assert_eq!(region.present_pages(), 0);
    let copy = world.snapshot(&region);
    let c = world.map(1, &copy, WRITE);
    for (cpu, va) in [(0, a), (1, c)] {
        for at in 0..4 {
            assert_ne!(touch(cpu, page(va, at), Access::Write), Ok(zero));
            world.store(cpu, cpu, page(va, at), 5).unwrap();
        }
    }
    // CPU 1 had the zero frame cached where CPU 0 has written.
    for at in 0..4 {
        assert_eq!(world.load(1, 1, page(b, at)), Ok(5));
    }
    let other = world.region(1);
    assert_eq!(world.word(&other, 0), 0);
    let all = [region, copy, other];
    world.audit(&all);
    world.finish(&all);
}

#[test]
fn the_guard_of_a_stack_is_a_hole_in_its_snapshot_too() {
    let world = World::new(2);
    let stack = world
        .memory
        .create_stack_region(world.memory.account(), 8)
        .unwrap();
    world.set_word(&stack, 511, 3).unwrap();
    let copy = world.snapshot(&stack);
    let va = world.map(1, &copy, WRITE);
    assert_eq!(world.load(1, 1, page(va, 511)), Ok(3));
    world.store(1, 1, page(va, 504), 4).unwrap();
    for at in [0, 503] {
        assert_eq!(world.load(1, 1, page(va, at)), Err(Error::Range));
        assert_eq!(world.store(1, 1, page(va, at), 1), Err(Error::Range));
    }
    // Neither commit nor decommit makes memory of it.
    world.memory.commit(&copy, 0, 0).unwrap();
    world.memory.decommit(&copy, 0, 0).unwrap();
    assert_eq!(world.load(1, 1, page(va, 503)), Err(Error::Range));
    assert_eq!(world.load(1, 1, page(va, 511)), Ok(0));
    world.audit(&[stack.clone(), copy.clone()]);
    world.finish(&[stack, copy]);
}

#[test]
fn what_can_not_be_shared_page_by_page_has_no_snapshot() {
    let world = World::of(
        1,
        Config {
            frames: 64,
            initrd_frames: 2,
            ..Config::default()
        },
    );
    let ring = world
        .memory
        .create_ring_region(world.memory.account(), 2)
        .unwrap();
    let initrd = world.memory.machine().initrd();
    let initrd = world
        .memory
        .create_initrd_region(world.memory.account(), initrd, 5000)
        .unwrap();
    let image = world
        .memory
        .create_image(world.memory.account(), 4096)
        .unwrap();
    for region in [&ring, &initrd, &image] {
        let refused = world
            .memory
            .snapshot(world.memory.account(), region, 0, 0, false);
        assert_eq!(refused.err(), Some(Error::Unsupported));
        let refused = world.memory.decommit(region, 0, 0);
        assert_eq!(refused.err(), Some(Error::Unsupported));
    }
    let gone = world
        .memory
        .create_region(world.memory.account(), 4096, RegionOptions::default())
        .unwrap();
    world.memory.destroy_region(&gone);
    let refused = world
        .memory
        .snapshot(world.memory.account(), &gone, 0, 0, false);
    assert_eq!(refused.err(), Some(Error::Revoked));
    world.finish(&[ring, initrd, image]);
}
