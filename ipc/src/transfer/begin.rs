//! The first half of handing over: what is shared, copied or moved is checked and marked, and then
//! out of the reach of who had it.

use alloc::sync::Arc;

use abi::trace::Cause;
use abi::{Error, GrantFlags, Handle, Mode, ObjectKind, Rights};

use super::{Offer, Source};
use crate::lineage::{Budget, Child, Extent, Lineage};
use crate::node::PENDING;
use crate::{Domain, Ipc, Node, Payload, Platform};

impl<P: Platform> Ipc<P> {
    /// Checks that `sender` may hand `handle` over in this way, and begins.
    ///
    /// `Denied`: GRANT, or for Share DUPLICATE, or for Move MOVE, or for CopyOnWrite READ or DUPLICATE
    /// is missing; `Shared`: a Move of memory that another capability gives access to, or one that
    /// would leave a capability derived from it with more rights than it; `Pinned`: memory that has to
    /// stay where it is; `Invalid`: a flag that says nothing about this mode. Of `rights`, those that
    /// the capability has not are not given; a snapshot may always be written. Until it is
    /// delivered, the sender pays.
    pub fn begin(
        &self,
        sender: &Arc<Domain<P>>,
        handle: Handle,
        mode: Mode,
        rights: Rights,
        flags: GrantFlags,
    ) -> Result<Offer<P>, Error> {
        self.begin_if(sender, handle, mode, rights, flags, |_| Ok(()))
            .map_err(|error| self.refuse_handing_over(sender, handle, mode, flags, error))
    }

    /// The same if it is `allowed`, which is asked as soon as it is known what `handle` stands for,
    /// maybe with a lock of rank `Places`.
    #[inline(always)]
    pub(crate) fn begin_if(
        &self,
        sender: &Arc<Domain<P>>,
        handle: Handle,
        mode: Mode,
        rights: Rights,
        flags: GrantFlags,
        allowed: impl FnOnce(&Node<P>) -> Result<(), Error>,
    ) -> Result<Offer<P>, Error> {
        let offer = self.mark_if(sender, handle, mode, rights, flags, allowed)?;
        match offer.is_pinned() {
            false => Ok(offer),
            true => Err(self.refuse_pinned(offer)),
        }
    }

    /// Takes an offer back of what has to stay where it is: `Pinned`.
    #[cold]
    pub(crate) fn refuse_pinned(&self, offer: Offer<P>) -> Error {
        self.withdraw(offer);
        Error::Pinned
    }

    /// Why `handle` is not handed over in this way, after all that was begun was taken back: what was found, unless
    /// `sender` has it no more, or may not hand it over so, which comes first then.
    #[cold]
    pub(crate) fn refuse_handing_over(
        &self,
        sender: &Domain<P>,
        handle: Handle,
        mode: Mode,
        flags: GrantFlags,
        found: Error,
    ) -> Error {
        let needed = match mm::sabotaged!("pinned_told_to_anybody") {
            true => Rights::empty(),
            false => needed_to(mode, flags),
        };
        match found {
            // What the arguments can't be comes before what the capability lacks.
            Error::Invalid | Error::WrongKind => found,
            _ => match sender.examine(handle, needed) {
                Ok(by) => by.refuse(found),
                Err(gone) => gone,
            },
        }
    }

    /// The same, but that what is to be moved may have to stay where it is.
    #[inline(always)]
    pub(crate) fn mark_if(
        &self,
        sender: &Arc<Domain<P>>,
        handle: Handle,
        mode: Mode,
        rights: Rights,
        flags: GrantFlags,
        allowed: impl FnOnce(&Node<P>) -> Result<(), Error>,
    ) -> Result<Offer<P>, Error> {
        match mode {
            _ if !flags.is_empty() => {
                self.begin_flagged(sender, handle, mode, rights, flags, allowed)
            }
            Mode::Share => self.begin_share(sender, handle, rights, allowed),
            Mode::Move => self.begin_move(sender, handle, rights, allowed),
            Mode::CopyOnWrite => self.begin_copy(sender, handle, rights, flags, allowed),
        }
    }

    #[inline(always)]
    pub(crate) fn begin_share(
        &self,
        sender: &Arc<Domain<P>>,
        handle: Handle,
        rights: Rights,
        allowed: impl FnOnce(&Node<P>) -> Result<(), Error>,
    ) -> Result<Offer<P>, Error> {
        let mut place = sender.table.tenant(handle)?;
        let node = place.named(handle)?;
        sender.check_to_use(handle, node, None, Rights::empty())?;
        allowed(node)?;
        let mut lineage = node.object().lineage.lock();
        node.check_allowed(sender.koid(), needed_to(Mode::Share, GrantFlags::empty()))?;
        let mut child = Child::like(node, rights, PENDING);
        child.budget = Budget::Usual;
        let payer = match mm::sabotaged!("pending_not_charged") {
            true => self.memory().account(),
            false => sender.account(),
        };
        let node = lineage.derive_here(node, child, payer)?;
        Ok(Offer {
            node,
            sender: sender.clone(),
            source: Source::Shared,
        })
    }

    #[inline(always)]
    fn begin_move(
        &self,
        sender: &Arc<Domain<P>>,
        handle: Handle,
        rights: Rights,
        allowed: impl FnOnce(&Node<P>) -> Result<(), Error>,
    ) -> Result<Offer<P>, Error> {
        let mut tenant = sender.table.tenant(handle)?;
        let node = tenant.named(handle)?;
        sender.check_usable(node, None, Rights::empty())?;
        allowed(node)?;
        let mut lineage = node.object().lineage.lock();
        let needed = needed_to(Mode::Move, GrantFlags::empty());
        let before = mark_moved(&mut lineage, sender, node, needed, rights, false)?;
        Ok(Offer::moved(sender, handle, node, before))
    }

    #[inline(never)]
    fn begin_copy(
        &self,
        sender: &Arc<Domain<P>>,
        handle: Handle,
        rights: Rights,
        flags: GrantFlags,
        allowed: impl FnOnce(&Node<P>) -> Result<(), Error>,
    ) -> Result<Offer<P>, Error> {
        let node = sender.examine(handle, Rights::empty())?.node;
        allowed(&node)?;
        let overcommit = flags.contains(GrantFlags::OVERCOMMIT);
        let (snapshot, all) = self.snapshot_of(sender, handle, Rights::GRANT, 0, 0, overcommit)?;
        let payload = Payload::Region(snapshot);
        let copy = self.create_object(sender.account(), payload, all & rights, PENDING)?;
        // For the system it counts when it arrives.
        node.object().count_transfer(Mode::CopyOnWrite);
        Ok(Offer {
            node: copy,
            sender: sender.clone(),
            source: Source::Copied,
        })
    }

    /// Begins to copy what overcommits, or to move what others are to have no more.
    #[inline(never)]
    fn begin_flagged(
        &self,
        sender: &Arc<Domain<P>>,
        handle: Handle,
        mode: Mode,
        rights: Rights,
        flags: GrantFlags,
        allowed: impl FnOnce(&Node<P>) -> Result<(), Error>,
    ) -> Result<Offer<P>, Error> {
        let meaningful = match mode {
            Mode::Move => GrantFlags::REVOKE_OTHERS,
            Mode::Share => GrantFlags::empty(),
            Mode::CopyOnWrite => GrantFlags::OVERCOMMIT,
        };
        if !meaningful.contains(flags) {
            return Err(Error::Invalid);
        }
        if mode == Mode::CopyOnWrite {
            return self.begin_copy(sender, handle, rights, flags, allowed);
        }
        let node = sender.examine(handle, Rights::empty())?.node;
        allowed(&node)?;
        let object = node.object();
        let mut lineage = object.lineage.lock();
        let needed = needed_to(mode, flags);
        let before = mark_moved(&mut lineage, sender, &node, needed, rights, true)?;
        let mut offer = Offer::moved(sender, handle, &node, before);
        if offer.is_pinned() {
            drop(lineage);
            return Err(self.refuse_pinned(offer));
        }
        let killed = lineage.kill(&node, Extent::Below, &|node| self.unlist_timed(node));
        drop(lineage);
        self.bury(object, killed, Cause::Moved);
        if !mm::sabotaged!("pin_refuses_what_was_decided") {
            offer.source = Source::Decided {
                handle,
                rights: before,
            };
        }
        Ok(offer)
    }

    /// Takes the sender's access to what is moved away; no CPU has any when this returns.
    pub fn clear(&self, offer: &Offer<P>) {
        if offer.source.before().is_some() {
            self.clear_node(&offer.node);
            Self::forget_view(offer);
        }
    }

    /// Of an end that is moved away its sender keeps nothing.
    #[inline(always)]
    fn forget_view(offer: &Offer<P>) {
        let is_end = offer.kind() == ObjectKind::RingEnd;
        if is_end && !mm::sabotaged!("view_of_moved_end_kept") {
            offer.sender.space().sweep();
        }
    }

    /// The same, if nothing has to stay where it is; else `Pinned`, and it has all that it had.
    #[inline(always)]
    pub(crate) fn clear_unpinned(&self, offer: &Offer<P>) -> Result<(), Error> {
        match offer.source {
            Source::Shared | Source::Copied => {}
            Source::Moved { .. } => {
                let object = offer.node.object();
                if let Some(region) = object.region() {
                    // Others that are about to move and will be refused keep what they have.
                    let node = &offer.node;
                    self.memory
                        .detach_unpinned(region, |permit| node.permits(permit))?;
                }
                if offer.node.is_shared() {
                    self.complete_revoked_waits(object, Some(&offer.node));
                }
                Self::forget_view(offer);
            }
            Source::Decided { .. } => self.clear(offer),
        }
        Ok(())
    }

    /// Removes every mapping of an object that was made under a node, with the pins, if it is not live.
    pub(crate) fn clear_node(&self, node: &Node<P>) {
        if let Some(region) = node.object().region() {
            let condemned = |permit: &Arc<_>| node.permits(permit) && !permit.is_live();
            self.memory.detach(region, condemned);
        }
        if node.is_shared() {
            self.complete_revoked_waits(node.object(), Some(node));
        }
    }
}

impl<P: Platform> Offer<P> {
    #[inline(always)]
    fn moved(sender: &Arc<Domain<P>>, handle: Handle, node: &Node<P>, rights: Rights) -> Offer<P> {
        Offer {
            node: node.clone(),
            sender: sender.clone(),
            source: Source::Moved { handle, rights },
        }
    }

    /// Whether it is of memory that has to stay where it is, and not decided. Whoever pins asks first whether the node is
    /// live.
    #[inline(always)]
    fn is_pinned(&self) -> bool {
        let moved = matches!(self.source, Source::Moved { .. });
        let region = self.node.object().region();
        moved && region.is_some_and(|region| region.is_pinned())
    }
}

/// The rights that handing over in this way needs.
#[inline(always)]
fn needed_to(mode: Mode, flags: GrantFlags) -> Rights {
    let further = match mode {
        Mode::Share => Rights::DUPLICATE,
        // With this flag it takes what is below, too.
        Mode::Move if flags.contains(GrantFlags::REVOKE_OTHERS) => Rights::MOVE | Rights::REVOKE,
        Mode::Move => Rights::MOVE,
        Mode::CopyOnWrite => Rights::READ | Rights::DUPLICATE,
    };
    Rights::GRANT | further
}

/// Checks that a node may be moved and marks it; returns what it allowed. From here on nothing can be mapped
/// under it. Those below it may have any access if they are about to be `revoked`.
#[inline(always)]
fn mark_moved<P: Platform>(
    lineage: &mut Lineage<P>,
    sender: &Domain<P>,
    node: &Node<P>,
    needed: Rights,
    rights: Rights,
    revoked: bool,
) -> Result<Rights, Error> {
    node.check_allowed(sender.koid(), needed)?;
    if node.is_claimed() {
        return Err(Error::Busy);
    }
    let before = node.rights();
    let after = before & rights;
    if !lineage.is_single() {
        check_relatives(lineage, node, after, revoked)?;
    }
    node.begin_transit(after)?;
    Ok(before)
}

/// `Shared`: somebody else has access to what is to be moved.
#[inline(never)]
fn check_relatives<P: Platform>(
    lineage: &mut Lineage<P>,
    node: &Node<P>,
    after: Rights,
    revoked: bool,
) -> Result<(), Error> {
    // The holder of a node that one may be parked below changes.
    lineage.settle();
    let exclusive = node.object().kind() == ObjectKind::Region;
    let takes_all = revoked && mm::sabotaged!("revoke_others_takes_ancestor");
    if exclusive && !takes_all && lineage.others_have_access(node, revoked) {
        return Err(Error::Shared);
    }
    // What was derived from it must not be left with more than it has (I4).
    if !revoked && lineage.descendants_exceed(node, after) {
        return Err(Error::Shared);
    }
    Ok(())
}
