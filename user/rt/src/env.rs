//! What a program was started with.

use abi::{Handle, StartInfo};

/// The arguments and handles of this process.
#[derive(Clone, Copy, Debug)]
pub struct Env {
    args: &'static [u8],
    handles: &'static [Handle],
    version: u64,
}

impl Env {
    /// From what the kernel left on the stack.
    ///
    /// # Safety
    /// `info` is the kernel's, and nobody writes over what it leads to.
    pub unsafe fn new(info: &StartInfo) -> Env {
        // SAFETY: the kernel wrote both arrays above the first stack pointer, and the caller
        // says that they stay.
        unsafe {
            Env {
                args: core::slice::from_raw_parts(info.args as *const u8, info.args_len as usize),
                handles: core::slice::from_raw_parts(
                    info.handles as *const Handle,
                    info.handles_len as usize,
                ),
                version: info.version,
            }
        }
    }

    /// The arguments; the first is by custom the name of the program. One that is not UTF-8 is
    /// left out.
    pub fn args(&self) -> impl Iterator<Item = &'static str> + use<> {
        let args = self.args.strip_suffix(b"\0").unwrap_or(self.args);
        let empty = self.args.is_empty();
        args.split(|&byte| byte == 0)
            .filter(move |_| !empty)
            .filter_map(|arg| core::str::from_utf8(arg).ok())
    }

    /// The handles that the parent passed, in its order.
    pub fn handles(&self) -> &'static [Handle] {
        self.handles
    }

    /// The handle at a place in that order, or one that names nothing.
    pub fn handle(&self, index: usize) -> Handle {
        self.handles.get(index).copied().unwrap_or(Handle::NONE)
    }

    /// The version of the kernel's contract.
    pub fn version(&self) -> u64 {
        self.version
    }
}
