//! The handlers of the system calls: what needs the program's memory or the scheduler is here,
//! everything else is `ipc`'s.

mod capability;
mod device;
mod memory;
mod process;
mod ring;
mod system;

pub use capability::*;
pub use device::*;
pub use memory::*;
pub use process::*;
pub use ring::*;
pub use system::*;
