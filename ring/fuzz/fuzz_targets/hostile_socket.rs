//! Scripts of a process on Linux that says anything in the handshake and over the socket, looked for by libFuzzer. What is
//! worth keeping lands in `corpus/hostile_socket`, which the test `hostile_sockets` plays every time.
#![no_main]

#[path = "../../tests/hostile_socket/mod.rs"]
mod hostile_socket;
#[path = "../../tests/linux_peer/mod.rs"]
mod linux_peer;
#[path = "../../tests/script/mod.rs"]
mod script;

libfuzzer_sys::fuzz_target!(|script: &[u8]| hostile_socket::play(script));
