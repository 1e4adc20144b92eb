//! Waiting as a task: the ends of every kind with futures in place of calls that sleep.
//!
//! Nothing here allocates, and any executor will do: what an end needs is a way to have a task woken ([`WaitAsTask`]).
//!
//! All futures are *cancellation-safe*, save the two that say otherwise: one that is dropped before it is ready has
//! sent nothing and received nothing. As with every other wait, a peer that never moves is waited for without end;
//! executors have timers.
//!
#![cfg_attr(
    all(feature = "std", target_os = "linux", not(loom)),
    doc = r#"
The ends of [`crate::linux`] have one:

```
use ring::asynchronous::{Receiver, Sender};
use ring::linux::{Geometry, pair};

# futures::executor::block_on(async {
let (producer, consumer) = pair(Geometry::slot(64, 8))?;
let mut sender = Sender::new(producer.slot()?);
let mut receiver = Receiver::new(consumer.slot()?);
let sends = async {
    for number in 0..1000_u64 {
        sender.send(&number.to_le_bytes()).await?;
    }
    drop(sender);
    Ok(())
};
let receives = async {
    let mut bytes = [0; 8];
    let mut sum = 0;
    while receiver.receive(&mut bytes).await.is_ok() {
        sum += u64::from_le_bytes(bytes);
    }
    sum
};
let (sent, sum) = futures::join!(sends, receives);
assert_eq!((sent, sum), (Ok::<(), ring::Error>(()), 499_500));
# Ok::<(), Box<dyn std::error::Error>>(())
# }).unwrap();
```
"#
)]

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

use crate::byte::Byte;
use crate::ends::is_told_once;
use crate::packet::Packet;
use crate::slot::Slot;
use crate::{Consumer, Error, Producer, RingKind, Wait};

/// A way to sleep in which it is a task that waits, and not a thread.
pub trait WaitAsTask: Wait {
    /// Has the task of `context` woken once [`Wait::wait`] for `seen` would return.
    ///
    /// The waker is told of before the last look at the peer's index, which comes after the barrier on an asymmetric
    /// ring, so that no wakeup falls between the two. Ready early, or woken early, is allowed: the caller looks
    /// again. One task waits at an end; the last that asked is the one that is woken.
    ///
    /// # Errors
    /// As [`Wait::wait`], but that there is no deadline.
    fn poll_wait(&self, seen: u32, context: &mut Context<'_>) -> Poll<Result<(), Error>>;
}

impl<W: WaitAsTask + ?Sized> WaitAsTask for &W {
    fn poll_wait(&self, seen: u32, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        (**self).poll_wait(seen, context)
    }
}

/// An end that a future waits at.
trait WaitingEnd {
    type Wait: WaitAsTask;

    /// What says that there is reason to wait.
    const REASON: Error;

    fn arm(&mut self, wanted: u32) -> Result<Option<u32>, Error>;
    fn disarm(&mut self);
    fn waiter(&self) -> &Self::Wait;
}

impl<K: RingKind, W: WaitAsTask> WaitingEnd for Producer<K, W> {
    type Wait = W;
    const REASON: Error = Error::Full;

    fn arm(&mut self, wanted: u32) -> Result<Option<u32>, Error> {
        self.arm(wanted)
    }

    fn disarm(&mut self) {
        self.disarm();
    }

    fn waiter(&self) -> &W {
        self.waiter()
    }
}

impl<K: RingKind, W: WaitAsTask> WaitingEnd for Consumer<K, W> {
    type Wait = W;
    const REASON: Error = Error::Empty;

    fn arm(&mut self, _wanted: u32) -> Result<Option<u32>, Error> {
        self.arm()
    }

    fn disarm(&mut self) {
        self.disarm();
    }

    fn waiter(&self) -> &W {
        self.waiter()
    }
}

/// Tries again and again, and sleeps in between. Once it is ready, or dropped, the peer is not asked to wake anybody.
#[must_use = "futures do nothing unless they are awaited"]
struct Attempts<'a, E: WaitingEnd, F> {
    end: &'a mut E,
    wanted: u32,
    attempt: F,
    armed: bool,
}

/// How often a task looks that is told that something is there, and finds nothing, before others have their turn.
const LOOKS: u32 = 4;

impl<E: WaitingEnd, F, T> Future for Attempts<'_, E, F>
where
    F: FnMut(&mut E) -> Result<T, Error> + Unpin,
{
    type Output = Result<T, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        for _ in 0..LOOKS {
            match (this.attempt)(this.end) {
                Err(error) if error == E::REASON => {}
                answer => return Poll::Ready(answer),
            }
            this.armed = true;
            let Some(seen) = this.end.arm(this.wanted)? else {
                continue;
            };
            if crate::sabotaged!("task_not_announced") {
                this.end.disarm();
            }
            match this.end.waiter().poll_wait(seen, context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) if is_told_once(error) => return Poll::Ready(Err(error)),
                // What is there by then is taken first.
                Poll::Ready(Err(error)) => {
                    return Poll::Ready(match (this.attempt)(this.end) {
                        Err(reason) if reason == E::REASON => Err(error),
                        answer => answer,
                    });
                }
            }
        }
        // A peer that moves its index without publishing anything costs this task its turns, and nobody else theirs.
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<E: WaitingEnd, F> Drop for Attempts<'_, E, F> {
    fn drop(&mut self) {
        if self.armed {
            self.end.disarm();
        }
    }
}

fn attempts<E: WaitingEnd, T>(
    end: &mut E,
    wanted: u32,
    attempt: impl FnMut(&mut E) -> Result<T, Error> + Unpin,
) -> impl Future<Output = Result<T, Error>> {
    Attempts {
        end,
        wanted,
        attempt,
        armed: false,
    }
}

macro_rules! wrapper {
    ($(#[$documentation:meta])* $Name:ident, $End:ident) => {
        $(#[$documentation])*
        pub struct $Name<K, W>($End<K, W>);

        impl<K: RingKind, W: WaitAsTask> $Name<K, W> {
            /// Has tasks wait at an end.
            pub fn new(end: $End<K, W>) -> Self {
                Self(end)
            }

            /// The end itself, for all that waits for nothing.
            pub fn end(&mut self) -> &mut $End<K, W> {
                &mut self.0
            }

            /// Gives the end back.
            pub fn into_end(self) -> $End<K, W> {
                self.0
            }
        }
    };
}

wrapper! {
    /// The sending end, for a task.
    Sender, Producer
}
wrapper! {
    /// The receiving end, for a task.
    Receiver, Consumer
}

impl<K: RingKind, W: WaitAsTask> Receiver<K, W> {
    /// Ready once something can be received, peeked or read.
    ///
    /// # Errors
    /// Those of receiving, and what the way to sleep may answer.
    pub fn ready(&mut self) -> impl Future<Output = Result<(), Error>> {
        attempts(&mut self.0, 1, |end| end.wait_for_message(0))
    }
}

impl<W: WaitAsTask> Sender<Slot, W> {
    /// Sends one message once there is a slot for it.
    ///
    /// # Errors
    /// As [`Producer::try_send`], and what the way to sleep may answer.
    pub fn send(&mut self, bytes: &[u8]) -> impl Future<Output = Result<(), Error>> {
        attempts(&mut self.0, 1, move |end| end.try_send(bytes))
    }

    /// Ready once a slot can be reserved.
    ///
    /// # Errors
    /// As [`Producer::reserve`], and what the way to sleep may answer.
    pub fn ready(&mut self) -> impl Future<Output = Result<(), Error>> {
        attempts(&mut self.0, 1, |end| end.wait_for_space(0))
    }
}

impl<W: WaitAsTask> Receiver<Slot, W> {
    /// Receives one message into the beginning of `target` and returns its length in bytes.
    ///
    /// # Errors
    /// As [`Consumer::try_receive`], and what the way to sleep may answer.
    pub fn receive(&mut self, target: &mut [u8]) -> impl Future<Output = Result<usize, Error>> {
        attempts(&mut self.0, 1, move |end| end.try_receive(target))
    }
}

impl<W: WaitAsTask> Sender<Packet, W> {
    /// Sends one message with its tag once there is room for it.
    ///
    /// # Errors
    /// As [`Producer::try_send`], and what the way to sleep may answer.
    pub async fn send(&mut self, tag: u32, bytes: &[u8]) -> Result<(), Error> {
        let wanted = self.0.bytes_of_ring(bytes.len())?;
        attempts(&mut self.0, wanted, move |end| end.try_send(tag, bytes)).await
    }

    /// Ready once a message of `length` bytes can be reserved.
    ///
    /// # Errors
    /// As [`Producer::reserve`], and what the way to sleep may answer.
    pub async fn ready(&mut self, length: usize) -> Result<(), Error> {
        let wanted = self.0.bytes_of_ring(length)?;
        attempts(&mut self.0, wanted, move |end| {
            end.wait_for_space(length, 0)
        })
        .await
    }
}

impl<W: WaitAsTask> Receiver<Packet, W> {
    /// Receives one message into the beginning of `target`, and returns its tag and its length in bytes.
    ///
    /// # Errors
    /// As [`Consumer::try_receive`], and what the way to sleep may answer.
    pub fn receive(
        &mut self,
        target: &mut [u8],
    ) -> impl Future<Output = Result<(u32, usize), Error>> {
        attempts(&mut self.0, 1, move |end| end.try_receive(target))
    }
}

impl<W: WaitAsTask> Sender<Byte, W> {
    /// Writes as much of `bytes` as there is room for, at least one byte if there are any, and returns how much.
    ///
    /// # Errors
    /// As [`Producer::try_write`], and what the way to sleep may answer.
    pub fn write(&mut self, bytes: &[u8]) -> impl Future<Output = Result<usize, Error>> {
        attempts(&mut self.0, 1, move |end| end.try_write(bytes))
    }

    /// Ready once `length` bytes in a row can be reserved.
    ///
    /// # Errors
    /// As [`Producer::reserve`], and what the way to sleep may answer.
    pub async fn ready(&mut self, length: usize) -> Result<(), Error> {
        let wanted = self.0.bounded(length)?;
        attempts(&mut self.0, wanted, move |end| {
            end.wait_for_space(length, 0)
        })
        .await
    }

    /// Writes all of `bytes`. *Not* cancellation-safe: when it is dropped, nobody knows how much was written.
    ///
    /// # Errors
    /// As [`Sender::write`]. What was written before it stays.
    pub async fn write_all(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            let written = self.write(bytes).await?;
            bytes = bytes.get(written..).unwrap_or_default();
        }
        Ok(())
    }
}

impl<W: WaitAsTask> Receiver<Byte, W> {
    /// Reads what is there into `target`, at least one byte if it has room for any, and returns how much.
    ///
    /// # Errors
    /// As [`Consumer::try_read`], and what the way to sleep may answer.
    pub fn read(&mut self, target: &mut [u8]) -> impl Future<Output = Result<usize, Error>> {
        attempts(&mut self.0, 1, move |end| end.try_read(target))
    }

    /// Fills `target`. *Not* cancellation-safe: when it is dropped, what it has read is gone.
    ///
    /// # Errors
    /// As [`Receiver::read`]. What was read before it is in `target`.
    pub async fn read_exact(&mut self, target: &mut [u8]) -> Result<(), Error> {
        let mut done = 0;
        while done < target.len() {
            done += self.read(&mut target[done..]).await?;
        }
        Ok(())
    }
}
