//! The player of scripts, over rings in memory of this process.

mod script;

use std::cell::Cell;

use abi::ring::{End, Geometry};
use ring::memory::{ConsumerMemory, Owner, ProducerMemory};
use ring::{Error, Turn, Wait};

use crate::common::Backing;

/// Of an end that looks whether its peer sleeps, though none does: it is woken early, and the next time its deadline has
/// passed.
#[derive(Default)]
struct Watching {
    was_woken: Cell<bool>,
}

impl Wait for Watching {
    fn wait(&self, _seen: u32, _deadline_ns: u64) -> Result<(), Error> {
        let was_woken = self.was_woken.replace(!self.was_woken.get());
        match was_woken {
            true => Err(Error::TimedOut),
            false => Ok(()),
        }
    }

    fn wake(&self) {}
}

impl Turn<Watching> for Watching {}

struct Formatted {
    backing: Backing,
    owner: Owner,
}

impl script::Shared for Formatted {
    type Wait = Watching;

    fn geometry(&self) -> Geometry {
        self.backing.geometry
    }

    fn producer(&self) -> (ProducerMemory, Watching) {
        (self.backing.producer_memory(), Watching::default())
    }

    fn consumer(&self) -> (ConsumerMemory, Watching) {
        (self.backing.consumer_memory(), Watching::default())
    }

    fn index(&self, end: End) -> u32 {
        self.owner.index(end)
    }

    fn overwrite(&self, offset: usize, value: u32) {
        self.backing.overwrite(offset, value);
    }
}

/// Plays a script.
pub fn play(script: &[u8]) {
    script::play(script, |geometry, start| {
        let backing = Backing::new(geometry);
        let owner = backing.format(start);
        Formatted { backing, owner }
    });
}
