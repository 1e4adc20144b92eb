//! How a node stands: who has it, and whether it may be used. One word, so that most look-ups compare
//! it once.

use abi::Error;
use core::sync::atomic::Ordering;

use crate::sync::AtomicU64;

/// The bits that are the koid of the domain that has the handle, or one of the constants below.
const HOLDER: u64 = (1 << 60) - 1;
/// The holder of a node whose handle was dropped.
pub(crate) const NOBODY: u64 = 0;
/// The holder of a node that a token stands for.
pub(crate) const PENDING: u64 = HOLDER;
/// The holder of a right to reply that is with the task which it answers, for its next call. Not
/// `NOBODY`: that is what it has on its way to its end, too.
pub(crate) const HOME: u64 = HOLDER - 1;

/// A call is using it, and nobody else may.
const CLAIMED: u64 = 1 << 60;
/// It has a deadline or is for one use.
const LIMITED: u64 = 1 << 61;
const IN_TRANSIT: u64 = 1 << 62;
const DEAD: u64 = 1 << 63;

/// How a node stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NodeState {
    Live,
    /// Moved, and not accepted yet.
    InTransit,
    /// Revoked.
    Dead,
}

/// Who has a node, and how it stands. Changes under the lineage lock; only that a call uses a
/// one-shot capability is noted without it.
pub(crate) struct Standing(AtomicU64);

impl Standing {
    /// Of a live node. One that is `limited` is looked at more closely by whoever looks it up.
    #[inline(always)]
    pub(crate) fn new(holder: u64, limited: bool) -> Standing {
        let limited = if limited { LIMITED } else { 0 };
        Standing(AtomicU64::new(holder | limited))
    }

    #[inline(always)]
    fn load(&self) -> u64 {
        // SYNC(node.standing)
        self.0.load(Ordering::Acquire)
    }

    pub(crate) fn state(&self) -> NodeState {
        let standing = self.load();
        if standing & DEAD != 0 {
            NodeState::Dead
        } else if standing & IN_TRANSIT != 0 {
            NodeState::InTransit
        } else {
            NodeState::Live
        }
    }

    #[inline(always)]
    pub(crate) fn is_live(&self) -> bool {
        self.load() & (DEAD | IN_TRANSIT) == 0
    }

    pub(crate) fn holder(&self) -> u64 {
        self.load() & HOLDER
    }

    #[inline(always)]
    pub(crate) fn set_state(&self, state: NodeState) {
        let bits = match state {
            NodeState::Live => 0,
            NodeState::InTransit => IN_TRANSIT,
            NodeState::Dead => DEAD,
        };
        self.change(|standing| standing & !(IN_TRANSIT | DEAD | CLAIMED) | bits);
    }

    /// Of a node that is not limited: nobody has it any more, and it is dead.
    #[inline(always)]
    pub(crate) fn end(&self) {
        self.0.store(NOBODY | DEAD, Ordering::Release);
    }

    /// Of a node that is not limited, and either live and in nobody's table or [ended](Standing::end):
    /// who has it from now on.
    #[inline(always)]
    pub(crate) fn pass(&self, holder: u64) {
        // SYNC(node.standing)
        self.0.store(holder, Ordering::Release);
    }

    /// Marks a live node as moved away. `Busy`: a call is using it, which may have begun this moment.
    #[inline(always)]
    pub(crate) fn begin_transit(&self) -> Result<(), Error> {
        let standing = self.0.load(Ordering::Relaxed);
        if standing & LIMITED != 0 {
            return self.begin_limited_transit();
        }
        // SYNC(node.standing)
        self.0.store(standing | IN_TRANSIT, Ordering::Release);
        Ok(())
    }

    #[cold]
    fn begin_limited_transit(&self) -> Result<(), Error> {
        let moved = |standing| (standing & CLAIMED == 0).then_some(standing | IN_TRANSIT);
        self.0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, moved)
            .map(|_| ())
            .map_err(|_| Error::Busy)
    }

    #[inline(always)]
    pub(crate) fn set_holder(&self, holder: u64) {
        self.change(|standing| standing & !(HOLDER | CLAIMED) | holder);
    }

    /// Gives a node that is in transit, or in nobody's table, to somebody.
    #[inline(always)]
    pub(crate) fn deliver(&self, holder: u64) {
        self.change(|standing| standing & LIMITED | holder);
    }

    /// Under the lineage lock, where nothing but a claim comes in between.
    #[inline(always)]
    fn change(&self, change: impl Fn(u64) -> u64) {
        let standing = self.0.load(Ordering::Relaxed);
        if standing & LIMITED == 0 {
            // SYNC(node.standing)
            self.0.store(change(standing), Ordering::Release);
        } else {
            let changed = |standing| Some(change(standing));
            let order = (Ordering::AcqRel, Ordering::Relaxed);
            let _ = self.0.fetch_update(order.0, order.1, changed);
        }
    }

    /// Whether `domain` has it, it is live, and nothing limits it.
    #[inline(always)]
    pub(crate) fn is_plainly(&self, domain: u64) -> bool {
        self.load() == domain
    }

    /// Whether `domain` has it and it is live: `BadHandle`, `InTransit`, `Revoked`.
    #[inline(always)]
    pub(crate) fn check_held(&self, domain: u64) -> Result<(), Error> {
        let standing = self.load();
        if standing == domain {
            return Ok(());
        }
        check_held(standing, domain)
    }

    /// Notes that a call uses it. `Busy`: another does.
    pub(crate) fn claim(&self, domain: u64) -> Result<(), Error> {
        let free = domain | LIMITED;
        self.0
            .compare_exchange(free, free | CLAIMED, Ordering::AcqRel, Ordering::Acquire)
            .map(|_| ())
            .map_err(|_| Error::Busy)
    }

    /// Takes that note back.
    pub(crate) fn unclaim(&self) {
        self.0.fetch_and(!CLAIMED, Ordering::AcqRel);
    }

    /// Whether a call is using it.
    pub(crate) fn is_claimed(&self) -> bool {
        self.load() & CLAIMED != 0
    }
}

#[cold]
fn check_held(standing: u64, domain: u64) -> Result<(), Error> {
    if standing & HOLDER != domain {
        // A handle that was moved away may still be in its place for a moment.
        return Err(Error::BadHandle);
    }
    if standing & DEAD != 0 {
        return Err(Error::Revoked);
    }
    if standing & IN_TRANSIT != 0 {
        return Err(Error::InTransit);
    }
    Ok(())
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_a_call_is_using_is_not_moved_and_what_is_moved_is_not_used() {
        let standing = Standing::new(7, true);
        standing.claim(7).unwrap();
        assert_eq!(standing.begin_transit(), Err(Error::Busy));
        assert!(standing.is_claimed() && standing.is_live());
        standing.unclaim();
        standing.begin_transit().unwrap();
        assert_eq!(standing.claim(7), Err(Error::Busy));
        assert_eq!(standing.check_held(7), Err(Error::InTransit));
    }
}
