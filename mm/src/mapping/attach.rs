//! The directory entries of a mapping: written as they have to be, or cleared.

use core::ops::Range;
use core::sync::atomic::Ordering;

use abi::Rights;
use abi::limits::LEAF_SIZE;

use super::{DETACHED, Mapping};
use crate::region::State;
use crate::space::directory_index;
use crate::{Entry, EntryFlags, Machine, Memory};

impl<M: Machine> Memory<M> {
    /// Writes the entries of some leaves of a mapping as they have to be now. An edge is writable
    /// only if the mapping may write and the region is the only owner of the leaf table (I3).
    #[inline(always)]
    pub(crate) fn attach(&self, state: &State, mapping: &Mapping, leaves: Range<usize>) {
        if mapping.leaves > 1 {
            return self.attach_many(state, mapping, leaves);
        }
        let access = mapping.access();
        let leaf = &state.views[mapping.view][mapping.first_leaf];
        let mut flags = attachment_flags(access);
        if access.contains(Rights::WRITE) && (!may_share(state) || self.owns(leaf)) {
            flags |= EntryFlags::WRITABLE;
        }
        let index = directory_index(mapping.va);
        self.machine
            .store(mapping.directory, index, leaf.attachment(flags));
    }

    #[inline(never)]
    fn attach_many(&self, state: &State, mapping: &Mapping, leaves: Range<usize>) {
        let access = mapping.access();
        let flags = attachment_flags(access);
        let writes = access.contains(Rights::WRITE);
        let shares = may_share(state);
        let view = &state.views[mapping.view];
        self.write_attachments(mapping, leaves, |leaf| {
            let leaf = &view[leaf];
            let mut flags = flags;
            flags.set(EntryFlags::WRITABLE, writes && (!shares || self.owns(leaf)));
            leaf.attachment(flags)
        });
    }

    /// The same for leaves that were shared just now, and nobody owns alone.
    pub(crate) fn attach_shared(&self, state: &State, mapping: &Mapping, leaves: Range<usize>) {
        if crate::sabotaged!("cow_keeps_write_access") {
            return;
        }
        let flags = attachment_flags(mapping.access());
        let view = &state.views[mapping.view];
        if mapping.leaves == 1 {
            let index = directory_index(mapping.va);
            let entry = view[mapping.first_leaf].attachment(flags);
            return self.machine.store(mapping.directory, index, entry);
        }
        self.write_attachments(mapping, leaves, |leaf| view[leaf].attachment(flags));
    }

    pub(super) fn detach_leaves(&self, mapping: &Mapping) {
        if mapping.leaves == 1 {
            let index = directory_index(mapping.va);
            self.machine.store(mapping.directory, index, Entry::HOLE);
        } else {
            self.write_attachments(mapping, mapping.leaves(), |_| Entry::HOLE);
        }
        mapping.state.store(DETACHED, Ordering::Release);
    }

    #[inline(always)]
    pub(crate) fn write_attachments(
        &self,
        mapping: &Mapping,
        leaves: Range<usize>,
        entry: impl Fn(usize) -> Entry,
    ) {
        let first = leaves.start;
        let va = mapping.va + (first - mapping.first_leaf) as u64 * LEAF_SIZE;
        let edit = |directory, index, leaf| {
            let entry = entry(first + leaf);
            self.machine.store(directory, index, entry);
        };
        self.for_each_attachment(&mapping.space, va, leaves.len(), edit);
    }
}

/// Whether another region may hold a leaf of this one.
fn may_share(state: &State) -> bool {
    state.reserve.is_family() && !crate::sabotaged!("cow_keeps_write_access")
}

/// What a directory entry allows besides writing.
fn attachment_flags(access: Rights) -> EntryFlags {
    let mut flags = EntryFlags::USER_PRESENT;
    flags.set(EntryFlags::NO_EXECUTE, !access.contains(Rights::EXECUTE));
    flags
}
