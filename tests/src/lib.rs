//! The runner, the QEMU suites and the host tests of Handover.
//!
//! The binary `handover` is a thin shell around this library, which the QEMU tests use directly:
//! [`build`] makes the kernel and the programs, [`initrd`] packs what the machine reads,
//! [`machine`] and [`qemu`] run it, [`serial`] reads what it said, and [`demo`], [`suite`] and
//! [`mod@bench`] judge that. [`events`], [`strace`] and [`timeline`] show what a machine did.
#![warn(missing_docs)]
#![forbid(unsafe_code)]

pub mod bench;
pub mod boot;
pub mod build;
pub mod console;
pub mod contract;
pub mod dear;
pub mod debugger;
pub mod demo;
pub mod events;
pub mod failure;
pub mod growth;
pub mod initrd;
pub mod machine;
pub mod options;
pub mod plot;
pub mod program;
pub mod qemu;
pub mod runner;
pub mod sabotage;
pub mod screen;
pub mod serial;
pub mod strace;
pub mod suite;
pub mod symbolise;
pub mod table;
pub mod targets;
pub mod timeline;
pub mod trace;
