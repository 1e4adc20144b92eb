//! Snapshots while other CPUs write, disturb and end what is copied, all at once, in threads (I2, I3,
//! I7, I11).

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;

use crate::common::{READ, WRITE, World, page};
use abi::Error;
use fake::Config;
use mm::{Region, RegionOptions};

/// Two writers, somebody who takes snapshots, and somebody who disturbs them, at once.
fn storm(disturb: impl Fn(&World, &Arc<Region>, u64) + Sync) {
    const PAGES: u64 = 6;
    const ROUNDS: u64 = 40;
    for seed in 0..4 {
        let world = World::of(
            3,
            Config {
                seed,
                ..Config::default()
            },
        );
        let region = world.region(PAGES);
        let vas: Vec<u64> = (0..2).map(|at| world.map(at, &region, WRITE)).collect();
        let running = AtomicUsize::new(2);
        let rounds = AtomicU64::new(0);
        let start = Barrier::new(4);
        let copies = thread::scope(|scope| {
            let (world, region, start, running) = (&world, &region, &start, &running);
            for (cpu, &va) in vas.iter().enumerate() {
                scope.spawn(move || {
                    start.wait();
                    // Page by page in order, so that no page is ever ahead of the one before.
                    for value in 1..=ROUNDS {
                        for at in 0..PAGES / 2 {
                            let at = cpu as u64 * (PAGES / 2) + at;
                            let _ = world.store(cpu, cpu, page(va, at), value);
                        }
                    }
                    running.fetch_sub(1, Ordering::Relaxed);
                });
            }
            let (disturb, rounds) = (&disturb, &rounds);
            scope.spawn(move || {
                start.wait();
                while running.load(Ordering::Relaxed) > 0 {
                    let round = rounds.fetch_add(1, Ordering::Relaxed);
                    fake::on_cpu(3, || disturb(world, region, round));
                    serve(world, 3);
                }
            });
            let taker = scope.spawn(move || {
                start.wait();
                let mut copies = Vec::new();
                while running.load(Ordering::Relaxed) > 0 && copies.len() < 12 {
                    let copy = fake::on_cpu(2, || {
                        world
                            .memory
                            .snapshot(world.memory.account(), region, 0, 0, false)
                    });
                    copies.extend(copy);
                    serve(world, 2);
                }
                copies
            });
            taker.join().unwrap()
        });
        for copy in &copies {
            for half in 0..2 {
                let words: Vec<u64> = (0..PAGES / 2)
                    .map(|at| world.word(copy, half * (PAGES / 2) + at))
                    .collect();
                // What was given back reads as zero.
                let written: Vec<u64> = words.iter().copied().filter(|word| *word > 0).collect();
                let (first, last) = (written.first(), written.last());
                let in_order = written.is_sorted_by(|one, next| one >= next)
                    && first.copied().unwrap_or(0) <= last.copied().unwrap_or(0) + 1;
                assert!(in_order, "{words:?} was never there at one time");
            }
        }
        let mut all = copies;
        let gone = world
            .memory
            .snapshot(world.memory.account(), &region, 0, 0, true);
        if gone.as_ref().err() != Some(&Error::Revoked) {
            all.push(region);
        }
        all.extend(gone);
        world.audit(&all);
        world.finish(&all);
    }
}

/// Lets a CPU answer what others want of it.
fn serve(world: &World, cpu: usize) {
    world.memory.machine().deliver(cpu);
    thread::yield_now();
}

#[test]
fn snapshots_beside_writers_each_show_one_instant() {
    storm(|_, _, _| ());
}

#[test]
fn snapshots_beside_decommit_and_commit_lose_nothing() {
    storm(|world, region, round| {
        let offset = round % 3 * 2 * 4096;
        world.memory.decommit(region, offset, 4096).unwrap();
        world.memory.commit(region, offset, 2 * 4096).unwrap();
    });
}

#[test]
fn snapshots_of_snapshots_that_come_and_go_lose_nothing() {
    storm(|world, region, round| {
        let Ok(first) = world
            .memory
            .snapshot(world.memory.account(), region, 0, 0, round % 2 == 0)
        else {
            return;
        };
        let second = world
            .memory
            .snapshot(world.memory.account(), &first, 0, 0, round % 3 == 0);
        let _ = world.set_word(&first, round % 6, 77);
        if let Ok(second) = second {
            let _ = world.set_word(&second, round % 6, 78);
            world.memory.destroy_region(&first);
            let _ = world.set_word(&second, (round + 1) % 6, 78);
            world.memory.destroy_region(&second);
        } else {
            world.memory.destroy_region(&first);
        }
    });
}

#[test]
fn snapshots_beside_a_seal_or_a_revoke_or_the_end_lose_nothing() {
    for how in 0..3 {
        storm(|world, region, round| {
            if round != 5 {
                return;
            }
            match how {
                0 => world.memory.seal(region).unwrap(),
                1 => {
                    world.permit.set_live(false);
                    world.memory.detach(region, |permit| !permit.is_live());
                }
                _ => world.memory.destroy_region(region),
            }
        });
    }
}

#[test]
fn overcommitted_snapshots_are_lost_while_others_write_and_nothing_else_is() {
    for seed in 0..6 {
        let world = World::of(
            3,
            Config {
                frames: 64,
                seed,
                ..Config::default()
            },
        );
        let region = world.region(6);
        let a = world.map(0, &region, WRITE);
        for at in 0..6 {
            world.store(0, 0, page(a, at), 7).unwrap();
        }
        let copies: Vec<_> = (0..3)
            .map(|_| {
                world
                    .memory
                    .snapshot(world.memory.account(), &region, 0, 0, true)
                    .unwrap()
            })
            .collect();
        let vas: Vec<u64> = (1..3)
            .map(|at| world.map(at, &copies[at - 1], WRITE))
            .collect();
        let options = RegionOptions::default();
        let left = fake::counts(&world.memory).available;
        let rest = world
            .memory
            .create_region(world.memory.account(), (left - 9) * 4096, options)
            .unwrap();
        thread::scope(|scope| {
            let world = &world;
            scope.spawn(move || {
                for value in 0..6 {
                    for at in 0..6 {
                        world.store(0, 0, page(a, at), 100 + value).unwrap();
                    }
                }
            });
            for (cpu, va) in [(1, vas[0]), (2, vas[1])] {
                scope.spawn(move || {
                    for at in 0..6 {
                        let written = world.store(cpu, cpu, page(va, at), 200);
                        if written.is_err() {
                            break;
                        }
                    }
                });
            }
        });
        for at in 0..6 {
            assert_eq!(world.load(0, 0, page(a, at)), Ok(105));
        }
        let mut all = vec![region, rest];
        all.extend(copies);
        world.audit(&all);
        world.finish(&all);
    }
}

#[test]
fn readers_of_a_shared_table_show_its_empty_pages_at_the_same_time() {
    for seed in 0..4 {
        let world = World::of(
            4,
            Config {
                seed,
                ..Config::default()
            },
        );
        let region = world.region(64);
        world.set_word(&region, 0, 7).unwrap();
        let mut all = vec![region];
        for _ in 0..3 {
            all.push(world.snapshot(&all[0]));
        }
        let vas: Vec<u64> = (0..4)
            .map(|at| world.map(at, &all[at], if at == 3 { WRITE } else { READ }))
            .collect();
        thread::scope(|scope| {
            let (world, vas) = (&world, &vas);
            for (cpu, &start) in vas.iter().enumerate() {
                scope.spawn(move || {
                    for at in 0..64 {
                        let expected = if at == 0 { 7 } else { 0 };
                        let va = page(start, at);
                        assert_eq!(world.load(cpu, cpu, va), Ok(expected));
                        if cpu == 3 && at % 8 == 0 {
                            world.store(cpu, cpu, va, 9).unwrap();
                        }
                    }
                });
            }
        });
        world.audit(&all);
        world.finish(&all);
    }
}
