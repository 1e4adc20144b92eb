//! Grants over channels, when an end closes or what was granted is revoked: nothing stays pending that
//! nobody can accept.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::common::messages::{End, Ends};
use crate::common::realm::Realm;
use abi::limits::MAX_GRANTS;
use abi::{Error, FOREVER, GrantFlags, Handle, Mode, Rights, Token};

const ALL: Rights = Rights::all();

fn grant(realm: &Realm, via: &End, handle: Handle, mode: Mode) -> Result<Token, Error> {
    let from = &realm.domains[via.domain];
    let flags = GrantFlags::empty();
    realm
        .ipc
        .grant(from, handle, via.handle, mode, ALL, flags, FOREVER)
}

fn accept(realm: &Realm, at: &End, token: Token) -> Result<Handle, Error> {
    realm
        .ipc
        .accept(&realm.domains[at.domain], token, at.handle)
}

#[test]
fn a_grant_comes_back_when_the_end_at_which_it_could_be_accepted_closes() {
    let realm = Realm::new(2);
    let (moved, shared) = (realm.region(0, 1), realm.region(0, 1));
    let before = realm.counts();
    let ends = Ends::between(&realm, 0, 1, 1);
    let moving = grant(&realm, &ends.here, moved, Mode::Move).unwrap();
    // As many as there may be, which count no more afterwards.
    for _ in 1..MAX_GRANTS {
        grant(&realm, &ends.here, shared, Mode::Share).unwrap();
    }
    let more = grant(&realm, &ends.here, shared, Mode::Share);
    assert_eq!(more, Err(Error::Limit));
    ends.there.drop(&realm);
    assert_eq!(realm.look_up(0, moved), Ok(Rights::REGION));
    assert_eq!(realm.cancel(0, moving), Err(Error::NotFound));
    let late = grant(&realm, &ends.here, shared, Mode::Share);
    assert_eq!(late, Err(Error::PeerClosed));
    ends.here.drop(&realm);
    assert_eq!(realm.counts(), before);
    // Others of the same two are as good as before.
    let token = realm.grant(0, shared, 1, Mode::Share, ALL).unwrap();
    assert!(realm.accept(1, token, 0).is_ok());
    realm.finish();
}

#[test]
fn the_end_of_the_sender_closes_and_what_it_granted_is_still_accepted() {
    let realm = Realm::new(2);
    let region = realm.region(0, 1);
    let ends = Ends::between(&realm, 0, 1, 1);
    let token = grant(&realm, &ends.here, region, Mode::Share).unwrap();
    ends.here.drop(&realm);
    assert!(accept(&realm, &ends.there, token).is_ok());
    realm.finish();
}

#[test]
fn an_end_that_closes_during_the_grant_leaves_what_was_granted_with_the_sender() {
    let realm = Realm::new(2);
    let ends = Ends::between(&realm, 0, 1, 1);
    let (region, _) = realm.region_cached_on_two();
    let (ipc, receiver) = (Arc::downgrade(&realm.ipc), realm.domains[1].clone());
    let (once, there) = (AtomicU32::new(0), ends.there.handle);
    realm.machine().set_while_waiting(move |_| {
        if once.fetch_add(1, Ordering::Relaxed) == 0 {
            let ipc = ipc.upgrade().unwrap();
            fake::on_cpu(1, || ipc.drop_capability(&receiver, there).unwrap());
        }
    });
    let granted = grant(&realm, &ends.here, region, Mode::Move);
    realm.machine().clear_hooks();
    assert_eq!(granted, Err(Error::PeerClosed));
    assert_eq!(realm.look_up(0, region), Ok(Rights::REGION));
    realm.finish();
}

#[test]
fn an_end_whose_last_capability_was_granted_to_a_closed_end_closes_too() {
    let realm = Realm::new(3);
    let outer = Ends::between(&realm, 0, 1, 1);
    let middle = Ends::between(&realm, 0, 1, 1);
    let inner = Ends::between(&realm, 0, 2, 1);
    grant(&realm, &outer.here, middle.here.handle, Mode::Move).unwrap();
    grant(&realm, &outer.here, inner.here.handle, Mode::Move).unwrap();
    realm.exit(0);
    assert_eq!(inner.there.info(&realm).peer_closed, 0);
    outer.there.drop(&realm);
    assert_eq!(inner.there.info(&realm).peer_closed, 1);
    assert_eq!(middle.there.info(&realm).peer_closed, 1);
    realm.finish();
}

#[test]
fn an_end_is_granted_only_over_an_older_channel() {
    let realm = Realm::new(2);
    let (old, young) = (
        Ends::between(&realm, 0, 1, 1),
        Ends::between(&realm, 0, 1, 1),
    );
    for end in [&old.here, &young.here] {
        let refused = grant(&realm, &young.here, end.handle, Mode::Move);
        assert_eq!(refused, Err(Error::Invalid));
    }
    let token = grant(&realm, &old.here, young.here.handle, Mode::Move).unwrap();
    assert!(accept(&realm, &old.there, token).is_ok());
    // What is granted to a process goes with that.
    assert!(realm.grant(0, old.here.handle, 1, Mode::Move, ALL).is_ok());
    realm.finish();
}

#[test]
fn a_revoke_takes_its_own_grants_out_of_many_of_the_same_object() {
    let realm = Realm::new(2);
    let region = realm.region(0, 1);
    let [dies, stays] = [(); 2].map(|()| realm.derive(0, region, ALL).unwrap());
    let grant = |handle| realm.grant(0, handle, 1, Mode::Share, ALL).unwrap();
    let tokens: Vec<_> = (0..40)
        .map(|_| (grant(dies), grant(stays), grant(dies)))
        .collect();
    assert_eq!(realm.revoke(0, dies), Ok(80));
    for (first, kept, second) in tokens {
        assert_eq!(realm.accept(1, first, 0), Err(Error::NotFound));
        assert!(realm.accept(1, kept, 0).is_ok());
        assert_eq!(realm.accept(1, second, 0), Err(Error::NotFound));
    }
    realm.finish();
}
