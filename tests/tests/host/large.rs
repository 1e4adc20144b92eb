//! Leaves of 2 MiB: chosen for committed memory, shared, split on demand.

use crate::common::{BASE, LEAF, WRITE, World, page};
use abi::Error;
use fake::{Access, Config};
use mm::{Region, RegionOptions};
use std::sync::Arc;

const COMMIT: RegionOptions = RegionOptions {
    node: None,
    commit: true,
    execute: false,
    jit: false,
    overcommit: false,
};

fn world(spaces: usize) -> World {
    World::of(
        spaces,
        Config {
            frames: 4096,
            ..Config::default()
        },
    )
}

fn committed(world: &World, pages: u64) -> Arc<Region> {
    world
        .memory
        .create_region(world.memory.account(), pages * 4096, COMMIT)
        .unwrap()
}

fn large(world: &World, region: &Region) -> u64 {
    world.memory.large_and_shared_leaves(region).0
}

#[test]
fn committed_memory_is_in_large_leaves_where_it_fills_them() {
    let world = world(1);
    for (pages, leaves) in [(1, 0), (511, 0), (512, 1), (513, 1), (1535, 2)] {
        let region = committed(&world, pages);
        assert_eq!(large(&world, &region), leaves, "{pages} pages");
        let va = world.map(0, &region, WRITE);
        for at in std::collections::BTreeSet::from([0, pages / 2, pages - 1]) {
            assert_eq!(world.load(0, 0, page(va, at)), Ok(0));
            world.store(0, 0, page(va, at), at + 1).unwrap();
            assert_eq!(world.load(0, 0, page(va, at)), Ok(at + 1));
        }
        assert_eq!(world.load(0, 0, page(va, pages)), past(pages));
        world.audit(std::slice::from_ref(&region));
        world.memory.destroy_region(&region);
    }
    world.finish(&[]);
}

/// What a load behind the last page meets: a hole of the last table, or nothing at all.
fn past(pages: u64) -> Result<u64, Error> {
    Err(if pages.is_multiple_of(512) {
        Error::NotFound
    } else {
        Error::Range
    })
}

#[test]
fn scattered_memory_is_committed_page_by_page() {
    let world = world(1);
    world.memory.machine().refuse_runs(true);
    let region = committed(&world, 600);
    assert_eq!(large(&world, &region), 0);
    assert_eq!(region.present_pages(), 600);
    world.finish(&[region]);
}

#[test]
fn a_snapshot_shares_a_large_leaf_until_one_side_writes() {
    let world = world(2);
    let source = committed(&world, 512);
    let va = world.map(0, &source, WRITE);
    world.store(0, 0, page(va, 3), 7).unwrap();
    let snapshot = world
        .memory
        .snapshot(world.memory.account(), &source, 0, 0, false)
        .unwrap();
    let there = world.map(1, &snapshot, WRITE);
    assert!(!world.reaches(0, va, Access::Write));
    assert_eq!(world.load(1, 1, page(there, 3)), Ok(7));
    let both = [source.clone(), snapshot.clone()];
    world.audit(&both);

    world.store(1, 1, page(there, 3), 8).unwrap();
    assert_eq!((large(&world, &source), large(&world, &snapshot)), (1, 0));
    assert_eq!(world.load(0, 0, page(va, 3)), Ok(7));
    world.audit(&both);

    // Frames of the other side: the large leaf is the last of its kind and never writable again.
    world.store(0, 0, page(va, 4), 9).unwrap();
    assert_eq!(large(&world, &source), 0);
    assert_eq!(world.load(1, 1, page(there, 4)), Ok(0));
    world.audit(&both);
    world.finish(&both);
}

#[test]
fn the_last_owner_of_a_large_leaf_writes_without_a_copy() {
    let world = world(1);
    let source = committed(&world, 512);
    let va = world.map(0, &source, WRITE);
    let snapshot = world
        .memory
        .snapshot(world.memory.account(), &source, 0, 0, false)
        .unwrap();
    world.memory.destroy_region(&snapshot);
    world.store(0, 0, va, 1).unwrap();
    assert_eq!(large(&world, &source), 1);
    world.audit(std::slice::from_ref(&source));
    world.finish(&[source]);
}

#[test]
fn decommit_splits_a_large_leaf_and_leaves_the_rest_as_it_was() {
    let world = world(1);
    fake::enter(&world.memory, 1, Some(&world.spaces[0]));
    let region = committed(&world, 512);
    let va = world.map(0, &region, WRITE);
    world.store(0, 0, page(va, 1), 5).unwrap();
    // Another CPU has the 2 MiB cached as one.
    assert_eq!(world.load(1, 0, page(va, 1)), Ok(5));
    world.memory.decommit(&region, 0, 4096).unwrap();
    assert_eq!(large(&world, &region), 0);
    assert_eq!(region.present_pages(), 511);
    assert_eq!(world.load(1, 0, va), Ok(0));
    assert_eq!(world.load(1, 0, page(va, 1)), Ok(5));
    world.store(1, 0, page(va, 1), 6).unwrap();
    assert_eq!(world.load(0, 0, page(va, 1)), Ok(6));
    world.audit(std::slice::from_ref(&region));
    world.finish(&[region]);
}

/// A second entry for an address while another CPU may still have the first one cached would be
/// undefined.
#[test]
fn a_large_leaf_is_out_of_every_tlb_before_a_table_takes_its_place() {
    let world = world(1);
    fake::enter(&world.memory, 1, Some(&world.spaces[0]));
    let region = committed(&world, 512);
    let va = world.map(0, &region, WRITE);
    assert_eq!(world.load(1, 0, page(va, 100)), Ok(0));
    // The other CPU goes on reading while this one waits for it.
    world.memory.machine().set_while_waiting(move |machine| {
        let _ = machine.read(1, page(va, 100));
    });
    world.memory.decommit(&region, 0, 4096).unwrap();
    world.memory.machine().set_while_waiting(|_| ());
    assert_eq!(large(&world, &region), 0);
    world.audit(std::slice::from_ref(&region));
    world.finish(&[region]);
}

#[test]
fn a_large_leaf_is_split_with_all_memory_promised() {
    let world = world(2);
    let source = committed(&world, 512);
    let va = world.map(0, &source, WRITE);
    let snapshot = world
        .memory
        .snapshot(world.memory.account(), &source, 0, 0, false)
        .unwrap();
    let there = world.map(1, &snapshot, WRITE);
    let rest = world.memory.machine().pool().available();
    assert!(mm::Frames::reserve(world.memory.machine(), rest));
    for at in 0..512 {
        world.store(0, 0, page(va, at), at).unwrap();
        world.store(1, 1, page(there, at), !at).unwrap();
    }
    for at in 0..512 {
        assert_eq!(world.load(0, 0, page(va, at)), Ok(at));
        assert_eq!(world.load(1, 1, page(there, at)), Ok(!at));
    }
    mm::Frames::unreserve(world.memory.machine(), rest);
    world.audit(&[source.clone(), snapshot.clone()]);
    world.finish(&[source, snapshot]);
}

#[test]
fn a_part_of_a_large_region_is_a_snapshot_of_its_own() {
    let world = world(1);
    let source = committed(&world, 1024);
    let va = world.map(0, &source, WRITE);
    world.store(0, 0, va + LEAF, 3).unwrap();
    let part = world
        .memory
        .snapshot(world.memory.account(), &source, LEAF, 0, false)
        .unwrap();
    assert_eq!(part.pages(), 512);
    let there = world.map(0, &part, WRITE);
    world.store(0, 0, va + LEAF, 4).unwrap();
    assert_eq!(world.load(0, 0, there), Ok(3));
    // The other 2 MiB are not shared.
    assert!(world.reaches(0, va, Access::Read) || world.load(0, 0, va).is_ok());
    world.store(0, 0, va, 1).unwrap();
    assert_eq!(large(&world, &source), 1);
    assert!(va >= BASE);
    world.audit(&[source.clone(), part.clone()]);
    world.finish(&[source, part]);
}

#[test]
fn with_all_memory_promised_every_side_of_a_large_leaf_can_write_everything() {
    for sides in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
        let world = world(1);
        let region = committed(&world, 512);
        let copy = world.snapshot(&region);
        let all = [region.clone(), copy.clone(), world.snapshot(&copy)];
        let rest = world.take_the_rest();
        let before = fake::counts(&world.memory).pages;
        for (turn, side) in sides.into_iter().enumerate() {
            for at in 0..512 {
                let value = side as u64 + at + 1;
                world.set_word(&all[side], at, value).unwrap();
            }
            // Each takes a table; all but the last a copy of each page.
            let copied = 512 * (turn as u64 + 1).min(2);
            assert_eq!(fake::counts(&world.memory).pages, before + copied);
        }
        for (side, region) in all.iter().enumerate() {
            assert_eq!(world.word(region, 511), side as u64 + 512);
        }
        let mut all = all.to_vec();
        all.push(rest);
        world.audit(&all);
        world.finish(&all);
    }
}
