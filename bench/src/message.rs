//! What is sent, and the check that it arrived.
//!
//! Payload comes from a buffer that is in the sender's cache and ends in one that is in the receiver's, as it does in a
//! program; each message bears its number at both ends, so that none is lost, doubled or torn without notice.

use std::hint::black_box;

/// Messages of `N` bytes to send, one after the other.
pub struct Source<const N: usize> {
    message: Box<[u8; N]>,
    number: u64,
}

impl<const N: usize> Default for Source<N> {
    fn default() -> Self {
        let mut message = Box::new([0; N]);
        for (at, byte) in message.iter_mut().enumerate() {
            *byte = at as u8;
        }
        Self { message, number: 0 }
    }
}

fn stamp<const N: usize>(message: &mut [u8; N], number: u64) {
    message[..8].copy_from_slice(&number.to_ne_bytes());
    message[N - 8..].copy_from_slice(&number.to_ne_bytes());
}

impl<const N: usize> Source<N> {
    /// The next message.
    #[inline]
    pub fn message(&mut self) -> &[u8; N] {
        stamp(&mut self.message, self.number);
        self.number += 1;
        black_box(&self.message)
    }

    /// Fills `messages` with the next ones.
    #[inline]
    pub fn fill(&mut self, messages: &mut [[u8; N]]) {
        for message in &mut *messages {
            stamp(message, self.number);
            self.number += 1;
        }
        black_box(messages);
    }
}

/// Where messages of `N` bytes end.
pub struct Sink<const N: usize> {
    target: Box<[u8; N]>,
    number: u64,
    damaged: bool,
}

impl<const N: usize> Default for Sink<N> {
    fn default() -> Self {
        Self {
            target: Box::new([0; N]),
            number: 0,
            damaged: false,
        }
    }
}

impl<const N: usize> Sink<N> {
    /// Where a message may be copied before [`Sink::arrived`].
    #[inline]
    pub fn target(&mut self) -> &mut [u8; N] {
        &mut self.target
    }

    /// What was copied to [`Sink::target`] is the next message.
    #[inline]
    pub fn arrived(&mut self) {
        let message = black_box(&*self.target);
        self.damaged |= !is_stamped(message, self.number);
        self.number += 1;
    }

    /// Takes a message that lies elsewhere by copying it.
    #[inline]
    pub fn copy(&mut self, message: &[u8]) {
        self.target.copy_from_slice(message);
        self.arrived();
    }

    /// Takes a message that was moved to the receiver by value, as it is.
    #[inline]
    pub fn value(&mut self, message: &[u8; N]) {
        self.damaged |= !is_stamped(black_box(message), self.number);
        self.number += 1;
    }

    /// So many messages have arrived.
    pub fn count(&self) -> u64 {
        self.number
    }

    /// Whether all of them were as they were sent.
    pub fn is_sound(&self) -> bool {
        !self.damaged
    }
}

#[inline]
fn is_stamped<const N: usize>(message: &[u8; N], number: u64) -> bool {
    let expected = number.to_ne_bytes();
    message[..8] == expected && message[N - 8..] == expected
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_is_lost_or_torn_is_noticed() {
        let mut source = Source::<24>::default();
        let mut sink = Sink::<24>::default();
        sink.copy(source.message());
        assert!(sink.is_sound());
        source.message();
        sink.copy(source.message());
        assert!(!sink.is_sound());

        let mut sink = Sink::<24>::default();
        let mut torn = *Source::<24>::default().message();
        torn[23] = 1;
        sink.value(&torn);
        assert!(!sink.is_sound());
    }
}
