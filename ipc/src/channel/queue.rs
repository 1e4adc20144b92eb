//! What waits to be received at one end: a ring of places for messages, all of them there from the
//! beginning.
//!
//! Invariants: a message is in one place from when it is sent until it is taken; places that were
//! promised to senders are never given to others, so `len + promised ≤ capacity`. Guarded by the lock
//! of its end.

use alloc::boxed::Box;
use alloc::vec::Vec;

use abi::Error;
use abi::limits::{MAX_MESSAGE, MAX_MESSAGE_HANDLES};
use arrayvec::ArrayVec;

use crate::{Node, Offer, Platform};

/// Places of a block: few enough for a small block of the heap.
pub(super) const BLOCK: usize = 4;

/// Bytes of a message of words.
pub const WORDS_LEN: usize = 32;

/// A message on its way.
pub(super) struct Packet<P: Platform> {
    pub(super) bytes: [u8; MAX_MESSAGE],
    pub(super) len: usize,
    /// The only capability that it carries, if that is all.
    pub(super) only: Option<Offer<P>>,
    /// Several, the last one first.
    pub(super) offers: Offers<P>,
    /// The right to reply, if it is a call.
    pub(super) reply: Option<Node<P>>,
    pub(super) badge: u64,
}

impl<P: Platform> Packet<P> {
    pub(super) const fn empty() -> Packet<P> {
        Packet {
            bytes: [0; MAX_MESSAGE],
            len: 0,
            only: None,
            offers: Offers::new_const(),
            reply: None,
            badge: 0,
        }
    }

    /// Whether it is four words and nothing else.
    pub(super) fn is_words(&self) -> bool {
        self.len == WORDS_LEN && self.handles() == 0
    }

    /// How many capabilities it carries.
    #[inline(always)]
    pub(super) fn handles(&self) -> usize {
        self.offers.len() + usize::from(self.only.is_some())
    }

    /// Its bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Writes bytes over what is there. They fit.
    #[inline(always)]
    pub(super) fn set_bytes(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.bytes[..bytes.len()].copy_from_slice(bytes);
        }
        self.len = bytes.len();
    }

    /// The four words that it is.
    pub(super) fn words(&self) -> [u64; 4] {
        let (words, _) = self.bytes.as_chunks::<8>();
        core::array::from_fn(|index| u64::from_le_bytes(words[index]))
    }

    /// Takes what it carries out of it, into what carries nothing, in the order of the message.
    #[inline(always)]
    pub(super) fn unload_into(&mut self, load: &mut Load<P>) {
        load.offers.extend(self.only.take());
        pour(&mut self.offers, &mut load.offers);
        load.reply = self.reply.take();
    }

    /// The same.
    pub(super) fn unload(&mut self) -> Load<P> {
        let mut load = Load::new();
        self.unload_into(&mut load);
        load
    }
}

/// Capabilities on their way in one message. While it lies in a queue, the last one comes first.
pub(super) type Offers<P> = ArrayVec<Offer<P>, MAX_MESSAGE_HANDLES>;

/// Moves offers to where there are none; the last one comes first then.
#[inline(always)]
pub(super) fn pour<P: Platform>(from: &mut Offers<P>, to: &mut Offers<P>) {
    while let Some(offer) = from.pop() {
        to.push(offer);
    }
}

/// What a message carries besides bytes.
pub(super) struct Load<P: Platform> {
    pub(super) offers: Offers<P>,
    pub(super) reply: Option<Node<P>>,
}

impl<P: Platform> Load<P> {
    /// Nothing.
    #[inline(always)]
    pub(super) fn new() -> Load<P> {
        Load {
            offers: Offers::new(),
            reply: None,
        }
    }
}

/// The four words as the bytes of a message.
pub(super) fn to_bytes(words: [u64; 4]) -> [u8; WORDS_LEN] {
    let mut bytes = [0; WORDS_LEN];
    let (places, _) = bytes.as_chunks_mut::<8>();
    for (place, word) in places.iter_mut().zip(words) {
        *place = word.to_le_bytes();
    }
    bytes
}

/// The bytes of a message in four words, and how many they are, if there is room for them.
#[inline(always)]
pub(super) fn to_words(bytes: &[u8]) -> Option<([u64; 4], usize)> {
    let mut room = [0; WORDS_LEN];
    if !bytes.is_empty() {
        room.get_mut(..bytes.len())?.copy_from_slice(bytes);
    }
    let (words, _) = room.as_chunks::<8>();
    let words = core::array::from_fn(|index| u64::from_le_bytes(words[index]));
    Some((words, bytes.len()))
}

/// The messages in the order in which they were sent.
pub(super) struct Queue<P: Platform> {
    /// Each by itself: nobody asks the heap for more at once.
    #[allow(clippy::vec_box)]
    blocks: Vec<Box<[Packet<P>; BLOCK]>>,
    capacity: usize,
    /// The place of the first.
    head: usize,
    len: usize,
    /// Places kept for senders that are getting ready.
    promised: usize,
    /// Messages taken so far: which one is the first.
    taken: u64,
}

impl<P: Platform> Queue<P> {
    /// Room for `capacity` messages, of which a program chooses how many. `NoMemory`.
    pub(super) fn new(machine: &P, capacity: usize) -> Result<Queue<P>, Error> {
        let count = capacity.div_ceil(BLOCK);
        let mut blocks = Vec::new();
        blocks
            .try_reserve_exact(count)
            .map_err(|_| Error::NoMemory)?;
        for _ in 0..count {
            machine.ensure_memory()?;
            let mut block = Vec::new();
            block
                .try_reserve_exact(BLOCK)
                .map_err(|_| Error::NoMemory)?;
            block.resize_with(BLOCK, Packet::empty);
            let block = block.into_boxed_slice().try_into();
            blocks.push(block.map_err(|_| Error::NoMemory)?);
        }
        Ok(Queue {
            blocks,
            capacity,
            head: 0,
            len: 0,
            promised: 0,
            taken: 0,
        })
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether one more message can be sent.
    #[inline]
    pub(super) fn has_room(&self) -> bool {
        self.len + self.promised < self.capacity
    }

    /// Keeps a place, of those that there is room for.
    pub(super) fn promise(&mut self) {
        self.promised += 1;
    }

    /// Gives a place that was kept up.
    pub(super) fn break_promise(&mut self) {
        self.promised -= 1;
    }

    /// The place behind the last message, which is the last one then. There is room for it.
    #[inline(always)]
    pub(super) fn push(&mut self) -> &mut Packet<P> {
        let mut at = self.head + self.len;
        if at >= self.capacity {
            at -= self.capacity;
        }
        self.len += 1;
        self.place(at)
    }

    /// The message that is next, and its number.
    #[inline]
    pub(super) fn first(&self) -> Option<(&Packet<P>, u64)> {
        if self.len == 0 {
            return None;
        }
        let packet = &self.blocks[self.head / BLOCK][self.head % BLOCK];
        Some((packet, self.taken))
    }

    /// The number of the message that is next, or will be.
    #[inline]
    pub(super) fn first_number(&self) -> u64 {
        self.taken
    }

    /// Takes the message that is next; what it is stays in its place until the next one comes there.
    #[inline]
    pub(super) fn pop(&mut self) -> Option<&mut Packet<P>> {
        if self.len == 0 {
            return None;
        }
        let at = self.head;
        self.advance();
        Some(self.place(at))
    }

    /// The same to be taken, which [`advance`](Queue::advance) completes.
    #[inline(always)]
    pub(super) fn first_mut(&mut self) -> Option<(&mut Packet<P>, u64)> {
        if self.len == 0 {
            return None;
        }
        let (at, number) = (self.head, self.taken);
        Some((self.place(at), number))
    }

    /// Goes on to the message behind the first, of which nothing is left.
    #[inline(always)]
    pub(super) fn advance(&mut self) {
        self.len -= 1;
        self.head = match self.head + 1 {
            end if end == self.capacity => 0,
            next => next,
        };
        self.taken += 1;
    }

    /// Takes the message out that carries this right to reply, wherever it is; those behind it move
    /// up.
    pub(super) fn remove(&mut self, reply: &Node<P>) -> Option<Load<P>> {
        let found = (0..self.len).find(|&index| {
            let at = (self.head + index) % self.capacity;
            let packet = &self.blocks[at / BLOCK][at % BLOCK];
            packet.reply.as_ref().is_some_and(|other| other.is(reply))
        })?;
        let load = self.place((self.head + found) % self.capacity).unload();
        for index in found + 1..self.len {
            let from = (self.head + index) % self.capacity;
            let to = (self.head + index - 1) % self.capacity;
            let moved = core::mem::replace(self.place(from), Packet::empty());
            *self.place(to) = moved;
        }
        self.len -= 1;
        if found == 0 {
            // Whoever looks at the first looks at another.
            self.taken += 1;
        }
        Some(load)
    }

    #[inline(always)]
    fn place(&mut self, at: usize) -> &mut Packet<P> {
        &mut self.blocks[at / BLOCK][at % BLOCK]
    }
}
