//! Scripts of a hostile guest of a hub, as the tests play them, looked for by libFuzzer. What is worth keeping lands in
//! `corpus/hostile_guest`, which the test `hostile_guests` plays every time.
#![no_main]

#[path = "../../tests/hostile_guest/mod.rs"]
mod hostile_guest;
#[path = "../../tests/script/mod.rs"]
mod script;

libfuzzer_sys::fuzz_target!(|script: &[u8]| hostile_guest::play(script));
