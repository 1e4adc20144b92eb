//! Running programs, searching for one that fails, and making it short.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt::{Debug, Display};
use std::panic::{AssertUnwindSafe, catch_unwind};

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::{Outcome, Program, Run};

/// How often every word of every page is looked at.
const WHOLE_EVERY: usize = 16;

/// Attempts to make a failing program shorter.
const SHRINKS: u32 = 4096;

/// How often steps of each name were answered how.
pub type Tally = BTreeMap<(&'static str, &'static str), u64>;

/// Runs a program on both, comparing everything after each step.
///
/// # Panics
/// When the crates and the model differ, or the crates break a rule of their own.
pub fn execute(program: &Program, seed: u64, frames: u64, tally: &mut Tally) {
    let mut run = Run::new(seed, frames);
    for (number, step) in program.0.iter().enumerate() {
        let outcome = match run.step(*step) {
            Outcome::Answered(Ok(_)) => "Ok",
            Outcome::Answered(Err(error)) => error.name(),
            Outcome::Nothing | Outcome::Failed => "nothing",
        };
        *tally.entry((step.name(), outcome)).or_default() += 1;
        run.check(number % WHOLE_EVERY == 0);
    }
    run.finish();
}

/// The number of steps that a search runs: `HANDOVER_MODEL_STEPS`, or else so many.
pub fn steps_to_run(otherwise: u64) -> u64 {
    let asked = std::env::var("HANDOVER_MODEL_STEPS").ok();
    asked.map_or(otherwise, |steps| {
        steps.parse().expect("HANDOVER_MODEL_STEPS is a number")
    })
}

/// Runs random programs of at most `length` steps until so many steps were run, and makes the
/// first that fails short.
///
/// # Panics
/// When one fails: the message is the short program, which can be pasted into a test.
pub fn search(seed: u64, steps: u64, length: usize, execute: impl FnMut(&Program, u64)) {
    search_among(&crate::program(length), seed, steps, execute);
}

/// The same among programs of any kind.
pub(crate) fn search_among<S: Clone + Debug + Display>(
    strategy: &impl Strategy<Value = Program<S>>,
    seed: u64,
    steps: u64,
    mut execute: impl FnMut(&Program<S>, u64),
) {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), random);
    let mut done = 0;
    while done < steps {
        let mut tree = strategy
            .new_tree(&mut runner)
            .expect("no program is rejected");
        let program = tree.current();
        done += program.0.len() as u64;
        if let Some(message) = failure(&program, seed, &mut execute) {
            let (shortest, message) = shrink(&mut tree, seed, &mut execute, program, message);
            panic!("{message}\nThis program fails with seed {seed}:\n{shortest}");
        }
    }
}

/// The simplest program on the way down from one that fails, and how it fails: first as the
/// strategy simplifies it, then without any step that can be left out.
fn shrink<S: Clone + Display>(
    tree: &mut impl ValueTree<Value = Program<S>>,
    seed: u64,
    execute: &mut impl FnMut(&Program<S>, u64),
    mut shortest: Program<S>,
    mut message: String,
) -> (Program<S>, String) {
    let mut attempts = SHRINKS;
    let mut goes_on = tree.simplify();
    while goes_on && attempts > 0 {
        attempts -= 1;
        let program = tree.current();
        goes_on = match failure(&program, seed, execute) {
            Some(how) => {
                (shortest, message) = (program, how);
                tree.simplify()
            }
            None => tree.complicate(),
        };
    }
    let mut at = shortest.0.len();
    while at > 0 {
        at -= 1;
        let mut shorter = shortest.clone();
        shorter.0.remove(at);
        if let Some(how) = failure(&shorter, seed, execute) {
            (shortest, message) = (shorter, how);
            at = shortest.0.len();
        }
    }
    (shortest, message)
}

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// How a program fails, if it does.
fn failure<S>(
    program: &Program<S>,
    seed: u64,
    execute: &mut impl FnMut(&Program<S>, u64),
) -> Option<String> {
    static HOOK: std::sync::Once = std::sync::Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                before(info);
            }
        }));
    });
    QUIET.set(true);
    let result = catch_unwind(AssertUnwindSafe(|| execute(program, seed)));
    QUIET.set(false);
    let payload = result.err()?;
    let message = payload.downcast_ref::<String>().cloned().or_else(|| {
        payload
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
    });
    Some(message.unwrap_or_else(|| "a panic without words".to_owned()))
}
