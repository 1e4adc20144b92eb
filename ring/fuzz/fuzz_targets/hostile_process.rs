//! Scripts of a hostile process at a submission ring, over the kernel's half of it, looked for by libFuzzer. What is worth
//! keeping lands in `corpus/hostile_process`, which the test `hostile_processes` plays every time.
#![no_main]
#![recursion_limit = "256"]

#[path = "../../../tests/tests/common/mod.rs"]
#[allow(dead_code, reason = "tests use the rest")]
mod common;
#[path = "../../../tests/tests/host/hostile_process/mod.rs"]
mod hostile_process;
#[path = "../../tests/script/mod.rs"]
mod script;

libfuzzer_sys::fuzz_target!(|script: &[u8]| hostile_process::play(script));
