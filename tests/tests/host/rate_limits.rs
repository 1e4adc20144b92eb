//! Rate limits: token buckets that are exact, an end of its own each.

use crate::common::messages::Ends;
use crate::common::realm::Realm;
use abi::{Error, FOREVER};
use ipc::{ChannelLimits, Passage};
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
