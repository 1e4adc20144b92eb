//! Who is told together, and how far a list has been looked through. Nothing is locked here: a batch is
//! the caller's own.

use crate::Platform;

/// Tasks of a batch.
const BATCH: usize = 16;

/// One who was looked at and waits on.
pub(super) struct Seen<P: Platform> {
    pub(super) task: P::Task,
    /// Its wait.
    pub(super) number: u64,
}

impl<P: Platform> Seen<P> {
    pub(super) fn of(task: P::Task) -> Seen<P> {
        let number = P::wait_cell(&task).number();
        Seen { task, number }
    }
}

/// Tasks that are unparked together, after unlocking, and how far they have been looked for.
pub(crate) struct Batch<P: Platform> {
    tasks: [Option<P::Task>; BATCH],
    len: usize,
    /// The last that stays.
    pub(super) seen: Option<Seen<P>>,
    /// How many may still be woken, in all batches.
    pub(super) left: Option<usize>,
}

impl<P: Platform> Batch<P> {
    pub(crate) fn new() -> Batch<P> {
        Batch {
            tasks: [const { None }; BATCH],
            len: 0,
            seen: None,
            left: None,
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.len == BATCH
    }

    pub(super) fn has_room(&self) -> bool {
        !self.is_full() && self.left != Some(0)
    }

    /// Takes the tasks out.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = P::Task> {
        let len = core::mem::take(&mut self.len);
        self.tasks[..len].iter_mut().filter_map(Option::take)
    }

    pub(super) fn push(&mut self, task: P::Task) {
        self.tasks[self.len] = Some(task);
        self.len += 1;
        self.left = self.left.map(|left| left - 1);
    }
}
