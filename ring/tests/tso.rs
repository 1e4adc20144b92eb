//! Every order in which x86 can run the sleep protocol of a ring, with all that the scheduler may do meanwhile.
//!
//! loom explores the ends themselves, in the symmetric form. Where the sleeper has the barrier executed for both sides, the proof
//! rests on what a CPU has not written yet, on which CPUs are asked, and on who has the end; loom knows neither. This is
//! a model of it with explicit store buffers, small enough to visit all states. Each thing that the protocol does is taken away in
//! turn, and the model has to find the wakeup that is lost.
#![cfg(not(loom))]

#[path = "tso/machine.rs"]
mod machine;
#[path = "tso/protocol.rs"]
mod protocol;

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use abi::ring::{End, Form};
use protocol::{Changed, State, World};

/// How many states there are, or the steps that lead to a lost wakeup.
fn explore(world: &World) -> Result<usize, Vec<&'static str>> {
    let begin = world.begin();
    let mut came_from: HashMap<State, Option<(State, &'static str)>> = HashMap::new();
    came_from.insert(begin.clone(), None);
    let mut open = std::collections::VecDeque::from([begin]);
    while let Some(state) = open.pop_front() {
        if world.is_lost(&state) {
            let mut trace = Vec::new();
            let mut at = &state;
            while let Some(Some((before, step))) = came_from.get(at) {
                trace.push(*step);
                at = before;
            }
            trace.reverse();
            return Err(trace);
        }
        for (step, next) in world.steps(&state) {
            came_from.entry(next.clone()).or_insert_with(|| {
                open.push_back(next);
                Some((state.clone(), step))
            });
        }
    }
    Ok(came_from.len())
}

const RUNNING: World = World {
    sleeper: End::Consumer,
    goal: 1,
    form: Form::Asymmetric,
    changed: Changed::Nothing,
    switches: 1,
    moves: false,
};
const MIGRATING: World = World {
    switches: 3,
    ..RUNNING
};
const MOVING: World = World {
    moves: true,
    switches: 3,
    ..RUNNING
};
const SYMMETRIC: World = World {
    form: Form::Symmetric,
    ..RUNNING
};
/// The producer sleeps: until one of two slots is free, or both are.
const FULL: World = World {
    sleeper: End::Producer,
    ..RUNNING
};
const FULL_AND_PATIENT: World = World { goal: 2, ..FULL };
const FULL_AND_MIGRATING: World = World {
    switches: 3,
    ..FULL
};
const FULL_AND_MOVING: World = World {
    moves: true,
    switches: 2,
    ..FULL
};
const FULL_AND_SYMMETRIC: World = World {
    form: Form::Symmetric,
    ..FULL
};

/// The worlds that were found safe, and how many states they have: several tests ask for the same.
static SAFE: Mutex<Vec<(World, usize)>> = Mutex::new(Vec::new());

/// Returns how many states there are.
#[track_caller]
fn assert_safe(world: World) -> usize {
    let mut safe = SAFE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, states)) = safe.iter().find(|(known, _)| *known == world) {
        return *states;
    }
    match explore(&world) {
        Ok(states) => {
            println!("{states} states of {world:?}");
            safe.push((world, states));
            states
        }
        Err(trace) => panic!("{world:?} loses a wakeup:\n  {}", trace.join("\n  ")),
    }
}

/// The change loses a wakeup in this world, which is safe without it.
#[track_caller]
fn assert_needed(changed: Changed, world: World) {
    assert_safe(world);
    if let Ok(states) = explore(&World { changed, ..world }) {
        panic!("{changed:?} loses nothing in {states} states");
    }
}

#[test]
fn no_wakeup_is_lost_while_publishers_are_switched_and_migrate() {
    assert_safe(RUNNING);
    assert_safe(MIGRATING);
}

#[test]
fn no_wakeup_is_lost_while_the_end_moves_to_another_process() {
    assert_safe(MOVING);
}

#[test]
fn no_wakeup_of_a_producer_is_lost_while_who_receives_is_switched_and_migrates() {
    assert_safe(FULL);
    assert_safe(FULL_AND_PATIENT);
    assert_safe(FULL_AND_MIGRATING);
    assert_safe(FULL_AND_SYMMETRIC);
}

#[test]
fn no_wakeup_of_a_producer_is_lost_while_the_end_moves_to_another_process() {
    assert_safe(FULL_AND_MOVING);
}

#[test]
fn the_holder_may_be_read_without_the_lock_if_it_is_read_again_under_it() {
    assert_safe(World {
        changed: Changed::HolderReadWithoutLock,
        ..MOVING
    });
}

#[test]
fn with_fences_on_both_sides_nobody_has_to_be_asked() {
    assert_safe(SYMMETRIC);
    assert_safe(World {
        form: Form::Symmetric,
        ..MIGRATING
    });
    assert_safe(World {
        form: Form::Symmetric,
        ..MOVING
    });
}

/// So that none go missing unnoticed.
#[test]
fn the_model_has_its_states() {
    assert!(assert_safe(RUNNING) > 600);
    assert!(assert_safe(MIGRATING) > 6_000);
    assert!(assert_safe(MOVING) > 100_000);
    assert!(assert_safe(FULL) > 600);
    assert!(assert_safe(FULL_AND_MOVING) > 10_000);
}

macro_rules! needed {
    ($($name:ident: $changed:ident in $world:ident;)*) => {
        $(#[test]
        fn $name() {
            assert_needed(Changed::$changed, $world);
        })*
    };
}

needed! {
    without_the_barrier_a_wakeup_is_lost: NoBarrier in RUNNING;
    a_barrier_before_the_announcement_loses_a_wakeup: BarrierFirst in RUNNING;
    a_fence_of_the_compiler_alone_at_the_sleeper_loses_a_wakeup: SleeperFencesForTheCompilerOnly in RUNNING;
    a_publisher_that_looks_before_it_publishes_loses_a_wakeup: PublisherLooksFirst in RUNNING;
    without_a_second_look_a_wakeup_is_lost: NotReadAgain in RUNNING;
    a_second_look_without_the_lock_loses_a_wakeup: ReadAgainWithoutLock in RUNNING;
    a_holder_that_is_read_once_and_without_the_lock_loses_a_wakeup: HolderNotRechecked in MOVING;
    a_peer_that_runs_nowhere_may_have_published_since_the_look: NobodyActiveBelieved in MIGRATING;
    a_load_of_a_root_that_is_no_barrier_loses_a_wakeup: RootIsNoBarrier in RUNNING;
    a_switch_that_is_told_after_the_root_is_loaded_loses_a_wakeup: ToldAfterRoot in RUNNING;
    a_first_visit_that_is_told_after_the_root_is_loaded_loses_a_wakeup: VisitedAfterRoot in MOVING;
    a_cpu_that_switches_and_is_not_asked_loses_a_wakeup: SwitchingNotAsked in RUNNING;
    an_end_that_moves_before_its_old_cpus_acknowledged_loses_a_wakeup: MovedBeforeAcknowledgement in MOVING;
    a_move_that_wakes_nobody_loses_what_its_old_holder_had_just_published: MoveWakesNobody in MOVING;
    without_the_publishers_fence_the_symmetric_form_loses_a_wakeup: NoWakeFence in SYMMETRIC;
    without_the_barrier_a_wakeup_of_a_producer_is_lost: NoBarrier in FULL;
    who_believes_its_look_before_it_gives_back_loses_a_wakeup: PublisherLooksFirst in FULL;
    who_keeps_what_it_received_from_a_ring_that_is_empty_loses_a_wakeup: EmptyRingNotGivenBack in FULL;
    without_a_second_look_at_the_head_a_wakeup_is_lost: NotReadAgain in FULL;
    without_the_fence_of_who_gives_back_the_symmetric_form_loses_a_wakeup: NoWakeFence in FULL_AND_SYMMETRIC;
    without_the_fence_of_a_producer_that_sleeps_the_symmetric_form_loses_a_wakeup: NoSleepFence in FULL_AND_SYMMETRIC;
    an_end_for_receiving_that_moves_before_its_old_cpus_acknowledged_loses_a_wakeup: MovedBeforeAcknowledgement in FULL_AND_MOVING;
    a_move_of_an_end_for_receiving_that_wakes_nobody_loses_a_wakeup: MoveWakesNobody in FULL_AND_MOVING;
    without_the_sleepers_fence_the_symmetric_form_loses_a_wakeup: NoSleepFence in SYMMETRIC;
}
