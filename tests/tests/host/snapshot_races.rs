//! Snapshots, copies, seals and decommits against other CPUs that work with the same pages, at the
//! moments that matter (I2, I3, I7, rules S1, S2, S4).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::common::{WRITE, World, page};
use abi::Error;
use fake::{Access, FakeMachine};
use mm::{AddressSpace, Region};

/// Runs something once, at the first turn of the first wait for other CPUs; says whether it did.
fn once_while_waiting(
    world: &World,
    mut work: impl FnMut(&fake::Memory, &FakeMachine) + Send + 'static,
) -> Arc<AtomicBool> {
    let done = Arc::new(AtomicBool::new(false));
    let flag = done.clone();
    let memory = Arc::downgrade(&world.memory);
    world.memory.machine().set_while_waiting(move |machine| {
        if !flag.swap(true, Ordering::Relaxed) {
            work(&memory.upgrade().unwrap(), machine);
        }
    });
    done
}

/// One space on CPUs 0 and 1, another on CPU 2, a third on CPU 3.
fn three_spaces() -> World {
    let world = World::new(3);
    for (cpu, space) in [(0, 0), (1, 0), (2, 1), (3, 2)] {
        fake::enter(&world.memory, cpu, Some(&world.spaces[space]));
    }
    world
}

#[test]
fn no_cpu_can_write_what_a_snapshot_shares_once_it_is_there() {
    let world = three_spaces();
    let region = world.region(2);
    let va = world.map(0, &region, WRITE);
    for cpu in [0, 1] {
        world.store(cpu, 0, va, 7).unwrap();
        world.store(cpu, 0, page(va, 1), 7).unwrap();
    }
    let copy = world.snapshot(&region);
    let write = |cpu| world.reaches(cpu, va, Access::Write);
    assert_eq!([0, 1].map(write), [false, false]);
    for cpu in [0, 1] {
        world.store(cpu, 0, va, 8).unwrap();
        assert_eq!(world.word(&copy, 0), 7);
    }
    assert_eq!((world.word(&copy, 1), world.word(&region, 0)), (7, 8));
    world.audit(&[region.clone(), copy.clone()]);
    world.finish(&[region, copy]);
}

#[test]
fn what_another_cpu_writes_before_it_acknowledges_is_in_the_snapshot_and_in_the_source() {
    let world = three_spaces();
    let region = world.region(1);
    let va = world.map(0, &region, WRITE);
    world.store(1, 0, va, 7).unwrap();
    let done = once_while_waiting(&world, move |_, machine| {
        machine.write(1, va, 8).unwrap();
    });
    let copy = world.snapshot(&region);
    world.memory.machine().clear_hooks();
    assert!(done.load(Ordering::Relaxed));
    assert_eq!((world.word(&copy, 0), world.word(&region, 0)), (8, 8));
    world.finish(&[region, copy]);
}

#[test]
fn a_side_counts_as_the_last_owner_only_when_no_cpu_of_the_other_reaches_the_page() {
    let world = three_spaces();
    let region = world.region(2);
    let va = world.map(0, &region, WRITE);
    world.store(0, 0, va, 7).unwrap();
    let copy = world.snapshot(&region);
    let b = world.map(1, &copy, WRITE);
    assert_eq!(world.load(2, 1, b), Ok(7));
    // Each has its own leaf table; the frame of page 0 is still shared.
    world.store(0, 0, page(va, 1), 1).unwrap();
    // CPU 1 has it cached, and acknowledges late.
    assert_eq!(world.load(1, 0, va), Ok(7));
    let other: Arc<AddressSpace> = world.spaces[1].clone();
    let done = once_while_waiting(&world, move |memory, machine| {
        fake::on_cpu(2, || fake::store(memory, &other, b, 99).unwrap());
        // Still the bytes of the source, not those of the snapshot.
        assert_eq!(machine.read(1, va), Ok(7));
    });
    world.store(0, 0, va, 8).unwrap();
    world.memory.machine().clear_hooks();
    assert!(done.load(Ordering::Relaxed));
    assert_eq!(world.load(1, 0, va), Ok(8));
    assert_eq!(world.load(2, 1, b), Ok(99));
    world.audit(&[region.clone(), copy.clone()]);
    world.finish(&[region, copy]);
}

#[test]
fn a_leaf_table_lives_as_long_as_one_region_has_it() {
    for source_first in [false, true] {
        let world = three_spaces();
        let region = world.region(3);
        let va = world.map(0, &region, WRITE);
        world.store(0, 0, va, 7).unwrap();
        let copy = world.snapshot(&region);
        let b = world.map(1, &copy, WRITE);
        assert_eq!(world.load(2, 1, b), Ok(7));
        let (gone, left, cpu, space, at) = match source_first {
            true => (&region, &copy, 2, 1, b),
            false => (&copy, &region, 1, 0, va),
        };
        world.memory.destroy_region(gone);
        assert_eq!(world.load(cpu, space, at), Ok(7));
        world.store(cpu, space, at, 8).unwrap();
        assert_eq!(world.load(cpu, space, page(at, 1)), Ok(0));
        world.audit(std::slice::from_ref(left));
        world.finish(std::slice::from_ref(left));
    }
}

#[test]
fn a_page_that_another_owner_shows_while_a_table_is_cloned_is_not_forgotten() {
    let world = three_spaces();
    let region = world.region(3);
    let va = world.map(0, &region, WRITE);
    world.store(0, 0, va, 7).unwrap();
    let copy = world.snapshot(&region);
    let b = world.map(1, &copy, WRITE);
    assert_eq!(world.load(2, 1, b), Ok(7));
    let memory = Arc::downgrade(&world.memory);
    let space = world.spaces[0].clone();
    // CPU 2 clones the table for a write to page 0. Between its load of the entry of page 2 and
    // what it does to it, the other side reads there.
    world
        .memory
        .machine()
        .set_after_entry_load(2, page(b, 2), move |_| {
            let memory = memory.upgrade().unwrap();
            let read = fake::on_cpu(1, || fake::load(&memory, &space, page(va, 2)));
            assert_eq!(read, Ok(0));
        });
    world.store(2, 1, b, 9).unwrap();
    world.memory.machine().clear_hooks();
    // CPU 1 has the zero frame cached, so a fill has to know about it.
    world.store(0, 0, page(va, 2), 5).unwrap();
    assert_eq!(world.load(1, 0, page(va, 2)), Ok(5));
    assert_eq!(world.load(2, 1, page(b, 2)), Ok(0));
    world.audit(&[region.clone(), copy.clone()]);
    world.finish(&[region, copy]);
}

#[test]
fn two_that_clone_one_table_at_the_same_time_lose_nothing() {
    let world = three_spaces();
    let region = world.region(3);
    let va = world.map(0, &region, WRITE);
    for at in 0..2 {
        world.store(0, 0, page(va, at), 7 + at).unwrap();
    }
    let copy = world.snapshot(&region);
    let b = world.map(1, &copy, WRITE);
    assert_eq!(world.load(2, 1, b), Ok(7));
    let memory = Arc::downgrade(&world.memory);
    let space = world.spaces[0].clone();
    world
        .memory
        .machine()
        .set_after_entry_load(2, page(b, 1), move |_| {
            let memory = memory.upgrade().unwrap();
            fake::on_cpu(0, || fake::store(&memory, &space, page(va, 1), 50).unwrap());
        });
    world.store(2, 1, b, 60).unwrap();
    world.memory.machine().clear_hooks();
    assert_eq!(world.load(0, 0, va), Ok(7));
    assert_eq!(world.load(0, 0, page(va, 1)), Ok(50));
    assert_eq!(world.load(2, 1, b), Ok(60));
    assert_eq!(world.load(2, 1, page(b, 1)), Ok(8));
    assert_eq!(world.memory.large_and_shared_leaves(&region).1, 0);
    world.audit(&[region.clone(), copy.clone()]);
    world.finish(&[region, copy]);
}

#[test]
fn a_write_of_the_kernel_that_meets_a_seal_writes_nothing_behind_it() {
    let world = three_spaces();
    let region = world.region(2);
    let other = region.clone();
    let memory = Arc::downgrade(&world.memory);
    // The seal is done while the write waits for its frame, after its first look.
    world.memory.machine().set_while_zeroing(move |_| {
        fake::on_cpu(3, || memory.upgrade().unwrap().seal(&other).unwrap());
    });
    assert_eq!(world.set_word(&region, 0, 5), Err(Error::Sealed));
    world.memory.machine().clear_hooks();
    assert_eq!(world.word(&region, 0), 0);
    world.audit(std::slice::from_ref(&region));
    world.finish(&[region]);
}

#[test]
fn a_fill_that_meets_a_snapshot_a_decommit_or_the_end_of_its_region_loses_no_frame() {
    type Meeting = fn(&fake::Memory, &Arc<Region>) -> Option<Arc<Region>>;
    let meetings: [(Meeting, Result<(), Error>); 4] = [
        (
            |memory, region| memory.snapshot(memory.account(), region, 0, 0, false).ok(),
            Ok(()),
        ),
        (
            |memory, region| memory.snapshot(memory.account(), region, 0, 0, true).ok(),
            Ok(()),
        ),
        (
            |memory, region| memory.decommit(region, 0, 0).err().map(|_| region.clone()),
            Ok(()),
        ),
        (
            |memory, region| {
                memory.destroy_region(region);
                None
            },
            Err(Error::Revoked),
        ),
    ];
    for (meet, expected) in meetings {
        let world = three_spaces();
        let region = world.region(2);
        let va = world.map(0, &region, WRITE);
        world.store(0, 0, page(va, 1), 7).unwrap();
        let made = Arc::new(std::sync::Mutex::new(Vec::new()));
        let (memory, other, list) = (Arc::downgrade(&world.memory), region.clone(), made.clone());
        world.memory.machine().set_while_zeroing(move |_| {
            let met = fake::on_cpu(3, || meet(&memory.upgrade().unwrap(), &other));
            list.lock().unwrap().extend(met);
        });
        assert_eq!(world.store(1, 0, va, 5), expected);
        world.memory.machine().clear_hooks();
        let mut all = std::mem::take(&mut *made.lock().unwrap());
        for copy in &all {
            assert_eq!((world.word(copy, 0), world.word(copy, 1)), (0, 7));
        }
        if expected.is_ok() {
            assert_eq!(world.load(0, 0, va), Ok(5));
            all.push(region);
        }
        world.audit(&all);
        world.finish(&all);
    }
}

#[test]
fn a_page_that_was_given_back_is_out_of_reach_of_every_cpu_before_its_frame_is_free() {
    for shared in [false, true] {
        let world = three_spaces();
        let region = world.region(3);
        let va = world.map(0, &region, WRITE);
        for cpu in [0, 1] {
            world.store(cpu, 0, va, 7).unwrap();
        }
        let mut all = vec![region.clone()];
        if shared {
            all.push(world.snapshot(&region));
            assert_eq!(world.load(1, 0, va), Ok(7));
        }
        let done = once_while_waiting(&world, move |_, machine| {
            // CPU 1 has not been interrupted yet. The machine checks that the frame is in use.
            assert_eq!(machine.read(1, va), Ok(7));
        });
        world.memory.decommit(&region, 0, 4096).unwrap();
        world.memory.machine().clear_hooks();
        assert!(done.load(Ordering::Relaxed));
        let read = |cpu| world.reaches(cpu, va, Access::Read);
        assert_eq!([0, 1].map(read), [false, false]);
        assert_eq!(world.load(1, 0, va), Ok(0));
        world.audit(&all);
        world.finish(&all);
    }
}
