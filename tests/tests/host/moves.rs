//! Move takes away before it gives, and only what nobody else can reach (I6).

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use crate::common::messages::Ends;
use crate::common::realm::Realm;
use crate::common::{READ, WRITE, page};
use abi::{Error, FOREVER, GrantFlags, Handle, Mode, ObjectKind, RevokeFlags, Rights, Token};
use fake::Access;

const ALL: Rights = Rights::all();

#[test]
fn move_takes_it_from_every_cpu_of_the_sender_and_keeps_the_bytes() {
    let realm = Realm::new(2);
    realm.run_also_on_3(0);
    let mine = realm.region(0, 40);
    let region = realm.region_of(0, mine);
    let here = realm.map(0, mine, WRITE);
    for at in 0..40 {
        realm.store(0, 0, page(here, at), at).unwrap();
        assert_eq!(realm.load(3, 0, page(here, at)), Ok(at));
    }
    let token = realm.grant(0, mine, 1, Mode::Move, ALL).unwrap();
    for at in 0..40 {
        assert!(!realm.reaches(0, page(here, at)));
        assert!(!realm.reaches(3, page(here, at)));
    }
    assert_eq!(realm.load(3, 0, here), Err(Error::Revoked));
    assert_eq!(realm.look_up(0, mine), Err(Error::InTransit));
    assert_eq!(realm.try_map(0, mine, READ), Err(Error::InTransit));
    assert_eq!(realm.drop_handle(0, mine), Err(Error::InTransit));
    let again = realm.grant(0, mine, 1, Mode::Move, ALL);
    assert_eq!(again, Err(Error::InTransit));

    let theirs = realm.accept(1, token, 0).unwrap();
    assert_eq!(realm.look_up(0, mine), Err(Error::BadHandle));
    let there = realm.map(1, theirs, WRITE);
    for at in 0..40 {
        assert_eq!(realm.load(1, 1, page(there, at)), Ok(at));
    }
    assert_eq!(realm.load(0, 0, here), Err(Error::Revoked));
    realm.audit(&[region]);
    realm.finish();
}

#[test]
fn move_publishes_only_after_every_cpu_acknowledged() {
    let realm = Realm::new(3);
    let (mine, va) = realm.region_cached_on_two();
    // The first grant of a machine: anybody can tell its token.
    let foreseen = Token::new(0, 1, ObjectKind::Region, Mode::Move);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (log, ipc) = (seen.clone(), Arc::downgrade(&realm.ipc));
    realm.machine().set_while_waiting(move |machine| {
        let ipc = ipc.upgrade().unwrap();
        let offered = fake::on_cpu(1, || ipc.offered_region(foreseen).is_some());
        let reached = machine.translate(3, va, Access::Write).is_ok();
        log.lock().unwrap().push((offered, reached));
    });
    let token = realm.grant(0, mine, 1, Mode::Move, ALL);
    realm.machine().clear_hooks();
    let seen = std::mem::take(&mut *seen.lock().unwrap());
    assert!(seen.iter().any(|(_, reached)| *reached), "no CPU was late");
    assert!(!seen.iter().any(|(offered, _)| *offered), "it could be had");
    assert_eq!(token, Ok(foreseen));
    assert!(!realm.reaches(3, va));
    assert!(realm.accept(1, foreseen, 0).is_ok());
    realm.finish();
}

#[test]
fn what_came_by_share_cannot_be_moved_away_from_above() {
    let realm = Realm::new(2);
    let root = realm.region(0, 1);
    let child = realm.give(0, root, 1, Mode::Share);
    let moved = realm.grant(1, child, 0, Mode::Move, ALL);
    assert_eq!(moved, Err(Error::Shared));
    realm.finish();
}

#[test]
fn move_is_refused_while_somebody_else_has_access() {
    let others: [fn(&Realm, Handle); 4] = [
        |r, h| {
            r.derive(0, h, READ).unwrap();
        },
        |r, h| {
            r.give(0, h, 1, Mode::Share);
        },
        |r, h| {
            r.grant(0, h, 1, Mode::Share, ALL).unwrap();
        },
        |r, h| {
            let there = r.give(0, h, 1, Mode::Share);
            r.map(1, there, READ);
            r.drop_handle(1, there).unwrap();
        },
    ];
    for other in others {
        let realm = Realm::new(2);
        let mine = realm.region(0, 1);
        let va = realm.map(0, mine, WRITE);
        realm.store(0, 0, va, 3).unwrap();
        other(&realm, mine);
        let before = realm.counts();
        let moved = realm.grant(0, mine, 1, Mode::Move, ALL);
        assert_eq!(moved, Err(Error::Shared));
        assert_eq!(realm.counts(), before);
        assert_eq!(realm.load(0, 0, va), Ok(3));
        assert_eq!(realm.store(0, 0, va, 4), Ok(()));
        assert_eq!(realm.look_up(0, mine), Ok(Rights::REGION));
        realm.revoke(0, mine).unwrap();
        assert!(realm.grant(0, mine, 1, Mode::Move, ALL).is_ok());
        realm.finish();
    }
}

#[test]
fn a_capability_without_access_does_not_stand_in_the_way_of_a_move() {
    let realm = Realm::new(2);
    let mine = realm.region(0, 1);
    let witness = realm.derive(0, mine, Rights::INSPECT).unwrap();
    let theirs = realm.give(0, mine, 1, Mode::Move);
    assert_eq!(realm.look_up(0, witness), Ok(Rights::INSPECT));
    assert_eq!(realm.revoke(1, theirs), Ok(1));
    assert_eq!(realm.look_up(0, witness), Err(Error::Revoked));
    realm.finish();
}

#[test]
fn a_move_leaves_no_derived_capability_with_more_rights_than_it_gives() {
    let realm = Realm::new(2);
    let mine = realm.region(0, 1);
    let seals = realm
        .ipc
        .derive(&realm.domains[0], mine, Rights::SEAL)
        .unwrap();
    let without_seal = ALL - Rights::SEAL;
    let narrowed = realm.grant(0, mine, 1, Mode::Move, without_seal);
    assert_eq!(narrowed, Err(Error::Shared));
    assert_eq!(realm.look_up(0, mine), Ok(Rights::REGION));
    let token = realm.grant(0, mine, 1, Mode::Move, ALL).unwrap();
    let theirs = realm.accept(1, token, 0).unwrap();
    assert_eq!(realm.look_up(1, theirs), Ok(Rights::REGION));
    assert_eq!(realm.look_up(0, seals), Ok(Rights::SEAL));
    realm.finish();
}

#[test]
fn what_is_about_to_move_and_is_refused_keeps_its_mappings_though_a_relative_is_revoked() {
    let realm = Realm::new(2);
    let (mine, va) = realm.region_cached_on_two();
    let rights = Rights::INSPECT | Rights::DUPLICATE | Rights::REVOKE;
    let relative = realm.derive(0, mine, rights).unwrap();
    for flags in [RevokeFlags::empty(), RevokeFlags::ITSELF] {
        realm.derive(0, relative, Rights::INSPECT).unwrap();
        let (ipc, me) = (&realm.ipc, &realm.domains[0]);
        let offer = ipc.begin(me, mine, Mode::Move, ALL, GrantFlags::empty());
        let offer = offer.unwrap();
        assert_eq!(realm.look_up(0, mine), Err(Error::InTransit));
        assert!(ipc.revoke(me, relative, flags).unwrap() > 0);
        ipc.withdraw(offer);
        assert!(realm.reaches(0, va) && realm.reaches(3, va));
        assert_eq!(realm.ipc.region_info(me, mine).unwrap().mappings, 1);
    }
    realm.finish();
}

#[test]
fn what_is_about_to_move_and_is_refused_keeps_its_mappings_though_a_relative_is_reduced() {
    let realm = Realm::new(2);
    let (mine, va) = realm.region_cached_on_two();
    let relative = realm.derive(0, mine, Rights::INSPECT).unwrap();
    let (ipc, me) = (&realm.ipc, &realm.domains[0]);
    let narrowed = ALL - Rights::WRITE;
    let offer = ipc.begin(me, mine, Mode::Move, narrowed, GrantFlags::empty());
    let offer = offer.unwrap();
    realm.reduce(0, relative, Rights::empty()).unwrap();
    ipc.withdraw(offer);
    assert_eq!(realm.look_up(0, mine), Ok(Rights::REGION));
    realm.store(0, 0, va, 6).unwrap();
    assert_eq!(realm.load(3, 0, va), Ok(6));
    realm.finish();
}

/// Domain 0 moves a region and takes it from all below, and at a moment of that domain 1 pins it by a relative that is
/// not below. What the call says, whether what was below is there still, and whether that moment came.
fn moved_as_it_is_pinned(moment: u32) -> (Result<(), Error>, bool, bool) {
    let realm = Arc::new(Realm::new(3));
    let top = realm.region(0, 1);
    let shared = Rights::MAP | Rights::GRANT | Rights::DUPLICATE;
    let pins = realm.derive(0, top, shared).unwrap();
    let pins = realm.give(0, pins, 1, Mode::Share);
    let mine = realm.derive(0, top, ALL).unwrap();
    let below = realm.derive(0, mine, READ).unwrap();
    realm.drop_handle(0, top).unwrap();
    let (inside, turns) = (realm.clone(), Arc::new(AtomicU32::new(0)));
    let count = turns.clone();
    let meanwhile = move || {
        if count.fetch_add(1, Ordering::Relaxed) == moment {
            fake::on_cpu(1, || {
                inside
                    .ipc
                    .pin_region(&inside.domains[1], pins)
                    .expect("it may map it")
            });
        }
    };
    let grant = || {
        let (domain, via) = (&realm.domains[0], realm.via[0][2]);
        let flags = GrantFlags::REVOKE_OTHERS;
        realm
            .ipc
            .grant(domain, mine, via, Mode::Move, ALL, flags, FOREVER)
    };
    let answer = fake::before_locks(None, meanwhile, grant).map(drop);
    let came = moment < turns.load(Ordering::Relaxed);
    let stays = realm.look_up(0, below).is_ok();
    Arc::into_inner(realm).unwrap().finish();
    (answer, stays, came)
}

#[test]
fn a_move_that_revokes_is_refused_by_a_pin_before_it_has_revoked_or_not_at_all() {
    let mut refused = 0;
    for moment in 0.. {
        let (answer, stays, came) = moved_as_it_is_pinned(moment);
        if !came {
            assert_eq!(answer, Ok(()));
            break;
        }
        match answer {
            Ok(()) => assert!(!stays, "at moment {moment}"),
            Err(error) => {
                assert_eq!((error, stays), (Error::Pinned, true), "at moment {moment}");
                refused += 1;
            }
        }
    }
    assert!(refused > 0);
}

/// Domain 0 moves a region over a channel, whose other end is dropped at a moment of that. What the call says, what
/// then can be said of the region and what is below it, and whether that moment came.
fn moved_as_its_way_ends(moment: u32, flags: GrantFlags) -> (Result<(), Error>, [bool; 2], bool) {
    let realm = Arc::new(Realm::new(2));
    let ends = Ends::between(&realm, 0, 1, 1);
    let region = realm.region(0, 1);
    let below = match flags.is_empty() {
        true => None,
        false => Some(realm.derive(0, region, READ).unwrap()),
    };
    let va = realm.map(0, region, READ);
    let (inside, turns) = (realm.clone(), Arc::new(AtomicU32::new(0)));
    let count = turns.clone();
    let meanwhile = move || {
        if count.fetch_add(1, Ordering::Relaxed) == moment {
            fake::on_cpu(1, || ends.there.drop(&inside));
        }
    };
    let grant = || {
        let (domain, via) = (&realm.domains[0], ends.here.handle);
        let all = Rights::all();
        realm
            .ipc
            .grant(domain, region, via, Mode::Move, all, flags, FOREVER)
    };
    let answer = fake::before_locks(None, meanwhile, grant).map(drop);
    let came = moment < turns.load(Ordering::Relaxed);
    let mapped = realm.load(0, 0, va).is_ok();
    let below = below.is_some_and(|below| realm.look_up(0, below).is_ok());
    if answer.is_err() {
        assert_eq!(realm.look_up(0, region), Ok(Rights::REGION));
        realm.map(0, region, READ);
    }
    Arc::into_inner(realm).unwrap().finish();
    (answer, [mapped, below], came)
}

#[test]
fn what_fails_to_move_as_its_way_ends_is_still_the_senders() {
    for flags in [GrantFlags::empty(), GrantFlags::REVOKE_OTHERS] {
        let mut refused = Vec::new();
        for moment in 0.. {
            let (answer, left, came) = moved_as_its_way_ends(moment, flags);
            match answer {
                Ok(()) => {}
                Err(Error::PeerClosed) => refused.push(left),
                Err(error) => panic!("{error:?} at moment {moment}"),
            }
            if !came {
                break;
            }
        }
        // Early enough it has changed nothing; later, what the table says.
        assert_eq!(refused.first(), Some(&[true, !flags.is_empty()]));
        assert_eq!(refused.last(), Some(&[false, false]));
    }
}
