//! The messages of `store`, a service that keeps numbers under numbers: calls of four words, and
//! answers of four words.

use rt::Error;

/// Keys that it can keep.
pub const KEYS: u64 = 256;

/// What a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Keep a value.
    Put {
        /// Below [`KEYS`].
        key: u64,
        /// Any number.
        value: u64,
    },
    /// Tell a value; one that was never put is 0.
    Get {
        /// Below [`KEYS`].
        key: u64,
    },
    /// Do what a service must not: touch memory that it does not have.
    Fault,
    /// Another thing of that kind: panic.
    Panic,
    /// Answer, and then end in order.
    Finish,
}

impl Request {
    /// As the words of a call.
    pub const fn encode(self) -> [u64; 4] {
        match self {
            Request::Put { key, value } => [1, key, value, 0],
            Request::Get { key } => [2, key, 0, 0],
            Request::Fault => [3, 0, 0, 0],
            Request::Panic => [4, 0, 0, 0],
            Request::Finish => [5, 0, 0, 0],
        }
    }

    /// From the words of a call; `None` for what is no request.
    pub const fn decode(words: [u64; 4]) -> Option<Request> {
        match words {
            [1, key, value, 0] if key < KEYS => Some(Request::Put { key, value }),
            [2, key, 0, 0] if key < KEYS => Some(Request::Get { key }),
            [3, 0, 0, 0] => Some(Request::Fault),
            [4, 0, 0, 0] => Some(Request::Panic),
            [5, 0, 0, 0] => Some(Request::Finish),
            _ => None,
        }
    }
}

/// The answer to what is a request: 0 and the value.
pub const fn answer(value: u64) -> [u64; 4] {
    [0, value, 0, 0]
}

/// The answer to what is none.
pub const REFUSED: [u64; 4] = [1, 0, 0, 0];

/// The value of an answer; `Invalid` when it was refused.
pub const fn value(words: [u64; 4]) -> Result<u64, Error> {
    match words {
        [0, value, 0, 0] => Ok(value),
        _ => Err(Error::Invalid),
    }
}
