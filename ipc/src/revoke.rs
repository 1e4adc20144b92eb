//! Revoke: everything below a capability ends, and then the call returns.
//!
//! First the nodes are marked dead and taken out of their tree, in one hold of the lineage lock that
//! is bounded by [`MAX_NODES`](abi::limits::MAX_NODES) (I10). From then on nothing is derived, granted, accepted or mapped by
//! them: whoever does looks at the node under the lineage lock or at its permit under the region lock.
//! Then what rests on them already is taken away: mappings with a shootdown for up to 64, tokens, waits, and the
//! ring behind an end.

use abi::ring::EndState;
use abi::trace::Cause;
use abi::{Error, Handle, RevokeFlags, Rights};

use crate::lineage::{Extent, Killed};
use crate::{Domain, Ipc, Node, Object, Payload, Platform};

impl<P: Platform> Ipc<P> {
    /// Kills everything derived from a capability, with [`RevokeFlags::ITSELF`] the capability too, and
    /// returns how many capabilities that were. No CPU can reach memory through any of them when it
    /// returns, no token of theirs is good, and no task waits by them (I5).
    pub fn revoke(
        &self,
        domain: &Domain<P>,
        handle: Handle,
        flags: RevokeFlags,
    ) -> Result<u64, Error> {
        let node = domain.look_up(handle, None, Rights::REVOKE)?.node;
        let extent = match flags.contains(RevokeFlags::ITSELF) {
            true => Extent::Itself,
            false => Extent::Below,
        };
        let killed = {
            let mut lineage = node.object().lineage.lock();
            node.check_allowed(domain.koid(), Rights::REVOKE)?;
            lineage.kill(&node, extent, &|node| self.unlist_timed(node))
        };
        let count = killed.count;
        self.bury(node.object(), killed, Cause::Revoked);
        Ok(count)
    }

    /// Kills a node with everything below it, whoever has it.
    pub(crate) fn kill(&self, node: &Node<P>, why: Cause) {
        let unlist = |node: &_| self.unlist_timed(node);
        let mut lineage = node.object().lineage.lock();
        let killed = lineage.kill(node, Extent::Itself, &unlist);
        drop(lineage);
        self.bury(node.object(), killed, why);
    }

    /// Takes away what rests on nodes that were killed, and returns when it is gone.
    #[inline(always)]
    pub(crate) fn bury(&self, object: &Object<P>, killed: Killed, why: Cause) {
        // What another revoke has killed and not yet taken away is gone too when this one returns.
        let waits = killed.joined && !mm::sabotaged!("second_revoke_does_not_wait");
        if killed.count > 0 || waits {
            self.take_away(object, killed, why);
        }
    }

    fn take_away(&self, object: &Object<P>, killed: Killed, why: Cause) {
        if killed.count > 0 {
            self.platform().taken_away(object.koid(), killed.count, why);
        }
        if let Some(region) = object.region() {
            // What is on its way is not, as long as nobody revokes it: who moves it takes away what rests on
            // it, or is refused and has it all.
            self.memory.detach(region, |permit| {
                let moved = mm::sabotaged!("revoke_takes_what_is_moved") && !permit.is_live();
                permit.is_over() || moved
            });
        }
        if killed.granted && !mm::sabotaged!("revoke_skips_tokens") {
            self.drop_dead_grants(object);
        }
        if !mm::sabotaged!("revoke_skips_waiters") {
            self.complete_revoked_waits(object, None);
        }
        if killed.registered {
            self.end_registrations(object);
        }
        if killed.count > 0 {
            object.lineage.lock().end_burial();
        }
        if !killed.emptied {
            return;
        }
        match object.payload() {
            // Its peer is told why.
            Payload::RingEnd(ring, end) => {
                self.end_ring(ring, *end, EndState::Revoked);
                self.forget_object();
            }
            _ => self.destroy_object(object),
        }
    }
}
