//! Starting the other CPUs (SDM 3A 8.4, ACPI 6.4 5.2.12).

use core::cell::UnsafeCell;

use arrayvec::ArrayVec;
use boot::trampoline::{Start, Trampoline};
use spin::Once;

use crate::cpu::{self, MAX_CPUS};
use crate::layout::{IMAGE, PAGE_SIZE};
use crate::paging::{self, FrameSource, MapError};
use crate::phys::{self, TABLE_ENTRIES};
use crate::stack::KernelStack;
use crate::{acpi, apic, clock, init, per_cpu, tlb};

/// Between INIT and the start-up IPI.
const INIT_DELAY_NS: u64 = 200_000;
/// Until the start-up IPI is sent once more.
const RETRY_NS: u64 = 10_000_000;
/// Until a CPU that does not come is left out.
const LIMIT_NS: u64 = 1_000_000_000;

const PRESENT_WRITABLE_ACCESSED: u64 = 0x23;
const PRESENT_ACCESSED: u64 = 0x21;

static MAIN: Once<fn() -> !> = Once::new();

/// The tables under which a CPU starts: the kernel's half, and the trampoline at its own address. In the image, so below
/// 4 GiB, as a 32-bit load of CR3 demands.
#[repr(C, align(4096))]
struct StartTables(UnsafeCell<[[u64; TABLE_ENTRIES]; 4]>);

// SAFETY: only the boot CPU writes it, and not while another one uses it.
unsafe impl Sync for StartTables {}

static START_TABLES: StartTables = StartTables(UnsafeCell::new([[0; TABLE_ENTRIES]; 4]));

/// Starts all other CPUs, one after the other; each sets itself up and runs `main` with interrupts off, on a stack of its
/// own. Returns the APIC ids of those that did not come within a second: they are left out.
///
/// On the boot CPU, once. `Err(NoMemory)`: no more stacks; the CPUs started so far run.
pub fn start_all(
    trampoline_frame: Option<u64>,
    source: FrameSource,
    main: fn() -> !,
) -> Result<ArrayVec<u8, MAX_CPUS>, MapError> {
    MAIN.call_once(|| main);
    let mut missing = ArrayVec::new();
    let this = cpu::apic_id(0);
    let others = acpi::processors()
        .iter()
        .map(|cpu| cpu.apic_id)
        .filter(|id| u32::from(*id) != this);
    let Some(frame) = trampoline_frame else {
        missing.extend(others);
        return Ok(missing);
    };
    let root = fill_start_tables(frame);
    // SAFETY: `boot` set the frame aside for this; the direct map shows it.
    let trampoline = unsafe { Trampoline::new(frame, phys::to_virtual(frame)) };
    // A CPU that did not come leaves its number and its stacks to the next.
    let mut index = 1;
    let mut stack_top = None;
    for apic_id in others {
        if index == MAX_CPUS {
            missing.push(apic_id);
            continue;
        }
        let top = match stack_top {
            Some(top) => top,
            None => {
                init::prepare_interrupt_stacks(index, source)?;
                KernelStack::allocate(source)?.leak()
            }
        };
        trampoline.offer(Start {
            root,
            stack_top: top,
            entry,
            argument: index as u64,
        });
        if start_one(&trampoline, apic_id, index) {
            index += 1;
            stack_top = None;
        } else {
            missing.push(apic_id);
            stack_top = Some(top);
        }
    }
    clear_start_tables();
    Ok(missing)
}

/// False: it did not take the offer in time, and can't any more.
fn start_one(trampoline: &Trampoline, apic_id: u8, index: usize) -> bool {
    let came = || cpu::online() & 1 << index != 0;
    let wait = |limit_ns: u64| {
        let start = clock::now_ns();
        while !came() && clock::now_ns() - start < limit_ns {
            cpu::pause();
        }
        came()
    };
    apic::send_init(u32::from(apic_id));
    clock::delay_ns(INIT_DELAY_NS);
    apic::send_start_up(u32::from(apic_id), trampoline.vector());
    if wait(RETRY_NS) {
        return true;
    }
    apic::send_start_up(u32::from(apic_id), trampoline.vector());
    if wait(LIMIT_NS) {
        return true;
    }
    if trampoline.withdraw() {
        return false;
    }
    // It is on its way: under its number and on its stack, so it has to be waited for.
    assert!(
        wait(LIMIT_NS),
        "CPU with APIC id {apic_id} hangs in its start"
    );
    true
}

/// The first code of another CPU in the high half.
extern "C" fn entry(index: u64) -> ! {
    per_cpu::install(index as usize);
    cpu::init_control_registers();
    // SAFETY: the kernel's tables map all that this code uses, its stack among it.
    unsafe { tlb::load_root(paging::kernel_root()) };
    // SAFETY: the boot CPU prepared this one, which comes here once.
    unsafe { init::init_cpu() };
    cpu::set_online();
    match MAIN.get() {
        Some(main) => main(),
        None => cpu::halt_forever(),
    }
}

/// Returns the physical address of the root.
fn fill_start_tables(frame: u64) -> u32 {
    let tables = START_TABLES.0.get();
    let base = tables as u64 - IMAGE;
    let physical = |level: u64| base + level * PAGE_SIZE;
    // SAFETY: no other CPU was started, so the boot CPU is alone with the tables.
    let [root, pointers, directory, table] = unsafe { &mut *tables };
    for (index, slot) in root.iter_mut().enumerate().skip(TABLE_ENTRIES / 2) {
        // SAFETY: the kernel's root is never freed.
        *slot = unsafe { phys::load_entry(paging::kernel_root(), index) };
    }
    root[0] = physical(1) | PRESENT_WRITABLE_ACCESSED;
    pointers[0] = physical(2) | PRESENT_WRITABLE_ACCESSED;
    directory[0] = physical(3) | PRESENT_WRITABLE_ACCESSED;
    table[(frame / PAGE_SIZE) as usize] = frame | PRESENT_ACCESSED;
    physical(0) as u32
}

/// Nothing is executable at its physical address any more, under any root.
fn clear_start_tables() {
    // SAFETY: all CPUs that took an offer run on the kernel's tables, and no offer is open.
    unsafe { *START_TABLES.0.get() = [[0; TABLE_ENTRIES]; 4] };
}
