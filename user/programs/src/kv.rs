//! A key-value server's messages, and what its clients of the demonstration do. What the server does with
//! them is in [`server`], how it survives its own end in [`journal`], and how a client finds it in [`member`].
//!
//! A client has an account, which it names when it has joined, numbers its requests from 1 on, and has one
//! at a time. So a client that was killed before it got its answer, or that lost its server, asks the same
//! again, and gets the same answer without the work being done twice.
//!
//! Requests and answers are payloads of a hub: short ones are in the message, longer ones in a slot of the
//! pool of the client's seat, and the longest in a region of their own.

pub mod journal;
pub mod load;
pub mod member;
pub mod server;

use alloc::vec::Vec;

use rt::hub::Class;

/// The name by which clients find the server.
pub const NAME: &str = "kv";
/// Accounts of a server at most: each client has a session with the name service, which has room for 64.
pub const MOST_ACCOUNTS: u32 = 60;
/// The longest key, in bytes; the shortest has one.
pub const MAX_KEY: usize = 24;
/// The longest value, in bytes.
pub const MAX_VALUE: usize = 256 << 10;
/// Bytes before the key of a request.
const HEAD: usize = 8;
/// Bytes of the longest request.
pub const MAX_REQUEST: usize = HEAD + MAX_KEY + MAX_VALUE;
/// Bytes of the longest answer.
pub const MAX_ANSWER: usize = 1 + MAX_VALUE;
/// Bytes of a slot of the rings between server and client.
pub const SLOT_SIZE: u32 = 128;
/// Bytes of a message of the rings.
pub const MESSAGE: usize = SLOT_SIZE as usize - 8;
/// Slots of each ring: a client has one request at a time, which may need a few messages.
pub const SLOTS: u32 = 8;
/// The pool of each seat: one request and one answer at a time.
pub const POOL: [Class; 2] = [class(512), class(MIDDLING as u32 + 64)];
/// Bytes of the longest value that a slot is large enough for, with its key.
pub const MIDDLING: usize = 4096;

const fn class(slot_bytes: u32) -> Class {
    Class {
        slot_bytes,
        count: 2,
    }
}

/// What a message is, in the tag of its payload. An answer has the tag of what it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tag {
    /// The first of a client: the number of its account.
    Hello,
    /// A [`Request`].
    Request,
    /// The server is to end in order.
    Finish,
}

impl Tag {
    /// All of them, each at the place of its number.
    pub const ALL: [Tag; 3] = [Tag::Hello, Tag::Request, Tag::Finish];

    /// From its number.
    pub fn from_number(number: u32) -> Option<Tag> {
        Tag::ALL.get(number as usize).copied()
    }
}

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
    pub fn encode(&self) -> Option<Vec<u8>> {
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
        let mut bytes = Vec::with_capacity(HEAD + key.len() + value.len());
        bytes.extend([code, key.len() as u8, 0, 0]);
        bytes.extend(self.number.to_le_bytes());
        bytes.extend(key);
        bytes.extend(value);
        Some(bytes)
    }

    /// From a message; `None` for what is no request.
    pub fn decode(bytes: &'a [u8]) -> Option<Request<'a>> {
        let (&[code, key_len, 0, 0, number @ ..], rest) = bytes.split_first_chunk::<HEAD>()? else {
            return None;
        };
        let (key, value) = rest.split_at_checked(key_len.into())?;
        if !(1..=MAX_KEY).contains(&key.len()) || value.len() > MAX_VALUE {
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
    /// The account has no such key.
    Missing,
    /// The account has as many keys or bytes as it may have, or there is no room for one more sum.
    Full,
}

impl<'a> Answer<'a> {
    /// As a message; a value is cut off behind [`MAX_VALUE`] bytes.
    pub fn encode(&self) -> Vec<u8> {
        let (code, value): (u8, &[u8]) = match self {
            Answer::Done => (0, &[]),
            Answer::Value(value) => (1, value),
            Answer::Missing => (2, &[]),
            Answer::Full => (3, &[]),
        };
        let value = &value[..value.len().min(MAX_VALUE)];
        let mut bytes = Vec::with_capacity(1 + value.len());
        bytes.push(code);
        bytes.extend(value);
        bytes
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
