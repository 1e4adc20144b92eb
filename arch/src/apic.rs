//! The local APIC of each CPU, in xAPIC mode (SDM 3A, chapter 10): timer, interprocessor interrupts, and
//! what devices have to write to interrupt a CPU.

use core::ops::RangeInclusive;
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use boot::FRAME_SIZE;
use x86_64::instructions::port::Port;
use x86_64::registers::model_specific::{ApicBase, ApicBaseFlags};

use crate::paging::FrameSource;
use crate::trap::{DEVICES, RESCHEDULE, SHOOTDOWN, SPURIOUS, TIMER};
use crate::{acpi, clock, cpu, layout, paging, per_cpu};

/// The registers are the first device page.
const BASE: u64 = layout::DEVICES.start;

const ID: u64 = 0x20;
const TASK_PRIORITY: u64 = 0x80;
const END_OF_INTERRUPT: u64 = 0xb0;
const LOGICAL_DESTINATION: u64 = 0xd0;
const DESTINATION_FORMAT: u64 = 0xe0;
const SPURIOUS_VECTOR: u64 = 0xf0;
/// The first of eight registers, 32 vectors each: interrupts that the CPU has not taken yet.
const REQUESTED: u64 = 0x200;
const ERROR_STATUS: u64 = 0x280;
const COMMAND_LOW: u64 = 0x300;
const COMMAND_HIGH: u64 = 0x310;
const TIMER_ENTRY: u64 = 0x320;
const LINT0_ENTRY: u64 = 0x350;
const LINT1_ENTRY: u64 = 0x360;
const ERROR_ENTRY: u64 = 0x370;
const INITIAL_COUNT: u64 = 0x380;
const CURRENT_COUNT: u64 = 0x390;
const DIVIDE: u64 = 0x3e0;

const ENABLE: u32 = 1 << 8;
const MASKED: u32 = 1 << 16;
const DIVIDE_BY_1: u32 = 0b1011;

const LOGICAL: u32 = 1 << 11;
const DELIVERY_PENDING: u32 = 1 << 12;
const LEVEL_ASSERT: u32 = 1 << 14;
/// Destinations are sets of CPUs, a bit each, instead of cluster and set.
const FLAT: u32 = u32::MAX;
/// The CPUs that a set can name in one command: the flat format has a bit for each of eight, and
/// all eight bits stand for every CPU that there is.
const ALL_FLAT: u64 = 0xff;

const MODE_NMI: u32 = 0b100 << 8;
const MODE_INIT: u32 = 0b101 << 8;
const MODE_START_UP: u32 = 0b110 << 8;

/// What an interprocessor interrupt asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ipi {
    /// Run [`Hooks::shootdown`](crate::hooks::Hooks).
    Shootdown,
    /// Request work before the next return to user mode; a halted CPU wakes up.
    Reschedule,
}

static READY: AtomicBool = AtomicBool::new(false);
/// Timer counts in a nanosecond, with 32 fractional bits.
static COUNTS_PER_NS: AtomicU64 = AtomicU64::new(0);

/// Maps the registers and masks the legacy controllers.
pub(crate) fn init(source: FrameSource) {
    mask_legacy_controllers();
    let address = paging::map_device_page(acpi::local_apic() & !(FRAME_SIZE - 1), source);
    assert_eq!(address, Ok(BASE), "no memory to map the local APIC");
}

/// Sets up the APIC of this CPU.
pub(crate) fn init_cpu() {
    let (frame, flags) = ApicBase::read();
    assert!(
        !flags.contains(ApicBaseFlags::X2APIC_ENABLE),
        "the firmware left the APIC in x2APIC mode"
    );
    // SAFETY: enables the APIC where the registers are mapped.
    unsafe { ApicBase::write(frame, flags | ApicBaseFlags::LAPIC_ENABLE) };
    // Before the APIC is enabled (SDM 3A 11.6.2.2). CPUs beyond the eighth are reached one by one.
    write(DESTINATION_FORMAT, FLAT);
    let bit = 1_u64 << per_cpu::index();
    write(LOGICAL_DESTINATION, ((bit & ALL_FLAT) as u32) << 24);
    write(SPURIOUS_VECTOR, ENABLE | u32::from(SPURIOUS));
    write(TASK_PRIORITY, 0);
    write(LINT0_ENTRY, MASKED);
    write(LINT1_ENTRY, MASKED);
    write(ERROR_ENTRY, MASKED);
    write(DIVIDE, DIVIDE_BY_1);
    write(TIMER_ENTRY, u32::from(TIMER));
    write(INITIAL_COUNT, 0);
    per_cpu::this().apic_id.store(id(), Ordering::Relaxed);
    READY.store(true, Ordering::Release);
}

/// Calibrates the timer together with the clock, on the boot CPU.
pub(crate) fn calibrate() {
    write(TIMER_ENTRY, MASKED);
    write(INITIAL_COUNT, u32::MAX);
    let hz = clock::calibrate(|| u64::from(u32::MAX - read(CURRENT_COUNT)));
    write(INITIAL_COUNT, 0);
    write(TIMER_ENTRY, u32::from(TIMER));
    COUNTS_PER_NS.store(
        ((u128::from(hz) << 32) / 1_000_000_000) as u64,
        Ordering::Relaxed,
    );
}

/// Arms this CPU's timer for `deadline_ns` of the monotonic clock, instead of what it was armed for. One in the past goes
/// off at once. One that is farther away than the counter reaches (seconds) goes off early: the handler looks at
/// the clock and arms it again.
pub fn arm_timer(deadline_ns: u64) {
    let delay_ns = deadline_ns.saturating_sub(clock::now_ns());
    let counts = (u128::from(delay_ns) * u128::from(COUNTS_PER_NS.load(Ordering::Relaxed))) >> 32;
    arm_timer_counts(counts.clamp(1, u128::from(u32::MAX)) as u32);
}

/// Arms this CPU's timer to go off after `counts` of its own rate (for seeded schedules); 0 disarms it.
pub fn arm_timer_counts(counts: u32) {
    write(INITIAL_COUNT, counts);
}

/// Disarms this CPU's timer. An interrupt that is already pending still comes.
pub fn disarm_timer() {
    write(INITIAL_COUNT, 0);
}

/// Where a message-signalled interrupt goes, and what it says (SDM 3A, 11.11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// The address that the device writes to.
    pub address: u64,
    /// The word that it writes.
    pub data: u32,
}

/// The vectors that devices can be given, on each CPU.
pub fn device_vectors() -> RangeInclusive<u8> {
    DEVICES
}

/// What a device has to write to interrupt a CPU at a vector: fixed, edge-triggered, to this CPU alone.
pub fn message(cpu: usize, vector: u8) -> Message {
    const WINDOW: u64 = 0xfee0_0000;
    Message {
        address: WINDOW | u64::from(cpu::apic_id(cpu)) << 12,
        data: vector.into(),
    }
}

/// Whether an interrupt at this vector has arrived at this CPU, which has not taken it yet.
pub fn is_requested(vector: u8) -> bool {
    let register = REQUESTED + u64::from(vector / 32) * 0x10;
    read(register) & 1 << (vector % 32) != 0
}

/// Sends `ipi` to the CPUs of `set` (bit by number). They take it some time after this returns.
/// CPUs that are not online are left out.
pub fn send_ipi(set: u64, ipi: Ipi) {
    let vector = match ipi {
        Ipi::Shootdown => SHOOTDOWN,
        Ipi::Reschedule => RESCHEDULE,
    };
    send_to_set(set, u32::from(vector) | LEVEL_ASSERT);
}

/// Sends a non-maskable interrupt to the CPUs of `set`.
pub(crate) fn send_nmi(set: u64) {
    if READY.load(Ordering::Acquire) {
        send_to_set(set, MODE_NMI | LEVEL_ASSERT);
    }
}

pub(crate) fn send_init(apic_id: u32) {
    send(apic_id, MODE_INIT | LEVEL_ASSERT);
}

pub(crate) fn send_start_up(apic_id: u32, vector: u8) {
    write(ERROR_STATUS, 0);
    send(apic_id, MODE_START_UP | LEVEL_ASSERT | u32::from(vector));
}

/// Says that the interrupt in service is handled.
#[inline]
pub(crate) fn end_of_interrupt() {
    write(END_OF_INTERRUPT, 0);
}

fn id() -> u32 {
    read(ID) >> 24
}

fn send_to_set(set: u64, command: u32) {
    let mut left = set & cpu::online();
    if left != 0 && left < ALL_FLAT {
        return send(left as u32, command | LOGICAL);
    }
    while left != 0 {
        let index = left.trailing_zeros() as usize;
        left &= left - 1;
        send(cpu::apic_id(index), command);
    }
}

/// The two halves of the command register are one pair: an interrupt in between that sends another would split it.
fn send(destination: u32, command: u32) {
    cpu::without_interrupts(|| {
        while read(COMMAND_LOW) & DELIVERY_PENDING != 0 {
            cpu::pause();
        }
        write(COMMAND_HIGH, destination << 24);
        write(COMMAND_LOW, command);
    });
}

#[inline]
fn read(register: u64) -> u32 {
    // SAFETY: a register in the device page that `init` mapped; reading it has no effect on memory.
    unsafe { ptr::read_volatile((BASE + register) as *const u32) }
}

#[inline]
fn write(register: u64, value: u32) {
    // SAFETY: a register in the device page that `init` mapped; the values used here only steer interrupts, for
    // all of which there are handlers.
    unsafe { ptr::write_volatile((BASE + register) as *mut u32, value) };
}

/// All lines of both 8259 controllers off, their vectors away from the exceptions in case of a spurious one.
fn mask_legacy_controllers() {
    const SEQUENCE: [(u16, u8); 10] = [
        (0x20, 0x11),
        (0xa0, 0x11),
        (0x21, 0x20),
        (0xa1, 0x28),
        (0x21, 0x04),
        (0xa1, 0x02),
        (0x21, 0x01),
        (0xa1, 0x01),
        (0x21, 0xff),
        (0xa1, 0xff),
    ];
    for (port, value) in SEQUENCE {
        // SAFETY: the initialization sequence of the controllers, which nobody else uses.
        unsafe { Port::new(port).write(value) };
    }
}
