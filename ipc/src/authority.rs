//! What can be done with capabilities themselves: derived, dropped, reduced, told about.

use alloc::sync::Arc;

use abi::{CapInfo, DeriveFlags, Error, FOREVER, Handle, Rights};

use crate::limits::Narrowing;
use crate::lineage::{Child, Released};
use crate::{Domain, Ipc, Node, Payload, Platform};

impl<P: Platform> Ipc<P> {
    /// Makes a capability below another with at most `rights`, for which the domain pays.
    ///
    /// `Limit`: of the other one, no more can be derived.
    pub fn derive(
        &self,
        domain: &Domain<P>,
        handle: Handle,
        rights: Rights,
    ) -> Result<Handle, Error> {
        let mut table = domain.table.lock();
        if !table.has_room() {
            // What is wrong with the handle comes before what is wrong with the table.
            table.with(handle, |node| {
                domain.check_usable(node, None, Rights::DUPLICATE)
            })?;
            table.prepare(1)?;
        }
        let node = table.with(handle, |source| {
            let check = || domain.check_usable(source, None, Rights::DUPLICATE);
            let careless = mm::sabotaged!("derived_without_lock");
            if careless {
                check()?;
            }
            let mut lineage = source.object().lineage.lock();
            if !careless {
                check()?;
            }
            lineage.derive_like(source, rights, domain.koid(), domain.account())
        })?;
        Ok(table.insert(node))
    }

    /// The same, narrowed further.
    ///
    /// Besides: `Exists`: it has another badge; `Range`, `Align`: the part of a region; `Unsupported`:
    /// a part of what has none.
    pub fn derive_with(
        &self,
        domain: &Domain<P>,
        handle: Handle,
        narrowing: &Narrowing,
    ) -> Result<Handle, Error> {
        let mut table = domain.table.lock();
        let prepared = table.prepare(1);
        let node = table.with(handle, |source| {
            domain.check_usable(source, None, Rights::DUPLICATE)?;
            let (limits, rights, timed) = self.limits_below(domain, narrowing, source)?;
            prepared?;
            let mut lineage = source.object().lineage.lock();
            domain.check_usable(source, None, Rights::DUPLICATE)?;
            let child = Child {
                rights,
                holder: domain.koid(),
                budget: narrowing.budget(),
                limits: Some(limits),
                timed,
            };
            lineage.derive(source, child, domain.account())
        })?;
        let listed = (node.timed != 0).then(|| node.clone());
        let derived = table.insert(node);
        drop(table);
        if let Some(node) = listed {
            self.list_timed(&node);
        }
        Ok(derived)
    }

    /// Gives a capability back. Its mappings stay, but for the view of a ring end, which is closed.
    #[inline(always)]
    pub fn drop_capability(&self, domain: &Domain<P>, handle: Handle) -> Result<(), Error> {
        let node =
            domain
                .table
                .lock()
                .remove_if(handle, |node| match node.check_held(domain.koid()) {
                    Err(Error::Revoked) => Ok(()),
                    held => held,
                })?;
        let parked = {
            let mut lineage = node.object().lineage.lock();
            lineage.park(&node, domain.koid(), domain.account())
        };
        if !parked {
            self.forget(domain, &node);
        }
        Ok(())
    }

    /// What becomes of a node that its holder gave up.
    pub(crate) fn forget(&self, domain: &Domain<P>, node: &Node<P>) {
        let object = node.object();
        let is_end = matches!(object.payload(), Payload::RingEnd(..));
        if let Payload::Hub(hub) = object.payload()
            && node.is_root()
        {
            // Others may have been let join by capabilities below it.
            self.end_hub(hub);
        }
        let (released, shared) = {
            let mut lineage = object.lineage.lock();
            // Before its tree may let it go.
            let shared = node.is_shared();
            let released = match node.check_held(domain.koid()) {
                Ok(()) if !is_end => lineage.give_up(node, &|above| self.unlist_timed(above)),
                Ok(()) | Err(Error::Revoked) => {
                    node.drop_holder();
                    node.forbid_mappings();
                    Released::default()
                }
                // What was moved away belongs to its token or its new holder.
                Err(_) => return,
            };
            (released, shared)
        };
        if shared {
            match object.payload() {
                Payload::Region(region) => {
                    self.unpin_where(region, |permit| node.permits(permit));
                }
                _ if mm::sabotaged!("drop_skips_waiters") => {}
                _ => self.complete_revoked_waits(object, None),
            }
            if node.is_registered() {
                self.end_registrations(object);
            }
        }
        if is_end {
            self.clear_node(node);
            self.release(node);
        } else {
            self.after_release(node, released);
        }
        // Nobody unmaps a view: it goes with the handle, however what it showed was taken away.
        let has_view = is_end || matches!(object.payload(), Payload::SubmissionRing(_));
        if has_view && !mm::sabotaged!("view_kept_without_handle") {
            domain.space().sweep();
        }
    }

    /// What is left to do after nodes left a tree.
    #[inline(always)]
    pub(crate) fn after_release(&self, node: &Node<P>, released: Released) {
        self.unlist_dead(node);
        if released.emptied {
            self.destroy_object(node.object());
        }
    }

    /// Takes rights away from a capability in place, and from everything below it. When it returns, no
    /// mapping under any of them allows more on any CPU, and nobody waits by one of them for what it does not
    /// allow any more: waits end with `Denied`, bindings of ports are gone, and timers and interrupts that
    /// set bits by them set none. Pins that nobody could take back any more are taken back.
    pub fn reduce(&self, domain: &Domain<P>, handle: Handle, rights: Rights) -> Result<(), Error> {
        let (object, reduced) = domain.with_lineage(handle, |node, lineage| {
            Ok((node.object().clone(), lineage.reduce(node, rights)))
        })?;
        if reduced.changed || reduced.joined {
            if let Some(region) = object.region()
                && !mm::sabotaged!("reduce_keeps_mappings")
            {
                self.memory.restrict(region);
            }
            if let Some(region) = object.region()
                && !mm::sabotaged!("reduce_keeps_pins")
            {
                // What is about to move, and may be refused, has its own as long as it may map.
                self.unpin_where(region, |permit| !permit.access().contains(Rights::MAP));
            }
            if !mm::sabotaged!("reduce_keeps_waits") {
                self.complete_revoked_waits(&object, None);
            }
        }
        if reduced.changed {
            object.lineage.lock().end_burial();
        }
        Ok(())
    }

    /// Facts about a capability.
    pub fn capability_info(&self, domain: &Domain<P>, handle: Handle) -> Result<CapInfo, Error> {
        domain.with_lineage(handle, |node, lineage| {
            lineage.settle();
            let object = node.object();
            let part = node.part();
            let (offset, len) = match object.payload() {
                Payload::Region(region) => (part.offset(), part.len_in(region)),
                _ => (0, 0),
            };
            let one_shot = node.limits().is_some_and(|limits| limits.one_shot);
            let mut flags = DeriveFlags::empty();
            flags.set(DeriveFlags::ONE_SHOT, one_shot);
            Ok(CapInfo {
                koid: object.koid(),
                rights: node.rights().bits(),
                kind: object.kind() as u32,
                descendants: lineage.count_descendants(node),
                badge: node.badge(),
                deadline: node.limits().map_or(FOREVER, |limits| limits.deadline),
                offset,
                len,
                nodes_left: lineage.nodes_left(node),
                flags: flags.bits(),
            })
        })
    }

    /// Whether two handles name one object.
    pub fn same_object(&self, domain: &Domain<P>, a: Handle, b: Handle) -> Result<bool, Error> {
        let a = domain.examine(a, Rights::empty())?;
        let b = domain.examine(b, Rights::empty())?;
        let same = Arc::ptr_eq(a.object(), b.object());
        // While the one stays as it is, the other is there still.
        b.commit(|| a.node.check_held(a.holder).map(|()| same))
    }
}
