//! The scripts that the fuzzer of submission rings has kept, played over rings of this kernel.

#[path = "../../../../../../tests/tests/host/hostile_process/script.rs"]
mod script;

use abi::ring::{CONSUMER_OFFSET, DATA_OFFSET, PRODUCER_OFFSET};
use abi::submission::Completion;
use abi::{Rights, SubmissionViews};
use rt::{Error, Handle, sys};
use script::{CELLS, OBJECTS, Process};

use super::hostile::{enter, raw_ring};
use crate::Case;
use crate::calls::{cap_derive, cap_drop, peek, peek_u32, poke, poke_u32, region};
use crate::check::succeeds;
use crate::objects::channel;

const SCRIPTS: &[&[u8]] = &include!(concat!(env!("OUT_DIR"), "/hostile_process.rs"));

struct Own {
    ring: Handle,
    views: SubmissionViews,
    objects: [Handle; OBJECTS],
}

impl Process for Own {
    fn object(&self, which: usize) -> u64 {
        self.objects[which].bits()
    }

    fn write(&self, index: u32, words: [u64; 8]) {
        let at = DATA_OFFSET as u64 + u64::from(index % CELLS) * 64;
        for (word, place) in words.into_iter().zip((0..).step_by(8)) {
            poke(self.views.submissions + at + place, word);
        }
    }

    fn publish(&self, tail: u32) {
        poke_u32(self.views.submissions + PRODUCER_OFFSET as u64, tail);
    }

    fn release(&self, head: u32) {
        poke_u32(self.views.completions + CONSUMER_OFFSET as u64, head);
    }

    fn taken(&self) -> u32 {
        peek_u32(self.views.submissions + CONSUMER_OFFSET as u64)
    }

    fn posted(&self) -> u32 {
        peek_u32(self.views.completions + PRODUCER_OFFSET as u64)
    }

    fn completion(&self, index: u32) -> Completion {
        let at = DATA_OFFSET as u64 + u64::from(index % CELLS) * 32;
        let word = |place| peek(self.views.completions + at + place);
        Completion {
            user_data: word(0),
            result: word(8),
            operation: word(16) as u32,
            reserved: (word(16) >> 32) as u32,
            reserved_after: word(24),
        }
    }

    fn enter(&self, submit: u32) -> Result<u64, Error> {
        enter(self.ring, submit)
    }

    fn happens(&self, what: u8) {
        // Each may be gone, and then nothing happens.
        match what % 4 {
            // SAFETY: the call touches no memory.
            0 => _ = unsafe { sys::signal(self.objects[0], 1 << (what / 4 % 8)) },
            1 => rt::yield_now(),
            2 => _ = rt::submission::register(self.objects[0]),
            _ => {
                let (other, _) = raw_ring(1, 1);
                done!(cap_drop(other), "dropping");
            }
        }
    }
}

pub fn corpus(case: &Case) {
    check!(SCRIPTS.len() > 20, "only {} scripts", SCRIPTS.len());
    let child = done!(case.child("nothing").start(), "a child");
    // SAFETY: the call touches no memory.
    done!(unsafe { sys::sub_slots(64, 2) }, "reserved slots");
    for script in SCRIPTS {
        let (ring, views) = raw_ring(CELLS, CELLS);
        let (end, other_end) = done!(channel(), "a channel");
        // SAFETY: the call touches no memory.
        let bell = done!(unsafe { sys::notify_create() }, "a notification");
        let way = done!(cap_derive(child.handle(), Rights::all()), "a handle");
        let objects = [bell, region(4096), end, other_end, region(8192), way];
        let process = Own {
            ring,
            views,
            objects,
        };
        script::play(script, &process);
        done!(cap_drop(ring), "dropping the ring");
        for object in objects {
            // The script may have dropped it, or given it away.
            let _ = cap_drop(object);
        }
    }
    succeeds(&child);
}
