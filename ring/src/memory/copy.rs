//! Copies between private memory and ring memory, which a hostile peer may be writing at the same time.
//!
//! On x86_64 the moves are assembly. To the compiler they are what an atomic, relaxed load or store of each byte would
//! be, so a peer that writes meanwhile makes the bytes arbitrary and nothing else; to the CPU they are as wide as it
//! has them. Elsewhere, and under Miri, they are those atomic accesses.

pub(super) use moves::{are, copy_in, copy_out, load_8};

#[cfg(all(target_arch = "x86_64", not(miri)))]
mod moves {
    use core::arch::asm;

    /// From so many bytes on the CPU copies by itself: slower within one cache, by a third quicker from that of another CPU.
    const LONG_BYTES: usize = 768;

    /// Copies `length` bytes out of the ring. Where the pieces that are moved overlap, a byte is loaded twice and either
    /// value is kept.
    ///
    /// # Safety
    /// Both ranges are mapped, the target is nobody else's, and they do not overlap.
    #[inline(always)]
    pub(in crate::memory) unsafe fn copy_out(source: *const u8, target: *mut u8, length: usize) {
        // SAFETY: each arm stays within the length that it is for.
        unsafe {
            match length {
                8 => target.cast::<u64>().write_unaligned(load_8::<0>(source, 0)),
                9..=16 => {
                    let last = load_8::<0>(source, length - 8);
                    target.cast::<u64>().write_unaligned(load_8::<0>(source, 0));
                    target.add(length - 8).cast::<u64>().write_unaligned(last);
                }
                _ => copy_other(source, target, length),
            }
        }
    }

    /// Copies `length` bytes into a part of the ring that no honest peer accesses, and that nobody else writes. A word or two
    /// are therefore moved plainly, which tells the compiler what is not touched.
    ///
    /// # Safety
    /// As for [`copy_out`], the other way round.
    #[inline(always)]
    pub(in crate::memory) unsafe fn copy_in(source: *const u8, target: *mut u8, length: usize) {
        // SAFETY: each arm stays within the length that it is for.
        unsafe {
            match length {
                8 => target
                    .cast::<[u8; 8]>()
                    .write(source.cast::<[u8; 8]>().read()),
                9..=16 => {
                    let first = source.cast::<[u8; 8]>().read();
                    let last = source.add(length - 8).cast::<[u8; 8]>().read();
                    target.cast::<[u8; 8]>().write(first);
                    target.add(length - 8).cast::<[u8; 8]>().write(last);
                }
                #[cfg(target_feature = "sse2")]
                17..GATHERED_BELOW => gather(source, target, length),
                #[cfg(feature = "std")]
                GATHERED_BELOW..WIDE_BELOW if std::arch::is_x86_feature_detected!("avx") => {
                    wide(source, target, length);
                }
                _ => copy_other(source, target, length),
            }
        }
    }

    /// Loads the 8 bytes that are `at` and `OFFSET` behind a base, and that a peer may be writing. To the compiler this touches
    /// no other memory, so what it has in registers stays there.
    ///
    /// # Safety
    /// They are mapped.
    #[inline(always)]
    pub(in crate::memory) unsafe fn load_8<const OFFSET: usize>(base: *const u8, at: usize) -> u64 {
        let value;
        // SAFETY: the contract.
        unsafe {
            asm!(
                "mov {value}, qword ptr [{base} + {at} + {offset}]",
                value = lateout(reg) value,
                base = in(reg) base,
                at = in(reg) at,
                offset = const OFFSET,
                options(nostack, preserves_flags, readonly),
            );
        }
        value
    }

    /// Whether two aligned words `OFFSET` behind a base that somebody else may be writing, each as an atomic and relaxed load
    /// would give it, are those of `expected`, the first in the low half.
    ///
    /// # Safety
    /// They are mapped.
    #[inline(always)]
    pub(in crate::memory) unsafe fn are<const OFFSET: usize>(
        base: *const u8,
        expected: u64,
    ) -> bool {
        // SAFETY: the contract.
        unsafe {
            asm!(
                "cmp qword ptr [{base} + {offset}], {expected}",
                "jne {others}",
                base = in(reg) base,
                offset = const OFFSET,
                expected = in(reg) expected,
                others = label { return false },
                options(nostack, readonly),
            );
        }
        true
    }

    /// So long that what its words wait for no longer counts.
    #[cfg(target_feature = "sse2")]
    const GATHERED_BELOW: usize = 257;

    /// Copies what was written a moment ago: a program fills a message word by word and sends it. The CPU passes a load what
    /// is still on its way to the cache only if one store wrote all of it; a load of two words would wait until both are
    /// there, and all that was stored before them, such as a message into lines that another CPU has. The first line comes
    /// last, as in `wide`.
    ///
    /// # Safety
    /// As for [`copy_in`], for 17 bytes and more.
    #[cfg(target_feature = "sse2")]
    #[inline(never)]
    unsafe fn gather(source: *const u8, target: *mut u8, length: usize) {
        let mut at = length - 16;
        // SAFETY: `at` leaves room for 16 bytes.
        unsafe {
            while at > 0 {
                gather_16(source.add(at), target.add(at));
                at = at.saturating_sub(16);
            }
            gather_16(source, target);
        }
    }

    /// From so many bytes on the CPU's own loop is as quick.
    #[cfg(feature = "std")]
    const WIDE_BELOW: usize = 4096;

    /// Copies by registers of 32 bytes, 4 at a time, from where a line of the target begins, of which the last go to the end
    /// wherever it is. The lines are asked for before, all at once: another CPU has read them, and stores get theirs in turn.
    ///
    /// What is before the first of these lines comes last, and nothing asks for its line. There is the word of a slot, at which
    /// a receiver looks all the time: whatever is stored there takes the line from it, it takes it back, and the store of the
    /// word waits for it again.
    ///
    /// # Safety
    /// As for [`copy_in`], for [`GATHERED_BELOW`] bytes and more, on a CPU with AVX.
    #[cfg(feature = "std")]
    #[inline(never)]
    unsafe fn wide(source: *const u8, target: *mut u8, length: usize) {
        const { assert!(GATHERED_BELOW >= 63 + 129) };
        let before = target.addr().wrapping_neg() % 64;
        // SAFETY: a line is asked for without being touched. There are more than 128 bytes behind the first, each turn of the
        // second loop begins with more than 128 left, and the last 128 are behind where it ends. Those before are 63 at most,
        // and 32 from each of their places are within the length. All wide registers are given up.
        unsafe {
            asm!(
                "lea rax, [rdi + rcx]",
                "mov rdx, rdi",
                "3:",
                "prefetchw byte ptr [rdx]",
                "add rdx, 64",
                "cmp rdx, rax",
                "jb 3b",
                "2:",
                "vmovups ymm0, ymmword ptr [rsi]",
                "vmovups ymm1, ymmword ptr [rsi + 32]",
                "vmovups ymm2, ymmword ptr [rsi + 64]",
                "vmovups ymm3, ymmword ptr [rsi + 96]",
                "vmovups ymmword ptr [rdi], ymm0",
                "vmovups ymmword ptr [rdi + 32], ymm1",
                "vmovups ymmword ptr [rdi + 64], ymm2",
                "vmovups ymmword ptr [rdi + 96], ymm3",
                "add rsi, 128",
                "add rdi, 128",
                "sub rcx, 128",
                "cmp rcx, 128",
                "ja 2b",
                "vmovups ymm0, ymmword ptr [rsi + rcx - 128]",
                "vmovups ymm1, ymmword ptr [rsi + rcx - 96]",
                "vmovups ymm2, ymmword ptr [rsi + rcx - 64]",
                "vmovups ymm3, ymmword ptr [rsi + rcx - 32]",
                "vmovups ymmword ptr [rdi + rcx - 128], ymm0",
                "vmovups ymmword ptr [rdi + rcx - 96], ymm1",
                "vmovups ymmword ptr [rdi + rcx - 64], ymm2",
                "vmovups ymmword ptr [rdi + rcx - 32], ymm3",
                "test {before}, {before}",
                "jz 4f",
                "vmovups ymm0, ymmword ptr [{source}]",
                "vmovups ymm1, ymmword ptr [{source} + {second}]",
                "vmovups ymmword ptr [{target}], ymm0",
                "vmovups ymmword ptr [{target} + {second}], ymm1",
                "4:",
                "vzeroupper",
                inout("rsi") source.add(before) => _,
                inout("rdi") target.add(before) => _,
                inout("rcx") length - before => _,
                out("rax") _,
                out("rdx") _,
                source = in(reg) source,
                target = in(reg) target,
                before = in(reg) before,
                // To where the others begin, or as far as one of these goes.
                second = in(reg) before.max(32) - 32,
                clobber_abi("sysv64"),
                options(nostack),
            );
        }
    }

    /// # Safety
    /// As for [`copy_in`], for 16 bytes.
    #[cfg(target_feature = "sse2")]
    #[inline(always)]
    unsafe fn gather_16(source: *const u8, target: *mut u8) {
        // SAFETY: the contract is that of both accesses.
        unsafe {
            asm!(
                "movq {value}, qword ptr [{source}]",
                "movhps {value}, qword ptr [{source} + 8]",
                "movups xmmword ptr [{target}], {value}",
                value = out(xmm_reg) _,
                source = in(reg) source,
                target = in(reg) target,
                options(nostack, preserves_flags),
            );
        }
    }

    /// All lengths but those that are copied in line.
    ///
    /// # Safety
    /// As for [`copy_out`].
    #[inline(never)]
    unsafe fn copy_other(source: *const u8, target: *mut u8, length: usize) {
        // SAFETY: each arm stays within the length that it is for.
        unsafe {
            match length {
                LONG_BYTES.. => long(source, target, length),
                17.. => middling(source, target, length),
                8.. => {
                    move_8(source, target);
                    move_8(source.add(length - 8), target.add(length - 8));
                }
                4.. => {
                    move_4(source, target);
                    move_4(source.add(length - 4), target.add(length - 4));
                }
                2.. => {
                    move_2(source, target);
                    move_2(source.add(length - 2), target.add(length - 2));
                }
                1 => move_1(source, target),
                0 => {}
            }
        }
    }

    macro_rules! moves {
        ($($name:ident: $register:ident, $format:literal, $size:literal;)*) => {$(
            /// # Safety
            /// As for [`copy_out`], for its bytes.
            #[inline(always)]
            unsafe fn $name(source: *const u8, target: *mut u8) {
                // SAFETY: the contract is that of both accesses.
                unsafe {
                    asm!(
                        concat!("mov {value", $format, "}, ", $size, " ptr [{source}]"),
                        concat!("mov ", $size, " ptr [{target}], {value", $format, "}"),
                        value = out($register) _,
                        source = in(reg) source,
                        target = in(reg) target,
                        options(nostack, preserves_flags),
                    );
                }
            }
        )*};
    }

    moves! {
        move_1: reg_byte, "", "byte";
        move_2: reg, ":x", "word";
        move_4: reg, ":e", "dword";
        move_8: reg, ":r", "qword";
    }

    /// # Safety
    /// As for [`copy_out`], for 16 bytes.
    #[cfg(target_feature = "sse2")]
    #[inline(always)]
    unsafe fn move_16(source: *const u8, target: *mut u8) {
        // SAFETY: the contract is that of both accesses.
        unsafe {
            asm!(
                "movups {value}, xmmword ptr [{source}]",
                "movups xmmword ptr [{target}], {value}",
                value = out(xmm_reg) _,
                source = in(reg) source,
                target = in(reg) target,
                options(nostack, preserves_flags),
            );
        }
    }

    /// # Safety
    /// As for [`copy_out`], for 17 bytes and more.
    #[cfg(target_feature = "sse2")]
    #[inline(always)]
    unsafe fn middling(source: *const u8, target: *mut u8, length: usize) {
        let last = length - 16;
        let mut at = 0;
        // SAFETY: `at` and `last` leave room for 16 bytes.
        unsafe {
            while at + 64 <= length {
                asm!(
                    "movups {a}, xmmword ptr [{source} + {at}]",
                    "movups {b}, xmmword ptr [{source} + {at} + 16]",
                    "movups {c}, xmmword ptr [{source} + {at} + 32]",
                    "movups {d}, xmmword ptr [{source} + {at} + 48]",
                    "movups xmmword ptr [{target} + {at}], {a}",
                    "movups xmmword ptr [{target} + {at} + 16], {b}",
                    "movups xmmword ptr [{target} + {at} + 32], {c}",
                    "movups xmmword ptr [{target} + {at} + 48], {d}",
                    a = out(xmm_reg) _,
                    b = out(xmm_reg) _,
                    c = out(xmm_reg) _,
                    d = out(xmm_reg) _,
                    source = in(reg) source,
                    target = in(reg) target,
                    at = in(reg) at,
                    options(nostack, preserves_flags),
                );
                at += 64;
            }
            while at < last {
                move_16(source.add(at), target.add(at));
                at += 16;
            }
            if at < length {
                move_16(source.add(last), target.add(last));
            }
        }
    }

    /// Programs that have no wide registers let the CPU do it sooner.
    ///
    /// # Safety
    /// As for [`copy_out`], for 17 bytes and more.
    #[cfg(not(target_feature = "sse2"))]
    #[inline(always)]
    unsafe fn middling(source: *const u8, target: *mut u8, length: usize) {
        // SAFETY: passed on.
        unsafe { long(source, target, length) }
    }

    /// # Safety
    /// As for [`copy_out`], for 8 bytes and more.
    #[inline(always)]
    unsafe fn long(source: *const u8, target: *mut u8, length: usize) {
        let last = length - 8;
        // SAFETY: whole words, and then the last 8 bytes, of which some may have been moved.
        unsafe {
            asm!(
                "rep movsq",
                inout("rcx") length / 8 => _,
                inout("rsi") source => _,
                inout("rdi") target => _,
                options(nostack, preserves_flags),
            );
            move_8(source.add(last), target.add(last));
        }
    }
}

#[cfg(not(all(target_arch = "x86_64", not(miri))))]
#[path = "copy/portable.rs"]
mod moves;

#[cfg(test)]
mod tests;
