//! An honest machine for host tests: real page-table bytes, TLBs that stay stale.
//!
//! [`FakeMachine`] is the memory, the MMU and the CPUs that `mm` works on. It translates by the
//! bytes that `mm` wrote into page tables, and each of its CPUs keeps a translation **until that
//! CPU is told to forget it**, so a missing or late shootdown is a failing test. Its frames come from
//! [`mm::FramePool`], which poisons what is freed and checks that when it is taken again.
//!
//! ```
//! let memory = fake::start(fake::Config::default());
//! let space = memory.create_space(memory.account(), 0x4000_0000).unwrap();
//! fake::enter(&memory, 0, Some(&space));
//! assert_eq!(fake::load(&memory, &space, 0x4000_0000), Err(abi::Error::NotFound));
//! ```

#![forbid(unsafe_code)]

mod answers;
mod arena;
mod audit;
mod config;
mod cpu;
mod hooks;
mod interrupts;
mod lines;
mod machine;
mod platform;
mod program;
mod ranks;
mod tlb;
mod traits;
mod view;
mod watch;

pub use answers::{answered, call_named};
pub use audit::{Counts, audit, counts};
pub use config::Config;
pub use cpu::{current_cpu, on_cpu};
pub use interrupts::without_interrupts;
pub use machine::{FakeMachine, start};
pub use platform::{FakeProcess, FakeTask, SystemCounts, start_ipc};
pub use program::{Memory, enter, load, store, touch};
pub use ranks::{at_moment, before_locks, heap_may_grow};
pub use tlb::{Access, PageFault};
pub use view::Translation;
