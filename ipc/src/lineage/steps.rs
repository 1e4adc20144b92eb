//! How often a walk through a tree looks nodes up: in proportion to how many there are, whatever its shape, as the
//! lock of the tree is held meanwhile. Builds with debug assertions stop at one that takes longer.

#[cfg(debug_assertions)]
use core::cell::Cell;

/// How often a walk may look each node up.
#[cfg(debug_assertions)]
const EACH: usize = 12;

/// What a walk that is under way may still look up.
pub(super) struct Steps {
    #[cfg(debug_assertions)]
    left: Cell<Option<usize>>,
}

impl Steps {
    pub(super) const fn new() -> Steps {
        Steps {
            #[cfg(debug_assertions)]
            left: Cell::new(None),
        }
    }

    /// A walk through a tree of so many nodes begins.
    #[inline(always)]
    pub(super) fn begin(&self, nodes: usize) {
        #[cfg(debug_assertions)]
        self.left.set(Some(EACH * (nodes + 1)));
        let _ = nodes;
    }

    /// It is over.
    #[inline(always)]
    pub(super) fn end(&self) {
        #[cfg(debug_assertions)]
        self.left.set(None);
    }

    /// A node is looked up.
    #[inline(always)]
    pub(super) fn take(&self) {
        #[cfg(debug_assertions)]
        if let Some(left) = self.left.get() {
            assert!(
                left > 0,
                "a walk looks nodes up more than {EACH} times each"
            );
            self.left.set(Some(left - 1));
        }
    }
}
