//! The small SMP kernel that proves Handover in QEMU: processes, a scheduler, a loader, and the
//! dispatcher of the system calls. Everything that Handover is for is in `ipc` and `mm`.

#![cfg_attr(target_os = "none", no_std, no_main)]
#![deny(unsafe_code)]

#[cfg(target_os = "none")]
extern crate alloc;

#[cfg(target_os = "none")]
#[macro_use]
mod console;

#[cfg(target_os = "none")]
mod calls;
#[cfg(target_os = "none")]
mod deferred;
#[cfg(target_os = "none")]
mod devices;
#[cfg(target_os = "none")]
mod dispatch;
#[cfg(target_os = "none")]
mod faults;
#[cfg(target_os = "none")]
mod fuse;
#[cfg(target_os = "none")]
mod heap;
#[cfg(target_os = "none")]
mod init;
#[cfg(target_os = "none")]
mod interrupts;
#[cfg(target_os = "none")]
mod irq_lock;
#[cfg(target_os = "none")]
mod loader;
#[cfg(target_os = "none")]
mod machine;
#[cfg(target_os = "none")]
mod measure;
#[cfg(target_os = "none")]
mod memory;
#[cfg(target_os = "none")]
mod process;
#[cfg(target_os = "none")]
mod random;
#[cfg(target_os = "none")]
mod ranks;
#[cfg(target_os = "none")]
mod sched;
#[cfg(target_os = "none")]
mod selfcheck;
#[cfg(target_os = "none")]
mod start;
#[cfg(target_os = "none")]
mod stats;
#[cfg(target_os = "none")]
mod thread;
#[cfg(target_os = "none")]
mod timers;
#[cfg(target_os = "none")]
mod trace;
#[cfg(target_os = "none")]
mod user_memory;
#[cfg(target_os = "none")]
mod watch;

/// The kernel is built for its own target; on the host there is nothing to run.
#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("the kernel runs in QEMU: build it with --target x86_64-unknown-none");
}
