//! The x86_64 platform under Handover's kernel.
//!
//! The unsafe ground of the kernel: one module for each thing of the machine. [`init()`] takes the machine over
//! from `boot`; the kernel then installs its [`hooks`], starts the other CPUs with [`smp`] and turns interrupts on.
//!
//! Manual sections refer to the Intel 64 and IA-32 Architectures Software Developer's Manual ("SDM").
//! On the host only [`layout`] is compiled.

#![no_std]
#![warn(missing_docs)]

pub mod layout;

#[cfg(target_os = "none")]
#[cfg(target_os = "none")]
pub mod acpi;
#[cfg(target_os = "none")]
pub mod apic;
#[cfg(target_os = "none")]
pub mod backtrace;
#[cfg(target_os = "none")]
pub mod clock;
#[cfg(target_os = "none")]
pub mod context;
#[cfg(target_os = "none")]
pub mod cpu;
#[cfg(target_os = "none")]
pub mod exit;
#[cfg(target_os = "none")]
mod extended_state;
#[cfg(target_os = "none")]
pub mod frames;
#[cfg(target_os = "none")]
pub mod hooks;
#[cfg(target_os = "none")]
mod init;
#[cfg(target_os = "none")]
pub mod paging;
#[cfg(target_os = "none")]
pub mod panic;
#[cfg(target_os = "none")]
mod per_cpu;
#[cfg(target_os = "none")]
pub mod phys;
#[cfg(target_os = "none")]
mod segments;
#[cfg(target_os = "none")]
pub mod serial;
#[cfg(target_os = "none")]
pub mod smp;
#[cfg(target_os = "none")]
pub mod stack;
#[cfg(target_os = "none")]
pub mod syscall;
#[cfg(target_os = "none")]
pub mod tlb;
#[cfg(target_os = "none")]
pub mod trap;
#[cfg(target_os = "none")]
pub mod trap_frame;
#[cfg(target_os = "none")]
pub mod user;

#[cfg(target_os = "none")]
pub use init::init;
