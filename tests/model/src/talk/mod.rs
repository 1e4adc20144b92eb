//! A second model: regions, notifications and channel ends, and messages on channels that carry their capabilities.
//!
//! It knows nothing of memory, and what the other model proves of it is left out here: a region is
//! only something that can be handed over. In return any of these can be in any message, and ends of
//! channels are dropped with messages on the way.

mod likely;
mod run;
mod spec;
mod step;
mod strategy;

pub use run::{Run, execute, search};
pub use spec::Spec;
pub use step::{Load, Step};

/// Registers of a process for handles.
pub const REGISTERS: usize = 5;
