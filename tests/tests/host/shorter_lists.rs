//! Lists get shorter as what is on them ends, which takes memory: it is asked for as a promise each time, since a program
//! chooses how many lists do so in one call, and without it they stay as they are.

use crate::common::ports::{notification, port};
use crate::common::realm::Realm;
use crate::common::submissions::{Submissions, cancel, wait};
use abi::{BindFlags, Error, Events, FOREVER, Rights};

/// More than any list keeps room for.
const MANY: u64 = 64;

/// Has many things on a list end while memory is promised, or is not; returns how often it was asked for.
fn ends(realm: &Realm, refuse: bool, end: impl FnOnce()) -> u64 {
    let before = realm.machine().promises();
    realm.machine().refuse_promises(refuse);
    end();
    realm.machine().refuse_promises(false);
    realm.machine().promises() - before
}

/// Maps a region often, and unmaps it.
fn mappings(realm: &Realm, refuse: bool) -> u64 {
    let region = realm.region(0, 1);
    let mapped: Vec<u64> = (0..MANY)
        .map(|_| realm.map(0, region, Rights::READ))
        .collect();
    ends(realm, refuse, || {
        let unmapped = mapped.iter().map(|va| realm.unmap(0, *va));
        assert_eq!(
            unmapped.collect::<Result<Vec<_>, _>>().map(|all| all.len()),
            Ok(MANY as usize)
        );
    })
}

/// Binds a port to a notification each, and unbinds it.
fn ports(realm: &Realm, refuse: bool) -> u64 {
    let (ipc, domain) = (&realm.ipc, &realm.domains[0]);
    let port = port(realm, 0);
    for key in 0..MANY {
        let bell = notification(realm, 0);
        let bound = ipc.bind_port(
            domain,
            port,
            bell,
            Events::SIGNALED,
            BindFlags::empty(),
            key,
        );
        assert_eq!(bound, Ok(()));
    }
    ends(realm, refuse, || {
        for key in 0..MANY {
            assert_eq!(ipc.unbind_port(domain, port, key), Ok(()));
        }
    })
}

/// Has operations wait for one notification, and cancels them.
fn watches(realm: &Realm, refuse: bool) -> u64 {
    let bell = notification(realm, 0);
    let mut ring = Submissions::new(realm, 0, 128, 128);
    let waits: Vec<_> = (0..MANY).map(|_| wait(7, bell, FOREVER)).collect();
    assert_eq!(ring.run(realm, &waits), []);
    ends(realm, refuse, || {
        let ended = ring.run(realm, &[cancel(8, 7)]);
        let cancelled = ended
            .iter()
            .filter(|one| **one == (7, Err(Error::Cancelled)));
        assert_eq!(cancelled.count() as u64, MANY);
    })
}

#[test]
fn each_list_that_gets_shorter_asks_for_memory_and_stays_as_it_is_without() {
    for list in [mappings, ports, watches] {
        let asked = [false, true].map(|refuse| {
            let realm = Realm::new(1);
            let asked = list(&realm, refuse);
            realm.finish();
            asked
        });
        assert!(asked[0] > 0, "nobody asked");
        // What stays too long is found so again by the next that ends.
        assert!(asked[1] > 2 * asked[0], "{asked:?}");
    }
}
