//! What a server has done, in memory that outlives it: whoever is started in its place reads it, and goes
//! on as if nothing had happened.
//!
//! A request is written down before it is done, and done before it is answered. So what was answered is
//! in the journal, and what is there without an answer is asked for again. A record is told of by one store
//! of a word, behind its bytes: whoever is killed in between has not written it.
//!
//! The journal has two halves. When the one in use is full, what the server has is written into the other
//! one, which is as large as that can be with one record more, and the same word tells of both.

use core::sync::atomic::{AtomicU64, Ordering};

use alloc::vec::Vec;

use super::server::{Last, MAX_BYTES, MAX_KEYS, MAX_SUMS, Malformed, Server, Turn};
use super::{Answer, MAX_KEY, MAX_REQUEST, Operation, Request};
use ring::sabotaged;

/// Words that a journal has besides its bytes: how much is written in which half, and how often an
/// account has asked again.
pub const WORDS: usize = 2;
/// Bytes before those of a record: their number, the kind, and the account.
const HEAD: usize = 8;
/// What records are aligned to.
const ALIGN: usize = 8;
/// The half in use, in the word that tells how much is written there.
const SECOND: u64 = 1 << 63;

/// A request, as it came.
const REQUEST: u8 = 1;
/// A request of no number, which leaves behind what is there.
const STATE: u8 = 2;
/// What an account asked last: the number of it, and a [`Last`].
const LAST: u8 = 3;

/// Bytes of a record besides what a key and a value have, and of one that has none, at most.
const SMALL: usize = HEAD + HEAD + MAX_KEY + ALIGN;

/// Bytes of each half of a journal of so many accounts: all that they can have, and one request more.
const fn half_bytes(accounts: usize) -> usize {
    let account = MAX_BYTES + (MAX_KEYS + 1) * SMALL;
    accounts * account + MAX_SUMS * SMALL + HEAD + MAX_REQUEST.next_multiple_of(ALIGN)
}

/// Bytes of a journal of so many accounts.
pub const fn bytes(accounts: usize) -> usize {
    2 * half_bytes(accounts)
}

/// A server, and the journal of what it has done.
pub struct Journal<'a> {
    server: Server,
    /// How much is written, and in which half.
    written: &'a AtomicU64,
    again: &'a AtomicU64,
    halves: [&'a mut [u8]; 2],
    half: usize,
    used: usize,
}

impl core::fmt::Debug for Journal<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Journal")
            .field("half", &self.half)
            .field("used", &self.used)
            .finish_non_exhaustive()
    }
}

impl<'a> Journal<'a> {
    /// A server of so many accounts that has done what is in its journal. What is new is all zero.
    ///
    /// # Errors
    /// It is no journal of so many accounts.
    pub fn open(
        accounts: usize,
        words: [&'a AtomicU64; WORDS],
        bytes: &'a mut [u8],
    ) -> Result<Journal<'a>, Malformed> {
        let [written, again] = words;
        let half_bytes = half_bytes(accounts);
        if bytes.len() != 2 * half_bytes {
            return Err(Malformed);
        }
        let (first, second) = bytes.split_at_mut(half_bytes);
        let word = written.load(Ordering::Acquire);
        let mut journal = Journal {
            server: Server::new(accounts),
            written,
            again,
            halves: [first, second],
            half: usize::from(word & SECOND != 0),
            used: (word & !SECOND) as usize,
        };
        let written = journal.halves[journal.half].get(..journal.used);
        let mut rest = written.ok_or(Malformed)?;
        while !rest.is_empty() {
            rest = replay(&mut journal.server, rest)?;
        }
        Ok(journal)
    }

    /// Does what an account asks for, once however often it asks, and returns the answer.
    ///
    /// # Errors
    /// As of [`Server::handle`].
    pub fn handle(&mut self, account: usize, request: &[u8]) -> Result<Answer<'_>, Malformed> {
        match self.server.turn(account, request)? {
            Turn::Next if sabotaged!("kv_not_written_down") => {}
            Turn::Next => self.write_down(account, request),
            Turn::Again => _ = self.again.fetch_add(1, Ordering::Relaxed),
        }
        self.server.handle(account, request)
    }

    /// The server.
    pub fn server(&self) -> &Server {
        &self.server
    }

    fn write_down(&mut self, account: usize, request: &[u8]) {
        let parts = [request, &[], &[]];
        if self.used + record_bytes(parts) > self.halves[self.half].len() {
            self.begin_anew();
        }
        let at = self.used;
        self.used += write(&mut self.halves[self.half][at..], REQUEST, account, parts);
        self.tell();
    }

    /// Writes what the server has into the other half, which is the one in use from then on.
    fn begin_anew(&mut self) {
        let half = 1 - self.half;
        let target = &mut self.halves[half];
        let mut used = 0;
        let mut put = |kind, account, parts: [&[u8]; 3]| {
            used += write(&mut target[used..], kind, account, parts);
        };
        // As requests of no number; of what was one before, the lengths are possible.
        let state = |operation| {
            let request = Request {
                number: 0,
                operation,
            };
            request.encode().unwrap_or_default()
        };
        for (number, account) in self.server.accounts().iter().enumerate() {
            for (key, value) in &account.values {
                put(
                    STATE,
                    number,
                    [&state(Operation::Put(key, value)), &[], &[]],
                );
            }
        }
        for (key, sum) in self.server.sums() {
            put(STATE, 0, [&state(Operation::Add(key, sum)), &[], &[]]);
        }
        // Behind what counts as asked last while it is read.
        for (number, account) in self.server.accounts().iter().enumerate() {
            if sabotaged!("kv_last_forgotten") {
                break;
            }
            let done = account.counts.done.to_le_bytes();
            let (kind, bytes): (u8, &[u8]) = match &account.last {
                Last::Done => (0, &[]),
                Last::Missing => (1, &[]),
                Last::Full => (2, &[]),
                Last::Sum(sum) => (3, sum),
                Last::Got(key) => (4, key),
            };
            put(LAST, number, [&done, &[kind], bytes]);
        }
        (self.half, self.used) = (half, used);
        self.tell();
    }

    /// Tells of all that is written.
    fn tell(&self) {
        let half = if self.half == 1 { SECOND } else { 0 };
        // SYNC(kv.journal): every byte of it is there before whoever reads the word looks.
        self.written
            .store(self.used as u64 | half, Ordering::Release);
    }
}

fn record_bytes(parts: [&[u8]; 3]) -> usize {
    let bytes: usize = parts.iter().map(|part| part.len()).sum();
    (HEAD + bytes).next_multiple_of(ALIGN)
}

/// Writes a record to the beginning of `target`, and returns how long it is.
fn write(target: &mut [u8], kind: u8, account: usize, parts: [&[u8]; 3]) -> usize {
    let bytes: usize = parts.iter().map(|part| part.len()).sum();
    target[..4].copy_from_slice(&(bytes as u32).to_le_bytes());
    target[4..HEAD].copy_from_slice(&[kind, account as u8, 0, 0]);
    let mut at = HEAD;
    for part in parts {
        target[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    }
    record_bytes(parts)
}

/// Has a server do what the first record says, and returns the others.
fn replay<'b>(server: &mut Server, bytes: &'b [u8]) -> Result<&'b [u8], Malformed> {
    let (head, rest) = bytes.split_first_chunk::<HEAD>().ok_or(Malformed)?;
    let [a, b, c, d, kind, account, 0, 0] = *head else {
        return Err(Malformed);
    };
    let len = u32::from_le_bytes([a, b, c, d]) as usize;
    let record = rest.get(..len).ok_or(Malformed)?;
    let account = account.into();
    match kind {
        REQUEST if server.turn(account, record)? == Turn::Next => {
            server.handle(account, record)?;
        }
        STATE => {
            let operation = Request::decode(record).ok_or(Malformed)?.operation;
            match operation {
                Operation::Put(..) | Operation::Add(..) => server.restore(account, operation)?,
                Operation::Get(_) | Operation::Remove(_) => return Err(Malformed),
            }
        }
        LAST => {
            let (done, rest) = record.split_first_chunk::<4>().ok_or(Malformed)?;
            let last = match rest {
                [0] => Last::Done,
                [1] => Last::Missing,
                [2] => Last::Full,
                [3, sum @ ..] => Last::Sum(sum.try_into().map_err(|_| Malformed)?),
                [4, key @ ..] => Last::Got(Vec::from(key)),
                _ => return Err(Malformed),
            };
            server.resume(account, u32::from_le_bytes(*done), last)?;
        }
        _ => return Err(Malformed),
    }
    bytes
        .get((HEAD + len).next_multiple_of(ALIGN)..)
        .ok_or(Malformed)
}
