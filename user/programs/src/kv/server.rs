//! What the server keeps: keys and values of each client, sums of all, and what each client asked last.

use alloc::vec::Vec;

use hashbrown::HashMap;

use super::{Answer, MAX_ANSWER, Operation, Request};

/// Keys that one client may have.
pub const MAX_KEYS: usize = 64;
/// Sums that all clients may have together.
pub const MAX_SUMS: usize = 64;

/// What came is no request, or not the one that is next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// What a client has asked for and has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests that were done.
    pub done: u32,
    /// Requests that came again, and were answered as before.
    pub again: u32,
    /// Its keys.
    pub keys: usize,
    /// Bytes of its values.
    pub bytes: usize,
}

#[derive(Debug, Default)]
struct Client {
    values: HashMap<Vec<u8>, Vec<u8>>,
    counts: Counts,
    answer: Vec<u8>,
}

impl Client {
    fn perform(&mut self, sums: &mut HashMap<Vec<u8>, u64>, operation: Operation<'_>) {
        let Client {
            values,
            counts,
            answer,
        } = self;
        let keys_are_full = values.len() == MAX_KEYS;
        let sums_are_full = sums.len() == MAX_SUMS;
        let told;
        let result = match operation {
            Operation::Get(key) => {
                let value = values.get(key);
                value.map_or(Answer::Missing, |value| Answer::Value(value))
            }
            Operation::Put(key, value) => match values.get_mut(key) {
                Some(kept) => {
                    counts.bytes = counts.bytes - kept.len() + value.len();
                    kept.clear();
                    kept.extend_from_slice(value);
                    Answer::Done
                }
                None if keys_are_full => Answer::Full,
                None => {
                    counts.bytes += value.len();
                    values.insert(key.to_vec(), value.to_vec());
                    Answer::Done
                }
            },
            Operation::Remove(key) => match values.remove(key) {
                Some(value) => {
                    counts.bytes -= value.len();
                    Answer::Done
                }
                None => Answer::Missing,
            },
            Operation::Add(key, amount) => match sums.get_mut(key) {
                Some(sum) => {
                    *sum = sum.wrapping_add(amount);
                    told = sum.to_le_bytes();
                    Answer::Value(&told)
                }
                None if sums_are_full => Answer::Full,
                None => {
                    sums.insert(key.to_vec(), amount);
                    told = amount.to_le_bytes();
                    Answer::Value(&told)
                }
            },
        };
        let mut buffer = [0; MAX_ANSWER];
        answer.clear();
        answer.extend_from_slice(result.encode(&mut buffer));
        counts.keys = values.len();
    }
}

/// The server. A client is who it is by the link that it speaks over, which whoever calls knows.
#[derive(Debug, Default)]
pub struct Server {
    clients: Vec<Client>,
    sums: HashMap<Vec<u8>, u64>,
}

impl Server {
    /// A server of so many clients, none of which has anything.
    pub fn new(clients: usize) -> Server {
        Server {
            clients: (0..clients).map(|_| Client::default()).collect(),
            sums: HashMap::new(),
        }
    }

    /// Does what a client asks for, once however often it asks, and returns the answer.
    pub fn handle(&mut self, client: usize, request: &[u8]) -> Result<&[u8], Malformed> {
        let Server { clients, sums } = self;
        let client = clients.get_mut(client).ok_or(Malformed)?;
        let request = Request::decode(request).ok_or(Malformed)?;
        let done = client.counts.done;
        if request.number == done && done > 0 {
            client.counts.again += 1;
        } else if Some(request.number) == done.checked_add(1) {
            client.perform(sums, request.operation);
            client.counts.done += 1;
        } else {
            return Err(Malformed);
        }
        Ok(&client.answer)
    }

    /// What a client has asked for and has.
    pub fn counts(&self, client: usize) -> Counts {
        let client = self.clients.get(client);
        client.map_or_else(Counts::default, |client| client.counts)
    }

    /// The value of a client's key.
    pub fn value(&self, client: usize, key: &[u8]) -> Option<&[u8]> {
        let values = &self.clients.get(client)?.values;
        values.get(key).map(Vec::as_slice)
    }

    /// A sum; one to which nothing was added is 0.
    pub fn sum(&self, key: &[u8]) -> u64 {
        self.sums.get(key).copied().unwrap_or(0)
    }
}
