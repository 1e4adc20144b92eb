//! What the clients of the demonstration ask for, which depends on the client and the number of the
//! request alone, and what must be there afterwards. Values have from 0 bytes to as many as can be.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;

use super::{Answer, MAX_VALUE, MIDDLING, Operation};

/// Keys that a client uses.
const KEYS: u32 = 12;
/// The keys from this one on have values that do not fit a message, and the last has one that may not fit
/// a slot of the pool either.
const MIDDLING_KEYS: u32 = 9;
/// Bytes of the values of the other keys at most.
const SMALL: usize = 64;
/// The sum of all additions of 1.
pub const HITS: &str = "hits";
/// The sum of the numbers of the clients that added it.
pub const CLIENTS: &str = "clients";

/// An operation of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    kind: Kind,
    key: String,
    value: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Get,
    Put,
    Remove,
    Add(u64),
}

impl Step {
    /// The `number`th of a client, from 1 on.
    pub fn of(client: usize, number: u32) -> Step {
        let mut random = fastrand::Rng::with_seed((client as u64) << 32 | u64::from(number));
        let kind = match random.u32(..10) {
            0..=2 => Kind::Get,
            3..=6 => Kind::Put,
            7 => Kind::Remove,
            8 => Kind::Add(1),
            _ => Kind::Add(client as u64),
        };
        let mut key = String::new();
        let mut longest = 0;
        match kind {
            Kind::Add(1) => key.push_str(HITS),
            Kind::Add(_) => key.push_str(CLIENTS),
            _ => {
                let number = random.u32(..KEYS);
                let _ = write!(key, "key {number}");
                longest = match number {
                    number if number == KEYS - 1 => MAX_VALUE,
                    MIDDLING_KEYS.. => MIDDLING,
                    _ => SMALL,
                };
            }
        }
        let mut value = Vec::new();
        if matches!(kind, Kind::Put) {
            // Those of no byte and of as many as can be are among them.
            let len = match random.u32(..8) {
                0 => 0,
                1 => longest,
                _ => random.usize(..=longest),
            };
            value.resize(len, 0);
            random.fill(&mut value);
        }
        Step { kind, key, value }
    }

    /// As it is asked for.
    pub fn operation(&self) -> Operation<'_> {
        let key = self.key.as_bytes();
        match self.kind {
            Kind::Get => Operation::Get(key),
            Kind::Put => Operation::Put(key, &self.value),
            Kind::Remove => Operation::Remove(key),
            Kind::Add(amount) => Operation::Add(key, amount),
        }
    }
}

/// What a client must have, and what it has added to sums.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// Its keys and values.
    pub values: BTreeMap<String, Vec<u8>>,
    /// To each sum, what it has added.
    pub added: BTreeMap<String, u64>,
}

impl Expected {
    /// After so many steps of a client.
    pub fn after(client: usize, steps: u32) -> Expected {
        let mut expected = Expected::default();
        for number in 1..=steps {
            expected.perform(&Step::of(client, number));
        }
        expected
    }

    /// One step further.
    pub fn perform(&mut self, step: &Step) {
        match step.kind {
            Kind::Get => {}
            Kind::Put => {
                self.values.insert(step.key.clone(), step.value.clone());
            }
            Kind::Remove => {
                self.values.remove(&step.key);
            }
            Kind::Add(amount) => *self.added.entry(step.key.clone()).or_default() += amount,
        }
    }

    /// Whether this may be the answer to the next step, as far as one client can know: others add to
    /// sums, too.
    pub fn allows(&self, step: &Step, answer: Answer<'_>) -> bool {
        let value = self.values.get(&step.key);
        match step.kind {
            Kind::Get => answer == value.map_or(Answer::Missing, |value| Answer::Value(value)),
            Kind::Put => answer == Answer::Done,
            Kind::Remove => answer == value.map_or(Answer::Missing, |_| Answer::Done),
            Kind::Add(amount) => {
                let least = self
                    .added
                    .get(&step.key)
                    .map_or(amount, |added| added + amount);
                let sum = match answer {
                    Answer::Value(sum) => sum.try_into().ok().map(u64::from_le_bytes),
                    _ => None,
                };
                sum.is_some_and(|sum| sum >= least)
            }
        }
    }
}
