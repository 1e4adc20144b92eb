//! Queues of values of one type: a message is an array and is moved in and out.

use std::sync::Arc;
use std::sync::mpsc;

use crossbeam_queue::ArrayQueue;
use handover_bench::arena::Arena;
use handover_bench::contender::{Contender, Receiver, Seed, Sender};
use handover_bench::message::Sink;
use ringbuf::traits::{Split as _, SplitRef as _};

/// An end of another crate's, as an end of ours.
pub struct End<Inner>(Inner);

/// `rtrb`, one by one.
pub struct Rtrb;

impl<const N: usize> Contender<N> for Rtrb {
    type Sender = End<rtrb::Producer<[u8; N]>>;
    type Receiver = End<rtrb::Consumer<[u8; N]>>;

    fn open(_: &Arena, slots: usize) -> (Seed<Self::Sender>, Seed<Self::Receiver>) {
        let (sender, receiver) = rtrb::RingBuffer::new(slots);
        (Box::new(|| End(sender)), Box::new(|| End(receiver)))
    }
}

impl<const N: usize> Sender<N> for End<rtrb::Producer<[u8; N]>> {
    #[inline(always)]
    fn try_send(&mut self, message: &[u8; N]) -> bool {
        self.0.push(*message).is_ok()
    }
}

impl<const N: usize> Receiver<N> for End<rtrb::Consumer<[u8; N]>> {
    #[inline(always)]
    fn try_receive(&mut self, sink: &mut Sink<N>) {
        if let Ok(message) = self.0.pop() {
            sink.value(&message);
        }
    }
}

/// `rtrb`, in chunks.
pub struct RtrbChunks;

/// The sending end of [`RtrbChunks`].
pub struct ChunkSender<const N: usize>(rtrb::Producer<[u8; N]>);
/// The receiving end of [`RtrbChunks`].
pub struct ChunkReceiver<const N: usize>(rtrb::Consumer<[u8; N]>);

impl<const N: usize> Contender<N> for RtrbChunks {
    type Sender = ChunkSender<N>;
    type Receiver = ChunkReceiver<N>;

    fn open(_: &Arena, slots: usize) -> (Seed<Self::Sender>, Seed<Self::Receiver>) {
        let (sender, receiver) = rtrb::RingBuffer::new(slots);
        (
            Box::new(|| ChunkSender(sender)),
            Box::new(|| ChunkReceiver(receiver)),
        )
    }
}

impl<const N: usize> Sender<N> for ChunkSender<N> {
    #[inline(always)]
    fn try_send(&mut self, message: &[u8; N]) -> bool {
        self.try_send_all(std::slice::from_ref(message)) == 1
    }

    #[inline(always)]
    fn try_send_all(&mut self, messages: &[[u8; N]]) -> usize {
        match self.0.write_chunk_uninit(messages.len()) {
            Ok(chunk) => chunk.fill_from_iter(messages.iter().copied()),
            Err(_) => 0,
        }
    }
}

impl<const N: usize> Receiver<N> for ChunkReceiver<N> {
    #[inline(always)]
    fn try_receive(&mut self, sink: &mut Sink<N>) {
        let Ok(chunk) = self.0.read_chunk(self.0.slots().min(32)) else {
            return;
        };
        let (first, second) = chunk.as_slices();
        for message in first.iter().chain(second) {
            sink.copy(message);
        }
        chunk.commit_all();
    }
}

/// `ringbuf` on the heap, one by one and, where there are several to send, by slices.
pub struct Ringbuf;

impl<const N: usize> Contender<N> for Ringbuf {
    type Sender = RingbufSender<ringbuf::HeapProd<[u8; N]>>;
    type Receiver = RingbufReceiver<ringbuf::HeapCons<[u8; N]>>;

    fn open(_: &Arena, slots: usize) -> (Seed<Self::Sender>, Seed<Self::Receiver>) {
        let (sender, receiver) = ringbuf::HeapRb::new(slots).split();
        (
            Box::new(|| RingbufSender(sender)),
            Box::new(|| RingbufReceiver(receiver)),
        )
    }
}

/// `ringbuf` in place, for processes.
pub struct StaticRingbuf<const SLOTS: usize>;

impl<const N: usize, const SLOTS: usize> Contender<N> for StaticRingbuf<SLOTS> {
    type Sender = RingbufSender<ringbuf::StaticProd<'static, [u8; N], SLOTS>>;
    type Receiver = RingbufReceiver<ringbuf::StaticCons<'static, [u8; N], SLOTS>>;

    fn open(arena: &Arena, _: usize) -> (Seed<Self::Sender>, Seed<Self::Receiver>) {
        let ring = arena.place(ringbuf::StaticRb::<[u8; N], SLOTS>::default());
        let (sender, receiver) = ring.split_ref();
        (
            Box::new(|| RingbufSender(sender)),
            Box::new(|| RingbufReceiver(receiver)),
        )
    }
}

/// The sending end of both.
pub struct RingbufSender<End>(End);
/// The receiving end of both.
pub struct RingbufReceiver<End>(End);

impl<const N: usize, End: ringbuf::traits::Producer<Item = [u8; N]>> Sender<N>
    for RingbufSender<End>
{
    #[inline(always)]
    fn try_send(&mut self, message: &[u8; N]) -> bool {
        self.0.try_push(*message).is_ok()
    }

    #[inline(always)]
    fn try_send_all(&mut self, messages: &[[u8; N]]) -> usize {
        self.0.push_slice(messages)
    }
}

impl<const N: usize, End: ringbuf::traits::Consumer<Item = [u8; N]>> Receiver<N>
    for RingbufReceiver<End>
{
    #[inline(always)]
    fn try_receive(&mut self, sink: &mut Sink<N>) {
        if let Some(message) = self.0.try_pop() {
            sink.value(&message);
        }
    }
}

/// `heapless`, in place.
pub struct Heapless<const SLOTS: usize>;

impl<const N: usize, const SLOTS: usize> Contender<N> for Heapless<SLOTS> {
    type Sender = End<heapless::spsc::Producer<'static, [u8; N]>>;
    type Receiver = End<heapless::spsc::Consumer<'static, [u8; N]>>;

    fn open(arena: &Arena, _: usize) -> (Seed<Self::Sender>, Seed<Self::Receiver>) {
        let queue = arena.place(heapless::spsc::Queue::<[u8; N], SLOTS>::new());
        let (sender, receiver) = queue.split();
        (Box::new(|| End(sender)), Box::new(|| End(receiver)))
    }
}

impl<const N: usize> Sender<N> for End<heapless::spsc::Producer<'_, [u8; N]>> {
    #[inline(always)]
    fn try_send(&mut self, message: &[u8; N]) -> bool {
        self.0.enqueue(*message).is_ok()
    }
}

impl<const N: usize> Receiver<N> for End<heapless::spsc::Consumer<'_, [u8; N]>> {
    #[inline(always)]
    fn try_receive(&mut self, sink: &mut Sink<N>) {
        if let Some(message) = self.0.dequeue() {
            sink.value(&message);
        }
    }
}

/// `crossbeam-queue`: an `ArrayQueue`, which several may use.
pub struct Crossbeam;

impl<const N: usize> Contender<N> for Crossbeam {
    type Sender = End<Arc<ArrayQueue<[u8; N]>>>;
    type Receiver = End<Arc<ArrayQueue<[u8; N]>>>;

    fn open(_: &Arena, slots: usize) -> (Seed<Self::Sender>, Seed<Self::Receiver>) {
        let queue = Arc::new(ArrayQueue::new(slots));
        let other = Arc::clone(&queue);
        (Box::new(|| End(queue)), Box::new(|| End(other)))
    }
}

impl<const N: usize> Sender<N> for End<Arc<ArrayQueue<[u8; N]>>> {
    #[inline(always)]
    fn try_send(&mut self, message: &[u8; N]) -> bool {
        self.0.push(*message).is_ok()
    }
}

impl<const N: usize> Receiver<N> for End<Arc<ArrayQueue<[u8; N]>>> {
    #[inline(always)]
    fn try_receive(&mut self, sink: &mut Sink<N>) {
        if let Some(message) = self.0.pop() {
            sink.value(&message);
        }
    }
}

/// `std::sync::mpsc`, bounded; its ends poll.
pub struct Mpsc;

impl<const N: usize> Contender<N> for Mpsc {
    type Sender = End<mpsc::SyncSender<[u8; N]>>;
    type Receiver = End<mpsc::Receiver<[u8; N]>>;

    fn open(_: &Arena, slots: usize) -> (Seed<Self::Sender>, Seed<Self::Receiver>) {
        let (sender, receiver) = mpsc::sync_channel(slots);
        (Box::new(|| End(sender)), Box::new(|| End(receiver)))
    }
}

impl<const N: usize> Sender<N> for End<mpsc::SyncSender<[u8; N]>> {
    #[inline(always)]
    fn try_send(&mut self, message: &[u8; N]) -> bool {
        self.0.try_send(*message).is_ok()
    }
}

impl<const N: usize> Receiver<N> for End<mpsc::Receiver<[u8; N]>> {
    #[inline(always)]
    fn try_receive(&mut self, sink: &mut Sink<N>) {
        if let Ok(message) = self.0.try_recv() {
            sink.value(&message);
        }
    }
}

/// `std::sync::mpsc`, bounded; its receiver sleeps.
pub struct SleepingMpsc;

/// The receiving end of [`SleepingMpsc`].
pub struct SleepingMpscReceiver<const N: usize>(mpsc::Receiver<[u8; N]>);

impl<const N: usize> Contender<N> for SleepingMpsc {
    type Sender = End<mpsc::SyncSender<[u8; N]>>;
    type Receiver = SleepingMpscReceiver<N>;

    fn open(_: &Arena, slots: usize) -> (Seed<Self::Sender>, Seed<Self::Receiver>) {
        let (sender, receiver) = mpsc::sync_channel(slots);
        (
            Box::new(|| End(sender)),
            Box::new(|| SleepingMpscReceiver(receiver)),
        )
    }
}

impl<const N: usize> Receiver<N> for SleepingMpscReceiver<N> {
    fn try_receive(&mut self, sink: &mut Sink<N>) {
        if let Ok(message) = self.0.recv() {
            sink.value(&message);
        }
    }
}
