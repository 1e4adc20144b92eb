//! Where a right to reply can be when those end who call, who have it, and who are about to have it, each
//! alone and at once: the caller is told, or can still be answered, and nothing is left.

use std::sync::{Barrier, mpsc};

use crate::common::calls::{ROOMY, call, call_words, serve};
use crate::common::messages::{End, Ends};
use crate::common::realm::Realm;
use abi::{Error, FOREVER, Handle, HandleTransfer, Mode, Rights, Words};
use fake::FakeTask;

const ALL: Rights = Rights::all();

/// Who calls, who is called, and who gets the right from it.
const CALLER: usize = 0;
const SERVER: usize = 1;
const OTHER: usize = 2;

/// Where a right is.
struct Place {
    name: &'static str,
    /// Puts it there, after the call: by the end at which that comes, and both ends of a channel from the
    /// server to the third.
    put: fn(&Realm, End, &Ends),
    /// Whether a call of words is answered before, so that the next is handed over.
    warm: bool,
    /// Those who have it, together.
    holders: &'static [usize],
}

const NONE: Words = Words {
    words: [0; 4],
    reply: Handle::NONE,
    badge: 0,
};

fn received(realm: &Realm, there: End) -> Handle {
    there.receive_until(realm, FOREVER).unwrap().reply
}

const PLACES: &[Place] = &[
    Place {
        name: "in the queue",
        put: |_, _, _| {},
        warm: false,
        holders: &[SERVER],
    },
    Place {
        name: "received",
        put: |realm, there, _| _ = received(realm, there),
        warm: false,
        holders: &[SERVER],
    },
    Place {
        name: "received as words",
        put: |realm, there, _| _ = serve(realm, &there, Handle::NONE, [0; 4]).unwrap(),
        warm: false,
        holders: &[SERVER],
    },
    Place {
        name: "handed over",
        put: |_, _, _| {},
        warm: true,
        holders: &[SERVER],
    },
    Place {
        name: "given to another",
        put: |realm, there, _| {
            let right = received(realm, there);
            realm.give(SERVER, right, OTHER, Mode::Move);
        },
        warm: false,
        holders: &[OTHER],
    },
    Place {
        name: "offered to another",
        put: |realm, there, _| {
            let right = received(realm, there);
            realm.grant(SERVER, right, OTHER, Mode::Move, ALL).unwrap();
        },
        warm: false,
        holders: &[SERVER, OTHER],
    },
    Place {
        name: "in a message to another",
        put: |realm, there, way| {
            let right = received(realm, there);
            let moved = [HandleTransfer::new(right, Mode::Move, ALL)];
            way.here.send(realm, b"answer it", &moved).unwrap();
        },
        warm: false,
        holders: &[SERVER, OTHER],
    },
    Place {
        name: "taken from a message by another",
        put: |realm, there, way| {
            let right = received(realm, there);
            let moved = [HandleTransfer::new(right, Mode::Move, ALL)];
            way.here.send(realm, b"answer it", &moved).unwrap();
            let taken = way.there.receive(realm).unwrap();
            assert_ne!(taken.handles[0], Handle::NONE);
        },
        warm: false,
        holders: &[OTHER],
    },
];

/// Who ends: all sets of the three.
fn sets() -> impl Iterator<Item = Vec<usize>> {
    (0..8u8).map(|set| {
        let all = [CALLER, SERVER, OTHER];
        all.into_iter().filter(|who| set >> who & 1 != 0).collect()
    })
}

/// Has a call end with those of a set, and returns what it came to. Whoever goes on waiting is cancelled.
fn end(place: &Place, set: &[usize], words: bool) -> Result<(), Error> {
    let realm = Realm::new(3);
    let ends = Ends::between(&realm, CALLER, SERVER, 2);
    let way = Ends::between(&realm, SERVER, OTHER, 2);
    let told = std::thread::scope(|scope| {
        let (name, named) = mpsc::channel();
        let (realm, here, there) = (&realm, ends.here, ends.there);
        let caller = scope.spawn(move || {
            name.send(FakeTask::current()).unwrap();
            if place.warm {
                call_words(realm, &here, [1; 4]).unwrap();
            }
            let told = match words {
                true => call_words(realm, &here, [2; 4]).map(drop),
                false => call(realm, &here, &[2; 32], &[], ROOMY).map(drop),
            };
            realm.ipc.end_task(&FakeTask::current());
            told
        });
        let task = named.recv().unwrap();
        if place.warm {
            let first = serve(realm, &there, NONE.reply, NONE.words).unwrap();
            serve(realm, &there, first.reply, first.words).unwrap();
        }
        (place.put)(realm, there, &way);
        task.until_sleeping();
        let all = Barrier::new(set.len());
        std::thread::scope(|scope| {
            for &who in set {
                let (all, task) = (&all, &task);
                scope.spawn(move || {
                    all.wait();
                    match who {
                        CALLER => task.end(),
                        _ => realm.exit(who),
                    }
                });
            }
        });
        let gone = place.holders.iter().all(|holder| set.contains(holder));
        if !gone && !set.contains(&CALLER) {
            realm.ipc.cancel_wait(&task).unwrap();
        }
        caller.join().unwrap()
    });
    realm.finish();
    told
}

#[test]
fn whoever_ends_while_there_is_a_right_to_reply_the_caller_is_told_and_nothing_is_left() {
    for place in PLACES {
        for set in sets() {
            let gone = place.holders.iter().all(|holder| set.contains(holder));
            let mut possible = vec![];
            match (set.contains(&CALLER), gone) {
                (false, false) => possible.push(Error::Cancelled),
                (true, false) => possible.push(Error::Interrupted),
                (false, true) => possible.push(Error::PeerClosed),
                (true, true) => possible.extend([Error::Interrupted, Error::PeerClosed]),
            }
            for words in [false, true] {
                let told = end(place, &set, words).unwrap_err();
                let name = (place.name, &set, words);
                assert!(possible.contains(&told), "{name:?}: {told:?}");
            }
        }
    }
}
