//! Every interleaving of CPUs that edit, wait and free with CPUs that walk, switch and go idle, up
//! to a bound on preemptions: no CPU uses a frame through its TLB after the frame was freed (I2),
//! and every wait ends (I12).
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p handover-mm --release --test loom_shootdown`
#![cfg(loom)]

mod loom_machine;

use std::sync::Arc;

use loom::sync::atomic::{AtomicU64, Ordering};
use loom::thread;
use loom_machine::{Memory, become_cpu, explore, interrupt, machine, plan, switch, touch};
use mm::{AddressSpace, Plan, Stale};

type Spaces = Arc<[AddressSpace; 2]>;

/// Starts what a CPU does in a thread.
fn cpu(
    memory: &Arc<Memory>,
    spaces: &Spaces,
    id: usize,
    work: impl FnOnce(&Memory, &[AddressSpace; 2]) + Send + 'static,
) -> thread::JoinHandle<()> {
    let (memory, spaces) = (memory.clone(), spaces.clone());
    thread::spawn(move || {
        become_cpu(&memory, id);
        work(&memory, &spaces);
    })
}

/// Takes a page of a space away from everybody, and frees its frame.
fn take_away(memory: &Memory, space: &AddressSpace, number: usize, page: usize) {
    memory.machine().clear(number, page);
    Stale::model(memory, (), space, plan(page)).wait(memory);
    memory.machine().free(number, page);
}

/// One CPU takes a page of space 0 away while another does some `work`.
fn against(work: impl Fn(&Memory, &[AddressSpace; 2]) + Clone + Sync + Send + 'static) {
    explore(3, move || {
        let (memory, spaces) = machine();
        let work = work.clone();
        let other = cpu(&memory, &spaces, 1, move |memory, spaces| {
            work(memory, spaces);
            memory.machine().rest(memory, false, 1);
        });
        become_cpu(&memory, 0);
        take_away(&memory, &spaces[0], 0, 0);
        memory.machine().rest(&memory, true, 1);
        other.join().unwrap();
    });
}

#[test]
fn a_cpu_that_enters_sees_the_edit_or_is_waited_for() {
    against(|memory, spaces| {
        switch(memory, Some(&spaces[0]));
        touch(memory, 0);
        touch(memory, 0);
    });
}

#[test]
fn a_cpu_uses_what_it_has_cached_until_it_is_told_and_not_longer() {
    explore(3, || {
        let (memory, spaces) = machine();
        let inside = loom::sync::Arc::new(loom::sync::Notify::new());
        let told = inside.clone();
        let other = cpu(&memory, &spaces, 1, move |memory, spaces| {
            switch(memory, Some(&spaces[0]));
            touch(memory, 0);
            told.notify();
            touch(memory, 0);
            touch(memory, 0);
            memory.machine().rest(memory, false, 1);
        });
        become_cpu(&memory, 0);
        inside.wait();
        take_away(&memory, &spaces[0], 0, 0);
        memory.machine().rest(&memory, true, 1);
        other.join().unwrap();
    });
}

#[test]
fn a_cpu_that_switches_to_another_space_forgets_or_acknowledges() {
    against(|memory, spaces| {
        switch(memory, Some(&spaces[0]));
        touch(memory, 0);
        switch(memory, Some(&spaces[1]));
        touch(memory, 0);
    });
}

#[test]
fn a_cpu_that_switches_to_the_space_forgets_or_acknowledges() {
    against(|memory, spaces| {
        switch(memory, Some(&spaces[1]));
        touch(memory, 0);
        switch(memory, Some(&spaces[0]));
        touch(memory, 0);
    });
}

#[test]
fn a_cpu_that_comes_back_sees_the_edit_or_is_waited_for() {
    against(|memory, spaces| {
        switch(memory, Some(&spaces[0]));
        touch(memory, 0);
        switch(memory, Some(&spaces[1]));
        memory.resume_space(&spaces[0]);
        touch(memory, 0);
    });
}

#[test]
fn a_cpu_that_goes_idle_is_waited_for_until_it_has_left() {
    against(|memory, spaces| {
        switch(memory, Some(&spaces[0]));
        touch(memory, 0);
        switch(memory, None);
        // Idle CPUs walk nothing, and answer what was asked of them before.
        touch(memory, 0);
    });
}

#[test]
fn two_cpus_that_take_away_at_once_both_go_on() {
    explore(2, || {
        let (memory, spaces) = machine();
        let work = |page: usize| {
            move |memory: &Memory, spaces: &[AddressSpace; 2]| {
                switch(memory, Some(&spaces[0]));
                touch(memory, 1 - page);
                take_away(memory, &spaces[0], 0, page);
                touch(memory, 1 - page);
                memory.machine().rest(memory, true, 2);
            }
        };
        let other = cpu(&memory, &spaces, 1, work(1));
        become_cpu(&memory, 0);
        work(0)(&memory, &spaces);
        other.join().unwrap();
    });
}

#[test]
fn one_cpu_answers_two_that_take_away_at_once() {
    explore(1, || {
        let (memory, spaces) = machine();
        let asks = |page: usize| {
            move |memory: &Memory, spaces: &[AddressSpace; 2]| {
                take_away(memory, &spaces[0], 0, page);
                memory.machine().rest(memory, true, 2);
            }
        };
        let first = cpu(&memory, &spaces, 1, asks(1));
        let second = cpu(&memory, &spaces, 2, asks(0));
        become_cpu(&memory, 0);
        switch(&memory, Some(&spaces[0]));
        touch(&memory, 1);
        touch(&memory, 0);
        memory.machine().rest(&memory, false, 2);
        first.join().unwrap();
        second.join().unwrap();
    });
}

#[test]
fn one_round_reaches_the_cpus_of_all_spaces() {
    explore(1, || {
        let (memory, spaces) = machine();
        let runs = |number: usize| {
            move |memory: &Memory, spaces: &[AddressSpace; 2]| {
                switch(memory, Some(&spaces[number]));
                touch(memory, 0);
                memory.machine().rest(memory, false, 1);
            }
        };
        let first = cpu(&memory, &spaces, 1, runs(0));
        let second = cpu(&memory, &spaces, 2, runs(1));
        become_cpu(&memory, 0);
        (0..2).for_each(|number| memory.machine().clear(number, 0));
        Stale::model_of_all(&memory, (), &[&spaces[0], &spaces[1]], plan(0)).wait(&memory);
        (0..2).for_each(|number| memory.machine().free(number, 0));
        memory.machine().rest(&memory, true, 1);
        first.join().unwrap();
        second.join().unwrap();
    });
}

/// A program stores and then looks without a fence; whoever stores, passes a barrier and then looks
/// misses nothing that the program did not see.
#[test]
fn a_barrier_stands_in_for_the_fence_of_the_other_cpu() {
    explore(3, || {
        let (memory, spaces) = machine();
        let words = loom::sync::Arc::new([AtomicU64::new(0), AtomicU64::new(0)]);
        let theirs = words.clone();
        let seen = loom::sync::Arc::new(AtomicU64::new(0));
        let told = seen.clone();
        let inside = loom::sync::Arc::new(loom::sync::Notify::new());
        let entered = inside.clone();
        let other = cpu(&memory, &spaces, 1, move |memory, spaces| {
            switch(memory, Some(&spaces[0]));
            entered.notify();
            interrupt(memory);
            theirs[0].store(1, Ordering::Relaxed);
            interrupt(memory);
            told.store(theirs[1].load(Ordering::Relaxed), Ordering::Relaxed);
            memory.machine().rest(memory, false, 1);
        });
        become_cpu(&memory, 0);
        inside.wait();
        words[1].store(1, Ordering::Relaxed);
        Stale::model(&memory, (), &spaces[0], Plan::Barrier).wait(&memory);
        let looked = words[0].load(Ordering::Relaxed);
        memory.machine().rest(&memory, true, 1);
        other.join().unwrap();
        assert!(looked == 1 || seen.load(Ordering::Relaxed) == 1);
    });
}

/// The same where the CPU comes and goes without being interrupted.
#[test]
fn who_comes_and_goes_beside_a_barrier_has_executed_one() {
    explore(3, || {
        let (memory, spaces) = machine();
        let words = loom::sync::Arc::new([AtomicU64::new(0), AtomicU64::new(0)]);
        let theirs = words.clone();
        let seen = loom::sync::Arc::new(AtomicU64::new(0));
        let told = seen.clone();
        let other = cpu(&memory, &spaces, 1, move |memory, spaces| {
            switch(memory, Some(&spaces[0]));
            theirs[0].store(1, Ordering::Relaxed);
            told.store(theirs[1].load(Ordering::Relaxed), Ordering::Relaxed);
            switch(memory, None);
            memory.machine().rest(memory, false, 1);
        });
        become_cpu(&memory, 0);
        words[1].store(1, Ordering::Relaxed);
        Stale::model(&memory, (), &spaces[0], Plan::Barrier).wait(&memory);
        let looked = words[0].load(Ordering::Relaxed);
        memory.machine().rest(&memory, true, 1);
        other.join().unwrap();
        assert!(looked == 1 || seen.load(Ordering::Relaxed) == 1);
    });
}
