//! Handing over: begin, clear, deliver; or withdraw.
//!
//! *Begin* checks everything and marks; it is the last step that can fail. *Clear* removes what
//! the sender had mapped and waits for every CPU. Only then is the offer shown to the receiver
//! (I6): at no instant can both reach what is moved.

use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::{Error, Handle, Mode, ObjectKind, Rights};

use mm::lock::Guard;

use crate::node::{NodeState, PENDING};
use crate::table::Table;
use crate::{Domain, Ipc, Node, Payload, Platform};

/// A capability on its way to another domain. It is delivered or withdrawn, never just dropped.
#[must_use = "an offer is delivered or withdrawn"]
pub struct Offer<P: Platform> {
    /// The capability that the receiver will have.
    pub(crate) node: Node<P>,
    pub(crate) sender: Arc<Domain<P>>,
    source: Source,
}

/// What happens to the sender's capability.
enum Source {
    /// It stays, and the offered one is below it.
    Shared,
    /// It is the offered one.
    Moved {
        handle: Handle,
        /// What it allowed, in case it comes back.
        rights: Rights,
    },
}

impl<P: Platform> Offer<P> {
    /// How it is handed over.
    pub fn mode(&self) -> Mode {
        match self.source {
            Source::Shared => Mode::Share,
            Source::Moved { .. } => Mode::Move,
        }
    }

    /// What kind of object it is.
    pub fn kind(&self) -> ObjectKind {
        self.node.object().kind()
    }
}

impl<P: Platform> Ipc<P> {
    /// Checks that `sender` may hand `handle` over in this way, and begins.
    ///
    /// `Denied`: GRANT, or for Share DUPLICATE, or for Move MOVE is missing; `Shared`: a Move of
    /// memory that another capability gives access to, or one that would leave a capability derived
    /// from it with more rights than it; `Unsupported`: CopyOnWrite. Of `rights`, those
    /// that the capability has not are not given.
    pub fn begin(
        &self,
        sender: &Arc<Domain<P>>,
        handle: Handle,
        mode: Mode,
        rights: Rights,
    ) -> Result<Offer<P>, Error> {
        let needed = match mode {
            Mode::Move => Rights::GRANT | Rights::MOVE,
            Mode::Share => Rights::GRANT | Rights::DUPLICATE,
            Mode::CopyOnWrite => return Err(Error::Unsupported),
        };
        let capability = sender.look_up(handle, None, needed)?;
        let node = capability.node;
        let mut lineage = node.object().lineage.lock();
        node.check_held(sender.koid())?;
        match mode {
            Mode::Share => {
                let node = lineage.derive(&node, rights, PENDING)?;
                Ok(Offer {
                    node,
                    sender: sender.clone(),
                    source: Source::Shared,
                })
            }
            Mode::Move | Mode::CopyOnWrite => {
                let exclusive = node.object().kind() == ObjectKind::Region;
                if exclusive && lineage.others_have_access(&node) {
                    return Err(Error::Shared);
                }
                let before = node.rights();
                let after = before & rights;
                // What was derived from it must not be left with more than it has (I4).
                if lineage.descendants_exceed(&node, after) {
                    return Err(Error::Shared);
                }
                node.set_state(NodeState::InTransit);
                node.set_rights(after);
                drop(lineage);
                Ok(Offer {
                    node,
                    sender: sender.clone(),
                    source: Source::Moved {
                        handle,
                        rights: before,
                    },
                })
            }
        }
    }

    /// Takes the sender's access to what is moved away; no CPU has any when this returns.
    pub fn clear(&self, offer: &Offer<P>) {
        if let Source::Moved { .. } = offer.source {
            self.clear_node(&offer.node);
        }
    }

    /// Removes every mapping that was made under a node.
    pub(crate) fn clear_node(&self, node: &Node<P>) {
        if let Some(region) = node.object().region() {
            self.memory.detach(region, |permit| node.is_permit(permit));
        }
    }

    /// Gives what was offered to `receiver`, whose table is locked and prepared for it. `Revoked`:
    /// it was revoked on the way, and nothing is left of it.
    pub(crate) fn deliver(
        &self,
        offer: Offer<P>,
        receiver: &Domain<P>,
        mut table: Guard<'_, Table<P>>,
    ) -> Result<Handle, Error> {
        let to_itself = offer.sender.koid() == receiver.koid();
        if let Source::Moved { handle, .. } = offer.source
            && to_itself
        {
            table.remove(handle);
        }
        {
            let _lineage = offer.node.object().lineage.lock();
            if offer.node.state() == NodeState::Dead {
                return Err(Error::Revoked);
            }
            offer.node.set_holder(receiver.koid());
            offer.node.set_state(NodeState::Live);
        }
        if let Payload::RingEnd(ring, end) = offer.node.object().payload() {
            ring.set_holder(*end, receiver.koid());
        }
        let handle = table.insert(offer.node);
        drop(table);
        // The node has another holder by now, so the old handle is already worth nothing.
        if let Source::Moved { handle, .. } = offer.source
            && !to_itself
        {
            offer.sender.table.lock().remove(handle);
        }
        Ok(handle)
    }

    /// Gives offers to a domain that nobody else uses yet, in order. When it fails, none is given.
    pub fn deliver_all(
        &self,
        offers: Vec<Offer<P>>,
        receiver: &Domain<P>,
        mut each: impl FnMut(Handle),
    ) -> Result<(), Error> {
        // Withdrawing takes the sender's table, so the receiver's is not held meanwhile.
        let prepared = receiver.table.lock().prepare(offers.len());
        if let Err(error) = prepared {
            offers.into_iter().for_each(|offer| self.withdraw(offer));
            return Err(error);
        }
        for offer in offers {
            // One that was revoked on the way is a handle that names nothing.
            each(
                self.deliver(offer, receiver, receiver.table.lock())
                    .unwrap_or(Handle::NONE),
            );
        }
        Ok(())
    }

    /// Takes an offer back: what was moved is the sender's again under its old handle if the
    /// sender still has it, else nobody's.
    pub fn withdraw(&self, offer: Offer<P>) {
        match offer.source {
            Source::Shared => self.lose(&offer.node),
            Source::Moved { handle, rights } => {
                let table = offer.sender.table.lock();
                let kept = table.holds(handle, &offer.node);
                if kept {
                    let _lineage = offer.node.object().lineage.lock();
                    if offer.node.state() == NodeState::InTransit {
                        offer.node.set_rights(rights);
                        offer.node.set_state(NodeState::Live);
                    }
                }
                drop(table);
                if !kept {
                    self.lose(&offer.node);
                }
            }
        }
    }

    /// What becomes of a node that is in nobody's table.
    fn lose(&self, node: &Node<P>) {
        {
            let _lineage = node.object().lineage.lock();
            if node.state() == NodeState::Dead {
                return;
            }
            node.drop_holder();
        }
        self.release(node);
    }
}
