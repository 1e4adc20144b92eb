//! `bbqueue`, a BipBuf, over shared memory: framed as it comes, and with frames of one's own that are drained together.

use std::ptr::NonNull;

use bbqueue::BBQueue;
use bbqueue::prod_cons::framed::{FramedConsumer, FramedProducer};
use bbqueue::prod_cons::stream::{StreamConsumer, StreamProducer};
use bbqueue::traits::coordination::cas::AtomicCoord;
use bbqueue::traits::notifier::polling::Polling;
use bbqueue::traits::storage::Storage;
use handover_bench::arena::Arena;
use handover_bench::contender::{Contender, HEAD_BYTES, Receiver, Seed, Sender, bytes_for};
use handover_bench::message::Sink;

/// Bytes of the arena that belong to one queue.
pub struct Shared {
    base: NonNull<u8>,
    bytes: usize,
}

// SAFETY: the memory belongs to no thread; the queue orders the accesses of its two ends.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Storage for Shared {
    unsafe fn ptr_len(&self) -> (NonNull<u8>, usize) {
        (self.base, self.bytes)
    }
}

type Queue = &'static BBQueue<Shared, AtomicCoord, Polling>;

fn queue(arena: &Arena, bytes: usize) -> Queue {
    let base = arena.take(bytes);
    arena.place(BBQueue::new_with_storage(Shared { base, bytes }))
}

/// Frames of the crate, taken one by one.
pub struct Framed;

/// The sending end of [`Framed`].
pub struct FramedSender(FramedProducer<Queue>);
/// The receiving end of [`Framed`].
pub struct FramedReceiver(FramedConsumer<Queue>);

impl<const N: usize> Contender<N> for Framed {
    type Sender = FramedSender;
    type Receiver = FramedReceiver;

    fn open(arena: &Arena, slots: usize) -> (Seed<Self::Sender>, Seed<Self::Receiver>) {
        let queue = queue(arena, bytes_for(N, slots));
        (
            Box::new(move || FramedSender(queue.framed_producer())),
            Box::new(move || FramedReceiver(queue.framed_consumer())),
        )
    }
}

impl<const N: usize> Sender<N> for FramedSender {
    #[inline(always)]
    fn try_send(&mut self, message: &[u8; N]) -> bool {
        let Ok(mut grant) = self.0.grant(N as u16) else {
            return false;
        };
        grant.copy_from_slice(message);
        grant.commit(N as u16);
        true
    }
}

impl<const N: usize> Receiver<N> for FramedReceiver {
    #[inline(always)]
    fn try_receive(&mut self, sink: &mut Sink<N>) {
        if let Ok(grant) = self.0.read() {
            sink.target()[..grant.len()].copy_from_slice(&grant);
            grant.release();
            sink.arrived();
        }
    }
}

/// Frames of one's own in its stream: all that are there are taken, and given back together.
pub struct Drained;

/// The sending end of [`Drained`].
pub struct StreamSender(StreamProducer<Queue>);
/// The receiving end of [`Drained`].
pub struct StreamReceiver(StreamConsumer<Queue>);

impl<const N: usize> Contender<N> for Drained {
    type Sender = StreamSender;
    type Receiver = StreamReceiver;

    fn open(arena: &Arena, slots: usize) -> (Seed<Self::Sender>, Seed<Self::Receiver>) {
        let queue = queue(arena, bytes_for(N, slots));
        (
            Box::new(move || StreamSender(queue.stream_producer())),
            Box::new(move || StreamReceiver(queue.stream_consumer())),
        )
    }
}

impl<const N: usize> Sender<N> for StreamSender {
    #[inline(always)]
    fn try_send(&mut self, message: &[u8; N]) -> bool {
        let Ok(mut grant) = self.0.grant_exact(HEAD_BYTES + N) else {
            return false;
        };
        let (head, bytes) = grant.split_at_mut(HEAD_BYTES);
        head.copy_from_slice(&(N as u64).to_ne_bytes());
        bytes.copy_from_slice(message);
        grant.commit(HEAD_BYTES + N);
        true
    }
}

impl<const N: usize> Receiver<N> for StreamReceiver {
    #[inline(always)]
    fn try_receive(&mut self, sink: &mut Sink<N>) {
        let Ok(grant) = self.0.read() else {
            return;
        };
        let mut rest = &grant[..];
        while let Some((head, frames)) = rest.split_first_chunk::<HEAD_BYTES>() {
            let length = u64::from_ne_bytes(*head) as usize;
            let (message, after) = frames.split_at(length);
            sink.target()[..length].copy_from_slice(message);
            sink.arrived();
            rest = after;
        }
        let length = grant.len();
        grant.release(length);
    }
}
