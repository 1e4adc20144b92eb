//! Who called whom, from the frame pointers. Each line is an address for a symbolizer.

use core::arch::asm;

use crate::stack;

/// Deeper callers are left out.
const MAX_DEPTH: usize = 32;

unsafe extern "C" {
    static __image_start: u8;
    static __text_end: u8;
}

/// Calls `visit` with the return addresses from frame pointer `frame_pointer` outwards.
///
/// Safe with any value: it reads only inside the mapped kernel stack that the value lies in, only upwards, and
/// ends at the first thing that is no return address into kernel code.
pub fn walk(mut frame_pointer: u64, mut visit: impl FnMut(u64)) {
    let Some(bounds) = stack::bounds(frame_pointer) else {
        return;
    };
    let code = &raw const __image_start as u64..&raw const __text_end as u64;
    for _ in 0..MAX_DEPTH {
        if !frame_pointer.is_multiple_of(8)
            || frame_pointer < bounds.start
            || frame_pointer > bounds.end - 16
        {
            return;
        }
        // SAFETY: two aligned words inside a mapped kernel stack; stacks are never unmapped.
        let (caller, address) = unsafe {
            (
                (frame_pointer as *const u64).read(),
                ((frame_pointer + 8) as *const u64).read(),
            )
        };
        if !code.contains(&address) {
            return;
        }
        visit(address);
        if caller <= frame_pointer {
            return;
        }
        frame_pointer = caller;
    }
}

/// The frame pointer of the caller.
#[inline(always)]
pub fn frame_pointer() -> u64 {
    let value;
    // SAFETY: only reads a register.
    unsafe { asm!("mov {}, rbp", out(reg) value, options(nomem, nostack, preserves_flags)) };
    value
}
