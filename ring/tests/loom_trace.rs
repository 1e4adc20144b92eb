//! Every interleaving of the writer of a trace ring with its readers.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p handover-ring --release --test loom_trace`
#![cfg(loom)]

use loom::sync::Arc;
use loom::sync::atomic::AtomicU64;
use loom::thread;
use ring::trace::{Observed, Observer, Recorder, Slots};

/// Words of a slot: a head, and a body that could be another record's.
const WORDS: usize = 2;
const SLOTS: usize = 2;

#[derive(Clone)]
struct Ring(Arc<(AtomicU64, Vec<Vec<AtomicU64>>)>);

impl Ring {
    fn new() -> Ring {
        let slot = || (0..WORDS).map(|_| AtomicU64::new(0)).collect();
        Ring(Arc::new((
            AtomicU64::new(0),
            (0..SLOTS).map(|_| slot()).collect(),
        )))
    }
}

impl Slots for Ring {
    fn count(&self) -> &AtomicU64 {
        &self.0.0
    }

    fn len(&self) -> u64 {
        SLOTS as u64
    }

    fn slot(&self, index: u64) -> &[AtomicU64] {
        &self.0.1[index as usize % SLOTS]
    }
}

fn record(number: u64) -> [u64; WORDS] {
    [number << 32, number + 100]
}

/// Takes what there is and checks it; returns which record comes next.
fn drain(observer: &mut Observer<Ring>, mut next: u64) -> u64 {
    while let Some(observed) = observer.observe::<WORDS>() {
        match observed {
            Observed::Lost(count) => next += count,
            Observed::Record(words) => {
                assert_eq!(words[0] >> 32, next, "another record");
                assert_eq!(words[1..], record(next)[1..], "parts of two records");
                next += 1;
            }
        }
    }
    next
}

fn check(records: u64, preemptions: usize) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(move || {
        let ring = Ring::new();
        let reader = ring.clone();
        let mut observer = Observer::new(reader);
        let reading = thread::spawn(move || {
            let next = drain(&mut observer, 0);
            (observer, next)
        });
        let mut recorder = Recorder::new(ring);
        (0..records).for_each(|number| recorder.record(&record(number)));
        let (mut observer, next) = reading.join().unwrap();
        assert_eq!(drain(&mut observer, next), records);
    });
}

#[test]
fn a_reader_is_never_given_parts_of_two_records() {
    check(3, 2);
}

#[test]
fn a_reader_that_is_lapped_still_accounts_for_all() {
    check(5, 1);
}
