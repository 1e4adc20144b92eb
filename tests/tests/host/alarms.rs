//! The queue of alarms against a model, and what it promises about order.

use std::collections::BTreeMap;

use ipc::alarms::{Alarms, Key, Place};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Arm(u64),
    /// One of those that were ever armed.
    Cancel(prop::sample::Index),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..200_u64).prop_map(Step::Arm),
        1 => Just(Step::Arm(u64::MAX)),
        3 => any::<prop::sample::Index>().prop_map(Step::Cancel),
        2 => (0..40_u64).prop_map(Step::Pass),
    ]
}

proptest! {
    #[test]
    fn alarms_go_off_in_order_of_time_and_then_of_arming(
        seed: u64,
        steps in prop::collection::vec(step(), 1..200),
    ) {
        let mut alarms = Alarms::new();
        alarms.seed(seed);
        let mut model: BTreeMap<(u64, usize), Key> = BTreeMap::new();
        let mut armed: Vec<Key> = Vec::new();
        let mut now = 0;
        for step in steps {
            match step {
                Step::Arm(at) => {
                    let number = armed.len();
                    let key = alarms.arm(Place::new(), at, number);
                    prop_assert_eq!(key.at_ns(), at);
                    armed.push(key);
                    model.insert((at, number), key);
                }
                Step::Cancel(index) => {
                    let Some(number) = index_of(&index, armed.len()) else { continue };
                    let key = armed[number];
                    let expected = model.remove(&(key.at_ns(), number)).map(|_| number);
                    prop_assert_eq!(alarms.cancel(key).map(|(_, value)| value), expected);
                }
                Step::Pass(time) => {
                    now += time;
                    while let Some((_, number)) = alarms.pop_due(now) {
                        let ((at, expected), _) = model.pop_first().expect("nothing is armed");
                        prop_assert!(at <= now);
                        prop_assert_eq!(number, expected);
                    }
                }
            }
            let first = model.keys().next().map_or(u64::MAX, |(at, _)| *at);
            prop_assert_eq!(alarms.earliest_ns(), first);
            prop_assert_eq!(alarms.len(), model.len());
        }
    }
}

fn index_of(index: &prop::sample::Index, len: usize) -> Option<usize> {
    (len > 0).then(|| index.index(len))
}

#[test]
fn a_place_is_used_again_and_its_old_key_names_nothing() {
    let mut alarms = Alarms::new();
    let old = alarms.arm(Place::new(), 5, "first");
    let (place, value) = alarms.cancel(old).expect("it is armed");
    assert_eq!(value, "first");
    let new = alarms.arm(place, 5, "second");
    assert!(alarms.cancel(old).is_none());
    assert_eq!(alarms.cancel(new).map(|(_, value)| value), Some("second"));
    assert!(alarms.is_empty());
}
