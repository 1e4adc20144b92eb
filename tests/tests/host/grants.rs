//! Grants that end in time, and grants over channels: who can accept them, and where (S15).

use crate::common::messages::{Ends, poor};
use crate::common::realm::Realm;
use crate::common::{READ, WRITE};
use abi::{DeriveArgs, Error, GrantFlags, HandleTransfer, Mode, Resources, Rights, Token};

const ALL: Rights = Rights::all();

#[test]
fn after_its_deadline_a_token_is_not_found_and_what_was_moved_comes_back() {
    let realm = Realm::new(2);
    let moved = realm.region(0, 1);
    let va = realm.map(0, moved, WRITE);
    realm.store(0, 0, va, 5).unwrap();
    let before = realm.counts();
    let token = realm
        .grant_until(0, moved, 1, Mode::Move, READ, 100)
        .unwrap();
    let shared = realm.region(0, 1);
    let late = realm
        .grant_until(0, shared, 1, Mode::Share, ALL, 100)
        .unwrap();
    let never = realm.grant(0, shared, 1, Mode::Share, ALL).unwrap();
    assert_eq!(realm.look_up(0, moved), Err(Error::InTransit));
    realm.machine().advance_ns(100);
    // At once, whether or not anybody has swept.
    assert_eq!(realm.accept(1, token, 0), Err(Error::NotFound));
    assert_eq!(realm.accept(1, late, 0), Err(Error::NotFound));
    realm.wait_until(100);
    assert_eq!(realm.look_up(0, moved), Ok(Rights::REGION));
    assert_eq!(realm.info(0, shared).descendants, 1);
    assert_eq!(realm.cancel(0, token), Err(Error::NotFound));
    assert!(realm.accept(1, never, 0).is_ok());
    assert_eq!(realm.load(0, 0, realm.map(0, moved, READ)), Ok(5));
    drop(before);
    realm.finish();
}

#[test]
fn a_grant_that_was_accepted_or_cancelled_in_time_does_not_end_later() {
    let realm = Realm::new(2);
    let region = realm.region(0, 1);
    let token = realm
        .grant_until(0, region, 1, Mode::Move, ALL, 100)
        .unwrap();
    let theirs = realm.accept(1, token, 0).unwrap();
    let other = realm.region(0, 1);
    let token = realm
        .grant_until(0, other, 1, Mode::Move, ALL, 100)
        .unwrap();
    realm.cancel(0, token).unwrap();
    // The slot has another tenant by then.
    let token = realm.grant(0, other, 1, Mode::Move, ALL).unwrap();
    realm.wait_until(200);
    assert_eq!(realm.look_up(1, theirs), Ok(Rights::REGION));
    assert!(realm.accept(1, token, 0).is_ok());
    realm.finish();
}

#[test]
fn a_deadline_in_the_past_is_refused_and_changes_nothing() {
    let realm = Realm::new(2);
    let region = realm.region(0, 1);
    realm.machine().advance_ns(10);
    let before = realm.counts();
    for deadline in [0, 9, 10] {
        let granted = realm.grant_until(0, region, 1, Mode::Move, ALL, deadline);
        assert_eq!(granted, Err(Error::TimedOut));
    }
    assert_eq!(realm.counts(), before);
    assert!(realm.look_up(0, region).is_ok());
    realm.finish();
}

#[test]
fn what_was_shared_by_a_capability_with_a_deadline_ends_with_it() {
    let realm = Realm::new(2);
    let region = realm.region(0, 1);
    let args = DeriveArgs {
        deadline: 100,
        ..DeriveArgs::new(ALL)
    };
    let short = realm.derive_with(0, region, args).unwrap();
    let token = realm.grant(0, short, 1, Mode::Share, ALL).unwrap();
    realm.wait_until(100);
    assert_eq!(realm.accept(1, token, 0), Err(Error::NotFound));
    assert_eq!(realm.info(0, region).descendants, 0);
    realm.finish();
}

#[test]
fn over_a_channel_a_grant_is_accepted_at_the_other_end_alone() {
    let realm = Realm::new(3);
    let [a, b] = [0, 1].map(|from| {
        let ends = realm.ipc.create_channel(&realm.domains[0], 4).unwrap();
        let theirs = realm.give(0, ends.second, 1 + from, Mode::Move);
        (ends.first, theirs)
    });
    let second = realm.ipc.create_channel(&realm.domains[0], 4).unwrap();
    let other = realm.give(0, second.second, 1, Mode::Move);
    let region = realm.region(0, 1);
    let grant = |via| {
        let flags = GrantFlags::empty();
        let from = &realm.domains[0];
        realm
            .ipc
            .grant(from, region, via, Mode::Share, READ, flags, abi::FOREVER)
    };
    let accept = |by: usize, token: Token, via| realm.ipc.accept(&realm.domains[by], token, via);
    let token = grant(a.0).unwrap();
    assert_eq!(accept(2, token, b.1), Err(Error::NotFound));
    // It is for this process, but did not come this way.
    assert_eq!(accept(1, token, other), Err(Error::NotFound));
    assert_eq!(accept(1, token, realm.via[1][0]), Err(Error::NotFound));
    assert_eq!(accept(0, token, a.0), Err(Error::NotFound));
    assert!(accept(1, token, a.1).is_ok());
    assert_eq!(accept(1, token, a.1), Err(Error::NotFound));
    let by_process = realm.grant(0, region, 1, Mode::Share, READ).unwrap();
    assert_eq!(accept(1, by_process, a.1), Err(Error::NotFound));
    assert!(realm.accept(1, by_process, 0).is_ok());
    // A capability derived from the end does as well as the first one.
    let token = grant(a.0).unwrap();
    let derived = realm.derive(1, a.1, ALL).unwrap();
    assert!(accept(1, token, derived).is_ok());
    realm.exit(1);
    assert_eq!(grant(a.0), Err(Error::PeerClosed));
    realm.finish();
}

#[test]
fn the_sender_pays_for_what_is_pending_until_it_is_accepted() {
    let realm = Realm::new(2);
    let region = realm.region(0, 1);
    let (mine, theirs) = (realm.used(0), realm.used(1));
    let token = realm.grant(0, region, 1, Mode::Share, ALL).unwrap();
    assert_eq!(realm.used(0).bytes, mine.bytes + abi::cost::CAPABILITY);
    assert_eq!(realm.used(1), theirs);
    realm.accept(1, token, 0).unwrap();
    assert_eq!(realm.used(0), mine);
    assert_eq!(realm.used(1).bytes, theirs.bytes + abi::cost::CAPABILITY);
    realm.finish();
}

#[test]
fn who_has_not_accepted_pays_for_nothing_however_much_is_offered() {
    let realm = Realm::with_quotas(&[Resources::NONE, Resources::bytes(1 << 20)]);
    let ends = Ends::between(&realm, 0, 1, 8);
    let region = realm.region(0, 1);
    // Nothing is left of its quota.
    let poor = poor(&realm, 1);
    let theirs = realm.used(1);
    let mut tokens = Vec::new();
    for mode in [Mode::Share, Mode::Move, Mode::CopyOnWrite] {
        for via in [realm.via[0][1], ends.here.handle] {
            let offered = realm.derive(0, region, ALL).unwrap();
            let offered = match mode {
                Mode::Move => realm.region(0, 1),
                _ => offered,
            };
            let mine = realm.used(0).bytes;
            let (from, flags) = (&realm.domains[0], GrantFlags::empty());
            let forever = abi::FOREVER;
            let token = realm
                .ipc
                .grant(from, offered, via, mode, ALL, flags, forever);
            tokens.push((token.unwrap(), via));
            let more = realm.used(0).bytes - mine;
            assert_eq!(more > 0, mode != Mode::Move, "{mode:?}: {more} bytes");
            assert_eq!(realm.used(1), theirs, "{mode:?}");
            let message = HandleTransfer::new(realm.region(0, 1), mode, ALL);
            ends.here.send(&realm, &[0; 256], &[message]).unwrap();
            assert_eq!(realm.used(1), theirs, "{mode:?} in a message");
        }
    }
    // As many as there can be.
    while realm.grant(0, region, 1, Mode::Share, ALL).is_ok() {}
    assert_eq!(realm.used(1), theirs);
    // It is asked when it takes them, and can't; nothing is lost by that.
    let accept = |(token, via)| {
        let via = match via == ends.here.handle {
            true => ends.there.handle,
            false => realm.via[1][0],
        };
        realm.ipc.accept(&realm.domains[1], token, via)
    };
    for offered in &tokens {
        assert_eq!(accept(*offered), Err(Error::Quota));
    }
    assert_eq!(ends.there.receive(&realm).err(), Some(Error::Quota));
    drop(poor);
    for offered in tokens {
        assert!(accept(offered).is_ok());
        ends.there.receive(&realm).unwrap();
    }
    realm.finish();
}
