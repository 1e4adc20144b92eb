//! What becomes of two processes beside each other when one of them fails.

use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};

use handover_bench::beside::{Cpus, Place};
use nix::sys::signal::{Signal, raise};

/// Its two cases wait for any child, so they are one test. Nobody panics in a child of a process that has other threads.
#[test]
fn a_process_that_waits_for_one_that_failed_is_ended() {
    let cpus = Cpus::any().expect("the test runs on one");
    let (mut never, _keeper) = std::io::pipe().unwrap();
    let mut wait = || {
        let mut byte = [0];
        let _ = never.read(&mut byte);
    };
    let fail = || raise(Signal::SIGKILL).expect("a process may end itself");
    for near_fails in [false, true] {
        let answer = catch_unwind(AssertUnwindSafe(|| match near_fails {
            true => cpus.beside(Place::Processes, &mut wait, || {
                fail();
                None
            }),
            false => cpus.beside(Place::Processes, fail, || {
                wait();
                None
            }),
        }));
        assert!(answer.is_err(), "near fails: {near_fails}");
    }
}
