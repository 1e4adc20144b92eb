//! Every interleaving, up to a bound on preemptions, of threads that look handles up, let
//! capabilities in and out, derive and revoke: a handle never leads to anything but what it was made for,
//! nothing below a capability works once it has been revoked, and a capability for one use is used once.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p handover-ipc --release --test loom_authority`
#![cfg(loom)]

#[allow(dead_code, reason = "each model uses a part of it")]
mod loom_platform;

use abi::{DeriveArgs, DeriveFlags, Error, Handle, RevokeFlags, Rights};
use ipc::Narrowing;
use loom_platform::{Realm, explore, spawn};

/// What a handle is good for at this moment.
fn look_up(realm: &Realm, handle: Handle) -> Result<Rights, Error> {
    realm
        .domain
        .with_node(handle, None, Rights::empty(), |node| Ok(node.rights()))
}

fn derive(realm: &Realm, handle: Handle, rights: Rights) -> Result<Handle, Error> {
    realm.ipc.derive(&realm.domain, handle, rights)
}

/// Revokes what is below a capability, if it is still there itself.
fn revoke(realm: &Realm, handle: Handle) {
    let flags = RevokeFlags::empty();
    let revoked = realm.ipc.revoke(&realm.domain, handle, flags);
    assert!(matches!(revoked, Ok(_) | Err(Error::Revoked)));
}

fn drop_handle(realm: &Realm, handle: Handle) -> Result<(), Error> {
    realm.ipc.drop_capability(&realm.domain, handle)
}

#[test]
fn a_handle_leads_to_what_it_was_made_for_while_its_place_changes_hands() {
    explore(3, || {
        let realm = Realm::new();
        let first = derive(&realm, realm.notification, Rights::WAIT).unwrap();
        let reader = spawn(&realm, move |realm| look_up(realm, first));
        drop_handle(&realm, first).unwrap();
        // The same place, and the same node in the same memory.
        let second = derive(&realm, realm.notification, Rights::SIGNAL).unwrap();
        assert_eq!(second.index(), first.index());
        assert!(matches!(
            reader.join().unwrap(),
            Ok(Rights::WAIT) | Err(Error::BadHandle)
        ));
        assert_eq!(look_up(&realm, second), Ok(Rights::SIGNAL));
        drop_handle(&realm, second).unwrap();
    });
}

#[test]
fn what_is_derived_while_it_is_revoked_is_refused_or_dead() {
    explore(3, || {
        let realm = Realm::new();
        let deriver = spawn(&realm, |realm| derive(realm, realm.below, Rights::all()));
        revoke(&realm, realm.notification);
        match deriver.join().unwrap() {
            Ok(derived) => assert_eq!(look_up(&realm, derived), Err(Error::Revoked)),
            Err(error) => assert_eq!(error, Error::Revoked),
        }
        assert_eq!(look_up(&realm, realm.below), Err(Error::Revoked));
        assert!(look_up(&realm, realm.notification).is_ok());
    });
}

#[test]
fn a_capability_that_is_dropped_and_derived_again_while_it_is_revoked_is_dead_or_new() {
    explore(3, || {
        let realm = Realm::new();
        let first = derive(&realm, realm.below, Rights::WAIT).unwrap();
        let other = spawn(&realm, move |realm| {
            drop_handle(realm, first).unwrap();
            derive(realm, realm.below, Rights::WAIT)
        });
        revoke(&realm, realm.notification);
        match other.join().unwrap() {
            Ok(derived) => assert_eq!(look_up(&realm, derived), Err(Error::Revoked)),
            Err(error) => assert_eq!(error, Error::Revoked),
        }
    });
}

#[test]
fn two_revokes_at_once_leave_nothing_below() {
    explore(3, || {
        let realm = Realm::new();
        let leaf = derive(&realm, realm.below, Rights::WAIT).unwrap();
        let other = spawn(&realm, |realm| revoke(realm, realm.below));
        revoke(&realm, realm.notification);
        assert_eq!(look_up(&realm, leaf), Err(Error::Revoked));
        assert_eq!(look_up(&realm, realm.below), Err(Error::Revoked));
        other.join().unwrap();
    });
}

#[test]
fn a_capability_for_one_use_is_used_once() {
    explore(3, || {
        let realm = Realm::new();
        let narrowing = Narrowing::decode(&DeriveArgs {
            flags: DeriveFlags::ONE_SHOT.bits(),
            ..DeriveArgs::new(Rights::all())
        });
        let narrowing = narrowing.unwrap();
        let once = realm
            .ipc
            .derive_with(&realm.domain, realm.notification, &narrowing)
            .unwrap();
        let uses = move |realm: &Realm| {
            let used = look_up(realm, once).is_ok();
            if realm.domain.has_claims() {
                realm.ipc.settle(&realm.domain, used);
            }
            u32::from(used)
        };
        let other = spawn(&realm, uses);
        let mine = uses(&realm);
        assert_eq!(mine + other.join().unwrap(), 1);
        assert_eq!(look_up(&realm, once), Err(Error::BadHandle));
    });
}
