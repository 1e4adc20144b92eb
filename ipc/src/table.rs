//! The capability table of one process: what its handles stand for.

use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::limits::MAX_HANDLES;
use abi::{Error, Handle, ObjectKind, Rights};

use crate::chunks::Chunks;
use crate::lineage::NodeState;
use crate::{Node, Object, Platform};

/// What a handle stands for, at the moment of looking it up.
#[derive(Debug)]
pub struct Capability<P: Platform> {
    /// Its place in the lineage.
    pub node: Arc<Node<P>>,
}

impl<P: Platform> Capability<P> {
    /// The object.
    pub fn object(&self) -> &Arc<Object<P>> {
        self.node.object()
    }
}

struct Slot<P: Platform> {
    /// Of the tenant it has, or of the next.
    generation: u32,
    node: Option<Arc<Node<P>>>,
}

/// The generation of a slot's next tenant; `None` when the slot is used up and has to be retired.
pub(crate) const fn next_generation(generation: u32) -> Option<u32> {
    if cfg!(sabotage = "generation_not_bumped") {
        return Some(generation);
    }
    generation.checked_add(1)
}

/// Handles and what they stand for. A slot is used again under the next generation; one whose
/// generations are used up is retired, so a handle is never valid twice.
pub(crate) struct Table<P: Platform> {
    slots: Chunks<Slot<P>>,
    /// Empty slots that can be used.
    free: Vec<u32>,
    live: usize,
}

impl<P: Platform> Table<P> {
    pub(crate) const fn new() -> Table<P> {
        Table {
            slots: Chunks::new(),
            free: Vec::new(),
            live: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.live
    }

    /// Makes sure that the next `count` insertions can't fail while the table stays locked.
    pub(crate) fn prepare(&mut self, count: usize) -> Result<(), Error> {
        if self.live + count > MAX_HANDLES {
            return Err(Error::Limit);
        }
        let missing = count.saturating_sub(self.free.len());
        self.slots.reserve(missing)?;
        // Room for every slot, so that giving a handle back never allocates.
        let room = self.slots.len() + missing - self.free.len();
        self.free.try_reserve(room).map_err(|_| Error::NoMemory)
    }

    /// Puts a capability in, after [`prepare`](Table::prepare).
    pub(crate) fn insert(&mut self, node: Arc<Node<P>>) -> Handle {
        let index = self.free.pop().unwrap_or_else(|| {
            // Generations begin at 1, so that no handle is 0.
            self.slots.push(Slot {
                generation: 1,
                node: None,
            }) as u32
        });
        let kind = node.object().kind();
        let slot = &mut self.slots[index as usize];
        slot.node = Some(node);
        self.live += 1;
        Handle::new(index, slot.generation, kind)
    }

    /// Takes a capability out; its handle is never valid again.
    pub(crate) fn remove(&mut self, handle: Handle) -> Option<Arc<Node<P>>> {
        let node = self.get(handle)?.clone();
        let slot = self.slots.get_mut(handle.index() as usize)?;
        slot.node = None;
        self.live -= 1;
        if let Some(next) = next_generation(slot.generation) {
            slot.generation = next;
            self.free.push(handle.index());
        }
        Some(node)
    }

    /// Takes any capability out. For a process that ends.
    pub(crate) fn pop(&mut self) -> Option<Arc<Node<P>>> {
        while let Some(mut slot) = self.slots.pop() {
            if let Some(node) = slot.node.take() {
                self.live -= 1;
                return Some(node);
            }
        }
        self.free.clear();
        None
    }

    /// Whether a handle stands for this very node.
    pub(crate) fn holds(&self, handle: Handle, node: &Arc<Node<P>>) -> bool {
        self.get(handle).is_some_and(|held| Arc::ptr_eq(held, node))
    }

    fn get(&self, handle: Handle) -> Option<&Arc<Node<P>>> {
        let slot = self.slots.get(handle.index() as usize)?;
        let node = slot.node.as_ref()?;
        let genuine =
            slot.generation == handle.generation() && handle.kind() == Some(node.object().kind());
        genuine.then_some(node)
    }

    /// Finds what a handle of `domain` stands for and checks that it may be used so.
    pub(crate) fn look_up(
        &self,
        domain: u64,
        handle: Handle,
        kind: Option<ObjectKind>,
        rights: Rights,
    ) -> Result<Capability<P>, Error> {
        let node = self.get(handle).ok_or(Error::BadHandle)?;
        // A handle that was moved away may still be in its slot for a moment.
        if node.holder() != domain {
            return Err(Error::BadHandle);
        }
        match node.state() {
            NodeState::Live => {}
            NodeState::InTransit => return Err(Error::InTransit),
            NodeState::Dead => return Err(Error::Revoked),
        }
        if kind.is_some_and(|kind| kind != node.object().kind()) {
            return Err(Error::WrongKind);
        }
        if !node.rights().contains(rights) && !cfg!(sabotage = "right_not_checked") {
            return Err(Error::Denied);
        }
        Ok(Capability { node: node.clone() })
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
