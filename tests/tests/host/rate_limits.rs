//! Rate limits: token buckets that are exact, an end of its own each.

use crate::common::messages::Ends;
use crate::common::ports::{LEVEL, poll, port};
use crate::common::realm::Realm;
use crate::common::registered::{Done, settle};
use crate::common::submissions::Submissions;
use abi::submission::{Operation, Submission};
use abi::{Error, Events, FOREVER};
use ipc::{ChannelLimits, Outgoing, Passage, Platform};
use proptest::prelude::*;

const SECOND: u64 = 1_000_000_000;

/// A bucket by the book: what it holds as a fraction of whole numbers.
struct Plain {
    rate: u128,
    /// Times a second's ns.
    level: u128,
    at: u64,
}

impl Plain {
    fn new(rate: u64, at: u64) -> Plain {
        let rate = u128::from(rate);
        Plain {
            rate,
            level: rate * u128::from(SECOND),
            at,
        }
    }

    fn holds(&mut self, tokens: u64, now: u64) -> bool {
        let most = self.rate * u128::from(SECOND);
        let added = u128::from(now - self.at) * self.rate;
        self.level = (self.level + added).min(most);
        self.at = now;
        self.rate == 0 || self.level >= u128::from(tokens) * u128::from(SECOND)
    }

    fn take(&mut self, tokens: u64) {
        if self.rate > 0 {
            self.level -= u128::from(tokens) * u128::from(SECOND);
        }
    }
}

/// A rate, mostly one that is reached.
fn rate() -> impl Strategy<Value = u64> {
    prop_oneof![
        Just(0),
        1..1000_u64,
        1000..1_000_000_000_u64,
        Just(u64::MAX)
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn a_limit_lets_pass_exactly_what_two_plain_buckets_do(
        (messages, bytes) in (rate(), rate()),
        start in prop_oneof![Just(0), any::<u32>().prop_map(u64::from), Just(u64::MAX - 100 * SECOND)],
        steps in prop::collection::vec((0..SECOND, 0..257_u64), 1..60),
    ) {
        let mut limits = ChannelLimits::new(messages, bytes, start);
        let (mut by_message, mut by_byte) = (Plain::new(messages, start), Plain::new(bytes, start));
        let mut now = start;
        for (elapsed, len) in steps {
            now = now.saturating_add(elapsed / 16);
            let fits = by_message.holds(1, now) & by_byte.holds(len, now);
            if bytes > 0 && len > bytes {
                prop_assert_eq!(limits.pass(len, now), Err(Error::Limit));
                continue;
            }
            match limits.pass(len, now) {
                Ok(Passage::Now) => {
                    prop_assert!(fits);
                    by_message.take(1);
                    by_byte.take(len);
                }
                Ok(Passage::NotBefore(then)) => {
                    prop_assert!(!fits && then > now && then - now <= SECOND);
                    // Not a nanosecond too late, and not one too early.
                    let mut early = limits;
                    prop_assert!(matches!(early.pass(len, then - 1), Ok(Passage::NotBefore(_))) || then - 1 == now);
                    prop_assert_eq!(limits.pass(len, then), Ok(Passage::Now));
                    prop_assert!(by_message.holds(1, then) & by_byte.holds(len, then));
                    by_message.take(1);
                    by_byte.take(len);
                    now = then;
                }
                Err(error) => prop_assert!(false, "{error}"),
            }
        }
    }
}

#[test]
fn over_the_rate_a_send_is_limit_and_the_neighbours_are_not_slowed() {
    let realm = Realm::new(2);
    let limited = Ends::between(&realm, 0, 1, 64);
    let next = Ends::between(&realm, 0, 1, 64);
    let domain = &realm.domains[0];
    realm
        .ipc
        .limit_channel(domain, limited.here.handle, 3, 0)
        .unwrap();
    for _ in 0..3 {
        limited.here.send(&realm, b"", &[]).unwrap();
    }
    for _ in 0..20 {
        assert_eq!(limited.here.send(&realm, b"", &[]), Err(Error::Limit));
        next.here.send(&realm, b"", &[]).unwrap();
        limited.there.send(&realm, b"", &[]).unwrap();
    }
    let info = limited.here.info(&realm);
    assert_eq!((info.message_rate, info.byte_rate), (3, 0));
    assert_eq!(limited.there.info(&realm).message_rate, 0);
    realm.machine().advance_ns(SECOND / 3 + 1);
    limited.here.send(&realm, b"", &[]).unwrap();
    assert_eq!(limited.here.send(&realm, b"", &[]), Err(Error::Limit));
    realm.finish();
}

#[test]
fn a_message_of_more_than_a_second_is_limit_whatever_the_deadline() {
    let realm = Realm::new(2);
    let ends = Ends::between(&realm, 0, 1, 4);
    let domain = &realm.domains[0];
    realm
        .ipc
        .limit_channel(domain, ends.here.handle, 0, 9)
        .unwrap();
    for deadline in [0, FOREVER] {
        let sent = ends.here.send_until(&realm, &[0; 10], &[], deadline);
        assert_eq!(sent, Err(Error::Limit));
    }
    ends.here.send_until(&realm, &[0; 9], &[], 0).unwrap();
    realm.finish();
}

#[test]
fn a_send_that_fails_gives_back_what_it_was_let_pass() {
    let realm = Realm::new(2);
    let ends = Ends::between(&realm, 0, 1, 4);
    let domain = &realm.domains[0];
    realm
        .ipc
        .limit_channel(domain, ends.here.handle, 1, 0)
        .unwrap();
    let bad = abi::HandleTransfer::new(
        abi::Handle::from_bits(9),
        abi::Mode::Move,
        abi::Rights::all(),
    );
    for _ in 0..5 {
        assert_eq!(ends.here.send(&realm, b"", &[bad]), Err(Error::BadHandle));
    }
    ends.here.send(&realm, b"", &[]).unwrap();
    realm.finish();
}

#[test]
fn who_waits_for_a_limit_goes_on_when_it_is_raised_or_the_end_closes() {
    for closes in [false, true] {
        let realm = Realm::new(2);
        let ends = Ends::between(&realm, 0, 1, 4);
        let end = ends.here.handle;
        realm
            .ipc
            .limit_channel(&realm.domains[0], end, 1, 0)
            .unwrap();
        ends.here.send(&realm, b"", &[]).unwrap();
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| ends.here.send_until(&realm, b"", &[], FOREVER));
            if closes {
                ends.there.drop(&realm);
            } else {
                let raised = realm.ipc.limit_channel(&realm.domains[0], end, 0, 0);
                assert_eq!(raised, Ok(()));
            }
            let expected = if closes {
                Err(Error::PeerClosed)
            } else {
                Ok(())
            };
            assert_eq!(waiter.join().unwrap(), expected);
        });
        realm.finish();
    }
}

/// Moves the clock, and looks at what is due in a ring then.
fn at(realm: &Realm, ring: &mut Submissions, now_ns: u64) -> Done {
    realm
        .machine()
        .advance_ns(now_ns - realm.machine().now_ns());
    realm.ipc.expire_timers(0, usize::MAX);
    settle(realm, ring)
}

#[test]
fn an_entry_over_the_rate_waits_for_it_or_for_its_deadline() {
    let realm = Realm::new(2);
    let mut ring = Submissions::new(&realm, 0, 8, 8);
    // There is room for one more than there are tokens, at first.
    let ends = Ends::between(&realm, 0, 1, 3);
    let (domain, here) = (&realm.domains[0], ends.here.handle);
    realm.ipc.limit_channel(domain, here, 2, 0).unwrap();
    let begun = realm.machine().now_ns();
    let send = |number, deadline_ns| {
        let arguments = [here.bits(), 0, deadline_ns, 0, 0, 0];
        Submission::new(Operation::Send, number, arguments)
    };
    let entries = [
        send(1, 0),
        send(2, FOREVER),
        send(3, 0),
        send(4, FOREVER),
        send(5, begun + SECOND / 4),
        send(6, FOREVER),
        send(7, FOREVER),
    ];
    let done = ring.run(&realm, &entries);
    assert_eq!(done, [(1, Ok(0)), (2, Ok(0)), (3, Err(Error::Limit))]);
    assert_eq!(settle(&realm, &mut ring), []);
    let late = [(5, Err(Error::TimedOut))];
    assert_eq!(at(&realm, &mut ring, begun + SECOND / 4), late);
    assert_eq!(at(&realm, &mut ring, begun + SECOND / 2 - 1), []);
    assert_eq!(at(&realm, &mut ring, begun + SECOND / 2), [(4, Ok(0))]);
    // Then there is no room, and later there is, and no token, and then both are there.
    assert_eq!(at(&realm, &mut ring, begun + SECOND), []);
    ends.there.receive(&realm).unwrap();
    assert_eq!(settle(&realm, &mut ring), [(6, Ok(0))]);
    ends.there.receive(&realm).unwrap();
    assert_eq!(settle(&realm, &mut ring), []);
    assert_eq!(at(&realm, &mut ring, begun + SECOND * 3 / 2), [(7, Ok(0))]);
    realm.finish();
}

#[test]
fn an_entry_that_waits_for_its_rate_goes_on_when_that_is_raised() {
    let realm = Realm::new(2);
    let mut ring = Submissions::new(&realm, 0, 4, 4);
    let ends = Ends::between(&realm, 0, 1, 3);
    let (domain, here) = (&realm.domains[0], ends.here.handle);
    realm.ipc.limit_channel(domain, here, 1, 0).unwrap();
    let send = |number| {
        let arguments = [here.bits(), 0, FOREVER, 0, 0, 0];
        Submission::new(Operation::Send, number, arguments)
    };
    assert_eq!(ring.run(&realm, &[send(1), send(2)]), [(1, Ok(0))]);
    assert_eq!(settle(&realm, &mut ring), []);
    realm.ipc.limit_channel(domain, here, 0, 0).unwrap();
    assert_eq!(settle(&realm, &mut ring), [(2, Ok(0))]);
    realm.finish();
}

#[test]
fn an_entry_whose_message_is_more_than_a_second_is_limit_at_once() {
    let realm = Realm::new(2);
    let mut ring = Submissions::new(&realm, 0, 4, 4);
    let ends = Ends::between(&realm, 0, 1, 3);
    let (domain, here) = (&realm.domains[0], ends.here.handle);
    realm.ipc.limit_channel(domain, here, 0, 8).unwrap();
    for (number, bytes) in [(1, 8), (2, 1), (3, 9)] {
        let arguments = [here.bits(), bytes, FOREVER, 0, 0, 0];
        ring.push(&realm, Submission::new(Operation::Send, number, arguments));
    }
    let send = |_, [_, bytes, deadline_ns, ..]: [u64; 6]| {
        let message = Outgoing {
            bytes: &[0; 16][..bytes as usize],
            transfers: &[],
        };
        let sent = realm.ipc.send(domain, here, message, deadline_ns);
        sent.map(|()| 0)
    };
    let entered = realm
        .ipc
        .enter_submissions(domain, ring.handle, 3, 0, 0, send);
    assert_eq!(entered, Ok(3));
    let done = [(1, Ok(0)), (3, Err(Error::Limit))];
    assert_eq!(ring.reap(&realm), done);
    realm.finish();
}

#[test]
fn that_an_entry_may_go_over_its_rate_is_told_to_who_waits_at_a_port() {
    let realm = Realm::new(2);
    let mut ring = Submissions::new(&realm, 0, 4, 4);
    let ends = Ends::between(&realm, 0, 1, 3);
    let (domain, here) = (&realm.domains[0], ends.here.handle);
    realm.ipc.limit_channel(domain, here, 1, 0).unwrap();
    ends.here.send(&realm, b"", &[]).unwrap();
    let at_port = port(&realm, 0);
    let bound = realm
        .ipc
        .bind_port(domain, at_port, ring.handle, Events::READABLE, LEVEL, 1);
    bound.unwrap();
    let begun = realm.machine().now_ns();
    let arguments = [here.bits(), 0, FOREVER, 0, 0, 0];
    assert_eq!(
        ring.run(&realm, &[Submission::new(Operation::Send, 1, arguments)]),
        []
    );
    for (then, told) in [(SECOND - 1, false), (SECOND, true)] {
        let left = begun + then - realm.machine().now_ns();
        realm.machine().advance_ns(left);
        realm.ipc.expire_timers(0, usize::MAX);
        assert_eq!(poll(&realm, at_port).is_ok(), told);
        assert_eq!(ring.says_due(&realm), told);
    }
    assert_eq!(settle(&realm, &mut ring), [(1, Ok(0))]);
    realm.finish();
}
