//! Handing over from domain to domain by token, and every way in which that ends early (I6).

use crate::common::realm::Realm;
use crate::common::{READ, WRITE, page};
use abi::ring::Geometry;
use abi::{Error, GrantFlags, Handle, HubGeometry, Mode, ObjectKind, Resources, Rights, Token};
use fake::FakeProcess;
use ipc::{ImageInfo, Payload};
use mm::RegionOptions;
use std::cell::{Cell, RefCell};

const ALL: Rights = Rights::all();

#[test]
fn share_lets_both_see_what_either_writes() {
    let realm = Realm::new(2);
    let mine = realm.region(0, 600);
    let here = realm.map(0, mine, WRITE);
    realm.store(0, 0, page(here, 599), 1).unwrap();
    let theirs = realm.give(0, mine, 1, Mode::Share);
    let there = realm.map(1, theirs, WRITE);
    assert_eq!(realm.load(1, 1, page(there, 599)), Ok(1));
    realm.store(1, 1, page(there, 3), 2).unwrap();
    assert_eq!(realm.load(0, 0, page(here, 3)), Ok(2));
    realm.audit(&[realm.region_of(0, mine)]);
    realm.finish();
}

#[test]
fn a_share_gives_at_most_the_rights_that_were_granted() {
    let realm = Realm::new(2);
    let mine = realm.region(0, 1);
    let rights = READ | Rights::MAP | Rights::EXECUTE;
    let token = realm.grant(0, mine, 1, Mode::Share, rights).unwrap();
    let theirs = realm.accept(1, token, 0).unwrap();
    assert_eq!(realm.look_up(1, theirs), Ok(READ | Rights::MAP));
    assert_eq!(realm.try_map(1, theirs, WRITE), Err(Error::Denied));
    let va = realm.map(1, theirs, READ);
    assert_eq!(realm.store(1, 1, va, 1), Err(Error::Denied));
    let domain = &realm.domains[1];
    let more = realm.ipc.protect(domain, va, WRITE);
    assert_eq!(more, Err(Error::Denied));
    let onward = realm.grant(1, theirs, 0, Mode::Share, READ);
    assert_eq!(onward, Err(Error::Denied));
    realm.finish();
}

#[test]
fn a_token_is_good_once_for_its_addressee_from_its_grantor() {
    for mode in [Mode::Move, Mode::Share] {
        let realm = Realm::new(3);
        let mine = realm.region(0, 1);
        let token = realm.grant(0, mine, 1, mode, ALL).unwrap();
        let before = realm.counts();
        assert_eq!(realm.accept(2, token, 0), Err(Error::NotFound));
        assert_eq!(realm.accept(0, token, 0), Err(Error::NotFound));
        // From there, says the addressee, but it was somebody else (S15).
        assert_eq!(realm.accept(1, token, 2), Err(Error::NotFound));
        assert_eq!(realm.accept(1, token, 1), Err(Error::NotFound));
        assert_eq!(realm.cancel(1, token), Err(Error::NotFound));
        assert_eq!(realm.cancel(2, token), Err(Error::NotFound));
        for bit in 0..64 {
            let forged = Token::from_bits(token.bits() ^ 1 << bit);
            assert_eq!(realm.accept(1, forged, 0), Err(Error::NotFound), "{bit}");
            assert_eq!(realm.cancel(0, forged), Err(Error::NotFound), "{bit}");
        }
        assert_eq!(realm.counts(), before);
        assert!(realm.accept(1, token, 0).is_ok());
        assert_eq!(realm.accept(1, token, 0), Err(Error::NotFound));
        assert_eq!(realm.cancel(0, token), Err(Error::NotFound));
        realm.finish();
    }
}

#[test]
fn a_token_that_was_revoked_or_cancelled_is_not_found() {
    let realm = Realm::new(2);
    let root = realm.region(0, 1);
    let token = realm.grant(0, root, 1, Mode::Share, ALL).unwrap();
    assert_eq!(realm.revoke(0, root), Ok(1));
    assert_eq!(realm.accept(1, token, 0), Err(Error::NotFound));
    let token = realm.grant(0, root, 1, Mode::Share, ALL).unwrap();
    assert_eq!(realm.cancel(0, token), Ok(()));
    assert_eq!(realm.accept(1, token, 0), Err(Error::NotFound));
    let domain = &realm.domains[0];
    let info = realm.ipc.capability_info(domain, root).unwrap();
    assert_eq!(info.descendants, 0);
    realm.finish();
}

#[test]
fn what_is_in_transit_can_be_revoked_from_above() {
    let realm = Realm::new(2);
    let domain = &realm.domains[0];
    let region = realm
        .memory()
        .create_region(realm.memory().account(), 4096, RegionOptions::default())
        .unwrap();
    // Without access above, what is below can be moved.
    let rights = Rights::REGION - Rights::ACCESS;
    let root = realm.ipc.install_region(domain, region, rights).unwrap();
    let child = realm.derive(0, root, ALL).unwrap();
    let token = realm.grant(0, child, 1, Mode::Move, ALL).unwrap();
    assert_eq!(realm.look_up(0, child), Err(Error::InTransit));
    assert_eq!(realm.revoke(0, root), Ok(1));
    assert_eq!(realm.accept(1, token, 0), Err(Error::NotFound));
    assert_eq!(realm.cancel(0, token), Err(Error::NotFound));
    assert_eq!(realm.look_up(0, child), Err(Error::Revoked));
    assert_eq!(realm.drop_handle(0, child), Ok(()));
    realm.finish();
}

#[test]
fn cancel_gives_the_old_handle_back_with_all_its_rights() {
    let realm = Realm::new(2);
    let mine = realm.region(0, 2);
    let va = realm.map(0, mine, WRITE);
    realm.store(0, 0, va, 6).unwrap();
    let token = realm.grant(0, mine, 1, Mode::Move, READ).unwrap();
    realm.cancel(0, token).unwrap();
    assert_eq!(realm.look_up(0, mine), Ok(Rights::REGION));
    // The mapping is gone, the bytes are not.
    assert!(!realm.reaches(0, va));
    let va = realm.map(0, mine, WRITE);
    assert_eq!(realm.load(0, 0, va), Ok(6));
    assert_eq!(realm.accept(1, token, 0), Err(Error::NotFound));
    realm.audit(&[realm.region_of(0, mine)]);
    realm.finish();
}

#[test]
fn a_domain_can_hand_over_to_itself() {
    let realm = Realm::new(1);
    let mine = realm.region(0, 1);
    let handles = realm.domains[0].handle_count();
    let again = realm.give(0, mine, 0, Mode::Move);
    assert_ne!(again, mine);
    assert_eq!(realm.look_up(0, mine), Err(Error::BadHandle));
    assert_eq!(realm.domains[0].handle_count(), handles);
    let shared = realm.give(0, again, 0, Mode::Share);
    assert_eq!(realm.revoke(0, again), Ok(1));
    assert_eq!(realm.look_up(0, shared), Err(Error::Revoked));
    realm.finish();
}

#[test]
fn the_ends_of_a_ring_are_a_way_in_both_directions() {
    let realm = Realm::new(2);
    let (a, b) = (&realm.domains[0], &realm.domains[1]);
    let (producer, consumer) = realm.ipc.create_ring(a, Geometry::slot(64, 8)).unwrap();
    let theirs = realm.give(0, consumer, 1, Mode::Move);
    let mine = realm.region(0, 1);
    let token = realm
        .ipc
        .grant(
            a,
            mine,
            producer,
            Mode::Move,
            ALL,
            GrantFlags::empty(),
            abi::FOREVER,
        )
        .unwrap();
    // The ring and the process name the same grantor.
    let there = realm.ipc.accept(b, token, theirs).unwrap();
    let token = realm.ipc.grant(
        b,
        there,
        theirs,
        Mode::Share,
        READ,
        GrantFlags::empty(),
        abi::FOREVER,
    );
    let back = realm.ipc.accept(a, token.unwrap(), producer).unwrap();
    assert_eq!(realm.look_up(0, back), Ok(READ));
    realm.finish();
}

#[test]
fn copy_on_write_gives_a_snapshot_that_the_receiver_may_write() {
    let realm = Realm::new(2);
    let mine = realm.region(0, 1);
    let va = realm.map(0, mine, WRITE);
    realm.store(0, 0, va, 7).unwrap();
    let token = realm.grant(0, mine, 1, Mode::CopyOnWrite, ALL).unwrap();
    realm.store(0, 0, va, 8).unwrap();
    let theirs = realm.accept(1, token, 0).unwrap();
    let there = realm.map(1, theirs, WRITE);
    assert_eq!(realm.load(1, 1, there), Ok(7));
    realm.store(1, 1, there, 9).unwrap();
    assert_eq!(realm.load(0, 0, va), Ok(8));
    realm.finish();
}

/// As a spawn hands over what the new process begins with.
#[test]
fn several_are_delivered_in_order_or_taken_back() {
    let realm = Realm::new(2);
    let (a, b) = (&realm.domains[0], &realm.domains[1]);
    let (moved, shared) = (realm.region(0, 1), realm.region(0, 1));
    let va = realm.map(0, moved, WRITE);
    realm.store(0, 0, va, 2).unwrap();
    let begin = || {
        let offers = vec![
            realm
                .ipc
                .begin(a, moved, Mode::Move, ALL, GrantFlags::empty())
                .unwrap(),
            realm
                .ipc
                .begin(a, shared, Mode::Share, READ, GrantFlags::empty())
                .unwrap(),
        ];
        offers.iter().for_each(|offer| realm.ipc.clear(offer));
        offers
    };
    let twice = begin();
    assert!(matches!(
        realm
            .ipc
            .begin(a, moved, Mode::Move, ALL, GrantFlags::empty()),
        Err(Error::InTransit)
    ));
    twice.into_iter().for_each(|o| realm.ipc.withdraw(o));
    assert_eq!(realm.look_up(0, moved), Ok(Rights::REGION));

    // No room for two.
    let room = abi::limits::MAX_HANDLES - b.handle_count();
    let one = realm.region(1, 1);
    let mut filled: Vec<_> = (1..room - 1)
        .map(|_| realm.derive(1, one, READ).unwrap())
        .collect();
    let refused = realm.ipc.deliver_all(begin(), b, || Ok(()));
    assert_eq!(refused, Err(Error::Limit));
    assert_eq!(realm.look_up(0, moved), Ok(Rights::REGION));
    let info = realm.ipc.capability_info(a, shared).unwrap();
    assert_eq!(info.descendants, 0);

    realm.drop_handle(1, filled.pop().unwrap()).unwrap();
    let ((), given) = realm.ipc.deliver_all(begin(), b, || Ok(())).unwrap();
    assert_eq!(given.len(), 2);
    assert_eq!(realm.look_up(0, moved), Err(Error::BadHandle));
    let va = realm.map(1, given[0], WRITE);
    assert_eq!(realm.load(1, 1, va), Ok(2));
    assert_eq!(realm.look_up(1, given[1]), Ok(READ));
    realm.finish();
}

#[test]
fn an_offer_over_a_ring_whose_other_end_is_closed_is_refused_and_changes_nothing() {
    let realm = Realm::new(1);
    let domain = &realm.domains[0];
    let (producer, consumer) = realm
        .ipc
        .create_ring(domain, Geometry::slot(64, 8))
        .unwrap();
    let mine = realm.region(0, 1);
    let here = realm.map(0, mine, WRITE);
    realm.ipc.drop_capability(domain, consumer).unwrap();
    let offered = realm.ipc.grant(
        domain,
        mine,
        producer,
        Mode::Move,
        ALL,
        GrantFlags::empty(),
        abi::FOREVER,
    );
    assert_eq!(offered, Err(Error::PeerClosed));
    assert_eq!(realm.store(0, 0, here, 1), Ok(()));
    realm.finish();
}

/// Does something, and meanwhile drops whatever has the handle that `place` is given next, whenever no lock is held.
fn with_a_guesser<R>(realm: &Realm, guess: Handle, deed: impl FnOnce() -> R) -> R {
    let (ipc, domain) = (realm.ipc.clone(), realm.domains[0].clone());
    let meanwhile = move || {
        let _ = ipc.drop_capability(&domain, guess);
    };
    fake::before_locks(None, meanwhile, deed)
}

/// What the next capability of a kind is called that takes the place of one which is dropped for it.
fn next_in_place_of(realm: &Realm, handle: Handle, kind: ObjectKind) -> Handle {
    realm.drop_handle(0, handle).unwrap();
    Handle::new(handle.index(), handle.generation() + 1, kind)
}

type Pair = (ObjectKind, fn(&Realm) -> Result<(), Error>);

const PAIRS: &[Pair] = &[
    (ObjectKind::ChannelEnd, |r| {
        r.ipc.create_channel(&r.domains[0], 1).map(drop)
    }),
    (ObjectKind::RingEnd, |r| {
        let shape = Geometry::slot(64, 8);
        r.ipc.create_ring(&r.domains[0], shape).map(drop)
    }),
    (ObjectKind::Hub, |r| {
        let geometry = HubGeometry::slot(1, 64, 8, 8);
        r.ipc.create_hub(&r.domains[0], geometry).map(drop)
    }),
];

/// Makes two while somebody drops the first by a guess, with so many bytes left to pay for them: they are refused,
/// and nothing is left.
fn is_refused(realm: &Realm, (kind, make): Pair, place: Handle, left: Option<u64>, error: Error) {
    let domain = &realm.domains[0];
    let account = domain.account();
    let guess = next_in_place_of(realm, place, kind);
    let taken = left.map(|left| {
        let all = account.quota().bytes - account.used().bytes;
        account.charge(Resources::bytes(all - left)).unwrap()
    });
    let (objects, used) = (realm.ipc.object_count(), account.used());
    let made = with_a_guesser(realm, guess, || make(realm));
    assert_eq!(made, Err(error), "{kind:?}");
    assert_eq!(realm.ipc.object_count(), objects, "{kind:?}");
    assert_eq!(account.used(), used, "{kind:?}");
    drop(taken);
}

#[test]
fn of_two_that_are_made_together_nobody_guesses_one_while_the_other_may_fail() {
    for &pair in PAIRS {
        let realm = Realm::new(1);
        let domain = &realm.domains[0];
        let region = realm.region(0, 1);
        while domain.handle_count() < abi::limits::MAX_HANDLES {
            realm.derive(0, region, READ).unwrap();
        }
        is_refused(&realm, pair, region, None, Error::Limit);
        realm.finish();

        let realm = Realm::with_quotas(&[Resources::bytes(1 << 20)]);
        let account = realm.domains[0].account();
        let place = realm.region(0, 1);
        let before = account.used().bytes;
        pair.1(&realm).unwrap();
        let needed = account.used().bytes - before;
        is_refused(&realm, pair, place, Some(needed - 1), Error::Quota);
        realm.finish();
    }
}

/// An image of domain 0.
fn image(realm: &Realm) -> Handle {
    let (domain, options) = (&realm.domains[0], RegionOptions::default());
    let region = realm
        .memory()
        .create_region(domain.account(), 4096, options);
    let info = ImageInfo { base: 0, entry: 0 };
    let payload = Payload::Image(region.unwrap(), info);
    realm
        .ipc
        .install_object(domain, payload, Rights::IMAGE)
        .unwrap()
}

/// Makes a process of domain 1 and gives it `what`; what `look` finds at each step of that, and what came of it.
fn make_process(
    realm: &Realm,
    image: Handle,
    what: Handle,
    look: impl Fn(),
) -> (Result<Handle, Error>, u32, Vec<Handle>) {
    let (ipc, domain) = (&realm.ipc, &realm.domains[0]);
    let (discarded, given) = (Cell::new(0), RefCell::new(Vec::new()));
    let made = ipc.make_process(
        domain,
        image,
        |_, _| {
            look();
            let child = &realm.domains[1];
            Ok((FakeProcess::of(child.koid()), child.clone()))
        },
        |_| {
            look();
            let offer = ipc.begin(domain, what, Mode::Move, ALL, GrantFlags::empty())?;
            ipc.clear(&offer);
            look();
            Ok(vec![offer])
        },
        |_, handles| {
            look();
            given.borrow_mut().extend_from_slice(handles);
        },
        |_| discarded.set(discarded.get() + 1),
    );
    (
        made.map(|(handle, _)| handle),
        discarded.get(),
        given.into_inner(),
    )
}

#[test]
fn nobody_can_name_a_process_before_it_has_all_that_it_is_given() {
    let realm = Realm::new(2);
    let (image, moved) = (image(&realm), realm.region(0, 1));
    let place = realm.region(0, 1);
    let guess = next_in_place_of(&realm, place, ObjectKind::Process);
    let look = || {
        assert_eq!(realm.look_up(0, guess), Err(Error::BadHandle));
        assert_eq!(realm.drop_handle(0, guess), Err(Error::BadHandle));
    };
    // The guesser can't drop it before it is complete, and what is given is there.
    let (made, discarded, given) = make_process(&realm, image, moved, look);
    assert_eq!((made, discarded, given.len()), (Ok(guess), 0, 1));
    assert_eq!(realm.look_up(0, guess), Ok(Rights::PROCESS));
    assert_eq!(realm.look_up(0, moved), Err(Error::BadHandle));
    realm.look_up(1, given[0]).unwrap();
    // One that is refused is discarded once, and what was offered is where it was.
    let refused = make_process(&realm, image, moved, || ());
    assert_eq!(refused, (Err(Error::BadHandle), 1, vec![]));
    realm.finish();
}

#[test]
fn an_image_that_is_revoked_while_its_process_is_given_something_makes_none() {
    let realm = Realm::new(2);
    let (top, moved) = (image(&realm), realm.region(0, 1));
    let below = realm.derive(0, top, ALL).unwrap();
    let count = realm.domains[0].handle_count();
    let revoke = || {
        realm
            .ipc
            .revoke(&realm.domains[0], top, abi::RevokeFlags::empty())
            .map(drop)
            .unwrap()
    };
    let made = make_process(&realm, below, moved, revoke);
    assert_eq!(made, (Err(Error::Revoked), 1, vec![]));
    assert_eq!(realm.domains[0].handle_count(), count);
    assert_eq!(realm.look_up(0, moved), Ok(Rights::REGION));
    realm.finish();
}

#[test]
fn an_image_may_be_given_to_the_process_that_is_made_of_it() {
    let realm = Realm::new(2);
    let image = image(&realm);
    let (made, discarded, given) = make_process(&realm, image, image, || ());
    assert_eq!((discarded, given.len()), (0, 1));
    realm.look_up(0, made.unwrap()).unwrap();
    assert_eq!(realm.look_up(0, image), Err(Error::BadHandle));
    assert_eq!(realm.look_up(1, given[0]), Ok(Rights::IMAGE));
    realm.finish();
}
