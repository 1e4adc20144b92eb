//! Who serves at an end where nothing is waits in no list, and is told with its wake what comes: calls of
//! any shape, each of which gets its own answer.

use std::sync::Arc;

use crate::common::calls;
use crate::common::messages::{End, Ends, asleep};
use crate::common::realm::Realm;
use abi::{Error, FOREVER, Handle, HandleTransfer, Mode, Rights};
use fake::FakeTask;
use ipc::{Fit, Outgoing};

/// A deadline that does not come by itself.
const LATER: u64 = FOREVER - 1;

const ROOMY: Fit = Fit::Message {
    bytes: 256,
    handles: 4,
};

/// Answers calls with what they say, until the other end is gone. Returns how many there were, and how
/// many capabilities came with them.
fn echo(realm: &Realm, end: &End) -> (usize, usize) {
    let domain = &realm.domains[end.domain];
    let (mut reply, mut said, mut served) = (Handle::NONE, Vec::new(), (0, 0));
    loop {
        let last = std::mem::take(&mut said);
        let answer = Outgoing {
            bytes: &last,
            transfers: &[],
        };
        let next = realm
            .ipc
            .serve(domain, end.handle, reply, &answer, FOREVER, |preview| {
                said = preview.bytes.to_vec();
                Ok(())
            });
        match next {
            Ok(next) => {
                reply = next.reply;
                served = (served.0 + 1, served.1 + next.handles_len);
            }
            Err(error) => {
                assert_eq!(error, Error::PeerClosed);
                return served;
            }
        }
    }
}

fn call(realm: &Realm, end: &End, message: Outgoing<'_>) -> Result<Vec<u8>, Error> {
    let (domain, mut answer) = (&realm.domains[end.domain], Vec::new());
    let called = realm
        .ipc
        .call(domain, end.handle, message, ROOMY, FOREVER, |preview| {
            answer = preview.bytes.to_vec();
            Ok(())
        });
    called.map(|_| answer)
}

#[test]
fn calls_of_any_shape_reach_who_is_ready_and_get_their_answers() {
    let realm = Realm::new(2);
    let ends = Ends::between(&realm, 0, 1, 2);
    let region = realm.region(0, 1);
    let share = HandleTransfer::new(region, Mode::Share, Rights::READ);
    std::thread::scope(|scope| {
        let server = asleep(scope, &realm, || echo(&realm, &ends.there));
        let mut made = (0, 0);
        for len in [0, 1, 31, 32, 33, 256] {
            for count in 0..3 {
                let bytes = &[count as u8 + 1; 256][..len];
                let transfers = &[share; 3][..count];
                let answer = call(&realm, &ends.here, Outgoing { bytes, transfers });
                assert_eq!(answer.as_deref(), Ok(bytes), "{len} bytes, {count}");
                made = (made.0 + 1, made.1 + count);
            }
            // Words are a message as others are for who does not wait for words.
            let domain = &realm.domains[0];
            let words = [len as u64, 2, 3, 4];
            let answer = realm
                .ipc
                .call_words(domain, ends.here.handle, words, FOREVER);
            assert_eq!(answer, Ok(words));
            made.0 += 1;
        }
        realm.ipc.end_task(&FakeTask::current());
        ends.here.drop(&realm);
        assert_eq!(server.join().unwrap(), made);
    });
    realm.finish();
}

#[test]
fn who_is_ready_and_gives_up_leaves_what_comes_to_the_next() {
    let realm = Realm::new(2);
    let ends = Ends::between(&realm, 0, 1, 2);
    for _ in 0..3 {
        let soon = ends.there.receive_until(&realm, 1);
        assert_eq!(soon.err(), Some(Error::TimedOut));
        ends.here.send(&realm, b"kept", &[]).unwrap();
        assert_eq!(ends.there.receive(&realm).unwrap().bytes, b"kept");
    }
    realm.finish();
}

/// What somebody is told that is about to sleep by a capability of an end, when others are given away `before`, then that
/// one is, and comes back, and others are `after`.
fn after_departures(
    [before, after]: [usize; 2],
    wait: impl FnOnce(&Realm, &End) -> Result<(), Error>,
) -> Result<(), Error> {
    let realm = Arc::new(Realm::new(3));
    let ends = Ends::between(&realm, 0, 1, 4);
    let derive = || realm.derive(0, ends.here.handle, Rights::all()).unwrap();
    let own = derive();
    let siblings: Vec<_> = (0..before + after).map(|_| derive()).collect();
    let (inside, mut done) = (realm.clone(), false);
    realm.machine().set_before_park(move |_| {
        if std::mem::replace(&mut done, true) {
            return;
        }
        let leaves = |sibling: &Handle| _ = inside.give(0, *sibling, 2, Mode::Move);
        siblings[..before].iter().for_each(leaves);
        let token = inside.grant(0, own, 2, Mode::Move, Rights::all());
        inside.cancel(0, token.unwrap()).unwrap();
        siblings[before..].iter().for_each(leaves);
    });
    let waited = wait(&realm, &End::new(0, own));
    realm.machine().clear_hooks();
    Arc::into_inner(realm).unwrap().finish();
    waited
}

#[test]
fn who_waits_is_told_that_its_capability_left_whoever_left_before_and_after() {
    [[1, 0], [0, 7], [7, 0], [50, 50]]
        .into_iter()
        .for_each(told_of_departures);
}

fn told_of_departures(others: [usize; 2]) {
    // The second sleep would end by its deadline.
    let received = after_departures(others, |realm, end| {
        end.receive_until(realm, LATER).map(drop)
    });
    assert_eq!(received, Err(Error::Cancelled));
    let served = after_departures(others, |realm, end| {
        let (domain, none) = (&realm.domains[0], Handle::NONE);
        let ipc = &realm.ipc;
        let served = ipc.serve(
            domain,
            end.handle,
            none,
            &Outgoing::EMPTY,
            LATER,
            |_| Ok(()),
        );
        served.map(drop)
    });
    assert_eq!(served, Err(Error::Cancelled));
    let words = after_departures(others, |realm, end| {
        let served = calls::serve(realm, end, Handle::NONE, [0; 4]);
        served.map(drop)
    });
    assert_eq!(words, Err(Error::Cancelled));
}
