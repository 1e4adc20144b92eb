//! A test that hangs ends, and says which it is; one that fails is not kept by what sleeps in it.

use std::panic::catch_unwind;
use std::process::Command;
use std::thread;

use abi::FOREVER;
use fake::{Config, FakeMachine, FakeTask};
use ipc::Platform;

/// Set in the process that is to hang.
const HANG: &str = "HANDOVER_HANG";

#[test]
fn a_test_that_hangs_is_ended_and_named() {
    const NAME: &str = "watch::a_test_that_hangs_is_ended_and_named";
    if std::env::var_os(HANG).is_some() {
        let _machine = FakeMachine::new(Config::default());
        loop {
            std::thread::park();
        }
    }
    let this = std::env::current_exe().expect("it runs");
    let hanging = Command::new(this)
        // Two threads: alone, a test would be executed by one with another name.
        .args(["--exact", NAME, "--test-threads", "2"])
        .envs([(HANG, "1"), ("HANDOVER_PATIENCE", "1")])
        .output()
        .expect("it can be started again");
    let said = String::from_utf8_lossy(&hanging.stderr);
    assert_eq!(hanging.status.code(), Some(101), "{said}");
    assert!(said.contains(&format!("test {NAME} hangs")), "{said}");
}

#[test]
fn a_test_that_fails_does_not_wait_for_tasks_that_nobody_wakes_any_more() {
    let machine = FakeMachine::new(Config::default());
    let task = FakeTask::default();
    let sleeper = thread::scope(|scope| {
        let sleeper = scope.spawn(|| task.perform(|| _ = machine.park(FOREVER)));
        task.until_sleeping();
        catch_unwind(|| panic!("a failure")).unwrap_err();
        sleeper.join().unwrap_err()
    });
    assert_eq!(sleeper.downcast_ref(), Some(&"the test has failed"));
}

#[test]
fn a_thread_that_fails_ends_no_test_but_its_own_whatever_both_are_called() {
    let machine = FakeMachine::new(Config::default());
    let name = thread::current().name().unwrap_or_default().to_owned();
    let namesake = thread::Builder::new().name(name);
    let namesake = namesake.spawn(|| panic!("a failure elsewhere"));
    namesake.unwrap().join().unwrap_err();
    assert!(!machine.has_failed());
    catch_unwind(|| panic!("a failure here")).unwrap_err();
    assert!(machine.has_failed());
}
