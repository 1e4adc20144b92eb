//! The handlers of the system calls: what needs the program's memory or the scheduler is here,
//! everything else is `ipc`'s.

mod capability;
mod channel;
mod device;
mod hub;
mod memory;
mod process;
mod ring;
mod submission;
mod system;
mod thread;
mod timing;
mod trace;
mod waiting;

pub use capability::*;
pub use channel::*;
pub use device::*;
pub use hub::*;
pub use memory::*;
pub use process::*;
pub use ring::*;
pub use submission::*;
pub use system::*;
pub use thread::*;
pub use timing::*;
pub use trace::*;
pub use waiting::*;
