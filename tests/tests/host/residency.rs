//! Pages ahead of time, pages given back, pages that stay, and what no two mappings may do (I11, I14,
//! I15, rule S17).

use crate::common;
use std::sync::Arc;

use crate::common::realm::Realm;
use crate::common::{BASE, LEAF, READ, WRITE, World, page};
use abi::{Error, Rights};
use fake::Access;
use mm::{Permit, Region, RegionOptions};

const EXECUTE: Rights = Rights::READ.union(Rights::EXECUTE);

#[test]
fn commit_fills_what_is_missing_and_does_nothing_twice() {
    let world = World::new(1);
    let region = world.region(6);
    let va = world.map(0, &region, WRITE);
    world.store(0, 0, page(va, 1), 7).unwrap();
    world.memory.commit(&region, 4096, 2 * 4096).unwrap();
    assert_eq!((region.present_pages(), region.reserved_frames()), (2, 4));
    let before = fake::counts(&world.memory);
    world.memory.commit(&region, 4096, 2 * 4096).unwrap();
    assert_eq!(fake::counts(&world.memory), before);
    world.memory.commit(&region, 0, 0).unwrap();
    assert_eq!((region.present_pages(), region.reserved_frames()), (6, 0));
    // Nothing of it faults for want of a frame.
    for at in [0, 2, 3, 4, 5] {
        assert_eq!(world.memory.machine().read(0, page(va, at)), Ok(0));
    }
    assert_eq!(world.load(0, 0, page(va, 1)), Ok(7));
    // The last page may be named by the bytes that it has.
    let odd = world
        .memory
        .create_region(world.memory.account(), 4096 + 5, RegionOptions::default())
        .unwrap();
    world.memory.commit(&odd, 4096, 5).unwrap();
    assert_eq!(odd.present_pages(), 1);
    world.memory.decommit(&odd, 0, 4096 + 5).unwrap();
    assert_eq!(odd.present_pages(), 0);
    world.audit(&[region.clone(), odd.clone()]);
    world.finish(&[region, odd]);
}

#[test]
fn commit_leaves_shared_what_is_there_and_takes_only_what_is_missing() {
    let world = World::new(1);
    let region = world.region(4);
    world.set_word(&region, 0, 7).unwrap();
    let copy = world.snapshot(&region);
    world.memory.commit(&copy, 0, 4096).unwrap();
    assert_eq!(world.memory.large_and_shared_leaves(&copy).1, 1);
    world.memory.commit(&copy, 0, 0).unwrap();
    assert_eq!((copy.present_pages(), region.present_pages()), (4, 1));
    let before = fake::counts(&world.memory);
    world.memory.commit(&copy, 0, 0).unwrap();
    assert_eq!(fake::counts(&world.memory), before);
    world.set_word(&copy, 1, 8).unwrap();
    assert_eq!((world.word(&copy, 0), world.word(&region, 1)), (7, 0));
    world.audit(&[region.clone(), copy.clone()]);
    world.finish(&[region, copy]);
}

#[test]
fn what_is_given_back_reads_as_zeros_and_can_be_written_again() {
    let world = World::shared();
    let region = world.region(600);
    let va = world.map(0, &region, WRITE);
    for at in 0..600 {
        world.store(0, 0, page(va, at), 7).unwrap();
    }
    let promised = region.reserved_frames();
    assert_eq!(world.load(1, 0, page(va, 100)), Ok(7));
    let pages = fake::counts(&world.memory).pages;
    world
        .memory
        .decommit(&region, 50 * 4096, 500 * 4096)
        .unwrap();
    assert_eq!(fake::counts(&world.memory).pages, pages - 500);
    assert_eq!(region.reserved_frames(), promised + 500);
    for at in [50, 100, 511, 512, 549] {
        assert!(!world.reaches(1, page(va, at), Access::Read), "page {at}");
        assert_eq!(world.load(1, 0, page(va, at)), Ok(0));
        world.store(1, 0, page(va, at), 9).unwrap();
    }
    for at in [49, 550] {
        assert_eq!(world.load(1, 0, page(va, at)), Ok(7));
    }
    world.audit(std::slice::from_ref(&region));
    world.finish(&[region]);
}

#[test]
fn what_one_side_gives_back_the_other_keeps() {
    for snapshot_gives in [false, true] {
        let world = World::new(2);
        let region = world.region(3);
        for at in 0..2 {
            world.set_word(&region, at, 7 + at).unwrap();
        }
        let copy = world.snapshot(&region);
        let (gives, keeps) = match snapshot_gives {
            true => (&copy, &region),
            false => (&region, &copy),
        };
        let (a, b) = (world.map(0, gives, WRITE), world.map(1, keeps, WRITE));
        for (cpu, va) in [(0, a), (1, b)] {
            assert_eq!(world.load(cpu, cpu, va), Ok(7));
        }
        // Of an untouched page there is nothing to give back, and nothing is copied for it.
        world.memory.decommit(gives, 2 * 4096, 4096).unwrap();
        assert_eq!(world.memory.large_and_shared_leaves(gives).1, 1);
        world.memory.decommit(gives, 0, 4096).unwrap();
        assert_eq!(world.load(0, 0, a), Ok(0));
        assert_eq!(world.load(1, 1, b), Ok(7));
        assert_eq!(world.load(0, 0, page(a, 1)), Ok(8));
        world.store(0, 0, a, 1).unwrap();
        world.store(1, 1, b, 2).unwrap();
        world.memory.decommit(keeps, 0, 0).unwrap();
        assert_eq!((world.word(gives, 0), world.word(keeps, 0)), (1, 0));
        assert_eq!((world.word(gives, 1), world.word(keeps, 1)), (8, 0));
        let all = [region, copy];
        world.audit(&all);
        world.finish(&all);
    }
}

#[test]
fn a_sealed_region_gives_no_page_back_but_fills_them() {
    let world = World::new(1);
    let region = world.region(2);
    world.set_word(&region, 0, 7).unwrap();
    world.memory.seal(&region).unwrap();
    assert_eq!(world.memory.decommit(&region, 0, 0), Err(Error::Sealed));
    world.memory.commit(&region, 0, 0).unwrap();
    let va = world.map(0, &region, READ);
    assert_eq!(world.load(0, 0, va), Ok(7));
    assert!(!world.reaches(0, va, Access::Write));
    assert_eq!(world.store(0, 0, page(va, 1), 1), Err(Error::Denied));
    world.finish(&[region]);
}

#[test]
fn impossible_parts_are_refused_and_nothing_changes() {
    let world = World::new(1);
    let region = world.region(3);
    world.set_word(&region, 0, 7).unwrap();
    let before = fake::counts(&world.memory);
    for (offset, len, error) in [
        (0, 1, Error::Align),
        (1, 4096, Error::Align),
        (4095, 1, Error::Align),
        (0, 4 * 4096, Error::Range),
        (3 * 4096, 0, Error::Range),
        (3 * 4096, 4096, Error::Range),
        (0, 1 << 47, Error::Range),
        (1 << 47, 0, Error::Range),
        (4096, u64::MAX, Error::Range),
        (u64::MAX, u64::MAX, Error::Range),
        (0, u64::MAX, Error::Range),
        (!4095, 8192, Error::Range),
    ] {
        let refused = [
            world.memory.commit(&region, offset, len),
            world.memory.decommit(&region, offset, len),
        ];
        assert_eq!(refused, [Err(error); 2], "{offset:#x} {len:#x}");
    }
    assert_eq!(fake::counts(&world.memory), before);
    assert_eq!(world.word(&region, 0), 7);
    world.memory.destroy_region(&region);
    let gone = Err(Error::Revoked);
    assert_eq!(world.memory.commit(&region, 0, 0), gone);
    assert_eq!(world.memory.decommit(&region, 0, 0), gone);
    world.finish(&[]);
}

#[test]
fn a_pinned_region_has_all_its_frames_and_they_stay() {
    let world = World::new(1);
    let region = world.region(4);
    world.set_word(&region, 1, 7).unwrap();
    let copy = world.snapshot(&region);
    let permit: Arc<Permit> = Arc::new(Permit::new());
    world.pin(&copy, &permit);
    world.pin(&copy, &world.permit);
    assert_eq!((copy.pin_count(), copy.present_pages()), (2, 4));
    let va = world.map(0, &copy, WRITE);
    let frames = |access| {
        [0, 1, 2, 3]
            .map(|at| fake::touch(&world.memory, &world.spaces[0], page(va, at), access).unwrap())
    };
    let before = frames(Access::Read);
    let refused = [
        world
            .memory
            .snapshot(world.memory.account(), &copy, 0, 0, false)
            .err(),
        world
            .memory
            .snapshot(world.memory.account(), &copy, 0, 0, true)
            .err(),
        world.memory.decommit(&copy, 0, 0).err(),
    ];
    assert_eq!(refused, [Some(Error::Pinned); 3]);
    // Nothing is copied on either side's write.
    assert_eq!(frames(Access::Write), before);
    world.set_word(&region, 1, 8).unwrap();
    world.set_word(&region, 2, 8).unwrap();
    assert_eq!(frames(Access::Write), before);
    assert_eq!(world.load(0, 0, page(va, 1)), Ok(7));
    world.memory.unpin(&copy, &permit).unwrap();
    assert_eq!(world.memory.unpin(&copy, &permit), Err(Error::NotFound));
    let still = world
        .memory
        .snapshot(world.memory.account(), &copy, 0, 0, false)
        .err();
    assert_eq!(still, Some(Error::Pinned));
    world
        .memory
        .unpin_all(&copy, |permit| Arc::ptr_eq(permit, &world.permit));
    let third = world.snapshot(&copy);
    assert_eq!(world.word(&third, 1), 7);
    let all = [region, copy, third];
    world.audit(&all);
    world.finish(&all);
}

#[test]
fn what_is_sealed_is_pinned_where_it_is() {
    let world = World::new(1);
    let region = world.region(2);
    world.set_word(&region, 0, 7).unwrap();
    let copy = world.snapshot(&region);
    world.memory.seal(&copy).unwrap();
    world.pin(&copy, &world.permit);
    assert_eq!(copy.present_pages(), 2);
    world.set_word(&region, 0, 8).unwrap();
    assert_eq!(world.word(&copy, 0), 7);
    let all = [region, copy];
    world.audit(&all);
    world.finish(&all);
}

#[test]
fn a_pin_needs_authority_that_lives_and_goes_with_it() {
    let world = World::new(1);
    let region = world.region(1);
    let permit: Arc<Permit> = Arc::new(Permit::new());
    world.pin(&region, &permit);
    permit.set_live(false);
    world.memory.detach(&region, |permit| !permit.is_live());
    assert_eq!(region.pin_count(), 0);
    let dead = world.memory.pin(&region, &permit);
    assert_eq!((dead, region.pin_count()), (Err(Error::Revoked), 0));
    let image = world
        .memory
        .create_image(world.memory.account(), 4096)
        .unwrap();
    let refused = world.memory.pin(&image, &world.permit);
    assert_eq!(refused, Err(Error::Unsupported));
    world.finish(&[region, image]);
}

#[test]
fn a_guard_keeps_the_addresses_before_and_behind_free() {
    let world = World::new(1);
    let region = world.region(1);
    let map = |hint, fixed, guard| {
        let mut request = common::request(&region, &world.permit, WRITE);
        (request.hint, request.fixed, request.guard) = (hint, fixed, guard);
        world.try_map(0, request)
    };
    let va = map(BASE + 8 * LEAF, true, true).unwrap();
    for at in [-1, 1] {
        let near = va.wrapping_add_signed(at * LEAF as i64);
        assert_eq!(map(near, true, false), Err(Error::Overlap));
        assert_eq!(world.load(0, 0, near), Err(Error::NotFound));
    }
    // Two guards do not lie on one another's mappings, and a neighbour of a guard is fine.
    assert_eq!(map(va + 2 * LEAF, true, true), Err(Error::Overlap));
    let next = map(va + 2 * LEAF, true, false).unwrap();
    // A place that is looked for keeps away too.
    for _ in 0..32 {
        let found = map(0, false, true).unwrap();
        assert!(found.abs_diff(va) > LEAF && found.abs_diff(next) > LEAF);
    }
    world.memory.unmap(&world.spaces[0], va).unwrap();
    map(va + LEAF, true, false).unwrap();
    world.finish(&[region]);
}

fn region_with(world: &World, jit: bool) -> Arc<Region> {
    let options = RegionOptions {
        execute: true,
        jit,
        ..RegionOptions::default()
    };
    world
        .memory
        .create_region(world.memory.account(), 4096, options)
        .unwrap()
}

#[test]
fn no_two_mappings_write_and_execute_a_region_at_once() {
    let world = World::new(2);
    let region = region_with(&world, false);
    let map = |space, access| world.try_map(space, common::request(&region, &world.permit, access));
    let protect = |space: usize, va, access| world.memory.protect(&world.spaces[space], va, access);
    let writer = map(0, WRITE).unwrap();
    assert_eq!(map(1, EXECUTE), Err(Error::Busy));
    assert_eq!(map(0, EXECUTE), Err(Error::Busy));
    let other = map(1, READ).unwrap();
    assert_eq!(protect(1, other, EXECUTE), Err(Error::Busy));
    // One mapping may change from one to the other, or let the other go first.
    protect(0, writer, EXECUTE).unwrap();
    assert_eq!(protect(1, other, WRITE), Err(Error::Busy));
    assert_eq!(map(1, WRITE), Err(Error::Busy));
    protect(0, writer, READ).unwrap();
    protect(1, other, WRITE).unwrap();
    assert_eq!(protect(0, writer, EXECUTE), Err(Error::Busy));
    world.memory.unmap(&world.spaces[1], other).unwrap();
    world.store(0, 0, writer, 5).unwrap_err();
    protect(0, writer, EXECUTE).unwrap();
    let fetch = |space: usize, va| {
        fake::on_cpu(space, || {
            fake::touch(&world.memory, &world.spaces[space], va, Access::Execute)
        })
    };
    fetch(0, writer).unwrap();
    assert_eq!(world.store(0, 0, writer, 5), Err(Error::Denied));
    world.audit(std::slice::from_ref(&region));
    // A snapshot is memory of its own: what executes the source does not stop who writes the copy.
    let copy = world.snapshot(&region);
    let va = world.map(1, &copy, WRITE);
    world.store(1, 1, va, 5).unwrap();
    world.finish(&[region, copy]);
}

#[test]
fn a_jit_region_may_be_written_here_and_executed_there_but_its_snapshot_not() {
    let world = World::new(2);
    let region = region_with(&world, true);
    let writer = world.map(0, &region, WRITE);
    let runner = world.map(1, &region, EXECUTE);
    world.store(0, 0, writer, 5).unwrap();
    let fetch = |cpu: usize, va| {
        fake::on_cpu(cpu, || {
            fake::touch(&world.memory, &world.spaces[cpu], va, Access::Execute)
        })
    };
    fetch(1, runner).unwrap();
    assert_eq!(fetch(0, writer), Err(Error::Denied));
    assert_eq!(world.store(1, 1, runner, 6), Err(Error::Denied));
    world.audit(std::slice::from_ref(&region));
    let copy = world.snapshot(&region);
    world.map(0, &copy, WRITE);
    let refused = world.try_map(1, common::request(&copy, &world.permit, EXECUTE));
    assert_eq!(refused, Err(Error::Busy));
    world.finish(&[region, copy]);
}

#[test]
fn nothing_can_be_executed_before_no_cpu_can_write() {
    let world = World::shared();
    let region = region_with(&world, false);
    let va = world.map(0, &region, WRITE);
    world.store(1, 0, va, 7).unwrap();
    let seen = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let (count, space) = (seen.clone(), world.spaces[0].clone());
    world.memory.machine().set_while_waiting(move |machine| {
        // CPU 1 still can; the mapping does not allow executing yet.
        if count.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0 {
            machine.write(1, va, 8).unwrap();
            let directory = machine.attachment(&space, va).unwrap();
            assert!(directory.has(mm::EntryFlags::NO_EXECUTE));
        }
    });
    world.memory.protect(&world.spaces[0], va, EXECUTE).unwrap();
    world.memory.machine().clear_hooks();
    assert!(seen.load(std::sync::atomic::Ordering::Relaxed) > 0);
    assert!(!world.reaches(1, va, Access::Write));
    world.finish(&[region]);
}

#[test]
fn a_region_has_pins_up_to_a_limit() {
    let realm = Realm::new(1);
    let mine = realm.region(0, 1);
    let domain = &realm.domains[0];
    for _ in 0..abi::limits::MAX_PINS {
        realm.ipc.pin_region(domain, mine).unwrap();
    }
    assert_eq!(realm.ipc.pin_region(domain, mine), Err(Error::Limit));
    realm.ipc.unpin_region(domain, mine).unwrap();
    realm.ipc.pin_region(domain, mine).unwrap();
    realm.finish();
}
