//! Frames: promises that are kept, failures that leave nothing behind (I1, I9, I11).

use crate::common;
use crate::common::{BASE, LEAF, READ, WRITE, World, page};
use abi::Error;
use fake::{Config, Counts, counts};
use mm::{PageAttributes, RegionOptions};

/// Runs an operation with its first, second, … request for memory failing, until it succeeds, and
/// checks each time that nothing is left of it. `work` undoes what it has done when it succeeds.
fn sweep(world: &World, mut work: impl FnMut(&World) -> Result<(), Error>) -> u64 {
    let machine = world.memory.machine();
    let before = counts(&world.memory);
    for calls in 0.. {
        machine.fail_after(calls);
        let result = work(world);
        let failed = machine.stop_failing();
        assert_eq!(counts(&world.memory), before, "after {calls} calls");
        if !failed {
            assert_eq!(result, Ok(()));
            return calls;
        }
        assert_eq!(result, Err(Error::NoMemory), "after {calls} calls");
    }
    unreachable!()
}

#[test]
fn a_creation_that_fails_takes_nothing() {
    let world = World::new(1);
    let created = sweep(&world, |world| {
        for commit in [false, true] {
            let region = world.memory.create_region(
                world.memory.account(),
                600 * 4096,
                RegionOptions {
                    commit,
                    ..RegionOptions::default()
                },
            )?;
            world.memory.destroy_region(&region);
        }
        Ok(())
    });
    assert!(created >= 2);
    let ring = sweep(&world, |world| {
        let region = world.memory.create_ring_region(world.memory.account(), 8)?;
        world.memory.destroy_region(&region);
        Ok(())
    });
    assert!(ring >= 1);
    world.finish(&[]);
}

#[test]
fn a_space_or_mapping_that_fails_takes_nothing_that_outlives_the_space() {
    let world = World::new(1);
    let region = world.region(1);
    let calls = sweep(&world, |world| {
        let space = world.memory.create_space(world.memory.account(), BASE)?;
        let mapped = world
            .memory
            .map(&space, common::request(&region, &world.permit, WRITE));
        world.memory.unmap_all(&space, drop);
        world.memory.destroy_space(&space);
        mapped.map(drop)
    });
    assert_eq!(calls, 3, "the root, and two upper tables");
    assert_eq!(region.mapping_count(), 0);
    assert_eq!(world.permit.mappings(), 0);
    world.finish(&[region]);
}

#[test]
fn an_image_or_instance_that_fails_takes_nothing() {
    let world = World::new(1);
    let calls = sweep(&world, |world| {
        let image = world
            .memory
            .create_image(world.memory.account(), 4 * 4096)?;
        let made = (|| {
            for (at, write) in [(0, false), (1, true), (2, true)] {
                let attributes = PageAttributes {
                    write,
                    execute: !write,
                };
                world.memory.define_page(&image, at, attributes)?;
            }
            world.memory.load_image(&image, 100, &[7; 6000])?;
            world.memory.finish_image(&image);
            let instance = world.memory.instantiate(world.memory.account(), &image)?;
            world.memory.destroy_region(&instance);
            Ok(())
        })();
        world.memory.destroy_region(&image);
        made
    });
    assert!(calls >= 5);
    world.finish(&[]);
}

#[test]
fn a_region_that_does_not_fit_is_refused_at_once_and_one_that_does_never_fails_later() {
    let config = Config {
        frames: 64,
        ..Config::default()
    };
    let world = World::of(1, config);
    let before = counts(&world.memory);
    let refused =
        world
            .memory
            .create_region(world.memory.account(), 64 * 4096, RegionOptions::default());
    assert_eq!(refused.err(), Some(Error::NoMemory));
    assert_eq!(counts(&world.memory), before);
    // The mapping needs two upper tables, the region one leaf table.
    let pages = before.available - 3;
    let region = world.region(pages);
    let va = world.map(0, &region, WRITE);
    assert_eq!(counts(&world.memory).available, 0);
    assert_eq!(
        world
            .memory
            .create_space(world.memory.account(), BASE)
            .err(),
        Some(Error::NoMemory)
    );
    for at in 0..pages {
        world.store(0, 0, page(va, at), at).unwrap();
    }
    assert_eq!(counts(&world.memory).free, 0);
    world.audit(std::slice::from_ref(&region));
    world.finish(&[region]);
}

#[test]
fn the_promise_of_an_untouched_region_returns_with_it() {
    let world = World::new(1);
    let before = counts(&world.memory);
    let region = world.region(100);
    let now = counts(&world.memory);
    assert_eq!(
        now,
        Counts {
            free: before.free - 1,
            available: before.available - 101,
            tables: before.tables + 1,
            ..before
        }
    );
    world.memory.destroy_region(&region);
    world.memory.destroy_region(&region);
    assert_eq!(counts(&world.memory), before);
    world.finish(&[]);
}

#[test]
fn pages_come_from_the_node_that_was_asked_for_while_it_has_any() {
    let config = Config {
        frames: 512,
        nodes: 2,
        ..Config::default()
    };
    let world = World::of(1, config);
    for node in [1, 0] {
        let region = world
            .memory
            .create_region(
                world.memory.account(),
                4 * 4096,
                RegionOptions {
                    node: Some(node),
                    ..RegionOptions::default()
                },
            )
            .unwrap();
        let va = world.map(0, &region, WRITE);
        for at in 0..4 {
            let frame = fake::touch(
                &world.memory,
                &world.spaces[0],
                page(va, at),
                fake::Access::Write,
            );
            assert_eq!(world.memory.machine().pool().node_of(frame.unwrap()), node);
        }
        world.memory.destroy_region(&region);
    }
    // More than the node has: the rest comes from the other.
    let large = world
        .memory
        .create_region(
            world.memory.account(),
            300 * 4096,
            RegionOptions {
                node: Some(1),
                commit: true,
                ..RegionOptions::default()
            },
        )
        .unwrap();
    assert_eq!(large.present_pages(), 300);
    world.finish(&[large]);
}

#[test]
fn a_frame_that_enters_a_region_is_zeroed() {
    let world = World::of(
        1,
        Config {
            frames: 16,
            ..Config::default()
        },
    );
    for turn in 1..5 {
        let region = world.region(8);
        let va = world.map(0, &region, WRITE);
        for at in 0..8 {
            assert_eq!(world.load(0, 0, page(va, at)), Ok(0));
            // The store gives it a frame of its own, of which it writes one word.
            world.store(0, 0, page(va, at), turn).unwrap();
            assert_eq!(world.load(0, 0, page(va, at) + 8), Ok(0));
        }
        world.memory.destroy_region(&region);
    }
    world.finish(&[]);
}

#[test]
#[should_panic(expected = "takes a Region lock while it holds a Tables lock")]
fn the_machine_sees_locks_taken_out_of_order() {
    use mm::lock::{Lock, Rank};
    let _world = World::new(1);
    let (high, low) = (Lock::new(Rank::Tables, ()), Lock::new(Rank::Region, ()));
    let _high = high.lock();
    let _low = low.lock();
}

#[test]
#[should_panic(expected = "a frame is zeroed while a lock of the allocator is held")]
fn the_machine_sees_a_frame_that_is_zeroed_under_a_lock_of_the_allocator() {
    use mm::lock::{Lock, Rank};
    use mm::{Budget, Frames};
    let world = World::new(1);
    let machine = world.memory.machine();
    let frame = machine.allocate(None, Budget::Open).unwrap();
    let nodes = Lock::new(Rank::Nodes, ());
    let _held = nodes.lock();
    machine.zero(frame);
}

#[test]
fn upper_tables_stay_with_their_space_and_return_with_it() {
    let world = World::new(1);
    let region = world.region(1);
    let before = counts(&world.memory);
    for gib in [1, 2, 600] {
        let mut request = common::request(&region, &world.permit, READ);
        (request.hint, request.fixed) = (gib << 30, true);
        let va = world.try_map(0, request).unwrap();
        world.memory.unmap(&world.spaces[0], va).unwrap();
    }
    // A table of the third level for each 512 GiB, one of the second for each GiB.
    assert_eq!(counts(&world.memory).tables, before.tables + 5);
    world.audit(std::slice::from_ref(&region));
    assert_eq!(LEAF, 512 * 4096);
    world.finish(&[region]);
}
