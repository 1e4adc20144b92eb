//! The x87 and SSE registers of user programs (SDM 1, 10.5). The kernel itself uses none.
//!
//! CR0.TS is set for a thread that never used them; its first use traps (#NM) and makes it a user for good. Users are
//! saved when they are switched out and restored when they are switched in; all others pay nothing.

use core::arch::asm;
use core::sync::atomic::Ordering;

use x86_64::registers::control::{Cr0, Cr0Flags};

use crate::hooks::hooks;
use crate::per_cpu::{is_task_switched, this};

/// The registers of one thread.
#[repr(C, align(16))]
pub(crate) struct ExtendedState {
    area: [u8; 512],
    used: bool,
}

/// The x87 control word after FNINIT and the MXCSR after reset: all exceptions masked.
const INITIAL: [u8; 512] = {
    let mut area = [0; 512];
    [area[0], area[1]] = 0x037f_u16.to_le_bytes();
    [area[24], area[25]] = 0x1f80_u16.to_le_bytes();
    area
};

impl ExtendedState {
    pub(crate) const fn new() -> Self {
        Self {
            area: INITIAL,
            used: false,
        }
    }

    /// Takes the registers of the thread that leaves this CPU.
    fn save(&mut self) {
        if self.used {
            // SAFETY: the area is 512 bytes, aligned to 16; TS is clear, because a user of the registers runs.
            unsafe {
                asm!("fxsave64 [{}]", in(reg) self.area.as_mut_ptr(), options(nostack, preserves_flags))
            };
        }
    }

    /// Gives the thread that comes to this CPU its registers, or none.
    #[inline]
    pub(crate) fn restore(&self) {
        if self.used {
            set_trap(false);
            // Some processors restore where the last x87 instruction was only with an exception that is
            // pending (AMD APM 2, 11.4.4): without the load, a program would find that of another.
            // SAFETY: the area was filled by FXSAVE or is the initial one; TS is clear. No exception is pending
            // when EMMS comes, and what the load pushes is restored over.
            unsafe {
                asm!(
                    "fnclex",
                    "emms",
                    "fild dword ptr [{area}]",
                    "fxrstor64 [{area}]",
                    area = in(reg) self.area.as_ptr(),
                    options(nostack, preserves_flags)
                )
            };
        } else {
            set_trap(true);
        }
    }
}

/// Whether its thread ever used the registers.
#[inline(always)]
pub(crate) fn is_used(state: &ExtendedState) -> bool {
    state.used
}

/// Takes the registers of the thread that leaves this CPU, and gives them to the one that comes.
#[inline(always)]
pub(crate) fn exchange(from: &mut ExtendedState, to: &ExtendedState) {
    // A thread that never used them runs with the trap set, as the next one that never did has to.
    if from.used | to.used {
        from.save();
        to.restore();
    }
}

/// The running thread uses the registers for the first time. False: there is no thread.
pub(crate) fn first_use() -> bool {
    let context = (hooks().extended_state)();
    if context.is_null() {
        return false;
    }
    // SAFETY: the running context is alive, and only the CPU that runs it touches its registers' area.
    let state = unsafe { &mut (*context).extended };
    state.used = true;
    state.restore();
    true
}

/// Writes CR0 only when it changes.
#[inline]
fn set_trap(on: bool) {
    if is_task_switched() != on {
        // SAFETY: TS only decides whether the registers may be used, which the kernel never does.
        unsafe { Cr0::update(|flags| flags.set(Cr0Flags::TASK_SWITCHED, on)) };
        this().task_switched.store(on, Ordering::Relaxed);
    }
}
