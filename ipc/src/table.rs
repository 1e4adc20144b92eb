//! The capability table of one process: what its handles stand for.

use alloc::sync::Arc;

use abi::limits::MAX_HANDLES;
use abi::{Error, Handle, ObjectKind, Rights};

use crate::chunks::Chunks;
use crate::{Node, Object, Platform};

/// What a handle stands for, at the moment of looking it up.
#[derive(Debug)]
pub struct Capability<P: Platform> {
    /// Its place in the lineage.
    pub node: Node<P>,
}

impl<P: Platform> Capability<P> {
    /// The object.
    pub fn object(&self) -> &Arc<Object<P>> {
        self.node.object()
    }
}

struct Slot<P: Platform> {
    /// The handle of its tenant, or nothing.
    name: u64,
    node: Option<Node<P>>,
    /// Of the tenant it has, or of the next.
    generation: u32,
    /// The next empty slot that can be used, while this is one.
    next_free: u32,
}

impl<P: Platform> Default for Slot<P> {
    fn default() -> Self {
        Slot {
            name: 0,
            node: None,
            // So that no handle is 0.
            generation: 1,
            next_free: NONE,
        }
    }
}

/// No slot.
const NONE: u32 = u32::MAX;

impl<P: Platform> Slot<P> {
    /// What it has, if that is what the handle was made for.
    #[inline]
    fn names(&self, handle: Handle) -> Option<&Node<P>> {
        self.node.as_ref().filter(|_| self.name == handle.bits())
    }

    fn move_in(&mut self, index: u32, node: Node<P>) -> Handle {
        let handle = Handle::new(index, self.generation, node.object().kind());
        self.name = handle.bits();
        self.node = Some(node);
        handle
    }
}

/// The generation of a slot's next tenant; `None` when the slot is used up and has to be retired.
pub(crate) fn next_generation(generation: u32) -> Option<u32> {
    if mm::sabotaged!("generation_not_bumped") {
        return Some(generation);
    }
    generation.checked_add(1)
}

/// Handles and what they stand for. A slot is used again under the next generation; one whose
/// generations are used up is retired, so a handle is never valid twice.
pub(crate) struct Table<P: Platform> {
    slots: Chunks<Slot<P>>,
    /// The first empty slot that can be used, and how many there are.
    free: u32,
    free_len: usize,
    live: usize,
    /// Insertions that there is to be room for.
    promised: usize,
}

impl<P: Platform> Table<P> {
    pub(crate) const fn new() -> Table<P> {
        Table {
            slots: Chunks::new(),
            free: NONE,
            free_len: 0,
            live: 0,
            promised: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.live
    }

    /// Whether the next insertion takes a slot that is there.
    #[inline]
    pub(crate) fn has_room(&self) -> bool {
        self.free_len > self.promised && self.live + self.promised < MAX_HANDLES
    }

    /// Keeps room for `count` insertions by [`insert_promised`](Table::insert_promised), also while the
    /// table is not locked.
    pub(crate) fn promise(&mut self, count: usize) -> Result<(), Error> {
        if count != 1 || !self.has_room() {
            self.prepare(count)?;
        }
        self.promised += count;
        Ok(())
    }

    /// Gives that room up.
    pub(crate) fn break_promise(&mut self, count: usize) {
        self.promised -= count;
    }

    /// Puts a capability into room that was kept for it.
    pub(crate) fn insert_promised(&mut self, node: Node<P>) -> Handle {
        self.promised -= 1;
        self.insert(node)
    }

    /// Makes sure that the next `count` insertions can't fail while the table stays locked.
    pub(crate) fn prepare(&mut self, count: usize) -> Result<(), Error> {
        let count = self.promised + count;
        if self.live + count > MAX_HANDLES {
            return Err(Error::Limit);
        }
        match count.saturating_sub(self.free_len) {
            0 => Ok(()),
            missing => self.slots.reserve(missing),
        }
    }

    /// Puts a capability in, after [`prepare`](Table::prepare).
    #[inline(always)]
    pub(crate) fn insert(&mut self, node: Node<P>) -> Handle {
        self.live += 1;
        let index = self.free;
        if let Some(slot) = self.slots.get_mut(index as usize) {
            self.free = slot.next_free;
            self.free_len -= 1;
            return slot.move_in(index, node);
        }
        self.append(node)
    }

    #[cold]
    fn append(&mut self, node: Node<P>) -> Handle {
        let index = self.slots.push(Slot::default());
        self.slots[index].move_in(index as u32, node)
    }

    /// Takes a capability out; its handle is never valid again.
    pub(crate) fn remove(&mut self, handle: Handle) -> Option<Node<P>> {
        self.remove_if(handle, |_| Ok(())).ok()
    }

    /// Takes a capability out if `wanted`. `BadHandle`: there is none.
    #[inline]
    pub(crate) fn remove_if(
        &mut self,
        handle: Handle,
        wanted: impl FnOnce(&Node<P>) -> Result<(), Error>,
    ) -> Result<Node<P>, Error> {
        let slot = self.slots.get_mut(handle.index() as usize);
        let slot = slot.ok_or(Error::BadHandle)?;
        wanted(slot.names(handle).ok_or(Error::BadHandle)?)?;
        let node = slot.node.take().ok_or(Error::BadHandle)?;
        self.live -= 1;
        if let Some(next) = next_generation(slot.generation) {
            slot.generation = next;
            slot.next_free = self.free;
            self.free = handle.index();
            self.free_len += 1;
        }
        Ok(node)
    }

    /// Takes any capability out. For a process that ends.
    pub(crate) fn pop(&mut self) -> Option<Node<P>> {
        while let Some(mut slot) = self.slots.pop() {
            if let Some(node) = slot.node.take() {
                self.live -= 1;
                return Some(node);
            }
        }
        self.free = NONE;
        self.free_len = 0;
        None
    }

    /// Whether a handle stands for this very node.
    pub(crate) fn holds(&self, handle: Handle, node: &Node<P>) -> bool {
        self.get(handle).is_some_and(|held| held.is(node))
    }

    #[inline]
    fn get(&self, handle: Handle) -> Option<&Node<P>> {
        self.slots.get(handle.index() as usize)?.names(handle)
    }

    /// What a handle stands for, however it stands.
    #[inline]
    pub(crate) fn find(&self, handle: Handle) -> Result<&Node<P>, Error> {
        self.get(handle).ok_or(Error::BadHandle)
    }

    /// Finds what a handle of `domain` stands for and checks that it may be used so.
    #[inline]
    pub(crate) fn look_up(
        &self,
        domain: u64,
        handle: Handle,
        kind: Option<ObjectKind>,
        rights: Rights,
    ) -> Result<&Node<P>, Error> {
        let node = self.get(handle).ok_or(Error::BadHandle)?;
        node.check_held(domain)?;
        if kind.is_some_and(|kind| kind != node.object().kind()) {
            return Err(Error::WrongKind);
        }
        if !node.rights().contains(rights) && !mm::sabotaged!("right_not_checked") {
            return Err(Error::Denied);
        }
        Ok(node)
    }
}

#[cfg(test)]
mod tests {
    use super::next_generation;

    #[test]
    fn a_slot_whose_generations_are_used_up_is_retired() {
        assert_eq!(next_generation(1), Some(2));
        assert_eq!(next_generation(u32::MAX - 1), Some(u32::MAX));
        assert_eq!(next_generation(u32::MAX), None);
    }
}
