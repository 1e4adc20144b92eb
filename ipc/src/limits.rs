//! What narrows a capability besides its rights: a badge, a part, an end in time, one use.
//!
//! Time: every look-up compares the deadline with the clock, so no call that begins after it finds
//! the capability. What already rests on it (its mappings, tokens and waits, and everything below it)
//! goes when a CPU has its timers looked at, which it is asked to at the earliest deadline.
//!
//! One use: a call that looks a one-shot capability up claims it, and may look it up again; when the call succeeds, it is
//! dropped, and else free again ([`Ipc::settle`]). What a task has claimed is of the call that it is in: the one that makes
//! others meanwhile, for the entries of a submission ring, is made by no one-shot capability, as such rings have no right
//! that one could be derived by. Lock rank: limits, above the lineage.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};

use abi::limits::NOTIFICATION_BITS;
use abi::trace::Cause;
use abi::{DeriveArgs, DeriveFlags, Error, FOREVER, Handle, Rights, Token};
use mm::lock::{Lock, Rank};

use crate::lineage::Budget;
use crate::node::{Branch, NodeState};
use crate::part::Part;
use crate::platform::Moment;
use crate::{Domain, Ipc, Node, Object, Payload, Platform};

/// What narrows a capability, and all below it that say nothing else.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    pub(crate) badge: u64,
    pub(crate) deadline: u64,
    pub(crate) part: Part,
    pub(crate) one_shot: bool,
}

impl Limits {
    const NONE: Limits = Limits {
        badge: 0,
        deadline: FOREVER,
        part: Part::WHOLE,
        one_shot: false,
    };

    /// Whether a look-up has to look at them.
    pub(crate) fn end(&self) -> bool {
        self.one_shot || self.deadline != FOREVER
    }
}

/// What `cap_derive_with` asks for, checked as far as it can be without the capability.
#[derive(Clone, Copy, Debug)]
pub struct Narrowing {
    pub(crate) rights: Rights,
    nodes: u32,
    badge: u64,
    deadline: u64,
    offset: u64,
    len: u64,
    one_shot: bool,
}

impl Narrowing {
    /// The arguments of the call. `Invalid`: unknown bits, a badge of 64 bits.
    pub fn decode(args: &DeriveArgs) -> Result<Narrowing, Error> {
        let flags = DeriveFlags::from_bits(args.flags).ok_or(Error::Invalid)?;
        if args.reserved != 0 || args.badge & !NOTIFICATION_BITS != 0 {
            return Err(Error::Invalid);
        }
        Ok(Narrowing {
            rights: Rights::from_bits(args.rights).ok_or(Error::Invalid)?,
            nodes: args.max_nodes,
            badge: args.badge,
            deadline: args.deadline,
            offset: args.offset,
            len: args.len,
            one_shot: flags.contains(DeriveFlags::ONE_SHOT),
        })
    }

    /// The limits and rights of a child of `parent`. `Exists`: it has another badge; `Unsupported`,
    /// `Align`, `Range`: the part.
    pub(crate) fn below<P: Platform>(
        &self,
        object: &Object<P>,
        parent: &Branch<P>,
    ) -> Result<(Limits, Rights), Error> {
        let above = parent.limits().map_or(&Limits::NONE, |limits| limits);
        if self.badge != 0 && above.badge != 0 && self.badge != above.badge {
            return Err(Error::Exists);
        }
        let part = match object.payload() {
            Payload::Region(region) => above.part.narrow(region, self.offset, self.len)?,
            _ if (self.offset, self.len) == (0, 0) => above.part,
            _ => return Err(Error::Unsupported),
        };
        let mut rights = self.rights & parent.rights();
        if part != Part::WHOLE {
            // Both are about all of the region.
            rights -= Rights::SEAL | Rights::DESTROY;
        }
        if self.one_shot {
            rights -= Rights::DUPLICATE;
        }
        let limits = Limits {
            badge: above.badge | self.badge,
            deadline: above.deadline.min(self.deadline),
            part,
            one_shot: self.one_shot,
        };
        Ok((limits, rights))
    }

    /// Out of what may be derived below the child.
    pub(crate) fn budget(&self) -> Budget {
        match self.nodes {
            0 => Budget::Shared,
            nodes => Budget::Own(nodes),
        }
    }

    /// Whether the child of `parent` ends at a time of its own.
    pub(crate) fn ends_before<P: Platform>(&self, parent: &Branch<P>) -> bool {
        let above = parent.limits().map_or(FOREVER, |limits| limits.deadline);
        self.deadline < above
    }
}

/// What ends at a time.
pub(crate) enum Ending<P: Platform> {
    /// A capability, with all below it.
    Node(Node<P>),
    /// The grant that a token names.
    Grant(Token),
}

/// Everything that ends at a time, earliest first.
pub(crate) struct Timed<P: Platform> {
    endings: BTreeMap<(u64, u64), Ending<P>>,
    next_number: u64,
}

impl<P: Platform> Timed<P> {
    pub(crate) const fn new() -> Timed<P> {
        Timed {
            endings: BTreeMap::new(),
            next_number: 1,
        }
    }

    /// The number under which the next ending is listed.
    pub(crate) fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number - 1
    }

    /// Lists an ending.
    pub(crate) fn add(&mut self, deadline: u64, number: u64, ending: Ending<P>) {
        // A node of the tree, with what it has of its own.
        const { assert!(11 * size_of::<((u64, u64), Ending<P>)>() + 128 <= mm::MAX_RECORD) }
        self.endings.insert((deadline, number), ending);
    }

    pub(crate) fn remove(&mut self, deadline: u64, number: u64) -> Option<Ending<P>> {
        let ending = self.endings.remove(&(deadline, number));
        self.forget_if_empty();
        ending
    }

    /// An empty map keeps memory that nobody pays for.
    fn forget_if_empty(&mut self) {
        if self.endings.is_empty() {
            self.endings = BTreeMap::new();
        }
    }

    fn earliest(&self) -> u64 {
        self.endings
            .first_key_value()
            .map_or(FOREVER, |((deadline, _), _)| *deadline)
    }

    fn take_due(&mut self, now_ns: u64) -> Option<Ending<P>> {
        let due = self
            .endings
            .first_entry()
            .filter(|entry| entry.key().0 <= now_ns);
        let ending = due.map(|entry| entry.remove());
        self.forget_if_empty();
        ending
    }
}

/// One-shot capabilities that calls of a domain are using.
pub(crate) struct Claims {
    count: AtomicU32,
    list: Lock<Vec<Claim>>,
}

struct Claim {
    task: u64,
    handle: Handle,
}

impl Claims {
    pub(crate) const fn new() -> Claims {
        Claims {
            count: AtomicU32::new(0),
            list: Lock::new(Rank::Limits, Vec::new()),
        }
    }

    /// Room for one more. `NoMemory`.
    fn add(&self, claim: Claim) -> Result<(), Error> {
        let mut list = self.list.lock();
        list.try_reserve(1).map_err(|_| Error::NoMemory)?;
        list.push(claim);
        self.count.store(list.len() as u32, Ordering::Relaxed);
        Ok(())
    }

    fn take(&self, task: u64) -> Option<Handle> {
        let mut list = self.list.lock();
        let place = list.iter().position(|claim| claim.task == task)?;
        let claim = list.swap_remove(place);
        if list.is_empty() {
            *list = Vec::new();
        }
        self.count.store(list.len() as u32, Ordering::Relaxed);
        Some(claim.handle)
    }

    fn has(&self, task: u64, handle: Handle) -> bool {
        let list = self.list.lock();
        list.iter()
            .any(|claim| claim.task == task && claim.handle == handle)
    }
}

impl<P: Platform> Domain<P> {
    /// Whether a call of this domain may be using a one-shot capability, so that whoever ends a call
    /// has to [`settle`](Ipc::settle).
    #[inline(always)]
    pub fn has_claims(&self) -> bool {
        self.claims.count.load(Ordering::Relaxed) > 0
    }

    /// Whether the limits of a node let it be used at this moment. `Revoked`: its time is over.
    pub(crate) fn check_time(&self, node: &Node<P>) -> Result<(), Error> {
        match node.limits() {
            Some(limits) if limits.deadline != FOREVER => {
                let now = self.moment.now_ns();
                if limits.deadline <= now && !mm::sabotaged!("deadline_not_checked") {
                    return Err(Error::Revoked);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Claims a node for the call of the current task if it is for one use. `Busy`: another call is
    /// using it; `NoMemory`.
    pub(crate) fn claim(&self, handle: Handle, node: &Node<P>) -> Result<(), Error> {
        if !node.is_one_shot() {
            return Ok(());
        }
        let task = self.moment.task();
        if let Err(busy) = node.claim(self.koid()) {
            if self.claims.has(task, handle) && !mm::sabotaged!("one_shot_looked_up_once") {
                return Ok(());
            }
            if !mm::sabotaged!("one_shot_used_by_two") {
                return Err(busy);
            }
        }
        let added = self.claims.add(Claim { task, handle });
        added.inspect_err(|_| node.unclaim())
    }
}

impl<P: Platform> Ipc<P> {
    /// Ends a call of the current task: the one-shot capabilities that it used are gone if it
    /// `succeeded`, and else as they were.
    #[cold]
    pub fn settle(&self, domain: &Domain<P>, succeeded: bool) {
        let task = domain.moment.task();
        while let Some(handle) = domain.claims.take(task) {
            if succeeded && !mm::sabotaged!("one_shot_not_used_up") {
                // Another thread may have dropped it meanwhile.
                let _ = self.drop_capability(domain, handle);
            } else {
                let _ = domain.table.with(handle, |node| {
                    node.unclaim();
                    Ok(())
                });
            }
        }
    }

    /// Lists a node of a deadline of its own, unless it is dead already.
    pub(crate) fn list_timed(&self, node: &Node<P>) {
        let Some(deadline) = node.limits().map(|limits| limits.deadline) else {
            return;
        };
        self.change_timed(|timed| timed.add(deadline, node.timed, Ending::Node(node.clone())));
        if node.state() == NodeState::Dead {
            // Whoever killed it may have looked before it was listed.
            self.unlist_timed(node);
        } else {
            self.expire_at(self.next_lapse());
        }
    }

    /// Changes the list of what ends in time.
    pub(crate) fn change_timed<R>(&self, change: impl FnOnce(&mut Timed<P>) -> R) -> R {
        let mut timed = self.timed.lock();
        let result = change(&mut timed);
        if timed.endings.is_empty() {
            // An empty map keeps memory.
            timed.endings = BTreeMap::new();
        }
        self.lapse_ns.store(timed.earliest(), Ordering::Relaxed);
        result
    }

    /// The number of what is to end at a time. `TimedOut`: that has passed.
    pub(crate) fn number_for(&self, domain: &Domain<P>, deadline_ns: u64) -> Result<u64, Error> {
        if deadline_ns == FOREVER {
            return Ok(0);
        }
        if deadline_ns <= domain.moment.now_ns() {
            return Err(Error::TimedOut);
        }
        Ok(self.timed.lock().number())
    }

    /// Takes a node off that list. It is kept by its tree or the caller, also under the lineage lock.
    #[cold]
    pub(crate) fn unlist_timed(&self, branch: &Branch<P>) {
        if branch.timed != 0
            && let Some(limits) = branch.limits()
        {
            // What it keeps is let go after the lock.
            drop(self.change_timed(|timed| timed.remove(limits.deadline, branch.timed)));
        }
    }

    /// The same if it is dead.
    #[inline(always)]
    pub(crate) fn unlist_dead(&self, branch: &Branch<P>) {
        if branch.timed != 0 && branch.state() == NodeState::Dead {
            self.unlist_timed(branch);
        }
    }

    /// When something ends in time next, in ns of the monotonic clock; `FOREVER` stands for never.
    pub(crate) fn next_lapse(&self) -> u64 {
        self.lapse_ns.load(Ordering::Relaxed)
    }

    /// Ends what was to end until now, but for those beyond `most`: capabilities with all below them,
    /// as a revoke does, and grants as a cancel does. With no lock held.
    pub fn lapse(&self, now_ns: u64, most: usize) {
        for _ in 0..most {
            if self.next_lapse() > now_ns {
                return;
            }
            match self.change_timed(|timed| timed.take_due(now_ns)) {
                Some(Ending::Node(node)) => self.kill(&node, Cause::Lapsed),
                Some(Ending::Grant(token)) => self.expire_grant(token),
                None => return,
            }
        }
    }

    /// The limits of a child of `parent`.
    pub(crate) fn limits_below(
        &self,
        domain: &Domain<P>,
        narrowing: &Narrowing,
        parent: &Node<P>,
    ) -> Result<(Arc<Limits>, Rights, u64), Error> {
        let (limits, rights) = narrowing.below(parent.object(), parent)?;
        // With the one above, it ends by itself.
        let timed = match narrowing.ends_before(parent) {
            true => self.number_for(domain, narrowing.deadline)?,
            false => 0,
        };
        Ok((mm::shared(limits), rights, timed))
    }
}
