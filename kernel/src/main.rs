//! The small SMP kernel that proves Handover in QEMU.

#![cfg_attr(target_os = "none", no_std, no_main)]
#![warn(missing_docs)]

#[cfg(target_os = "none")]
#[macro_use]
mod console;
#[cfg(target_os = "none")]
mod heap;
#[cfg(target_os = "none")]
mod selfcheck;
#[cfg(target_os = "none")]
mod start;

/// The kernel is built for its own target; on the host there is nothing to run.
#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("the kernel runs in QEMU: build it with --target x86_64-unknown-none");
}
