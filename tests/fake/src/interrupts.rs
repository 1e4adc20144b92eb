//! CPUs that take no interrupts, each a thread.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use mm::CpuId;

use crate::{Memory, on_cpu};

thread_local! {
    static SPINS_ON: RefCell<Option<Arc<Memory>>> = const { RefCell::new(None) };
}

/// Runs `work` on a CPU that takes no interrupts meanwhile: it answers others only where it waits
/// for acknowledgements or spins for a lock. No other thread acts as this CPU then.
pub fn without_interrupts<R>(memory: &Arc<Memory>, cpu: CpuId, work: impl FnOnce() -> R) -> R {
    struct Unmask<'a>(&'a Memory, u64);
    impl Drop for Unmask<'_> {
        fn drop(&mut self) {
            SPINS_ON.take();
            self.0.machine().masked.fetch_and(!self.1, Ordering::AcqRel);
        }
    }
    let bit = 1 << cpu;
    memory.machine().masked.fetch_or(bit, Ordering::AcqRel);
    let _unmask = Unmask(memory, bit);
    SPINS_ON.set(Some(memory.clone()));
    on_cpu(cpu, work)
}

/// What a CPU does at every turn of a loop that spins for a lock.
pub(crate) fn serve_while_spinning() {
    SPINS_ON.with_borrow(|memory| {
        if let Some(memory) = memory {
            memory.serve();
        }
    });
    // The holder may be waiting for this thread's place on a host CPU.
    std::thread::yield_now();
}
