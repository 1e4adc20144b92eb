//! Messages: bytes and capabilities that go over a channel together.

use abi::limits::{MAX_MESSAGE, MAX_MESSAGE_HANDLES};
use abi::{Error, Handle, HandleTransfer, Mode, Rights, UserPtr};

use crate::owned::owned;
use crate::{Owned, drop_handle, sys};

/// A message to be sent: at most 256 bytes and 4 capabilities. What it was given belongs to it until
/// it is sent; dropped before, it gives that back.
///
/// ```ignore
/// end.send(&mut Message::new(b"look at this").give(region), FOREVER)?;
/// ```
#[derive(Debug)]
pub struct Message<'a> {
    bytes: &'a [u8],
    handles: [HandleTransfer; MAX_MESSAGE_HANDLES],
    /// Which of them are this message's, to be given back.
    owned: [bool; MAX_MESSAGE_HANDLES],
    count: usize,
}

const NOTHING: HandleTransfer = HandleTransfer::new(Handle::NONE, Mode::Share, Rights::empty());

impl<'a> Message<'a> {
    /// A message of bytes. More than 256 are `TooLarge` when it is sent.
    pub fn new(bytes: &'a [u8]) -> Message<'a> {
        Message {
            bytes,
            handles: [NOTHING; MAX_MESSAGE_HANDLES],
            owned: [false; MAX_MESSAGE_HANDLES],
            count: 0,
        }
    }

    /// Gives something away by Move with all its rights; needs GRANT and MOVE. Of a region, this
    /// process must have no mapping that it still goes by. When the other end is closed before the
    /// message was received, it comes back under its old handle: see [`pass`](Message::pass).
    ///
    /// # Panics
    /// With the fifth capability, as all of these.
    #[must_use]
    pub fn give(self, object: impl Into<Handle>) -> Message<'a> {
        self.give_with(object, Rights::all())
    }

    /// Gives something away for good, with all its rights: by Share, and without the capability that
    /// this process had once the message is sent. What nobody receives is gone. Needs GRANT and DUPLICATE.
    #[must_use]
    pub fn pass(self, object: impl Into<Handle>) -> Message<'a> {
        self.transfer(object.into(), Mode::Share, Rights::all(), true)
    }

    /// Gives something away by Move with at most these rights.
    #[must_use]
    pub fn give_with(self, object: impl Into<Handle>, rights: Rights) -> Message<'a> {
        self.transfer(object.into(), Mode::Move, rights, true)
    }

    /// Gives a capability derived from one, with at most these rights; needs GRANT and DUPLICATE.
    #[must_use]
    pub fn share(self, handle: Handle, rights: Rights) -> Message<'a> {
        self.transfer(handle, Mode::Share, rights, false)
    }

    /// Gives a snapshot of a region as it is when the message is sent.
    #[must_use]
    pub fn copy(self, handle: Handle, rights: Rights) -> Message<'a> {
        self.transfer(handle, Mode::CopyOnWrite, rights, false)
    }

    fn transfer(mut self, handle: Handle, mode: Mode, rights: Rights, owned: bool) -> Message<'a> {
        assert!(
            self.count < MAX_MESSAGE_HANDLES,
            "a message carries {MAX_MESSAGE_HANDLES} capabilities"
        );
        self.handles[self.count] = HandleTransfer::new(handle, mode, rights);
        self.owned[self.count] = owned;
        self.count += 1;
        self
    }

    /// As the kernel reads it. It leads to this message.
    pub(crate) fn raw(&self) -> abi::Message {
        abi::Message {
            bytes: self.bytes.as_ptr() as u64,
            bytes_len: self.bytes.len() as u64,
            handles: self.handles.as_ptr() as u64,
            handles_len: self.count as u64,
            ..abi::Message::default()
        }
    }

    /// It was sent: what moved is not this process's any more.
    pub(crate) fn sent(&mut self) {
        for (transfer, owned) in self.handles.iter().zip(&mut self.owned) {
            *owned &= transfer.mode != Mode::Move as u32;
        }
        self.give_back();
    }

    fn give_back(&mut self) {
        let handles = self.handles[..self.count].iter().zip(&mut self.owned);
        for (transfer, owned) in handles {
            if core::mem::take(owned) {
                let _ = drop_handle(transfer.handle);
            }
        }
        self.count = 0;
    }
}

impl Drop for Message<'_> {
    fn drop(&mut self) {
        self.give_back();
    }
}

/// A message that was received. What is not taken out of it is given back when it is dropped, the
/// right to reply too: the caller then gets `PeerClosed`.
#[derive(Debug)]
pub struct Received {
    bytes: [u8; MAX_MESSAGE],
    len: usize,
    handles: [Handle; MAX_MESSAGE_HANDLES],
    count: usize,
    reply: Option<Reply>,
    badge: u64,
}

impl Received {
    /// Has a call of the kernel fill one in.
    pub(crate) fn fill(
        call: impl FnOnce(UserPtr<abi::Message>) -> Result<(), Error>,
    ) -> Result<Received, Error> {
        let mut received = Received {
            bytes: [0; MAX_MESSAGE],
            len: 0,
            handles: [Handle::NONE; MAX_MESSAGE_HANDLES],
            count: 0,
            reply: None,
            badge: 0,
        };
        let mut raw = abi::Message {
            bytes: received.bytes.as_mut_ptr() as u64,
            bytes_len: MAX_MESSAGE as u64,
            handles: received.handles.as_mut_ptr() as u64,
            handles_len: MAX_MESSAGE_HANDLES as u64,
            ..abi::Message::default()
        };
        call(UserPtr::new((&raw mut raw) as u64))?;
        received.len = (raw.bytes_len as usize).min(MAX_MESSAGE);
        received.count = (raw.handles_len as usize).min(MAX_MESSAGE_HANDLES);
        received.badge = raw.badge;
        received.reply = (raw.reply != Handle::NONE).then(|| Reply::from_handle(raw.reply));
        Ok(received)
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Its bytes as four words, if they are: what [`call_words`](crate::ChannelEnd::call_words) sends.
    pub fn words(&self) -> Option<[u64; 4]> {
        let (words, rest) = self.bytes().as_chunks::<8>();
        let words: [[u8; 8]; 4] = words.try_into().ok()?;
        rest.is_empty().then(|| words.map(u64::from_le_bytes))
    }

    /// Its capabilities in order; `NONE` for one that was revoked on the way, or taken.
    pub fn handles(&self) -> &[Handle] {
        &self.handles[..self.count]
    }

    /// Takes the capability at a place out, if there is one and it is of this kind.
    pub fn take<T: Owned>(&mut self, index: usize) -> Option<T> {
        let handle = self.handles[..self.count].get_mut(index)?;
        if handle.kind() != Some(T::KIND) {
            return None;
        }
        Some(T::from_handle(core::mem::replace(handle, Handle::NONE)))
    }

    /// Takes the capability at a place out, whatever it is of; `NONE` if there is none.
    pub fn take_handle(&mut self, index: usize) -> Handle {
        let handle = self.handles[..self.count].get_mut(index);
        handle.map_or(Handle::NONE, core::mem::take)
    }

    /// The badge of the capability that it was sent with; 0 if that had none.
    pub fn badge(&self) -> u64 {
        self.badge
    }

    /// Whether somebody waits for an answer.
    pub fn is_call(&self) -> bool {
        self.reply.is_some()
    }

    /// Takes the right to reply, if this is a call.
    pub fn take_reply(&mut self) -> Option<Reply> {
        self.reply.take()
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        for &handle in self.handles() {
            if handle != Handle::NONE {
                let _ = drop_handle(handle);
            }
        }
    }
}

/// The right to answer one call. Dropped unused, it has the caller get `PeerClosed`.
#[derive(Debug)]
pub struct Reply {
    handle: Handle,
}

owned!(Reply, Reply);

impl Reply {
    /// Answers. After `Cancelled` the caller does not wait any more, and after `TooLarge` it was told that the answer
    /// is more than it takes; after another error nothing was sent, and another answer can be tried. A second answer
    /// is `BadHandle`.
    pub fn send(&mut self, message: &mut Message<'_>) -> Result<(), Error> {
        let raw = message.raw();
        // SAFETY: the pointers lead to what lives during the call, which only reads. Of a region that
        // was given away, the message's owner has no mapping that it goes by.
        unsafe { sys::channel_reply(self.handle, UserPtr::new((&raw const raw) as u64)) }?;
        message.sent();
        self.handle = Handle::NONE;
        Ok(())
    }

    /// Answers with four words.
    pub fn send_words(&mut self, words: [u64; 4]) -> Result<(), Error> {
        let [first, second, third, fourth] = words;
        // SAFETY: the call touches no memory.
        unsafe { sys::channel_reply_words(self.handle, first, second, third, fourth) }?;
        self.handle = Handle::NONE;
        Ok(())
    }
}
