//! What CPUs do for one another while they wait, with interrupts off, and who is left alone (I12).

use crate::common;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};

use crate::common::{WRITE, World, page};
use fake::Access;
use mm::lock::{Lock, Rank};
use mm::{Permit, Plan};
use proptest::prelude::*;

const CPUS: usize = 4;

/// One space that all CPUs have loaded.
fn everywhere() -> World {
    let world = World::new(1);
    for cpu in 1..CPUS {
        fake::enter(&world.memory, cpu, Some(&world.spaces[0]));
    }
    world
}

#[test]
fn cpus_that_all_take_away_at_once_with_interrupts_off_all_go_on() {
    const TURNS: u64 = 50;
    let world = everywhere();
    let barrier = Barrier::new(CPUS);
    std::thread::scope(|scope| {
        for cpu in 0..CPUS {
            let (world, barrier) = (&world, &barrier);
            scope.spawn(move || {
                fake::without_interrupts(&world.memory, cpu, || {
                    barrier.wait();
                    for turn in 0..TURNS {
                        let region = world.region(2);
                        let permit: Arc<Permit> = Arc::new(Permit::new());
                        let request = common::request(&region, &permit, WRITE);
                        let va = world.try_map(0, request).unwrap();
                        fake::store(&world.memory, &world.spaces[0], va, turn).unwrap();
                        permit.set_live(false);
                        assert_eq!(world.memory.detach(&region, |_| true), 1);
                        assert!(!world.reaches(cpu, va, Access::Read));
                        world.memory.destroy_region(&region);
                    }
                });
            });
        }
    });
    assert!(world.memory.shootdowns() > 0);
    world.finish(&[]);
}

#[test]
fn a_cpu_that_spins_for_a_lock_with_interrupts_off_acknowledges() {
    let world = everywhere();
    let (first, second) = (world.region(1), world.region(1));
    let (a, b) = (world.map(0, &first, WRITE), world.map(0, &second, WRITE));
    world.store(1, 0, a, 1).unwrap();
    let waiting = Arc::new(AtomicBool::new(false));
    let told = waiting.clone();
    world
        .memory
        .machine()
        .set_while_waiting(move |_| told.store(true, Ordering::Release));
    let masked = Barrier::new(2);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            fake::without_interrupts(&world.memory, 1, || {
                masked.wait();
                while !waiting.load(Ordering::Acquire) {
                    std::thread::yield_now();
                }
                // CPU 0 holds the lock of the mappings and waits for this CPU.
                world.memory.unmap(&world.spaces[0], b).unwrap();
            });
        });
        masked.wait();
        world.memory.unmap(&world.spaces[0], a).unwrap();
    });
    world.memory.machine().clear_hooks();
    assert!(!world.reaches(1, a, Access::Read));
    world.finish(&[first, second]);
}

#[test]
fn a_cpu_that_holds_a_lock_with_interrupts_off_is_waited_for() {
    let world = everywhere();
    let region = world.region(1);
    let va = world.map(0, &region, WRITE);
    world.store(1, 0, va, 7).unwrap();
    let held = Lock::new(Rank::Queue, ());
    let (waiting, over) = (Arc::new(AtomicBool::new(false)), AtomicBool::new(false));
    let told = waiting.clone();
    world
        .memory
        .machine()
        .set_while_waiting(move |_| told.store(true, Ordering::Release));
    let ready = Barrier::new(2);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            fake::without_interrupts(&world.memory, 1, || {
                let _guard = held.lock();
                ready.wait();
                while !waiting.load(Ordering::Acquire) {
                    std::thread::yield_now();
                }
                // It has not been told, so it works on, and nobody has the frame.
                assert!(!over.load(Ordering::Acquire));
                assert_eq!(world.memory.machine().read(1, va), Ok(7));
            });
        });
        ready.wait();
        world.memory.destroy_region(&region);
        over.store(true, Ordering::Release);
    });
    world.memory.machine().clear_hooks();
    assert!(!world.reaches(1, va, Access::Read));
    world.finish(&[]);
}

#[test]
fn only_cpus_that_run_the_space_are_interrupted() {
    let world = World::new(3);
    fake::enter(&world.memory, 2, Some(&world.spaces[0]));
    fake::enter(&world.memory, 3, None);
    let region = world.region(1);
    let va = world.map(0, &region, WRITE);
    let kicks = || [0, 1, 2, 3].map(|cpu| world.memory.machine().kicks(cpu));
    world.memory.unmap(&world.spaces[0], va).unwrap();
    // CPU 1 runs another space, CPU 3 is idle.
    assert_eq!(kicks(), [0, 0, 1, 0]);
    let va = world.map(0, &region, WRITE);
    fake::enter(&world.memory, 2, None);
    world.memory.unmap(&world.spaces[0], va).unwrap();
    assert_eq!(kicks(), [0, 0, 1, 0]);
    world.finish(&[region]);
}

#[test]
fn only_cpus_that_run_one_of_the_spaces_are_interrupted() {
    let world = World::new(4);
    let region = world.region(1);
    for space in 0..2 {
        world.map(space, &region, WRITE);
    }
    // CPU 1 runs a space now that has not mapped it, CPU 2 one that has, and CPU 3 had both.
    fake::enter(&world.memory, 1, Some(&world.spaces[3]));
    fake::enter(&world.memory, 2, Some(&world.spaces[1]));
    for space in [Some(&world.spaces[0]), Some(&world.spaces[1]), None] {
        fake::enter(&world.memory, 3, space);
    }
    world.memory.seal(&region).unwrap();
    let kicks = [0, 1, 2, 3].map(|cpu| world.memory.machine().kicks(cpu));
    assert_eq!(kicks, [0, 0, 1, 0]);
    world.finish(&[region]);
}

#[test]
fn a_change_of_a_region_is_one_round_for_all_its_spaces() {
    let world = World::new(3);
    let region = world.region(1);
    for space in 0..3 {
        world.map(space, &region, WRITE);
    }
    world.memory.seal(&region).unwrap();
    let kicks = [0, 1, 2, 3].map(|cpu| world.memory.machine().kicks(cpu));
    assert_eq!(kicks, [0, 1, 1, 0]);
    assert_eq!(world.memory.shootdowns(), 1);
    world.finish(&[region]);
}

#[test]
fn up_to_32_pages_are_forgotten_one_by_one_and_more_at_once() {
    assert_eq!(
        Plan::range(4096, 32),
        Plan::Pages {
            va: 4096,
            count: 32
        }
    );
    assert_eq!(Plan::range(4096, 33), Plan::Full);
    assert_eq!(Plan::range(4096, 1 << 32), Plan::Full);
    for (pages, flushes) in [(1, (1, 0)), (32, (32, 0)), (33, (0, 1)), (512, (0, 1))] {
        let world = World::shared();
        let region = world.region(pages);
        let va = world.map(0, &region, WRITE);
        for cpu in [0, 1] {
            world.store(cpu, 0, page(va, pages - 1), 1).unwrap();
            world.memory.machine().take_flushes(cpu);
        }
        world.memory.unmap(&world.spaces[0], va).unwrap();
        for cpu in [0, 1] {
            let done = world.memory.machine().take_flushes(cpu);
            assert_eq!(done, flushes, "{pages} pages on CPU {cpu}");
            assert!(!world.reaches(cpu, page(va, pages - 1), Access::Read));
        }
        world.finish(&[region]);
    }
}

#[test]
fn a_page_that_all_spaces_have_at_one_address_is_forgotten_alone() {
    for (apart, flushes) in [(false, (1, 0)), (true, (0, 1))] {
        let world = World::new(2);
        let (region, before) = (world.region(40), world.region(1));
        if apart {
            world.map(1, &before, WRITE);
        }
        let vas = [0, 1].map(|space| world.map(space, &region, WRITE));
        assert_eq!(vas[0] != vas[1], apart);
        for (cpu, va) in vas.into_iter().enumerate() {
            world.store(cpu, cpu, page(va, 2), 5).unwrap();
            world.store(cpu, cpu, page(va, 3), 7).unwrap();
            world.memory.machine().take_flushes(cpu);
        }
        world.memory.decommit(&region, 3 * 4096, 4096).unwrap();
        for (cpu, va) in vas.into_iter().enumerate() {
            assert_eq!(world.memory.machine().take_flushes(cpu), flushes);
            assert_eq!(world.load(cpu, cpu, page(va, 3)), Ok(0));
            assert_eq!(world.load(cpu, cpu, page(va, 2)), Ok(5));
        }
        world.finish(&[region, before]);
    }
}

/// What a CPU does while another waits for it.
#[derive(Clone, Copy, Debug)]
enum Meanwhile {
    Enter { cpu: usize, space: Option<usize> },
    Touch { cpu: usize, page: u64 },
    Interrupt { cpu: usize },
}

fn meanwhile() -> impl Strategy<Value = Meanwhile> {
    let cpu = 1..CPUS;
    prop_oneof![
        2 => (cpu.clone(), prop::option::weighted(0.8, 0..2usize))
            .prop_map(|(cpu, space)| Meanwhile::Enter { cpu, space }),
        4 => (cpu.clone(), 0..40u64).prop_map(|(cpu, page)| Meanwhile::Touch { cpu, page }),
        1 => cpu.prop_map(|cpu| Meanwhile::Interrupt { cpu }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// CPUs switch, walk and take interrupts before CPU 0 takes something away and while it waits.
    #[test]
    fn whatever_cpus_do_meanwhile_none_reaches_what_was_taken_away(
        pages in 1u64..40,
        rounds in prop::collection::vec(
            (prop::collection::vec(meanwhile(), 0..12), prop::collection::vec(meanwhile(), 0..12), 0..3),
            1..6,
        ),
        seed: u64,
    ) {
        let config = fake::Config { frames: 512, cpus: CPUS, seed, ..fake::Config::default() };
        let world = World::of(2, config);
        for (before, during, how) in rounds {
            let region = world.region(pages);
            let vas = [world.map(0, &region, WRITE), world.map(1, &region, WRITE)];
            let step = {
                let (memory, spaces) = (Arc::downgrade(&world.memory), world.spaces.clone());
                move |step: Meanwhile| {
                    let memory = memory.upgrade().unwrap();
                    match step {
                        Meanwhile::Enter { cpu, space } => {
                            fake::enter(&memory, cpu, space.map(|space| &spaces[space]));
                        }
                        // Whatever it finds: a fault, or a frame that nobody has freed.
                        Meanwhile::Touch { cpu, page } => for va in vas {
                            let _ = memory.machine().read(cpu, common::page(va, page));
                        },
                        Meanwhile::Interrupt { cpu } => memory.machine().deliver(cpu),
                    }
                }
            };
            // What a round before left loaded on CPU 1 is any space.
            fake::enter(&world.memory, 1, Some(&world.spaces[1]));
            for number in [0, 1] {
                for at in 0..pages {
                    world.load(number, number, page(vas[number], at)).unwrap();
                }
            }
            before.into_iter().for_each(&step);
            let mut during = during.into_iter();
            let then = step.clone();
            world.memory.machine().set_while_waiting(move |_| {
                if let Some(next) = during.next() {
                    then(next);
                }
            });
            match how {
                0 => {
                    world.memory.unmap(&world.spaces[0], vas[0]).unwrap();
                    world.memory.unmap(&world.spaces[1], vas[1]).unwrap();
                }
                1 => world.memory.destroy_region(&region),
                _ => world.memory.seal(&region).unwrap(),
            }
            world.memory.machine().clear_hooks();
            let access = if how == 2 { Access::Write } else { Access::Read };
            for cpu in 0..CPUS {
                for va in vas {
                    for at in 0..pages {
                        prop_assert!(!world.reaches(cpu, page(va, at), access));
                    }
                }
            }
            world.memory.destroy_region(&region);
        }
        world.audit(&[]);
        world.finish(&[]);
    }
}
