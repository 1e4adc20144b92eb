//! The ready threads of a CPU: by urgency, in turn inside a level, each once.

#[path = "../../../kernel/src/sched/levels.rs"]
mod ready;

use std::collections::VecDeque;

use proptest::prelude::*;
use ready::{LEVELS, Levels};

const SLOTS: u16 = 24;

fn levels() -> Levels {
    let mut levels = Levels::new();
    levels.make_room(SLOTS.into());
    levels
}

#[test]
fn the_most_urgent_comes_first_and_those_of_a_level_in_turn() {
    let mut levels = levels();
    for (slot, level) in [(0, 3), (1, 31), (2, 3), (3, 1), (4, 31)] {
        levels.push_back(slot, level);
    }
    assert_eq!(levels.top(), Some(31));
    let order: Vec<_> = std::iter::from_fn(|| levels.pop()).collect();
    assert_eq!(order, [1, 4, 0, 2, 3]);
    assert_eq!(levels.top(), None);
}

#[test]
fn who_was_preempted_goes_on_before_the_others_of_its_level() {
    let mut levels = levels();
    levels.push_back(5, 7);
    levels.push_front(6, 7);
    levels.push_back(7, 7);
    assert_eq!(
        [levels.pop(), levels.pop(), levels.pop()],
        [Some(6), Some(5), Some(7)]
    );
}

#[test]
fn nobody_is_there_twice_or_after_being_taken_out() {
    let mut levels = levels();
    levels.push_back(2, 9);
    assert!(levels.remove(2));
    assert!(!levels.remove(2));
    assert_eq!((levels.top(), levels.pop()), (None, None));
    levels.push_back(2, 4);
    assert_eq!(levels.pop(), Some(2));
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Back(u16, u8),
    Front(u16, u8),
    Pop,
    Remove(u16),
}

fn step() -> impl Strategy<Value = Step> {
    let level = 0..LEVELS as u8;
    prop_oneof![
        3 => (0..SLOTS, level.clone()).prop_map(|(slot, level)| Step::Back(slot, level)),
        1 => (0..SLOTS, level).prop_map(|(slot, level)| Step::Front(slot, level)),
        2 => Just(Step::Pop),
        2 => (0..SLOTS).prop_map(Step::Remove),
    ]
}

proptest! {
    #[test]
    fn any_steps_answer_as_a_queue_for_each_level(steps in proptest::collection::vec(step(), 0..200)) {
        let mut levels = levels();
        let mut model = vec![VecDeque::new(); LEVELS];
        for step in steps {
            let queued = |model: &[VecDeque<u16>], slot| model.iter().any(|queue| queue.contains(&slot));
            match step {
                Step::Back(slot, level) if !queued(&model, slot) => {
                    levels.push_back(slot, level);
                    model[usize::from(level)].push_back(slot);
                }
                Step::Front(slot, level) if !queued(&model, slot) => {
                    levels.push_front(slot, level);
                    model[usize::from(level)].push_front(slot);
                }
                Step::Back(..) | Step::Front(..) => {}
                Step::Pop => {
                    let expected = model.iter_mut().rev().find_map(VecDeque::pop_front);
                    prop_assert_eq!(levels.pop(), expected);
                }
                Step::Remove(slot) => {
                    prop_assert_eq!(levels.remove(slot), queued(&model, slot));
                    model.iter_mut().for_each(|queue| queue.retain(|other| *other != slot));
                }
            }
            let top = model.iter().rposition(|queue| !queue.is_empty());
            prop_assert_eq!(levels.top().map(usize::from), top);
        }
    }
}
