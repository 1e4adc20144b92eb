//! Failing everything that can fail, one after the other, in every step of a program (I9).

use std::collections::BTreeMap;

use abi::Error;

use crate::subject::Subject;
use crate::{FRAMES, Outcome, Program, Run};

/// Times that one step may ask for something before it is taken to ask for ever.
const MAX_CALLS: u64 = 4096;

/// Something that can be made to fail.
pub trait Injection {
    /// Lets it succeed so many times, then fail once.
    fn arm(&self, subject: &Subject, calls: u64);

    /// Lets it succeed from now on. True when it has failed.
    fn disarm(&self, subject: &Subject) -> bool;

    /// What a step has to answer that fails for it.
    fn error(&self) -> Error {
        Error::NoMemory
    }
}

/// Nothing fails.
pub(crate) struct Nothing;

impl Injection for Nothing {
    fn arm(&self, _: &Subject, _: u64) {}

    fn disarm(&self, _: &Subject) -> bool {
        false
    }
}

/// Taking a frame, or the promise of some.
pub struct Frames;

impl Injection for Frames {
    fn arm(&self, subject: &Subject, calls: u64) {
        subject.machine().fail_after(calls);
    }

    fn disarm(&self, subject: &Subject) -> bool {
        subject.machine().stop_failing()
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
