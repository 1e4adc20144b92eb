//! Capabilities each derived from the one before, as many as an object may have. What goes through their tree holds its
//! lock, and builds with debug assertions, as this one, stop at a walk that looks nodes up more than a few times each.

use crate::common::READ;
use crate::common::realm::Realm;
use abi::limits::MAX_NODES;
use abi::{DeriveArgs, Error, FOREVER, GrantFlags, Handle, Mode, Rights, Token};

const ALL: Rights = Rights::all();
/// Those below the first.
const DEPTH: usize = MAX_NODES - 1;

/// As many below a capability, each below the one before; returns the last, which alone is kept.
fn chain(realm: &Realm, top: Handle, depth: usize) -> Handle {
    let mut last = top;
    for _ in 0..depth {
        let next = realm.derive(0, last, ALL).unwrap();
        if last != top {
            realm.drop_handle(0, last).unwrap();
        }
        last = next;
    }
    last
}

fn move_revoking(realm: &Realm, handle: Handle) -> Result<Token, Error> {
    let (from, via) = (&realm.domains[0], realm.via[0][1]);
    let flags = GrantFlags::REVOKE_OTHERS;
    realm
        .ipc
        .grant(from, handle, via, Mode::Move, ALL, flags, FOREVER)
}

#[test]
fn a_chain_is_taken_away_in_steps_that_grow_as_it_does() {
    type End = fn(&Realm, Handle);
    let ends: [(End, usize); 4] = [
        (
            |realm, top| assert_eq!(realm.revoke(0, top), Ok(DEPTH as u64)),
            DEPTH,
        ),
        (
            |realm, top| assert_eq!(realm.revoke_itself(0, top), Ok(DEPTH as u64 + 1)),
            DEPTH,
        ),
        (
            |realm, top| realm.ipc.destroy_region(&realm.domains[0], top).unwrap(),
            DEPTH,
        ),
        (|realm, _| realm.wait_until(1000), DEPTH - 1),
    ];
    for (end, depth) in ends {
        let realm = Realm::new(1);
        let region = realm.region(0, 1);
        let top = match depth == DEPTH {
            true => region,
            false => {
                let args = DeriveArgs {
                    deadline: 1000,
                    ..DeriveArgs::new(ALL)
                };
                realm.derive_with(0, region, args).unwrap()
            }
        };
        let last = chain(&realm, top, depth);
        let va = realm.map(0, last, READ);
        assert_eq!(realm.derive(0, last, ALL), Err(Error::Limit));
        end(&realm, top);
        assert_eq!(realm.look_up(0, last), Err(Error::Revoked));
        assert!(!realm.reaches(0, va));
        realm.finish();
    }
}

#[test]
fn a_chain_that_nothing_keeps_any_more_goes_from_its_end_up() {
    let realm = Realm::new(1);
    let region = realm.region(0, 1);
    let last = chain(&realm, region, DEPTH);
    assert_eq!(realm.info(0, region).descendants, DEPTH as u64);
    realm.drop_handle(0, last).unwrap();
    assert_eq!(realm.info(0, region).descendants, 0);
    realm.finish();
}

#[test]
fn a_move_that_revokes_goes_through_what_is_below_once() {
    let realm = Realm::new(2);
    let region = realm.region(0, 1);
    // Each has access, by a handle or by a mapping.
    let mut last = chain(&realm, region, DEPTH - 2000);
    for _ in 0..2000 {
        last = realm.derive(0, last, ALL).unwrap();
    }
    let token = move_revoking(&realm, region).unwrap();
    let there = realm.accept(1, token, 0).unwrap();
    assert_eq!(realm.look_up(0, last), Err(Error::Revoked));
    assert_eq!(realm.info(1, there).descendants, 0);
    realm.finish();
}

#[test]
fn who_moves_what_is_in_the_middle_of_a_chain_is_refused_for_those_above_and_beside() {
    let realm = Realm::new(2);
    let region = realm.region(0, 1);
    let middle = realm.derive(0, region, ALL).unwrap();
    let last = chain(&realm, middle, 10);
    let moved = || move_revoking(&realm, middle);
    assert_eq!(moved(), Err(Error::Shared));
    // Nothing was taken.
    assert!(realm.look_up(0, last).is_ok());
    let beside = realm.derive(0, region, Rights::READ | Rights::MAP).unwrap();
    realm.drop_handle(0, region).unwrap();
    assert_eq!(moved(), Err(Error::Shared));
    assert!(realm.look_up(0, last).is_ok());
    realm.drop_handle(0, beside).unwrap();
    assert!(moved().is_ok());
    assert_eq!(realm.look_up(0, last), Err(Error::Revoked));
    realm.finish();
}
