//! What CPUs may still reach by what they have cached, until it was waited for.
//!
//! Invariant kept here (docs/INVARIANTS.md): I2. What is held comes out only of [`Stale::wait`].

use core::mem;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::Ordering;

use static_assertions::assert_not_impl_any;

use super::{ANY_SPACE, Plan};
use crate::sync::fence;
use crate::{AddressSpace, CpuSet, Machine, Memory};

/// Something that a CPU may still reach through a translation that it has cached. It comes out only
/// of [`wait`](Stale::wait), and only `mm` makes one.
///
/// ```
/// fn wait<T, M: mm::Machine>(stale: mm::Stale<T>, memory: &mm::Memory<M>) -> T {
///     stale.wait(memory)
/// }
/// ```
///
/// It can't be opened:
/// ```compile_fail,E0616
/// fn open<T>(stale: mm::Stale<T>) -> T {
///     stale.held
/// }
/// ```
/// nor looked into:
/// ```compile_fail,E0614
/// fn look<T: Copy>(stale: mm::Stale<T>) -> T {
///     *stale
/// }
/// ```
/// nor doubled, to wait for one and open the other:
/// ```compile_fail,E0382
/// fn double<T, M: mm::Machine>(stale: mm::Stale<T>, memory: &mm::Memory<M>) -> (T, T) {
///     (stale.wait(memory), stale.wait(memory))
/// }
/// ```
/// nor made elsewhere, around what nobody waits for:
/// ```compile_fail,E0624
/// fn forge<M: mm::Machine>(memory: &mm::Memory<M>, space: &mm::AddressSpace) -> mm::Stale<()> {
///     mm::Stale::in_space(memory, (), space, mm::Plan::Barrier)
/// }
/// ```
/// and who forgets it is told:
/// ```compile_fail
/// #![deny(unused_must_use)]
/// fn forget(make: impl FnOnce() -> mm::Stale<()>) {
///     make();
/// }
/// ```
///
/// Dropping one loses what it holds, for the frames behind it can be neither freed nor used: with
/// debug assertions that is a panic.
#[must_use = "what is stale must be waited for before it is used again"]
#[derive(Debug)]
pub struct Stale<T> {
    held: T,
    space: u64,
    plan: Plan,
    targets: CpuSet,
    unwaited: Unwaited,
}

assert_not_impl_any!(
    Stale<alloc::vec::Vec<u8>>: Clone, Copy, Deref, DerefMut, AsRef<alloc::vec::Vec<u8>>,
    AsMut<alloc::vec::Vec<u8>>, Into<alloc::vec::Vec<u8>>, IntoIterator, Default
);

/// Complains when it is dropped.
#[derive(Debug)]
struct Unwaited;

impl Drop for Unwaited {
    fn drop(&mut self) {
        debug_assert!(false, "what is stale was dropped, and nobody waited for it");
    }
}

impl<T> Stale<T> {
    /// After an edit of the entries of one space.
    pub(crate) fn in_space<M: Machine>(
        memory: &Memory<M>,
        held: T,
        space: &AddressSpace,
        plan: Plan,
    ) -> Stale<T> {
        edit_before_look();
        Stale::of(held, space.koid(), plan, memory.active(space))
    }

    /// After an edit of the entries of several spaces: one round for all of them.
    pub(crate) fn in_spaces<'a, M: Machine>(
        memory: &Memory<M>,
        held: T,
        spaces: impl Iterator<Item = &'a AddressSpace>,
    ) -> Stale<T> {
        Stale::in_spaces_range(memory, held, spaces, Plan::Full)
    }

    /// The same where every space has what was edited at the addresses of one plan.
    pub(crate) fn in_spaces_range<'a, M: Machine>(
        memory: &Memory<M>,
        held: T,
        spaces: impl Iterator<Item = &'a AddressSpace>,
        plan: Plan,
    ) -> Stale<T> {
        edit_before_look();
        let targets = spaces.fold(CpuSet::EMPTY, |set, space| set.union(memory.active(space)));
        Stale::of(held, ANY_SPACE, plan, targets)
    }

    fn of(held: T, space: u64, plan: Plan, targets: CpuSet) -> Stale<T> {
        Stale {
            held,
            space,
            plan,
            targets,
            unwaited: Unwaited,
        }
    }

    /// Makes every CPU that could have cached an old entry forget it, waits until all have, and
    /// hands out what was held.
    ///
    /// Call it from thread context, on one CPU throughout, one call at a time a CPU. Interrupts may
    /// be off: what others ask of this CPU is served meanwhile.
    pub fn wait<M: Machine>(self, memory: &Memory<M>) -> T {
        let Stale {
            held,
            space,
            plan,
            targets,
            unwaited,
        } = self;
        mem::forget(unwaited);
        memory.broadcast(space, plan, targets);
        held
    }
}

#[cfg(loom)]
impl<T> Stale<T> {
    /// For a model, which edits entries of its own.
    pub fn model<M: Machine>(
        memory: &Memory<M>,
        held: T,
        space: &AddressSpace,
        plan: Plan,
    ) -> Stale<T> {
        Stale::in_space(memory, held, space, plan)
    }

    /// The same for several spaces.
    pub fn model_of_all<M: Machine>(
        memory: &Memory<M>,
        held: T,
        spaces: &[&AddressSpace],
        plan: Plan,
    ) -> Stale<T> {
        Stale::in_spaces_range(memory, held, spaces.iter().copied(), plan)
    }
}

/// Between the edit of an entry and the look at who has the space loaded.
fn edit_before_look() {
    if !crate::sabotaged!("shootdown_fence_missing") {
        // SYNC(space.loaded): pairs with the load of a root.
        fence(Ordering::SeqCst);
    }
}
