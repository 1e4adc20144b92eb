//! The player of scripts of a process, over the kernel's half of a submission ring and the imitated machine.

mod script;

use abi::submission::{Completion, SubmissionArgs};
use abi::{Error, Handle};
use fake::Config;

use crate::common::ports::notification;
use crate::common::realm::Realm;
use crate::common::submissions::Submissions;
use script::{CELLS, OBJECTS, Process};

struct Fake {
    realm: Realm,
    ring: Submissions,
    /// What its indices begin with; those of scripts begin with 0.
    start: u32,
    objects: [Handle; OBJECTS],
}

impl Process for Fake {
    fn object(&self, which: usize) -> u64 {
        self.objects[which].bits()
    }

    fn write(&self, index: u32, words: [u64; 8]) {
        for (word, at) in words.into_iter().zip((0..).step_by(8)) {
            let place = self.ring.entry_at(self.start.wrapping_add(index)) + at;
            self.realm.store(0, 0, place, word).unwrap();
        }
    }

    fn publish(&self, tail: u32) {
        let tail = self.start.wrapping_add(tail);
        self.ring.publish_tail(&self.realm, tail);
    }

    fn release(&self, head: u32) {
        let head = self.start.wrapping_add(head);
        self.ring.release_head(&self.realm, head);
    }

    fn taken(&self) -> u32 {
        self.ring.released(&self.realm).wrapping_sub(self.start)
    }

    fn posted(&self) -> u32 {
        self.ring.posted(&self.realm)
    }

    fn completion(&self, index: u32) -> Completion {
        let index = self.start.wrapping_add(index);
        self.ring.completion_at(&self.realm, index)
    }

    fn enter(&self, submit: u32) -> Result<u64, Error> {
        self.ring.enter(&self.realm, submit, 0, 0)
    }

    fn happens(&self, what: u8) {
        let (ipc, domain) = (&self.realm.ipc, &self.realm.domains[0]);
        match what % 4 {
            0 => _ = ipc.signal(domain, self.objects[0], 1 << (what / 4 % 8)),
            1 => {
                self.realm.machine().advance_ns(u64::from(what));
                ipc.expire_timers(0, usize::MAX);
            }
            2 => _ = ipc.register(domain, self.objects[0], None),
            _ => {
                // Another ring, which learns and forgets what is registered.
                let args = SubmissionArgs::new(1, 1);
                if let Ok(other) = ipc.create_submission_ring(domain, &args) {
                    self.realm.drop_handle(0, other).unwrap();
                }
            }
        }
    }
}

/// Plays a script, from indices on that wrap soon, and from others. All that the process had is given back at the end.
pub fn play(script: &[u8]) {
    for start in [0, 0u32.wrapping_sub(5)] {
        play_from(start, script);
    }
}

fn play_from(start: u32, script: &[u8]) {
    let config = Config {
        frames: 192,
        ..Config::default()
    };
    let realm = Realm::of(2, config);
    realm.ipc.set_slots(&realm.domains[0], 4, 2).unwrap();
    let ends = realm.ipc.create_channel(&realm.domains[0], 2).unwrap();
    let objects = [
        notification(&realm, 0),
        realm.region(0, 1),
        ends.first,
        ends.second,
        realm.region(0, 2),
        realm.via[0][1],
    ];
    let sizes = SubmissionArgs::new(CELLS, CELLS);
    let ring = Submissions::with(&realm, 0, SubmissionArgs { start, ..sizes });
    let process = Fake {
        realm,
        ring,
        start,
        objects,
    };
    script::play(script, &process);
    process.realm.finish();
}
