//! Which CPU the calling thread is.

use std::cell::Cell;

use mm::CpuId;

thread_local! {
    static CURRENT: Cell<CpuId> = const { Cell::new(0) };
}

/// The CPU that this thread acts as: 0 unless [`on_cpu`] says otherwise.
pub fn current_cpu() -> CpuId {
    CURRENT.get()
}

/// Runs `work` as a CPU, inside of what this thread does as another if need be: to the mechanism
/// under test, that is two CPUs of which one is fast.
pub fn on_cpu<R>(cpu: CpuId, work: impl FnOnce() -> R) -> R {
    struct Back(CpuId);
    impl Drop for Back {
        fn drop(&mut self) {
            CURRENT.set(self.0);
        }
    }
    let _back = Back(CURRENT.replace(cpu));
    work()
}
