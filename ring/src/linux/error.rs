//! Why a ring was not made.

use std::io;

/// Why a ring could not be made, or its two ends not be brought together.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// A system call failed.
    System(io::Error),
    /// The geometry is impossible, or larger than [`MAX_DATA_BYTES`](super::MAX_DATA_BYTES), or can't begin at its start.
    Geometry,
    /// The peer did not answer in time.
    TimedOut,
    /// The peer hung up before the ring was there.
    PeerClosed,
    /// The peer sent what no honest peer sends.
    PeerFault(Fault),
    /// Both want to be the same end.
    SameEnd,
    /// An end of another kind was asked for, or one of its words is damaged already.
    Attach(crate::Error),
}

/// What a peer got wrong in the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Not a message of this handshake, or not of its length.
    Message,
    /// Another version of the ring's layout.
    Version,
    /// A form that does not exist, or that was not offered.
    Form,
    /// A geometry that can't exist, is too large, or is not the one that was offered.
    Geometry,
    /// Another start or epoch than was offered, or not one of the two ends.
    Terms,
    /// A reserved word that is not zero.
    Reserved,
    /// Another number of files came along than belongs to the message: one, and a socket with the offer of a duplex.
    Files,
    /// What came along for the other direction of a duplex is not a Unix socket that keeps the bounds of messages.
    NotASocket,
    /// What came along is not a file in memory.
    NotAFileInMemory,
    /// The file could shrink, grow, or be written by others.
    NotSealed,
    /// The file has not the size of the geometry, or not all of its pages are there.
    FileSize,
}

impl core::fmt::Display for Error {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::System(error) => write!(formatter, "{error}"),
            Self::Geometry => formatter.write_str("no ring can have this geometry"),
            Self::TimedOut => formatter.write_str("the peer did not answer in time"),
            Self::PeerClosed => formatter.write_str("the peer hung up"),
            Self::PeerFault(fault) => {
                write!(formatter, "the peer broke the handshake: {fault}")
            }
            Self::SameEnd => formatter.write_str("both sides want the same end"),
            Self::Attach(error) => write!(formatter, "the end can't be used: {error}"),
        }
    }
}

impl core::fmt::Display for Fault {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.write_str(match self {
            Self::Message => "not a message of the handshake",
            Self::Version => "another version",
            Self::Form => "a form that was not offered",
            Self::Geometry => "an impossible geometry, or not the one that was offered",
            Self::Terms => "an end, start or epoch that was not offered",
            Self::Reserved => "a reserved word is not zero",
            Self::Files => "too few files, or too many",
            Self::NotASocket => "not a socket for the other direction",
            Self::NotAFileInMemory => "not a file in memory",
            Self::NotSealed => "a file that is not sealed",
            Self::FileSize => "a file of another size, or with pages missing",
        })
    }
}

impl core::error::Error for Error {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::System(error) => Some(error),
            Self::Attach(error) => Some(error),
            _ => None,
        }
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

impl From<rustix::io::Errno> for Error {
    fn from(error: rustix::io::Errno) -> Self {
        Self::System(error.into())
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        Self::PeerFault(fault)
    }
}

impl From<crate::Error> for Error {
    fn from(error: crate::Error) -> Self {
        Self::Attach(error)
    }
}
