//! `handover`: builds the kernel and its programs, boots them in QEMU and checks what they did.

use std::process::ExitCode;

use clap::Parser;
use handover_tests::options::Options;
use handover_tests::runner;

fn main() -> ExitCode {
    match runner::run(&Options::parse()) {
        Ok(status) => status.into(),
        Err(failure) => {
            runner::report(&failure);
            failure.exit_status().into()
        }
    }
}
