//! This CPU and the set of all: numbers, features, interrupts, halting.

use core::arch::asm;
use core::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};

use raw_cpuid::{CpuId, CpuIdReaderNative};
use x86_64::instructions::{hlt, interrupts};
use x86_64::registers::control::{Cr0, Cr0Flags, Cr4, Cr4Flags};
use x86_64::registers::model_specific::{Efer, EferFlags, Msr};

use crate::per_cpu;

/// The most CPUs that are used; sets of CPUs are a `u64`.
pub const MAX_CPUS: usize = 64;

/// The page attribute table: entries 0 to 3 as at reset, entry 4 write-combining (SDM 3A 12.12).
const PAT: u64 = 0x0007_0401_0007_0406;
const IA32_PAT: u32 = 0x277;

/// What the CPUs can do beyond what the kernel demands (long mode, NX, FXSAVE, SYSCALL).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// Supervisor mode does not execute user pages.
    pub smep: bool,
    /// Supervisor mode does not access user pages, unless it says so.
    pub smap: bool,
    /// User mode does not read descriptor table registers.
    pub umip: bool,
    /// Pages of 1 GiB.
    pub gigabyte_pages: bool,
}

static FEATURES: AtomicU8 = AtomicU8::new(0);
static ONLINE: AtomicU64 = AtomicU64::new(0);
/// How many bits `ONLINE` has.
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// The dense number of this CPU, from 0. The caller must not move to another CPU while it uses the answer;
/// kernel code does not unless it switches contexts.
#[inline]
pub fn current() -> usize {
    per_cpu::index()
}

/// The CPUs that run, bit by number.
#[inline]
pub fn online() -> u64 {
    ONLINE.load(Ordering::Acquire)
}

/// How many CPUs run.
#[inline]
pub fn count() -> usize {
    COUNT.load(Ordering::Acquire)
}

/// The local APIC id of CPU `index`. Panics when `index` is not below [`MAX_CPUS`]; 0 for a CPU that never ran.
pub fn apic_id(index: usize) -> u32 {
    per_cpu::block(index).apic_id.load(Ordering::Relaxed)
}

/// The NUMA node of CPU `index`.
pub fn node(index: usize) -> usize {
    let id = apic_id(index);
    let found = crate::acpi::processors()
        .iter()
        .find(|cpu| u32::from(cpu.apic_id) == id);
    found.map_or(0, |cpu| cpu.node)
}

/// What the boot CPU can do; the others are taken to be like it.
#[inline]
pub fn features() -> Features {
    let bits = FEATURES.load(Ordering::Relaxed);
    Features {
        smep: bits & 1 != 0,
        smap: bits & 2 != 0,
        umip: bits & 4 != 0,
        gigabyte_pages: bits & 8 != 0,
    }
}

/// Where it is behind the GS base.
pub const KERNEL_WORD: usize = per_cpu::KERNEL_WORD;

/// Where a byte is behind the GS base that is not 0 while something is to be done before the next return to user mode.
pub const USER_RETURN_WORK: usize = per_cpu::USER_RETURN_WORK;

/// A word of this CPU that the platform keeps for the kernel; null at first. Other CPUs don't see it.
#[inline]
pub fn kernel_word() -> *mut () {
    per_cpu::kernel_word()
}

/// Sets the word of this CPU.
#[inline]
pub fn set_kernel_word(word: *mut ()) {
    per_cpu::set_kernel_word(word);
}

/// How many bits a physical address has; entries of page tables have reserved bits above them.
pub fn physical_address_bits() -> u8 {
    let cpuid = CpuId::<CpuIdReaderNative>::new();
    // A CPU that does not say so has 36 (SDM 3A 4.1.4); no page table holds more than 52.
    cpuid
        .get_processor_capacity_feature_info()
        .map_or(36, |capacity| capacity.physical_address_bits().min(52))
}

/// What the page attribute table of this CPU holds, and whether that is what the kernel's entries rely on.
pub fn page_attributes() -> (u64, bool) {
    // SAFETY: every CPU of this architecture has the register, and reading it changes nothing.
    let value = unsafe { Msr::new(IA32_PAT).read() };
    (value, value == PAT)
}

/// Asks for [`Hooks::before_user_return`](crate::hooks::Hooks) before this CPU next returns to user mode.
#[inline]
pub fn request_user_return_work() {
    per_cpu::this()
        .user_return_work
        .store(true, Ordering::Relaxed);
}

/// Runs `f` with interrupts off, and leaves them as they were.
#[inline]
pub fn without_interrupts<R>(f: impl FnOnce() -> R) -> R {
    let _guard = InterruptGuard::new();
    f()
}

/// Interrupts are off while this lives; its end leaves them as they were at its beginning. Guards nest, and end in
/// the reverse order.
#[derive(Debug)]
#[must_use]
pub struct InterruptGuard {
    were_enabled: bool,
}

impl InterruptGuard {
    /// Turns interrupts off.
    #[inline]
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        let were_enabled = interrupts::are_enabled();
        if were_enabled {
            interrupts::disable();
        }
        Self { were_enabled }
    }
}

impl Drop for InterruptGuard {
    #[inline]
    fn drop(&mut self) {
        if self.were_enabled {
            interrupts::enable();
        }
    }
}

/// Whether this CPU takes interrupts.
#[inline]
pub fn interrupts_enabled() -> bool {
    interrupts::are_enabled()
}

/// Turns interrupts on.
#[inline]
pub fn enable_interrupts() {
    interrupts::enable();
}

/// The same from behind the next instruction on, which is not to turn them off again.
#[inline(always)]
pub fn enable_interrupts_behind_next() {
    // SAFETY: as for `enable_interrupts`, an instruction less. What was done before is not moved behind it.
    unsafe { asm!("sti", options(nostack, preserves_flags)) };
}

/// Turns interrupts off.
#[inline]
pub fn disable_interrupts() {
    interrupts::disable();
}

/// Turns interrupts on and halts until one came. With interrupts off before, one that was pending ends it too: none
/// is lost between the caller's last look and the halt (SDM 2B, STI).
#[inline]
pub fn enable_and_halt() {
    interrupts::enable_and_hlt();
}

/// Tells the CPU that this is a loop that waits for another one.
#[inline]
pub fn pause() {
    core::hint::spin_loop();
}

/// Halts this CPU for ever, with interrupts off.
pub fn halt_forever() -> ! {
    loop {
        interrupts::disable();
        hlt();
    }
}

/// Finds the features out. Panics when one that is demanded is missing.
pub(crate) fn detect() {
    let cpuid = CpuId::<CpuIdReaderNative>::new();
    let extended = cpuid.get_extended_processor_and_feature_identifiers();
    let basic = cpuid.get_feature_info();
    assert!(
        extended.as_ref().is_some_and(|e| e.has_execute_disable()),
        "this CPU has no execute-disable bit"
    );
    assert!(
        basic.as_ref().is_some_and(|b| b.has_fxsave_fxstor()),
        "this CPU has no FXSAVE"
    );
    assert!(
        basic.as_ref().is_some_and(|b| b.has_apic()),
        "this CPU has no local APIC"
    );
    let structured = cpuid.get_extended_feature_info();
    let has = |bit, present| if present { bit } else { 0 };
    let bits = has(1, structured.as_ref().is_some_and(|f| f.has_smep()))
        | has(2, structured.as_ref().is_some_and(|f| f.has_smap()))
        | has(4, structured.as_ref().is_some_and(|f| f.has_umip()))
        | has(8, extended.as_ref().is_some_and(|e| e.has_1gib_pages()));
    FEATURES.store(bits, Ordering::Relaxed);
}

/// Gives the control registers known values: firmware leaves bits behind.
pub(crate) fn init_control_registers() {
    let features = features();
    let mut cr4 =
        Cr4Flags::PHYSICAL_ADDRESS_EXTENSION | Cr4Flags::OSFXSR | Cr4Flags::OSXMMEXCPT_ENABLE;
    cr4.set(
        Cr4Flags::SUPERVISOR_MODE_EXECUTION_PROTECTION,
        features.smep,
    );
    cr4.set(Cr4Flags::SUPERVISOR_MODE_ACCESS_PREVENTION, features.smap);
    cr4.set(Cr4Flags::USER_MODE_INSTRUCTION_PREVENTION, features.umip);
    let cr0 = Cr0Flags::PAGING
        | Cr0Flags::WRITE_PROTECT
        | Cr0Flags::NUMERIC_ERROR
        | Cr0Flags::EXTENSION_TYPE
        | Cr0Flags::TASK_SWITCHED
        | Cr0Flags::MONITOR_COPROCESSOR
        | Cr0Flags::PROTECTED_MODE_ENABLE;
    let efer = EferFlags::SYSTEM_CALL_EXTENSIONS
        | EferFlags::LONG_MODE_ENABLE
        | EferFlags::LONG_MODE_ACTIVE
        | EferFlags::NO_EXECUTE_ENABLE;
    // SAFETY: long mode with paging stays on, no bit is set that the CPU lacks, and the kernel depends on none of
    // those that are cleared. The PAT entries that are in use keep their meaning.
    unsafe {
        Efer::write_raw(efer.bits());
        Cr4::write_raw(cr4.bits());
        Cr0::write_raw(cr0.bits());
        Msr::new(IA32_PAT).write(PAT);
    }
    per_cpu::this().task_switched.store(true, Ordering::Relaxed);
}

/// Adds this CPU to the set.
pub(crate) fn set_online() {
    ONLINE.fetch_or(1 << current(), Ordering::AcqRel);
    COUNT.fetch_add(1, Ordering::AcqRel);
}
