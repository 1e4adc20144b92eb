//! The player of scripts, over rings in memory of this process.

mod script;

use abi::ring::{End, Geometry};
use ring::Polling;
use ring::memory::{ConsumerMemory, Owner, ProducerMemory};

use crate::common::Backing;

struct Formatted {
    backing: Backing,
    owner: Owner,
}

impl script::Shared for Formatted {
    type Wait = Polling;

    fn geometry(&self) -> Geometry {
        self.backing.geometry
    }

    fn producer(&self) -> (ProducerMemory, Polling) {
        (self.backing.producer_memory(), Polling)
    }

    fn consumer(&self) -> (ConsumerMemory, Polling) {
        (self.backing.consumer_memory(), Polling)
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
