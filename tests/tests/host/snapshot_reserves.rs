//! Snapshots and memory: with the worst case promised no write ever fails, and one that overcommits
//! is lost instead of anybody else's write (I7, I11, rule S14).

use crate::common;
use std::sync::Arc;

use crate::common::{READ, WRITE, World, page};
use abi::Error;
use fake::Config;
use mm::{Permit, Region, RegionOptions};

const PAGES: u64 = 4;

/// A machine of so many frames.
fn world(frames: u64) -> World {
    World::of(
        2,
        Config {
            frames,
            ..Config::default()
        },
    )
}

/// A region whose pages hold 10, 11, …
fn filled(world: &World) -> Arc<Region> {
    let region = world.region(PAGES);
    for at in 0..PAGES {
        world.set_word(&region, at, 10 + at).unwrap();
    }
    region
}

fn overcommitted(world: &World, source: &Region) -> Arc<Region> {
    world
        .memory
        .snapshot(world.memory.account(), source, 0, 0, true)
        .unwrap()
}

/// The writes of a number, read as digits of which side writes which page next.
fn order(mut number: usize, sides: usize, pages: u64) -> Vec<(usize, u64)> {
    let mut left: Vec<(usize, u64)> = (0..sides)
        .flat_map(|side| (0..pages).map(move |page| (side, page)))
        .collect();
    let mut order = Vec::new();
    while !left.is_empty() {
        order.push(left.remove(number % left.len()));
        number /= left.len() + 1;
    }
    order
}

#[test]
fn with_all_memory_promised_every_side_can_write_everything_in_every_order() {
    // Two pages on three sides in all orders that there are.
    for number in 0..720 {
        let world = World::of(
            1,
            Config {
                frames: 40,
                ..Config::default()
            },
        );
        let region = world.region(2);
        world.set_word(&region, 0, 10).unwrap();
        let copy = world.snapshot(&region);
        let third = world.snapshot(&copy);
        let rest = world.take_the_rest();
        assert_eq!(fake::counts(&world.memory).available, 0);
        let sides = [&region, &copy, &third];
        let mut expected = [[10, 0]; 3];
        for (step, (side, at)) in order(number, 3, 2).into_iter().enumerate() {
            world.set_word(sides[side], at, 100 + step as u64).unwrap();
            expected[side][at as usize] = 100 + step as u64;
            for (side, expected) in sides.iter().zip(&expected) {
                assert_eq!(world.word(side, 0), expected[0], "order {number}");
                assert_eq!(world.word(side, 1), expected[1], "order {number}");
            }
        }
        let all = [region, copy, third, rest];
        world.audit(&all);
        world.finish(&all);
    }
}

#[test]
fn what_a_side_gives_back_it_can_have_again_when_all_memory_is_promised() {
    let world = world(40);
    let region = filled(&world);
    let copy = world.snapshot(&region);
    let rest = world.take_the_rest();
    for round in 0..4 {
        for side in [&region, &copy] {
            world.memory.decommit(side, 4096, 2 * 4096).unwrap();
            assert_eq!(world.word(side, 1), 0);
            world.set_word(side, 1, round).unwrap();
            world.set_word(side, 0, round).unwrap();
            world.memory.commit(side, 0, 0).unwrap();
            world.audit(&[region.clone(), copy.clone(), rest.clone()]);
        }
    }
    assert_eq!(world.word(&copy, 3), 13);
    world.finish(&[region, copy, rest]);
}

#[test]
fn a_snapshot_that_does_not_fit_is_refused_and_takes_nothing() {
    let world = world(40);
    let region = filled(&world);
    let rest = world.take_the_rest();
    let before = fake::counts(&world.memory);
    let refused = world
        .memory
        .snapshot(world.memory.account(), &region, 0, 0, false);
    assert_eq!(refused.err(), Some(Error::NoMemory));
    assert_eq!(fake::counts(&world.memory), before);
    assert_eq!(world.memory.large_and_shared_leaves(&region).1, 0);
    world.set_word(&region, 0, 1).unwrap();
    world.audit(&[region.clone(), rest.clone()]);
    world.finish(&[region, rest]);
}

#[test]
fn an_overcommitted_snapshot_is_lost_when_a_copy_finds_no_memory_and_its_source_is_unharmed() {
    let world = world(40);
    let region = filled(&world);
    let a = world.map(0, &region, WRITE);
    let copy = overcommitted(&world, &region);
    let b = world.map(1, &copy, WRITE);
    assert_eq!(world.load(1, 1, page(b, 2)), Ok(12));
    let rest = world.take_the_rest();
    world.store(0, 0, page(a, 1), 99).unwrap();
    assert!(copy.is_lost() && !region.is_lost());
    assert_eq!(world.load(1, 1, page(b, 2)), Err(Error::NoMemory));
    let refused = [
        world
            .memory
            .snapshot(world.memory.account(), &copy, 0, 0, false)
            .err(),
        world.memory.commit(&copy, 0, 0).err(),
        world.memory.decommit(&copy, 0, 0).err(),
        world.memory.seal(&copy).err(),
        world.memory.pin(&copy, &world.permit).err(),
        world.set_word(&copy, 0, 1).err(),
        world
            .try_map(1, common::request(&copy, &world.permit, READ))
            .err(),
    ];
    assert!(refused.iter().all(|error| *error == Some(Error::NoMemory)));
    assert_eq!(world.word(&region, 0), 10);
    assert_eq!(world.load(0, 0, page(a, 1)), Ok(99));
    world.audit(&[region.clone(), copy.clone(), rest.clone()]);
    // Rights that it has no more can be taken from what is lost.
    world.permit.set_access(READ);
    world.memory.restrict(&copy);
    assert_eq!(world.load(1, 1, page(b, 2)), Err(Error::NoMemory));
    // The address is free again once it was given back.
    world.memory.unmap(&world.spaces[1], b).unwrap();
    world.finish(&[region, copy, rest]);
}

#[test]
fn an_overcommitted_snapshot_that_writes_without_memory_is_lost_itself() {
    let world = world(40);
    let region = filled(&world);
    let copy = overcommitted(&world, &region);
    let b = world.map(1, &copy, WRITE);
    let rest = world.take_the_rest();
    assert_eq!(world.load(1, 1, b), Ok(10));
    assert_eq!(world.store(1, 1, b, 1), Err(Error::NoMemory));
    assert!(copy.is_lost());
    for at in 0..PAGES {
        world.set_word(&region, at, 20 + at).unwrap();
    }
    world.audit(&[region.clone(), copy.clone(), rest.clone()]);
    world.finish(&[region, copy, rest]);
}

#[test]
fn an_overcommitted_region_is_lost_at_the_first_page_that_is_not_there() {
    let world = world(40);
    let options = RegionOptions {
        overcommit: true,
        ..RegionOptions::default()
    };
    let region = world
        .memory
        .create_region(world.memory.account(), 600 * 4096, options)
        .unwrap();
    assert_eq!(region.reserved_frames(), 0);
    let va = world.map(0, &region, WRITE);
    let mut written = 0;
    let refused = loop {
        match world.store(0, 0, page(va, written), written) {
            Ok(()) => written += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(refused, Error::NoMemory);
    assert!(written > 8 && region.is_lost());
    world.audit(std::slice::from_ref(&region));
    world.finish(&[region]);
}

#[test]
fn a_snapshot_of_what_overcommits_is_promised_its_own_worst_case() {
    let world = world(60);
    let options = RegionOptions {
        overcommit: true,
        ..RegionOptions::default()
    };
    let region = world
        .memory
        .create_region(world.memory.account(), PAGES * 4096, options)
        .unwrap();
    world.set_word(&region, 0, 10).unwrap();
    let copy = world.snapshot(&region);
    let again = world.snapshot(&copy);
    let rest = world.take_the_rest();
    for at in 0..PAGES {
        world.set_word(&copy, at, 20 + at).unwrap();
        world.set_word(&again, at, 30 + at).unwrap();
    }
    assert_eq!(world.word(&copy, 0), 20);
    let mut all = vec![region, copy, again, rest];
    world.audit(&all);
    // It is lost when it writes itself.
    if world.set_word(&all[0], 1, 1).is_err() {
        assert!(all[0].is_lost());
    }
    world.audit(&all);
    world.memory.destroy_region(&all.remove(0));
    world.finish(&all);
}

#[test]
fn a_source_that_gave_pages_back_to_an_overcommitted_snapshot_can_fill_them_again() {
    for copies_first in [false, true] {
        let world = world(40);
        let region = filled(&world);
        let copy = overcommitted(&world, &region);
        // What was the source's is the snapshot's alone after this.
        world.memory.decommit(&region, 0, 0).unwrap();
        assert_eq!(world.word(&copy, 3), 13);
        if copies_first {
            world.memory.decommit(&copy, 0, 2 * 4096).unwrap();
        }
        let rest = world.take_the_rest();
        for at in 0..PAGES {
            world.set_word(&region, at, 30 + at).unwrap();
        }
        for at in 0..PAGES {
            assert_eq!(world.word(&region, at), 30 + at);
        }
        world.audit(&[region.clone(), copy.clone(), rest.clone()]);
        world.finish(&[region, copy, rest]);
    }
}

#[test]
fn the_end_of_an_overcommitted_snapshot_leaves_the_source_all_that_it_needs() {
    let world = world(40);
    let region = filled(&world);
    let copy = overcommitted(&world, &region);
    world.memory.decommit(&region, 0, 0).unwrap();
    let rest = world.take_the_rest();
    // All that it held alone is promised to the source again, before anybody else can take it.
    world.memory.destroy_region(&copy);
    let more = world
        .memory
        .create_region(world.memory.account(), 4096, RegionOptions::default());
    for at in 0..PAGES {
        world.set_word(&region, at, 30 + at).unwrap();
    }
    let mut all = vec![region, rest];
    all.extend(more);
    world.audit(&all);
    world.finish(&all);
}

#[test]
fn only_as_many_overcommitted_snapshots_are_lost_as_are_needed() {
    let world = world(60);
    let region = filled(&world);
    let copies: Vec<_> = (0..3).map(|_| overcommitted(&world, &region)).collect();
    for copy in &copies {
        // Each has a table and a page of its own, which its loss gives back.
        world.set_word(copy, 0, 40).unwrap();
    }
    let rest = world.take_the_rest();
    for at in 0..PAGES {
        world.set_word(&region, at, 30 + at).unwrap();
    }
    assert!(copies.iter().any(|copy| copy.is_lost()));
    for copy in copies.iter().filter(|copy| !copy.is_lost()) {
        assert_eq!((world.word(copy, 0), world.word(copy, 1)), (40, 11));
    }
    let mut all = vec![region, rest];
    all.extend(copies);
    world.audit(&all);
    world.finish(&all);
}

#[test]
fn what_is_pinned_is_never_lost() {
    let world = world(40);
    let region = filled(&world);
    let copy = overcommitted(&world, &region);
    assert_eq!(
        world.memory.pin(&copy, &world.permit),
        Err(Error::Unsupported)
    );
    assert_eq!(copy.pin_count(), 0);
    let permit: Arc<Permit> = Arc::new(Permit::new());
    let kept = world.snapshot(&region);
    world.pin(&kept, &permit);
    let rest = world.take_the_rest();
    for at in 0..PAGES {
        world.set_word(&region, at, 30 + at).unwrap();
    }
    assert!(!kept.is_lost() && kept.is_pinned());
    assert_eq!(world.word(&kept, 2), 12);
    let all = [region, copy, kept, rest];
    world.audit(&all);
    world.finish(&all);
}

#[test]
fn a_family_returns_all_promises_whichever_member_ends_last() {
    for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2], [1, 2, 0]] {
        let world = world(60);
        let region = filled(&world);
        let copy = overcommitted(&world, &region);
        let third = world.snapshot(&copy);
        world.set_word(&copy, 0, 1).unwrap();
        world.set_word(&third, 1, 2).unwrap();
        world.memory.decommit(&region, 0, 4096).unwrap();
        let mut all = [Some(region), Some(copy), Some(third)];
        for at in order {
            let gone = all[at].take().unwrap();
            world.memory.destroy_region(&gone);
            let left: Vec<_> = all.iter().flatten().cloned().collect();
            world.audit(&left);
        }
        world.finish(&[]);
    }
}
