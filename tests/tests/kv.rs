//! The key-value server's own logic: each request is done once, however often it is asked for, and
//! nobody reaches what another client has.

use programs::kv::load::{CLIENTS, Expected, HITS, Step};
use programs::kv::server::{Counts, MAX_KEYS, MAX_SUMS, Malformed, Server};
use programs::kv::{
    Answer, MAX_ANSWER, MAX_KEY, MAX_REQUEST, MAX_VALUE, Operation, Request, SLOT_SIZE,
};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn encoded(number: u32, operation: Operation<'_>) -> Vec<u8> {
    let mut buffer = [0; MAX_REQUEST];
    let request = Request { number, operation };
    request.encode(&mut buffer).expect("a request").to_vec()
}

/// What a client asks for: a kind, a key and a value.
fn any_step() -> impl Strategy<Value = (u8, u8, Vec<u8>)> {
    (0..4_u8, 0..6_u8, vec(any::<u8>(), 0..=MAX_VALUE))
}

fn operation<'a>(kind: u8, key: &'a [u8], value: &'a [u8]) -> Operation<'a> {
    match kind {
        0 => Operation::Get(key),
        1 => Operation::Put(key, value),
        2 => Operation::Remove(key),
        _ => Operation::Add(key, value.len() as u64),
    }
}

proptest! {
    /// There is one way to write each.
    #[test]
    fn whatever_bytes_come_they_are_the_ones_of_a_message_or_refused(
        mut bytes in vec(any::<u8>(), 0..=MAX_REQUEST + 1), code in 0..6_u8, lengths in any::<bool>(),
    ) {
        if bytes.len() >= 8 && lengths {
            let key = (bytes.len() - 8).min(5);
            let value = bytes.len() - 8 - key;
            bytes[..4].copy_from_slice(&[code, key as u8, value as u8, 0]);
        }
        if let Some(request) = Request::decode(&bytes) {
            let mut buffer = [0; MAX_REQUEST];
            prop_assert_eq!(request.encode(&mut buffer), Some(&bytes[..]));
        }
        if let Some(answer) = Answer::decode(&bytes) {
            let mut buffer = [0; MAX_ANSWER];
            prop_assert_eq!(answer.encode(&mut buffer), &bytes[..]);
        }
    }

    #[test]
    fn the_server_keeps_what_plain_maps_would(
        steps in vec((0..3_usize, any_step(), 0..3_u8), 0..100),
    ) {
        let mut server = Server::new(3);
        let mut maps: [BTreeMap<u8, Vec<u8>>; 3] = Default::default();
        let mut sums: BTreeMap<u8, u64> = BTreeMap::new();
        let mut counts = [Counts::default(); 3];
        for (client, (kind, key, value), again) in steps {
            let map = &mut maps[client];
            let mut sum = [0; 8];
            let expected = match kind {
                0 => map.get(&key).map_or(Answer::Missing, |value| Answer::Value(value)),
                1 => {
                    map.insert(key, value.clone());
                    Answer::Done
                }
                2 => map.remove(&key).map_or(Answer::Missing, |_| Answer::Done),
                _ => {
                    let kept = sums.entry(key).or_default();
                    *kept += value.len() as u64;
                    sum.copy_from_slice(&kept.to_le_bytes());
                    Answer::Value(&sum)
                }
            };
            counts[client].done += 1;
            let key = [key];
            let request = encoded(counts[client].done, operation(kind, &key, &value));
            // The answer may be lost, more than once.
            for _ in 0..=again {
                let answer = server.handle(client, &request).expect("a request");
                prop_assert_eq!(Answer::decode(answer), Some(expected));
            }
            let counts = &mut counts[client];
            counts.again += u32::from(again);
            counts.keys = maps[client].len();
            counts.bytes = maps[client].values().map(Vec::len).sum();
            prop_assert_eq!(server.counts(client), *counts);
        }
        for (client, map) in maps.iter().enumerate() {
            for key in 0..6 {
                prop_assert_eq!(server.value(client, &[key]), map.get(&key).map(Vec::as_slice));
            }
        }
        for key in 0..6 {
            prop_assert_eq!(server.sum(&[key]), sums.get(&key).copied().unwrap_or(0));
        }
    }

    /// Clients are killed anywhere, and their next lives go on with the first step of which they do not
    /// know that it was done: every step was done once.
    #[test]
    fn whoever_is_killed_where_every_step_is_done_once(turns in vec((0..2_usize, 0..6_u8), 0..200)) {
        let mut server = Server::new(2);
        // What each client knows to be done.
        let mut known = [0; 2];
        for (client, end) in turns {
            let step = Step::of(client, known[client] + 1);
            let before = Expected::after(client, known[client]);
            // Killed before it asked.
            if end == 0 {
                continue;
            }
            let request = encoded(known[client] + 1, step.operation());
            let answer = server.handle(client, &request).expect("the next request");
            let answer = Answer::decode(answer).expect("an answer");
            prop_assert!(before.allows(&step, answer), "{:?}: {:?}", step, answer);
            // Killed before it heard.
            if end == 1 {
                continue;
            }
            known[client] += 1;
        }
        let mut hits = 0;
        let mut clients = 0;
        for (client, known) in known.into_iter().enumerate() {
            let counts = server.counts(client);
            prop_assert!((known..=known + 1).contains(&counts.done));
            let expected = Expected::after(client, counts.done);
            prop_assert_eq!(counts.keys, expected.values.len());
            for (key, value) in &expected.values {
                prop_assert_eq!(server.value(client, key.as_bytes()), Some(&value[..]));
            }
            hits += expected.added.get(HITS).copied().unwrap_or(0);
            clients += expected.added.get(CLIENTS).copied().unwrap_or(0);
        }
        prop_assert_eq!(server.sum(HITS.as_bytes()), hits);
        prop_assert_eq!(server.sum(CLIENTS.as_bytes()), clients);
    }
}

#[test]
fn a_request_out_of_turn_is_refused_and_changes_nothing() {
    let mut server = Server::new(1);
    let put = |number| encoded(number, Operation::Put(b"key", b"value"));
    for number in [0, 2, u32::MAX] {
        assert_eq!(server.handle(0, &put(number)), Err(Malformed));
    }
    assert_eq!(server.counts(0), Counts::default());
    assert!(server.handle(0, &put(1)).is_ok());
    for number in [0, 3] {
        assert_eq!(server.handle(0, &put(number)), Err(Malformed));
    }
    assert_eq!(server.handle(0, b"nonsense"), Err(Malformed));
    assert_eq!(server.handle(1, &put(1)), Err(Malformed));
    assert_eq!(server.counts(0).done, 1);
}

#[test]
fn a_client_can_fill_only_what_is_its_own() {
    let mut server = Server::new(2);
    let mut ask = |client, number, operation: Operation<'_>| {
        let request = encoded(number, operation);
        let answer = server.handle(client, &request).expect("a request");
        answer.to_vec()
    };
    let full = Answer::Full.encode(&mut [0; MAX_ANSWER]).to_vec();
    let done = Answer::Done.encode(&mut [0; MAX_ANSWER]).to_vec();
    for number in 1..=MAX_KEYS as u32 {
        assert_eq!(
            ask(0, number, Operation::Put(&number.to_le_bytes(), b"")),
            done
        );
    }
    let next = MAX_KEYS as u32 + 1;
    assert_eq!(ask(0, next, Operation::Put(b"one more", b"")), full);
    // What is there can be changed, and the other one is not concerned.
    assert_eq!(
        ask(0, next + 1, Operation::Put(&1_u32.to_le_bytes(), b"x")),
        done
    );
    assert_eq!(ask(1, 1, Operation::Put(b"one more", b"")), done);
    for number in 0..MAX_SUMS as u32 {
        assert_ne!(
            ask(1, 2 + number, Operation::Add(&number.to_le_bytes(), 1)),
            full
        );
    }
    let next = 2 + MAX_SUMS as u32;
    assert_eq!(ask(1, next, Operation::Add(b"one more", 1)), full);
}

#[test]
fn sizes_are_bounded_and_the_longest_fit_into_a_slot() {
    let (key, value) = ([b'k'; MAX_KEY], [b'v'; MAX_VALUE]);
    let longest = encoded(1, Operation::Put(&key, &value));
    assert_eq!(longest.len(), MAX_REQUEST);
    assert!(MAX_REQUEST.max(MAX_ANSWER) <= SLOT_SIZE as usize - 8);
    for operation in [
        Operation::Get(b""),
        Operation::Get(&[b'k'; MAX_KEY + 1]),
        Operation::Put(b"k", &[b'v'; MAX_VALUE + 1]),
    ] {
        let request = Request {
            number: 1,
            operation,
        };
        assert_eq!(request.encode(&mut [0; MAX_REQUEST]), None);
    }
}
