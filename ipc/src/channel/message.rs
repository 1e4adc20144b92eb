//! What a message carries: begun, and then delivered or taken back, all of it or nothing.

use alloc::sync::Arc;

use abi::limits::{MAX_MESSAGE, MAX_MESSAGE_HANDLES};
use abi::{Error, GrantFlags, Handle, HandleTransfer, Mode, Rights};

use super::Channel;
use super::queue::Load;
use crate::node::PENDING;
use crate::transfer::Bill;
use crate::{Domain, Ipc, Node, Offer, Payload, Platform};

/// A message to be sent: copies of what the program wrote.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// At most [`MAX_MESSAGE`] bytes.
    pub bytes: &'a [u8],
    /// At most [`MAX_MESSAGE_HANDLES`] capabilities, and how each is handed over.
    pub transfers: &'a [HandleTransfer],
}

impl Outgoing<'_> {
    /// `TooLarge`: more than a message can be; `Invalid`: a mode or right that there is not;
    /// `Overlap`: one capability both moved and handed over once more.
    pub(super) fn check(&self) -> Result<(), Error> {
        if self.bytes.len() > MAX_MESSAGE || self.transfers.len() > MAX_MESSAGE_HANDLES {
            return Err(Error::TooLarge);
        }
        for (index, transfer) in self.transfers.iter().enumerate() {
            let (mode, _) = transfer.decode()?;
            let again = self.transfers[..index]
                .iter()
                .find(|other| other.handle == transfer.handle);
            let moved = |other: &HandleTransfer| other.mode == Mode::Move as u32;
            if again.is_some_and(|other| mode == Mode::Move || moved(other)) {
                return Err(Error::Overlap);
            }
        }
        Ok(())
    }
}

/// What there is to receive, shown before it is taken.
#[derive(Debug)]
pub struct Preview<'a> {
    /// The bytes.
    pub bytes: &'a [u8],
    /// How many capabilities come with them.
    pub handles: usize,
    /// The badge of the capability that it was sent with. Of an answer 0.
    pub badge: u64,
}

impl<'a> Preview<'a> {
    /// Of an answer.
    pub(super) fn answer(bytes: &'a [u8], handles: usize) -> Preview<'a> {
        Preview {
            bytes,
            handles,
            badge: 0,
        }
    }
}

/// What came with a message that was received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// Bytes of the message, which were shown.
    pub len: usize,
    /// The capabilities; `NONE` for one that was revoked on the way.
    pub handles: [Handle; MAX_MESSAGE_HANDLES],
    /// How many those are.
    pub handles_len: usize,
    /// The right to reply, if it is a call; else `NONE`.
    pub reply: Handle,
    /// The badge of the capability that it was sent with. Of an answer 0.
    pub badge: u64,
}

impl Received {
    /// A message of so many bytes, and of what comes with it nothing yet.
    pub(super) fn of(len: usize, badge: u64) -> Received {
        Received {
            len,
            badge,
            ..Received::default()
        }
    }
}

/// Offers of one message.
pub(super) type Offers<P> = [Option<Offer<P>>; MAX_MESSAGE_HANDLES];

impl<P: Platform> Ipc<P> {
    /// Begins to hand over all that a message names, or nothing of it. `over`: the channel that it
    /// goes over, if it can lie there: a channel end in it has to be younger, else `Invalid`.
    pub(super) fn begin_all(
        &self,
        sender: &Arc<Domain<P>>,
        transfers: &[HandleTransfer],
        over: Option<&Channel<P>>,
    ) -> Result<Offers<P>, Error> {
        let mut offers = [const { None }; MAX_MESSAGE_HANDLES];
        for (place, transfer) in offers.iter_mut().zip(transfers) {
            match self.begin_one(sender, transfer, over) {
                Ok(offer) => *place = Some(offer),
                Err(error) => {
                    if !mm::sabotaged!("failed_send_loses_handles") {
                        self.withdraw_all(&mut offers);
                    }
                    return Err(error);
                }
            }
        }
        Ok(offers)
    }

    /// Takes away from the sender what was begun, after all is known to be allowed.
    pub(super) fn clear_all(&self, offers: &Offers<P>) {
        for offer in offers.iter().flatten() {
            self.clear(offer);
        }
    }

    fn begin_one(
        &self,
        sender: &Arc<Domain<P>>,
        transfer: &HandleTransfer,
        over: Option<&Channel<P>>,
    ) -> Result<Offer<P>, Error> {
        let (mode, rights) = transfer.decode()?;
        if let Some(over) = over {
            self.check_younger(sender, transfer.handle, over)?;
        }
        self.begin(sender, transfer.handle, mode, rights, GrantFlags::empty())
    }

    /// Checks that a handle is not an end of a channel that is as old as `over`, over which it is to go.
    /// `Invalid`; those of a look-up. A handle never names another object, so what this says is true also
    /// later.
    pub(crate) fn check_younger(
        &self,
        sender: &Domain<P>,
        handle: Handle,
        over: &Channel<P>,
    ) -> Result<(), Error> {
        let sent = sender.examine(handle, Rights::empty())?;
        match sent.object().payload() {
            Payload::ChannelEnd(sent, _) if !sent.is_younger_than(over) => Err(Error::Invalid),
            _ => Ok(()),
        }
    }

    /// Takes back what was begun.
    pub(super) fn withdraw_all(&self, offers: &mut Offers<P>) {
        for offer in offers.iter_mut().filter_map(Option::take) {
            self.withdraw(offer);
        }
    }

    /// Makes `receiver` pay for what was offered, and keeps places in its table for it and for a right
    /// to reply. When it fails, nothing has changed.
    pub(super) fn bill_all(
        &self,
        receiver: &Domain<P>,
        nodes: &Nodes<P>,
        places: usize,
    ) -> Result<Bills, Error> {
        receiver.table.lock().promise(places)?;
        let mut bills = Bills::default();
        for (node, place) in nodes.iter().flatten().zip(&mut bills.0) {
            match self.bill(node, receiver) {
                Ok(bill) => *place = Some(bill),
                Err(error) => {
                    self.withdraw_bills(receiver, nodes, bills, places);
                    return Err(error);
                }
            }
        }
        Ok(bills)
    }

    /// Undoes that.
    pub(super) fn withdraw_bills(
        &self,
        receiver: &Domain<P>,
        nodes: &Nodes<P>,
        bills: Bills,
        places: usize,
    ) {
        for (node, bill) in nodes.iter().flatten().zip(bills.0.into_iter().flatten()) {
            self.withdraw_bill(bill, node, receiver);
        }
        receiver.table.lock().break_promise(places);
    }

    /// Gives what was offered and paid for to `receiver`, in the places that were kept for it.
    pub(super) fn deliver_load(
        &self,
        receiver: &Domain<P>,
        load: Load<P>,
        bills: Bills,
        received: &mut Received,
    ) {
        let offers = load.offers.into_iter().flatten();
        for (offer, bill) in offers.zip(bills.0.into_iter().flatten()) {
            let mut table = receiver.table.lock();
            table.break_promise(1);
            // One that was revoked on the way is a handle that names nothing.
            let handle = self.deliver(offer, bill, receiver, table);
            received.handles[received.handles_len] = handle.unwrap_or(Handle::NONE);
            received.handles_len += 1;
        }
        if let Some(reply) = load.reply {
            received.reply = self.install_reply(receiver, reply);
        }
    }

    /// Gives a right to reply to `receiver`, in the place that was kept for it.
    #[inline]
    pub(super) fn install_reply(&self, receiver: &Domain<P>, reply: Node<P>) -> Handle {
        debug_assert!(reply.holder() == PENDING);
        reply.set_holder(receiver.koid());
        receiver.table.lock().insert_promised(reply)
    }
}

/// The capabilities that a message offers.
pub(super) type Nodes<P> = [Option<Node<P>>; MAX_MESSAGE_HANDLES];

/// The capabilities that are offered.
pub(super) fn nodes_of<P: Platform>(offers: &Offers<P>) -> Nodes<P> {
    core::array::from_fn(|index| offers[index].as_ref().map(|offer| offer.node.clone()))
}

/// Who paid for each.
#[derive(Default)]
pub(super) struct Bills([Option<Bill>; MAX_MESSAGE_HANDLES]);
