//! The virtual layout. The lower half belongs to the user, the upper half is the same in every address space.
//!
//! | from | what |
//! |---|---|
//! | `0x0000_0000_0000_1000` | user, up to the page below 2^47 |
//! | `0xffff_8000_0000_0000` | direct map: usable RAM and the initrd, writable, never executable |
//! | `0xffff_c000_0000_0000` | kernel heap |
//! | `0xffff_d000_0000_0000` | kernel stacks, each above its guard |
//! | `0xffff_e000_0000_0000` | device registers, uncached |
//! | `0xffff_ffff_8000_0000` | kernel image |

use core::ops::Range;

/// Bytes of a page and of a frame.
pub const PAGE_SIZE: u64 = 4096;

/// First address that may belong to a user: page 0 never does.
pub const USER_START: u64 = 0x1000;

/// One past the last user address. The last page below 2^47 is left out, because a `syscall` in its last bytes
/// would leave a return address on which SYSRET faults in ring 0.
pub const USER_END: u64 = (1 << 47) - PAGE_SIZE;

/// Physical address `p` is at `DIRECT_MAP + p`, if it is usable RAM or the initrd.
pub const DIRECT_MAP: u64 = 0xffff_8000_0000_0000;

/// The most physical memory that the direct map has room for, in bytes.
pub const DIRECT_MAP_SIZE: u64 = 0x4000_0000_0000;

/// Where the kernel heap grows.
pub const HEAP: Range<u64> = 0xffff_c000_0000_0000..0xffff_c100_0000_0000;

/// Where kernel stacks are.
pub const STACKS: Range<u64> = 0xffff_d000_0000_0000..0xffff_d000_8000_0000;

/// Where device registers are mapped.
pub const DEVICES: Range<u64> = 0xffff_e000_0000_0000..0xffff_e001_0000_0000;

/// Where the kernel image is linked: physical address `p` of the image is at `IMAGE + p`.
pub const IMAGE: u64 = 0xffff_ffff_8000_0000;

/// Whether `length` bytes from `address` all lie in the user half. Nothing is said about what is mapped there.
pub const fn is_user_range(address: u64, length: u64) -> bool {
    match address.checked_add(length) {
        Some(end) => address >= USER_START && end <= USER_END,
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_ranges_end_below_the_last_page() {
        assert!(is_user_range(USER_START, 1));
        assert!(!is_user_range(0, 1));
        assert!(is_user_range(USER_END - 8, 8));
        assert!(!is_user_range(USER_END - 7, 8));
        assert!(!is_user_range(u64::MAX, 2));
        assert!(!is_user_range(DIRECT_MAP, 1));
    }
}
