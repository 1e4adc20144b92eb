//! The trace: what each CPU does, recorded in a ring of its own that nobody waits for.
//!
//! While no trace is taken, system calls and faults pay nothing, since their hooks are others
//! ([`watch`]), and switches and wakes look at one byte. The ring of a CPU is locked with interrupts
//! off by that CPU alone, but for the moment when the trace ends.
//!
//! Invariant: what is recorded into is a live region (S4). Ending a trace takes the rings away from
//! all CPUs first, and the region of a trace ends it before its frames go.

#![allow(unsafe_code)] // The pages of the trace are reached by the direct map.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use abi::limits::{MAX_CPUS, PAGE_SIZE};
use abi::trace::{
    COUNTS_OFFSET, Event, EventKind, LINE_BYTES, Left, MAX_SLOTS, MIN_SLOTS, SLOT_BYTES,
    SLOTS_OFFSET, Woken, len,
};
use abi::{Error, Handle, Rights};
use arch::{clock, cpu, phys};
use ipc::{Payload, Resource};
use mm::Region;
use ring::memory::trace::{PagePointer, TracePages, end, format};
use ring::trace::Recorder;

use crate::irq_lock::IrqLock;
use crate::machine::ipc;
use crate::process::Process;
use crate::thread::Thread;
use crate::{heap, sched, watch};

/// What whoever starts a trace may do with it.
const RIGHTS: Rights = Rights::READ
    .union(Rights::MAP)
    .union(Rights::GRANT)
    .union(Rights::MOVE)
    .union(Rights::DUPLICATE)
    .union(Rights::REVOKE)
    .union(Rights::INSPECT);

type Ring = Recorder<TracePages<Vec<PagePointer>>>;

/// What each CPU records into.
static RINGS: [IrqLock<Option<Ring>>; MAX_CPUS] = [const { IrqLock::new(None) }; MAX_CPUS];

/// Whether there is anything to record into.
static ON: AtomicBool = AtomicBool::new(false);

/// Which trace it is: a thread tells its name once in each.
static NUMBER: AtomicU32 = AtomicU32::new(0);

/// The trace that is being taken.
enum Taken {
    Nothing,
    /// Its region is being made.
    Soon,
    /// Into the region of this number, whose first page is there.
    Into(u64, PagePointer),
    /// Somebody takes the rings away that lie in the region of this number.
    Ending(u64),
}

static TAKEN: IrqLock<Taken> = IrqLock::new(Taken::Nothing);

/// Whether a trace is being taken.
#[inline(always)]
pub fn is_on() -> bool {
    ON.load(Ordering::Relaxed)
}

/// Begins a trace of `slots` events for each CPU, which the process pays for, by a resource that is the `right` one and
/// allows it still when nothing else can fail.
///
/// Why the resource is not; `Invalid`: not a power of two, or too few or too many; `Exists`: there is one;
/// those of [`make_by_resource`](ipc::Ipc::make_by_resource).
pub fn start(
    process: &Arc<Process>,
    resource: Handle,
    slots: u32,
    right: impl FnOnce(Resource) -> Result<(), Error>,
) -> Result<Handle, Error> {
    let domain = process.domain();
    let mut alone = false;
    let made = ipc().make_by_resource(domain, resource, RIGHTS, |resource| {
        right(resource)?;
        if !slots.is_power_of_two() || !(MIN_SLOTS..=MAX_SLOTS).contains(&slots) {
            return Err(Error::Invalid);
        }
        begin_beginning()?;
        alone = true;
        let bytes = len(cpu::count(), slots) as u64;
        let region = ipc()
            .memory()
            .create_kernel_region(domain.account(), bytes.div_ceil(PAGE_SIZE))?;
        let (header, rings) =
            lay_out(&region, slots).inspect_err(|_| ipc().memory().destroy_region(&region))?;
        let koid = region.koid();
        Ok((Payload::Region(region), move || begin(koid, header, rings)))
    });
    made.inspect_err(|_| {
        if alone {
            *TAKEN.lock() = Taken::Nothing;
        }
    })
}

/// Nobody else begins a trace from now on. `Exists`: there is one, or about to be.
fn begin_beginning() -> Result<(), Error> {
    let mut taken = TAKEN.lock();
    match *taken {
        Taken::Nothing => {
            *taken = Taken::Soon;
            Ok(())
        }
        _ => Err(Error::Exists),
    }
}

/// Ends the trace: with the lock of a lineage, or none. `NotFound`: none is being taken.
pub fn stop() -> Result<(), Error> {
    let header = begin_ending(|_| true).ok_or(Error::NotFound)?;
    finish(header);
    Ok(())
}

/// Ends the trace if it goes into this region, whose memory is about to be returned.
pub fn forget(region: &Region) {
    if let Some(header) = begin_ending(|koid| koid == region.koid()) {
        finish(header);
    }
    // Until then another CPU that ends it may write to the region. It does not wait for anybody.
    while matches!(*TAKEN.lock(), Taken::Ending(koid) if koid == region.koid()) {
        cpu::pause();
    }
}

/// Where the trace goes, if it is to be ended: by the caller alone.
fn begin_ending(is_meant: impl FnOnce(u64) -> bool) -> Option<PagePointer> {
    let mut taken = TAKEN.lock();
    match *taken {
        Taken::Into(koid, header) if is_meant(koid) => {
            *taken = Taken::Ending(koid);
            Some(header)
        }
        _ => None,
    }
}

/// Takes the rings away from the CPUs, and says so in the trace.
fn finish(header: PagePointer) {
    ON.store(false, Ordering::Release);
    sched::set_traced(false);
    watch::end();
    for ring in &RINGS {
        let ring = ring.lock().take();
        drop(ring);
    }
    // SAFETY: the region is still there: `forget` waits for this before its end.
    unsafe { end(header.0) };
    *TAKEN.lock() = Taken::Nothing;
}

/// Writes the header of a new region; that, and a ring for each CPU.
fn lay_out(region: &Region, slots: u32) -> Result<(PagePointer, Vec<Ring>), Error> {
    let page = |index: usize| {
        let frame = region.fixed_frame(index).ok_or(Error::NoMemory)?;
        NonNull::new(phys::to_virtual(frame.address()))
            .map(PagePointer)
            .ok_or(Error::NoMemory)
    };
    let ring_pages = slots as usize * SLOT_BYTES / PAGE_SIZE as usize;
    let counts = page(COUNTS_OFFSET / PAGE_SIZE as usize)?;
    let header = page(0)?;
    let cpus = cpu::count();
    let mut rings = mm::room_for(cpus)?;
    for cpu in 0..cpus {
        // There may be many.
        heap::ensure().map_err(|_| Error::NoMemory)?;
        let mut pages = mm::room_for(ring_pages)?;
        let first = SLOTS_OFFSET / PAGE_SIZE as usize + cpu * ring_pages;
        for index in first..first + ring_pages {
            pages.push(page(index)?);
        }
        // SAFETY: frames of the region, in the direct map; the region keeps them until `forget`, and
        // programs can only read them.
        let pages = unsafe {
            TracePages::from_raw(counts.0.byte_add(cpu * LINE_BYTES).cast(), pages)
                .map_err(|_| Error::Invalid)?
        };
        rings.push(Recorder::new(pages));
    }
    // SAFETY: a zeroed page of the region that nobody has mapped yet.
    unsafe { format(header.0, cpus as u32, slots, clock::now_ns()) };
    Ok((header, rings))
}

/// Gives each CPU its ring in the region of a number. Nothing fails here.
fn begin(koid: u64, header: PagePointer, rings: Vec<Ring>) {
    for (place, ring) in RINGS.iter().zip(rings) {
        *place.lock() = Some(ring);
    }
    NUMBER.fetch_add(1, Ordering::Relaxed);
    watch::begin();
    ON.store(true, Ordering::Release);
    sched::set_traced(true);
    // From here on the end of the region ends the trace, and so may anybody.
    *TAKEN.lock() = Taken::Into(koid, header);
}

/// The number of the object that a handle of the current process names, or 0.
pub fn koid_of(handle: u64) -> u64 {
    sched::with_current(|thread| {
        let process = thread.process()?;
        ipc().koid_of(process.domain(), Handle::from_bits(handle))
    })
    .unwrap_or(0)
}

/// Records what this CPU does.
pub fn record(kind: EventKind, number: u8, arguments: [u64; abi::trace::ARGUMENTS]) {
    sched::with_current(|thread| {
        cpu::without_interrupts(|| {
            introduce(thread);
            put(thread, kind, number, arguments);
        });
    });
}

fn put(thread: &Thread, kind: EventKind, number: u8, arguments: [u64; abi::trace::ARGUMENTS]) {
    let event = Event {
        time_ns: clock::now_ns(),
        thread: thread.koid() as u32,
        kind: kind as u8,
        number,
        arguments,
    };
    if let Some(ring) = RINGS[cpu::current()].lock().as_mut() {
        ring.record(&event.encode());
    }
}

/// Records who a thread is, once in each trace.
fn introduce(thread: &Thread) {
    let trace = NUMBER.load(Ordering::Relaxed);
    let Some(process) = thread.process() else {
        return;
    };
    if thread.introduced.swap(trace, Ordering::Relaxed) == trace {
        return;
    }
    let mut name = [0; 32];
    let bytes = process.name().as_bytes();
    let count = bytes.len().min(name.len());
    name[..count].copy_from_slice(&bytes[..count]);
    let word = |index: usize| {
        let mut word = [0; 8];
        word.copy_from_slice(&name[8 * index..8 * index + 8]);
        u64::from_le_bytes(word)
    };
    let process = process.domain().koid();
    let arguments = [thread.koid(), process, word(0), word(1), word(2), word(3)];
    put(thread, EventKind::Thread, 0, arguments);
}

/// Records that this CPU goes on with another thread. With interrupts off, before it does.
#[cold]
#[inline(never)]
pub fn switched(from: &Thread, to: &Thread) {
    introduce(to);
    let left = if from.has_ended() {
        Left::Ended
    } else if from.is_parked() {
        Left::Asleep
    } else {
        Left::Ready
    };
    let arguments = [to.koid(), from.koid(), left as u64, 0, 0, 0];
    put(from, EventKind::Switch, 0, arguments);
}

/// Records that a thread that slept can go on.
#[cold]
#[inline(never)]
pub fn woke(thread: &Thread, why: Woken) {
    let arguments = [thread.koid(), thread.cpu() as u64, why as u64, 0, 0, 0];
    record(EventKind::Wake, 0, arguments);
}
