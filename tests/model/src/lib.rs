//! An independent model of Handover's memory and authority, and programs that compare the two.
//!
//! A [`Program`] runs on the real crates over the imitated machine and on the model at once.
//! After every step the answers have to be the same, and [`check`](Run::check) walks the real page
//! tables, the metadata of every frame and the TLB of every CPU, and compares them with what the
//! model knows by value. What fails is made short and printed as a program that can be pasted into
//! a test.

#![forbid(unsafe_code)]

mod check;
mod digest;
mod judge;
mod lives;
mod property;
mod repair;
mod run;
pub mod spec;
mod step;
mod strategy;
mod subject;
mod sweep;
pub mod talk;
mod tree;
mod walk;

pub use digest::Digest;
pub use property::{Tally, execute, search, steps_to_run};
pub use run::{Outcome, Run};
pub use step::{ParseError, Place, Program, Step, Until};
pub use strategy::program;
pub use subject::{Answer, Subject, Value};
pub use sweep::{Charges, Frames, Injection, Sweep};

/// Places for processes. Who has ended can be followed by another.
pub const PROCESSES: usize = 3;
/// CPUs of the machine.
pub const CPUS: usize = 4;
/// Registers of a process for handles, and for addresses of mappings.
pub const REGISTERS: usize = 4;
/// Registers for tokens.
pub const TOKENS: usize = 3;
/// Frames of a machine on which memory is seldom short.
pub const FRAMES: u64 = 3000;
/// Frames of one on which it often is.
pub const FEW_FRAMES: u64 = 120;
/// Where the mappings of a process cluster.
pub const BASE: u64 = 0x4000_0000;
