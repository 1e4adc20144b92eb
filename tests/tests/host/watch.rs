//! A test that hangs ends, and says which it is.

use std::process::Command;

use fake::{Config, FakeMachine};

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
