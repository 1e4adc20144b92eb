//! Who uses registered handles in which ring, and who waits for them to be let go, beside a model.

mod common;

use abi::submission::{Registered, Submission};
use abi::{Error, FOREVER};
use common::ports::notification;
use common::realm::Realm;
use common::registered::{Done, by, register_entry, settle, unregister_entry, wait_by};
use common::submissions::{Submissions, cancel};
use proptest::prelude::*;

/// What a process does with three handles, each in a slot of its own, by two rings.
#[derive(Clone, Copy, Debug)]
enum Act {
    Register {
        ring: usize,
        slot: usize,
    },
    Use {
        ring: usize,
        slot: usize,
    },
    LetGo {
        ring: usize,
        slot: usize,
        deadline_ns: u64,
    },
    Cancel {
        which: usize,
    },
    End {
        ring: usize,
    },
}

fn act() -> impl Strategy<Value = Act> {
    let at = || (0..2usize, 0..3usize);
    prop_oneof![
        4 => at().prop_map(|(ring, slot)| Act::Register { ring, slot }),
        5 => at().prop_map(|(ring, slot)| Act::Use { ring, slot }),
        4 => (at(), prop_oneof![Just(0), Just(FOREVER)])
            .prop_map(|((ring, slot), deadline_ns)| Act::LetGo { ring, slot, deadline_ns }),
        5 => any::<usize>().prop_map(|which| Act::Cancel { which }),
        1 => (0..2usize).prop_map(|ring| Act::End { ring }),
    ]
}

/// A slot as it should be.
#[derive(Clone, Debug)]
struct Slot {
    id: Registered,
    live: bool,
    /// Rings and numbers of the operations that use it, and of the one that has it retire.
    users: Vec<(usize, u64)>,
    retirer: Option<(usize, u64)>,
}

impl Slot {
    /// Nobody uses it.
    fn free(&mut self) {
        self.live = false;
        self.id = self.id.next().expect("generations are left");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Against a model that knows who uses what: every entry says what it should, when it should.
    #[test]
    fn operations_and_those_who_wait_for_them_complete_as_the_model_says(
        acts in prop::collection::vec(act(), 1..60),
    ) {
        let realm = Realm::new(1);
        realm.ipc.set_slots(&realm.domains[0], 3, 3).unwrap();
        let mut rings = [(); 2].map(|()| Submissions::new(&realm, 0, 64, 64));
        let bells = [(); 3].map(|()| notification(&realm, 0));
        let mut slots = [0, 1, 2].map(|slot| Slot {
            id: Registered::new(slot, 1),
            live: false,
            users: Vec::new(),
            retirer: None,
        });
        for (number, act) in (100..).zip(acts) {
            let mut wanted: [Done; 2] = Default::default();
            match act {
                Act::Register { ring, slot: at } => {
                    let slot = &mut slots[at];
                    let outcome = match slot.live {
                        true => Err(Error::Exists),
                        false => Ok(slot.id.bits()),
                    };
                    slot.live = true;
                    rings[ring].push(&realm, register_entry(number, bells[at], at as u64));
                    wanted[ring].push((number, outcome));
                }
                Act::Use { ring, slot: at } => {
                    let slot = &mut slots[at];
                    let entry = Submission { user_data: number, ..wait_by(slot.id, FOREVER) };
                    rings[ring].push(&realm, entry);
                    match slot.live && slot.retirer.is_none() {
                        true => slot.users.push((ring, number)),
                        false => wanted[ring].push((number, Err(Error::NotFound))),
                    }
                }
                Act::LetGo { ring, slot: at, deadline_ns } => {
                    let slot = &mut slots[at];
                    rings[ring].push(&realm, unregister_entry(number, slot.id, deadline_ns));
                    if !slot.live {
                        wanted[ring].push((number, Err(Error::NotFound)));
                    } else if slot.retirer.is_some() || deadline_ns == 0 && !slot.users.is_empty() {
                        wanted[ring].push((number, Err(Error::Busy)));
                    } else if slot.users.is_empty() {
                        slot.free();
                        wanted[ring].push((number, Ok(0)));
                    } else {
                        slot.retirer = Some((ring, number));
                    }
                }
                Act::Cancel { which } => {
                    let all = slots.iter().flat_map(|slot| slot.users.iter().chain(&slot.retirer));
                    let all: Vec<_> = all.copied().collect();
                    let Some(&(ring, target)) = all.get(which % all.len().max(1)) else {
                        continue;
                    };
                    rings[ring].push(&realm, cancel(number, target));
                    wanted[ring].extend([(number, Ok(1)), (target, Err(Error::Cancelled))]);
                    for slot in &mut slots {
                        slot.users.retain(|user| user.1 != target);
                        slot.retirer = slot.retirer.filter(|retirer| retirer.1 != target);
                        if slot.users.is_empty() && let Some((ring, retirer)) = slot.retirer.take() {
                            slot.free();
                            wanted[ring].push((retirer, Ok(0)));
                        }
                    }
                }
                Act::End { ring } => {
                    realm.drop_handle(0, rings[ring].handle).unwrap();
                    rings[ring] = Submissions::new(&realm, 0, 64, 64);
                    for slot in &mut slots {
                        slot.users.retain(|user| user.0 != ring);
                        slot.retirer = slot.retirer.filter(|retirer| retirer.0 != ring);
                        if slot.users.is_empty() && let Some((ring, retirer)) = slot.retirer.take() {
                            slot.free();
                            wanted[ring].push((retirer, Ok(0)));
                        }
                    }
                }
            }
            for ring in &rings {
                let more = ring.tail.wrapping_sub(ring.released(&realm));
                prop_assert_eq!(ring.enter(&realm, more, 0, 0), Ok(more.into()));
            }
            for (ring, wanted) in rings.iter_mut().zip(&mut wanted) {
                wanted.sort_unstable_by_key(|done| done.0);
                prop_assert_eq!(&settle(&realm, ring), wanted, "{:?}", act);
            }
            for slot in &slots {
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
