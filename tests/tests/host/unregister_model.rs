//! Who uses registered handles in which ring, and who waits for them to be let go, beside a model: in batches whose entries are
//! linked or not.

mod model;

use crate::common::ports::notification;
use crate::common::realm::Realm;
use crate::common::registered::by;
use crate::common::submissions::Submissions;
use abi::submission::{Submission, SubmissionArgs};
use abi::{Error, FOREVER};
use model::{Drawn, Model, RINGS, SLOTS};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Act {
    /// Entries with whether each is linked to the next, of which so many are taken at once.
    Batch {
        ring: usize,
        entries: Vec<(Drawn, bool)>,
        at_once: usize,
    },
    End {
        ring: usize,
    },
}

fn drawn() -> impl Strategy<Value = Drawn> {
    let number = || (0..SLOTS, prop::bool::weighted(0.2));
    let deadline = prop_oneof![1 => Just(0), 2 => Just(FOREVER)];
    prop_oneof![
        4 => (0..SLOTS).prop_map(Drawn::Register),
        5 => number().prop_map(|(slot, next)| Drawn::Use(slot, next)),
        4 => (number(), deadline).prop_map(|((slot, next), deadline_ns)| {
            Drawn::LetGo(slot, next, deadline_ns)
        }),
        6 => any::<usize>().prop_map(Drawn::Cancel),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    let entries = prop::collection::vec((drawn(), prop::bool::weighted(0.4)), 1..6);
    prop_oneof![
        12 => (0..RINGS, entries, 1..6usize).prop_map(|(ring, entries, at_once)| {
            Act::Batch { ring, entries, at_once }
        }),
        1 => (0..RINGS).prop_map(|ring| Act::End { ring }),
    ]
}

/// The same of the rings.
fn settle(realm: &Realm, rings: &[Submissions; RINGS]) {
    while let Some(ring) = rings.iter().find(|ring| ring.says_due(realm)) {
        while ring.says_due(realm) {
            assert_eq!(ring.enter(realm, 0, 0, 0), Ok(0));
        }
    }
}

/// A ring whose indices wrap before its end.
fn ring(realm: &Realm) -> Submissions {
    let sizes = SubmissionArgs::new(8, 256);
    let start = 0u32.wrapping_sub(9);
    Submissions::with(realm, 0, SubmissionArgs { start, ..sizes })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Against a model that knows who uses what: every entry says what it should, when it should.
    #[test]
    fn operations_and_those_who_wait_for_them_complete_as_the_model_says(
        acts in prop::collection::vec(act(), 1..40),
    ) {
        let realm = Realm::new(1);
        realm.ipc.set_slots(&realm.domains[0], SLOTS as u64, SLOTS as u64).unwrap();
        let mut rings = [(); RINGS].map(|()| ring(&realm));
        let bells = [(); SLOTS].map(|()| notification(&realm, 0));
        let mut model = Model::new();
        for (first, act) in (100..).step_by(10).zip(acts) {
            match &act {
                Act::Batch { ring: at, entries, at_once } => {
                    let ring = &mut rings[*at];
                    let drawn = (first..).zip(entries);
                    let entries: Vec<_> = drawn
                        .map(|(number, &(drawn, linked))| model.entry(number, first, drawn, linked))
                        .collect();
                    for entry in &entries {
                        ring.push(&realm, entry.to_submission(&bells));
                    }
                    for entries in entries.chunks(*at_once) {
                        let count = entries.len() as u32;
                        prop_assert_eq!(ring.enter(&realm, count, 0, 0), Ok(count.into()));
                        model.serve(*at, entries);
                    }
                }
                Act::End { ring: at } => {
                    realm.drop_handle(0, rings[*at].handle).unwrap();
                    rings[*at] = ring(&realm);
                    model.end(*at);
                }
            }
            settle(&realm, &rings);
            model.settle();
            for (ring, desk) in rings.iter_mut().zip(&mut model.desks) {
                let mut done = ring.reap(&realm);
                done.sort_unstable_by_key(|done| done.0);
                desk.done.sort_unstable_by_key(|done| done.0);
                prop_assert_eq!(done, std::mem::take(&mut desk.done), "{:?}", act);
            }
            for slot in &model.slots {
                let knows = slot.live && slot.retirer.is_none();
                let probe = Submission { user_data: 1, ..by(slot.id, 0) };
                // No bits are no signal, which a ring says that knows the number.
                let outcome = if knows { Error::Invalid } else { Error::NotFound };
                for ring in &mut rings {
                    prop_assert_eq!(ring.run(&realm, &[probe]), [(1, Err(outcome))]);
                }
            }
        }
        realm.finish();
    }
}
