//! Registers that the switch between processes keeps, or does not tell.

use super::start;
use crate::Case;
use crate::calls::yield_now;
use crate::check::succeeds;

/// Fills the SSE registers with a pattern, waits, and compares.
#[cfg(target_os = "none")]
pub(super) fn vectors_survive(pattern: u64, number: u64) -> bool {
    let changed: u64;
    // SAFETY: programs are compiled without SSE, so nobody else uses the registers; the call takes
    // no arguments.
    unsafe {
        core::arch::asm!(
            "movq xmm0, {pattern}",
            "movq xmm7, {pattern}",
            "movq xmm15, {pattern}",
            "pslldq xmm15, 8",
            "mov {turns}, 20000",
            "2: dec {turns}",
            "jnz 2b",
            "syscall",
            "movq rax, xmm0",
            "xor rax, {pattern}",
            "movq {turns}, xmm7",
            "xor {turns}, {pattern}",
            "or rax, {turns}",
            "psrldq xmm15, 8",
            "movq {turns}, xmm15",
            "xor {turns}, {pattern}",
            "or rax, {turns}",
            pattern = in(reg) pattern,
            turns = out(reg) _,
            inout("rax") number => changed,
            out("rcx") _, out("r11") _,
        );
    }
    changed == 0
}

#[cfg(not(target_os = "none"))]
pub(super) fn vectors_survive(_: u64, _: u64) -> bool {
    true
}

pub fn vector_state(case: &Case) {
    let children = [1u64, 2, 3].map(|pattern| {
        start(
            case.child("vectors")
                .arg(&alloc::format!("{pattern}"))
                .cpus(1),
        )
    });
    children.iter().for_each(succeeds);
}

/// The selector of data, which programs may load anywhere.
const USER_DATA: u64 = 0x1b;

/// The selectors of DS, ES, FS and GS, one after the other.
#[cfg(target_os = "none")]
fn loaded_selectors() -> [u64; 4] {
    let (ds, es, fs, gs);
    // SAFETY: it reads registers.
    unsafe {
        core::arch::asm!(
            "mov {:e}, ds", "mov {:e}, es", "mov {:e}, fs", "mov {:e}, gs",
            out(reg) ds, out(reg) es, out(reg) fs, out(reg) gs,
            options(nomem, nostack, preserves_flags),
        );
    }
    [ds, es, fs, gs]
}

#[cfg(target_os = "none")]
fn load_selectors(selector: u64) {
    // SAFETY: nothing here is reached by a segment.
    unsafe {
        core::arch::asm!(
            "mov ds, {0:e}", "mov es, {0:e}", "mov fs, {0:e}", "mov gs, {0:e}",
            in(reg) selector,
            options(nostack, preserves_flags),
        );
    }
}

#[cfg(not(target_os = "none"))]
fn loaded_selectors() -> [u64; 4] {
    [0; 4]
}

#[cfg(not(target_os = "none"))]
fn load_selectors(_: u64) {}

/// Loads a selector into all again and again, and finds that or none.
pub(super) fn keep_selectors(own: u64) {
    for turn in 0..200 {
        for selector in loaded_selectors() {
            check!(
                selector == 0 || selector == own,
                "selector {selector:#x} in turn {turn}"
            );
        }
        load_selectors(own);
        yield_now();
    }
}

pub fn selectors(case: &Case) {
    let children = [USER_DATA, 0, USER_DATA, 0].map(|own| {
        let own = alloc::format!("{own}");
        start(case.child("selectors").arg(&own).cpus(1))
    });
    children.iter().for_each(succeeds);
}
