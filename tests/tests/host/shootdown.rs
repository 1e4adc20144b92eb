//! No CPU reaches through a translation that it has cached what was taken away (I2, I5, I12).

use crate::common;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};

use crate::common::{BASE, READ, WRITE, World, page};
use abi::{Error, Rights};
use fake::Access;
use mm::{Permit, Region};
use proptest::prelude::*;

/// A region of some pages, all of which CPUs 0 and 1 have cached for writing.
fn cached_by_both(pages: u64) -> (World, Arc<Region>, u64) {
    let world = World::shared();
    let region = world.region(pages);
    let va = world.map(0, &region, WRITE);
    for cpu in [0, 1] {
        for at in 0..pages {
            world.store(cpu, 0, page(va, at), at).unwrap();
        }
    }
    (world, region, va)
}

fn assert_unreachable(world: &World, cpu: usize, va: u64, pages: u64) {
    for at in 0..pages {
        assert!(!world.reaches(cpu, page(va, at), Access::Read), "page {at}");
    }
}

#[test]
fn a_page_cached_by_another_cpu_is_out_of_reach_after_unmap() {
    let (world, region, va) = cached_by_both(3);
    world.memory.unmap(&world.spaces[0], va).unwrap();
    assert_unreachable(&world, 1, va, 3);
    world.finish(&[region]);
}

#[test]
fn a_page_cached_by_the_same_cpu_is_out_of_reach_after_unmap() {
    let (world, region, va) = cached_by_both(3);
    world.memory.unmap(&world.spaces[0], va).unwrap();
    assert_unreachable(&world, 0, va, 3);
    world.finish(&[region]);
}

#[test]
fn a_cached_page_is_out_of_reach_after_destroy() {
    let (world, region, va) = cached_by_both(40);
    world.memory.destroy_region(&region);
    assert_unreachable(&world, 0, va, 40);
    assert_unreachable(&world, 1, va, 40);
    assert_eq!(world.load(1, 0, va), Err(Error::Revoked));
    world.finish(&[region]);
}

#[test]
fn a_cached_page_is_out_of_reach_after_detach_and_only_there() {
    let world = World::new(2);
    let region = world.region(2);
    let condemned: Arc<Permit> = Arc::new(Permit::new());
    let kept = world.map(0, &region, WRITE);
    let lost = world
        .try_map(1, common::request(&region, &condemned, WRITE))
        .unwrap();
    world.store(0, 0, kept, 7).unwrap();
    assert_eq!(world.load(1, 1, lost), Ok(7));
    condemned.set_live(false);
    let count = world
        .memory
        .detach(&region, |permit| Arc::ptr_eq(permit, &condemned));
    assert_eq!(count, 1);
    assert_eq!(condemned.mappings(), 0);
    assert!(!world.reaches(1, lost, Access::Read));
    assert_eq!(world.load(0, 0, kept), Ok(7));
    let again = world.try_map(1, common::request(&region, &condemned, READ));
    assert_eq!(again, Err(Error::Revoked));
    world.audit(std::slice::from_ref(&region));
    world.finish(&[region]);
}

#[test]
fn a_page_cached_for_writing_can_only_be_read_after_seal_and_protect() {
    for seal in [false, true] {
        let (world, region, va) = cached_by_both(2);
        if seal {
            world.memory.seal(&region).unwrap();
        } else {
            world.memory.protect(&world.spaces[0], va, READ).unwrap();
        }
        for cpu in [0, 1] {
            assert!(!world.reaches(cpu, va, Access::Write));
            assert_eq!(world.load(cpu, 0, page(va, 1)), Ok(1));
            assert_eq!(world.store(cpu, 0, va, 1), Err(Error::Denied));
        }
        world.finish(&[region]);
    }
}

#[test]
fn nothing_is_freed_before_the_last_cpu_has_acknowledged() {
    let (world, region, va) = cached_by_both(2);
    let before = fake::counts(&world.memory).pages;
    let seen = Arc::new(AtomicUsize::new(0));
    let count = seen.clone();
    let memory = Arc::downgrade(&world.memory);
    world.memory.machine().set_while_waiting(move |machine| {
        let memory = memory.upgrade().unwrap();
        if count.fetch_add(1, Ordering::Relaxed) == 0 {
            // CPU 1 has not been interrupted yet, and still works with the page.
            machine.write(1, va, 0xfeed).unwrap();
            assert_eq!(fake::counts(&memory).pages, before);
        }
    });
    world.memory.destroy_region(&region);
    world.memory.machine().clear_hooks();
    assert!(seen.load(Ordering::Relaxed) > 0);
    assert_eq!(fake::counts(&world.memory).pages, 0);
    world.finish(&[]);
}

#[test]
fn a_cpu_in_the_middle_of_a_switch_acknowledges_only_what_it_did() {
    let world = World::new(2);
    let region = world.region(1);
    let va = world.map(1, &region, WRITE);
    world.store(1, 1, va, 5).unwrap();
    let memory = Arc::downgrade(&world.memory);
    let space = world.spaces[1].clone();
    world.memory.machine().set_after_root_load(move |machine| {
        // CPU 2 caches the page ahead of need, before it has finished the switch.
        machine.translate(2, va, Access::Read).unwrap();
        fake::on_cpu(0, || memory.upgrade().unwrap().unmap(&space, va).unwrap());
    });
    fake::enter(&world.memory, 2, Some(&world.spaces[1]));
    world.memory.machine().clear_hooks();
    assert!(!world.reaches(2, va, Access::Read));
    world.finish(&[region]);
}

#[test]
fn cpus_that_all_wait_for_one_another_all_go_on() {
    let world = World::shared();
    let first = world.region(1);
    let second = world.region(1);
    let (a, b) = (world.map(0, &first, WRITE), world.map(0, &second, WRITE));
    for cpu in [0, 1] {
        world.store(cpu, 0, a, 1).unwrap();
        world.store(cpu, 0, b, 2).unwrap();
    }
    // While CPU 0 waits for CPU 1, CPU 1 seals another region and waits for CPU 0.
    let memory = Arc::downgrade(&world.memory);
    let other = second.clone();
    let once = AtomicUsize::new(0);
    world.memory.machine().set_while_waiting(move |_| {
        if once.fetch_add(1, Ordering::Relaxed) == 0 {
            let memory = memory.upgrade().unwrap();
            fake::on_cpu(1, || memory.seal(&other).unwrap());
        }
    });
    world.memory.seal(&first).unwrap();
    world.memory.machine().clear_hooks();
    for cpu in [0, 1] {
        assert!(!world.reaches(cpu, a, Access::Write));
        assert!(!world.reaches(cpu, b, Access::Write));
    }
    world.finish(&[first, second]);
}

#[test]
fn threads_that_map_touch_and_unmap_one_region_never_reach_a_freed_frame() {
    const CPUS: usize = 4;
    let world = World::new(1);
    for cpu in 1..CPUS {
        fake::enter(&world.memory, cpu, Some(&world.spaces[0]));
    }
    let shared = world.region(3);
    let barrier = Barrier::new(CPUS);
    let latest = AtomicU64::new(BASE);
    std::thread::scope(|scope| {
        for cpu in 0..CPUS {
            let (world, shared, barrier, latest) = (&world, &shared, &barrier, &latest);
            scope.spawn(move || {
                barrier.wait();
                for turn in 0..60 {
                    let own = world.region(2);
                    fake::on_cpu(cpu, || {
                        let all = world.map(0, shared, WRITE);
                        let va = world.map(0, &own, WRITE);
                        fake::store(&world.memory, &world.spaces[0], va, turn).unwrap();
                        fake::store(&world.memory, &world.spaces[0], all, turn).unwrap();
                        assert_eq!(fake::load(&world.memory, &world.spaces[0], va), Ok(turn));
                        // What another CPU made, which may be gone, or be something else by now.
                        let theirs = latest.swap(va, Ordering::Relaxed);
                        let _ = fake::load(&world.memory, &world.spaces[0], theirs);
                        world.memory.unmap(&world.spaces[0], all).unwrap();
                        world.memory.destroy_region(&own);
                    });
                }
            });
        }
    });
    world.audit(std::slice::from_ref(&shared));
    world.finish(&[shared]);
}

#[test]
fn one_cpu_alone_asks_no_other() {
    let world = World::new(2);
    let region = world.region(1);
    let va = world.map(0, &region, WRITE);
    world.store(0, 0, va, 1).unwrap();
    world.memory.unmap(&world.spaces[0], va).unwrap();
    assert_eq!(world.memory.shootdowns(), 0);
    world.finish(&[region]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever the size, the number of CPUs and the moments at which they are interrupted.
    #[test]
    fn what_was_taken_away_is_out_of_reach_everywhere(
        pages in 1u64..70,
        cpus in 1usize..=16,
        seed: u64,
        how in 0..3,
    ) {
        let config = fake::Config { frames: 256, cpus, seed, ..fake::Config::default() };
        let world = World::of(1, config);
        for cpu in 1..cpus {
            fake::enter(&world.memory, cpu, Some(&world.spaces[0]));
        }
        let region = world.region(pages);
        let va = world.map(0, &region, WRITE);
        prop_assert_eq!(va, BASE);
        for cpu in 0..cpus {
            for at in 0..pages {
                world.load(cpu, 0, page(va, at)).unwrap();
            }
        }
        fake::on_cpu(cpus - 1, || match how {
            0 => drop(world.memory.unmap(&world.spaces[0], va).unwrap()),
            1 => world.memory.destroy_region(&region),
            _ => {
                world.memory.seal(&region).unwrap();
                world.memory.protect(&world.spaces[0], va, Rights::READ).unwrap();
            }
        });
        let access = if how == 2 { Access::Write } else { Access::Read };
        for cpu in 0..cpus {
            for at in 0..pages {
                prop_assert!(!world.reaches(cpu, page(va, at), access));
            }
        }
        world.finish(&[region]);
    }
}

#[test]
fn a_cpu_that_loads_its_space_again_still_counts_as_using_it() {
    let (world, region, va) = cached_by_both(1);
    fake::enter(&world.memory, 1, Some(&world.spaces[0]));
    assert_eq!(world.load(1, 0, va), Ok(0));
    world.memory.unmap(&world.spaces[0], va).unwrap();
    assert_unreachable(&world, 1, va, 1);
    world.finish(&[region]);
}
