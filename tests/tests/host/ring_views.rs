//! The view of an end goes with its handle, and nothing of it stays charged to anybody, however the end was taken away
//! and whether its process ever maps anything again (I11).

use crate::common::READ;
use crate::common::hubs::{Hub, geometry};
use crate::common::messages::Ends;
use crate::common::realm::Realm;
use crate::common::ring_pair::Pair;
use abi::submission::SubmissionArgs;
use abi::{Handle, HandleTransfer, Mode, Rights};

/// How domain 0 comes to have nothing of an end any more.
type Way = (&'static str, fn(&Pair, Handle));

const WAYS: [Way; 4] = [
    ("drops it", |pair, end| {
        pair.realm.drop_handle(0, end).unwrap();
    }),
    ("drops what was revoked", |pair, end| {
        pair.realm.revoke_itself(0, end).unwrap();
        pair.realm.drop_handle(0, end).unwrap();
    }),
    ("moves it", |pair, end| {
        let moved = pair.realm.give(0, end, 2, Mode::Move);
        pair.realm.drop_handle(2, moved).unwrap();
    }),
    ("moves it in a message", |pair, end| {
        let realm = &pair.realm;
        let channel = Ends::between(realm, 0, 2, 1);
        let load = [HandleTransfer::new(end, Mode::Move, Rights::all())];
        channel.here.send(realm, b"it", &load).unwrap();
        let moved = channel.there.receive(realm).unwrap().handles;
        realm.drop_handle(2, moved[0]).unwrap();
        channel.drop(realm);
    }),
];

#[test]
fn who_has_nothing_of_an_end_any_more_pays_for_nothing_of_its_view() {
    for (how, part) in WAYS {
        let charged = |is_mapped: bool| {
            let pair = Pair::new();
            if is_mapped {
                pair.map(0, pair.producer);
            }
            let spaces = pair.realm.domains[0].space().mapping_count();
            assert_eq!(spaces, usize::from(is_mapped));
            part(&pair, pair.producer);
            pair.realm.drop_handle(1, pair.consumer).unwrap();
            let left = pair.realm.domains[0].space().mapping_count();
            assert_eq!(left, 0, "views of who {how}");
            let all = [0, 1, 2].map(|domain| pair.realm.used(domain).bytes);
            pair.realm.finish();
            all
        };
        assert_eq!(charged(true), charged(false), "who {how}");
    }
}

#[test]
fn an_end_that_nobody_accepts_comes_back_without_its_view_and_can_be_mapped() {
    let pair = Pair::new();
    let first = pair.map(0, pair.producer);
    let token = pair
        .realm
        .grant(0, pair.producer, 2, Mode::Move, Rights::all());
    assert_eq!(pair.realm.domains[0].space().mapping_count(), 0);
    pair.realm.cancel(0, token.unwrap()).unwrap();
    assert!(!pair.realm.reaches(0, first));
    pair.map(0, pair.producer);
    pair.realm.finish();
}

#[test]
fn the_views_of_a_submission_ring_go_with_its_handle() {
    for revoked in [false, true] {
        let realm = Realm::new(1);
        let domain = &realm.domains[0];
        let charged = |is_mapped: bool| {
            let args = SubmissionArgs::new(4, 4);
            let ring = realm.ipc.create_submission_ring(domain, &args).unwrap();
            if is_mapped {
                realm.ipc.map_submission_ring(domain, ring).unwrap();
            }
            if revoked {
                realm.revoke_itself(0, ring).unwrap();
            }
            realm.drop_handle(0, ring).unwrap();
            realm.used(0).bytes
        };
        // What grows once has grown.
        charged(false);
        assert_eq!(charged(true), charged(false), "revoked: {revoked}");
        assert_eq!(domain.space().mapping_count(), 0);
        realm.finish();
    }
}

/// How a guest and its host part.
type Parting = (&'static str, fn(&Realm, &Hub, &[Handle]));

const PARTINGS: [Parting; 4] = [
    ("is dropped", |realm, _, host| give_back(realm, 0, host)),
    ("is recovered", |realm, hub, host| {
        let seat = abi::HubSeat { peer: 1, epoch: 0 };
        hub.dismiss(realm, seat).unwrap();
        hub.recover(realm, seat).unwrap();
        give_back(realm, 0, host);
    }),
    ("ends with the hub", |realm, hub, host| {
        realm.drop_handle(0, hub.handle).unwrap();
        give_back(realm, 0, host);
    }),
    ("ends after a goodbye", |realm, hub, host| {
        hub.goodbye(realm);
        give_back(realm, 0, host);
    }),
];

fn give_back(realm: &Realm, domain: usize, handles: &[Handle]) {
    for handle in handles {
        realm.drop_handle(domain, *handle).unwrap();
    }
}

#[test]
fn a_hub_that_has_ended_costs_its_host_nothing_more() {
    for (how, part) in PARTINGS {
        let realm = Realm::new(2);
        let before = realm.used(0).bytes;
        let made = realm.ipc.create_hub(&realm.domains[0], geometry(2));
        let made = made.unwrap();
        let hub = Hub {
            handle: made.hub,
            table: realm.map(0, made.table, READ),
        };
        let (guest, ends) = hub.join(&realm, 1);
        let (link, rings) = hub.connect(&realm, guest.seat).unwrap();
        for (domain, end) in [
            (0, rings.producer),
            (0, rings.consumer),
            (1, ends.producer),
            (1, ends.consumer),
        ] {
            realm.ipc.map_ring(&realm.domains[domain], end).unwrap();
        }
        part(&realm, &hub, &[link, rings.producer, rings.consumer]);
        let of_guest = [guest.member, ends.producer, ends.consumer, ends.table];
        give_back(&realm, 1, &of_guest);
        // It may have been dropped before.
        let _ = realm.drop_handle(0, hub.handle);
        realm.drop_handle(0, made.table).unwrap();
        realm.unmap(0, hub.table).unwrap();
        assert_eq!(realm.used(0).bytes, before, "a guest that {how}");
        realm.finish();
    }
}
