//! The system itself.

use alloc::sync::Arc;

use abi::limits::MAX_DEBUG_WRITE;
use abi::{Error, NodeFrames, ProcessState, ProcessStatus, SystemInfo, UserPtr};
use arch::{acpi, clock, cpu, serial};

use crate::machine::ipc;
use crate::process::{self, Process};
use crate::{heap, interrupts, memory, sched, stats, user_memory};

pub fn nop(_: &Arc<Process>) -> Result<(), Error> {
    Ok(())
}

pub fn abi_info(_: &Arc<Process>) -> Result<u64, Error> {
    Ok(abi::VERSION)
}

pub fn clock_now(_: &Arc<Process>) -> Result<u64, Error> {
    Ok(clock::now_ns())
}

pub fn debug_write(_: &Arc<Process>, bytes: UserPtr<u8>, len: u64) -> Result<u64, Error> {
    if len > MAX_DEBUG_WRITE {
        return Err(Error::TooLarge);
    }
    let mut text = user_memory::read_array::<u8>(bytes.address(), len as usize)?;
    for byte in &mut text {
        if !matches!(byte, b' '..=b'~' | b'\n' | b'\t') {
            *byte = b'?';
        }
    }
    serial::write_bytes(&text);
    Ok(len)
}

pub fn thread_yield(_: &Arc<Process>) -> Result<(), Error> {
    sched::yield_now();
    Ok(())
}

pub fn exit(_: &Arc<Process>, status: u8) -> Result<(), Error> {
    process::end_current(ProcessStatus {
        state: ProcessState::Exited as u32,
        status: status.into(),
        ..ProcessStatus::default()
    })
}

pub fn system_info(_: &Arc<Process>, info: UserPtr<SystemInfo>) -> Result<(), Error> {
    let pool = ipc().platform().pool();
    // What is promised to the kernel's heap counts as the heap's. The figures are read one after
    // the other, and others allocate meanwhile.
    let promised = heap::promised();
    let nodes = pool.statistics();
    let free: u64 = nodes.iter().map(|node| node.free).sum();
    let free = free.saturating_sub(promised);
    let totals = stats::totals();
    user_memory::write(
        info,
        &SystemInfo {
            cpus: cpu::count() as u32,
            nodes: acpi::nodes() as u32,
            cpu: cpu::current() as u32,
            processes: process::alive() as u32,
            frames_total: pool.total(),
            frames_free: free,
            frames_reserved: free.saturating_sub(pool.available()),
            frames_boot: memory::boot_frames(),
            frames_heap: memory::kernel_frames() + promised,
            heap_used: heap::used() as u64,
            syscalls: totals.syscalls,
            faults: totals.faults,
            interrupts: totals.interrupts,
            shootdowns: ipc().memory().shootdowns(),
            instructions: clock::rdtsc(),
            objects: ipc().object_count(),
            frames_usable: memory::usable_frames(),
            frames_unused: memory::unused_frames(),
            memory_nodes: nodes.map(|node| NodeFrames {
                total: node.total,
                free: node.free,
                given_as_asked: node.given_as_asked,
                given_elsewhere: node.given_elsewhere,
                given_unasked: node.given_unasked,
            }),
            charged: ipc().memory().account().used(),
            stray_interrupts: interrupts::strays(),
        },
    )
}
