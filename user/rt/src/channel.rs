//! Channels: bounded queues of messages in both directions, calls and their answers.

use abi::{ChannelEnds, ChannelInfo, Error, Handle, UserPtr};

use crate::message::{Message, Received, Reply};
use crate::owned::owned;
use crate::{cap_info, drop_handle, sys};

/// A capability of one end of a channel. There may be several, in several processes; the end is
/// closed when the last one is gone.
#[derive(Debug)]
pub struct ChannelEnd {
    handle: Handle,
}

owned!(ChannelEnd, ChannelEnd);

/// Makes a channel that queues at most `capacity` messages (1 to 64) at each end, and returns the ends.
pub fn channel(capacity: u32) -> Result<(ChannelEnd, ChannelEnd), Error> {
    let mut ends = ChannelEnds {
        first: Handle::NONE,
        second: Handle::NONE,
    };
    // SAFETY: the pointer leads to `ends`, which the kernel fills in during the call.
    unsafe { sys::channel_create(capacity, UserPtr::new((&raw mut ends) as u64)) }?;
    Ok((
        ChannelEnd::from_handle(ends.first),
        ChannelEnd::from_handle(ends.second),
    ))
}

/// A message of four words that was received.
#[derive(Debug)]
pub struct ReceivedWords {
    /// The words.
    pub words: [u64; 4],
    /// The badge of the capability that it was sent with; 0 if that had none.
    pub badge: u64,
    /// The right to reply, if this is a call.
    pub reply: Option<Reply>,
}

impl ChannelEnd {
    /// Sends a message to the other end, waiting until the deadline for room; needs SEND. When it is
    /// refused, the message still has all that it was given. `Invalid`: a channel end in it is not
    /// younger than this channel.
    pub fn send(&self, message: &mut Message<'_>, deadline_ns: u64) -> Result<(), Error> {
        let raw = message.raw();
        let pointer = UserPtr::new((&raw const raw) as u64);
        // SAFETY: the pointers lead to what lives during the call, which only reads. Of a region that
        // was given away, the message's owner has no mapping that it goes by.
        unsafe { sys::channel_send(self.handle, pointer, deadline_ns) }?;
        message.sent();
        Ok(())
    }

    /// Takes the next message, waiting for it until the deadline; needs RECEIVE. `PeerClosed` comes
    /// after the last one.
    pub fn receive(&self, deadline_ns: u64) -> Result<Received, Error> {
        // SAFETY: the pointer leads to what the kernel may fill in during the call.
        Received::fill(|raw| unsafe { sys::channel_receive(self.handle, raw, deadline_ns) })
    }

    /// Answers a call, if there is a right to, and takes the next message; needs RECEIVE. What the two
    /// calls of the kernel do it does in one, and the caller goes on at once when there is no
    /// message yet. An answer of bytes alone that nobody takes is lost.
    ///
    /// # Errors
    /// With the right still in `reply`, as of [`Reply::send`], and nothing was received. Without it as of
    /// [`receive`](Self::receive), or of an answer that was not taken, and it is used up.
    pub fn reply_and_receive(
        &self,
        reply: &mut Option<Reply>,
        answer: &mut Message<'_>,
        deadline_ns: u64,
    ) -> Result<Received, Error> {
        let raw = answer.raw();
        let pointer = UserPtr::new((&raw const raw) as u64);
        let right = reply.as_ref().map_or(Handle::NONE, Reply::handle);
        // SAFETY: as for `send` and `receive`.
        let received = Received::fill(|request| unsafe {
            sys::channel_serve(self.handle, right, pointer, request, deadline_ns)
        });
        // What was answered before it failed does not come back.
        let is_used = received.is_ok() || matches!(cap_info(right), Err(Error::BadHandle));
        if is_used && let Some(right) = reply.take() {
            right.into_handle();
        }
        if received.is_ok() {
            answer.sent();
        }
        received
    }

    /// Sends a message and waits until it is answered; needs SEND. `PeerClosed`: whoever had it, or
    /// the other end, is gone. After `TimedOut`, `Cancelled` and `PeerClosed` what the message was
    /// given may have been received or not.
    pub fn call(&self, message: &mut Message<'_>, deadline_ns: u64) -> Result<Received, Error> {
        let request = message.raw();
        let pointer = UserPtr::new((&raw const request) as u64);
        // SAFETY: as for `send` and `receive`.
        let answer = Received::fill(|raw| unsafe {
            sys::channel_call(self.handle, pointer, raw, deadline_ns)
        })?;
        message.sent();
        Ok(answer)
    }

    /// Sends a message of four words, waiting until the deadline for room.
    pub fn send_words(&self, words: [u64; 4], deadline_ns: u64) -> Result<(), Error> {
        let bytes = words.map(u64::to_le_bytes);
        self.send(&mut Message::new(bytes.as_flattened()), deadline_ns)
    }

    /// Calls with four words, which is the fastest way to ask somebody something. `TooLarge`: the
    /// answer was not of four words.
    #[inline]
    pub fn call_words(&self, words: [u64; 4], deadline_ns: u64) -> Result<[u64; 4], Error> {
        let [first, second, third, fourth] = words;
        // SAFETY: the call touches no memory.
        let answer = unsafe {
            sys::channel_call_words(self.handle, first, second, third, fourth, deadline_ns)
        }?;
        Ok(answer.words)
    }

    /// Waits for a message of four words, for ever; needs RECEIVE. With a deadline [`receive`](ChannelEnd::receive) has
    /// them as [words](Received::words). `TooLarge`: the next message is
    /// not one, and stays.
    pub fn receive_words(&self) -> Result<ReceivedWords, Error> {
        self.reply_and_receive_words(Handle::NONE, [0; 4])
    }

    #[inline]
    fn reply_and_receive_words(
        &self,
        reply: Handle,
        [first, second, third, fourth]: [u64; 4],
    ) -> Result<ReceivedWords, Error> {
        // SAFETY: the call touches no memory.
        let next =
            unsafe { sys::channel_serve_words(self.handle, reply, first, second, third, fourth) }?;
        Ok(ReceivedWords {
            words: next.words,
            badge: next.badge,
            reply: (next.reply != Handle::NONE).then(|| Reply::from_handle(next.reply)),
        })
    }

    /// Answers calls of four words until something is wrong with the end, and returns what: when all
    /// is well, `PeerClosed` after the last caller is gone. `answer` gets the words and the badge. A
    /// message that is not of four words is dropped: its caller gets `PeerClosed`. It waits for ever: who serves with
    /// a deadline takes messages by [`reply_and_receive`](ChannelEnd::reply_and_receive), of which a call in words is one
    /// of 32 bytes.
    pub fn serve_words(&self, mut answer: impl FnMut([u64; 4], u64) -> [u64; 4]) -> Error {
        let (mut reply, mut words) = (Handle::NONE, [0; 4]);
        loop {
            match self.reply_and_receive_words(reply, words) {
                Ok(next) => {
                    words = answer(next.words, next.badge);
                    reply = next.reply.map_or(Handle::NONE, Reply::into_handle);
                }
                Err(Error::TooLarge) => {
                    reply = Handle::NONE;
                    match self.receive(0) {
                        // Somebody else who serves here may have taken it.
                        Ok(_) | Err(Error::WouldBlock) => {}
                        Err(error) => return error,
                    }
                }
                Err(error) => {
                    // If nothing was done, there is still a caller who waits for the answer.
                    if reply != Handle::NONE {
                        let _ = drop_handle(reply);
                    }
                    return error;
                }
            }
        }
    }

    /// Has each message handled until something is wrong with the end, and returns what, as
    /// [`serve_words`](ChannelEnd::serve_words). A call whose right to reply `handle` does not take
    /// is answered with `PeerClosed`.
    pub fn serve(&self, mut handle: impl FnMut(Received)) -> Error {
        loop {
            match self.receive(abi::FOREVER) {
                Ok(received) => handle(received),
                Err(error) => return error,
            }
        }
    }

    /// Limits what can be sent from this end: so many messages and bytes a second, one second's worth
    /// at once; 0 stands for no limit. Needs MANAGE.
    pub fn limit(&self, messages: u64, bytes: u64) -> Result<(), Error> {
        // SAFETY: the call touches no memory.
        unsafe { sys::channel_limit(self.handle, messages, bytes) }
    }

    /// Facts about it; needs INSPECT.
    pub fn info(&self) -> Result<ChannelInfo, Error> {
        let mut info = ChannelInfo::default();
        // SAFETY: the pointer leads to `info`, which the kernel fills in during the call.
        unsafe { sys::channel_info(self.handle, UserPtr::new((&raw mut info) as u64)) }?;
        Ok(info)
    }
}
