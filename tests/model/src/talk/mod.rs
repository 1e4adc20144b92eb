//! A second model, of authority alone: capabilities of several kinds that are derived, narrowed, reduced and
//! revoked, and handed over in messages and by tokens, over all that leads to another process.
//!
//! It knows nothing of memory, and what the other model proves of it is left out here: a region is
//! only something that can be handed over, and is whole. In return any kind can be in any message, is offered
//! over channels, rings, seats at a hub and processes, and ends are dropped with what was on its way to them.
//! Tokens are shown by those they are not for, at other ends, again, too late, and with bits turned over.

mod likely;
mod perform;
mod run;
mod setting;
mod spec;
mod step;
mod strategy;

pub use run::{Run, execute, search};
pub use spec::Spec;
pub use step::{Load, Step, Via};

/// Registers of a process for handles.
pub const REGISTERS: usize = 7;
/// How far behind that of a channel end the end of a ring is that leads to the same process.
const RINGS: usize = 2;
/// Registers for tokens, of all processes.
pub const TOKENS: usize = 4;
