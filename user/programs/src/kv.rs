//! A key-value server's messages, and what its clients of the demonstration do. What the server does with
//! them is in [`server`].
//!
//! A client numbers its requests from 1 on and has one at a time. So a client that was killed before it
//! got its answer, or the one that takes its place, asks the same again, and gets the same answer without
//! the work being done twice.

pub mod load;
pub mod server;

/// The longest key, in bytes; the shortest has one.
pub const MAX_KEY: usize = 24;
/// The longest value, in bytes.
pub const MAX_VALUE: usize = 64;
/// Bytes before the key of a request.
const HEAD: usize = 8;
/// Bytes of the longest request.
pub const MAX_REQUEST: usize = HEAD + MAX_KEY + MAX_VALUE;
/// Bytes of the longest answer.
pub const MAX_ANSWER: usize = 1 + MAX_VALUE;
/// Bytes of a slot of the rings between server and client.
pub const SLOT_SIZE: u32 = 128;

/// What a client wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation<'a> {
    /// Tell the value of one of its keys.
    Get(&'a [u8]),
    /// Keep a value under one of its keys, in place of the one that is there.
    Put(&'a [u8], &'a [u8]),
    /// Forget one of its keys.
    Remove(&'a [u8]),
    /// Add to a sum that all clients have in common, modulo 2^64.
    Add(&'a [u8], u64),
}

/// A request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// One more than that of the one before; again the same when its answer was lost.
    pub number: u32,
    /// What is to be done.
    pub operation: Operation<'a>,
}

impl<'a> Request<'a> {
    /// As a message. `None`: a key or value is too long, or a key has no bytes.
    pub fn encode<'b>(&self, buffer: &'b mut [u8; MAX_REQUEST]) -> Option<&'b [u8]> {
        let sum;
        let (code, key, value): (u8, &[u8], &[u8]) = match self.operation {
            Operation::Get(key) => (1, key, &[]),
            Operation::Put(key, value) => (2, key, value),
            Operation::Remove(key) => (3, key, &[]),
            Operation::Add(key, amount) => {
                sum = amount.to_le_bytes();
                (4, key, &sum)
            }
        };
        if key.is_empty() || key.len() > MAX_KEY || value.len() > MAX_VALUE {
            return None;
        }
        let [first, second, third, fourth] = self.number.to_le_bytes();
        let lengths = [key.len() as u8, value.len() as u8];
        let head = [
            code, lengths[0], lengths[1], 0, first, second, third, fourth,
        ];
        let end = HEAD + key.len();
        buffer[..HEAD].copy_from_slice(&head);
        buffer[HEAD..end].copy_from_slice(key);
        buffer[end..end + value.len()].copy_from_slice(value);
        Some(&buffer[..end + value.len()])
    }

    /// From a message; `None` for what is no request.
    pub fn decode(bytes: &'a [u8]) -> Option<Request<'a>> {
        let (&[code, key_len, value_len, 0, number @ ..], rest) =
            bytes.split_first_chunk::<HEAD>()?
        else {
            return None;
        };
        let (key, value) = rest.split_at_checked(key_len.into())?;
        let lengths = (1..=MAX_KEY).contains(&key.len()) && value.len() <= MAX_VALUE;
        if !lengths || value.len() != usize::from(value_len) {
            return None;
        }
        let operation = match (code, value) {
            (1, []) => Operation::Get(key),
            (2, value) => Operation::Put(key, value),
            (3, []) => Operation::Remove(key),
            (4, value) => Operation::Add(key, u64::from_le_bytes(value.try_into().ok()?)),
            _ => return None,
        };
        Some(Request {
            number: u32::from_le_bytes(number),
            operation,
        })
    }
}

/// What the server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer<'a> {
    /// It was done.
    Done,
    /// The key's value, or the sum.
    Value(&'a [u8]),
    /// The client has no such key.
    Missing,
    /// The client may not have one more key, or there is no room for one more sum.
    Full,
}

impl<'a> Answer<'a> {
    /// As a message; a value is cut off behind [`MAX_VALUE`] bytes.
    pub fn encode<'b>(&self, buffer: &'b mut [u8; MAX_ANSWER]) -> &'b [u8] {
        let (code, value): (u8, &[u8]) = match self {
            Answer::Done => (0, &[]),
            Answer::Value(value) => (1, value),
            Answer::Missing => (2, &[]),
            Answer::Full => (3, &[]),
        };
        let value = &value[..value.len().min(MAX_VALUE)];
        buffer[0] = code;
        buffer[1..=value.len()].copy_from_slice(value);
        &buffer[..=value.len()]
    }

    /// From a message; `None` for what is no answer.
    pub fn decode(bytes: &'a [u8]) -> Option<Answer<'a>> {
        match bytes.split_first()? {
            (0, []) => Some(Answer::Done),
            (1, value) if value.len() <= MAX_VALUE => Some(Answer::Value(value)),
            (2, []) => Some(Answer::Missing),
            (3, []) => Some(Answer::Full),
            _ => None,
        }
    }
}
