//! What an operation on a ring can answer, and whose doing it is.

/// Why an operation was not done. Nothing has changed unless the variant says otherwise.
///
/// Which of them can be told of what: [`Error::Full`], [`Error::Empty`], [`Error::TimedOut`], [`Error::Cancelled`] and
/// [`Error::Interrupted`] say "not now", [`Error::TooLarge`], [`Error::Closed`], [`Error::Invalid`] and
/// [`Error::Unsupported`] are the caller's own doing, and after the others this end has no peer any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Error {
    /// There is no room now.
    Full,
    /// No message is there now.
    Empty,
    /// The message can never fit into the ring, or does not fit into the caller's buffer and is still in the ring.
    TooLarge,
    /// This end was closed by its own side.
    Closed,
    /// The peer has closed its end in order, and all that it sent has been received.
    PeerClosed,
    /// The peer is gone without having closed its end, and all that it sent has been received.
    PeerDied,
    /// The peer wrote what no honest peer writes, or the kernel found it faulty. This end will not work again.
    PeerFault,
    /// The authority behind one of the ends was taken away.
    Revoked,
    /// The deadline passed first.
    TimedOut,
    /// The wait was cancelled by another task of this side.
    Cancelled,
    /// The wait was interrupted and may be repeated.
    Interrupted,
    /// The geometry is impossible or not that of this memory, or another argument can not be.
    Invalid,
    /// This end cannot do that: a ring of another kind or form, or a wait without a way to sleep.
    Unsupported,
}

impl core::fmt::Display for Error {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.write_str(match self {
            Self::Full => "the ring is full",
            Self::Empty => "the ring is empty",
            Self::TooLarge => "the message does not fit",
            Self::Closed => "this end is closed",
            Self::PeerClosed => "the peer has closed its end",
            Self::PeerDied => "the peer is gone",
            Self::PeerFault => "the peer broke the ring protocol",
            Self::Revoked => "the ring was revoked",
            Self::TimedOut => "the deadline passed",
            Self::Cancelled => "the wait was cancelled",
            Self::Interrupted => "the wait was interrupted",
            Self::Invalid => "impossible geometry or argument",
            Self::Unsupported => "not supported by this end",
        })
    }
}

impl core::error::Error for Error {}

/// How far an operation came that ended with an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Unfinished {
    /// Bytes that were passed before it.
    pub done: usize,
    /// Why it did not go on.
    pub error: Error,
}

impl core::fmt::Display for Unfinished {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(formatter, "{} after {} bytes", self.error, self.done)
    }
}

impl core::error::Error for Unfinished {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        Some(&self.error)
    }
}

/// Why a request has no answer, and whether it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unanswered {
    /// It was not sent: what was said in place of sending it.
    NotSent(Error),
    /// It was sent. Its answer may come yet, and is received as any message is.
    Sent(Error),
}

impl Unanswered {
    /// Why, without telling whether it was sent.
    pub const fn error(self) -> Error {
        match self {
            Self::NotSent(error) | Self::Sent(error) => error,
        }
    }
}

impl core::fmt::Display for Unanswered {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::NotSent(error) => write!(formatter, "{error}, and the request was not sent"),
            Self::Sent(error) => write!(formatter, "{error}, and the request was sent"),
        }
    }
}

impl core::error::Error for Unanswered {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::NotSent(error) | Self::Sent(error) => Some(error),
        }
    }
}
