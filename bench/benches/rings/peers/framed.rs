//! `rtrb` as a ring of bytes: messages of any length, each with its length before it.

use handover_bench::arena::Arena;
use handover_bench::contender::{Contender, HEAD_BYTES, Receiver, Seed, Sender, bytes_for};
use handover_bench::message::Sink;

/// `rtrb` in chunks of bytes.
pub struct Rtrb;

/// The sending end.
pub struct FrameSender(rtrb::Producer<u8>);
/// The receiving end.
pub struct FrameReceiver(rtrb::Consumer<u8>);

impl<const N: usize> Contender<N> for Rtrb {
    type Sender = FrameSender;
    type Receiver = FrameReceiver;

    fn open(_: &Arena, slots: usize) -> (Seed<Self::Sender>, Seed<Self::Receiver>) {
        let (sender, receiver) = rtrb::RingBuffer::new(bytes_for(N, slots));
        (
            Box::new(|| FrameSender(sender)),
            Box::new(|| FrameReceiver(receiver)),
        )
    }
}

/// Copies `bytes` to where two parts of a ring begin at `at`.
#[inline(always)]
fn copy_in(parts: (&mut [u8], &mut [u8]), at: usize, bytes: &[u8]) {
    let (first, second) = parts;
    let before = first.len().saturating_sub(at).min(bytes.len());
    let (now, later) = bytes.split_at(before);
    if !now.is_empty() {
        first[at..at + before].copy_from_slice(now);
    }
    if !later.is_empty() {
        let at = (at + before) - first.len();
        second[at..at + later.len()].copy_from_slice(later);
    }
}

#[inline(always)]
fn copy_out(parts: (&[u8], &[u8]), bytes: &mut [u8]) {
    let (first, second) = parts;
    let (now, later) = bytes.split_at_mut(first.len());
    now.copy_from_slice(first);
    later.copy_from_slice(second);
}

impl<const N: usize> Sender<N> for FrameSender {
    #[inline(always)]
    fn try_send(&mut self, message: &[u8; N]) -> bool {
        let Ok(mut chunk) = self.0.write_chunk(HEAD_BYTES + N) else {
            return false;
        };
        let (first, second) = chunk.as_mut_slices();
        copy_in((first, second), 0, &(N as u64).to_ne_bytes());
        let (first, second) = chunk.as_mut_slices();
        copy_in((first, second), HEAD_BYTES, message);
        chunk.commit_all();
        true
    }
}

impl<const N: usize> Receiver<N> for FrameReceiver {
    #[inline(always)]
    fn try_receive(&mut self, sink: &mut Sink<N>) {
        let Ok(head) = self.0.read_chunk(HEAD_BYTES) else {
            return;
        };
        let mut length = [0; HEAD_BYTES];
        copy_out(head.as_slices(), &mut length);
        head.commit_all();
        let length = u64::from_ne_bytes(length) as usize;
        // Head and bytes were committed together.
        let Ok(bytes) = self.0.read_chunk(length) else {
            return;
        };
        copy_out(bytes.as_slices(), &mut sink.target()[..length]);
        bytes.commit_all();
        sink.arrived();
    }
}
