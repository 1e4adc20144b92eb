//! Where a task is among those who wait at an object: part of its cell.
//!
//! Lock rank: Waits, that of the cell.

use abi::Rights;

use crate::{Node, Platform};

/// Through which capability somebody waits, and for which of several things.
pub(super) struct Authority<P: Platform> {
    pub(super) node: Node<P>,
    pub(super) holder: u64,
    /// What it has to allow as long as the wait lasts.
    pub(super) right: Rights,
    pub(super) mask: u32,
}

/// Where a task is in a list, but for who is the first. Changes under the lock of that list.
pub(crate) struct Place<P: Platform> {
    /// Missing while it is in no list behind the first.
    pub(super) authority: Option<Authority<P>>,
    /// Nothing for the second in the list, whose neighbour is known.
    pub(super) previous: Option<P::Task>,
    pub(super) next: Option<P::Task>,
}

impl<P: Platform> Default for Place<P> {
    fn default() -> Self {
        Place {
            authority: None,
            previous: None,
            next: None,
        }
    }
}
