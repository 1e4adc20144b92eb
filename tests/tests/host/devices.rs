//! Device regions: what may be one, which policy its entries say, and that the frames stay the
//! device's (S3, S16).

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::common::devices::{CONFIG, PAGE, PAGES, device, leaf_entry};
use crate::common::{READ, WRITE, World, page};
use abi::limits::{MAX_DEVICE_REGIONS, MAX_REGION};
use abi::{CachePolicy, Error, RegionKind};
use fake::Config;
use mm::EntryFlags;

#[test]
fn every_entry_of_a_device_region_says_its_policy() {
    // PWT is bit 3, PCD bit 4 and PAT bit 7 of the entry of a 4 KiB page (SDM volume 3, 4.9.2).
    let bits = [
        (CachePolicy::WriteBack, 0),
        (CachePolicy::WriteThrough, 1 << 3),
        (CachePolicy::Uncached, 1 << 3 | 1 << 4),
        (CachePolicy::WriteCombining, 1 << 7),
    ];
    for (policy, expected) in bits {
        let world = World::of(1, CONFIG);
        let machine = world.memory.machine();
        let memory = world.region(1);
        let region = world
            .memory
            .create_device_region(
                world.memory.account(),
                device(machine),
                PAGES * PAGE,
                policy,
            )
            .unwrap();
        assert_eq!(region.kind(), RegionKind::Device);
        assert_eq!(region.present_pages(), PAGES);
        let va = world.map(0, &region, WRITE);
        for at in 0..PAGES {
            let entry = leaf_entry(machine, &world.spaces[0], page(va, at));
            let frame = machine.device().number() + at;
            assert_eq!(entry.frame().map(mm::Frame::number), Some(frame));
            assert_eq!(entry.bits() & (1 << 3 | 1 << 4 | 1 << 7), expected);
            assert!(entry.has(EntryFlags::NO_EXECUTE));
        }
        // What follows the last page is a hole, not what follows the device.
        assert_eq!(world.load(0, 0, page(va, PAGES)), Err(Error::Range));
        let ordinary = world.map(0, &memory, WRITE);
        world.store(0, 0, ordinary, 1).unwrap();
        let entry = leaf_entry(machine, &world.spaces[0], ordinary);
        assert_eq!(entry.bits() & (1 << 3 | 1 << 4 | 1 << 7), 0);
        world.store(0, 0, page(va, PAGES - 1), 7).unwrap();
        assert_eq!(world.load(0, 0, page(va, PAGES - 1)), Ok(7));
        let regions = [region, memory];
        world.audit(&regions);
        world.finish(&regions);
    }
}

#[test]
fn ranges_that_are_no_device_are_refused_and_take_nothing() {
    let world = World::of(1, CONFIG);
    let start = device(world.memory.machine());
    let len = PAGES * PAGE;
    // The zero frame is the last.
    let end_of_machine = (1 + 3 + PAGES + 1024 + 1) * PAGE;
    let before = fake::counts(&world.memory);
    for (address, len, error) in [
        (start + 1, PAGE, Error::Align),
        (start + 8, PAGE, Error::Align),
        (start, PAGE - 1, Error::Align),
        (start, 1, Error::Align),
        (start, u64::MAX, Error::Align),
        (start, 0, Error::Invalid),
        (0_u64.wrapping_sub(PAGE), PAGE, Error::Range),
        (0_u64.wrapping_sub(PAGE), 2 * PAGE, Error::Range),
        (start, 0_u64.wrapping_sub(PAGE), Error::Range),
        (start, MAX_REGION + PAGE, Error::TooLarge),
        (start, 1 << 47, Error::TooLarge),
        (start, MAX_REGION, Error::Range),
        (end_of_machine, PAGE, Error::Range),
        (1 << 52, PAGE, Error::Range),
        (1 << 63, PAGE, Error::Range),
        // Boot's last page and the allocator's first, alone and beside the device.
        (start - PAGE, PAGE, Error::Overlap),
        (start - PAGE, 2 * PAGE, Error::Overlap),
        (start - PAGE, len + 2 * PAGE, Error::Overlap),
        (start, len + PAGE, Error::Overlap),
        (start + len - PAGE, 2 * PAGE, Error::Overlap),
        (start + len, PAGE, Error::Overlap),
        (0, PAGE, Error::Overlap),
        (end_of_machine - PAGE, PAGE, Error::Overlap),
    ] {
        let made = world.memory.create_device_region(
            world.memory.account(),
            address,
            len,
            CachePolicy::Uncached,
        );
        assert_eq!(made.err(), Some(error), "{len:#x} bytes at {address:#x}");
        assert_eq!(fake::counts(&world.memory), before);
    }
    // Nothing of that holds a policy.
    let whole = world
        .memory
        .create_device_region(world.memory.account(), start, len, CachePolicy::WriteBack)
        .unwrap();
    world.finish(&[whole]);
}

#[test]
fn a_frame_has_one_policy_as_long_as_a_region_has_it() {
    let world = World::of(1, CONFIG);
    let start = device(world.memory.machine());
    let make = |first: u64, pages: u64, policy| {
        let made = world.memory.create_device_region(
            world.memory.account(),
            start + first * PAGE,
            pages * PAGE,
            policy,
        );
        made.map_err(|error| (first, pages, error))
    };
    let first = make(10, 10, CachePolicy::WriteCombining).unwrap();
    let again = make(5, 10, CachePolicy::WriteCombining).unwrap();
    for other in CachePolicy::ALL {
        if other == CachePolicy::WriteCombining {
            continue;
        }
        for (at, pages) in [(10, 10), (12, 1), (19, 5), (0, 6), (0, 700)] {
            let refused = make(at, pages, other).err();
            assert_eq!(refused, Some((at, pages, Error::Exists)), "{other:?}");
        }
        // What only touches is another's business.
        let (below, above) = (make(0, 5, other).unwrap(), make(20, 5, other).unwrap());
        let regions = [first.clone(), again.clone(), below, above];
        world.audit(&regions);
        world.memory.destroy_region(&regions[2]);
        world.memory.destroy_region(&regions[3]);
    }
    // One of two has gone: what only it had is free, what both had is not.
    world.memory.destroy_region(&first);
    let changed = make(15, 5, CachePolicy::Uncached).unwrap();
    let refused = make(14, 1, CachePolicy::Uncached).err();
    assert_eq!(refused, Some((14, 1, Error::Exists)));
    world.memory.destroy_region(&again);
    world.memory.destroy_region(&changed);
    let last = make(0, PAGES, CachePolicy::WriteThrough).unwrap();
    world.finish(&[last]);
}

#[test]
fn another_policy_waits_for_the_last_acknowledgement() {
    let world = World::of(1, CONFIG);
    fake::enter(&world.memory, 1, Some(&world.spaces[0]));
    let start = device(world.memory.machine());
    let region = world
        .memory
        .create_device_region(
            world.memory.account(),
            start,
            PAGE,
            CachePolicy::WriteCombining,
        )
        .unwrap();
    let va = world.map(0, &region, WRITE);
    world.store(1, 0, va, 1).unwrap();
    let memory = Arc::downgrade(&world.memory);
    let seen = Arc::new(AtomicU32::new(0));
    let count = seen.clone();
    world.memory.machine().set_while_waiting(move |machine| {
        if count.fetch_add(1, Ordering::Relaxed) == 0 {
            // CPU 1 still has the translation with the old policy.
            machine.write(1, va, 2).unwrap();
            let memory = memory.upgrade().unwrap();
            let other = fake::on_cpu(2, || {
                memory.create_device_region(memory.account(), start, PAGE, CachePolicy::Uncached)
            });
            assert_eq!(other.err(), Some(Error::Exists));
        }
    });
    world.memory.destroy_region(&region);
    world.memory.machine().clear_hooks();
    assert!(seen.load(Ordering::Relaxed) > 0);
    let other = world
        .memory
        .create_device_region(world.memory.account(), start, PAGE, CachePolicy::Uncached)
        .unwrap();
    world.finish(&[other]);
}

#[test]
fn device_regions_have_a_limit() {
    let world = World::of(
        1,
        Config {
            frames: 2048,
            ..CONFIG
        },
    );
    let start = device(world.memory.machine());
    let make = || {
        world.memory.create_device_region(
            world.memory.account(),
            start,
            PAGE,
            CachePolicy::Uncached,
        )
    };
    let mut regions: Vec<_> = (0..MAX_DEVICE_REGIONS).map(|_| make().unwrap()).collect();
    assert_eq!(make().err(), Some(Error::Limit));
    world.memory.destroy_region(&regions.pop().unwrap());
    regions.push(make().unwrap());
    world.finish(&regions);
}

#[test]
fn a_device_region_is_not_sealed_copied_or_touched_by_the_kernel() {
    let world = World::of(1, CONFIG);
    let start = device(world.memory.machine());
    let region = world
        .memory
        .create_device_region(
            world.memory.account(),
            start,
            2 * PAGE,
            CachePolicy::Uncached,
        )
        .unwrap();
    let va = world.map(0, &region, WRITE);
    assert_eq!(world.memory.seal(&region), Err(Error::Unsupported));
    let decommit = world.memory.decommit(&region, 0, 0);
    assert_eq!(decommit, Err(Error::Unsupported));
    let snapshot = world
        .memory
        .snapshot(world.memory.account(), &region, 0, 0, false);
    assert_eq!(snapshot.err(), Some(Error::Unsupported));
    // Its frames are in place as it is.
    world.memory.commit(&region, 0, 0).unwrap();
    world.pin(&region, &world.permit);
    world.memory.unpin(&region, &world.permit).unwrap();
    let mut bytes = [0; 8];
    let read = world.memory.read_region(&region, 0, &mut bytes);
    assert_eq!(read, Err(Error::Unsupported));
    let write = world.memory.write_region(&region, 0, &bytes);
    assert_eq!(write, Err(Error::Unsupported));
    // What a mapping allows is the mapping's affair.
    world.memory.protect(&world.spaces[0], va, READ).unwrap();
    assert_eq!(world.store(0, 0, va, 1), Err(Error::Denied));
    world.memory.protect(&world.spaces[0], va, WRITE).unwrap();
    assert_eq!(world.store(0, 0, va, 1), Ok(()));
    world.audit(std::slice::from_ref(&region));
    world.finish(&[region]);
}

#[test]
fn destroying_a_device_region_returns_its_tables_and_nothing_else() {
    let world = World::of(1, CONFIG);
    let start = device(world.memory.machine());
    let before = fake::counts(&world.memory);
    let region = world
        .memory
        .create_device_region(
            world.memory.account(),
            start,
            PAGES * PAGE,
            CachePolicy::WriteCombining,
        )
        .unwrap();
    let made = fake::counts(&world.memory);
    assert_eq!(before.free - made.free, PAGES.div_ceil(512));
    assert_eq!(made.pages, before.pages);
    world.memory.destroy_region(&region);
    assert_eq!(fake::counts(&world.memory), before);
    world.finish(&[]);
}

#[test]
fn a_creation_that_fails_for_memory_leaves_no_claim() {
    let world = World::of(1, CONFIG);
    let start = device(world.memory.machine());
    let before = fake::counts(&world.memory);
    let mut failures = 0;
    loop {
        world.memory.machine().fail_after(failures);
        let made = world.memory.create_device_region(
            world.memory.account(),
            start,
            PAGES * PAGE,
            CachePolicy::Uncached,
        );
        if !world.memory.machine().stop_failing() {
            world.memory.destroy_region(&made.unwrap());
            break;
        }
        assert_eq!(made.err(), Some(Error::NoMemory));
        assert_eq!(fake::counts(&world.memory), before);
        failures += 1;
    }
    assert!(failures > 0);
    let other = world
        .memory
        .create_device_region(world.memory.account(), start, PAGE, CachePolicy::WriteBack)
        .unwrap();
    world.finish(&[other]);
}
