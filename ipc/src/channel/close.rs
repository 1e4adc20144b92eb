//! Closing an end: nobody sends to it or waits for it any more, and what was sent to it, or granted to be
//! accepted there, goes back or ends.
//!
//! One thing after the other, with no lock in between, however many there are and however deep ends lie in
//! one another: those that are closed together are a list. It is bounded by what was paid for.

use alloc::sync::Arc;

use super::queue::{Load, Packet};
use super::{Channel, ChannelSide};
use crate::wait::Outcome;
use crate::{Ipc, Object, Payload, Platform};

impl<P: Platform> Ipc<P> {
    /// Closes an end whose last capability is gone, and those that it was the last to hold: what was
    /// sent to it, or granted to be accepted there, goes back or ends. One after the other, however deep
    /// they lie in one another, and one message at a time without a lock in between.
    pub(crate) fn close_channel_end(&self, channel: &Arc<Channel<P>>, side: ChannelSide) {
        let mut graves = Some((channel.clone(), side));
        while let Some((channel, side)) = graves {
            graves = channel.side(side).grave.lock().take();
            self.tell_closed(&channel, side);
            let mut bury = |object: Arc<Object<P>>| match object.payload() {
                Payload::ChannelEnd(channel, side) => {
                    self.forget_object();
                    *channel.side(*side).grave.lock() = graves.take();
                    graves = Some((channel.clone(), *side));
                }
                _ => self.destroy_object(&object),
            };
            loop {
                let load = channel.inbox(side).lock().queue.pop().map(Packet::unload);
                let Some(load) = load else { break };
                self.return_load(load, &mut bury);
            }
            if mm::sabotaged!("grant_outlives_its_end") {
                continue;
            }
            while let Some(offer) = self.take_grant_at(&channel, side) {
                self.take_back(offer).map(&mut bury);
            }
        }
    }

    /// Lets nobody send to an end any more, and nobody wait for what comes from it.
    fn tell_closed(&self, channel: &Channel<P>, side: ChannelSide) {
        channel.inbox(side).lock().closed = true;
        let resting = {
            let mut peer = channel.inbox(side.peer()).lock();
            peer.peer_closed = true;
            peer.meeting.take_resting()
        };
        drop(resting);
        let (inbox, peer) = (channel.inbox(side), channel.inbox(side.peer()));
        loop {
            let closed = Outcome::PeerClosed;
            let woken = {
                let mut inbox = inbox.lock();
                let woken = inbox.senders.wake_first(closed);
                woken.or_else(|| inbox.limited.wake_first(closed))
            };
            let woken = woken.or_else(|| {
                // Nobody waits while there is a message, but who has been told of one.
                peer.lock().end_receiver(closed)
            });
            match woken {
                Some(task) => self.platform().unpark(&task),
                None => break,
            }
        }
        let events = channel.events(side.peer());
        self.fire(events, abi::Events::PEER_CLOSED, 0);
    }

    /// Takes back what a message carried that nobody receives. `bury` gets the objects that this was the
    /// last to hold.
    fn return_load(&self, load: Load<P>, bury: &mut impl FnMut(Arc<Object<P>>)) {
        for offer in load.offers {
            self.take_back(offer).map(&mut *bury);
        }
        let reply = load.reply.and_then(|reply| self.unlink(&reply));
        reply.map(bury);
    }
}
