//! Mappings: where they go, and which part of a region they show.

use crate::common;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::common::{BASE, LEAF, READ, WRITE, World, page};
use abi::Error;
use fake::Config;

#[test]
fn a_mapping_goes_where_it_was_asked_to_or_nowhere() {
    let world = World::new(1);
    let region = world.region(600);
    let place = |hint, fixed| {
        let mut request = common::request(&region, &world.permit, READ);
        (request.hint, request.fixed) = (hint, fixed);
        world.try_map(0, request)
    };
    assert_eq!(place(BASE, true), Ok(BASE));
    for taken in [BASE - LEAF, BASE, BASE + LEAF] {
        assert_eq!(place(taken, true), Err(Error::Overlap));
    }
    assert_eq!(place(BASE + 4096, true), Err(Error::Align));
    for outside in [
        0,
        abi::limits::USER_END - LEAF,
        abi::limits::USER_END,
        !(LEAF - 1),
    ] {
        assert_eq!(place(outside, true), Err(Error::Range), "{outside:#x}");
    }
    // A wish that can't be had is no error.
    assert_eq!(place(BASE + LEAF, false), Ok(BASE + 2 * LEAF));
    assert_eq!(place(123, false), Ok(BASE + 4 * LEAF));
    assert_eq!(place(BASE + 10 * LEAF, false), Ok(BASE + 10 * LEAF));
    // The gap that is left is found, and the address that was given back.
    assert_eq!(place(0, false), Ok(BASE + 6 * LEAF));
    world.memory.unmap(&world.spaces[0], BASE).unwrap();
    assert_eq!(
        world.memory.unmap(&world.spaces[0], BASE).err(),
        Some(Error::NotFound)
    );
    assert_eq!(place(0, false), Ok(BASE));
    world.finish(&[region]);
}

#[test]
fn the_part_of_a_region_that_is_mapped_is_named_in_leaves() {
    let world = World::of(1, Config::default());
    // Two leaves and a half.
    let region = world.region(2 * 512 + 256);
    let map = |offset, len| {
        let mut request = common::request(&region, &world.permit, WRITE);
        (request.offset, request.len) = (offset, len);
        let va = world.try_map(0, request)?;
        let mapping = world.memory.unmap(&world.spaces[0], va)?;
        Ok(mapping.end() - mapping.start())
    };
    assert_eq!(map(0, 0), Ok(3 * LEAF));
    assert_eq!(map(0, LEAF), Ok(LEAF));
    assert_eq!(map(LEAF, 0), Ok(2 * LEAF));
    assert_eq!(map(2 * LEAF, LEAF / 2), Ok(LEAF));
    assert_eq!(map(4096, 0), Err(Error::Align));
    assert_eq!(map(0, 4096), Err(Error::Align));
    assert_eq!(map(3 * LEAF, 0), Err(Error::Range));
    assert_eq!(map(0, 4 * LEAF), Err(Error::Range));
    assert_eq!(map(LEAF, !(LEAF - 1)), Err(Error::Range));
    assert_eq!(map(!(LEAF - 1), 0), Err(Error::Range));

    // A part shows the bytes of its place in the region.
    let whole = world.map(0, &region, WRITE);
    let mut request = common::request(&region, &world.permit, READ);
    (request.offset, request.len) = (LEAF, LEAF);
    let part = world.try_map(0, request).unwrap();
    world.store(0, 0, page(whole, 512 + 7), 70).unwrap();
    assert_eq!(world.load(0, 0, page(part, 7)), Ok(70));
    assert_eq!(world.load(0, 0, part + LEAF), Err(Error::NotFound));
    world.audit(std::slice::from_ref(&region));
    world.finish(&[region]);
}

#[test]
fn another_region_can_take_the_address_of_one_that_is_gone() {
    for how in 0..3 {
        let world = World::shared();
        let (first, second) = (world.region(1), world.region(1));
        let permit: Arc<mm::Permit> = Arc::new(mm::Permit::new());
        let va = world
            .try_map(0, common::request(&first, &permit, WRITE))
            .unwrap();
        for cpu in [0, 1] {
            world.store(cpu, 0, va, 1).unwrap();
        }
        match how {
            0 => drop(world.memory.unmap(&world.spaces[0], va).unwrap()),
            1 => world.memory.destroy_region(&first),
            _ => {
                permit.set_live(false);
                world.memory.detach(&first, |_| true);
            }
        }
        let mut request = common::request(&second, &world.permit, WRITE);
        (request.hint, request.fixed) = (va, true);
        assert_eq!(world.try_map(0, request), Ok(va));
        for cpu in [0, 1] {
            assert_eq!(world.load(cpu, 0, va), Ok(0));
        }
        world.store(1, 0, va, 2).unwrap();
        let mut bytes = [0; 8];
        world.memory.read_region(&second, 0, &mut bytes).unwrap();
        assert_eq!(u64::from_le_bytes(bytes), 2);
        world.finish(&[first, second]);
    }
}

/// Where the first gap of `len` bytes from the base on begins, and what is kept is not.
fn first_fit(kept: &BTreeMap<u64, u64>, len: u64) -> u64 {
    let mut start = BASE;
    for (from, to) in kept.range(..) {
        if *from >= start + len {
            break;
        }
        start = start.max(*to);
    }
    start
}

#[test]
fn a_mapping_without_a_wish_goes_to_the_first_place_that_is_large_enough() {
    let world = World::of(1, Config::default());
    let regions = [1, 513, 1025].map(|pages| world.region(pages));
    let permits: [Arc<mm::Permit>; 2] = [(); 2].map(|()| Arc::new(mm::Permit::new()) as _);
    let mut random = fastrand::Rng::with_seed(7);
    // What is kept, from where to where; and what is mapped, where it begins to be kept and by which permit.
    let (mut kept, mut mapped) = (BTreeMap::new(), Vec::<(u64, u64, usize)>::new());
    for step in 0..4000 {
        // Grows at first, then shrinks.
        let grows = random.u32(..10) < if step < 2000 { 6 } else { 4 };
        if grows || mapped.is_empty() {
            let (size, by) = (random.usize(..3), random.usize(..2));
            let mut request = common::request(&regions[size], &permits[by], READ);
            let guard = if random.u32(..8) == 0 { LEAF } else { 0 };
            let len = (size as u64 + 1) * LEAF + 2 * guard;
            let mut start = first_fit(&kept, len);
            request.guard = guard > 0;
            if random.u32(..8) == 0 {
                // A wish behind all that is kept.
                let end = kept.last_key_value().map_or(BASE, |(_, to)| *to);
                start = end + random.u64(..3) * LEAF;
                (request.hint, request.fixed) = (start + guard, random.bool());
            }
            assert_eq!(world.try_map(0, request), Ok(start + guard), "step {step}");
            kept.insert(start, start + len);
            mapped.push((start + guard, start, by));
        } else if random.u32(..200) > 0 {
            // The last one as often as any other.
            let last = mapped.len() - 1;
            let which = if random.bool() {
                last
            } else {
                random.usize(..=last)
            };
            let (va, start, _) = mapped.remove(which);
            drop(world.memory.unmap(&world.spaces[0], va).unwrap());
            kept.remove(&start);
        } else {
            permits[0].set_live(false);
            for region in &regions {
                world.memory.detach(region, |permit| !permit.is_live());
            }
            permits[0].set_live(true);
            mapped.retain(|(_, start, by)| *by > 0 || kept.remove(start).is_none());
        }
    }
    world.finish(&regions);
}
