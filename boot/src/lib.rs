//! Entry from the loader and the neutral description of the machine.
//!
//! A loader's protocol lives in one module ([`pvh`]); it ends in a [`BootInfo`], the only thing that the
//! rest of the kernel sees. Another loader is another module and another entry point.
//!
//! On the host only the description and its arithmetic are compiled, for their tests.

#![no_std]
#![warn(missing_docs)]

mod info;
pub use info::{BootInfo, FRAME_SIZE, PhysicalRange, remove_range};

#[cfg(target_os = "none")]
mod entry;
#[cfg(target_os = "none")]
pub mod pvh;
#[cfg(target_os = "none")]
pub mod trampoline;

#[cfg(target_os = "none")]
pub use entry::{address_in_image, early_stack};
