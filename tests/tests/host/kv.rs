//! The key-value server's own logic: each request is done once, however often it is asked for and
//! whichever life of the server is asked, and nobody reaches what another account has.

use programs::kv::journal::{self, Journal};
use programs::kv::load::{CLIENTS, Expected, HITS, Step};
use programs::kv::server::{Counts, MAX_BYTES, MAX_KEYS, MAX_SUMS, Malformed, Server};
use programs::kv::{
    Answer, MAX_KEY, MAX_REQUEST, MAX_VALUE, MESSAGE, MIDDLING, Operation, POOL, Request,
};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;

fn encoded(number: u32, operation: Operation<'_>) -> Vec<u8> {
    let request = Request { number, operation };
    request.encode().expect("a request")
}

/// What a client asks for: a kind, a key and a value.
fn any_step() -> impl Strategy<Value = (u8, u8, Vec<u8>)> {
    (0..4_u8, 0..6_u8, vec(any::<u8>(), 0..=64))
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
        mut bytes in vec(any::<u8>(), 0..100), code in 0..6_u8, lengths in any::<bool>(),
    ) {
        if bytes.len() >= 8 && lengths {
            let key = (bytes.len() - 8).min(5);
            bytes[..4].copy_from_slice(&[code, key as u8, 0, 0]);
        }
        if let Some(request) = Request::decode(&bytes) {
            let encoded = request.encode();
            prop_assert_eq!(encoded.as_ref(), Some(&bytes));
        }
        if let Some(answer) = Answer::decode(&bytes) {
            prop_assert_eq!(answer.encode(), bytes);
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
                prop_assert_eq!(answer, expected);
            }
            let counts = &mut counts[client];
            counts.keys = maps[client].len();
            counts.bytes = maps[client].values().map(|value| 1 + value.len()).sum();
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
        answer.encode()
    };
    let full = Answer::Full.encode();
    let done = Answer::Done.encode();
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
fn an_account_has_as_many_bytes_as_it_may_and_no_more() {
    let mut server = Server::new(2);
    let value = vec![1; MAX_VALUE];
    let rest = vec![2; MAX_BYTES - MAX_VALUE - 2];
    let steps: [(Operation<'_>, Answer<'_>); 5] = [
        (Operation::Put(b"a", &value), Answer::Done),
        (Operation::Put(b"b", &value), Answer::Full),
        (Operation::Put(b"b", &rest), Answer::Done),
        (Operation::Put(b"c", b""), Answer::Full),
        (Operation::Put(b"a", &value), Answer::Done),
    ];
    for (number, (operation, answer)) in (1..).zip(steps) {
        let request = encoded(number, operation);
        assert_eq!(server.handle(0, &request), Ok(answer), "{number}");
    }
    assert_eq!(server.counts(0).bytes, MAX_BYTES);
    let request = encoded(1, Operation::Put(b"b", &value));
    assert_eq!(server.handle(1, &request), Ok(Answer::Done));
}

#[test]
fn sizes_are_bounded_and_there_is_a_value_for_each_way() {
    let (key, value) = ([b'k'; MAX_KEY], vec![b'v'; MAX_VALUE + 1]);
    let request = |len: usize| encoded(1, Operation::Put(&key, &value[..len])).len();
    assert_eq!(request(MAX_VALUE), MAX_REQUEST);
    let largest = POOL.iter().map(|class| class.slot_bytes as usize).max();
    let largest = largest.expect("a class");
    // In the message, in a slot, in a region.
    assert!(request(0) <= MESSAGE - 8);
    assert!(request(64) > MESSAGE - 40 && request(MIDDLING) <= largest);
    assert!(MAX_REQUEST > largest);
    for operation in [
        Operation::Get(b""),
        Operation::Get(&[b'k'; MAX_KEY + 1]),
        Operation::Put(b"k", &value),
    ] {
        let request = Request {
            number: 1,
            operation,
        };
        assert_eq!(request.encode(), None);
    }
}

/// A journal's memory, which outlives servers.
struct Memory {
    words: [AtomicU64; 2],
    bytes: Vec<u8>,
}

impl Memory {
    fn new(accounts: usize) -> Memory {
        Memory {
            words: [AtomicU64::new(0), AtomicU64::new(0)],
            bytes: vec![0; journal::bytes(accounts)],
        }
    }

    fn open(&mut self, accounts: usize) -> Journal<'_> {
        let [written, again] = &self.words;
        let opened = Journal::open(accounts, [written, again], &mut self.bytes);
        opened.expect("what a server has written")
    }
}

/// What a server has, in order.
fn contents(server: &Server) -> impl PartialEq + std::fmt::Debug + use<> {
    let accounts = server.accounts().iter().map(|account| {
        let values: BTreeMap<_, _> = account.values.clone().into_iter().collect();
        (values, account.counts)
    });
    let sums = server.sums().map(|(key, sum)| (key.to_vec(), sum));
    (
        accounts.collect::<Vec<_>>(),
        sums.collect::<BTreeMap<_, _>>(),
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Whenever a server ends, the next one has all that was answered, and answers the last request of
    /// everybody as before.
    #[test]
    fn a_server_that_is_started_again_goes_on_where_the_last_one_ended(
        lives in vec(vec((0..2_usize, 0..5_u8, any_step()), 0..30), 1..6),
    ) {
        let (mut memory, mut model) = (Memory::new(2), Server::new(2));
        let mut last: [Option<Vec<u8>>; 2] = [None, None];
        for life in lives {
            let mut journal = memory.open(2);
            prop_assert_eq!(contents(journal.server()), contents(&model));
            for (account, request) in last.iter().enumerate() {
                if let Some(request) = request {
                    let expected = model.handle(account, request).expect("the last one");
                    prop_assert_eq!(journal.handle(account, request), Ok(expected));
                }
            }
            for (account, size, (kind, key, mut value)) in life {
                // So that a half is full now and then.
                value.resize(value.len() << (3 * size), 7);
                value.truncate(MAX_VALUE);
                let key = [key];
                let number = model.counts(account).done + 1;
                let request = encoded(number, operation(kind, &key, &value));
                let expected = model.handle(account, &request).expect("the next one");
                prop_assert_eq!(journal.handle(account, &request), Ok(expected));
                last[account] = Some(request);
            }
        }
    }
}

/// The journal is as large as it has to be: it never overflows, however much is written.
#[test]
fn a_journal_begins_anew_as_often_as_it_has_to() {
    let mut memory = Memory::new(1);
    let mut model = Server::new(1);
    let value = vec![3; MAX_VALUE];
    let keys: Vec<String> = (0..MAX_KEYS).map(|key| format!("key {key}")).collect();
    let mut changes = 0;
    for (number, key) in (1..=200).zip(keys.iter().cycle()) {
        let operation = match number % 10 {
            0 => Operation::Put(b"long", &value),
            1 => Operation::Get(b"long"),
            2 => Operation::Add(key.as_bytes(), 1),
            _ => Operation::Put(key.as_bytes(), &value[..number as usize]),
        };
        let request = encoded(number, operation);
        let before = memory.words[0].load(std::sync::atomic::Ordering::Relaxed) >> 63;
        let expected = model.handle(0, &request).expect("the next one");
        let mut journal = memory.open(1);
        assert_eq!(journal.handle(0, &request), Ok(expected));
        let after = memory.words[0].load(std::sync::atomic::Ordering::Relaxed) >> 63;
        changes += u32::from(before != after);
        let again = model.handle(0, &request).expect("the last one");
        assert_eq!(memory.open(1).handle(0, &request), Ok(again), "{number}");
    }
    assert!(changes > 5, "{changes}");
    assert_eq!(contents(memory.open(1).server()), contents(&model));
}

#[test]
fn what_no_server_has_written_is_no_journal() {
    let mut memory = Memory::new(1);
    let open = |memory: &mut Memory, accounts| {
        let [written, again] = &memory.words;
        Journal::open(accounts, [written, again], &mut memory.bytes).err()
    };
    assert_eq!(open(&mut memory, 2), Some(Malformed));
    let request = encoded(1, Operation::Put(b"key", b"value"));
    assert_eq!(memory.open(1).handle(0, &request), Ok(Answer::Done));
    for place in 0..20 {
        let kept = memory.bytes[place];
        memory.bytes[place] ^= 0x81;
        let opened = open(&mut memory, 1);
        // What is in the key or the value is another one.
        assert_eq!(opened, (place < 16).then_some(Malformed), "byte {place}");
        memory.bytes[place] = kept;
    }
    for word in [1, u64::MAX, u64::MAX >> 1, 1 << 62] {
        let before = memory.words[0].swap(word, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(open(&mut memory, 1), Some(Malformed), "{word:#x}");
        memory.words[0] = AtomicU64::new(before);
    }
}
