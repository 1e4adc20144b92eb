//! Handover's rings.

use std::ptr::NonNull;

use abi::ring::{DATA_OFFSET, Form, Geometry};
use handover_bench::arena::Arena;
use handover_bench::contender::{Contender, Receiver, Seed, Sender};
use handover_bench::message::Sink;
use ring::Polling;
use ring::memory::{ConsumerMemory, Owner, ProducerMemory};
use ring::slot::{Consumer, Producer};

/// The place of a view, on its way to the end that is going to use it.
#[derive(Clone, Copy)]
struct Base(NonNull<u8>);

// SAFETY: an address in shared memory means the same in every thread, and in a child that was forked.
unsafe impl Send for Base {}

impl Base {
    fn get(self) -> NonNull<u8> {
        self.0
    }
}

/// A sending end.
pub struct SlotSender(Producer<Polling>);
/// A receiving end.
pub struct SlotReceiver(Consumer<Polling>);

/// SLOT, on which nobody sleeps.
pub struct Slot;

impl<const N: usize> Contender<N> for Slot {
    type Sender = SlotSender;
    type Receiver = SlotReceiver;

    fn open(arena: &Arena, slots: usize) -> (Seed<Self::Sender>, Seed<Self::Receiver>) {
        let slot_bytes = (N + abi::ring::SLOT_HEAD_BYTES).next_multiple_of(64);
        let geometry = Geometry::slot(slot_bytes as u32, slots as u32);
        let base = Base(arena.take(DATA_OFFSET + geometry.data_bytes() as usize));
        // SAFETY: the arena gave zeroed pages to this ring alone, for longer than its ends live, and each role is
        // taken once: by the one end that is made of each seed.
        let owner = unsafe { Owner::format(base.get(), geometry, Form::Symmetric, 0, 1) };
        owner.expect("a possible geometry");
        let sender = move || {
            // SAFETY: as above.
            let memory = unsafe { ProducerMemory::from_raw(base.get(), geometry) };
            let end = Producer::attach(memory.expect("as formatted"), Polling);
            SlotSender(end.expect("as formatted"))
        };
        let receiver = move || {
            // SAFETY: as above.
            let memory = unsafe { ConsumerMemory::from_raw(base.get(), geometry) };
            let end = Consumer::attach(memory.expect("as formatted"), Polling);
            SlotReceiver(end.expect("as formatted"))
        };
        (Box::new(sender), Box::new(receiver))
    }
}

impl<const N: usize> Sender<N> for SlotSender {
    #[inline]
    fn try_send(&mut self, message: &[u8; N]) -> bool {
        self.0.try_send(message).is_ok()
    }

    fn try_send_all(&mut self, messages: &[[u8; N]]) -> usize {
        let mut slices = [&[][..]; 32];
        let slices = &mut slices[..messages.len()];
        for (slice, message) in slices.iter_mut().zip(messages) {
            *slice = message;
        }
        self.0.send_batch(slices).unwrap_or(0)
    }
}

impl<const N: usize> Receiver<N> for SlotReceiver {
    #[inline]
    fn try_receive(&mut self, sink: &mut Sink<N>) {
        if self.0.try_receive(sink.target()).is_ok() {
            sink.arrived();
        }
    }
}
