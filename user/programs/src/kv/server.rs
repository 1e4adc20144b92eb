//! What the server keeps: keys and values of each account, sums of all, and what each account asked last.

use alloc::vec::Vec;

use hashbrown::HashMap;

use super::{Answer, Operation, Request};
use ring::sabotaged;

/// Keys that one account may have.
pub const MAX_KEYS: usize = 64;
/// Bytes that the keys and values of one account may have together.
pub const MAX_BYTES: usize = 320 << 10;
/// Sums that all accounts may have together.
pub const MAX_SUMS: usize = 64;

/// What came is no request, or not the one that is next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// What is to be done about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It is the next one, and is to be done.
    Next,
    /// It is the last one once more, which was done, and is to be answered as before.
    Again,
}

/// What an account has asked for and has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests that were done.
    pub done: u32,
    /// Its keys.
    pub keys: usize,
    /// Bytes of its keys and values.
    pub bytes: usize,
}

/// What is known of the answer to the last request of an account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Last {
    /// [`Answer::Done`], also when nothing was asked yet.
    #[default]
    Done,
    /// [`Answer::Missing`].
    Missing,
    /// [`Answer::Full`].
    Full,
    /// What a sum was then.
    Sum([u8; 8]),
    /// What is under a key of the account, which has not changed since: it is the account's alone.
    Got(Vec<u8>),
}

/// What is kept of an account.
#[derive(Debug, Default)]
pub struct Account {
    /// Its values.
    pub values: HashMap<Vec<u8>, Vec<u8>>,
    /// How much it has and has done.
    pub counts: Counts,
    /// What it was told last.
    pub last: Last,
}

impl Account {
    fn answer(&self) -> Answer<'_> {
        match &self.last {
            Last::Done => Answer::Done,
            Last::Missing => Answer::Missing,
            Last::Full => Answer::Full,
            Last::Sum(sum) => Answer::Value(sum),
            Last::Got(key) => {
                let value = self.values.get(key);
                value.map_or(Answer::Missing, |value| Answer::Value(value))
            }
        }
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Last {
        let kept = self.values.get(key).map(|kept| key.len() + kept.len());
        let bytes = self.counts.bytes - kept.unwrap_or(0) + key.len() + value.len();
        let is_one_too_many = kept.is_none() && self.values.len() == MAX_KEYS;
        if is_one_too_many || bytes > MAX_BYTES {
            return Last::Full;
        }
        self.values.insert(key.to_vec(), value.to_vec());
        self.counts.bytes = bytes;
        Last::Done
    }

    fn remove(&mut self, key: &[u8]) -> Last {
        match self.values.remove(key) {
            Some(value) => {
                self.counts.bytes -= key.len() + value.len();
                Last::Done
            }
            None => Last::Missing,
        }
    }

    fn perform(&mut self, sums: &mut HashMap<Vec<u8>, u64>, operation: Operation<'_>) {
        self.last = match operation {
            Operation::Get(key) => Last::Got(key.to_vec()),
            Operation::Put(key, value) => self.put(key, value),
            Operation::Remove(key) => self.remove(key),
            Operation::Add(key, _) if !sums.contains_key(key) && sums.len() == MAX_SUMS => {
                Last::Full
            }
            Operation::Add(key, amount) => {
                let sum = sums.entry(key.to_vec()).or_default();
                *sum = sum.wrapping_add(amount);
                Last::Sum(sum.to_le_bytes())
            }
        };
        self.counts.keys = self.values.len();
    }
}

/// The server. Who asks for which account, whoever calls knows.
#[derive(Debug, Default)]
pub struct Server {
    accounts: Vec<Account>,
    sums: HashMap<Vec<u8>, u64>,
}

impl Server {
    /// A server of so many accounts, none of which has anything.
    pub fn new(accounts: usize) -> Server {
        Server {
            accounts: (0..accounts).map(|_| Account::default()).collect(),
            sums: HashMap::new(),
        }
    }

    /// Whether something is the next request of an account, or its last once more.
    ///
    /// # Errors
    /// It is neither, or there is no such account.
    pub fn turn(&self, account: usize, request: &[u8]) -> Result<Turn, Malformed> {
        let account = self.accounts.get(account).ok_or(Malformed)?;
        let request = Request::decode(request).ok_or(Malformed)?;
        let done = account.counts.done;
        match request.number {
            0 => Err(Malformed),
            number if Some(number) == done.checked_add(1) => Ok(Turn::Next),
            number if number == done && sabotaged!("kv_done_again") => Ok(Turn::Next),
            number if number == done => Ok(Turn::Again),
            _ => Err(Malformed),
        }
    }

    /// Does what an account asks for, once however often it asks, and returns the answer.
    ///
    /// # Errors
    /// As of [`turn`](Server::turn); nothing was done.
    pub fn handle(&mut self, account: usize, request: &[u8]) -> Result<Answer<'_>, Malformed> {
        let turn = self.turn(account, request)?;
        let Server { accounts, sums } = self;
        let account = accounts.get_mut(account).ok_or(Malformed)?;
        let request = Request::decode(request).ok_or(Malformed)?;
        if turn == Turn::Next {
            account.perform(sums, request.operation);
            account.counts.done = request.number;
        }
        Ok(account.answer())
    }

    /// Has what an operation leaves behind, which does not count as one.
    pub fn restore(&mut self, account: usize, operation: Operation<'_>) -> Result<(), Malformed> {
        let Server { accounts, sums } = self;
        let account = accounts.get_mut(account).ok_or(Malformed)?;
        account.perform(sums, operation);
        Ok(())
    }

    /// Goes on with an account behind a request that was done, and what is known of its answer.
    pub fn resume(&mut self, account: usize, done: u32, last: Last) -> Result<(), Malformed> {
        let account = self.accounts.get_mut(account).ok_or(Malformed)?;
        account.counts.done = done;
        account.last = last;
        Ok(())
    }

    /// All accounts.
    pub fn accounts(&self) -> &[Account] {
        &self.accounts
    }

    /// All sums.
    pub fn sums(&self) -> impl Iterator<Item = (&[u8], u64)> {
        self.sums.iter().map(|(key, &sum)| (key.as_slice(), sum))
    }

    /// What an account has asked for and has.
    pub fn counts(&self, account: usize) -> Counts {
        let account = self.accounts.get(account);
        account.map_or_else(Counts::default, |account| account.counts)
    }

    /// The value of an account's key.
    pub fn value(&self, account: usize, key: &[u8]) -> Option<&[u8]> {
        let values = &self.accounts.get(account)?.values;
        values.get(key).map(Vec::as_slice)
    }

    /// A sum; one to which nothing was added is 0.
    pub fn sum(&self, key: &[u8]) -> u64 {
        self.sums.get(key).copied().unwrap_or(0)
    }
}
