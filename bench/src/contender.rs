//! What can be measured: a way for messages of `N` bytes from one end to the other.

use crate::arena::Arena;
use crate::message::Sink;

/// Before each message in a ring of bytes, where whoever sends brings a frame of its own.
pub const HEAD_BYTES: usize = 8;

/// Bytes of all ways that carry messages of any length in bytes: as many as `slots` messages of `bytes` take with their heads,
/// in the power of two that some of them want.
pub const fn bytes_for(bytes: usize, slots: usize) -> usize {
    (slots * (HEAD_BYTES + bytes)).next_power_of_two()
}

/// The sending end.
pub trait Sender<const N: usize> {
    /// Sends a message, or answers `false` because there is no room for it. An end that sleeps does so instead.
    fn try_send(&mut self, message: &[u8; N]) -> bool;

    /// Sends as many of the messages as there is room for, from the first on.
    #[inline]
    fn try_send_all(&mut self, messages: &[[u8; N]]) -> usize {
        messages
            .iter()
            .take_while(|message| self.try_send(message))
            .count()
    }
}

/// The receiving end.
pub trait Receiver<const N: usize> {
    /// Takes what it takes at once, which may be nothing. An end that sleeps does so instead.
    fn try_receive(&mut self, sink: &mut Sink<N>);
}

/// Makes an end, in the thread or process that is going to use it.
pub type Seed<End> = Box<dyn FnOnce() -> End + Send>;

/// One way for messages of `N` bytes.
pub trait Contender<const N: usize> {
    /// Its sending end.
    type Sender: Sender<N>;
    /// Its receiving end.
    type Receiver: Receiver<N>;

    /// A new way with room for `slots` messages, if it can be told; one that carries bytes has [`bytes_for`] them. What
    /// both ends write is in `arena` if they can be processes.
    fn open(arena: &Arena, slots: usize) -> (Seed<Self::Sender>, Seed<Self::Receiver>);
}
