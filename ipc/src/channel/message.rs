//! What a message carries: begun, and then delivered or taken back, all of it or nothing.

use alloc::sync::Arc;

use abi::limits::{MAX_MESSAGE, MAX_MESSAGE_HANDLES};
use abi::{Error, GrantFlags, Handle, HandleTransfer, Mode};
use arrayvec::ArrayVec;

use super::Channel;
use super::queue::{Load, Offers};
use crate::node::PENDING;
use crate::table::Locked;
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
    /// Nothing.
    pub const EMPTY: Outgoing<'static> = Outgoing {
        bytes: &[],
        transfers: &[],
    };

    /// `TooLarge`: more than a message can be; `Invalid`: a mode or right that there is not;
    /// `Overlap`: one capability both moved and handed over once more.
    #[inline(always)]
    pub(super) fn check(&self) -> Result<(), Error> {
        if self.bytes.len() > MAX_MESSAGE || self.transfers.len() > MAX_MESSAGE_HANDLES {
            return Err(Error::TooLarge);
        }
        match self.transfers {
            [] => Ok(()),
            [transfer] => transfer.decode().map(drop),
            _ => self.check_transfers(),
        }
    }

    #[cold]
    fn check_transfers(&self) -> Result<(), Error> {
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

impl<P: Platform> Ipc<P> {
    /// Begins to hand over all that a message names, or nothing of it, and tells then what is refused and why. `over`:
    /// the channel that it goes over, if it can lie there: a channel end in it has to be younger, else `Invalid`.
    /// `offers` is empty, and stays so when this fails.
    #[inline(never)]
    pub(super) fn begin_all(
        &self,
        sender: &Arc<Domain<P>>,
        transfers: &[HandleTransfer],
        over: Option<&Channel<P>>,
        offers: &mut Offers<P>,
    ) -> Result<(), (HandleTransfer, Error)> {
        for transfer in transfers {
            match self.begin_one(sender, transfer, over) {
                Ok(offer) => offers.push(offer),
                Err(error) => {
                    if !mm::sabotaged!("failed_send_loses_handles") {
                        self.withdraw_all(offers);
                    }
                    return Err((*transfer, error));
                }
            }
        }
        Ok(())
    }

    /// Why a message is refused for what it names, when nothing is left to do: the error that was found, unless that
    /// is its sender's no more.
    #[cold]
    pub(super) fn refuse_transfer(
        &self,
        sender: &Domain<P>,
        (transfer, found): (HandleTransfer, Error),
    ) -> Error {
        let none = GrantFlags::empty();
        match transfer.decode() {
            Ok((mode, _)) => self.refuse_handing_over(sender, transfer.handle, mode, none, found),
            Err(error) => error,
        }
    }

    /// Takes away from the sender what was begun, after all is known to be allowed.
    #[inline]
    pub(super) fn clear_all(&self, offers: &Offers<P>) {
        for offer in offers {
            self.clear(offer);
        }
    }

    #[inline(always)]
    fn begin_one(
        &self,
        sender: &Arc<Domain<P>>,
        transfer: &HandleTransfer,
        over: Option<&Channel<P>>,
    ) -> Result<Offer<P>, Error> {
        let (mode, rights) = transfer.decode()?;
        let none = GrantFlags::empty();
        self.begin_if(sender, transfer.handle, mode, rights, none, |node| {
            check_goes_over(node, over)
        })
    }

    /// Takes back what was begun.
    pub(super) fn withdraw_all(&self, offers: &mut Offers<P>) {
        for offer in offers.drain(..) {
            self.withdraw(offer);
        }
    }

    /// Makes `receiver` pay for what is offered. Nobody else can take the offers meanwhile. When it fails,
    /// nothing has changed.
    #[inline(always)]
    pub(super) fn bill_all(
        &self,
        receiver: &Domain<P>,
        offers: &Offers<P>,
        bills: &mut Bills,
    ) -> Result<(), Error> {
        for offer in offers {
            match self.bill(&offer.node, receiver) {
                Ok(bill) => bills.push(bill),
                Err(error) => {
                    for (bill, offer) in bills.iter().zip(offers) {
                        self.withdraw_bill(bill, &offer.node, receiver);
                    }
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Gives what was offered and paid for to `receiver`, whose `table` has room for it and for a
    /// right to reply. The bills are in the order of the queue: the last one comes first.
    #[inline(always)]
    pub(super) fn deliver_load(
        &self,
        receiver: &Domain<P>,
        mut table: Locked<'_, Node<P>>,
        load: &mut Load<P>,
        bills: &Bills,
        received: &mut Received,
    ) {
        received.handles_len = load.offers.len();
        let offers = load.offers.iter().zip(bills.iter().rev());
        for ((offer, bill), place) in offers.zip(&mut received.handles) {
            // One that was revoked on the way is a handle that names nothing.
            let handle = self.deliver_into(&mut table, receiver, offer, bill);
            *place = handle.unwrap_or(Handle::NONE);
        }
        if let Some(reply) = load.reply.take() {
            debug_assert!(reply.holder() == PENDING);
            reply.pass(receiver.koid());
            received.reply = table.insert(reply);
        }
        drop(table);
        for (offer, handle) in load.offers.iter().zip(received.handles) {
            if handle != Handle::NONE {
                offer.leave_sender(receiver);
            }
        }
    }
}

/// Who paid for each capability of a message.
pub(super) type Bills = ArrayVec<Bill, MAX_MESSAGE_HANDLES>;

/// Checks that a capability is no end of a channel that is as old as `over`, over which it is to go.
/// `Invalid`.
#[inline(always)]
pub(crate) fn check_goes_over<P: Platform>(
    node: &Node<P>,
    over: Option<&Channel<P>>,
) -> Result<(), Error> {
    match (over, node.object().payload()) {
        (Some(over), Payload::ChannelEnd(sent, _)) if !sent.is_younger_than(over) => {
            Err(Error::Invalid)
        }
        _ => Ok(()),
    }
}
