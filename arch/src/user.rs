//! Into user mode, and the kernel's fallible access to user memory.
//!
//! Every instruction that touches user memory has an entry in the exception table: address, and where to go on when
//! it faults. With SMAP, access is open only around them.

use core::arch::asm;
use core::mem::MaybeUninit;
use core::ptr;
use core::sync::atomic::{AtomicBool, Ordering};

use x86_64::VirtAddr;
use x86_64::registers::model_specific::FsBase;

use crate::layout::{USER_END, USER_START, is_user_range};
pub use crate::segments::forget_selectors;
use crate::segments::{USER_CODE, USER_DATA};
use crate::{cpu, trap};

/// The user memory is not there, or its rights do not allow the access, or it is no user memory at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault;

/// The size of the lower half.
const USER_ADDRESSES: u64 = 1 << 47;

/// Whether `stac` and `clac` exist; elsewhere they are invalid instructions.
static SMAP: AtomicBool = AtomicBool::new(false);

pub(crate) fn init() {
    SMAP.store(cpu::features().smap, Ordering::Relaxed);
}

/// Starts user mode at `rip` with stack pointer `rsp`, `arg0` in rdi and `arg1` in rsi, all other registers zero and
/// interrupts on. Work requested for before the return is done first. The kernel stack of the running context must
/// have been set by a context switch. Panics when `rip` or `rsp` is outside the user half.
pub fn enter(rip: u64, rsp: u64, arg0: u64, arg1: u64) -> ! {
    assert!((USER_START..USER_END).contains(&rip) && (USER_START..=USER_END).contains(&rsp));
    cpu::disable_interrupts();
    trap::before_user_return();
    // SAFETY: rip and rsp are canonical user addresses and the selectors those of user mode, so IRETQ does not fault
    // in the kernel; interrupts are off until then, so GS may already be the user's.
    unsafe {
        asm!(
            "push {data}",
            "push rdx",
            "push 0x202",
            "push {code}",
            "push rcx",
            "swapgs",
            "xor eax, eax", "xor ebx, ebx", "xor ecx, ecx", "xor edx, edx", "xor ebp, ebp",
            "xor r8d, r8d", "xor r9d, r9d", "xor r10d, r10d", "xor r11d, r11d",
            "xor r12d, r12d", "xor r13d, r13d", "xor r14d, r14d", "xor r15d, r15d",
            "iretq",
            data = const USER_DATA,
            code = const USER_CODE,
            in("rcx") rip,
            in("rdx") rsp,
            in("rdi") arg0,
            in("rsi") arg1,
            options(noreturn),
        )
    }
}

/// Sets the base of the FS segment for what runs in user mode next. The kernel has no use of it.
///
/// Only bits that a user address can have are taken.
#[inline]
pub fn set_fs_base(base: u64) {
    FsBase::write(VirtAddr::new_truncate(base & (USER_ADDRESSES - 1)));
}

/// Copies `dst.len()` bytes from user address `src`. On a fault a part of `dst` may have been written.
///
/// The program can change the bytes at any time: what was read is a copy, to be checked after it was made.
#[inline]
pub fn copy_from_user(dst: &mut [u8], src: u64) -> Result<(), Fault> {
    // SAFETY: only bytes that are initialised are ever written through it.
    let dst = unsafe { &mut *(ptr::from_mut(dst) as *mut [MaybeUninit<u8>]) };
    copy_from_user_to_room(dst, src)
}

/// The same to memory that need not hold anything. All of it is initialised when this succeeds.
#[inline]
pub fn copy_from_user_to_room(dst: &mut [MaybeUninit<u8>], src: u64) -> Result<(), Fault> {
    if dst.is_empty() {
        return Ok(());
    }
    if !is_user_range(src, dst.len() as u64) {
        return Err(Fault);
    }
    // SAFETY: the source is in the user half, where the kernel keeps nothing; `dst` is the caller's.
    unsafe { copy(dst.as_mut_ptr() as u64, src, dst.len()) }
}

/// Copies `src` to user address `dst`. On a fault a part may have been written.
#[inline]
pub fn copy_to_user(dst: u64, src: &[u8]) -> Result<(), Fault> {
    if src.is_empty() {
        return Ok(());
    }
    if !is_user_range(dst, src.len() as u64) {
        return Err(Fault);
    }
    // SAFETY: the destination is in the user half, where the kernel keeps nothing; `src` is the caller's.
    unsafe { copy(dst, src.as_ptr() as u64, src.len()) }
}

/// Reads the word at user address `src` with one access. An unaligned word may be torn.
#[inline]
pub fn get_u64(src: u64) -> Result<u64, Fault> {
    if !is_user_range(src, 8) {
        return Err(Fault);
    }
    let value: u64;
    let mut failed: u32 = 1;
    open();
    // SAFETY: a read in the user half; a fault goes on behind it, with `failed` still set.
    unsafe {
        asm!(
            "2: mov {value}, [{src}]",
            "xor {failed:e}, {failed:e}",
            "3:",
            ".pushsection .extable, \"a\"",
            ".quad 2b, 3b",
            ".popsection",
            value = out(reg) value,
            src = in(reg) src,
            failed = inout(reg) failed,
            options(nostack, readonly),
        );
    }
    close();
    if failed == 0 { Ok(value) } else { Err(Fault) }
}

/// Writes four words at these offsets of the `len` bytes at user address `dst`, each as
/// [`put_u64`] does. On a fault some may have been written. The offsets are within `len`.
#[inline(always)]
pub fn put_words<
    const FIRST: usize,
    const SECOND: usize,
    const THIRD: usize,
    const FOURTH: usize,
>(
    dst: u64,
    len: u64,
    words: [u64; 4],
) -> Result<(), Fault> {
    debug_assert!(
        [FIRST, SECOND, THIRD, FOURTH]
            .iter()
            .all(|&at| at as u64 + 8 <= len)
    );
    if !is_user_range(dst, len) {
        return Err(Fault);
    }
    let failed = if SMAP.load(Ordering::Relaxed) {
        // SAFETY: the CPU has SMAP, and the words are in the user half.
        unsafe {
            asm!("stac", options(nostack));
            let failed = store_words::<FIRST, SECOND, THIRD, FOURTH>(dst, words);
            asm!("clac", options(nostack));
            failed
        }
    } else {
        // SAFETY: the words are in the user half.
        unsafe { store_words::<FIRST, SECOND, THIRD, FOURTH>(dst, words) }
    };
    if failed == 0 { Ok(()) } else { Err(Fault) }
}

/// Writes four words, and returns 0 if that did not fault.
///
/// # Safety
/// They are in the user half, and user memory is open.
#[inline(always)]
unsafe fn store_words<
    const FIRST: usize,
    const SECOND: usize,
    const THIRD: usize,
    const FOURTH: usize,
>(
    dst: u64,
    [first, second, third, fourth]: [u64; 4],
) -> u32 {
    let mut failed: u32 = 1;
    // SAFETY: the caller's; a fault goes on behind the writes, with `failed` still set.
    unsafe {
        asm!(
            "2: mov [{dst} + {first_at}], {first}",
            "3: mov [{dst} + {second_at}], {second}",
            "4: mov [{dst} + {third_at}], {third}",
            "5: mov [{dst} + {fourth_at}], {fourth}",
            "xor {failed:e}, {failed:e}",
            "6:",
            ".pushsection .extable, \"a\"",
            ".quad 2b, 6b",
            ".quad 3b, 6b",
            ".quad 4b, 6b",
            ".quad 5b, 6b",
            ".popsection",
            dst = in(reg) dst,
            first = in(reg) first,
            second = in(reg) second,
            third = in(reg) third,
            fourth = in(reg) fourth,
            failed = inout(reg) failed,
            first_at = const FIRST,
            second_at = const SECOND,
            third_at = const THIRD,
            fourth_at = const FOURTH,
            options(nostack),
        );
    }
    failed
}

/// Writes the word at user address `dst` with one access. An unaligned word may be torn.
#[inline(always)]
pub fn put_u64(dst: u64, value: u64) -> Result<(), Fault> {
    if !is_user_range(dst, 8) {
        return Err(Fault);
    }
    let failed = if SMAP.load(Ordering::Relaxed) {
        // SAFETY: the CPU has SMAP, and the word is in the user half.
        unsafe {
            asm!("stac", options(nostack));
            let failed = store_word(dst, value);
            asm!("clac", options(nostack));
            failed
        }
    } else {
        // SAFETY: the word is in the user half.
        unsafe { store_word(dst, value) }
    };
    if failed == 0 { Ok(()) } else { Err(Fault) }
}

/// Writes a word, and returns 0 if that did not fault.
///
/// # Safety
/// It is in the user half, and user memory is open.
#[inline(always)]
unsafe fn store_word(dst: u64, value: u64) -> u32 {
    let mut failed: u32 = 1;
    // SAFETY: the caller's; a fault goes on behind the write, with `failed` still set.
    unsafe {
        asm!(
            "2: mov [{dst}], {value}",
            "xor {failed:e}, {failed:e}",
            "3:",
            ".pushsection .extable, \"a\"",
            ".quad 2b, 3b",
            ".popsection",
            value = in(reg) value,
            dst = in(reg) dst,
            failed = inout(reg) failed,
            options(nostack),
        );
    }
    failed
}

/// # Safety
/// One side lies in the user half, the other is the caller's memory of `length` bytes, `length` > 0.
#[inline]
unsafe fn copy(dst: u64, src: u64, length: usize) -> Result<(), Fault> {
    if length.is_multiple_of(8) {
        // SAFETY: the caller's.
        return unsafe { copy_words(dst, src, length / 8) };
    }
    let remaining: u64;
    open();
    // SAFETY: the caller vouches for the addresses; a fault in either copy leaves its rest in rcx and ends it.
    unsafe {
        asm!(
            "2: rep movsq",
            "mov rcx, {tail}",
            "3: rep movsb",
            "4:",
            ".pushsection .extable, \"a\"",
            ".quad 2b, 4b",
            ".quad 3b, 4b",
            ".popsection",
            tail = in(reg) length % 8,
            inout("rcx") length / 8 => remaining,
            inout("rdi") dst => _,
            inout("rsi") src => _,
            options(nostack),
        );
    }
    close();
    if remaining == 0 { Ok(()) } else { Err(Fault) }
}

/// # Safety
/// As of [`copy`], of so many words.
#[inline(always)]
unsafe fn copy_words(dst: u64, src: u64, words: usize) -> Result<(), Fault> {
    let remaining = if SMAP.load(Ordering::Relaxed) {
        // SAFETY: the CPU has SMAP, and the copy is the caller's.
        unsafe {
            asm!("stac", options(nostack));
            let remaining = move_words(dst, src, words);
            asm!("clac", options(nostack));
            remaining
        }
    } else {
        // SAFETY: the caller's.
        unsafe { move_words(dst, src, words) }
    };
    if remaining == 0 { Ok(()) } else { Err(Fault) }
}

/// Copies words, and returns how many were left at a fault.
///
/// # Safety
/// As of [`copy`], with user memory open.
#[inline(always)]
unsafe fn move_words(dst: u64, src: u64, words: usize) -> u64 {
    let remaining: u64;
    // SAFETY: the caller vouches for the addresses; a fault leaves its rest in rcx and ends the copy.
    unsafe {
        asm!(
            "2: rep movsq",
            "4:",
            ".pushsection .extable, \"a\"",
            ".quad 2b, 4b",
            ".popsection",
            inout("rcx") words => remaining,
            inout("rdi") dst => _,
            inout("rsi") src => _,
            options(nostack),
        );
    }
    remaining
}

/// Opens user memory to the kernel.
#[inline]
fn open() {
    if SMAP.load(Ordering::Relaxed) {
        // SAFETY: the CPU has SMAP; traps meanwhile clear the flag and restore it on their return.
        unsafe { asm!("stac", options(nostack)) };
    }
}

/// Closes it again.
#[inline]
fn close() {
    if SMAP.load(Ordering::Relaxed) {
        // SAFETY: the CPU has SMAP.
        unsafe { asm!("clac", options(nostack)) };
    }
}
