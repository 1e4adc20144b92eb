//! Scripts of a hostile peer, as the tests play them, looked for by libFuzzer. `make fuzz` runs it; what it finds worth
//! keeping lands in `corpus/hostile_peer`, which the test `hostile` plays every time.
#![no_main]

#[path = "../../tests/common/backing.rs"]
#[allow(dead_code, reason = "tests use the rest")]
mod backing;
#[path = "../../tests/hostile_peer/mod.rs"]
mod hostile_peer;
#[path = "../../tests/script/mod.rs"]
mod script;

mod common {
    pub use crate::backing::Backing;
}

libfuzzer_sys::fuzz_target!(|script: &[u8]| hostile_peer::play(script));
