//! The lines by which devices interrupt: on each CPU one for each vector that the platform spares.
//!
//! The handler of a line notes that it was written to, and no more; what follows is deferred. Whatever
//! a device does, there is one note for each line.
//!
//! A device may go on writing to a line that was given back, and what it wrote before may still be on
//! its way. So a line rests after its end, and nothing that comes by it meanwhile counts for anybody; it
//! is given away again when nothing has come for [`REST_NS`] and the local APIC, which only its own CPU can ask,
//! has nothing for it. That is why lines are reserved on the CPU of who asks. One that was reserved for an interrupt which
//! was refused then is nobody's at once: no device was told of it.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use abi::limits::MAX_CPUS;
use abi::{Error, InterruptInfo};
use arch::{apic, clock, cpu};
use ipc::{Interrupt, Line};

use crate::irq_lock::IrqLock;
use crate::machine::{Kernel, ipc};
use crate::{deferred, stats};

/// How long nothing must have come by a line before it is given to somebody else, in ns.
const REST_NS: u64 = 100_000_000;

/// Words of a set of vectors.
const WORDS: usize = 4;

/// Who has a line.
enum Owner {
    Nobody,
    /// Whoever is making an interrupt of it.
    Reserved,
    Interrupt(Arc<Interrupt<Kernel>>),
    /// Nobody any more; something came by it at this time, or its end did.
    Resting(u64),
}

/// The lines of a CPU.
struct Lines {
    /// One for each of [`apic::device_vectors`], from boot on.
    owners: Vec<Owner>,
    /// The vectors that were written to, a bit each.
    noted: [u64; WORDS],
}

static CPUS: [IrqLock<Lines>; MAX_CPUS] = [const {
    IrqLock::new(Lines {
        owners: Vec::new(),
        noted: [0; WORDS],
    })
}; MAX_CPUS];

/// Interrupts that nobody wanted.
static STRAYS: AtomicU64 = AtomicU64::new(0);

impl Lines {
    fn owner(&mut self, vector: u8) -> Option<&mut Owner> {
        let index = vector.checked_sub(*apic::device_vectors().start())?;
        self.owners.get_mut(usize::from(index))
    }
}

/// Makes room for the lines of every CPU, before any is used.
pub fn prepare() {
    for cpu in &CPUS[..cpu::count()] {
        let owners = apic::device_vectors().map(|_| Owner::Nobody).collect();
        cpu.lock().owners = owners;
    }
}

/// How many interrupts came that nobody wanted, since boot.
pub fn strays() -> u64 {
    STRAYS.load(Ordering::Relaxed)
}

/// The hook of interrupts that are not the platform's own.
pub fn on_device(vector: u8) {
    stats::count_interrupt();
    let mut lines = CPUS[cpu::current()].lock();
    let wanted = match lines.owner(vector) {
        Some(Owner::Interrupt(_)) => true,
        Some(Owner::Resting(since_ns)) => {
            *since_ns = clock::now_ns();
            false
        }
        Some(Owner::Nobody | Owner::Reserved) | None => false,
    };
    if wanted {
        lines.noted[usize::from(vector) / 64] |= 1 << (vector % 64);
        deferred::request();
    } else {
        STRAYS.fetch_add(1, Ordering::Relaxed);
    }
}

/// Tells the interrupts of this CPU that were noted.
pub fn deliver() {
    let lines = &CPUS[cpu::current()];
    let noted = core::mem::take(&mut lines.lock().noted);
    let set = |vector: &u8| noted[usize::from(*vector) / 64] & 1 << (vector % 64) != 0;
    for vector in apic::device_vectors().filter(set) {
        let interrupt = match lines.lock().owner(vector) {
            Some(Owner::Interrupt(interrupt)) => interrupt.clone(),
            _ => continue,
        };
        ipc().interrupted(&interrupt);
    }
}

/// A line of this CPU that nothing comes by. `Limit`: there is none, or none that has rested.
pub fn reserve() -> Result<Line, Error> {
    let cpu = cpu::current();
    let now = clock::now_ns();
    let mut lines = CPUS[cpu].lock();
    let free = |(vector, owner): &(u8, &mut Owner)| match owner {
        Owner::Nobody => true,
        Owner::Resting(since_ns) => {
            now.saturating_sub(*since_ns) >= REST_NS && !apic::is_requested(*vector)
        }
        Owner::Reserved | Owner::Interrupt(_) => false,
    };
    let mut owners = apic::device_vectors().zip(&mut lines.owners);
    let (vector, owner) = owners.find(free).ok_or(Error::Limit)?;
    *owner = Owner::Reserved;
    let message = apic::message(cpu, vector);
    Ok(Line {
        cpu,
        number: vector,
        message: InterruptInfo {
            address: message.address,
            data: message.data,
            reserved: 0,
        },
    })
}

/// Has what comes by a reserved line told to its interrupt.
pub fn connect(interrupt: &Arc<Interrupt<Kernel>>) {
    let line = interrupt.line();
    if let Some(owner) = CPUS[line.cpu].lock().owner(line.number) {
        *owner = Owner::Interrupt(interrupt.clone());
    }
}

/// Gives a line back. Nothing is told to its interrupt any more.
pub fn release(line: Line) {
    let before = {
        let mut lines = CPUS[line.cpu].lock();
        let resting = Owner::Resting(clock::now_ns());
        lines.owner(line.number).map(|owner| {
            let told = matches!(owner, Owner::Interrupt(_));
            let after = match told || mm::sabotaged!("refused_line_rests") {
                true => resting,
                false => Owner::Nobody,
            };
            core::mem::replace(owner, after)
        })
    };
    // Not under the lock, which is held with interrupts off.
    drop(before);
}
