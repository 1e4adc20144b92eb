//! Ends that wait otherwise than by sleeping: as one of many, or as tasks.

use core::pin::pin;
use core::task::{Context, Poll, Waker};

use abi::ring::Kind;
use ring::asynchronous::{Receiver, Sender, WaitAsTask};
use ring::byte::Byte;
use ring::mpsc::Next;
use ring::packet::Packet;
use ring::slot::Slot;
use ring::{Error, Gather, RingKind, Wait, mpsc};

use super::{
    PASSED_NS, Shared, TARGET_BYTES, consumer, producer, read, receive_packets, receive_slots,
};

/// A place to sleep at, for a time that has passed.
struct Passed;

impl Gather for Passed {
    fn wait(&self, _deadline_ns: u64) -> Result<(), Error> {
        Err(Error::TimedOut)
    }

    fn barrier(&self) -> Result<(), Error> {
        Ok(())
    }
}

/// Has another holder receive as from many.
fn gather<K: RingKind, S: Shared>(
    shared: &S,
    mut receive: impl FnMut(&mut ring::Consumer<K, S::Wait>) -> Result<(), Error>,
) -> Result<(), Error> {
    let member = consumer(shared, |waits| waits)?;
    let mut members = mpsc::Receiver::new([Some(member)], Passed)?;
    for _ in 0..3 {
        match members.next(PASSED_NS)? {
            Next::Ready { consumer, .. } => receive(consumer)?,
            Next::Ended { why, .. } => return Err(why),
        }
    }
    Ok(())
}

/// Waits as a task until a time that has passed.
struct AsTask<W>(W);

impl<W: Wait> Wait for AsTask<W> {
    fn wait(&self, seen: u32, deadline_ns: u64) -> Result<(), Error> {
        self.0.wait(seen, deadline_ns)
    }

    fn wake(&self) {
        self.0.wake();
    }
}

impl<W: Wait> WaitAsTask for AsTask<W> {
    fn poll_wait(&self, seen: u32, _context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(self.0.wait(seen, PASSED_NS))
    }
}

/// Has a task make one attempt.
fn attempt<T>(task: impl Future<Output = Result<T, Error>>) -> Result<(), Error> {
    match pin!(task).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer.map(drop),
        Poll::Pending => Err(Error::Empty),
    }
}

/// Has other holders, which are tasks, send and receive.
fn as_tasks<S: Shared>(shared: &S, length: usize) -> [Result<(), Error>; 2] {
    let bytes = &[7; TARGET_BYTES][..length.min(TARGET_BYTES)];
    let target = &mut [0; TARGET_BYTES];
    match shared.geometry().kind {
        Kind::Slot => [
            producer(shared, AsTask)
                .and_then(|end| attempt(Sender::<Slot, _>::new(end).send(bytes))),
            consumer(shared, AsTask)
                .and_then(|end| attempt(Receiver::<Slot, _>::new(end).receive(target))),
        ],
        Kind::Packet => [
            producer(shared, AsTask)
                .and_then(|end| attempt(Sender::<Packet, _>::new(end).send(7, bytes))),
            consumer(shared, AsTask)
                .and_then(|end| attempt(Receiver::<Packet, _>::new(end).receive(target))),
        ],
        Kind::Byte => [
            producer(shared, AsTask)
                .and_then(|end| attempt(Sender::<Byte, _>::new(end).write(bytes))),
            consumer(shared, AsTask)
                .and_then(|end| attempt(Receiver::<Byte, _>::new(end).read(target))),
        ],
    }
}

/// Has others take the place of both ends, which receive as one of many, or wait as tasks. Whatever they answer, the next
/// ones find what they leave.
pub(super) fn pass_to_others<S: Shared>(shared: &S, way: u8, length: usize) {
    let kind = shared.geometry().kind;
    let _ = match (way % 2, kind) {
        (0, Kind::Slot) => gather(shared, |end| receive_slots(end, way / 2, length)),
        (0, Kind::Packet) => gather(shared, |end| receive_packets(end, way / 2, length)),
        (0, Kind::Byte) => gather(shared, |end| read(end, way / 2, length)),
        _ => {
            let [sent, received] = as_tasks(shared, length);
            sent.and(received)
        }
    };
}
