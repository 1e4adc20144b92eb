//! A request and the sleep until its answer, as one call of a kernel that has it ([`Turn`]). Linux has not.

use core::cell::Cell;

use super::Duplex;
use crate::ends::{RingKind, is_told_once};
use crate::{Close, Consumer, Error, Producer, Turn, Unanswered, Wait, packet, slot};

/// How the sender of a [`Duplex`] wakes its peer that [exchanges](Duplex::turn): as it would otherwise, but during an
/// exchange, whose wake is left to the sleep that follows.
#[derive(Debug)]
pub struct Deferring<W> {
    wait: W,
    /// Wakes are left for later.
    defers: Cell<bool>,
    /// One was.
    owed: Cell<bool>,
}

impl<W> Deferring<W> {
    /// Wakes and sleeps by `wait`.
    pub fn new(wait: W) -> Self {
        Self {
            wait,
            defers: Cell::new(false),
            owed: Cell::new(false),
        }
    }

    /// What it wakes and sleeps by.
    pub fn get_ref(&self) -> &W {
        &self.wait
    }
}

impl<W: Wait> Deferring<W> {
    /// The wake that is owed, if there is one.
    #[inline(always)]
    fn settle(&self) {
        if self.owed.take() {
            self.wait.wake();
        }
    }
}

/// While a sender leaves its wakes for later.
struct Deferral<'a, K: RingKind, W: Wait> {
    sender: &'a mut Producer<K, Deferring<W>>,
    has_sent: bool,
}

impl<'a, K: RingKind, W: Wait> Deferral<'a, K, W> {
    #[inline(always)]
    fn begin(sender: &'a mut Producer<K, Deferring<W>>) -> Self {
        sender.waiter().defers.set(true);
        Self {
            sender,
            has_sent: false,
        }
    }
}

impl<K: RingKind, W: Wait> Drop for Deferral<'_, K, W> {
    #[inline(always)]
    fn drop(&mut self) {
        let waiter = self.sender.waiter();
        waiter.defers.set(false);
        // It unwinds: nobody sleeps next.
        if !self.has_sent {
            waiter.settle();
        }
    }
}

impl<W: Wait> Wait for Deferring<W> {
    #[inline(always)]
    fn wait(&self, seen: u32, deadline_ns: u64) -> Result<(), Error> {
        // It sleeps for room, which the peer makes that is to be woken.
        if !crate::sabotaged!("owed_wake_slept_over") {
            self.settle();
        }
        self.wait.wait(seen, deadline_ns)
    }

    #[inline(always)]
    fn wake(&self) {
        match self.defers.get() {
            true => self.owed.set(true),
            false => self.wait.wake(),
        }
    }

    #[inline(always)]
    fn wakes(&self) -> bool {
        self.wait.wakes()
    }
}

impl<W: Close> Close for Deferring<W> {
    fn close(&self) -> Result<(), Error> {
        self.wait.close()
    }

    fn accuse(&self) -> Result<(), Error> {
        self.wait.accuse()
    }
}

impl<K: RingKind, L: RingKind, W: Wait, V: Turn<W>>
    Duplex<Producer<K, Deferring<W>>, Consumer<L, V>>
{
    /// Sends by `send` and receives by `receive`, which sleeps until there is something at once: worth it where the other
    /// side has nothing to say before it has this message, and being woken costs little beside looking for it, as with a
    /// kernel that switches to who is woken. `receive` is not to wait, and is called again as long as it finds nothing.
    ///
    /// # Errors
    /// [`Unanswered::NotSent`]: of `send`, and nothing is received then; [`Unanswered::Sent`]: of `receive` and of
    /// [`Wait::wait`].
    ///
    /// A [threshold](slot::Consumer::set_wake_threshold) of the receiver holds here, too: it sleeps for as many messages, also over
    /// fewer that are there.
    #[inline]
    pub fn turn<T>(
        &mut self,
        send: impl FnOnce(&mut Producer<K, Deferring<W>>) -> Result<(), Error>,
        receive: impl FnMut(&mut Consumer<L, V>) -> Result<T, Error>,
        deadline_ns: u64,
    ) -> Result<T, Unanswered> {
        let mut deferral = Deferral::begin(&mut self.sender);
        let sent = send(deferral.sender);
        deferral.has_sent = true;
        drop(deferral);
        let received = match sent {
            Ok(()) => self
                .receive_asleep(receive, deadline_ns)
                .map_err(Unanswered::Sent),
            Err(error) => Err(Unanswered::NotSent(error)),
        };
        self.sender.waiter().settle();
        received
    }

    /// Receives, sleeping at once if there is nothing.
    #[inline(always)]
    fn receive_asleep<T>(
        &mut self,
        mut receive: impl FnMut(&mut Consumer<L, V>) -> Result<T, Error>,
        deadline_ns: u64,
    ) -> Result<T, Error> {
        loop {
            // Whoever waits looks before it sleeps.
            let seen = self.receiver.announce();
            let slept = self.sleep(seen, deadline_ns);
            if let Err(error) = slept
                && is_told_once(error)
            {
                self.receiver.disarm();
                return Err(error);
            }
            match (receive(&mut self.receiver), slept) {
                // Woken early, or by a peer that lies, which is told apart here.
                (Err(Error::Empty), Ok(())) => _ = self.receiver.arm()?,
                (Err(Error::Empty), Err(error)) => {
                    self.receiver.disarm();
                    return Err(error);
                }
                (received, _) => return received,
            }
        }
    }

    /// The wake that is owed, if there is one, and the sleep.
    #[inline(always)]
    fn sleep(&self, seen: u32, deadline_ns: u64) -> Result<(), Error> {
        let sender = self.sender.waiter();
        match sender.owed.take() && !crate::sabotaged!("owed_wake_forgotten") {
            true => {
                let receiver = self.receiver.waiter();
                receiver.wake_and_wait(&sender.wait, seen, deadline_ns)
            }
            false => self.receiver.waiter().wait(seen, deadline_ns),
        }
    }
}

impl<W: Wait, V: Turn<W>> Duplex<slot::Producer<Deferring<W>>, slot::Consumer<V>> {
    /// Sends a message and receives the next one that comes, as of [`turn`](Duplex::turn).
    ///
    /// # Errors
    /// [`Unanswered::NotSent`], as of [`send`](slot::Producer::send): send it again. [`Unanswered::Sent`], as of
    /// [`receive`](slot::Consumer::receive): wait for the answer by that, or leave it.
    #[inline]
    pub fn exchange(
        &mut self,
        message: &[u8],
        target: &mut [u8],
        deadline_ns: u64,
    ) -> Result<usize, Unanswered> {
        self.turn(
            |sender| sender.send(message, deadline_ns),
            |receiver| receiver.try_receive(target),
            deadline_ns,
        )
    }
}

impl<W: Wait, V: Turn<W>> Duplex<packet::Producer<Deferring<W>>, packet::Consumer<V>> {
    /// The same of packets: sends one with its tag, and tells the tag and the length of the next one that comes.
    ///
    /// # Errors
    /// The same, as of [`send`](packet::Producer::send) and [`receive`](packet::Consumer::receive).
    #[inline]
    pub fn exchange(
        &mut self,
        (tag, message): (u32, &[u8]),
        target: &mut [u8],
        deadline_ns: u64,
    ) -> Result<(u32, usize), Unanswered> {
        self.turn(
            |sender| sender.send(tag, message, deadline_ns),
            |receiver| receiver.try_receive(target),
            deadline_ns,
        )
    }
}
