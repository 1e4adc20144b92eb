//! Failing everything that can fail, one after the other, in every step of a program (I9).

use std::cell::RefCell;
use std::collections::BTreeMap;

use abi::{Error, Resources};
use mm::Charge;

use crate::subject::{Answer, QUOTA, Subject};
use crate::{FRAMES, Outcome, PROCESSES, Program, Run};

/// Times that one step may ask for something before it is taken to ask for ever.
const MAX_CALLS: u64 = 4096;

/// Something that can be made to fail.
pub trait Injection {
    /// Lets it succeed so many times, then fail once.
    fn arm(&self, subject: &Subject, calls: u64);

    /// Lets it succeed from now on. True when it has failed in a step that was answered so.
    fn disarm(&self, subject: &Subject, answer: Option<Answer>) -> bool;

    /// What a step has to answer that fails for it.
    fn error(&self) -> Error {
        Error::NoMemory
    }
}

/// Nothing fails.
pub(crate) struct Nothing;

impl Injection for Nothing {
    fn arm(&self, _: &Subject, _: u64) {}

    fn disarm(&self, _: &Subject, _: Option<Answer>) -> bool {
        false
    }
}

/// Taking a frame, or the promise of some.
pub struct Frames;

impl Injection for Frames {
    fn arm(&self, subject: &Subject, calls: u64) {
        subject.machine().fail_after(calls);
    }

    fn disarm(&self, subject: &Subject, _: Option<Answer>) -> bool {
        subject.machine().stop_failing()
    }
}

/// What is charged to the account of a process, whichever it is: all but a little of one resource is
/// taken before a step.
#[derive(Debug)]
pub struct Charges {
    /// What of so many units is taken.
    of: fn(u64) -> Resources,
    /// How much of it accounts have.
    amount: fn(Resources) -> u64,
    /// How much more is left each time: as little as tells the single charges of a step apart.
    unit: u64,
    taken: RefCell<Vec<Charge>>,
}

impl Charges {
    fn new(of: fn(u64) -> Resources, amount: fn(Resources) -> u64, unit: u64) -> Charges {
        let taken = RefCell::default();
        Charges {
            of,
            amount,
            unit,
            taken,
        }
    }

    /// Of pages.
    pub fn frames() -> Charges {
        Charges::new(Resources::frames, |resources| resources.frames, 37)
    }

    /// Of page tables.
    pub fn tables() -> Charges {
        Charges::new(Resources::tables, |resources| resources.tables, 1)
    }

    /// Of the bytes of records.
    pub fn bytes() -> Charges {
        Charges::new(Resources::bytes, |resources| resources.bytes, 192)
    }
}

impl Injection for Charges {
    fn arm(&self, subject: &Subject, calls: u64) {
        let running = (0..PROCESSES).filter_map(|place| subject.domain(place));
        let taken = running.map(|domain| {
            let account = domain.account();
            let free = (self.amount)(QUOTA) - (self.amount)(account.used());
            let taken = account.charge((self.of)(free.saturating_sub(calls * self.unit)));
            taken.expect("it is free")
        });
        self.taken.replace(taken.collect());
    }

    fn disarm(&self, _: &Subject, answer: Option<Answer>) -> bool {
        self.taken.take();
        answer == Some(Err(self.error()))
    }

    fn error(&self) -> Error {
        Error::Quota
    }
}

/// How often each kind of step was made to fail.
#[derive(Clone, Debug, Default)]
pub struct Sweep {
    /// By the name of the step.
    pub failures: BTreeMap<&'static str, u64>,
}

impl Sweep {
    /// Runs a program. Each step is tried with the first, the second, … thing that it asks for
    /// failing, until none does; after each failure everything is as it was before.
    ///
    /// # Panics
    /// When it is not, or whatever else is wrong.
    pub fn run(&mut self, program: &Program, seed: u64, injection: &impl Injection) {
        let mut run = Run::new(seed, FRAMES);
        for step in &program.0 {
            let before = run.digest();
            for calls in 0.. {
                assert!(calls < MAX_CALLS, "{step} asks for ever");
                if run.attempt(*step, injection, calls) != Outcome::Failed {
                    break;
                }
                *self.failures.entry(step.name()).or_default() += 1;
                let after = run.digest();
                assert_eq!(after, before, "{step} failed after {calls} calls");
                run.check(false);
            }
            run.check(false);
        }
        run.finish();
    }
}
